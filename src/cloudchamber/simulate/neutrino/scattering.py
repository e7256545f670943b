"""Pions and nucleons on a nucleon: measured cross-sections, charges of three-body final states, scattering angles."""

# T collision, 2 on a proton or on a neutron, 3 elastic, charge exchange, pion production

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino.kinematics import NUCLEON, PION

Array = NDArray[Any]

PROTON, NEUTRON, PIZERO, PIPLUS = 2212, 2112, 111, 211
_MB = 0.1  # fm2

# Total cross-sections of pi+ p and pi- p [mb] at sqrt(s) [GeV]: measured, as compiled in Geant4's G4XpipNTotal, G4XpimNTotal.
_PLUS_S = (1.105, 1.133, 1.165, 1.199, 1.2125, 1.233, 1.302, 1.369, 1.434, 1.496, 1.557, 1.615, 1.672, 1.780, 1.881, 1.930)
_PLUS = (6.4, 18, 66, 160, 199, 195, 73.8, 35, 22, 15, 15.2, 19.4, 25, 30, 40, 40)
_MINUS_S = (1.105, 1.139, 1.165, 1.199, 1.2125, 1.223, 1.240, 1.302, 1.336, 1.369, 1.434, 1.509, 1.569, 1.604, 1.674, 1.780)
_MINUS = (8.8, 13.6, 26, 60, 70, 72, 65, 30, 26, 27, 30, 47, 35, 37, 59, 36)
_HIGH_S, _HIGH_PLUS, _HIGH_MINUS = (2.071, 2.405, 2.734, 3.207, 4.435), (30, 30.7, 28.3, 26.5, 25), (34.5, 33, 31.5, 29, 26.7)
# Shares of it that are elastic or charge exchange at kinetic energy [GeV] (Geant4's Bertini tables; the rest makes pions).
_SHARE_T = (0.10, 0.18, 0.24, 0.32, 0.42, 0.56, 0.75, 1.0, 1.3, 1.8, 2.4, 3.2, 4.2, 5.6, 7.5, 10.0)
_PLUS_ELASTIC = (1, 1, 1, 0.997, 0.971, 0.814, 0.435, 0.471, 0.462, 0.363, 0.309, 0.269, 0.249, 0.229, 0.208, 0.193)
_MINUS_ELASTIC = (0.29, 0.334, 0.346, 0.415, 0.403, 0.491, 0.371, 0.501, 0.357, 0.306, 0.255, 0.228, 0.198, 0.189, 0.177, 0.17)
_MINUS_EXCHANGE = (0.71, 0.666, 0.651, 0.533, 0.404, 0.21, 0.127, 0.097, 0.062, 0.029, 0.015, 0.008, 0.005, 0.003, 0.002, 0.002)
# Nucleon-nucleon total [mb] at kinetic energy [GeV], and the elastic share: below 0.4 GeV within 8 % of the fits of J. Cugnon
# et al., NIM B 111 (1996) 215 (as in Geant4, G4INCLCrossSectionsINCL46.cc), above it Geant4's Bertini table.
_NN_T = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.42, 0.56, 0.75, 1.0, 1.3, 1.8, 2.4, 3.2, 4.2, 7.5)
_PP = (300, 150, 100, 58, 37, 28, 24, 23.7, 23.5, 25.5, 34.9, 44.5, 46.9, 44.9, 46, 44, 41.8, 41.2, 40.2)
_NP = (940, 480, 300, 168, 100, 73, 50, 42, 35, 33.5, 36, 38, 39, 39.5, 41, 42.4, 42, 42, 41)
_NN_ELASTIC = (1, 1, 1, 1, 1, 1, 1, 1, 0.99, 0.96, 0.82, 0.58, 0.495, 0.461, 0.391, 0.357, 0.335, 0.304, 0.251)
# Three-body charges by total charge, (nucleon, meson or nucleon, pion) and probability: from the same tables near 1 GeV.
_PION_STATES = {
    2: (((PROTON, PIPLUS, PIZERO), 0.8), ((NEUTRON, PIPLUS, PIPLUS), 0.2)),
    1: (((PROTON, PIPLUS, -PIPLUS), 0.4), ((PROTON, PIZERO, PIZERO), 0.2), ((NEUTRON, PIPLUS, PIZERO), 0.4)),
    0: (((NEUTRON, PIPLUS, -PIPLUS), 0.4), ((NEUTRON, PIZERO, PIZERO), 0.2), ((PROTON, -PIPLUS, PIZERO), 0.4)),
    -1: (((NEUTRON, -PIPLUS, PIZERO), 0.8), ((PROTON, -PIPLUS, -PIPLUS), 0.2)),
}
_NUCLEON_STATES = {
    2: (((PROTON, NEUTRON, PIPLUS), 0.82), ((PROTON, PROTON, PIZERO), 0.18)),
    1: (((PROTON, NEUTRON, PIZERO), 0.5), ((PROTON, PROTON, -PIPLUS), 0.25), ((NEUTRON, NEUTRON, PIPLUS), 0.25)),
    0: (((PROTON, NEUTRON, -PIPLUS), 0.82), ((NEUTRON, NEUTRON, PIZERO), 0.18)),
}


