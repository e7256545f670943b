"""A test that knows what families of signals may come: no search, but what a search is compared with."""

# T toy, N event of the pool, F feature, A alternative, M event to score

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from cloudchamber.search.battery import Alternative
from cloudchamber.search.methods.base import Counts, Method
from cloudchamber.search.sample import Bank, Sample
from cloudchamber.search.suite import Part, Suite


@dataclass(frozen=True)
class Families:
    """The mixture of the exact ratios of many alternatives; as many events are expected with a signal as without."""

    log_ratio_NA: NDArray[np.float32]
    names: tuple[str, ...] = ("families",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> NDArray[np.float64]:  # noqa: ARG002  (it is known)
        """(T, 1) log likelihood ratio."""
        log_TA = (data_TN @ self.log_ratio_NA).astype(np.float64)
        return np.asarray(logsumexp(log_TA, axis=1, keepdims=True) - np.log(log_TA.shape[1]))

    def scores(self, features_MF: NDArray[np.float64], data_N: Counts, reference_N: Counts) -> NDArray[np.float64]:
        """None."""
        raise NotImplementedError


def instead(search: Suite, drawn: Sequence[Alternative]) -> Suite:
    """A search with this test in place of all that need no bank."""
    prepared = Families(np.array([one.log_ratio_N for one in drawn]).T.astype(np.float32))
    method = Method("families", "broad", needs_bank=False, log_ratio=True, citation="", prepare=_never)
    return Suite((*(p for p in search.parts if p.method.role == "specific"), Part(method, None, None, prepared)))


def _never(pool: Sample, bank: Bank | None, seed: int) -> Families:
    raise NotImplementedError
