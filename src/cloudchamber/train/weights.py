"""Weights: a folder with `model.safetensors` and `config.json`; where it lies, what it says, whether it is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cloudchamber.errors import BadWeights, nearest
from cloudchamber.events import Label
from cloudchamber.nn.features import FeaturesConfig
from cloudchamber.nn.sizes import SIZES
from cloudchamber.recipe import SizeName, TaskSpec
from cloudchamber.run import file_hash

WEIGHTS_VERSION = 2
SHIPPED = Path(str(files("cloudchamber"))) / "weights"  # one folder per shipped name


class WeightsConfig(BaseModel):
    """`config.json` of a weights folder: what is needed to build the network again, and where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = WEIGHTS_VERSION
    size: SizeName
    particle: FeaturesConfig
    column: FeaturesConfig
    tasks: tuple[TaskSpec, ...]
    labels: tuple[Label, ...]
    max_particles: int
    data: dict[str, Any]
    citation: tuple[str, ...] = ()
    licence: str = "not stated"
    sha256: str = ""

    def has_head(self, task: str, target: str) -> bool:
        """Whether a fine-tuning could start from a head of these weights for a task's target."""
        return any((t.task, t.target) == (task, target) for t in self.tasks)


def shipped_names() -> tuple[str, ...]:
    """The weights that ship with the package."""
    return tuple(sorted(p.parent.name for p in SHIPPED.glob("*/config.json")))


def weights_folder(name: str | Path) -> Path:
    """The folder of shipped weights ("xs"), of a run (its `model`), or the folder given.

    Raises BadWeights with what is shipped if there is no such thing.
    """
    places = (Path(name) / "model", Path(name), SHIPPED / str(name))
    found = [folder for folder in dict.fromkeys(places) if (folder / "config.json").is_file()]
    if len(found) > 1 and found[-1] == places[-1]:
        raise BadWeights(
            f"{name}: is the name of shipped weights and of the folder {found[0]}; write './{name}' for the folder"
        )
    if found:
        return found[0]
    if members := sorted(Path(name).glob("seed*/model")):
        raise BadWeights(f"{name}: is an ensemble; name one of its members, such as {members[0].parent}")
    known = shipped_names()
    hint = f" Size {name!r} is defined, but no weights of it are shipped." if str(name) in SIZES else ""
    raise BadWeights(
        f"{name}: neither shipped weights nor a folder with config.json and model.safetensors.{hint} "
        f"Shipped: {', '.join(known) or 'none'}. Nearest: {nearest(str(name), known)}."
    )


def read_config(folder: Path) -> WeightsConfig:
    """`config.json` of a weights folder; that of an older version is brought to this one. BadWeights if it cannot be."""
    path = folder / "config.json"
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise BadWeights(f"{path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise BadWeights(f"{path}: expected the entries of a configuration, got {type(content).__name__}")
    found = content.get("version")
    while type(found) is int and found in _UPGRADES:
        content = _UPGRADES[found](content, path)
        found = content["version"]
    if type(found) is not int or found != WEIGHTS_VERSION:
        known = ", ".join(map(str, (*_UPGRADES, WEIGHTS_VERSION)))
        raise BadWeights(f"{path}: weights version {found!r}, this program reads {known}")
    try:
        return WeightsConfig.model_validate(content)
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadWeights(f"{path}: entry {'.'.join(map(str, detail['loc']))!r}: {detail['msg']}") from error


def read_weights(folder: Path) -> tuple[WeightsConfig, dict[str, Tensor]]:
    """Configuration and tensors of a weights folder; BadWeights if they are damaged or not those of the configuration."""
    config, path = read_config(folder), folder / "model.safetensors"
    try:
        if config.sha256 and (got := file_hash(path)) != config.sha256:
            raise BadWeights(f"{path}: SHA-256 is {got}, config.json says {config.sha256}")
        return config, load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadWeights(f"{path}: cannot be read ({error})") from error


def _from_version_1(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Size s had six layers of all tokens; the other sizes are what they were."""
    if content.get("size") == "s":
        raise BadWeights(f"{path}: weights of size 's' of version 1 had other layers than those of today; train them again")
    return content | {"version": 2}


_UPGRADES: dict[int, Callable[[dict[str, Any], Path], dict[str, Any]]] = {1: _from_version_1}
