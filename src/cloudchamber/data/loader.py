"""Loader: which events a step sees, and their cut into padded micro-batches of similar length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events.batch import Batch, pad


@dataclass(frozen=True)
class Loader:
    """Events of a training set in an order that is a function of seed and step alone.

    rows: the events to draw from. batch: events per step. Every epoch is a fresh permutation; events that do not
    fill a last step are left to the next epoch's permutation. A killed training resumes at any step without state.
    """

    data: TrainingSet
    rows: NDArray[np.int64]
    batch: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps in which every event is seen at most once."""
        return max(len(self.rows) // self.batch, 1)

    def rows_of(self, step: int) -> NDArray[np.int64]:
        """The events of step 0, 1, 2, ...: (min(batch, number of rows),)."""
        epoch, position = divmod(step, self.steps_per_epoch)
        order = _permutation(self.seed, epoch, len(self.rows))
        return self.rows[order[position * self.batch : (position + 1) * self.batch]]


@lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, n: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(n)


def micro_batches(data: TrainingSet, rows: NDArray[np.int64], max_tokens: int) -> Iterator[Batch]:
    """The events `rows`, sorted by length and cut into padded batches of at most `max_tokens` tokens each.

    Every event is in exactly one batch, alone if it is longer than the budget. Sorting is what removes the padding:
    summed over a step the gradient is the same as without it.
    """
    counts = data.offsets_N[rows + 1] - data.offsets_N[rows]
    order = np.argsort(counts, kind="stable")
    rows, counts = rows[order], np.maximum(counts[order], 1)
    start = 0
    while start < len(rows):
        # Lengths rise, so the last event of the batch sets its width.
        window = counts[start : start + max_tokens]  # at least one token each
        tokens = window * np.arange(1, len(window) + 1)
        size = max(int(np.searchsorted(tokens, max_tokens, side="right")), 1)
        yield make_batch(data, rows[start : start + size])
        start += size


def make_batch(data: TrainingSet, rows: NDArray[np.int64]) -> Batch:
    """The events `rows` as one padded batch, in the order given."""
    starts = data.offsets_N[rows]
    particles_BPF, mask_BP = pad(data.particles_TF, starts, data.offsets_N[rows + 1] - starts)
    return Batch(
        particles_BPF=particles_BPF,
        columns_BG=np.asarray(data.columns_NG[rows]),
        mask_BP=mask_BP,
        weight_B=np.asarray(data.weight_N[rows]),
        targets={name: values[rows] for name, values in data.targets.items()},
        index_B=rows,
    )
