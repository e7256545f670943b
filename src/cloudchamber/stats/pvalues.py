"""p-values: ranks among pseudo-experiments with exact intervals, significance, tails beyond their reach, trials."""

# N pseudo-experiment

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.optimize import minimize_scalar

from cloudchamber.errors import BadInput

LEVEL = 0.6827  # of the intervals that a p-value carries: one standard deviation
_FEWEST_IN_TAIL = 50  # exceedances: below, the shape of a tail is not known to better than 14 %


@dataclass(frozen=True)
class PValue:
    """A p-value and the interval that its pseudo-experiments leave. extrapolated: beyond their reach, by a model."""

    value: float
    low: float
    high: float
    n: int
    extrapolated: bool = False

    @property
    def z(self) -> float:
        """One-sided significance in standard deviations."""
        return significance(self.value)


def significance(p: float) -> float:
    """The one-sided significance Z of a p-value; that of p = 1 is -7.9, a number like the others.

    >>> round(significance(2.866515718791946e-07), 6)
    5.0
    """
    return float(stats.norm.isf(min(p, 1 - 1e-15)))


def p_value(z: float) -> float:
    """The one-sided p-value of a significance.

    >>> round(p_value(3.0), 6)
    0.00135
    """
    return float(stats.norm.sf(z))


def interval(k: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact (Clopper-Pearson) interval of a binomial share, k of n (Biometrika 26 (1934) 404).

    >>> [round(end, 4) for end in interval(0, 10, 0.95)]
    [0.0, 0.3085]
    """
    if not 0 <= k <= n or n < 1 or not 0 < level < 1:
        raise BadInput(f"a share needs 0 <= k <= n, n >= 1 and a level between 0 and 1, got k {k}, n {n}, level {level}")
    rest = (1 - level) / 2
    low = float(stats.beta.ppf(rest, k, n - k + 1)) if k else 0.0
    return low, float(stats.beta.isf(rest, k + 1, n - k)) if k < n else 1.0


def rank_p(observed: float, null_N: ArrayLike) -> PValue:
    """(b + 1) / (n + 1), with b of n pseudo-experiments at least as large as the observed one.

    Under the null it is at most alpha with probability at most alpha, for any n (Stat. Appl. Genet. Mol. Biol. 9 (2010) 39).
    """
    null = _finite(null_N)
    n, above = len(null), int((null >= observed).sum())
    low, high = interval(above, n)
    value = (above + 1) / (n + 1)
    return PValue(value, min(low, value), max(high, value), n)


@dataclass(frozen=True)
class Tail:
    """A generalised Pareto tail above a threshold (Ann. Stat. 3 (1975) 119), fitted to pseudo-experiments.

    The largest statistics are fitted, and the fit is carried on beyond them (as in arXiv:2211.07446). share: part of the
    pseudo-experiments above the threshold; n: their number altogether. The shape is not below 0 (an exponential): a tail with
    an end, which few toys show by chance, would give p = 0 beyond it.
    """

    threshold: float
    scale: float
    shape: float
    share: float
    n: int

    @classmethod
    def fit(cls, null_N: ArrayLike, share: float = 0.05) -> Tail:
        """The tail of largest likelihood, of the upper `share` of the null. BadInput with fewer than 50 values in it."""
        null = np.sort(_finite(null_N))
        k = int(share * len(null))
        if k < _FEWEST_IN_TAIL or not share < 1:
            raise BadInput(f"a tail needs at least {_FEWEST_IN_TAIL} pseudo-experiments, got {k} ({share:g} of {len(null)})")
        threshold = float(null[-k - 1])
        excess = null[-k:] - threshold
        mean, largest = float(excess.mean()), float(excess[-1])
        if not mean > 0:
            raise BadInput("the largest statistics of the null are all equal: they have no tail to fit")

        # With t = shape / scale the best shape is a mean of logarithms: one number is left to search (Grimshaw,
        # Technometrics 35 (1993) 185). x is ln(1 + t * largest).
        def loss(x: float) -> float:
            t = np.expm1(x) / largest
            shape = float(np.log1p(t * excess).mean())
            return float(np.log(shape / t)) + shape

        best = minimize_scalar(loss, bounds=(0.0, 5.0), method="bounded", options={"xatol": 1e-6})
        t = np.expm1(best.x) / largest
        shape = float(np.log1p(t * excess).mean())
        return cls(threshold, shape / t, shape, k / len(null), len(null))

    def p(self, observed: float) -> PValue:
        """The p-value of a statistic above the threshold, `extrapolated`; BadInput for one below, which has a rank.

        The interval is that of the fit (Biometrika 72 (1985) 67, as n grows) in ln p, without the choice of the model.
        """
        if observed < self.threshold:
            raise BadInput(f"{observed:g} is below the tail's threshold {self.threshold:g}: use its rank")
        y, k = (observed - self.threshold) / self.scale, self.share * self.n
        log_p = np.log(self.share) + self._log_survival(y, self.shape)
        step = 1e-5
        slopes = np.array(
            [
                (self._log_survival(y, self.shape + step) - self._log_survival(y, self.shape)) / step,
                (self._log_survival(y / (1 + step), self.shape) - self._log_survival(y / (1 - step), self.shape)) / (2 * step),
            ]
        )
        grown = 1 + self.shape
        covariance = grown * np.array([[grown, -1.0], [-1.0, 2.0]]) / k  # of the shape and of ln scale
        spread = float(np.sqrt(slopes @ covariance @ slopes + (1 - self.share) / k))
        value = max(float(np.exp(log_p)), np.finfo(float).tiny)
        return PValue(value, value * np.exp(-spread), min(value * np.exp(spread), 1.0), self.n, extrapolated=True)

    @staticmethod
    def _log_survival(y: float, shape: float) -> float:
        return float(-y if shape < 1e-8 else -np.log1p(shape * y) / shape)


def p_of(observed: float, null_N: ArrayLike, reach: int = 10) -> PValue:
    """The rank where at least `reach` pseudo-experiments lie above, else the tail (flagged), if there are enough to fit one."""
    ranked = rank_p(observed, null_N)
    if ranked.value * (ranked.n + 1) > reach:
        return ranked
    try:
        return Tail.fit(null_N).p(observed)
    except BadInput:
        return ranked


def effective_trials(p_local: float, p_global: float) -> float:
    """How many independent tests would make this global p-value of that smallest local one.

    >>> round(effective_trials(0.01, 1 - 0.99**20), 6)
    20.0
    """
    if not (0 < p_local < 1 and 0 < p_global < 1):
        raise BadInput(f"trials need p-values between 0 and 1, got {p_local} and {p_global}")
    return float(np.log1p(-p_global) / np.log1p(-p_local))


def _finite(null_N: ArrayLike) -> NDArray[np.float64]:
    null = np.asarray(null_N, dtype=np.float64)
    if null.ndim != 1 or len(null) == 0 or not np.isfinite(null).all():
        raise BadInput(f"a null distribution is a row of finite numbers, got shape {null.shape}")
    return null
