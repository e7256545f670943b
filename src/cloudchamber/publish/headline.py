"""Headline: the figures of all arms as tables, each with its spread over seeds and its error; how sure the arms are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from cloudchamber.errors import BadInput
from cloudchamber.publish.page import Table
from cloudchamber.publish.runs import Arm, RunRecord, absent_classes
from cloudchamber.stats import LEVELS, Paired, ScoreTable, Temperature, coverage, paired, steps_to_reach, summarise
from cloudchamber.stats.compare import RESAMPLINGS, paired_error
from cloudchamber.stats.metrics import one_vs_rest_auc

_NAMES = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "cross_entropy": "Cross-entropy",
    "bias": "Bias",
    "resolution": "Resolution",
    "mse": "MSE",
    "correlation": "Correlation",
}


@dataclass(frozen=True)
class Seed:
    """One seed of one arm beside the same seed of the reference."""

    arm: str
    seed: int
    figure: float
    of_reference: float
    error: float  # of the difference, over test samples; NaN if it was not asked for or the two had other test events
    best_loss: float | None  # the lowest validation loss of the reference
    steps: int | None  # to reach it; None: never
    steps_of_reference: int | None


def main_figure(arms: Sequence[Arm]) -> str:
    """The figure that arms are compared by: "auc" ("accuracy" where a class has no test event), "resolution" for a number."""
    if not arms[0].tables[0].classes:
        return "resolution"
    return "accuracy" if absent_classes(arms) else "auc"


def measured(arms: Sequence[Arm]) -> dict[str, list[dict[str, Any]]]:
    """Every run's figures by arm, recomputed from its score table."""
    return {arm.name: [summarise(t) for t in arm.tables] for arm in arms}


def by_seed(arms: Sequence[Arm], against: Arm) -> list[Seed]:
    """Every arm beside the reference, for the seeds that both have."""
    name, others = main_figure(arms), {r.info.seed: r for r in against.runs}
    seeds = []
    for arm in arms:
        shared = [r for r in arm.runs if arm is not against and r.info.seed in others]
        seeds += [_seed(arm.name, run, others[run.info.seed], name, only=len(shared) == 1) for run in shared]
    return seeds


def compared(seeds: Sequence[Seed], arm: str) -> Paired | None:
    """The paired difference of an arm and the reference, with the error over test samples if they share but one seed.

    None if they share no seed.
    """
    own = [s for s in seeds if s.arm == arm]
    result = paired([s.figure for s in own], [s.of_reference for s in own]) if own else None
    return replace(result, error=own[0].error) if result and result.n == 1 else result


def headline(
    arms: Sequence[Arm], figures: dict[str, list[dict[str, Any]]], seeds: Sequence[Seed], against: Arm | None
) -> Table:
    """One column per arm: figures, paired difference to the reference, steps to reach the reference's best loss."""
    first, table = figures[arms[0].name][0], arms[0].tables[0]
    rows = [("Seeds", *(str(len(figures[arm.name])) for arm in arms)), *_test_events(arms)]
    for name in (n for n in _NAMES if all(f.get(n) is not None for runs in figures.values() for f in runs)):
        of_arms = ([[f[k] for f in figures[arm.name] if f.get(k) is not None] for k in (name, f"{name}_error")] for arm in arms)
        rows.append((title_of(name, table), *(spread(values, errors) for values, errors in of_arms)))
    for point in first.get("rejection", {}) if not absent_classes(arms) else ():
        title = f"Background rejection at {float(point):.0%} signal efficiency"
        rows.append((title, *(_rejection([f["rejection"][point] for f in figures[arm.name]]) for arm in arms)))
    if against:
        better = main_figure(arms)
        differences = ("reference" if a is against else _difference(seeds, a.name, better) for a in arms)
        rows.append((f"{_NAMES[better]} difference, paired by seed", *differences))
        rows.append((f"Steps to the best loss of {against.name}", *(_steps(seeds, a, against) for a in arms)))
    absent = absent_classes(arms)
    note = f" No ROC curve: no test event of some run is of class {', '.join(absent)}." if absent else ""
    caption = _caption(table.classes, figures, seeds, against) + note
    return Table(("Test sample", *(arm.name for arm in arms)), tuple(rows), caption)


