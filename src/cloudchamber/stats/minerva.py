"""Figures of merit of MINERvA's transfer study (arXiv:2604.12364): energy resolution and pion tagging in bins of the truth."""

# N event, B bin, J power

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from cloudchamber.errors import BadInput
from cloudchamber.stats import metrics
from cloudchamber.stats.calibration import wilson
from cloudchamber.stats.compare import bootstrap_error
from cloudchamber.stats.metrics import Estimate

Q3_EDGES = (0.0, 0.6, 1.2, 1.8, 2.4, 3.0)  # GeV, for the energy
TAG_Q3_EDGES = (0.0, 2.5, 5.0, 7.5, 10.0, 12.5, 15.0, 20.0, 25.0)  # GeV
W_EDGES = (1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)  # GeV
PION_BINS = 5  # of equal signal, in the pion's energy and angle
MPV_BINS = 100  # of reco/true in (0, 2]; the study has 50 for its baseline, here all have the same
SIGNAL = {"cc1pi": (0,), "ccnpi": (0, 1), "cc1pi0": (2,)}  # the signal of each task among readers.minerva_truth.PION_CLASSES
RESAMPLINGS = 100  # the error's own relative error is then 7 %
_LEAST_ENERGY, _MUON_ANGLE, _MUON_MOMENTUM = 0.05, np.radians(20), (1.5, 20.0)  # GeV, rad, GeV
_ZERO, _RATIO = 0.01, 20.0  # GeV: a smaller prediction is none; the largest reco/true that counts
_GRID = 400  # points in (0, 2] of the kernel density
_REACH, _FITTED = 1.5, 30  # widths about its peak, and bins, of the fit
_FEWEST = 10  # events of a bin that has figures
_HALF = 0.341344746068543  # of a unit Gaussian between its mean and one standard deviation
_NAN = Estimate(float("nan"), float("nan"))


@dataclass(frozen=True)
class EnergyBin:
    """Events with low <= q3 < high, the last bin with its end. n: those not left out. A figure of fewer than 10 is NaN.

    iqr_over_mpv, mpv: of reco/true, the study's: interquartile range, and middle of the highest bin of a histogram.
    bias: of the fitted mode of reco/true, less 1 (`peak`); a histogram's highest bin of a thousand events wanders
    by several per cent. pull: half the central 68.3 % of (predicted - true) / spread of all, 1 if it is right.
    """

    low: float
    high: float
    n: int
    iqr_over_mpv: Estimate
    mpv: Estimate
    bias: Estimate
    pull: Estimate


@dataclass(frozen=True)
class TagBin:
    """Events with low <= variable < high, the last bin with its end. A figure that the events do not define is NaN.

    auprc: average precision. tpr: share of the signal above the threshold. tpr_cuts: share that passes the cuts.
    """

    low: float
    high: float
    n_signal: int
    n_background: int
    auprc: Estimate
    auroc: Estimate
    tpr: Estimate
    tpr_cuts: Estimate


def has_energy_figures(
    muon_theta: ArrayLike, muon_momentum: ArrayLike, recoil: ArrayLike, truth: ArrayLike
) -> NDArray[np.bool_]:
    """(N,) events that the energy is judged on: theta < 20 degrees, 1.5 < p < 20 GeV, some recoil, true energy >= 50 MeV.

    muon_theta [rad], muon_momentum [GeV]: NaN without a muon. recoil: MasterAnaDev_hadron_recoil_CCInc.

    >>> has_energy_figures([0.1, 0.4], [5.0, 5.0], [1.0, 1.0], [0.3, 0.3]).tolist()
    [True, False]
    """
    theta, p, seen, true = (np.asarray(a, dtype=np.float64) for a in (muon_theta, muon_momentum, recoil, truth))
    low, high = _MUON_MOMENTUM
    return np.asarray((theta < _MUON_ANGLE) & (p > low) & (p < high) & (seen > 0) & (true >= _LEAST_ENERGY))


def energy_bins(
    truth: ArrayLike,
    predicted: ArrayLike,
    q3: ArrayLike,
    *,
    pull: ArrayLike | None = None,
    edges: Sequence[float] = Q3_EDGES,
    bins: int = MPV_BINS,
) -> tuple[EnergyBin, ...]:
    """Resolution and calibration of an energy in bins of the true three-momentum transfer, with bootstrap errors.

    truth, predicted: (N,) [GeV], truth above 0. pull: (N,) (predicted - true) / spread, in whatever variable was learned.
    Predictions below 10 MeV and reco/true above 20 are left out, as in the study.
    """
    true, reco, transfer = (np.asarray(a, dtype=np.float64) for a in (truth, predicted, q3))
    if not (true > 0).all():
        raise BadInput("reco/true needs true energies above 0; select events first")
    ratio = np.where(reco < _ZERO, 0.0, reco) / true
    found = []
    for (low, high), inside in zip(pairwise(edges), _inside(transfer, edges), strict=True):
        r = ratio[inside & (ratio > 0) & (ratio <= _RATIO)]
        pulls = np.empty(0) if pull is None else np.asarray(pull, dtype=np.float64)[inside]
        figures: tuple[Callable[[NDArray[Any]], float], ...] = (
            lambda x: float(np.subtract(*np.percentile(x, (75, 25)))) / highest_bin(x, bins),
            lambda x: highest_bin(x, bins),
            lambda x: peak(x) - 1,
        )
        width, mpv, bias = (bootstrapped(f, r) for f in figures)
        found.append(EnergyBin(low, high, len(r), width, mpv, bias, bootstrapped(pull_width, pulls)))
    return tuple(found)


