"""LoRA: a trainable change of low rank to frozen matrices (arXiv:2106.09685), merged into plain weights in the end."""

# O output, I input, R rank

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cloudchamber.errors import BadRecipe
from cloudchamber.nn.backbone import Backbone, Block, Look

DEFAULT_RANK = 8


class LowRank(nn.Module):
    """W -> W + up down. `up` starts at zero: the first step sees W to the last bit."""

    def __init__(self, weight_OI: Tensor, rank: int, generator: torch.Generator):
        super().__init__()
        outputs, inputs = weight_OI.shape
        self.down_RI = nn.Parameter(torch.randn(rank, inputs, generator=generator) * inputs**-0.5)
        self.up_OR = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, weight_OI: Tensor) -> Tensor:
        """The changed matrix. Made of the matrices alone, in float32, so that merging gives the numbers that were trained."""
        with torch.autocast(weight_OI.device.type, enabled=False):
            return weight_OI + self.up_OR @ self.down_RI


def add_lora(backbone: Backbone, rank: int, generator: torch.Generator) -> None:
    """Freeze a backbone but for a change of the given rank to the qkv and feed-forward matrices of its layers.

    Raises BadRecipe if the rank is not below that of the matrices.
    """
    width = backbone.size.width
    if rank >= width:
        raise BadRecipe(f"rank {rank} is not low for matrices of width {width}; use adapt 'full' or a smaller rank")
    backbone.requires_grad_(False)
    for layer in list(backbone.modules()):
        if isinstance(layer, Block | Look):
            first = layer.qkv if isinstance(layer, Block) else layer.query
            for matrix in (first, layer.inner, layer.outer):
                parametrize.register_parametrization(matrix, "weight", LowRank(matrix.weight, rank, generator))


def merge_lora(module: nn.Module) -> None:
    """Make every changed matrix a plain one again, with the change in it."""
    for layer in list(module.modules()):
        if parametrize.is_parametrized(layer, "weight"):
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
