"""Template: the background of a region from the events around it, and pseudo-experiments in which it is made anew.

A mean over the region is estimated by a weighted sum over events outside of it: a polynomial in mass fitted to the
sidebands, or ABCD. The weights do not depend on what is averaged: one set of them serves every feature and every method.
"""

# T toy, N event of the pool, D feature, A principal axis, P power of mass, B bin of mass, E member of the ensemble

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.search.calibrate import CHUNK
from cloudchamber.search.features import feature_map, principal_axes
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import FloatArray, Sample

Window = tuple[float, float]
_BINS = 24  # of mass on either side of a window: the spectrum inside follows from them
_SPECTRUM = 3  # degree of the logarithm of the spectrum (as the dijet function has: arXiv:0812.4036, eq. 7)
_NEWTON = 12
_CELLS = 20_000_000  # events times toys at once: some hundred MB
_RANDOM, _AXES = 60, 40  # random features per width, and leading directions, in which pseudo-data follow the template


class Estimate(Protocol):
    """The background of a region as a weighted sum over other events."""

    @property
    def outside_N(self) -> NDArray[np.bool_]:
        """The events that it is made from."""
        ...

    @property
    def inside_N(self) -> NDArray[np.bool_]:
        """The events of the region."""
        ...

    @property
    def near_N(self) -> FloatArray:
        """(N,) how alike to those of the region events outside are thought to be, from 0 to 1."""
        ...

    def weights(self, count_TN: FloatArray) -> FloatArray:
        """(T, N) weights that sum to 1, 0 inside; made anew for samples in which each event occurs so often."""
        ...

    def expected(self, count_TN: FloatArray) -> FloatArray:
        """(T,) the number of events in the region without a signal."""
        ...


