"""Generation: new jets of eight classes by flow matching, against simulated jets that were not trained on.

    python benchmarks/generation.py

Size xs learns nothing else. Distances of 1000 new jets from 1000 simulated ones, and for comparison those of as many other
simulated ones: Wasserstein distances of mass, multiplicity and tau21 in standard deviations, and JetNet's own FPD and KPD.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import objectives
import record
import timing
from cloudchamber import recipe as recipes
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import Cloud
from cloudchamber.train.fit import fit
from cloudchamber.train.network import save
from cloudchamber.train.rows import Rows

SEEDS = (0, 1, 2)
_STEPS, _BATCH, _RATE = 1500, 64, 2e-3
_BOUND = 0.2  # standard deviations


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    seeds = SEEDS[:1] if args.tiny else SEEDS
    jets = objectives.simulated_jets(args.tiny)
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, value in trained(jets, seed, args.tiny).items():
            found.setdefault(name, []).append(value)
        print(f"seed {seed}: " + ", ".join(f"{n} {v[-1]:.4f}" for n, v in found.items()), flush=True)
    path = record.write(
        "generation",
        {name: record.mean(values) for name, values in found.items()},
        [record.Target(f"w1_{name}_generated", "<=", _BOUND) for name in ("mass", "multiplicity", "tau21")],
        settings={
            "dataset": jets.schema.dataset,
            "steps": 4 if args.tiny else _STEPS,
            "batch": _BATCH,
            "learning_rate": _RATE,
            "environment": timing.ENVIRONMENT,
        },
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def trained(jets: Cloud, seed: int, tiny: bool) -> dict[str, float]:
    """The distances of one training, its loss at the first and the last validation, and its time."""
    data, rows = TrainingSet.from_cloud(jets, objectives.PARTICLES), objectives.folds(len(jets), seed)
    losses: list[float] = []
    made = recipes.make(
        {
            "size": "xs",
            "tasks": [{"task": "generate", "target": "label"}],
            "optimisation": {
                "steps": 4 if tiny else _STEPS,
                "batch": 16 if tiny else _BATCH,
                "learning_rate": _RATE,
                "ema": 0.99,
                "validations": 4,
                "checkpoints": 0,
            },
            "max_particles": objectives.PARTICLES,
            "seed": seed,
        }
    )
    few = Rows(rows.train, rows.val[:500], rows.test)
    fitted = fit(made, data, few, on_record=lambda _, __, r: losses.append(float(r["loss"])) if r["split"] == "val" else None)
    with TemporaryDirectory() as folder:
        save(fitted.network, Path(folder) / "weights", data={"dataset": jets.schema.dataset})
        found = objectives.generated(Path(folder) / "weights", jets, rows, seed, tiny)
    return found | {"loss_first": losses[0], "loss_last": losses[-1], "seconds": fitted.progress.seconds}


if __name__ == "__main__":
    main()
