"""Pre-trainings of the benchmark of objectives, what each leads to, and the jets of it all."""

# N jet, E embedding, P particle, T particle of any jet

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

import cloudchamber as cc
import few_labels
import jets as sample
from cloudchamber import recipe as recipes
from cloudchamber.data import store
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import MOMENTUM, Cloud, Label, kinematics
from cloudchamber.stats.metrics import auc
from cloudchamber.train.fit import Fitted, fit
from cloudchamber.train.network import save
from cloudchamber.train.rows import Rows
from cloudchamber.train.scoring import quality

CLASSES = sample.CLASSES_10[:8]
TEXTS = {
    "QCD": "p p > jet, a quark or a gluon",
    "Hbb": "H > b b~, m = 125 GeV",
    "Hcc": "H > c c~, m = 125 GeV",
    "Hgg": "H > g g, m = 125 GeV",
    "H4q": "H > W W > q q q q, m = 125 GeV",
    "Hqql": "H > W W > q q l nu, m = 125 GeV",
    "Zqq": "Z > q q~, m = 91 GeV",
    "Wqq": "W > q q~, m = 80 GeV",
}
TASKS: Mapping[str, Mapping[str, Any]] = {
    "classify": {"task": "classify", "target": "label"},
    "mask": {"task": "mask", "weight": 0.5, "options": {"events": 0.3, "particles": 0.3}},
    "contrast": {"task": "contrast", "weight": 0.3},
    "generate": {"task": "generate", "target": "label", "weight": 0.5},
    "align": {"task": "align", "target": "label", "weight": 0.5, "options": {"texts": TEXTS}},
}
ALONE = {"mask": {"task": "mask", "options": {"events": 1.0, "particles": 0.3}}}  # nothing else learns from whole jets
MIXTURES: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "classify": ("classify",),
    "mask": ("mask",),
    "classify+mask": ("classify", "mask"),
    "+contrast": ("classify", "mask", "contrast"),
    "+generate": ("classify", "mask", "generate"),
    "+align": ("classify", "mask", "align"),
    "classify+mask, half": ("classify", "mask"),
}
TWO_PASSES = ("contrast", "generate")  # the second view, or the noisy jet, goes through the backbone as well
USES = ("top_auc", "quark_gluon_auc", "mass_error", "anomaly_auc")
MASSES = (60, 75, 90, 105, 120, 135, 150, 165, 180, 195)  # GeV, of the Higgs boson
PRETRAININGS, SEEDS = (0, 1), (0, 1, 2)
_PASSES, BATCH = 200, 128  # of the backbone, of as many jets
PARTICLES = 64  # leading in pT, of every jet
_PER_CLASS = 2000
LABELS, STEPS = 100, 60  # of each use
_OWN = 1000  # jets that the objectives' own figures are of
_SEED = 4001
_COUNTS = ("events", "particles", "chance", "mean_rank", "top1_error")  # of own figures, that say nothing here
_ORIGIN = "jet_of_origin"

Array = NDArray[Any]


@dataclass(frozen=True)
class Use:
    """Jets with a label to learn from few of them. number: whether it is one, else a class of two."""

    cloud: Cloud
    label: str
    number: bool = False


@dataclass(frozen=True)
class Job:
    """One seed of pre-training."""

    seed: int
    tiny: bool


def rows_of(job: Job) -> dict[str, list[float]]:
    """All figures of a seed of pre-training: one value, or one for every draw of labels."""
    torch.set_num_threads(1)
    jets, uses = simulated_jets(job.tiny), tiny_uses() if job.tiny else full_uses()
    found: dict[str, list[float]] = {}
    for name in MIXTURES:
        found |= (of_row := mixture(name, jets, uses, job.seed, job.tiny))
        shown = ", ".join(f"{n} {np.mean(v):.4f}" for n, v in of_row.items())
        print(f"pre-training {job.seed}: {shown}", flush=True)
    return found | {name: [value] for name, value in separated(jets, job.seed, job.tiny).items()}


def simulated_jets(tiny: bool) -> Cloud:
    """What is trained on; toy jets in a tiny run."""
    return sample.toy(400, classes=CLASSES) if tiny else sample.simulated(CLASSES, _PER_CLASS, seed=_SEED, mpi=False)


def folds(n: int, seed: int) -> Rows:
    """Tenths of the jets: eight to train, one to validate, one to test."""
    order, tenth = np.random.default_rng(seed).permutation(n), n // 10
    return Rows(order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])


def full_uses() -> dict[str, Use]:
    """The jets of the uses; those of the anomalies are the top jets and QCD that are tagged."""
    top = Use(sample.simulated(few_labels.SIMULATED, 1100, seed=few_labels.SIMULATED_SEED, mpi=False), "label")
    quark_gluon = Use(cc.read(few_labels.samples() / few_labels.QUARK_GLUON), "y")
    return {"top_auc": top, "quark_gluon_auc": quark_gluon, "mass_error": Use(higgs_jets(120), "mass", number=True)}


