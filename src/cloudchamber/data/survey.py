"""Survey: one pass over files, stores or clouds. Exact counts of all events seen, fingerprints, and a sample of them."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.check import breaches
from cloudchamber.data.identity import SPLITS, event_ids, split_of, unordered_ids
from cloudchamber.data.reading import opened
from cloudchamber.data.store import Store
from cloudchamber.errors import BadInput
from cloudchamber.events import MOMENTUM, Cloud, Feature, Label, Schema, concatenate
from cloudchamber.events.kinematics import axes_of, invariant_mass

SAMPLE = 20_000  # events kept, about, for medians and distributions, shared by all parts
FINGERPRINTS = 1 << 22  # kept for the search for copies: 32 bytes each, 134 MB
BLOCK_EVENTS = 20_000
_SHORT = 1e-5  # of |p|: what rounding four components to float32 (6e-8 each) cannot explain
Variables = dict[str, tuple[str, NDArray[np.float64]]]


@dataclass
class Tally:
    """What was seen of one column: values, how many of them are missing (NaN), the smallest and the largest."""

    unit: str
    kind: str
    size: int = 0
    missing: int = 0
    minimum: float = np.inf
    maximum: float = -np.inf

    def add(self, values: NDArray[np.float64]) -> None:
        """Count more values."""
        there = values[~np.isnan(values)]
        self.size += len(values)
        self.missing += len(values) - len(there)
        if len(there):
            self.minimum, self.maximum = min(self.minimum, float(there.min())), max(self.maximum, float(there.max()))


@dataclass
class Refused:
    """One thing that no event may have: how many values, in how many events, in which part first, how `read` puts it."""

    part: int
    expected: str
    values: int = 0
    events: int = 0


@dataclass
class Survey:
    """What one pass saw. parts: the files, or a store's shards; sources: which of the files or stores each belongs to;
    total, seen: events of each, all and looked at.

    splits: events seen by the split that their ids give them. columns: one tally per column, of particles and of events.
    classes: events by class label (part, class), the first for -1, unknown. refused: by column and fault, what `read` stops
    at; such events count in nothing else. strangers: parts of another schema, which were left out, and how it differs.
    odd: counts of what is allowed but odd. weights: their sum, sum of squares, largest square. altered: stored ids that do
    not follow from the particles. samples: some events of each part, drawn at random.
    """

    schema: Schema
    reader: str
    parts: tuple[str, ...]
    sources: tuple[int, ...]
    total: NDArray[np.int64]
    seen: NDArray[np.int64]
    splits: NDArray[np.int64] = field(default_factory=lambda: np.zeros(len(SPLITS), np.int64))
    columns: dict[str, Tally] = field(default_factory=dict)
    classes: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    refused: dict[tuple[str, str], Refused] = field(default_factory=dict)
    strangers: dict[str, str] = field(default_factory=dict)
    odd: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("empty", "zero energy", "short", "negative"), 0))
    weights: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    altered: int = 0
    samples: list[tuple[int, Cloud]] = field(default_factory=list)
    stride: int = 1  # of very many events, the fingerprints of only those that are its multiples are kept
    prints: list[NDArray[np.uint64]] = field(default_factory=list)  # (4, N): without order, id, split, source

    def __post_init__(self) -> None:
        s = self.schema
        self.columns |= {n: Tally("GeV", "number") for n in MOMENTUM} | {f.name: Tally(f.unit, f.kind) for f in s.features}
        self.columns |= {c.name: Tally(c.unit, c.kind) for c in s.columns}
        self.columns |= {lb.name: Tally(lb.unit, "number") for lb in s.labels if not lb.classes}
        self.columns |= {s.weight: Tally("1", "weight")} if s.weight else {}
        self.classes |= {b.name: np.zeros((len(self.parts), len(b.classes) + 1), np.int64) for b in s.labels if b.classes}

    @property
    def sample(self) -> Cloud:
        """The sampled events of all parts."""
        return concatenate([cloud for _, cloud in self.samples])

    @property
    def sample_parts(self) -> NDArray[np.int64]:
        """(N,) the number of the part of each sampled event."""
        return np.repeat([part for part, _ in self.samples], [len(cloud) for _, cloud in self.samples])

    @property
    def split_counts(self) -> dict[str, int]:
        """Events seen, by split."""
        return dict(zip(SPLITS, self.splits.tolist(), strict=True))

    @property
    def particles(self) -> int:
        """Particles of the events seen."""
        return self.columns["energy"].size

    @property
    def how_many(self) -> str:
        """How many events there are and were looked at; where a row of a file holds several jets, both are counted."""
        seen, total, what = int(self.seen.sum()), int(self.total.sum()), "jets" if self.schema.frame == "jet" else "events"
        each = f"{self.particles / max(seen, 1):.1f} particles each"
        if seen > total:
            return f"{total:,} rows in the files, with {seen:,} {what} that were looked at, {each}"
        return f"{total:,} {what}{'' if seen == total else f' ({seen:,} of them were looked at)'}, {each}"

    def class_counts(self, label: str) -> dict[str, int]:
        """Events seen of each class; "unknown" only if there are any."""
        unknown, *known = self.classes[label].sum(axis=0).tolist()
        return ({"unknown": unknown} if unknown else {}) | dict(zip(self.schema.label(label).classes, known, strict=True))

    def values(self, cloud: Cloud) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Every column of a cloud that is tallied, flat."""
        for name in self.columns:
            yield name, np.asarray(cloud.events[name] if name in cloud.events else cloud.flat(name), np.float64)

    def add(self, cloud: Cloud, part: int, share: float, rng: np.random.Generator) -> None:
        """Look at more events of a part, and keep a share of them."""
        self.seen[part] += len(cloud)
        cloud = self._without_refused(cloud, part)
        for name, values in self.values(cloud):
            self.columns[name].add(values)
        for name, table in self.classes.items():
            table[part] += np.bincount(cloud.events[name] + 1, minlength=table.shape[1])
        px, py, pz, energy = (cloud.flat(n).astype(np.float64) for n in MOMENTUM)
        w = cloud.weights
        self.odd["empty"] += int((cloud.counts == 0).sum())
        self.odd["zero energy"] += int((energy == 0).sum())
        self.odd["short"] += int((energy < np.sqrt(px**2 + py**2 + pz**2) * (1 - _SHORT)).sum())
        self.odd["negative"] += int((w < 0).sum())
        total, squares, largest = self.weights
        self.weights = np.array([total + w.sum(), squares + (w**2).sum(), max(largest, (w**2).max(initial=0.0))])
        self._remember(cloud, part)
        self.samples.append((part, cloud[rng.random(len(cloud)) < share]))

    def _without_refused(self, cloud: Cloud, part: int) -> Cloud:
        good = np.ones(len(cloud), np.bool_)
        for breach in breaches(cloud):
            bad = breach.events(cloud)
            found = self.refused.setdefault((breach.name, breach.what), Refused(part, breach.expected))
            found.values += int(breach.bad.sum())
            found.events += int(bad.sum())
            good &= ~bad
        return cloud if good.all() else cloud[good]

    def _remember(self, cloud: Cloud, part: int) -> None:
        """Keep the fingerprints of events that are not empty: of all copies of an event, or of none."""
        ids = event_ids(cloud)
        split = split_of(ids)
        self.splits += np.bincount(split, minlength=len(SPLITS))
        source = np.full(len(ids), self.sources[part], np.uint64)
        rows = np.stack([unordered_ids(cloud), ids, split.astype(np.uint64), source])
        self.prints.append(rows[:, (cloud.counts > 0) & (rows[0] % np.uint64(self.stride) == 0)])
        if sum(r.shape[1] for r in self.prints) > FINGERPRINTS:
            self.stride *= 2
            self.prints = [r[:, r[0] % np.uint64(self.stride) == 0] for r in self.prints]


