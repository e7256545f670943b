"""MINERvA's transfer study (arXiv:2604.12364): pre-trained weights, scratch, baselines and cuts at few and many labels."""

# N event, C class, E embedding

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cloudchamber import recipe as recipes
from cloudchamber.data import read
from cloudchamber.data.readers.minerva_cuts import Mask, calorimetric, cuts, muon_momentum
from cloudchamber.data.readers.minerva_truth import PION_CLASSES
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Label
from cloudchamber.neutrinos import simulate_neutrinos
from cloudchamber.nn.backbone import Encoded
from cloudchamber.recipe import Recipe
from cloudchamber.stats import metrics, minerva, paired, steps_to_reach
from cloudchamber.stats.figures import Target
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites import minerva_baselines as baselines
from cloudchamber.suites.base import Findings, Settings, Suite, Tell, mean
from cloudchamber.suites.minerva_baselines import ENERGY, PION, Contestant, Draw, Sample, Tables
from cloudchamber.train.fit import Fitted, citations, fit
from cloudchamber.train.rows import Rows
from cloudchamber.train.scoring import embeddings
from cloudchamber.train.weights import read_config, weights_folder

Arm = Literal["full", "lora", "probe", "scratch"]
Numbers = NDArray[np.float64]
ARMS: tuple[Arm, ...] = ("full", "scratch")
# True variable -> which background a bin has, and its label: of the charged pion, or for CC1pi0 of the pi0.
_VARIABLES: Mapping[str, Literal["in the bin", "all"]] = {
    "pion_energy": "all",
    "pion_theta": "all",
    "w": "in the bin",
    "q3": "in the bin",
}
# IQR/MPV of the published pre-trained model over that of its calorimetric baseline, in bins of q3 (arXiv:2604.12364).
PUBLISHED_RATIOS = (0.724 / 1.007, 0.545 / 0.791, 0.486 / 0.686, 0.450 / 0.616, 0.432 / 0.563)
_LEAST_MAT = 0.05  # GeV, as the study judges its own
_LEAST_SIGNAL = 100  # test events of a bin in which a margin over the cuts is more than chance
_NONE = Estimate(float("nan"), 0.0)
_GROUPS = 3  # of the predicted W, each with a threshold of its own
_OWN_WEIGHT = 0.3  # of the loss of a task's own head and of W, beside the classes and the energy
PAIRED = {**{f"auprc_{task}": 1 for task in minerva.SIGNAL}, "iqr_over_mpv": -1}  # figures compared; 1: more is better


class Options(Settings):
    """tuples: MasterAnaDev files; events of `beam` are simulated without them. labels: training events of each comparison.

    pool, validation, test: events to draw labelled ones from (every seed its own, which overlap if the pool is smaller than
    labels times seeds), to choose the best step, and to test. variant: of the simulation, see cloudchamber.neutrinos.
    heads: whether a fine-tuning starts from the heads that its weights have, or from new ones. steps, batch, optimisation: of
    every training alike, further entries of a recipe's optimisation.
    """

    tuples: tuple[str, ...] = ()
    beam: str = "minerva_me"
    tokens: str = "minerva_blobs"
    variant: str = "nominal"
    weights: str = "xs-nu"
    heads: Literal["kept", "new"] = "kept"
    labels: tuple[int, ...] = (100, 1000, 10_000)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    pool: int = 50_000
    validation: int = 1000
    test: int = 16_000
    steps: int = 150
    batch: int = 128
    max_particles: int = 128
    optimisation: dict[str, Any] = Field(default_factory=lambda: {"validations": 30})
    simulation_seed: int = 2604
    workers: int | None = None
    device: str = "cpu"

    @classmethod
    def tiny(cls) -> Mapping[str, Any]:
        """Two seeds, 60 labels, four steps."""
        sizes = {"pool": 400, "validation": 50, "test": 400, "steps": 4, "batch": 16, "max_particles": 24}
        return {"labels": (60,), "seeds": (0, 1), **sizes}


