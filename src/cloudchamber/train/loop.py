"""The training loop: any weighted set of tasks, one backbone, one optimiser."""

# B batch

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloudchamber.data.loader import Loader, micro_batches, prefetched
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadRecipe
from cloudchamber.events import Batch
from cloudchamber.events.kinematics import DERIVED, GEOMETRY
from cloudchamber.nn.backbone import Inputs
from cloudchamber.recipe import Optimisation
from cloudchamber.run import Run
from cloudchamber.stats import metrics
from cloudchamber.tasks.base import Task
from cloudchamber.train.allocator import freed_at_once
from cloudchamber.train.checkpoint import State
from cloudchamber.train.network import Network
from cloudchamber.train.optimiser import Average, make_optimiser, rate
from cloudchamber.train.parallel import ALONE, Ranks, Whole, complete, forget, synchronises

MAX_TOKENS = {"cpu": 1536, "cuda": 1 << 17}
VALIDATION_TOKENS = 4  # batches of the validation over the usual ones of the training: they keep nothing for a backward pass
AHEAD = {"cpu": 0, "cuda": 4}  # steps whose batches are made beforehand: on a CPU that would take from the training
Record = Mapping[str, Any]
OnRecord = Callable[[int, int, Record], None]  # steps done, steps in all, what was measured


@dataclass(frozen=True)
class Training:
    """What a training reads. loader: the events of each step. val_rows: events to validate on. steps: in all.

    learning_rate: peak. weight_scale: brings the mean weight to 1, so that the learning rate means what it says.
    feature_drop: see Recipe. partners_N: see rows.partners. identity: hash of recipe and data that a checkpoint is bound to.
    ranks: the processes that train together; the loader gives this one's share of each step.
    """

    data: TrainingSet
    loader: Loader
    val_rows: NDArray[np.int64]
    optimisation: Optimisation
    steps: int
    learning_rate: float
    seed: int
    weight_scale: float = 1.0
    feature_drop: float = 0.0
    device: str = "cpu"
    identity: str = ""
    partners_N: NDArray[np.int64] | None = None
    ranks: Ranks = ALONE

    @property
    def max_tokens(self) -> int:
        """Padded tokens per micro-batch."""
        return self.optimisation.max_tokens or MAX_TOKENS[torch.device(self.device).type]

    @property
    def validation_tokens(self) -> int:
        """Padded tokens per batch of the validation; no more than in training if their number is given, to bound memory."""
        return self.optimisation.max_tokens or VALIDATION_TOKENS * self.max_tokens

    @property
    def bounded(self) -> bool:
        """Whether the recipe asks for less memory: on a CPU it then goes before speed."""
        asked = self.optimisation.recompute or self.optimisation.max_tokens is not None
        return asked and torch.device(self.device).type == "cpu"

    def batches_of(self, step: int) -> list[Batch]:
        """The micro-batches of a step."""
        return list(micro_batches(self.data, self.loader.rows_of(step), self.max_tokens, self.partners_N))


def train(network: Network, training: Training, run: Run | None = None, on_record: OnRecord | None = None) -> State:
    """Train `network` in place and leave it with the averaged weights of its best validation.

    With a `run`, metrics go to its metrics.jsonl, and a checkpoint that is there is resumed: on a CPU with the same
    number of threads the result is then bit-identical to an uninterrupted training.
    Raises BadRecipe if the loss stops being a number.
    """
    with freed_at_once(training.bounded):
        return _train(network, training, run, on_record)


def _train(network: Network, training: Training, run: Run | None, on_record: OnRecord | None) -> State:
    state = _start(network, training)
    checkpoint = run.path / "checkpoint" if run else None
    if checkpoint:
        state.load(checkpoint, training.identity)
    log = run if training.ranks.first else None
    if log:
        log.truncate_metrics(state.progress.step)
    report = _reporter(log, on_record, training.steps)
    validate_at = _marks(training.steps, training.optimisation.validations)
    save_at = _marks(training.steps, training.optimisation.checkpoints)
    patience = training.optimisation.patience or math.inf
    ahead = AHEAD[torch.device(training.device).type]
    batches = prefetched(training.batches_of, range(state.progress.step, training.steps), ahead)
    while state.progress.step < training.steps and state.progress.since_best < patience:
        began = time.perf_counter()
        step = state.progress.step
        record = train_step(state, training, next(batches), step)
        seconds = state.progress.seconds + time.perf_counter() - began
        state.advance(step=step + 1, jets=state.progress.jets + training.loader.batch, seconds=seconds)
        report(state, "train", record)
        if step + 1 in validate_at:
            report(state, "val", _validate(state, training))
        if checkpoint and step + 1 in save_at:
            state.save(checkpoint, training.identity)
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for name, best in state.best.items():
            parameters[name].copy_(complete(best))
    network.eval()
    return state


