"""Where the strength lies: bounds of every channel's cross-section in cells of W and Q^2, from which kinematics are drawn."""

# K energy of the neutrino in the nucleon's rest frame, C cell of any channel, H channel, W and Q grids, N trial

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino import inelastic, quasielastic, resonance
from cloudchamber.simulate.neutrino.interactions import DIS, MEC, QE, RES
from cloudchamber.simulate.neutrino.kinematics import MUON, NUCLEON, Array

_START_W = 1.08  # GeV, just above n pi+
W_GRID = np.concatenate(
    [np.linspace(0.94, 1.06, 7), np.linspace(_START_W, 1.485, 28), np.linspace(1.5, 1.7, 13), 1.7 * 1.06 ** np.arange(1, 41)]
)
Q2_GRID = 0.05 * (np.exp(np.linspace(0, np.log(320 / 0.05), 92)) - 1)
_MARGIN = 1.15  # on the largest value at corners and energies of a cell; enough everywhere, as a test finds


@dataclass(frozen=True)
class Channel:
    """One kind of interaction with one nucleon. f_3WQ: structure functions; charm_WQ: part of them; both empty for QE."""

    kind: int
    nucleon: int
    charged: bool
    f_3WQ: NDArray[np.float64]
    charm_WQ: NDArray[np.float64]


@dataclass(frozen=True)
class Tables:
    """Cells of all channels. bound_KC: above dsigma/dWdQ2 [cm2/GeV3] between each energy and the one before; QE: dsigma/dQ2."""

    anti: bool
    channels: tuple[Channel, ...]
    energies_K: NDArray[np.float64]
    channel_C: NDArray[np.int64]
    w_C: NDArray[np.int64]
    q_C: NDArray[np.int64]
    bound_KC: NDArray[np.float64]
    sums_KC: NDArray[np.float64]

    @property
    def totals_K(self) -> NDArray[np.float64]:
        """Bound of the total cross-section, all cells together [cm2]."""
        return self.sums_KC[:, -1]

    def draw(self, k: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], Array, Array]:
        """(N,) cells in proportion to their bounds, W and Q^2 anywhere in them."""
        cell = np.empty(len(k), dtype=np.int64)
        u = rng.random(len(k))
        for node in np.unique(k):
            mine = k == node
            cell[mine] = np.searchsorted(self.sums_KC[node], u[mine] * self.totals_K[node], side="right")
        a, b = rng.random((2, len(k)))
        i, j = self.w_C[cell], self.q_C[cell]
        elastic = i < 0
        w = np.where(elastic, NUCLEON, W_GRID[i] + a * (W_GRID[np.minimum(i + 1, len(W_GRID) - 1)] - W_GRID[i]))
        return cell, w, Q2_GRID[j] + b * (Q2_GRID[j + 1] - Q2_GRID[j])

    def values(self, energy: Array, cell: NDArray[np.int64], w: Array, q2: Array) -> Array:
        """Cross-section at each point, in the unit of the bounds, with the structure functions linear inside a cell."""
        found = np.zeros(len(cell))
        for h, channel in enumerate(self.channels):
            mine = np.flatnonzero(self.channel_C[cell] == h)
            e, a, b = energy[mine], w[mine], q2[mine]
            if channel.kind == QE:
                found[mine] = _elastic(channel, self.anti, e, b)
            else:
                f_3 = between(channel.f_3WQ, self.w_C[cell[mine]], self.q_C[cell[mine]], a, b)
                found[mine] = inelastic.cross_section(e, a, b, f_3, anti=self.anti, charged=channel.charged)
            if channel.kind == RES:
                found[mine[a > resonance.W_CUT]] = 0.0
        return found


def between(table: NDArray[np.float64], i: NDArray[np.int64], j: NDArray[np.int64], w: Array, q2: Array) -> Array:
    """(..., N) a table (..., W, Q), linear in both, in cells i, j."""
    a = (w - W_GRID[i]) / (W_GRID[i + 1] - W_GRID[i])
    b = (q2 - Q2_GRID[j]) / (Q2_GRID[j + 1] - Q2_GRID[j])
    low = table[..., i, j] * (1 - b) + table[..., i, j + 1] * b
    high = table[..., i + 1, j] * (1 - b) + table[..., i + 1, j + 1] * b
    value: Array = low * (1 - a) + high * a
    return value


