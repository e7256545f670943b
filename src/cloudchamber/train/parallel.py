"""Parallel: one training in the processes that torchrun started. A step's gradient is that of one process.

DDP keeps the whole network in every process; FSDP2 cuts parameters, gradients, moments and averages into shards. The loop
is the same for both and for one process.
"""

from __future__ import annotations

import copy
import gc
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from cloudchamber.errors import BadRecipe
from cloudchamber.events import Batch
from cloudchamber.train.network import Network

Mode = Literal["ddp", "fsdp"]
_T = TypeVar("_T")
_APART = 1 << 32  # between the seeds of two processes: what they draw at random must differ


class Whole(nn.Module):
    """A network that does what it is asked for within one call of this module, which is what DDP and FSDP2 attach to."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, work: Callable[[Network], _T]) -> _T:
        """What `work` makes of the network. Tensors with a gradient must be in plain containers."""
        return work(self.network)


@dataclass(frozen=True)
class Ranks:
    """The processes of a training: this is number `rank` of `count`. mode: None for one alone. device: of sums."""

    rank: int = 0
    count: int = 1
    mode: Mode | None = None
    device: str = "cpu"

    @property
    def first(self) -> bool:
        """Whether this process writes what the run leaves."""
        return self.rank == 0

    def seed(self, seed: int) -> int:
        """A seed of this process's own; in the first one it is the seed given."""
        return seed + self.rank * _APART

    def own(self, network: Network) -> Network:
        """The network that this process trains: a copy where it will be cut into shards."""
        return copy.deepcopy(network) if self.mode == "fsdp" else network

    def spread(self, network: Network) -> nn.Module:
        """The network as the loop calls it, see Whole; `network` is changed in place."""
        whole = Whole(network)
        if self.mode == "ddp":
            # Which parameters a step uses depends on the objectives: what none uses must stay without a gradient.
            return nn.parallel.DistributedDataParallel(whole, broadcast_buffers=False, find_unused_parameters=True)
        if self.mode == "fsdp":
            from torch.distributed.device_mesh import init_device_mesh
            from torch.distributed.fsdp import fully_shard

            mesh = init_device_mesh(self.device, (self.count,))
            for block in network.backbone.blocks:
                fully_shard(block, mesh=mesh)
            fully_shard(whole, mesh=mesh)
        return whole

    def even(self, batches: Sequence[Batch]) -> Sequence[Batch]:
        """As many micro-batches as the process with the most has: the last one again, with weight 0.

        Every forward and backward pass is met by one of all others, and while these work there is nothing else to do.
        """
        if self.mode is None:
            return batches
        idle = replace(batches[-1], weight_B=np.zeros_like(batches[-1].weight_B))
        return [*batches, *[idle] * (int(self._reduced([len(batches)], dist.ReduceOp.MAX)[0]) - len(batches))]

    def means(self, values: Sequence[float]) -> Sequence[float]:
        """The mean over the processes of each number."""
        if self.mode is None:
            return values
        return [total / self.count for total in self._reduced(values, dist.ReduceOp.SUM)]

    def gathered(self, value: _T) -> list[_T]:
        """What every process has, in their order."""
        if self.mode is None:
            return [value]
        found: list[Any] = [None] * self.count
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Until all processes are here."""
        if self.mode is not None:
            dist.barrier()

    @contextmanager
    def first_before_others(self) -> Iterator[None]:
        """Let the first process do something, such as write a cache, before the others do the same."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def _reduced(self, values: Sequence[float], operation: Any) -> list[float]:
        found = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(found, operation)
        return [float(v) for v in found.tolist()]


ALONE = Ranks()


@contextmanager
def joined(mode: Mode | None, device: str) -> Iterator[Ranks]:
    """The processes that torchrun started, DDP unless `mode` says otherwise; this one alone without torchrun.

    On GPUs each process takes one of its machine. Raises BadRecipe for a mode without torchrun.
    """
    if not dist.is_torchelastic_launched():
        if mode is not None:
            raise BadRecipe(
                f"--parallel {mode} needs the processes that torchrun starts: torchrun --nproc-per-node 2 -m cloudchamber ..."
            )
        yield ALONE
        return
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    meeting: dict[str, Any] = {}
    if os.environ["GROUP_WORLD_SIZE"] == "1":
        # torchrun keeps the addresses of killed processes in its store, where restarted ones would look for each other. Nodes
        # count their restarts each for itself, so several cannot meet by that number; docs/scale.md says what helps there.
        store, rank, count = next(rendezvous("env://"))
        named = PrefixStore(f"restart {os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
        meeting = {"store": named, "rank": rank, "world_size": count}
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", **meeting)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), mode or "ddp", kind)
    finally:
        # What DDP leaves in reference cycles holds the group, and with it threads, that would meet the end of the interpreter.
        gc.collect()
        dist.destroy_process_group()


def restarted() -> bool:
    """Whether torchrun started this process in place of a killed one."""
    return dist.is_torchelastic_launched() and int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def synchronises(whole: nn.Module, *, last: bool) -> None:
    """Say before each micro-batch whether it is the step's last one: DDP adds up gradients then. FSDP2 does so in each."""
    if isinstance(whole, nn.parallel.DistributedDataParallel):
        whole.require_backward_grad_sync = last


def forget(whole: nn.Module) -> None:
    """Drop the gathered parameters that FSDP2 still holds after a pass without a gradient: they are about to change."""
    reshard = getattr(whole, "reshard", None)  # to ask for the class would import all of FSDP2
    if reshard is not None:
        reshard()


def complete(tensor: Tensor) -> Tensor:
    """The tensor of all processes, gathered if this one has a shard of it; all must call it."""
    gather = getattr(tensor, "full_tensor", None)
    full: Tensor = tensor if gather is None else gather()
    return full
