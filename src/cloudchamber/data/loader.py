"""Loader: which events a step sees, and their cut into padded micro-batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.order import Mixture, Selection, Shuffle, take
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput
from cloudchamber.events.batch import Batch
from cloudchamber.workers import in_order

_T = TypeVar("_T")


@dataclass(frozen=True)
class Loader:
    """Events in an order that is a function of the seed and the step alone: a killed training resumes without state.

    sources: the rows to draw from, one entry per source of a mixture; shares: how often each is drawn, None for one
    source. The events of a source come exactly once before any comes again. batch: events per step of all ranks
    together; rank, ranks: this process sees every `ranks`-th of them, so that all see each event once. block: see Shuffle.
    """

    sources: tuple[Selection, ...]
    batch: int
    seed: int
    shares: tuple[float, ...] | None = None
    block: int = 1
    rank: int = 0
    ranks: int = 1

    def __post_init__(self) -> None:
        if (self.shares is None) != (len(self.sources) == 1) or (self.shares and len(self.shares) != len(self.sources)):
            raise BadInput(f"{len(self.sources)} sources with shares {self.shares}: a mixture needs one share for each")
        if not 0 <= self.rank < self.ranks <= self.batch:
            raise BadInput(f"rank {self.rank} of {self.ranks} with {self.batch} events per step: no event would be left")

    def rows_of(self, step: int) -> NDArray[np.int64]:
        """The events of step 0, 1, 2, ... that this rank sees: about batch / ranks rows of the training set."""
        start, stop = step * self.batch, (step + 1) * self.batch
        if self.shares is None:
            return self._drawn(0, np.arange(start, stop))[self.rank :: self.ranks]
        source_B, own_B = Mixture(self.shares, self.seed).at(start, stop)
        rows = np.empty(self.batch, dtype=np.int64)
        for source in range(len(self.sources)):
            rows[source_B == source] = self._drawn(source, own_B[source_B == source])
        return rows[self.rank :: self.ranks]

    def _drawn(self, source: int, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows at consecutive positions of one source's own order."""
        if len(positions) == 0:
            return np.empty(0, dtype=np.int64)
        rows = self.sources[source]
        shuffle = Shuffle(len(rows), self.seed + 7919 * source, self.block)
        return take(rows, shuffle.at(int(positions[0]), int(positions[-1]) + 1))


def micro_batches(
    data: TrainingSet, rows: NDArray[np.int64], max_tokens: int, partners_N: NDArray[np.int64] | None = None
) -> Iterator[Batch]:
    """The events `rows`, sorted by length and cut into padded batches of at most `max_tokens` tokens each.

    Every event is in exactly one batch, alone if it is longer than the budget. Sorting is what removes the padding:
    summed over a step the gradient is the same as without it. partners_N: the partner of every event, if batches carry them.
    """
    counts = data[rows].counts
    order = np.argsort(counts, kind="stable")
    rows, counts = rows[order], np.maximum(counts[order], 1)
    start = 0
    while start < len(rows):
        # Lengths rise, so the last event of the batch sets its width.
        window = counts[start : start + max_tokens]  # at least one token each
        tokens = window * np.arange(1, len(window) + 1)
        size = max(int(np.searchsorted(tokens, max_tokens, side="right")), 1)
        batch = make_batch(data, rows[start : start + size])
        yield batch if partners_N is None else replace(batch, partner=make_batch(data, partners_N[batch.index_B]))
        start += size


def make_batch(data: TrainingSet, rows: NDArray[np.int64], width: int | None = None) -> Batch:
    """The events `rows` as one padded batch, in the order given. width: slots per event; the largest count without it."""
    chosen = data[rows]
    all_BPF, inputs = chosen.particles(width), len(data.particle_names)  # labels come after the inputs
    mask_BP = np.arange(all_BPF.shape[1]) < chosen.counts[:, None]
    targets = {name: chosen.target(name) for name in data.schema.label_names}
    for values_BP, name in zip(np.moveaxis(all_BPF[..., inputs:], -1, 0), data.schema.particle_label_names, strict=True):
        targets[name] = np.where(mask_BP & np.isfinite(values_BP), values_BP, -1).astype(np.int64)
    return Batch(
        particles_BPF=all_BPF[..., :inputs],
        columns_BG=chosen.columns,
        mask_BP=mask_BP,
        weight_B=chosen.weights,
        targets=targets,
        index_B=rows,
    )


def prefetched(make: Callable[[int], _T], steps: Sequence[int], ahead: int) -> Iterator[_T]:
    """make(step) of each step in turn; a thread makes up to `ahead` of them before they are asked for, none with 0.

    Worth it where the consumer waits for another device; the order and what is made do not depend on it.
    """
    if ahead == 0:
        yield from map(make, steps)
        return
    with ThreadPoolExecutor(1) as thread:
        yield from in_order(thread, make, steps, ahead=ahead + 1)
