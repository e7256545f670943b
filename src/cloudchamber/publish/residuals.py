"""Plots of regressors: residuals, and bias and resolution against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from cloudchamber.publish.figure import GREY, Figure, add_legend, band, canvas, draw_band, finish, literal, over_seeds, style
from cloudchamber.publish.runs import Arm
from cloudchamber.stats import metrics

_BINS = 8  # of equal numbers of events in the truth
_HISTOGRAM_BINS = 50


def residual_plots(arms: Sequence[Arm]) -> Figure:
    """Distribution of prediction - truth, and its mean and width in bins of the truth."""
    table = arms[0].tables[0]
    unit = "" if table.unit == "1" else f" [{table.unit}]"
    name = literal(table.target)
    every = np.concatenate([t.scores_NC[:, 0] - t.truth for arm in arms for t in arm.tables])
    low, high = (float(q) for q in np.quantile(every, (0.005, 0.995)))
    edges = np.linspace(low, high, _HISTOGRAM_BINS + 1)
    bins = np.quantile(table.truth, np.linspace(0, 1, _BINS + 1))
    data: dict[str, Any] = {}
    with canvas(11, 3.9, 1, 3) as (drawing, axes):
        spectrum, bias, width = axes[0]
        for i, arm in enumerate(arms):
            data[arm.name] = {"residual": _draw_spectrum(spectrum, arm, i, edges)}
            data[arm.name] |= _draw_bins(bias, width, arm, i, bins)
        spectrum.set(xlabel=f"Prediction $-$ truth of {name}{unit}", ylabel="Fraction of events")
        spectrum.set_ylim(bottom=0)
        add_legend(drawing, spectrum)
        bias.axhline(0, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        bias.set(xlabel=f"True {name}{unit}", ylabel=f"Bias (mean residual){unit}")
        width.set(xlabel=f"True {name}{unit}", ylabel=f"Resolution (IQR / 1.349){unit}")
        width.set_ylim(bottom=0)
        caption = (
            f"Residuals on the test sample. Left: their distribution{over_seeds(arms)}. Middle, right: "
            "bias and resolution in bins of the truth that hold equal numbers of events, with statistical errors."
        )
        return finish(drawing, "residuals", caption, data)


def _draw_spectrum(axis: Any, arm: Arm, index: int, edges: Any) -> dict[str, Any]:
    rows = [
        np.histogram(t.scores_NC[:, 0] - t.truth, edges, weights=np.asarray(t.weight, dtype=np.float64) / t.weight.sum())[0]
        for t in arm.tables
    ]
    values = band((edges[1:] + edges[:-1]) / 2, rows)
    draw_band(axis, values, index, arm.name)
    return values.as_data()


def _draw_bins(bias: Any, width: Any, arm: Arm, index: int, bins: Any) -> dict[str, Any]:
    """Bias and resolution per bin, the mean over seeds of each and of its error."""
    centres, rows = [], []
    for low, high in pairwise(bins):
        inside = [(t.truth >= low) & ((t.truth < high) | (high == bins[-1])) for t in arm.tables]
        if min(mask.sum() for mask in inside) < 2:
            continue
        results = [
            metrics.regression(t.truth[m], t.scores_NC[m, 0], t.weight[m]) for t, m in zip(arm.tables, inside, strict=True)
        ]
        centres.append(float(np.mean([t.truth[m].mean() for t, m in zip(arm.tables, inside, strict=True)])))
        rows.append([np.mean([getattr(getattr(r, q), part) for r in results]) for q, part in _COLUMNS])
    columns = np.array(rows).reshape(-1, len(_COLUMNS)).T
    for axis, value, error in ((bias, columns[0], columns[1]), (width, columns[2], columns[3])):
        axis.errorbar(centres, value, error, marker="o", markersize=4, capsize=2, **style(index))
    return {"truth": centres} | {f"{q}_{part}": c for (q, part), c in zip(_COLUMNS, columns, strict=True)}


_COLUMNS = (("bias", "value"), ("bias", "error"), ("resolution", "value"), ("resolution", "error"))
