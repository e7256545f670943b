"""Reading by a card: the columns that it names become a Cloud in our units."""

# N event, P particle slot, T particle of any event

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.card import PDG, Card, Source, Target
from cloudchamber.data.card_particles import in_our_units, kind_of_objects, one_after_the_other
from cloudchamber.data.containers import Column, Container, Jagged
from cloudchamber.data.pdg import PDG_FEATURES
from cloudchamber.data.reader import Reader, class_index, is_standard, one_hot_index, standard
from cloudchamber.errors import BadFile, MissingColumn, nearest
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.units import internal_unit, to_internal


def card_reader(card: Card, path: Path) -> Reader:
    """The reader that a card describes. path: the card's file, for error messages."""
    schema = _schema(card)

    def recognises(container: Container) -> bool:
        wanted = {_key(card, name, container) for name in card.recognise}
        if container.kind.lower() not in card.format or not wanted or not wanted <= set(container.keys):
            return False
        return all(container.shape(_key(card, name, container))[1:] == shape for name, shape in card.shapes.items())

    def read(container: Container, start: int, stop: int) -> Cloud:
        columns = _columns(card, path, container, start, stop)
        return _Block(card, path, container, columns, np.arange(start, stop)).cloud(schema)

    def count(container: Container) -> int:
        first = next(s.column for group in card.groups.values() for s in group.values() if s.column)
        key = _key(card, first, container)
        _need(container, key, "particles", card, path)
        return container.rows(key)

    return Reader(card.name, f"card {path.name}", card.citation, recognises, count, read, _sources(card), bool(card.selection))


def _sources(card: Card) -> dict[str, str]:
    """The file's column of each of ours; several, where collections have their own."""
    named = [item for group in (*card.groups.values(), card.columns) for item in group.items()]
    found: dict[str, list[str]] = {}
    for name, source in named:
        if source.column and source.column not in found.setdefault(name, []):
            found[name].append(source.column)
    return {name: ", ".join(columns) for name, columns in found.items()}


def _schema(card: Card) -> Schema:
    own = card.features
    names = list(own)
    if any(PDG in group for group in card.groups.values()):
        names += [n for n in PDG_FEATURES if n not in own]
    return Schema(
        dataset=card.name,
        frame=card.frame,
        features=tuple(standard(n)[0] if is_standard(n) else _feature(n, own[n]) for n in names),
        columns=tuple(_feature(n, s) for n, s in card.columns.items()),
        labels=tuple(
            Label(name=n, classes=t.classes, unit=internal_unit(t.unit), description=t.description)
            for n, t in card.labels.items()
        ),
        particle_labels=tuple(
            Label(name=n, classes=s.classes, description=s.description) for n, s in card.particle_labels.items()
        ),
        weight=card.weight,
        simulated=card.simulated,
        licence=card.licence,
        citation=card.citation,
        notes=card.notes,
    )


def _feature(name: str, source: Source) -> Feature:
    return Feature(name=name, unit=internal_unit(source.unit), kind=source.kind, description=source.description)


def _places(card: Card) -> dict[str, str]:
    """Every column that the card names -> the first entry of the card that names it."""
    named = [(s.column, f"{place}.{n}") for place, group in card.groups.items() for n, s in group.items()]
    named += [(s.column, f"columns.{n}") for n, s in card.columns.items()]
    named += [(c, f"labels.{n}") for n, t in card.labels.items() for c in (t.column, *t.one_hot)]
    named += [(card.count, "count"), (card.weight, "weight")]
    named += [(cut.column, f"selection.{i}") for i, cut in enumerate(card.selection)]
    return {column: place for column, place in reversed(named) if column}


def _need(container: Container, key: str, place: str, card: Card, path: Path) -> None:
    if key not in container.keys:
        _need_tree(container, card, path)
        raise MissingColumn(
            f"{container.path}: has no column {key!r}. Nearest: {nearest(key, container.keys)}. Edit {place} in {path}."
        )


