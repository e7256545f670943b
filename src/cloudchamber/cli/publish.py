"""The verb publish: a trained run in, a folder of weights, card, recipe and test vectors out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def publish(
    run: Annotated[Path, typer.Argument(help="A complete run folder.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new folder.")],
    use: Annotated[str, typer.Option(help="What the weights are for; a sentence for the card.")] = "Not stated.",
    limit: Annotated[list[str] | None, typer.Option(help="A limit of the weights; may be repeated.")] = None,
) -> None:
    """Write a trained model as a folder that can be published, in the layout of the Hugging Face hub; uploads nothing."""
    from cloudchamber.publish.bundle import write_bundle

    write_bundle(run, out, intended_use=use, limits=limit or ())
    typer.echo(f"{out}: {', '.join(sorted(p.name for p in out.iterdir()))}; read it with cloudchamber.load")
