"""Calibrate: p-values from pseudo-experiments of the whole search, in parallel, resumed after a kill."""

# T toy, N event of the pool, E member of an ensemble, K sub-test

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from cloudchamber.errors import BadInput
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import FloatArray

CHUNK = 256  # toys that are made at once


class Toys(Protocol):
    """Pseudo-experiments without a signal, as counts on the pool. A chunk is a function of its number alone."""

    size: int  # toys of a chunk

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) data and (T, N) reference, as in `Prepared.statistics`."""
        ...


@dataclass(frozen=True)
class Permutations:
    """Data and reference shuffled: exact wherever the two are exchangeable without a signal.

    events: of the pool. data: how many of them are data.
    """

    events: int
    data: int
    seed: int
    size: int = CHUNK

    def __post_init__(self) -> None:
        if not 0 < self.data < self.events:
            raise BadInput(f"a permutation needs both data and reference, got {self.data} of {self.events} events as data")

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) each: every event is in one of the two."""
        rng = np.random.default_rng((self.seed, number))
        rows_TN = np.broadcast_to(np.arange(self.events) < self.data, (self.size, self.events))
        data_TN = rng.permuted(rows_TN, axis=1).astype(np.float32)
        return data_TN, 1 - data_TN


@dataclass(frozen=True)
class Bootstraps:
    """A template with its uncertainty: each toy draws a member of the ensemble, then Poisson counts.

    rate_EN: how often each event of the pool is expected in the data without a signal, by each member. reference_N: the
    weight of each event in the background estimate, drawn anew with Poisson counts: an estimate that is linear in its
    events (a fit of sidebands, a transfer factor) is so made again in each toy.
    """

    rate_EN: FloatArray
    reference_N: FloatArray
    seed: int
    size: int = CHUNK

    def __post_init__(self) -> None:
        if self.rate_EN.ndim != 2 or self.rate_EN.shape[1:] != self.reference_N.shape or (self.rate_EN < 0).any():
            raise BadInput(
                f"rates are not negative, (members, events), got {self.rate_EN.shape} for {len(self.reference_N)} events"
            )

    def chunk(self, number: int) -> tuple[Counts, Counts]:
        """(T, N) each."""
        rng = np.random.default_rng((self.seed, number))
        member_T = rng.integers(len(self.rate_EN), size=self.size)
        data_TN = rng.poisson(self.rate_EN[member_T]).astype(np.float32)
        weight_TN = rng.poisson(1.0, size=data_TN.shape) * self.reference_N
        return data_TN, weight_TN.astype(np.float32)
