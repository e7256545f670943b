"""The verb demo: the whole chain on a laptop. Simulate, adapt the shipped weights, train from scratch, compare, report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from cloudchamber.data.training_set import TrainingSet
    from cloudchamber.recipe import Recipe
    from cloudchamber.train.rows import Rows

BACKGROUND, SIGNAL = "QCD", "Tbqq"  # no top quark was in the pre-training of the shipped weights
SEEDS = (0, 1, 2)
LABELS = 200  # training jets per class and seed; every seed has its own
VALIDATION = 200  # jets per class, shared by the seeds
TEST = 3000  # jets per class
SIMULATION_SEED = 2026  # differs from those of the pre-training
ARMS = {"full": "fine-tuned", "scratch": "scratch"}

STORY = """
Background: jets of light quarks and gluons (QCD). Signal: jets of hadronic top-quark decays (Tbqq), a class that the
pre-training of the weights {weights} left out. All jets are simulated: Pythia 8, a parametric CMS-like detector, anti-kt
R = 0.8. Each of {seeds} seeds draws its own {labels} labelled training jets per class; one model starts from the
shipped weights, the other from random numbers, and both make the same {steps} steps. {validation} further jets per class
choose the best step of both; {test} per class, seen by neither, give the figures.
"""


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="The new folder for stores, runs and report.")] = Path("demo"),
    weights: Annotated[str, typer.Option(help="Weights to adapt.")] = "xs",
    steps: Annotated[int, typer.Option(min=1, help="Steps of every training.")] = 120,
    test: Annotated[int, typer.Option(min=10, help="Test jets per class.")] = TEST,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the simulation; one for each core without it.")
    ] = None,
) -> None:
    """Find top jets with few labels: shipped weights against a start from scratch, in one report.

    Takes a few minutes on two cores. The folder's summary.json holds the AUC of every seed.
    """
    from cloudchamber.data.cache import cached
    from cloudchamber.data.store import Store
    from cloudchamber.publish.report import write_report
    from cloudchamber.train.weights import read_config, weights_folder

    if (out / "done.json").is_file():
        typer.echo(f"{out} is complete: open {out / 'report.html'}, or remove the folder to run again")
        return
    began = time.perf_counter()
    size = read_config(weights_folder(weights)).size
    asked = {"background": BACKGROUND, "signal": SIGNAL, "weights": weights, "steps": steps, "test": test, "simulated": True}
    run = _begin(out, asked)
    store = Store.open(out / "jets") if (out / "jets").exists() else _simulate(out / "jets", test, workers)
    data = cached([store], 128)
    folders = []
    for seed in SEEDS:
        rows = _rows(data, seed)
        recipes = [_recipe(adapt, weights, size, steps, seed, store.path) for adapt in ARMS]
        folders += [_train(out, recipe, data, rows) for recipe in recipes]
    story = STORY.format(weights=weights, seeds=len(SEEDS), labels=LABELS, steps=steps, validation=VALIDATION, test=test)
    summary = _summary(folders) | {"wall_s": round(time.perf_counter() - began, 1)}
    title = f"Top jets from {LABELS} labels per class: {weights} against scratch"
    report = write_report(folders, out / "report.html", title=title, story=story, data=store.read(limit=2000))
    run.finish(summary)
    _tell(summary, report)


def _begin(out: Path, asked: dict[str, Any]) -> Any:
    """A new run folder, or the one of the same demo that was killed."""
    from cloudchamber.errors import BadRun
    from cloudchamber.run import Run
    from cloudchamber.simulate.production import production
    from cloudchamber.train.weights import read_config, weights_folder

    if not (out / "run.json").is_file():
        owed = [*production([BACKGROUND, SIGNAL], 1).schema.citation, *read_config(weights_folder(asked["weights"])).citation]
        return Run.create(out, "demo", citations=list(dict.fromkeys(owed)), **asked)
    run = Run.open(out)
    if any(run.info.get(name) != value for name, value in asked.items()):
        raise BadRun(f"{out}: holds another demo that did not end. Give another folder with -o, or remove it yourself.")
    return run


def _simulate(folder: Path, test: int, workers: int | None) -> Any:
    """The demo's jets; the order of simulation is kept, so that the first of a class train and the last test."""
    from cloudchamber.cli.simulate import simulate_into

    n = LABELS * len(SEEDS) + VALIDATION + test
    return simulate_into(folder, [BACKGROUND, SIGNAL], n, seed=SIMULATION_SEED, workers=workers)