@dataclass(frozen=True)
class Exam:
    """What the scores of the test events are compared with. variables: (N,) by task and name; edges: of their bins.

    judged, calibrating: (N,) test and (V,) validation events that the energy is judged and its spread calibrated on.
    energy, q3: true, in GeV.
    """

    pion: NDArray[np.int64]
    variables: Mapping[str, Mapping[str, Numbers]]
    edges: Mapping[str, Mapping[str, tuple[float, ...]]]
    cuts: Mapping[str, Mapping[str, Mask]]
    judged: Mask
    calibrating: Mask
    energy: Numbers
    q3: Numbers

    def signal(self, task: str) -> Mask:
        """(N,) the signal of a task."""
        return np.isin(self.pion, minerva.SIGNAL[task])


def study(options: Options, tell: Tell, contestants: Mapping[str, Contestant] | None = None) -> Findings:
    """Every model at every number of labels and seed, judged on the same test events.

    contestants: further models by name; one without tables for a draw is left out of it. Figures of all test events are at
    every number of labels; in bins, at the largest, only those of the networks and of further models.
    """
    sample, exam = prepare(options)
    cloud = sample.cloud
    others = {"trees": baselines.boosted_trees, "mlp": baselines.mlp, **(contestants or {})}
    unbinned = {"trees", "mlp", *(f"{arm}_own" for arm in ARMS)}
    found: dict[str, list[Estimate]] = {n: [e] for n, e in _without_training(cloud[: options.test], exam).items()}
    for number in options.labels:
        bins, losses = number == max(options.labels), list[dict[Arm, dict[int, float]]]()
        for seed in options.seeds:
            draw = draw_labels(sample, options, number, seed)
            scored: dict[str, Tables] = {}
            curves: dict[Arm, dict[int, float]] = {}
            for arm in ARMS:
                fitted, curves[arm] = train(sample, draw, options, arm)
                scored[arm], scored[f"{arm}_own"] = scores(fitted, sample, exam, draw, options)
            scored |= {name: made for name, contestant in others.items() if (made := contestant(sample, draw))}
            losses.append(curves)
            for model, tables in scored.items():
                for name, estimate in judge(tables, exam, bins=bins and model not in unbinned).items():
                    found.setdefault(f"{name}_{model}_{number}", []).append(estimate)
            shown = ", ".join(f"{m} {found[f'auprc_ccnpi_{m}_{number}'][-1].value:.3f}" for m in scored)
            tell(f"{number} labels, seed {seed}, AUPRC of CCNpi: {shown}")
        for name, values in _speed(losses).items():
            found[f"{name}_{number}"] = [Estimate(v, 0.0) for v in values]
        arms = ({n: found[f"{n}_{arm}_{number}"] for n in PAIRED} for arm in ARMS)
        found |= {f"{n}_{number}": [e] for n, e in compared(*arms).items()}
    found |= {n: [e] for n, e in _worst(found, exam, max(options.labels)).items()}
    return findings({n: tuple(v) for n, v in found.items()}, _targets(options), sample, options, _shares(exam))


def findings(
    found: Mapping[str, tuple[Estimate, ...]],
    asked: Sequence[Target],
    sample: Sample,
    options: Options,
    more: Mapping[str, Any] | None = None,
) -> Findings:
    """The figures that the events define, and the targets of those; of few events others have none, which is counted."""
    finite = {n: v for n, v in found.items() if np.isfinite([(e.value, e.error) for e in v]).all()}
    there = tuple(t for t in asked if t.figure in finite)
    finite["targets_without_a_figure"] = (Estimate(float(len(asked) - len(there)), 0.0),)
    schema = sample.cloud.schema
    about = {"dataset": schema.dataset, "simulated_by_us": not options.tuples, "test": options.test, **(more or {})}
    owed = tuple(citations(recipe(options, "full", 0), schema))
    return Findings(finite, (*there, Target("targets_without_a_figure", "<=", 0)), about, owed)


def prepare(options: Options) -> tuple[Sample, Exam]:
    """The events of the study, and what scores of the test events are judged by."""
    cloud = events(options)
    return Sample(cloud, TrainingSet.from_cloud(cloud, options.max_particles)), _exam(cloud, options)


