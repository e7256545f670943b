"""Detector cards: the public numbers that describe a detector, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

HADRON, ELECTRON, MUON = 0, 1, 2  # the order of a card's tables


@dataclass(frozen=True)
class Calorimeter:
    """Cells and energy resolution of one calorimeter.

    edges: cell borders in abs(eta), from 0; cells: number of cells in phi of each row between two edges.
    ranges: (upper abs(eta), (base, curvature, centre), noise, stochastic, constant), with
    sigma(E) = (base + curvature (abs(eta) - centre)^2) sqrt((constant E)^2 + stochastic^2 E + noise^2) [GeV].
    """

    edges: tuple[float, ...]
    cells: tuple[int, ...]
    ranges: tuple[tuple[float, tuple[float, float, float], float, float, float], ...]
    threshold: float  # GeV
    significance: float = 2.0

    def resolution(self, energy: Array, eta: Array) -> NDArray[np.float64]:
        """sigma(E) [GeV] at `energy` [GeV] and `eta`; 0 beyond the last range."""
        distance, sigma, lower = np.abs(eta), np.zeros(np.shape(energy)), 0.0
        for upper, (base, curvature, centre), noise, stochastic, constant in self.ranges:
            scale = base + curvature * (distance - centre) ** 2
            here = (distance >= lower) & (distance < upper)
            sigma = np.where(here, scale * np.sqrt((constant * energy) ** 2 + stochastic**2 * energy + noise**2), sigma)
            lower = upper
        return sigma


@dataclass(frozen=True)
class Card:
    """The numbers of one detector. Efficiency and resolution tables are by species (hadron, electron, muon).

    efficiency: (eta rows, pT columns); pT columns begin at `efficiency_pt` of the species [GeV].
    momentum: (eta rows, (a, c)): sigma(pT)/pT = sqrt(a^2 + (c pT)^2).
    d0_barrel, d0_endcap, dz_barrel: impact-parameter resolution, (pT [GeV]), (sigma [mm]), interpolated in log-log.
    """

    name: str
    radius: float  # m, of the calorimeter's inner face
    half_length: float  # m
    field: float  # T, along z
    efficiency_eta: tuple[float, ...]
    efficiency_pt: tuple[tuple[float, ...], ...]
    efficiency: tuple[tuple[tuple[float, ...], ...], ...]
    momentum_eta: tuple[float, ...]
    momentum: tuple[tuple[tuple[float, float], ...], ...]
    d0_barrel: tuple[tuple[float, ...], tuple[float, ...]]
    d0_endcap: tuple[tuple[float, ...], tuple[float, ...]]
    dz_barrel: tuple[tuple[float, ...], tuple[float, ...]]
    impact_eta: tuple[float, float]  # barrel tables below, endcap tables above, linear between
    ecal: Calorimeter
    hcal: Calorimeter


_ECAL_EDGES = (*(i * 0.0174 for i in range(171)), *(2.958 + i * 0.175 for i in range(1, 12)), 5.0)
_HCAL_EDGES = (
    *(i * 0.087 for i in range(20)),
    *(1.74, 1.83, 1.93, 2.043, 2.172, 2.322, 2.5, 2.65, 2.868, 2.95, 3.125, 3.3, 3.475, 3.65, 3.825, 4.0, 4.175, 4.35),
    *(4.525, 4.7, 5.0),
)

# Numbers: Delphes CMS card (arXiv:1307.6346) as used for JetClass (arXiv:2202.03772); impact parameters: CMS tracking,
# arXiv:1405.6569 figure 15.
CMS = Card(
    name="CMS-like",
    radius=1.29,
    half_length=3.0,
    field=3.8,
    efficiency_eta=(1.5, 2.5),
    efficiency_pt=((0.1, 1.0), (0.1, 1.0, 100.0), (0.1, 1.0)),
    efficiency=(((0.70, 0.95), (0.60, 0.85)), ((0.73, 0.95, 0.99), (0.50, 0.83, 0.90)), ((0.75, 0.99), (0.70, 0.98))),
    momentum_eta=(0.5, 1.5, 2.5),
    momentum=(
        ((0.06, 1.3e-3), (0.10, 1.7e-3), (0.25, 3.1e-3)),
        ((0.03, 1.3e-3), (0.05, 1.7e-3), (0.15, 3.1e-3)),
        ((0.01, 1.0e-4), (0.015, 1.5e-4), (0.025, 3.5e-4)),
    ),
    d0_barrel=((0.2, 0.5, 1, 2, 5, 10, 20, 50, 100), (0.354, 0.173, 0.0753, 0.052, 0.028, 0.0191, 0.0143, 0.011, 0.0105)),
    d0_endcap=((0.2, 1, 2, 5, 10, 20, 100), (0.697, 0.1557, 0.091, 0.0425, 0.0256, 0.0196, 0.013)),
    dz_barrel=((0.2, 1, 5, 10, 50, 100), (0.369, 0.1113, 0.0484, 0.0382, 0.0316, 0.0283)),
    impact_eta=(0.9, 1.4),
    ecal=Calorimeter(
        edges=_ECAL_EDGES,
        cells=(360,) * 170 + (36,) * 12,
        ranges=(
            (1.5, (1.0, 0.64, 0.0), 0.40, 0.11, 0.008),
            (2.5, (2.16, 5.6, 2.0), 0.40, 0.11, 0.008),
            (5.0, (1.0, 0.0, 0.0), 0.0, 2.08, 0.107),
        ),
        threshold=0.5,
    ),
    hcal=Calorimeter(
        edges=_HCAL_EDGES,
        cells=(72,) * 19 + (36,) * 18 + (18,) * 3,
        ranges=((3.0, (1.0, 0.0, 0.0), 0.0, 1.5, 0.05), (5.0, (1.0, 0.0, 0.0), 0.0, 2.7, 0.13)),
        threshold=1.0,
    ),
)
