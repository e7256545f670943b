"""Ratio: how much more likely an event is under a signal of the bank than under the background, learned once per pool.

It is learned from signals against the whole pool, never from which events are data: so it is the same in every toy, and a
permutation test with it is exact. What little signal the pool holds changes the ratio by a monotone function only.
"""

# T toy, N event of the pool, M other event, S signal, D feature

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from cloudchamber.search.features import FeatureMap, feature_map
from cloudchamber.search.methods.base import STRENGTH, Counts, differences
from cloudchamber.search.sample import Bank, FloatArray, Sample

_WIDTHS, _RANDOM = (0.6, 1.5), 50
_PRECISIONS = (8.0**-2, 1e6)  # of the weights' prior: the least and the largest
_FREE = 1e-6  # precision of the constant's prior
_STEPS, _CONVERGED, _LONGEST = 15, 1e-2, 5.0  # of Newton's method; the last bounds a step
_CLIP = 30.0  # of log ratios, against overflow
_TRAINING = 4000  # events of the pool that a ratio is learned from, in each of two folds


@dataclass(frozen=True)
class Ratios:
    """Log ratios of several signals, learned in two folds: an event of the pool is judged by the fold that lacks it."""

    phi: FeatureMap
    weights_2SD: FloatArray
    log_SN: FloatArray  # of the pool's events

    def __call__(self, features_MF: FloatArray) -> FloatArray:
        """(S, M) log ratios of other events: the mean of the folds."""
        return np.asarray(self.weights_2SD.mean(0) @ with_constant(self.phi(features_MF)).T, dtype=np.float64)


def learn(pool: Sample, signals: tuple[Sample, ...], seed: int) -> Ratios:
    """Logistic regressions in linear and random features, with a Gaussian prior on the weights of each kind."""
    phi = feature_map(pool, seed, widths=_WIDTHS, random=_RANDOM)
    phi_ND = with_constant(phi(pool.features_NF))
    rng = np.random.default_rng((seed, 1))
    order = rng.permutation(len(pool))
    folds = [np.sort(order[i::2]) for i in range(2)]
    weights_2SD = np.empty((2, len(signals), phi_ND.shape[1]))
    log_SN = np.empty((len(signals), len(pool)))
    signal_phi = [with_constant(phi(s.features_NF)) for s in signals]
    blocks = [slice(b.start + 1, b.stop + 1) for b in phi.blocks.values()]
    for fold, own in enumerate(folds):
        rows = own if len(own) <= _TRAINING else rng.choice(own, _TRAINING, replace=False)
        for s, sample in enumerate(signals):
            weights_2SD[fold, s] = logistic(signal_phi[s], sample.weights_N, phi_ND[rows], pool.weights_N[rows], blocks)
        other = folds[1 - fold]
        log_SN[:, other] = weights_2SD[fold] @ phi_ND[other].T
    return Ratios(phi, weights_2SD, log_SN)


def smoothed(ratios: Ratios, theta_SP: FloatArray, grid_GP: FloatArray) -> Ratios:
    """The ratios at other parameters: every weight as a polynomial of the parameters, as far as the signals determine it."""
    centre_P, scale_P = theta_SP.mean(0), theta_SP.std(0) + 1e-12
    basis_SB, basis_GB = (_polynomial((t - centre_P) / scale_P, len(theta_SP)) for t in (theta_SP, grid_GP))
    interpolate_GS = basis_GB @ np.linalg.pinv(basis_SB)
    return Ratios(ratios.phi, np.einsum("gs,fsd->fgd", interpolate_GS, ratios.weights_2SD), interpolate_GS @ ratios.log_SN)


