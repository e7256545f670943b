"""Calibration: whether conformal sets hold the truth as often as asked, on jets like those of the training and on others.

xs, adapted to simulated top jets against QCD (the jets of few_labels). Thresholds come from validation jets and are tested on
held-out jets of the same simulation; on those above 700 GeV alone; and on the held-out jets as a far worse detector would
measure them. For the shifted jets the coverage is given as it is, and with the weights of the density ratio. Each seed has
its own training, validation and test jets.
"""

from __future__ import annotations

import numpy as np
import torch

import cloudchamber as cc
import few_labels
import jets as sample
import record
import timing
from cloudchamber.events import MOMENTUM, Cloud
from cloudchamber.events.kinematics import axes_of
from cloudchamber.stats import LEVELS, ScoreTable, coverage, density_ratio, domain_p_values, recalibrated, summarise

SEEDS = (0, 1, 2)
STEPS = 100
_TRAIN, _VALIDATION = 400, 1600  # of 4400 jets; the rest is the test
_LARGEST_PULL = 3.0  # standard errors; nine right figures stay inside in 98 of 100 runs
_HARD = 700.0  # GeV; the jets have 500 to 1000
_SMEARING = 0.35  # of every particle's momentum
_FAR = 0.01


def main() -> None:
    parser = record.arguments(__doc__)
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    classes, seed = few_labels.SIMULATED, few_labels.SIMULATED_SEED
    cloud = sample.toy(600, classes=classes) if args.tiny else sample.simulated(classes, 2200, seed=seed)
    train, validation, steps = (100, 200, 5) if args.tiny else (_TRAIN, _VALIDATION, STEPS)
    found: dict[str, list[float]] = {}
    seeds = SEEDS[:2] if args.tiny else SEEDS
    for seed in seeds:
        for name, value in measure(cloud, train, validation, steps, seed).items():
            found.setdefault(name, []).append(value)
        print(
            f"seed {seed}: " + ", ".join(f"{n} {v[-1]:.4f}" for n, v in found.items() if n.startswith("coverage")), flush=True
        )
    pulls = [abs(v) for level in LEVELS for v in found[f"pull_same_{level:g}"]]
    figures = {name: record.mean(values) for name, values in found.items()} | {"largest_pull_same": record.exact(max(pulls))}
    path = record.write(
        "calibration",
        figures,
        [record.Target("largest_pull_same", "<=", _LARGEST_PULL)],
        settings={
            "dataset": cloud.schema.dataset,
            "train": train,
            "validation": validation,
            "test": len(cloud) - train - validation,
            "steps": steps,
            "pt_above": _HARD,
            "smearing": _SMEARING,
            "environment": timing.ENVIRONMENT,
        },
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def measure(cloud: Cloud, train: int, validation: int, steps: int, seed: int) -> dict[str, float]:
    """The coverages of one model on the three samples, the share of jets out of its domain, and calibration errors."""
    rows = np.random.default_rng(seed).permutation(len(cloud))
    model = cc.Classifier("xs", seed=seed, steps=steps).fit(cloud[rows[:train]], "label")
    held_out, test = model.score_table(cloud[rows[train : train + validation]]), cloud[rows[train + validation :]]
    same = model.score_table(test)
    hard = same.where(axes_of(test)["pt"] > _HARD)
    samples = {"same": same, "pt": hard, "detector": model.score_table(worse_measured(test, seed))}
    figures: dict[str, float] = {}
    for name, table in samples.items():
        figures |= covered(name, held_out, table)
        figures[f"out_of_domain_{name}"] = float((domain_p_values(held_out, table) <= _FAR).mean())
    for method in ("none", "temperature", "isotonic"):
        result = summarise(same if method == "none" else recalibrated(same, held_out, method))
        figures |= {f"{n}_{method}": result[n] for n in ("ece", "cross_entropy")}
    return figures


def covered(name: str, held_out: ScoreTable, table: ScoreTable) -> dict[str, float]:
    """Coverage, its distance from the level in standard errors, and mean size of a set, for a sample that is shifted or not."""
    ratio = None if name == "same" else density_ratio(held_out, table)
    figures = {} if ratio is None else {f"effective_validation_{name}": ratio.effective}
    for suffix, weights in (("", None), ("_reweighted", ratio))[: 1 if ratio is None else 2]:
        for level in LEVELS:
            got = coverage(held_out, table, level, weights)
            label = f"{name}{suffix}_{level:g}"
            figures |= {f"coverage_{label}": got.value, f"pull_{label}": got.pull, f"size_{label}": got.size}
    return figures


def worse_measured(cloud: Cloud, seed: int) -> Cloud:
    """The same jets with every momentum off by a third or so, and impact parameters off by three times their resolution."""
    rng = np.random.default_rng(seed)
    total = int(cloud.counts.sum())
    factor = np.exp(rng.normal(0, _SMEARING, total))
    columns = {n: cloud.flat(n) for n in (*MOMENTUM, *(f.name for f in cloud.schema.features))}
    columns |= {n: columns[n] * factor for n in MOMENTUM}
    columns |= {n: columns[n] + 3 * columns[f"{n}_err"] * rng.normal(size=total) for n in ("d0", "dz")}
    return Cloud.from_flat(cloud.counts, {n: v.astype(np.float32) for n, v in columns.items()}, cloud.events, cloud.schema)


if __name__ == "__main__":
    main()
