"""Detector cards: the public numbers that describe a detector, as YAML. Shipped ones go by name, a user's own by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError, model_validator

from cloudchamber.errors import BadCard, nearest
from cloudchamber.recipe import Document, plain_yaml

Array = NDArray[Any]

Species = Literal["hadron", "electron", "muon"]  # of charged particles
SPECIES: tuple[Species, ...] = get_args(Species)
DEFAULT = "v0_1"  # of the shipped weights' jets
_FOLDER = Path(__file__).parent / "cards"


class Table(Document):
    """A number by abs(eta) and pT: one row up to each border `eta`, one column from each border `pt_gev` on.

    0 beyond the last eta and at or below the first pT. Above `falls_above_gev` times exp((falls_above - pT) falls_per).
    """

    eta: tuple[float, ...]
    pt_gev: tuple[float, ...]
    value: tuple[tuple[float, ...], ...]
    falls_above_gev: float = 0.0
    falls_per_gev: float = Field(0.0, ge=0)

    def at(self, pt: Array, eta: Array) -> NDArray[np.float64]:
        """The number for each pT [GeV] and eta."""
        padded = np.zeros((len(self.eta) + 1, len(self.pt_gev) + 1))
        padded[:-1, 1:] = self.value
        found: NDArray[np.float64] = padded[np.searchsorted(self.eta, np.abs(eta)), np.searchsorted(self.pt_gev, pt)]
        if self.falls_per_gev:
            found = found * np.exp(-self.falls_per_gev * np.maximum(pt - self.falls_above_gev, 0.0))
        return found

    @model_validator(mode="after")
    def _rectangular(self) -> Self:
        _rising("eta", self.eta)
        _rising("pt_gev", self.pt_gev)
        if len(self.value) != len(self.eta) or any(len(row) != len(self.pt_gev) for row in self.value):
            sizes = ", ".join(str(len(row)) for row in self.value)
            raise ValueError(f"value has rows of {sizes}, expected {len(self.eta)} rows (eta) of {len(self.pt_gev)} (pt_gev)")
        if min(map(min, self.value)) < 0:
            raise ValueError("value holds a negative number")
        return self


class Efficiency(Table):
    """A table of probabilities."""

    @model_validator(mode="after")
    def _probability(self) -> Self:
        if max(map(max, self.value)) > 1:
            raise ValueError(f"value holds {max(map(max, self.value))}, expected probabilities of at most 1")
        return self


class Momentum(Document):
    """sigma(pT)/pT = sqrt(constant^2 + (slope pT)^2), at most 1, in rows up to each border of abs(eta)."""

    eta: tuple[float, ...]
    constant: tuple[float, ...]
    slope_per_gev: tuple[float, ...]

    def at(self, pt: Array, eta: Array) -> NDArray[np.float64]:
        """sigma(pT)/pT for each pT [GeV] and eta; beyond the last border as in the last row."""
        row = np.minimum(np.searchsorted(self.eta, np.abs(eta)), len(self.eta) - 1)
        sigma = np.hypot(np.asarray(self.constant)[row], np.asarray(self.slope_per_gev)[row] * pt)
        return np.asarray(np.minimum(sigma, 1.0))

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        _rising("eta", self.eta)
        if not len(self.eta) == len(self.constant) == len(self.slope_per_gev):
            raise ValueError(f"eta, constant and slope_per_gev need the same number of entries, expected {len(self.eta)}")
        if min(*self.constant, *self.slope_per_gev) < 0:
            raise ValueError("constant or slope_per_gev is negative")
        return self


class Tracking(Document):
    """Tracker: efficiency and momentum by species, impact parameters [mm], and the mass that a track is given.

    energy: of tracks without a significant excess of their cell: the best estimate of tracker and calorimeter (`combined`),
    or that of one of them. curling: whether a particle that turns by more than half a circle can be a track.
    """

    mass: Literal["particle", "pion", "zero"]
    energy: Literal["combined", "calorimeter", "tracker"]
    curling: bool
    efficiency: dict[Species, Efficiency] = Field(min_length=3)
    momentum: dict[Species, Momentum] = Field(min_length=3)
    d0_mm: Table
    dz_mm: Table


class Cells(Document):
    """Rows of cells: every interval up to a border of abs(eta) in `split` equal rows of `phi` cells."""

    eta: tuple[float, ...]
    split: int = Field(1, ge=1, le=1000)
    phi: int = Field(ge=1, le=10_000)


class Resolution(Document):
    """sigma(E) = (base + curvature (abs(eta) - centre)^2) sqrt((constant E)^2 + stochastic^2 E + noise^2) up to `eta`."""

    eta: float = Field(gt=0)
    constant: float = Field(0.0, ge=0)
    stochastic: float = Field(0.0, ge=0)  # GeV^(1/2)
    noise_gev: float = Field(0.0, ge=0)
    base: float = 1.0
    curvature: float = 0.0
    centre: float = 0.0


class Calorimeter(Document):
    """Cells, resolution, and what a signal must exceed: an energy and a multiple of its resolution."""

    cells: tuple[Cells, ...] = Field(min_length=1)
    resolution: tuple[Resolution, ...] = Field(min_length=1)
    threshold_gev: float = Field(ge=0)
    significance: float = Field(ge=0)

    def sigma(self, energy: Array, eta: Array) -> NDArray[np.float64]:
        """Resolution [GeV] at `energy` [GeV] and `eta`; 0 beyond the last range."""
        distance = np.abs(eta)
        borders = [r.eta for r in self.resolution]
        numbers = [(r.base, r.curvature, r.centre, r.constant**2, r.stochastic**2, r.noise_gev**2) for r in self.resolution]
        row = np.searchsorted(borders, distance)
        base, curvature, centre, square, linear, flat = np.array([*numbers, (0.0,) * 6])[row].T
        scale = base + curvature * (distance - centre) ** 2
        return np.asarray(scale * np.sqrt((square * energy + linear) * energy + flat))

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        _rising("cells.eta", [border for cells in self.cells for border in cells.eta])
        _rising("resolution.eta", [r.eta for r in self.resolution])
        return self


class Identification(Document):
    """Probability that a reconstructed photon, electron or muon is called one."""

    photon: Efficiency
    electron: Efficiency
    muon: Efficiency


class Isolation(Document):
    """Isolated: the pT within `radius`, of particles above `min_pt_gev`, is at most so many times the particle's own."""

    radius: float = Field(gt=0)
    min_pt_gev: float = Field(ge=0)
    leptons: bool  # whether electrons and muons count among the others
    max_photon: float = Field(ge=0)
    max_electron: float = Field(ge=0)
    max_muon: float = Field(ge=0)


