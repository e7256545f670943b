"""Gaussian events: background N(0, 1) in every feature, signals shifted by a given length; every likelihood ratio is known."""

# T toy, N event of the pool, S signal, F feature

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloudchamber.search.calibrate import Permutations, calibrate, null_statistics
from cloudchamber.search.knob import knob
from cloudchamber.search.sample import Bank, Sample
from cloudchamber.search.suite import suite

Array = NDArray[np.float64]
METHODS = ("bank", "weak", "kernel")
SETTINGS = (0.1, 0.5, 0.9)


@dataclass(frozen=True)
class Pipeline:
    """One search from the start: seed, events of data and reference together, features, signals of the bank, toys."""

    seed: int
    events: int
    features: int = 6
    signals: int = 4
    toys: int = 396  # 198 for sub-tests, 99 for settings, 99 for the joint: 1 % and 5 % are then whole ranks


@dataclass(frozen=True)
class Found:
    """Of one pipeline: rank of the data among its joint toys, their number, smallest local p, in [0, 1] a uniform number."""

    above: int
    toys: int
    naive: float
    uniform: float


def run(pipeline: Pipeline) -> Found:
    """A search without a signal: events, bank, features, every method and its calibration made anew."""
    rng = np.random.default_rng((pipeline.seed, 11))
    pool = Sample(rng.normal(size=(pipeline.events, pipeline.features)))
    test = suite(pool, bank(rng, directions(rng, pipeline.signals, pipeline.features), 2.0, 100), METHODS, pipeline.seed)
    data = pipeline.events // 2
    toys = Permutations(pipeline.events, data, seed=pipeline.seed, size=pipeline.toys)
    calibration = calibrate(knob(test, SETTINGS), null_statistics(test, toys, pipeline.toys), test.names)
    labels_1N = (np.arange(pipeline.events) < data).astype(np.float32)[None]
    verdict = calibration.judge(test.statistics(labels_1N, 1 - labels_1N)[0])
    above = round(verdict.global_p.value * (verdict.global_p.n + 1)) - 1
    return Found(above, verdict.global_p.n, min(p.value for p in verdict.local.values()), float(rng.random()))


@dataclass(frozen=True)
class Tail:
    """A pool whose features and ratios stay as they are, and how many toys are made and judged with it."""

    seed: int
    events: int
    toys: int
    features: int = 6
    alpha: float = 1.35e-3


def false_alarms(tail: Tail) -> tuple[int, int, int]:
    """How many toys have a global p-value of at most alpha, a smallest local p-value of at most alpha; how many there are."""
    rng = np.random.default_rng((tail.seed, 12))
    pool = Sample(rng.normal(size=(tail.events, tail.features)))
    test = suite(pool, bank(rng, directions(rng, 4, tail.features), 2.0, 100), METHODS, tail.seed)
    null, fresh = (
        null_statistics(test, Permutations(tail.events, tail.events // 2, seed=1000 * tail.seed + i, size=512), n)
        for i, n in enumerate((2 * tail.toys, tail.toys))
    )
    calibration = calibrate(knob(test), null, test.names)
    naive = int((calibration.local_p(fresh).min(axis=1) <= tail.alpha).sum())
    return int((calibration.global_p(fresh) <= tail.alpha).sum()), naive, len(fresh)


def directions(rng: np.random.Generator, signals: int, features: int) -> Array:
    """(S, F) unit vectors."""
    u_SF = rng.normal(size=(signals, features))
    return u_SF / np.linalg.norm(u_SF, axis=1, keepdims=True)


def bank(rng: np.random.Generator, u_SF: Array, shift: float, events: int) -> Bank:
    """Events of signals shifted along these directions."""
    signal_N = np.repeat(np.arange(len(u_SF)), events)
    x_NF = rng.normal(size=(len(signal_N), u_SF.shape[1])) + shift * u_SF[signal_N]
    return Bank(Sample(x_NF), signal_N, tuple(f"signal {s}" for s in range(len(u_SF))))


@dataclass(frozen=True)
class Drawn:
    """Toys whose data and reference are drawn from one pool of background events.

    data, reference: how many of them, on average. tilt_SN: density ratio of each signal less 1, of mean 0 and unit variance
    over the pool; each toy has one signal. strength: in standard deviations of the best test that is linear in the ratio.
    """

    pool: int
    data: int
    reference: int
    seed: int
    tilt_SN: Array | None = None
    strength: float = 0.0
    size: int = 250

    def chunk(self, number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(T, N) data and reference."""
        rng = np.random.default_rng((self.seed, number))
        rate_TN = np.full((self.size, self.pool), self.data / self.pool)
        if self.tilt_SN is not None:
            scale = self.strength * np.sqrt(1 / self.data + 1 / self.reference)
            rate_TN *= np.maximum(1 + scale * self.tilt_SN[rng.integers(len(self.tilt_SN), size=self.size)], 0)
        reference_TN = rng.poisson(self.reference / self.pool, rate_TN.shape)
        return rng.poisson(rate_TN).astype(np.float32), reference_TN.astype(np.float32)
