"""A parametric detector: true particles in, reconstructed tracks, photons and neutral hadrons out. NumPy only."""

# T true particle, K track, D deposit in a calorimeter, C cell with deposits, R row of cells, S reconstructed particle

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.events import kinematics
from cloudchamber.simulate.card import SPECIES, Calorimeter, Card
from cloudchamber.simulate.propagation import calorimeter_position, impact_parameters

Array = NDArray[Any]

NO_TRACK = ("d0", "d0_err", "dz", "dz_err")  # NaN for neutral particles
INVISIBLE = (12, 14, 16, 1000022, 1000023, 1000025, 1000035, 1000045)  # neutrinos and neutralinos, as in Delphes' cards
PION_MASS = 0.13957  # GeV, Particle Data Group 2024
_TRUE = ("event", "px", "py", "pz", "energy", "pdg", "charge", "vx", "vy", "vz")


def detect(true: Mapping[str, Array], card: Card, rng: np.random.Generator) -> dict[str, Array]:
    """What the detector reconstructs of stable particles: one flat array per column, ordered by event.

    true: flat (T,) arrays event, px, py, pz, energy [GeV], pdg, charge, and the production vertex vx, vy, vz [mm]; with
    pile-up also `vertex`, 0 for the hard collision. Returns event, px, py, pz, energy [GeV], charge, the five flags of
    kinematics.FLAGS, d0, d0_err, dz, dz_err [mm] (NaN for neutrals) and vertex (-1 for neutrals). Energy flow as in Delphes
    (arXiv:1307.6346, module SimpleCalorimeter): a cell's energy that exceeds its tracks' significantly is a photon (ECAL) or
    a neutral hadron (HCAL), without mass; without such an excess its tracks are scaled to the best estimate of both. Raises
    BadInput if a column is missing.
    """
    if missing := [name for name in _TRUE if name not in true]:
        raise BadInput(f"the true particles lack {missing[0]!r}; expected {', '.join(_TRUE)}")
    eta, phi, turn = calorimeter_position(true, card)
    tracks = find_tracks(true, eta, turn, card, rng)
    neutrals = []
    for calorimeter, share, flag in zip(
        (card.ecal, card.hcal), energy_fractions(true["pdg"]), ("is_photon", "is_neutral_hadron"), strict=True
    ):
        cells = _fill(calorimeter, true, tracks, share * true["energy"], eta, phi)
        neutral, scale_K = _flow(calorimeter, cells, card.tracking.energy, flag, rng)
        tracks = replace(tracks, pt=tracks.pt * scale_K)
        neutrals.append(neutral)
    parts = [_charged(true, tracks, card, rng), *neutrals]
    order = np.argsort(np.concatenate([part["event"] for part in parts]), kind="stable")
    return {name: np.concatenate([part[name] for part in parts])[order] for name in parts[0]}


@dataclass(frozen=True)
class Tracks:
    """Tracks: row (K,) in the true particles, their pT [GeV], mass [GeV] and relative resolution of pT."""

    row: NDArray[np.int64]
    pt: NDArray[np.float64]
    mass: NDArray[np.float64]
    resolution: NDArray[np.float64]


def find_tracks(true: Mapping[str, Array], eta_at_face: Array, turn: Array, card: Card, rng: np.random.Generator) -> Tracks:
    """The tracks of charged particles, with the card's efficiency and resolution at the eta of the calorimeter's face.

    There, and not at the production, as in Delphes: low momenta that curl up leave through the endcap.
    """
    charged = np.flatnonzero((true["charge"] != 0) & (card.tracking.curling | (turn < np.pi)))
    pt, eta = np.hypot(true["px"][charged], true["py"][charged]), eta_at_face[charged]
    kind = _species(true["pdg"][charged])
    efficiency, resolution = np.zeros(len(pt)), np.zeros(len(pt))
    for i, name in enumerate(SPECIES):
        mine = kind == i
        efficiency[mine] = card.tracking.efficiency[name].at(pt[mine], eta[mine])
        resolution[mine] = card.tracking.momentum[name].at(pt[mine], eta[mine])
    seen = rng.random(len(pt)) < efficiency
    row, resolution = charged[seen], resolution[seen]
    return Tracks(row, _lognormal(pt[seen], resolution * pt[seen], rng), _mass(true, row, kind[seen], card), resolution)