def highest_bin(ratio: NDArray[Any], bins: int = MPV_BINS) -> float:
    """The middle of the highest of some bins in (0, 2]: the study's most probable value; NaN if there is nothing."""
    counts, edges = np.histogram(ratio, np.linspace(0, 2, bins + 1))
    top = int(counts.argmax())
    return float((edges[top] + edges[top + 1]) / 2) if counts[top] else float("nan")


def peak(ratio: NDArray[Any]) -> float:
    """The mode: of a cubic fit (maximum likelihood) to the log density within 1.5 widths of a kernel density's peak in (0, 2].

    The kernel's own peak scatters by about twice as much. The width is the interquartile range over 1.35: for a
    Gaussian its standard deviation. Where the fit has no maximum in reach, the kernel's peak; NaN with fewer than two events.

    >>> log_normal = np.exp(np.random.default_rng(0).normal(0, 0.3, 200_000))  # its mode is exp(-0.09)
    >>> round(peak(log_normal) / float(np.exp(-0.09)), 2)
    1.0
    """
    start = _kernel_peak(ratio)
    low, high = np.percentile(ratio, (25, 75))
    width = (high - low) / 1.349
    if not np.isfinite(start) or width <= 0:
        return start
    counts_B, edges = np.histogram((ratio - start) / width, np.linspace(-_REACH, _REACH, _FITTED + 1))
    x_BJ = np.vander((edges[:-1] + edges[1:]) / 2, 4, increasing=True)

    def loss(c_J: NDArray[Any]) -> tuple[float, NDArray[Any]]:
        expected_B = np.exp(np.clip(x_BJ @ c_J, -30, 30))
        return float(expected_B.sum() - counts_B @ (x_BJ @ c_J)), x_BJ.T @ (expected_B - counts_B)

    _, slope, curvature, third = optimize.minimize(loss, [np.log(counts_B.mean()), 0, -0.5, 0], jac=True, method="BFGS").x
    flat = np.roots([3 * third, 2 * curvature, slope])
    inside = (np.abs(flat.real) <= _REACH) & (np.abs(flat.imag) < 1e-9)
    modes = flat.real[inside & (curvature + 3 * third * flat.real < 0)]
    return float(start + width * modes[0]) if len(modes) else start


def _kernel_peak(ratio: NDArray[Any]) -> float:
    """The highest point in (0, 2] of a Gaussian kernel density of Silverman's width (Density Estimation, 1986, eq. 3.31)."""
    low, high = np.percentile(ratio, (25, 75))
    inner = ratio[ratio <= 2]
    if len(inner) < 2:
        return float("nan")
    width = 0.9 * min(float(inner.std()), (high - low) / 1.34) * len(ratio) ** -0.2
    counts, edges = np.histogram(inner, np.linspace(0, 2, _GRID + 1))
    offset = np.arange(-_GRID, _GRID + 1) * (2 / _GRID)
    density = np.convolve(counts, np.exp(-0.5 * (offset / max(width, 1 / _GRID)) ** 2), "full")[_GRID : 2 * _GRID]
    return float(edges[:-1][int(density.argmax())] + 1 / _GRID)


def pull_width(pulls: NDArray[Any]) -> float:
    """Half the central 68.3 % of pulls.

    >>> round(pull_width(np.random.default_rng(0).normal(0, 1.2, 100_000)), 1)
    1.2
    """
    low, high = np.quantile(pulls, (0.5 - _HALF, 0.5 + _HALF))
    return float(high - low) / 2


def tag_bins(
    is_signal: ArrayLike,
    score: ArrayLike,
    variable: ArrayLike,
    edges: Sequence[float],
    *,
    passes_cuts: ArrayLike,
    background: Literal["in the bin", "all"] = "in the bin",
) -> tuple[TagBin, ...]:
    """How well a score finds a signal in bins of a true variable, at the false-positive rate that some cuts have in all events.

    variable: (N,), NaN for an event in no bin. background: as the study, "in the bin" for W and q3; "all" for a variable of the
    signal's pion, which backgrounds have not. One threshold serves all bins.
    """
    truth, s, v = np.asarray(is_signal, dtype=bool), np.asarray(score, dtype=np.float64), np.asarray(variable)
    cuts = np.asarray(passes_cuts, dtype=bool)
    above = s > threshold_at(truth, s, float(cuts[~truth].mean()))
    found = []
    for (low, high), inside in zip(pairwise(edges), _inside(v, edges), strict=True):
        signal, other = inside & truth, ~truth if background == "all" else inside & ~truth
        rows = np.flatnonzero(signal | other)
        ranked = signal.any() and other.any()
        precise, area = (average_precision, metrics.auc) if ranked else (lambda *_: _NAN, lambda *_: _NAN)
        rates = (efficiency(above[signal]), efficiency(cuts[signal]))
        counts = (int(signal.sum()), int(other.sum()))
        found.append(TagBin(low, high, *counts, precise(truth[rows], s[rows]), area(truth[rows], s[rows]), *rates))
    return tuple(found)


