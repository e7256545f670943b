"""Scoring: a trained network on events gives scores, embeddings and the score table."""

# N event, C class, E embedding

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cloudchamber import recipe as recipes
from cloudchamber.data.loader import micro_batches
from cloudchamber.data.store import SPLITS, Split, split_of
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadWeights
from cloudchamber.events import Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable, combined
from cloudchamber.tasks.base import Task
from cloudchamber.train.events import read_events
from cloudchamber.train.network import Network, load

_MAX_TOKENS = 4096
_CALIBRATION = 20_000  # validation events whose scores are kept: a coverage of 90 % is then known to 0.2 %


def predicting_task(network: Network, key: str | None = None) -> Task:
    """The task whose scores are asked for: by its key, or the only one of classify and regress.

    Raises BadWeights if there is none or more than one.
    """
    able = [t for t in network.tasks if t.label is not None and key in (None, t.key, t.spec.target)]
    if len(able) != 1:
        names = ", ".join(t.key for t in network.tasks if t.label is not None)
        raise BadWeights(f"expected one task that predicts, found {len(able)}. Tasks of these weights: {names or 'none'}.")
    return able[0]


def score_run(
    run: Path,
    paths: Sequence[Path],
    *,
    card: Path | None = None,
    task: str | None = None,
    embed: bool = False,
    device: str = "cpu",
) -> ScoreTable:
    """The score table of the events in some files or stores from the model in a run or weights folder.

    The run of an ensemble gives the mean and spread of its members. Events are read as the run's recipe read them: with its
    card unless another is given, as its leading jets.
    Raises BadWeights if the events have not the very features that the model was trained with.
    """
    checked_device(device)
    if members := members_of(run):
        return combined([score_run(m, paths, card=card, task=task, embed=embed, device=device) for m in members], run.name)
    network = load(run)
    recipe = recipes.load(run / "recipe.yaml") if (run / "recipe.yaml").is_file() else None
    used_card, leading_jets = (recipe.card, recipe.leading_jets) if recipe else (None, None)
    cloud = read_events(paths, card=str(card) if card else used_card, leading_jets=leading_jets)
    data = TrainingSet.from_cloud(cloud, network.max_particles)
    network.bind(data)
    chosen = predicting_task(network, task)
    digest = network.config.sha256 if network.config else ""
    return score_table(network, data, np.arange(len(data)), chosen, run=run.name, sha256=digest, embed=embed, device=device)


def members_of(run: Path) -> tuple[Path, ...]:
    """The members' folders of an ensemble's run, none for any other folder."""
    if not (run / "done.json").is_file():
        return ()
    return tuple(run / name for name in Run.open(run).summary.get("members", ()))


def checked_device(name: str) -> str:
    """The device's name, if torch can use it; BadInput otherwise."""
    if name == "cpu" or (name.split(":", maxsplit=1)[0] == "cuda" and torch.cuda.is_available()):
        return name
    raise BadInput(f"device {name!r} cannot be used here; expected 'cpu'" + (", 'cuda'" if torch.cuda.is_available() else ""))


def write_tables(
    run: Path, network: Network, data: TrainingSet, test: NDArray[np.int64], val: NDArray[np.int64], sha256: str
) -> ScoreTable:
    """Write scores.parquet of the test events, and validation.parquet of events that scores can be calibrated with.

    Both of the first task that predicts; returns the first table.
    """
    task = next(t for t in network.tasks if t.label is not None)
    table = score_table(network, data, test, task, run=run.name, sha256=sha256, fold="test")
    table.write(run / "scores.parquet")
    chosen = data.sample(val, _CALIBRATION)
    known = score_table(network, data, chosen, task, run=run.name, sha256=sha256, fold="val", embed=True).known()
    if len(known):
        known.write(run / "validation.parquet")
    return table


def scores(
    network: Network, data: TrainingSet, rows: NDArray[np.int64], task: Task, device: str = "cpu"
) -> NDArray[np.float32]:
    """(N, C) scores of the events `rows`, in their order."""

    def read(encoded: Encoded) -> Tensor:
        predicted = task.predict(encoded)
        assert predicted is not None
        return predicted

    network.to(device)
    return _collect(network.backbone, data, rows, read, device)


def embeddings(backbone: Backbone, data: TrainingSet, rows: NDArray[np.int64], device: str = "cpu") -> NDArray[np.float32]:
    """(N, E) pooled vectors of the events `rows`, in their order."""
    return _collect(backbone, data, rows, lambda encoded: encoded.pooled_BE, device)


def score_table(
    network: Network,
    data: TrainingSet,
    rows: NDArray[np.int64],
    task: Task,
    *,
    run: str = "",
    sha256: str = "",
    embed: bool = False,
    fold: Split | None = None,
    device: str = "cpu",
) -> ScoreTable:
    """The score table of the events `rows`. fold: what all of them were used for; without it by the hash of their ids."""
    label = task.label
    assert label is not None
    table = scores(network, data, rows, task, device)
    ids = data[rows].ids
    return ScoreTable(
        target=label.name,
        classes=label.classes,
        event_id=ids,
        truth=_truth(data, rows, label),
        scores_NC=table if label.classes else table[:, :1],
        fold=split_of(ids) if fold is None else np.full(len(rows), SPLITS.index(fold), dtype=np.int8),
        weight=data[rows].weights,
        embedding_NE=embeddings(network.backbone, data, rows, device) if embed else None,
        spread_NC=table[:, 1:] if not label.classes and table.shape[1] == 2 else None,
        unit=label.unit,
        weights_sha256=sha256,
        run=run,
    )


def _truth(data: TrainingSet, rows: NDArray[np.int64], label: Label) -> NDArray[Any]:
    """(N,) truth by the classes of the model, whatever the order of the classes in the data; unknown without a label."""
    if label.name not in data.schema.label_names:
        return np.full(len(rows), -1 if label.classes else np.nan)
    values = data[rows].target(label.name)
    if not label.classes:
        return values
    own = data.schema.label(label.name).classes
    index = np.array([label.classes.index(c) if c in label.classes else -1 for c in own] + [-1])
    return np.asarray(index[values])


@torch.inference_mode()
def _collect(
    backbone: Backbone, data: TrainingSet, rows: NDArray[np.int64], read: Callable[[Encoded], Tensor], device: str
) -> NDArray[np.float32]:
    backbone.eval().to(device)
    parts, order = [], []
    position = {int(row): i for i, row in enumerate(rows)}
    for batch in micro_batches(data, rows, _MAX_TOKENS):
        parts.append(read(backbone(Inputs.of(batch, device))).float().cpu().numpy())
        order.append([position[int(i)] for i in batch.index_B])
    stacked = np.concatenate(parts)
    result = np.empty_like(stacked)
    result[np.concatenate(order)] = stacked
    return result
