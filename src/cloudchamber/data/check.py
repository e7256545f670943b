"""Check: what every cloud must satisfy before anything else sees it. Done once, at the border."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadFile
from cloudchamber.events import MOMENTUM, Cloud

# An energy may fall short of |p| by this much: files round to half or reduced precision (NanoAOD keeps 10 bits, 1e-3).
RELATIVE_TOLERANCE = 1e-3
ABSOLUTE_TOLERANCE = 1e-3  # GeV


@dataclass(frozen=True)
class Origin:
    """Where events come from, for error messages: the file, the number of the first of them, the file's column names.

    selected: events are not one for one those of the file, so numbers count only those made of it.
    """

    path: Path
    start: int = 0
    sources: Mapping[str, str] = field(default_factory=dict)
    selected: bool = False

    def event(self, at: int) -> str:
        """The event at row `at` of the cloud, in words."""
        if self.selected:
            return f"event {at} of those that are kept or made from the file's event {self.start} on"
        return f"event {self.start + at}"

    def column(self, name: str) -> str:
        """The column, by our name and the file's."""
        source = self.sources.get(name, name)
        return f"{name!r} (from {source!r})" if source != name else repr(name)


@dataclass(frozen=True)
class Breach:
    """What a column may not have. bad: (T,) or (N,), which particles or events have it. expected: in words, of the first."""

    name: str
    what: str
    bad: NDArray[np.bool_]
    expected: str
    of_particles: bool

    def events(self, cloud: Cloud) -> NDArray[np.bool_]:
        """(N,) the events that have it."""
        if not self.of_particles:
            return self.bad
        return np.bincount(np.repeat(np.arange(len(cloud)), cloud.counts)[self.bad], minlength=len(cloud)) > 0


def check(cloud: Cloud, origin: Origin) -> Cloud:
    """The cloud, if it can be physics. Raises BadFile with file, column, first bad event and value."""
    for breach in breaches(cloud):
        at, name = int(np.argmax(breach.bad)), breach.name
        value = (cloud.flat(name) if breach.of_particles else cloud.events[name])[at]
        place = f"in {origin.event(at)}"
        if breach.of_particles:
            ends = np.cumsum(cloud.counts)
            event = int(np.searchsorted(ends, at, side="right"))
            place = f"for particle {at - int(ends[event] - cloud.counts[event])} of {origin.event(event)}"
        raise BadFile(f"{origin.path}: {origin.column(name)} is {value} {place}, expected {breach.expected}")
    return cloud


def breaches(cloud: Cloud) -> Iterator[Breach]:
    """Everything that no cloud may have, one column and fault at a time.

    Momenta and weights are finite; energy is at least |p| within the tolerances above; features are not infinite
    (NaN means missing); class labels are a class, or -1 (of particles NaN) where unknown.
    """
    p = {name: cloud.flat(name) for name in MOMENTUM}
    for name, values in p.items():
        yield from _breach(name, "not finite", ~np.isfinite(values), "a finite number of GeV", True)
    px, py, pz, energy = (p[name].astype(np.float64) for name in MOMENTUM)
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    short = energy < momentum * (1 - RELATIVE_TOLERANCE) - ABSOLUTE_TOLERANCE
    yield from _breach("energy", "negative", energy < 0, "an energy of at least 0 GeV", True)
    if short.any():
        floor = f"at least |p| = {momentum[np.argmax(short)]:.6g} GeV; are momenta and energy in the same unit?"
        yield from _breach("energy", "below |p|", short, floor, True)
    for name in cloud.schema.feature_names:
        yield from _breach(name, "infinite", np.isinf(cloud.flat(name)), "a finite number, or NaN if missing", True)
    schema = cloud.schema
    for label in schema.particle_labels:
        values, last = cloud.flat(label.name), len(label.classes) - 1
        bad = ~(np.isnan(values) | ((values >= 0) & (values <= last) & (values == np.floor(values))))
        yield from _breach(label.name, "no class", bad, f"a class from 0 to {last}, or NaN", True)
    for column in schema.columns:
        yield from _breach(column.name, "infinite", np.isinf(cloud.events[column.name]), "a finite number", False)
    if schema.weight:
        yield from _breach(schema.weight, "not finite", ~np.isfinite(cloud.events[schema.weight]), "a finite weight", False)
    for label in schema.labels:
        values, last = cloud.events[label.name], len(label.classes) - 1
        bad = (values < -1) | (values > last) if label.classes else np.isinf(values)
        expected = f"a class from 0 to {last}, or -1 if unknown" if label.classes else "a finite number, or NaN if unknown"
        yield from _breach(label.name, "no class" if label.classes else "infinite", bad, expected, False)


def _breach(name: str, what: str, bad: NDArray[Any], expected: str, of_particles: bool) -> Iterator[Breach]:
    if bad.any():
        yield Breach(name, what, np.asarray(bad), expected, of_particles)