def seed_table(seeds: Sequence[Seed], name: str, against: Arm) -> Table:
    """One row per arm and seed: the figure beside the reference's, and the steps to the reference's best loss."""
    columns = ("Arm", "Seed", _NAMES[name], "of reference", "difference", "its best loss", "steps")
    rows = tuple(
        (
            s.arm,
            str(s.seed),
            f"{s.figure:.4f}",
            f"{s.of_reference:.4f}",
            f"{s.figure - s.of_reference:+.4f}",
            "" if s.best_loss is None else f"{s.best_loss:.4f}",
            _pair(s.steps, s.steps_of_reference),
        )
        for s in seeds
    )
    caption = (
        f"Seed by seed against {against.name}. Steps: the first validation at or below the reference's best loss, for this "
        "arm and for the reference itself."
    )
    return Table(columns, rows, caption)


def class_table(arms: Sequence[Arm]) -> Table:
    """One-vs-rest AUC of every class, for more than two classes."""
    columns = []
    for arm in arms:
        of_runs = [one_vs_rest_auc(t.truth, t.scores_NC, t.weight) for t in arm.tables]
        columns.append([spread([a.value for a in c], [a.error for a in c]) for c in zip(*of_runs, strict=True)])
    rows = tuple(zip(arms[0].tables[0].classes, *columns, strict=True))
    return Table(("Class", *(arm.name for arm in arms)), rows, "AUC of each class against all others.")


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


def spread(values: Sequence[float], errors: Sequence[float]) -> str:
    """Mean, standard deviation over seeds (if there are several), mean statistical error (if known).

    >>> spread([0.95, 0.96], [0.004, 0.004])
    '0.9550 ± 0.0071 ± 0.0040'
    """
    parts = [float(np.std(values, ddof=1))] if len(values) > 1 else []
    parts += [float(np.mean(errors))] if errors else []
    return rounded(float(np.mean(values)), parts)


def rounded(value: float, errors: Sequence[float]) -> str:
    """A value and its errors, all to two digits of the largest error.

    >>> rounded(123.456, [4.2, 0.3]), rounded(0.5, [])
    ('123.5 ± 4.2 ± 0.3', '0.5')
    """
    largest = max(errors, default=0.0)
    if not largest > 0:
        return " ± ".join(f"{v:.4g}" for v in (value, *errors))
    decimals = min(max(0, 1 - int(np.floor(np.log10(largest)))), 6)
    return " ± ".join(f"{v:.{decimals}f}" for v in (value, *errors))


def signed(result: Paired) -> str:
    """A difference with its sign, and its error if it has one."""
    value = rounded(result.mean, [result.error]) if np.isfinite(result.error) else f"{result.mean:.4f}"
    return f"{'+' if result.mean > 0 else ''}{value}"


def title_of(name: str, table: ScoreTable) -> str:
    """A figure's name with its unit."""
    if name == "auc" and len(table.classes) > 2:
        return "AUC, mean over classes"
    unit = {"bias": table.unit, "resolution": table.unit, "mse": f"{table.unit}²"}.get(name, "1")
    return with_unit(_NAMES[name], "1" if table.unit == "1" else unit)


def with_unit(name: str, unit: str) -> str:
    """A name with its unit in brackets, if it has one."""
    return name if unit == "1" else f"{name} [{unit}]"


def _test_events(arms: Sequence[Arm]) -> list[tuple[str, ...]]:
    """One row per class: how many test events each arm's runs had."""
    classes = arms[0].tables[0].classes

    def counted(arm: Arm, index: int) -> str:
        counts = [int((t.truth == index).sum()) if classes else len(t) for t in arm.tables]
        return " to ".join(f"{n:,}" for n in sorted({min(counts), max(counts)}))

    titles = [f"Test events of class {c}" for c in classes] or ["Test events"]
    return [(title, *(counted(arm, i) for arm in arms)) for i, title in enumerate(titles)]


