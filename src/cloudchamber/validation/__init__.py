"""Validation: the simulation against published truth, part by part, for benchmarks and the page of `simulate --validate`.

Each part is a module with a function `comparisons(samples, n)`: what it compares, given the folder of the real sample files or
None, and n neutrino events at each energy, other samples in proportion. What needs a file and has none says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from cloudchamber.validation.comparison import Comparison
from cloudchamber.workers import executor, in_order

PARTS = ("jets", "detector", "vertex", "cascade", "minerva", "tracker")


def compare(samples: Path | None, n: int, workers: int = 1) -> Iterator[list[Comparison]]:
    """Every part in the order of PARTS, the same whatever the workers. Raises MissingExtra without Pythia or FastJet."""
    with executor(workers) as pool:
        yield from in_order(pool, Part.compared, [Part(name, samples, n) for name in PARTS], ahead=len(PARTS))


@dataclass(frozen=True)
class Part:
    """One part, a job of its own."""

    name: str
    samples: Path | None
    n: int

    def compared(self) -> list[Comparison]:
        """What is compared of it."""
        found: list[Comparison] = import_module(f"{__name__}.{self.name}").comparisons(self.samples, self.n)
        return found
