"""The verb convert: files of any known format in, a store out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="ROOT, HDF5, npz or Parquet files, or stores.")],
    *,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STORE", help="The new store's folder.")],
    card: Annotated[
        str | None, typer.Option(metavar="CARD", help="A YAML card that says what the columns mean, or a shipped card's name.")
    ] = None,
    leading_jets: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Cluster whole events (anti-kt, R = 1) and keep N leading jets.")
    ] = None,
    max_events: Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after the first N events.")] = None,
) -> None:
    """Convert files of any known format to one store.

    The format is recognised from the content. Bad files stop the work with one error, and nothing is left behind.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from cloudchamber import data
    from cloudchamber.errors import BadStore

    if out.exists():  # said before the files are hashed and counted
        raise BadStore(f"{out}: is there already. Give another folder with -o, or remove it yourself.")
    bar = Progress(
        *(TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TextColumn("events {task.fields[rate]}")),
        *(TimeElapsedColumn(), TimeRemainingColumn()),
        console=Console(stderr=True),
    )
    task = bar.add_task("", total=None, rate="")

    def advance(done: int, total: int) -> None:
        rate = done / max(bar.tasks[0].elapsed or 0, 1e-3)
        bar.update(task, completed=done, total=total, rate=f"{rate:,.0f}/s")

    with bar:
        store = data.convert(files, out, card=card, leading_jets=leading_jets, max_events=max_events, progress=advance)
    splits = ", ".join(f"{count:,} {name}" for name, count in store.manifest.splits.items())
    typer.echo(f"{out}: {len(store):,} events of {store.schema.dataset} ({splits})")
