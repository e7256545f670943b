"""Throughput of size s against OmniLearned's PET-2 small and Particle Transformer: full training steps, inference, same jets.

    python benchmarks/train_speed.py

A full step is: cut and pad the batch, forward, backward, clip, optimiser. Every contestant trains on the same 256
jets in a repetition, one after the other; the figure is the ratio in a repetition, its median and 16-84 % range. Inference
gives the class probabilities of these jets.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

import jets as sample
import peers
import record
import timing
from cloudchamber.train.loop import MAX_TOKENS
from ours import Ours

TARGETS = {"pet2_shipped": 10.0, "pet2_sorted": 3.5, "part_shipped": 4.0, "part_sorted_no_dropout": 1.8}
INFERRING = {"pet2_shipped": 8.0}  # the others without a target
MACRO_BATCH = 256
SEED = 0


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument(
        "--jets", choices=("simulated", "toy"), default="simulated", help="toy: no physics, no simulation needed"
    )
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    macro, repetitions = (16, 2) if args.tiny else (MACRO_BATCH, args.repetitions)
    toy = args.tiny or args.jets == "toy"
    classes = sample.CLASSES_10
    cloud = sample.toy(64 if args.tiny else 2560) if toy else sample.simulated(classes, 256, seed=SEED)
    jets = sample.Jets.of(cloud)
    contestants = build(jets)
    rows = np.random.default_rng(SEED).permutation(len(jets))
    work = {name: _work(c.train_step, rows, macro) for name, c in contestants.items()}
    for name, step in work.items():
        print(f"{name}: {contestants[name].parameters:,} parameters", flush=True)
        step(0)
    rates = timing.interleaved(work, repetitions)
    figures = {f"jets_per_second_{name}": record.median(r, "jets/s") for name, r in rates.items()}
    figures |= {f"ratio_to_{n}": record.median(timing.ratios(rates["ours"], r)) for n, r in rates.items() if n != "ours"}
    inferring = {n: _work(_inference(contestants[n]), rows, macro) for n in ("ours", *INFERRING, "pet2_sorted", "part_shipped")}
    inference = timing.interleaved(inferring, repetitions)
    figures |= {f"inferred_jets_per_second_{name}": record.median(r, "jets/s") for name, r in inference.items()}
    figures |= {
        f"inference_ratio_to_{n}": record.median(timing.ratios(inference["ours"], r))
        for n, r in inference.items()
        if n != "ours"
    }
    figures |= {f"parameters_{n}": record.exact(contestants[n].parameters) for n in ("ours", "pet2_shipped", "part_shipped")}
    targets = [record.Target(f"ratio_to_{name}", ">=", bound) for name, bound in TARGETS.items()]
    targets += [record.Target(f"inference_ratio_to_{name}", ">=", bound) for name, bound in INFERRING.items()]
    targets += [record.Target("parameters_ours", "<=", f"parameters_{name}_shipped") for name in ("pet2", "part")]
    settings = {
        "jets": jets.describe(),
        "jets_per_repetition": macro,
        "repetitions": repetitions,
        "ours_tokens_per_micro_batch": MAX_TOKENS["cpu"],
        "peers_tokens_per_micro_batch_when_sorted": peers.SORTED_TOKENS,
        "peers_jets_per_step_when_shipped": peers.BATCH,
        "tokens_per_batch_in_inference_when_sorted": peers.SCORED_TOKENS,
        "peers_jets_per_batch_in_inference_when_shipped": peers.EVALUATED,
        "environment": timing.ENVIRONMENT,
    }
    path = record.write("train_speed", figures, targets, settings=settings, seeds=[SEED], tiny=args.tiny, folder=args.output)
    record.show(path)


def build(jets: sample.Jets) -> dict[str, Ours | peers.Pet2 | peers.Part]:
    """Every contestant by name."""
    return {
        "ours": Ours(jets, "s", SEED, schedule=peers.PART_SCHEDULE),
        "pet2_shipped": peers.Pet2(jets, "shipped", SEED),
        "pet2_longest": peers.Pet2(jets, "longest", SEED),
        "pet2_sorted": peers.Pet2(jets, "sorted", SEED),
        "part_shipped": peers.Part(jets, "shipped", SEED),
        "part_sorted": peers.Part(jets, "sorted", SEED),
        "part_sorted_no_dropout": peers.Part(jets, "sorted", SEED, dropout=0.0),
    }


def _inference(contestant: Ours | peers.Pet2 | peers.Part) -> Callable[..., float]:
    return lambda rows, _: float(len(contestant.probabilities(rows)))


def _work(job: Callable[..., float], rows: np.ndarray, macro: int) -> Callable[[int], int]:
    def work(repetition: int) -> int:
        shares = max(len(rows) // macro, 1)
        first = (repetition % shares) * macro
        chosen = rows[first : first + macro]
        job(chosen, repetition)
        return len(chosen)

    return work


if __name__ == "__main__":
    main()
