"""The verb export: a trained run in, an ONNX file out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[str, typer.Argument(metavar="RUN|xs", help="A run folder, a weights folder, or shipped weights.")],
    onnx: Annotated[Path, typer.Option("--onnx", help="The ONNX file, a new one.")],
    task: Annotated[str | None, typer.Option(help="Which task, if the model has several.")] = None,
) -> None:
    """Write a trained model as ONNX: features of particles in, scores and embedding out, for any number of either."""
    from cloudchamber.errors import BadRun
    from cloudchamber.train.frozen import Frozen, export_onnx
    from cloudchamber.train.network import load
    from cloudchamber.train.scoring import predicting_task

    if onnx.exists():
        raise BadRun(f"{onnx}: is there already. Give another file with --onnx, or remove it yourself.")
    network = load(run)
    model = Frozen(network, predicting_task(network, task))
    export_onnx(model, onnx)
    typer.echo(f"{onnx}: {', '.join(model.names[0])} of particles -> {', '.join(model.interface['classes']) or 'a number'}")
