"""Quality at equal size and equal jets seen: size xs against Particle Transformer scaled to about 0.4 M parameters.

    python benchmarks/quality.py

Five classes of simulated jets (without multiparton interactions: faster to make), three seeds. Both see the same jets
in the same order, with the same warm-up and cosine; the peak rate of each comes from the same small grid (one seed
that is not used afterwards, fewer steps, validation jets). Training is interleaved in blocks of steps, so that both
meet the same load of the machine. Particle Transformer gets random batches (its batch norm forbids sorted ones) and
dropout 0; both are tested with their last weights, without averaging.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

import jets as sample
import peers
import record
import timing
from cloudchamber.data.loader import Loader
from cloudchamber.recipe import Optimisation
from cloudchamber.stats.metrics import accuracy, cross_entropy, macro_auc
from ours import Ours

CLASSES = ("QCD", "Hbb", "Hgg", "Wqq", "Tbqq")
SEEDS = (0, 1, 2)
GRID = (1e-3, 2e-3, 4e-3)  # peak learning rates tried for both
GRID_SEED = 100
JETS_SEED = 5
TIME_TARGET = 0.75
Contestant = Ours | peers.Part
Make = Callable[[int, peers.Schedule], Contestant]


@dataclass(frozen=True)
class Split:
    """Rows of the jets by use."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass
class Trained:
    """One finished training: its time, the loss of each step, and the probabilities of the jets it was tested on."""

    parameters: int
    seconds: float
    losses: list[float] = field(default_factory=list)
    probabilities_NC: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--grid-steps", type=int, default=80, help="steps of each training of the grid")
    parser.add_argument("--per-class", type=int, default=8000, help="jets of each class")
    parser.add_argument("--particles", type=int, default=128, help="leading particles of a jet that both see")
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    steps, grid_steps, seeds = (4, 2, (0, 1)) if args.tiny else (args.steps, args.grid_steps, SEEDS)
    cloud = (
        sample.toy(600, classes=CLASSES) if args.tiny else sample.simulated(CLASSES, args.per_class, seed=JETS_SEED, mpi=False)
    )
    jets = sample.Jets.of(cloud, args.particles)
    split = _split(len(jets))
    makes: dict[str, Make] = {
        "ours": lambda seed, schedule: Ours(jets, "xs", seed, schedule=schedule),
        "part": lambda seed, schedule: peers.Part(jets, "shipped", seed, dropout=0.0, size=peers.PART_SMALL, schedule=schedule),
    }
    grid = GRID[:1] if args.tiny else GRID
    peaks, tried = choose_rates(makes, jets, split, grid, grid_steps)
    results = [train_pair(makes, jets, split.train, split.test, peaks, steps, seed) for seed in seeds]
    truth = jets.label_N[split.test]
    figures = summarise(results, truth)
    settings = {
        "jets": jets.describe(),
        "train_val_test": [len(split.train), len(split.val), len(split.test)],
        "steps": steps,
        "jets_per_step": peers.BATCH,
        "learning_rates": peaks,
        "grid": {"rates": list(grid), "steps": grid_steps, "seed": GRID_SEED, "validation_cross_entropy": tried},
        "environment": timing.ENVIRONMENT,
    }
    path = record.write("quality", figures, _targets(), settings=settings, seeds=seeds, tiny=args.tiny, folder=args.output)
    record.show(path)


