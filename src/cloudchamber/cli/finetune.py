"""The verb finetune: weights and labelled events in, an adapted model and its report out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

_STEPS = (
    "Steps; without it enough for 20 passes over the training events, kept between 7,680 and 300,000 presented events, "
    "but never fewer than 3 passes."
)


class Adaptation(StrEnum):
    """What of the weights is trained."""

    full = "full"
    probe = "probe"
    scratch = "scratch"


def finetune(  # typer reads the options in this order
    weights: Annotated[str, typer.Argument(help="Shipped weights (xs), a run folder; with --adapt scratch a size.")],
    data: Annotated[list[Path], typer.Argument(help="A store, or files of any known format.")],
    target: Annotated[str, typer.Option("-t", "--target", help="Label to learn; 'label' is the only class label.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder.")],
    adapt: Annotated[Adaptation, typer.Option(help="Train all, the head alone, or from a random start.")] = Adaptation.full,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the start and the order of events.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help=_STEPS)] = None,
    batch: Annotated[int, typer.Option(min=1, help="Events per step.")] = 64,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate; from the size without it.")] = None,
    train_events: Annotated[int | None, typer.Option(min=1, help="Use only so many training events.")] = None,
    card: Annotated[Path | None, typer.Option(help="YAML card that describes the files.")] = None,
    leading_jets: Annotated[int | None, typer.Option(min=1, help="Events as their N leading anti-kt R = 1 jets.")] = None,
    max_particles: Annotated[int, typer.Option(min=1, help="Particles per event, leading in pT.")] = 128,
    new_feature: Annotated[list[str] | None, typer.Option(help="A feature unknown to the weights that may be added.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the killed run in --out.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Adapt weights to labelled events; writes a run folder with model, test scores and report."""
    from cloudchamber import recipe as recipes
    from cloudchamber.cli.progress import training_bar
    from cloudchamber.publish.report import write_report
    from cloudchamber.run import Run
    from cloudchamber.train import fit

    recipe = recipes.make(
        {
            "name": f"{adapt} {weights}",
            "size": weights if adapt is Adaptation.scratch else "xs",
            "weights": None if adapt is Adaptation.scratch else weights,
            "adapt": str(adapt),
            "data": tuple(str(p) for p in data),
            "card": None if card is None else str(card),
            "leading_jets": leading_jets,
            "train_events": train_events,
            "max_particles": max_particles,
            "new_features": tuple(new_feature or ()),
            "tasks": ({"task": "classify", "target": target},),
            "optimisation": {"steps": steps, "batch": batch, "learning_rate": learning_rate},
            "seed": seed,
        }
    )
    prefix = {Adaptation.full: "fine-tuned", Adaptation.probe: "probe on", Adaptation.scratch: "scratch"}[adapt]
    arm = f"{prefix} {weights}"
    with training_bar(arm) as on_record:
        events = fit.open_data(recipe)
        recipe = fit.with_suitable_task(recipe, events.schema)
        if resume:
            fitted = fit.resume(out, recipe, data=events, device=device, on_record=on_record)
        else:
            fitted = fit.fit_run(recipe, out, kind="finetune", arm=arm, data=events, device=device, on_record=on_record)
    if fitted.report is not None:
        typer.echo(str(fitted.report))
    if without := Run.open(out).summary["without_target"]:
        typer.echo(f"{without:,} events have no known {target!r} and were left out")
    write_report([out], out / "report.html")
    typer.echo(f"{out}: best validation loss {fitted.progress.best_loss:.4f} at step {fitted.progress.best_step}")
    typer.echo(f"report: {out / 'report.html'}")
