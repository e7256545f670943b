"""Contrast: two views of one event are closer to each other than to the views of other events (InfoNCE, arXiv:1807.03748).

The second view is the same event rotated about its axis, smeared and without some soft particles (after arXiv:2108.04253);
or, with a target, another event that shares its number in that label: the same collision simulated or measured again.
"""

# B batch, P particle, E width, F particle column, G event column, N event

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from cloudchamber.events import Batch, Label
from cloudchamber.events.kinematics import GEOMETRY
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.stats.objectives import retrieval
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, random_of, target

_SAME = -1e4  # logit of an event's other views: neither right nor wrong
_SCALE_WITH_ENERGY = ("log_pt", "log_energy", "log_pt_rel", "log_energy_rel")


class Options(TaskOptions):
    """temperature: of the similarities. smear: relative, of each particle's momentum. soft [GeV]: directions move by a
    Gaussian of soft / pT. drop: probability that a particle below 1 GeV is lost; it falls as 1 / pT above.
    """

    temperature: float = Field(0.1, gt=0)
    smear: float = Field(0.05, ge=0)
    soft: float = Field(0.1, ge=0)
    drop: float = Field(0.3, ge=0, le=1)


class Contrast(Task):
    """A two-layer projection of the pooled vector. The events of a micro-batch are each other's negatives."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        self.options = options(spec, Options)
        self.pairs = label is not None
        width = backbone.size.width
        self.head = nn.Sequential(nn.Linear(backbone.out_width, width), nn.GELU(), nn.Linear(width, width))
        self._backbone = [backbone]  # in a list: it is not a part of this head

    def applies(self, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) bool: the events with a second view, if there are others to tell them from."""
        return self._known(inputs, batch) & (len(batch) > 1)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) mean of both directions' cross-entropy of finding the other view; 0 without a second view."""
        first_BE, second_BE = self._project(encoded), self._project(self._second(inputs, batch))
        group_B = self._group(inputs, batch)
        others_BB = (group_B[:, None] == group_B) & ~torch.eye(len(batch), dtype=torch.bool, device=group_B.device)
        logits_BB = (first_BE @ second_BE.T / self.options.temperature).masked_fill(others_BB, _SAME)
        own_B = torch.arange(len(batch), device=group_B.device)
        both_B = [cross_entropy(logits, own_B, reduction="none") for logits in (logits_BB, logits_BB.T)]
        return torch.where(self._known(inputs, batch), 0.5 * (both_B[0] + both_B[1]), 0.0)

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        """Both views of the events that have two, and what they share."""
        known_B = self._known(inputs, batch)
        views = {"first": self._project(encoded), "second": self._project(self._second(inputs, batch))}
        return {name: values[known_B] for name, values in (views | {"group": self._group(inputs, batch)}).items()}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """How often an event's second view is the nearest; see stats.objectives.retrieval."""
        return retrieval(answers["first"], answers["second"], answers["group"])

    def _project(self, encoded: Encoded) -> Tensor:
        return normalize(self.head(encoded.pooled_BE), dim=1)

    def _second(self, inputs: Inputs, batch: Batch) -> Encoded:
        backbone = self._backbone[0]
        view = Inputs.of(_partner(batch), inputs.mask_BP.device) if self.pairs else inputs
        encoded: Encoded = backbone(augmented(view, backbone.particle.bound, self.options, random_of(self, inputs, batch)))
        return encoded

    def _known(self, inputs: Inputs, batch: Batch) -> Tensor:
        known_B = _partner(batch).index_B != batch.index_B if self.pairs else np.ones(len(batch), dtype=np.bool_)
        return torch.from_numpy(known_B).to(inputs.mask_BP.device)

    def _group(self, inputs: Inputs, batch: Batch) -> Tensor:
        device = inputs.mask_BP.device
        return target(batch, self.spec, device) if self.pairs else torch.from_numpy(batch.index_B).to(device)


def _partner(batch: Batch) -> Batch:
    assert batch.partner is not None, "batches carry partners where a task needs pairs"
    return batch.partner


def augmented(inputs: Inputs, names: Sequence[str], settings: Options, random: torch.Generator) -> Inputs:
    """Another view of the same events. names: of the particle columns from the third on.

    Event columns are hidden: the views would be told by their exact mass. Pair features need no rotation, which leaves
    distances as they are.
    """
    x_BPF, device = inputs.particles_BPF.clone(), inputs.mask_BP.device
    at = {name: i for i, name in enumerate((*GEOMETRY[:2], *names))}
    shape = inputs.mask_BP.shape
    pt_BP = x_BPF[..., at["log_pt"]].exp()
    blur_BP = (settings.soft / pt_BP).clamp(max=settings.soft)
    for pair, axis in (("pair_eta", "deta"), ("pair_phi", "dphi")):
        moved_BP = blur_BP * torch.randn(shape, generator=random).to(device)
        x_BPF[..., at[pair]] += moved_BP
        x_BPF[..., at[axis]] += moved_BP
    angle_B1 = (2 * math.pi * torch.rand(shape[0], 1, generator=random)).to(device)
    deta_BP, dphi_BP = x_BPF[..., at["deta"]].clone(), x_BPF[..., at["dphi"]].clone()
    x_BPF[..., at["deta"]] = angle_B1.cos() * deta_BP - angle_B1.sin() * dphi_BP
    x_BPF[..., at["dphi"]] = angle_B1.sin() * deta_BP + angle_B1.cos() * dphi_BP
    x_BPF[..., at["dr"]] = torch.hypot(deta_BP, dphi_BP)
    stretch_BP = settings.smear * torch.randn(shape, generator=random).to(device)
    for name in _SCALE_WITH_ENERGY:
        x_BPF[..., at[name]] += stretch_BP
    lost_BP = torch.rand(shape, generator=random).to(device) < settings.drop / pt_BP.clamp(min=1)
    hidden_BG = torch.full_like(inputs.columns_BG, torch.nan)
    return Inputs(x_BPF, hidden_BG, inputs.mask_BP & ~lost_BP)


TASK = TaskKind("contrast", Contrast, classes=False, optional=True)
