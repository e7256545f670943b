"""Task: the interface of every objective. A head on the backbone, a loss per event, and what it predicts."""

# B batch, P particle, C class

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from cloudchamber.data.order import Selection
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe, nearest
from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.nn.features import Norm
from cloudchamber.recipe import TaskSpec


class TaskOptions(BaseModel):
    """Base of a task's own options; defaults live in the task's file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


_Options = TypeVar("_Options", bound=TaskOptions)


class Task(nn.Module, ABC):
    """One objective of a training: a head and its loss. spec: as in the recipe. label: the target's meaning.

    pairs: whether its label is a number that events share which are views of the same, so that batches must carry each
    event's partner.
    """

    pairs: bool = False

    def __init__(self, spec: TaskSpec, label: Label | None):
        super().__init__()
        self.spec = spec
        self.label = label

    @property
    def key(self) -> str:
        """Name in metrics and checkpoints: the task, with its target if it has one."""
        return f"{self.spec.task}_{self.spec.target}" if self.spec.target else self.spec.task

    def prepare(self, data: TrainingSet, rows: Selection, load: Callable[[str], Any]) -> None:
        """Look at the training events `rows` before the first step; the default needs none.

        load: a network with its heads, from the name of its weights.
        """

    def corrupt(self, inputs: Inputs, generator: torch.Generator) -> Inputs:  # noqa: ARG002
        """Change what the model sees in training; the default leaves it."""
        return inputs

    @abstractmethod
    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) loss of each event, unweighted; 0 where the task does not apply to an event."""

    def applies(self, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) bool: the events that have what the task learns from, here a known target."""
        if self.label is None:
            return torch.ones(len(batch), dtype=torch.bool, device=inputs.mask_BP.device)
        values_B = target(batch, self.spec, inputs.mask_BP.device)
        return values_B >= 0 if self.label.classes else torch.isfinite(values_B)

    @property
    def predicts(self) -> bool:
        """Whether the task has a `predict` of its own: scores of events, for a score table."""
        return type(self).predict is not Task.predict

    def predict(self, encoded: Encoded) -> Tensor:
        """(B, C) scores of each event."""
        raise NotImplementedError

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """What `figures` needs of each event (or particle), first axis; nothing for a task without figures."""
        return {}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:  # noqa: ARG002
        """Figures of quality from the answers of many events."""
        return {}


@dataclass(frozen=True)
class TaskKind:
    """Entry of the registry. make: builds the head.

    classes: whether its label has classes (True), is a number (False), or is absent (None). optional: whether it can do
    without a label. per_particle: whether the label is one of particles.
    """

    name: str
    make: Callable[[TaskSpec, Label | None, Backbone], Task]
    classes: bool | None
    optional: bool = False
    per_particle: bool = False


def options(spec: TaskSpec, kind: type[_Options]) -> _Options:
    """The validated options of a task; BadRecipe names the entry that is wrong."""
    try:
        return kind.model_validate(spec.options)
    except ValidationError as error:
        detail = error.errors()[0]
        name = ".".join(str(p) for p in detail["loc"])
        raise BadRecipe(
            f"task {spec.task!r}: option {name!r}: {detail['msg']}. Nearest: {nearest(name, kind.model_fields)}."
        ) from error


def target(batch: Batch, spec: TaskSpec, device: torch.device) -> Tensor:
    """(B,) or, of particles, (B, P) the target column of a batch on the device."""
    assert spec.target is not None
    values: Mapping[str, Any] = batch.targets
    return torch.as_tensor(values[spec.target]).to(device)


def frozen_teacher(name: str, data: TrainingSet, load: Callable[[str], Any]) -> Any:
    """The network of other weights, connected with the data, frozen; features that it does not know say nothing to it."""
    teacher = load(name).requires_grad_(requires_grad=False).eval()
    own = ((teacher.backbone.particle, data.particle_names[2:]), (teacher.backbone.column, data.column_names))
    for features, names in own:
        features.add({n: Norm() for n in names if n not in features.names})
        features.bind(names)
    return teacher


def random_of(task: Task, inputs: Inputs, batch: Batch) -> torch.Generator:
    """Random numbers (of the CPU) for a task's loss: the same for the same step and batch, so that resuming is exact."""
    place = f"{inputs.seed} {task.key} {batch.index_B[0]}"
    return torch.Generator().manual_seed(zlib.crc32(place.encode()))
