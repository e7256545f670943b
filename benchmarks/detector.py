"""Detector: efficiencies and resolutions measured back from single particles against each card, and speed.

    python benchmarks/detector.py

The comparison is that of `cloudchamber simulate --validate`. Speed is that of the detector on whole dijet events from
Pythia, on one core.
"""

from __future__ import annotations

from functools import partial

import numpy as np

import record
import timing
from cloudchamber.simulate import load_scenario
from cloudchamber.simulate.card import Card, load, shipped
from cloudchamber.simulate.detector import detect
from cloudchamber.simulate.pythia import Run
from cloudchamber.validation import detector
from cloudchamber.validation.detector import SEED

EVENTS_PER_SECOND = 2000


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(1)
    n = 40_000 if args.tiny else 1_500_000
    pulls = detector.measured_back(n)
    found = detector.comparison(pulls)
    rates = speed(1 if args.tiny else 8, 2 if args.tiny else 9)
    figures = found.figures | {f"events_per_second_{name}": record.median(r, "1/s") for name, r in rates.items()}
    targets = [
        *found.targets,
        *(record.Target(f"events_per_second_{name}", ">=", float(EVENTS_PER_SECOND)) for name in shipped()),
    ]
    settings = {
        "particles of each species and card": n,
        "cells": {"pt_gev": list(detector.PT_EDGES), "abs_eta": list(detector.ETA_EDGES)},
        "p_values": pulls.p_values(),
        "events": "QCD dijets, pT hat 425-1300 GeV, MPI on; detector alone, one core",
        "environment": timing.ENVIRONMENT,
    }
    path = record.write("detector", figures, targets, settings=settings, seeds=[SEED], tiny=args.tiny, folder=args.output)
    record.show(path)


def speed(batches: int, repetitions: int) -> dict[str, list[float]]:
    """Events per second of the detector by card and repetition, on dijet events that are made before."""
    jetclass = load_scenario("jetclass")
    pythia = Run(jetclass, jetclass.classes["QCD"], SEED)
    events = [pythia.record() for _ in range(batches)]

    def run(card: Card, repetition: int) -> int:
        rng = np.random.default_rng([SEED, repetition])
        for batch in events:
            detect(batch.stable, card, rng)
        return sum(batch.n_events for batch in events)

    return timing.interleaved({name: partial(run, load(name)) for name in shipped()}, repetitions)


if __name__ == "__main__":
    main()