def _rows(data: TrainingSet, seed: int) -> Rows:
    import numpy as np

    from cloudchamber.train.rows import Rows

    labels = data[data.everything].target("label")
    classes = [np.flatnonzero(labels == c) for c in (0, 1)]
    end = LABELS * len(SEEDS)
    own = slice(LABELS * seed, LABELS * (seed + 1))
    return Rows(
        train=np.concatenate([c[own] for c in classes]),
        val=np.concatenate([c[end : end + VALIDATION] for c in classes]),
        test=np.concatenate([c[end + VALIDATION :] for c in classes]),
    )


def _recipe(adapt: str, weights: str, size: str, steps: int, seed: int, store: Path) -> Recipe:
    from cloudchamber import recipe as recipes

    return recipes.make(
        {
            "name": f"demo {adapt}",
            "size": size,
            "weights": None if adapt == "scratch" else weights,
            "adapt": adapt,
            "data": (str(store),),
            "tasks": ({"task": "classify", "target": "label"},),
            "optimisation": {"steps": steps, "batch": 64, "validations": 24, "checkpoints": 0},
            "seed": seed,
        }
    )


def _train(out: Path, recipe: Recipe, data: TrainingSet, rows: Rows) -> Path:
    from cloudchamber.cli.progress import training_bar
    from cloudchamber.train.fit import fit_run

    name = ARMS[recipe.adapt]
    folder = out / "runs" / f"{name}-{recipe.seed}"
    if (folder / "done.json").is_file():
        return folder
    shutil.rmtree(folder, ignore_errors=True)  # what a killed demo left of this training
    with training_bar(f"{name}, seed {recipe.seed}") as on_record:
        fit_run(
            recipe,
            folder,
            kind="finetune",
            arm=f"{name} {recipe.weights or recipe.size}",
            data=data,
            rows=rows,
            on_record=on_record,
        )
    return folder


def _summary(folders: Sequence[Path]) -> dict[str, Any]:
    """AUCs by seed, and the steps in which fine-tuning reached the final and the best validation loss of scratch."""
    from cloudchamber.run import Run
    from cloudchamber.stats import paired, steps_to_reach

    by_arm = {arm: [Run.open(f) for f in folders if f.name.startswith(arm)] for arm in ARMS.values()}
    auc = {arm: [r.summary["test"]["auc"] for r in runs] for arm, runs in by_arm.items()}
    speed = []
    for ours, theirs in zip(by_arm["fine-tuned"], by_arm["scratch"], strict=True):
        curve = [m for m in ours.metrics() if m["split"] == "val"]
        steps, curve_losses = [m["step"] for m in curve], [m["loss"] for m in curve]
        losses = [m["loss"] for m in theirs.metrics() if m["split"] == "val"]
        speed.append(
            {
                "scratch_steps": theirs.summary["steps"],
                "scratch_final_val_loss": losses[-1],
                "fine_tuned_steps_to_final": steps_to_reach(steps, curve_losses, losses[-1]),
                "scratch_best_step": theirs.summary["best_step"],
                "scratch_best_val_loss": min(losses),
                "fine_tuned_steps_to_best": steps_to_reach(steps, curve_losses, min(losses)),
            }
        )
    difference = paired(auc["fine-tuned"], auc["scratch"])
    return {
        "background": BACKGROUND,
        "signal": SIGNAL,
        "labels_per_class": LABELS,
        "seeds": list(SEEDS),
        "auc": {"fine_tuned": auc["fine-tuned"], "scratch": auc["scratch"]},
        "auc_difference": {"mean": difference.mean, "standard_error": difference.error},
        "steps_to_scratch_loss": speed,
    }


def _tell(summary: dict[str, Any], report: Path) -> None:
    ours, theirs = summary["auc"]["fine_tuned"], summary["auc"]["scratch"]
    for seed, a, b, speed in zip(summary["seeds"], ours, theirs, summary["steps_to_scratch_loss"], strict=True):
        reached = speed["fine_tuned_steps_to_best"]
        steps = f"at step {reached}, scratch's own is {speed['scratch_best_step']}" if reached else "never"
        typer.echo(f"seed {seed}: AUC {a:.4f} fine-tuned, {b:.4f} scratch; scratch's best validation loss reached {steps}")
    typer.echo(f"{summary['wall_s']:.0f} s. Report: {report}")
