"""Timing: one machine state for every contestant, interleaved repetitions, ratios with their spread."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping

# Equal for all, set before the process starts because the C library and OpenMP read them once. Without them large
# tensors go back to the kernel after every use, which costs the models with the largest tensors (the peers) most.
ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}


def settle(threads: int) -> None:
    """Start this program again with ENVIRONMENT and the number of threads, unless it runs so already."""
    wanted = {**ENVIRONMENT, "OMP_NUM_THREADS": str(threads)}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        sys.stdout.flush()
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})


def interleaved(
    contestants: Mapping[str, Callable[[int], int]], repetitions: int, report: Callable[[str], None] = print
) -> dict[str, list[float]]:
    """Jets per second of each contestant in each repetition.

    A contestant does the work of repetition 0, 1, ... and returns its number of jets. In a repetition they run one
    after the other, starting with another one each time, so that a slow minute of the machine hits all alike.
    """
    names = list(contestants)
    rates: dict[str, list[float]] = {name: [] for name in names}
    for repetition in range(repetitions):
        first = repetition % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            jets = contestants[name](repetition)
            rates[name].append(jets / (time.perf_counter() - start))
        report(f"repetition {repetition + 1}/{repetitions}: " + ", ".join(f"{n} {r[-1]:.1f}/s" for n, r in rates.items()))
    return rates


def ratios(over: list[float], under: list[float]) -> list[float]:
    """The ratio in each repetition.

    >>> ratios([8.0, 6.0], [2.0, 3.0])
    [4.0, 2.0]
    """
    return [a / b for a, b in zip(over, under, strict=True)]
