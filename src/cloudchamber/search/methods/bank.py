"""One of many hypotheses: the likelihood ratio of "one of the bank's signals is there", a mixture with the bank's prior."""

# T toy, N event, M event to score, S signal

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from cloudchamber.search import ratio
from cloudchamber.search.methods.base import Counts, Method, log_ratio, need_bank
from cloudchamber.search.sample import Bank, FloatArray, Sample


@dataclass(frozen=True)
class Mixture:
    """The scores of every event of a pool for each signal, fixed before any labelling."""

    ratios: ratio.Ratios
    best: ratio.NeymanPearson
    score_SN: NDArray[np.float32]
    weight_N: FloatArray
    prior_S: FloatArray
    names: tuple[str, ...] = ("mixture",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 1) log likelihood ratio of the mixture."""
        return np.asarray(logsumexp(self._log_TS(data_TN, reference_TN), b=self.prior_S, axis=1, keepdims=True))

    def posterior(self, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(S,) probability of each signal, given that one of them is there."""
        log_S = self._log_TS(data_N[None], reference_N[None])[0]
        return np.asarray(softmax(log_S + np.log(np.maximum(self.prior_S, 1e-300))), dtype=np.float64)

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) Neyman-Pearson scores, averaged over the posterior of the signals."""
        return np.asarray(self.posterior(data_N, reference_N) @ self.best(self.ratios(features_MF)), dtype=np.float64)

    def _log_TS(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        return log_ratio(ratio.significances(self.score_SN, self.weight_N, data_TN, reference_TN))


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Mixture:
    """Learn the ratio of each signal to the pool."""
    known = need_bank(bank, "bank")
    ratios = ratio.learn(pool, ratio.parts(known), seed)
    best = ratio.NeymanPearson.of(ratios.log_SN, pool.weights_N)
    return Mixture(ratios, best, best(ratios.log_SN), pool.weights_N, known.prior_S)


METHOD = Method(
    name="bank",
    role="specific",
    needs_bank=True,
    log_ratio=True,
    citation="arXiv:2104.02092",
    prepare=prepare,
)
