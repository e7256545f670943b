"""Cost: memory and operations of a training, counted on tensors without content: nothing is computed."""

# B batch, P particle

from __future__ import annotations

import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from cloudchamber.errors import BadInput
from cloudchamber.events import Batch, Label
from cloudchamber.nn.backbone import Backbone, Inputs
from cloudchamber.nn.features import NamedFeatures
from cloudchamber.nn.sizes import size
from cloudchamber.recipe import TaskSpec
from cloudchamber.tasks.classify import Classify
from cloudchamber.train.network import Network
from cloudchamber.train.weights import SHIPPED, read_config

# Copies of the parameters that a training holds: themselves, gradients, two moments, average, best.
_COPIES = 6
# What a process takes at its first steps whatever their size: torch's modules for optimisers, the code of its kernels.
# Measured by benchmarks/memory.py on one event of one particle, less the copies; with torch 2.13 for CPUs.
_FIRST_USE = 85 << 20
_LABEL = Label(name="label", classes=tuple("0123456789"))


@dataclass(frozen=True)
class Need:
    """Bytes that a training needs beside those of the program. fixed: whatever its batches; per_event: for each in one."""

    fixed: int
    per_event: float

    def events(self, free: int) -> int:
        """How many events may be in one micro-batch with so many bytes free; 0 if not even one."""
        return max(int((free - self.fixed) / self.per_event), 0)


def need(size_name: str, particles: int, *, recompute: bool = False) -> Need:
    """What a size needs to learn to tell ten classes of events of so many particles each, with the features of jets.

    The peak is that of a training step: a validation takes no more events at once if `max_tokens` is given. A straight line
    in the number of events, so it is counted at two of them. Holds where freed memory is free: see train/allocator.py.
    """
    network = _on_meta(size_name)
    network.backbone.recompute(recompute)
    few, many = (_peak(network, n, particles) for n in (4, 8))
    per_event = (many - few) / 4
    return Need(_FIRST_USE + _COPIES * 4 * network.parameters_count + int(few - 4 * per_event), per_event)


def operations(size_name: str, counts_N: NDArray[np.int64]) -> float:
    """Floating-point operations of training on one event, forward and backward, on average over events of these counts.

    Those of matrix products, where a multiplication and an addition are two; without padding. Second order in the count.
    """
    network = _on_meta(size_name)
    some = (16, 32, 64)
    counted = []
    for particles in some:
        with FlopCounterMode(display=False) as counter:
            _step(network, 1, particles)
        counted.append(counter.get_total_flops())
    return float(np.polyval(np.polyfit(some, counted, 2), counts_N).mean())


def free_memory(device: str = "cpu") -> int:
    """Bytes that a new program can have: of the machine and of the control group it runs in, or of the GPU."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    found = []
    lines = dict(line.split(":") for line in _text("/proc/meminfo").splitlines())
    if "MemAvailable" in lines:
        found.append(int(lines["MemAvailable"].split()[0]) * 1024)
    limit, used = (_text(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        found.append(int(limit) - int(used))
    if not found:
        raise BadInput("the free memory cannot be read here: there is no /proc/meminfo")
    return min(found)


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are alive, and their largest number; `known` ones and views of them are not new."""

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        # by their address; there is no other name for a storage without content
        self._known = {tensor.untyped_storage()._cdata for tensor in known}  # noqa: SLF001

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._count(tensor.untyped_storage())
        return made

    def _count(self, storage: Any) -> None:
        key, number = storage._cdata, storage.nbytes()  # noqa: SLF001
        if key in self._known:
            return
        self._known.add(key)
        self.now += number
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key, number)

    def _gone(self, key: int, number: int) -> None:
        self._known.discard(key)
        self.now -= number


def _on_meta(size_name: str) -> Network:
    """A network without content that reads what the shipped weights read."""
    config, numbers = read_config(SHIPPED / "xs"), size(size_name)
    with torch.device("meta"):
        parts = [NamedFeatures.of(features, 2 * numbers.width) for features in (config.particle, config.column)]
        backbone = Backbone(numbers, *parts)
        for part in parts:
            part.bind(part.names)
        return Network(size_name, backbone, [Classify(TaskSpec(task="classify", target=_LABEL.name), _LABEL, backbone)], 0)


def _peak(network: Network, events: int, particles: int) -> int:
    """Largest number of bytes alive in a step's later micro-batch, beside the _COPIES."""
    _step(network, events, particles)
    known = [*network.parameters(), *network.buffers(), *(p.grad for p in network.parameters() if p.grad is not None)]
    with _Live(known) as training:
        _step(network, events, particles)
    return int(training.peak)


def _step(network: Network, events: int, particles: int) -> None:
    """Forward and backward pass of one micro-batch; gradients are added up."""
    inputs, batch = _batch(network, events, particles)
    network.losses(inputs, batch)[network.tasks[0].key].sum().backward()  # type: ignore[no-untyped-call]


def _batch(network: Network, events: int, particles: int) -> tuple[Inputs, Batch]:
    names, columns = (len(part.bound) for part in (network.backbone.particle, network.backbone.column))
    batch = Batch(
        particles_BPF=np.broadcast_to(np.float32(0), (events, particles, 2 + names)),
        columns_BG=np.broadcast_to(np.float32(0), (events, columns)),
        mask_BP=np.broadcast_to(np.True_, (events, particles)),
        weight_B=np.ones(events, dtype=np.float32),
        targets={_LABEL.name: np.zeros(events, dtype=np.int64)},
        index_B=np.arange(events),
    )
    arrays = (batch.particles_BPF, batch.columns_BG, batch.mask_BP)
    kinds = (torch.float32, torch.float32, torch.bool)
    particles_BPF, columns_BG, mask_BP = (
        torch.empty(a.shape, dtype=kind, device="meta") for a, kind in zip(arrays, kinds, strict=True)
    )
    return Inputs(particles_BPF, columns_BG, mask_BP), batch


def _text(path: str) -> str:
    return Path(path).read_text() if Path(path).is_file() else ""
