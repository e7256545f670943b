"""Card: YAML that maps the columns of any ROOT, HDF5, Parquet or npz file to named features. No code, no eval."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from cloudchamber.data.reader import is_standard, standard
from cloudchamber.errors import BadCard, BadInput, nearest
from cloudchamber.events.schema import Frame
from cloudchamber.recipe import MAX_BYTES, PlainLoader
from cloudchamber.units import internal_unit, to_internal

MOMENTUM_FORMS = (
    ("px", "py", "pz", "energy"),
    ("px", "py", "pz", "mass"),
    ("pt", "eta", "phi", "energy"),
    ("pt", "eta", "phi", "mass"),
    ("pt", "rapidity", "phi", "mass"),
)
KINEMATIC = tuple(dict.fromkeys(name for form in MOMENTUM_FORMS for name in form))


_MOMENTUM_UNITS = {
    **dict.fromkeys(("px", "py", "pz", "energy", "pt", "mass"), "GeV"),
    "eta": "1",
    "rapidity": "1",
    "phi": "rad",
}


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Document):
    """Where a quantity comes from: a column of the file, in a unit; or a constant `value`.

    index: position on the last axis of an array with one more axis than needed (on `axis`, if another).
    missing: the number that the file writes where there is no value; it becomes NaN.
    """

    column: str | None = None
    value: float | None = None
    unit: str = "1"
    index: int | None = None
    axis: int = -1
    missing: float | None = None
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
        return self


class Target(_Document):
    """A label. Classes come from a column of their index (or of the codes in `values`, in the order of the classes), from
    a 2-d one-hot `column`, or from one-hot columns (`one_hot`). Without classes it is a number in `unit`.
    """

    column: str | None = None
    one_hot: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    unit: str = "1"
    description: str = ""

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


class Card(_Document):
    """How to read a file.

    tree: the ROOT tree or HDF5 group that column names start from. layout: `jagged` (one list per event) or `padded`
    (one row of slots per event); padded slots end after `count` particles, or hold zeros (`padding: zero-energy` or
    `zero-pt`). recognise: keys that a file must have for a shipped card to apply without being named.
    """

    version: Literal[1] = 1
    name: str
    format: Literal["root", "hdf5", "parquet", "npz"]
    tree: str = ""
    recognise: tuple[str, ...] = ()
    frame: Frame
    layout: Literal["jagged", "padded"]
    count: str | None = None
    padding: Literal["zero-energy", "zero-pt"] | None = None
    particles: dict[str, Source]
    columns: dict[str, Source] = {}
    labels: dict[str, Target] = {}
    weight: str | None = None
    selection: tuple[Cut, ...] = ()
    simulated: bool | None = None
    licence: str = "not stated"
    citation: tuple[str, ...] = ()
    notes: str = ""

    @property
    def form(self) -> tuple[str, ...]:
        """The names that give a particle's momentum: one of MOMENTUM_FORMS."""
        return next(form for form in MOMENTUM_FORMS if set(form) == set(self.particles) & set(KINEMATIC))

    @property
    def padding_name(self) -> str:
        """The particle quantity that is 0 in an empty slot: energy or pt."""
        return (self.padding or "").removeprefix("zero-")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        given = [name for name in self.particles if name in KINEMATIC]
        if not any(set(form) == set(given) for form in MOMENTUM_FORMS):
            forms = "; ".join(" ".join(form) for form in MOMENTUM_FORMS)
            raise ValueError(
                f"particles give the momentum as ({' '.join(given)}), expected one of: {forms}. "
                "For massless particles add `mass: {value: 0}`"
            )
        self._check_units()
        padded = self.layout == "padded"
        if padded != (self.count is not None or self.padding is not None) or (self.count and self.padding):
            raise ValueError("layout `padded` needs either `count` or `padding`, and `jagged` neither of them")
        if self.padding and self.padding_name not in self.particles:
            raise ValueError(f"padding {self.padding!r} needs particles.{self.padding_name}")
        names = [*self.columns, *self.labels, *([self.weight] if self.weight else [])]
        if len(set(names)) != len(names):
            raise ValueError(f"columns, labels and weight share a name: {', '.join(sorted(names))}")
        return self

    def _check_units(self) -> None:
        for name, source in self.particles.items():
            expected = _MOMENTUM_UNITS.get(name) or (standard(name)[0].unit if is_standard(name) else None)
            if expected and internal_unit(source.unit) != expected:
                raise ValueError(f"particles.{name} has unit {source.unit!r}, expected one that converts to {expected!r}")


def load(path: Path) -> Card:
    """The card at `path`. Raises BadCard that says which entry is wrong, with the nearest known name."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise BadCard(f"{path}: larger than {MAX_BYTES} bytes; a card is a page of YAML")
        content = yaml.load(path.read_text(), Loader=PlainLoader)  # noqa: S506  (a SafeLoader without aliases)
    except OSError as error:
        raise BadCard(f"{path}: cannot be opened ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadCard(f"{path}: is not YAML ({' '.join(str(error).split())})") from error
    if not isinstance(content, dict):
        raise BadCard(f"{path}: holds {type(content).__name__}, expected entries like `name: ...`, `format: root`")
    try:
        return Card.model_validate(content)
    except ValidationError as error:
        raise BadCard(f"{path}: " + "; ".join(_explain(e) for e in error.errors()[:3])) from error


def _explain(error: ErrorDetails) -> str:
    place = ".".join(map(str, error["loc"])) or "card"
    if error["type"] == "extra_forbidden":
        entry = str(error["loc"][-1])
        models: dict[str, type[_Document]] = {"particles": Source, "columns": Source, "labels": Target, "selection": Cut}
        model = models.get(str(error["loc"][0]), Card) if len(error["loc"]) > 1 else Card
        return f"{place} is not an entry. Nearest: {nearest(entry, model.model_fields)}"
    return f"{place}: {error['msg'].removeprefix('Value error, ')}"
