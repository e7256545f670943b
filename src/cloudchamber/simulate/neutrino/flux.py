"""Flux of neutrinos by energy: shipped tables of the NuMI beam, a file of one's own, or one energy."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadFile, BadInput, nearest

# What ships: file, column, and the neutrino's PDG code. Muon neutrinos of the medium-energy beam, both of the low-energy beam.
TABLES = {"me": ("numi_me", 1, 14), "le": ("numi_le", 1, 14), "le-anti": ("numi_le", 2, -14)}


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

    @property
    def mean(self) -> float:
        """Mean energy [GeV]."""
        return float((self.contents_B * (self.edges[1:] + self.edges[:-1]) / 2).sum())


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
