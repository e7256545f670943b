"""Card: YAML that maps the columns of any ROOT, HDF5, Parquet or npz file to named features. No code, no eval."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from cloudchamber.data.reader import is_standard, standard
from cloudchamber.errors import BadCard, BadInput
from cloudchamber.events.schema import Frame
from cloudchamber.recipe import first_problem, plain_yaml
from cloudchamber.units import internal_unit, to_internal

MOMENTUM_FORMS = (
    ("px", "py", "pz", "energy"),
    ("px", "py", "pz", "mass"),
    ("pt", "eta", "phi", "energy"),
    ("pt", "eta", "phi", "mass"),
    ("pt", "rapidity", "phi", "mass"),
    ("pt", "cot_theta", "phi", "mass"),
)
KINEMATIC = tuple(dict.fromkeys(name for form in MOMENTUM_FORMS for name in form))
PDG = "pdg"  # the particle entry whose codes become charge and flags

_MOMENTUM_UNITS = {
    **dict.fromkeys(("px", "py", "pz", "energy", "pt", "mass"), "GeV"),
    "eta": "1",
    "rapidity": "1",
    "cot_theta": "1",
    "phi": "rad",
}


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Document):
    """Where a quantity comes from: a column of the file, in a unit; or a constant `value`.

    index: position on the last axis of an array with one more axis than needed (on `axis`, if another).
    slots: (P, Q) if a row holds P slots of Q quantities, one slot after the other, and maybe more behind; index: which of Q.
    missing: the number that the file writes where there is no value; it becomes NaN.
    only_if: another quantity of the same particles; where it is 0, this one becomes NaN (an impact parameter needs a charge).
    codes: for `pdg`, the file's own codes and the PDG codes that they stand for.
    classes: of a particle quantity that is a label, to be learned and never shown to a model: the column holds their index,
    or the codes in `values`, in the order of the classes; anything else that is negative or no such code is unknown.
    """

    column: str | None = None
    value: float | None = None
    unit: str = "1"
    index: int | None = None
    axis: int = -1
    slots: tuple[int, int] | None = None
    missing: float | None = None
    only_if: str | None = None
    codes: dict[int, int] = {}
    classes: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    kind: Literal["number", "flag", "integer"] = "number"
    description: str = ""

    @field_validator("unit")
    @classmethod
    def _known_unit(cls, unit: str) -> str:
        try:
            to_internal(unit)
        except BadInput as error:
            raise ValueError(str(error)) from error
        return unit

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.column is None) == (self.value is None):
            raise ValueError("give either `column` or a constant `value`")
        if self.values and len(self.values) != len(self.classes):
            raise ValueError(f"`values` has {len(self.values)} entries, `classes` has {len(self.classes)}")
        if self.slots and (self.index is None or not 0 <= self.index < self.slots[1]):
            raise ValueError(f"`slots` {list(self.slots)} needs an `index` from 0 to {self.slots[1] - 1}")
        return self


class Collection(_Document):
    """One kind of objects among several: jets, muons, missing momentum.

    Columns are lists of their own length per event, or hold one number per event: then each event has one such object.
    """

    particles: dict[str, Source]


class Target(_Document):
    """A label. Classes come from a column of their index (or of the codes in `values`, in the order of the classes), from
    a 2-d one-hot `column`, or from one-hot columns (`one_hot`). Without classes it is a number in `unit`. index: position
    on the last axis of a 2-d column.
    """

    column: str | None = None
    index: int | None = None
    one_hot: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    unit: str = "1"
    description: str = ""

    @field_validator("classes", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        for name in value if isinstance(value, (list, tuple)) else ():
            if not isinstance(name, str):
                raise ValueError(f"{name!r} is no name; YAML takes no, yes and numbers for values: put it in quotes")  # noqa: TRY004
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.column is None) == (not self.one_hot):
            raise ValueError("give either `column` or `one_hot`")
        for name in ("one_hot", "values"):
            if getattr(self, name) and len(getattr(self, name)) != len(self.classes):
                raise ValueError(f"`{name}` has {len(getattr(self, name))} entries, `classes` has {len(self.classes)}")
        return self


class Cut(_Document):
    """Keep events whose column is at least `min`, at most `max`, equal to `equals`; every one that is given."""

    column: str
    min: float | None = None
    max: float | None = None
    equals: float | None = None


Format = Literal["root", "hdf5", "parquet", "npz"]


class Card(_Document):
    """How to read a file.

    format: one file type, or several that hold the same columns. tree: the ROOT tree, RNTuple or HDF5 group that column
    names start from; of several, the one that the file has. particles: the quantities of an event's particles; `pdg` among
    them gives charge and particle flags (pdg.charge_and_flags), except those that have an entry of their own.
    collections: further kinds of particles, each with its own columns and momentum; an event's particles are those of
    `particles` and of every collection, one after the other. A quantity that some of them lack is NaN there, but 0 if it is
    a constant flag, which says what a particle is. layout: `jagged` (one list per event) or `padded`
    (one row of slots per event); padded slots end after `count` particles, or hold zeros (`padding: zero-energy` or
    `zero-pt`). recognise: keys that a file must have for a shipped card to apply without being named; shapes: and the shape
    that an event must have in some of them (HDF5 and npz).
    """

    version: Literal[1] = 1
    name: str
    format: tuple[Format, ...]
    tree: tuple[str, ...] = ()
    recognise: tuple[str, ...] = ()
    shapes: dict[str, tuple[int, ...]] = {}
    frame: Frame
    layout: Literal["jagged", "padded"]
    count: str | None = None
    padding: Literal["zero-energy", "zero-pt"] | None = None
    particles: dict[str, Source] = {}
    collections: dict[str, Collection] = {}
    columns: dict[str, Source] = {}
    labels: dict[str, Target] = {}
    weight: str | None = None
    selection: tuple[Cut, ...] = ()
    simulated: bool | None = None
    licence: str = "not stated"
    citation: tuple[str, ...] = ()
    notes: str = ""

    @field_validator("format", "tree", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return ((value,) if value else ()) if isinstance(value, str) else value

    @property
    def groups(self) -> dict[str, dict[str, Source]]:
        """The particles of every kind, by their place in the card."""
        first = {"particles": self.particles} if self.particles else {}
        return first | {f"collections.{name}.particles": c.particles for name, c in self.collections.items()}

    @property
    def features(self) -> dict[str, Source]:
        """Every particle feature that an entry names, with the first source that it has."""
        found: dict[str, Source] = {}
        for group in self.groups.values():
            for name, source in group.items():
                if name not in (*KINEMATIC, PDG) and not source.classes:
                    found.setdefault(name, source)
        return found

    @property
    def particle_labels(self) -> dict[str, Source]:
        """Every particle quantity that is a label."""
        return {n: s for group in self.groups.values() for n, s in group.items() if s.classes}

    @property
    def padding_name(self) -> str:
        """The particle quantity that is 0 in an empty slot: energy or pt."""
        return (self.padding or "").removeprefix("zero-")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.format or not self.groups:
            raise ValueError("a card needs a `format`, and `particles` or `collections`")
        for place, group in self.groups.items():
            self._check_group(place, group)
        padded = self.layout == "padded"
        if padded != (self.count is not None or self.padding is not None) or (self.count and self.padding):
            raise ValueError("layout `padded` needs either `count` or `padding`, and `jagged` neither of them")
        if padded and self.collections:
            raise ValueError("collections need the layout `jagged`")
        if self.padding and self.padding_name not in self.particles:
            raise ValueError(f"padding {self.padding!r} needs particles.{self.padding_name}")
        names = [*self.columns, *self.labels, *([self.weight] if self.weight else [])]
        if len(set(names)) != len(names):
            raise ValueError(f"columns, labels and weight share a name: {', '.join(sorted(names))}")
        return self

    def _check_group(self, place: str, group: dict[str, Source]) -> None:
        if form(group) is None:
            forms = "; ".join(" ".join(names) for names in MOMENTUM_FORMS)
            given = " ".join(name for name in group if name in KINEMATIC)
            raise ValueError(
                f"{place} give the momentum as ({given}), expected one of: {forms}. "
                "For massless particles add `mass: {value: 0}`"
            )
        if not any(source.column for source in group.values()):
            raise ValueError(f"{place} are all constants; at least one must be a column")
        for name, source in group.items():
            expected = _MOMENTUM_UNITS.get(name) or (standard(name)[0].unit if is_standard(name) else None)
            if expected and internal_unit(source.unit) != expected:
                raise ValueError(f"{place}.{name} has unit {source.unit!r}, expected one that converts to {expected!r}")
            other = self.features.get(name, source)
            if not is_standard(name) and (internal_unit(other.unit), other.kind) != (internal_unit(source.unit), source.kind):
                raise ValueError(f"{place}.{name} has another unit or kind than {name} of the particles before it")
            if source.only_if is not None and (source.only_if not in group or name in KINEMATIC):
                raise ValueError(f"{place}.{name}: only_if {source.only_if!r} must be another entry, and not for a momentum")
            if source.classes and (name in (*KINEMATIC, PDG) or is_standard(name) or name in self.features):
                raise ValueError(
                    f"{place}.{name} is a label (it has classes), but other particles or files have it as a feature"
                )
            if source.codes and name != PDG:
                raise ValueError(f"{place}.{name}: codes are for {PDG} alone")


def form(group: Mapping[str, Source]) -> tuple[str, ...] | None:
    """The one of MOMENTUM_FORMS that some particle quantities give; None if they give none of them."""
    return next((names for names in MOMENTUM_FORMS if set(names) == set(group) & set(KINEMATIC)), None)


def load(path: Path) -> Card:
    """The card at `path`. Raises BadCard that says which entry is wrong, with the nearest known name."""
    try:
        return Card.model_validate(plain_yaml(path, BadCard, "card"))
    except ValidationError as error:
        raise BadCard(f"{path}: {first_problem(error, Card, Source, Target, Cut, Collection)}") from error
