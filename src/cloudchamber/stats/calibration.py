"""Calibration: whether a probability of 0.7 comes true in 70 % of the cases."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloudchamber.errors import BadInput

_HALF_NORMAL_MEAN = 0.7978845608028654  # sqrt(2 / pi): mean of |x| for a unit Gaussian


@dataclass(frozen=True)
class Calibration:
    """A calibration curve: one entry per bin of the predicted probability that has events.

    predicted: mean probability in the bin. observed: fraction that came true. low, high: 68 % Wilson interval of it.
    n: (effective) events. error: expected calibration error, the mean |observed - predicted| over events.
    floor: what `error` comes to by chance alone with so many events if the probabilities are exactly right.
    """

    predicted: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.float64]
    error: float
    floor: float


def calibration(is_true: ArrayLike, probability: ArrayLike, weight: ArrayLike | None = None, *, bins: int = 10) -> Calibration:
    """The calibration curve of a probability in equal bins from 0 to 1, with binomial errors.

    is_true, probability: (N,). The expected calibration error follows arXiv:1706.04599, eq. 3. Raises BadInput if a
    probability is outside [0, 1].

    >>> round(calibration([0, 1, 1, 1], [0.75, 0.75, 0.75, 0.75]).error, 3)
    0.0
    """
    truth, p = np.asarray(is_true, dtype=np.float64), np.asarray(probability, dtype=np.float64)
    w = np.ones(len(p)) if weight is None else np.asarray(weight, dtype=np.float64)
    if len(truth) != len(p) or len(w) != len(p) or len(p) == 0:
        raise BadInput(f"calibration needs as many truths ({len(truth)}) and weights ({len(w)}) as probabilities ({len(p)})")
    if not ((p >= 0) & (p <= 1)).all():
        raise BadInput(f"a probability must be between 0 and 1, got {p.min()} to {p.max()}")
    bin_N = np.minimum((p * bins).astype(np.int64), bins - 1)
    total, squares, hits, mass, spread = (
        np.bincount(bin_N, weights=x, minlength=bins) for x in (w, w**2, w * truth, w * p, w * p * (1 - p))
    )
    filled = total > 0
    n = total[filled] ** 2 / squares[filled]
    observed, predicted, share = hits[filled] / total[filled], mass[filled] / total[filled], total[filled] / total.sum()
    low, high = wilson(observed, n)
    chance = _HALF_NORMAL_MEAN * np.sqrt(spread[filled] / total[filled] / n)
    error, floor = float(np.sum(share * np.abs(observed - predicted))), float(np.sum(share * chance))
    return Calibration(predicted, observed, low, high, n, error, floor)


def wilson(fraction: ArrayLike, n: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """68 % Wilson score interval of a binomial fraction (J. Am. Stat. Assoc. 22 (1927) 209); inside [0, 1], never empty.

    >>> [round(float(x), 3) for x in wilson(0.0, 10)]
    [0.0, 0.091]
    """
    f, m = np.asarray(fraction, dtype=np.float64), np.asarray(n, dtype=np.float64)  # z = 1 for one standard deviation
    middle = (f + 0.5 / m) / (1 + 1 / m)
    half = np.sqrt(f * (1 - f) / m + 0.25 / m**2) / (1 + 1 / m)
    return np.maximum(middle - half, 0.0), np.minimum(middle + half, 1.0)
