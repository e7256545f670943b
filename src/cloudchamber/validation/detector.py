"""Detector: efficiencies and resolutions measured back from single particles against each card.

Single particles are drawn over the whole plane of pT and eta and sorted into cells; in each cell the measured efficiency,
mean and width are compared with the card's numbers, by formulas of this file's own: pulls, and their chi2 for each card,
species and quantity. Logarithms of responses are compared, since those of the detector are exactly Gaussian.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2, norm

from cloudchamber.events import kinematics
from cloudchamber.simulate.card import load, shipped
from cloudchamber.simulate.detector import detect, find_tracks
from cloudchamber.simulate.objects import identify
from cloudchamber.simulate.propagation import calorimeter_position
from cloudchamber.stats.figures import Target, exact, measured
from cloudchamber.validation.comparison import Comparison, Panel, Series

SEED = 2026
SMALLEST_P = 1e-3  # of 85 tests: a right detector misses it in one run of twelve; written down before the first run
LARGEST_PULL = 4.5  # of 5000 cells: in one run of thirty
PT_EDGES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 2000.0)  # GeV
ETA_EDGES = (0.0, 0.25, 0.5, 0.9, 1.2, 1.5, 2.0, 2.4, 2.5, 3.0, 3.2, 4.0, 4.9)
SPECIES = {"hadron": (211, 0.13957), "electron": (11, 0.000511), "muon": (13, 0.10566)}
NEUTRALS = {"photon": (22, "ecal"), "neutral_hadron": (130, "hcal")}
_FEWEST = 200  # particles of a cell that is compared
Columns = dict[str, NDArray[Any]]


@dataclass
class Pulls:
    """Pulls of all cells by test, a test being card, species and quantity; shown: pT, measured, expected of central hadrons."""

    tests: dict[str, list[float]] = field(default_factory=dict)
    shown: dict[str, list[tuple[float, float, float]]] = field(default_factory=dict)

    def add(self, test: str, measured: float, expected: float, error: float) -> None:
        """One cell."""
        self.tests.setdefault(test, []).append((measured - expected) / error)

    def add_normal(self, test: str, values: NDArray[np.float64]) -> None:
        """One cell of values that shall be normal with mean 0 and width 1."""
        self.add(f"{test} mean", float(values.mean()), 0.0, len(values) ** -0.5)
        self.add(f"{test} width", float(values.std()), 1.0, (2 * len(values)) ** -0.5)

    def p_values(self) -> dict[str, float]:
        """Probability of a larger chi2, by test."""
        return {name: float(chi2.sf(np.sum(np.square(pulls)), len(pulls))) for name, pulls in self.tests.items()}


def comparisons(_: Path | None, n: int) -> list[Comparison]:
    """Of every shipped card."""
    return [comparison(measured_back(max(75 * n, 10_000)))]


def measured_back(n: int) -> Pulls:
    """Pulls of all cards. n: particles of each species and card."""
    pulls = Pulls()
    for name in shipped():
        for species in SPECIES:
            _charged(pulls, name, species, n)
        for species in NEUTRALS:
            _neutral(pulls, name, species, n)
        _identified(pulls, name, n)
    return pulls


def comparison(pulls: Pulls) -> Comparison:
    """The extremes over all tests and cells, and of each card."""
    p_values, every = pulls.p_values(), np.concatenate(list(pulls.tests.values()))
    square = float(np.mean(every**2))
    figures = {
        "smallest_p_value": exact(min(p_values.values())),
        "largest_pull": exact(float(np.abs(every).max())),
        "mean_square_pull": measured(square, float(np.sqrt(2 / len(every))), f"standard error expected of {len(every)} cells"),
        "tests": exact(len(p_values)),
        "cells": exact(len(every)),
    }
    for name in shipped():
        figures[f"smallest_p_value_{name}"] = exact(min(p for k, p in p_values.items() if k.startswith(name)))
    targets = (Target("smallest_p_value", ">=", SMALLEST_P), Target("largest_pull", "<=", LARGEST_PULL))
    text = (
        "Single particles of every kind over the whole plane of pT and eta, for each shipped card. Per cell efficiency, mean "
        "and width against the card's numbers: pulls, whose chi2 gives one p-value for each card, species and quantity."
    )
    return Comparison("detector", "Detector, measured back", text, _panels(pulls, every), figures, targets)


def _panels(pulls: Pulls, every: NDArray[np.float64]) -> tuple[Panel, ...]:
    edges = np.linspace(-5, 5, 41)
    counts = np.histogram(every, edges)[0]
    expected = len(every) * np.diff(norm.cdf(edges))
    series = (Series.of("normal", "truth", edges, expected), Series.of("measured", "ours", edges, counts, np.sqrt(counts)))
    panels = [Panel("Pulls of all cells", "pull", "cells", series)]
    p = np.sort(list(pulls.p_values().values()))
    flat = Series.of("flat", "truth", (0, 1), (0, 1))
    panels.append(
        Panel("p-values", "p", "share below", (flat, Series.of("tests", "ours", p, (np.arange(len(p)) + 0.5) / len(p))))
    )
    for name in shipped():
        for quantity, log in (("efficiency", "x"), ("resolution", "xy")):
            if f"{name} {quantity}" in pulls.shown:
                pt, got, card = np.array(sorted(pulls.shown[f"{name} {quantity}"])).T
                both = (Series.of("card", "truth", pt, card), Series.of("measured", "ours", pt, got, 0 * got))
                panels.append(Panel(f"{name}: charged hadrons, eta 0", "pT [GeV]", f"track {quantity}", both, log))  # type: ignore[arg-type]
    return tuple(panels)


def _charged(pulls: Pulls, name: str, species: str, n: int) -> None:
    """Tracks: efficiency, pT, and impact parameters."""
    card, (pdg, mass) = load(name), SPECIES[species]
    rng = _generator(name, pdg)
    true = _gun(pdg, 1, n, rng, mass)
    pt = np.hypot(true["px"], true["py"])
    eta, _, turn = calorimeter_position(true, card)
    tracks = find_tracks(true, eta, turn, card, rng)
    seen = np.zeros(n)
    seen[tracks.row] = 1
    numbers = card.tracking.model_dump()
    expected = _table(numbers["efficiency"][species], pt, eta) * (numbers["curling"] | (turn < np.pi))
    momentum = numbers["momentum"][species]
    row = np.minimum(np.searchsorted(momentum["eta"], np.abs(eta)), len(momentum["eta"]) - 1)
    sigma = np.hypot(np.asarray(momentum["constant"])[row], np.asarray(momentum["slope_per_gev"])[row] * pt).clip(max=1.0)
    ratio = np.full(n, np.nan)
    ratio[tracks.row] = tracks.pt / pt[tracks.row]
    test = f"{name} {species}"
    for cell in _cells(pt, eta):
        _binomial(pulls, f"{test} efficiency", seen[cell], expected[cell])
        found = cell[(seen[cell] == 1)]
        if len(found) >= _FEWEST and sigma[found].min() > 0:
            normal = _standardised(ratio[found], sigma[found])
            pulls.add_normal(f"{test} pT", normal)
            if species == "hadron" and np.abs(eta[cell]).max() < ETA_EDGES[1]:
                at, mean = float(np.exp(np.log(pt[cell]).mean())), float(sigma[found].mean())
                pulls.shown.setdefault(f"{name} efficiency", []).append(
                    (at, float(seen[cell].mean()), float(expected[cell].mean()))
                )
                pulls.shown.setdefault(f"{name} resolution", []).append((at, mean * float(normal.std()), mean))
    if sigma.max() == 0:
        pulls.add(f"{test} pT exact", float(np.nanmax(np.abs(ratio - 1))), 0.0, 1e-9)
    if species == "muon":
        _impact(pulls, name, true)


def _impact(pulls: Pulls, name: str, true: Columns) -> None:
    """d0 and dz of muons, which the calorimeters leave alone."""
    card = load(name)
    seen = detect(true, card, _generator(name, 1))
    row = seen["event"]
    pt, eta, _ = (v[row] for v in kinematics.pt_eta_phi(true["px"], true["py"], true["pz"]))
    for quantity, numbers in (("d0", card.tracking.d0_mm.model_dump()), ("dz", card.tracking.dz_mm.model_dump())):
        inside = (pt > numbers["pt_gev"][0]) & (np.abs(eta) < numbers["eta"][-1])
        sigma = _table(numbers, pt, eta)
        for cell in _cells(pt, eta):
            kept = cell[inside[cell]]
            if len(kept) >= _FEWEST:
                pulls.add_normal(f"{name} muon {quantity}", (seen[quantity] / np.where(inside, sigma, 1.0))[kept])


def _neutral(pulls: Pulls, name: str, species: str, n: int) -> None:
    """Calorimeters: probability to see a particle, and its energy."""
    card, (pdg, part) = load(name), NEUTRALS[species]
    rng = _generator(name, pdg)
    true = _gun(pdg, 0, n, rng)
    seen = detect(true, card, rng)
    pt, eta, _ = kinematics.pt_eta_phi(true["px"], true["py"], true["pz"])
    measured = np.zeros(n)
    measured[seen["event"]] = seen["energy"]
    numbers = getattr(card, part).model_dump()
    scale2, square, linear, flat = _sigma_parts(numbers, eta)
    energy = true["energy"]
    sigma = np.sqrt(scale2 * (square * energy**2 + linear * energy + flat))
    width = np.sqrt(np.log1p((sigma / energy) ** 2))
    needed = _noise_border(numbers, scale2, square, linear, flat)
    with np.errstate(divide="ignore"):
        chance = norm.sf((np.log(needed / energy) + width**2 / 2) / np.where(width > 0, width, np.nan))
    inside = (np.abs(eta) < numbers["resolution"][-1]["eta"] - 0.2) & (width > 0)  # the last cell may end behind it
    for cell in _cells(pt, eta):
        kept = cell[inside[cell]]
        if len(kept) < _FEWEST:
            continue
        _binomial(pulls, f"{name} {species} seen", (measured[kept] > 0).astype(float), chance[kept])
        sure = kept[chance[kept] > 1 - 1e-6]
        if len(sure) >= _FEWEST:
            pulls.add_normal(f"{name} {species} energy", _standardised(measured[sure] / energy[sure], (sigma / energy)[sure]))


def _identified(pulls: Pulls, name: str, n: int) -> None:
    """Identification of photons, electrons and muons."""
    card = load(name)
    for species, pdg, charge in (("photon", 22, 0), ("electron", 11, 1), ("muon", 13, 1)):
        rng = _generator(name, 2, pdg)
        seen = detect(_gun(pdg, charge, n // 4, rng), card, rng)
        mine = np.flatnonzero(seen[f"is_{species}"] == 1)
        pt, eta, _ = (v[mine] for v in kinematics.pt_eta_phi(seen["px"], seen["py"], seen["pz"]))
        got = identify(seen, card, rng)["identified"][mine]
        expected = _table(card.identification.model_dump()[species], pt, eta)
        for cell in _cells(pt, eta):
            _binomial(pulls, f"{name} {species} identification", got[cell], expected[cell])


def _generator(name: str, *numbers: int) -> np.random.Generator:
    """Random numbers of one card's test: with the same ones for all cards, one fluctuation would count several times."""
    return np.random.default_rng([SEED, *name.encode(), *numbers])


