"""Figure: one style for all plots, and a plot as inline SVG with its caption and its data."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from cloudchamber.publish.runs import Arm, Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

# Petroff, arXiv:2107.02270: ten colours that stay apart for colour-blind readers and in grey.
COLOURS = ("#3f90da", "#e76300", "#832db6", "#a96b59", "#bd1f01", "#717581", "#ffa90e", "#92dadd", "#b9ac70", "#94a4a2")
LINES = ("-", (0, (5, 1.5)), "-.", ":", (0, (3, 1, 1, 1, 1, 1)))
GREY = "#717581"
_LONGEST_INSIDE = 42  # characters of a legend's entry that a panel has room for

_SIZES = {
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.fontsize": 10,
    "axes.linewidth": 0.9,
    "lines.linewidth": 1.7,
    "xtick.major.size": 5,
    "xtick.minor.size": 2.5,
    "ytick.major.size": 5,
    "ytick.minor.size": 2.5,
    "xtick.major.pad": 4,
    "ytick.major.pad": 4,
    "axes.labelpad": 4,
    "svg.fonttype": "path",  # a page looks the same wherever it is opened
    "svg.hashsalt": "cloudchamber",  # and two pages of the same runs are the same bytes
}


@dataclass(frozen=True)
class Figure:
    """A finished figure: inline SVG, what it shows, and the numbers in it (JSON-ready)."""

    name: str
    caption: str
    svg: str
    data: dict[str, Any]


@contextmanager
def canvas(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Iterator[tuple[Canvas, Any]]:
    """A matplotlib figure of width x height inches and its (rows, columns) axes, in the page's style (mplhep)."""
    import matplotlib as mpl
    import mplhep
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    look: dict[Any, Any] = {**mplhep.style.ROOT, **_SIZES}
    with mpl.rc_context(look):
        drawing = Canvas(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12))
        yield drawing, drawing.subplots(rows, columns, squeeze=False, **options)


def finish(drawing: Canvas, name: str, caption: str, data: dict[str, Any]) -> Figure:
    """The figure as SVG that can stand in a page among others; call it inside `canvas`."""
    stream = io.StringIO()
    drawing.savefig(stream, format="svg", metadata={"Date": None})
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]  # a page wants neither the XML header nor the document type
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    size = f'style="max-width: {drawing.get_figwidth() * 96:.0f}px"'  # 96 CSS pixels to the inch, less on a narrow screen
    svg = re.sub(r'<svg ([^>]*?)width="[^"]*" height="[^"]*"', rf'<svg role="img" {size} \1', svg, count=1)
    return Figure(name, caption, svg, plain(data))


def literal(name: str) -> str:
    r"""A name from a file as matplotlib should print it: a dollar sign is a dollar sign, not mathematics.

    >>> print(literal("a$b$"))
    a\$b\$
    """
    return name.replace("$", r"\$")


def style(index: int) -> dict[str, Any]:
    """Colour and line of the arm at `index`: told apart by both."""
    return {"color": COLOURS[index % len(COLOURS)], "linestyle": LINES[index % len(LINES)]}


@dataclass(frozen=True)
class Band:
    """Mean and range over seeds on common points; NaN where no seed has a value."""

    x: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def as_data(self) -> dict[str, Any]:
        """The band's numbers."""
        return {"x": self.x, "mean": self.mean, "low": self.low, "high": self.high}


def band(x: NDArray[Any], rows: Sequence[NDArray[Any]]) -> Band:
    """The band of several rows of values at the same points; a point where any row is NaN is NaN."""
    y = np.stack([np.asarray(r, dtype=np.float64) for r in rows])
    return Band(np.asarray(x, dtype=np.float64), y.mean(0), y.min(0), y.max(0))


def curve_band(curves: Sequence[Curve]) -> Band:
    """The band of several curves: at every step that any of them has and all of them cover, linear between steps."""
    start, stop = max(c.steps[0] for c in curves), min(c.steps[-1] for c in curves)
    steps = np.unique(np.concatenate([c.steps for c in curves]))
    steps = steps[(steps >= start) & (steps <= stop)]
    return band(steps, [np.interp(steps, c.steps, c.values) for c in curves])


def over_seeds(arms: Sequence[Arm]) -> str:
    """What a caption says of the curves of arms with several runs; nothing where every arm has one."""
    return ", mean over the seeds and their range as a band" if any(len(arm.runs) > 1 for arm in arms) else ""


def add_legend(drawing: Canvas, axis: Axes, loc: Literal["best", "upper left"] = "best") -> None:
    """The legend of one panel: inside it, or above the figure if its names are too long for that."""
    labels = axis.get_legend_handles_labels()[1]
    if max(map(len, labels), default=0) > _LONGEST_INSIDE:
        drawing.legend(*axis.get_legend_handles_labels(), loc="outside upper left")
    else:
        axis.legend(loc=loc)


def draw_band(axis: Axes, values: Band, index: int, label: str) -> None:
    """Mean as a line, range as a shade."""
    look = style(index)
    axis.plot(values.x, values.mean, label=literal(label), marker="o" if len(values.x) < 3 else None, markersize=4, **look)
    axis.fill_between(values.x, values.low, values.high, color=look["color"], alpha=0.2, linewidth=0)


def plain(value: Any) -> Any:
    """A value as JSON knows it: arrays become lists, what is not finite becomes null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
