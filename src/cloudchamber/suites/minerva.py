"""MINERvA's transfer study (arXiv:2604.12364): pre-trained weights, scratch, baselines and cuts at few and many labels."""

# N event, C class, E embedding

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from cloudchamber import recipe as recipes
from cloudchamber.data import read
from cloudchamber.data.readers.minerva_truth import PION_CLASSES
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Label
from cloudchamber.neutrinos import NOMINAL, simulate_neutrinos
from cloudchamber.nn.backbone import Encoded
from cloudchamber.recipe import Recipe
from cloudchamber.stats import minerva, steps_to_reach
from cloudchamber.stats.figures import Target
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites import minerva_baselines as baselines
from cloudchamber.suites import minerva_exam
from cloudchamber.suites.base import Findings, Settings, Suite, Tell
from cloudchamber.suites.minerva_baselines import ENERGY, PION, Contestant, Draw, Sample, Tables
from cloudchamber.suites.minerva_exam import PAIRED, PUBLISHED_RATIOS, VARIABLES, Exam
from cloudchamber.train.fit import Fitted, citations, fit
from cloudchamber.train.rows import Rows
from cloudchamber.train.scoring import embeddings
from cloudchamber.train.weights import read_config, weights_folder

Arm = Literal["full", "lora", "probe", "scratch"]
ARMS: tuple[Arm, ...] = ("full", "scratch")
_OWN_WEIGHT = 0.3  # of the loss of a task's own head and of W, beside the classes and the energy


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
    variant: str = NOMINAL
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


def study(options: Options, tell: Tell, contestants: Mapping[str, Contestant] | None = None) -> Findings:
    """Every model at every number of labels and seed, judged on the same test events.

    contestants: further models by name; one without tables for a draw is left out of it. Figures of all test events are at
    every number of labels; in bins, at the largest, only those of the networks and of further models.
    """
    sample, exam = prepare(options)
    cloud = sample.cloud
    others = {"trees": baselines.boosted_trees, "mlp": baselines.mlp, **(contestants or {})}
    unbinned = {"trees", "mlp", *(f"{arm}_own" for arm in ARMS)}
    found: dict[str, list[Estimate]] = {n: [e] for n, e in minerva_exam.without_training(cloud[: options.test], exam).items()}
    for number in options.labels:
        bins, losses = number == max(options.labels), list[dict[Arm, dict[int, float]]]()
        for seed in options.seeds:
            draw = draw_labels(sample, options, number, seed)
            scored: dict[str, Tables] = {}
            curves: dict[Arm, dict[int, float]] = {}
            for arm in ARMS:
                fitted, curves[arm] = train(sample, draw, options, arm)
                found.setdefault(f"seconds_{arm}_{number}", []).append(Estimate(fitted.progress.seconds, 0.0))
                scored[arm], scored[f"{arm}_own"] = scores(fitted, sample, exam, draw, options)
            scored |= {name: made for name, contestant in others.items() if (made := contestant(sample, draw))}
            losses.append(curves)
            for model, tables in scored.items():
                for name, estimate in minerva_exam.judge(tables, exam, bins=bins and model not in unbinned).items():
                    found.setdefault(f"{name}_{model}_{number}", []).append(estimate)
            shown = ", ".join(f"{m} {found[f'auprc_ccnpi_{m}_{number}'][-1].value:.3f}" for m in scored)
            tell(f"{number} labels, seed {seed}, AUPRC of CCNpi: {shown}")
        for name, values in _speed(losses).items():
            found[f"{name}_{number}"] = [Estimate(v, 0.0) for v in values]
        arms = ({n: found[f"{n}_{arm}_{number}"] for n in PAIRED} for arm in ARMS)
        found |= {f"{n}_{number}": [e] for n, e in minerva_exam.compared(*arms).items()}
    found |= {n: [e] for n, e in minerva_exam.worst(found, exam, max(options.labels)).items()}
    return findings({n: tuple(v) for n, v in found.items()}, _targets(options), sample, options, exam.about())


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
    exam = minerva_exam.prepare(cloud, options.test, options.validation)
    return Sample(cloud, TrainingSet.from_cloud(cloud, options.max_particles)), exam


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
    scale = minerva.pull_width(minerva_exam.energy_pulls(energy[n:], spread[n:], true)[exam.calibrating])
    found = baselines.tables(sample, draw, heads[PION][:n], energy[:n], scale * spread[:n])
    own = {name: baselines.table(sample, draw, name, heads[name][:n]) for name in minerva.SIGNAL}
    return found | {"w": baselines.table(sample, draw, "w", heads["w"][:n, :1])}, {PION: found[PION], **own}


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


def _targets(options: Options) -> tuple[Target, ...]:
    found = []
    for number in (n for n in options.labels if n <= 10_000):
        found += [
            *(Target(f"p_{name}_{number}", "<=", 0.05) for name in PAIRED),
            Target(f"steps_share_{number}", "<=", 0.5),
        ]
    found += [Target(f"margin_over_cuts_{t}_{v}", ">=", 0.0) for t in minerva.SIGNAL for v in VARIABLES if v != "pion_theta"]
    found += [Target("pull_off", "<=", 0.05), Target("largest_bias", "<=", 0.02)]
    return (*found, *(Target(f"energy_ratio_{i}", "<=", ratio) for i, ratio in enumerate(PUBLISHED_RATIOS)))


SUITE = Suite("minerva", "available energy and pion final states of neutrino events", Options, study)