def _seed(arm: str, run: RunRecord, other: RunRecord, name: str, *, only: bool) -> Seed:
    assert run.scores is not None
    assert other.scores is not None
    ours, theirs = run.curve("val", "loss"), other.curve("val", "loss")
    best = float(theirs.values.min()) if len(theirs.values) else None

    def steps(curve: Any, target: float | None) -> int | None:
        return None if target is None else steps_to_reach(curve.steps.tolist(), curve.values.tolist(), target)

    return Seed(
        arm=arm,
        seed=run.info.seed,
        figure=summarise(run.scores)[name],
        of_reference=summarise(other.scores)[name],
        error=paired_error(run.scores, other.scores, name) if only else float("nan"),
        best_loss=best,
        steps=steps(ours, best),
        steps_of_reference=steps(theirs, best),
    )


def _difference(seeds: Sequence[Seed], arm: str, name: str) -> str:
    result = compared(seeds, arm)
    if result is None:
        return "no shared seed"
    return f"{signed(result)} ({better_in(result, name)} of {result.n} better)"


def better_in(result: Paired, name: str) -> int:
    """In how many seeds the arm is better than the reference: a higher AUC, a narrower resolution."""
    return result.n - result.wins if name == "resolution" else result.wins


def _steps(seeds: Sequence[Seed], arm: Arm, against: Arm) -> str:
    if arm is against:
        own = {s.seed: s.steps_of_reference for s in seeds if s.steps_of_reference is not None}
        return f"{np.median(list(own.values())):.0f}" if own else ""
    shared = [s for s in seeds if s.arm == arm.name and s.best_loss is not None]
    reached = [(s.steps, s.steps_of_reference) for s in shared if s.steps is not None and s.steps_of_reference]
    if len(reached) < len(shared):
        return f"reached in {len(reached)} of {len(shared)} seeds"
    if not shared:
        return ""
    return f"{np.median([a for a, _ in reached]):.0f} (ratio {np.median([a / b for a, b in reached]):.2f})"


def _rejection(points: Sequence[dict[str, Any]]) -> str:
    if any(p["lower_limit"] for p in points):
        return f"> {min(p['value'] for p in points):.0f} (95 % CL)"
    return spread([p["value"] for p in points], [p["error"] for p in points])


def _temperatures(validations: Sequence[ScoreTable]) -> str:
    try:
        return spread([Temperature.fit(v).value for v in validations], [])
    except BadInput:
        return "not defined by so few validation events"


def _caption(
    classes: Sequence[str], figures: dict[str, list[dict[str, Any]]], seeds: Sequence[Seed], against: Arm | None
) -> str:
    n = max(len(runs) for runs in figures.values())
    first = "First ±: standard deviation over the seeds; second ±: " if n > 1 else "±: "
    text = f"{first}statistical error of the test sample of {next(iter(figures.values()))[0]['n']:,} events."
    if classes:
        text += " AUC: area under the ROC curve, 1 for full separation and 0.5 for none."
    else:
        text += " Bias: mean of prediction minus truth; resolution: its interquartile range / 1.349, a Gaussian's sigma."
    if len(classes) == 2:
        text += f" Signal is {classes[1]}, background {classes[0]}; rejection is 1 over the background's efficiency."
    results = [r for r in (compared(seeds, arm) for arm in figures) if r]
    if against and results:
        text += f" Differences are an arm minus {against.name}"
        text += ", mean over seeds with its standard error" if any(r.n > 1 for r in results) else ""
        if any(r.n == 1 and np.isfinite(r.error) for r in results):
            text += f"; of a single seed with the error of {RESAMPLINGS} resamplings of the test events, the same for both"
        if any(np.isnan(r.error) for r in results):
            text += "; without error where a single seed of each was tested on different events"
        text += f". Steps: median over seeds to the first validation at or below the lowest validation loss of {against.name}."
    return text


def _pair(ours: int | None, theirs: int | None) -> str:
    return f"{'never' if ours is None else ours} vs {'never' if theirs is None else theirs}"
