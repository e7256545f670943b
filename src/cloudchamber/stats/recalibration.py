"""Recalibration: maps from scores to probabilities that come true, fitted to validation events, applied to others."""

# N event, C class

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, isotonic_regression
from scipy.special import softmax

from cloudchamber.errors import BadInput, nearest
from cloudchamber.stats.metrics import effective_number
from cloudchamber.stats.score_table import ScoreTable

_TEMPERATURES = (0.01, 100.0)  # outside of it probabilities are 0 and 1, or all alike
_FLOOR = 1e-12  # below float32 resolution of a softmax


@dataclass(frozen=True)
class Temperature:
    """p_c -> p_c^(1 / value), normalised (arXiv:1706.04599, sec. 4.2). value above 1: the scores were too sure."""

    value: float

    @classmethod
    def fit(cls, validation: ScoreTable) -> Temperature:
        """The temperature of least cross-entropy on the validation events.

        Raises BadInput if there is none: no event is on the wrong side, or the scores are worse than chance.
        """
        known = _known_classes(validation)
        log_NC = _logs(known)
        own_N = log_NC[np.arange(len(known)), known.truth]

        def slope(inverse: float) -> float:  # of the cross-entropy, which is convex in 1 / T
            mean_N = (softmax(inverse * log_NC, axis=1) * log_NC).sum(axis=1)
            return float(np.average(mean_N - own_N, weights=known.weight))

        low, high = (1 / t for t in reversed(_TEMPERATURES))
        if slope(low) >= 0 or slope(high) <= 0:
            raise BadInput(
                f"no temperature suits the {len(known)} validation events of {known.target!r}: their classes are told apart "
                "without an error, or worse than by chance. Use more validation events, or isotonic calibration."
            )
        return cls(1 / float(brentq(slope, low, high)))

    def apply(self, table: ScoreTable) -> ScoreTable:
        """The table with recalibrated probabilities."""
        return _with_scores(table, softmax(_logs(table) / self.value, axis=1))


@dataclass(frozen=True)
class Isotonic:
    """Per class a rising step function of its score, then normalised (doi:10.1145/775047.775151).

    knots: (scores, probabilities) of each class. No probability is closer to 0 or 1 than 1 / (n + 2) for n events: more is
    not known from them.
    """

    knots: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    @classmethod
    def fit(cls, validation: ScoreTable) -> Isotonic:
        """The step functions of least squared error on the validation events."""
        known = _known_classes(validation)
        weight = known.weight.astype(np.float64)
        margin = 1 / (effective_number(weight) + 2)
        knots = []
        for c in range(len(known.classes)):
            scores, place_N = np.unique(known.scores_NC[:, c], return_inverse=True)
            total, hits = (np.bincount(place_N, weights=w) for w in (weight, weight * (known.truth == c)))
            share = isotonic_regression(hits / total, weights=total).x
            knots.append((scores.astype(np.float64), np.clip(share, margin, 1 - margin)))
        return cls(tuple(knots))

    def apply(self, table: ScoreTable) -> ScoreTable:
        """The table with recalibrated probabilities, linear between the knots."""
        if len(table.classes) != len(self.knots):
            raise BadInput(f"calibrated for {len(self.knots)} classes, the table has {len(table.classes)}")
        p_NC = np.stack([np.interp(table.scores_NC[:, c], *knots) for c, knots in enumerate(self.knots)], axis=1)
        return _with_scores(table, p_NC / p_NC.sum(axis=1, keepdims=True))


METHODS: dict[str, type[Temperature | Isotonic]] = {"temperature": Temperature, "isotonic": Isotonic}


def recalibrated(table: ScoreTable, validation: ScoreTable, method: str) -> ScoreTable:
    """The table with probabilities calibrated on validation events of the same model by a method of METHODS."""
    if method not in METHODS:
        raise BadInput(f"unknown calibration {method!r}. Nearest: {nearest(method, METHODS)}. Known: {', '.join(METHODS)}.")
    table.require_like(validation)
    return METHODS[method].fit(validation).apply(table)


def _known_classes(validation: ScoreTable) -> ScoreTable:
    if not validation.classes:
        raise BadInput(f"{validation.target!r} is a number and has no probabilities to calibrate; use conformal intervals")
    known = validation.where(validation.is_known & (validation.weight > 0))
    if len(known) == 0 or validation.weight.min() < 0:
        raise BadInput(f"calibration needs validation events with a known {validation.target!r}, and no negative weights")
    return known


def _with_scores(table: ScoreTable, p_NC: NDArray[Any]) -> ScoreTable:
    return replace(table, scores_NC=p_NC.astype(np.float32), spread_NC=None)  # a spread would be that of other scores


def _logs(table: ScoreTable) -> NDArray[np.float64]:
    return np.log(np.maximum(table.scores_NC.astype(np.float64), _FLOOR))
