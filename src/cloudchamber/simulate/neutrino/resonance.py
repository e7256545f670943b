"""Baryon resonances, W below 1.7 GeV: helicity amplitudes of the quark model of Rein and Sehgal, without interference."""

# D. Rein, L. Sehgal, doi:10.1016/0003-4916(81)90242-6, with the form factors of R. Feynman, M. Kislinger, F. Ravndal.
# R resonance

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino import inelastic
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, PION, SIN2_WEAK, V_UD, Array, boson, momentum

W_CUT = 1.7  # GeV; above it the deep inelastic cross-section stands alone, as in GENIE (config/CommonParam.xml)
VECTOR_MASS = 0.84  # GeV, Rein and Sehgal
# Deuterium data of ANL and BNL: P. Rodrigues, C. Wilkinson, K. McFarland, arXiv:1601.01888.
AXIAL_MASS, NORMALISATION = 0.94, 1.15  # GeV, 1
OMEGA, ZETA = 1.05, 0.75  # GeV^2 of the oscillator, and the axial renormalisation; Rein and Sehgal
# A line of band 0, 1, 2 reaches so many widths above its mass: GENIE, MaxNWidthForN0Res and its like.
_WIDTHS = (6.0, 4.0, 2.0)
_MINIMUM_W = NUCLEON + PION


class Resonance(NamedTuple):
    """A resonance: mass and width [GeV], orbital momentum of N pi, branchings to N pi and N eta, twice its isospin.

    band: oscillator quanta. half, three_half: coefficients of T and R in the amplitudes of these helicities, scalar: those of S
    and C, as signed squares; b: how many B go with C. Signs between resonances, and between S and C, do not matter here.
    """

    name: str
    mass: float
    width: float
    orbital: int
    pion: float
    eta: float
    isospin2: int
    band: int
    half: tuple[float, float]
    three_half: tuple[float, float]
    scalar: tuple[float, float]
    b: int


# Masses, widths, branchings: PDG 2024, rounded. Amplitudes: table II of Rein and Sehgal.
RESONANCES = (
    Resonance("P33(1232)", 1.232, 0.117, 1, 1.0, 0.0, 3, 0, (0, 2), (0, 6), (0, 8), 0),
    Resonance("P11(1440)", 1.440, 0.350, 1, 0.65, 0.0, 1, 2, (0, 25 / 12), (0, 0), (3 / 4, 25 / 12), 2),
    Resonance("D13(1520)", 1.515, 0.110, 2, 0.60, 0.0, 1, 1, (6, -16 / 3), (18, 0), (12, 16 / 3), 0),
    Resonance("S11(1535)", 1.530, 0.150, 0, 0.42, 0.42, 1, 1, (12, 8 / 3), (0, 0), (6, 4 / 3), 3),
    Resonance("P33(1600)", 1.570, 0.250, 1, 0.16, 0.0, 3, 2, (0, 1 / 6), (0, 1 / 2), (0, 2 / 3), 2),
    Resonance("S31(1620)", 1.610, 0.130, 0, 0.30, 0.0, 3, 1, (3, -1 / 6), (0, 0), (3 / 2, 1 / 6), 3),
    Resonance("S11(1650)", 1.650, 0.125, 0, 0.60, 0.25, 1, 1, (0, 1 / 6), (0, 0), (0, 2 / 3), 3),
    Resonance("D15(1675)", 1.675, 0.145, 2, 0.40, 0.01, 1, 1, (0, 3 / 10), (0, 3 / 5), (0, 6 / 5), 0),
    Resonance("F15(1680)", 1.685, 0.120, 3, 0.65, 0.0, 1, 2, (9 / 5, -5 / 2), (18 / 5, 0), (9 / 10, 5 / 2), 0),
    Resonance("D33(1700)", 1.710, 0.300, 2, 0.15, 0.0, 3, 1, (3 / 2, 1 / 3), (9 / 2, 0), (3, 1 / 3), 0),
    Resonance("P11(1710)", 1.710, 0.140, 1, 0.12, 0.30, 1, 2, (0, 2 / 3), (0, 0), (3 / 2, 2 / 3), 2),
    Resonance("D13(1700)", 1.720, 0.200, 2, 0.12, 0.01, 1, 1, (0, 1 / 30), (0, 9 / 10), (0, 2 / 15), 0),
    Resonance("P13(1720)", 1.720, 0.250, 1, 0.11, 0.03, 1, 2, (27 / 10, 5 / 3), (9 / 10, 0), (3 / 5, 5 / 3), 5),
    Resonance("F35(1905)", 1.880, 0.330, 3, 0.12, 0.0, 3, 2, (0, 1 / 35), (0, 18 / 35), (0, 4 / 35), 0),
    Resonance("F37(1950)", 1.930, 0.285, 3, 0.40, 0.0, 3, 2, (0, 6 / 35), (0, 2 / 7), (0, 24 / 35), 0),
)


def helicities(w: Array, q2: Array, *, charged: bool) -> Array:
    """(R, 5, ...) strengths of each resonance per GeV of W, for the isospin factor 1.

    Last of the five: scalar; before it left-handed bosons in helicity 1/2 and 3/2, then right-handed ones. The neutral current
    has V (1 - 2 sin^2) - A, half of it for isospin 1/2; its isoscalar vector part is left out.
    """
    found = []
    for r in RESONANCES:
        vector = 1.0 if charged else 1 - 2 * SIN2_WEAK
        line = NORMALISATION * breit_wigner(r, w) * (1.0 if charged or r.isospin2 == 3 else 0.25)
        found.append(_strengths(r, w, q2, vector) * line)
    return np.array(found)


