"""Comparison: a part of the simulation beside published truth, as numbers with targets and as what a plot shows."""

# X point or bin

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloudchamber.stats.figures import Figure, Target

Kind = Literal["truth", "ours", "other"]  # published or true; simulated here; another program's


@dataclass(frozen=True)
class Series:
    """Values of one origin. x: (X,) points, or (X + 1,) edges of bins. y, error: (X,); no error: a line."""

    name: str
    kind: Kind
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    error: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, name: str, kind: Kind, x: ArrayLike, y: ArrayLike, error: ArrayLike | None = None) -> Series:
        """From anything that is like an array."""
        return cls(name, kind, np.asarray(x, float), np.asarray(y, float), None if error is None else np.asarray(error, float))


@dataclass(frozen=True)
class Panel:
    """One plot. x, y: the axes' names with units. log: the axes that are logarithmic."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]
    log: Literal["", "x", "y", "xy"] = ""


@dataclass(frozen=True)
class Comparison:
    """figures and targets: by name, unique over all comparisons. missing: why nothing was compared, then all else is empty."""

    name: str
    title: str
    text: str
    panels: tuple[Panel, ...] = ()
    figures: dict[str, Figure] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    missing: str = ""


def merged(comparisons: Sequence[Comparison]) -> tuple[dict[str, Figure], list[Target]]:
    """The figures and targets of all."""
    figures = {name: figure for c in comparisons for name, figure in c.figures.items()}
    assert len(figures) == sum(len(c.figures) for c in comparisons)
    return figures, [target for c in comparisons for target in c.targets]


def histogram(name: str, kind: Kind, values: ArrayLike, edges: ArrayLike, *, error: bool = False) -> Series:
    """Values as a density over the bins that they fall into; error: with that of their number."""
    counts, edges = np.histogram(np.asarray(values), np.asarray(edges))
    scale = 1 / (max(counts.sum(), 1) * np.diff(edges))
    return Series.of(name, kind, edges, counts * scale, np.sqrt(counts) * scale if error else None)
