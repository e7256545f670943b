"""Metrics of a classifier's and a regressor's scores, each with its error. NumPy only."""

# N events, C classes

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloudchamber.errors import BadInput
from cloudchamber.stats.calibration import wilson

WORKING_POINTS = (0.3, 0.5)  # signal efficiencies at which taggers are compared in the literature (arXiv:1902.09914)
_LIMIT_LEVEL = 0.95  # confidence level of a limit, where nothing was counted
_PROBABILITY_FLOOR = 1e-12  # below float32 resolution of a softmax: keeps one lost event from making a loss infinite
_IQR_OF_NORMAL = 1.3489795003921634  # 2 * Phi^-1(3/4): the interquartile range of a unit Gaussian


@dataclass(frozen=True)
class Estimate:
    """A figure and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Roc:
    """Signal and background efficiency at every threshold, from (0, 0) to (1, 1), both rising."""

    signal_efficiency: NDArray[np.float64]
    background_efficiency: NDArray[np.float64]
    n_signal: float
    n_background: float

    def background_at(self, signal_efficiency: ArrayLike) -> NDArray[np.float64]:
        """Background efficiency at given signal efficiencies, linear between thresholds (events of equal score are split)."""
        # A hair below the asked value: where the curve steps sideways at it, the step is not yet paid for.
        asked = np.asarray(signal_efficiency, dtype=np.float64) * (1 - 1e-12)
        return np.asarray(np.interp(asked, self.signal_efficiency, self.background_efficiency))


@dataclass(frozen=True)
class Rejection:
    """Background rejection 1 / eps_B at a signal efficiency.

    Where no background event passes, `lower_limit` is True, `value` is the limit at 95 % confidence level and `error` is 0.
    """

    signal_efficiency: float
    value: float
    error: float
    lower_limit: bool = False


@dataclass(frozen=True)
class Regression:
    """How predictions differ from truth, in the target's unit. resolution: interquartile range / 1.349, a Gaussian's sigma."""

    n: int
    bias: Estimate
    median: float
    resolution: Estimate
    mse: Estimate
    correlation: float


def roc(is_signal: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> Roc:
    """The ROC curve of a score that is higher for signal.

    is_signal: (N,) truth. score: (N,). weight: (N,) non-negative, default 1. Events with equal score share one point.
    Raises BadInput if a class is empty or a value is not finite.

    >>> roc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).signal_efficiency.tolist()
    [0.0, 0.5, 0.5, 1.0, 1.0]
    """
    truth, s, w = _checked(is_signal, score, weight)
    order = np.argsort(-s, kind="stable")
    last_of_tie = np.append(np.diff(s[order]) != 0, True)
    signal, background = (np.cumsum(np.where(truth == side, w, 0.0)[order])[last_of_tie] for side in (True, False))
    return Roc(
        np.append(0.0, signal / signal[-1]),
        np.append(0.0, background / background[-1]),
        effective_number(w[truth]),
        effective_number(w[~truth]),
    )


def auc(is_signal: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> Estimate:
    """Area under the ROC curve with its error over test samples.

    The error is DeLong's (Biometrics 44 (1988) 837) with weighted structural components; it covers the finite test
    sample, not the training. Where the classes are fully separated and it would be 0, it is half the width of the Wilson
    interval of as many events as the smaller class has.

    >>> round(auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]).value, 3)
    0.75
    """
    truth, s, w = _checked(is_signal, score, weight)
    signal, background = (s[truth], w[truth]), (s[~truth], w[~truth])
    above = _fraction_below(signal[0], *background)  # of the background, for each signal event
    below = 1 - _fraction_below(background[0], *signal)
    value = float(np.average(above, weights=signal[1]))
    variance = _variance_of_mean(above, signal[1]) + _variance_of_mean(below, background[1])
    if value in (0.0, 1.0) and variance == 0:
        return Estimate(value, _wilson_half_width(value, min(effective_number(side[1]) for side in (signal, background))))
    return Estimate(value, float(np.sqrt(variance)))


def rejection(curve: Roc, signal_efficiencies: Sequence[float] = WORKING_POINTS) -> tuple[Rejection, ...]:
    """Background rejection 1 / eps_B at given signal efficiencies, with binomial errors.

    The error holds the binomial error of eps_B and that of the threshold: eps_S is counted on signal that fluctuates too,
    and a threshold moved by one standard error of eps_S moves eps_B along the curve. With weights, N is (sum w)^2 / sum w^2.
    Where no background passes the result is a lower limit, see `Rejection`. Raises BadInput outside 0 < eps_S < 1.
    """
    for e in signal_efficiencies:
        if not 0 < e < 1:
            raise BadInput(f"a working point is a signal efficiency between 0 and 1, got {e}")
    return tuple(_rejection_at(curve, float(e)) for e in signal_efficiencies)


def accuracy(truth: ArrayLike, probabilities_NC: ArrayLike, weight: ArrayLike | None = None) -> Estimate:
    """Fraction of events whose largest probability is at their true class; its error is half the width of the Wilson
    interval, which is the binomial error of many events and is not 0 where all or none are right.

    >>> accuracy([0, 1], [[0.9, 0.1], [0.6, 0.4]]).value
    0.5
    """
    t, p, w = _checked_classes(truth, probabilities_NC, weight)
    value = float(np.average(p.argmax(1) == t, weights=w))
    return Estimate(value, _wilson_half_width(value, effective_number(w)))


def cross_entropy(truth: ArrayLike, probabilities_NC: ArrayLike, weight: ArrayLike | None = None) -> Estimate:
    """Mean of -log of the true class's probability, in nats, with its standard error.

    >>> round(cross_entropy([0, 1], [[0.5, 0.5], [0.5, 0.5]]).value, 4)
    0.6931
    """
    t, p, w = _checked_classes(truth, probabilities_NC, weight)
    loss = -np.log(np.maximum(p[np.arange(len(t)), t], _PROBABILITY_FLOOR))
    return Estimate(float(np.average(loss, weights=w)), float(np.sqrt(_variance_of_mean(loss, w))))


def one_vs_rest_auc(truth: ArrayLike, probabilities_NC: ArrayLike, weight: ArrayLike | None = None) -> tuple[Estimate, ...]:
    """AUC of every class's probability against all other classes together. Raises BadInput if a class has no event."""
    t, p, w = _checked_classes(truth, probabilities_NC, weight)
    return tuple(auc(t == c, p[:, c], w) for c in range(p.shape[1]))


