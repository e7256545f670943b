"""Plan: what will be searched for, and how it will be judged, as a YAML file. Frozen by its hash before a look."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from cloudchamber.errors import BadPlan
from cloudchamber.recipe import Document, first_problem, plain_yaml
from cloudchamber.search.knob import Level

Background = Literal["sidebands", "abcd", "sample"]


class Regions(Document):
    """Where a signal is looked for: everything else is for the background.

    mass: column in which a signal would peak [GeV]. range: [low, high] of it that is used at all. signal: one or more
    windows inside the range; each is tested against what lies outside of it, or against the events of a reference in the same
    window, all windows as one test. guard: left out on either side of a window,
    since a signal leaks there. Or, for "abcd": columns `pass_a` and `pass_b` with thresholds; the region passes both.
    """

    mass: str | None = None
    range: tuple[float, float] | None = None
    signal: tuple[tuple[float, float], ...] = ()
    guard: float = Field(0.0, ge=0)
    pass_a: tuple[str, float] | None = None
    pass_b: tuple[str, float] | None = None

    @model_validator(mode="after")
    def _windows_are_inside(self) -> Self:
        if (self.mass is None) != (self.range is None) or (self.mass is None) != (not self.signal):
            raise ValueError("mass, range and signal belong together: give all three or none")
        if (self.pass_a is None) != (self.pass_b is None):
            raise ValueError("pass_a and pass_b belong together: give both or none")
        if self.range is not None:
            low, high = self.range
            for start, end in self.signal:
                if not low < start - self.guard < end + self.guard < high:
                    raise ValueError(f"window [{start:g}, {end:g}] with its guard is not inside the range [{low:g}, {high:g}]")
        return self


class Alternatives(Document):
    """What a signal could be.

    bank: name of a simulated signal -> Parquet file of its events. priors: how likely each is thought to be; alike without.
    parameters: such as masses, of each signal, for methods that search between the signals.
    """

    bank: dict[str, str] = Field(default_factory=dict)
    priors: dict[str, float] = Field(default_factory=dict)
    parameters: dict[str, tuple[float, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _names_are_of_the_bank(self) -> Self:
        if self.priors and (set(self.priors) != set(self.bank) or min(self.priors.values()) <= 0):
            raise ValueError(f"priors must be positive, one for each of {', '.join(sorted(self.bank)) or 'no signal'}")
        if self.parameters and (set(self.parameters) != set(self.bank) or len(set(map(len, self.parameters.values()))) > 1):
            raise ValueError(f"parameters must be as many for each of {', '.join(sorted(self.bank)) or 'no signal'}")
        return self


class Systematics(Document):
    """What is not known about the background.

    degree: of the polynomial in mass that the features follow. degrees: others that would do as well; the p-value is the
    largest that any leaves as the truth. closure: signal-free windows that must be described; closure_alpha: how improbable the
    worst of them may be before the search stops.
    """

    degree: int = Field(2, ge=0, le=6)
    degrees: tuple[int, ...] = (3,)
    closure: int = Field(4, ge=1, le=20)
    closure_alpha: float = Field(0.01, gt=0, lt=1)

    @property
    def ensemble(self) -> tuple[int, ...]:
        """All degrees, the one that judges first."""
        return (self.degree, *self.degrees)


class Budget(Document):
    """What the search may cost.

    toys: pseudo-experiments of the null, and as many again for the joint null. closure_toys: for each signal-free window.
    injections: pseudo-experiments with a signal, of each strength and kind, behind the frontier.
    """

    toys: int = Field(2000, ge=100)
    closure_toys: int = Field(400, ge=100)
    injections: int = Field(200, ge=20)


class Plan(Document):
    """One search. Defaults are those of a resonance in the embedding of a score table.

    features: columns of the tables. background: "sidebands" or "abcd", from the data; "sample", the events of the Parquet file
    `reference`, like those of the data without a signal. Files are relative to the plan. methods: names of search methods.
    generality: 0 the bank alone, 1 anything; several are scanned, and calibrated together. level: what it shares out,
    the prior of one likelihood ratio ("mixture") or alpha ("minimum"). alpha: the error that the search claims of its campaign.
    """

    name: str = "unnamed"
    features: tuple[str, ...] = Field(("embedding",), min_length=1)
    background: Background = "sidebands"
    reference: str | None = None
    regions: Regions = Regions()
    alternatives: Alternatives = Alternatives()
    methods: tuple[str, ...] = Field(("weak", "kernel"), min_length=1)
    generality: tuple[float, ...] = Field((0.5,), min_length=1)
    level: Level = "mixture"
    systematics: Systematics = Systematics()
    budget: Budget = Budget()
    alpha: float = Field(1.35e-3, gt=0, lt=0.5)
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.background == "sidebands" and self.regions.mass is None:
            raise ValueError("background 'sidebands' needs regions with mass, range and signal")
        if self.background == "abcd" and self.regions.pass_a is None:
            raise ValueError("background 'abcd' needs regions with pass_a and pass_b")
        if (self.background == "sample") != (self.reference is not None):
            raise ValueError("a reference is for background 'sample', which needs one")
        if any(not 0 <= g <= 1 for g in self.generality) or any(a >= b for a, b in pairwise(self.generality)):
            raise ValueError(f"generality is rising, from 0 to 1; got {list(self.generality)}")
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"a method is named twice: {', '.join(self.methods)}")
        return self


def load(path: Path) -> Plan:
    """Read a plan. Raises BadPlan that names the file, the entry, what was found, and the nearest known name."""
    return make(plain_yaml(path, BadPlan, "plan"), str(path))


def make(content: Mapping[str, Any], origin: str = "plan") -> Plan:
    """A plan from its entries; BadPlan as for `load`. origin: what an error names as the place."""
    try:
        return Plan.model_validate(content)
    except ValidationError as error:
        raise BadPlan(f"{origin}: {first_problem(error, Plan, Regions, Alternatives, Systematics, Budget)}") from error


def require_unchanged(plan: Plan, frozen_sha256: str, origin: str) -> None:
    """Raise BadPlan if a plan is not the one that was frozen."""
    if plan.sha256 != frozen_sha256:
        raise BadPlan(
            f"{origin}: was changed after it was frozen (hash {frozen_sha256[:12]}, now {plan.sha256[:12]}). "
            "Put it back, or start another search with the new plan: the ledger will hold both."
        )
