"""Means, widths and correlations: a log Bayes factor for a change of any first or second moment, all alike."""

# T toy, N event, M event to score, W whitened direction, D moment, A principal axis

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search.features import FeatureMap, feature_map, principal_axes
from cloudchamber.search.methods.base import STRENGTH, Counts, Method, differences, log_gaussian_bayes_factor
from cloudchamber.search.sample import Bank, FloatArray, Sample

_DIRECTIONS = 10  # leading ones, whose 65 moments a signal can still share
_FAR = 4.0  # standard deviations at which an event stops to count for more: otherwise the farthest decide


@dataclass(frozen=True)
class Moments:
    """The moments of a pool. The kernel's wide widths see means before anything else; here a signal is as likely in each."""

    phi: FeatureMap
    moments_ND: NDArray[np.float32]
    axes_DA: FloatArray
    names: tuple[str, ...] = ("second order",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, 1) log Bayes factor of a Gaussian prior (Wakefield), for a signal of STRENGTH standard deviations in all."""
        mean_TD, worth_T = differences(self.moments_ND, data_TN, reference_TN)
        z_TA = (mean_TD @ self.axes_DA) * np.sqrt(worth_T)[:, None]
        return np.asarray(log_gaussian_bayes_factor(z_TA, STRENGTH**2 / z_TA.shape[1]).sum(axis=1, keepdims=True))

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the discriminant of these moments: the difference of data and reference, at each event."""
        mean_TD, _ = differences(self.moments_ND, data_N[None], reference_N[None])
        return np.asarray(_moments(self.phi, features_MF) @ (self.axes_DA @ (mean_TD[0] @ self.axes_DA)), dtype=np.float64)


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Moments:  # noqa: ARG001  (any difference needs no bank)
    """The test on a pool."""
    phi = feature_map(pool, seed, widths=(), directions=_DIRECTIONS)
    moments_ND = _moments(phi, pool.features_NF)
    return Moments(phi, moments_ND, principal_axes(moments_ND, pool.weights_N)[0])


def _moments(phi: FeatureMap, features_NF: FloatArray) -> NDArray[np.float32]:
    """(N, D) whitened directions and their products of two."""
    x_NW = np.clip(phi(features_NF), -_FAR, _FAR)
    i, j = np.triu_indices(x_NW.shape[1])
    return np.concatenate([x_NW, x_NW[:, i] * x_NW[:, j]], axis=1)


METHOD = Method(
    name="moments",
    role="broad",
    needs_bank=False,
    log_ratio=True,
    citation="Genet. Epidemiol. 33 (2009) 79",
    prepare=prepare,
)
