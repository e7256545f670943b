"""Streaming at scale: memory and speed from 10^5 to 10^9 events, quality of the shuffle, ranks, and resume.

    python benchmarks/stream.py

A training set of 10^9 events is a list of parts that repeats one part of 10^5 toy jets on disk: every event of it can be
drawn, the disk holds 10^5. Each size runs in a process of its own, which draws batches all over the set.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import jets as sample
import record
import timing
from cloudchamber.data import store
from cloudchamber.data.cache import cached
from cloudchamber.data.loader import Loader, make_batch
from cloudchamber.data.order import Shuffle
from cloudchamber.data.training_set import TrainingSet

SEED = 0
SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
BLOCKS = (1, 256)  # full shuffle, and blocks of neighbours for disks that seek
BATCH = 128


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--measure", type=int, help="measure one size in this process and print it as JSON")
    parser.add_argument("--part", type=int, default=100_000, help="jets on disk")
    parser.add_argument("--batches", type=int, default=3000, help="batches drawn from a set")
    args = parser.parse_args()
    if args.measure is not None:
        print(json.dumps(measure(args.measure, args.batches)))
        return
    timing.settle(args.threads)
    part, batches, sizes = (500, 20, (500, 5000)) if args.tiny else (args.part, args.batches, SIZES)
    with tempfile.TemporaryDirectory() as name:
        os.environ["CLOUDCHAMBER_CACHE"] = name
        store.write(Path(name) / "store", [sample.toy(part, seed=SEED)])
        os.environ["STREAM_STORE"] = f"{name}/store"
        cached([store.Store.open(Path(name) / "store")], 128)
        measured = {n: _in_own_process(n, batches) for n in sizes}
    least, most = sizes[0], sizes[-1]
    figures = {f"memory_{n}_events": record.exact(measured[n]["memory"], "MB") for n in sizes}
    figures |= {f"jets_per_second_{n}_events": record.exact(measured[n]["rate"], "jets/s") for n in sizes}
    memory = [m["memory"] for m in measured.values()]
    figures["memory_largest_over_smallest"] = record.exact(max(memory) / min(memory))
    figures["rate_ratio_largest_set_to_smallest"] = record.exact(measured[most]["rate"] / measured[least]["rate"])
    for block in BLOCKS:
        figures |= shuffle_quality(20_000 if args.tiny else 10**6, block)
    figures |= shared_by_ranks(5000 if args.tiny else 10**6)
    targets = [
        record.Target("memory_largest_over_smallest", "<=", 1.1),
        *(record.Target(f"largest_correlation_in_errors_block_{b}", "<=", 4.0) for b in BLOCKS),
        *(record.Target(f"class_runs_over_random_block_{b}", ">=", 0.98) for b in BLOCKS),
        record.Target("events_missed_or_doubled_by_two_ranks", "<=", 0.0),
        record.Target("events_that_differ_after_resume", "<=", 0.0),
    ]
    settings = {"jets_on_disk": part, "batches": batches, "batch": BATCH, "environment": timing.ENVIRONMENT}
    path = record.write("stream", figures, targets, settings=settings, seeds=[SEED], tiny=args.tiny, folder=args.output)
    record.show(path)


def measure(n: int, batches: int) -> dict[str, float]:
    """Peak memory of this process [MB] and jets/s while it draws batches at ten places all over a set of n events.

    The part on disk is read through first, so that all sizes have the same file pages in memory.
    """
    data = cached([store.Store.open(Path(os.environ["STREAM_STORE"]))], 128)
    for part in data.parts:
        part.particles_TF.sum()
    width = max(int(p.events_N["count"].max()) for p in data.parts)
    repeated = TrainingSet([p for _ in range(-(-n // len(data))) for p in data.parts])
    loader = Loader((range(n),), BATCH, SEED)
    places = np.linspace(0, max(n // BATCH - batches // 10, 0), 10).astype(int)
    steps = np.add.outer(places, np.arange(batches // 10)).reshape(-1)
    start = time.perf_counter()
    for step in steps.tolist():
        make_batch(repeated, loader.rows_of(step), width)
    seconds = time.perf_counter() - start
    # Not getrusage: its peak begins with that of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"memory": int(peak.split()[1]) / 1024, "rate": len(steps) * BATCH / seconds}


def shuffle_quality(n: int, block: int) -> dict[str, record.Figure]:
    """How random the order of n events is that lie class by class in ten classes.

    The correlation of an event's places in two epochs, and of its place with that on disk, in units of the error that
    independent places would have; and the number of runs of one class over that of random order.
    """
    shuffle = Shuffle(n, SEED, block)
    orders = [shuffle.at(e * n, (e + 1) * n) for e in range(3)]
    places = [np.arange(n), *(np.argsort(order) for order in orders)]
    correlations = np.corrcoef(places)[np.triu_indices(4, 1)]
    class_N = np.sort(np.arange(n) % 10)
    runs = [1 + np.count_nonzero(np.diff(class_N[order])) for order in orders]
    expected = 1 + (n - 1) * (1 - sum((c / n) * ((c - 1) / (n - 1)) for c in np.bincount(class_N)))
    largest = float(np.abs(correlations).max())
    return {
        f"largest_correlation_block_{block}": record.exact(largest),
        f"largest_correlation_in_errors_block_{block}": record.exact(largest * np.sqrt(n / block)),
        f"class_runs_over_random_block_{block}": record.mean([r / expected for r in runs]),
    }


def shared_by_ranks(n: int) -> dict[str, record.Figure]:
    """Two ranks over one epoch, and a third process that begins in its middle."""
    ranks = [Loader((range(n),), BATCH, SEED, rank=r, ranks=2) for r in range(2)]
    steps = n // BATCH
    seen = [np.concatenate([loader.rows_of(step) for step in range(steps)]) for loader in ranks]
    counts = np.bincount(np.concatenate(seen), minlength=n)
    left = n - steps * BATCH  # events of this epoch in the step that the next epoch begins in
    missed = abs(int((counts == 0).sum()) - left) + int((counts > 1).sum())
    later = np.concatenate([Loader((range(n),), BATCH, SEED, ranks=2).rows_of(step) for step in range(steps // 2, steps)])
    differs = int((later != seen[0][-len(later) :]).sum())
    return {
        "events_missed_or_doubled_by_two_ranks": record.exact(missed),
        "events_that_differ_after_resume": record.exact(differs),
    }


def _in_own_process(n: int, batches: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--measure", str(n), "--batches", str(batches)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    measured: dict[str, float] = json.loads(done.stdout)
    print(f"{n:>13,} events: {measured['memory']:.0f} MB, {measured['rate']:,.0f} jets/s", flush=True)
    return measured


if __name__ == "__main__":
    main()
