"""Classifier two-sample test: whether a discriminant, trained anew in every toy, tells data from reference on other events."""

# T toy, N event, M event to score

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudchamber.search import crossfit
from cloudchamber.search.methods.base import Counts, Method
from cloudchamber.search.sample import Bank, FloatArray, Sample


@dataclass(frozen=True)
class TwoSample:
    """Cross-fitted discriminants of a pool."""

    discriminants: crossfit.Discriminants
    names: tuple[str, ...] = ("auc",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 1) area under the ROC curve between data and reference, the mean of the two halves."""
        score_TN = self.discriminants.scores(data_TN, reference_TN)
        auc_T = np.zeros(len(data_TN))
        for rows in self.discriminants.folds:
            rank_TR = score_TN[:, rows].argsort(axis=1).argsort(axis=1) / len(rows)
            for sign, counts_TR in ((1, data_TN[:, rows]), (-1, reference_TN[:, rows])):
                auc_T += sign * (counts_TR * rank_TR).sum(1) / counts_TR.sum(1) / 2
        return (0.5 + auc_T)[:, None]

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the discriminants of this labelling."""
        return self.discriminants.scores_of(features_MF, data_N, reference_N)


def prepare(pool: Sample, bank: Bank | None, seed: int) -> TwoSample:  # noqa: ARG001  (any difference needs no bank)
    """What the toys share."""
    return TwoSample(crossfit.discriminants(pool, seed))


METHOD = Method(
    name="c2st",
    role="broad",
    needs_bank=False,
    log_ratio=False,
    citation="arXiv:1610.06545",
    prepare=prepare,
)