def _need_tree(container: Container, card: Card, path: Path) -> None:
    trees = dict.fromkeys(key.rpartition("/")[0] for key in container.keys)
    in_trees = card.tree and container.kind in ("ROOT", "HDF5")
    if in_trees and not any(key.startswith(f"{tree}/") for tree in card.tree for key in container.keys):
        raise MissingColumn(
            f"{container.path}: has no tree {' or '.join(map(repr, card.tree))}. "
            f"Nearest: {nearest(card.tree[0], trees)}. Edit tree in {path}."
        )


def _columns(card: Card, path: Path, container: Container, start: int, stop: int) -> dict[str, Column]:
    if container.kind.lower() not in card.format:
        raise BadFile(
            f"{container.path}: is a {container.kind} file, {path} is for {' or '.join(card.format)}. Edit format in the card."
        )
    keys = {column: _key(card, column, container) for column in _places(card)}
    for column, place in _places(card).items():
        _need(container, keys[column], place, card, path)
    found = container.read(keys.values(), start, stop, card.name)
    return {column: found[key] for column, key in keys.items()}


def _key(card: Card, column: str, container: Container) -> str:
    """The container's name of a column. Only ROOT and HDF5 have trees; of several in the card, the first that is there."""
    if not card.tree or container.kind not in ("ROOT", "HDF5"):
        return column
    there = (tree for tree in card.tree if f"{tree}/{column}" in container.keys)
    return f"{next(there, card.tree[0])}/{column}"


