"""Checkpoint: everything that a killed training needs to go on as if nothing had happened, in one safetensors file."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRun
from cloudchamber.recipe import Recipe
from cloudchamber.run import atomic
from cloudchamber.train.network import Network
from cloudchamber.train.optimiser import Average
from cloudchamber.train.parallel import ALONE, Ranks, Whole
from cloudchamber.train.rows import Rows

_FILE, _INDEX = "state.safetensors", "shards.json"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW


@dataclass(frozen=True)
class Progress:
    """Where a training stands. step: steps done. best_loss: of the best validation so far, None before the first."""

    step: int = 0
    best_loss: float | None = None
    best_step: int = 0
    since_best: int = 0
    jets: int = 0
    seconds: float = 0.0


class State:
    """The parts of a training that change: parameters, averages, optimiser moments, best weights, progress.

    network: what is trained; whole: the same as the loop calls it; see train.parallel.
    """

    def __init__(
        self,
        network: Network,
        optimiser: torch.optim.Optimizer,
        average: Average,
        whole: nn.Module | None = None,
        ranks: Ranks = ALONE,
    ):
        self.network = network
        self.whole = whole or Whole(network)
        self.ranks = ranks
        self.optimiser = optimiser
        self.average = average
        self.best = {n: v.clone() for n, v in average.values.items()}
        self.progress = Progress()

    def advance(self, **changes: Any) -> None:
        """Replace some of the progress."""
        self.progress = replace(self.progress, **changes)

    def save(self, folder: Path, identity: str) -> None:
        """Write atomically, one file or the shards of all processes. identity: hash of recipe and data, compared on loading."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.average.parameters.items():
            moments = self.optimiser.state.get(parameter, {})  # none for a parameter that no task has used
            tensors |= {f"adam.{key}.{name}": value for key, value in moments.items()}
            tensors |= {f"now.{name}": parameter, f"mean.{name}": self.average.values[name], f"best.{name}": self.best[name]}
        tensors = {n: t.detach() for n, t in tensors.items()}
        note = {"identity": identity, "progress": json.dumps(asdict(self.progress))}
        if self.ranks.first:
            folder.mkdir(exist_ok=True)
        if self.ranks.mode == "fsdp":
            from cloudchamber.train import shards

            shards.write(folder / _INDEX, tensors, self.progress.step, note)
        elif self.ranks.first:
            with atomic(folder / _FILE) as temporary:
                save_file({n: t.cpu().contiguous() for n, t in tensors.items()}, temporary, metadata=note)

    def load(self, folder: Path, identity: str) -> None:
        """Go back to a checkpoint if there is one; BadRun if it is damaged or belongs to another recipe or other data."""
        sharded = self.ranks.mode == "fsdp"
        own, other = (_INDEX, _FILE) if sharded else (_FILE, _INDEX)
        if (folder / other).is_file():
            raise BadRun(f"{folder}: was written {'without' if sharded else 'with'} --parallel fsdp; resume it in the same way")
        if not (folder / own).is_file():
            return
        tensors, note = self._read_shards(folder / own) if sharded else _read(folder / own)
        if note["identity"] != identity:
            raise BadRun(
                f"{folder}: checkpoint belongs to another recipe or other data; resume with what the run was started with"
            )
        with torch.no_grad():
            for name, parameter in self.average.parameters.items():
                parameter.copy_(tensors[f"now.{name}"])
                self.best[name].copy_(tensors[f"best.{name}"])
                keys = [k for k in _MOMENTS if f"adam.{k}.{name}" in tensors]
                if keys:
                    self.optimiser.state[parameter] = {k: tensors[f"adam.{k}.{name}"].to(parameter.device) for k in keys}
        self.average.load({n: tensors[f"mean.{n}"] for n in self.average.values})
        self.progress = Progress(**json.loads(note["progress"]))

    def _read_shards(self, index: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
        from cloudchamber.train import shards

        like: dict[str, Tensor] = {}
        for name, parameter in self.average.parameters.items():
            keys = ("now", "mean", "best", *(f"adam.{k}" for k in _MOMENTS[1:]))
            like |= {f"{key}.{name}": parameter.detach() for key in keys} | {f"adam.{_MOMENTS[0]}.{name}": torch.zeros(())}
        return shards.read(index, like)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise BadRun(f"{path}: checkpoint cannot be read ({error})") from error


def identity_of(recipe: Recipe, data: TrainingSet, rows: Rows) -> str:
    """Hash of the recipe and of the events that it trains and validates on."""
    digest = hashlib.sha256(recipe.sha256.encode())
    for part in data.parts:
        digest.update(part.identity.encode() or np.ascontiguousarray(part.events_N).tobytes())
    for members in (rows.train, rows.val, *rows.mixture):
        digest.update(repr(members).encode() if isinstance(members, range) else members.tobytes())
    digest.update(" ".join((*data.particle_names, *data.column_names)).encode())
    return digest.hexdigest()
