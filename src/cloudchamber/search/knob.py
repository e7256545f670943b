"""Knob: generality from 0 (signals of the bank only) to 1 (any difference), in one test or scanned."""

# T toy, K sub-test, L setting of the knob

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import logsumexp

from cloudchamber.errors import BadInput
from cloudchamber.search.sample import FloatArray
from cloudchamber.search.suite import Suite

DEFAULT = 0.5
GRID = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
Level = Literal["test", "score"]


@dataclass(frozen=True)
class Knob:
    """How sub-tests become one statistic, for each setting. shares_LK: of alpha ("test") or of the prior ("score")."""

    settings: tuple[float, ...]
    shares_LK: FloatArray
    level: Level

    def combined(self, p_TK: FloatArray, statistics_TK: FloatArray) -> FloatArray:
        """(T, L) larger is less like the background.

        "test": the weighted minimum, -ln min(p / share) (Scand. J. Stat. 24 (1997) 407). "score": the logarithm of the
        mixture of the likelihood ratios.
        """
        if self.level == "score":
            columns = [logsumexp(statistics_TK, b=share_K, axis=1) for share_K in self.shares_LK]
        else:
            log_TK = -np.log(p_TK)
            columns = []
            for share_K in self.shares_LK:
                used = share_K > 0
                columns.append((log_TK[:, used] + np.log(share_K[used])).max(axis=1))
        return np.stack(columns, axis=1)


def knob(suite: Suite, settings: tuple[float, ...] = (DEFAULT,), level: Level = "test") -> Knob:
    """The knob of a suite: specific methods share 1 - generality, all others share generality.

    Raises BadInput if a setting is outside [0, 1], leaves no test any share, or a mixture asks for tests that are no ratios.
    """
    if not settings or min(settings) < 0 or max(settings) > 1:
        raise BadInput(f"generality is between 0 (signals of the bank) and 1 (any difference), got {settings}")
    specific_K = np.array([role == "specific" for role in suite.roles])
    within_K = suite.shares_K.copy()
    within_K[~specific_K] /= max(within_K[~specific_K].sum(), 1e-300)
    mixable_K = suite.log_ratio_K if level == "score" else np.ones(len(specific_K), bool)
    shares_LK = np.stack([within_K * np.where(specific_K, 1 - s, s) * mixable_K for s in settings])
    if (shares_LK.sum(1) <= 0).any():
        setting = settings[int(shares_LK.sum(1).argmin())]
        raise BadInput(
            f"generality {setting:g} ({level}) leaves no test any share: these are {', '.join(suite.names)}. Add a method, or "
            "set generality between 0 and 1."
        )
    return Knob(settings, shares_LK / shares_LK.sum(1, keepdims=True), level)
