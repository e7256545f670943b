"""Regress: a number of an event, with its spread. Gaussian negative log-likelihood in standardised units."""

# B batch

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, target


class Options(TaskOptions):
    """centre, scale: of the target in its unit, set from the training events. loss: of the standardised residual.

    "gaussian" learns a spread per event and gives it; "huber" (threshold 1) gives the value alone.
    """

    centre: float = 0.0
    scale: float = 1.0
    loss: Literal["gaussian", "huber"] = "gaussian"


class Regress(Task):
    """Linear read-out of mean and log spread from the normalised pooled vector."""

    predicts = True

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        self.options = options(spec, Options)
        self.norm = nn.LayerNorm(backbone.out_width)
        self.out = nn.Linear(backbone.out_width, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) loss of the standardised residual; 0 where the target is NaN."""
        value_B = (target(batch, self.spec, inputs.mask_BP.device) - self.options.centre) / self.options.scale
        known_B = torch.isfinite(value_B)
        scaled_B = torch.where(known_B, value_B, 0.0).float()
        mean_B, log_sigma_B = self._read(encoded)
        if self.options.loss == "huber":
            losses = torch.nn.functional.huber_loss(mean_B, scaled_B, reduction="none")
        else:
            losses = 0.5 * ((scaled_B - mean_B) / log_sigma_B.exp()).square() + log_sigma_B + 0.5 * math.log(2 * math.pi)
        return torch.where(known_B, losses, 0.0)

    def predict(self, encoded: Encoded) -> Tensor:
        """(B, 2) value and its standard deviation in the target's unit; with "huber" (B, 1) the value alone."""
        mean_B, log_sigma_B = self._read(encoded)
        value_B = mean_B * self.options.scale + self.options.centre
        if self.options.loss == "huber":
            return value_B[:, None]
        return torch.stack([value_B, log_sigma_B.exp() * self.options.scale], dim=1)

    def _read(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        mean_B, log_sigma_B = self.out(self.norm(encoded.pooled_BE)).unbind(dim=1)
        return mean_B, log_sigma_B.clamp(-7, 7)


TASK = TaskKind("regress", Regress, classes=False)
