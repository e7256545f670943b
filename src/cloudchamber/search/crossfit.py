"""Cross-fit: data against reference, learned anew for every toy on one half of the events and applied to the other."""

# T toy, N event of the pool, M other event, A principal axis, K cut

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search.features import FeatureMap, feature_map, principal_axes
from cloudchamber.search.methods.base import STRENGTH, Counts, differences, totals, worth
from cloudchamber.search.sample import FloatArray, Sample

CUTS = (0.1, 0.01)  # share of the pool that is kept


@dataclass(frozen=True)
class Discriminants:
    """Linear discriminants in random features, for all toys at once: the axes of the pool do not change with its labels.

    prior_A: variance of a signal along each axis in units of the noise's in a half, as in the kernel test; the posterior
    mean of the difference is a ridge-regularised Fisher discriminant.
    """

    phi: FeatureMap
    axes_DA: FloatArray
    z_NA: NDArray[np.float32]
    prior_A: FloatArray
    folds: tuple[NDArray[np.int64], NDArray[np.int64]]

    def trained(self, data_TN: Counts, reference_TN: Counts) -> tuple[FloatArray, FloatArray]:
        """(T, A) the discriminant that each half teaches."""
        learned = []
        for rows in self.folds:
            mean_TA, worth_T = differences(self.z_NA[rows], data_TN[:, rows], reference_TN[:, rows])
            learned.append(mean_TA * np.sqrt(worth_T)[:, None] * self.prior_A / (1 + self.prior_A))
        return learned[0], learned[1]

    def scores(self, data_TN: Counts, reference_TN: Counts) -> NDArray[np.float32]:
        """(T, N) the score of each event of the pool by the half that it is not in."""
        score_TN = np.empty_like(data_TN)
        for weight_TA, rows in zip(self.trained(data_TN, reference_TN), self.folds[::-1], strict=True):
            score_TN[:, rows] = weight_TA.astype(np.float32) @ self.z_NA[rows].T
        return score_TN

    def scores_of(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the mean score of both halves, for events outside the pool as well."""
        first_TA, second_TA = self.trained(data_N[None], reference_N[None])
        return np.asarray(self.phi(features_MF) @ (self.axes_DA @ (first_TA + second_TA)[0] / 2), dtype=np.float64)


def discriminants(pool: Sample, seed: int) -> Discriminants:
    """The part that all toys share."""
    phi = feature_map(pool, seed)
    phi_ND = phi(pool.features_NF)
    scale_D = np.concatenate([np.full(b.stop - b.start, phi_ND[:, b].var(0).sum() ** -0.5) for b in phi.blocks.values()])
    axes_DA, variance_A = principal_axes(phi_ND * scale_D, pool.weights_N)
    axes_DA = axes_DA * scale_D[:, None]
    return Discriminants(
        phi,
        axes_DA,
        ((phi_ND - np.average(phi_ND, axis=0, weights=pool.weights_N)) @ axes_DA).astype(np.float32),
        STRENGTH**2 / 2 * variance_A / variance_A.sum(),
        halves(len(pool), seed),
    )


def halves(events: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of two halves, at random."""
    order = np.random.default_rng((seed, 2)).permutation(events)
    return np.sort(order[0::2]), np.sort(order[1::2])


def cut_significances(
    score_TN: NDArray[np.float32], folds: tuple[NDArray[np.int64], ...], data_TN: Counts, reference_TN: Counts
) -> FloatArray:
    """(T, K) excess of data among the events of largest score in each half, in standard deviations, for every cut."""
    columns = []
    for share in CUTS:
        passed_TN = np.zeros_like(data_TN)
        for rows in folds:
            kept = max(1, round(share * len(rows)))
            top_TR = np.argpartition(score_TN[:, rows], -kept, axis=1)[:, -kept:]
            np.put_along_axis(passed_TN, rows[top_TR], 1.0, axis=1)
        data_T, ref_T = totals(data_TN), totals(reference_TN)
        excess_T = (data_TN * passed_TN).sum(1) / data_T - (reference_TN * passed_TN).sum(1) / ref_T
        variance_T = share * (1 - share) / worth(data_TN, reference_TN)
        columns.append(excess_T / np.sqrt(variance_T))
    return np.stack(columns, axis=1).astype(np.float64)
