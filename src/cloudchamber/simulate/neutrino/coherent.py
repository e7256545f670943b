"""Coherent pions: the nucleus as a whole scatters the pion that a boson turns into (C. Berger, L. Sehgal, arXiv:0812.2653)."""

# N event

from __future__ import annotations

import numpy as np

from cloudchamber.simulate.neutrino import kinematics as kin
from cloudchamber.simulate.neutrino.kinematics import Array

PION_DECAY = 0.1302  # GeV, PDG 2024
AXIAL_MASS = 1.0  # GeV, Berger and Sehgal
# dsigma/dt = A exp(-b t) of pions on carbon at kinetic energies T [GeV]: Berger and Sehgal, table I, and their own code as in
# GENIE, HadXSUtils.cxx. Above it the last values are kept. With the total cross-section of pions on carbon (268 mb at
# 5 GeV: Barashenkov, as in G4UPiNuclearCrossSection.cc) the optical theorem gives 0.7 of this A; with it as it is the result is
# below MINERvA's measurement already.
_T = (0.0, 0.076, 0.080, 0.100, 0.148, 0.162, 0.226, 0.486, 0.584, 0.662, 0.766, 0.870)
_A = (0.0, 11600, 14700, 18300, 21300, 22400, 16400, 5730, 4610, 4570, 4930, 5140)  # mb/GeV^2
_SLOPE = (116, 116, 109, 89.8, 91.0, 89.2, 80.8, 54.6, 55.2, 58.4, 60.5, 62.2)  # GeV^-2
_MB = 1e-27  # cm^2
_Q2_MAX = 3.0  # GeV^2; the propagator leaves less than a permille above it
_STEPS = 60


def cross_section(energy: Array, *, charged: bool) -> Array:
    """Total cross-section per carbon nucleus [cm^2] by the midpoint rule in the two variables of `sample`."""
    u = (np.arange(_STEPS) + 0.5) / _STEPS
    found = [_density(np.full((_STEPS, _STEPS), e), u[:, None], u[None, :], charged)[0].mean() for e in np.ravel(energy)]
    return np.reshape(found, np.shape(energy))


def sample(energy: Array, *, charged: bool, rng: np.random.Generator) -> tuple[Array, Array]:
    """(N, 4) leptons and (N, 2, 4) pion and recoiling nucleus, the neutrino along z."""
    lepton, pion = (kin.MUON, kin.PION) if charged else (0.0, kin.PION0)
    chosen = np.zeros((3, len(energy)))
    open_N = np.arange(len(energy))
    grid = (np.arange(_STEPS) + 0.5) / _STEPS
    edges = np.linspace(energy.min(initial=100.0), energy.max(initial=1.0), 20)
    peaks = np.array([_density(np.full((_STEPS, _STEPS), e), grid[:, None], grid[None, :], charged)[0].max() for e in edges])
    bound = 1.5 * np.maximum.accumulate(peaks)[np.minimum(np.searchsorted(edges, energy), 19)]
    while len(open_N):
        u, v = rng.random((2, len(open_N)))
        value, nu, q2, slope = _density(energy[open_N], u, v, charged)
        t = rng.exponential(1 / slope)
        kept = rng.random(len(open_N)) * bound[open_N] < value
        # The smallest t, and the angle between pion and boson, must be possible.
        kept &= np.abs(_pion_cosine(nu, q2, t, pion)) <= 1
        chosen[:, open_N[kept]] = nu[kept], q2[kept], t[kept]
        open_N = open_N[~kept]
    return _momenta(energy, chosen, lepton, pion, rng)


def _density(energy: Array, u: Array, v: Array, charged: bool) -> tuple[Array, Array, Array, Array]:
    """Cross-section per unit of u and v, with nu, Q^2 and the slope in t, which is integrated over.

    u is linear in nu; v in the logarithm of Q^2 + m_pi^2.
    """
    lepton, pion = (kin.MUON, kin.PION) if charged else (0.0, kin.PION0)
    room = np.maximum(energy - lepton - pion, 1e-9)
    nu = pion + u * room
    l_energy = np.maximum(energy - nu, lepton)
    l_p = np.sqrt(np.maximum(l_energy**2 - lepton**2, 0.0))
    q2_low = 2 * energy * (l_energy - l_p) - lepton**2
    span = np.log((_Q2_MAX + kin.PION**2) / (q2_low + kin.PION**2))
    q2 = (q2_low + kin.PION**2) * np.exp(v * span) - kin.PION**2
    q3 = np.sqrt(nu**2 + q2)
    uv = ((2 * energy - nu) ** 2 - q3**2) / (4 * energy**2)
    axial = 1 / (1 + q2 / AXIAL_MASS**2)
    y = nu / energy
    q2_min = lepton**2 * y / np.maximum(1 - y, 1e-9)
    helicity = (axial - q2_min / (2 * (q2 + kin.PION**2))) ** 2
    helicity += y / 4 * np.maximum(q2 - q2_min, 0.0) * q2_min / (q2 + kin.PION**2) ** 2
    kinetic = nu - pion
    slope = np.interp(kinetic, _T, _SLOPE)
    t_min = ((q2 + pion**2) / (2 * nu)) ** 2
    elastic = np.interp(kinetic, _T, _A) * _MB / slope * np.exp(-slope * t_min)
    coupling = kin.FERMI**2 * PION_DECAY**2 / (2 * np.pi**2) * (kin.V_UD**2 if charged else 0.5)
    value = coupling * energy / q3 * np.maximum(uv, 0.0) * helicity * elastic / energy
    jacobian = room * (q2 + kin.PION**2) * span
    inside = (energy > lepton + pion) & (l_energy > lepton) & (span > 0)
    return np.where(inside, value * jacobian, 0.0), nu, q2, slope


def _pion_cosine(nu: Array, q2: Array, t: Array, pion: float) -> Array:
    """Cosine between boson and pion for the momentum transfer t + t_min, the nucleus taking t/2M of the energy."""
    q3 = np.sqrt(nu**2 + q2)
    t = t + ((q2 + pion**2) / (2 * nu)) ** 2
    p2 = np.maximum((nu - t / (2 * kin.CARBON)) ** 2 - pion**2, 1e-12)
    squared = t + (t / (2 * kin.CARBON)) ** 2
    value: Array = (q3**2 + p2 - squared) / (2 * q3 * np.sqrt(p2))
    return value


def _momenta(energy: Array, chosen: Array, lepton: float, pion: float, rng: np.random.Generator) -> tuple[Array, Array]:
    nu, q2, t = chosen
    l_energy = energy - nu
    l_p = np.sqrt(np.maximum(l_energy**2 - lepton**2, 0.0))
    cosine = np.clip((2 * energy * l_energy - q2 - lepton**2) / (2 * energy * l_p), -1, 1)
    leptons = np.concatenate([l_energy[:, None], l_p[:, None] * kin.direction(cosine, rng)], axis=1)
    boson = np.stack([energy, 0 * energy, 0 * energy, energy], axis=1) - leptons
    t_all = t + ((q2 + pion**2) / (2 * nu)) ** 2
    p_energy = nu - t_all / (2 * kin.CARBON)
    p_size = np.sqrt(np.maximum(p_energy**2 - pion**2, 0.0))
    pions = kin.turn(kin.on_shell(pion, p_size[:, None] * kin.direction(_pion_cosine(nu, q2, t, pion), rng)), boson[:, 1:])
    recoil = boson - pions
    recoil[:, 0] += kin.CARBON
    return leptons, np.stack([pions, recoil], axis=1)
