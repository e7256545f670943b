"""Training as the verbs do it: one network or an ensemble, new or resumed, with a bar, a report and a word on the result."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import typer

from cloudchamber.cli.progress import training_bar
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe
from cloudchamber.publish.report import write_report
from cloudchamber.recipe import Recipe
from cloudchamber.run import Run
from cloudchamber.train import fit
from cloudchamber.train.ensemble import fit_ensemble
from cloudchamber.train.parallel import Mode, joined, restarted


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
    parallel: Mode | None = None,
) -> None:
    """Train into the run folder `out`. The page of an ensemble shows its members beside it.

    Of the processes of torchrun the first shows and writes. Restarted ones go on where the killed ones were.
    """
    runs: tuple[Path, ...] = (out,)
    with joined(parallel, device) as ranks, training_bar(arm or recipe.name) if ranks.first else nullcontext() as bar:
        resume = ranks.gathered(resume or (restarted() and (out / "run.json").is_file()))[0]
        if recipe.seeds > 1:
            if ranks.mode is not None:
                raise BadRecipe(f"{recipe.seeds} seeds: torchrun trains one network; give each seed a run of its own")
            members = fit_ensemble(recipe, out, kind=kind, arm=arm, data=data, resume=resume, device=device, on_record=bar)
            runs, said = (*members, out), f"{out}: mean and spread of {', '.join(m.name for m in members)}"
        else:
            if resume:
                fitted = fit.resume(out, recipe, data=data, device=device, on_record=bar, ranks=ranks)
            else:
                fitted = fit.fit_run(recipe, out, kind=kind, arm=arm, data=data, device=device, on_record=bar, ranks=ranks)
            if not ranks.first:
                raise typer.Exit
            said = "" if fitted.report is None else f"{fitted.report}\n"
            said += f"{out}: best validation loss {fitted.progress.best_loss:.4f} at step {fitted.progress.best_step}"
            if without := Run.open(out).summary["without_target"]:
                said += f"\n{out}: {without:,} events have no known target and were left out"
    write_report(runs, out / "report.html", title=title)
    typer.echo(f"{said}\nreport: {out / 'report.html'}")
