"""Suite: the methods of a search side by side on one pool, in each window of the mass if there are any."""

# T toy, N event of the pool, K sub-test

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber import registry
from cloudchamber.errors import BadInput
from cloudchamber.search.methods.base import Counts, Method, Prepared, Role
from cloudchamber.search.sample import Bank, FloatArray, Sample

FEWEST = 50  # events of the pool in a window


@dataclass(frozen=True)
class Part:
    """One method in one window."""

    method: Method
    window: tuple[float, float] | None
    rows: NDArray[np.int64] | None  # of the pool; None: all
    prepared: Prepared


@dataclass(frozen=True)
class Suite:
    """All parts; its sub-tests are theirs, in their order."""

    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """method/sub-test, or window/method/sub-test."""
        return tuple(
            f"{'' if p.window is None else '{:g}-{:g}/'.format(*p.window)}{p.method.name}/{n}"
            for p in self.parts
            for n in p.prepared.names
        )

    @property
    def roles(self) -> tuple[Role, ...]:
        """(K,) of each sub-test."""
        return tuple(p.method.role for p in self._of)

    @property
    def shares_K(self) -> FloatArray:
        """(K,) of each sub-test among the specific ones, or among all others: methods and windows count alike, whatever their
        numbers of sub-tests.
        """
        share_K = np.array([1 / len(p.prepared.names) for p in self._of])
        specific_K = np.array([role == "specific" for role in self.roles])
        return np.asarray(share_K / np.where(specific_K, share_K[specific_K].sum(), share_K[~specific_K].sum()))

    @property
    def log_ratio_K(self) -> NDArray[np.bool_]:
        """(K,) whether a sub-test's statistic is the logarithm of a likelihood ratio or Bayes factor."""
        return np.array([p.method.log_ratio for p in self._of])

    @property
    def _of(self) -> list[Part]:
        """(K,) the part that each sub-test is of."""
        return [p for p in self.parts for _ in p.prepared.names]

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, K), as of each method."""
        columns = []
        for part in self.parts:
            data, reference = (c if part.rows is None else c[:, part.rows] for c in (data_TN, reference_TN))
            columns.append(part.prepared.statistics(data, reference))
        return np.concatenate(columns, axis=1)

    def scores(self, name: str, pool: Sample, data_N: Counts, reference_N: Counts) -> tuple[NDArray[Any], FloatArray]:
        """Rows of the data that a sub-test saw, and how signal-like it finds each."""
        part = self._of[self.names.index(name)]
        seen = np.arange(len(pool)) if part.rows is None else part.rows
        rows = seen[data_N[seen] > 0]
        return rows, part.prepared.scores(pool.features_NF[rows], data_N[seen], reference_N[seen])


def suite(
    pool: Sample,
    bank: Bank | None,
    methods: Sequence[str],
    seed: int,
    windows: Sequence[tuple[float, float]] | None = None,
) -> Suite:
    """Prepare the methods of these names; each in each window [low, high) of the pool's mass.

    Raises BadInput for an unknown method, a missing bank, and a window with fewer than 50 events.
    """
    kinds = [registry.get("methods", name) for name in methods]
    if not kinds:
        raise BadInput("a search needs at least one method")
    if windows is None:
        return Suite(tuple(Part(kind, None, None, kind.prepare(pool, bank, seed)) for kind in kinds))
    if pool.mass_N is None:
        raise BadInput("windows are of a mass, and the pool has none")
    parts = []
    for low, high in windows:
        rows = np.flatnonzero((pool.mass_N >= low) & (pool.mass_N < high))
        if len(rows) < FEWEST:
            raise BadInput(f"the window {low:g} to {high:g} holds {len(rows)} events of the pool; at least {FEWEST} are needed")
        parts += [Part(kind, (low, high), rows, kind.prepare(pool.where(rows), bank, seed)) for kind in kinds]
    return Suite(tuple(parts))