class _Block:
    """The columns of one block of events, and the cloud made of them."""

    def __init__(self, card: Card, path: Path, container: Container, columns: Mapping[str, Column], numbers: NDArray[np.int64]):
        self.card, self.path, self.container, self.columns = card, path, container, columns
        self.keep = self._selected(len(numbers))
        self.numbers = numbers[self.keep]

    def cloud(self, schema: Schema) -> Cloud:
        """The selected events."""
        kinds = []
        for place, group in self.card.groups.items():
            counts, values = self._padded(group) if self.card.layout == "padded" else self._jagged(place, group)
            kinds.append((counts, kind_of_objects(group, counts, values)))
        counts, particles = one_after_the_other(kinds, self.card, schema)
        events = {n: in_our_units(self._events(s.column, n, s.index), s) for n, s in self.card.columns.items() if s.column}
        events |= {n: np.full(len(self.numbers), s.value) for n, s in self.card.columns.items() if s.value is not None}
        events |= {n: self._label(n, t) for n, t in self.card.labels.items()}
        if self.card.weight:
            events[self.card.weight] = self._events(self.card.weight, "weight").astype(np.float64)
        return Cloud.from_flat(counts, particles, events, schema)

    def _selected(self, size: int) -> NDArray[np.bool_]:
        keep = np.ones(size, dtype=np.bool_)
        self.keep = keep
        for i, cut in enumerate(self.card.selection):
            values = self._events(cut.column, f"selection.{i}")
            passed = np.ones(size, dtype=np.bool_)
            passed &= True if cut.min is None else values >= cut.min
            passed &= True if cut.max is None else values <= cut.max
            passed &= True if cut.equals is None else values == cut.equals
            keep = keep & passed
        return keep

    def _jagged(self, place: str, group: Mapping[str, Source]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        counts, values, first = None, {}, ""
        single = place != "particles" and not any(
            isinstance(self.columns[s.column], Jagged) for s in group.values() if s.column
        )
        for name, source in group.items():
            if source.column is None:
                continue
            column = self.columns[source.column]
            if single:  # one object per event
                numbers = self._events(source.column, f"{place}.{name}", source.index)
                column = Jagged(np.ones(len(numbers), dtype=np.int64), numbers)
            elif isinstance(column, Jagged):
                column = Jagged(column.counts[self.keep], column.values[np.repeat(self.keep, column.counts)])
            else:
                raise BadFile(
                    f"{self.container.path}: column {source.column!r} has one number per event, expected a list. "
                    f"Edit {place}.{name} or layout in {self.path}."
                )
            if counts is None:
                counts, first = column.counts, source.column
            if not np.array_equal(counts, column.counts):
                at = int(np.argmax(counts != column.counts))
                raise BadFile(
                    f"{self.container.path}: column {source.column!r} has {column.counts[at]} values in event "
                    f"{self.numbers[at]}, {first!r} has {counts[at]}"
                )
            values[name] = column.values
        assert counts is not None
        return counts, values

    def _padded(self, group: Mapping[str, Source]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
        slots = {n: self._slots(n, s) for n, s in group.items() if s.column}
        shape = next(iter(slots.values())).shape
        for name, values_NP in slots.items():
            if values_NP.shape != shape:
                raise BadFile(f"{self.container.path}: particles.{name} has shape {values_NP.shape}, the first {shape}")
        if self.card.count:
            real = np.arange(shape[1]) < self._counts(self.card.count, shape[1])[:, None]
        else:
            real = slots[self.card.padding_name] != 0
        return real.sum(axis=1), {n: v[real] for n, v in slots.items()}

    def _slots(self, name: str, source: Source) -> NDArray[Any]:
        """(N, P) one quantity of every slot of the selected events."""
        column = self.columns[source.column or ""]
        if isinstance(column, Jagged):
            raise BadFile(f"{self.container.path}: column {source.column!r} is jagged. Edit layout in {self.path}.")
        if source.slots:
            size, quantities = prod(source.slots), source.slots[1]
            if column.ndim != 2 or column.shape[1] < size:
                raise BadFile(
                    f"{self.container.path}: column {source.column!r} has shape {column.shape}, expected events x {size} "
                    f"or more. Edit particles.{name} (slots) in {self.path}."
                )
            return column[self.keep, source.index : size : quantities]
        array = self._take(column, source.index, source.axis, name)
        if array.ndim != 2:
            raise BadFile(
                f"{self.container.path}: column {source.column!r} has shape {column.shape}, expected events x slots"
                f"{' x quantities' if source.index is not None else ''}. Edit particles.{name} (index, axis) in {self.path}."
            )
        return array[self.keep]

    def _counts(self, column: str, width: int) -> NDArray[Any]:
        counts = self._events(column, "count")
        bad = ~((counts >= 0) & (counts <= width))
        if bad.any():
            at = int(np.argmax(bad))
            raise BadFile(
                f"{self.container.path}: column {column!r} says {counts[at]} particles in event {self.numbers[at]}, "
                f"expected 0 to {width}"
            )
        return counts

    def _events(self, column: str | None, place: str, index: int | None = None) -> NDArray[Any]:
        """(N,) one number per selected event."""
        values = self.columns[column or ""]
        if isinstance(values, Jagged) and (values.counts == 1).all():  # Delphes keeps its event as a list of one
            values = values.values
        if not isinstance(values, Jagged):
            values = self._take(values, index, -1, place)
            if values.ndim == 1:
                return values[self.keep]
        raise BadFile(
            f"{self.container.path}: column {column!r} has not one number per event. Edit {place} (index) in {self.path}."
        )

    def _take(self, array: NDArray[Any], index: int | None, axis: int, place: str) -> NDArray[Any]:
        if index is None:
            return array
        if not -array.ndim <= axis < array.ndim or not -array.shape[axis] <= index < array.shape[axis]:
            raise BadFile(
                f"{self.container.path}: index {index} on axis {axis} is outside the shape {array.shape}. "
                f"Edit {place} in {self.path}."
            )
        return np.asarray(np.take(array, index, axis=axis))

    def _label(self, name: str, target: Target) -> NDArray[Any]:
        if target.one_hot:
            flags_NC = np.stack([self._events(c, f"labels.{name}") for c in target.one_hot], axis=1)
            return one_hot_index(self.container, name, flags_NC, self.numbers)
        column = self.columns[target.column or ""]
        several = target.index is None and target.classes
        if several and not isinstance(column, Jagged) and column.shape[1:] == (len(target.classes),):
            return one_hot_index(self.container, name, column[self.keep], self.numbers)
        values = self._events(target.column, f"labels.{name}", target.index)
        if not target.classes:
            return values.astype(np.float64) * to_internal(target.unit)
        if target.values:
            codes = np.array(target.values)
            values = np.where(np.isin(values, codes), np.argmax(values[:, None] == codes, axis=1), -1)
        return class_index(self.container, target.column or name, values, len(target.classes), self.numbers)
