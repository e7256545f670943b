"""Fit: from a recipe and its data to a trained network, with every open number resolved; and to a run folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cloudchamber.data.cache import cached
from cloudchamber.data.order import Selection, as_array
from cloudchamber.data.store import Store
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadRecipe, BadRun
from cloudchamber.events import Schema
from cloudchamber.nn.lora import DEFAULT_RANK, merge_lora
from cloudchamber.nn.sizes import size
from cloudchamber.recipe import Recipe, SizeName, TaskSpec, load
from cloudchamber.run import Run
from cloudchamber.stats import summarise
from cloudchamber.train.adaptation import keep_heads, kept_spec, restrict
from cloudchamber.train.checkpoint import Progress, identity_of
from cloudchamber.train.events import read_events
from cloudchamber.train.loop import OnRecord, Training, train
from cloudchamber.train.network import LoadReport, Network, adapt_network, differ, frames_of, new_network, save
from cloudchamber.train.parallel import ALONE, Ranks
from cloudchamber.train.rows import Rows, class_counts, loader_of, partners, require_classes, split_rows, weight_scale
from cloudchamber.train.scoring import SCORES, VALIDATION, checked_device, quality, score_table
from cloudchamber.train.weights import read_config, weights_folder

# Events shown in a training of unstated length: enough passes over a hundred events, three over very many.
_SHOWN_PER_EVENT, _SHOWN_LEAST, _SHOWN_MOST, _SHOWN_PASSES = 20, 7_680, 300_000, 3
_SCALE_EVENTS = 200_000  # events from which the scale of a regression target is taken
_QUALITY_EVENTS = 500  # events that the figures of the objectives are taken from; some need many passes of each
_CALIBRATION_EVENTS = 20_000  # validation events whose scores are kept: a coverage of 90 % is then known to 0.2 %
_MAX_VALIDATION = 5_000  # events; the standard error of the loss is then below the gains that matter
# Pre-trained weights are left more slowly than a new head is shaped; in another frame they are only a start.
_BACKBONE_FACTOR = 0.2


@dataclass(frozen=True)
class Fitted:
    """A trained network, the recipe with every number resolved, where the training ended, and how loading went.

    trained: the number of parameters that were; those of LoRA are merged into the network's plain weights.
    """

    network: Network
    recipe: Recipe
    progress: Progress
    report: LoadReport | None
    trained: int


def open_data(recipe: Recipe) -> TrainingSet:
    """The events of a recipe: stores through the memory-mapped cache, files into memory."""
    paths = [Path(p) for p in recipe.data]
    if not paths:
        raise BadRecipe(f"recipe {recipe.name!r} names no data")
    if recipe.leading_jets is None and all((p / "manifest.json").is_file() for p in paths):
        return cached([Store.open(p) for p in paths], recipe.max_particles)
    cloud = read_events(paths, card=recipe.card, leading_jets=recipe.leading_jets)
    return TrainingSet.from_cloud(cloud, recipe.max_particles)


def task_for(target: str, schema: Schema) -> TaskSpec:
    """The task that learns a label: `classify` for classes of events, `regress` for numbers, `segment` for particles."""
    name = schema.resolve(target)
    of_events = "classify" if schema.label(name).classes else "regress"
    return TaskSpec(task="segment" if name in schema.particle_label_names else of_events, target=target)


def resolve(recipe: Recipe, data: TrainingSet, train_rows: Selection) -> Recipe:
    """The recipe with size, steps, learning rate and target scales filled in where it left them open."""
    optimisation = recipe.optimisation
    name: SizeName = recipe.size
    config = None if recipe.adapt == "scratch" else read_config(weights_folder(str(recipe.weights)))
    if config is not None:
        name = config.size
    if optimisation.steps is None:
        shown = max(_SHOWN_LEAST, min(_SHOWN_PER_EVENT * len(train_rows), _SHOWN_MOST), _SHOWN_PASSES * len(train_rows))
        steps = -(-shown // min(optimisation.batch, len(train_rows)))
        optimisation = optimisation.model_copy(update={"steps": min(steps, -(-shown // optimisation.batch) * 4)})
    if optimisation.learning_rate is None:
        optimisation = optimisation.model_copy(update={"learning_rate": size(name).learning_rate})
    if optimisation.backbone_factor is None:
        moves_on = config is not None and differ(frames_of(config, data))
        factor = _BACKBONE_FACTOR if recipe.adapt == "full" and not moves_on else 1.0
        optimisation = optimisation.model_copy(update={"backbone_factor": factor})
    rank = recipe.rank or (DEFAULT_RANK if recipe.adapt == "lora" else None)
    named = [t.model_copy(update={"target": t.target and data.schema.resolve(t.target)}) for t in recipe.tasks]
    tasks = tuple(kept_spec(t, config) if config and t.kept else _with_scale(t, data, train_rows) for t in named)
    return recipe.model_copy(update={"size": name, "rank": rank, "optimisation": optimisation, "tasks": tasks})


def fit(
    recipe: Recipe,
    data: TrainingSet,
    rows: Rows,
    *,
    run: Run | None = None,
    device: str = "cpu",
    on_record: OnRecord | None = None,
) -> Fitted:
    """Train as the recipe says. The recipe's seed fixes the start, the order of events and what is masked.

    Raises BadRecipe, BadWeights or BadInput if what is asked is impossible.
    """
    return _train(prepare(recipe, data, rows), data, rows, run, device, on_record, ALONE)


@dataclass(frozen=True)
class Prepared:
    """A network that is ready to train, the resolved recipe, how loading went, and what brings the mean weight to 1."""

    network: Network
    recipe: Recipe
    report: LoadReport | None
    weight_scale: float


def prepare(recipe: Recipe, data: TrainingSet, rows: Rows) -> Prepared:
    """Resolve the recipe and build its network; everything that can be refused is refused here."""
    if recipe.seeds != 1:
        raise BadRecipe(f"recipe {recipe.name!r}: {recipe.seeds} seeds are an ensemble; train it with ensemble.fit_ensemble")
    recipe = resolve(recipe, data, rows.train)
    for spec in recipe.tasks:
        if spec.task == "classify" and spec.target:
            require_classes(data, rows.train, spec.target)
    scale = weight_scale(data, rows.train)
    generator = torch.Generator().manual_seed(recipe.seed)
    if recipe.adapt == "scratch":
        network = new_network(recipe.size, data, recipe.tasks, recipe.max_particles, generator, rows.train)
        return Prepared(network, recipe, None, scale)
    folder = weights_folder(str(recipe.weights))
    network, report = adapt_network(
        folder, data, recipe.tasks, recipe.max_particles, recipe.new_features, generator, rows.train
    )
    keep_heads(network, folder)
    restrict(network, recipe, report, generator)
    return Prepared(network, recipe, report, scale)


def _train(
    ready: Prepared, data: TrainingSet, rows: Rows, run: Run | None, device: str, on_record: OnRecord | None, ranks: Ranks
) -> Fitted:
    recipe, optimisation = ready.recipe, ready.recipe.optimisation
    assert optimisation.steps is not None
    assert optimisation.learning_rate is not None
    training = Training(
        data=data,
        loader=replace(loader_of(recipe, rows), rank=ranks.rank, ranks=ranks.count),
        val_rows=data.sample(rows.val, _MAX_VALIDATION),
        optimisation=optimisation,
        steps=optimisation.steps,
        learning_rate=optimisation.learning_rate,
        seed=recipe.seed,
        weight_scale=ready.weight_scale,
        feature_drop=recipe.feature_drop,
        device=checked_device(device),
        identity=identity_of(recipe, data, rows),
        partners_N=partners(data, (rows.train, rows.val), ready.network),
        ranks=ranks,
    )
    state = train(ready.network, training, run, on_record)
    merge_lora(ready.network)
    trained = sum(p.numel() for p in state.average.parameters.values())
    return Fitted(ready.network.cpu(), recipe, state.progress, ready.report, trained)


def fit_run(
    recipe: Recipe,
    out: Path,
    *,
    kind: str = "pretrain",
    arm: str | None = None,
    data: TrainingSet | None = None,
    rows: Rows | None = None,
    device: str = "cpu",
    on_record: OnRecord | None = None,
    ranks: Ranks = ALONE,
) -> Fitted:
    """Train as the recipe says and leave a run folder: recipe, metrics, weights, test scores, summary.

    ranks: the processes that train together, of which the first writes everything but the shards of a checkpoint.
    """
    _refuse_shards(recipe, ranks)
    data = _opened(recipe, ranks) if data is None else data
    rows = split_rows(data, recipe) if rows is None else rows
    ready = prepare(recipe, data, rows)
    checked_device(device)
    with ranks.first_before_others():
        run = create_run(ready.recipe, out, kind, arm, data.schema) if ranks.first else Run.open(out)
    return _into_run(run, ready, data, rows, device, on_record, ranks)


def create_run(recipe: Recipe, out: Path, kind: str, arm: str | None, schema: Schema) -> Run:
    """A new run folder for a resolved recipe, one of an ensemble if it has several seeds; BadRun if `out` is there already."""
    arm = arm or f"{recipe.weights or recipe.size} {recipe.adapt}"
    if recipe.seeds > 1:
        kind, arm = f"{kind}-ensemble", f"{recipe.seeds} x {arm}"
    run = Run.create(
        out,
        kind,
        parents=_parents(recipe),
        arm=arm,
        seed=recipe.seed,
        target=next((t.target for t in recipe.tasks if t.target), None),
        simulated=schema.simulated,
        data=list(recipe.data) or [schema.dataset],
        citations=citations(recipe, schema),
        recipe_sha256=recipe.sha256,
    )
    (out / "recipe.yaml").write_text(recipe.to_yaml())
    return run


def resume(
    run_folder: Path,
    asked: Recipe | None = None,
    *,
    data: TrainingSet | None = None,
    device: str = "cpu",
    on_record: OnRecord | None = None,
    ranks: Ranks = ALONE,
) -> Fitted:
    """Go on with a killed training; on a CPU the end is bit-identical to that of an uninterrupted one.

    asked: the recipe that the run is expected to have. Raises BadRun if it has another, or is complete already.
    """
    run = Run.open(run_folder)
    if run.done:
        raise BadRun(f"{run_folder}: is complete; there is nothing to resume. Its page: cloudchamber report {run_folder}")
    recipe = load(run_folder / "recipe.yaml")
    _refuse_shards(recipe, ranks)
    data = _opened(recipe, ranks) if data is None else data
    rows = split_rows(data, recipe)
    if asked is not None and resolve(asked, data, rows.train) != recipe:
        raise BadRun(f"{run_folder}: was started with another recipe, see its recipe.yaml; resume with the same options")
    return _into_run(run, prepare(recipe, data, rows), data, rows, device, on_record, ranks)


def _refuse_shards(recipe: Recipe, ranks: Ranks) -> None:
    if recipe.optimisation.optimiser == "muon" and ranks.mode == "fsdp":
        raise BadRecipe("optimiser 'muon' needs whole matrices, which --parallel fsdp cuts into shards; use --parallel ddp")


def _opened(recipe: Recipe, ranks: Ranks) -> TrainingSet:
    with ranks.first_before_others():  # it may have to write the cache
        return open_data(recipe)


def _parents(recipe: Recipe) -> tuple[Path, ...]:
    weights = tuple(weights_folder(name) / "model.safetensors" for name in _weights(recipe))
    card = () if recipe.card is None else (Path(recipe.card),)
    return (*(p for p in (*map(Path, recipe.data), *card) if p.exists()), *weights)


def citations(recipe: Recipe, schema: Schema) -> list[str]:
    """What the data, the weights, LoRA and Muon are owed, each once."""
    weights = [cited for name in _weights(recipe) for cited in read_config(weights_folder(name)).citation]
    methods = {"arXiv:2106.09685": recipe.adapt == "lora", "arXiv:2502.16982": recipe.optimisation.optimiser == "muon"}
    return list(dict.fromkeys([*schema.citation, *weights, *(cited for cited, used in methods.items() if used)]))


def _weights(recipe: Recipe) -> list[str]:
    """The weights that a recipe starts from and those that it learns from."""
    teachers = [str(t.options["teacher"]) for t in recipe.tasks if "teacher" in t.options]
    return [*([] if recipe.weights is None else [recipe.weights]), *teachers]


def _into_run(
    run: Run, ready: Prepared, data: TrainingSet, rows: Rows, device: str, on_record: OnRecord | None, ranks: Ranks
) -> Fitted:
    fitted = _train(ready, data, rows, run, device, on_record, ranks)
    if not ranks.first:
        return fitted
    described = {
        "dataset": data.schema.dataset,
        "events": len(rows.train),
        "classes": class_counts(data, rows.train),
        "jets_seen": fitted.progress.jets,
        "notes": data.schema.notes,
    }
    owed, licence = citations(ready.recipe, data.schema), data.schema.licence
    digest = save(fitted.network, run.path / "model", data=described, citation=owed, licence=licence)
    run.finish(_summary(run, fitted, data, rows, digest))
    return fitted


def _summary(run: Run, fitted: Fitted, data: TrainingSet, rows: Rows, digest: str) -> dict[str, Any]:
    info, recipe, progress = run.info, fitted.recipe, fitted.progress
    summary: dict[str, Any] = {
        "arm": info["arm"],
        "seed": recipe.seed,
        "target": info["target"],
        "classes": [],
        "size": recipe.size,
        "parameters": fitted.network.parameters_count,
        "trained": fitted.trained,
        "adapt": recipe.adapt,
        "weights": recipe.weights,
        "steps": progress.step,
        "best_step": progress.best_step,
        "batch": min(recipe.optimisation.batch, len(rows.train)),
        "train_jets": len(rows.train),
        "without_target": rows.left_out,
        "jets_seen": progress.jets,
        "wall_s": round(progress.seconds, 2),
        "val_loss": progress.best_loss,
    }
    scored = partial(score_table, fitted.network, data, run=run.path.name, sha256=digest)
    for number, task in enumerate(t for t in fitted.network.tasks if t.predicts):
        table = scored(as_array(rows.test), task, fold="test")
        table.write(run.path / (SCORES if number == 0 else f"scores-{task.key}.parquet"))
        if number == 0:
            summary |= {"classes": list(table.classes), "test": summarise(table)}
            validation = scored(data.sample(rows.val, _CALIBRATION_EVENTS), task, fold="val", embed=True).known()
            if len(validation):
                validation.write(run.path / VALIDATION)
        elif len(table.known()):
            summary.setdefault("tests", {})[task.key] = summarise(table)
    if figures := quality(fitted.network, data, rows.test, _QUALITY_EVENTS):
        summary["quality"] = figures
    return summary


def _with_scale(spec: TaskSpec, data: TrainingSet, rows: Selection) -> TaskSpec:
    if spec.target is None or spec.task != "regress" or {"centre", "scale"} & set(spec.options):
        return spec
    values = data[data.sample(rows, _SCALE_EVENTS)].target(spec.target).astype(np.float64)
    values = values[np.isfinite(values)]
    if len(values) == 0:
        raise BadInput(f"no training event of {data.schema.dataset!r} has a finite {spec.target!r}")
    if spec.options.get("transform") == "log1p":
        if values.min() <= -1:
            raise BadRecipe(f"transform 'log1p' of {spec.target!r}: a training event has {values.min():g}, it must be above -1")
        values = np.log1p(values)
    options = spec.options | {"centre": float(values.mean()), "scale": float(values.std()) or 1.0}
    return spec.model_copy(update={"options": options})
