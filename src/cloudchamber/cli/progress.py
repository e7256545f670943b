"""Progress: the bar of every long job, with rate and time left, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cloudchamber.train.loop import OnRecord, Record


@contextmanager
def training_bar(what: str) -> Iterator[OnRecord]:
    """A bar over the steps of a training; shows events per second and the last losses."""
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=None, note="", visible=False)  # an error before the first step shows no bar
        losses = {"train": float("nan"), "val": float("nan")}

        def on_record(done: int, steps: int, record: Record) -> None:
            losses[record["split"]] = record["loss"]
            rate = record["jets"] / max(record["seconds"], 1e-9)
            note = f"{rate:,.0f} events/s  loss {losses['train']:.3f}  validation {losses['val']:.3f}"
            bar.update(task, completed=done, total=steps, note=note, visible=True)

        yield on_record
