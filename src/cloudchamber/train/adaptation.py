"""Adaptation: what of some weights is trained, and which of their heads are kept."""

from __future__ import annotations

from pathlib import Path

import torch

from cloudchamber.errors import BadRecipe, nearest
from cloudchamber.nn.lora import add_lora
from cloudchamber.recipe import Recipe, TaskSpec
from cloudchamber.train.network import LoadReport, Network, fill
from cloudchamber.train.weights import WeightsConfig, read_weights


def restrict(network: Network, recipe: Recipe, report: LoadReport, generator: torch.Generator) -> None:
    """Leave trainable what the recipe's adaptation trains: everything, low-rank changes and heads, or heads alone.

    LoRA also trains the embeddings of features that the weights lack. Raises BadRecipe if a probe would need to.
    """
    backbone = network.backbone
    if recipe.adapt == "lora":
        assert recipe.rank is not None
        add_lora(backbone, recipe.rank, generator)
        for features, match in ((backbone.particle, report.particle), (backbone.column, report.column)):
            features.added_weight.requires_grad_(bool(match.new))
    elif recipe.adapt == "probe":
        if new := (*report.particle.new, *report.column.new):
            raise BadRecipe(f"adapt 'probe' cannot learn the new feature {new[0]!r}: its embedding is frozen at zero")
        backbone.requires_grad_(False)


# What may be changed of a kept head, and from and to what: it leaves what the head's numbers mean as it is.
_CHANGES = {("regress", "loss"): ("gaussian", "student")}
_FREE = {("generate", name) for name in ("steps", "teacher", "teacher_steps")}  # from anything to anything


def kept_spec(spec: TaskSpec, config: WeightsConfig) -> TaskSpec:
    """A task whose head is kept, with its head's own options; of a regression with a spread the recipe may give the loss.

    Raises BadRecipe if the weights have no such head, or another option is asked.
    """
    known = {(t.task, t.target): t for t in config.tasks}
    own = known.get((spec.task, spec.target))
    if own is None:
        names = [f"{task} of {target}" if target else task for task, target in known]
        asked = f"{spec.task} of {spec.target}" if spec.target else spec.task
        raise BadRecipe(f"the weights have no head for {asked!r} that could be kept. Nearest: {nearest(asked, names)}.")
    for name, asked in spec.options.items():
        free = _CHANGES.get((spec.task, name), ())
        trained = own.options.get(name, free[0] if free else None)
        if asked != trained and (spec.task, name) not in _FREE and not (asked in free and trained in free):
            raise BadRecipe(
                f"the head of {spec.target!r} was trained with {name} {'by default' if trained is None else trained!r} and "
                f"cannot be kept with {asked!r}: its numbers would mean something else. Leave it out, or take a new head."
            )
    return spec.model_copy(update={"options": {**own.options, **spec.options}})


def keep_heads(network: Network, folder: Path) -> None:
    """Give the heads that are kept the weights' own numbers; BadRecipe if the data have other classes than they."""
    kept = [t for t in network.tasks if t.spec.kept]
    if not kept:
        return
    config, tensors = read_weights(folder)
    labels = {label.name: label for label in config.labels}
    for task in kept:
        if task.label is not None and task.label.classes != labels[task.label.name].classes:
            raise BadRecipe(
                f"the head {task.key!r} of {folder} tells {', '.join(labels[task.label.name].classes)} apart, the data have "
                f"{', '.join(task.label.classes)}: it cannot be kept. Give the label of the new data another name."
            )
        prefix = f"heads.{task.key}."
        fill(task, {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, folder)