def events(options: Options) -> Cloud:
    """The events of the study: first those to test, then those to validate, then the pool; with the labels to learn.

    Raises BadInput if the files hold too few events or no truth, or the pool fewer than the most labels.
    """
    number = options.test + options.validation + options.pool
    if max(options.labels) > options.pool:
        raise BadInput(f"{max(options.labels)} labels cannot be drawn from a pool of {options.pool} events; set a larger pool")
    if options.tuples:
        cloud = read(options.tuples, options.tokens, stop=number)
    else:
        cloud = simulate_neutrinos(
            options.beam,
            number,
            seed=options.simulation_seed,
            tokens=options.tokens,
            variant=options.variant,
            workers=options.workers,
        )
    if len(cloud) < number or PION not in cloud.schema.label_names:
        raise BadInput(f"the study needs {number} simulated events with their truth, {cloud.schema.dataset!r} has {len(cloud)}")
    cloud = cloud[np.random.default_rng(options.simulation_seed).permutation(number)]
    pion = np.asarray(cloud.labels[PION])
    columns = {name: np.isin(pion, signal).astype(np.int64) for name, signal in minerva.SIGNAL.items()}
    labels = tuple(Label(name=n, classes=("rest", n)) for n in minerva.SIGNAL)
    schema = cloud.schema.model_copy(update={"labels": (*cloud.schema.labels, *labels)})
    return Cloud(cloud.particles, {**cloud.events, **columns}, schema)


def recipe(options: Options, arm: Arm, seed: int) -> Recipe:
    """One training: the study's softmax, a head for each task, the available energy and W with their spreads."""
    config = read_config(weights_folder(options.weights))
    number = {"task": "regress", "options": {"loss": "student", "transform": "log1p"}}
    tasks: tuple[dict[str, Any], ...] = (
        {"task": "classify", "target": PION},
        *({"task": "classify", "target": name, "weight": _OWN_WEIGHT} for name in minerva.SIGNAL),
        {**number, "target": ENERGY},
        {**number, "target": "w", "weight": _OWN_WEIGHT},
    )
    keep = arm != "scratch" and options.heads == "kept"
    return recipes.make(
        {
            "name": f"minerva {arm}",
            "size": config.size,
            "weights": None if arm == "scratch" else options.weights,
            "adapt": arm,
            "tasks": [{**t, "kept": keep and config.has_head(t["task"], t["target"])} for t in tasks],
            "optimisation": {"steps": options.steps, "batch": options.batch, "checkpoints": 0, **options.optimisation},
            "max_particles": options.max_particles,
            "seed": seed,
        }
    )


def train(sample: Sample, draw: Draw, options: Options, arm: Arm) -> tuple[Fitted, dict[int, float]]:
    """A fitted network, and its validation losses by step."""
    curve: dict[int, float] = {}

    def note(step: int, _: int, record: Mapping[str, Any]) -> None:
        if record["split"] == "val":
            curve[step] = float(record["loss"])

    rows = Rows(draw.train, draw.val, draw.test)
    fitted = fit(recipe(options, arm, draw.seed), sample.data, rows, device=options.device, on_record=note)
    return fitted, curve


@torch.inference_mode()
def scores(fitted: Fitted, sample: Sample, exam: Exam, draw: Draw, options: Options) -> tuple[Tables, Tables]:
    """The score tables of the test events, a task's as the sum over its classes; and those of the tasks' own heads.

    The spread of the energy is scaled so that its pulls have width 1 on the validation events.
    """
    rows = np.concatenate([draw.test, draw.val])
    vectors_NE = torch.from_numpy(embeddings(fitted.network.backbone, sample.data, rows, options.device))
    encoded, n = Encoded(torch.empty(0), vectors_NE), len(draw.test)
    heads = {str(t.spec.target): t.cpu().predict(encoded).numpy() for t in fitted.network.tasks}
    energy, spread = heads[ENERGY].astype(np.float64).T
    true = np.asarray(sample.cloud.labels[ENERGY])[draw.val]
    scale = minerva.pull_width(_pull(energy[n:], spread[n:], true)[exam.calibrating])
    found = baselines.tables(sample, draw, heads[PION][:n], energy[:n], scale * spread[:n])
    own = {name: baselines.table(sample, draw, name, heads[name][:n]) for name in minerva.SIGNAL}
    return found | {"w": baselines.table(sample, draw, "w", heads["w"][:n, :1])}, {PION: found[PION], **own}


