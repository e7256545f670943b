"""The verb pretrain: a recipe in, a run folder with weights out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pretrain(
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder.")],
    recipe: Annotated[Path | None, typer.Argument(help="The recipe, a YAML file; with --resume it is the run's own.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the killed run in --out.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Train a model on a recipe's data and objectives; the run folder holds its weights.

    Pre-training, training from scratch and fine-tuning are the same loop: what differs is the recipe.
    """
    from cloudchamber.cli.progress import training_bar
    from cloudchamber.errors import BadRecipe
    from cloudchamber.publish.report import write_report
    from cloudchamber.recipe import load
    from cloudchamber.train import fit

    asked = None if recipe is None else load(recipe)
    with training_bar("training" if asked is None else asked.name) as on_record:
        if resume:
            fitted = fit.resume(out, asked, device=device, on_record=on_record)
        elif asked is None:
            raise BadRecipe("no recipe is given. Name a YAML file, such as recipes/xs.yaml, or --resume a run.")
        else:
            fitted = fit.fit_run(asked, out, kind="pretrain", device=device, on_record=on_record)
    write_report([out], out / "report.html", title=f"Training {fitted.recipe.name}")
    typer.echo(f"{out}: best validation loss {fitted.progress.best_loss:.4f} at step {fitted.progress.best_step}")
    typer.echo(f"weights: {out / 'model'}   report: {out / 'report.html'}")
