"""A parametric detector: true particles in, reconstructed tracks, photons and neutral hadrons out. NumPy only."""

# T true particle, K track, C calorimeter cell (tower), R row of cells at one eta, S reconstructed particle

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.events import kinematics
from cloudchamber.simulate.card import ELECTRON, HADRON, MUON, Calorimeter, Card

Array = NDArray[Any]

NO_TRACK = ("d0", "d0_err", "dz", "dz_err")  # NaN for neutral particles
_TRUE = ("event", "px", "py", "pz", "energy", "pdg", "charge", "vx", "vy", "vz")


def detect(true: Mapping[str, Array], card: Card, rng: np.random.Generator) -> dict[str, Array]:
    """What the detector reconstructs of stable particles: one flat array per column, ordered by event.

    true: flat (T,) arrays event, px, py, pz, energy [GeV], pdg, charge, and the production vertex vx, vy, vz [mm].
    Neutrinos leave nothing. Returns event, px, py, pz, energy [GeV], charge, the five flags of kinematics.FLAGS,
    and d0, d0_err, dz, dz_err [mm], NaN for neutrals. Energy flow: charged particles are tracks with the tracker's
    momentum; a tower's energy above that of its tracks is a photon (ECAL) or a neutral hadron (HCAL).
    Massless everywhere. Raises BadInput if a column is missing.
    """
    if missing := [name for name in _TRUE if name not in true]:
        raise BadInput(f"the true particles lack {missing[0]!r}; expected {', '.join(_TRUE)}")
    pt, eta, _ = kinematics.pt_eta_phi(true["px"], true["py"], true["pz"])
    kind = species(true["pdg"])
    *where, curls = calorimeter_position(true, card)
    tracked = (true["charge"] != 0) & ~curls & (rng.random(len(pt)) < track_efficiency(card, kind, pt, eta))
    resolution_K = track_resolution(card, kind[tracked], pt[tracked], eta[tracked])
    track = _tracks({k: v[tracked] for k, v in true.items()}, resolution_K, card, rng)
    energy_T, sigma_T = np.zeros_like(pt), np.zeros_like(pt)
    energy_T[tracked], sigma_T[tracked] = track["energy"], track["energy"] * resolution_K
    parts = [track]
    for calorimeter, fraction, flag in zip(
        (card.ecal, card.hcal), energy_fractions(true["pdg"]), ("is_photon", "is_neutral_hadron"), strict=True
    ):
        hit = fraction > 0
        deposits = (true["event"], *where, fraction * true["energy"], fraction * energy_T, fraction * sigma_T)
        parts.append(_excess(calorimeter, tuple(d[hit] for d in deposits), flag, rng))
    merged = {name: np.concatenate([part[name] for part in parts]) for name in track}
    order = np.argsort(merged["event"], kind="stable")
    return {name: column[order] for name, column in merged.items()}


def species(pdg: Array) -> NDArray[np.int64]:
    """HADRON, ELECTRON or MUON: which tables a charged particle obeys."""
    code = np.abs(pdg)
    return np.select([code == 11, code == 13], [ELECTRON, MUON], HADRON)


def track_efficiency(card: Card, kind: Array, pt: Array, eta: Array) -> NDArray[np.float64]:
    """Probability that a charged particle is a track; 0 below the first pT [GeV] or beyond the last abs(eta)."""
    row = np.searchsorted(card.efficiency_eta, np.abs(eta))
    value = np.zeros(np.shape(pt))
    for this, (starts, table) in enumerate(zip(card.efficiency_pt, card.efficiency, strict=True)):
        padded = np.zeros((len(table) + 1, len(starts) + 1))
        padded[:-1, 1:] = table
        value = np.where(kind == this, padded[row, np.searchsorted(starts, pt)], value)
    return value


def track_resolution(card: Card, kind: Array, pt: Array, eta: Array) -> NDArray[np.float64]:
    """sigma(pT)/pT of a track."""
    row = np.minimum(np.searchsorted(card.momentum_eta, np.abs(eta)), len(card.momentum_eta) - 1)
    constant, slope = np.moveaxis(np.asarray(card.momentum)[kind, row], -1, 0)
    return np.asarray(np.hypot(constant, slope * pt))


