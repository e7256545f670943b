"""Uncertainty on the page: how often conformal sets or intervals hold the truth, and how sure the probabilities were."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from cloudchamber.errors import BadInput
from cloudchamber.publish.headline import Table, spread
from cloudchamber.publish.runs import Arm
from cloudchamber.stats import LEVELS, ScoreTable, Temperature, coverage


def uncertainty_table(arms: Sequence[Arm]) -> Table | None:
    """One column per arm whose runs keep validation scores; None if there is none."""
    shown = [arm for arm in arms if arm.validations]
    if not shown:
        return None
    table = shown[0].tables[0]
    size = "Classes in a set" if table.classes else f"Width of an interval{'' if table.unit == '1' else f' [{table.unit}]'}"
    rows = []
    for level in LEVELS:
        found = [[coverage(v, t, level) for v, t in zip(arm.validations, arm.tables, strict=True)] for arm in shown]
        rows.append(
            (f"Truth inside, of {level:.0%} asked", *(spread([c.value for c in f], [c.error for c in f]) for f in found))
        )
        rows.append((f"{size}, {level:.0%}", *(f"{fmean(c.size for c in f):.3g}" for f in found)))
    if table.classes:
        rows.append(("Temperature", *(_temperatures(arm.validations) for arm in shown)))
    caption = (
        "Conformal sets or intervals with thresholds from the validation events, measured on the test sample: they hold the "
        "truth as often as asked for events like these."
    )
    if table.classes:
        caption += (
            " Sets do so for every class by itself. Temperature: what the logits must be divided by to be calibrated; above 1 "
            "the model is too sure."
        )
    return Table(("Uncertainty", *(arm.name for arm in shown)), tuple(rows), caption)


def _temperatures(validations: Sequence[ScoreTable]) -> str:
    try:
        return spread([Temperature.fit(v).value for v in validations], [])
    except BadInput:
        return "not defined by so few validation events"