@dataclass(frozen=True)
class Sidebands:
    """Means as polynomials of mass, fitted by least squares to what lies in `limits` outside of the window and its guard.

    mass_N: [GeV] of every event of the pool. excluded: windows that may hold a signal and are left out as well.
    """

    mass_N: FloatArray
    window: Window
    limits: Window
    degree: int
    guard: float = 0.0
    excluded: tuple[Window, ...] = ()

    def __post_init__(self) -> None:
        low, high = self.window
        m = self.mass_N[self.outside_N]
        if (m < low).sum() < 10 * (self.degree + 1) or (m > high).sum() < 10 * (self.degree + 1):
            raise BadInput(
                f"window [{low:g}, {high:g}] has too few events beside it ({(m < low).sum()} below, {(m > high).sum()} above) "
                f"for a polynomial of degree {self.degree}"
            )

    @property
    def inside_N(self) -> NDArray[np.bool_]:
        """Events in the window."""
        return (self.mass_N >= self.window[0]) & (self.mass_N < self.window[1])

    @cached_property
    def outside_N(self) -> NDArray[np.bool_]:
        """Events of the sidebands."""
        used = (self.mass_N >= self.limits[0]) & (self.mass_N < self.limits[1])
        for low, high in (self.window, *self.excluded):
            used &= (self.mass_N < low - self.guard) | (self.mass_N >= high + self.guard)
        return used

    @property
    def near_N(self) -> FloatArray:
        """A Gaussian of mass around the window, as wide as the window is."""
        low, high = self.window
        return np.asarray(
            self.outside_N * np.exp(-0.5 * ((self.mass_N - (low + high) / 2) / (high - low)) ** 2), dtype=np.float64
        )

    def weights(self, count_TN: FloatArray) -> FloatArray:
        """(T, N) the polynomial's mean over the window, as a sum over the sidebands."""
        count = count_TN * self.outside_N
        P = self.degree + 1
        products_NQ = (self._powers_NP[:, :, None] * self._powers_NP[:, None, :]).reshape(-1, P * P)
        moments_TPP = (count @ products_NQ).reshape(-1, P, P)
        target_TP = self._spectrum(count)[1]
        weight_TN: FloatArray = count * (np.linalg.solve(moments_TPP, target_TP[:, :, None])[:, :, 0] @ self._powers_NP.T)
        return weight_TN

    def expected(self, count_TN: FloatArray) -> FloatArray:
        """(T,) from a smooth spectrum through the sidebands."""
        return self._spectrum(count_TN * self.outside_N)[0]

    def spectrum(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Low and high ends of bins of mass, the events in them, and the smooth spectrum through the sidebands."""
        low, high, _ = self._bins
        start, end = _edges(*self.window)
        order = np.argsort(np.concatenate([low, start]))
        low, high = (np.concatenate([a, b])[order] for a, b in ((low, start), (high, end)))
        events = np.array([((self.mass_N >= a) & (self.mass_N < b)).sum() for a, b in zip(low, high, strict=True)])
        x_BQ = np.polynomial.legendre.legvander(self._scaled((low + high) / 2), _SPECTRUM)
        theta_Q = self._rate(np.ones((1, len(self.mass_N))) * self.outside_N)[0]
        return low, high, events.astype(np.float64), np.exp(x_BQ @ theta_Q) * (high - low)

    def _scaled(self, mass: FloatArray) -> FloatArray:
        return np.asarray((2 * mass - sum(self.limits)) / (self.limits[1] - self.limits[0]), dtype=np.float64)

    @cached_property
    def _powers_NP(self) -> FloatArray:
        scaled_N = np.where(self.outside_N, self._scaled(self.mass_N), 0.0)
        return np.asarray(np.polynomial.legendre.legvander(scaled_N, self.degree), dtype=np.float64)

    @cached_property
    def _bins(self) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
        """Edges (B, 2) of bins without an excluded event, and each event's bin, B for none."""
        walls = sorted(
            {*self.limits, *(w for v in (self.window, *self.excluded) for w in (v[0] - self.guard, v[1] + self.guard))}
        )
        low, high = np.concatenate([_edges(a, b) for a, b in pairwise(walls)], axis=1)
        middle = (low + high) / 2
        kept = np.ones(len(middle), dtype=bool)
        for a, b in (self.window, *self.excluded):
            kept &= (middle < a - self.guard) | (middle >= b + self.guard)
        low, high = low[kept], high[kept]
        index = np.clip(np.searchsorted(low, self.mass_N, side="right") - 1, 0, None)
        return low, high, np.where(self.outside_N, index, len(low))

    def _rate(self, count_TN: FloatArray) -> FloatArray:
        """(T, Q) coefficients of ln(rate) as a polynomial of mass, by a Poisson fit to the sidebands."""
        low, high, index_N = self._bins
        seen_TB = np.stack([np.bincount(index_N, weights=c, minlength=len(low) + 1)[:-1] for c in count_TN])
        width_B = high - low
        x_BQ = np.polynomial.legendre.legvander(self._scaled((low + high) / 2), _SPECTRUM)
        theta_TQ = np.log((seen_TB + 0.5) / width_B) @ np.linalg.pinv(x_BQ).T
        for _ in range(_NEWTON):
            rate_TB = np.exp(np.clip(theta_TQ @ x_BQ.T, -50, 50)) * width_B
            slope_TQ = (seen_TB - rate_TB) @ x_BQ
            curvature_TQQ = np.einsum("tb,bq,br->tqr", rate_TB, x_BQ, x_BQ) + 1e-9 * np.eye(_SPECTRUM + 1)
            theta_TQ = theta_TQ + np.clip(np.linalg.solve(curvature_TQQ, slope_TQ[:, :, None])[:, :, 0], -2, 2)
        return np.asarray(theta_TQ, dtype=np.float64)

    def _spectrum(self, count_TN: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(T,) events and (T, P) mean powers of mass in the window."""
        theta_TQ = self._rate(count_TN)
        start, end = _edges(*self.window)
        fine = (start + end) / 2
        inside_TB = np.exp(theta_TQ @ np.polynomial.legendre.legvander(self._scaled(fine), _SPECTRUM).T) * (end - start)
        total_T = inside_TB.sum(1)
        powers_BP = np.polynomial.legendre.legvander(self._scaled(fine), self.degree)
        return total_T, (inside_TB @ powers_BP) / total_T[:, None]


@dataclass(frozen=True)
class Abcd:
    """Means and counts of region A from B, C and D, as for two selections that are independent without a signal.

    region_N: 0 both selections (A), 1 the first alone (B), 2 the second alone (C), 3 neither (D), 4 not used. A mean over A
    is that over B, plus the change from D to C: exact if the second selection shifts it alike with and without the first.
    """

    UNUSED: ClassVar[int] = 4
    region_N: NDArray[np.int64]

    def __post_init__(self) -> None:
        counts = np.bincount(self.region_N, minlength=5)
        if len(counts) != 5 or counts[1:4].min() < 2:
            raise BadInput(f"ABCD needs events in B, C and D, got {counts[1:4].tolist()}")

    @classmethod
    def of(cls, selection_2N: FloatArray, thresholds: tuple[float, float]) -> Abcd:
        """The regions of two variables, each passed at or above its threshold."""
        failed_2N = selection_2N < np.array(thresholds)[:, None]
        return cls(2 * failed_2N[0].astype(np.int64) + failed_2N[1])

    @property
    def inside_N(self) -> NDArray[np.bool_]:
        """Events of A."""
        return np.asarray(self.region_N == 0)

    @property
    def outside_N(self) -> NDArray[np.bool_]:
        """Events of B, C and D."""
        return np.asarray((self.region_N > 0) & (self.region_N < self.UNUSED))

    @property
    def near_N(self) -> FloatArray:
        """Those that pass one selection."""
        return np.asarray((self.region_N == 1) | (self.region_N == 2), dtype=np.float64)

    def weights(self, count_TN: FloatArray) -> FloatArray:
        """(T, N) mean of B + mean of C - mean of D."""
        factor_T5 = np.array([0.0, 1.0, 1.0, -1.0, 0.0]) / self._totals(count_TN)
        weight_TN: FloatArray = count_TN * factor_T5[:, self.region_N]
        return weight_TN

    def expected(self, count_TN: FloatArray) -> FloatArray:
        """(T,) B C / D."""
        total_T5 = self._totals(count_TN)
        return np.asarray(total_T5[:, 1] * total_T5[:, 2] / total_T5[:, 3], dtype=np.float64)

    def _totals(self, count_TN: FloatArray) -> FloatArray:
        of_NR = (self.region_N[:, None] == np.arange(5)).astype(np.float64)
        return np.asarray(np.maximum(count_TN @ of_NR, 1.0), dtype=np.float64)


@dataclass(frozen=True)
class TemplateToys:
    """Pseudo-experiments without a signal: data that follow a template, and the template made anew from a resampled outside.

    rate_EN: how often each event is expected in the data, if member e of the ensemble is the truth; weight_EN: the weights
    of its estimate. The first member judges, any may be the truth: where they differ, so do reference and data. Between
    truth and estimate lies what the estimate does in a bootstrap (Ann. Stat. 7 (1979) 1). inflation: of the estimate's
    variance, for what closure tests leave unexplained. member: the truth of all toys; without, each draws one. tilt_SN:
    relative changes of the rates by signals, of which each toy has one; none without.
    """

    estimate: Estimate
    rate_EN: FloatArray
    weight_EN: FloatArray
    seed: int
    inflation: float = 1.0
    size: int = CHUNK
    member: int | None = None
    tilt_SN: FloatArray | None = None

    @property
    def worth(self) -> float:
        """The number of events that the estimate is worth."""
        return float(1 / (self.weight_EN[0] ** 2).sum() / self.inflation)

    @property
    def reference_N(self) -> Counts:
        """(N,) the estimate itself, to compare the recorded data with."""
        return np.asarray(self.worth * self.weight_EN[0], dtype=np.float32)

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) data and (T, N) reference; a function of the chunk's number."""
        rng = np.random.default_rng((self.seed, number))
        member_T = rng.integers(len(self.rate_EN), size=self.size)
        if self.member is not None:
            member_T[:] = self.member
        rate_TN = self.rate_EN[member_T]
        if self.tilt_SN is not None:
            rate_TN = rate_TN * np.maximum(1 + self.tilt_SN[rng.integers(len(self.tilt_SN), size=self.size)], 0)
        data_TN = np.stack([_poisson(rng, rate_N) for rate_N in rate_TN])
        outside = np.flatnonzero(self.estimate.outside_N)
        total_T = rng.poisson(len(outside) / self.inflation, self.size)
        drawn = [np.bincount(outside[rng.integers(len(outside), size=n)], minlength=data_TN.shape[1]) for n in total_T]
        count_TN = np.asarray(self.inflation * np.stack(drawn), dtype=np.float64)
        truth_EN = self.rate_EN / self.rate_EN.sum(1, keepdims=True) - self.weight_EN
        reference_TN = self.estimate.weights(count_TN) + truth_EN[member_T]
        return data_TN.astype(np.float32), (self.worth * reference_TN).astype(np.float32)

    @property
    def members(self) -> tuple[TemplateToys, ...]:
        """The same, with each member as the truth of all toys."""
        return tuple(replace(self, member=e) for e in range(len(self.rate_EN)))

    def with_signals(self, tilt_SN: FloatArray, strength: float) -> TemplateToys:
        """The same with a signal in each toy. tilt_SN: density ratio of each signal less 1, of mean 0 and unit variance.

        strength: in Neyman-Pearson standard deviations for these numbers of events, as far as the signal is weak.
        """
        scale = strength * np.sqrt(1 / self.rate_EN[0].sum() + 1 / self.worth)
        return replace(self, tilt_SN=np.asarray(tilt_SN * scale, dtype=np.float64), seed=self.seed + 1)


def toys(pool: Sample, ensemble: tuple[Estimate, ...], events: float | None, seed: int, inflation: float = 1.0) -> TemplateToys:
    """Pseudo-experiments of a pool. ensemble: the first judges, each may be the truth. events: data; expected ones without.

    Nothing but events outside of the region is looked at.
    """
    once_1N = np.ones((1, len(pool)))
    weight_EN = np.concatenate([e.weights(once_1N) for e in ensemble])
    outside = np.flatnonzero(ensemble[0].outside_N)
    if events is None:
        events = float(ensemble[0].expected(once_1N)[0])
    beside = pool.where(outside)
    phi_ND = feature_map(beside, seed, random=_RANDOM)(beside.features_NF).astype(np.float64)
    axes_DA, _ = principal_axes(phi_ND, np.ones(len(outside)))
    z_NA = (phi_ND - phi_ND.mean(0)) @ axes_DA[:, ::-1][:, :_AXES]
    z_NA /= z_NA.std(0)
    rate_EN = np.zeros(weight_EN.shape)
    for e, weight_N in enumerate(weight_EN[:, outside]):
        near_N = ensemble[e].near_N[outside]
        rate_EN[e, outside] = events * tilted(z_NA, weight_N @ z_NA, float((weight_N**2).sum()), near_N)
    size = int(np.clip(_CELLS // len(pool), 16, CHUNK))
    return TemplateToys(ensemble[0], rate_EN, weight_EN, seed, inflation, size)


def tilted(z_NA: FloatArray, mean_A: FloatArray, variance: float, near_N: FloatArray) -> FloatArray:
    """(N,) the weights closest to near_N (in Kullback-Leibler distance) whose means are as given; they sum to 1.

    variance: of the means given; they are met within their errors. z_NA: columns of mean 0 and variance 1.
    """
    lambda_A = np.zeros(z_NA.shape[1])
    weight_N = near_N / near_N.sum()
    for _ in range(_NEWTON):
        centre_A = weight_N @ z_NA
        gap_A = centre_A + variance * lambda_A - mean_A
        if np.abs(gap_A).max() < 1e-9:
            break
        curvature_AA = (z_NA * weight_N[:, None]).T @ z_NA - np.outer(centre_A, centre_A) + variance * np.eye(len(mean_A))
        step_A = np.linalg.solve(curvature_AA, gap_A)
        lambda_A -= step_A * min(1.0, 1.0 / (np.abs(step_A).max() + 1e-300))
        exponent_N = z_NA @ lambda_A
        weight_N = near_N * np.exp(exponent_N - exponent_N.max())
        weight_N /= weight_N.sum()
    return np.asarray(weight_N, dtype=np.float64)


def _poisson(rng: np.random.Generator, rate_N: FloatArray) -> FloatArray:
    """(N,) Poisson counts, by their total and where its events fall: quicker than a count for each of many rare events."""
    upto_N = np.cumsum(rate_N)
    drawn = rng.random(rng.poisson(upto_N[-1])) * upto_N[-1]
    return np.bincount(np.searchsorted(upto_N, drawn, side="right"), minlength=len(rate_N)).astype(np.float64)


def _edges(low: float, high: float) -> FloatArray:
    """(2, B) lower and upper ends of bins of one length."""
    edges = np.linspace(low, high, _BINS + 1)
    return np.stack([edges[:-1], edges[1:]])
