"""The verb predict: a trained run and events in, a score table out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder of finetune or pretrain.")],
    data: Annotated[list[Path], typer.Argument(help="A store, or files of any known format.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The score table, a new Parquet file.")],
    card: Annotated[Path | None, typer.Option(help="YAML card of the files; that of the training without it.")] = None,
    task: Annotated[str | None, typer.Option(help="Which task, if the model has several.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    embed: Annotated[bool, typer.Option("--embed", help="Write the embedding of every event as well.")] = False,
) -> None:
    """Score events with a trained model; the table is what statistics read.

    Its column fold is a hash of the event id: 0 train, 1 val, 2 test. A model that was trained on these events has seen
    those of train and val; of events that no training saw, all three are as good.
    """
    import numpy as np

    from cloudchamber.errors import BadRun
    from cloudchamber.stats.score_table import FOLDS
    from cloudchamber.train.scoring import score_run

    if out.exists():
        raise BadRun(f"{out}: is there already. Give another file with -o, or remove it yourself.")
    table = score_run(run, data, card=card, task=task, embed=embed, device=device)
    table.write(out)
    typer.echo(f"{out}: {len(table):,} events, {', '.join(table.columns[0])}")
    counts = np.bincount(table.fold, minlength=len(FOLDS))
    folds = ", ".join(f"{count:,} {name}" for name, count in zip(FOLDS, counts, strict=True))
    typer.echo(f"fold: {folds} by the hash of their ids; a model trained on these events has seen those of train and val")
