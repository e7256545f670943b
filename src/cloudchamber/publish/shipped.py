"""Shipped weights: where they lie in the package, and whether they are whole."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from cloudchamber.errors import BadWeights, nearest
from cloudchamber.run import file_hash, read_json

_PARTS = ("model.safetensors", "config.json", "card.md")


@dataclass(frozen=True)
class Shipped:
    """Weights in the package. size_mb: of the file on disk; problem: what is wrong with them, "" if nothing."""

    name: str
    path: Path
    size_mb: float
    problem: str


def names() -> tuple[str, ...]:
    """The weights that ship with the package."""
    return tuple(sorted(p.parent.name for p in _root().glob("*/config.json")))


def config(weights: str | Path) -> dict[str, Any]:
    """`config.json` of shipped weights or of a weights folder; BadWeights with the nearest name if there are none."""
    folder = Path(weights) if (Path(weights) / "config.json").is_file() else _root() / str(weights)
    if not (folder / "config.json").is_file():
        raise BadWeights(
            f"{weights}: neither shipped weights nor a folder with config.json. Nearest: {nearest(str(weights), names())}."
        )
    content: dict[str, Any] = read_json(folder / "config.json")
    return content


def check(name: str) -> Shipped:
    """Whether shipped weights are complete and have the hash that their config.json states."""
    folder = _root() / name
    missing = [part for part in _PARTS if not (folder / part).is_file()]
    if missing:
        return Shipped(name, folder, 0.0, f"{missing[0]} is missing")
    model = folder / _PARTS[0]
    stated, got = config(name).get("sha256"), file_hash(model)
    problem = "" if got == stated else f"SHA-256 is {got[:12]}..., config.json says {str(stated)[:12]}..."
    return Shipped(name, folder, model.stat().st_size / 1e6, problem)


def _root() -> Path:
    return Path(str(files("cloudchamber"))) / "weights"
