"""Schema: what the columns of a data set mean. Names, units, frame, labels, weights, licence, citation."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from cloudchamber.errors import BadSchema, nearest
from cloudchamber.units import internal_unit

SCHEMA_VERSION = 1
MOMENTUM = ("px", "py", "pz", "energy")  # the particle columns that every cloud has, in GeV

Frame = Literal["jet", "collider", "fixed-target"]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Feature(_Document):
    """One named column: of a particle beyond its momentum, or of an event.

    `unit` is an internal unit (GeV, mm, ns, rad, MeV/cm or "1"); a flag is 0 or 1.
    NaN in a column means that this particle or event does not have it.
    """

    name: str
    unit: str = "1"
    kind: Literal["number", "flag", "integer"] = "number"
    description: str = ""

    @field_validator("unit")
    @classmethod
    def _internal(cls, unit: str) -> str:
        if internal_unit(unit) != unit:
            raise ValueError(f"a schema holds internal units; {unit!r} must be converted to {internal_unit(unit)!r} first")
        return unit


class Label(_Document):
    """One target column, of the events or (Schema.particle_labels) of their particles.

    A class label has `classes`; its column holds their index, -1 where unknown. A label without classes is a
    number in `unit`, NaN where unknown.
    """

    name: str
    classes: tuple[str, ...] = ()
    unit: str = "1"
    description: str = ""


class Schema(_Document):
    """The meaning of a data set's columns.

    frame: "jet" (the cloud is one jet; features are relative to its axis), "collider" (a whole event; with a
    particle feature `jet` they are relative to that jet) or "fixed-target".
    features: particle columns beyond px, py, pz, energy. columns: event columns that are neither label nor weight.
    particle_labels: particle columns that are targets and never inputs, such as where a track comes from; they hold the
    index of one of their classes, NaN where unknown.
    weight: the event column that holds the weight, if any. simulated: None where the source does not say.
    """

    version: int = SCHEMA_VERSION
    dataset: str
    frame: Frame
    features: tuple[Feature, ...] = ()
    columns: tuple[Feature, ...] = ()
    labels: tuple[Label, ...] = ()
    particle_labels: tuple[Label, ...] = ()
    weight: str | None = None
    simulated: bool | None = None
    licence: str = "not stated"
    citation: tuple[str, ...] = ()
    notes: str = Field(default="", description="known flaws and how the file was made")

    @model_validator(mode="after")
    def _particle_labels_are_no_inputs(self) -> Self:
        for label in self.particle_labels:
            if not label.classes or label.name in (*MOMENTUM, *self.feature_names, *self.event_names):
                raise ValueError(f"particle label {label.name!r} needs classes, and a name that no other column has")
        return self

    @model_serializer(mode="wrap")
    def _without_empty_particle_labels(self, as_usual: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """What has none is written as before there were any, so that equal events still make equal files."""
        written: dict[str, Any] = as_usual(self)
        return written if self.particle_labels else {k: v for k, v in written.items() if k != "particle_labels"}

    @property
    def origin(self) -> str:
        """Whether the events are simulated, in words."""
        return {True: "simulated", False: "recorded", None: "origin not stated"}[self.simulated]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the particle features beyond the momentum."""
        return tuple(f.name for f in self.features)

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the label columns, as the file calls them."""
        return tuple(label.name for label in self.labels)

    @property
    def particle_label_names(self) -> tuple[str, ...]:
        """Names of the particle columns that are targets."""
        return tuple(label.name for label in self.particle_labels)

    @property
    def particle_names(self) -> tuple[str, ...]:
        """Names of every particle column: momentum, features, then labels."""
        return (*MOMENTUM, *self.feature_names, *self.particle_label_names)

    def label(self, name: str) -> Label:
        """The label of events or particles called `name`; KeyError if there is none."""
        return {label.name: label for label in (*self.labels, *self.particle_labels)}[name]

    def resolve(self, name: str) -> str:
        """The label column that a target name means: the column of that name, or for "label" the only class label.

        Raises BadSchema with the nearest names if there is no such label, or more than one class label.

        >>> Schema(dataset="LHCO", frame="collider", labels=(Label(name="is_signal", classes=("no", "yes")),)).resolve("label")
        'is_signal'
        """
        classes = [label.name for label in self.labels if label.classes]
        known = (*self.label_names, *self.particle_label_names)
        if name in known:
            return name
        if name == "label" and len(classes) == 1:
            return classes[0]
        which = f"it has {len(classes)} class labels" if name == "label" else f"nearest: {nearest(name, known)}"
        raise BadSchema(f"{self.dataset!r} has no label {name!r}; {which}. Labels: {', '.join(known) or 'none'}.")

    @property
    def event_names(self) -> tuple[str, ...]:
        """Names of every event column: columns, labels, then the weight."""
        weight = (self.weight,) if self.weight else ()
        return tuple(c.name for c in self.columns) + self.label_names + weight
