"""Quality at equal size and equal jets seen: size xs against Particle Transformer and PET-2, all of about 0.4 M parameters.

    python benchmarks/quality.py

Ten classes of simulated jets (without multiparton interactions: faster to make), three seeds. All see the same jets in the
same order, with the same warm-up and cosine; the peak rate of each comes from a grid of four (one seed that is not used
afterwards, fewer steps, validation jets). Training is interleaved in blocks of steps, so that all meet the same load of the
machine. Particle Transformer gets random batches (its batch norm forbids sorted ones) and dropout 0, PET-2 sorted ones, with
which it is fastest; all are tested with their last weights, without averaging. `ours` learns by AdamW, as it does by default;
`ours_muon` by Muon.
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

SEEDS = (0, 1, 2)
OURS, PEERS = ("ours", "ours_muon"), ("part", "pet2")
NAMES = (*OURS, *PEERS)
GRIDS = {  # peak learning rates tried, of AdamW for ours, about the default, and for Particle Transformer, about its authors'
    "ours": (1e-3, 2e-3, 4e-3, 8e-3),
    "ours_muon": (1e-3, 2e-3, 4e-3, 8e-3),
    "part": (5e-4, 1e-3, 2e-3, 4e-3),
    "pet2": (1e-3, 2e-3, 4e-3, 8e-3),  # of Lion; with its authors' 5e-4 (arXiv:2510.24066) it learns less in so few steps
}
GRID_SEED = 100
JETS_SEED = 5
TIME_TARGETS = {"part": 0.5, "pet2": 0.25}  # of its time to Particle Transformer's last loss
LOOKS = 13  # at the loss of some test jets, in a training, from a quarter of it on
_LOOKED_AT = 1000
Contestant = Ours | peers.Part | peers.Pet2
Make = Callable[[int, peers.Schedule], Contestant]


@dataclass(frozen=True)
class Split:
    """Rows of the jets by use."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass
class Trained:
    """One finished training: its time, the loss of each step, and the probabilities of the jets it was tested on.

    looks: time until then and the loss of the first test jets, now and then; looking takes no time.
    """

    parameters: int
    seconds: float
    losses: list[float] = field(default_factory=list)
    looks: list[tuple[float, float]] = field(default_factory=list)
    probabilities_NC: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--steps", type=int, default=320)
    parser.add_argument("--grid-steps", type=int, default=64, help="steps of each training of the grid")
    parser.add_argument("--per-class", type=int, default=4000, help="jets of each class")
    parser.add_argument("--particles", type=int, default=128, help="leading particles of a jet that both see")
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    steps, grid_steps, seeds = (4, 2, (0, 1)) if args.tiny else (args.steps, args.grid_steps, SEEDS)
    cloud = sample.toy(600) if args.tiny else sample.simulated(sample.CLASSES_10, args.per_class, seed=JETS_SEED, mpi=False)
    jets = sample.Jets.of(cloud, args.particles)
    split = _split(len(jets))
    makes: dict[str, Make] = {
        "ours": lambda seed, schedule: Ours(jets, "xs", seed, schedule=schedule),
        "ours_muon": lambda seed, schedule: Ours(jets, "xs", seed, schedule=schedule.with_optimiser("muon")),
        "part": lambda seed, schedule: peers.Part(jets, "shipped", seed, dropout=0.0, size=peers.PART_SMALL, schedule=schedule),
        "pet2": lambda seed, schedule: peers.Pet2(jets, "sorted", seed, width=peers.PET2_SMALL, schedule=schedule),
    }
    grids = {name: GRIDS[name][: 1 if args.tiny else None] for name in NAMES}
    peaks, tried = choose_rates(makes, jets, split, grids, grid_steps)
    results = [train_together(makes, jets, split.train, split.test, peaks, steps, seed, looks=LOOKS) for seed in seeds]
    truth = jets.label_N[split.test]
    figures = summarise(results, truth)
    settings = {
        "jets": jets.describe(),
        "train_val_test": [len(split.train), len(split.val), len(split.test)],
        "steps": steps,
        "jets_per_step": peers.BATCH,
        "learning_rates": peaks,
        "at_the_edge_of_its_grid": [name for name, rate in peaks.items() if rate in (grids[name][0], grids[name][-1])],
        "grid": {"rates": grids, "steps": grid_steps, "seed": GRID_SEED, "validation_cross_entropy": tried},
        "environment": timing.ENVIRONMENT,
    }
    path = record.write("quality", figures, _targets(), settings=settings, seeds=seeds, tiny=args.tiny, folder=args.output)
    record.show(path)


def choose_rates(
    makes: Mapping[str, Make], jets: sample.Jets, split: Split, grids: Mapping[str, Sequence[float]], steps: int
) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The peak rate of each with the smallest validation cross-entropy, and all of these in the grid's order."""
    tried: dict[str, list[float]] = {name: [] for name in makes}
    for rates in zip(*grids.values(), strict=True):
        peaks = dict(zip(grids, rates, strict=True))
        for name, trained in train_together(makes, jets, split.train, split.val, peaks, steps, GRID_SEED).items():
            tried[name].append(cross_entropy(jets.label_N[split.val], trained.probabilities_NC).value)
        print(f"rates {peaks}: " + ", ".join(f"{n} {v[-1]:.4f}" for n, v in tried.items()), flush=True)
    return {name: grids[name][int(np.argmin(values))] for name, values in tried.items()}, tried


