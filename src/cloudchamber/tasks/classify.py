"""Classify: which of some classes an event belongs to. Cross-entropy; events of unknown class do not count."""

# B batch, C class

from __future__ import annotations

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, target


class Options(TaskOptions):
    """label_smoothing: share of the target given to all classes alike."""

    label_smoothing: float = Field(0.0, ge=0, lt=1)


class Classify(Task):
    """Linear read-out of the normalised pooled vector."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        assert label is not None
        self.options = options(spec, Options)
        self.norm = nn.LayerNorm(backbone.out_width)
        self.out = nn.Linear(backbone.out_width, len(label.classes))
        # Every class equally likely before the first step.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) cross-entropy; 0 for class -1."""
        classes_B = target(batch, self.spec, inputs.mask_BP.device).long()
        logits_BC = self._logits(encoded)
        return cross_entropy(
            logits_BC, classes_B, ignore_index=-1, reduction="none", label_smoothing=self.options.label_smoothing
        )

    def predict(self, encoded: Encoded) -> Tensor:
        """(B, C) class probabilities."""
        return self._logits(encoded).softmax(dim=-1)

    def _logits(self, encoded: Encoded) -> Tensor:
        logits: Tensor = self.out(self.norm(encoded.pooled_BE))
        return logits


TASK = TaskKind("classify", Classify, classes=True)