class Card(Document):
    """The numbers of one detector. extends: a shipped card that gives every entry that is not here."""

    version: Literal[1] = 1
    extends: str | None = None
    name: str
    citation: tuple[str, ...] = ()
    notes: str = ""
    radius_m: float = Field(gt=0)  # of the calorimeter's inner face
    half_length_m: float = Field(gt=0)
    field_t: float = Field(ge=0)  # along z
    tracking: Tracking
    ecal: Calorimeter
    hcal: Calorimeter
    identification: Identification
    isolation: Isolation


def shipped() -> tuple[str, ...]:
    """Names of the cards in the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.yaml")))


def load(card: str | Path) -> Card:
    """A shipped card by name, or the card in a YAML file.

    Raises BadCard that names the file, the place, and what was expected.
    """
    known = shipped()
    path = _FOLDER / f"{card}.yaml" if str(card) in known else Path(card)
    if not path.is_file():
        raise BadCard(f"no detector card {str(card)!r}: neither a file nor shipped. Nearest: {nearest(str(card), known)}")
    try:
        return Card.model_validate(_entries(path))
    except ValidationError as error:
        raise BadCard(f"{path}: " + "; ".join(_explain(dict(e)) for e in error.errors()[:3])) from error


def _entries(path: Path) -> dict[str, Any]:
    """What a file says, over what the card that it extends says."""
    content = plain_yaml(path, BadCard, "detector card")
    parent = content.get("extends")
    if parent is None:
        return content
    if parent not in shipped() or parent == path.stem:
        raise BadCard(f"{path}: extends {parent!r}, expected a shipped card. Nearest: {nearest(str(parent), shipped())}")
    return _overlaid(_entries(_FOLDER / f"{parent}.yaml"), content)


def _overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    both = {k: _overlaid(below[k], v) for k, v in above.items() if isinstance(v, dict) and isinstance(below.get(k), dict)}
    return {**below, **above, **both}


def _explain(error: dict[str, Any]) -> str:
    place = ".".join(map(str, error["loc"])) or "card"
    if error["type"] == "extra_forbidden":
        model: Any = Card
        for step in error["loc"][:-1]:
            model = model.model_fields[step].annotation if step in getattr(model, "model_fields", {}) else None
        known = getattr(model, "model_fields", {})
        return f"{place} is not an entry" + (f". Nearest: {nearest(str(error['loc'][-1]), known)}" if known else "")
    got = error["input"] if isinstance(error["input"], (str, int, float)) else type(error["input"]).__name__
    if error["type"] == "missing":
        return f"{place} is missing"
    return f"{place}: got {got!r}, expected: {error['msg'].removeprefix('Value error, ')}"


def _rising(name: str, borders: Sequence[float]) -> None:
    if not borders or borders[0] <= 0 or any(a >= b for a, b in pairwise(borders)):
        raise ValueError(f"{name} must be positive and rising, got {list(borders)}")