def _pull(energy: Numbers, spread: NDArray[np.floating], true: NDArray[np.floating]) -> Numbers:
    """(predicted - true) / spread, of ln(1 + E / GeV), which is what is learned."""
    return np.asarray((np.log1p(energy) - np.log1p(true)) * (1 + energy) / spread)


def judge(tables: Tables, exam: Exam, *, bins: bool) -> dict[str, Estimate]:
    """The figures of one model by name. bins: whether also those in bins of the truth.

    `tpr_<place>`: one threshold for all events, as in the study; `tpr_by_w_<place>`: one for each third of the predicted W.
    """
    found: dict[str, Estimate] = {}
    w = tables["w"].scores_NC[:, 0] if "w" in tables else None
    thirds = None if w is None else np.digitize(w, np.quantile(w, np.arange(1, _GROUPS) / _GROUPS))
    for task in minerva.SIGNAL:
        score, signal = tables[task].scores_NC[:, 1].astype(np.float64), exam.signal(task)
        found[f"auprc_{task}"] = minerva.average_precision(signal, score)
        found[f"auroc_{task}"] = metrics.auc(signal, score)
        for name, passes in exam.cuts.items():
            threshold = minerva.threshold_at(signal, score, float(passes[task][~signal].mean()))
            found[f"tpr_at_{name}_{task}"] = minerva.efficiency(score[signal] > threshold)
        for variable, background in _VARIABLES.items() if bins else ():
            edges, values = exam.edges[task][variable], exam.variables[task][variable]
            cuts = exam.cuts["evaluated"][task]
            binned = minerva.tag_bins(signal, score, values, edges, passes_cuts=cuts, background=background)
            for i, one in enumerate(binned):
                place = f"{task}_{variable}_{i}"
                found |= {f"auprc_{place}": one.auprc, f"auroc_{place}": one.auroc, f"tpr_{place}": one.tpr}
            if thirds is not None:
                passed = minerva.passes_as_often(signal, score, cuts, thirds)
                each = minerva.efficiencies(passed[signal], values[signal], edges)
                found |= {f"tpr_by_w_{task}_{variable}_{i}": one for i, one in enumerate(each)}
    if ENERGY not in tables:
        return found
    energy = tables[ENERGY].where(exam.judged)
    learned, spread = energy.scores_NC[:, 0].astype(np.float64), energy.spread_NC
    pull = None if spread is None else _pull(learned, spread[:, 0], energy.truth)
    return found | _energy_figures(exam.energy[exam.judged], learned, exam.q3[exam.judged], pull)


def _energy_figures(true: Numbers, reco: Numbers, q3: Numbers, pull: Numbers | None = None) -> dict[str, Estimate]:
    """In bins of q3; the mean of IQR/MPV over them; the width of all pulls."""
    binned = minerva.energy_bins(true, reco, q3, pull=pull)
    names = ("iqr_over_mpv", "mpv", "bias", "pull")
    found = {f"{n}_{i}": getattr(one, n) for i, one in enumerate(binned) for n in names}
    widths = [one.iqr_over_mpv for one in binned]
    error = float(np.sqrt(np.sum(np.square([w.error for w in widths])))) / len(widths)
    found["iqr_over_mpv"] = Estimate(float(np.mean([w.value for w in widths])), error)
    return found if pull is None else found | {"pull": minerva.bootstrapped(minerva.pull_width, pull)}


