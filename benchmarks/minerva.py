"""MINERvA's transfer study (arXiv:2604.12364): shipped weights against scratch, baselines, cuts, and PET-2 small if installed.

    python benchmarks/minerva.py [--tuples FILE ...]

The study is that of `cloudchamber benchmark minerva`; this adds PET-2 small and writes the record. Events are simulated
unless MasterAnaDev files are given. Test events come first, then those that choose the best step, then the pool of labels.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

import peers
import study
from cloudchamber.data.readers.minerva import PRONGS
from cloudchamber.events import MOMENTUM, Cloud, Label, kinematics
from cloudchamber.recipe import Optimisation
from cloudchamber.suites import minerva
from cloudchamber.suites import minerva_baselines as baselines

KINDS = (
    "is_muon",
    "is_photon",
    *PRONGS.values(),
    "is_cluster",
    "is_blob",
    "is_blob_sum",
    "is_prong_sum",
)  # PET-2's types 1 to 8
FLOOR = 1e-6  # GeV, below any deposit
PET2_SEEDS = 1  # it takes many times as long per step
PET2_RATE = 5e-4  # from scratch, as its authors train it on top jets (arXiv:2510.24066)
PET2_VALIDATIONS = 10


def main() -> None:
    parser = study.arguments(minerva.SUITE, __doc__)
    told = "seeds of PET-2 small at the most labels; 0: without it"
    parser.add_argument("--pet2-seeds", type=int, default=PET2_SEEDS, help=told)
    args = parser.parse_args()
    options = study.options(minerva.SUITE, args)
    assert isinstance(options, minerva.Options)
    there = bool(args.pet2_seeds and importlib.util.find_spec("omnilearned"))
    contestants = {"pet2": partial(pet2, options, options.seeds[: args.pet2_seeds])} if there else {}
    study.run(minerva.SUITE, args, options, partial(minerva.study, contestants=contestants), pet2=there)


@dataclass(frozen=True)
class Events:
    """What the peer reads: particles as OmniLearned's columns, the first of each event and the end, the pion class."""

    input_T9: NDArray[np.float32]
    offsets_N: NDArray[np.int64]
    label_N: NDArray[np.int64]
    label: Label


def pet2(options: minerva.Options, seeds: tuple[int, ...], sample: baselines.Sample, draw: baselines.Draw) -> baselines.Tables:
    """PET-2 small from scratch on the same events: as many steps of as many events, the softmax over the pion classes.

    Its own schedule, a cosine, from the rate its authors train from scratch with; the step of least validation loss is kept.
    """
    if draw.seed not in seeds or len(draw.train) < 0.9 * max(options.labels):
        return {}
    events = of_cloud(sample.cloud, options.max_particles)
    schedule = peers.Schedule(options.steps, PET2_RATE, Optimisation(warmup=0, final_rate=0))
    model = peers.Pet2(events, "sorted", draw.seed, columns=lambda e: e.input_T9, schedule=schedule)
    rng = np.random.default_rng(draw.seed)
    best, kept = np.inf, model.model.state_dict()
    for step in range(options.steps):
        model.train_step(rng.choice(draw.train, min(options.batch, len(draw.train)), replace=False), step)
        if (step + 1) % max(options.steps // PET2_VALIDATIONS, 1) == 0:
            own = model.probabilities(draw.val)[np.arange(len(draw.val)), events.label_N[draw.val]]
            if (loss := -np.log(np.maximum(own, 1e-9)).mean()) < best:
                best, kept = loss, {n: t.clone() for n, t in model.model.state_dict().items()}
    model.model.load_state_dict(kept)
    found = baselines.tables(sample, draw, model.probabilities(draw.test), np.zeros(len(draw.test)))
    return {name: table for name, table in found.items() if name != baselines.ENERGY}  # it learns none here


def of_cloud(cloud: Cloud, max_particles: int) -> Events:
    """The leading particles: eta, phi, log pT, log E, the kind of object, then x, y, z [m] and time [us]."""
    kept = kinematics.leading(cloud, max_particles)
    px, py, pz, energy = (kept.flat(n).astype(np.float64) for n in MOMENTUM)
    pt = np.maximum(np.hypot(px, py), FLOOR)
    there = [(kept.flat(k) == 1, code) for code, k in enumerate(KINDS, start=1) if k in cloud.schema.feature_names]
    kind = np.select([mask for mask, _ in there], [code for _, code in there])
    assert (kind > 0).all()
    place = [np.nan_to_num(kept.flat(n)) * 1e-3 for n in ("x", "y", "z", "time")]
    first = [np.arcsinh(pz / pt), np.arctan2(py, px), np.log(pt), np.log(np.maximum(energy, FLOOR))]
    offsets_N = np.concatenate([[0], np.cumsum(kept.counts)])
    pion = np.asarray(cloud.events[baselines.PION], dtype=np.int64)
    return Events(
        np.stack([*first, kind, *place], axis=1).astype(np.float32), offsets_N, pion, cloud.schema.label(baselines.PION)
    )


if __name__ == "__main__":
    main()
