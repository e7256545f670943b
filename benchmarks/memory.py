"""Memory of a training against what `cloudchamber doctor --fit` says: peak of a process that trains, and of one that does not.

    python benchmarks/memory.py

Each size trains in a process of its own on events of as many particles each, in micro-batches that shall fill the memory
given; a second process does everything but train. The difference of their peaks is compared with the count.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

import jets as sample
import record
import timing
from cloudchamber.data.loader import Loader
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.train.cost import need
from cloudchamber.train.loop import VALIDATION_TOKENS, Training, train
from cloudchamber.train.network import new_network

SIZES = ("xs", "s")
PARTICLES = 128
MEGABYTES = 1500
STEPS = 2
BOUND = 0.2


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="memory that the micro-batches shall fill")
    parser.add_argument("--measure", nargs=4, help="train in this process and print its peak: size, events, recompute, steps")
    args = parser.parse_args()
    if args.measure:
        name, events, recompute, steps = args.measure
        print(json.dumps(measure(name, int(events), recompute == "1", int(steps))))
        return
    timing.settle(args.threads)
    megabytes = 150 if args.tiny else args.megabytes
    figures: dict[str, record.Figure] = {}
    targets = []
    for name in SIZES[: 1 if args.tiny else None]:
        for recompute in (False, True):
            label = f"{name}_recompute" if recompute else name
            counted = need(name, PARTICLES, recompute=recompute)
            events = counted.events(megabytes << 20)
            idle, busy = (_in_own_process(name, events, recompute, steps) for steps in (0, STEPS))
            said = counted.fixed + int(events * counted.per_event)
            figures |= {
                f"{label}_events_that_fit": record.exact(events),
                f"{label}_megabytes_per_event_counted": record.exact(counted.per_event / 2**20, "MB"),
                f"{label}_megabytes_per_event_measured": record.exact((busy - idle) / events / 2**20, "MB"),
                f"{label}_megabytes_counted": record.exact(said / 2**20, "MB"),
                f"{label}_megabytes_measured": record.exact((busy - idle) / 2**20, "MB"),
                f"{label}_error": record.exact(abs(said / (busy - idle) - 1)),
            }
            targets.append(record.Target(f"{label}_error", "<=", BOUND))
            print(f"{label}: {events} events, {said >> 20} MB counted, {(busy - idle) >> 20} MB measured", flush=True)
    settings = {"particles": PARTICLES, "megabytes": megabytes, "steps": STEPS}
    path = record.write("memory", figures, targets, settings=settings, seeds=[0], tiny=args.tiny, folder=args.output)
    record.show(path)


def measure(name: str, events: int, recompute: bool, steps: int) -> int:
    """Peak [bytes] of this process, which trains a size on micro-batches of so many events, if `steps` is not 0."""
    cloud = sample.toy(events, counts_N=np.full(events, PARTICLES))
    data = TrainingSet.from_cloud(cloud)
    tasks = [TaskSpec(task="classify", target=sample.LABEL)]
    network = new_network(name, data, tasks, PARTICLES, torch.Generator().manual_seed(0))
    settings = Optimisation(batch=events, checkpoints=0, validations=1, max_tokens=events * PARTICLES, recompute=recompute)
    rows = np.arange(events)
    # As many events to validate on as one of its batches takes.
    training = Training(data, Loader((rows,), events, 0), np.tile(rows, VALIDATION_TOKENS), settings, max(steps, 1), 1e-3, 0)
    if steps:
        train(network, training)
    # Not getrusage: its peak begins with that of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) << 10


def _in_own_process(name: str, events: int, recompute: bool, steps: int) -> int:
    command = [sys.executable, __file__, "--measure", name, str(events), str(int(recompute)), str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak: int = json.loads(done.stdout)
    return peak


if __name__ == "__main__":
    main()
