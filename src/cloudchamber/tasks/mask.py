"""Mask: hide some particles, show only where they are, predict what they are (masked particle modelling).

Continuous features by a Huber loss on their normalised values, flags by cross-entropy. After arXiv:2401.13537, with
the direction shown, so that every hidden particle has one right answer.
"""

# B batch, P particle, F feature

from __future__ import annotations

from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import POSITION, Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options


class Options(TaskOptions):
    """events: share of the events that are masked. particles: share of the particles hidden in those."""

    events: float = Field(0.3, gt=0, le=1)
    particles: float = Field(0.3, gt=0, lt=1)


class Mask(Task):
    """A two-layer head that reads the features of hidden particles from their encoded tokens."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        self.options = options(spec, Options)
        width = backbone.size.width
        names = [n for n in backbone.particle.norms if n not in POSITION]
        self.feature_names = tuple(names)
        self.register_buffer("is_flag", torch.tensor([n.startswith("is_") for n in names]), persistent=False)
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(names)))
        self._particle = [backbone.particle]  # in a list: the features belong to the backbone, not to this head

    def corrupt(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """Choose the particles to hide, from real ones only."""
        shape = inputs.mask_BP.shape
        chosen_B1 = torch.rand(shape[0], 1, generator=generator) < self.options.events
        hidden_BP = torch.rand(shape, generator=generator) < self.options.particles
        return replace(inputs, masked_BP=(chosen_B1 & hidden_BP).to(inputs.mask_BP.device) & inputs.mask_BP)

    def applies(self, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) bool: the events of which something is hidden."""
        assert inputs.masked_BP is not None
        return inputs.masked_BP.any(dim=1)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) mean over an event's hidden particles and their present features; 0 without hidden particles."""
        if inputs.masked_BP is None:
            return torch.zeros(len(inputs.mask_BP), device=inputs.mask_BP.device)
        features = self._particle[0]
        bound = features.names_of()
        columns = [bound.index(n) for n in self.feature_names if n in bound]
        outputs = [i for i, n in enumerate(self.feature_names) if n in bound]
        b_M, p_M = inputs.masked_BP.nonzero(as_tuple=True)
        truth_MF, present_MF = features.normalised(inputs.particles_BPF[b_M, p_M][:, 2:])
        truth_MF, present_MF = truth_MF[:, columns], present_MF[:, columns]
        guess_MF = self.head(encoded.tokens_BPE[b_M, p_M])[:, outputs]
        flag_F = self.get_buffer("is_flag")[outputs]
        losses_MF = torch.where(
            flag_F,
            # A flag above its mean is 1.
            binary_cross_entropy_with_logits(guess_MF, (truth_MF > 0).to(guess_MF.dtype), reduction="none"),
            huber_loss(guess_MF, truth_MF, reduction="none"),
        )
        per_particle_M = (losses_MF * present_MF).sum(1) / present_MF.sum(1).clamp(min=1)
        zeros_B = torch.zeros(len(inputs.mask_BP), device=guess_MF.device, dtype=guess_MF.dtype)
        hidden_B = inputs.masked_BP.sum(1).clamp(min=1)
        return zeros_B.index_add(0, b_M, per_particle_M) / hidden_B


TASK = TaskKind("mask", Mask, classes=None)
