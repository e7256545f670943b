"""Any difference: log Bayes factors for a shift, for a smooth change of the density, and for a change in one place."""

# T toy, N event, M event to score, D feature, A principal axis, C bell

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp, softmax

from cloudchamber.search.features import Bells, bells, principal_axes
from cloudchamber.search.methods.base import STRENGTH, Counts, Method, differences, log_gaussian_bayes_factor
from cloudchamber.search.sample import Bank, FloatArray, Sample


@dataclass(frozen=True)
class Kernel:
    """Whitened columns and bells about events of a pool, in which differences of data and reference are Gaussian.

    Their covariance is C / n without a signal. Changes drawn from the kernel that the features span, of covariance
    proportional to C^2 and STRENGTH standard deviations in all, give the log Bayes factor of a shift (the columns) and of a
    smooth change (the bells; as NPLM, without its fit); a change by one bell, whichever and of either sign, that of one place.
    """

    bells: Bells
    phi_ND: NDArray[np.float32]  # columns, then bells
    axes: tuple[FloatArray, FloatArray]  # of columns and bells: (D, A) to unit variance
    prior: tuple[FloatArray, FloatArray]  # of columns and bells: (A,) variance of a signal, in units of the noise's
    names: tuple[str, ...] = ("linear", "smooth", "one place")

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 3) log Bayes factors."""
        mean_TD, worth_T = differences(self.phi_ND, data_TN, reference_TN)
        z_TD = mean_TD * np.sqrt(worth_T)[:, None]
        columns = []
        for block, axes_DA, prior_A in zip(self._blocks, self.axes, self.prior, strict=True):
            columns.append(log_gaussian_bayes_factor(z_TD[:, block] @ axes_DA, prior_A).sum(axis=1))
        z_TC = z_TD[:, self._blocks[1]]
        log_TC = np.logaddexp(STRENGTH * z_TC, -STRENGTH * z_TC) - np.log(2) - STRENGTH**2 / 2
        columns.append(logsumexp(log_TC, axis=1) - np.log(log_TC.shape[1]))
        return np.stack(columns, axis=1)

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the witness of what differs most: the posterior mean of the change, at each event."""
        best = int(self.statistics(data_N[None], reference_N[None])[0].argmax())
        mean_TD, worth_T = differences(self.phi_ND, data_N[None], reference_N[None])
        block = self._blocks[min(best, 1)]
        z_D = mean_TD[0, block] * np.sqrt(worth_T[0])
        if best < 2:
            weight_D = self.axes[best] @ ((z_D @ self.axes[best]) * self.prior[best] / (1 + self.prior[best]))
        else:
            weight_D = softmax(STRENGTH * np.abs(z_D)) * np.sign(z_D)
        phi_MD = self.bells.linear(features_MF) if best == 0 else self.bells(features_MF)
        return np.asarray(phi_MD @ weight_D, dtype=np.float64)

    @property
    def _blocks(self) -> tuple[slice, slice]:
        columns = self.axes[0].shape[0]
        return slice(0, columns), slice(columns, self.phi_ND.shape[1])


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Kernel:  # noqa: ARG001  (any difference needs no bank)
    """The test on a pool."""
    about = bells(pool, seed)
    parts = [about.linear(pool.features_NF), about(pool.features_NF)]
    axes, variance = zip(*(principal_axes(part_ND, pool.weights_N) for part_ND in parts), strict=True)
    prior = tuple(STRENGTH**2 * variance_A / variance_A.sum() for variance_A in variance)
    return Kernel(about, np.concatenate(parts, axis=1), (axes[0], axes[1]), (prior[0], prior[1]))


METHOD = Method(
    name="kernel",
    role="broad",
    needs_bank=False,
    log_ratio=True,
    citation="arXiv:2204.02317, arXiv:2408.12296",
    prepare=prepare,
)
