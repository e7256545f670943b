"""Training as the verbs do it: one network or an ensemble, new or resumed, with a bar, a report and a word on the result."""

from __future__ import annotations

from pathlib import Path

import typer

from cloudchamber.cli.progress import training_bar
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.publish.report import write_report
from cloudchamber.recipe import Recipe
from cloudchamber.run import Run
from cloudchamber.train import fit
from cloudchamber.train.ensemble import fit_ensemble


def train_run(
    recipe: Recipe,
    out: Path,
    kind: str,
    *,
    resume: bool,
    device: str,
    title: str = "",
    arm: str | None = None,
    data: TrainingSet | None = None,
) -> None:
    """Train into the run folder `out`. The page of an ensemble shows its members beside it."""
    runs: tuple[Path, ...] = (out,)
    with training_bar(arm or recipe.name) as bar:
        if recipe.seeds > 1:
            members = fit_ensemble(recipe, out, kind=kind, arm=arm, data=data, resume=resume, device=device, on_record=bar)
            runs, said = (*members, out), f"{out}: mean and spread of {', '.join(m.name for m in members)}"
        else:
            if resume:
                fitted = fit.resume(out, recipe, data=data, device=device, on_record=bar)
            else:
                fitted = fit.fit_run(recipe, out, kind=kind, arm=arm, data=data, device=device, on_record=bar)
            said = "" if fitted.report is None else f"{fitted.report}\n"
            said += f"{out}: best validation loss {fitted.progress.best_loss:.4f} at step {fitted.progress.best_step}"
            if without := Run.open(out).summary["without_target"]:
                said += f"\n{out}: {without:,} events have no known target and were left out"
    write_report(runs, out / "report.html", title=title)
    typer.echo(f"{said}\nreport: {out / 'report.html'}")
