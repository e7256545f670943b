"""Objectives: what each is worth in pre-training, at equal compute, and how well each does what it is for.

    CLOUDCHAMBER_SAMPLES=... python benchmarks/objectives.py

Size xs is pre-trained from scratch on eight classes of simulated jets, no top quark among them, with seven sets of objectives;
one that needs two passes of the backbone per jet takes half the steps. Then four uses: few-label top tagging, quark or gluon in
the real sample, the mass of a Higgs boson, and top jets as anomalies of QCD in the frozen embedding.
"""

# N jet, E embedding, P particle, T particle of any jet

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
import dijets
import few_labels
import jets as sample
import record
import timing
from cloudchamber import recipe as recipes
from cloudchamber.data import store
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import MOMENTUM, Cloud, Label, kinematics
from cloudchamber.stats.metrics import auc
from cloudchamber.stats.objectives import distance
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
}
TWO_PASSES = ("contrast", "generate")  # the second view, or the noisy jet, goes through the backbone as well
USES = ("top_auc", "quark_gluon_auc", "mass_error", "anomaly_auc")
MASSES = (60, 75, 90, 105, 120, 135, 150, 165, 180, 195)  # GeV, of the Higgs boson
PRETRAININGS, SEEDS = (0, 1), (0, 1, 2)
_PASSES, _BATCH = 200, 128  # of the backbone, of as many jets
PARTICLES = 64  # leading in pT, of every jet
_PER_CLASS = 2000
_LABELS, _STEPS = 100, 30  # of each use
_MADE = 1000  # jets that are generated, and compared with as many others
_SEED = 4001

Array = NDArray[Any]


@dataclass(frozen=True)
class Use:
    """Jets with a label to learn from few of them. number: whether it is one, else a class of two."""

    cloud: Cloud
    label: str
    number: bool = False


def main() -> None:
    parser = record.arguments(__doc__)
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    seeds = (SEEDS[:1], SEEDS[:1]) if args.tiny else (PRETRAININGS, SEEDS)
    jets = simulated_jets(args.tiny)
    uses = tiny_uses() if args.tiny else full_uses()
    found: dict[str, list[float]] = {}
    for seed in seeds[0]:
        for name in MIXTURES:
            for figure, values in mixture(name, jets, uses, seed, seeds[1], args.tiny).items():
                found.setdefault(figure, []).extend(values)
            shown = {n: round(float(np.mean(v)), 4) for n, v in found.items() if n.endswith(f"_{name}")}
            print(f"pre-training {seed}, {name}: {shown}", flush=True)
        for figure, value in separated(jets, seed, args.tiny).items():
            found.setdefault(figure, []).append(value)
    if not args.tiny:
        found["mass_error_of_the_jet_mass"] = [jet_mass_error(uses["mass_error"])]
    found |= gains(found)
    path = record.write(
        "objectives",
        {name: record.mean(values) for name, values in found.items()},
        targets(found),
        settings={
            "dataset": jets.schema.dataset,
            "jets": len(jets),
            "passes": 6 if args.tiny else _PASSES,
            "batch": _BATCH,
            "particles": PARTICLES,
            "labels": _LABELS,
            "steps": _STEPS,
            "tasks": {name: dict(task) for name, task in TASKS.items()},
            "uses": {name: use.cloud.schema.dataset for name, use in uses.items()},
            "environment": timing.ENVIRONMENT,
        },
        seeds=[*seeds[0], *seeds[1]],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def simulated_jets(tiny: bool) -> Cloud:
    """What is trained on; toy jets in a tiny run."""
    return sample.toy(400, classes=CLASSES) if tiny else sample.simulated(CLASSES, _PER_CLASS, seed=_SEED, mpi=False)


def folds(n: int, seed: int) -> Rows:
    """Tenths of the jets: eight to train, one to validate, one to test."""
    order, tenth = np.random.default_rng(seed).permutation(n), n // 10
    return Rows(order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])


def full_uses() -> dict[str, Use]:
    """The jets of the uses; those of the anomalies are the top jets and QCD that are tagged."""
    top = Use(few_labels.data_sets()["simulated"]().cloud, "label")
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