def macro_auc(truth: ArrayLike, probabilities_NC: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Unweighted mean over classes of the one-vs-rest AUC; for two classes simply the AUC."""
    return float(np.mean([a.value for a in one_vs_rest_auc(truth, probabilities_NC, weight)]))


def confusion(truth: ArrayLike, probabilities_NC: ArrayLike, weight: ArrayLike | None = None) -> NDArray[np.float64]:
    """(C, C) fraction of each true class (row) that is taken for each class (column); a row without events is NaN."""
    t, p, w = _checked_classes(truth, probabilities_NC, weight)
    n = p.shape[1]
    counts = np.bincount(t * n + p.argmax(1), weights=w, minlength=n * n).reshape(n, n)
    total = counts.sum(1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.full_like(counts, np.nan), where=total > 0))


def regression(truth: ArrayLike, prediction: ArrayLike, weight: ArrayLike | None = None) -> Regression:
    """Bias, resolution, mean squared error and correlation of predictions.

    truth, prediction: (N,), in the same unit; at least two events, else BadInput. The error of the resolution is that of a
    Gaussian's interquartile range; `correlation` is Pearson's, NaN where one of the two is constant.

    >>> regression([1.0, 2.0, 3.0], [1.5, 2.5, 3.5]).bias.value
    0.5
    """
    t, p = (np.asarray(a, dtype=np.float64) for a in (truth, prediction))
    w = _checked_weight(weight, t, p)
    if len(t) < 2:
        raise BadInput(f"a resolution needs at least two events, got {len(t)}")
    residual, n = p - t, effective_number(w)
    low, median, high = quantiles(residual, (0.25, 0.5, 0.75), w)
    width = (high - low) / _IQR_OF_NORMAL
    deviations = [a - np.average(a, weights=w) for a in (t, p)]
    covariance = [[float(np.average(a * b, weights=w)) for b in deviations] for a in deviations]
    scale = np.sqrt(covariance[0][0] * covariance[1][1])
    return Regression(
        n=len(t),
        bias=Estimate(float(np.average(residual, weights=w)), float(np.sqrt(_variance_of_mean(residual, w)))),
        median=median,
        resolution=Estimate(width, float(width * 1.1664 / np.sqrt(n))),  # sd(IQR) = 1.5734 sigma / sqrt(n)
        mse=Estimate(float(np.average(residual**2, weights=w)), float(np.sqrt(_variance_of_mean(residual**2, w)))),
        correlation=covariance[0][1] / scale if scale > 0 else float("nan"),
    )


def quantiles(values: NDArray[Any], levels: Sequence[float] | NDArray[Any], weight: NDArray[Any]) -> tuple[float, ...]:
    """Weighted quantiles, linear between the middles of the events' weights.

    >>> quantiles(np.array([1.0, 2.0, 3.0]), (0.5,), np.ones(3))
    (2.0,)
    """
    order = np.argsort(values, kind="stable")
    w = weight[order]
    middles = (np.cumsum(w) - w / 2) / w.sum()
    return tuple(float(q) for q in np.interp(levels, middles, values[order]))


def effective_number(weight: NDArray[Any]) -> float:
    """The number of unweighted events with the same statistical power: (sum w)^2 / sum w^2."""
    return float(weight.sum() ** 2 / np.square(weight).sum())


def _wilson_half_width(fraction: float, n: float) -> float:
    low, high = wilson(fraction, n)
    return float(high - low) / 2


def _rejection_at(curve: Roc, e: float) -> Rejection:
    background = float(curve.background_at(e))
    if background == 0:  # P(no event | eps_B) = (1 - eps_B)^n, solved for the level
        limit = 1 - (1 - _LIMIT_LEVEL) ** (1 / curve.n_background)
        return Rejection(e, 1 / limit, 0.0, lower_limit=True)
    step = np.sqrt(e * (1 - e) / curve.n_signal)
    low, high = curve.background_at(np.clip([e - step, e + step], 0, 1))
    variance = background * (1 - background) / curve.n_background + ((high - low) / 2) ** 2
    return Rejection(e, 1 / background, float(np.sqrt(variance)) / background**2)


def _fraction_below(x: NDArray[Any], other: NDArray[Any], other_weight: NDArray[Any]) -> NDArray[np.float64]:
    """For every x, the weighted fraction of `other` below it; ties count one half."""
    order = np.argsort(other, kind="stable")
    cumulated = np.append(0.0, np.cumsum(other_weight[order]))
    below, up_to = (cumulated[np.searchsorted(other[order], x, side=side)] for side in ("left", "right"))
    return np.asarray((below + up_to) / (2 * cumulated[-1]))


def _variance_of_mean(values: NDArray[Any], weight: NDArray[Any]) -> float:
    """Variance of a weighted mean of independent events; for unit weights s^2 / n with the n - 1 correction."""
    n = np.count_nonzero(weight)
    if n < 2:
        return float("nan")
    deviation = values - np.average(values, weights=weight)
    return float(np.sum(np.square(weight * deviation)) / weight.sum() ** 2 * n / (n - 1))


def _checked(
    is_signal: ArrayLike, score: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64]]:
    truth, s = np.asarray(is_signal), np.asarray(score, dtype=np.float64)
    if truth.dtype != bool and not np.isin(truth, (0, 1)).all():
        raise BadInput(f"truth must be 0 (background) or 1 (signal), got {np.setdiff1d(truth, (0, 1))[:3].tolist()}")
    truth = truth.astype(bool)
    w = _checked_weight(weight, truth, s)
    for name, side in (("signal", truth), ("background", ~truth)):
        if w[side].sum() <= 0:
            raise BadInput(f"a ROC curve needs both classes: there is no {name} among {len(truth)} events")
    return truth, s, w


def _checked_classes(
    truth: ArrayLike, probabilities_NC: ArrayLike, weight: ArrayLike | None
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    t, p = np.asarray(truth, dtype=np.int64), np.asarray(probabilities_NC, dtype=np.float64)
    if p.ndim != 2 or len(p) != len(t) or len(t) == 0:
        raise BadInput(f"probabilities must be (events, classes) for {len(t)} events (at least one), got shape {p.shape}")
    if t.min() < 0 or t.max() >= p.shape[1]:
        raise BadInput(
            f"true classes must be 0 to {p.shape[1] - 1}, got {t.min()} to {t.max()}; drop unknown (-1) events first"
        )
    return t, p, _checked_weight(weight, t, p)


def _checked_weight(weight: ArrayLike | None, *columns: NDArray[Any]) -> NDArray[np.float64]:
    n = len(columns[0])
    w = np.ones(n) if weight is None else np.asarray(weight, dtype=np.float64)
    for column in (*columns, w):
        if len(column) != n:
            raise BadInput(f"truth has {n} events, another column has {len(column)}")
        if not np.isfinite(column).all():
            raise BadInput(f"{np.count_nonzero(~np.isfinite(column))} of {column.size} values are not finite")
    if (w < 0).any() or (n and w.sum() <= 0):
        raise BadInput("weights must not be negative and not all 0: no efficiency is defined")
    return w
