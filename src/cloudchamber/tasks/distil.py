"""Distil: what other weights make of an event, their vector or their class probabilities, is what is learned
(arXiv:1503.02531).
"""

# B batch, E what the teacher gives, N event

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import kl_div

from cloudchamber.data.loader import micro_batches
from cloudchamber.data.order import Selection
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe
from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, frozen_teacher, options

_NORM_EVENTS, _MAX_TOKENS = 512, 4096  # events that the teacher's vector is standardised by


class Options(TaskOptions):
    """teacher: name or folder of its weights. what: its pooled vector, every component standardised, or the
    probabilities of its only task that predicts classes. width: of either; filled in from the teacher.
    """

    teacher: str
    what: Literal["embedding", "scores"] = "embedding"
    width: int | None = None


class Distil(Task):
    """Linear read-out of the pooled vector. The teacher is there in training alone, frozen, and not a part of the weights."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        self.options = options(spec, Options)
        self.out = nn.Linear(backbone.out_width, self.options.width or 1)
        self._teacher: list[Any] = []
        self._norm = (torch.zeros(1), torch.ones(1))

    def prepare(self, data: TrainingSet, rows: Selection, load: Callable[[str], Any]) -> None:
        """Load the teacher, and see what it gives."""
        teacher, scores = frozen_teacher(self.options.teacher, data, load), self.options.what == "scores"
        able = [t for t in teacher.tasks if t.predicts and t.label.classes]
        if scores and len(able) != 1:
            found = ", ".join(t.key for t in able) or "none"
            raise BadRecipe(f"teacher {self.options.teacher!r} needs one task that gives class probabilities, has {found}")
        self._teacher = [teacher, *able]
        sample = micro_batches(data, data.sample(rows, _NORM_EVENTS), _MAX_TOKENS)
        given_NE = torch.cat([self._given(Inputs.of(batch)) for batch in sample])
        if not scores:
            self._norm = (given_NE.mean(dim=0), given_NE.std(dim=0, correction=0).clamp(min=1e-6))
        self.spec = self.spec.model_copy(update={"options": self.spec.options | {"width": given_NE.shape[1]}})
        self.out = nn.Linear(self.out.in_features, given_NE.shape[1])
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) mean squared error of the vector, or the Kullback-Leibler divergence of the probabilities."""
        target_BE, guess_BE = self._target(inputs), self.out(encoded.pooled_BE)
        if self.options.what == "scores":
            return kl_div(guess_BE.log_softmax(dim=1), target_BE, reduction="none").sum(dim=1)
        return torch.square(guess_BE - target_BE).mean(dim=1)

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """What both make of each event."""
        return {"teacher": self._target(inputs), "student": self.out(encoded.pooled_BE)}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """How often both take an event for the same class; or the share of the vectors' variance that is explained."""
        teacher, student = answers["teacher"], answers["student"]
        if self.options.what == "scores":
            return {"agreement": float(np.mean(teacher.argmax(axis=1) == student.argmax(axis=1))), "events": len(teacher)}
        explained = 1 - np.square(teacher - student).mean() / np.square(teacher - teacher.mean(axis=0)).mean()
        return {"explained": float(explained), "events": len(teacher)}

    def _target(self, inputs: Inputs) -> Tensor:
        mean, spread = (values.to(inputs.mask_BP.device) for values in self._norm)
        target_BE: Tensor = (self._given(inputs) - mean) / spread
        return target_BE

    @torch.no_grad()
    def _given(self, inputs: Inputs) -> Tensor:
        """(B, E) what the teacher, who sees every particle, makes of the events."""
        teacher = self._teacher[0].to(inputs.mask_BP.device)
        encoded = teacher.backbone(replace(inputs, masked_BP=None))
        given_BE: Tensor = self._teacher[1].predict(encoded) if self.options.what == "scores" else encoded.pooled_BE
        return given_BE


TASK = TaskKind("distil", Distil, classes=None)
