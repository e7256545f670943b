"""Event p-values: how rare an event's score is among calibration events; exact if they are exchangeable (conformal).

Split (arXiv:2107.07511); with weights where calibration events come from another region (arXiv:1904.06019); Mondrian: in
groups, such as bins of mass, so that they are uniform in each. Uniform is what they are one by one: the p-values of a sample
share its calibration events, so a p-value of the whole sample comes from pseudo-experiments.
"""

# M calibration event, N event

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cloudchamber.errors import BadInput


def event_p(
    calibration_M: ArrayLike,
    score_N: ArrayLike,
    *,
    weight_M: ArrayLike | None = None,
    weight_N: ArrayLike | None = None,
    group_M: ArrayLike | None = None,
    group_N: ArrayLike | None = None,
    seed: int | None = None,
) -> NDArray[np.float64]:
    """(N,) the weighted share of calibration events that score at least as high, the event itself counted with them.

    weights: how much more often events like each one occur in the region of the N events; of both samples, or neither.
    groups: an event is compared with its own. seed: ties, the event's own weight among them, are split at random, which makes
    the p-values uniform and not only conservative. Raises BadInput for weights below 0, one of a pair alone, or a group
    without calibration events.
    """
    calibration, score = (np.asarray(x, dtype=np.float64) for x in (calibration_M, score_N))
    own_M, own_N = _pair(weight_M, weight_N, calibration, score, "weight", 1.0)
    if min(own_M.min(initial=0), own_N.min(initial=0)) < 0:
        raise BadInput("an event p-value needs weights that are not negative")
    group, group_of = _pair(group_M, group_N, calibration, score, "group", 0)
    unknown = np.setdiff1d(group_of, group)
    if len(unknown):
        raise BadInput(f"group {unknown[0]} has events but no calibration events: widen the groups")
    u = np.ones(len(score)) if seed is None else np.random.default_rng(seed).random(len(score))
    p_N = np.empty(len(score))
    for one in np.unique(group_of):
        rows_M, rows_N = group == one, group_of == one
        order = np.argsort(calibration[rows_M], kind="stable")
        ranked, at = calibration[rows_M][order], score[rows_N]
        total = np.concatenate([[0.0], np.cumsum(own_M[rows_M][order])])
        above = total[-1] - total[np.searchsorted(ranked, at, side="right")]
        tied = total[-1] - total[np.searchsorted(ranked, at, side="left")] - above + own_N[rows_N]
        whole = total[-1] + own_N[rows_N]
        if not (whole > 0).all():
            raise BadInput(f"the calibration events of group {one} have no weight")
        p_N[rows_N] = (above + u[rows_N] * tied) / whole
    return p_N


def _pair(
    a: ArrayLike | None,
    b: ArrayLike | None,
    like_a: NDArray[np.float64],
    like_b: NDArray[np.float64],
    what: str,
    default: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if (a is None) != (b is None):
        raise BadInput(f"give the {what} of the calibration events and of the others, or of neither")
    first, second = (np.full(len(x), default) if v is None else np.asarray(v) for v, x in ((a, like_a), (b, like_b)))
    if len(first) != len(like_a) or len(second) != len(like_b):
        raise BadInput(f"one {what} for each event: got {len(first)} and {len(second)} for {len(like_a)} and {len(like_b)}")
    return first, second
