"""Report: one self-contained HTML page of one or more runs, and the figures' data beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from statistics import median
from typing import Any

from cloudchamber.events import Cloud
from cloudchamber.publish import headline as tables
from cloudchamber.publish import plots
from cloudchamber.publish.displays import event_displays
from cloudchamber.publish.page import Fact, Section, Table, write_sections
from cloudchamber.publish.runs import Arm, absent_classes, further_targets, read_arms, reference, same_events

_WAYS = {
    "full": "starts from the pre-trained weights {weights} and trains all of them",
    "lora": "keeps the pre-trained weights {weights} and trains low-rank changes to them, and the head",
    "probe": "keeps the pre-trained weights {weights} and trains the head alone",
    "scratch": "starts from random numbers",
}


def write_report(runs: Sequence[Path], out: Path, *, title: str = "", story: str = "", data: Cloud | None = None) -> Path:
    """Write the page `out` and the numbers of its figures as JSON into `<out stem>_data/`; returns `out`.

    runs: complete run folders; those of one arm are its seeds. title: what was learned, if none is given. story:
    paragraphs, separated by an empty line, before the one that says how the arms were trained.
    data: events to show as displays. An earlier page of that name is replaced.

    Raises BadRun if a folder is no complete run or the runs cannot stand on one page.
    """
    arms = read_arms(runs)
    scored = [arm for arm in arms if arm.tables]
    results, facts = _results(scored) if scored else (None, ())
    sections = [*([results] if results else []), *_learning(arms), *(_shapes(scored) if scored else [])]
    for target in further_targets(scored):
        found, also = _further(target, [arm.judged_on(target) for arm in scored])
        sections, facts = [*sections, *found], (*facts, *also)
    if uncertain := tables.uncertainty_table(scored):
        sections.append(Section("Uncertainty", tables=(uncertain,)))
    if data is not None and len(data):
        sections.append(Section("Event displays", figures=(event_displays(data, _label(arms, data)),)))
    sections.append(Section("Time and cost", tables=(_cost(arms),)))
    runs_shown = [run for arm in arms for run in arm.runs]
    return write_sections(
        out,
        "report",
        sections,
        title=title or _title(arms),
        story=f"{story}\n\n{lead(arms)}",
        facts=facts,
        origin=_origin({run.info.simulated for run in runs_shown}),
        same_events=same_events(scored) if len(runs_shown) > 1 and scored else None,
        arms=arms,
        owed=dict.fromkeys(c for run in runs_shown for c in run.info.citations),
        environment=runs_shown[0].environment,
    )


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


def _title(arms: Sequence[Arm]) -> str:
    """What was learned, from which data, in which ways."""
    names = ", ".join(arm.name for arm in arms) if len(arms) < 3 else f"{len(arms)} ways of training"
    scored = [t for arm in arms for t in arm.tables]
    if not scored:
        return f"Training: {names}"
    classes = scored[0].classes
    what = f"{scored[0].target} ({', '.join(classes) if len(classes) < 5 else f'{len(classes)} classes'})"
    what = f"Classifying {what}" if classes else f"Predicting {tables.with_unit(scored[0].target, scored[0].unit)}"
    return f"{what} in {', '.join(Path(d).name for d in arms[0].runs[0].info.data_names)}: {names}"


def _further(target: str, arms: Sequence[Arm]) -> tuple[list[Section], tuple[Fact, ...]]:
    """The results of a target besides the first, with titles and names of figures of their own."""
    results, facts = _results(arms)
    shapes = [replace(s, figures=tuple(replace(f, name=f"{f.name}_{target}") for f in s.figures)) for s in _shapes(arms)]
    named = [replace(s, title=f"{target.replace('_', ' ').capitalize()}: {s.title.lower()}") for s in (results, *shapes)]
    return named, tuple(replace(f, text=f"{target.replace('_', ' ')}: {f.text}") for f in facts[:3])  # steps are those of all


def _results(arms: Sequence[Arm]) -> tuple[Section, tuple[Fact, ...]]:
    against, figures = reference(arms), tables.measured(arms)
    seeds = tables.by_seed(arms, against) if against else []
    shown = [tables.headline(arms, figures, seeds, against)]
    if against and seeds:
        shown.append(tables.seed_table(seeds, tables.main_figure(arms), against))
    if len(arms[0].tables[0].classes) > 2 and not absent_classes(arms):
        shown.append(tables.class_table(arms))
    return Section("Results", tables=tuple(shown)), _facts(arms, figures, seeds, against)


def _facts(
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


def _shapes(arms: Sequence[Arm]) -> list[Section]:
    """What one number does not say: curves of classifiers, residuals of regressors."""
    classes = arms[0].tables[0].classes
    if not classes:
        return [Section("Residuals", figures=(plots.residual_plots(arms),))]
    if absent_classes(arms):
        return []
    confusion = [Section("Confusion", figures=(plots.confusion_matrices(arms),))] if len(classes) > 2 else []
    roc, calibration = plots.roc_curves(arms), plots.calibration_curves(arms)
    return [Section("ROC curves", figures=(roc,)), *confusion, Section("Calibration", figures=(calibration,))]


def _learning(arms: Sequence[Arm]) -> list[Section]:
    figure = plots.learning_curves(arms)
    return [Section("Learning curves", figures=(figure,))] if figure else []


def _label(arms: Sequence[Arm], data: Cloud) -> str | None:
    """The label whose classes the displays show: the runs' target, else the first class label of the data."""
    targets = [t.target for arm in arms for t in arm.tables[:1]]
    classes = [label.name for label in data.schema.labels if label.classes]
    return next((name for name in (*targets, *classes) if name in classes), None)


def _cost(arms: Sequence[Arm]) -> Table:
    columns = (
        "Arm",
        "Runs",
        "Parameters",
        "Trained",
        "Training events",
        "Batch",
        "Steps",
        "Events seen",
        "Wall time [s]",
        "Events / s",
    )
    rows = []
    for arm in arms:
        runs = [r.summary for r in arm.runs]
        s, wall = runs[0], [r.wall_s for r in runs if r.wall_s]
        seconds = sum(wall) / len(wall) if wall else None
        rate = s.jets_seen / seconds if s.jets_seen and seconds else None
        counts = (s.parameters, s.trained, s.train_jets, s.batch, s.steps, s.jets_seen)
        rows.append((arm.name, str(len(runs)), *map(_count, counts), f"{seconds:.1f}" if seconds else "", _count(rate)))
    machine = arms[0].runs[0].environment
    where = (
        f" Machine: {machine.get('cpu_count', '?')} CPU threads, {machine.get('platform', 'not recorded')}." if machine else ""
    )
    return Table(columns, tuple(rows), f"Wall time: of the training steps, mean over an arm's runs.{where}")


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _origin(simulated: set[bool | None]) -> str:
    """What the captions say about where the events come from."""
    if simulated == {True}:
        return "Simulation"
    if simulated == {False}:
        return "Recorded data"
    return "Origin of the events not stated" if simulated == {None} else "Simulation and recorded data"
