"""Training set: what a model reads, for every event at once. Parts side by side, in memory or memory-mapped."""

# N event, B chosen event, T particle of any event, S slot of a particle, F particle column, G event column

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.identity import event_ids
from cloudchamber.data.order import Selection, Shuffle, as_array, take
from cloudchamber.errors import BadInput, BadSchema
from cloudchamber.events import Cloud, Label, Schema
from cloudchamber.events.kinematics import event_features, leading, particle_features

_CHUNK = 1 << 18  # events whose numbers are in memory at once while a whole set is looked through


@dataclass(frozen=True)
class Part:
    """Some events of one schema.

    particles_TF: float32 (T, F), columns `particle_names`, first kinematics.GEOMETRY, then the schema's particle labels,
    which are no inputs and therefore not in `particle_names`. events_N: structured, one record
    per event: start (row of its first particle), count, weight, event_id, columns (G,), target-0, target-1, ... in the
    order of the schema's labels. split: "train", "val" or "test" if all events are of it. identity: names the content.
    """

    schema: Schema
    particle_names: tuple[str, ...]
    column_names: tuple[str, ...]
    particles_TF: NDArray[np.float32]
    events_N: NDArray[Any]
    split: str | None = None
    identity: str = ""

    @classmethod
    def from_cloud(cls, cloud: Cloud, max_particles: int) -> Part:
        """Every event of a cloud with its `max_particles` leading particles.

        Derived features are those of the whole event: the cut removes tokens, it does not move the axis.
        """
        inputs = particle_features(cloud)
        assert not set(inputs) & set(cloud.schema.particle_label_names), "a label is never an input"
        features = inputs | {n: np.asarray(cloud.flat(n), dtype=np.float32) for n in cloud.schema.particle_label_names}
        extra = Schema.model_validate(
            {**cloud.schema.model_dump(), "features": [{"name": n} for n in features], "particle_labels": ()}
        )
        momentum = {name: cloud.flat(name) for name in ("px", "py", "pz", "energy")}
        kept = leading(Cloud.from_flat(cloud.counts, momentum | features, cloud.events, extra), max_particles)
        columns = event_features(cloud)
        targets = [np.asarray(cloud.events[name]) for name in cloud.schema.label_names]
        events_N = np.empty(len(cloud), dtype=record_type(len(columns), [t.dtype for t in targets]))
        events_N["count"] = kept.counts
        events_N["start"] = np.cumsum(kept.counts) - kept.counts
        events_N["weight"] = cloud.weights
        events_N["event_id"] = event_ids(cloud)
        events_N["columns"] = np.stack(list(columns.values()), axis=1)
        for i, values in enumerate(targets):
            events_N[f"target-{i}"] = values
        particles_TF = np.stack([kept.flat(n) for n in features], axis=1)
        return cls(cloud.schema, tuple(inputs), tuple(columns), particles_TF, events_N)

    @property
    def columns_of_particles(self) -> tuple[str, ...]:
        """The columns of particles_TF."""
        return (*self.particle_names, *self.schema.particle_label_names)

    def __len__(self) -> int:
        return len(self.events_N)


