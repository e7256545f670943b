"""Fuzzing: damaged files of every container give the same events, other values or one clean error, and nothing else.

    python benchmarks/fuzz.py

Every mutation is read whole through `cloudchamber.data.read` in a worker process with a time limit and a limit on its
address space, so that a crash, a hang and a demand for memory are told apart. A new container is a line in
small_files.py. A mutation is a function of the container's name and its number, its seed; the result lists those that failed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import select
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

import record
from cloudchamber import data
from cloudchamber.errors import CloudchamberError
from damage import damaged, kind_of
from small_files import CONTAINERS

GOOD = ("same events", "changed values", "more events", "told", "clean error")  # told: read, with a warning
BAD = ("fewer events", "foreign exception", "crash", "hang", "memory")
MUTATIONS = 2000
LIMIT_S = 10.0
START_S = 60.0  # that a worker may take for its imports
LIMIT_BYTES = 1 << 30  # that a worker may take beyond what it has when it starts to read
_LIFE = 250  # mutations read by one worker: what leaks in one cannot fail many
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "CLOUDCHAMBER_MAX_GB": "0.5"}


@dataclass(frozen=True)
class Outcome:
    """What became of one mutation. seconds: of reading it. detail: the error, in one line."""

    number: int
    kind: str
    outcome: str
    seconds: float
    detail: str = ""


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--mutations", type=int, default=MUTATIONS)
    parser.add_argument("--containers", nargs="+", default=list(CONTAINERS), choices=list(CONTAINERS))
    parser.add_argument("--worker", nargs=2, metavar=("CONTAINER", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        work(args.worker[0], Path(args.worker[1]))
        return
    n = 45 if args.tiny else args.mutations
    results = {container: list(outcomes(container, range(n))) for container in args.containers}
    path = record.write(
        "fuzz",
        figures(results),
        [record.Target(_name(outcome), "<=", 0) for outcome in BAD],
        settings={
            "mutations": n,
            "containers": {c: small_file(c) for c in args.containers},
            "seconds_limit": LIMIT_S,
            "memory_limit_gb": LIMIT_BYTES / 1e9,
            "announced_limit_gb": float(_ENVIRONMENT["CLOUDCHAMBER_MAX_GB"]),
            "not detected or failed": [  # the seed of each: container, number of the mutation
                [c, o.number, o.kind, o.outcome, o.detail] for c, rows in results.items() for o in rows if _odd(o)
            ],
        },
        seeds=[0],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def outcomes(container: str, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Every mutation of a container's small file, read by workers. A demand for memory counts if a fresh worker has it too."""
    todo = list(numbers)
    while todo:
        for outcome in run_until_end(container, todo[:_LIFE]):
            todo.remove(outcome.number)
            again = outcome.outcome == "memory"
            yield next(run_until_end(container, [outcome.number])) if again else outcome


def figures(results: dict[str, list[Outcome]]) -> dict[str, record.Figure]:
    """Counts of every outcome, over all containers and for each, and the time that a read takes."""
    every = [o for rows in results.values() for o in rows]
    found = {_name(name): record.exact(Counter(o.outcome for o in every)[name]) for name in (*GOOD, *BAD)}
    for container, rows in results.items():
        counts = Counter(o.outcome for o in rows)
        found |= {f"{container}: {name}": record.exact(counts[name]) for name in (*GOOD, *BAD)}
        low, middle, high = np.percentile([o.seconds for o in rows], (16, 50, 84))
        found[f"{container}: seconds"] = record.Figure(middle, low, high, "16-84 % of the mutations", "s")
    found["seconds, slowest"] = record.exact(max(o.seconds for o in every), "s")
    return found


def small_file(container: str) -> dict[str, Any]:
    """Size and hash of the file that is damaged: a mutation is the same only if these are."""
    with tempfile.TemporaryDirectory() as folder:
        content = CONTAINERS[container](Path(folder)).read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def work(container: str, folder: Path) -> None:
    """A worker: reads numbers of mutations from its input, writes one line of JSON for each."""
    file = CONTAINERS[container](folder)
    content, expected = file.read_bytes(), fingerprint(file)
    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + LIMIT_BYTES, -1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        kind, spoilt = damaged(content, container, int(line))
        file.write_bytes(spoilt)
        start = time.perf_counter()
        outcome, detail = judge(file, expected)
        print(json.dumps([int(line), kind, outcome, time.perf_counter() - start, detail]), flush=True)


def judge(file: Path, expected: tuple[int, str]) -> tuple[str, str]:
    """The outcome of reading a file in this process, and the error's words."""
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            got = fingerprint(file)
    except CloudchamberError as error:
        words = f"{type(error).__name__}: {error}"
        if isinstance(error.__cause__, MemoryError):
            return "memory", words
        return ("clean error", "") if file.name in words else ("foreign exception", words)
    except MemoryError as error:
        return "memory", repr(error)
    except Exception as error:
        return "foreign exception", f"{type(error).__name__}: {error}"
    if got == expected:
        return "same events", ""
    if any(file.name in str(warning.message) for warning in told):
        return "told", ""
    if got[0] != expected[0]:
        return "fewer events" if got[0] < expected[0] else "more events", f"{got[0]} events, expected {expected[0]}"
    return "changed values", ""


def fingerprint(file: Path) -> tuple[int, str]:
    """Number of events of a file, and a hash of all that `read` gives."""
    cloud = data.read(file)
    digest = hashlib.sha256(cloud.schema.model_dump_json().encode() + cloud.counts.tobytes())
    for values in (*(cloud.flat(n) for n in cloud.particles.fields), *cloud.events.values()):
        digest.update(values.tobytes())
    return len(cloud), digest.hexdigest()


def run_until_end(container: str, numbers: list[int]) -> Iterator[Outcome]:
    """The outcomes of some mutations up to the first that ends the worker."""
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryDirectory() as folder:
        worker = subprocess.Popen(
            [sys.executable, "-W", "ignore", __file__, "--worker", container, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        assert worker.stdin is not None
        assert worker.stdout is not None
        try:
            for i, number in enumerate(numbers):
                worker.stdin.write(f"{number}\n")
                worker.stdin.flush()
                start, wait = time.perf_counter(), LIMIT_S + (START_S if i == 0 else 0)  # the first waits for the imports
                ready = select.select([worker.stdout], [], [], wait)[0]
                line = worker.stdout.readline() if ready else ""
                if not line:
                    yield _ended(worker, errors, number, hung=not ready, seconds=time.perf_counter() - start)
                    return
                outcome = Outcome(*json.loads(line))
                yield outcome
                if outcome.outcome == "memory":
                    return
        finally:
            worker.kill()
            worker.wait()
            worker.stdin.close()
            worker.stdout.close()


def _ended(worker: subprocess.Popen[str], errors: Any, number: int, *, hung: bool, seconds: float) -> Outcome:
    """The outcome of a mutation that the worker did not survive."""
    kind = kind_of(number)
    if hung:
        return Outcome(number, kind, "hang", seconds)
    code = worker.wait()
    errors.seek(0)
    words = errors.read().decode(errors="replace").strip()[-300:]
    return Outcome(number, kind, "memory" if "bad_alloc" in words else "crash", seconds, f"exit {code}: {words}")


def _odd(outcome: Outcome) -> bool:
    return outcome.outcome in (*BAD, "more events")


def _name(outcome: str) -> str:
    return f"all: {outcome}"


if __name__ == "__main__":
    main()
