"""The initial state: a flux of neutrinos, and the nucleons of carbon: where they are, how they move, what freeing one costs."""

# B bin of the flux, N event

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadFile, BadInput, nearest
from cloudchamber.simulate.neutrino.interactions import Particles
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, Array, direction

# What ships: file, column, and the neutrino's PDG code. Muon neutrinos of the medium-energy beam, both of the low-energy beam.
TABLES = {"me": ("numi_me", 1, 14), "le": ("numi_le", 1, 14), "le-anti": ("numi_le", 2, -14)}

FERMI_MOMENTUM = 0.221  # GeV; this and the next: electron scattering, E. Moniz et al., doi:10.1103/PhysRevLett.26.445
REMOVAL = 0.025  # GeV
TAIL = 0.12  # of the nucleons; correlated ones are 0.20 +- 0.05 (R. Subedi et al., doi:10.1126/science.1156675), some below k_F
TAIL_END = 0.5  # GeV; A. Bodek and J. Ritchie, doi:10.1103/PhysRevD.23.1070; the tail falls like p^-4
PAIR_REMOVAL = 0.0274  # GeV, C12 -> B10 + p + n from the masses of AME2020, doi:10.1088/1674-1137/abddaf
# Harmonic-oscillator charge density: H. de Vries, C. de Jager, C. de Vries, doi:10.1016/0092-640X(87)90013-1.
OSCILLATOR_A, OSCILLATOR_ALPHA = 1.649, 1.247  # fm, 1


@dataclass(frozen=True)
class Flux:
    """A histogram. edges: (B + 1,) GeV, rising. values: (B,) per GeV, any unit. pdg: 14 or -14. One energy: equal edges."""

    edges: NDArray[np.float64]
    values: NDArray[np.float64]
    pdg: int = 14

    @property
    def contents_B(self) -> NDArray[np.float64]:
        """Neutrinos in each bin, in all 1."""
        contents = self.values * np.maximum(np.diff(self.edges), 1e-9)
        return np.asarray(contents / contents.sum())


def single_energy(energy: float, pdg: int = 14) -> Flux:
    """Neutrinos of one energy [GeV]."""
    return Flux(np.array([energy, energy]), np.ones(1), pdg)


def read_flux(source: str | Path, pdg: int = 14, column: int = 1) -> Flux:
    """A shipped table by its name ("me", "le", "le-anti"), or a CSV file: lower edge [GeV], then flux per GeV and bin.

    Lines that begin with # are comments; the last line gives the upper edge and zeros. Raises BadInput for an unknown name,
    BadFile for a table that is none.
    """
    if str(source) in TABLES:
        name, column, pdg = TABLES[str(source)]
        text = resources.files(__package__).joinpath(f"flux_{name}.csv").read_text()
    elif Path(source).is_file():
        text = Path(source).read_text()
    else:
        raise BadInput(f"{str(source)!r} is neither a flux nor a file. Nearest: {nearest(str(source), TABLES)}.")
    rows = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    try:
        table = np.array([[float(row[0]), float(row[column])] for row in rows])
    except (ValueError, IndexError) as error:
        raise BadFile(f"{source}: expected numbers in columns 1 and {column + 1} of every line ({error})") from error
    if len(table) < 2 or not np.all(np.diff(table[:, 0]) > 0) or not np.isfinite(table).all() or table.min() < 0:
        raise BadFile(f"{source}: expected at least two lines of rising energies and finite fluxes that are not negative")
    if not table[:-1, 1].sum() > 0:
        raise BadFile(f"{source}: the flux is zero everywhere")
    return Flux(table[:, 0], table[:-1, 1], pdg)


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
