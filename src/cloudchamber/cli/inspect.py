"""The verb inspect: what a file, a store or a run holds, in the terminal or as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from cloudchamber.data.inspect import Histogram, Spread, Summary

_BARS = " ▁▂▃▄▅▆▇█"


def inspect(
    what: Annotated[
        Path, typer.Argument(metavar="FILE|STORE|RUN|xs", help="A data file, a store, a run folder, or shipped weights.")
    ],
    *,
    card: Annotated[str | None, typer.Option(metavar="CARD", help="A YAML card for a file that no reader knows.")] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Look at the first N events.")] = 100_000,
    html: Annotated[Path | None, typer.Option("--html", metavar="PAGE", help="Write a self-contained page as well.")] = None,
) -> None:
    """Show what a file, store or run holds, or the card of shipped weights.

    For events: counts, features with their units, label balance, multiplicity and pT. For a run: what was asked and found.
    """
    from rich.console import Console

    console = Console(highlight=False)
    if (what / "run.json").is_file():
        _show_run(console, what)
        return
    if not what.exists() and (card_of := _weights_card(str(what))):
        console.print(card_of, markup=False, soft_wrap=True)
        return
    from cloudchamber.data.inspect import describe

    summary = describe(what, card=card, limit=limit)
    _show_summary(console, summary)
    if html is not None:
        from cloudchamber.cli.inspect_page import write_page

        write_page(summary, html)
        console.print(f"page: {html}", soft_wrap=True)


def _weights_card(name: str) -> str | None:
    """The model card of shipped weights; None if none are called so."""
    from cloudchamber.train.weights import SHIPPED, shipped_names

    return (SHIPPED / name / "card.md").read_text() if name in shipped_names() else None


def _show_run(console: Console, path: Path) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from cloudchamber.run import Run

    run = Run.open(path)
    state = "complete" if run.done else "not complete"
    parts = {"run.json": run.info}
    if (path / "summary.json").is_file():
        parts["summary.json"] = run.summary
    for name, content in parts.items():
        table = Table("entry", "value", title=f"{path / name} ({state})", title_justify="left", box=SIMPLE_HEAD)
        for entry, value in _flatten(content).items():
            table.add_row(entry, value)
        console.print(table)


def _flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested entries as `outer.inner` -> text."""
    rows: dict[str, str] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            rows |= _flatten(value, f"{prefix}{name}.")
        else:
            rows[prefix + name] = f"{value:.5g}" if isinstance(value, float) else str(value)
    return rows


def _show_summary(console: Console, summary: Summary) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    origin = {True: "simulated", False: "recorded", None: "origin not stated"}[summary.simulated]
    console.print(Text(summary.source, style="bold"), soft_wrap=True)
    console.print(f"{summary.dataset}: {origin}, frame {summary.frame}, read by {summary.reader}")
    console.print(how_many(summary))
    if summary.splits:
        console.print("splits: " + ", ".join(f"{name} {count:,}" for name, count in summary.splits.items()))
    if summary.notes:
        console.print(Text(summary.notes, style="italic"))
    console.print(f"licence: {summary.licence}; cite: {', '.join(summary.citation) or 'not stated'}")
    _show_spreads(console, "particle features", summary.features)
    _show_spreads(console, "event columns and numeric labels", (*summary.columns, *summary.labels))
    for label, balance in summary.classes.items():
        table = Table("class", "events", "fraction", "", title=f"label {label}", title_justify="left", box=SIMPLE_HEAD)
        largest = max(balance.values(), default=0) or 1
        for name, count in balance.items():
            fraction = count / max(summary.described, 1)
            table.add_row(name, f"{count:,}", f"{fraction:.3f}", "█" * round(24 * count / largest))
        console.print(table)
    table = Table("quantity", "from", "distribution", "to", title="distributions", title_justify="left", box=SIMPLE_HEAD)
    for histogram in summary.histograms:
        low, high = (f"{edge:.4g}{_unit(histogram.unit)}" for edge in (histogram.edges[0], histogram.edges[-1]))
        table.add_row(histogram.name, low, bars(histogram), high)
    console.print(table)


def how_many(summary: Summary) -> str:
    """How many events there are and are shown; where a row of the file holds several jets, both are counted."""
    mean = f"{summary.particles / max(summary.described, 1):.1f} particles each"
    if summary.described > summary.events:
        what = "jets" if summary.frame == "jet" else "events"
        return f"{summary.events:,} rows in the file, with {summary.described:,} {what} that are shown below, {mean}"
    looked = "" if summary.described == summary.events else f" (the first {summary.described:,} are shown below)"
    return f"{summary.events:,} events{looked}, {mean}"


def _show_spreads(console: Console, title: str, spreads: tuple[Spread, ...]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    if not spreads:
        return
    table = Table(
        "name", "unit", *("minimum", "median", "maximum", "missing"), title=title, title_justify="left", box=SIMPLE_HEAD
    )
    for s in spreads:
        values = ("-" if v is None else f"{v:.5g}" for v in (s.minimum, s.median, s.maximum))
        table.add_row(s.name, s.kind if s.unit == "1" and s.kind != "number" else s.unit, *values, f"{100 * s.missing:.1f} %")
    console.print(table)


def bars(histogram: Histogram) -> str:
    """The histogram as one line of block characters; a bin that is not empty never looks empty."""
    largest = max(histogram.counts) or 1
    heights = (-(-count * (len(_BARS) - 1) // largest) for count in histogram.counts)
    return "".join(_BARS[height] for height in heights)


def _unit(unit: str) -> str:
    return "" if unit == "1" else f" {unit}"
