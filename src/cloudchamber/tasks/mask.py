"""Mask: hide some particles, show only where they are, predict what they are (masked particle modelling).

Continuous features by a Huber loss on their normalised values, flags by cross-entropy. After arXiv:2401.13537, with
the direction shown, so that every hidden particle has one right answer.
"""

# B batch, P particle, F feature, M hidden particle, E width

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, huber_loss

from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import POSITION, Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.stats.objectives import reconstruction
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, random_of


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
        self._backbone = [backbone]  # in a list: it is not a part of this head

    def corrupt(self, inputs: Inputs, generator: torch.Generator) -> Inputs:
        """Choose the particles to hide, from real ones only."""
        return self._hide(inputs, self.options.events, generator)

    def applies(self, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) bool: the events of which something is hidden."""
        assert inputs.masked_BP is not None
        return inputs.masked_BP.any(dim=1)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) mean over an event's hidden particles and their present features; 0 without hidden particles."""
        if inputs.masked_BP is None:
            return torch.zeros(len(inputs.mask_BP), device=inputs.mask_BP.device)
        at = inputs.masked_BP.nonzero(as_tuple=True)
        truth_MF, guess_MF, present_MF = self._hidden(encoded.tokens_BPE, at, inputs)
        losses_MF = torch.where(
            self._flags(),
            # A flag above its mean is 1.
            binary_cross_entropy_with_logits(guess_MF, (truth_MF > 0).to(guess_MF.dtype), reduction="none"),
            huber_loss(guess_MF, truth_MF, reduction="none"),
        )
        per_particle_M = (losses_MF * present_MF).sum(1) / present_MF.sum(1).clamp(min=1)
        zeros_B = torch.zeros(len(inputs.mask_BP), device=guess_MF.device, dtype=guess_MF.dtype)
        hidden_B = inputs.masked_BP.sum(1).clamp(min=1)
        return zeros_B.index_add(0, at[0], per_particle_M) / hidden_B

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """Features of particles hidden in every event, NaN where there are none, and what is guessed of them."""
        hidden = self._hide(inputs, 1.0, random_of(self, inputs, batch))
        assert hidden.masked_BP is not None
        at = hidden.masked_BP.nonzero(as_tuple=True)
        truth_MF, guess_MF, present_MF = self._hidden(self._backbone[0](hidden).tokens_BPE, at, inputs)
        return {"truth": torch.where(present_MF, truth_MF, torch.nan), "guess": guess_MF}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Errors over those of predicting the mean; see stats.objectives.reconstruction."""
        return reconstruction(answers["truth"], answers["guess"], self._flags().cpu().numpy())

    def _hide(self, inputs: Inputs, events: float, generator: torch.Generator) -> Inputs:
        shape = inputs.mask_BP.shape
        chosen_B1 = torch.rand(shape[0], 1, generator=generator) < events
        hidden_BP = torch.rand(shape, generator=generator) < self.options.particles
        return replace(inputs, masked_BP=(chosen_B1 & hidden_BP).to(inputs.mask_BP.device) & inputs.mask_BP)

    def _hidden(self, tokens_BPE: Tensor, at: tuple[Tensor, ...], inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
        """(M, F) truth, guess, and whether there is a truth, of the features that the data have of the particles `at`."""
        bound = self._backbone[0].particle.names_of()
        columns = [bound.index(n) for n in self.feature_names if n in bound]
        truth_MF, present_MF = self._backbone[0].particle.normalised(inputs.particles_BPF[at][:, 2:])
        return truth_MF[:, columns], self.head(tokens_BPE[at])[:, self._outputs()], present_MF[:, columns]

    def _outputs(self) -> list[int]:
        bound = self._backbone[0].particle.names_of()
        return [i for i, n in enumerate(self.feature_names) if n in bound]

    def _flags(self) -> Tensor:
        return self.get_buffer("is_flag")[self._outputs()]


TASK = TaskKind("mask", Mask, classes=None)
