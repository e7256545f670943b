"""Scattering on quarks: leading-order parton densities continued to low Q^2, as structure functions of the nucleon."""

# A. Bodek and U. K. Yang, arXiv:2108.09240: scaling variable, K factors of vector and axial parts, H of x F3. They were fitted
# with GRV98; here they go with GRV94 (doi:10.1007/BF01624586), the set of this family that Pythia carries. Left out: their
# factors for d/u at high x and for low W, and the nuclear modification of quarks (EMC effect, shadowing).

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino import kinematics as kin
from cloudchamber.simulate.neutrino.kinematics import Array
from cloudchamber.simulate.pythia import pythia_module

# Numbers of Bodek and Yang as in GENIE, config/BY21StrucFunc.xml.
_A, _B = 0.621, 0.380  # GeV^2
_SEA_U, _SEA_D, _V1_U, _V2_U, _V1_D, _V2_D = 0.369, 0.561, 0.417, 0.264, 0.341, 0.323  # GeV^2
_AXIAL_SEA, _AXIAL_VALENCE = (0.55, 0.75), (0.30, 0.18)  # value at Q^2 = 0, and GeV^2
_H = (0.914, 0.296, -0.374, 0.165)
_Q2_MIN = 0.8  # GeV^2; below it the densities are frozen
_CHARM_MASS = 1.43  # GeV, GENIE config/CommonParam.xml
CHARM_W = 2.81  # GeV, threshold of D + nucleon
SCALE = 1.06  # for sigma/E of neutrinos at 50 GeV; the world's mean is 0.677 +- 0.014 (1e-38 cm2/GeV), PDG 2024, figure 52.1


class Densities(NamedTuple):
    """x f(x) of the proton: valence and sea of u and d, strange quarks of one charge."""

    u_valence: Array
    d_valence: Array
    u_sea: Array
    d_sea: Array
    strange: Array


def tabulate(x: Array, q2: Array) -> Densities:
    """Densities of Pythia's GRV94 on arrays of one shape; MissingExtra without Pythia."""
    grv = pythia_module().GRV94L(2212)
    points = list(zip(x.ravel().tolist(), np.maximum(q2, _Q2_MIN).ravel().tolist(), strict=True))
    u, d, u_sea, d_sea, strange = (np.reshape([grv.xf(c, *at) for at in points], x.shape) for c in (2, 1, -2, -1, 3))
    return Densities(u - u_sea, d - d_sea, u_sea, d_sea, strange)


def _factors(q2: Array) -> tuple[Densities, Densities]:
    """K factors of the vector and of the axial part: what is left of each density at low Q^2."""
    elastic = 1 - (1 + q2 / 0.71) ** -4
    u, d = elastic * (q2 + _V2_U) / (q2 + _V1_U), elastic * (q2 + _V2_D) / (q2 + _V1_D)
    vector = Densities(u, d, q2 / (q2 + _SEA_U), q2 / (q2 + _SEA_D), q2 / (q2 + _SEA_D))
    sea, valence = ((q2 + p * c) / (q2 + c) for p, c in (_AXIAL_SEA, _AXIAL_VALENCE))
    return vector, Densities(valence, valence, sea, sea, sea)


def structure(w: Array, q2: Array, *, nucleon: int, anti: bool, charged: bool) -> tuple[Array, Array]:
    """(3, ...) F1, F2, F3, positive F3 raising the neutrino's cross-section, and the part of F2 that makes charm.

    The axial part beyond the vector part, which does not vanish at Q^2 = 0, is longitudinal: it adds to F2, not to F1.
    """
    nu, _ = kin.boson(w, q2)
    x = q2 / (2 * kin.NUCLEON * nu)
    light, heavy = tabulate(_xi(x, q2, 0.0), q2), tabulate(_xi(x, q2, _CHARM_MASS), q2)
    vector, axial = _factors(q2)
    found = []
    for factor in (vector, axial, Densities(*(np.sqrt(v * a) for v, a in zip(vector, axial, strict=True)))):
        parts = [Densities(*(f * k for f, k in zip(density, factor, strict=True))) for density in (light, heavy)]
        charm = _charm(parts[1], nucleon, anti) * (w > CHARM_W) * charged
        found.append(np.stack([_pairs(parts[0], nucleon, anti, charged) + charm, charm]))
    (total_v, charm_v), (total_a, charm_a), (total_va, _) = found
    f2, xf3 = SCALE * (total_v[0] + total_a[0]), SCALE * 2 * total_va[1] * np.polyval(_H[::-1], x)
    mass_term = 1 + 4 * kin.NUCLEON**2 * x**2 / np.maximum(q2, 1e-9)
    f1 = SCALE * 2 * total_v[0] * mass_term / (1 + longitudinal(x, q2)) / (2 * x + 1e-12)
    share = SCALE * (charm_v[0] + charm_a[0]) / np.maximum(f2, 1e-12)
    return np.where(q2 > 0, np.stack([f1, f2, xf3 / (x + 1e-12)]), 0.0), share


