"""Report: one self-contained HTML page of one or more runs, and the figures' data beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cloudchamber.events import Cloud
from cloudchamber.publish import headline as tables
from cloudchamber.publish import opening, plots
from cloudchamber.publish.displays import event_displays
from cloudchamber.publish.page import Fact, Section, Table, write_sections
from cloudchamber.publish.runs import Arm, absent_classes, further_targets, read_arms, reference, same_events


def write_report(runs: Sequence[Path], out: Path, *, title: str = "", story: str = "", data: Cloud | None = None) -> Path:
    """Write the page `out` and the numbers of its figures as JSON into `<out stem>_data/`; returns `out`.

    runs: complete run folders; those of one arm are its seeds. title: what was learned, if none is given. story:
    paragraphs, separated by an empty line, before the one that says how the arms were trained.
    data: events to show as displays. An earlier page of that name is replaced.

    Raises BadRun if a folder is no complete run or the runs cannot stand on one page.
    """
    arms = read_arms(runs)
    scored = [arm for arm in arms if arm.tables]
    results, facts = _results(scored) if scored else ((), ())
    sections = [*results, *_learning(arms), *(_shapes(scored) if scored else ())]
    for target in further_targets(scored) if scored else ():
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
        title=title or opening.title(arms),
        story=f"{story}\n\n{opening.lead(arms)}",
        facts=facts,
        origin=_origin({run.info.simulated for run in runs_shown}),
        same_events=same_events(scored) if len(runs_shown) > 1 and scored else None,
        arms=arms,
        owed=dict.fromkeys(c for run in runs_shown for c in run.info.citations),
        environment=runs_shown[0].environment,
    )


def _further(target: str, arms: Sequence[Arm]) -> tuple[list[Section], tuple[Fact, ...]]:
    """The results of a target besides the first, with titles and names of figures of their own."""
    results, facts = _results(arms)
    shapes = [replace(s, figures=tuple(replace(f, name=f"{f.name}_{target}") for f in s.figures)) for s in _shapes(arms)]
    named = [replace(s, title=f"{target.replace('_', ' ').capitalize()}: {s.title.lower()}") for s in (*results, *shapes)]
    return named, tuple(replace(f, text=f"{target.replace('_', ' ')}: {f.text}") for f in facts[:3])  # steps are those of all


def _results(arms: Sequence[Arm]) -> tuple[tuple[Section, ...], tuple[Fact, ...]]:
    against, figures = reference(arms), tables.measured(arms)
    seeds = tables.by_seed(arms, against) if against else []
    shown = [tables.headline(arms, figures, seeds, against)]
    if against and seeds:
        shown.append(tables.seed_table(seeds, tables.main_figure(arms), against))
    if len(arms[0].tables[0].classes) > 2 and not absent_classes(arms):
        shown.append(tables.class_table(arms))
    return (Section("Results", tables=tuple(shown)),), opening.facts(arms, figures, seeds, against)


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
