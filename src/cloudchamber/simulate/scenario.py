"""Scenario: which collisions to simulate and what to keep of them, as a page of YAML. Shipped ones lie in `scenarios/`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from cloudchamber.errors import BadInput, BadScenario, nearest
from cloudchamber.recipe import Document, first_problem, plain_yaml

FOLDER = Path(__file__).with_name("scenarios")
JETCLASS = "jetclass"  # the scenario whose classes may be named alone
PROTON = 2212
Range = tuple[float | None, float | None]  # lowest and highest; None is as it was

# A setting is `Group:name = value` or `code:name = value`. Values have neither slash nor brace, and some groups are not for
# a scenario: with them Pythia reads files and loads libraries, or draws other random numbers than the seed says.
_OURS = r"Init|Main|Next|Stat|Print|Random|Beams|Tune|HeavyIon|SLHA|LesHouches|Merging|JetMatching|Alpgen|Vincia|Dire"
_SETTING = re.compile(rf"(?i)(?!({_OURS}):)([A-Za-z]\w*\*?|\d+):[\w*():+-]+ *= *[\w.+* -]+")
_PLACE = re.compile(r"\{(\w+)\}")


class Jets(Document):
    """Anti-kt jets that are kept. pt: GeV, lowest and highest of the reconstructed jet. max_eta: of its axis.

    made_from: hard processes are made from this share of the lowest pT on. Radiation lifts some jets by more: of jets above
    500 GeV 12 % of QCD, 7 % of W and top, 3 % of Higgs bosons come from below 0.85. To have them too costs events and time.
    """

    radius: float = Field(gt=0)
    pt: tuple[float, float]
    max_eta: float = Field(gt=0)
    made_from: float = Field(0.85, gt=0, le=1)


class Class(Document):
    """One class of jets or events.

    process: Pythia's hard processes. settings: its others. turns: settings that alternate from one batch of events to the
    next. contains: PDG codes; a jet must contain all visible decay products of one such particle, or if there are no codes
    be one of the two leading jets.
    """

    description: str
    process: tuple[str, ...]
    settings: tuple[str, ...] = ()
    turns: tuple[tuple[str, ...], ...] = ((),)
    contains: tuple[int, ...] = ()


class Scenario(Document):
    """Collisions of one kind, and what is kept of them.

    output: `jets` (each jet that fits is an event of its own) or `events` (whole collisions; with `jets` those whose leading
    jet fits). beams: PDG codes. ecm: GeV, of the collision; or energies: those of the two beams. tune: Pythia's number for
    hadron beams. mpi: multiparton interactions, about four times slower with them. pileup: mean number of further proton
    collisions. objects: whether particles also say if they are identified and isolated, and their PUPPI weights. settings:
    Pythia's, for every class. parameters: numbers for which `{name}` stands in the settings.
    """

    version: Literal[1] = 1
    name: str
    description: str
    output: Literal["jets", "events"]
    beams: tuple[int, int]
    ecm: float | None = Field(None, gt=0)
    energies: tuple[float, float] | None = None
    tune: int | None = Field(None, ge=1, le=32)
    mpi: bool = True
    pileup: float = Field(0.0, ge=0, le=500)
    objects: bool = False
    jets: Jets | None = None
    settings: tuple[str, ...] = ()
    parameters: dict[str, float] = Field(default_factory=dict)
    classes: dict[str, Class] = Field(min_length=1)
    licence: str
    citation: dict[str, str]
    notes: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.ecm is None) == (self.energies is None):
            raise ValueError("give either `ecm` or `energies`")
        if self.output == "jets" and self.jets is None:
            raise ValueError("output `jets` needs `jets`: radius, pt, max_eta")
        if self.jets is not None and not 20 <= self.jets.pt[0] < self.jets.pt[1]:  # soft scattering is no parton's
            raise ValueError(f"the jets' pT must be (low, high) in GeV with 20 <= low < high, got {self.jets.pt}")
        if self.pileup and self.beams != (PROTON, PROTON):
            raise ValueError(f"pile-up is of protons: both beams must be {PROTON}")
        for settings in (self.settings, *(s for c in self.classes.values() for s in (c.process, c.settings, *c.turns))):
            for setting in settings:
                self._check_setting(setting)
        return self

    def _check_setting(self, setting: str) -> None:
        if unknown := set(_PLACE.findall(setting)) - set(self.parameters):
            name = unknown.pop()
            raise ValueError(f"{setting!r}: no parameter is called {name!r}. Nearest: {nearest(name, self.parameters)}")
        if not _SETTING.fullmatch(_PLACE.sub("1", setting)):
            raise ValueError(f"{setting!r} is not `Group:name = value` of a group that a scenario may set")

    def filled(self, settings: tuple[str, ...]) -> tuple[str, ...]:
        """Settings with the parameters' values in their places."""
        return tuple(_PLACE.sub(lambda place: f"{self.parameters[place[1]]:.10g}", s) for s in settings)

    @property
    def numbers(self) -> dict[str, float]:
        """The numbers that `changed` takes, with their values here."""
        general = {"ecm": self.ecm, "tune": self.tune, "pileup": self.pileup, "objects": self.objects}
        return {name: value for name, value in general.items() if value is not None} | self.parameters

    def changed(self, numbers: Mapping[str, float], *, mpi: bool | None = None, pt_range: Range | None = None) -> Scenario:
        """The scenario with other numbers; BadInput with the nearest name, or the range that a number is out of."""
        content = self.model_dump()
        for name, value in numbers.items():
            if name not in self.numbers:
                raise BadInput(f"scenario {self.name!r} has no number {name!r}. Nearest: {nearest(name, self.numbers)}.")
            (content["parameters"] if name in self.parameters else content)[name] = value
        if mpi is not None:
            content["mpi"] = mpi
        low, high = pt_range or (None, None)
        if low is not None or high is not None:
            if self.jets is None:
                raise BadInput(f"scenario {self.name!r} selects no jets: it has no pt_range")
            content["jets"]["pt"] = (self.jets.pt[0] if low is None else low, self.jets.pt[1] if high is None else high)
        try:
            return Scenario.model_validate(content)
        except ValidationError as error:
            raise BadInput(f"scenario {self.name!r}: {first_problem(error, Scenario)}") from error


def scenario_names() -> list[str]:
    """The shipped scenarios."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_scenario(which: str | Path) -> Scenario:
    """A shipped scenario by its name, or one of the user's by the path of its YAML file.

    Raises BadInput with the nearest names, or BadScenario with the entry that is wrong.

    >>> load_scenario("jetclass").classes["Hbb"].contains
    (25,)
    """
    path, known = Path(which), scenario_names()
    if path.suffix not in (".yaml", ".yml"):
        if str(which) not in known:
            raise BadInput(
                f"no scenario is called {str(which)!r}. Nearest: {nearest(str(which), known)}. Known: {', '.join(known)}, and "
                f"the path of a YAML file. Classes of {JETCLASS} are given as a list of names, such as ['QCD', 'Hbb']."
            )
        path = FOLDER / f"{which}.yaml"
    try:
        return Scenario.model_validate(plain_yaml(path, BadScenario, "scenario"))
    except ValidationError as error:
        raise BadScenario(f"{path}: {first_problem(error, Scenario, Class, Jets)}") from error