@lru_cache(maxsize=8)
def tables(anti: bool, neutral: bool, free: int, highest: float) -> Tables:
    """Tables for energies up to `highest` [GeV] in the nucleon's rest frame.

    free: code of a free nucleon; 0 for cross-sections per nucleon of carbon, with pairs. neutral: with neutral currents.
    """
    channels = tuple(_channels(anti, neutral, free))
    energies = 0.12 * 1.2 ** np.arange(int(np.ceil(np.log(highest / 0.12) / np.log(1.2))) + 1)
    places, bounds = [], []
    for h, channel in enumerate(channels):
        place, bound = _cells(channel, anti, np.concatenate([[0.1], energies]))
        places.append(np.concatenate([np.full((1, place.shape[1]), h), place]))
        bounds.append(bound * (1.0 if free else 0.5))
    (channel_C, w_C, q_C), bound_KC = np.concatenate(places, axis=1), np.concatenate(bounds, axis=1)
    area_C = Q2_GRID[q_C + 1] - Q2_GRID[q_C]
    area_C = np.where(w_C < 0, area_C, area_C * (W_GRID[np.minimum(w_C + 1, len(W_GRID) - 1)] - W_GRID[w_C]))
    sums = np.cumsum(bound_KC * area_C, axis=1)
    return Tables(anti, channels, np.asarray(energies, dtype=np.float64), channel_C, w_C, q_C, bound_KC, sums)


def _channels(anti: bool, neutral: bool, free: int) -> list[Channel]:
    w, q2 = np.meshgrid(W_GRID, Q2_GRID, indexing="ij")
    nothing = np.zeros((3, 0, 0))
    found = []
    for charged in (True, False) if neutral else (True,):
        lines = resonance.structure(resonance.helicities(w, q2, charged=charged), w, q2, charged=charged)
        for nucleon in (free,) if free else (2212, 2112):
            odd = (nucleon == 2212) if anti else (nucleon == 2112)
            if odd or not charged:
                found.append(Channel(QE, nucleon, charged, nothing, nothing[0]))
            if odd and charged and not free:
                found.append(Channel(MEC, nucleon, True, quasielastic.pair_structure(w, q2), np.zeros_like(w)))
            factor = resonance.isospin_factors(charged and not odd)
            f = np.tensordot(lines, factor, (1, 0))
            found.append(Channel(RES, nucleon, charged, np.where((w > _START_W) & (w < 1.71), f, 0.0), np.zeros_like(w)))
            f, charm = inelastic.structure(w, q2, nucleon=nucleon, anti=anti, charged=charged)
            found.append(Channel(DIS, nucleon, charged, np.where(w > _START_W, f, 0.0), charm))
    return found


def _elastic(channel: Channel, anti: bool, energy: Array, q2: Array) -> Array:
    lepton, charged = (MUON if channel.charged else 0.0), channel.charged
    return quasielastic.cross_section(energy, q2, lepton=lepton, anti=anti, charged=charged, nucleon=channel.nucleon)


def _cells(channel: Channel, anti: bool, energies: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(2, C) W and Q^2 indices, W -1 for QE, and (K, C) bounds between each energy and the next."""
    i, j = (x.ravel() for x in np.meshgrid(np.arange(len(W_GRID) - 1), np.arange(len(Q2_GRID) - 1), indexing="ij"))
    if channel.kind == QE:
        i, j = np.full(len(Q2_GRID) - 1, -1), np.arange(len(Q2_GRID) - 1)
    low_w = np.where(i < 0, NUCLEON, W_GRID[i])
    bound = np.empty((len(energies) - 1, len(i)))
    for k, (first, last) in enumerate(pairwise(energies)):
        steps = [_corners(channel, anti, e) for e in (first, np.sqrt(first * last), last)]
        s = NUCLEON**2 + 2 * NUCLEON * last
        allowed = Q2_GRID[j] < (s - NUCLEON**2) * (s - low_w**2) / s
        bound[k] = np.where(allowed & (low_w**2 < s), np.max(steps, axis=0), 0.0)
    used = bound.max(axis=0) > 0
    return np.stack([i, j])[:, used], _MARGIN * bound[:, used]


def _corners(channel: Channel, anti: bool, energy: float) -> Array:
    """Largest cross-section at the corners of each cell; RPA, up to 1.13, included for QE."""
    e = np.array(energy)
    if channel.kind == QE:
        at = 1.13 * _elastic(channel, anti, e, Q2_GRID)
        return np.maximum(at[:-1], at[1:])
    w, q2 = np.meshgrid(W_GRID, Q2_GRID, indexing="ij")
    at = inelastic.cross_section(e, w, q2, channel.f_3WQ, anti=anti, charged=channel.charged)
    return np.maximum(np.maximum(at[:-1, :-1], at[1:, :-1]), np.maximum(at[:-1, 1:], at[1:, 1:])).ravel()
