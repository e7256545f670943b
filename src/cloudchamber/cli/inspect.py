"""The verb inspect: what files, stores or a run hold and what is wrong with them, in the terminal, as a page, as a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from cloudchamber.data.findings import Finding
    from cloudchamber.data.survey import Survey

_BARS = " ▁▂▃▄▅▆▇█"


def inspect(
    what: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...|STORE|RUN|xs", help="Data files, stores, a run folder, or shipped weights."),
    ],
    *,
    card: Annotated[str | None, typer.Option(metavar="CARD", help="A YAML card for a file that no reader knows.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Look at N events of each file or store.")] = 100_000,
    report: Annotated[
        Path | None, typer.Option(metavar="PAGE", help="Write a self-contained page: distributions by class and by file.")
    ] = None,
    data_card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a data-set card: counts, features, licence, known flaws.")
    ] = None,
) -> None:
    """Show what files, stores or a run hold, and what is wrong with it; or the card of shipped weights.

    For events: counts, features with their units, label balance, distributions, and findings such as copies of events,
    suspected units or files that differ; the exit status is 1 if a finding is serious. For a run: what was asked and found.
    """
    from rich.console import Console

    console = Console(highlight=False)
    runs = [path for path in what if (path / "run.json").is_file()]
    for path in runs:
        _show_run(console, path)
    cards = {path: text for path in what if not path.exists() and (text := _weights_card(str(path)))}
    for text in cards.values():
        console.print(text, markup=False, soft_wrap=True)
    if not (files := [path for path in what if path not in runs and path not in cards]):
        return
    from cloudchamber.cli.progress import counting_bar
    from cloudchamber.data import findings, survey
    from cloudchamber.run import atomic

    with counting_bar("looking", "events") as show:
        seen = survey(files, card, limit=limit, progress=show)
        found = findings(seen)
    _show_survey(console, seen)
    _show_findings(console, found)
    if report is not None:
        from cloudchamber.publish.page import write_page
        from cloudchamber.publish.survey_plots import survey_plots

        write_page(report, "inspect", survey=seen, findings=found, spreads=_spreads(seen), figures=survey_plots(seen))
        console.print(f"page: {report}", soft_wrap=True)
    if data_card is not None:
        from cloudchamber.publish.card import data_set_card

        with atomic(data_card) as temporary:
            temporary.write_text(data_set_card(seen, found), encoding="utf-8")
        console.print(f"data-set card: {data_card}", soft_wrap=True)
    if any(f.severity == "serious" for f in found):
        raise typer.Exit(1)


def _spreads(survey: Survey) -> list[tuple[str, ...]]:
    """Name, unit, smallest, median (of the sample) and largest value, and the missing share of every column, as text."""
    import numpy as np

    rows = []
    for name, values in survey.values(survey.sample):
        t, there = survey.columns[name], values[~np.isnan(values)]
        median = float(np.median(there)) if len(there) else None
        numbers = (t.minimum, median, t.maximum) if t.size > t.missing else (None,) * 3
        texts = ["-" if v is None else f"{v:.5g}" for v in numbers]
        unit = t.kind if t.unit == "1" and t.kind != "number" else t.unit
        rows.append((name, unit, *texts, f"{100 * t.missing / max(t.size, 1):.1f} %"))
    return rows


def _weights_card(name: str) -> str | None:
    """The model card of shipped weights; None if none are called so."""
    from cloudchamber.train.weights import SHIPPED, shipped_names

    return (SHIPPED / name / "card.md").read_text() if name in shipped_names() else None


def _show_run(console: Console, path: Path) -> None:
    from cloudchamber.run import Run

    run = Run.open(path)
    state = "complete" if run.done else "not complete"
    parts = {"run.json": run.info}
    if (path / "summary.json").is_file():
        parts["summary.json"] = run.summary
    for name, content in parts.items():
        console.print(_table(f"{path / name} ({state})", ("entry", "value"), list(_flatten(content).items())))


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested entries as `outer.inner` -> text."""
    rows: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            rows |= _flatten(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = f"{value:.5g}" if isinstance(value, float) else str(value)
    return rows


def _show_survey(console: Console, survey: Survey) -> None:
    import numpy as np
    from rich.text import Text

    from cloudchamber.data.survey import binned, variables

    s = survey.schema
    files = survey.parts[0] + (f" and {len(survey.parts) - 1} more" if len(survey.parts) > 1 else "")
    console.print(Text(files, style="bold"), soft_wrap=True)
    console.print(f"{s.dataset}: {s.origin}, frame {s.frame}, read by {survey.reader}")
    console.print(survey.how_many)
    console.print("splits by event id: " + ", ".join(f"{n} {c:,}" for n, c in survey.split_counts.items()))
    if s.notes:
        console.print(Text(s.notes, style="italic"))
    console.print(f"licence: {s.licence}; cite: {', '.join(s.citation) or 'not stated'}")
    console.print(_table("columns", ("name", "unit", "minimum", "median", "maximum", "missing"), _spreads(survey)))
    for label in survey.classes:
        counts = survey.class_counts(label)
        largest, n = max(counts.values(), default=0) or 1, max(sum(counts.values()), 1)
        rows = [(name, f"{c:,}", f"{c / n:.3f}", "█" * round(24 * c / largest)) for name, c in counts.items()]
        console.print(_table(f"label {label}", ("class", "events", "fraction", ""), rows))
    lines = []
    for name, (unit, values) in variables(survey.sample).items():
        edges = binned(values)
        low, high = (f"{edge:.4g}" + ("" if unit == "1" else f" {unit}") for edge in (edges[0], edges[-1]))
        lines.append((name, low, bars(np.histogram(values, edges)[0].tolist()), high))
    console.print(_table("distributions of a sample", ("quantity", "from", "distribution", "to"), lines))


def _show_findings(console: Console, found: Sequence[Finding]) -> None:
    if not found:
        console.print("findings: none")
        return
    rows = [(f.severity, f.what, f.where, f"{f.count:,}", f.text) for f in found]
    console.print(_table("findings", ("", "what", "where", "count", "how bad"), rows))


def _table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(*header, title=title, title_justify="left", box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # names of a file may hold rich's own brackets
    return table


def bars(counts: Sequence[int]) -> str:
    """A histogram as one line of block characters; a bin that is not empty never looks empty."""
    largest = max(counts) or 1
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // largest)] for count in counts)
