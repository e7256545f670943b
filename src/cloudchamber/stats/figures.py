"""Figures: measured numbers with their spread, and targets: whether a figure meets one is computed, never typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Figure:
    """One measured number. value lies in [low, high]; `spread` says what these are; values: each repetition or seed."""

    value: float
    low: float
    high: float
    spread: str
    unit: str = "1"
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Target:
    """What a figure's value shall be: relation to a bound that is a number or another figure's name."""

    figure: str
    relation: Literal[">=", "<="]
    bound: float | str


def median(values: Sequence[float], unit: str = "1") -> Figure:
    """The median of repetitions and their 16-84 % range.

    >>> median([1.0, 2.0, 9.0]).value
    2.0
    """
    low, middle, high = np.percentile(values, (16, 50, 84))
    return Figure(float(middle), float(low), float(high), "16-84 % of the repetitions", unit, tuple(map(float, values)))


def mean(values: Sequence[float], unit: str = "1") -> Figure:
    """The mean over seeds and its standard error from their scatter; with one seed the error is 0."""
    error = float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    found = measured(float(np.mean(values)), error, f"standard error of the mean of {len(values)} seeds", unit)
    return Figure(found.value, found.low, found.high, found.spread, unit, tuple(map(float, values)))


def exact(value: float, unit: str = "1") -> Figure:
    """A number without error, such as a count of parameters."""
    return Figure(float(value), float(value), float(value), "exact", unit)


def measured(value: float, error: float, spread: str = "standard error of the simulated events", unit: str = "1") -> Figure:
    """A number and its standard error."""
    return Figure(float(value), float(value - error), float(value + error), spread, unit)


def share(mask: NDArray[np.bool_], scale: float = 1.0, unit: str = "1") -> Figure:
    """The share of events that are true, times a scale, with its binomial error."""
    p = float(mask.mean())
    return measured(scale * p, scale * float(np.sqrt(p * (1 - p) / len(mask))), "binomial error", unit)


def average(values: NDArray[Any], unit: str = "1") -> Figure:
    """The mean over events and its standard error."""
    return measured(float(values.mean()), float(values.std() / np.sqrt(len(values))), "standard error of the mean", unit)


def judge(targets: Sequence[Target], figures: Mapping[str, Figure]) -> list[dict[str, Any]]:
    """Every target with the value it is compared to and whether it holds; KeyError for a figure that was not measured.

    >>> judge([Target("a", ">=", 2.0)], {"a": exact(3)})[0]["holds"]
    True
    """
    judged = []
    for target in targets:
        value = figures[target.figure].value
        bound = figures[target.bound].value if isinstance(target.bound, str) else target.bound
        holds = value >= bound if target.relation == ">=" else value <= bound
        judged.append({**asdict(target), "value": value, "bound_value": bound, "holds": bool(holds)})
    return judged
