"""Our side: a network of a given size and the step of our own training loop, averaged weights and all."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from cloudchamber.data.loader import Loader, micro_batches
from cloudchamber.recipe import TaskSpec
from cloudchamber.train import loop
from cloudchamber.train.checkpoint import State
from cloudchamber.train.loop import Training
from cloudchamber.train.network import new_network
from cloudchamber.train.optimiser import Average, make_optimiser
from cloudchamber.train.scoring import scores
from jets import LABEL, Jets
from peers import Schedule


class Ours:
    """A classifier of the given size, trained on the jets given in one optimiser step per call."""

    def __init__(self, jets: Jets, size: str, seed: int = 0, *, schedule: Schedule):
        generator = torch.Generator().manual_seed(seed)
        spec = TaskSpec(task="classify", target=LABEL)
        self.network = new_network(size, jets.data, [spec], int(jets.counts_N.max()), generator)
        optimisation, steps, peak = schedule.optimisation, schedule.steps, schedule.peak
        loader = Loader((jets.data.everything,), optimisation.batch, seed)
        self.training = Training(jets.data, loader, np.empty(0, np.int64), optimisation, steps, peak, seed)
        optimiser = make_optimiser(self.network, optimisation, peak)
        self.state = State(self.network, optimiser, Average(self.network, optimisation.ema))
        self.network.train()

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.network.parameters())

    def train_step(self, rows: NDArray[np.int64], step: int) -> float:
        """Train once on the jets `rows`; mean loss."""
        batches = list(micro_batches(self.training.data, rows, self.training.max_tokens))
        return loop.train_step(self.state, self.training, batches, step)["loss"]

    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, C) class probabilities of the jets `rows`, from the weights as they are (not the averaged ones)."""
        (task,) = self.network.tasks
        found = scores(self.network, self.training.data, rows, task)
        self.network.train()
        return found
