"""Record: a result as a JSON file. Figures with their spread, targets, and whether they hold: computed, never typed."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from cloudchamber.run import write_json
from cloudchamber.stats.figures import Figure, Target, exact, judge, mean, median

__all__ = ["Figure", "Target", "arguments", "check", "exact", "judge", "mean", "median", "show", "write"]

VERSION = 1
RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("cloudchamber", "torch", "numpy", "h5py", "omnilearned", "weaver-core", "pytorch_optimizer", "scikit-learn")
_KEYS = {
    "version",
    "name",
    "tiny",
    "holds",
    "targets",
    "figures",
    "settings",
    "seeds",
    "machine",
    "versions",
    "command",
    "date",
}


def write(
    name: str,
    figures: Mapping[str, Figure],
    targets: Sequence[Target],
    *,
    settings: Mapping[str, Any],
    seeds: Sequence[int],
    tiny: bool,
    folder: Path,
) -> Path:
    """Write NAME.json. A tiny run only shows that the script works: it is not written into the committed results."""
    if tiny and folder.resolve() == RESULTS.resolve():
        folder = RESULTS / "tiny"
    judged = judge(targets, figures)
    content = {
        "version": VERSION,
        "name": name,
        "tiny": tiny,
        "holds": all(t["holds"] for t in judged),
        "targets": judged,
        "figures": {n: asdict(f) for n, f in figures.items()},
        "settings": dict(settings),
        "seeds": list(seeds),
        "machine": machine(),
        "versions": versions(),
        "command": _command(sys.argv),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    check(json.loads(json.dumps(content)))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    write_json(path, content)
    return path


def _command(argv: Sequence[str]) -> str:
    """The command as given from the repository's folder; where its result went is no part of it.

    >>> _command(["./few.py", "--threads", "2", "-o", "somewhere"])
    'python benchmarks/few.py --threads 2'
    """
    said = list(argv[1:])
    for flag in {"-o", "--output"} & set(said):
        del said[said.index(flag) : said.index(flag) + 2]
    return shlex.join(["python", f"benchmarks/{Path(argv[0]).name}", *said])


def check(content: Mapping[str, Any]) -> None:
    """ValueError unless a record has all its parts and its `holds` follow from its figures."""
    if set(content) != _KEYS:
        raise ValueError(f"a record has the entries {sorted(_KEYS)}, this one differs in {sorted(set(content) ^ _KEYS)}")
    figures = {n: Figure(**{**f, "values": tuple(f["values"])}) for n, f in content["figures"].items()}
    for name, figure in figures.items():
        if not figure.low <= figure.value <= figure.high:
            raise ValueError(f"{content['name']}: figure {name!r} is outside its own spread")
    judged = judge([Target(t["figure"], t["relation"], t["bound"]) for t in content["targets"]], figures)
    if judged != content["targets"] or content["holds"] != all(t["holds"] for t in judged):
        raise ValueError(f"{content['name']}: a target's `holds` does not follow from its figures")


def machine() -> dict[str, Any]:
    """The computer and how it was used."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    flags = next((line.split(":")[1].split() for line in lines if line.startswith("flags")), [])
    torch = sys.modules.get("torch")
    return {
        "cpu": model,
        "instructions": [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_tile") if f in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads() if torch else None,
        "load_average": round(os.getloadavg()[1], 2),
        "platform": platform.platform(),
    }


def versions() -> dict[str, str]:
    """Python, packages, and the commit of this repository ("+changes" if the working tree differs from it)."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    here = Path(__file__).parent
    git = ["git", "-C", str(here)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode == 0:
        changes = subprocess.run([*git, "status", "--porcelain", "-uno", ".."], capture_output=True, text=True, check=False)
        found["commit"] = commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")
    return found


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    parser.add_argument(
        "--tiny", action="store_true", help="check in under a minute that the script works; figures mean nothing"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads of every contestant")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="folder for the result's JSON file")
    return parser


def show(path: Path) -> None:
    """Print a result: figures with spread, targets, verdict."""
    content = json.loads(path.read_text())
    for name, f in content["figures"].items():
        print(f"{name:44s} {f['value']:.6g}  [{f['low']:.6g}, {f['high']:.6g}] {f['unit'] if f['unit'] != '1' else ''}")
    for t in content["targets"]:
        bound = t["bound"] if isinstance(t["bound"], str) else f"{t['bound']:g}"
        print(f"target {t['figure']} {t['relation']} {bound}: {t['value']:.6g} -> {'holds' if t['holds'] else 'DOES NOT HOLD'}")
    print(path)
