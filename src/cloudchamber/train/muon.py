"""Muon: hidden matrices move by their momentum made orthogonal, all else by AdamW (arXiv:2502.16982)."""

# N matrix, R row, C column

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_MOMENTUM = 0.95
_POLYNOMIAL = (3.4445, -4.7750, 2.0315)  # of an odd quintic that takes (0, 1] to about 1 (kellerjordan.github.io/posts/muon)
_ITERATIONS = 5
_SIZE = 0.2  # root mean square of the entries of a step over the rate; so it has AdamW's rates (arXiv:2502.16982, section 2.2)


class Muon(torch.optim.AdamW):
    """AdamW but for groups with `orthogonal`, whose parameters are matrices of hidden layers; rate and decay as AdamW's."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every group."""
        every = self.param_groups
        self.param_groups = [group for group in every if not group["orthogonal"]]
        try:
            loss = super().step(closure)
        finally:
            self.param_groups = every
        for group in every:
            if group["orthogonal"]:
                self._move(group)
        return loss

    def _move(self, group: dict[str, Any]) -> None:
        alike: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = {}
        for matrix in group["params"]:
            if matrix.grad is not None:
                mean = self.state[matrix].setdefault("exp_avg", torch.zeros_like(matrix)).lerp_(matrix.grad, 1 - _MOMENTUM)
                ahead = matrix.grad.lerp(mean, _MOMENTUM)  # as Nesterov's
                alike.setdefault(tuple(matrix.shape), []).append((matrix, ahead))
        for shape, pairs in alike.items():
            matrices, wanted = zip(*pairs, strict=True)
            size = group["lr"] * _SIZE * max(shape) ** 0.5
            for matrix, direction in zip(matrices, orthogonal(torch.stack(wanted)), strict=True):
                matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=size)


def orthogonal(matrices_NRC: Tensor) -> Tensor:
    """Matrices with the same singular vectors and singular values of about 1, by Newton-Schulz iterations.

    Those below about 0.002 of the root of the sum of squares do not get there, the others between 0.7 and 1.2; on a GPU in
    bfloat16, whose rounding is small beside that.
    """
    if matrices_NRC.shape[1] > matrices_NRC.shape[2]:
        turned: Tensor = orthogonal(matrices_NRC.mT).mT
        return turned
    a, b, c = _POLYNOMIAL
    x_NRC: Tensor = matrices_NRC / matrices_NRC.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    if x_NRC.is_cuda:
        x_NRC = x_NRC.bfloat16()
    for _ in range(_ITERATIONS):
        square_NRR = x_NRC @ x_NRC.mT
        x_NRC = a * x_NRC + (b * square_NRR + c * square_NRR @ square_NRR) @ x_NRC
    return x_NRC.to(matrices_NRC.dtype)