def _without_training(cloud: Cloud, exam: Exam) -> dict[str, Estimate]:
    """The cuts' rates in all events and in every bin, and the calorimetric energy's figures."""
    found: dict[str, Estimate] = {}
    for name, passes in exam.cuts.items():
        for task, passed in passes.items():
            signal = exam.signal(task)
            found[f"fpr_cuts_{name}_{task}"] = minerva.efficiency(passed[~signal])
            found[f"tpr_cuts_{name}_{task}"] = minerva.efficiency(passed[signal])
    for task, variables in exam.variables.items():
        signal, passed = exam.signal(task), exam.cuts["evaluated"][task]
        for variable, values in variables.items():
            edges = exam.edges[task][variable]
            binned = minerva.tag_bins(signal, passed, values, edges, passes_cuts=passed)
            found |= {f"tpr_{task}_{variable}_{i}_cuts": one.tpr_cuts for i, one in enumerate(binned)}
            found |= {f"signal_{task}_{variable}_{i}": Estimate(one.n_signal, 0.0) for i, one in enumerate(binned)}
            found |= {f"edge_{task}_{variable}_{i}": Estimate(edge, 0.0) for i, edge in enumerate(edges)}
    energies, mat = calorimetric(cloud), np.asarray(cloud.labels["available_energy_mat"])
    for name, kept, true, reco in (
        ("calorimetric", exam.judged, exam.energy, energies["study"]),
        ("calorimetric_mat", exam.judged & (mat >= _LEAST_MAT), mat, energies["mat"]),  # its own convention of the truth
    ):
        found |= {f"{n}_{name}": e for n, e in _energy_figures(true[kept], reco[kept], exam.q3[kept]).items()}
    return found


def _exam(cloud: Cloud, options: Options) -> Exam:
    calibrating = _judged(cloud[options.test : options.test + options.validation])
    if not calibrating.any():
        raise BadInput(f"none of {options.validation} validation events has a muon and an energy to calibrate with; set more")
    cloud = cloud[: options.test]
    labels = cloud.labels
    pions = {task: "pi0" if task == "cc1pi0" else "pion" for task in minerva.SIGNAL}
    variables = {
        task: {
            **{f"pion_{n}": np.asarray(labels[f"{pion}_{n}"]) for n in ("energy", "theta")},
            **{n: np.asarray(labels[n]) for n in ("w", "q3")},
        }
        for task, pion in pions.items()
    }
    pion_class, energy = np.asarray(labels[PION]), np.asarray(labels[ENERGY])
    fixed = {"w": minerva.W_EDGES, "q3": minerva.TAG_Q3_EDGES}
    edges = {
        task: fixed | {n: minerva.equal_bins(v[n], np.isin(pion_class, minerva.SIGNAL[task])) for n in v if n not in fixed}
        for task, v in variables.items()
    }
    return Exam(pion_class, variables, edges, cuts(cloud), _judged(cloud), calibrating, energy, np.asarray(labels["q3"]))


def _judged(cloud: Cloud) -> Mask:
    theta, recoil = cloud.events["muon_theta"], cloud.events["hadron_recoil_ccinc_energy"]
    return minerva.has_energy_figures(theta, muon_momentum(cloud), recoil, cloud.labels[ENERGY])


def draw_labels(sample: Sample, options: Options, number: int, seed: int) -> Draw:
    """Labelled events from the pool, every pion class in proportion and at least twice; the i-th seed takes the i-th ones."""
    first, turn = options.test + options.validation, options.seeds.index(seed)
    pion = np.asarray(sample.cloud.labels[PION])[first:]
    groups = [np.flatnonzero(pion == c) for c in range(len(PION_CLASSES))]
    sizes = [max(2, round(number * len(g) / len(pion))) for g in groups]
    chosen = [np.take(g, np.arange(turn * n, (turn + 1) * n), mode="wrap") for g, n in zip(groups, sizes, strict=True)]
    return Draw(np.sort(np.concatenate(chosen)) + first, np.arange(options.test, first), np.arange(options.test), seed)


