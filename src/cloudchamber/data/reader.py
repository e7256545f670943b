"""Reader: one file format. How to know it, count its events and read a block of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Column, Container, Jagged
from cloudchamber.errors import BadFile, BadInput, BadSchema
from cloudchamber.events import Cloud, Feature, Schema


@dataclass(frozen=True)
class Events:
    """Events to be written to a file. clouds: starts at the first event again each time, a shard in memory at a time."""

    schema: Schema
    count: int
    clouds: Callable[[], Iterator[Cloud]]


Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Reader:
    """One format. A new one is a file in `data/readers` with such an object called READER.

    recognises: whether an open file has this format, from its keys alone. count: its number of events.
    read: events start to stop as a Cloud in GeV, mm, ns, rad, float32 particles. sources: the file's own name of a
    cloud column, where it has one, for error messages. selects: whether the events of `read` are not one for one those of
    the file, start and stop: it leaves some out, or makes several of one (the jets of a collision).
    citation: what a user of such data owes. write: the other way, events to a new file that appears whole or not at
    all; None where that is not possible. It raises BadSchema or BadInput for what the format cannot hold.
    """

    name: str
    description: str
    citation: tuple[str, ...]
    recognises: Callable[[Container], bool]
    count: Callable[[Container], int]
    read: Callable[[Container, int, int], Cloud]
    sources: Mapping[str, str] = field(default_factory=dict)
    selects: bool = False
    write: Callable[[Events, Path], None] | None = None


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
        Feature(name="pdg", kind="integer", description="PDG code; NaN for a nucleus, whose code has too many digits"),
        Feature(name="is_neutrino", kind="flag"),
        Feature(name="is_nucleus", kind="flag", description="a nucleus, or what a generator has in its place"),
        *(Feature(name=n, unit="mm", description="position; the schema's notes say of what and from where") for n in "xyz"),
        Feature(name="time", unit="ns", description="time of that position"),
        Feature(name="jet", kind="integer", description="index of the particle's jet in its event"),
    )
}


def standard(*names: str) -> tuple[Feature, ...]:
    """The particle features that many formats share, by name: each has one unit and one meaning everywhere."""
    return tuple(_FEATURES[name] for name in names)


def is_standard(name: str) -> bool:
    """Whether many formats share this particle feature."""
    return name in _FEATURES


def of_event(container: Container, columns: Mapping[str, Column], key: str) -> NDArray[Any]:
    """A column with one number (or one array of fixed size) per event. Raises BadFile if it has lists."""
    column = columns[key]
    if isinstance(column, Jagged):
        raise BadFile(f"{container.path}: column {key!r} has a list per event, expected one number")
    return column


def of_particles(
    container: Container, columns: Mapping[str, Column], keys: Sequence[str], start: int
) -> tuple[NDArray[np.int64], Columns]:
    """Counts per event, and the flat values by key, of columns with one value per particle.

    start: the number in the file of the first event. Raises BadFile that names the first event whose counts differ.
    """
    counts: NDArray[np.int64] | None = None
    values = {}
    for key in keys:
        column = columns[key]
        if not isinstance(column, Jagged):
            raise BadFile(f"{container.path}: column {key!r} has one number per event, expected a list of particles")
        counts = column.counts if counts is None else counts
        if not np.array_equal(counts, column.counts):
            at = int(np.argmax(counts != column.counts))
            raise BadFile(
                f"{container.path}: column {key!r} has {column.counts[at]} values in event {start + at}, "
                f"{keys[0]!r} has {counts[at]}"
            )
        values[key] = column.values
    assert counts is not None
    return counts, values


def single(values: NDArray[Any]) -> NDArray[np.float32]:
    """The values as float32; an absurd one becomes infinite, and the border check names it."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def kept_counts(counts: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) how many of each event's particles are kept."""
    return np.bincount(np.repeat(np.arange(len(counts)), counts)[kept], minlength=len(counts))


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


def need_exactly(schema: Schema, reader: str, features: Collection[str], columns: Collection[str] = ()) -> None:
    """Raise BadSchema unless events are jets with these particle features, these event columns and one class label."""
    if schema.frame != "jet":
        raise BadSchema(f"{schema.dataset!r} cannot be written as {reader}, which holds jets: its frame is {schema.frame!r}")
    held = {*columns, schema.resolve("label")}
    missing = [n for n in features if n not in schema.feature_names] + [n for n in columns if n not in schema.event_names]
    extra = [n for n in (*schema.feature_names, *schema.particle_label_names) if n not in features] + [
        n for n in schema.event_names if n not in held
    ]
    problems = [f"it lacks {', '.join(missing)}"] if missing else []
    problems += [f"the format has no place for {', '.join(extra)} (to leave columns out: drop= or --drop)"] if extra else []
    if problems:
        raise BadSchema(f"{schema.dataset!r} cannot be written as {reader}: {'; '.join(problems)}")


def indices_among(cloud: Cloud, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """(N,) each event's class as its position in `classes`. Raises BadSchema or BadInput if it has none there."""
    label = cloud.schema.label(cloud.schema.resolve("label"))
    if other := [name for name in label.classes if name not in classes]:
        raise BadSchema(f"label {label.name!r} has the class {other[0]!r}, the format has only {', '.join(classes)}")
    values = cloud.labels[label.name]
    if (values < 0).any():
        raise BadInput(f"label {label.name!r} is unknown (-1) in some events, which the format cannot say")
    return np.asarray(np.array([classes.index(name) for name in label.classes])[values], dtype=np.int64)
