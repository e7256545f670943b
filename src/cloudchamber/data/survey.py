"""Survey: one pass over files, shards or a cloud. Exact counts of all events seen, fingerprints, and a sample of them."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.identity import SPLITS, event_ids, split_of, unordered_ids
from cloudchamber.data.reading import opened
from cloudchamber.data.store import Store
from cloudchamber.errors import BadSchema
from cloudchamber.events import MOMENTUM, Cloud, Schema, concatenate

SAMPLE = 100_000  # events kept for medians and distributions, shared by all files
FINGERPRINTS = 1 << 22  # kept for the search for copies: 32 bytes each, 134 MB
BLOCK_EVENTS = 20_000
_SHORT = 1e-5  # of |p|: what rounding four components to float32 (6e-8 each) cannot explain


@dataclass
class Tally:
    """What was seen of one column: values, how many of them are missing (NaN), the smallest and the largest."""

    unit: str
    kind: str
    size: int = 0
    missing: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf

    def add(self, values: NDArray[Any]) -> None:
        """Count more values."""
        there = values[~np.isnan(values)]
        self.size += len(values)
        self.missing += len(values) - len(there)
        if len(there):
            self.minimum, self.maximum = min(self.minimum, float(there.min())), max(self.maximum, float(there.max()))


@dataclass
class Fingerprints:
    """Which events were seen, in bounded memory: of very many, only those whose fingerprint is a multiple of `stride`.

    All copies of an event share a fingerprint, so either all of them are kept or none.
    """

    stride: int = 1
    rows: list[NDArray[np.uint64]] = field(default_factory=list)  # (4, N): without order, id, split, part

    def add(self, cloud: Cloud, ids: NDArray[np.uint64], part: int) -> None:
        """Remember the events that are not empty."""
        rows = np.stack([unordered_ids(cloud), ids, split_of(ids).astype(np.uint64), np.full(len(ids), part, np.uint64)])
        self.rows.append(rows[:, (cloud.counts > 0) & (rows[0] % np.uint64(self.stride) == 0)])
        if sum(r.shape[1] for r in self.rows) > FINGERPRINTS:
            self.stride *= 2
            self.rows = [r[:, r[0] % np.uint64(self.stride) == 0] for r in self.rows]

    def groups(self) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """The rows sorted by what an event holds, and where each group of equal events begins."""
        rows = np.concatenate([np.zeros((4, 0), np.uint64), *self.rows], axis=1)
        rows = rows[:, np.lexsort((rows[1], rows[0]))]
        return rows, np.flatnonzero(np.diff(rows[0], prepend=~rows[0][:1]))


@dataclass
class Survey:
    """What one pass saw. parts: the files, or a store's shards. total, seen: events per part, all and looked at.

    particles, events: tallies by column. classes: per class label (part, class), the first column for -1, unknown.
    splits: events of each split, by their ids.
    strays: counts of what is odd but allowed. weights: sum, sum of squares, largest square. samples: events of each
    part, drawn at random. altered: stored ids that do not follow from their particles.
    """

    schema: Schema
    parts: tuple[str, ...]
    total: tuple[int, ...]
    reader: str
    provenance: dict[str, Any] = field(default_factory=dict)
    fingerprints: Fingerprints = field(default_factory=Fingerprints)
    strays: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("empty", "zero energy", "short", "negative"), 0))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    altered: int = 0

    def __post_init__(self) -> None:
        s = self.schema
        self.particles = {n: Tally("GeV", "number") for n in MOMENTUM} | {f.name: Tally(f.unit, f.kind) for f in s.features}
        self.events = {c.name: Tally(c.unit, c.kind) for c in s.columns}
        self.events |= {s.weight: Tally("1", "weight")} if s.weight else {}
        self.events |= {lb.name: Tally(lb.unit, "number") for lb in s.labels if not lb.classes}
        self.classes = {b.name: np.zeros((len(self.parts), len(b.classes) + 1), np.int64) for b in s.labels if b.classes}
        self.seen = np.zeros(len(self.parts), np.int64)
        self.splits = np.zeros(len(SPLITS), np.int64)
        self.samples: dict[int, Cloud] = {}
        self._ranks: dict[int, NDArray[np.float64]] = {}
        self._rng = np.random.default_rng(0)

    @property
    def sample(self) -> Cloud:
        """The sampled events of all parts."""
        return concatenate([*self.samples.values()])

    def add(self, cloud: Cloud, part: int) -> None:
        """Look at more events of a part."""
        self.seen[part] += len(cloud)
        for name, tally in self.particles.items():
            tally.add(cloud.flat(name))
        for name, tally in self.events.items():
            tally.add(cloud.events[name])
        for name, table in self.classes.items():
            table[part] += np.bincount(cloud.events[name] + 1, minlength=table.shape[1])
        ids = event_ids(cloud)
        self.splits += np.bincount(split_of(ids), minlength=len(SPLITS))
        self.fingerprints.add(cloud, ids, part)
        px, py, pz, energy = (cloud.flat(n).astype(np.float64) for n in MOMENTUM)
        self.strays["empty"] += int((cloud.counts == 0).sum())
        self.strays["zero energy"] += int((energy == 0).sum())
        self.strays["short"] += int((energy < np.sqrt(px**2 + py**2 + pz**2) * (1 - _SHORT)).sum())
        w = cloud.weights
        self.strays["negative"] += int((w < 0).sum())
        self.weights += (w.sum(), (w**2).sum(), 0.0)
        self.weights[2] = max(self.weights[2], (w**2).max(initial=0.0))
        self._draw(cloud, part)

    def _draw(self, cloud: Cloud, part: int) -> None:
        """Keep the events of lowest random rank: a fair sample of a part, however it is cut into blocks."""
        ranks = self._rng.random(len(cloud))
        if part in self.samples:
            cloud, ranks = concatenate([self.samples[part], cloud]), np.concatenate([self._ranks[part], ranks])
        kept = np.sort(np.argsort(ranks)[: max(SAMPLE // len(self.parts), 1)])
        self.samples[part], self._ranks[part] = cloud[kept], ranks[kept]


def survey(
    sources: Cloud | Sequence[Path],
    card: Path | str | None = None,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """One pass over a cloud, some files, or stores (their shards); over the first `limit` events of each file.

    Memory is bounded by a block, SAMPLE and FINGERPRINTS. Raises what `read` raises, BadSchema if the files differ.
    """
    if isinstance(sources, Cloud):
        found = Survey(sources.schema, ("cloud in memory",), (len(sources),), "memory")
        found.add(sources[:limit], 0)
        return found
    parts = [part for source in sources for part in _parts(source, card)]
    goal = sum(min(p.count, limit or p.count) for p in parts)
    first: Survey | None = None
    for number, part in enumerate(parts):
        for cloud, altered in part.blocks(limit):
            if first is None:
                names, total = tuple(p.name for p in parts), tuple(p.count for p in parts)
                first = Survey(cloud.schema, names, total, part.reader, part.provenance)
            if cloud.schema != first.schema:
                raise BadSchema(
                    f"{part.name} ({cloud.schema.dataset}) and {parts[0].name} ({first.schema.dataset}) have different "
                    "schemas. Inspect them one by one, or map both with one card."
                )
            first.add(cloud, number)
            first.altered += altered
            if progress is not None:
                progress(int(first.seen.sum()), goal)
    assert first is not None
    return first


@dataclass(frozen=True)
class _Part:
    name: str
    count: int
    reader: str
    blocks: Callable[[int | None], Iterator[tuple[Cloud, int]]]
    provenance: dict[str, Any] = field(default_factory=dict)


def _parts(path: Path, card: Path | str | None) -> list[_Part]:
    if not path.is_dir():
        with opened(path, card) as source:
            return [_Part(str(path), source.count, source.reader.name, lambda limit: _of_file(path, card, limit))]
    store = Store.open(path)
    m = store.manifest
    shards = [Store(path, m.model_copy(update={"shards": (s,), "rows": s.rows})) for s in m.shards]
    names = [f"{path.name}/{s.file}" for s in m.shards]
    return [
        _Part(name, len(shard), "store", lambda limit, shard=shard: _of_shard(shard, limit), m.provenance)
        for name, shard in zip(names, shards, strict=True)
    ]


def _of_file(path: Path, card: Path | str | None, limit: int | None) -> Iterator[tuple[Cloud, int]]:
    with opened(path, card) as source:
        stop = min(source.count, limit or source.count)
        for start in range(0, stop, BLOCK_EVENTS):
            yield source.read(start, min(start + BLOCK_EVENTS, stop)), 0


def _of_shard(shard: Store, limit: int | None) -> Iterator[tuple[Cloud, int]]:
    """The events of one shard in blocks, each with the number of its stored ids that do not follow from the particles."""
    stored = shard.event_ids()
    stop = min(len(shard), limit or len(shard))
    for start in range(0, stop, BLOCK_EVENTS):
        cloud = shard.read_rows(start, min(start + BLOCK_EVENTS, stop))
        yield cloud, int((event_ids(cloud) != stored[start : start + len(cloud)]).sum())
