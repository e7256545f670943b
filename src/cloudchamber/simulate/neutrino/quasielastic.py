"""Scattering on one nucleon as a whole (Llewellyn Smith), and the excess over it from pairs of nucleons."""

# Form factors: dipoles, no electric form factor of the neutron, no second-class currents.

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cloudchamber.simulate.neutrino.kinematics import CM2, FERMI, NUCLEON, PION, SIN2_WEAK, V_UD, W_MASS, Z_MASS, Array, boson

AXIAL_COUPLING = -1.2754  # PDG 2024
AXIAL_MASS = 1.014  # GeV; deuterium, A. Bodek, S. Avvakumov, R. Bradford, H. Budd, arXiv:0708.1946
VECTOR_MASS2 = 0.71  # GeV^2, the dipole
MU_PROTON, MU_NEUTRON = 2.7928473, -1.9130427  # PDG 2024
# Pairs: enhancement of the transverse response of carbon, R_T = 1 + A Q^2 exp(-Q^2/B). Form: A. Bodek, H. Budd, M. Christy,
# arXiv:1106.0340; numbers: later fit of arXiv:1405.0583 as in GENIE, config/TransverseEnhancementFFModel.xml.
ENHANCEMENT_A, ENHANCEMENT_B = 5.19, 0.376  # GeV^-2, GeV^2
PAIR_STRENGTH = 1.5  # over that of electrons; MINERvA's low-recoil data raise a model of this size by half (arXiv:1511.05944)
# Where the pairs' strength lies between the quasielastic peak and the Delta, as in the shape of electron scattering on nuclei
# (P. Bosted, V. Mamyan, arXiv:1203.2262): a Gaussian of W on a nucleon at rest. Effective: rounded by hand, no fit of ours.
PAIR_W, PAIR_W_WIDTH = 1.04, 0.10  # GeV
# RPA: "BeRPA", a Bernstein polynomial and an exponential fitted by C. Wilkinson to the model of J. Nieves et al.,
# arXiv:1102.2777, on carbon; numbers as in github.com/NuSystematics/nusystematics, BeRPA.
RPA_A, RPA_B, RPA_D, RPA_E, RPA_END = 0.59, 1.05, 1.13, 0.88, 1.2


class FormFactors(NamedTuple):
    """Dirac, Pauli, axial and pseudoscalar form factors at some Q^2."""

    f1: Array
    f2: Array
    axial: Array
    pseudo: Array


def form_factors(q2: Array, charged: bool, nucleon: int) -> FormFactors:
    """Form factors of nu n -> mu p and anti-nu p -> mu n, or of the neutral current on a nucleon without strange quarks."""
    tau = q2 / (4 * NUCLEON**2)
    dipole = (1 + q2 / VECTOR_MASS2) ** -2
    axial = AXIAL_COUPLING * (1 + q2 / AXIAL_MASS**2) ** -2
    f1p, f2p = dipole * (1 + tau * MU_PROTON) / (1 + tau), dipole * (MU_PROTON - 1) / (1 + tau)
    f1n, f2n = dipole * tau * MU_NEUTRON / (1 + tau), dipole * MU_NEUTRON / (1 + tau)
    if charged:
        return FormFactors(f1p - f1n, f2p - f2n, axial, 2 * NUCLEON**2 * axial / (PION**2 + q2))
    sign, own = (0.5, (f1p, f2p)) if nucleon == 2212 else (-0.5, (f1n, f2n))
    f1, f2 = (sign * (p - n) - 2 * SIN2_WEAK * e for p, n, e in zip((f1p, f2p), (f1n, f2n), own, strict=True))
    return FormFactors(f1, f2, sign * axial, np.zeros_like(axial))


def cross_section(energy: Array, q2: Array, *, lepton: float, anti: bool, charged: bool, nucleon: int) -> Array:
    """dsigma/dQ^2 [cm^2/GeV^2] on a free nucleon at rest (C. Llewellyn Smith, doi:10.1016/0370-1573(72)90010-5, eq. 3.18).

    Not 0 outside the kinematic limits, which are the caller's.
    """
    f1, f2, fa, fp = form_factors(q2, charged, nucleon)
    m2, tau, mu = NUCLEON**2, q2 / (4 * NUCLEON**2), lepton**2 / (4 * NUCLEON**2)
    s_u = 4 * NUCLEON * energy - q2 - lepton**2
    a = (1 + tau) * fa**2 - (1 - tau) * f1**2 + tau * (1 - tau) * f2**2 + 4 * tau * f1 * f2
    a = 4 * (mu + tau) * (a - mu * ((f1 + f2) ** 2 + (fa + 2 * fp) ** 2 - 4 * (1 + tau) * fp**2))
    b = 4 * tau * fa * (f1 + f2)
    c = (fa**2 + f1**2 + tau * f2**2) / 4
    boson = W_MASS if charged else Z_MASS
    scale = FERMI**2 * m2 / (8 * np.pi * energy**2) * (V_UD**2 if charged else 1.0) / (1 + q2 / boson**2) ** 2
    value: Array = CM2 * scale * (a + (b if anti else -b) * s_u / m2 + c * s_u**2 / m2**2)
    return np.maximum(value, 0.0)


def pair_structure(w: Array, q2: Array) -> Array:
    """(3, ...) F1, F2, F3 of the pairs per nucleon that could do the charged current alone: the excess of R_T, spread in W."""
    f1, f2, fa, _ = form_factors(q2, True, 2112)
    tau = q2 / (4 * NUCLEON**2)
    magnetic, excess = f1 + f2, ENHANCEMENT_A * q2 * np.exp(-q2 / ENHANCEMENT_B)
    shape = np.exp(-0.5 * ((w - PAIR_W) / PAIR_W_WIDTH) ** 2) / (PAIR_W_WIDTH * np.sqrt(2 * np.pi)) * NUCLEON / w
    nu, _ = boson(w, q2)
    transverse = tau * magnetic**2 * excess
    interference = -fa * magnetic * (np.sqrt(1 + excess) - 1)
    # As a peak of width 0 in W these are the quasielastic structure functions, with the magnetic form factor times R_T^0.5.
    found = np.stack([NUCLEON * transverse, nu * transverse / (1 + tau), 2 * nu * interference])
    return np.where(w > NUCLEON, PAIR_STRENGTH * found * shape * V_UD**2, 0.0)


def rpa(q2: Array) -> Array:
    """Charged-current quasielastic scattering with long-range correlations over that without."""
    x = q2 / RPA_END
    p1 = RPA_D + RPA_END * RPA_E * (RPA_D - 1) / 3
    low = RPA_A * (1 - x) ** 3 + 3 * RPA_B * (1 - x) ** 2 * x + 3 * p1 * (1 - x) * x**2 + RPA_D * x**3
    return np.where(x < 1, low, 1 + (RPA_D - 1) * np.exp(-RPA_E * (q2 - RPA_END)))
