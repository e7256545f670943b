"""Muon: hidden matrices move by their momentum made orthogonal, all else by AdamW (arXiv:2502.16982)."""

# N matrix, R row, C column

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # odd, quintic; five times in a row it takes (0.002, 1] to 0.68 to 1.21
_ITERATIONS = 5  # as in the method's first description, kellerjordan.github.io/posts/muon
_STEP_RMS = 0.2  # of the entries of a step over the rate: about that of AdamW's, so that it has its rates
_AT_ONCE = 1 << 24  # numbers that are made orthogonal together, to bound the memory


class Muon(torch.optim.AdamW):
    """AdamW but for groups with `orthogonal`, whose parameters are matrices of hidden layers; rate and decay as AdamW's.

    A matrix is taken as the layer has it: queries, keys and values of all heads are one.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every group."""
        groups = self.param_groups
        self.param_groups = [group for group in groups if not group["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, int], list[Tensor]] = {}
        for matrix in group["params"]:
            if matrix.grad is not None:
                by_shape.setdefault(tuple(matrix.shape), []).append(matrix)
        for (rows, columns), matrices in by_shape.items():
            length, together = group["lr"] * _STEP_RMS * max(rows, columns) ** 0.5, max(_AT_ONCE // (rows * columns), 1)
            for first in range(0, len(matrices), together):
                some = matrices[first : first + together]
                for matrix, step in zip(some, orthogonal(torch.stack([*map(self._direction, some)])), strict=True):
                    matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=length)

    def _direction(self, matrix: Tensor) -> Tensor:
        """The gradient and its running mean, as Nesterov's method mixes them."""
        state = self.state[matrix]
        if not state:
            state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(matrix)}
        state["step"] += 1
        gradient = matrix.grad
        assert gradient is not None
        mixed: Tensor = gradient.lerp(state["exp_avg"].lerp_(gradient, 1 - _MOMENTUM), _MOMENTUM)
        return mixed


def orthogonal(matrices_NRC: Tensor) -> Tensor:
    """Matrices with the same singular vectors, their singular values brought to about 1 by Newton-Schulz iterations.

    Values above 0.002 of the root of the sum of their squares come out between 0.68 and 1.21, smaller ones below.
    """
    if matrices_NRC.shape[1] > matrices_NRC.shape[2]:
        turned: Tensor = orthogonal(matrices_NRC.mT).mT
        return turned
    a, b, c = _POLYNOMIAL
    x_NRC: Tensor = matrices_NRC / matrices_NRC.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    for _ in range(_ITERATIONS):
        square_NRR = x_NRC @ x_NRC.mT
        x_NRC = a * x_NRC + (b * square_NRR + c * square_NRR @ square_NRR) @ x_NRC
    return x_NRC
