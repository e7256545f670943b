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
    lora = "lora"
    probe = "probe"
    scratch = "scratch"


_PREFIX = {
    Adaptation.full: "fine-tuned",
    Adaptation.lora: "LoRA on",
    Adaptation.probe: "probe on",
    Adaptation.scratch: "scratch",
}


def finetune(  # typer reads the options in this order
    weights: Annotated[str, typer.Argument(help="Shipped weights (xs), a run folder; with --adapt scratch a size.")],
    data: Annotated[list[Path], typer.Argument(help="A store, or files of any known format.")],
    target: Annotated[str, typer.Option("-t", "--target", help="Label to learn; 'label' is the only class label.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder.")],
    adapt: Annotated[
        Adaptation, typer.Option(help="Train all, low-rank changes, the head alone, or from a random start.")
    ] = Adaptation.full,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the changes of --adapt lora; 8 without it.")] = None,
    layer_decay: Annotated[float, typer.Option(help="Factor on the rate from each block to the one before it.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Fixes the start and the order of events.")] = 0,
    steps: Annotated[int | None, typer.Option(min=1, help=_STEPS)] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train so many networks as an ensemble: mean and spread.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Events per step.")] = 64,
    learning_rate: Annotated[float | None, typer.Option(help="Peak rate; from the size without it.")] = None,
    train_events: Annotated[int | None, typer.Option(min=1, help="Use only so many training events.")] = None,
    card: Annotated[Path | None, typer.Option(help="YAML card that describes the files.")] = None,
    leading_jets: Annotated[int | None, typer.Option(min=1, help="Events as their N leading anti-kt R = 1 jets.")] = None,
    max_particles: Annotated[int, typer.Option(min=1, help="Particles per event, leading in pT.")] = 128,
    keep_head: Annotated[bool, typer.Option("--keep-head", help="Start from the head that the weights have for it.")] = False,
    new_feature: Annotated[list[str] | None, typer.Option(help="A feature unknown to the weights that may be added.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the killed run in --out.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Adapt weights to labelled events; writes a run folder with model, test scores and report."""
    from cloudchamber import recipe as recipes
    from cloudchamber.cli.training import train_run
    from cloudchamber.train import fit

    recipe = recipes.make(
        {
            "name": f"{adapt} {weights}",
            "size": weights if adapt is Adaptation.scratch else "xs",
            "weights": None if adapt is Adaptation.scratch else weights,
            "adapt": str(adapt),
            "rank": rank,
            "data": tuple(str(p) for p in data),
            "card": None if card is None else str(card),
            "leading_jets": leading_jets,
            "train_events": train_events,
            "max_particles": max_particles,
            "new_features": tuple(new_feature or ()),
            "tasks": ({"task": "classify", "target": target, "kept": keep_head},),
            "optimisation": {"steps": steps, "batch": batch, "learning_rate": learning_rate, "layer_decay": layer_decay},
            "seed": seed,
            "seeds": seeds,
        }
    )
    events = fit.open_data(recipe)
    task = fit.task_for(target, events.schema)
    train_run(
        recipe.model_copy(update={"tasks": (task.model_copy(update={"kept": keep_head}),)}),
        out,
        "finetune",
        arm=f"{_PREFIX[adapt]} {weights}",
        data=events,
        resume=resume,
        device=device,
    )
