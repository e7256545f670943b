"""Generation: new jets of eight classes by flow matching, against simulated jets that were not trained on.

    python benchmarks/generation.py

Size xs learns nothing else; then a student of it learns to do in one step what it does in four. Distances of 1000 new jets from
1000 simulated ones, and for comparison those of as many other simulated ones: Wasserstein distances of mass, multiplicity and
tau21 in standard deviations, and JetNet's own FPD and KPD.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import cloudchamber as cc
import dijets
import pretraining
import record
import timing
from cloudchamber import recipe as recipes
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import Cloud, kinematics
from cloudchamber.events.batch import pad
from cloudchamber.stats.objectives import distance
from cloudchamber.train.fit import fit
from cloudchamber.train.network import save
from cloudchamber.train.rows import Rows

SEEDS = (0, 1, 2)
_STEPS, _TAUGHT, _BATCH, _RATE = 1500, 200, 64, 2e-3
_MADE = 1000  # jets that are generated, and compared with as many others
_BOUND = 0.2  # standard deviations

Array = NDArray[Any]


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    seeds = SEEDS[:1] if args.tiny else SEEDS
    jets = pretraining.simulated_jets(args.tiny)
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for name, value in trained(jets, seed, args.tiny).items():
            found.setdefault(name, []).append(value)
        print(f"seed {seed}: " + ", ".join(f"{n} {v[-1]:.4f}" for n, v in found.items()), flush=True)
    path = record.write(
        "generation",
        {name: record.mean(values) for name, values in found.items()},
        [
            record.Target("w1_tau21_generated", "<=", _BOUND),
            record.Target("w1_tau21_one_step_distilled", "<=", "w1_tau21_one_step"),
            record.Target("loss_last", "<=", "loss_first"),
        ],
        settings={
            "dataset": jets.schema.dataset,
            "steps": 4 if args.tiny else _STEPS,
            "steps_of_the_student": 4 if args.tiny else _TAUGHT,
            "batch": 16 if args.tiny else _BATCH,
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
    data, rows = TrainingSet.from_cloud(jets, pretraining.PARTICLES), pretraining.folds(len(jets), seed)
    losses: list[float] = []
    few = Rows(rows.train, rows.val[:500], rows.test)
    task = {"task": "generate", "target": "label"}
    recipe = _recipe(task, _STEPS, seed, tiny) | {"size": "xs"}
    fitted = fit(
        recipes.make(recipe),
        data,
        few,
        on_record=lambda _, __, r: losses.append(float(r["loss"])) if r["split"] == "val" else None,
    )
    with TemporaryDirectory() as folder:
        teacher, student = Path(folder) / "teacher", Path(folder) / "student"
        save(fitted.network, teacher, data={"dataset": jets.schema.dataset})
        taught = task | {"kept": True, "options": {"teacher": str(teacher), "teacher_steps": 4, "steps": 1}}
        recipe = _recipe(taught, _TAUGHT, seed, tiny) | {"weights": str(teacher), "adapt": "full"}
        save(fit(recipes.make(recipe), data, few).network, student, data={"dataset": jets.schema.dataset})
        found = generated(teacher, jets, rows, seed, tiny)
        for name, weights in (("one_step", teacher), ("one_step_distilled", student)):
            of_one = generated(weights, jets, rows, seed, tiny, steps=1)
            found |= {n.replace("generated", name): v for n, v in of_one.items() if n.endswith("generated")}
    return found | {"loss_first": losses[0], "loss_last": losses[-1], "seconds": fitted.progress.seconds}


def _recipe(task: dict[str, Any], steps: int, seed: int, tiny: bool) -> dict[str, Any]:
    return {
        "tasks": [task],
        "optimisation": {
            "steps": 4 if tiny else steps,
            "batch": 16 if tiny else _BATCH,
            "learning_rate": _RATE,
            "backbone_factor": 1.0,
            "ema": 0.99,
            "validations": 4,
            "checkpoints": 0,
        },
        "max_particles": pretraining.PARTICLES,
        "seed": seed,
    }


def generated(weights: Path, jets: Cloud, rows: Rows, seed: int, tiny: bool, steps: int = 8) -> dict[str, float]:
    """Distances of new jets from simulated ones that were not trained on, and those of two halves of simulated ones."""
    number = 60 if tiny else _MADE
    held = kinematics.leading(jets[np.concatenate([rows.test, rows.val])][: 2 * number], pretraining.PARTICLES)
    made, half, other = cc.generate(weights, number, steps=steps, seed=seed), held[:number], held[number:]
    found = {}
    for what, cloud in (("generated", made), ("simulated", other)):
        columns = {
            "mass": (kinematics.invariant_mass(half), kinematics.invariant_mass(cloud)),
            "multiplicity": (half.counts, cloud.counts),
            "tau21": (dijets.tau21(half), dijets.tau21(cloud)),
        }
        found |= {f"w1_{name}_{what}": distance(*pair) for name, pair in columns.items()}
        found |= {f"{n}_{what}": v for n, v in jetnet_distances(half, cloud, tiny).items()}
    return found


def jetnet_distances(true: Cloud, other: Cloud, tiny: bool) -> dict[str, float]:
    """Fréchet and kernel physics distance (arXiv:2211.10295) by JetNet's own code. Fewer jets than it recommends."""
    if tiny:
        return {}
    from jetnet import evaluation

    features = [evaluation.get_fpd_kpd_jet_features(relative(cloud), efp_jobs=1) for cloud in (true, other)]
    fewest = len(features[0]) // 3
    fpd, _ = evaluation.fpd(*features, min_samples=fewest, max_samples=len(features[0]))
    kpd, _ = evaluation.kpd(*features, batch_size=fewest)
    return {"fpd": float(fpd), "kpd": float(kpd)}


def relative(cloud: Cloud) -> Array:
    """(N, P, 3) eta and phi from the jet's axis, as JetClass has them, and pT over the jet's; 0 where there is no particle."""
    about = kinematics.particle_features(cloud)
    flat_T3 = np.stack([about["deta"], about["dphi"], np.exp(about["log_pt_rel"])], axis=1)
    return pad(flat_T3, np.cumsum(cloud.counts) - cloud.counts, cloud.counts)[0]


if __name__ == "__main__":
    main()
