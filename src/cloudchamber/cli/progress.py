"""Progress: the bar of every long job, with rate and time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from cloudchamber.train.loop import OnRecord, Record


@contextmanager
def counting_bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over things of one kind; call the function given with how many are done and how many there are."""
    with _bar() as bar:
        task = bar.add_task(what, total=None, note="")

        def advance(done: int, total: int) -> None:
            rate = done / max(bar.tasks[0].elapsed or 0, 1e-3)
            bar.update(task, completed=done, total=total, note=f"{unit}  {rate:,.0f}/s")

        yield advance


@contextmanager
def training_bar(what: str) -> Iterator[OnRecord]:
    """A bar over the steps of a training; shows events per second and the last losses."""
    with _bar() as bar:
        task = bar.add_task(what, total=None, note="", visible=False)  # an error before the first step shows no bar
        losses = {"train": float("nan"), "val": float("nan")}

        def on_record(done: int, steps: int, record: Record) -> None:
            losses[record["split"]] = record["loss"]
            rate = record["jets"] / max(record["seconds"], 1e-9)
            note = f"{rate:,.0f} events/s  loss {losses['train']:.3f}  validation {losses['val']:.3f}"
            bar.update(task, completed=done, total=steps, note=note, visible=True)

        yield on_record


def _bar() -> Progress:
    count = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[note]}"))
    return Progress(*count, TimeElapsedColumn(), TimeRemainingColumn(), console=Console(stderr=True))
