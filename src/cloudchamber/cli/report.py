"""The verb report: one self-contained HTML page from run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Complete run folders, on the same data and target.")],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PAGE", help="The HTML page to write.")],
    title: Annotated[str, typer.Option(help="The page's title; what was learned without it.")] = "",
    story: Annotated[str, typer.Option(help="A paragraph under the title.")] = "",
    events: Annotated[
        Path | None, typer.Option(metavar="STORE|FILE", help="Show the first events of each class of this data set.")
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace a page that is there.")] = False,
) -> None:
    """Write one self-contained HTML page of one or more runs.

    Runs that differ in their seed alone are one arm: one curve with a band over the seeds. The page of a search has its plan,
    closure, null, frontier, ledger, and after `unblind` the result. The figures' numbers lie beside the page as JSON.
    """
    from cloudchamber.data import read
    from cloudchamber.errors import BadInput
    from cloudchamber.publish.report import write_report
    from cloudchamber.publish.search_page import is_search, write_search_page

    if out.exists() and not replace:
        raise BadInput(f"{out}: is there already. Give another name with -o, or --replace.")
    data = None if events is None else read(events)
    if any(map(is_search, runs)):
        if len(runs) > 1:
            raise BadInput(f"the page of a search is of that run alone, got {len(runs)} runs")
        written = write_search_page(runs[0], out, title=title, story=story, data=data)
    else:
        written = write_report(runs, out, title=title, story=story, data=data)
    typer.echo(f"report: {written}")
