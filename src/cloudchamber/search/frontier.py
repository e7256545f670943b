"""Frontier: what each setting of the knob would see, in the bank and outside of it, where no signal needs a name."""

# T toy, N event of the pool, K sub-test, L setting of the knob, E signal of an ensemble, R random feature

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search import ratio
from cloudchamber.search.calibrate import CHUNK, Calibration, calibrate
from cloudchamber.search.features import feature_map
from cloudchamber.search.knob import Knob
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import Bank, FloatArray, Sample

_DISTANCES = (0.5, 1.0, 2.0)  # of unseen signals' shapes, in median distances between events
_REACH = 10  # toys of the null beyond the threshold


@dataclass(frozen=True)
class Frontier:
    """Which toys with a signal each setting, calibrated by itself, claims at a false-alarm rate alpha.

    known_TL: signals of the bank; unseen_TL: those that no bank knows.
    """

    settings: tuple[float, ...]
    known_TL: NDArray[np.bool_]
    unseen_TL: NDArray[np.bool_]
    alpha: float

    @property
    def known_L(self) -> FloatArray:
        """The power against signals of the bank."""
        return np.asarray(self.known_TL.mean(axis=0))

    @property
    def unseen_L(self) -> FloatArray:
        """The power against unseen signals."""
        return np.asarray(self.unseen_TL.mean(axis=0))

    @property
    def error_L(self) -> FloatArray:
        """Of either power, binomial, at most."""
        of = [saw_TL.std(axis=0) / len(saw_TL) ** 0.5 for saw_TL in (self.known_TL, self.unseen_TL)]
        return np.asarray(np.max(of, axis=0))


def frontier(knob: Knob, null_TK: FloatArray, known_TK: FloatArray, unseen_TK: FloatArray, alpha: float = 1.35e-3) -> Frontier:
    """What every setting sees, from the statistics of toys without a signal, with one of the bank, and with an unseen one.

    alpha is raised to what the null can tell.
    """
    alpha = max(alpha, _REACH / (len(null_TK) / 2))
    saw: list[list[NDArray[np.bool_]]] = []
    for i, setting in enumerate(knob.settings):
        one: Calibration = calibrate(replace(knob, settings=(setting,), shares_LK=knob.shares_LK[i : i + 1]), null_TK)
        saw.append([one.global_p(s) <= alpha for s in (known_TK, unseen_TK)])
    known_TL, unseen_TL = (np.stack(of, axis=1) for of in zip(*saw, strict=True))
    return Frontier(knob.settings, known_TL, unseen_TL, alpha)


@dataclass(frozen=True)
class Tilted:
    """Toys with a signal, for the frontier: data drawn from the pool with a density ratio, the rest is the reference.

    tilt_EN: density ratio of each signal less 1, of mean 0 and unit variance over the pool. strength: in Neyman-Pearson
    standard deviations for these numbers of events, as far as the signal is weak.
    """

    tilt_EN: FloatArray
    data: int
    strength: float
    seed: int
    size: int = CHUNK

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) each; every toy has one of the signals."""
        rng = np.random.default_rng((self.seed, number, 7))
        events = self.tilt_EN.shape[1]
        scale = self.strength / np.sqrt(self.data * (events - self.data) / events)
        tilt_TN = self.tilt_EN[rng.integers(len(self.tilt_EN), size=self.size)]
        # With logistic noise the odds of being data, not reference, are in proportion to the density ratio.
        key_TN = np.log(np.maximum(1 + scale * tilt_TN, 1e-12)) + rng.logistic(size=tilt_TN.shape)
        data_TN = np.zeros(tilt_TN.shape, np.float32)
        np.put_along_axis(data_TN, np.argpartition(key_TN, -self.data, axis=1)[:, -self.data :], 1.0, axis=1)
        return data_TN, 1 - data_TN


def known_tilts(pool: Sample, bank: Bank, seed: int) -> FloatArray:
    """(E, N) density ratios of the bank's signals, as far as they are known from their events."""
    log_SN = ratio.learn(pool, ratio.parts(bank), seed).log_SN
    return np.stack([standardised(np.asarray(np.exp(np.clip(log_N, -20, 20)), dtype=np.float64)) for log_N in log_SN])


def unseen_tilts(pool: Sample, number: int, seed: int) -> FloatArray:
    """(E, N) smooth density ratios that no bank knows: random functions of three ranges, on the whitened features."""
    rng = np.random.default_rng((seed, 3))
    tilts = []
    for e in range(number):
        phi = feature_map(pool, int(rng.integers(1 << 31)), widths=(_DISTANCES[e % len(_DISTANCES)],), random=50)
        phi_NR = phi(pool.features_NF)[:, phi.blocks[next(n for n in phi.blocks if n != "linear")]]
        tilts.append(standardised(np.asarray(phi_NR @ rng.normal(size=phi_NR.shape[1]), dtype=np.float64)))
    return np.stack(tilts)


def standardised(values_N: FloatArray) -> FloatArray:
    """(N,) with mean 0 and unit variance."""
    return np.asarray((values_N - values_N.mean()) / values_N.std(), dtype=np.float64)
