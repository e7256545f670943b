"""Optimiser: parameter groups, learning-rate schedule, averaged weights."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from cloudchamber.recipe import Optimisation
from cloudchamber.train.muon import Muon
from cloudchamber.train.network import Network
from cloudchamber.train.parallel import complete

# A new feature's embedding starts at zero, others at order 1: Adam moves every number by the rate, so it needs a higher one.
_NEW_FEATURE = 10.0
_HIDDEN = ("backbone.blocks.", "backbone.looks.")


def make_optimiser(network: Network, optimisation: Optimisation, learning_rate: float) -> torch.optim.AdamW:
    """AdamW or Muon, the backbone at its rate times `backbone_factor` and `layer_decay`; vectors and scalars do not decay."""
    kind = Muon if optimisation.optimiser == "muon" else torch.optim.AdamW
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad and parameter.numel():
            starts = name.endswith(".added_weight") and not complete(parameter).all()
            factor = _NEW_FEATURE if starts else _factor(name, network, optimisation)
            hidden = kind is Muon and name.startswith(_HIDDEN) and name.endswith(".weight") and parameter.ndim > 1
            groups.setdefault((factor, parameter.ndim > 1, hidden), []).append(parameter)
    content = [
        {
            "params": members,
            "weight_decay": optimisation.weight_decay if decays else 0.0,
            "factor": factor,
            "orthogonal": hidden,
        }
        for (factor, decays, hidden), members in groups.items()
    ]
    return kind(content, lr=learning_rate, betas=(0.9, 0.98), fused=True)


def _factor(name: str, network: Network, optimisation: Optimisation) -> float:
    """What scales the rate of a parameter: 1 for heads; the last layer is one below them, the inputs the most."""
    if not name.startswith("backbone."):
        return 1.0
    size = network.backbone.size
    match name.split(".")[1:]:
        case ["blocks", number, *_]:
            depth = int(number)
        case ["norm", *_]:
            depth = size.layers
        case ["looks", "layers", number, *_]:
            depth = size.layers + int(number)
        case ["looks", *_]:
            depth = size.layers + size.look_layers
        case _:
            depth = -1
    return (optimisation.backbone_factor or 1.0) * optimisation.layer_decay ** (size.layers + size.look_layers - depth)


def rate(step: int, steps: int, optimisation: Optimisation) -> float:
    """Learning rate of step 0, 1, ... as a fraction of the peak: linear warm-up, then a cosine.

    >>> [round(rate(s, 10, Optimisation(warmup=0.2, final_rate=0.0)), 2) for s in (0, 1, 9)]
    [0.5, 1.0, 0.03]
    """
    warm = max(round(optimisation.warmup * steps), 1)
    if step < warm:
        return (step + 1) / warm
    done = (step - warm + 1) / max(steps - warm + 1, 1)
    return optimisation.final_rate + (1 - optimisation.final_rate) * 0.5 * (1 + math.cos(math.pi * done))


class Average:
    """Exponential moving average of the trainable parameters; short at the start, `decay` in the end."""

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.parameters = {n: p for n, p in network.named_parameters() if p.requires_grad and p.numel()}
        self.values = {n: p.detach().clone() for n, p in self.parameters.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the parameters after step 0, 1, ..."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.values.values()), [p.detach() for p in self.parameters.values()], weight)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange averaged and current parameters; called twice it changes nothing."""
        for name, parameter in self.parameters.items():
            current = parameter.detach().clone()
            parameter.copy_(self.values[name])
            self.values[name].copy_(current)

    @torch.no_grad()
    def load(self, values: Mapping[str, Tensor]) -> None:
        """Take the averages from a checkpoint."""
        for name, value in self.values.items():
            value.copy_(values[name])
