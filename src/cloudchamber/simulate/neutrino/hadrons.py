"""Hadrons that leave the vertex: a system of mass W, charge and one baryon becomes particles, in its rest frame."""

# N system, B hadron of a system, T hadron of any system. z is the direction of the momentum transfer.

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from cloudchamber.errors import CloudchamberError
from cloudchamber.simulate.neutrino.interactions import Particles
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, PION, Array, boost, mass_of, phase_space, two_body
from cloudchamber.simulate.neutrino.resonance import RESONANCES
from cloudchamber.simulate.pythia import pythia_module

Codes = NDArray[np.int64]
# Charged multiplicity a + b ln W^2 and width c of the KNO distribution by charge of the system, and beam sign: T. Yang et al.,
# "AGKY", arXiv:0904.4043; numbers as in GENIE, config/AGKYLowW2019.xml. All hadrons are 1.5 times the charged ones.
_KNO = {(2, 1): (0.40, 1.42, 7.93), (1, 1): (-0.20, 1.42, 5.22), (0, -1): (0.02, 1.28, 5.22), (-1, -1): (0.80, 0.95, 7.93)}
MAX_HADRONS = 10
_CHARGED_PAIRS = 2 / 3  # pi+ pi- of all pairs; AGKY without its 6 % of kaon pairs
STRINGS = (2.3, 3.0)  # GeV; below KNO, above strings, linear between them; AGKY
# Nucleons go backwards in the frame of the system (J. Bell et al., doi:10.1103/PhysRevD.19.1): effective, no fit of ours.
_BACKWARD = ((1.2, 2.0), (0.5, 0.9))  # W [GeV], probability
# Cumulated shares of these four, PDG 2024 (39.36, 32.57, 23.02, 4.28 %); 0.396, 0.725, 0.954 in Pythia 8.3.
_ETA = ((0.397, (22, 22)), (0.725, (111, 111, 111)), (0.957, (211, -211, 111)), (1.0, (211, -211, 22)))
_QUARK, _DIQUARK, _CHARM = 0.33, 0.58, 1.5  # GeV, constituent masses as in Pythia
_SETTINGS = (
    *("Print:quiet = on", "ProcessLevel:all = off", "Random:setSeed = on", "111:mayDecay = off", "Check:event = off"),
    *("ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 1."),  # mm: K0, Lambda, Sigma+- and their like stay
    # Charged multiplicities at W of 3 to 6 GeV come within 10 % of AGKY's by these; with Pythia's own numbers 20 % below them.
    *("StringFragmentation:stopMass = 0.0", "StringZ:aLund = 1.2"),
)


def join(parts: list[tuple[Codes, Codes, Array]]) -> Particles:
    """One flat record of (rows (N,), codes (N, B), p4 (N, B, 4)) groups, by rising row."""
    rows = np.concatenate([np.repeat(r, c.shape[1]) for r, c, _ in parts] or [np.zeros(0, dtype=np.int64)])
    codes = np.concatenate([c.reshape(-1) for _, c, _ in parts] or [np.zeros(0, dtype=np.int64)])
    p4 = np.concatenate([p.reshape(-1, 4) for _, _, p in parts] or [np.zeros((0, 4))])
    order = np.argsort(rows, kind="stable")
    return Particles(rows[order].astype(np.int64), codes[order].astype(np.int64), p4[order])


def multiplicities(w: Array, charge: Codes, anti: bool, rng: np.random.Generator) -> Codes:
    """(N,) hadrons of each system by KNO scaling: at least 2, at most what W allows."""
    sign = -1 if anti else 1
    n = np.arange(2, MAX_HADRONS + 1)
    probability = np.zeros((len(w), len(n)))
    for q in np.unique(charge):
        rows = charge == q
        a, b, c = _KNO.get((int(q), sign), _KNO[1, 1])  # neutral currents as nu n: no numbers of their own
        mean = 1.5 * np.maximum(a + b * np.log(w[rows, None] ** 2), 0.7)
        z = n / mean
        probability[rows] = np.exp(c * z * np.log(c) - gammaln(c * z + 1))
    probability[n[None, :] > 2 + (w[:, None] - NUCLEON - PION - 0.005) / PION] = 0.0
    cumulated = np.cumsum(probability, axis=1)
    chosen = (rng.random((len(w), 1)) * cumulated[:, -1:] > cumulated).sum(axis=1)
    return np.asarray(n[np.minimum(chosen, len(n) - 1)])


