"""Counted cost: operations by hand, memory against a process that trains, large sizes that are built and stepped."""

import importlib
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.toy import toy_cloud

from cloudchamber.data.loader import Loader
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.nn.sizes import SIZES, Size
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.train import allocator, cost
from cloudchamber.train.loop import Training, train
from cloudchamber.train.network import new_network

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_operations_of_the_blocks_are_those_of_their_matrices():
    deep, flat = cost.operations("s", np.array([40])), cost.operations("s", np.array([40, 40]))
    assert deep == flat
    size, tokens = SIZES["s"], 41
    head = size.width // size.heads + 1  # a column for c ln pT
    one = tokens * (4 * size.width**2 + 2 * size.width * size.hidden) + size.heads * tokens**2 * (2 * head - 1)
    blocks = 6 * size.layers * one  # two operations, forward once and backward twice
    assert blocks < deep < 1.25 * blocks  # the rest embeds particles and pairs, and the looks


def test_memory_rises_with_events_particles_and_what_is_kept():
    small, large, frugal = cost.need("xs", 40), cost.need("xs", 80), cost.need("xs", 80, recompute=True)
    assert small.per_event < large.per_event < 4.1 * small.per_event
    assert frugal.per_event < 0.7 * large.per_event
    assert small.fixed >= 6 * 4 * 300_000
    assert small.events(small.fixed + int(10.5 * small.per_event)) == 10
    assert small.events(0) == 0


def test_storages_are_counted_once_while_they_live():
    with cost._Live() as live:
        a = torch.ones(1000)
        b = a.view(10, 100) + 1
        del a
        c = b * 2
    assert live.peak == 8000
    assert live.now == 4 * (b.numel() + c.numel())


def test_a_validation_takes_no_more_at_once_than_a_step_where_the_tokens_are_given():
    data = TrainingSet.from_cloud(toy_cloud(12))
    rows = np.arange(12)

    def training(**given):
        return Training(data, Loader((rows,), 12, 0), rows, Optimisation(**given), 1, 1e-3, 0)

    given, usual = training(max_tokens=500), training()
    assert given.validation_tokens == given.max_tokens == 500
    assert usual.validation_tokens > usual.max_tokens
    assert [t.bounded for t in (given, training(recompute=True), usual)] == [True, True, False]


_KEPT = """
from pathlib import Path
import torch
from cloudchamber.train.allocator import freed_at_once

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) << 12

with freed_at_once({wanted}):
    torch.ones(6 << 20)
    before = resident()
    tensors = [torch.ones(n) for _ in range(20) for n in (1 << 20, 1 << 16)]  # the small ones fit in no hole
    del tensors[::2]
    print((resident() - before) / (80 << 20))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_freed_tensors_go_back_to_the_system_where_memory_is_bounded():
    # What its own thresholds come to is not the same in every process; here they are given.
    names = {allocator._MAP: "MALLOC_MMAP_THRESHOLD_", allocator._TRIM: "MALLOC_TRIM_THRESHOLD_"}
    usual = {names[threshold]: str(number) for threshold, number in allocator._USUAL.items()}
    kept = [_kept(True, {}), _kept(False, usual)]
    assert kept[0] < 0.1
    assert kept[1] > 0.5


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries are left as they are")
def test_who_set_the_allocator_keeps_it():
    assert _kept(True, {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 40)}) > 0.5


def _kept(wanted: bool, own: dict[str, str]) -> float:
    """The share of 80 MB of freed tensors that a process keeps."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(allocator._SETTINGS)} | own
    command = [sys.executable, "-c", _KEPT.format(wanted=wanted)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout)


@pytest.mark.slow
def test_the_memory_of_a_training_is_counted_within_a_fifth(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    memory = importlib.import_module("memory")
    counted = cost.need("xs", memory.PARTICLES)
    events = counted.events(300 << 20)
    measured = memory._beside_idle("xs", memory.PARTICLES, events, False)
    assert measured == pytest.approx(counted.fixed + events * counted.per_event, rel=0.2)
    for name in ("memory", "jets", "record"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("name", "millions"), [("m", (35, 45)), ("l", (380, 420))])
def test_a_large_size_is_built_and_its_step_runs_without_content(name, millions):
    network = cost._on_meta(name)
    assert millions[0] < network.parameters_count / 1e6 < millions[1]
    cost._step(network, 2, 5)
    assert cost.need(name, 5).fixed > 24 * network.parameters_count


@pytest.mark.parametrize("name", ["m", "l"])
def test_a_large_size_trains_on_tiny_shapes(name, monkeypatch):
    size = SIZES[name]  # its depth and heads, with little in each
    narrow = Size(width=4 * size.heads, layers=size.layers, heads=size.heads, hidden=8, learning_rate=size.learning_rate)
    monkeypatch.setitem(SIZES, name, narrow)
    data = TrainingSet.from_cloud(toy_cloud(12, mean=4.0))
    network = new_network(name, data, [TaskSpec(task="classify", target="label")], 8, torch.Generator().manual_seed(0))
    rows, losses = np.arange(12), []
    settings = Optimisation(batch=12, checkpoints=0, validations=1, warmup=0, recompute=True)
    training = Training(data, Loader((rows,), 12, 0), rows, settings, 4, 2e-3, 0)
    train(network, training, on_record=lambda _, __, record: losses.append(record["loss"]))
    assert losses[-1] < losses[0]
