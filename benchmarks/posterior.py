"""Posterior: over a bank and the signal's share, where each event's likelihood ratio to the background is known exactly."""

# N event, K signal of the bank

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cloudchamber.search.sample import FloatArray

_FRACTIONS = np.geomspace(1e-4, 0.3, 60)  # of the events that are signal


@dataclass(frozen=True)
class Character:
    """What a signal is like. posterior_K: over the bank. fraction: expected share of signal. signal_N: probability of
    each event to be signal.
    """

    posterior_K: FloatArray
    fraction: float
    signal_N: FloatArray


def characterise(log_ratio_NK: FloatArray, prior_K: FloatArray, fractions: FloatArray = _FRACTIONS) -> Character:
    """The posterior over the bank and the signal's share, for data that are a mixture of the background and one signal.

    log_ratio_NK: log of each signal's density over the background's. fractions: equally likely before.
    """
    log_posterior_KF = np.empty((len(prior_K), len(fractions)))
    odds = [np.log(f) - np.log1p(-f) for f in fractions]
    for i, (f, odd) in enumerate(zip(fractions, odds, strict=True)):
        log_posterior_KF[:, i] = len(log_ratio_NK) * np.log1p(-f) + np.logaddexp(0, log_ratio_NK + odd).sum(axis=0)
    with np.errstate(divide="ignore"):
        log_posterior_KF += np.log(prior_K)[:, None]
    posterior_KF = np.exp(log_posterior_KF - log_posterior_KF.max())
    posterior_KF /= posterior_KF.sum()
    signal_N = sum(
        (1 / (1 + np.exp(-np.clip(log_ratio_NK + odd, -500, 500)))) @ posterior_KF[:, i] for i, odd in enumerate(odds)
    )
    return Character(posterior_KF.sum(axis=1), float(posterior_KF.sum(axis=0) @ fractions), np.asarray(signal_N))
