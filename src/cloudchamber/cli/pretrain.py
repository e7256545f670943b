"""The verb pretrain: a recipe in, a run folder with weights out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

_PARALLEL = "How the processes of torchrun share the work; ddp without it."


class Parallel(StrEnum):
    """What of the network each process holds: all of it, or a shard."""

    ddp = "ddp"
    fsdp = "fsdp"


def pretrain(
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder.")],
    recipe: Annotated[Path | None, typer.Argument(help="The recipe, a YAML file; with --resume it is the run's own.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the killed run in --out.")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    parallel: Annotated[Parallel | None, typer.Option(help=_PARALLEL)] = None,
) -> None:
    """Train a model on a recipe's data and objectives; the run folder holds its weights.

    Pre-training, training from scratch and fine-tuning are the same loop: what differs is the recipe. Several processes or
    GPUs train one model under torchrun; see docs/scale.md.
    """
    from cloudchamber.cli.training import train_run
    from cloudchamber.errors import BadRecipe
    from cloudchamber.recipe import load
    from cloudchamber.run import Run

    if recipe is None and not resume:
        raise BadRecipe("no recipe is given. Name a YAML file, such as recipes/xs.yaml, or --resume a run.")
    asked = load(Run.open(out).path / "recipe.yaml" if recipe is None else recipe)
    mode = cast('Literal["ddp", "fsdp"] | None', parallel)
    train_run(asked, out, "pretrain", title=f"Training {asked.name}", resume=resume, device=device, parallel=mode)
    typer.echo(f"weights: {out / 'model' if asked.seeds == 1 else out}")