def structure(strengths: Array, w: Array, q2: Array, *, charged: bool) -> Array:
    """(3, R, ...) F1, F2, F3 of (R, 5, ...) strengths. From dsigma of Rein and Sehgal, eq. 2.12, for a massless lepton."""
    nu, q3 = boson(w, q2)
    left, right = (strengths[:, i] + strengths[:, i + 1] for i in (0, 2))
    # The factors q^2/Q^2 of the scalar part and Q^2/q^2 of all are multiplied out: finite at Q^2 = 0.
    f1 = w * (left + right) / 4
    f2 = nu / 4 * (q2 / q3**2 * (left + right) * w / NUCLEON + 2 * strengths[:, 4] * NUCLEON / w)
    f3 = nu * w * (left - right) / (2 * q3)
    return np.stack([f1, f2, f3]) * (V_UD**2 if charged else 1.0)


def isospin_factors(stretched: bool) -> Array:
    """(R,) what multiplies the strength of each resonance. stretched: charge 2 or -1, which isospin 3/2 alone can have."""
    return np.array([(3.0 if stretched else 1.0) if r.isospin2 == 3 else float(not stretched) for r in RESONANCES])


def choose(
    energy: Array, w: Array, q2: Array, stretched: NDArray[np.bool_], *, charged: bool, anti: bool, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """(N,) index in RESONANCES for events of known kinematics, and the probability of helicity 3/2.

    energy: in the nucleon's frame. stretched: as in `isospin_factors`.
    """
    factor_RN = np.where(stretched, isospin_factors(True)[:, None], isospin_factors(False)[:, None])
    strengths = helicities(w, q2, charged=charged)
    f = structure(strengths, w, q2, charged=charged)
    share = np.cumsum(factor_RN * inelastic.cross_section(energy, w, q2, f, anti=anti, charged=charged), axis=0)
    which = np.minimum((rng.random(len(w)) * share[-1] > share).sum(axis=0), len(share) - 1)
    nu, q3 = boson(w, q2)
    u, v = ((2 * energy - nu + sign * q3) / (2 * energy) for sign in ((-1, 1) if anti else (1, -1)))
    half_l, three_l, half_r, three_r, scalar = np.take_along_axis(strengths, which[None, None, :], axis=0)[0]
    three = u**2 * three_l + v**2 * three_r
    rest = u**2 * half_l + v**2 * half_r + 2 * u * v * scalar * (NUCLEON / w) ** 2 * q3**2 / np.maximum(q2, 1e-9)
    return which, three / np.maximum(three + rest, 1e-99)


def breit_wigner(r: Resonance, w: Array) -> Array:
    """Line shape per GeV of W, normalised to 1 from the threshold to where the line is cut; the width runs with W."""
    end = r.mass + _WIDTHS[r.band] * r.width
    grid = np.linspace(_MINIMUM_W, end, 2000)
    norm = np.trapezoid(_line(r, grid), grid)
    return np.where((w > _MINIMUM_W) & (w < end), _line(r, w) / norm, 0.0)


def _line(r: Resonance, w: Array) -> Array:
    ratio = momentum(np.asarray(w), NUCLEON, PION) / momentum(np.array(r.mass), NUCLEON, PION)
    width = r.width * ratio ** (2 * r.orbital + 1)
    return width / ((w - r.mass) ** 2 + width**2 / 4)


def _strengths(r: Resonance, w: Array, q2: Array, vector: float) -> Array:
    """(5, ...) |f|^2 for left 1/2, left 3/2, right 1/2, right 3/2, scalar of one resonance."""
    m, n = NUCLEON, r.band
    _, q3 = boson(w, q2)
    form = (1 + q2 / (4 * m**2)) ** (0.5 - n)
    gv, ga = vector * form * (1 + q2 / VECTOR_MASS**2) ** -2, form * (1 + q2 / AXIAL_MASS**2) ** -2
    d = (w + m) ** 2 + q2
    root = np.sqrt(2 / OMEGA)
    q_star = m * q3 / w
    lam = root * q_star
    tv, ta = gv / (3 * w * root), 2 / 3 * ZETA / root * q_star * ga / d
    rv, ra = np.sqrt(2) * q_star * (w + m) * gv / d, np.sqrt(2) / 6 * ZETA * ga / w * (w + m + 2 * n * OMEGA * w / d)
    s = q2 / q3**2 * (3 * w * m - q2 - m**2) * gv / (6 * m**2)
    b = ZETA / (3 * w * root) * (1 + (w**2 - m**2 - q2) / d) * ga
    c = ZETA / (6 * q3) * (w**2 - m**2 + n * OMEGA * (w**2 - m**2 - q2) / d) * ga / m
    up, down = lam ** max(n - 1, 0), lam**n
    half, three, scalar = (np.sign(x) * np.sqrt(np.abs(x)) for x in (r.half, r.three_half, r.scalar))
    found = [(t * up * (tv + k * ta) + x * down * (rv + k * ra)) ** 2 for k in (1, -1) for t, x in (half, three)]
    axial = up * (lam * c - r.b * b) if n else c
    return np.array([*found, 2 * ((scalar[0] * down * s) ** 2 + (scalar[1] * axial) ** 2)])
