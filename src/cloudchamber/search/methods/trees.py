"""Weak supervision with gradient-boosted trees: as `weak`, slower and with any shape of the signal; trained in every toy."""

# T toy, N event, M event to score, K cut

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier

from cloudchamber.search import crossfit
from cloudchamber.search.methods.base import Counts, Method
from cloudchamber.search.sample import Bank, FloatArray, Sample

_SETTINGS = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 15, "l2_regularization": 1.0, "early_stopping": False}


@dataclass(frozen=True)
class Trees:
    """The features of a pool and its two halves."""

    features_NF: FloatArray
    folds: tuple[NDArray[np.int64], NDArray[np.int64]]
    seed: int
    names: tuple[str, ...] = tuple(f"best {cut:g}" for cut in crossfit.CUTS)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, K) excess of data after each cut, in standard deviations."""
        score_TN = np.empty_like(data_TN)
        for t, (data_N, reference_N) in enumerate(zip(data_TN, reference_TN, strict=True)):
            for rows, other in (self.folds, self.folds[::-1]):
                score_TN[t, other] = _trained(self, rows, data_N, reference_N).decision_function(self.features_NF[other])
        return crossfit.cut_significances(score_TN, self.folds, data_TN, reference_TN)

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the mean of the two halves' trees."""
        models = [_trained(self, rows, data_N, reference_N) for rows in self.folds]
        return np.asarray(np.mean([m.decision_function(features_MF) for m in models], axis=0), dtype=np.float64)


def _trained(trees: Trees, rows: NDArray[np.int64], data_N: Counts, reference_N: Counts) -> HistGradientBoostingClassifier:
    """Trees of one half. A negative weight of an interpolated template cannot be learned from: it counts as none."""
    weight_2R = np.stack([data_N[rows], np.maximum(reference_N[rows], 0)])
    weight_2R *= weight_2R.sum() / 2 / weight_2R.sum(axis=1, keepdims=True)
    label, row = np.nonzero(weight_2R)
    model = HistGradientBoostingClassifier(random_state=trees.seed, **_SETTINGS)
    return model.fit(trees.features_NF[rows][row], 1 - label, sample_weight=weight_2R[label, row])


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Trees:  # noqa: ARG001  (data and template are all it needs)
    """What the toys share."""
    return Trees(pool.features_NF, crossfit.halves(len(pool), seed), seed)


METHOD = Method(
    name="trees",
    role="weak",
    needs_bank=False,
    log_ratio=False,
    citation="arXiv:2309.13111",
    prepare=prepare,
    sample_only=True,  # toys of a template draw data from events that stand in it too: trees learn those by heart
)
