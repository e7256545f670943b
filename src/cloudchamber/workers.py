"""Workers: the same jobs in this process, in processes of this machine, or on a dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.synchronize import Event
from types import ModuleType
from typing import TypeVar

from cloudchamber.errors import BadInput, CloudchamberError, WorkerDied, missing_extra

Job = TypeVar("Job")
Result = TypeVar("Result")
LOCAL = "local"  # the cluster that is made for the work, of processes of this machine
_stop: Event | None = None  # of a worker process: set when the parent wants no more


@contextmanager
def executor(workers: int = 1, cluster: str | None = None) -> Iterator[Executor | None]:
    """What runs the jobs of `in_order`: None for this process, else `workers` processes or a dask cluster.

    cluster: the address of a dask scheduler, as tcp://host:8786, or "local" for one of `workers` processes; its
    workers need this package and the same file system. On the way out jobs that wait are dropped and running ones end.
    Raises BadInput if workers < 1 or no scheduler answers, MissingExtra without dask, WorkerDied if a worker is killed.
    """
    if workers < 1:
        raise BadInput(f"workers must be at least 1, got {workers}")
    if cluster is not None:
        with _dask(workers, cluster) as pool:
            yield pool
    elif workers == 1:
        yield None
    else:
        with _processes(workers) as pool:
            yield pool


def in_order(pool: Executor | None, function: Callable[[Job], Result], jobs: Iterable[Job], *, ahead: int) -> Iterator[Result]:
    """The function of every job, in the order of the jobs; at most `ahead` of them are started before they are asked for.

    For other processes, function and jobs must be importable by name and picklable. Raises what the function raises.
    """
    if pool is None:
        yield from map(function, jobs)
        return
    waiting: deque[Future[Result]] = deque()
    for job in jobs:
        with _no_script():
            waiting.append(pool.submit(function, job))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def check_stop() -> None:
    """To be called now and then by a long job: ends it if nobody waits for its result any more."""
    if _stop is not None and _stop.is_set():
        raise CloudchamberError("the work was stopped")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _processes(workers: int) -> Iterator[Executor]:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(stop,))
    try:
        yield pool
    except BrokenProcessPool as error:
        raise WorkerDied("a worker died: killed, or out of memory. Give fewer workers.") from error
    finally:
        stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _dask(workers: int, cluster: str) -> Iterator[Executor]:
    try:
        from distributed import Client, KilledWorker, LocalCluster
        from distributed.comm.core import CommClosedError
    except ImportError as error:
        raise missing_extra("distributed", "cluster", "working on a cluster") from error
    with _no_script():
        try:
            local = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) if cluster == LOCAL else None
            client = Client(cluster if local is None else local)
        except (OSError, ValueError) as error:  # ValueError: the address is none
            raise BadInput(f"no dask scheduler answers at {cluster!r} ({error}). Give its address, or {LOCAL!r}.") from error
    try:
        yield client.get_executor(pure=False)
    except (KilledWorker, CommClosedError, CancelledError) as error:  # the last two: the scheduler is gone
        raise WorkerDied(f"the cluster lost its workers: killed, or out of memory ({error})") from error
    finally:
        client.close()
        if local is not None:
            local.close()


@contextmanager
def _no_script() -> Iterator[None]:
    """Hide the user's script from new workers: they need nothing of it, and would run it once more."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def _start_worker(stop: Event) -> None:
    global _stop  # noqa: PLW0603  # the one state of a worker process
    _stop = stop
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent.sentinel,), daemon=True).start()


def _follow(sentinel: int) -> None:
    """End this worker with its parent: a killed parent cannot stop it."""
    wait([sentinel])
    os._exit(1)