def _start(network: Network, training: Training) -> State:
    if len(training.val_rows) < training.ranks.count:
        raise BadInput(f"{len(training.val_rows)} validation events are too few for {training.ranks.count} processes")
    network = training.ranks.own(network).to(training.device).train()
    network.backbone.recompute(training.optimisation.recompute)
    network.backbone.mixed_precision = training.optimisation.precision == "bfloat16"
    whole = training.ranks.spread(network)
    optimiser = make_optimiser(network, training.optimisation, training.learning_rate)
    return State(network, optimiser, Average(network, training.optimisation.ema), whole, training.ranks)


@torch.no_grad()
def validation_losses(network: Network, training: Training, whole: nn.Module | None = None) -> dict[str, float]:
    """Weighted mean of every task's loss over the validation events that it applies to; AUC for one task of two classes.

    `loss` is the objective: the weighted sum of the tasks' losses per event, 0 where a task does not apply. whole: the
    network as the loop calls it.
    """
    network.eval()
    whole, ranks = whole or Whole(network), training.ranks
    rows = training.val_rows[ranks.rank :: ranks.count]
    generator = torch.Generator().manual_seed(ranks.seed(training.seed))
    sums, known = ({t.key: 0.0 for t in network.tasks} for _ in range(2))
    ranking = _Ranking(network)
    total = 0.0
    for batch in ranks.even(list(micro_batches(training.data, rows, training.validation_tokens, training.partners_N))):
        inputs = _corrupted(network, Inputs.of(batch, training.device), generator)
        weight_B = torch.from_numpy(batch.weight_B).to(training.device)
        losses, score_B = whole(partial(_judged, inputs=inputs, batch=batch, ranked=ranking.task))
        for task in network.tasks:
            sums[task.key] += float((losses[task.key] * weight_B).sum())
            known[task.key] += float((task.applies(inputs, batch) * weight_B).sum())
        ranking.add(score_B, batch)
        total += float(weight_B.sum())
    forget(whole)
    network.train()
    sums, known, (total,) = _over_ranks(ranks, sums, known, total)
    objective = sum(t.spec.weight * sums[t.key] for t in network.tasks) / total
    return {"loss": objective, **_per_event(sums, known), **ranking.auc(ranks)}


def _judged(network: Network, inputs: Inputs, batch: Batch, ranked: Task | None) -> tuple[dict[str, Tensor], Tensor | None]:
    """Losses of a batch, and (B,) the score of the second class of the task that is ranked."""
    encoded = network(inputs)
    losses = {t.key: t.loss(encoded, inputs, batch) for t in network.tasks}
    return losses, None if ranked is None else ranked.predict(encoded)[:, 1]


def train_step(state: State, training: Training, batches: Sequence[Batch], step: int) -> dict[str, float]:
    """One optimiser step, the gradients of its micro-batches accumulated."""
    network, optimisation = state.network, training.optimisation
    fraction = rate(step, training.steps, optimisation)
    for group in state.optimiser.param_groups:
        group["lr"] = training.learning_rate * fraction * group["factor"]
    ranks, seed = training.ranks, training.ranks.seed(training.seed)
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    dropper = np.random.default_rng([seed, step])
    sums, known = ({t.key: 0.0 for t in network.tasks} for _ in range(2))
    (size,) = ranks.means([sum(map(len, batches))])  # gradients are averaged over the processes
    batches = ranks.even(batches)
    for number, batch in enumerate(batches, 1):
        synchronises(state.whole, last=number == len(batches))
        inputs = Inputs.of(drop_features(batch, training.data, training.feature_drop, dropper), training.device)
        weight_B = torch.from_numpy(batch.weight_B * np.float32(training.weight_scale)).to(training.device)
        inputs = _corrupted(network, inputs, generator)
        losses = state.whole(partial(Network.losses, inputs=inputs, batch=batch))
        means = {key: (loss_B * weight_B).sum() / size for key, loss_B in losses.items()}
        total: Tensor = torch.stack([t.spec.weight * means[t.key] for t in network.tasks]).sum()
        total.backward()  # type: ignore[no-untyped-call]
        for task in network.tasks:
            sums[task.key] += float(means[task.key].detach())
            known[task.key] += float((task.applies(inputs, batch) * weight_B).sum() / size)
    sums, known, _ = _over_ranks(ranks, sums, known)
    loss = sum(t.spec.weight * sums[t.key] for t in network.tasks)
    if not math.isfinite(loss):
        raise BadRecipe(
            f"the loss is {loss} at step {step + 1}: lower optimisation.learning_rate (now {training.learning_rate:g})"
        )
    nn.utils.clip_grad_norm_(list(state.average.parameters.values()), optimisation.clip, foreach=True)
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    state.average.update(step)
    return {"loss": loss, **_per_event(sums, known), "lr": training.learning_rate * fraction}


