"""The verb evaluate: a trained run and labelled events in, its figures with their errors out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def evaluate(
    run: Annotated[Path, typer.Argument(help="A run folder of finetune or pretrain.")],
    data: Annotated[list[Path], typer.Argument(help="Labelled events: a store, or files of any known format.")],
    card: Annotated[Path | None, typer.Option(help="YAML card of the files; that of the training without it.")] = None,
    task: Annotated[str | None, typer.Option(help="Which task, if the model has several.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure a trained model on labelled events: accuracy, AUC, rejection, calibration, or bias and resolution.

    All events given are used: give events that the training has not seen.
    """
    from rich.console import Console
    from rich.table import Table

    from cloudchamber.stats import summarise
    from cloudchamber.train.scoring import score_run

    figures = summarise(score_run(run, data, card=card, task=task))
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    table = Table("figure", "value", "error")
    for name, value in figures.items():
        if isinstance(value, dict):
            for point, entry in value.items():
                number = f"{'> ' if entry['lower_limit'] else ''}{entry['value']:.4g}"
                table.add_row(f"{name} at {point}", number, "" if entry["error"] is None else f"{entry['error']:.2g}")
        elif not name.endswith("_error"):
            error = figures.get(f"{name}_error")
            table.add_row(name, f"{value:.4g}" if value is not None else "-", f"{error:.2g}" if error is not None else "")
    Console().print(table)