def train_together(
    makes: Mapping[str, Make],
    jets: sample.Jets,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    peaks: Mapping[str, float],
    steps: int,
    seed: int,
    *,
    looks: int = 0,
    block: int = 10,
) -> dict[str, Trained]:
    """Train all on the same jets in turns of `block` steps, each timed on its own; then their test probabilities."""
    looked = set(np.linspace(steps / 4, steps, looks).astype(int))
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
                if step + 1 in looked:
                    trained[name].looks.append((trained[name].seconds, _looked(models[name], jets, test[:_LOOKED_AT])))
    for name, model in models.items():
        trained[name].probabilities_NC = model.probabilities(test).astype(np.float64)
    shown = (
        f"{n} {t.seconds:.0f} s, test loss {cross_entropy(jets.label_N[test], t.probabilities_NC).value:.4f}"
        for n, t in trained.items()
    )
    print(f"seed {seed}, {steps} steps: " + "; ".join(shown), flush=True)
    return trained


def _looked(model: Contestant, jets: sample.Jets, rows: NDArray[np.int64]) -> float:
    return cross_entropy(jets.label_N[rows], model.probabilities(rows).astype(np.float64)).value


def summarise(results: Sequence[Mapping[str, Trained]], truth: NDArray[np.int64]) -> dict[str, record.Figure]:
    """All figures. `reached_<name>`: share of the seeds in which it comes to Particle Transformer's last loss; where it never
    does, its whole time stands for the time it takes, a lower limit.
    """
    figures, times = {}, dict[str, list[float]]()
    for name in NAMES:
        tested = [r[name].probabilities_NC for r in results]
        figures[f"cross_entropy_{name}"] = record.mean([cross_entropy(truth, p).value for p in tested], "nat")
        figures[f"accuracy_{name}"] = record.mean([accuracy(truth, p).value for p in tested])
        figures[f"auc_{name}"] = record.mean([macro_auc(truth, p) for p in tested])
        figures[f"parameters_{name}"] = record.exact(results[0][name].parameters)
        figures[f"seconds_{name}"] = record.mean([r[name].seconds for r in results], "s")
        reached = [seconds_to(r[name].looks, r["part"].looks[-1][1]) for r in results]
        times[name] = [r[name].seconds if t is None else t for t, r in zip(reached, results, strict=True)]
        figures[f"reached_{name}"] = record.mean([float(t is not None) for t in reached])
        figures[f"seconds_to_quality_{name}"] = record.mean(times[name], "s")
    for peer in PEERS:
        figures |= {f"{name}_{peer}": figure for name, figure in compared(results, truth, peer).items()}
        for name in OURS:
            shares = [ours / theirs for ours, theirs in zip(times[name], times[peer], strict=True)]
            figures[f"time_to_quality_{name}_over_{peer}"] = record.median(shares)
    return figures


def seconds_to(looks: Sequence[tuple[float, float]], loss: float) -> float | None:
    """The time from which on the loss was no larger, on a line between looks; None if it is in the end.

    >>> seconds_to([(5.0, 0.7), (10.0, 1.0), (20.0, 0.5)], 0.75)
    15.0
    """
    seconds, losses = np.array(looks).T
    above = np.flatnonzero(losses > loss)
    i = int(above[-1]) + 1 if len(above) else 0
    if i == len(losses):
        return None
    return float(seconds[0] if i == 0 else np.interp(-loss, -losses[i - 1 : i + 1], seconds[i - 1 : i + 1]))


def compared(results: Sequence[Mapping[str, Trained]], truth: NDArray[np.int64], peer: str) -> dict[str, record.Figure]:
    """Ours against a peer, seed by seed. The error of the loss joins the scatter of the seeds and that of the test jets."""
    difference_SN = np.stack([_loss(r["ours"], truth) - _loss(r[peer], truth) for r in results])
    per_seed = difference_SN.mean(axis=1)
    of_seeds = per_seed.std(ddof=1) / np.sqrt(len(per_seed))
    of_jets = difference_SN.mean(axis=0).std(ddof=1) / np.sqrt(len(truth))
    error, value = float(np.hypot(of_seeds, of_jets)), float(per_seed.mean())
    spread = (
        f"standard error: {of_seeds:.4f} from {len(per_seed)} seeds and {of_jets:.4f} from {len(truth)} test jets in quadrature"
    )
    return {
        "cross_entropy_ours_minus": record.Figure(
            value, value - error, value + error, spread, "nat", tuple(map(float, per_seed))
        ),
        "error_of_difference": record.exact(error, "nat"),
        "time_ours_over": record.median([r["ours"].seconds / r[peer].seconds for r in results]),
    }


def _targets() -> list[record.Target]:
    return [
        *(record.Target(f"cross_entropy_ours_minus_{peer}", "<=", f"error_of_difference_{peer}") for peer in PEERS),
        record.Target("reached_ours", ">=", 1.0),
        *(record.Target(f"time_to_quality_ours_over_{peer}", "<=", share) for peer, share in TIME_TARGETS.items()),
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
