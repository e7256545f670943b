"""Cloud: particles of many events (jagged), the events' own columns, and the schema that says what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadSchema, nearest
from cloudchamber.events.schema import MOMENTUM, Schema


class Labels(Mapping[str, "NDArray[Any]"]):
    """The label columns of a cloud, by the name that the file gives them; "label" also means the only class label."""

    def __init__(self, columns: dict[str, NDArray[Any]], schema: Schema):
        self._columns = columns
        self._schema = schema

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._columns[self._schema.resolve(name)]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"<Labels {', '.join(self._columns) or 'none'}>"


@dataclass(frozen=True, repr=False)
class Cloud:
    """Events as clouds of particles.

    particles: awkward array N * var * {px, py, pz, energy [GeV], features and labels of the schema}, all float32 or float64.
    events: one array of length N per event column of the schema (columns, labels, weight).
    Padding does not exist here: an event has as many particles as it has, possibly none.

    Raises BadSchema if arrays and schema disagree. Checked once, here, and trusted afterwards.
    """

    particles: ak.Array
    events: Mapping[str, NDArray[Any]]
    schema: Schema

    def __post_init__(self) -> None:
        _check_names("particle", set(self.particles.fields), set(self.schema.particle_names))
        _check_names("event", set(self.events), set(self.schema.event_names))
        for name, column in self.events.items():
            if len(column) != len(self.particles):
                raise BadSchema(
                    f"event column {name!r} of {self.schema.dataset!r} has {len(column)} entries, "
                    f"the particles have {len(self.particles)} events"
                )

    @classmethod
    def from_flat(
        cls, counts: NDArray[Any], particles: Mapping[str, NDArray[Any]], events: Mapping[str, NDArray[Any]], schema: Schema
    ) -> Cloud:
        """A cloud from flat particle columns.

        counts: (N,) particles per event. particles: (sum of counts,) per column. events: (N,) per column.
        """
        layout = ak.contents.ListOffsetArray(
            ak.index.Index64(np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])),
            ak.contents.RecordArray([ak.contents.NumpyArray(np.asarray(p)) for p in particles.values()], list(particles)),
        )
        return cls(ak.Array(layout), dict(events), schema)

    def __len__(self) -> int:
        return len(self.particles)

    def __getitem__(self, key: Any) -> Cloud:
        """The events selected by a slice, a boolean mask of length N, or an integer array."""
        if isinstance(key, str):
            raise TypeError(f"a cloud is indexed by events. For {key!r}: .particles[NAME], .events[NAME] or .labels[NAME].")
        if isinstance(key, (int, np.integer)):
            key = slice(key, key + 1 or None)
        elif not isinstance(key, slice):
            key = np.asarray(key)
            if key.size == 0:
                key = key.astype(np.int64)
        return Cloud(self.particles[key], {n: c[key] for n, c in self.events.items()}, self.schema)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(N,) number of particles of each event."""
        return np.asarray(ak.num(self.particles, axis=1), dtype=np.int64)

    @property
    def labels(self) -> Labels:
        """The label columns, by the file's own names."""
        return Labels({n: self.events[n] for n in self.schema.label_names}, self.schema)

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,) event weights; ones where the data set has none."""
        if self.schema.weight is None:
            return np.ones(len(self))
        return np.asarray(self.events[self.schema.weight], dtype=np.float64)

    def flat(self, name: str) -> NDArray[Any]:
        """(sum of counts,) one particle column of all events, one after the other."""
        return np.asarray(ak.flatten(self.particles[name], axis=1))

    def with_columns(self, schema: Schema, **events: NDArray[Any]) -> Cloud:
        """The same particles with further event columns, described by `schema`."""
        return Cloud(self.particles, {**self.events, **events}, schema)

    def __repr__(self) -> str:
        s = self.schema
        mean = float(self.counts.mean()) if len(self) else 0.0
        kind = {True: ", simulated", False: ", recorded", None: ""}[s.simulated]
        lines = [
            f"<Cloud {s.dataset}: {len(self):,} events, {mean:.1f} particles each, frame {s.frame}{kind}",
            f"  particle: {', '.join(MOMENTUM)} [GeV]{_listing(s.features)}",
        ]
        lines += [f"  event:   {_listing(s.columns)[1:]}"] if s.columns else []
        lines += [f"  particle label: {lb.name} ({', '.join(lb.classes)})" for lb in s.particle_labels]
        told = [f" ({', '.join(lb.classes)})" if lb.classes else _unit(lb) for lb in s.labels]
        lines += [f"  label:    {lb.name}{text}" for lb, text in zip(s.labels, told, strict=True)]
        return "\n".join(lines) + ">"


def concatenate(clouds: Sequence[Cloud]) -> Cloud:
    """One cloud from several with equal schemas; BadSchema if they differ."""
    first = clouds[0]
    for other in clouds[1:]:
        if other.schema != first.schema:
            raise BadSchema(f"cannot join {first.schema.dataset!r} and {other.schema.dataset!r}: their schemas differ")
    return Cloud(
        ak.concatenate([c.particles for c in clouds]),
        {name: np.concatenate([c.events[name] for c in clouds]) for name in first.events},
        first.schema,
    )


def _listing(features: Sequence[Any]) -> str:
    return "".join(f", {f.name}{_unit(f)}" for f in features)


def _unit(column: Any) -> str:
    return "" if column.unit == "1" else f" [{column.unit}]"


def _check_names(what: str, got: set[str], expected: set[str]) -> None:
    missing, extra = sorted(expected - got), sorted(got - expected)
    if missing:
        raise BadSchema(
            f"the schema names {what} column {missing[0]!r}, the data lack it. Nearest: {nearest(missing[0], got)}."
        )
    if extra:
        raise BadSchema(f"the data have {what} column {extra[0]!r}, the schema does not name it. Add it there or drop it.")
