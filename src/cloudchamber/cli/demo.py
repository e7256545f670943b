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
    from cloudchamber.events import Cloud
    from cloudchamber.recipe import Recipe
    from cloudchamber.train.rows import Rows
    from cloudchamber.train.weights import WeightsConfig

BEAM = "minerva_me"  # the pre-training of the shipped weights has seen jets, and neutrinos of the low-energy beam
TOKENS = "minerva_blobs"
PION, ENERGY = "pion_class", "available_energy"
OF_ENERGY = {"transform": "log1p", "loss": "student"}
SEEDS = (0, 1, 2)
LABELS = 400  # training events per seed; every seed has its own
VALIDATION = 400  # events, shared by the seeds
TEST = 4000  # events
SIMULATION_SEED = 2026  # differs from those of the pre-training
ARMS = {"full": "fine-tuned", "scratch": "scratch"}

STORY = """
Neutrinos of a few GeV strike carbon in a tracker like MINERvA's. What is seen of an event is a cloud: a muon, prongs, photons,
blobs of energy, and some sums. Two things are learned at once: which pions left the nucleus (with a charged current one
charged pion, several, one neutral pion, none of these; or a neutral current), and the available energy: the energy that a
calorimeter could see, pions' and photons' total and protons' kinetic (as arXiv:2604.12364 defines it).

All events are simulated, by cloudchamber's own generator and detector, in NuMI's medium-energy beam. The pre-training of
{weights} has seen jets of a collider and neutrinos of the low-energy beam from the same generator, none of this beam. Each of
{seeds} seeds draws its own {labels} labelled training events; one model starts from the shipped weights, with the heads that
they have for this ({heads}), the other from random numbers, and both make the same {steps} steps. {validation} further events
choose the best step of both; {test}, seen by neither, give the figures. Without any training, 1.17 times the recoil energy has
a resolution of {calorimetric:.3f} GeV for the available energy of the test events, with the same definition as below.
"""


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="The new folder for stores, runs and report.")] = Path("demo"),
    weights: Annotated[str, typer.Option(help="Weights to adapt.")] = "xs-nu",
    steps: Annotated[int, typer.Option(min=1, help="Steps of every training.")] = 120,
    test: Annotated[int, typer.Option(min=10, help="Test events.")] = TEST,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the simulation; one for each core without it.")
    ] = None,
) -> None:
    """Neutrino events with few labels: shipped weights against a start from scratch, in one report.

    Takes a few minutes on two cores. The folder's summary.json holds the figures of every seed.
    """
    from cloudchamber.data.cache import cached
    from cloudchamber.data.store import Store
    from cloudchamber.publish.report import write_report
    from cloudchamber.train.weights import read_config, weights_folder

    if (out / "done.json").is_file():
        typer.echo(f"{out} is complete: open {out / 'report.html'}, or remove the folder to run again")
        return
    began = time.perf_counter()
    config = read_config(weights_folder(weights))
    run = _begin(out, {"beam": BEAM, "weights": weights, "steps": steps, "test": test, "simulated": True})
    events = out / "events"
    store = Store.open(events) if events.exists() else _simulate(events, test, workers)
    data = cached([store], 128)
    folders = []
    for seed in SEEDS:
        rows = _rows(data, seed)
        recipes = [_recipe(adapt, weights, config, steps, seed, store.path) for adapt in ARMS]
        folders += [_train(out, recipe, data, rows) for recipe in recipes]
    numbers = {"seeds": len(SEEDS), "labels": LABELS, "validation": VALIDATION}
    tested = store.read()[LABELS * len(SEEDS) + VALIDATION :]
    heads = [t.target for t in config.tasks if t.target in (PION, ENERGY)]
    story = STORY.format(
        weights=weights,
        heads=", ".join(map(str, heads)) or "none",
        steps=steps,
        test=test,
        calorimetric=_calorimetric(tested),
        **numbers,
    )
    summary = _summary(folders) | {"wall_s": round(time.perf_counter() - began, 1)}
    title = f"Neutrino events from {LABELS} labels: {weights} against scratch"
    report = write_report(folders, out / "report.html", title=title, story=story, data=tested[:2000])
    run.finish(summary)
    _tell(summary, report)


