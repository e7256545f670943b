"""Quality: what each objective of a network is worth on events, by the task's own figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cloudchamber.data.loader import micro_batches
from cloudchamber.data.order import Selection
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import Batch
from cloudchamber.nn.backbone import Inputs
from cloudchamber.tasks.base import Task
from cloudchamber.train.network import Network
from cloudchamber.train.rows import partners

_MAX_TOKENS = 4096
Figures = dict[str, float | None]


def quality(network: Network, data: TrainingSet, rows: Selection, events: int, device: str = "cpu") -> dict[str, Figures]:
    """The figures of every task that has some, by its key; one that these events do not define is None.

    events: how many of the rows are used; their partners are among all of them.
    """
    network.eval().to(device)
    pairs = partners(data, (rows,), network)
    batches = list(micro_batches(data, data.sample(rows, events), _MAX_TOKENS, pairs))
    found = {task.key: _figures(network, task, batches, device) for task in network.tasks}
    return {key: figures for key, figures in found.items() if figures}


@torch.inference_mode()
def _figures(network: Network, task: Task, batches: Sequence[Batch], device: str) -> Figures:
    if type(task).answers is Task.answers:
        return {}
    generator = torch.Generator().manual_seed(0)
    parts: dict[str, list[NDArray[Any]]] = {}
    for batch in batches:
        inputs = task.corrupt(Inputs.of(batch, device), generator)
        for name, values in task.answers(network(inputs), inputs, batch).items():
            parts.setdefault(name, []).append(values.cpu().numpy())
    answers = {name: np.concatenate(values) for name, values in parts.items()}
    if not all(map(len, answers.values())):
        return {}
    return {name: float(value) if np.isfinite(value) else None for name, value in task.figures(answers).items()}
