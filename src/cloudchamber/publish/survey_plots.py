"""Plots of a survey: classes, and every variable by class and by file."""

# N event, V variable

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.survey import Survey, Variables, binned, variables
from cloudchamber.publish.figure import COLOURS, Figure, canvas, finish, literal, style

Groups = dict[str, NDArray[np.bool_]]  # name -> which of the sampled events


def survey_plots(survey: Survey) -> list[Figure]:
    """The balance of the classes, and every variable by class of each label and by file."""
    cloud = survey.sample
    values = variables(cloud)
    drawn = [_balance(survey)] if survey.classes else []
    for number, label in enumerate(survey.classes):
        names, index_N = ("unknown", *survey.schema.label(label).classes), cloud.events[label] + 1
        groups = {names[i]: index_N == i for i in np.unique(index_N).tolist()}
        drawn.append(_overlays(f"by_class_{number}", f"Distributions by class of {label}", values, groups))
    part_N = survey.sample_parts
    files = {"/".join(Path(survey.parts[i]).parts[-2:]): part_N == i for i in np.unique(part_N).tolist()}
    if len(files) > 1 or not survey.classes:
        drawn.append(_overlays("by_file", "Distributions by file", values, files))
    return drawn


def _overlays(name: str, title: str, values: Variables, groups: Groups) -> Figure:
    """One panel per variable, one line per group: at most as many as there are colours, those with most events."""
    shown = sorted(groups, key=lambda g: -int(groups[g].sum()))[: len(COLOURS)]
    rows = -(-(len(values) + 1) // 3)
    with canvas(11, 2.7 * rows, rows, 3) as (drawing, axes):
        for axis, (variable, (unit, values_N)) in zip(axes.flat, values.items(), strict=False):
            edges = binned(values_N)
            for i, group in enumerate(g for g in groups if g in shown):
                counts, _ = np.histogram(values_N[groups[group]], edges)
                shares = counts / max(counts.sum(), 1)
                axis.stairs(shares, edges, label=literal(group), linewidth=1.4, **style(i))
            axis.set_xlabel(literal(variable) + (f" [{unit}]" if unit != "1" else ""))
            axis.set_ylabel("share of events")
        for axis in axes.flat[len(values) :]:
            axis.axis("off")
        axes.flat[len(values)].legend(*axes.flat[0].get_legend_handles_labels(), loc="upper left", ncols=1 + (len(shown) > 5))
        few = f" The {len(shown)} with most events of {len(groups)}." if len(shown) < len(groups) else ""
        caption = f"{title}, each scaled to one, of a sample of {len(next(iter(groups.values()))):,} events.{few}"
        return finish(drawing, name, f"{caption} The outer 0.1 % of each quantity are left out.", {"groups": list(groups)})


def _balance(survey: Survey) -> Figure:
    counts = {label: survey.class_counts(label) for label in survey.classes}
    bars = [(label, name, count) for label, balance in counts.items() for name, count in balance.items()]
    with canvas(11, 0.9 + 0.28 * len(bars)) as (drawing, axes):
        axis = axes[0, 0]
        colours = [COLOURS[list(counts).index(label) % len(COLOURS)] for label, _, _ in bars]
        axis.barh(np.arange(len(bars)), [count for _, _, count in bars], color=colours)
        axis.set_yticks(np.arange(len(bars)), [literal(f"{label}: {name}") for label, name, _ in bars])
        axis.minorticks_off()
        axis.invert_yaxis()
        axis.set_xlabel("events")
        return finish(drawing, "balance", "Events of each class.", {"classes": counts})
