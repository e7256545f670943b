"""Regress: a number of an event, with its spread or its quantiles, learned in standardised units."""

# B batch, N event, Q quantile, M number that the head gives

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor, nn

from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, target

_ONE_SIGMA = NormalDist().cdf(1)
_LN_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


class Options(TaskOptions):
    """centre, scale: of the target in its unit, set from the training events. loss: of the standardised residual.

    "gaussian" learns a spread per event and gives it. "student" does the same with the tails of Student's t of 4 degrees of
    freedom: the pull of an event far off on the value is bounded. "quantile" learns quantiles at
    `levels` by the pinball loss, which assumes no shape, and gives the median as the value; "huber" (threshold 1) gives the
    value alone. transform: "log1p" standardises ln(1 + target), for numbers that spread over decades as energies do; what is
    given back is then the median.
    """

    centre: float = 0.0
    scale: float = 1.0
    loss: Literal["gaussian", "student", "quantile", "huber"] = "gaussian"
    transform: Literal["none", "log1p"] = "none"
    levels: tuple[float, ...] = (0.025, 0.16, 0.5, 0.84, 0.975)

    @model_validator(mode="after")
    def _levels_rise_through_the_median(self) -> Self:
        if list(self.levels) != sorted({*self.levels, 0.5}) or not 0 < self.levels[0] <= self.levels[-1] < 1:
            raise ValueError(f"levels must rise between 0 and 1 and contain 0.5, got {self.levels}")
        return self


class Regress(Task):
    """Linear read-out from the normalised pooled vector: of mean and log spread, or of quantiles that cannot cross."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        self.options = options(spec, Options)
        self.norm = nn.LayerNorm(backbone.out_width)
        self.out = nn.Linear(backbone.out_width, len(self.options.levels) if self.options.loss == "quantile" else 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    @property
    def has_spread(self) -> bool:
        """Whether `predict` gives a spread beside the value."""
        return self.options.loss in ("gaussian", "student")

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) loss of the standardised residual; 0 where the target is NaN.

        With a spread it is the negative log-likelihood of the (transformed) target in its unit, whatever centre and scale are.
        """
        value_B = target(batch, self.spec, inputs.mask_BP.device)
        value_B = torch.log1p(value_B) if self.options.transform == "log1p" else value_B
        value_B = (value_B - self.options.centre) / self.options.scale
        known_B = torch.isfinite(value_B)
        scaled_B = torch.where(known_B, value_B, 0.0).float()
        if self.options.loss == "quantile":
            short_BQ = scaled_B[:, None] - self._quantiles(encoded)
            level_Q = torch.tensor(self.options.levels, device=short_BQ.device)
            return torch.where(known_B, torch.maximum(level_Q * short_BQ, (level_Q - 1) * short_BQ).mean(dim=1), 0.0)
        mean_B, log_sigma_B = self._read(encoded)
        if self.options.loss == "huber":
            losses = torch.nn.functional.huber_loss(mean_B, scaled_B, reduction="none")
        else:
            squared_B = ((scaled_B - mean_B) / log_sigma_B.exp()).square()
            student = self.options.loss == "student"
            # Student's density at 0 is 3/8 with 4 degrees of freedom, and falls as (1 + t^2/4)^(-5/2).
            shape_B = 2.5 * torch.log1p(squared_B / 4) + math.log(8 / 3) if student else 0.5 * squared_B + _LN_ROOT_2_PI
            losses = shape_B + log_sigma_B + math.log(self.options.scale)
        return torch.where(known_B, losses, 0.0)

    def predict(self, encoded: Encoded) -> Tensor:
        """(B, 2) value and its spread in the target's unit, half of the central 68.3 % (with "log1p" to first order); with
        "quantile" (B, 1 + Q) median and quantiles; with "huber" (B, 1) the value alone.
        """
        if self.options.loss == "quantile":
            found_BQ = self._in_unit(self._quantiles(encoded))
            return torch.cat([found_BQ[:, [self.options.levels.index(0.5)]], found_BQ], dim=1)
        mean_B, log_sigma_B = self._read(encoded)
        value_B = self._in_unit(mean_B)
        if self.options.loss == "huber":
            return value_B[:, None]
        slope_B = 1 + value_B if self.options.transform == "log1p" else 1.0  # d target / d what is standardised
        return torch.stack([value_B, log_sigma_B.exp() * self._inverse(_ONE_SIGMA) * self.options.scale * slope_B], dim=1)

    def quantiles(self, predicted_NM: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """(N, Q) quantiles at `options.levels` from what `predict` gives; None with "huber"."""
        if self.options.loss == "huber":
            return None
        if self.options.loss == "quantile":
            return predicted_NM[:, 1:]
        shape_Q = np.array([self._inverse(x) / self._inverse(_ONE_SIGMA) for x in self.options.levels], dtype=np.float32)
        value_N1, spread_N1 = predicted_NM[:, :1], predicted_NM[:, 1:]
        if self.options.transform == "log1p":
            return np.asarray(np.expm1(np.log1p(value_N1) + spread_N1 / (1 + value_N1) * shape_Q))
        return value_N1 + spread_N1 * shape_Q

    def _inverse(self, level: float) -> float:
        """The quantile of the residual's shape, in units of its scale."""
        return _student_quantile(level) if self.options.loss == "student" else NormalDist().inv_cdf(level)

    def _in_unit(self, standardised: Tensor) -> Tensor:
        value = standardised * self.options.scale + self.options.centre
        return torch.expm1(value) if self.options.transform == "log1p" else value

    def _quantiles(self, encoded: Encoded) -> Tensor:
        """(B, Q) standardised: the median, and steps away from it on both sides that are never negative."""
        raw_BQ = self.out(self.norm(encoded.pooled_BE))
        at = self.options.levels.index(0.5)
        below_BQ, above_BQ = (torch.nn.functional.softplus(part) for part in (raw_BQ[:, :at], raw_BQ[:, at + 1 :]))
        below_BQ = below_BQ.flip(1).cumsum(dim=1).flip(1)
        median_B1 = raw_BQ[:, at : at + 1]
        return torch.cat([median_B1 - below_BQ, median_B1, median_B1 + above_BQ.cumsum(dim=1)], dim=1)

    def _read(self, encoded: Encoded) -> tuple[Tensor, Tensor]:
        mean_B, log_sigma_B = self.out(self.norm(encoded.pooled_BE)).unbind(dim=1)
        return mean_B, log_sigma_B.clamp(-7, 7)


def _student_quantile(level: float) -> float:
    """Of Student's t of 4 degrees of freedom (W. T. Shaw, J. Comput. Finance 9 (2006) 37).

    >>> round(_student_quantile(0.975), 3)
    2.776
    """
    root = math.sqrt(4 * level * (1 - level))
    return math.copysign(2 * math.sqrt(max(math.cos(math.acos(min(root, 1.0)) / 3) / root - 1, 0.0)), level - 0.5)


TASK = TaskKind("regress", Regress, classes=False)
