"""Validation page: every comparison of the simulation with published truth on one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cloudchamber.publish.figure import COLOURS, LINES, Figure, canvas, finish, literal
from cloudchamber.publish.page import Fact, write_page
from cloudchamber.stats.figures import judge
from cloudchamber.validation.comparison import Comparison, Panel, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INK = "#1b1f24"  # of what is published
_MARKERS = "os^Dv"  # of one panel's points, in their order
_COLUMNS = 3


@dataclass(frozen=True)
class _Section:
    """A comparison, ready for the template. targets, figures: rows of texts, those of targets with the verdict first."""

    comparison: Comparison
    drawn: Figure | None
    targets: tuple[tuple[str, ...], ...]
    figures: tuple[tuple[str, ...], ...]

    @property
    def fails(self) -> int:
        """Targets that do not hold."""
        return sum(row[0] == "FAILS" for row in self.targets)


def write_validation_page(out: Path, comparisons: Sequence[Comparison], *, n: int) -> Path:
    """Write the page `out`. n: neutrino events at each energy, which says how large the simulated samples were."""
    sections = [_section(c) for c in comparisons]
    judged, failed = sum(len(s.targets) for s in sections), sum(s.fails for s in sections)
    missing = [c.title for c in comparisons if c.missing]
    facts = [
        Fact(f"{judged - failed} of {judged}", "targets hold"),
        Fact(f"{failed} fail", ", ".join(s.comparison.title for s in sections if s.fails) or "none"),
        Fact(f"{len(missing)} not compared", ", ".join(missing) or "none"),
    ]
    written = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    title = "The simulation against published truth"
    write_page(out, "validation", title=title, facts=facts, sections=sections, n=n, written=written)
    return out


def _section(c: Comparison) -> _Section:
    rows = [
        ("holds" if t["holds"] else "FAILS", t["figure"], f"{t['value']:.4g}", t["relation"], f"{t['bound_value']:.4g}")
        for t in judge(c.targets, c.figures)
    ]
    figures = [
        (name, f"{f.value:.4g}", "" if f.low == f.high else f"{f.low:.4g} to {f.high:.4g}", "" if f.unit == "1" else f.unit)
        for name, f in c.figures.items()
    ]
    return _Section(c, _drawn(c) if c.panels else None, tuple(rows), tuple(figures))


def _drawn(c: Comparison) -> Figure:
    rows = -(-len(c.panels) // _COLUMNS)
    with canvas(11, 3.1 * rows, rows, _COLUMNS) as (drawing, axes):
        for axis, panel in zip(axes.flat, c.panels, strict=False):
            _draw(axis, panel)
        for axis in axes.flat[len(c.panels) :]:
            axis.axis("off")
        caption = "Black: published or true. Colours: simulated here, or by another program, as the legends say."
        return finish(drawing, c.name, caption, {p.title: [_plain(s) for s in p.series] for p in c.panels})


def _draw(axis: Axes, panel: Panel) -> None:
    number = 0
    for i, series in enumerate(panel.series):
        look: dict[str, Any] = {"color": _INK, "label": literal(series.name)}
        if series.kind != "truth":
            look |= {"color": COLOURS[number], "linestyle": LINES[number % len(LINES)]}
            number += 1
        binned = len(series.x) == len(series.y) + 1
        if series.error is not None:
            look.pop("linestyle", None)
            centres, width = ((series.x[1:] + series.x[:-1]) / 2, np.diff(series.x) / 2) if binned else (series.x, None)
            marker = _MARKERS[i % len(_MARKERS)]
            axis.errorbar(centres, series.y, series.error, width, fmt=marker, markersize=3.5, linewidth=1.1, **look)
        elif binned:
            axis.stairs(series.y, series.x, linewidth=1.4, **look)
        else:
            axis.plot(series.x, series.y, **look)
    axis.set_title(literal(panel.title), fontsize=10)
    axis.set_xlabel(literal(panel.x), fontsize=9)
    axis.set_ylabel(literal(panel.y), fontsize=9)
    if "x" in panel.log:
        axis.set_xscale("log")
    if "y" in panel.log:
        axis.set_yscale("log")
    elif all((s.y >= 0).all() for s in panel.series):
        highest = max(float(np.max(s.y if s.error is None else s.y + s.error)) for s in panel.series)
        axis.set_ylim(0, 1.45 * max(highest, 1e-9))  # room for the legend: "best" is slow, and over data where none is free
    axis.legend(fontsize=8, loc="upper right")


def _plain(series: Series) -> dict[str, Any]:
    return {"name": series.name, "x": series.x, "y": series.y, "error": series.error}
