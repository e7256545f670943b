"""Any difference: a log Bayes factor for a smooth change of the density, one per kernel width (as NPLM, without its fit)."""

# T toy, N event, D feature, K width

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search.features import FeatureMap, feature_map, principal_axes
from cloudchamber.search.methods.base import STRENGTH, Counts, Method, differences
from cloudchamber.search.sample import Bank, FloatArray, Sample


@dataclass(frozen=True)
class Kernel:
    """The quadratic forms of a pool.

    Per width the mean difference of data and reference in random features is Gaussian, of covariance C / n without a signal.
    Changes drawn from the same kernel, of covariance proportional to C^2 and STRENGTH standard deviations in all, give the
    log Bayes factor.
    """

    phi: FeatureMap
    phi_ND: NDArray[np.float32]
    names: tuple[str, ...]
    axes: tuple[FloatArray, ...]  # of each width: (D, A) to unit variance
    prior: tuple[FloatArray, ...]  # of each width: (A,) variance of a signal, in units of the noise's

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, K) log Bayes factors."""
        mean_TD, worth_T = differences(self.phi_ND, data_TN, reference_TN)
        columns = []
        for block, axes_DA, prior_A in zip(self.phi.blocks.values(), self.axes, self.prior, strict=True):
            z_TA = (mean_TD[:, block] @ axes_DA) * np.sqrt(worth_T)[:, None]
            columns.append(0.5 * (z_TA**2 @ (prior_A / (1 + prior_A)) - np.log1p(prior_A).sum()))
        return np.stack(columns, axis=1)

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the witness of the width that differs most: its posterior mean of the change, at each event."""
        best = int(self.statistics(data_N[None], reference_N[None])[0].argmax())
        block, axes_DA, prior_A = tuple(self.phi.blocks.values())[best], self.axes[best], self.prior[best]
        mean_TD, _ = differences(self.phi_ND, data_N[None], reference_N[None])
        weight_D = axes_DA @ ((mean_TD[0, block] @ axes_DA) * prior_A / (1 + prior_A))
        return np.asarray(self.phi(features_MF)[:, block] @ weight_D, dtype=np.float64)


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Kernel:  # noqa: ARG001  (any difference needs no bank)
    """The test on a pool."""
    phi = feature_map(pool, seed)
    phi_ND = phi(pool.features_NF)
    axes, prior = [], []
    for block in phi.blocks.values():
        axes_DA, variance_A = principal_axes(phi_ND[:, block], pool.weights_N)
        axes.append(axes_DA)
        prior.append(STRENGTH**2 * variance_A / variance_A.sum())
    return Kernel(phi, phi_ND, tuple(phi.blocks), tuple(axes), tuple(prior))


METHOD = Method(
    name="kernel",
    role="broad",
    needs_bank=False,
    log_ratio=True,
    citation="arXiv:2204.02317, arXiv:2408.12296",
    prepare=prepare,
)
