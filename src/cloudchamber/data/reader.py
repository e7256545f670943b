"""Reader: one file format. How to know it, count its events and read a block of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.errors import BadFile, BadInput
from cloudchamber.events import Cloud, Feature


@dataclass(frozen=True)
class Reader:
    """One format. A new one is a file in `data/readers` with such an object called READER.

    recognises: whether an open file has this format, from its keys alone. count: its number of events.
    read: events start to stop as a Cloud in GeV, mm, ns, rad, float32 particles. sources: the file's own name of a
    cloud column, where it has one, for error messages. selects: whether `read` leaves events out.
    citation: what a user of such data owes.
    """

    name: str
    description: str
    citation: tuple[str, ...]
    recognises: Callable[[Container], bool]
    count: Callable[[Container], int]
    read: Callable[[Container, int, int], Cloud]
    sources: Mapping[str, str] = field(default_factory=dict)
    selects: bool = False


_FEATURES = {
    f.name: f
    for f in (
        Feature(name="charge", kind="integer", description="electric charge in units of e"),
        Feature(name="is_charged_hadron", kind="flag"),
        Feature(name="is_neutral_hadron", kind="flag"),
        Feature(name="is_photon", kind="flag"),
        Feature(name="is_electron", kind="flag"),
        Feature(name="is_muon", kind="flag"),
        Feature(name="d0", unit="mm", description="transverse impact parameter; NaN without a track"),
        Feature(name="d0_err", unit="mm", description="its uncertainty"),
        Feature(name="dz", unit="mm", description="longitudinal impact parameter; NaN without a track"),
        Feature(name="dz_err", unit="mm", description="its uncertainty"),
        Feature(name="puppi", description="PUPPI weight"),
        Feature(name="jet", kind="integer", description="index of the particle's jet in its event"),
    )
}


def standard(*names: str) -> tuple[Feature, ...]:
    """The particle features that many formats share, by name: each has one unit and one meaning everywhere."""
    return tuple(_FEATURES[name] for name in names)


def is_standard(name: str) -> bool:
    """Whether many formats share this particle feature."""
    return name in _FEATURES


def class_index(container: Container, column: str, values: NDArray[Any], size: int, events: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) class indices from a column of them.

    events: (N,) their numbers in the file. Raises BadFile that names the first event without a class of 0 to size - 1.
    """
    values = np.asarray(values)
    if values.size != len(values):
        raise BadFile(f"{container.path}: label {column!r} has shape {values.shape}, expected one number per event")
    values = values.reshape(-1)  # one number per event may be a column of width 1
    bad = ~((values >= 0) & (values < size) & (values == np.floor(values)))
    if bad.any():
        at = int(np.argmax(bad))
        raise BadFile(f"{container.path}: label {column!r} is {values[at]} in event {events[at]}, expected 0 to {size - 1}")
    index: NDArray[np.int64] = values.astype(np.int64)
    return index


def one_hot_index(container: Container, column: str, flags_NC: NDArray[Any], events: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) class indices from one-hot flags of any type.

    events: (N,) their numbers in the file. Raises BadFile that names the first event without exactly one class.
    """
    flags_NC = np.asarray(flags_NC)
    bad = ((flags_NC != 0) & (flags_NC != 1)).any(axis=1) | ((flags_NC == 1).sum(axis=1) != 1)
    if bad.any():
        at = int(np.argmax(bad))
        got = flags_NC[at].tolist()
        raise BadFile(f"{container.path}: {column!r} is not one-hot in event {events[at]}: {got}, expected one 1 and zeros")
    return np.asarray(np.argmax(flags_NC, axis=1), dtype=np.int64)


def block(start: int, stop: int | None, count: int) -> tuple[int, int]:
    """The rows that a caller's start and stop mean in a file of `count` events.

    >>> block(5, None, 20)
    (5, 20)
    """
    if not 0 <= start <= count or (stop is not None and stop < start):
        raise BadInput(f"events {start} to {stop} were asked for, there are {count}")
    return start, count if stop is None else min(stop, count)
