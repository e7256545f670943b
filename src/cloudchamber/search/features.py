"""Features of a search: whitened columns, random Fourier features of several widths, and bells about some of the events."""

# N event, F feature, W whitened direction, R random feature of a width, C centre of a bell, D all of them

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search.sample import FloatArray, Sample

WIDTHS = (0.3, 0.6, 1.0, 2.0)  # times the median distance between two events
RANDOM = 100  # per width
_FLOOR = 1e-6  # of the largest variance: directions below it are copies of others
_PAIRS = 2000
_BELLS = 400
_SHARES = (0.005, 0.2)  # of the events that lie within the width of a bell
_FEWEST, _MOST = 5, 4000  # of them; events that widths are measured with


@dataclass(frozen=True)
class FeatureMap:
    """phi(x): what linear methods work on. `blocks` says which columns belong together: "linear", then one per width.

    A random Fourier feature sqrt(2 / R) cos(w x + b) with Gaussian w makes inner products Gaussian kernels
    (Rahimi and Recht, NIPS 2007).
    """

    mean_F: FloatArray
    whiten_FW: FloatArray
    frequency_WR: FloatArray  # all widths side by side
    phase_R: FloatArray
    blocks: dict[str, slice]

    def __call__(self, features_NF: FloatArray) -> NDArray[np.float32]:
        """(N, D) features of events."""
        x_NW = ((features_NF - self.mean_F) @ self.whiten_FW).astype(np.float32)
        if not self.frequency_WR.size:
            return x_NW
        per_width = self.frequency_WR.shape[1] // (len(self.blocks) - 1)
        angle_NR = x_NW @ self.frequency_WR.astype(np.float32) + self.phase_R.astype(np.float32)
        return np.concatenate([x_NW, np.cos(angle_NR) * np.float32(np.sqrt(2 / per_width))], axis=1)


def feature_map(
    sample: Sample, seed: int, *, widths: tuple[float, ...] = WIDTHS, random: int = RANDOM, directions: int | None = None
) -> FeatureMap:
    """The map for events like those of `sample`, whose labels (data or reference) it does not look at.

    widths: in units of the median distance between events. directions: only the leading ones of the covariance.
    """
    rng = np.random.default_rng(seed)
    x_NF, weight_N = sample.features_NF, sample.weights_N
    mean_F = np.average(x_NF, axis=0, weights=weight_N)
    whiten_FW, variance_W = principal_axes(x_NF - mean_F, weight_N)
    whiten_FW = whiten_FW[:, np.argsort(variance_W)[::-1][:directions]]
    W = whiten_FW.shape[1]
    first, second = rng.integers(len(sample), size=(2, _PAIRS))
    distance = np.linalg.norm((x_NF[first] - x_NF[second]) @ whiten_FW, axis=1)
    median = float(np.median(distance[first != second]))
    frequency = [rng.normal(size=(W, random)) / (factor * median) for factor in widths]
    blocks = {"linear": slice(0, W)}
    blocks |= {f"width {f:g}": slice(W + i * random, W + (i + 1) * random) for i, f in enumerate(widths)}
    frequency_WR = np.concatenate(frequency, axis=1) if frequency else np.empty((W, 0))
    phase_R = rng.uniform(0, 2 * np.pi, size=(frequency_WR.shape[1],))
    return FeatureMap(mean_F, whiten_FW, frequency_WR, phase_R, blocks)


@dataclass(frozen=True)
class Bells:
    """Gaussian bells about some of the events in whitened space, of unit variance over all of them.

    Each is as wide as a share of the events is near, so that they are narrow where events are dense, in any number of columns.
    """

    linear: FeatureMap
    centre_CW: NDArray[np.float32]
    width_C: FloatArray
    scale_C: FloatArray

    def __call__(self, features_NF: FloatArray) -> NDArray[np.float32]:
        """(N, C)."""
        d2_NC = _squared_distances(self.linear(features_NF), self.centre_CW)
        bell_NC = np.exp(d2_NC * (-0.5 / self.width_C**2).astype(np.float32)) * self.scale_C.astype(np.float32)
        return np.asarray(bell_NC, dtype=np.float32)


def bells(sample: Sample, seed: int) -> Bells:
    """Bells for events like those of `sample`, whose labels it does not look at: places at random, widths too."""
    rng = np.random.default_rng((seed, 5))
    linear, weight_N = feature_map(sample, seed, widths=()), sample.weights_N
    x_NW = linear(sample.features_NF)
    held = np.flatnonzero(weight_N)
    centre_CW = x_NW[rng.choice(held, min(_BELLS, len(held)), replace=False, p=weight_N[held] / weight_N[held].sum())]
    near = held if len(held) <= _MOST else rng.choice(held, _MOST, replace=False)
    low, high = np.log(_SHARES)
    rank_C = np.maximum(np.exp(rng.uniform(low, high, len(centre_CW))) * len(near), min(_FEWEST, len(near) - 1)).astype(int)
    d2_NC = np.sort(_squared_distances(x_NW[near], centre_CW), axis=0)
    width_C = np.sqrt(np.maximum(d2_NC[rank_C, np.arange(len(centre_CW))], 1e-6)).astype(np.float64)
    made = Bells(linear, centre_CW, width_C, np.ones(len(centre_CW)))
    value_NC = made(sample.features_NF)
    mean_C, square_C = (np.average(v, axis=0, weights=weight_N) for v in (value_NC, value_NC.astype(np.float64) ** 2))
    return replace(made, scale_C=1 / np.sqrt(np.maximum(square_C - mean_C**2, 1e-12)))


def _squared_distances(x_NW: NDArray[np.float32], centre_CW: NDArray[np.float32]) -> NDArray[np.float32]:
    square_NC = (x_NW**2).sum(1)[:, None] + (centre_CW**2).sum(1) - 2 * x_NW @ centre_CW.T
    return np.asarray(np.maximum(square_NC, 0), dtype=np.float32)


def principal_axes(phi_ND: NDArray[Any], weight_N: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(D, A) axes in which the features have unit variance, and (A,) the variance they had; flat directions are left out."""
    centred_ND = phi_ND - np.average(phi_ND, axis=0, weights=weight_N)
    variance_D, axes_DD = np.linalg.eigh((centred_ND * weight_N[:, None]).T @ centred_ND / weight_N.sum())
    keep = variance_D > _FLOOR * variance_D.max()
    return axes_DD[:, keep] / np.sqrt(variance_D[keep]), variance_D[keep]
