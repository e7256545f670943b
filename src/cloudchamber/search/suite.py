"""Suite: the methods of a search side by side on one pool, in each window of the mass if there are any."""

# T toy, N event of the pool, K sub-test

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cloudchamber import registry
from cloudchamber.errors import BadInput
from cloudchamber.search.methods.base import Counts, Method, Prepared, Role
from cloudchamber.search.sample import Bank, FloatArray, Sample

FEWEST = 50  # events of the pool in a window
MIXTURE = "broad/mixture"


@dataclass(frozen=True)
class Part:
    """One method in one window."""

    method: Method
    window: tuple[float, float] | None
    rows: NDArray[np.int64] | None  # of the pool; None: all
    prepared: Prepared


@dataclass(frozen=True)
class Suite:
    """All parts; its sub-tests are theirs, in their order, then the mixture of the broad ones that are Bayes factors.

    Those ask one question with different priors on the answer: their mixture has more power than the smallest of their
    p-values, so they have a share of alpha together.
    """

    parts: tuple[Part, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """method/sub-test, or window/method/sub-test."""
        own = (
            f"{'' if p.window is None else '{:g}-{:g}/'.format(*p.window)}{p.method.name}/{n}"
            for p in self.parts
            for n in p.prepared.names
        )
        return (*own, *([MIXTURE] if self._mixed_K.any() else []))

    @property
    def roles(self) -> tuple[Role, ...]:
        """(K,) of each sub-test."""
        own: tuple[Role, ...] = tuple(p.method.role for p in self.parts for _ in p.prepared.names)
        return (*own, "broad") if self._mixed_K.any() else own

    @property
    def shares_K(self) -> FloatArray:
        """(K,) of each sub-test within its role: methods and windows count alike, whatever their numbers of sub-tests.

        What the mixture holds has no share but in it.
        """
        share_K = self._equal_K
        if self._mixed_K.any():
            share_K = np.append(np.where(self._mixed_K, 0.0, share_K), share_K[self._mixed_K].sum())
        roles = np.array(self.roles)
        return np.asarray(share_K / np.array([share_K[roles == r].sum() for r in roles]), dtype=np.float64)

    @property
    def log_ratio_K(self) -> NDArray[np.bool_]:
        """(K,) whether a sub-test's statistic is the logarithm of a likelihood ratio or Bayes factor."""
        own = [p.method.log_ratio for p in self.parts for _ in p.prepared.names]
        return np.array([*own, *([True] if self._mixed_K.any() else [])])

    @property
    def _equal_K(self) -> FloatArray:
        return np.array([1 / len(p.prepared.names) for p in self.parts for _ in p.prepared.names])

    @property
    def _mixed_K(self) -> NDArray[np.bool_]:
        """(K,) which sub-tests of methods the mixture is made of; none if it would be of one."""
        mixed_K = np.array([p.method.log_ratio and p.method.role == "broad" for p in self.parts for _ in p.prepared.names])
        return mixed_K if mixed_K.sum() > 1 else np.zeros_like(mixed_K)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, K), as of each method."""
        columns = []
        for part in self.parts:
            data, reference = (c if part.rows is None else c[:, part.rows] for c in (data_TN, reference_TN))
            columns.append(part.prepared.statistics(data, reference))
        if (mixed_K := self._mixed_K).any():
            weight_K = np.where(mixed_K, self._equal_K, 0.0)
            columns.append(logsumexp(np.concatenate(columns, axis=1), b=weight_K / weight_K.sum(), axis=1, keepdims=True))
        return np.concatenate(columns, axis=1)

    def scores(self, name: str, pool: Sample, data_N: Counts, reference_N: Counts) -> tuple[NDArray[Any], FloatArray]:
        """Rows of the data that a sub-test saw, and how signal-like it finds each."""
        of = [p for p in self.parts for _ in p.prepared.names]
        if name == MIXTURE:  # what weighs most in it
            statistics_K = self.statistics(data_N[None], reference_N[None])[0, : len(of)]
            part = of[int(np.where(self._mixed_K, statistics_K + np.log(self._equal_K), -np.inf).argmax())]
        else:
            part = of[self.names.index(name)]
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