def passes_as_often(
    is_signal: NDArray[np.bool_], score: NDArray[Any], passes_cuts: NDArray[np.bool_], groups: NDArray[Any]
) -> NDArray[np.bool_]:
    """(N,) events above the threshold of their group, which is that of as many background events as pass the cuts in it.

    The threshold is the lowest score of those events, themselves left out: other background then passes as often as through
    the cuts, however small the group; were they let in, one more would pass in every group.

    >>> signal, cuts = np.array([True, False, True, False]), np.array([False, True, False, False])
    >>> passes_as_often(signal, np.array([0.9, 0.8, 0.3, 0.2]), cuts, np.array([0, 0, 1, 1])).tolist()
    [True, False, False, False]
    """
    above = np.zeros(len(score), dtype=bool)
    for group in np.unique(groups):
        inside = groups == group
        background = np.sort(score[inside & ~is_signal])[::-1]
        if allowed := int(passes_cuts[inside & ~is_signal].sum()):
            above[inside] = score[inside] > background[allowed - 1]
    return above


def equal_bins(variable: ArrayLike, is_signal: ArrayLike, number: int = PION_BINS) -> tuple[float, ...]:
    """Edges of bins that hold the same number of signal events; of events without the variable (NaN) none."""
    values = np.asarray(variable, dtype=np.float64)[np.asarray(is_signal, dtype=bool)]
    return tuple(float(q) for q in np.quantile(values[np.isfinite(values)], np.linspace(0, 1, number + 1)))


def threshold_at(is_signal: NDArray[np.bool_], score: NDArray[Any], false_positive_rate: float) -> float:
    """The lowest score such that at most this share of the background is above it.

    >>> threshold_at(np.array([True, False, False, False, False]), np.array([0.9, 0.1, 0.2, 0.3, 0.4]), 0.25)
    0.3
    """
    falling = np.sort(score[~is_signal])[::-1]
    allowed = int(false_positive_rate * len(falling) * (1 + 1e-12))
    return float(falling[allowed]) if allowed < len(falling) else -np.inf


def efficiency(passed: NDArray[np.bool_]) -> Estimate:
    """The share that passed, with half the width of the Wilson interval; NaN of nothing."""
    if len(passed) == 0:
        return _NAN
    low, high = wilson(passed.mean(), len(passed))
    return Estimate(float(passed.mean()), float(high - low) / 2)


def efficiencies(passed: NDArray[np.bool_], variable: NDArray[Any], edges: Sequence[float]) -> list[Estimate]:
    """The share that passes something in each bin of a variable."""
    return [efficiency(passed[inside]) for inside in _inside(variable, edges)]


def average_precision(is_signal: ArrayLike, score: ArrayLike) -> Estimate:
    """Area under precision against recall as the sum over thresholds of precision times gained recall, with a bootstrap error.

    Signal and background are drawn separately. BadInput if a class is empty.

    >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value, 4)
    0.8333
    """
    truth, s = np.asarray(is_signal, dtype=bool), np.asarray(score, dtype=np.float64)
    if truth.all() or not truth.any():
        raise BadInput("average precision needs signal and background")
    order = np.argsort(-s, kind="stable")
    last_of_tie, signal = np.append(np.diff(s[order]) != 0, True), truth[order]

    def value(times: NDArray[Any]) -> float:
        hits, chosen = (np.cumsum(w)[last_of_tie] for w in (times * signal, times))
        return float(np.sum(np.diff(hits, prepend=0) * hits / np.maximum(chosen, 1)) / hits[-1])

    error = bootstrap_error(lambda rows: value(np.bincount(rows, minlength=len(s))), signal)
    return Estimate(value(np.ones(len(s))), error)


def _inside(variable: NDArray[Any], edges: Sequence[float]) -> list[NDArray[np.bool_]]:
    """(N,) masks of the bins; the last has its end."""
    ends = (*edges[1:-1], np.nextafter(edges[-1], np.inf))
    return [np.asarray((variable >= low) & (variable < high)) for low, high in zip(edges[:-1], ends, strict=True)]


def bootstrapped(figure: Callable[[NDArray[Any]], float], values: NDArray[Any]) -> Estimate:
    """A figure of some values with its bootstrap error; NaN of fewer than 10."""
    if len(values) < _FEWEST:
        return _NAN
    rng = np.random.default_rng(0)
    return Estimate(
        figure(values), float(np.std([figure(rng.choice(values, len(values))) for _ in range(RESAMPLINGS)], ddof=1))
    )
