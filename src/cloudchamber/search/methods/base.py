"""What a search method is: prepared once on a pool of events, then asked for its statistics of many toys at once."""

# T toy, N event of the pool, M event to score, K sub-test, F feature

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.search.sample import Bank, FloatArray, Sample

Counts = NDArray[np.float32]
STRENGTH = 4.0  # standard deviations of the signals that methods are made for; weaker ones go unseen, stronger ones never
Role = Literal["specific", "weak", "broad"]


class Prepared(Protocol):
    """A method on one pool of events. Whatever it learned without looking at which events are data is kept in it."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its K sub-tests."""
        ...

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, K) statistics, larger where data look less like the background; what depends on labels is learned anew.

        data_TN: how often each event of the pool is in the data of each toy. reference_TN: its weight in the background
        estimate, negative in some interpolated templates; their sum is the number of events that the estimate is worth.
        """
        ...

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) how signal-like each event is, after training on one labelling of the pool."""
        ...


@dataclass(frozen=True)
class Method:
    """Entry of the registry.

    role: where it stands between specific and general: "specific" (signals of the bank), "weak" (data against a
    template) or "broad" (any difference). log_ratio: its statistics are logarithms of likelihood ratios or Bayes factors,
    which are mixed; others enter by their p-value. prepare: may look at the pool and the bank, never at which events are
    data. sample_only: its null is right for a reference sample alone, not for a template.
    """

    name: str
    role: Role
    needs_bank: bool
    log_ratio: bool
    citation: str
    prepare: Callable[[Sample, Bank | None, int], Prepared]
    sample_only: bool = False


def need_bank(bank: Bank | None, method: str) -> Bank:
    """The bank; BadInput if there is none."""
    if bank is None:
        raise BadInput(f"the method {method!r} needs a bank of signals. Give one, or leave the method out of the plan.")
    return bank


def log_ratio(significance_TS: FloatArray) -> FloatArray:
    """The log likelihood ratio of a shift of STRENGTH standard deviations."""
    return np.asarray(STRENGTH * significance_TS - STRENGTH**2 / 2, dtype=np.float64)


def log_gaussian_bayes_factor(z_TA: FloatArray, prior_A: FloatArray | float) -> FloatArray:
    """(T, A) of a Gaussian prior of variance `prior`, in units of the noise's (Genet. Epidemiol. 33 (2009) 79)."""
    return np.asarray(0.5 * (z_TA**2 * prior_A / (1 + prior_A) - np.log1p(prior_A)), dtype=np.float64)


def differences(phi_ND: NDArray[np.float32], data_TN: Counts, reference_TN: Counts) -> tuple[FloatArray, FloatArray]:
    """(T, D) mean over data minus mean over reference, and (T,) how many events that is worth."""
    data_T, ref_T = totals(data_TN), totals(reference_TN)
    mean_TD = (data_TN @ phi_ND) / data_T[:, None] - (reference_TN @ phi_ND) / ref_T[:, None]
    return np.asarray(mean_TD, dtype=np.float64), worth(data_TN, reference_TN)


def worth(data_TN: Counts, reference_TN: Counts) -> FloatArray:
    """(T,) how many events a difference of means is worth. From sums alone: squares of counts differ between data, where
    each event occurs once, and toys that draw some of them twice, and the two would be measured on different scales.
    """
    return 1 / (1 / totals(data_TN) + 1 / totals(reference_TN))


def totals(counts_TN: Counts) -> FloatArray:
    """(T,) sums; next to nothing where a window is empty, so that such a toy has a difference that is worth nothing."""
    return np.asarray(np.maximum(counts_TN.sum(1, dtype=np.float64), 1e-9))