def flavours(charge: Codes, bodies: int, rng: np.random.Generator) -> Codes:
    """(N, bodies) codes: one nucleon first, then pions, of the charge asked, as AGKY."""
    proton = rng.random(len(charge)) < np.select([charge == 2, charge == -1], [2 / 3, 1 / 3], 0.5)
    mesons = bodies - 1
    rest = charge - proton
    proton = np.where(np.abs(rest) > mesons, ~proton, proton)
    rest = charge - proton
    pions = np.full((len(charge), mesons), 111, dtype=np.int64)
    place = np.arange(mesons)
    charged = place < np.abs(rest)[:, None]
    pions = np.where(charged, 211 * np.sign(rest)[:, None], pions)
    for start in range(mesons - 1):
        # Pairs begin behind the charged pions, and behind a neutral one if the rest is odd.
        begins = (start >= np.abs(rest)) & ((mesons - start) % 2 == 0)
        pair = begins & (rng.random(len(charge)) < _CHARGED_PAIRS)
        pions[pair, start], pions[pair, start + 1] = 211, -211
    return np.concatenate([np.where(proton, 2212, 2112)[:, None], pions], axis=1).astype(np.int64)


def cluster(rows: Codes, w: Array, charge: Codes, n: Codes, rng: np.random.Generator) -> list[Any]:
    """Groups of hadrons with n of them by phase space, the nucleon mostly backwards."""
    parts = []
    for bodies in np.unique(n).tolist():
        mine = n == bodies
        codes = flavours(charge[mine], bodies, rng)
        p4 = phase_space(w[mine], mass_of(codes), rng)
        backward = rng.random(len(p4)) < np.interp(w[mine], *_BACKWARD)
        p4[..., 3] *= np.where((p4[:, 0, 3] < 0) == backward, 1.0, -1.0)[:, None]
        parts.append((rows[mine], codes, p4))
    return parts


def resonance_decays(w: Array, charge: Codes, resonance: Codes, three_half: Array, rng: np.random.Generator) -> list[Any]:
    """Groups of hadrons from resonances, rows 0 to N - 1: N pi, N eta, or else N pi pi by phase space.

    resonance: index in RESONANCES. three_half: probability of helicity 3/2 along z, which turns the pion of the Delta(1232).
    """
    pion, eta, isospin = (np.array([getattr(r, f) for r in RESONANCES])[resonance] for f in ("pion", "eta", "isospin2"))
    u, rows = rng.random(len(w)), np.arange(len(w))
    single = u < pion
    with_eta = ~single & (u < pion + eta) & (w > NUCLEON + 0.55)
    double = ~single & ~with_eta
    single |= double & (w < NUCLEON + 2 * PION + 0.01)
    double &= ~single
    parts = cluster(rows[double], w[double], charge[double], np.full(int(double.sum()), 3), rng)
    delta = (resonance == 0) & single
    cosine = rng.uniform(-1, 1, len(w))
    high = rng.random(len(w)) < three_half
    # (1 + 3 cos^2)/4 for helicity 1/2 and 3 sin^2 / 4 for 3/2: by rejection under 1.
    wrong = delta.copy()
    while wrong.any():
        shape = np.where(high, 0.75 * (1 - cosine**2), 0.25 * (1 + 3 * cosine**2))
        wrong &= rng.random(len(w)) > shape
        cosine = np.where(wrong, rng.uniform(-1, 1, len(w)), cosine)
    parts.append(_nucleon_pion(rows[single], w[single], charge[single], isospin[single], cosine[single], rng))
    nucleon = np.where(charge[with_eta] == 1, 2212, 2112).astype(np.int64)
    codes = np.stack([nucleon, np.full_like(nucleon, 221)], axis=1)
    p4 = two_body(w[with_eta], mass_of(codes[:, 0]), mass_of(codes[:, 1]), cosine[with_eta], rng)
    return [*parts, *_eta_decays(rows[with_eta], codes, p4, rng)]


