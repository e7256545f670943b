"""What the transfer to neutrinos rests on: adaptation, what was pre-trained on, inputs, and another generator or detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from pydantic import Field

from cloudchamber import recipe as recipes
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import Cloud
from cloudchamber.events.clustering import leading_jets
from cloudchamber.neutrinos import simulate_neutrinos
from cloudchamber.simulate import simulate
from cloudchamber.stats import summarise
from cloudchamber.stats.figures import Target
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites import minerva, minerva_exam
from cloudchamber.suites.base import Findings, Suite, Tell
from cloudchamber.suites.minerva import Arm
from cloudchamber.suites.minerva_baselines import PION, Sample
from cloudchamber.suites.minerva_exam import PAIRED, Exam
from cloudchamber.train.fit import Fitted, fit
from cloudchamber.train.network import save
from cloudchamber.train.rows import Rows
from cloudchamber.train.scoring import predicting_task, score_table

_JETS = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq")
_PT = (450.0, 1100.0)  # GeV, of the jets, as those of the shipped weights


class Options(minerva.Options):
    """Besides those of the study: pretraining_events of every kind, of which a tenth each validates and tests;
    pretraining_steps, pretraining_batch: of every pre-training alike, twice the steps where it is one model for two.
    """

    labels: tuple[int, ...] = (1000,)
    seeds: tuple[int, ...] = (0, 1, 2)
    pool: int = 4000
    test: int = 5000
    validation: int = 400
    steps: int = 90
    optimisation: dict[str, Any] = Field(default_factory=lambda: {"validations": 10})
    pretraining_events: int = 10_000
    pretraining_steps: int = 400
    pretraining_batch: int = 128

    @classmethod
    def tiny(cls) -> Mapping[str, Any]:
        """Two seeds, 60 labels, a few steps."""
        return {**minerva.Options.tiny(), "pretraining_events": 320, "pretraining_steps": 4, "pretraining_batch": 16}


@dataclass(frozen=True)
class Mixture:
    """What a model is pre-trained on, by the names of the samples, and how.

    labelled: it learns the labels that its samples have; masked: masked particles; passes: times the steps of the others.
    """

    samples: tuple[str, ...]
    masked: bool = True
    labelled: bool = True
    passes: int = 1


_MIXTURES = {
    "jets": Mixture(("jets",)),
    "qcd_and_hbb": Mixture(("two_classes",)),
    "jets_ep_ee": Mixture(("jets", "ep", "ee")),
    "neutrinos": Mixture(("neutrinos",)),
    "neutrinos_classified": Mixture(("neutrinos",), masked=False),
    "neutrinos_masked": Mixture(("neutrinos",), labelled=False),
    "jets_and_neutrinos": Mixture(("jets", "neutrinos"), passes=2),
}
# Rows by what differs from the study's own events: both arms are run, and the gain compared with the nominal one's.
_ELSEWHERE: Mapping[str, Mapping[str, Any]] = {
    "no_cascade": {"variant": "no_cascade"},
    "other_detector": {"variant": "other_detector"},
    "clusters": {"tokens": "minerva_clusters"},
    "published_inputs": {"tokens": "minerva_published"},
}
_LABELLED: tuple[Mapping[str, Any], ...] = (
    {"task": "classify", "target": "label"},
    {"task": "classify", "target": PION},
    {"task": "regress", "target": "available_energy", "weight": 0.5, "options": {"transform": "log1p"}},
)
_MASKED: Mapping[str, Any] = {"task": "mask", "weight": 0.5, "options": {"events": 0.3, "particles": 0.3}}
_ADAPTATIONS: tuple[Arm, ...] = ("full", "lora", "probe", "scratch")


def study(options: Options, tell: Tell) -> Findings:
    """Every row with the same labels, steps and seeds; figures are means over seeds, gains those over scratch, seed by seed.

    One row per way of adapting the weights, with their heads and, in full, with new ones; per mixture of a small pre-training
    at equal steps; per change of what the labelled and the tested events are, of which the weights have seen none.
    """
    sample, exam = minerva.prepare(options)
    rows: dict[str, dict[str, list[Estimate]]] = {arm: _row(sample, exam, options, arm, tell, arm) for arm in _ADAPTATIONS}
    new = options.model_copy(update={"heads": "new"})
    rows["full_new_heads"] = _row(sample, exam, new, "full", tell, "full, new heads")
    gains: dict[str, Mapping[str, list[Estimate]]] = {row: rows["scratch"] for row in rows if row != "scratch"}
    for name, changes in _ELSEWHERE.items():
        changed = options.model_copy(update=dict(changes))
        events = minerva.prepare(changed)
        for arm in minerva.ARMS:
            rows[f"{arm}_{name}"] = _row(*events, changed, arm, tell, f"{arm}, {name}")
        gains[f"full_{name}"] = rows[f"scratch_{name}"]
    found: dict[str, tuple[Estimate, ...]] = {}
    with TemporaryDirectory() as folder:
        samples = _samples(options)
        for name, mixture in _MIXTURES.items():
            weights, own = pretrain(name, mixture, samples, options, Path(folder))
            found |= {f"{figure}_{name}": (estimate,) for figure, estimate in own.items()}
            mine = options.model_copy(update={"weights": str(weights)})
            rows[f"mixture_{name}"] = _row(sample, exam, mine, "full", tell, f"pre-trained on {name}")
            gains[f"mixture_{name}"] = rows["scratch"]
    found |= {f"{figure}_{row}": tuple(v) for row, of_row in rows.items() for figure, v in of_row.items()}
    for row, scratch in gains.items():
        found |= {f"{name}_{row}": (estimate,) for name, estimate in minerva_exam.compared(rows[row], scratch).items()}
    return minerva.findings(found, _targets(), sample, options)


def pretrain(
    name: str, mixture: Mixture, samples: Mapping[str, Cloud], options: Options, folder: Path
) -> tuple[Path, dict[str, Estimate]]:
    """Weights from scratch on a mixture, each of its samples drawn equally often; and how well they do at their own tasks."""
    parts = {one: TrainingSet.from_cloud(samples[one], options.max_particles) for one in mixture.samples}
    data = TrainingSet([part for of_sample in parts.values() for part in of_sample.parts])
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts.values()])])
    folds = [_folds(start, end) for start, end in pairwise(starts)]
    train, val, test = (np.concatenate([fold[i] for fold in folds]) for i in range(3))
    tasks = [t for t in _LABELLED if mixture.labelled and t["target"] in data.schema.label_names]
    tasks += [_MASKED] if mixture.masked else []
    steps = {"steps": mixture.passes * options.pretraining_steps, "batch": options.pretraining_batch}
    made = recipes.make(
        {
            "name": name,
            "size": minerva.recipe(options, "scratch", 0).size,
            "tasks": tasks,
            "optimisation": {**steps, "checkpoints": 0, "validations": 4, "ema": 0.998, "weight_decay": 0.02},
            "max_particles": options.max_particles,
            "feature_drop": 0.2,
        }
    )
    fitted = fit(made, data, Rows(train, val, test), device=options.device)
    save(fitted.network, folder / name, data={"dataset": name})
    return folder / name, _at_home(fitted, data, [fold[2] for fold in folds], mixture)


def _at_home(fitted: Fitted, data: TrainingSet, tested: Sequence[Any], mixture: Mixture) -> dict[str, Estimate]:
    """How often jets and neutrino events are called what they are by the heads of a pre-training: one model against two."""
    found = {}
    for one, rows in zip(mixture.samples, tested, strict=True):
        target = {"jets": "label", "neutrinos": PION}.get(one)
        if target and mixture.labelled:
            summary = summarise(score_table(fitted.network, data, rows, predicting_task(fitted.network, target)).known())
            found[f"accuracy_of_{one}"] = Estimate(summary["accuracy"], summary["accuracy_error"])
    return found


def _row(sample: Sample, exam: Exam, options: Options, arm: Arm, tell: Tell, name: str) -> dict[str, list[Estimate]]:
    found: dict[str, list[Estimate]] = {}
    for seed in options.seeds:
        draw = minerva.draw_labels(sample, options, options.labels[0], seed)
        fitted, _ = minerva.train(sample, draw, options, arm)
        judged = minerva_exam.judge(minerva.scores(fitted, sample, exam, draw, options)[0], exam, bins=False)
        for figure in PAIRED:
            found.setdefault(figure, []).append(judged[figure])
    tell(f"{name}: " + ", ".join(f"{n} {np.mean([e.value for e in v]):.3f}" for n, v in found.items()))
    return found


def _samples(options: Options) -> dict[str, Cloud]:
    """What the mixtures are made of; no event of the study's beam, no top quark."""
    n, seed, workers = options.pretraining_events, options.simulation_seed + 1, options.workers
    of_jets = {"seed": seed, "mpi": False, "pt_range": _PT, "workers": workers}
    few = -(-n // 2)
    return {
        "jets": simulate(_JETS, -(-n // len(_JETS)), **of_jets),
        "two_classes": simulate(("QCD", "Hbb"), few, **{**of_jets, "seed": seed + 1}),
        "ep": _unlabelled(simulate("hera", few, seed=seed, workers=workers)),
        "ee": _unlabelled(simulate("lep_z", -(-n // 3), seed=seed, workers=workers)),
        "neutrinos": simulate_neutrinos("minerva_le", n, seed=seed, tokens=options.tokens, workers=workers),
    }


def _unlabelled(cloud: Cloud) -> Cloud:
    """Whole events as their leading jets, without labels, whose classes would be others than those of the jets."""
    jets = leading_jets(cloud, 2)
    columns = {c.name: jets.events[c.name] for c in jets.schema.columns}
    return Cloud(jets.particles, columns, jets.schema.model_copy(update={"labels": ()}))


def _folds(start: int, end: int) -> tuple[Any, Any, Any]:
    """Rows of a sample that train, validate and test, in the order of simulation mixed by a fixed permutation."""
    rows = start + np.random.default_rng(0).permutation(end - start)
    tenth = max(1, len(rows) // 10)
    return rows[2 * tenth :], rows[:tenth], rows[tenth : 2 * tenth]


def _targets() -> tuple[Target, ...]:
    """The gain shall survive another generator and another detector."""
    return tuple(
        Target(f"p_{figure}_full_{name}", "<=", 0.05) for name in ("no_cascade", "other_detector") for figure in PAIRED
    )


SUITE = Suite("minerva_ablation", "what the transfer to neutrinos rests on", Options, study)