def impact_resolution(card: Card, pt: Array, eta: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """sigma(d0) and sigma(dz) [mm]. The endcap's dz, which has no table, degrades as its d0 does."""
    log_pt = np.log(pt)
    barrel, endcap, dz = (
        np.exp(np.interp(log_pt, np.log(table[0]), np.log(table[1])))
        for table in (card.d0_barrel, card.d0_endcap, card.dz_barrel)
    )
    share = np.clip((np.abs(eta) - card.impact_eta[0]) / (card.impact_eta[1] - card.impact_eta[0]), 0.0, 1.0)
    d0 = (1 - share) * barrel + share * endcap
    return d0, dz * d0 / barrel


def impact_parameters(true: Mapping[str, Array]) -> tuple[Array, Array]:
    """d0 and dz [mm] of straight lines through the production vertices, with respect to the origin."""
    pt = np.hypot(true["px"], true["py"])
    d0 = (true["vx"] * true["py"] - true["vy"] * true["px"]) / pt
    dz = true["vz"] - (true["vx"] * true["px"] + true["vy"] * true["py"]) / pt * true["pz"] / pt
    return d0, dz


def energy_fractions(pdg: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Shares of a particle's energy that the ECAL and the HCAL see."""
    code = np.abs(pdg)
    showers = np.isin(code, (11, 22, 111))
    strange = np.isin(code, (310, 3122))  # K0S and Lambda decay inside: a part is pi0
    unseen = np.isin(code, (12, 13, 14, 16))
    ecal = np.select([showers, strange], [1.0, 0.3], 0.0)
    return ecal, np.where(unseen, 0.0, 1.0 - ecal)


def calorimeter_position(true: Mapping[str, Array], card: Card) -> tuple[Array, Array, NDArray[np.bool_]]:
    """eta and phi where a particle from the origin meets the calorimeter's face, and whether it curls up before.

    A particle that turns back towards the beam line before the face (in 3.8 T: pT below 0.74 GeV in the barrel) is no
    track: JetClass has hardly any charged particle below that.
    """
    pt, eta, phi = kinematics.pt_eta_phi(true["px"], true["py"], true["pz"])
    curvature = 0.299792458 * card.field * true["charge"] / np.maximum(pt, 1e-9)  # 1/m; c in m/ns turns T into GeV/m
    reach = card.radius * np.abs(curvature) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        barrel = np.where(reach < 1, np.where(reach > 0, 2 * np.arcsin(reach) / np.abs(curvature), card.radius), np.inf)
        endcap = card.half_length * pt / np.maximum(np.abs(true["pz"]), 1e-9)
        arc = np.minimum(barrel, endcap)  # m, in the transverse plane
        turn = curvature * arc / 2
        chord = np.where(turn == 0, arc, np.abs(2 * np.sin(turn) / curvature))
    backwards = np.sin(np.abs(turn)) < 0
    eta_at_face = np.where(turn == 0, eta, np.arcsinh(arc * np.sinh(eta) / np.maximum(chord, 1e-9)))
    return eta_at_face, kinematics.wrap(phi - turn + np.pi * backwards), np.abs(turn) > np.pi / 2


def _tracks(true: Mapping[str, Array], resolution: Array, card: Card, rng: np.random.Generator) -> dict[str, Array]:
    pt, eta, phi = kinematics.pt_eta_phi(true["px"], true["py"], true["pz"])
    d0, dz = impact_parameters(true)
    d0_err, dz_err = impact_resolution(card, pt, eta)
    return {
        "event": true["event"],
        **kinematics.momenta(_lognormal(pt, resolution * pt, rng), eta, phi),
        "charge": true["charge"].astype(np.float64),
        **kinematics.flags_from_pdg(true["pdg"], true["charge"]),
        "d0": rng.normal(d0, d0_err),
        "d0_err": d0_err,
        "dz": rng.normal(dz, dz_err),
        "dz_err": dz_err,
    }


def _excess(calorimeter: Calorimeter, deposits: tuple[Array, ...], flag: str, rng: np.random.Generator) -> dict[str, Array]:
    """The neutral particles of one calorimeter: towers whose energy exceeds that of their tracks."""
    event, eta, phi, energy, track_energy, track_sigma = deposits
    key, inside = _tower(calorimeter, event, eta, phi)
    key_C, index = np.unique(key, return_inverse=True)
    sums = (np.bincount(index, w[inside], minlength=len(key_C)) for w in (energy, track_energy, track_sigma**2))
    energy_C, track_C, variance_C = sums
    event_C, inner_C, outer_C, phi_C, width_C = _place(calorimeter, key_C)
    centre_C = (inner_C + outer_C) / 2
    energy_C = _lognormal(energy_C, calorimeter.resolution(energy_C, centre_C), rng)
    sigma_C = calorimeter.resolution(energy_C, centre_C)
    seen = (energy_C > calorimeter.threshold) & (energy_C > calorimeter.significance * sigma_C)
    excess_C = np.where(seen, energy_C, 0.0) - track_C
    kept = (excess_C > calorimeter.threshold) & (excess_C > calorimeter.significance * np.sqrt(sigma_C**2 + variance_C))
    # Uniform within the cell: a fixed centre would print the grid into every jet.
    eta_S = inner_C[kept] + (outer_C - inner_C)[kept] * rng.random(int(kept.sum()))
    phi_S = phi_C[kept] + width_C[kept] * rng.random(int(kept.sum()))
    zero, absent = np.zeros(len(eta_S)), np.full(len(eta_S), np.nan)
    return {
        "event": event_C[kept],
        **kinematics.momenta(excess_C[kept] / np.cosh(eta_S), eta_S, phi_S),
        "charge": zero,
        **{name: zero + (name == flag) for name in kinematics.FLAGS},
        **dict.fromkeys(NO_TRACK, absent),
    }


def _tower(calorimeter: Calorimeter, event: Array, eta: Array, phi: Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """One number per tower for each deposit, (event, row, column) packed, and which deposits are in the calorimeter."""
    edges, cells = _rows(calorimeter)
    inside = np.abs(eta) < edges[-1]
    row = np.searchsorted(edges, eta[inside], side="right") - 1
    column = np.minimum(((phi[inside] + np.pi) / (2 * np.pi) * cells[row]).astype(np.int64), cells[row] - 1)
    return (event[inside] * len(cells) + row) * cells.max() + column, inside


def _place(calorimeter: Calorimeter, key_C: NDArray[np.int64]) -> tuple[Array, ...]:
    """Of each tower: the event, the eta borders towards and away from 0, the lower phi border and the width in phi."""
    edges, cells = _rows(calorimeter)
    row, column = key_C // cells.max() % len(cells), key_C % cells.max()
    lower, upper = edges[row], edges[row + 1]
    inner, outer = np.where(lower < 0, upper, lower), np.where(lower < 0, lower, upper)
    width = 2 * np.pi / cells[row]
    return key_C // (cells.max() * len(cells)), inner, outer, column * width - np.pi, width


def _rows(calorimeter: Calorimeter) -> tuple[Array, Array]:
    """The eta borders from one end to the other, and the number of cells in phi of each row between them."""
    edges, cells = np.asarray(calorimeter.edges), np.asarray(calorimeter.cells)
    return np.concatenate([-edges[:0:-1], edges]), np.concatenate([cells[::-1], cells])


def _lognormal(mean: Array, sigma: Array, rng: np.random.Generator) -> Array:
    """Log-normal values with this mean and width: never negative, Gaussian where sigma << mean."""
    spread = np.divide(sigma, mean, out=np.zeros(np.shape(mean)), where=mean > 0)  # a tower that only a muon crossed has 0
    width = np.sqrt(np.log1p(spread**2))
    drawn: Array = mean * np.exp(width * rng.standard_normal(np.shape(mean)) - width**2 / 2)
    return drawn
