"""A family of hypotheses: the log ratio as a function of the signal's parameters, profiled over them."""

# T toy, N event, M event to score, S signal, G point of the grid, P parameter

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from cloudchamber.errors import BadInput
from cloudchamber.search import ratio
from cloudchamber.search.methods.base import Counts, Method, log_ratio, need_bank
from cloudchamber.search.sample import Bank, FloatArray, Sample

_GRID = 64  # points between the signals of the bank


@dataclass(frozen=True)
class Parametrised:
    """The scores of every event of a pool at each point of a grid of parameters."""

    grid_GP: FloatArray
    ratios: ratio.Ratios
    best: ratio.NeymanPearson
    score_GN: NDArray[np.float32]
    weight_N: FloatArray
    names: tuple[str, ...] = ("profile",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 1) the largest log likelihood ratio over the parameters."""
        return log_ratio(self._z_TG(data_TN, reference_TN).max(axis=1, keepdims=True))

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) Neyman-Pearson scores at the fitted parameters."""
        point = int(self._z_TG(data_N[None], reference_N[None])[0].argmax())
        return np.asarray(self.best(self.ratios(features_MF))[point], dtype=np.float64)

    def _z_TG(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        return ratio.significances(self.score_GN, self.weight_N, data_TN, reference_TN)


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Parametrised:
    """Learn the ratio at the parameters of the bank and interpolate; BadInput if its signals have no parameters."""
    known = need_bank(bank, "parametrised")
    if known.theta_SP is None:
        raise BadInput("the method 'parametrised' needs the parameters of the bank's signals, and this bank has none")
    low_P, high_P = known.theta_SP.min(0), known.theta_SP.max(0)
    points = qmc.Sobol(known.theta_SP.shape[1], seed=seed).random(_GRID)
    grid_GP = np.concatenate([known.theta_SP, low_P + points * (high_P - low_P)])
    ratios = ratio.smoothed(ratio.learn(pool, ratio.parts(known), seed), known.theta_SP, grid_GP)
    best = ratio.NeymanPearson.of(ratios.log_SN, pool.weights_N)
    return Parametrised(grid_GP, ratios, best, best(ratios.log_SN), pool.weights_N)


METHOD = Method(
    name="parametrised",
    role="specific",
    needs_bank=True,
    log_ratio=False,  # a profile: the largest of many ratios, which is no ratio
    citation="arXiv:1601.07913, arXiv:2405.08889",
    prepare=prepare,
)
