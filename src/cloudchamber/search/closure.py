"""Closure: the search itself in windows without a signal. What it finds there it would find anywhere: a hard gate."""

# T toy, N event of the pool, A principal axis

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cloudchamber.errors import BadInput
from cloudchamber.search.features import feature_map, principal_axes
from cloudchamber.search.knob import Knob
from cloudchamber.search.methods.base import Counts, differences, worth
from cloudchamber.search.sample import FloatArray, Sample
from cloudchamber.search.suite import Suite
from cloudchamber.search.template import Abcd, Estimate, Sidebands, Window
from cloudchamber.search.trial import Trial, measure
from cloudchamber.stats.pvalues import PValue

_AXES = 20  # leading directions in which what is left unexplained is measured


@dataclass(frozen=True)
class ClosureTest:
    """One window. p: of the search in it. unexplained: squared differences between data and template over those of toys."""

    region: str
    events: int
    expected: float
    p: PValue
    best: str
    unexplained: float


@dataclass(frozen=True)
class Closure:
    """All windows. closed: the worst is not less probable than alpha, for so many windows (Bonferroni).

    inflation: of the template's variance, so that what is left unexplained in these windows is covered; 1 if nothing is.
    """

    tests: tuple[ClosureTest, ...]
    alpha: float
    inflation: float

    @property
    def p(self) -> float:
        """Of the worst window, for their number."""
        return min(1.0, len(self.tests) * min(t.p.value for t in self.tests))

    @property
    def closed(self) -> bool:
        """Whether the search may go on."""
        return self.p >= self.alpha


def closure(
    pool: Sample,
    regions: Sequence[tuple[str, tuple[Estimate, ...]]],
    suite: Suite,
    knob: Knob,
    *,
    toys: int,
    alpha: float,
    seed: int,
    workers: int = 1,
) -> Closure:
    """Run the search in regions without a signal. regions: name and the ensemble of templates, as for `template.toys`.

    Raises BadInput if the toys are too few for alpha to be reached in any window.
    """
    require_reach(toys, alpha, len(regions))
    phi_ND = feature_map(pool, seed)(pool.features_NF).astype(np.float64)
    z_NA = (phi_ND - phi_ND.mean(0)) @ principal_axes(phi_ND, np.ones(len(pool)))[0][:, ::-1][:, :_AXES]
    tests, inflations = [], []
    for number, (name, ensemble) in enumerate(regions):
        trial = Trial.of_template(pool, ensemble, seed + number)
        verdict = trial.look(suite, measure(suite, knob, (trial.toys,), toys, workers=workers)).verdict
        unexplained, data_1N, reference_1N = _unexplained(z_NA, trial), trial.data_N[None], trial.reference_N[None]
        n, m = float(data_1N.sum()), float(reference_1N.sum(dtype=np.float64))
        inflations.append(m * (unexplained / float(worth(data_1N, reference_1N)[0]) - 1 / n))
        assert trial.expected is not None
        tests.append(ClosureTest(name, int(n), trial.expected, verdict.global_p, verdict.best, unexplained))
    return Closure(tuple(tests), alpha, max(1.0, float(np.mean(inflations))))


def require_reach(toys: int, alpha: float, windows: int) -> None:
    """Raise BadInput if so many toys cannot reach alpha in any of so many windows."""
    if toys / 2 * alpha < windows:
        raise BadInput(f"{toys} toys in each of {windows} windows cannot reach p = {alpha:g}: give more, or fewer windows")


def signal_free(mass_N: FloatArray, limits: Window, signal: Sequence[Window], number: int, guard: float) -> list[Window]:
    """About `number` windows between the signal's, each with as many events on either side of it in its own gap.

    >>> mass = np.linspace(0, 100, 10001)
    >>> [(round(a), round(b)) for a, b in signal_free(mass, (0, 100), [(45, 55)], 2, 0)]
    [(15, 30), (70, 85)]
    """
    walls = [limits[0], *(w for low, high in sorted(signal) for w in (low - guard, high + guard)), limits[1]]
    gaps = [(a, b) for a, b in zip(walls[::2], walls[1::2], strict=True) if b > a]
    each = -(-number // len(gaps))
    windows = []
    for low, high in gaps:
        inside = mass_N[(mass_N >= low) & (mass_N < high)]
        if len(inside) >= 50 * (2 * each + 1):
            edges = np.quantile(inside, np.arange(1, 2 * each + 1) / (2 * each + 1))
            windows += [(float(a), float(b)) for a, b in edges.reshape(-1, 2)]
    if not windows:
        raise BadInput("the sidebands hold too few events for a closure test: at least 150 in one of them")
    return windows


def of_sidebands(
    mass_N: FloatArray, limits: Window, signal: Sequence[Window], degrees: Sequence[int], number: int, guard: float
) -> list[tuple[str, tuple[Estimate, ...]]]:
    """The regions of a closure test in the sidebands; the windows of the signal are left out throughout."""
    return [
        (
            f"[{low:.6g}, {high:.6g}]",
            tuple(Sidebands(mass_N, (low, high), limits, d, guard, excluded=tuple(signal)) for d in degrees),
        )
        for low, high in signal_free(mass_N, limits, signal, number, guard)
    ]


def of_abcd(selection_2N: FloatArray, thresholds: tuple[float, float]) -> list[tuple[str, tuple[Estimate, ...]]]:
    """ABCD among the events that fail one selection, whose other half by that variable plays the passing one."""
    regions: list[tuple[str, tuple[Estimate, ...]]] = []
    for i in (0, 1):
        failing_N = selection_2N[i] < thresholds[i]
        middle = float(np.median(selection_2N[i, failing_N]))
        lowered = (middle, thresholds[1]) if i == 0 else (thresholds[0], middle)
        region_N = np.where(failing_N, Abcd.of(selection_2N, lowered).region_N, Abcd.UNUSED)
        regions.append((f"{'ab'[i]} in [{middle:.6g}, {thresholds[i]:.6g}]", (Abcd(region_N),)))
    return regions


def _unexplained(z_NA: FloatArray, trial: Trial) -> float:
    """Mean over the axes of the squared difference of data and template, over its variance in toys."""

    def difference(data_TN: Counts, reference_TN: Counts) -> FloatArray:
        return differences(z_NA.astype(np.float32), data_TN, reference_TN)[0]

    toys_TA = difference(*trial.toys.chunk(1 << 20))
    found_A = difference(trial.data_N[None], trial.reference_N[None])[0]
    return float((found_A**2 / (toys_TA**2).mean(0)).mean())
