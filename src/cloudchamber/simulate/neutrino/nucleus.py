"""Carbon: where its nucleons are, how they move, what it costs to remove one, which states are taken."""

# N event

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino.interactions import Particles
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, Array, direction

FERMI_MOMENTUM = 0.221  # GeV; this and the next: electron scattering, E. Moniz et al., doi:10.1103/PhysRevLett.26.445
REMOVAL = 0.025  # GeV
TAIL = 0.12  # nucleons above the Fermi momentum; of 0.20 +- 0.05 correlated ones (doi:10.1126/science.1156675), those above it
TAIL_END = 0.5  # GeV; A. Bodek and J. Ritchie, doi:10.1103/PhysRevD.23.1070; the tail falls like p^-4
PAIR_REMOVAL = 0.0274  # GeV, C12 -> B10 + p + n from the masses of AME2020, doi:10.1088/1674-1137/abddaf
# Harmonic-oscillator charge density: H. de Vries, C. de Jager, C. de Vries, doi:10.1016/0092-640X(87)90013-1.
OSCILLATOR_A, OSCILLATOR_ALPHA = 1.649, 1.247  # fm, 1


def density(radius: Array) -> Array:
    """Nucleons per fm^3 at a distance from the centre [fm]; the integral over the nucleus is 12."""
    a, alpha = OSCILLATOR_A, OSCILLATOR_ALPHA
    central = 12 / (np.pi**1.5 * a**3 * (1 + 1.5 * alpha))
    value: Array = central * (1 + alpha * (radius / a) ** 2) * np.exp(-((radius / a) ** 2))
    return value


def radii(n: int, rng: np.random.Generator) -> Array:
    """Distances of n nucleons from the centre [fm]: a mixture of r^2 and r^4 times a Gaussian."""
    d_shell = rng.random(n) < 1.5 * OSCILLATOR_ALPHA / (1 + 1.5 * OSCILLATOR_ALPHA)
    return OSCILLATOR_A * np.sqrt(rng.gamma(np.where(d_shell, 2.5, 1.5)))


def nucleons(n: int, rng: np.random.Generator) -> Array:
    """(n, 4) bound nucleons: a Fermi gas, and a tail whose partner of opposite momentum stays in the nucleus.

    Gas: free energy less REMOVAL. Tail: what the partner leaves of a pair at rest.
    """
    tail = rng.random(n) < TAIL
    u = rng.random(n)
    inside = FERMI_MOMENTUM * u ** (1 / 3)
    outside = 1 / (1 / FERMI_MOMENTUM - u * (1 / FERMI_MOMENTUM - 1 / TAIL_END))
    size = np.where(tail, outside, inside)
    free = np.sqrt(NUCLEON**2 + size**2)
    energy = np.where(tail, 2 * NUCLEON - PAIR_REMOVAL - free, free - REMOVAL)
    vector = size[:, None] * direction(rng.uniform(-1, 1, n), rng)
    return np.concatenate([energy[:, None], vector], axis=1)


def pauli_blocked(hadrons: Particles, n: int) -> NDArray[np.bool_]:
    """(n,) whether an event has a nucleon in a state that the Fermi gas fills."""
    nucleon = (hadrons.pdg == 2212) | (hadrons.pdg == 2112)
    slow = (hadrons.p4_T4[:, 1:] ** 2).sum(axis=1) < FERMI_MOMENTUM**2
    return np.bincount(hadrons.event[nucleon & slow], minlength=n) > 0