def _gun(pdg: int, charge: int, n: int, rng: np.random.Generator, mass: float = 0.0) -> Columns:
    """n events of one particle, flat in ln pT, eta and phi."""
    pt = np.exp(rng.uniform(np.log(PT_EDGES[0]), np.log(PT_EDGES[-1]), n))
    eta = rng.uniform(-1, 1, n) * (ETA_EDGES[-1] if charge == 0 else 2.7)
    momentum = kinematics.momenta(pt, eta, rng.uniform(-np.pi, np.pi, n), mass)
    zero = {name: np.zeros(n) for name in ("vx", "vy", "vz")}
    return {"event": np.arange(n), **momentum, "pdg": np.full(n, pdg), "charge": np.full(n, charge), **zero}


def _cells(pt: NDArray[Any], eta: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
    """Rows of each cell in pT and abs(eta) that holds enough particles."""
    key = np.searchsorted(PT_EDGES, pt) * 100 + np.searchsorted(ETA_EDGES, np.abs(eta))
    order = np.argsort(key, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        if len(rows) >= _FEWEST:
            yield rows


def _binomial(pulls: Pulls, test: str, seen: NDArray[Any], chance: NDArray[Any]) -> None:
    """Compare a number of successes with the sum of their probabilities; nothing where too few can vary."""
    variance = float((chance * (1 - chance)).sum())
    if variance > 20:
        pulls.add(test, float(seen.sum()), float(chance.sum()), variance**0.5)
    elif variance == 0 and float(np.abs(seen - chance).sum()) > 0:
        pulls.add(test, float(seen.sum()), float(chance.sum()), 1e-3)


def _standardised(ratio: NDArray[Any], sigma: NDArray[Any]) -> NDArray[np.float64]:
    """Normal values of log-normal responses with mean 1 and relative width sigma."""
    width = np.sqrt(np.log1p(sigma**2))
    return np.asarray((np.log(ratio) + width**2 / 2) / width)


def _table(numbers: dict[str, Any], pt: NDArray[Any], eta: NDArray[Any]) -> NDArray[np.float64]:
    """A card's table, written out cell by cell."""
    found = np.zeros(len(pt))
    low_eta = 0.0
    for high_eta, row in zip(numbers["eta"], numbers["value"], strict=True):
        for low, high, value in zip(numbers["pt_gev"], (*numbers["pt_gev"][1:], np.inf), row, strict=True):
            found[(np.abs(eta) >= low_eta) & (np.abs(eta) <= high_eta) & (pt > low) & (pt <= high)] = value
        low_eta = high_eta
    falls = (pt > numbers["falls_above_gev"]) * numbers["falls_per_gev"] * (pt - numbers["falls_above_gev"])
    return np.asarray(found * np.exp(-falls))


def _sigma_parts(numbers: dict[str, Any], eta: NDArray[Any]) -> tuple[NDArray[np.float64], ...]:
    """Squared scale, constant, stochastic term and noise at the centre of the cell that each particle hits."""
    edges = [0.0]
    for row in numbers["cells"]:
        for border in row["eta"]:
            edges += [edges[-1] + (border - edges[-1]) * (i + 1) / row["split"] for i in range(row["split"])]
    hit = np.clip(np.searchsorted(edges, np.abs(eta), side="right"), 1, len(edges) - 1)
    centre = (np.asarray(edges)[hit - 1] + np.asarray(edges)[hit]) / 2
    parts = np.zeros((4, len(eta)))
    low = 0.0
    for r in numbers["resolution"]:
        here = (centre >= low) & (centre <= r["eta"])
        scale = r["base"] + r["curvature"] * (centre[here] - r["centre"]) ** 2
        parts[0, here] = scale**2
        parts[1:, here] = np.array([r["constant"], r["stochastic"], r["noise_gev"]])[:, None] ** 2
        low = r["eta"]
    return tuple(parts)


def _noise_border(numbers: dict[str, Any], scale2: Any, square: Any, linear: Any, flat: Any) -> NDArray[np.float64]:
    """The energy that a signal must exceed: the threshold, or where E = significance sigma(E), solved for E."""
    factor = numbers["significance"] ** 2 * scale2
    a, b, c = 1 - factor * square, -factor * linear, -factor * flat
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.where(a > 0, (-b + np.sqrt(np.maximum(b**2 - 4 * a * c, 0))) / (2 * np.maximum(a, 1e-12)), np.inf)
    return np.asarray(np.maximum(root, numbers["threshold_gev"]))
