"""Comparison of two ways over the same seeds: paired differences, and steps to reach a given loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cloudchamber.errors import BadInput

RESAMPLINGS = 200  # the error's own relative error is then 1 / sqrt(2 * 200) = 5 %
_DRAWN = 5_000  # events of a resampling at most: more tell the same and take longer


@dataclass(frozen=True)
class Paired:
    """The difference a - b over n paired seeds.

    mean and its standard error; p_t: two-sided paired t test; p_sign: two-sided sign test (ties left out);
    wins: in how many pairs a > b. With one pair, error and p_t are NaN.
    """

    mean: float
    error: float
    p_t: float
    p_sign: float
    wins: int
    n: int


def paired(a: ArrayLike, b: ArrayLike) -> Paired:
    """The paired comparison of two figures measured at the same seeds; BadInput if their numbers differ.

    >>> result = paired([0.9, 0.92, 0.91], [0.85, 0.86, 0.87])
    >>> result.wins, round(result.mean, 3), round(result.p_sign, 3)
    (3, 0.05, 0.25)
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) == 0:
        raise BadInput(f"a paired comparison needs two equally long rows of at least one figure, got {x.shape} and {y.shape}")
    difference = x - y
    n, wins, losses = len(difference), int((difference > 0).sum()), int((difference < 0).sum())
    error = float(difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    mean = float(difference.mean())
    # The t distribution by hand: where all differences are equal t is infinite and p is 0, which scipy warns about.
    p_t = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if n > 1 and error > 0 else (0.0 if n > 1 and mean else float("nan"))
    p_sign = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return Paired(mean, error, p_t, p_sign, wins, n)


def bootstrap_error(figure: Callable[[NDArray[np.int64]], float], strata: ArrayLike, *, seed: int = 0) -> float:
    """Standard error of a figure of events, from samples drawn with replacement (Ann. Stat. 7 (1979) 1).

    figure: its value for the rows given. strata: (N,) rows are drawn within each of its values, so that no class is lost.
    Of many events a share is drawn, and the error scaled by its square root.
    """
    values = np.asarray(strata)
    rng, share = np.random.default_rng(seed), min(1.0, _DRAWN / len(values))
    groups = [np.flatnonzero(values == value) for value in np.unique(values)]
    draws = (np.concatenate([rng.choice(g, int(np.ceil(share * len(g)))) for g in groups]) for _ in range(RESAMPLINGS))
    return float(np.std([figure(rows) for rows in draws], ddof=1) * np.sqrt(share))


def steps_to_reach(steps: Sequence[int], losses: Sequence[float], target: float) -> int | None:
    """The first step at which the (validation) loss is at or below `target`; None if it never is.

    >>> steps_to_reach([0, 50, 100], [0.7, 0.5, 0.4], 0.5)
    50
    """
    return next((int(step) for step, loss in zip(steps, losses, strict=True) if loss <= target), None)