def _speed(curves: list[dict[Arm, dict[int, float]]]) -> dict[str, list[float]]:
    """Best validation losses, and the share of scratch's steps to its best loss in which the pre-trained one is as good.

    Where it never is, the share is that of all steps, a lower limit; `reached` counts the seeds where it is.
    """
    found: dict[str, list[float]] = {}
    for curve in curves:
        for arm, losses in curve.items():
            found.setdefault(f"loss_{arm}", []).append(min(losses.values()))
        full, scratch = curve["full"], curve["scratch"]
        own = min(scratch, key=scratch.__getitem__)
        reached = steps_to_reach([*full], [*full.values()], scratch[own])
        found.setdefault("steps_share", []).append((reached or max(full)) / own)
        found.setdefault("reached", []).append(float(reached is not None))
    return found


def compared(full: Mapping[str, list[Estimate]], scratch: Mapping[str, list[Estimate]]) -> dict[str, Estimate]:
    """The figures of PAIRED: the first less the second over the seeds, positive where it is better, as `gain_<figure>`, and
    `p_<figure>` of a paired t test; 1 where the first is not better.
    """
    result = {}
    for name, sign in PAIRED.items():
        test = paired(*([sign * e.value for e in values[name]] for values in (full, scratch)))
        result[f"gain_{name}"] = Estimate(test.mean, test.error)
        result[f"p_{name}"] = Estimate(1.0 if test.mean <= 0 else test.p_t, 0.0)
    return result


def _worst(found: Mapping[str, list[Estimate]], exam: Exam, number: int) -> dict[str, Estimate]:
    """Extremes over bins: the least margin over the cuts (with at least 100 signal events) and the largest bias; how far the
    width of all pulls is from 1; and IQR/MPV over that of the calorimetric energy in every bin.
    """
    model = f"full_{number}"
    result = {}
    for task in minerva.SIGNAL:
        for variable in _VARIABLES:
            margins, place = [], f"{task}_{variable}"
            for i in range(len(exam.edges[task][variable]) - 1):
                if found[f"signal_{place}_{i}"][0].value < _LEAST_SIGNAL:
                    continue
                ours, cuts = mean(found[f"tpr_by_w_{place}_{i}_{model}"]), found[f"tpr_{place}_{i}_cuts"][0]
                margins.append(Estimate(ours.value - cuts.value, float(np.hypot(ours.error, cuts.error))))
            result[f"margin_over_cuts_{place}"] = min(margins, key=lambda m: m.value, default=_NONE)
    pull, biases = mean(found[f"pull_{model}"]), [mean(found[f"bias_{i}_{model}"]) for i in range(len(PUBLISHED_RATIOS))]
    result["pull_off"] = Estimate(abs(pull.value - 1), pull.error)
    off = [abs(e.value) for e in biases]
    result["largest_bias"] = Estimate(max(off), biases[off.index(max(off))].error) if np.isfinite(off).all() else _NONE
    for i in range(len(PUBLISHED_RATIOS)):
        ours, theirs = mean(found[f"iqr_over_mpv_{i}_{model}"]), found[f"iqr_over_mpv_{i}_calorimetric"][0]
        ratio = ours.value / theirs.value
        error = ratio * float(np.hypot(ours.error / ours.value, theirs.error / theirs.value))
        result[f"energy_ratio_{i}"] = Estimate(ratio, error)
    return result


def _targets(options: Options) -> tuple[Target, ...]:
    found = []
    for number in (n for n in options.labels if n <= 10_000):
        found += [*(Target(f"p_{name}_{number}", "<=", 0.05) for name in PAIRED), Target(f"steps_share_{number}", "<=", 0.5)]
    found += [Target(f"margin_over_cuts_{t}_{v}", ">=", 0.0) for t in minerva.SIGNAL for v in _VARIABLES if v != "pion_theta"]
    found += [Target("pull_off", "<=", 0.05), Target("largest_bias", "<=", 0.02)]
    return (*found, *(Target(f"energy_ratio_{i}", "<=", ratio) for i, ratio in enumerate(PUBLISHED_RATIOS)))


def _shares(exam: Exam) -> dict[str, Any]:
    counts = np.bincount(exam.pion, minlength=len(PION_CLASSES))
    return {"classes": dict(zip(PION_CLASSES, counts.tolist(), strict=True)), "judged": int(exam.judged.sum())}


SUITE = Suite("minerva", "available energy and pion final states of neutrino events", Options, study)
