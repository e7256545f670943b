"""Knob: generality from 0 (signals of the bank only) to 1 (any difference), in one test or scanned."""

# T toy, K sub-test, L setting of the knob

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cloudchamber.errors import BadInput
from cloudchamber.search.sample import FloatArray
from cloudchamber.search.suite import Suite

DEFAULT = 0.5
GRID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
Level = Literal["mixture", "minimum"]
_SMALLEST, _LARGEST = 1e-300, 1 - 1e-6  # p-values for which the formula of their worth holds numerically


@dataclass(frozen=True)
class Knob:
    """How sub-tests become one statistic, for each setting.

    shares_LK: of the prior ("mixture") or of alpha ("minimum"). log_ratio_K: whose statistics are logarithms of likelihood
    ratios or Bayes factors.
    """

    settings: tuple[float, ...]
    shares_LK: FloatArray
    log_ratio_K: NDArray[np.bool_]
    level: Level = "mixture"

    def combined(self, p_TK: FloatArray, statistics_TK: FloatArray) -> FloatArray:
        """(T, L) larger is less like the background.

        "mixture": the logarithm of the mixture of the likelihood ratios; a test that is none enters by what its p-value is
        worth. "minimum": the weighted minimum, -ln min(p / share) (Scand. J. Stat. 24 (1997) 407).
        """
        if self.level == "minimum":
            with np.errstate(divide="ignore"):  # what has no share is never the smallest
                return np.stack([(np.log(share_K) - np.log(p_TK)).max(axis=1) for share_K in self.shares_LK], axis=1)
        log_TK = np.where(self.log_ratio_K, statistics_TK, log_bayes_factor(p_TK))
        return np.stack([logsumexp(log_TK, b=share_K, axis=1) for share_K in self.shares_LK], axis=1)


def log_bayes_factor(p: FloatArray) -> FloatArray:
    """What a p-value, 0 < p <= 1, is worth: kappa p^(kappa - 1), averaged over kappa from 0 to 1 (arXiv:1912.06116).

    >>> np.exp(log_bayes_factor(np.array([0.05, 1.35e-3]))).round(1)
    array([ 1.8, 16.8])
    """
    p = np.clip(p, _SMALLEST, _LARGEST)
    return np.asarray(np.log((1 - p + p * np.log(p)) / p) - 2 * np.log(-np.log(p)))


def knob(suite: Suite, settings: tuple[float, ...] = (DEFAULT,), level: Level = "mixture") -> Knob:
    """The knob of a suite: specific methods share 1 - generality, all others share generality.

    Raises BadInput if a setting is outside [0, 1] or leaves no test any share.
    """
    if not settings or min(settings) < 0 or max(settings) > 1:
        raise BadInput(f"generality is between 0 (signals of the bank) and 1 (any difference), got {settings}")
    specific_K = np.array([role == "specific" for role in suite.roles])
    shares_LK = np.stack([suite.shares_K * np.where(specific_K, 1 - s, s) for s in settings])
    if (shares_LK.sum(1) <= 0).any():
        setting = settings[int(shares_LK.sum(1).argmin())]
        raise BadInput(
            f"generality {setting:g} leaves no test any share: these are {', '.join(suite.names)}. Add a method, or set "
            "generality between 0 and 1."
        )
    return Knob(settings, shares_LK / shares_LK.sum(1, keepdims=True), suite.log_ratio_K, level)