def cross_sections(pdg: Array, sqrt_s: Array) -> NDArray[np.float64]:
    """(T, 2, 3) cross-sections [fm2] of pions and nucleons of codes `pdg` at sqrt_s [GeV]; pi0 by isospin."""
    pion = np.abs(pdg) < 1000
    found = np.zeros((len(pdg), 2, 3))
    found[pion] = _pion(np.sign(pdg[pion]) * (pdg[pion] != PIZERO), sqrt_s[pion])
    kinetic = sqrt_s[~pion] ** 2 / (2 * NUCLEON) - 2 * NUCLEON
    elastic = np.interp(kinetic, _NN_T, _NN_ELASTIC)
    for i, code in enumerate((PROTON, NEUTRON)):
        total = np.where(pdg[~pion] == code, np.interp(kinetic, _NN_T, _PP), np.interp(kinetic, _NN_T, _NP))
        found[~pion, i] = np.stack([total * elastic, 0 * total, total * (1 - elastic)], axis=1)
    return found * _MB


def _pion(charge: Array, sqrt_s: Array) -> NDArray[np.float64]:
    kinetic = (sqrt_s**2 - (NUCLEON + PION) ** 2) / (2 * NUCLEON)
    plus = np.exp(np.interp(sqrt_s, (*_PLUS_S, *_HIGH_S), np.log((*_PLUS, *_HIGH_PLUS))))
    minus = np.exp(np.interp(sqrt_s, (*_MINUS_S, *_HIGH_S), np.log((*_MINUS, *_HIGH_MINUS))))
    shares = (np.interp(kinetic, _SHARE_T, table) for table in (_PLUS_ELASTIC, _MINUS_ELASTIC, _MINUS_EXCHANGE))
    plus_elastic, minus_elastic, exchange = (x * y for x, y in zip((plus, minus, minus), shares, strict=True))
    strong = np.stack([plus_elastic, 0 * plus, plus - plus_elastic], axis=1)
    weak = np.stack([minus_elastic, exchange, minus - minus_elastic - exchange], axis=1)
    zero_elastic = np.maximum(plus_elastic + minus_elastic - exchange, 0.0) / 2  # isospin 1/2 and 3/2 amplitudes
    zero = np.stack([zero_elastic, exchange, np.maximum((plus + minus) / 2 - zero_elastic - exchange, 0.0)], axis=1)
    on_proton = np.select([charge[:, None] > 0, charge[:, None] < 0], [strong, weak], zero)
    on_neutron = np.select([charge[:, None] > 0, charge[:, None] < 0], [weak, strong], zero)
    return np.stack([on_proton, on_neutron], axis=1)


def deuteron_absorption(kinetic: Array) -> NDArray[np.float64]:
    """(T,) cross-section [fm2] of pi+ d -> p p at the pion's kinetic energy [GeV] (B. Ritchie, PRC 28 (1983) 926)."""
    t_mev = np.maximum(kinetic * 1e3, 1.0)
    deuteron, pion = 1875.6, 139.57  # MeV
    e_mev = np.sqrt(deuteron**2 + pion**2 + 2 * deuteron * (t_mev + pion))
    return np.asarray(np.maximum(-1.2 + 3.5 / np.sqrt(t_mev) + 7.4e4 / ((e_mev - 2136.0) ** 2 + 5600.0), 0.0) * _MB)


def three_body_codes(charge: Array, from_pion: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """(T, 3) codes of N pi pi or N N pi of a total charge."""
    codes, u = np.zeros((len(charge), 3), dtype=np.int64), rng.random(len(charge))
    for pions, states in ((True, _PION_STATES), (False, _NUCLEON_STATES)):
        for total, options in states.items():
            rows = np.flatnonzero((from_pion == pions) & (charge == total))
            pick = np.searchsorted(np.cumsum([p for _, p in options])[:-1], u[rows])
            codes[rows] = np.array([c for c, _ in options])[pick]
    return codes


def cos_theta(pion: Array, sqrt_s: Array, p_cm: Array, rng: np.random.Generator) -> NDArray[np.float64]:
    """(T,) scattering angle: 1 + 3 cos2 of the Delta below 1.35 GeV, else exp(b t).

    b: 7/GeV2 for pions (not checked against a second source); for nucleons that of p p, isotropic at low momentum: J. Cugnon
    et al., as above.
    """
    u = rng.random(len(pion))
    # 1 + 3 c2 integrates to c + c3: the real root of a cubic (Cardano).
    half = 2 * u - 1
    root = np.sqrt(half**2 + 1 / 27)
    delta = np.cbrt(half + root) + np.cbrt(half - root)
    lab = np.sqrt(np.maximum((sqrt_s**2 / (2 * NUCLEON) - NUCLEON) ** 2 - NUCLEON**2, 0.0))  # of a nucleon
    power = np.minimum(lab, 2.0) ** 8
    slope = np.where(pion, 7.0, 5.5 * power / (7.7 + power) + 0.67 * np.maximum(lab - 2, 0.0))
    scale = np.maximum(2 * slope * p_cm**2, 1e-6)
    forward = 1 + np.log(u + (1 - u) * np.exp(-2 * scale)) / scale
    return np.where(pion & (sqrt_s < 1.35), delta, np.clip(forward, -1.0, 1.0))
