"""Scoring: a trained network on events gives scores, embeddings, the score table, and the figures of its objectives."""

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
from cloudchamber.data.order import Selection
from cloudchamber.data.store import SPLITS, Split, split_of
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadWeights
from cloudchamber.events import Cloud, Feature, Label
from cloudchamber.events.kinematics import leading
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.run import Run, file_hash
from cloudchamber.stats import ScoreTable, combined
from cloudchamber.tasks.base import Task
from cloudchamber.tasks.regress import Regress
from cloudchamber.tasks.segment import Segment
from cloudchamber.train.events import read_events
from cloudchamber.train.network import Network, load
from cloudchamber.train.rows import partners

SCORES, VALIDATION = "scores.parquet", "validation.parquet"  # of a run: test events, and those to calibrate with
MAX_TOKENS = 4096  # per batch where nothing is trained


def predicting_task(network: Network, key: str | None = None) -> Task:
    """The task whose scores are asked for: by its key, or the only one of classify and regress.

    Raises BadWeights if there is none or more than one.
    """
    able = [t for t in network.tasks if t.predicts and key in (None, t.key, t.spec.target)]
    if len(able) != 1:
        names = ", ".join(t.key for t in network.tasks if t.predicts)
        raise BadWeights(f"expected one task that predicts, found {len(able)}. Such tasks of these weights: {names or 'none'}.")
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


def unseen(run: Path, paths: Sequence[Path], table: ScoreTable) -> ScoreTable:
    """The events of a table that the model of a run was not trained on.

    All of them, unless the files are those of the training or any event is in the run's own test sample: then those of
    the test split. A split is a hash of the event, so copies in other files and formats count as the same events.
    """
    if not (run / "run.json").is_file():
        return table
    parents = {p["sha256"] for p in Run.open(run).info["parents"]}
    own = ScoreTable.read(run / SCORES).event_id if (run / SCORES).is_file() else np.empty(0, np.uint64)
    same = bool(parents & {file_hash(p) for p in paths}) or bool(np.isin(table.event_id, own).any())
    return table.where(table.fold == SPLITS.index("test")) if same else table


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


def scores(
    network: Network, data: TrainingSet, rows: NDArray[np.int64], task: Task, device: str = "cpu"
) -> NDArray[np.float32]:
    """(N, C) scores of the events `rows`, in their order."""
    network.to(device)
    return _collect(network.backbone, data, rows, task.predict, device)


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
    """The score table of the events `rows`.

    fold: what all of them were used for; without it by the hash of their ids, whether or not a training saw them.
    """
    label = task.label
    assert label is not None

    def read(encoded: Encoded) -> Tensor:
        return torch.cat([task.predict(encoded), encoded.pooled_BE], dim=1) if embed else task.predict(encoded)

    network.to(device)
    found = _collect(network.backbone, data, rows, read, device)
    table, embedding = np.split(found, [-network.backbone.out_width], axis=1) if embed else (found, None)
    ids = data[rows].ids
    quantiles = task.quantiles(table) if isinstance(task, Regress) else None
    levels = task.options.levels if isinstance(task, Regress) and quantiles is not None else ()
    return ScoreTable(
        target=label.name,
        classes=label.classes,
        event_id=ids,
        truth=_truth(data, rows, label),
        scores_NC=table if label.classes else table[:, :1],
        fold=split_of(ids) if fold is None else np.full(len(rows), SPLITS.index(fold), dtype=np.int8),
        weight=data[rows].weights,
        embedding_NE=embedding,
        levels=levels,
        quantiles_NQ=quantiles,
        spread_NC=table[:, 1:] if isinstance(task, Regress) and task.has_spread else None,
        unit=label.unit,
        weights_sha256=sha256,
        run=run,
    )


@torch.inference_mode()
def segmented(network: Network, cloud: Cloud, device: str = "cpu") -> Cloud:
    """The events with their leading particles (as many as the model reads) by falling pT, and `score_<class>` for each.

    The scores are probabilities, particle features of the schema; they come from the network's only task `segment`.
    Raises BadWeights if it has none, or if the events have not the very features that it was trained with.
    """
    task = network.only(Segment)
    names = [f"score_{c}" for c in task.classes]
    data, kept = TrainingSet.from_cloud(cloud, network.max_particles), leading(cloud, network.max_particles)
    network.bind(data)
    network.eval().to(checked_device(device))
    found = np.empty((int(kept.counts.sum()), len(names)), dtype=np.float32)
    first = np.cumsum(kept.counts) - kept.counts
    for batch in micro_batches(data, np.arange(len(data)), MAX_TOKENS):
        scores_BPC = task.predict_particles(network(Inputs.of(batch, device))).float().cpu().numpy()
        found[(first[batch.index_B][:, None] + np.arange(batch.mask_BP.shape[1]))[batch.mask_BP]] = scores_BPC[batch.mask_BP]
    features = (*kept.schema.features, *(Feature(name=n, description="probability") for n in names))
    particles = {n: kept.flat(n) for n in kept.particles.fields} | dict(zip(names, found.T, strict=True))
    return Cloud.from_flat(kept.counts, particles, kept.events, kept.schema.model_copy(update={"features": features}))


@torch.inference_mode()
def quality(
    network: Network, data: TrainingSet, rows: Selection, events: int, device: str = "cpu"
) -> dict[str, dict[str, float | None]]:
    """The figures of every task that has some, by its key; one that these events do not define is None.

    events: how many of the rows are used; their partners are among all of them.
    """
    network.eval().to(device)
    found: dict[str, dict[str, list[NDArray[Any]]]] = {}
    for batch in micro_batches(data, data.sample(rows, events), MAX_TOKENS, partners(data, (rows,), network)):
        inputs = Inputs.of(batch, device)
        encoded = network(inputs)
        for task in network.tasks:
            for name, values in task.answers(encoded, inputs, batch).items():
                found.setdefault(task.key, {}).setdefault(name, []).append(values.cpu().numpy())
    figures = {}
    for task in network.tasks:
        answers = {name: np.concatenate(values) for name, values in found.get(task.key, {}).items()}
        if answers and all(map(len, answers.values())):
            figures[task.key] = {n: v if np.isfinite(v) else None for n, v in task.figures(answers).items()}
    return figures


def _truth(data: TrainingSet, rows: NDArray[np.int64], label: Label) -> NDArray[Any]:
    """(N,) truth by the classes of the model, whatever the order of the classes in the data; unknown without a label."""
    if label.name not in data.schema.label_names:
        return np.full(len(rows), -1 if label.classes else np.nan)
    values = data[rows].target(label.name)
    if not label.classes:
        return values
    return in_classes(values, data.schema.label(label.name).classes, label.classes)


def in_classes(values: NDArray[Any], own: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    """(N,) indices into `classes` of events whose `values` are indices into `own`; -1 for one unknown to either."""
    index = np.array([classes.index(c) if c in classes else -1 for c in own] + [-1])
    return np.asarray(index[values])


@torch.inference_mode()
def _collect(
    backbone: Backbone, data: TrainingSet, rows: NDArray[np.int64], read: Callable[[Encoded], Tensor], device: str
) -> NDArray[np.float32]:
    backbone.eval().to(device)
    parts, order = [], []
    once, place = np.unique(rows, return_inverse=True)  # a row may be asked for twice
    for batch in micro_batches(data, once, MAX_TOKENS):
        parts.append(read(backbone(Inputs.of(batch, device))).float().cpu().numpy())
        order.append(np.searchsorted(once, batch.index_B))
    stacked = np.concatenate(parts)
    result = np.empty_like(stacked)
    result[np.concatenate(order)] = stacked
    return result[place]
