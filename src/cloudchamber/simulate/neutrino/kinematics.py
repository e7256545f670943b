"""Four-vectors and decays: boosts, two-body frames, phase space of n bodies; constants of nature with their sources."""

# N system, B body

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Masses in GeV and couplings: Review of Particle Physics 2024, doi:10.1103/PhysRevD.110.030001.
NUCLEON = 0.93891875  # mean of proton and neutron; one mass in every cross-section
PROTON, NEUTRON = 0.9382720894, 0.9395654205
MUON = 0.1056583755
PION, PION0 = 0.13957039, 0.1349768
CARBON = 11.1748642  # the nucleus: AME2020, doi:10.1088/1674-1137/abddaf
MASSES = {2212: PROTON, 2112: NEUTRON, 211: PION, -211: PION, 111: PION0, 221: 0.547862, 22: 0.0, 1000060120: CARBON, 0: 0.0}
FERMI = 1.1663788e-5  # GeV^-2
W_MASS, Z_MASS = 80.3692, 91.1880
SIN2_WEAK = 0.23129  # MS-bar at the Z
V_UD, V_US, V_CD, V_CS = 0.97367, 0.22431, 0.221, 0.975
CM2 = 0.3893793721e-27  # (hbar c)^2 in GeV^2 cm^2
CHAINS = 32


def mass_of(pdg: NDArray[np.int64]) -> Array:
    """Mass [GeV] of each code of MASSES, 0 for code 0; KeyError for any other."""
    codes, inverse = np.unique(pdg, return_inverse=True)
    return np.array([MASSES[int(c)] for c in codes])[inverse].reshape(pdg.shape)


def square(p4: Array) -> Array:
    """The invariant square of (..., 4) energy, px, py, pz."""
    p4 = np.asarray(p4)
    squared: Array = p4[..., 0] ** 2 - (p4[..., 1:] ** 2).sum(axis=-1)
    return squared


def boson(w: Array, q2: Array) -> tuple[Array, Array]:
    """Energy and momentum [GeV] of the boson that makes a nucleon at rest a system of mass w at Q^2."""
    nu = (w**2 - NUCLEON**2 + q2) / (2 * NUCLEON)
    return nu, np.sqrt(nu**2 + q2)


def boost(p4: Array, frame: Array) -> Array:
    """p4, given in the rest frame of `frame`, as seen where `frame` is given. Both (..., 4), broadcast against each other."""
    mass = np.sqrt(square(frame))
    along = (p4[..., 1:] * frame[..., 1:]).sum(axis=-1)
    energy = (p4[..., 0] * frame[..., 0] + along) / mass
    factor = (along / (frame[..., 0] + mass) + p4[..., 0]) / mass
    return np.concatenate([energy[..., None], p4[..., 1:] + factor[..., None] * frame[..., 1:]], axis=-1)


def into_rest(p4: Array, frame: Array) -> Array:
    """p4 as seen in the rest frame of `frame`; the inverse of `boost`."""
    return boost(p4, frame * np.array([1.0, -1.0, -1.0, -1.0]))


def turn(p4: Array, axis: Array) -> Array:
    """p4 with its z axis turned onto `axis` (..., 3), of any length but 0."""
    unit = axis / np.linalg.norm(axis, axis=-1, keepdims=True)
    # Rotation by pi about the bisector of z and the axis: no case to tell apart but that of -z.
    half = unit + np.array([0.0, 0.0, 1.0])
    norm = (half**2).sum(axis=-1, keepdims=True)
    half = np.where(norm > 1e-20, half, np.array([1.0, 0.0, 0.0]))
    norm = np.where(norm > 1e-20, norm, 1.0)
    vector = p4[..., 1:]
    turned = 2 * half * (half * vector).sum(axis=-1, keepdims=True) / norm - vector
    return np.concatenate([p4[..., :1], turned], axis=-1)


def momentum(mass: Array, first: Any, second: Any) -> Array:
    """Momentum of either product of a decay in two; 0 below the threshold."""
    kallen = (mass**2 - (first + second) ** 2) * (mass**2 - (first - second) ** 2)
    value: Array = np.sqrt(np.maximum(kallen, 0.0)) / (2 * mass)
    return value


def direction(cosine: Array, rng: np.random.Generator) -> Array:
    """(..., 3) unit vectors with the given cosine to z and any azimuth."""
    phi = rng.uniform(0, 2 * np.pi, np.shape(cosine))
    sine = np.sqrt(np.maximum(1 - cosine**2, 0.0))
    return np.stack([sine * np.cos(phi), sine * np.sin(phi), cosine], axis=-1)


def on_shell(mass: Any, vector: Array) -> Array:
    """(..., 4) of a mass and (..., 3) momenta."""
    energy = np.sqrt(mass**2 + (vector**2).sum(axis=-1))
    return np.concatenate([energy[..., None], vector], axis=-1)


def two_body(mass: Array, first: Array, second: Array, cosine: Array, rng: np.random.Generator) -> Array:
    """(N, 2, 4) products in the rest frame, the first at the given cosine to z."""
    vector = momentum(mass, first, second)[:, None] * direction(cosine, rng)
    return np.stack([on_shell(first, vector), on_shell(second, -vector)], axis=1)


def phase_space(mass: Array, masses_NB: Array, rng: np.random.Generator) -> Array:
    """(N, B, 4) products in the rest frame, Lorentz-invariant phase space by the chain of decays (F. James, CERN 68-15).

    Of CHAINS random chains of masses one is taken in proportion to its weight: no loop, and a bias that vanishes like
    1/CHAINS. mass must lie above the sum of masses_NB in every row.
    """
    bodies = masses_NB.shape[1]
    sums = np.cumsum(masses_NB, axis=1)
    cuts = np.sort(rng.random((CHAINS if bodies > 2 else 1, len(mass), bodies - 2)), axis=2)
    chains = np.empty((len(cuts), *masses_NB.shape))
    chains[..., 0], chains[..., -1] = masses_NB[:, 0], mass
    chains[..., 1:-1] = sums[:, 1:-1] + cuts * (mass - sums[:, -1])[:, None]
    weight = np.prod([momentum(chains[..., b], chains[..., b - 1], masses_NB[:, b]) for b in range(1, bodies)], axis=0)
    summed = np.cumsum(weight, axis=0)
    chosen = np.minimum((rng.random(len(mass)) * summed[-1] > summed).sum(axis=0), len(cuts) - 1)
    chain = chains[chosen, np.arange(len(mass))]
    products = np.empty((*masses_NB.shape, 4))
    for b in range(1, bodies):
        pair = two_body(chain[:, b], chain[:, b - 1], masses_NB[:, b], rng.uniform(-1, 1, len(mass)), rng)
        products[:, :b] = boost(products[:, :b], pair[:, :1]) if b > 1 else pair[:, :1]
        products[:, b] = pair[:, 1]
    return products
