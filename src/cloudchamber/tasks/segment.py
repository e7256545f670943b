"""Segment: which of some classes each particle belongs to, such as the origin of a track. Cross-entropy per particle.

The classes are a particle label of the schema: a column that no model is shown.
"""

# B batch, P particle, C class

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.stats.objectives import segmentation
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, target


class Segment(Task):
    """A two-layer read-out of every particle's token beside the pooled vector of its event."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        assert label is not None
        self.classes = label.classes
        options(spec, TaskOptions)
        width = backbone.size.width
        self.token = nn.Linear(width, width)
        self.event = nn.Linear(backbone.out_width, width, bias=False)
        self.out = nn.Linear(width, len(label.classes))
        # Every class equally likely before the first step.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def applies(self, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) bool: the events with a particle of known class."""
        return (target(batch, self.spec, inputs.mask_BP.device) >= 0).any(dim=1)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) mean cross-entropy of an event's particles of known class; 0 without one."""
        classes_BP = target(batch, self.spec, inputs.mask_BP.device)
        logits_BCP = self._logits(encoded).transpose(1, 2)
        losses_BP = cross_entropy(logits_BCP, classes_BP, ignore_index=-1, reduction="none")
        return losses_BP.sum(dim=1) / (classes_BP >= 0).sum(dim=1).clamp(min=1)

    def predict_particles(self, encoded: Encoded) -> Tensor:
        """(B, P, C) class probabilities of every slot; those of padding mean nothing."""
        return self._logits(encoded).softmax(dim=-1)

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        """Truth and probabilities of the particles of known class."""
        classes_BP = target(batch, self.spec, inputs.mask_BP.device)
        known_BP = classes_BP >= 0
        return {"truth": classes_BP[known_BP], "probability": self.predict_particles(encoded)[known_BP]}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Accuracy, mean AUC and mean intersection over union; see stats.objectives.segmentation."""
        return segmentation(answers["truth"], answers["probability"])

    def _logits(self, encoded: Encoded) -> Tensor:
        hidden = self.token(encoded.tokens_BPE) + self.event(encoded.pooled_BE)[:, None]
        logits: Tensor = self.out(torch.nn.functional.gelu(hidden))
        return logits


TASK = TaskKind("segment", Segment, classes=True, per_particle=True)
