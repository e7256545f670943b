"""One hypothesis: the Neyman-Pearson score of the bank's signals in the proportions of its prior."""

# T toy, N event, M event to score

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search import ratio
from cloudchamber.search.methods.base import Counts, Method, log_ratio, need_bank
from cloudchamber.search.sample import Bank, FloatArray, Sample


@dataclass(frozen=True)
class Supervised:
    """The score of every event of a pool, fixed before any labelling."""

    ratios: ratio.Ratios
    best: ratio.NeymanPearson
    score_SN: NDArray[np.float32]
    weight_N: FloatArray
    names: tuple[str, ...] = ("ratio",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 1) log likelihood ratio."""
        return log_ratio(ratio.significances(self.score_SN, self.weight_N, data_TN, reference_TN))

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:  # noqa: ARG002
        """(M,) the Neyman-Pearson score."""
        return np.asarray(self.best(self.ratios(features_MF))[0], dtype=np.float64)


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Supervised:
    """Learn the ratio of all signals together to the pool."""
    known = need_bank(bank, "supervised")
    share_S = known.prior_S / np.bincount(known.signal_N, weights=known.sample.weights_N, minlength=len(known.names))
    mixed = replace(known.sample, weight_N=known.sample.weights_N * share_S[known.signal_N])
    ratios = ratio.learn(pool, (mixed,), seed)
    best = ratio.NeymanPearson.of(ratios.log_SN, pool.weights_N)
    return Supervised(ratios, best, best(ratios.log_SN), pool.weights_N)


METHOD = Method(
    name="supervised",
    role="specific",
    needs_bank=True,
    log_ratio=True,
    citation="Phil. Trans. R. Soc. A 231 (1933) 289",
    prepare=prepare,
)
