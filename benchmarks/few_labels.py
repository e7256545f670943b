"""Few labels: the shipped weights xs, fine-tuned, against the same network from scratch, through the public face.

    CLOUDCHAMBER_SAMPLES=... python benchmarks/few_labels.py

Three data sets: the quark/gluon sample (400 training jets), the LHC Olympics sample as its two leading jets (half of
its events), and simulated top jets against QCD (200 labels per class; top jets were left out of the pre-training).
Each seed has its own random split; both arms have the same split and seed, so the differences are paired.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import cloudchamber as cc
import jets as sample
import record
import timing
from cloudchamber.events import Cloud
from cloudchamber.stats.metrics import auc

SEEDS = (0, 1, 2, 3, 4)
QUARK_GLUON, LHCO = "quark_gluon_1200.npz", "events_anomalydetection_tiny.h5"
SIMULATED = ("QCD", "Tbqq")
SIMULATED_SEED = 1177  # not that of any pre-training
_LABELS_PER_CLASS, _TEST_PER_CLASS = 200, 2000


@dataclass(frozen=True)
class DataSet:
    """Events with a label of two classes, the second being the signal. train: labelled events per training."""

    cloud: Cloud
    label: str
    train: int

    @property
    def truth(self) -> NDArray[np.int64]:
        """(N,) class indices."""
        return np.asarray(self.cloud.labels[self.label])

    def split(self, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Training and test rows: the classes keep their shares."""
        rng, truth = np.random.default_rng(seed), self.truth
        train = []
        for value in np.unique(truth):
            rows = rng.permutation(np.flatnonzero(truth == value))
            train.append(rows[: round(self.train * len(rows) / len(truth))])
        chosen = np.concatenate(train)
        return rng.permutation(chosen), np.setdiff1d(np.arange(len(truth)), chosen)


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument(
        "--only", choices=("quark_gluon", "lhco", "simulated"), action="append", help="one data set; may be repeated"
    )
    parser.add_argument("--weights", default="xs", help="shipped weights or a weights folder, of size xs")
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    makes = tiny_sets() if args.tiny else data_sets()
    seeds = SEEDS[:2] if args.tiny else SEEDS
    figures: dict[str, record.Figure] = {}
    settings = {}
    for name in args.only or list(makes):
        data = makes[name]()
        measured, settings[name] = compare(name, data, seeds, args.weights, 5 if args.tiny else None)
        figures |= measured
    targets = [record.Target("smallest_difference_simulated", ">=", 1e-9)] if "smallest_difference_simulated" in figures else []
    path = record.write(
        "few_labels",
        figures,
        targets,
        settings={**settings, "environment": timing.ENVIRONMENT},
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def data_sets() -> dict[str, Callable[[], DataSet]]:
    """The three data sets by name, read or simulated when called."""
    return {
        "quark_gluon": lambda: DataSet(cc.read(samples() / QUARK_GLUON), "y", 400),
        "lhco": lambda: DataSet(cc.leading_jets(cc.read(samples() / LHCO), 2), "label", 500),
        "simulated": lambda: DataSet(
            sample.simulated(SIMULATED, _LABELS_PER_CLASS + _TEST_PER_CLASS, seed=SIMULATED_SEED),
            "label",
            2 * _LABELS_PER_CLASS,
        ),
    }


def tiny_sets() -> dict[str, Callable[[], DataSet]]:
    """Toy jets in the place of the simulated ones; the real samples are not needed."""
    return {"simulated": lambda: DataSet(sample.toy(200, classes=SIMULATED), "label", 100)}


def compare(
    name: str, data: DataSet, seeds: tuple[int, ...], weights: str, steps: int | None
) -> tuple[dict[str, record.Figure], dict[str, object]]:
    """AUC of both arms at every seed, and their paired differences. steps: None leaves them to the estimator."""
    trained: dict[str, object] = {}
    aucs: dict[str, list[float]] = {"finetuned": [], "scratch": []}
    seconds: dict[str, list[float]] = {"finetuned": [], "scratch": []}
    for seed in seeds:
        train, test = data.split(seed)
        for arm, start_from, adapt in (("finetuned", weights, "full"), ("scratch", "xs", "scratch")):
            start = time.perf_counter()
            model = cc.Classifier(start_from, adapt=adapt, seed=seed, steps=steps).fit(data.cloud[train], data.label)
            seconds[arm].append(time.perf_counter() - start)
            trained[arm] = model.recipe_.optimisation.model_dump(include={"steps", "batch", "learning_rate", "backbone_factor"})
            aucs[arm].append(auc(data.truth[test] == 1, model.predict_proba(data.cloud[test])[:, 1]).value)
        print(f"{name}, seed {seed}: fine-tuned {aucs['finetuned'][-1]:.4f}, scratch {aucs['scratch'][-1]:.4f}", flush=True)
    difference = np.subtract(aucs["finetuned"], aucs["scratch"]).tolist()
    figures = {f"auc_{arm}_{name}": record.mean(values) for arm, values in aucs.items()}
    figures |= {f"auc_difference_{name}": record.mean(difference)}
    figures |= {f"smallest_difference_{name}": record.exact(min(difference))}
    figures |= {f"seconds_{arm}_{name}": record.median(values, "s") for arm, values in seconds.items()}
    train, test = data.split(seeds[0])
    signal = {"train": int(data.truth[train].sum()), "test": int(data.truth[test].sum())}
    settings = {
        "dataset": data.cloud.schema.dataset,
        "train": len(train),
        "test": len(test),
        "signal": signal,
        "weights": weights,
        **trained,
    }
    return figures, settings


def samples() -> Path:
    """The folder of real sample files; SystemExit if the environment does not name it."""
    if "CLOUDCHAMBER_SAMPLES" not in os.environ:
        raise SystemExit("set CLOUDCHAMBER_SAMPLES to the folder of the real sample files, or choose --only simulated")
    return Path(os.environ["CLOUDCHAMBER_SAMPLES"])


if __name__ == "__main__":
    main()
