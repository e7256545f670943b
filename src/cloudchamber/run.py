"""Run: a folder that says what was done. Resolved recipe, parents, environment, metrics, one product, a report."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cloudchamber.errors import BadRun

RUN_VERSION = 1
_PACKAGES = ("cloudchamber", "torch", "numpy", "awkward", "pyarrow", "scikit-learn", "pythia8mc", "fastjet")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; renamed to `path` on success, removed on failure.

    A killed process leaves the old content or the new one, never half of it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, sorted and indented; NaN and infinity are refused with ValueError."""
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file of a run; BadRun if it is missing or no JSON."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise BadRun(
            f"{path}: cannot be read as JSON ({error}). Is {path.parent} a run folder written by cloudchamber?"
        ) from error


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of a folder's `manifest.json` or `run.json`, as hex."""
    for name in ("manifest.json", "run.json"):
        if (path / name).is_file():
            path = path / name
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def environment() -> dict[str, Any]:
    """Python, machine and package versions, for a run's record."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cpu_count": os.cpu_count(),
        "packages": packages,
    }


class Run:
    """One run folder.

    Files: `run.json` (kind, what was asked, parents with hashes), `recipe.yaml`, `environment.json`, `metrics.jsonl`,
    `summary.json`, the product, `report.html`; `done.json` is written last and marks a complete run.
    """

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(cls, path: Path, kind: str, *, parents: tuple[Path, ...] = (), **asked: Any) -> Run:
        """A new run folder. Raises BadRun if `path` is there and not empty: nothing is overwritten."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise BadRun(f"{path}: is there already. Give another folder with -o, or remove it yourself.")
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        write_json(path / "environment.json", environment())
        write_json(
            path / "run.json",
            {
                "version": RUN_VERSION,
                "kind": kind,
                "created": datetime.now(UTC).isoformat(timespec="seconds"),
                "parents": [{"path": str(p), "sha256": file_hash(p)} for p in parents],
                **asked,
            },
        )
        return run

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run folder, complete or not; BadRun if it is none."""
        if not (path / "run.json").is_file():
            raise BadRun(f"{path}: is not a run folder (it has no run.json)")
        return cls(path)

    @property
    def info(self) -> dict[str, Any]:
        """What `run.json` says."""
        info: dict[str, Any] = read_json(self.path / "run.json")
        return info

    @property
    def done(self) -> bool:
        """Whether the run was completed."""
        return (self.path / "done.json").is_file()

    @property
    def summary(self) -> dict[str, Any]:
        """What `summary.json` says; BadRun before the run has one."""
        summary: dict[str, Any] = read_json(self.path / "summary.json")
        return summary

    def log(self, record: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with (self.path / "metrics.jsonl").open("a") as stream:
            stream.write(json.dumps(dict(record), sort_keys=True, allow_nan=False) + "\n")

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of `metrics.jsonl`, in order."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
        return [json.loads(line) for line in lines if line.endswith("\n")]  # a kill can leave half a line

    def truncate_metrics(self, step: int) -> None:
        """Drop the lines after `step`, written between a checkpoint and the kill that made it the last one."""
        kept = [line for line in self.metrics() if line["step"] <= step]
        with atomic(self.path / "metrics.jsonl") as temporary:
            temporary.write_text("".join(json.dumps(line, sort_keys=True) + "\n" for line in kept))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json` and mark the run as complete."""
        write_json(self.path / "summary.json", dict(summary))
        write_json(self.path / "done.json", {"finished": datetime.now(UTC).isoformat(timespec="seconds")})