def cross_section(energy: Array, w: Array, q2: Array, f_3: Array, *, anti: bool, charged: Any) -> Array:
    """d^2 sigma/dW dQ^2 [cm^2/GeV^3] of (3, ...) F1, F2, F3 on a nucleon at rest; clipped at 0, so outside most of the limits.

    charged: one for all or one each. Terms of the lepton's mass with F4 = 0 and 2 x F5 = F2 (S. Kretzer, M. Reno,
    hep-ph/0208187, eq. 2 and 6), but with Q^2 + m_pi^2 for Q^2, as the pion pole makes it in forward direction (PCAC with a
    massive lepton: C. Berger, L. Sehgal, arXiv:0709.4378).
    """
    nu, _ = kin.boson(w, q2)
    x, y, m2 = q2 / (2 * kin.NUCLEON * nu), nu / energy, np.where(charged, kin.MUON**2, 0.0)
    f1, f2, f3 = f_3
    inner = (y**2 * x + m2 * y / (2 * energy * kin.NUCLEON)) * f1
    inner += (1 - m2 / (4 * energy**2) - (1 + kin.NUCLEON * x / (2 * energy)) * y) * f2
    inner += (-1 if anti else 1) * (x * y * (1 - y / 2) - m2 * y / (4 * energy * kin.NUCLEON)) * f3
    inner -= m2 * y / (q2 + kin.PION**2) * f2
    boson = np.where(charged, kin.W_MASS, kin.Z_MASS)
    scale = kin.CM2 * kin.FERMI**2 * w / (2 * np.pi * kin.NUCLEON * nu) / (1 + q2 / boson**2) ** 2
    value: Array = scale * np.maximum(inner, 0.0)
    return value


def longitudinal(x: Array, q2: Array) -> Array:
    """sigma_L / sigma_T: R1990 of L. Whitlow et al., doi:10.1016/0370-2693(90)91176-C; below 0.35 GeV^2 as Bodek and Yang.

    The same numbers as in GENIE, PhysUtils.cxx, RWhitlow.
    """
    scale = np.maximum(q2, 0.35)
    theta = 1 + 12 * scale / (scale + 1) * 0.125**2 / (0.125**2 + x**2)
    ratio = 0.0635 * theta / np.log(scale / 0.04) + 0.5747 / scale - 0.3534 / (scale**2 + 0.3**2)
    low = 3.207 * q2 / (q2**2 + 1)  # this factor is 1 at 0.35 GeV^2
    value: Array = ratio * np.where(q2 < 0.35, low, 1.0)
    return value


def _xi(x: Array, q2: Array, mass: float) -> Array:
    """Bodek and Yang's scaling variable; below 1, where densities end."""
    root = 1 + np.sqrt(1 + 4 * kin.NUCLEON**2 * x**2 / np.maximum(q2, 1e-9))
    xi = 2 * x * (q2 + mass**2 + _B) / (np.maximum(q2, 1e-9) * root + 2 * _A * x)
    return np.asarray(np.clip(xi, 1e-5, 0.9999))


def _flavours(p: Densities, nucleon: int) -> Sequence[Array]:
    """u, d, anti-u, anti-d of this nucleon; isospin turns the proton into the neutron."""
    u, d = p.u_valence + p.u_sea, p.d_valence + p.d_sea
    return (u, d, p.u_sea, p.d_sea) if nucleon == 2212 else (d, u, p.d_sea, p.u_sea)


def _pairs(p: Densities, nucleon: int, anti: bool, charged: bool) -> NDArray[Any]:
    """(2, ...) half of F2 and of x F3 from light quarks."""
    u, d, u_bar, d_bar = _flavours(p, nucleon)
    if charged and anti:
        quarks, others = u, kin.V_UD**2 * d_bar + kin.V_US**2 * p.strange
        return np.stack([quarks + others, quarks - others])
    if charged:
        quarks, others = kin.V_UD**2 * d + kin.V_US**2 * p.strange, u_bar
        return np.stack([quarks + others, quarks - others])
    up, down = 0.5 - 4 / 3 * kin.SIN2_WEAK, -0.5 + 2 / 3 * kin.SIN2_WEAK  # vector couplings; axial ones are +-1/2
    sums, differences = (u + u_bar, d + d_bar + 2 * p.strange), (u - u_bar, d - d_bar)
    f2 = (up**2 + 0.25) / 2 * sums[0] + (down**2 + 0.25) / 2 * sums[1]
    return np.stack([f2, up / 2 * differences[0] - down / 2 * differences[1]])


def _charm(p: Densities, nucleon: int, anti: bool) -> NDArray[Any]:
    """(2, ...) half of F2 and of x F3 from d and s turning into charm."""
    _, d, _, d_bar = _flavours(p, nucleon)
    quarks = kin.V_CD**2 * (d_bar if anti else d) + kin.V_CS**2 * p.strange
    return np.stack([quarks, -quarks if anti else quarks])
