"""Trains toy jets in the processes that torchrun starts; the first one leaves weights and losses."""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tests.toy import toy_cloud

from cloudchamber.data.loader import Loader
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.nn.lora import add_lora
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.train.loop import Training, train
from cloudchamber.train.network import new_network
from cloudchamber.train.parallel import joined

TASKS = (TaskSpec(task="classify", target="label"), TaskSpec(task="regress", target="width", weight=0.5))
STEPS = 6
CASES = {
    "plain": {},
    "blocks computed again": {"recompute": True},
    "LoRA": {"lora": True},
    "layers of the register": {"size": "s"},
    "Muon": {"optimiser": "muon"},
}


def cases(mode):
    """Those that can be trained so: Muon needs whole matrices."""
    return {case: options for case, options in CASES.items() if (case, mode) != ("Muon", "fsdp")}


def trained(ranks, folder, *, size="xs", lora=False, **optimisation):
    """Train and leave weights and losses; returns the numbers of micro-batches of each step."""
    data = TrainingSet.from_cloud(toy_cloud(90, mean=8.0))
    network = new_network(size, data, TASKS, 128, torch.Generator().manual_seed(0))
    if lora:
        add_lora(network.backbone, 4, torch.Generator().manual_seed(1))
    settings = Optimisation(batch=22, checkpoints=0, validations=2, max_tokens=40, ema=0.5, **optimisation)
    rows = np.arange(90)
    loader = Loader((rows[:60],), 22, 3, rank=ranks.rank, ranks=ranks.count)
    training = Training(data, loader, rows[60:], settings, STEPS, 2e-3, 0, ranks=ranks)
    records = []
    train(network, training, on_record=lambda _, __, record: records.append(dict(record)))
    if ranks.first:
        folder.mkdir(parents=True)
        save_file({n: p.detach().contiguous() for n, p in network.named_parameters()}, folder / "weights.safetensors")
        for record in records:
            record.pop("seconds")
        (folder / "records.json").write_text(json.dumps(records))
    return [len(training.batches_of(step)) for step in range(STEPS)]


if __name__ == "__main__":
    mode, out = sys.argv[1:]
    with joined(mode, "cpu") as ranks:
        for case, options in cases(mode).items():
            counts = ranks.gathered(trained(ranks, Path(out) / case, **options))
            assert counts[0] != counts[1], f"the test wants another number of micro-batches in each process, got {counts}"