def choose_rates(
    makes: Mapping[str, Make], jets: sample.Jets, split: Split, grid: Sequence[float], steps: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The peak rate of each with the smallest validation cross-entropy, and all of these in the grid's order."""
    tried: dict[str, list[float]] = {name: [] for name in makes}
    for rate in grid:
        pair = train_pair(makes, jets, split.train, split.val, dict.fromkeys(makes, rate), steps, GRID_SEED)
        for name, trained in pair.items():
            tried[name].append(cross_entropy(jets.label_N[split.val], trained.probabilities_NC).value)
        print(f"rate {rate:g}: " + ", ".join(f"{n} {v[-1]:.4f}" for n, v in tried.items()), flush=True)
    return {name: grid[int(np.argmin(values))] for name, values in tried.items()}, tried


def train_pair(
    makes: Mapping[str, Make],
    jets: sample.Jets,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    peaks: Mapping[str, float],
    steps: int,
    seed: int,
    block: int = 10,
) -> dict[str, Trained]:
    """Train all on the same jets in turns of `block` steps, each timed on its own; then their test probabilities."""
    optimisation = Optimisation(batch=peers.BATCH)
    loader = Loader((train,), peers.BATCH, seed)
    models = {name: make(seed, peers.Schedule(steps, peaks[name], optimisation)) for name, make in makes.items()}
    trained = {name: Trained(model.parameters, 0.0) for name, model in models.items()}
    for turn, first in enumerate(range(0, steps, block)):
        for name in list(models)[:: 1 if turn % 2 else -1]:
            for step in range(first, min(first + block, steps)):
                rows = loader.rows_of(step)
                start = time.perf_counter()
                trained[name].losses.append(models[name].train_step(rows, step))
                trained[name].seconds += time.perf_counter() - start
    for name, model in models.items():
        trained[name].probabilities_NC = model.probabilities(test).astype(np.float64)
    shown = (
        f"{n} {t.seconds:.0f} s, test loss {cross_entropy(jets.label_N[test], t.probabilities_NC).value:.4f}"
        for n, t in trained.items()
    )
    print(f"seed {seed}, {steps} steps: " + "; ".join(shown), flush=True)
    return trained


def summarise(results: Sequence[Mapping[str, Trained]], truth: NDArray[np.int64]) -> dict[str, record.Figure]:
    """All figures. The error of the loss difference joins the scatter of the seeds and that of the test jets."""
    figures = {}
    for name in ("ours", "part"):
        tested = [r[name].probabilities_NC for r in results]
        figures[f"cross_entropy_{name}"] = record.mean([cross_entropy(truth, p).value for p in tested], "nat")
        figures[f"accuracy_{name}"] = record.mean([accuracy(truth, p).value for p in tested])
        figures[f"auc_{name}"] = record.mean([macro_auc(truth, p) for p in tested])
        figures[f"parameters_{name}"] = record.exact(results[0][name].parameters)
        figures[f"seconds_{name}"] = record.mean([r[name].seconds for r in results], "s")
    difference_SN = np.stack([_loss(r["ours"], truth) - _loss(r["part"], truth) for r in results])
    per_seed = difference_SN.mean(axis=1)
    of_seeds = per_seed.std(ddof=1) / np.sqrt(len(per_seed))
    of_jets = difference_SN.mean(axis=0).std(ddof=1) / np.sqrt(len(truth))
    error, value = float(np.hypot(of_seeds, of_jets)), float(per_seed.mean())
    spread = (
        f"standard error: {of_seeds:.4f} from {len(per_seed)} seeds and {of_jets:.4f} from {len(truth)} test jets in quadrature"
    )
    values = tuple(map(float, per_seed))
    figures["cross_entropy_ours_minus_part"] = record.Figure(value, value - error, value + error, spread, "nat", values)
    figures["error_of_difference"] = record.exact(error, "nat")
    figures["time_ours_over_part"] = record.median([r["ours"].seconds / r["part"].seconds for r in results])
    return figures


def _targets() -> list[record.Target]:
    return [
        record.Target("cross_entropy_ours_minus_part", "<=", "error_of_difference"),
        record.Target("time_ours_over_part", "<=", TIME_TARGET),
        record.Target("parameters_ours", "<=", "parameters_part"),
    ]


def _loss(trained: Trained, truth: NDArray[np.int64]) -> NDArray[np.float64]:
    return -np.log(np.maximum(trained.probabilities_NC[np.arange(len(truth)), truth], 1e-12))


def _split(n: int) -> Split:
    """Tenths: eight to train, one to validate, one to test. The jets come shuffled."""
    rows = np.arange(n)
    return Split(rows[: 8 * n // 10], rows[8 * n // 10 : 9 * n // 10], rows[9 * n // 10 :])


if __name__ == "__main__":
    main()
