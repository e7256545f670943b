"""Rows: which events of a training set train, validate and test, in which order they come, and how they are balanced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.identity import SPLITS, split_of
from cloudchamber.data.loader import Loader
from cloudchamber.data.order import Selection, as_array, shares_of
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadRecipe
from cloudchamber.recipe import Recipe
from cloudchamber.train.network import Network


@dataclass(frozen=True)
class Rows:
    """The events of a training set that train, validate and test.

    mixture: those that train, by source, if it has any. left_out: how many events have no known target.
    """

    train: Selection
    val: Selection
    test: Selection
    mixture: tuple[Selection, ...] = ()
    left_out: int = 0


def split_rows(data: TrainingSet, recipe: Recipe) -> Rows:
    """Train, validation and test events by the hash of their ids, those with a known target.

    Events without one stay if a task needs none. Raises BadInput if a split is empty, BadRecipe for a mixture of what is
    not a store each.
    """
    rows = {name: data.split(name) for name in SPLITS}
    if rows["train"] is None:
        fold_N = split_of(data[data.everything].ids)
        rows = {name: np.flatnonzero(fold_N == i) for i, name in enumerate(SPLITS)}
    found = {name: members for name, members in rows.items() if members is not None and len(members)}
    if missing := [name for name in SPLITS if name not in found]:
        raise BadInput(f"{data.schema.dataset!r}: no event falls into the split {missing[0]!r}; {len(data)} events are too few")
    names = tuple(data.schema.resolve(t.target) for t in recipe.tasks if t.target)
    names = tuple(n for n in names if n in data.schema.label_names)  # of labels of particles every event may have some
    needed = names if len(names) == len(recipe.tasks) else ()
    before = sum(map(len, found.values()))
    found = {name: _with_target(data, members, needed) for name, members in found.items()}
    left_out = before - sum(map(len, found.values()))
    if recipe.train_events is not None:
        found["train"] = data.sample(found["train"], recipe.train_events)
    return Rows(**found, mixture=_sources(data, recipe, needed) if recipe.mixture else (), left_out=left_out)


def loader_of(recipe: Recipe, rows: Rows) -> Loader:
    """The order in which a recipe's training sees its events."""
    sources: tuple[Selection, ...] = (rows.train,)
    shares = None
    if recipe.mixture and len(rows.mixture) > 1:
        sources = rows.mixture
        shares = shares_of([len(r) for r in sources], recipe.mixture.weights, recipe.mixture.temperature)
    batch = min(recipe.optimisation.batch, len(rows.train))
    return Loader(sources, batch, recipe.seed, shares, recipe.shuffle_block)


def require_classes(data: TrainingSet, rows: Selection, name: str) -> None:
    """Raise BadInput unless the events are of two classes of a label at least: one class is nothing to learn."""
    seen: set[int] = set()
    for chunk in data.chunks(rows):
        seen |= set(np.unique(data[chunk].target(name)).tolist()) - {-1}
        if len(seen) > 1:
            return
    present = [data.schema.label(name).classes[i] for i in seen]
    raise BadInput(
        f"{data.schema.dataset!r}: the training events have only one class of {name!r} ({', '.join(present) or 'none'}); "
        "two are needed"
    )


def class_counts(data: TrainingSet, rows: Selection) -> dict[str, dict[str, int]]:
    """Events per class of every class label."""
    counts = {}
    for label in data.schema.labels:
        if label.classes:
            found = sum(
                np.bincount(data[chunk].target(label.name) + 1, minlength=len(label.classes) + 1) for chunk in data.chunks(rows)
            )
            counts[label.name] = dict(zip(label.classes, np.asarray(found)[1:].tolist(), strict=True))
    return counts


def weight_scale(data: TrainingSet, rows: Selection) -> float:
    """One over the mean weight. Raises BadInput for a negative weight, or if all are 0."""
    total, least = 0.0, 0.0
    for chunk in data.chunks(rows):
        weights = data[chunk].weights
        total, least = total + float(weights.sum(dtype=np.float64)), min(least, float(weights.min()))
    if least < 0 or not total > 0:
        raise BadInput(f"{data.schema.dataset!r}: weights {data.schema.weight!r} must not be negative, and not all be 0")
    return len(rows) / total


def partners(data: TrainingSet, groups: Sequence[Selection], network: Network) -> NDArray[np.int64] | None:
    """(N,) for each event of the set another one of its group (the training, say) with the same number in the label of the
    task that needs pairs, of several the next; itself where there is none. None if no task needs them.

    Raises BadRecipe if two tasks need pairs by different labels.
    """
    names = {t.label.name for t in network.tasks if t.pairs and t.label}
    if len(names) > 1:
        raise BadRecipe(f"two tasks take pairs of events from different labels: {', '.join(sorted(names))}; give one")
    if not names:
        return None
    found, name = np.arange(len(data)), names.pop()
    for group in groups:
        rows = as_array(group)
        values = np.concatenate([data[chunk].target(name) for chunk in data.chunks(rows)] or [np.empty(0)])
        order = np.argsort(values, kind="stable")[: np.count_nonzero(np.isfinite(values))]  # NaN come last
        rows, values = rows[order], values[order]
        first, stop = (np.searchsorted(values, values, side=side) for side in ("left", "right"))
        following = np.arange(1, len(rows) + 1)
        found[rows] = rows[np.where(following == stop, first, following)]
    return found


def _sources(data: TrainingSet, recipe: Recipe, needed: tuple[str, ...]) -> tuple[Selection, ...]:
    starts = data.starts.tolist()
    own = [range(starts[i], starts[i + 1]) for i, part in enumerate(data.parts) if part.split == "train"]
    if len(own) != len(recipe.data) or recipe.train_events is not None:
        raise BadRecipe(
            f"recipe {recipe.name!r}: a mixture needs stores with training events as its data, and no train_events; "
            f"found {len(own)} such stores for {len(recipe.data)} entries of data"
        )
    return tuple(_with_target(data, rows, needed) for rows in own)


def _with_target(data: TrainingSet, rows: Selection, names: tuple[str, ...]) -> Selection:
    """Those rows for which at least one of the targets is known; all of them without targets."""
    if not names:
        return rows
    kept = []
    for chunk in data.chunks(rows):
        chosen = data[chunk]
        kept.append(chunk[np.logical_or.reduce([chosen.known(name) for name in names])])
    number = sum(map(len, kept))
    if number == 0:
        raise BadInput(f"no event of {data.schema.dataset!r} has a known value of {', '.join(names)}")
    return rows if number == len(rows) else np.concatenate(kept)
