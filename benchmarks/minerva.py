"""MINERvA's transfer study (arXiv:2604.12364): shipped weights against scratch, baselines, cuts, and PET-2 small if installed.

    python benchmarks/minerva.py [--tuples FILE ...]

The study is that of `cloudchamber benchmark minerva`; this adds PET-2 small and writes the record. Events are simulated
unless MasterAnaDev files are given. Test events come first, then those that choose the best step, then the pool of labels.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import peers
import record
import timing
from cloudchamber.data.readers.minerva import PRONGS
from cloudchamber.events import MOMENTUM, Cloud, Label, kinematics
from cloudchamber.suites import base, minerva
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


def main(suite: base.Suite = minerva.SUITE, about: str | None = __doc__) -> None:
    """Any suite as a record."""
    parser = record.arguments(about)
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the study, e.g. steps=500"
    )
    if issubclass(suite.settings, minerva.Options):
        told = "MasterAnaDev files in place of simulated events"
        parser.add_argument("--tuples", type=Path, nargs="+", default=[], help=told)
    if suite is minerva.SUITE:
        told = "seeds of PET-2 small at the most labels; 0: without it"
        parser.add_argument("--pet2-seeds", type=int, default=PET2_SEEDS, help=told)
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    given = {"tuples": tuple(map(str, args.tuples))} if getattr(args, "tuples", None) else {}
    options = base.settings(suite, args.set, given, tiny=args.tiny)
    run, settings = suite.run, options.model_dump(mode="json")
    if suite is minerva.SUITE:
        assert isinstance(options, minerva.Options)
        settings["pet2"] = bool(args.pet2_seeds and importlib.util.find_spec("omnilearned"))
        contestants = {"pet2": partial(pet2, options, options.seeds[: args.pet2_seeds])} if settings["pet2"] else {}
        run = partial(minerva.study, contestants=contestants)
    found = run(options, lambda line: print(line, flush=True))
    path = record.write(
        suite.name,
        {name: figure(name, estimates) for name, estimates in found.figures.items()},
        [record.Target(t.figure, t.relation, t.bound) for t in found.targets],
        settings={**settings, "data": dict(found.data)},
        seeds=settings["seeds"],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def figure(name: str, estimates: tuple[base.Estimate, ...]) -> record.Figure:
    """The mean over seeds; its error joins their scatter and that of the test events. In bins without the seeds' own values."""
    whole = base.mean(estimates)
    spread = f"{len(estimates)} seeds and the test events, one standard error"
    if name.startswith("gain_"):
        spread = "the seeds' scatter, for these test events, one standard error"
    binned = any(part.isdigit() for part in name.split("_")[:-1])
    values = tuple(e.value for e in estimates) if len(estimates) > 1 and not binned else ()
    return record.Figure(whole.value, whole.value - whole.error, whole.value + whole.error, spread, "1", values)


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
    model = peers.Pet2(events, "sorted", draw.seed, columns=lambda e: e.input_T9)
    rng = np.random.default_rng(draw.seed)
    best, kept = np.inf, model.model.state_dict()
    for step in range(options.steps):
        for group in model.optimiser.param_groups:
            group["lr"] = PET2_RATE * 0.5 * (1 + np.cos(np.pi * step / options.steps))
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