def mixture(
    name: str, jets: Cloud, uses: Mapping[str, Use], seed: int, seeds: Sequence[int], tiny: bool
) -> dict[str, list[float]]:
    """Figures of one pre-training: of its own objectives, and of the uses at every seed."""
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        fitted, data, rows = pretrain(MIXTURES[name], jets, seed, tiny)
        save(fitted.network, weights, data={"dataset": jets.schema.dataset})
        found = {f"seconds_{name}": [fitted.progress.seconds]}
        if name != "none":
            own = quality(fitted.network, data, rows.test, 100 if tiny else 1000)
            found |= {f"{n}_{key}_{name}": [v] for key, figures in own.items() for n, v in figures.items() if v is not None}
        if "generate" in MIXTURES[name]:
            found |= {f"{n}_{name}": [v] for n, v in generated(weights, jets, rows, seed, tiny).items()}
        anomalies = uses["top_auc"].cloud
        vectors_NE = cc.embed(str(weights), anomalies, max_particles=PARTICLES).astype(np.float64)
        for other in seeds:
            of_uses = {use: few(weights if name != "none" else None, uses[use], other, tiny) for use in uses}
            of_uses["anomaly_auc"] = anomaly(vectors_NE, np.asarray(anomalies.labels["label"]), other)
            for use, value in of_uses.items():
                found.setdefault(f"{use}_{name}", []).append(value)
    return found


def pretrain(tasks: Sequence[str], jets: Cloud, seed: int, tiny: bool) -> tuple[Fitted, TrainingSet, Rows]:
    """A network from scratch, at equal passes of the backbone; without a task one that is left as it was born."""
    data, rows = TrainingSet.from_cloud(jets, PARTICLES), folds(len(jets), seed)
    passes = (6 if tiny else _PASSES) // (2 if set(tasks) & set(TWO_PASSES) else 1)
    optimisation = {"steps": passes if tasks else 1, "batch": 16 if tiny else _BATCH, "checkpoints": 0, "validations": 2}
    optimisation |= {"ema": 0.99} if tasks else {"learning_rate": 1e-12}
    made = recipes.make(
        {
            "name": "+".join(tasks) or "none",
            "size": "xs",
            "tasks": [ALONE.get(t, TASKS[t]) if len(tasks) == 1 else TASKS[t] for t in tasks or ("classify",)],
            "optimisation": optimisation,
            "max_particles": PARTICLES,
            "feature_drop": 0.2,
            "seed": seed,
        }
    )
    return fit(made, data, rows), data, rows


def few(weights: Path | None, use: Use, seed: int, tiny: bool) -> float:
    """AUC, or the mean absolute error [GeV], after learning from few labels; without weights from scratch."""
    rows = np.random.default_rng(seed).permutation(len(use.cloud))
    train, test = use.cloud[rows[:_LABELS]], use.cloud[rows[_LABELS:]]
    start: dict[str, Any] = {"weights": str(weights)} if weights else {"weights": "xs", "adapt": "scratch"}
    start |= {"seed": seed, "steps": 3 if tiny else _STEPS, "max_particles": PARTICLES}
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


def generated(weights: Path, jets: Cloud, rows: Rows, seed: int, tiny: bool) -> dict[str, float]:
    """Distances of new jets from simulated ones that were not trained on, and those of two halves of simulated ones."""
    number = 60 if tiny else _MADE
    held = kinematics.leading(jets[np.concatenate([rows.test, rows.val])][: 2 * number], PARTICLES)
    made, half, other = cc.generate(weights, number, steps=8, seed=seed), held[:number], held[number:]
    found = {}
    for what, cloud in (("generated", made), ("simulated", other)):
        columns = {
            "mass": (kinematics.invariant_mass(half), kinematics.invariant_mass(cloud)),
            "multiplicity": (half.counts, cloud.counts),
            "tau21": (dijets.tau21(half), dijets.tau21(cloud)),
        }
        found |= {f"w1_{name}_{what}": distance(*pair) for name, pair in columns.items()}
        found |= {f"{n}_{what}": v for n, v in jetnet_distances(half, cloud, tiny).items()}
    return found


def jetnet_distances(true: Cloud, other: Cloud, tiny: bool) -> dict[str, float]:
    """Fréchet and kernel physics distance (arXiv:2211.10295) by JetNet's own code. Fewer jets than it recommends."""
    if tiny:
        return {}
    from jetnet import evaluation

    features = [evaluation.get_fpd_kpd_jet_features(relative(cloud), efp_jobs=1) for cloud in (true, other)]
    fewest = len(features[0]) // 3
    fpd, _ = evaluation.fpd(*features, min_samples=fewest, max_samples=len(features[0]))
    kpd, _ = evaluation.kpd(*features, batch_size=fewest)
    return {"fpd": float(fpd), "kpd": float(kpd)}


def relative(cloud: Cloud) -> Array:
    """(N, P, 3) eta and phi from the jet's axis, pT over the jet's; 0 where there is no particle."""
    columns = (cloud.flat(n).astype(np.float64) for n in MOMENTUM[:3])
    pt_T, eta_T, phi_T = kinematics.pt_eta_phi(*columns)
    axis = {n: np.repeat(v, cloud.counts) for n, v in kinematics.axes_of(cloud).items()}
    flat = (eta_T - axis["eta"], kinematics.wrap(phi_T - axis["phi"]), pt_T / axis["pt"])
    padded = (ak.pad_none(ak.unflatten(v, cloud.counts), PARTICLES, clip=True) for v in flat)
    return np.stack([ak.to_numpy(ak.fill_none(v, 0.0)) for v in padded], axis=2)