def with_constant(phi_ND: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D + 1): a column of ones in front."""
    return np.concatenate([np.ones((len(phi_ND), 1), np.float32), phi_ND], axis=1)


def logistic(
    signal_MD: NDArray[np.float32],
    signal_M: FloatArray,
    pool_ND: NDArray[np.float32],
    pool_N: FloatArray,
    blocks: Sequence[slice],
) -> FloatArray:
    """(D,) weights of the log density ratio of two weighted samples: the first column is a constant, without a prior.

    blocks: columns whose weights share a Gaussian prior. Its precision is re-estimated at every step of Newton's method from
    the weights and how well they are determined, which ends at the largest evidence (MacKay, Neural Comput. 4 (1992) 720).
    """
    x_XD = np.concatenate([signal_MD, pool_ND]).astype(np.float64)
    y_X = np.repeat([1.0, 0.0], [len(signal_MD), len(pool_ND)])
    share_X = np.concatenate([signal_M * len(signal_M) / signal_M.sum(), pool_N * len(pool_N) / pool_N.sum()])
    weight_D, prior_D = np.zeros(x_XD.shape[1]), np.ones(x_XD.shape[1])
    prior_D[0] = _FREE
    for _ in range(_STEPS):
        p_X = expit(x_XD @ weight_D)
        gradient_D = x_XD.T @ (share_X * (y_X - p_X)) - prior_D * weight_D
        covariance_DD = np.linalg.inv((x_XD * (share_X * p_X * (1 - p_X))[:, None]).T @ x_XD + np.diag(prior_D))
        step_D = covariance_DD @ gradient_D
        step_D *= min(1.0, _LONGEST / (np.abs(step_D).max() + 1e-300))
        weight_D = weight_D + step_D
        if np.abs(step_D).max() < _CONVERGED:
            break
        for b in blocks:
            determined = b.stop - b.start - prior_D[b.start] * np.trace(covariance_DD[b, b])
            prior_D[b] = np.clip(determined / max(float((weight_D[b] ** 2).sum()), 1e-300), *_PRECISIONS)
    weight_D[0] += np.log(len(pool_N) / len(signal_M))  # from odds to densities
    return weight_D


@dataclass(frozen=True)
class NeymanPearson:
    """Scores log(1 + f (r - 1)) of a signal's density ratio r, best for a fraction f; made for a pool of events.

    mean_S: of the estimated ratio over the pool, by which it is divided, since that of a density ratio is 1. f_S: the
    fraction at which as many data and reference events as there are in the pool, in equal parts, are worth STRENGTH standard
    deviations. A weak signal is so judged by its ratio, a strong one by the logarithm.
    """

    mean_S: FloatArray
    fraction_S: FloatArray

    def __call__(self, log_SN: FloatArray) -> NDArray[np.float32]:
        """(S, N) scores from log ratios."""
        ratio_SN = np.exp(np.clip(log_SN, -_CLIP, _CLIP)) / self.mean_S[:, None]
        return np.log1p(self.fraction_S[:, None] * (ratio_SN - 1)).astype(np.float32)

    @classmethod
    def of(cls, log_SN: FloatArray, weight_N: FloatArray) -> NeymanPearson:
        """For the events of a pool."""
        ratio_SN = np.exp(np.clip(log_SN, -_CLIP, _CLIP))
        mean_S = ratio_SN @ weight_N / weight_N.sum()
        worth = weight_N.sum() / 4
        return cls(mean_S, np.array([_fraction(r / m, weight_N, worth) for r, m in zip(ratio_SN, mean_S, strict=True)]))


def significances(score_SN: NDArray[np.float32], weight_N: FloatArray, data_TN: Counts, reference_TN: Counts) -> FloatArray:
    """(T, S) difference of the mean score in data and reference, in its standard deviations."""
    mean_TS, worth_T = differences(score_SN.T, data_TN, reference_TN)
    centre_S = np.average(score_SN, axis=1, weights=weight_N)
    spread_S = np.sqrt(np.average((score_SN - centre_S[:, None]) ** 2, axis=1, weights=weight_N))
    return np.asarray(mean_TS / np.maximum(spread_S, 1e-12) * np.sqrt(worth_T)[:, None], dtype=np.float64)


def parts(bank: Bank) -> tuple[Sample, ...]:
    """The signals of a bank, one sample each."""
    return tuple(bank.of(s) for s in range(len(bank.names)))


def _fraction(ratio_N: FloatArray, weight_N: FloatArray, worth: float) -> float:
    def excess(log_f: float) -> float:
        score_N = np.log1p(np.exp(log_f) * (ratio_N - 1))
        mean, shift = (np.average(x, weights=weight_N) for x in (score_N, (ratio_N - 1) * score_N))
        spread = np.sqrt(np.average((score_N - mean) ** 2, weights=weight_N)) + 1e-300
        return float(np.exp(log_f) * shift / spread * np.sqrt(worth) - STRENGTH)

    low, high = np.log(1e-6), np.log(0.5)
    if excess(high) < 0 or excess(low) > 0:
        return float(np.exp(high if excess(high) < 0 else low))
    return float(np.exp(brentq(excess, low, high, xtol=1e-3)))


def _polynomial(theta_GP: FloatArray, signals: int) -> FloatArray:
    """(G, B) 1, the parameters, and their products of two if there are signals enough for them."""
    P = theta_GP.shape[1]
    columns = [np.ones(len(theta_GP)), *theta_GP.T]
    if signals >= (P + 1) * (P + 2) // 2:
        columns += [theta_GP[:, i] * theta_GP[:, j] for i in range(P) for j in range(i, P)]
    return np.stack(columns, axis=1)
