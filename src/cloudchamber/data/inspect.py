"""Inspecting: what a file, store or cloud holds, as numbers. Drawing them is someone else's job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.reading import opened
from cloudchamber.data.store import Store
from cloudchamber.events import MOMENTUM, Cloud
from cloudchamber.events.kinematics import invariant_mass, pt_eta_phi

LIMIT = 100_000  # events that a summary looks at, unless told
_BINS = 30


@dataclass(frozen=True)
class Spread:
    """One column: smallest, median and largest value, and the fraction that is missing (NaN). None if all are."""

    name: str
    unit: str
    kind: str
    minimum: float | None
    median: float | None
    maximum: float | None
    missing: float


@dataclass(frozen=True)
class Histogram:
    """counts: one per bin. edges: one more. Values beyond the edges (the upper 0.1 %) are in the last bin."""

    name: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Summary:
    """A data set in numbers. events: all there are; described: those that were looked at, the first.

    classes: events per class of every class label, of those described; "unknown" counts index -1.
    splits: events per split, for a store.
    """

    source: str
    dataset: str
    reader: str
    frame: str
    simulated: bool | None
    licence: str
    citation: tuple[str, ...]
    notes: str
    events: int
    described: int
    particles: int
    splits: Mapping[str, int]
    features: tuple[Spread, ...]
    columns: tuple[Spread, ...]
    labels: tuple[Spread, ...]
    classes: Mapping[str, Mapping[str, int]]
    histograms: tuple[Histogram, ...]

    def as_json(self) -> dict[str, Any]:
        """The same, of plain JSON types."""
        return asdict(self)


def describe(
    source: Cloud | Store | Path | str, *, card: Path | str | None = None, limit: int = LIMIT, name: str = ""
) -> Summary:
    """The summary of a cloud, a store, or any file that `read` takes; of its first `limit` events.

    Raises what `read` raises.
    """
    if isinstance(source, Cloud):
        return _summary(source[:limit], name or "cloud in memory", "memory", len(source), {})
    path = source.path if isinstance(source, Store) else Path(source)
    splits = Store.open(path).manifest.splits if path.is_dir() else {}
    with opened(path, card) as file:
        cloud = file.read(0, min(limit, file.count))
        return _summary(cloud, name or str(path), file.reader.name, file.count, splits)


def _summary(cloud: Cloud, source: str, reader: str, events: int, splits: Mapping[str, int]) -> Summary:
    schema = cloud.schema
    particles = [(n, "GeV", "number") for n in MOMENTUM] + [(f.name, f.unit, f.kind) for f in schema.features]
    columns = [(c.name, c.unit, c.kind) for c in schema.columns] + ([(schema.weight, "1", "weight")] if schema.weight else [])
    numbers = [(lb.name, lb.unit, "number") for lb in schema.labels if not lb.classes]
    return Summary(
        source=source,
        dataset=schema.dataset,
        reader=reader,
        frame=schema.frame,
        simulated=schema.simulated,
        licence=schema.licence,
        citation=schema.citation,
        notes=schema.notes,
        events=events,
        described=len(cloud),
        particles=int(cloud.counts.sum()),
        splits=dict(splits),
        features=tuple(_spread(cloud.flat(n), n, unit, kind) for n, unit, kind in particles),
        columns=tuple(_spread(cloud.events[n], n, unit, kind) for n, unit, kind in columns),
        labels=tuple(_spread(cloud.events[n], n, unit, kind) for n, unit, kind in numbers),
        classes={lb.name: _balance(cloud.events[lb.name], lb.classes) for lb in schema.labels if lb.classes},
        histograms=_histograms(cloud),
    )


def _spread(values: NDArray[Any], name: str, unit: str, kind: str) -> Spread:
    there = values[~np.isnan(values)]
    missing = 1 - len(there) / len(values) if len(values) else 0.0
    if len(there) == 0:
        return Spread(name, unit, kind, None, None, None, missing)
    return Spread(name, unit, kind, float(there.min()), float(np.median(there)), float(there.max()), missing)


def _balance(values: NDArray[Any], classes: tuple[str, ...]) -> dict[str, int]:
    counts = np.bincount(values.astype(np.int64) + 1, minlength=len(classes) + 1).tolist()
    return {**({"unknown": counts[0]} if counts[0] else {}), **dict(zip(classes, counts[1:], strict=True))}


def _histograms(cloud: Cloud) -> tuple[Histogram, ...]:
    pt, eta, _ = pt_eta_phi(*(cloud.flat(n).astype(np.float64) for n in ("px", "py", "pz")))
    total = {n: np.asarray(ak.sum(ak.values_astype(cloud.particles[n], np.float64), axis=1)) for n in ("px", "py", "pz")}
    event_pt, event_eta, _ = pt_eta_phi(total["px"], total["py"], total["pz"])
    event = "jet" if cloud.schema.frame == "jet" else "event"
    return (
        _histogram(cloud.counts, "multiplicity", "1", whole=True),
        _histogram(pt, "particle pT", "GeV", logarithmic=True),
        _histogram(eta, "particle eta", "1"),
        _histogram(event_pt, f"{event} pT", "GeV"),
        _histogram(event_eta, f"{event} eta", "1"),
        _histogram(invariant_mass(cloud), f"{event} mass", "GeV"),
    )


def _histogram(values: NDArray[Any], name: str, unit: str, *, logarithmic: bool = False, whole: bool = False) -> Histogram:
    """Bins from the smallest value to the 99.9 % quantile.

    logarithmic: equal in the logarithm, values of 0 left out. whole: bins hold the same number of whole numbers each.
    """
    values = values[values > 0] if logarithmic else values
    if len(values) == 0:
        return Histogram(name, unit, (0.0, 1.0), (0,))
    low, high = float(values.min()), float(np.quantile(values, 0.999))
    high = high if high > low else low + 1
    edges = np.geomspace(low, high, _BINS + 1) if logarithmic else np.linspace(low, high, _BINS + 1)
    if whole:
        width = np.ceil((high - low + 1) / _BINS)
        edges = np.arange(low, high + width + 1, width) - 0.5
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return Histogram(name, unit, tuple(edges.tolist()), tuple(counts.tolist()))