def strings(pythia: Any, rows: Codes, w: Array, ends: Codes) -> list[Any]:
    """Groups of hadrons from strings between a struck quark along z and the diquark that is left; charm hadrons decay.

    pythia: of `start_pythia`. ends: (N, 2) of `string_ends`.
    Raises CloudchamberError if Pythia cannot make hadrons of a system in twenty attempts.
    """
    event, parts = pythia.event, []
    for row, mass, (struck, left) in zip(rows.tolist(), w.tolist(), ends.tolist(), strict=True):
        heavy = _CHARM if struck == 4 else _QUARK
        size = np.sqrt((mass**2 - (heavy + _DIQUARK) ** 2) * (mass**2 - (heavy - _DIQUARK) ** 2)) / (2 * mass)
        for _ in range(20):
            event.reset()
            event.append(struck, 23, 101, 0, 0.0, 0.0, size, np.hypot(size, heavy), heavy)
            event.append(left, 23, 0, 101, 0.0, 0.0, -size, np.hypot(size, _DIQUARK), _DIQUARK)
            if pythia.next():
                break
        else:
            raise CloudchamberError(f"Pythia makes no hadrons of a string of {mass:g} GeV between {struck} and {left}")
        found = [(p.id(), p.e(), p.px(), p.py(), p.pz()) for p in event if p.status() > 0]
        values = np.array(found)
        parts.append((np.array([row]), values[None, :, 0].astype(np.int64), values[None, :, 1:]))
    return parts


def string_ends(charge: Codes, charged: NDArray[np.bool_], charm: NDArray[np.bool_], rng: np.random.Generator) -> Codes:
    """(N, 2) quark and diquark of systems by charge. Sea and strange quarks that were struck are made like valence quarks.

    charged: charged current, which leaves no choice. A diquark ud has spin 0 in three of four.
    """
    ud = np.where(rng.random(len(charge)) < 0.75, 2101, 2103)
    other = ~charged & (rng.random(len(charge)) < np.where(charge == 1, 0.2, 0.5))  # the rarer kind of valence quark
    cases = [charge == 2, charge == 1, charge == 0]
    struck = np.select(cases, [2, np.where(other, 1, 2), np.where(other, 2, 1)], 1)
    left = np.select(cases, [2203, np.where(other, 2203, ud), np.where(other, 1103, ud)], 1103)
    return np.stack([np.where(charm, 4, struck), left], axis=1)


def start_pythia(seed: int) -> Any:
    """Pythia for hadronisation alone; MissingExtra without it, CloudchamberError if it refuses a setting."""
    pythia = pythia_module().Pythia("", False)
    for setting in (*_SETTINGS, f"Random:seed = {1 + seed % 899_999_999}"):
        if not pythia.readString(setting):
            raise CloudchamberError(f"Pythia refuses the setting {setting!r}; is this another version than 8.3?")
    if not pythia.init():
        raise CloudchamberError("Pythia does not start for hadronisation alone")
    return pythia


def _nucleon_pion(
    rows: Codes, w: Array, charge: Codes, isospin2: Any, cosine: Array, rng: np.random.Generator
) -> tuple[Codes, Codes, Array]:
    """N pi of isospin 1/2 or 3/2 by Clebsch-Gordan coefficients; cosine: of the nucleon."""
    neutral = np.where(isospin2 == 3, 2 / 3, 1 / 3)  # the pi0 of charges 0 and 1
    with_pi0 = (rng.random(len(w)) < neutral) & ((charge == 0) | (charge == 1))
    proton = np.where(with_pi0, charge == 1, (charge == 2) | (charge == 0))
    codes = np.stack([np.where(proton, 2212, 2112), 211 * (charge - proton)], axis=1)
    codes[with_pi0, 1] = 111
    codes = codes.astype(np.int64)
    return rows, codes, two_body(w, mass_of(codes[:, 0]), mass_of(codes[:, 1]), cosine, rng)


def _eta_decays(rows: Codes, codes: Codes, p4: Array, rng: np.random.Generator) -> list[Any]:
    """N eta with the eta replaced by its products."""
    mode = np.searchsorted([share for share, _ in _ETA], rng.random(len(rows)))
    parts = []
    for i, (_, products) in enumerate(_ETA):
        mine = mode == i
        new = np.tile(np.array(products, dtype=np.int64), (int(mine.sum()), 1))
        inside = phase_space(np.full(len(new), mass_of(np.array([221]))[0]), mass_of(new), rng)
        moved = boost(inside, p4[mine, 1:])
        both = np.concatenate([codes[mine, :1], new], axis=1)
        parts.append((rows[mine], both, np.concatenate([p4[mine, :1], moved], axis=1)))
    return parts
