"""The verb doctor: what is installed, what that enables, and whether anything that is needed is broken."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Annotated

import typer

# Extra -> its packages and what they are for.
_EXTRAS = {
    "sim": (("pythia8mc", "fastjet"), "simulate and demo; jets from whole events (convert --leading-jets)"),
    "blosc": (("hdf5plugin",), "reading HDF5 files that are compressed with blosc"),
    "cluster": (("distributed",), "work on a dask cluster (convert and simulate --cluster)"),
    "onnx": (("onnx", "onnxruntime", "onnxscript"), "ONNX files of a model (export --onnx)"),
    "bench": (("omnilearned", "weaver-core"), "the benchmarks against other programs"),
}
_MB = 1 << 20
_SHIPPED = "xs"  # the weights that every installation has


def doctor(
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only; the exit code says the rest.")] = False,
    fit: Annotated[str | None, typer.Option(metavar="SIZE", help="Say what batch of a size fits in the free memory.")] = None,
    particles: Annotated[int, typer.Option(min=1, help="With --fit: particles of each event.")] = 128,
    device: Annotated[str, typer.Option(help="With --fit: cpu or cuda.")] = "cpu",
) -> None:
    """Say what is installed, which verbs that enables, and whether the shipped weights are whole.

    Exit code 1 if something that is needed is missing or broken; a missing extra is not, nor a size that does not fit.
    """
    from rich.console import Console
    from rich.table import Table

    rows = [*_core(), *_extras(), *_weights(), *_machine()] if fit is None else _fits(fit, particles, device)
    table = Table("", "what", "found", "for", box=None, pad_edge=False)
    for state, what, found, purpose in rows:
        if fit is not None or not quiet or state == "broken":
            table.add_row(f"[{_COLOURS[state]}]{state}[/]", what, found, purpose)
    if table.row_count:
        Console().print(table)
    if any(row[0] == "broken" for row in rows):
        raise typer.Exit(1)


_COLOURS = {"ok": "green", "absent": "yellow", "broken": "bold red"}
_Row = tuple[str, str, str, str]


def _core() -> list[_Row]:
    """Python and every package that is always needed; the good ones in one row."""
    rows: list[_Row] = [("ok", "Python", sys.version.split()[0], "")]
    names = [re.split(r"[^\w.-]", r, maxsplit=1)[0] for r in requires("cloudchamber") or () if "extra ==" not in r]
    found = {name: _version(name) for name in ("cloudchamber", *names)}
    rows += [("broken", name, "not installed", "everything") for name, number in found.items() if not number]
    return [*rows, ("ok", "packages", ", ".join(f"{n} {v}" for n, v in found.items() if v), "everything")]


def _extras() -> list[_Row]:
    rows: list[_Row] = []
    for extra, (packages, purpose) in _EXTRAS.items():
        missing = [p for p in packages if not _version(p)]
        if missing:
            rows.append(
                ("absent", f"extra {extra}", f"no {', '.join(missing)}: pip install 'cloudchamber\\[{extra}]'", purpose)
            )
        else:
            rows.append(("ok", f"extra {extra}", ", ".join(f"{p} {_version(p)}" for p in packages), purpose))
    return rows


def _weights() -> list[_Row]:
    from cloudchamber.errors import BadWeights

    try:
        from cloudchamber.train import weights
    except ImportError:
        return []  # torch or another package is missing, which has a row of its own
    rows: list[_Row] = []
    for name in sorted({*weights.shipped_names(), _SHIPPED}):
        try:
            weights.read_weights(weights.SHIPPED / name)
            state, found = "ok", "whole, SHA-256 verified"
        except BadWeights as error:
            state, found = "broken", str(error)
        rows.append((state, f"weights {name}", found, "finetune, embed, Classifier"))
    return rows


def _machine() -> list[_Row]:
    try:
        import torch
    except ImportError as error:
        return [("broken", "torch", str(error), "everything but convert, simulate, report")]
    device = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no CUDA device"
    return [("ok", "machine", f"{os.cpu_count()} CPU threads ({torch.get_num_threads()} used by torch), {device}", "")]


def _fits(size: str, particles: int, device: str) -> list[_Row]:
    """What batch may be on the device at once, with everything kept for the backward pass and with `recompute`."""
    from cloudchamber.train.cost import free_memory, need
    from cloudchamber.train.scoring import checked_device

    free = free_memory(checked_device(device))
    rows: list[_Row] = []
    for recompute in (False, True):
        needed = need(size, particles, recompute=recompute)
        events = needed.events(free)
        found = f"{events:,} events of {particles} particles at once (max_tokens: {events * particles})"
        each = f"{needed.fixed / _MB:,.0f} MB and {needed.per_event / _MB:.2f} MB per event of {free / _MB:,.0f} MB free"
        what = f"fit {size}, recompute" if recompute else f"fit {size}"
        rows.append(("ok" if events else "absent", what, found if events else "does not fit", each))
    return [*rows, ("ok", "batch", "any: a step is cut into micro-batches of max_tokens, their gradients added up", "")]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
