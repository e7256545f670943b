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

    Runs that differ in their seed alone are one arm: one curve with a band over the seeds. The figures' numbers lie beside
    the page as JSON.
    """
    from cloudchamber.data import read
    from cloudchamber.errors import BadInput
    from cloudchamber.publish.report import write_report

    if out.exists() and not replace:
        raise BadInput(f"{out}: is there already. Give another name with -o, or --replace.")
    written = write_report(runs, out, title=title, story=story, data=None if events is None else read(events))
    typer.echo(f"report: {written}")