def _validate(state: State, training: Training) -> dict[str, float]:
    """Validate the averaged weights and keep them if they are the best so far."""
    state.average.swap()
    losses = validation_losses(state.network, training, state.whole)
    if not math.isfinite(losses["loss"]):
        raise BadRecipe(f"the validation loss is {losses['loss']} after step {state.progress.step}: lower the learning rate")
    best = state.progress.best_loss
    if best is None or losses["loss"] < best:
        state.best = {n: p.detach().clone() for n, p in state.average.parameters.items()}
        state.advance(best_loss=losses["loss"], best_step=state.progress.step, since_best=0)
    else:
        state.advance(since_best=state.progress.since_best + 1)
    state.average.swap()
    return losses


def drop_features(batch: Batch, data: TrainingSet, probability: float, random: np.random.Generator) -> Batch:
    """Hide every feature beyond the kinematics from some events, as if their detector had none."""
    if probability == 0:
        return batch
    extra = np.array([n not in GEOMETRY and n not in DERIVED for n in data.particle_names])
    dropped_B = random.random(len(batch)) < probability
    particles_BPF = np.where(
        (dropped_B[:, None, None] & extra) & batch.mask_BP[..., None], np.float32(np.nan), batch.particles_BPF
    )
    return replace(batch, particles_BPF=particles_BPF)


class _Ranking:
    """AUC on the validation events, for a network whose one objective is to tell two classes apart."""

    def __init__(self, network: Network):
        first = network.tasks[0]
        binary = len(network.tasks) == 1 and first.predicts and len(first.label.classes if first.label else ()) == 2
        self.task = first if binary else None
        self.truth: list[NDArray[Any]] = []
        self.score: list[NDArray[Any]] = []
        self.weight: list[NDArray[Any]] = []

    def add(self, score_B: Tensor | None, batch: Batch) -> None:
        if self.task is not None and score_B is not None:
            self.truth.append(np.asarray(batch.targets[str(self.task.spec.target)]))
            self.score.append(score_B.cpu().numpy())
            self.weight.append(batch.weight_B)

    def auc(self, ranks: Ranks) -> dict[str, float]:
        if self.task is None:
            return {}
        mine = [np.concatenate(parts) for parts in (self.truth, self.score, self.weight)]
        truth, score, weight = map(np.concatenate, zip(*ranks.gathered(mine), strict=True))
        return {"auc": metrics.auc(truth, score, weight).value} if set(np.unique(truth)) == {0, 1} else {}


def _corrupted(network: Network, inputs: Inputs, generator: torch.Generator) -> Inputs:
    for task in network.tasks:
        inputs = task.corrupt(inputs, generator)
    return replace(inputs, seed=generator.initial_seed())


def _over_ranks(
    ranks: Ranks, sums: dict[str, float], known: dict[str, float], *more: float
) -> tuple[dict[str, float], dict[str, float], Sequence[float]]:
    means = ranks.means([*sums.values(), *known.values(), *more])
    n = len(sums)
    return dict(zip(sums, means[:n], strict=True)), dict(zip(known, means[n : 2 * n], strict=True)), means[2 * n :]


def _per_event(sums: Mapping[str, float], known: Mapping[str, float]) -> dict[str, float]:
    """Mean loss of each task over the events that it applies to; 0 where there is none."""
    return {key: value / known[key] if known[key] else 0.0 for key, value in sums.items()}


def _marks(steps: int, parts: int) -> set[int]:
    """The steps after which one of `parts` equal shares is done; the last one always if there is any."""
    return {math.ceil(steps * (i + 1) / parts) for i in range(parts)}


def _reporter(run: Run | None, on_record: OnRecord | None, steps: int) -> Callable[[State, str, dict[str, float]], None]:
    def report(state: State, split: str, values: dict[str, float]) -> None:
        done = state.progress
        record = {"step": done.step, "split": split, "jets": done.jets, "seconds": round(done.seconds, 3), **values}
        if run:
            run.log(record)
        if on_record:
            on_record(done.step, steps, record)

    return report
