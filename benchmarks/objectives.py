"""Objectives: what each is worth in pre-training, at equal compute, and how well each does what it is for.

    CLOUDCHAMBER_SAMPLES=... python benchmarks/objectives.py

Size xs is pre-trained from scratch on eight classes of simulated jets, no top quark among them, with seven sets of objectives;
one that needs two passes of the backbone per jet takes half the steps, and "classify+mask, half" as many as those. Then four
uses: few-label top tagging, quark or gluon in the real sample, the mass of a Higgs boson, and top jets as anomalies of QCD in
the frozen embedding. One process per pre-training seed.
"""

# P pre-training, D draw of labels

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import pretraining
import record
import timing
from cloudchamber.workers import executor, in_order
from pretraining import CLASSES, MIXTURES, PRETRAININGS, USES

Array = NDArray[Any]


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    pretrainings = PRETRAININGS[:1] if args.tiny else PRETRAININGS
    jets = pretraining.simulated_jets(args.tiny)
    uses = pretraining.tiny_uses() if args.tiny else pretraining.full_uses()  # simulated once, before the processes
    jobs = [pretraining.Job(seed, args.tiny) for seed in pretrainings]
    with executor(min(args.threads, len(jobs))) as pool:
        of_each = list(in_order(pool, pretraining.rows_of, jobs, ahead=len(jobs)))
    figures = summarised(of_each)
    figures["mass_error_of_the_jet_mass"] = record.exact(pretraining.jet_mass_error(uses["mass_error"]), "GeV")
    path = record.write(
        "objectives",
        figures,
        targets(),
        settings={
            "dataset": jets.schema.dataset,
            "jets": len(jets),
            "passes": pretraining.passes(args.tiny),
            "batch": pretraining.BATCH,
            "particles": pretraining.PARTICLES,
            "labels": pretraining.LABELS,
            "steps": pretraining.STEPS,
            "draws_of_labels": pretraining.SEEDS,
            "tasks": {name: dict(task) for name, task in pretraining.TASKS.items()},
            "uses": {name: use.cloud.schema.dataset for name, use in uses.items()},
            "environment": timing.ENVIRONMENT,
        },
        seeds=pretrainings,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def summarised(of_each: Sequence[Mapping[str, list[float]]]) -> dict[str, record.Figure]:
    """Means over seeds of pre-training and draws of labels, and gains over no pre-training, paired draw by draw."""
    values = {name: [each[name] for each in of_each if name in each] for name in of_each[0]}
    figures = {name: _joined(np.array(v)) for name, v in values.items()}
    for use in USES:
        sign, none_PD = -1.0 if use == "mass_error" else 1.0, np.array(values[f"{use}_none"])
        for name in [m for m in MIXTURES if m != "none"]:
            gain = _joined(sign * (np.array(values[f"{use}_{name}"]) - none_PD))
            figures[f"gain_{use}_{name}"] = gain
            over = gain.value / max(gain.value - gain.low, 1e-12)
            figures[f"gain_over_its_error_{use}_{name}"] = record.exact(over)
    return figures


def _joined(values_PD: Array) -> record.Figure:
    """The mean over pre-trainings and draws, whose scatters are added: that of means over the one, and over the other."""
    square = 0.0
    for axis in range(2):
        of_one = values_PD.mean(axis=1 - axis)
        square += float(of_one.var(ddof=1)) / len(of_one) if len(of_one) > 1 else 0.0
    pretrainings, draws = values_PD.shape
    mean, error = float(values_PD.mean()), float(np.sqrt(square))
    spread = f"standard error of {pretrainings} pre-trainings and {draws} draws"
    return record.Figure(mean, mean - error, mean + error, spread, values=tuple(map(float, values_PD.ravel())))


def targets() -> list[record.Target]:
    """Every objective does what it is for; and classify with mask, as the shipped weights have them, helps in every use."""
    return [
        record.Target("values_over_mean_mask_mask", "<=", 0.9),
        record.Target("flags_over_mean_mask_mask", "<=", 1.0),
        record.Target("top1_align_label_+align", ">=", 3 / len(CLASSES)),  # chance: 1 / 8
        record.Target("top1_contrast_+contrast", ">=", 0.5),  # chance: 1 / 1000
        record.Target("accuracy_segment", ">=", "accuracy_by_distance_segment"),
        *(record.Target(f"gain_over_its_error_{use}_classify+mask", ">=", 2.0) for use in USES),
        record.Target("mass_error_classify+mask", "<=", "mass_error_of_the_jet_mass"),
    ]


if __name__ == "__main__":
    main()
