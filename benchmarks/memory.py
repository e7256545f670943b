"""Memory of a training against what `cloudchamber doctor --fit` says: peak of a process that trains, and of one that does not.

    python benchmarks/memory.py

Each size trains in a process of its own on events of as many particles each, in micro-batches that shall fill the memory
given; a second process does everything but train. The difference of their peaks is compared with the count. Memory is
allocated as a user's is, so the C library's settings are not those of the other benchmarks.
"""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import torch

import jets as sample
import record
from cloudchamber.data.loader import Loader
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.train.cost import need
from cloudchamber.train.loop import Training, train
from cloudchamber.train.network import new_network

SIZES = ("xs", "s")
PARTICLES = 128
MEGABYTES = 1500
SMALL = (40, 500)  # particles and megabytes of the second comparison
STEPS = 2
BOUND = 0.2


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="memory that the micro-batches shall fill")
    parser.add_argument("--measure", nargs=5, help="print the peak of this process: size, particles, events, recompute, steps")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.measure:
        name, particles, events, recompute, steps = args.measure
        print(json.dumps(measure(name, int(particles), int(events), recompute == "1", int(steps))))
        return
    fills = [(PARTICLES, 150)] if args.tiny else [(PARTICLES, args.megabytes), SMALL]
    figures = {"one_particle_megabytes": record.exact(_beside_idle("xs", 1, 1, False, args.threads) / 2**20, "MB")}
    targets = []
    for (particles, megabytes), name, recompute in product(fills, SIZES[: 1 if args.tiny else None], (False, True)):
        label = name + ("_recompute" if recompute else "") + ("" if particles == PARTICLES else f"_{particles}_particles")
        counted = need(name, particles, recompute=recompute)
        events = counted.events(megabytes << 20)
        measured = _beside_idle(name, particles, events, recompute, args.threads)
        said = counted.fixed + int(events * counted.per_event)
        figures |= {
            f"{label}_events_that_fit": record.exact(events),
            f"{label}_megabytes_per_event_counted": record.exact(counted.per_event / 2**20, "MB"),
            f"{label}_megabytes_counted": record.exact(said / 2**20, "MB"),
            f"{label}_megabytes_measured": record.exact(measured / 2**20, "MB"),
            f"{label}_error": record.exact(abs(said / measured - 1)),
        }
        targets.append(record.Target(f"{label}_error", "<=", BOUND))
        print(f"{label}: {events} events, {said >> 20} MB counted, {measured >> 20} MB measured", flush=True)
    settings = {"particles_and_megabytes": fills, "steps": STEPS, "environment": {}}
    path = record.write("memory", figures, targets, settings=settings, seeds=[0], tiny=args.tiny, folder=args.output)
    record.show(path)


def measure(name: str, particles: int, events: int, recompute: bool, steps: int) -> int:
    """Peak [bytes] of this process, which trains a size on micro-batches of so many events, if `steps` is not 0."""
    cloud = sample.toy(events, counts_N=np.full(events, particles))
    data = TrainingSet.from_cloud(cloud)
    tasks = [TaskSpec(task="classify", target=sample.LABEL)]
    network = new_network(name, data, tasks, particles, torch.Generator().manual_seed(0))
    settings = Optimisation(batch=events, checkpoints=0, validations=1, max_tokens=events * particles, recompute=recompute)
    rows = np.arange(events)
    training = Training(data, Loader((rows,), events, 0), rows, settings, max(steps, 1), 1e-3, 0)
    if steps:
        train(network, training)
    # Not getrusage: its peak begins with that of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) << 10


def _beside_idle(name: str, particles: int, events: int, recompute: bool, threads: int = 1) -> int:
    """Bytes by which the peak of a process that trains is above that of one that does not."""
    idle, busy = (_in_own_process(name, particles, events, recompute, steps, threads) for steps in (0, STEPS))
    return busy - idle


def _in_own_process(name: str, particles: int, events: int, recompute: bool, steps: int, threads: int) -> int:
    case = [name, str(particles), str(events), str(int(recompute)), str(steps)]
    command = [sys.executable, __file__, "--threads", str(threads), "--measure", *case]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peak: int = json.loads(done.stdout)
    return peak


if __name__ == "__main__":
    main()
