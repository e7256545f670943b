"""One direction: log Bayes factors for a change along one column, and along one line through all of them, whichever it is."""

# T toy, N event, M event to score, F feature, L direction, Q quantile, J polynomial, A axis: of all directions side by side

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import eval_legendre, logsumexp, softmax

from cloudchamber.search.features import feature_map, principal_axes
from cloudchamber.search.methods.base import STRENGTH, Counts, Method, differences, log_gaussian_bayes_factor
from cloudchamber.search.sample import Bank, FloatArray, Sample
from cloudchamber.stats.metrics import quantiles

_LINES = 256  # at random in whitened space
_ORDERS = np.arange(1, 7)  # of the polynomials
_QUANTILES = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class Ranks:
    """Legendre polynomials of an event's rank along each direction, as in Neyman's smooth test.

    Ranks have no tail, so neither has the statistic. A polynomial of order j has the variance 1 / j^2: signals are smooth.
    """

    along_FL: FloatArray
    quantile_QL: FloatArray

    def __call__(self, features_MF: FloatArray) -> Iterator[FloatArray]:
        """(M, J) for each of the L directions."""
        for x_M, quantile_Q in zip((features_MF @ self.along_FL).T, self.quantile_QL.T, strict=True):
            rank_M = np.interp(x_M, quantile_Q, _QUANTILES)
            yield eval_legendre(_ORDERS, 2 * rank_M[:, None] - 1) * np.sqrt(2 * _ORDERS + 1) / _ORDERS


@dataclass(frozen=True)
class Direction:
    """What a pool's events look like along each direction, in axes of unit variance; a signal is along one, of any shape."""

    ranks: Ranks
    axes: tuple[FloatArray, ...]  # of each direction: (J, its A) to unit variance
    phi_NA: NDArray[np.float32]
    prior_A: FloatArray  # variance of a signal, in units of the noise's
    columns: int  # the first of the directions; the others are lines
    names: tuple[str, ...] = ("column", "line")

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 2) log Bayes factors."""
        log_TL = self._log_TL(self._z_TA(data_TN, reference_TN))
        blocks = (log_TL[:, : self.columns], log_TL[:, self.columns :])
        return np.stack([logsumexp(log, axis=1) - np.log(log.shape[1]) for log in blocks], axis=1)

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the witness: the posterior mean of the change along each direction, averaged over their posterior."""
        z_TA = self._z_TA(data_N[None], reference_N[None])
        log_L = self._log_TL(z_TA)[0]
        log_L[: self.columns] -= np.log(self.columns)  # the two sub-tests alike, however many directions each has
        log_L[self.columns :] -= np.log(len(log_L) - self.columns)
        weight_L = np.split(z_TA[0] * self.prior_A / (1 + self.prior_A), self._first_L[1:])
        witnesses = zip(softmax(log_L), self.ranks(features_MF), self.axes, weight_L, strict=True)
        return np.asarray(sum(share * (of_MJ @ (axes_JA @ weight_A)) for share, of_MJ, axes_JA, weight_A in witnesses))

    def _z_TA(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        mean_TA, worth_T = differences(self.phi_NA, data_TN, reference_TN)
        return mean_TA * np.sqrt(worth_T)[:, None]

    def _log_TL(self, z_TA: FloatArray) -> FloatArray:
        return np.asarray(np.add.reduceat(log_gaussian_bayes_factor(z_TA, self.prior_A), self._first_L, axis=1))

    @property
    def _first_L(self) -> NDArray[np.intp]:
        return np.cumsum([0, *(axes_JA.shape[1] for axes_JA in self.axes[:-1])])


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Direction:  # noqa: ARG001  (any difference needs no bank)
    """The test on a pool."""
    x_NF, whiten_FW = pool.features_NF, feature_map(pool, seed, widths=()).whiten_FW
    columns_FL = np.eye(x_NF.shape[1])[:, np.ptp(x_NF[pool.weights_N > 0], axis=0) > 0]
    lines_WL = np.random.default_rng((seed, 6)).normal(size=(whiten_FW.shape[1], _LINES))
    along_FL = np.concatenate([columns_FL, whiten_FW @ lines_WL], axis=1)
    there = pool.weights_N > 0
    quantile_LQ = [quantiles(x_N, _QUANTILES, pool.weights_N[there]) for x_N in (x_NF[there] @ along_FL).T]
    ranks = Ranks(along_FL, np.array(quantile_LQ).T)
    axes, phi, prior = [], [], []
    for of_NJ in ranks(x_NF):
        axes_JA, variance_A = principal_axes(of_NJ, pool.weights_N)
        axes.append(axes_JA)
        phi.append((of_NJ @ axes_JA).astype(np.float32))
        prior.append(STRENGTH**2 * variance_A / variance_A.sum())
    return Direction(ranks, tuple(axes), np.concatenate(phi, axis=1), np.concatenate(prior), columns_FL.shape[1])


METHOD = Method(
    name="direction",
    role="broad",
    needs_bank=False,
    log_ratio=True,
    citation="Skand. Aktuarietidskr. 20 (1937) 149",
    prepare=prepare,
)
