"""Sculpting: a sample without a signal whose features drift with mass, where a naive search claims one and ours must not.

Each run has new events of a falling spectrum. The naive search trains a classifier of a mass window against its sidebands,
cuts where 10 % of the sideband events of the other half are left, and counts. Ours is the whole search: closure in windows
without a signal, a template with its variance, two methods trained anew in every pseudo-experiment, a global p-value. Some runs
have a signal, to show that what does not cry wolf still sees one.
"""

from __future__ import annotations

import numpy as np

import record
import timing
import trap
from cloudchamber.stats.pvalues import interval
from cloudchamber.workers import executor, in_order

RUNS, SIGNAL_RUNS, EVENTS, TOYS, SIGNAL = 200, 10, 4000, 512, 50


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(1)
    runs, signal_runs, events, toys = (3, 2, 3000, 512) if args.tiny else (RUNS, SIGNAL_RUNS, EVENTS, TOYS)
    jobs = [trap.Job(seed, events, toys) for seed in range(runs)]
    jobs += [trap.Job(runs + seed, events, toys, signal=SIGNAL) for seed in range(signal_runs)]
    found: list[trap.Found] = []
    with executor(args.threads) as pool:
        for one in in_order(pool, trap.run, jobs, ahead=2 * args.threads):
            found.append(one)
            if len(found) % 20 == 0:
                print(f"{len(found)} of {len(jobs)} runs", flush=True)
    background, signal = found[:runs], found[runs:]
    below = sum(f.z < 2 for f in background)
    low, high = interval(below, runs, 0.95)
    open_runs = sum(f.closure_p < trap.CLOSURE_ALPHA for f in background)
    figures = {
        "naive_z": record.median([f.naive_z for f in background]),
        "below_two_sigma": record.Figure(below / runs, low, high, "exact 95 % interval"),
        "z": record.median([f.z for f in background]),
        "not_closed": record.Figure(open_runs / runs, *interval(open_runs, runs, 0.95), "exact 95 % interval"),
        "inflation": record.median([f.inflation for f in background]),
        "z_with_signal": record.median([f.z for f in signal]),
        "naive_z_with_signal": record.median([f.naive_z for f in signal]),
    }
    path = record.write(
        "sculpting",
        figures,
        [record.Target("naive_z", ">=", 5.0), record.Target("below_two_sigma", ">=", 0.977)],
        settings={
            "events": events,
            "window": list(trap.WINDOW),
            "range": list(trap.LIMITS),
            "degrees": list(trap.DEGREES),
            "methods": list(trap.METHODS),
            "naive_cut": trap.SHARE,
            "toys": toys,
            "largest_z": max(f.z for f in background),
            "share_naive_above_five": float(np.mean([f.naive_z >= 5 for f in background])),
            "signal": SIGNAL,
        },
        seeds=[0, runs + signal_runs - 1],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


if __name__ == "__main__":
    main()