def survey(
    sources: Path | str | Cloud | Sequence[Path | str | Cloud],
    card: Path | str | None = None,
    *,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Survey:
    """One pass over files, stores or clouds; over the first `limit` events of each, shared out among a store's shards.

    Files that `read` would stop at for a value are read all the same. Memory is bounded by a block, SAMPLE and FINGERPRINTS.
    Raises what `read` raises of a file that has no events to look at.
    """
    listed = [sources] if isinstance(sources, (str, Path, Cloud)) else list(sources)
    parts = [part for number, source in enumerate(listed) for part in _parts(source, number, card, limit)]
    goal, rng = sum(p.stop for p in parts), np.random.default_rng(0)
    if goal == 0:
        raise BadInput("there is no event to look at")
    found: Survey | None = None
    for number, part in enumerate(parts):
        for cloud, altered in part.blocks():
            if found is None:
                total = np.array([p.count for p in parts])
                names, of = tuple(p.name for p in parts), tuple(p.source for p in parts)
                found = Survey(cloud.schema, part.reader, names, of, total, np.zeros_like(total))
            if cloud.schema != found.schema:
                found.strangers[part.name] = _difference(found.schema, cloud.schema)
                break
            found.add(cloud, number, SAMPLE / len(parts) / part.stop, rng)
            found.altered += altered
            if progress is not None:
                progress(int(found.seen.sum()), goal)
    assert found is not None
    return found


def variables(cloud: Cloud) -> Variables:
    """Unit and (N,) value of one number per event: kinematics, the mean of every feature, columns, numeric labels."""
    axis, event = axes_of(cloud), "jet" if cloud.schema.frame == "jet" else "event"
    found: Variables = {"multiplicity": ("1", cloud.counts.astype(np.float64)), f"{event} pT": ("GeV", axis["pt"])}
    found |= {f"{event} eta": ("1", axis["eta"]), f"{event} mass": ("GeV", invariant_mass(cloud))}
    index = np.repeat(np.arange(len(cloud)), cloud.counts)
    of_particles = [("particle pT", "GeV", np.hypot(cloud.flat("px"), cloud.flat("py")))]
    of_particles += [(f.name, f.unit, cloud.flat(f.name)) for f in cloud.schema.features]
    for name, unit, values in of_particles:
        there = ~np.isnan(values)
        size = np.bincount(index[there], minlength=len(cloud))
        total = np.bincount(index[there], values[there], minlength=len(cloud))
        found[f"mean {name}"] = (unit, np.divide(total, size, out=np.full(len(cloud), np.nan), where=size > 0))
    numbers: list[Feature | Label] = [*cloud.schema.columns, *(b for b in cloud.schema.labels if not b.classes)]
    return found | {c.name: (c.unit, np.asarray(cloud.events[c.name], np.float64)) for c in numbers}


def binned(values: NDArray[np.float64], bins: int = 30) -> NDArray[np.float64]:
    """Edges of bins that hold all but the outer 0.1 % of some values; NaN is left out. Whole numbers are not split."""
    there = values[np.isfinite(values)]
    if len(there) == 0:
        return np.array([0.0, 1.0])
    low, high = np.quantile(there, (0.001, 0.999))
    if np.array_equal(there, np.round(there)):
        low, high = np.floor(low), np.ceil(high)
        return np.arange(low, high + (width := np.ceil((high - low + 1) / bins)) + 1, width) - 0.5
    return np.linspace(low, high if high > low else low + 1, bins + 1)


@dataclass(frozen=True)
class _Part:
    """A file, cloud or shard, of the source of this number.

    stop: how many events to look at. blocks: these events, and of how many the stored id is not theirs.
    """

    source: int
    name: str
    reader: str
    count: int
    stop: int
    blocks: Callable[[], Iterator[tuple[Cloud, int]]]


def _parts(source: Path | str | Cloud, number: int, card: Path | str | None, limit: int | None) -> Iterator[_Part]:
    if isinstance(source, Cloud):
        stop = min(len(source), limit or len(source))
        yield _Part(
            number, f"cloud {number}", "memory", len(source), stop, lambda: ((source[a:b], 0) for a, b in _ranges(stop))
        )
        return
    path = Path(source)
    if not path.is_dir():
        with opened(path, card) as file:
            count, reader = file.count, file.reader.name
        stop = min(count, limit or count)

        def of_file() -> Iterator[tuple[Cloud, int]]:
            with opened(path, card) as file:
                yield from ((file.unchecked(a, b), 0) for a, b in _ranges(stop))

        yield _Part(number, str(path), reader, count, stop, of_file)
        return
    shards = list(Store.open(path).by_shard())
    for shard in shards:
        wanted = min(len(shard), -(-limit // len(shards)) if limit else len(shard))

        def of_shard(shard: Store = shard, wanted: int = wanted) -> Iterator[tuple[Cloud, int]]:
            ids = shard.event_ids()
            for a, b in _ranges(wanted):
                cloud = shard.read_rows(a, b)
                yield cloud, int((event_ids(cloud) != ids[a:b]).sum())

        yield _Part(number, str(path / shard.manifest.shards[0].file), "store", len(shard), wanted, of_shard)


def _ranges(stop: int) -> Iterator[tuple[int, int]]:
    return ((start, min(start + BLOCK_EVENTS, stop)) for start in range(0, stop, BLOCK_EVENTS))


def _difference(first: Schema, other: Schema) -> str:
    a, b = first.model_dump(), other.model_dump()
    names = {*first.feature_names, *first.event_names} ^ {*other.feature_names, *other.event_names}
    return ", ".join(key for key in a if a[key] != b[key]) + (f" (only in one: {', '.join(sorted(names))})" if names else "")
