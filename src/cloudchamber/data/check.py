"""Check: what every cloud must satisfy before anything else sees it. Done once, at the border."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Mapping
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


def check(cloud: Cloud, origin: Origin) -> Cloud:
    """The cloud, if it can be physics.

    Momenta and weights are finite; energy is at least |p| within the tolerances above; features are not infinite
    (NaN means missing); class labels are a class, or -1 (of particles NaN) where unknown. Raises BadFile with file, column,
    first bad event and value.
    """
    p = {name: cloud.flat(name) for name in MOMENTUM}
    for name, values in p.items():
        _refuse_particle(cloud, origin, name, ~np.isfinite(values), "a finite number of GeV")
    px, py, pz, energy = (p[name].astype(np.float64) for name in MOMENTUM)
    momentum = np.sqrt(px**2 + py**2 + pz**2)
    short = energy < momentum * (1 - RELATIVE_TOLERANCE) - ABSOLUTE_TOLERANCE
    _refuse_particle(cloud, origin, "energy", energy < 0, "an energy of at least 0 GeV")
    if short.any():
        floor = f"at least |p| = {momentum[np.argmax(short)]:.6g} GeV; are momenta and energy in the same unit?"
        _refuse_particle(cloud, origin, "energy", short, floor)
    for name in cloud.schema.feature_names:
        _refuse_particle(cloud, origin, name, np.isinf(cloud.flat(name)), "a finite number, or NaN if missing")
    for label in cloud.schema.particle_labels:
        values, size = cloud.flat(label.name), len(label.classes)
        known = (values >= 0) & (values < size) & (values == np.floor(values))
        _refuse_particle(cloud, origin, label.name, ~(known | np.isnan(values)), f"a class from 0 to {size - 1}, or NaN")
    _check_events(cloud, origin)
    return cloud


def _check_events(cloud: Cloud, origin: Origin) -> None:
    schema = cloud.schema
    for column in schema.columns:
        _refuse_event(cloud, origin, column.name, np.isinf(cloud.events[column.name]), "a finite number")
    if schema.weight:
        _refuse_event(cloud, origin, schema.weight, ~np.isfinite(cloud.events[schema.weight]), "a finite weight")
    for label in schema.labels:
        values, last = cloud.events[label.name], len(label.classes) - 1
        bad = (values < -1) | (values > last) if label.classes else np.isinf(values)
        expected = f"a class from 0 to {last}, or -1 if unknown" if label.classes else "a finite number, or NaN if unknown"
        _refuse_event(cloud, origin, label.name, bad, expected)


def _refuse_particle(cloud: Cloud, origin: Origin, name: str, bad: NDArray[Any], expected: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        ends = np.cumsum(cloud.counts)
        event = int(np.searchsorted(ends, at, side="right"))
        place = f"particle {at - int(ends[event] - cloud.counts[event])} of {origin.event(event)}"
        value = cloud.flat(name)[at]
        raise BadFile(f"{origin.path}: {origin.column(name)} is {value} for {place}, expected {expected}")


def _refuse_event(cloud: Cloud, origin: Origin, name: str, bad: NDArray[Any], expected: str) -> None:
    if bad.any():
        at = int(np.argmax(bad))
        value = cloud.events[name][at]
        raise BadFile(f"{origin.path}: {origin.column(name)} is {value} in {origin.event(at)}, expected {expected}")
