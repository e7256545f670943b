"""Conformal prediction: sets of classes, and intervals, that hold the truth as often as asked, whatever the model.

Split conformal prediction (arXiv:2107.07511, sec. 1-2): a threshold from validation events that the model was not trained
on. It holds for events like those; for others with the weights of arXiv:1904.06019, if these are right.
"""

# M validation event, N event, C class

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.stats.metrics import effective_number
from cloudchamber.stats.score_table import ScoreTable
from cloudchamber.stats.shift import Ratio

LEVELS = (0.68, 0.90, 0.95)


@dataclass(frozen=True)
class Coverage:
    """How often a set or interval holds the truth. size: mean number of classes, or mean width in the target's unit.

    error: binomial, of the test events and of the validation events behind the threshold (arXiv:1209.2673), the classes
    mixed alike in both.
    """

    level: float
    value: float
    error: float
    size: float

    @property
    def pull(self) -> float:
        """Distance from the level asked, in standard errors."""
        return (self.value - self.level) / self.error


def prediction_sets(validation: ScoreTable, table: ScoreTable, level: float, ratio: Ratio | None = None) -> NDArray[np.bool_]:
    """(N, C): whether a class is in an event's set. Each class has its own threshold.

    So the true class is inside as often as `level` for every class by itself, whatever the mixture of classes is. A set
    may be empty (no class looks like this event) or full. ratio: how much more often events like each occur in `table`.
    Raises BadInput for numbers, tables of different models, or negative weights.
    """
    known = _checked(validation, table, level)
    if not table.classes:
        raise BadInput(f"{table.target!r} is a number; use prediction_intervals")
    inside_NC = np.empty(table.scores_NC.shape, dtype=bool)
    weight_M, weight_N = _weights(validation, table, ratio)
    for c in range(len(table.classes)):
        own_M = known & (validation.truth == c)
        threshold_N = _threshold(-validation.scores_NC[own_M, c], weight_M[own_M], weight_N, level)
        inside_NC[:, c] = -table.scores_NC[:, c] <= threshold_N
    return inside_NC


def prediction_intervals(
    validation: ScoreTable, table: ScoreTable, level: float, ratio: Ratio | None = None
) -> NDArray[np.float64]:
    """(N, 2): lower and upper end of each interval, in proportion to the event's spread where the tables have one.

    Infinite where the validation events are too few for the level. ratio, errors: as for prediction_sets.
    """
    known = _checked(validation, table, level)
    if table.classes:
        raise BadInput(f"{table.target!r} has classes; use prediction_sets")
    scale_M, scale_N = np.ones(len(validation)), np.ones(len(table))
    if validation.spread_NC is not None and table.spread_NC is not None:
        scale_M, scale_N = validation.spread_NC[:, 0].astype(float), table.spread_NC[:, 0].astype(float)
    weight_M, weight_N = _weights(validation, table, ratio)
    residual_M = np.abs(validation.truth - validation.scores_NC[:, 0]) / scale_M
    half_N = scale_N * _threshold(residual_M[known], weight_M[known], weight_N, level)
    return np.asarray(table.scores_NC[:, :1] + np.stack([-half_N, half_N], axis=1), dtype=np.float64)


def coverage(validation: ScoreTable, table: ScoreTable, level: float, ratio: Ratio | None = None) -> Coverage:
    """The measured coverage of the sets or intervals of the events in `table` whose truth is known."""
    known = table.is_known
    if not known.any():
        raise BadInput(f"no event has a known {table.target!r}: a coverage cannot be measured")
    if table.classes:
        inside_NC = prediction_sets(validation, table, level, ratio)[known]
        covered_N, size_N = inside_NC[np.arange(len(inside_NC)), table.truth[known]], inside_NC.sum(axis=1)
    else:
        low_N, high_N = prediction_intervals(validation, table, level, ratio)[known].T
        covered_N, size_N = (low_N <= table.truth[known]) & (table.truth[known] <= high_N), high_N - low_N
    weight_N, weight_M = table.weight[known], _weights(validation, table, ratio)[0][validation.is_known]
    error = np.sqrt(level * (1 - level) * (1 / effective_number(weight_N) + 1 / effective_number(weight_M)))
    value, size = (float(np.average(x, weights=weight_N)) for x in (covered_N, size_N))
    return Coverage(level, value, float(error), size)


def _checked(validation: ScoreTable, table: ScoreTable, level: float) -> NDArray[np.bool_]:
    if not 0 < level < 1:
        raise BadInput(f"a level is between 0 and 1, got {level}")
    table.require_like(validation)
    if not validation.is_known.any():
        raise BadInput(f"no validation event has a known {validation.target!r}")
    return validation.is_known


def _weights(validation: ScoreTable, table: ScoreTable, ratio: Ratio | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights of both samples, each of mean 1 before the ratio, which alone says how the samples differ."""
    for part in (validation, table):
        if part.weight.min(initial=0) < 0 or not part.weight.sum() > 0:
            raise BadInput("a conformal threshold needs weights that are not negative, and not all 0")
    ratios = (1.0, 1.0) if ratio is None else (ratio.validation_M, ratio.table_N)
    weight_M, weight_N = (
        t.weight.astype(np.float64) / t.weight.mean() * r for t, r in zip((validation, table), ratios, strict=True)
    )
    return weight_M, weight_N


def _threshold(score_M: NDArray[Any], weight_M: NDArray[Any], weight_N: NDArray[Any], level: float) -> NDArray[np.float64]:
    """(N,) the lowest score up to which a share `level` of the weight lies, the event's own counted as infinitely far."""
    order = np.argsort(score_M, kind="stable")
    cumulated = np.cumsum(weight_M[order])
    needed_N = level * (weight_M.sum() + weight_N) * (1 - 1e-12)  # a hair less: level * (n + 1) may round up
    thresholds: NDArray[np.float64] = np.append(score_M[order], np.inf)[np.searchsorted(cumulated, needed_N)]
    return thresholds
