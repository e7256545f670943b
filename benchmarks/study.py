"""A suite of the package as a benchmark: its settings from the command line, its figures as a record."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import record
import timing
from cloudchamber.suites import base, minerva


def main(suite: base.Suite, about: str | None) -> None:
    """The whole of a benchmark that is a suite and no more."""
    args = arguments(suite, about).parse_args()
    run(suite, args, options(suite, args), suite.run)


def arguments(suite: base.Suite, about: str | None) -> argparse.ArgumentParser:
    """Those of every benchmark, the suite's settings, and real files where it can read them."""
    parser = record.arguments(about)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the study, e.g. steps=500"
    )
    if issubclass(suite.settings, minerva.Options):
        told = "MasterAnaDev files in place of simulated events"
        parser.add_argument("--tuples", type=Path, nargs="+", default=[], help=told)
    return parser


def options(suite: base.Suite, args: argparse.Namespace) -> base.Settings:
    """The settings that were asked for."""
    given = {"tuples": tuple(map(str, args.tuples))} if getattr(args, "tuples", None) else {}
    return base.settings(suite, args.set, given, tiny=args.tiny)


def run(
    suite: base.Suite,
    args: argparse.Namespace,
    asked: base.Settings,
    work: Callable[[Any, base.Tell], base.Findings],
    **more: bool,
) -> None:
    """Run a study with these settings and write its record. more: further entries of the record's settings."""
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    found, settings = work(asked, lambda line: print(line, flush=True)), asked.model_dump(mode="json")
    path = record.write(
        suite.name,
        {name: figure(name, estimates) for name, estimates in found.figures.items()},
        [record.Target(t.figure, t.relation, t.bound) for t in found.targets],
        settings={**settings, **more, "data": dict(found.data)},
        seeds=settings["seeds"],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def figure(name: str, estimates: tuple[base.Estimate, ...]) -> record.Figure:
    """The mean over seeds; its error joins their scatter and that of the test events. In bins without the seeds' own values."""
    whole = base.mean(estimates)
    spread = f"{len(estimates)} seeds and the test events, one standard error"
    if name.startswith("gain_"):
        spread = "the seeds' scatter, for these test events, one standard error"
    binned = any(part.isdigit() for part in name.split("_")[:-1])
    values = tuple(e.value for e in estimates) if len(estimates) > 1 and not binned else ()
    return record.Figure(whole.value, whole.value - whole.error, whole.value + whole.error, spread, "1", values)
