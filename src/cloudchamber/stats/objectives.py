"""Figures of quality of the objectives beyond scores of events: segmentation, masking, quantiles, generation, retrieval."""

# N event, T particle, C class, Q quantile, K candidate, M hidden particle, F feature

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from cloudchamber.stats import metrics


def segmentation(truth: ArrayLike, probabilities_TC: ArrayLike) -> dict[str, float]:
    """Accuracy, AUC and intersection over union of classes of particles, the last two as means over the classes present.

    truth: (T,) class index. probabilities_TC: (T, C). AUC is one class against the rest; the intersection over union is
    that of the particles taken for a class and those of it. Raises BadInput without a particle.

    >>> segmentation([0, 0, 1, 1], [[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8]])["accuracy"]
    0.75
    """
    t, p = np.asarray(truth), np.asarray(probabilities_TC, dtype=np.float64)
    accuracy, taken = metrics.accuracy(t, p), p.argmax(axis=1)
    present = np.unique(t)
    overlap = [np.mean((t == c) & (taken == c)) / np.mean((t == c) | (taken == c)) for c in present]
    areas = [metrics.auc(t == c, p[:, c]).value for c in present] if len(present) > 1 else [float("nan")]
    return {"accuracy": accuracy.value, "auc": float(np.mean(areas)), "mean_iou": float(np.mean(overlap)), "particles": len(t)}


def reconstruction(truth_MF: ArrayLike, guess_MF: ArrayLike, is_flag_F: ArrayLike) -> dict[str, float]:
    """How well features of hidden particles are told, over predicting their mean: 1 for a guess that knows no more.

    truth: (M, F), NaN where a particle has no such feature; a flag above 0 is set. guess: values, and of flags log odds.
    `values_over_mean`: mean over the features of squared error over variance. `flags_over_mean`: mean over the flags of
    cross-entropy over entropy. A feature or a flag that is constant does not count; NaN if none is left.

    >>> reconstruction([[1.0, 1.0], [3.0, -1.0]], [[2.0, 0.0], [2.0, 0.0]], [False, True])
    {'values_over_mean': 1.0, 'flags_over_mean': 1.0, 'particles': 2}
    """
    truth, guess = (np.asarray(a, dtype=np.float64) for a in (truth_MF, guess_MF))
    values, flags = [], []
    for t, g, is_flag in zip(truth.T, guess.T, np.asarray(is_flag_F, dtype=bool), strict=True):
        known = np.isfinite(t)
        if not known.any() or np.ptp(t[known]) == 0:
            continue
        if is_flag:
            is_set = t[known] > 0
            wrong = np.logaddexp(0, np.where(is_set, -g[known], g[known])).mean()
            p = is_set.mean()
            flags.append(wrong / -(p * np.log(p) + (1 - p) * np.log(1 - p)))
        else:
            values.append(np.square(g[known] - t[known]).mean() / t[known].var())
    means = {n: float(np.mean(v)) if v else float("nan") for n, v in (("values", values), ("flags", flags))}
    return {**{f"{n}_over_mean": v for n, v in means.items()}, "particles": len(truth)}


def distance(true: ArrayLike, made: ArrayLike) -> float:
    """Wasserstein distance of two samples of a number, in standard deviations of the first.

    NaN where the first is constant.

    >>> distance([0.0, 2.0], [1.0, 3.0])
    1.0
    """
    from scipy.stats import wasserstein_distance

    spread = float(np.asarray(true, dtype=np.float64).std())
    return float(wasserstein_distance(true, made)) / spread if spread > 0 else float("nan")


def retrieval(query_NE: ArrayLike, key_NE: ArrayLike, group_N: ArrayLike) -> dict[str, float]:
    """How often a query's own key is nearer (larger product) than the key of any other group, and its mean rank from 1.

    query, key: (N, E), row by row of the same thing. group: (N,) keys of equal number are the same thing as well, and no
    competitors. `chance` is what random vectors would give.

    >>> retrieval([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [0.1, 1.0]], [0, 1])["top1"]
    1.0
    """
    query, key, group = np.asarray(query_NE), np.asarray(key_NE), np.asarray(group_N)
    products_NN = query @ key.T
    rival_NN = group[:, None] != group
    rank_N = 1 + (rival_NN & (products_NN >= np.diag(products_NN)[:, None])).sum(axis=1)
    top1 = float((rank_N == 1).mean())
    error = float(np.sqrt(top1 * (1 - top1) / len(query)))
    chance = float((1 / (1 + rival_NN.sum(axis=1))).mean())
    return {"top1": top1, "top1_error": error, "mean_rank": float(rank_N.mean()), "chance": chance, "events": len(query)}


def quantile_figures(
    truth: ArrayLike, quantiles_NQ: ArrayLike, levels: Sequence[float], weight: ArrayLike
) -> tuple[float, tuple[metrics.Estimate, ...]]:
    """Mean pinball loss in the target's unit, and the weighted fraction of events below each quantile: its level, if honest.

    >>> quantile_figures([0.0, 2.0], [[1.0], [1.0]], [0.5], [1.0, 1.0])[0]
    0.5
    """
    w = np.asarray(weight, dtype=np.float64)
    short_NQ, level_Q = np.asarray(truth)[:, None] - np.asarray(quantiles_NQ, dtype=np.float64), np.asarray(levels)
    pinball = np.average(np.maximum(level_Q * short_NQ, (level_Q - 1) * short_NQ).mean(axis=1), weights=w)
    below_Q = np.average(short_NQ < 0, axis=0, weights=w)
    error_Q = np.sqrt(below_Q * (1 - below_Q) / metrics.effective_number(w))
    return float(pinball), tuple(metrics.Estimate(float(b), float(e)) for b, e in zip(below_Q, error_Q, strict=True))
