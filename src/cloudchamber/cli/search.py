"""The verb search: a plan and a score table in, a blind run out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def search(
    plan: Annotated[Path, typer.Argument(help="A YAML plan: regions, background, alternatives, methods, generality.")],
    table: Annotated[Path, typer.Argument(help="The events: a score table of predict --embed, or any Parquet file.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The run folder to write, or a killed one to go on with.")],
    ledger: Annotated[Path | None, typer.Option(help="Where looks are recorded; ledger.jsonl beside the run without.")] = None,
    campaign: Annotated[
        float | None,
        typer.Option(help="Start a new ledger: the error of all its searches, of which each plan claims its alpha."),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes for pseudo-experiments.")] = 1,
) -> None:
    """Search for what the background does not explain, blind: freeze the plan, test closure, measure the null and the power.

    Nothing of the signal region is shown. `unblind` does that, once, if the background is described where there is no signal.
    """
    from cloudchamber.search.searching import search as run_search

    def told(stage: str) -> None:
        typer.echo(stage, err=True)

    run = run_search(plan, table, out, ledger=ledger, campaign=campaign, workers=workers, on_stage=told)
    summary = run.summary
    if summary["closure_p"] is not None:
        gate = "closed" if summary["closed"] else "NOT closed: it stays blind"
        typer.echo(f"closure: p = {summary['closure_p']:.3g}, {gate}; template variance times {summary['inflation']:.3g}")
    if (least := summary["least_p"]) is not None and least > summary["alpha"]:
        typer.echo(
            f"its toys measure p-values down to {least:.2g}, alpha is {summary['alpha']:.3g}: what lies below is out of "
            "reach or extrapolated. Give the plan more toys before the look; there is only one."
        )
    typer.echo(f"{out}: blind. Plan and looks are recorded in {run.info['ledger']}.")
