"""Comparison of two ways over the same seeds: paired differences, and steps to reach a given loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cloudchamber.errors import BadInput
from cloudchamber.stats import metrics
from cloudchamber.stats.score_table import ScoreTable

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
    same = 0.0 if n > 1 and mean and np.isfinite(mean) else float("nan")
    p_t = float(2 * stats.t.sf(abs(mean) / error, n - 1)) if n > 1 and error > 0 else same
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


def paired_error(ours: ScoreTable, theirs: ScoreTable, figure: str) -> float:
    """Standard error of the difference of two models' `figure` on one test sample, by `bootstrap_error`.

    figure: "auc", "accuracy" or "resolution". The same events are drawn for both, so what they share cancels. NaN if the
    two were not tested on the same events.
    """
    both = [t.known() for t in (ours, theirs)]
    orders = [np.argsort(t.event_id, kind="stable") for t in both]
    orders = [order[t.weight[order] > 0] for order, t in zip(orders, both, strict=True)]
    ids = [t.event_id[order] for order, t in zip(orders, both, strict=True)]
    if not np.array_equal(ids[0], ids[1]):
        return float("nan")

    def difference(rows: NDArray[np.int64]) -> float:
        a, b = (_main(t, order[rows], figure) for t, order in zip(both, orders, strict=True))
        return a - b

    return bootstrap_error(difference, both[0].truth[orders[0]] if ours.classes else np.zeros(len(orders[0])))


def steps_to_reach(steps: Sequence[int], losses: Sequence[float], target: float) -> int | None:
    """The first step at which the (validation) loss is at or below `target`; None if it never is.

    >>> steps_to_reach([0, 50, 100], [0.7, 0.5, 0.4], 0.5)
    50
    """
    return next((int(step) for step, loss in zip(steps, losses, strict=True) if loss <= target), None)


def _main(table: ScoreTable, rows: NDArray[np.int64], figure: str) -> float:
    t, p, w = table.truth[rows], table.scores_NC[rows], table.weight[rows]
    if figure == "resolution":
        return metrics.regression(t, p[:, 0], w).resolution.value
    return metrics.accuracy(t, p, w).value if figure == "accuracy" else metrics.macro_auc(t, p, w)