def separated(jets: Cloud, seed: int, tiny: bool) -> dict[str, float]:
    """Segmentation: of two jets laid over each other, which of them each particle is from."""
    rng, n = np.random.default_rng(seed), 200 if tiny else 3000
    data = TrainingSet.from_cloud(overlaid(jets[:n], jets[n : 2 * n], rng), 2 * PARTICLES)
    order, tenth = rng.permutation(len(data)), len(data) // 10
    rows = Rows(order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth])
    optimisation = {"steps": 4 if tiny else 150, "batch": 32, "checkpoints": 0, "validations": 3}
    task = {"task": "segment", "target": "jet_of_origin"}
    fitted = fit(recipes.make({"size": "xs", "tasks": [task], "optimisation": optimisation, "seed": seed}), data, rows)
    (own,) = quality(fitted.network, data, rows.test, len(rows.test)).values()
    return {f"{name}_segment": float(own[name]) for name in ("accuracy", "auc", "mean_iou")}


def overlaid(first: Cloud, second: Cloud, rng: np.random.Generator) -> Cloud:
    """Pairs of jets around a common axis, the second 0.4 away from the first; each particle with the jet it is from."""
    angle = rng.uniform(-np.pi, np.pi, len(first))
    turned = [
        _moved(first, np.zeros(len(first)), np.zeros(len(first))),
        _moved(second, 0.4 * np.cos(angle), 0.4 * np.sin(angle)),
    ]
    fields = [f for f in first.particles.fields if f not in MOMENTUM]
    columns = {}
    for name in (*MOMENTUM, *fields):
        values = [turned[i][name] if name in MOMENTUM else c.flat(name) for i, c in enumerate((first, second))]
        columns[name] = [ak.unflatten(v, c.counts) for v, c in zip(values, (first, second), strict=True)]
    columns["jet_of_origin"] = [ak.unflatten(np.full(c.counts.sum(), i), c.counts) for i, c in enumerate((first, second))]
    both = {n: ak.to_numpy(ak.flatten(ak.concatenate(pair, axis=1))).astype(np.float32) for n, pair in columns.items()}
    schema = first.schema.model_copy(
        update={
            "dataset": f"pairs of {first.schema.dataset}",
            "labels": (),
            "columns": (),
            "particle_labels": (Label(name="jet_of_origin", classes=("first", "second")),),
        }
    )
    return Cloud.from_flat(first.counts + second.counts, both, {}, schema)


def _moved(cloud: Cloud, eta_N: Array, phi_N: Array) -> dict[str, Array]:
    """Momenta of massless particles of jets whose axes are moved to the given directions."""
    pt_T, eta_T, phi_T = kinematics.pt_eta_phi(*(cloud.flat(n).astype(np.float64) for n in MOMENTUM[:3]))
    axis = kinematics.axes_of(cloud)
    by = [np.repeat(to - axis[name], cloud.counts) for name, to in (("eta", eta_N), ("phi", phi_N))]
    return kinematics.momenta(pt_T, eta_T + by[0], phi_T + by[1])


def gains(found: Mapping[str, list[float]]) -> dict[str, list[float]]:
    """How much better each use goes after a pre-training than without, pair by pair; positive is better."""
    better = {}
    for use in USES:
        sign = -1.0 if use == "mass_error" else 1.0
        for name in [m for m in MIXTURES if m != "none"]:
            pairs = zip(found[f"{use}_{name}"], found[f"{use}_none"], strict=True)
            better[f"gain_{use}_{name}"] = [sign * (a - b) for a, b in pairs]
    return better


def targets(found: Mapping[str, list[float]]) -> list[record.Target]:
    """Every objective does what it is for; and classify with mask, as the shipped weights have them, helps in every use."""
    own = [
        record.Target("values_over_mean_mask_mask", "<=", 0.9),
        record.Target("flags_over_mean_mask_mask", "<=", 0.9),
        record.Target("top1_align_label_+align", ">=", 2 / len(CLASSES)),  # chance: 1 / 8
        record.Target("top1_contrast_+contrast", ">=", 0.5),
        record.Target("accuracy_segment", ">=", 0.75),  # chance: about half
        *(record.Target(f"w1_{n}_generated_+generate", "<=", 0.5) for n in ("mass", "multiplicity", "tau21")),
    ]
    helps = [record.Target(f"gain_{use}_classify+mask", ">=", 1e-9) for use in USES]
    return [t for t in (*own, *helps) if t.figure in found]


if __name__ == "__main__":
    main()
