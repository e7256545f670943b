"""The verb generate: weights in, a store of new jets out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def generate(
    weights: Annotated[str, typer.Argument(help="A run or weights folder that was trained with the task `generate`.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="STORE", help="The new store's folder.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Jets to make.")] = 1000,
    kind: Annotated[str | None, typer.Option("--class", help="Class of all of them; as in the training without it.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the flow, two passes of the model each.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same jets.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
) -> None:
    """Draw new jets from a trained model and write them to a store, labelled as simulated."""
    from cloudchamber.data import store
    from cloudchamber.errors import BadStore
    from cloudchamber.train.generating import generate as draw
    from cloudchamber.train.weights import weights_folder

    if out.exists():
        raise BadStore(f"{out}: is there already. Give another folder with -o, or remove it yourself.")
    asked = {"weights": weights, "n": n, "class": kind, "steps": steps, "seed": seed}
    cloud = draw(weights, n, kind=kind, steps=steps, seed=seed, device=device)
    parent = weights_folder(weights) / "model.safetensors"
    written = store.write(out, [cloud], parents=[parent], provenance={"verb": "generate", **asked})
    typer.echo(f"{out}: {len(written):,} generated jets")
