"""Opening: what a report says first. Its title, what was learned in which way, and the numbers to be read at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

from cloudchamber.publish import headline as tables
from cloudchamber.publish.page import Fact
from cloudchamber.publish.runs import Arm

_WAYS = {
    "full": "starts from the pre-trained weights {weights} and trains all of them",
    "lora": "keeps the pre-trained weights {weights} and trains low-rank changes to them, and the head",
    "probe": "keeps the pre-trained weights {weights} and trains the head alone",
    "scratch": "starts from random numbers",
}


def title(arms: Sequence[Arm]) -> str:
    """What was learned, from which data, in which ways."""
    names = ", ".join(arm.name for arm in arms) if len(arms) < 3 else f"{len(arms)} ways of training"
    scored = [t for arm in arms for t in arm.tables]
    if not scored:
        return f"Training: {names}"
    classes = scored[0].classes
    what = f"{scored[0].target} ({', '.join(classes) if len(classes) < 5 else f'{len(classes)} classes'})"
    what = f"Classifying {what}" if classes else f"Predicting {tables.with_unit(scored[0].target, scored[0].unit)}"
    return f"{what} in {', '.join(Path(d).name for d in arms[0].runs[0].info.data_names)}: {names}"


def lead(arms: Sequence[Arm]) -> str:
    """How the arms were trained and what the figures are measured on; what an arm is."""
    ways = []
    for arm in arms:
        s = arm.runs[0].summary
        parts = [f"{arm.name}: {_WAYS[s.adapt].format(weights=s.weights)}" if s.adapt in _WAYS else arm.name]
        parts += [f"{n:,} {what}" for n, what in ((s.train_jets, "training events"), (s.steps, "steps")) if n]
        ways.append(", ".join(parts))
    text = f"An arm is one way of training; its runs differ in their seed alone. Here: {'; '.join(ways)}."
    if any(arm.tables for arm in arms):
        text += " Validation events choose the step that is kept; the figures come from test events that no training saw."
    return text


def facts(
    arms: Sequence[Arm], figures: dict[str, list[dict[str, Any]]], seeds: Sequence[tables.Seed], against: Arm | None
) -> tuple[Fact, ...]:
    """The main figure of the first arm and of its reference with their errors, and how the two compare."""
    name = tables.main_figure(arms)
    label = tables.title_of(name, arms[0].tables[0])
    arm = next((a for a in arms if a is not against), arms[0])
    found = [_figure(figures[a.name], name, f"{label}, {a.name}") for a in ((arm, against) if against else (arm,))]
    result = tables.compared(seeds, arm.name)
    if against is None or result is None:
        return tuple(found)
    better = f"better in {tables.better_in(result, name)} of {result.n} seeds"
    how = "± standard error over seeds" if result.n > 1 else "± paired bootstrap of the test events"
    how = "no error: tested on different events" if isnan(result.error) else how
    found.append(Fact(tables.signed(result), f"{label}, {arm.name} minus {against.name}, {better} ({how})"))
    own = [s for s in seeds if s.arm == arm.name]
    ratios = [s.steps / s.steps_of_reference for s in own if s.steps is not None and s.steps_of_reference]
    if len(ratios) == result.n:
        found.append(Fact(f"{median(ratios):.2f}", f"of the steps that {against.name} takes to its best validation loss"))
    return tuple(found)


def _figure(runs: Sequence[dict[str, Any]], name: str, text: str) -> Fact:
    """The mean over seeds with their standard deviation; of one seed its statistical error."""
    errors = [] if len(runs) > 1 else [r[f"{name}_error"] for r in runs if r.get(f"{name}_error") is not None]
    how = f" (± spread of {len(runs)} seeds)" if len(runs) > 1 else " (± statistical)" if errors else ""
    return Fact(tables.spread([r[name] for r in runs], errors), text + how)
