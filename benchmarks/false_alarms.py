"""False alarms: how often a whole search, everything trained anew, claims a signal where there is none.

Two figures. Pipelines: fresh events, bank, features, three methods, a knob at three settings and their calibration, each time
from the start; the share of global p-values at or below 5 % and 1 %. Tail: pools whose features stay frozen, with so many toys
that three standard deviations can be counted. Events are Gaussian, half data and half reference: exchangeable, so a template's
error is not tested here (`sculpting` does).
"""

from __future__ import annotations

import numpy as np
from scipy import stats

import gaussians
import record
import timing
from cloudchamber.stats.pvalues import interval
from cloudchamber.workers import executor, in_order

PIPELINES, POOLS, TOYS = 2000, 8, 100_000
_LEVELS = (0.05, 0.01)
_ALPHA = 1.35e-3


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(1)
    pipelines, pools, toys = (20, 1, 2000) if args.tiny else (PIPELINES, POOLS, TOYS)
    jobs = [gaussians.Pipeline(seed, events=400) for seed in range(pipelines)]
    tails = [gaussians.Tail(seed, events=300, toys=toys) for seed in range(pools)]
    found, tail = [], []
    with executor(args.threads) as pool:
        for i, one in enumerate(in_order(pool, gaussians.run, jobs, ahead=4 * args.threads)):
            found.append(one)
            if i % 200 == 199:
                print(f"{i + 1} pipelines", flush=True)
        for one in in_order(pool, gaussians.false_alarms, tails, ahead=2 * args.threads):
            tail.append(one)
            print(f"{len(tail)} pools: {one}", flush=True)
    figures = {}
    p = np.array([(f.above + 1) / (f.toys + 1) for f in found])
    for level in _LEVELS:
        alarms = int((p <= level).sum())
        low, high = interval(alarms, len(p), 0.95)
        figures[f"rate_{level:g}"] = record.Figure(alarms / len(p), low, high, "exact 95 % interval")
        figures |= {f"rate_{level:g}_low": record.exact(low), f"rate_{level:g}_high": record.exact(high)}
        naive = sum(f.naive <= level for f in found)
        ends = (share / level for share in interval(naive, len(p), 0.95))
        figures[f"naive_{level:g}_over_nominal"] = record.Figure(naive / len(p) / level, *ends, "exact 95 % interval")
    randomised = [(f.above + f.uniform) / (f.toys + 1) for f in found]  # of ranks, so that it is continuous
    figures["flat_p"] = record.exact(float(stats.kstest(randomised, "uniform").pvalue))
    alarms, naive_alarms, total = (sum(column) for column in zip(*tail, strict=True))
    ratio = alarms / total / _ALPHA
    error = ratio * np.sqrt(1 / max(alarms, 1) + 1 / (_ALPHA * toys * pools))  # of the toys judged, and of those that judge
    figures["tail_over_nominal"] = record.Figure(ratio, ratio - error, ratio + error, "standard error of both samples of toys")
    figures["tail_naive_over_nominal"] = record.exact(naive_alarms / total / _ALPHA)
    figures["tail_toys"] = record.exact(total)
    path = record.write(
        "false_alarms",
        figures,
        [
            *(record.Target(f"rate_{level:g}_low", "<=", level) for level in _LEVELS),
            *(record.Target(f"rate_{level:g}_high", ">=", level) for level in _LEVELS),
            record.Target("flat_p", ">=", 0.01),
            record.Target("tail_over_nominal", ">=", 0.9),
            record.Target("tail_over_nominal", "<=", 1.1),
        ],
        settings={
            "pipelines": pipelines,
            "events": 400,
            "methods": gaussians.METHODS,
            "generality": gaussians.SETTINGS,
            "toys": gaussians.Pipeline.toys,
            "tail_pools": pools,
            "tail_events": 300,
            "alpha": _ALPHA,
        },
        seeds=[0, pipelines - 1],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


if __name__ == "__main__":
    main()