def energy_fractions(pdg: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of a particle's energy that the ECAL and the HCAL see, as in the Delphes cards."""
    code = np.abs(pdg)
    ecal = np.zeros(len(code))
    ecal[(code == 11) | (code == 22) | (code == 111)] = 1.0
    ecal[(code == 310) | (code == 3122)] = 0.3  # K0S and Lambda decay inside: a part is pi0
    hcal = 1.0 - ecal
    hcal[(code == 13) | np.isin(code, INVISIBLE)] = 0.0
    return ecal, hcal


def _species(pdg: Array) -> NDArray[np.int64]:
    """Index in SPECIES: which tables a charged particle obeys."""
    code = np.abs(pdg)
    return np.select([code == 11, code == 13], [1, 2], 0)


def _mass(true: Mapping[str, Array], row: Array, kind: Array, card: Card) -> NDArray[np.float64]:
    if card.tracking.mass == "zero":
        return np.zeros(len(row))
    momentum = np.stack([true[name][row] for name in ("px", "py", "pz")])
    own = np.sqrt(np.maximum(true["energy"][row] ** 2 - (momentum**2).sum(axis=0), 0.0))
    return np.where((kind == 0) & (card.tracking.mass == "pion"), PION_MASS, own)


def _charged(true: Mapping[str, Array], tracks: Tracks, card: Card, rng: np.random.Generator) -> dict[str, Array]:
    kept = tracks.pt > 0  # a calorimeter that saw nothing can overrule its tracks
    row, pt, mass = tracks.row[kept], tracks.pt[kept], tracks.mass[kept]
    particle = {name: true[name][row] for name in _TRUE}
    true_pt, eta, _ = kinematics.pt_eta_phi(particle["px"], particle["py"], particle["pz"])
    d0, dz, phi = impact_parameters(particle, card)
    d0_err, dz_err = (
        table.at(np.maximum(true_pt, np.nextafter(table.pt_gev[0], np.inf)), np.minimum(np.abs(eta), table.eta[-1]))
        for table in (card.tracking.d0_mm, card.tracking.dz_mm)
    )
    return {
        "event": particle["event"],
        **kinematics.momenta(pt, eta, phi, mass),
        "charge": particle["charge"].astype(np.float64),
        **kinematics.flags_from_pdg(particle["pdg"], particle["charge"]),
        "d0": d0 + d0_err * rng.standard_normal(len(d0)),
        "d0_err": d0_err,
        "dz": dz + dz_err * rng.standard_normal(len(dz)),
        "dz_err": dz_err,
        "vertex": true["vertex"][row] if "vertex" in true else np.zeros(len(row), dtype=np.int64),
    }


@dataclass(frozen=True)
class _Cells:
    """Cells with a deposit: key (C,), true energy, energy of their tracks and its variance [GeV]; cell_K -1 is none."""

    key: NDArray[np.int64]
    energy: NDArray[np.float64]
    track: NDArray[np.float64]
    variance: NDArray[np.float64]
    cell_K: NDArray[np.int64]


def _fill(
    calorimeter: Calorimeter, true: Mapping[str, Array], tracks: Tracks, energy_T: Array, eta: Array, phi: Array
) -> _Cells:
    """Collect deposits and tracks by cell. A track is in the cell of its particle; none if that leaves no energy here."""
    deposits = np.flatnonzero((energy_T > 0) & (np.abs(eta) < calorimeter.cells[-1].eta[-1]))
    key, cell_D = np.unique(_key(calorimeter, true["event"][deposits], eta[deposits], phi[deposits]), return_inverse=True)
    cell_T = np.full(len(eta), -1)
    cell_T[deposits] = cell_D
    cell_K = cell_T[tracks.row]
    inside = cell_K >= 0
    sinh = true["pz"][tracks.row[inside]] / np.hypot(true["px"][tracks.row[inside]], true["py"][tracks.row[inside]])
    energy_K = np.sqrt(tracks.pt[inside] ** 2 * (1 + sinh**2) + tracks.mass[inside] ** 2)

    def summed(weight: Array, cell: Array) -> NDArray[np.float64]:
        return np.asarray(np.bincount(cell, weight, minlength=len(key)), dtype=np.float64)

    return _Cells(
        key=key,
        energy=summed(energy_T[deposits], cell_D),
        track=summed(energy_K, cell_K[inside]),
        variance=summed((energy_K * tracks.resolution[inside]) ** 2, cell_K[inside]),
        cell_K=cell_K,
    )


def _flow(
    calorimeter: Calorimeter, cells: _Cells, energy: str, flag: str, rng: np.random.Generator
) -> tuple[dict[str, Array], NDArray[np.float64]]:
    """The neutral particles of one calorimeter, and the factor on each track's pT."""
    event, inner, outer, left, width = _place(calorimeter, cells.key)
    centre = (inner + outer) / 2
    measured = _lognormal(cells.energy, calorimeter.sigma(cells.energy, centre), rng)
    sigma = calorimeter.sigma(measured, centre)
    measured[(measured < calorimeter.threshold_gev) | (measured < calorimeter.significance * sigma)] = 0.0
    excess = measured - cells.track
    variance = sigma**2 + cells.variance
    neutral = (excess > calorimeter.threshold_gev) & (excess > calorimeter.significance * np.sqrt(variance))
    both = np.flatnonzero(~neutral & (cells.track > 0) & (variance > 0))
    # Of the calorimeter in the tracks' energy.
    shares: dict[str, Array | float] = {"combined": cells.variance[both] / variance[both], "calorimeter": 1.0, "tracker": 0.0}
    scale = np.ones(len(cells.key) + 1)  # the last one is for tracks in no cell
    scale[both] = 1 + shares[energy] * (measured[both] / cells.track[both] - 1)
    kept = np.flatnonzero(neutral)
    # Uniform within the cell: a fixed centre would print the grid into every jet.
    eta_S = inner[kept] + (outer - inner)[kept] * rng.random(len(kept))
    phi_S = left[kept] + width[kept] * rng.random(len(kept))
    zero, absent = np.zeros(len(kept)), np.full(len(kept), np.nan)
    found = {
        "event": event[kept],
        **kinematics.momenta(excess[kept] / np.cosh(eta_S), eta_S, phi_S),
        "charge": zero,
        **{name: zero + (name == flag) for name in kinematics.FLAGS},
        **dict.fromkeys(NO_TRACK, absent),
        "vertex": np.full(len(kept), -1),
    }
    return found, scale[cells.cell_K]


@dataclass(frozen=True)
class _Grid:
    """Rows of cells from one end to the other: R + 1 borders in eta, cells in phi, and the number of cells before a row."""

    edges: NDArray[np.float64]
    phi: NDArray[np.int64]
    before: NDArray[np.int64]


@cache
def _grid(calorimeter: Calorimeter) -> _Grid:
    edges, phi = [0.0], []
    for cells in calorimeter.cells:
        for border in cells.eta:
            edges += np.linspace(edges[-1], border, cells.split + 1)[1:].tolist()
            phi += [cells.phi] * cells.split
    both = np.array([*phi[::-1], *phi])
    return _Grid(np.array([-e for e in edges[:0:-1]] + edges), both, np.concatenate([[0], np.cumsum(both)]))


def _key(calorimeter: Calorimeter, event: Array, eta: Array, phi: Array) -> NDArray[np.int64]:
    """One number per cell and event of deposits inside the calorimeter."""
    grid = _grid(calorimeter)
    row = np.searchsorted(grid.edges, eta, side="right") - 1
    column = ((phi + np.pi) / (2 * np.pi) * grid.phi[row]).astype(np.int64)
    found: NDArray[np.int64] = event * grid.before[-1] + grid.before[row] + np.minimum(column, grid.phi[row] - 1)
    return found


def _place(calorimeter: Calorimeter, key_C: NDArray[np.int64]) -> tuple[Array, ...]:
    """Of each cell: the event, the eta borders towards and away from 0, the lower phi border and the width in phi."""
    grid = _grid(calorimeter)
    event, cell = np.divmod(key_C, grid.before[-1])
    row = np.searchsorted(grid.before, cell, side="right") - 1
    lower, upper, width = grid.edges[row], grid.edges[row + 1], 2 * np.pi / grid.phi[row]
    inner, outer = np.where(lower < 0, upper, lower), np.where(lower < 0, lower, upper)
    return event, inner, outer, (cell - grid.before[row]) * width - np.pi, width


def _lognormal(mean: Array, sigma: Array, rng: np.random.Generator) -> Array:
    """Log-normal values with this mean and width: never negative, Gaussian where sigma << mean."""
    spread = np.divide(sigma, mean, out=np.zeros(np.shape(mean)), where=mean > 0)
    width = np.sqrt(np.log1p(spread**2))
    drawn: Array = mean * np.exp(width * rng.standard_normal(np.shape(mean)) - width**2 / 2)
    return drawn