def _begin(out: Path, asked: dict[str, Any]) -> Any:
    """A new run folder, or the one of the same demo that was killed."""
    from cloudchamber.errors import BadRun
    from cloudchamber.run import Run
    from cloudchamber.train.weights import read_config, weights_folder

    if not (out / "run.json").is_file():
        return Run.create(out, "demo", citations=read_config(weights_folder(asked["weights"])).citation, **asked)
    run = Run.open(out)
    if any(run.info.get(name) != value for name, value in asked.items()):
        raise BadRun(f"{out}: holds another demo that did not end. Give another folder with -o, or remove it yourself.")
    return run


def _simulate(folder: Path, test: int, workers: int | None) -> Any:
    """The demo's events; the order of simulation is kept, so that the first train and the last test."""
    from cloudchamber.cli.simulate import neutrinos_into

    n = LABELS * len(SEEDS) + VALIDATION + test
    return neutrinos_into(folder, BEAM, n, seed=SIMULATION_SEED, tokens=TOKENS, workers=workers)


def _calorimetric(cloud: Cloud) -> float:
    """Resolution [GeV] of the available energy by the calorimeter's sum alone."""
    from cloudchamber.data.readers.minerva_cuts import calorimetric
    from cloudchamber.stats import metrics

    return metrics.regression(cloud.labels[ENERGY], calorimetric(cloud)["study"]).resolution.value


def _rows(data: TrainingSet, seed: int) -> Rows:
    import numpy as np

    from cloudchamber.train.rows import Rows

    own, end = LABELS * seed, LABELS * len(SEEDS)
    return Rows(
        train=np.arange(own, own + LABELS),
        val=np.arange(end, end + VALIDATION),
        test=np.arange(end + VALIDATION, len(data)),
    )


def _recipe(adapt: str, weights: str, config: WeightsConfig, steps: int, seed: int, store: Path) -> Recipe:
    from cloudchamber import recipe as recipes

    tasks: tuple[dict[str, Any], ...] = (
        {"task": "classify", "target": PION},
        {"task": "regress", "target": ENERGY, "weight": 0.5, "options": OF_ENERGY},
    )
    return recipes.make(
        {
            "name": f"demo {adapt}",
            "size": config.size,
            "weights": None if adapt == "scratch" else weights,
            "adapt": adapt,
            "data": (str(store),),
            "tasks": [{**t, "kept": adapt != "scratch" and config.has_head(t["task"], t["target"])} for t in tasks],
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
    """Figures by seed, and the steps in which fine-tuning reached the final and the best validation loss of scratch."""
    from cloudchamber.run import Run
    from cloudchamber.stats import paired, steps_to_reach

    by_arm = {arm.replace("-", "_"): [Run.open(f) for f in folders if f.name.startswith(arm)] for arm in ARMS.values()}
    figures = {
        "auc": {arm: [r.summary["test"]["auc"] for r in runs] for arm, runs in by_arm.items()},
        "energy_resolution": {
            arm: [r.summary["tests"][f"regress_{ENERGY}"]["resolution"] for r in runs] for arm, runs in by_arm.items()
        },
    }
    speed = []
    for ours, theirs in zip(by_arm["fine_tuned"], by_arm["scratch"], strict=True):
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
    differences = {name: paired(arms["fine_tuned"], arms["scratch"]) for name, arms in figures.items()}
    return {
        "labels": LABELS,
        "seeds": list(SEEDS),
        **figures,
        **{f"{n}_difference": {"mean": d.mean, "standard_error": d.error} for n, d in differences.items()},
        "steps_to_scratch_loss": speed,
    }


def _tell(summary: dict[str, Any], report: Path) -> None:
    for i, (seed, speed) in enumerate(zip(summary["seeds"], summary["steps_to_scratch_loss"], strict=True)):
        auc, width = ({arm: v[i] for arm, v in summary[n].items()} for n in ("auc", "energy_resolution"))
        reached = speed["fine_tuned_steps_to_best"]
        steps = f"at step {reached}, scratch's own is {speed['scratch_best_step']}" if reached else "never"
        typer.echo(
            f"seed {seed}: AUC of the pions {auc['fine_tuned']:.3f} fine-tuned, {auc['scratch']:.3f} scratch; resolution of "
            f"the energy {width['fine_tuned']:.3f}, {width['scratch']:.3f} GeV; scratch's best validation loss reached {steps}"
        )
    typer.echo(f"{summary['wall_s']:.0f} s. Report: {report}")
