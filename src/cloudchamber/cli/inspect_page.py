"""The page of inspect: a summary as one self-contained HTML file."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from cloudchamber.cli.inspect import how_many
from cloudchamber.data.inspect import Histogram, Summary
from cloudchamber.publish.figure import COLOURS, Figure, canvas, finish
from cloudchamber.run import atomic


def write_page(summary: Summary, path: Path) -> None:
    """Write the page; an older one of that name is replaced."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cloudchamber.cli", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("inspect.html.j2").render(
        summary=summary,
        origin={True: "simulated", False: "recorded", None: "origin not stated"}[summary.simulated],
        how_many=how_many(summary).replace(" below", ""),
        figures=[_balance(summary), _distributions(summary.histograms)]
        if summary.classes
        else [_distributions(summary.histograms)],
        version=version("cloudchamber"),
    )
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _distributions(histograms: tuple[Histogram, ...]) -> Figure:
    rows = -(-len(histograms) // 3)
    with canvas(11, 3.1 * rows, rows, 3) as (drawing, axes):
        for axis, histogram in zip(axes.flat, histograms, strict=False):
            axis.stairs(histogram.counts, histogram.edges, fill=True, alpha=0.35, color=COLOURS[0])
            axis.stairs(histogram.counts, histogram.edges, color=COLOURS[0])
            if "particle pT" in histogram.name:
                axis.set_xscale("log")
            axis.set_xlabel(histogram.name + (f" [{histogram.unit}]" if histogram.unit != "1" else ""))
            axis.set_ylabel("particles" if histogram.name.startswith("particle") else "events")
        caption = "The upper 0.1 % of each quantity lies in its last bin."
        return finish(drawing, "distributions", caption, {h.name: {"edges": h.edges, "counts": h.counts} for h in histograms})


def _balance(summary: Summary) -> Figure:
    size: dict[str, Any] = dict(summary.classes)
    bars = [(label, name, count) for label, balance in size.items() for name, count in balance.items()]
    with canvas(11, 0.9 + 0.28 * len(bars)) as (drawing, axes):
        axis = axes[0, 0]
        order = list(size)
        colours = [COLOURS[order.index(label) % len(COLOURS)] for label, _, _ in bars]
        axis.barh(np.arange(len(bars)), [count for _, _, count in bars], color=colours)
        axis.set_yticks(np.arange(len(bars)), [f"{label}: {name}" for label, name, _ in bars])
        axis.minorticks_off()
        axis.invert_yaxis()
        axis.set_xlabel("events")
        return finish(drawing, "balance", "Events of each class.", {"classes": size})