def tiny_uses() -> dict[str, Use]:
    """Toy jets in their place."""
    toy = sample.toy(300, classes=few_labels.SIMULATED)
    mass = toy.with_columns(_with_mass(toy), mass=kinematics.invariant_mass(toy).astype(np.float32))
    return {"top_auc": Use(toy, "label"), "quark_gluon_auc": Use(toy, "label"), "mass_error": Use(mass, "mass", number=True)}


def higgs_jets(per_mass: int) -> Cloud:
    """H -> bb jets of several masses, with the mass as a label; simulated on the first call."""
    path = sample.CACHE / f"higgs_mass_{per_mass}"
    if not path.exists():
        scenario = str(Path(__file__).with_name("higgs_mass.yaml"))
        made = [cc.simulate(scenario, per_mass, seed=_SEED + 100 + i, numbers={"m_h": m}) for i, m in enumerate(MASSES)]
        schema = _with_mass(made[0]).model_copy(update={"notes": f"Higgs bosons of {MASSES} GeV"})
        parts = [c.with_columns(schema, mass=np.full(len(c), m, dtype=np.float32)) for c, m in zip(made, MASSES, strict=True)]
        sample.CACHE.mkdir(parents=True, exist_ok=True)
        store.write(path, parts, provenance={"benchmark": path.name})
    cloud = store.Store.open(path).read()
    return cloud[np.random.default_rng(_SEED).permutation(len(cloud))]


def _with_mass(cloud: Cloud) -> Any:
    return cloud.schema.model_copy(update={"labels": (*cloud.schema.labels, Label(name="mass", unit="GeV"))})


def mixture(name: str, jets: Cloud, uses: Mapping[str, Use], seed: int, tiny: bool) -> dict[str, list[float]]:
    """Figures of one pre-training: of its own objectives, and of the uses for every draw of labels."""
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        fitted, data, rows = pretrain(name, jets, seed, tiny)
        save(fitted.network, weights, data={"dataset": jets.schema.dataset})
        found = {f"seconds_{name}": [fitted.progress.seconds]}
        if name != "none":
            own = quality(fitted.network, data, rows.test, 100 if tiny else _OWN)
            kept = {f"{n}_{key}": v for key, of in own.items() for n, v in of.items() if v is not None and n not in _COUNTS}
            found |= {f"{n}_{name}": [v] for n, v in kept.items()}
        anomalies = uses["top_auc"].cloud
        vectors_NE = cc.embed(str(weights), anomalies, max_particles=PARTICLES).astype(np.float64)
        # From scratch nothing hangs on the seed of pre-training: it is run for one of them.
        start = weights if name != "none" else None
        for draw in SEEDS[: 1 if tiny else None]:
            for use in uses if start or seed == PRETRAININGS[0] else ():
                found.setdefault(f"{use}_{name}", []).append(few(start, uses[use], draw, tiny))
            value = anomaly(vectors_NE, np.asarray(anomalies.labels["label"]), draw)
            found.setdefault(f"anomaly_auc_{name}", []).append(value)
    return found


def pretrain(name: str, jets: Cloud, seed: int, tiny: bool) -> tuple[Fitted, TrainingSet, Rows]:
    """A network from scratch, at equal passes of the backbone; without a task one that is left as it was born."""
    tasks = MIXTURES[name]
    data, rows = TrainingSet.from_cloud(jets, PARTICLES), folds(len(jets), seed)
    steps = passes(tiny) // (2 if set(tasks) & set(TWO_PASSES) or name.endswith("half") else 1)
    optimisation = {"steps": steps if tasks else 1, "batch": 16 if tiny else BATCH, "checkpoints": 0, "validations": 2}
    optimisation |= {"ema": 0.99} if tasks else {"learning_rate": 1e-12}
    made = recipes.make(
        {
            "name": name,
            "size": "xs",
            "tasks": [ALONE.get(t, TASKS[t]) if len(tasks) == 1 else TASKS[t] for t in tasks or ("classify",)],
            "optimisation": optimisation,
            "max_particles": PARTICLES,
            "feature_drop": 0.2,
            "seed": seed,
        }
    )
    return fit(made, data, rows), data, rows


def passes(tiny: bool) -> int:
    """Of the backbone, of a batch each."""
    return 6 if tiny else _PASSES


