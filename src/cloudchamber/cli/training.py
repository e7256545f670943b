"""Training as the verbs do it: one network or an ensemble, new or resumed, then its report and a word on the result."""

from __future__ import annotations

from pathlib import Path

import typer

from cloudchamber.data.training_set import TrainingSet
from cloudchamber.publish.report import write_report
from cloudchamber.recipe import Recipe
from cloudchamber.train import fit
from cloudchamber.train.ensemble import fit_ensemble
from cloudchamber.train.loop import OnRecord


def train_run(
    recipe: Recipe,
    out: Path,
    *,
    kind: str,
    arm: str | None,
    data: TrainingSet | None,
    resume: bool,
    device: str,
    on_record: OnRecord,
) -> tuple[tuple[Path, ...], str]:
    """The run folders that belong on the report's page, and what to say of the training."""
    if recipe.seeds > 1:
        members = fit_ensemble(recipe, out, kind=kind, arm=arm, data=data, resume=resume, device=device, on_record=on_record)
        return (*members, out), f"{out}: mean and spread of {', '.join(m.name for m in members)}"
    if resume:
        fitted = fit.resume(out, recipe, data=data, device=device, on_record=on_record)
    else:
        fitted = fit.fit_run(recipe, out, kind=kind, arm=arm, data=data, device=device, on_record=on_record)
    best = f"{out}: best validation loss {fitted.progress.best_loss:.4f} at step {fitted.progress.best_step}"
    return (out,), best if fitted.report is None else f"{fitted.report}\n{best}"


def tell(runs: tuple[Path, ...], out: Path, title: str, said: str) -> None:
    """Write the report of a training and say where it is."""
    write_report(runs, out / "report.html", title=title)
    typer.echo(said)
    typer.echo(f"report: {out / 'report.html'}")
