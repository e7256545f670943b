"""MINERvA truth: available energy, momentum transfer, pion classes, leading pions and further labels of simulated events."""

# N event, T final-state particle of any event

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Column, Container
from cloudchamber.data.reader import of_event, of_particles
from cloudchamber.events import Label

_PROTON_A, _PROTON_B = 0.938272, 0.93827  # GeV, as in the two codes
_PION_B = 0.135  # GeV: MAT-MINERvA subtracts this from the energy of pi+-, whose mass is 0.13957
_ABSURD = 1e3  # GeV: a few final-state particles of a file have energies beyond any beam
PION_CLASSES = ("CC1pi+-", "CCNpi+-", "CC1pi0", "CC other", "NC")
_INTERACTIONS = {1: "QE", 2: "RES", 3: "DIS", 4: "COH", 8: "MEC"}  # mc_intType
_CURRENTS = {1: "CC", 2: "NC"}  # mc_current
_FINAL = tuple(f"mc_FSPart{n}" for n in ("PDG", "Px", "Py", "Pz", "E"))
# The beam points down by this much in the detector, whose z is horizontal and y up: a rotation about x (MAT-MINERvA).
BEAM_TILT = -0.05887  # rad
_SCALARS = ("mc_incomingE", "mc_current", "mc_intType", "mc_incoming", "mc_incomingPartVec", "mc_primFSLepton")
# Weights that the tuple carries from older flux predictions. MAT-MINERvA makes the central value's weight of an event from
# its own flux and model tables, not from a branch, so none of these is the event weight; they are kept beside the labels.
_WEIGHTS = (
    "mc_cvweight_total",
    "mc_cvweight_totalFlux",
    "mc_cvweight_totalXsec",
    "mc_ppfx1_cvweight",
    "mc_hornCurrent_cvweight",
)
_LABELS = (
    Label(
        name="pion_class", classes=PION_CLASSES, description="by the pions that leave the nucleus, whatever the charge's sign"
    ),
    Label(name="interaction", classes=(*_INTERACTIONS.values(), "other"), description="mc_intType"),
    Label(name="current", classes=tuple(_CURRENTS.values()), description="mc_current"),
    Label(name="available_energy", unit="GeV", description="as arXiv:2604.12364: pi+-, K+-, e+- with their total energy"),
    Label(name="available_energy_mat", unit="GeV", description="as MAT-MINERvA GetEAvailableTrue: pi+- with E - 0.135 GeV"),
    Label(name="q3", unit="GeV", description="three-momentum transfer by the true lepton"),
    Label(name="w", unit="GeV", description="hadronic mass by the true lepton on a nucleon at rest"),
    Label(name="pion_energy", unit="GeV", description="total energy of the charged pion of most energy"),
    Label(name="pion_theta", unit="rad", description="its angle to the beam"),
    Label(name="pi0_energy", unit="GeV", description="total energy of the pi0 of most energy"),
    Label(name="pi0_theta", unit="rad", description="its angle to the beam"),
    Label(name="neutrino_energy", unit="GeV", description="mc_incomingE"),
    Label(name="neutrino_pdg", description="mc_incoming"),
)


def available_energy(
    counts: NDArray[np.int64], codes: NDArray[Any], energies: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) available energy [GeV] of final states in two conventions that must not be mixed.

    counts: (N,) particles of each event. codes, energies: (T,) their PDG codes and total energies [GeV].
    First, arXiv:2604.12364: E of pions, photons, e+-, K+-; E - m of p and anti-p; never below 0. Second, MAT-MINERvA
    (calculators/CCQE3DFitFunctions.h; arXiv:2312.16631, eq. 4): E of pi0 and photons, E - 0.135 of pi+-, E - m of p only;
    may be below 0. Neutrons, hyperons, neutral kaons, nuclei, muons and neutrinos count in neither.

    >>> available_energy(np.array([2]), np.array([211, 2212]), np.array([0.335, 1.03827]))
    (array([0.434998]), array([0.3]))
    """
    size = np.abs(codes)
    total, pion, proton = np.isin(codes, (22, 111)), size == 211, codes == 2212
    study = energies * (total | np.isin(size, (11, 211, 321))) + (energies - _PROTON_A) * (size == 2212)
    mat = energies * total + (energies - _PION_B) * pion + (energies - _PROTON_B) * proton
    event = np.repeat(np.arange(len(counts)), counts)
    return np.maximum(sum_of(event, study, len(counts)), 0.0), sum_of(event, mat, len(counts))


def pion_class(counts: NDArray[np.int64], codes: NDArray[Any], charged_current: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(N,) index in PION_CLASSES from the pions of each final state; a single pi- counts as a single pi+ does.

    >>> pion_class(np.array([1, 2]), np.array([-211, 111, 13]), np.array([True, True])).tolist()
    [0, 2]
    """
    event = np.repeat(np.arange(len(counts)), counts)
    charged = sum_of(event, (np.abs(codes) == 211).astype(np.float64), len(counts))
    neutral = sum_of(event, (codes == 111).astype(np.float64), len(counts))
    return np.select([~charged_current, charged == 1, charged > 1, neutral == 1], [4, 0, 1, 2], 3)