def record_type(columns: int, targets: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The record of one event, as in Part."""
    fields = [("start", "<i8"), ("count", "<i8"), ("weight", "<f4"), ("event_id", "<u8"), ("columns", "<f4", (columns,))]
    return np.dtype([*fields, *((f"target-{i}", t.str) for i, t in enumerate(targets))], align=True)


class TrainingSet:
    """Events of one or more parts, numbered through in the order of the parts.

    Parts may differ in features, columns and labels: the set has the union of each. What a part lacks is NaN for its
    events, an unknown class (-1) or an unknown number (NaN). Labels of one name share their classes, by name.
    Raises BadInput for a set without events, BadSchema if parts have the same label with different meanings.
    """

    def __init__(self, parts: Sequence[Part]):
        self.parts = tuple(parts)
        self.starts = np.concatenate([[0], np.cumsum([len(p) for p in self.parts], dtype=np.int64)])
        if len(self) == 0:
            raise BadInput(f"{self.parts[0].schema.dataset!r} has no events" if self.parts else "a training set has no parts")
        kinds = {id(p.schema): p for p in self.parts}
        self.particle_names = _union(p.particle_names for p in kinds.values())
        self.column_names = _union(p.column_names for p in kinds.values())
        self.schema = _joined([p.schema for p in kinds.values()])
        self.frames = _union([[p.schema.frame] for p in kinds.values()])
        self.columns_of_particles = (*self.particle_names, *self.schema.particle_label_names)
        if both := set(self.particle_names) & set(self.schema.particle_label_names):
            raise BadSchema(f"{self.schema.dataset!r}: {both.pop()!r} is a label of particles in one part, an input in another")
        self._views = [_View.of(p, self) for p in kinds.values()]
        self._view_of_part = np.array([list(kinds).index(id(p.schema)) for p in self.parts])

    @classmethod
    def from_cloud(cls, cloud: Cloud, max_particles: int = 128) -> TrainingSet:
        """The training set of a cloud, in memory, in the cloud's order."""
        return cls([Part.from_cloud(cloud, max_particles)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def names_of_frames(self) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
        """The particle and event features that the parts in each frame have."""
        found = {}
        for frame in self.frames:
            own = [p for p in self.parts if p.schema.frame == frame]
            found[frame] = _union(p.particle_names for p in own), _union(p.column_names for p in own)
        return found

    @property
    def everything(self) -> range:
        """The rows of all events."""
        return range(len(self))

    def split(self, name: str) -> Selection | None:
        """The rows of a split, if every part belongs to one split: a range, since parts of a split lie side by side."""
        members = [i for i, p in enumerate(self.parts) if p.split == name]
        if any(p.split is None for p in self.parts):
            return None
        return range(int(self.starts[members[0]]), int(self.starts[members[-1] + 1])) if members else range(0)

    def __getitem__(self, rows: Selection) -> Chosen:
        """Some events, in the order given; their records are read here, their particles when asked for."""
        rows = as_array(rows)
        part_B = np.searchsorted(self.starts, rows, side="right") - 1
        return Chosen(self, len(rows), tuple(self._pieces(part_B, rows - self.starts[part_B])))

    def chunks(self, rows: Selection) -> Iterator[NDArray[np.int64]]:
        """The rows in pieces that fit in memory."""
        for start in range(0, len(rows), _CHUNK):
            yield take(rows, np.arange(start, min(start + _CHUNK, len(rows))))

    def sample(self, rows: Selection, size: int, seed: int = 0) -> NDArray[np.int64]:
        """`size` of the rows at random (all of them if there are fewer), always the same ones."""
        return take(rows, Shuffle(len(rows), seed).at(0, min(size, len(rows))))

    def _pieces(self, part_B: NDArray[np.int64], own_B: NDArray[np.int64]) -> Iterator[_Piece]:
        """Some events, given by part and row in it, by the schema of their parts."""
        if len(self._views) == 1:
            yield _Piece(self._views[0], np.arange(len(part_B)), part_B, self._records(part_B, own_B))
            return
        view_B = self._view_of_part[part_B]
        for number in np.unique(view_B):
            members = np.flatnonzero(view_B == number)
            records_B = self._records(part_B[members], own_B[members])
            yield _Piece(self._views[number], members, part_B[members], records_B)

    def _records(self, part_B: NDArray[np.int64], own_B: NDArray[np.int64]) -> NDArray[Any]:
        """(B,) records of events in parts of one schema."""
        order = np.argsort(part_B, kind="stable")
        part_B = part_B[order]
        borders = [0, *(np.flatnonzero(np.diff(part_B)) + 1).tolist(), len(order)]
        if len(borders) == 2:
            return self.parts[int(part_B[0]) if len(part_B) else 0].events_N.take(own_B)
        records_B = np.empty(len(order), dtype=self.parts[int(part_B[0])].events_N.dtype)
        for start, stop in pairwise(borders):
            members = order[start:stop]
            records_B[members] = self.parts[int(part_B[start])].events_N.take(own_B[members])
        return records_B


@dataclass(frozen=True)
class _Piece:
    """Chosen events whose parts have one schema: their places among the chosen, their parts, their records."""

    view: _View
    members: NDArray[np.int64]
    part_B: NDArray[np.int64]
    events_B: NDArray[Any]


@dataclass(frozen=True)
class Chosen:
    """Some events of a training set, with the set's columns."""

    data: TrainingSet
    size: int
    pieces: tuple[_Piece, ...]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(B,) particles per event."""
        return self._gather(lambda _, events_B: events_B["count"])

    @property
    def weights(self) -> NDArray[np.float32]:
        """(B,) weights as in the file; 1 where it has none."""
        return self._gather(lambda _, events_B: events_B["weight"])

    @property
    def ids(self) -> NDArray[np.uint64]:
        """(B,) event ids."""
        return self._gather(lambda _, events_B: events_B["event_id"])

    @property
    def columns(self) -> NDArray[np.float32]:
        """(B, G) event columns; NaN where unknown."""
        return self._gather(lambda view, events_B: view.columns(events_B))

    def target(self, name: str) -> NDArray[Any]:
        """(B,) one label: class index or number."""
        return self._gather(lambda view, events_B: view.target(name, events_B))

    def known(self, name: str) -> NDArray[np.bool_]:
        """(B,) whether a label is known."""
        values = self.target(name)
        return values >= 0 if self.data.schema.label(name).classes else np.isfinite(values)

    def particles(self, width: int | None = None) -> NDArray[np.float32]:
        """(B, P, F) padded particles, inputs then labels. P: `width`, or the largest count, at least 1.

        Padding is 0; a feature that an event's part lacks is NaN in its particles.
        """
        longest = int(self.counts.max(initial=0))
        width = max(longest, 1) if width is None else width
        assert longest <= width
        slots_SF = np.zeros((self.size * width, len(self.data.columns_of_particles)), dtype=np.float32)
        for piece in self.pieces:
            columns = piece.view.particle_columns
            # One contiguous copy per event beats one gather of rows: the particles of an event lie side by side.
            places = (piece.members * width, piece.part_B, piece.events_B["start"], piece.events_B["count"])
            for slot, part, start, count in zip(*(p.tolist() for p in places), strict=True):
                own = self.data.parts[part].particles_TF[start : start + count]
                if columns is None:
                    slots_SF[slot : slot + count] = own
                else:
                    slots_SF[slot : slot + count] = np.nan
                    slots_SF[slot : slot + count, columns] = own
        return slots_SF.reshape(self.size, width, -1)

    def _gather(self, read: Callable[[_View, NDArray[Any]], NDArray[Any]]) -> NDArray[Any]:
        values = [read(piece.view, piece.events_B) for piece in self.pieces]
        if len(values) == 1:
            return np.ascontiguousarray(values[0])
        found = np.empty((self.size, *values[0].shape[1:]), dtype=np.result_type(*values))
        for piece, own in zip(self.pieces, values, strict=True):
            found[piece.members] = own
        return found


@dataclass(frozen=True)
class _View:
    """How the columns of a part appear in the set. particle_columns: None if they are the set's own."""

    particle_columns: list[int] | None
    column_places: list[int] | None  # likewise
    width: int
    targets: Mapping[str, tuple[str, NDArray[np.int64] | None, float]]  # field, class index in the set, value if unknown

    @classmethod
    def of(cls, part: Part, data: TrainingSet) -> _View:
        own = list(part.schema.label_names)
        targets = {}
        for label in data.schema.labels:
            index = None
            if label.name in own and label.classes:
                places = [label.classes.index(c) for c in part.schema.label(label.name).classes]
                index = np.array([*places, -1])
            field = f"target-{own.index(label.name)}" if label.name in own else ""
            targets[label.name] = (field, index, -1 if label.classes else np.nan)
        same = part.columns_of_particles == data.columns_of_particles
        same_columns = part.column_names == data.column_names
        return cls(
            particle_columns=None if same else [data.columns_of_particles.index(n) for n in part.columns_of_particles],
            column_places=None if same_columns else [data.column_names.index(n) for n in part.column_names],
            width=len(data.column_names),
            targets=targets,
        )

    def columns(self, events_B: NDArray[Any]) -> NDArray[np.float32]:
        if self.column_places is None:
            own: NDArray[np.float32] = events_B["columns"]
            return own
        found = np.full((len(events_B), self.width), np.nan, dtype=np.float32)
        found[:, self.column_places] = events_B["columns"]
        return found

    def target(self, name: str, events_B: NDArray[Any]) -> NDArray[Any]:
        field, index, unknown = self.targets[name]
        if not field:
            return np.full(len(events_B), unknown)
        return events_B[field] if index is None else index[events_B[field]]


def _union(names: Any) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in names for name in part))


def _joined(schemas: Sequence[Schema]) -> Schema:
    """One schema for the events of several: the first one's, with everyone's columns, labels, sources and notes."""
    first = schemas[0]
    if len(schemas) == 1:
        return first
    labels: dict[str, Label] = {}
    of_particles: dict[str, Label] = {}
    for schema in schemas:
        for label in schema.particle_labels:
            if of_particles.setdefault(label.name, label).classes != label.classes:
                raise BadSchema(f"particle label {label.name!r} of {schema.dataset!r} has other classes than before")
        for label in schema.labels:
            known = labels.setdefault(label.name, label)
            if bool(known.classes) != bool(label.classes) or known.unit != label.unit:
                raise BadSchema(f"label {label.name!r} of {schema.dataset!r} has another meaning than in {first.dataset!r}")
            classes = _union([known.classes, label.classes])
            labels[label.name] = known.model_copy(update={"classes": classes})
    origins = {s.simulated for s in schemas}
    return first.model_copy(
        update={
            "dataset": " + ".join(_union([[s.dataset] for s in schemas])),
            "features": tuple({f.name: f for s in reversed(schemas) for f in reversed(s.features)}.values())[::-1],
            "columns": tuple({c.name: c for s in reversed(schemas) for c in reversed(s.columns)}.values())[::-1],
            "labels": tuple(labels.values()),
            "particle_labels": tuple(of_particles.values()),
            "simulated": origins.pop() if len(origins) == 1 else None,
            "licence": " + ".join(_union([[s.licence] for s in schemas])),
            "citation": _union(s.citation for s in schemas),
            "notes": " | ".join(_union([[s.notes] for s in schemas if s.notes])),
        }
    )
