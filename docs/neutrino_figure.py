"""The figure of docs/neutrinos.md: what labels buy, with and without pre-training. Writes neutrinos.svg beside itself.

    python docs/neutrino_figure.py

Every number is one of benchmarks/results/minerva.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cloudchamber.publish.figure import canvas, finish, style
from cloudchamber.run import atomic

ROOT = Path(__file__).parent.parent
MODELS = {"full": "pre-trained", "scratch": "scratch", "trees": "boosted trees", "mlp": "MLP"}
PANELS = {
    "auprc_cc1pi": "CC1$\\pi^\\pm$: average precision",
    "auprc_ccnpi": "CCN$\\pi^\\pm$: average precision",
    "auprc_cc1pi0": "CC1$\\pi^0$: average precision",
    "iqr_over_mpv": "Available energy: IQR / MPV",
}


def main() -> None:
    """Draw the record."""
    record = json.loads((ROOT / "benchmarks" / "results" / "minerva.json").read_text())
    figures, labels = record["figures"], record["settings"]["labels"]
    with canvas(12, 3.4, 1, len(PANELS)) as (drawing, axes):
        for axis, (name, title) in zip(axes[0], PANELS.items(), strict=True):
            for i, (model, shown) in enumerate(MODELS.items()):
                _draw(axis, [figures[f"{name}_{model}_{n}"] for n in labels], labels, shown, i)
            if peer := figures.get(f"{name}_pet2_{labels[-1]}"):
                axis.plot(labels[-1:], [peer["value"]], "D", color=style(len(MODELS))["color"], label="PET-2, particles alone")
            if name == "iqr_over_mpv":
                axis.axhline(figures[f"{name}_calorimetric"]["value"], color="black", linewidth=1, linestyle=":")
            axis.set(xscale="log", xlabel="Labelled events", title=title)
        known = axes[0][0].get_legend_handles_labels()
        axes[0][-1].legend(*known, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.88))  # where nothing is drawn
        axes[0][-1].text(0.95, 0.95, "Simulation", transform=axes[0][-1].transAxes, ha="right", va="top", fontsize=10)
        drawn = finish(drawing, "neutrinos", "", {})
    with atomic(Path(__file__).with_name("neutrinos.svg")) as temporary:
        temporary.write_text(drawn.svg, encoding="utf-8")


def _draw(axis: Any, figures: list[dict[str, Any]], labels: list[int], shown: str, index: int) -> None:
    values = [f["value"] for f in figures]
    errors = [[f["value"] - f["low"] for f in figures], [f["high"] - f["value"] for f in figures]]
    axis.errorbar(labels, values, errors, label=shown, marker="o", markersize=4, capsize=2, **style(index))


if __name__ == "__main__":
    main()
