"""Adaptation: full fine-tuning, LoRA, a probe and a start from scratch at few and many labels, through the public face.

Simulated top jets against QCD, those of few_labels: top jets were left out of the pre-training of the shipped weights xs.
Every seed has its own random labels of 15,000 (so those of 10,000 overlap), the same ones for all four; all are tested on the
same jets, after the same steps.
"""

from __future__ import annotations

import time

import numpy as np
import torch

import cloudchamber as cc
import few_labels
import jets as sample
import record
import timing
from cloudchamber.events import Cloud
from cloudchamber.recipe import Adapt
from cloudchamber.stats.metrics import accuracy, auc

SEEDS = (0, 1, 2)
STEPS = {100: 30, 1000: 60, 10_000: 160}  # by number of labels, the same for all: less than the estimator would take
ADAPTS: tuple[Adapt, ...] = ("full", "lora", "probe", "scratch")
_PER_CLASS = 8000
_POOL, _TEST = 15_000, 1000  # jets to draw labelled ones from, and to test on


def main() -> None:
    parser = record.arguments(__doc__)
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    seeds, steps = (SEEDS[:2], {40: 5}) if args.tiny else (SEEDS, STEPS)
    jets, test = split(args.tiny)
    figures: dict[str, record.Figure] = {}
    for number in steps:
        figures |= compare(jets, test, number, seeds, steps[number])
    few = min(steps)
    targets = [
        record.Target(f"auc_{adapt}_{few}", ">=", f"auc_scratch_{few}") for adapt in ("full", "lora", "probe")
    ]  # few labels are what pre-training is for
    targets.append(record.Target(f"trained_lora_{few}", "<=", f"fifth_of_trained_full_{few}"))
    path = record.write(
        "adaptation",
        figures | {f"fifth_of_trained_full_{few}": record.exact(figures[f"trained_full_{few}"].value / 5)},
        targets,
        settings={
            "dataset": jets.schema.dataset,
            "test": len(test),
            "weights": "xs",
            "steps": {str(number): taken for number, taken in steps.items()},
            "environment": timing.ENVIRONMENT,
        },
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def split(tiny: bool) -> tuple[Cloud, Cloud]:
    """Jets to draw labelled ones from, and jets to test on; toy jets in a tiny run."""
    classes, seed = few_labels.SIMULATED, few_labels.SIMULATED_SEED
    cloud = sample.toy(200, classes=classes) if tiny else sample.simulated(classes, _PER_CLASS, seed=seed)
    cut = 100 if tiny else _POOL
    return cloud[:cut], cloud[cut : cut + _TEST]


def compare(jets: Cloud, test: Cloud, number: int, seeds: tuple[int, ...], steps: int) -> dict[str, record.Figure]:
    """Accuracy, AUC, trained parameters and time of every adaptation."""
    measured: dict[str, list[float]] = {}
    trained: dict[str, float] = {}
    truth = np.asarray(test.labels["label"])
    for seed in seeds:
        chosen = np.random.default_rng(seed).permutation(len(jets))[:number]
        for adapt in ADAPTS:
            start = time.perf_counter()
            model = cc.Classifier("xs", adapt=adapt, seed=seed, steps=steps).fit(jets[chosen], "label")
            seconds = time.perf_counter() - start
            proba = model.predict_proba(test)
            found = {"auc": auc(truth == 1, proba[:, 1]).value, "accuracy": accuracy(truth, proba).value, "seconds": seconds}
            for name, value in found.items():
                measured.setdefault(f"{name}_{adapt}_{number}", []).append(value)
            trained[f"trained_{adapt}_{number}"] = model.trained_
            print(f"{number} labels, seed {seed}, {adapt}: " + ", ".join(f"{n} {v:.4f}" for n, v in found.items()), flush=True)
    figures = {n: record.median(v, "s") if n.startswith("seconds") else record.mean(v) for n, v in measured.items()}
    return figures | {name: record.exact(value) for name, value in trained.items()}


if __name__ == "__main__":
    main()
