"""Plots of trained models: learning curves; ROC, calibration and confusion of classifiers; residuals of regressors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.publish.figure import (
    GREY,
    Figure,
    add_legend,
    band,
    canvas,
    curve_band,
    draw_band,
    finish,
    literal,
    over_seeds,
    style,
)
from cloudchamber.publish.runs import Arm
from cloudchamber.stats import ScoreTable, calibration, metrics
from cloudchamber.stats.calibration import wilson

_EFFICIENCIES = np.linspace(0.02, 1.0, 99)
_CURVE_NAMES = {"loss": "Validation loss", "auc": "Validation AUC", "accuracy": "Validation accuracy"}
_BOOKKEEPING = ("step", "split", "jets", "seconds", "lr")
_BINS = 8  # of equal numbers of events in the truth
_HISTOGRAM_BINS = 50
_COLUMNS = (("bias", "value"), ("bias", "error"), ("resolution", "value"), ("resolution", "error"))


def learning_curves(arms: Sequence[Arm]) -> Figure | None:
    """Every quantity of the validation against the step, one panel each; None if no run recorded any.

    The losses of single tasks are shown where there are several.
    """
    from matplotlib.ticker import MaxNLocator

    quantities = _quantities(arms)
    if not quantities:
        return None
    columns = min(len(quantities), 3)
    rows = -(-len(quantities) // columns)
    data: dict[str, Any] = {}
    with canvas((6.2, 10, 10)[columns - 1], (4.2, 4, 3.2)[columns - 1] * rows, rows, columns) as (drawing, axes):
        for axis, quantity in zip(axes.flat, quantities, strict=False):
            for i, arm in enumerate(arms):
                if curves := _curves(arm, quantity):
                    values = curve_band(curves)
                    draw_band(axis, values, i, arm.name)
                    data.setdefault(quantity, {})[arm.name] = values.as_data()
            axis.set(xlabel="Step", ylabel=_CURVE_NAMES.get(quantity, f"Validation loss, {literal(quantity)}"))
            axis.margins(x=0)
            axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        for axis in axes.flat[len(quantities) :]:
            axis.remove()
        add_legend(drawing, axes.flat[0])
        caption = f"Learning curves on the validation sample{over_seeds(arms)}."
        return finish(drawing, "learning_curves", caption, data)


def roc_curves(arms: Sequence[Arm]) -> Figure:
    """Background rejection against signal efficiency, one panel per signal class (for two classes only the second)."""
    classes = arms[0].tables[0].classes
    signals = [1] if len(classes) == 2 else list(range(len(classes)))
    columns = min(len(signals), 3)
    rows = -(-len(signals) // columns)
    data: dict[str, Any] = {}
    size = (6.2, 4.6) if columns == 1 else (3.4 * columns, 3.2 * rows)
    with canvas(*size, rows, columns) as (drawing, axes):
        for axis, signal in zip(axes.flat, signals, strict=False):
            data[classes[signal]] = {arm.name: _draw_roc(axis, arm, i, signal) for i, arm in enumerate(arms)}
            axis.plot(_EFFICIENCIES, 1 / _EFFICIENCIES, color=GREY, linewidth=1, linestyle=(0, (1, 2)), label="no separation")
            axis.set(yscale="log", xlim=(0, 1), xlabel=rf"Signal efficiency $\varepsilon_S$ ({literal(classes[signal])})")
            axis.set_ylim(bottom=1)
            axis.set_ylabel(r"Background rejection $1/\varepsilon_B$")
        for axis in axes.flat[len(signals) :]:
            axis.remove()
        add_legend(drawing, axes.flat[0])
        rest = f"{classes[1]} against {classes[0]}" if len(classes) == 2 else "each class against all others"
        caption = f"ROC curves, {rest}{over_seeds(arms)}. A curve ends where no background is left."
        if any(drawn["working_points"] for of_class in data.values() for drawn in of_class.values()):
            caption += " Points: rejection at 30% or 50% signal efficiency with the statistical error of the test sample."
        return finish(drawing, "roc", caption, data)


def calibration_curves(arms: Sequence[Arm]) -> Figure:
    """Observed frequency against predicted probability, with the spectrum of probabilities below."""
    from matplotlib.ticker import LogLocator, NullFormatter

    classes = arms[0].tables[0].classes
    data: dict[str, Any] = {}
    with canvas(6.2, 5.2, 2, 1, sharex=True, gridspec_kw={"height_ratios": (3, 1)}) as (drawing, axes):
        upper, lower = axes[:, 0]
        upper.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        for i, arm in enumerate(arms):
            data[arm.name] = _draw_calibration(upper, lower, arm, i)
        event = literal(classes[1]) if len(classes) == 2 else "class"
        upper.set(xlim=(0, 1), ylim=(0, 1), ylabel=f"Observed fraction of {event}")
        add_legend(drawing, upper, "upper left")
        lower.set_yscale("log")
        lower.yaxis.set_major_locator(LogLocator(numticks=4))  # the panel is low: more labels would overprint
        lower.yaxis.set_minor_formatter(NullFormatter())
        lower.set(xlabel=f"Predicted probability of {event}", ylabel="Fraction")
        caption = (
            "Calibration on the test sample. Dotted: predictions that come true as often as they say. Bars: 68% binomial "
            "intervals for one run's events. Below: how often each probability is given."
        ) + (" All classes together, each against the rest." if len(classes) > 2 else "")
        return finish(drawing, "calibration", caption, data)


def confusion_matrices(arms: Sequence[Arm]) -> Figure:
    """What each true class is taken for, mean over seeds, one panel per arm."""
    classes = arms[0].tables[0].classes
    width = max(3.2, 0.55 * len(classes) + 1.6)
    names = [literal(c) for c in classes]
    data: dict[str, Any] = {"classes": classes}
    with canvas(width * len(arms), width, 1, len(arms)) as (drawing, axes):
        for axis, arm in zip(axes[0], arms, strict=True):
            matrix = np.mean([metrics.confusion(t.truth, t.scores_NC, t.weight) for t in arm.tables], axis=0)
            data[arm.name] = matrix
            axis.imshow(matrix, cmap="Blues", vmin=0, vmax=1)
            for row, column in np.ndindex(matrix.shape):
                shade = "white" if matrix[row, column] > 0.6 else "#1a1a1a"
                axis.text(column, row, f"{matrix[row, column]:.2f}", ha="center", va="center", color=shade, fontsize=8)
            axis.set_xticks(range(len(classes)), names, rotation=45, ha="right", rotation_mode="anchor")
            axis.set_yticks(range(len(classes)), names)
            axis.tick_params(which="both", length=0)
            axis.minorticks_off()
            axis.set(title=literal(arm.name), xlabel="Taken for", ylabel="True class")
        caption = "Confusion on the test sample, mean over the seeds: each row adds up to 1."
        return finish(drawing, "confusion", caption, data)


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


def _quantities(arms: Sequence[Arm]) -> list[str]:
    recorded = dict.fromkeys(
        key for arm in arms for run in arm.runs for m in run.metrics if m.get("split") == "val" for key in m
    )
    tasks = [key for key in recorded if key not in (*_CURVE_NAMES, *_BOOKKEEPING)]
    return [q for q in _CURVE_NAMES if q in recorded] + (tasks if len(tasks) > 1 else [])


def _curves(arm: Arm, quantity: str) -> list[Any]:
    return [c for c in (r.curve("val", quantity) for r in arm.runs) if len(c.steps)]


def _draw_roc(axis: Any, arm: Arm, index: int, signal: int) -> dict[str, Any]:
    curves = [metrics.roc(t.truth == signal, t.scores_NC[:, signal], t.weight) for t in arm.tables]
    values = band(_EFFICIENCIES, [_rejections(c) for c in curves])
    draw_band(axis, values, index, arm.name)
    points = [metrics.rejection(c) for c in curves]
    marks = []
    for of_seeds in zip(*points, strict=True):
        if any(p.lower_limit for p in of_seeds):
            continue
        e, value, error = (
            of_seeds[0].signal_efficiency,
            *(np.mean([getattr(p, n) for p in of_seeds]) for n in ("value", "error")),
        )
        factor = np.exp(error / value)  # the error of the logarithm: symmetric on this axis, and never below 0
        bar = [[value - value / factor], [value * factor - value]]
        # Side by side, or the bars of two arms hide each other.
        axis.errorbar(e + 0.006 * index, value, bar, fmt="o", markersize=4, color=style(index)["color"], capsize=2)
        marks.append({"signal_efficiency": e, "rejection": value, "error": error})
    return values.as_data() | {"working_points": marks}


def _rejections(curve: metrics.Roc) -> NDArray[np.float64]:
    background = curve.background_at(_EFFICIENCIES)
    return np.divide(1, background, out=np.full_like(background, np.nan), where=background * curve.n_background >= 1)


def _draw_calibration(upper: Any, lower: Any, arm: Arm, index: int) -> dict[str, Any]:
    truth, probability, weight = (np.concatenate(columns) for columns in zip(*map(_one_vs_rest, arm.tables), strict=True))
    curve = calibration(truth, probability, weight)
    low, high = wilson(curve.observed, curve.n / len(arm.tables))  # the same events in every seed count once
    look = style(index)
    error = np.abs(np.stack([curve.observed - low, high - curve.observed]))
    label = f"{literal(arm.name)} (calibration error {curve.error:.3f})"
    upper.errorbar(curve.predicted, curve.observed, error, marker="o", markersize=4, capsize=2, label=label, **look)
    share, edges = np.histogram(probability, bins=20, range=(0, 1), weights=weight / weight.sum())
    lower.stairs(share, edges, color=look["color"], linestyle=look["linestyle"], linewidth=1.5)
    of_seeds = [calibration(*_one_vs_rest(t)) for t in arm.tables]
    return {
        "predicted": curve.predicted,
        "observed": curve.observed,
        "low": low,
        "high": high,
        "calibration_error": [c.error for c in of_seeds],
        "calibration_error_by_chance": [c.floor for c in of_seeds],
    }


def _one_vs_rest(table: ScoreTable) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Truth, probability and weight of the second class of two, or of every class of more, one after the other."""
    columns = [1] if len(table.classes) == 2 else range(len(table.classes))
    return (
        np.concatenate([table.truth == c for c in columns]),
        np.concatenate([np.clip(table.scores_NC[:, c], 0, 1) for c in columns]),
        np.tile(table.weight, len(columns)),
    )


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
