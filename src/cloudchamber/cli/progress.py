"""Progress: the bar of every long job, with rate and time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from cloudchamber.train.loop import OnRecord, Record

# Characters: a line then fits in a terminal of 80 columns, with 5 digits of steps and of events per second.
_LONGEST_NAME = 18
_TRAINING_BAR, _COUNTING_BAR = 6, 20


@contextmanager
def counting_bar(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar over things of one kind; call the function given with how many are done and how many there are."""
    with _bar(_COUNTING_BAR) as bar:
        task = bar.add_task(what, total=None, note="")

        def advance(done: int, total: int) -> None:
            rate = done / max(bar.tasks[0].elapsed or 0, 1e-3)
            bar.update(task, completed=done, total=total, note=f"{unit}  {rate:,.0f}/s")

        yield advance


@contextmanager
def training_bar(what: str) -> Iterator[OnRecord]:
    """A bar over the steps of a training; shows events per second and the last losses."""
    what = what if len(what) <= _LONGEST_NAME else f"{what[: _LONGEST_NAME - 1]}…"
    with _bar(_TRAINING_BAR) as bar:
        task = bar.add_task(what, total=None, note="", visible=False)  # an error before the first step shows no bar
        losses = {"train": float("nan"), "val": float("nan")}

        def on_record(done: int, steps: int, record: Record) -> None:
            losses[record["split"]] = record["loss"]
            rate = record["jets"] / max(record["seconds"], 1e-9)
            note = f"{rate:,.0f} ev/s  loss {losses['train']:.3f}  val {losses['val']:.3f}"
            bar.update(task, completed=done, total=steps, note=note, visible=True)

        yield on_record


def _bar(width: int) -> Progress:
    columns = (
        TextColumn("{task.description}", style="bold", markup=False),
        BarColumn(width),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    return Progress(*columns, console=Console(stderr=True))