def few(weights: Path | None, use: Use, seed: int, tiny: bool) -> float:
    """AUC, or the mean absolute error [GeV], after learning from few labels; without weights from scratch."""
    rows = np.random.default_rng(seed).permutation(len(use.cloud))
    train, test = use.cloud[rows[:LABELS]], use.cloud[rows[LABELS:]]
    start: dict[str, Any] = {"weights": str(weights)} if weights else {"weights": "xs", "adapt": "scratch"}
    start |= {"seed": seed, "steps": 3 if tiny else STEPS, "max_particles": PARTICLES}
    truth = np.asarray(test.labels[use.label])
    if use.number:
        return float(np.abs(cc.Regressor(**start).fit(train, use.label).predict(test) - truth).mean())
    return auc(truth == 1, cc.Classifier(**start).fit(train, use.label).predict_proba(test)[:, 1]).value


def anomaly(vectors_NE: Array, truth: Array, seed: int) -> float:
    """AUC of class 1 by its Mahalanobis distance from half of class 0, in the frozen embedding."""
    usual = np.random.default_rng(seed).permutation(np.flatnonzero(truth == 0))
    known, rest = usual[: len(usual) // 2], np.concatenate([usual[len(usual) // 2 :], np.flatnonzero(truth == 1)])
    return auc(truth[rest] == 1, LedoitWolf().fit(vectors_NE[known]).mahalanobis(vectors_NE[rest])).value


def jet_mass_error(use: Use) -> float:
    """Mean absolute error [GeV] of the jet's own mass, without any learning."""
    return float(np.abs(kinematics.invariant_mass(use.cloud) - np.asarray(use.cloud.labels["mass"])).mean())


def separated(jets: Cloud, seed: int, tiny: bool) -> dict[str, float]:
    """Segmentation: which particles of two jets beside each other are from the harder one; also by their distance alone."""
    rng, n = np.random.default_rng(seed), 200 if tiny else 3000
    pairs = overlaid(jets[:n], jets[n : 2 * n], rng)
    data, rows = TrainingSet.from_cloud(pairs, 2 * PARTICLES), folds(n, seed)
    optimisation = {"steps": 4 if tiny else 150, "batch": 32, "checkpoints": 0, "validations": 3}
    task = {"task": "segment", "target": _ORIGIN}
    recipe = {"size": "xs", "tasks": [task], "optimisation": optimisation, "max_particles": 2 * PARTICLES, "seed": seed}
    fitted = fit(recipes.make(recipe), data, rows)
    (own,) = quality(fitted.network, data, rows.test, len(rows.test)).values()
    tested = pairs[rows.test]
    away_T = kinematics.particle_features(tested)["dr"]
    rule = float(((away_T < np.median(away_T)) == (tested.flat(_ORIGIN) == 0)).mean())
    return {f"{name}_segment": float(own[name]) for name in ("accuracy", "auc", "mean_iou")} | {
        "accuracy_by_distance_segment": max(rule, 1 - rule)
    }


def overlaid(first: Cloud, second: Cloud, rng: np.random.Generator) -> Cloud:
    """Pairs of jets 0.4 apart at a random place, each particle with whether its jet is the harder or the softer one."""
    angle, away = rng.uniform(-np.pi, np.pi, len(first)), 0.4
    eta, phi = rng.uniform(-1.5, 1.5, len(first)), rng.uniform(-np.pi, np.pi, len(first))
    places = ((eta, phi), (eta + away * np.cos(angle), phi + away * np.sin(angle)))
    both, harder = (first, second), kinematics.axes_of(first)["pt"] >= kinematics.axes_of(second)["pt"]
    origins = [np.where(harder, i, 1 - i) for i in range(2)]  # 0 of the harder jet
    moved = [
        {**{n: c.flat(n) for n in c.particles.fields}, **_moved(c, *place), _ORIGIN: np.repeat(origin, c.counts)}
        for c, place, origin in zip(both, places, origins, strict=True)
    ]
    joined = {
        name: ak.concatenate([ak.unflatten(m[name], c.counts) for m, c in zip(moved, both, strict=True)], axis=1)
        for name in moved[0]
    }
    label = Label(name=_ORIGIN, classes=("harder", "softer"))
    changes = {"dataset": f"pairs of {first.schema.dataset}", "labels": (), "columns": (), "particle_labels": (label,)}
    columns = {n: ak.to_numpy(ak.flatten(v)).astype(np.float32) for n, v in joined.items()}
    return Cloud.from_flat(first.counts + second.counts, columns, {}, first.schema.model_copy(update=changes))


def _moved(cloud: Cloud, eta_N: Array, phi_N: Array) -> dict[str, Array]:
    """Momenta of massless particles of jets whose axes are moved to the given directions."""
    pt_T, eta_T, phi_T = kinematics.pt_eta_phi(*(cloud.flat(n).astype(np.float64) for n in MOMENTUM[:3]))
    axis = kinematics.axes_of(cloud)
    by = [np.repeat(to - axis[name], cloud.counts) for name, to in (("eta", eta_N), ("phi", phi_N))]
    return kinematics.momenta(pt_T, eta_T + by[0], phi_T + by[1])