def momentum_transfer(
    neutrino_energy: NDArray[Any], neutrino_N4: NDArray[Any], lepton_N4: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) q3 and W [GeV] from the true neutrino and lepton, (px, py, pz, E) [GeV]; W of a nucleon at rest, 0 if m2 < 0.

    q0 = E_nu - E_l; Q2 = 2 E_nu (E_l - p_l cos theta) - m_l^2; q3^2 = Q2 + q0^2; W2 = M^2 + 2 M q0 - Q2.
    """
    nucleon = 0.93891875  # GeV, mean of proton and neutron (doi:10.1103/PhysRevD.110.030001)
    p_nu, p_l, e_l = neutrino_N4[:, :3], lepton_N4[:, :3], lepton_N4[:, 3]
    size = np.linalg.norm(p_nu, axis=1)
    along = np.divide((p_nu * p_l).sum(axis=1), size, out=np.zeros_like(size), where=size > 0)
    mass2 = np.maximum(e_l**2 - (p_l**2).sum(axis=1), 0.0)
    q0 = neutrino_energy - e_l
    q2 = 2 * neutrino_energy * (e_l - along) - mass2
    w2 = nucleon**2 + 2 * nucleon * q0 - q2
    return np.sqrt(np.maximum(q2 + q0**2, 0.0)), np.sqrt(np.maximum(w2, 0.0))


def leading_pion(
    counts: NDArray[np.int64], is_pion: NDArray[np.bool_], p4_T4: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) total energy [GeV] and angle to the beam [rad] of each event's pion of most energy; NaN without one.

    counts: (N,) particles of each event. is_pion: (T,). p4_T4: px, py, pz, energy in the detector's frame.

    >>> leading_pion(np.array([1]), np.array([True]), np.array([[0.0, 0.3, 0.0, 0.331]]))[1].round(3)  # up: the beam falls
    array([1.63])
    """
    event, rows = np.repeat(np.arange(len(counts)), counts), np.flatnonzero(is_pion)
    rows = rows[np.lexsort((p4_T4[rows, 3], event[rows]))]  # of an event the last is the one of most energy
    last = rows[np.append(np.diff(event[rows]) != 0, True)] if len(rows) else rows
    energy, theta = np.full((2, len(counts)), np.nan)
    along = p4_T4[last, 1] * np.sin(BEAM_TILT) + p4_T4[last, 2] * np.cos(BEAM_TILT)
    size = np.linalg.norm(p4_T4[last, :3], axis=1)
    energy[event[last]] = p4_T4[last, 3]
    theta[event[last]] = np.arccos(np.clip(np.divide(along, size, out=np.full_like(size, np.nan), where=size > 0), -1, 1))
    return energy, theta


def sum_of(event: NDArray[np.int64], values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """(N,) the sum of the values of each event."""
    return np.bincount(event, weights=values, minlength=size).astype(np.float64)  # without values it would be integers


def truth_labels(container: Container, tree: str) -> tuple[Label, ...]:
    """The labels of a file: none if it is not simulated."""
    keys = set(container.keys)
    if f"{tree}/mc_FSPartPDG" not in keys:
        return ()
    weights = (n for n in _WEIGHTS if f"{tree}/{n}" in keys)
    return (*_LABELS, *(Label(name=n.removeprefix("mc_"), description=f"{n}: a weight, not a target") for n in weights))


def truth_keys(container: Container, tree: str) -> list[str]:
    """The branches that the labels of a file are made of."""
    weights = [n for n in _WEIGHTS if f"{tree}/{n}" in container.keys]
    return [f"{tree}/{n}" for n in (*_SCALARS, *_FINAL, *weights)] if truth_labels(container, tree) else []


def truth(container: Container, columns: dict[str, Column], tree: str, start: int) -> dict[str, NDArray[Any]]:
    """The label columns. Energies are NaN in an event with a final-state particle of no possible energy."""
    scalars = {n: of_event(container, columns, f"{tree}/{n}") for n in _SCALARS}
    counts, final = of_particles(container, columns, [f"{tree}/{n}" for n in _FINAL], start)
    codes, *p4 = (final[f"{tree}/{n}"] for n in _FINAL)
    p4_T4 = np.column_stack(p4) * 1e-3
    energies = p4_T4[:, 3]
    absurd = sum_of(np.repeat(np.arange(len(counts)), counts), ~(np.abs(energies) <= _ABSURD), len(counts)) > 0
    study, mat = available_energy(counts, codes, np.where(np.abs(energies) <= _ABSURD, energies, 0.0))
    neutrino_energy = scalars["mc_incomingE"] * 1e-3
    q3, w = momentum_transfer(neutrino_energy, scalars["mc_incomingPartVec"] * 1e-3, scalars["mc_primFSLepton"] * 1e-3)
    pions = (np.abs(codes) == 211, codes == 111)
    leading = np.array([leading_pion(counts, is_pion, p4_T4) for is_pion in pions]).reshape(4, -1)
    found = {
        "pion_class": pion_class(counts, codes, scalars["mc_current"] == 1),
        "interaction": _index(scalars["mc_intType"], tuple(_INTERACTIONS), len(_INTERACTIONS)),
        "current": _index(scalars["mc_current"], tuple(_CURRENTS), -1),
        "available_energy": np.where(absurd, np.nan, study),
        "available_energy_mat": np.where(absurd, np.nan, mat),
        "q3": q3,
        "w": w,
        **dict(zip(("pion_energy", "pion_theta", "pi0_energy", "pi0_theta"), np.where(absurd, np.nan, leading), strict=True)),
        "neutrino_energy": neutrino_energy,
        "neutrino_pdg": scalars["mc_incoming"].astype(np.float64),
    }
    weights = (n for n in _WEIGHTS if f"{tree}/{n}" in columns)
    return found | {n.removeprefix("mc_"): of_event(container, columns, f"{tree}/{n}") for n in weights}


def _index(values: NDArray[Any], known: tuple[int, ...], other: int) -> NDArray[np.int64]:
    return np.where(np.isin(values, known), np.argmax(values[:, None] == np.array(known), axis=1), other)
