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
    calibrate: Annotated[
        str | None, typer.Option(help="temperature or isotonic, fitted to the run's validation events.")
    ] = None,
    conformal: Annotated[
        list[float] | None, typer.Option(help="Coverage of sets or intervals at this level, such as 0.9.")
    ] = None,
    reweight: Annotated[
        bool, typer.Option("--reweight", help="Correct the coverage for events other than those of training.")
    ] = False,
    domain: Annotated[bool, typer.Option("--domain", help="How many events lie outside of what the model knows.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Measure a trained model on labelled events: accuracy, AUC, rejection, calibration, or bias and resolution.

    With --calibrate, --conformal and --domain also its uncertainty, from the validation events that the run keeps. Of
    events that the model may have been trained on, only the test split is used; of others, all.
    """
    from rich.console import Console
    from rich.table import Table

    from cloudchamber.stats import ScoreTable, recalibrated, summarise, summarise_uncertainty
    from cloudchamber.train.scoring import VALIDATION, score_run, unseen

    table = score_run(run, data, card=card, task=task, embed=reweight or domain, device=device)
    events = len(table)
    table = unseen(run, data, table)
    if len(table) < events:
        typer.echo(f"the model was trained on these events: using the {len(table):,} of their test split", err=True)
    if calibrate or conformal or reweight or domain:
        validation = ScoreTable.read(run / VALIDATION)
        figures = summarise(recalibrated(table, validation, calibrate) if calibrate else table)
        figures |= summarise_uncertainty(validation, table, conformal or (), reweight=reweight, domain=domain)
    else:
        figures = summarise(table)
    if as_json:
        typer.echo(json.dumps(figures, indent=2))
        return
    shown = Table("figure", "value", "error")
    for name, value in figures.items():
        if isinstance(value, dict):
            for point, entry in value.items():
                limit = entry["lower_limit"]  # a limit has a confidence level in place of an error
                number, told = f"{'> ' if limit else ''}{entry['value']:.4g}", "95 % CL" if limit else f"{entry['error']:.2g}"
                shown.add_row(f"{name} at {point}", number, told)
        elif not name.endswith("_error"):
            own = figures.get(f"{name}_error")
            shown.add_row(name, f"{value:.4g}" if value is not None else "-", f"{own:.2g}" if own is not None else "")
    Console().print(shown)
