"""Align: theory and events in one space. An event's vector is near the text of the process that made it (arXiv:2103.00020).

The text is read by hashed n-grams of its letters, so that no text model is needed and related names are related vectors;
parameters of the theory join it as numbers. Other words for a process of the training find its events as far as they share
letters with its text. A process that no event was labelled with is often taken for one of the training that it resembles.
"""

# B batch, E width, T text, H hash bin, K class, R parameter

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from cloudchamber.data.order import Selection
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe, nearest
from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.stats import metrics
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, options, target

_BINS = 512
_GRAMS = (1, 2, 3, 4)  # letters


class Options(TaskOptions):
    """texts: what is said of a class, such as "pp > H > b b~, m = 125 GeV"; its name where nothing is. parameters: labels that
    are numbers of the theory. temperature: of the similarities.
    """

    texts: dict[str, str] = Field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    temperature: float = Field(0.1, gt=0)


class Align(Task):
    """Projections of events and of theory. norm_2R: mean and spread of the parameters in the training."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        assert label is not None
        self.options = options(spec, Options)
        for name in self.options.texts:
            if name not in label.classes:
                raise BadRecipe(f"task 'align': text for {name!r}, which is no class. Nearest: {nearest(name, label.classes)}.")
        self.texts = tuple(self.options.texts.get(c, c) for c in label.classes)
        width, numbers = backbone.size.width, len(self.options.parameters)
        self.event = nn.Sequential(nn.Linear(backbone.out_width, width), nn.GELU(), nn.Linear(width, width))
        self.theory = nn.Sequential(nn.Linear(_BINS + numbers, width), nn.GELU(), nn.Linear(width, width))
        self.register_buffer("norm_2R", torch.stack([torch.zeros(numbers), torch.ones(numbers)]))
        self.register_buffer("grams_KH", torch.from_numpy(n_grams(self.texts)), persistent=False)

    def prepare(self, data: TrainingSet, rows: Selection, load: Callable[[str], Any]) -> None:  # noqa: ARG002
        """Measure the parameters."""
        chosen = data[data.sample(rows, 10_000)]
        for i, name in enumerate(self.options.parameters):
            if data.schema.label(data.schema.resolve(name)).classes:
                raise BadRecipe(f"task 'align': parameter {name!r} has classes, expected a number")
            values = chosen.target(name)
            known = values[np.isfinite(values)].astype(np.float64)
            if len(known):
                self.get_buffer("norm_2R")[:, i] = torch.tensor([known.mean(), known.std() or 1.0])

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:
        """(B,) -log of the share of an event's own theory among those of the batch, and the other way; 0 for class -1."""
        classes_B, numbers_BR = self._truth(inputs, batch)
        theory_BE = self._theory(self.get_buffer("grams_KH")[classes_B.clamp(min=0)], numbers_BR)
        logits_BB = normalize(self.event(encoded.pooled_BE), dim=1) @ theory_BE.T / self.options.temperature
        known_B = classes_B >= 0
        logits_BB = logits_BB.masked_fill(~(known_B[:, None] & known_B), -1e4)
        same_BB = (classes_B[:, None] == classes_B) & (numbers_BR[:, None] == numbers_BR).all(dim=2)
        own_BB = logits_BB.masked_fill(~same_BB, -1e4)
        both_B = (logits_BB.logsumexp(dim=1) - own_BB.logsumexp(dim=1)) + (logits_BB.logsumexp(dim=0) - own_BB.logsumexp(dim=0))
        return torch.where(known_B, 0.5 * both_B, 0.0)

    def match(self, encoded: Encoded, grams_TH: Tensor, numbers_BR: Tensor) -> Tensor:
        """(B, T) probability of each of some texts, taken with the parameters of each event."""
        events_B1E = normalize(self.event(encoded.pooled_BE), dim=1)[:, None]
        theory_BTE = torch.stack([self._theory(gram_H.expand(len(numbers_BR), -1), numbers_BR) for gram_H in grams_TH], dim=1)
        probability_BT: Tensor = ((events_B1E * theory_BTE).sum(dim=2) / self.options.temperature).softmax(dim=1)
        return probability_BT

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        """Truth and the match of every process."""
        classes_B, numbers_BR = self._truth(inputs, batch)
        known_B = classes_B >= 0
        return {"truth": classes_B[known_B], "match": self.match(encoded, self.get_buffer("grams_KH"), numbers_BR)[known_B]}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Which process made this: how often the nearest text is the right one."""
        top1 = metrics.accuracy(answers["truth"], answers["match"])
        return {"top1": top1.value, "top1_error": top1.error, "chance": 1 / len(self.texts), "events": len(answers["truth"])}

    def _truth(self, inputs: Inputs, batch: Batch) -> tuple[Tensor, Tensor]:
        """Class and standardised parameters of each event; 0, the mean, for an unknown one."""
        device = inputs.mask_BP.device
        raw = [torch.as_tensor(batch.targets[n]).to(device).float() for n in self.options.parameters]
        numbers_BR = torch.stack(raw, dim=1) if raw else torch.zeros(len(batch), 0, device=device)
        mean_R, spread_R = self.get_buffer("norm_2R")
        return target(batch, self.spec, device).long(), torch.nan_to_num((numbers_BR - mean_R) / spread_R)

    def _theory(self, grams_BH: Tensor, numbers_BR: Tensor) -> Tensor:
        return normalize(self.theory(torch.cat([grams_BH, numbers_BR], dim=1)), dim=1)


def n_grams(texts: Sequence[str]) -> NDArray[np.float32]:
    """(T, H) counts of the texts' n-grams of letters in hashed bins, scaled to length 1.

    >>> a, b, c = n_grams(["H > b b~", "H > c c~", "QCD jets"])
    >>> bool(a @ b > a @ c)
    True
    """
    found = np.zeros((len(texts), _BINS), dtype=np.float32)
    for row, text in enumerate(texts):
        padded = f" {' '.join(text.split())} "
        for size in _GRAMS:
            for start in range(len(padded) - size + 1):
                found[row, zlib.crc32(padded[start : start + size].encode()) % _BINS] += 1
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), dtype=np.float32)


TASK = TaskKind("align", Align, classes=True)
