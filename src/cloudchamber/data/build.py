"""Building a store: every job becomes a shard, made by whichever worker has the time and kept if the work is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from cloudchamber.data.store import Part, Store, write_part
from cloudchamber.data.unfinished import unfinished
from cloudchamber.events import Cloud
from cloudchamber.run import file_hash, write_json
from cloudchamber.workers import executor, in_order

AHEAD = 1000  # jobs handed out before the first is done: their results are small
Parents = list[dict[str, str]]  # name and SHA-256 of files


class Job(Protocol):
    """Enough for any process to make the same events."""

    @property
    def rows(self) -> int:
        """How many events it stands for."""
        ...


AnyJob = TypeVar("AnyJob", bound=Job)


class Made(BaseModel):
    """What became of a job. parents: every file whose first event it read."""

    part: Part
    parents: Parents


def build(
    out: Path,
    jobs: Sequence[AnyJob],
    make: Callable[[AnyJob], Cloud],
    *,
    asked: Mapping[str, Any],
    workers: int = 1,
    cluster: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write a store at `out` with the events of the jobs, in their order; the same to the last byte whoever does the work.

    make: the events of a job, a function that other processes can import. asked: what the jobs follow from, as JSON can hold
    it; it is recorded in the store. workers, cluster: see `workers.executor`. progress: called with (events done, in all).
    Killed or interrupted, the same call goes on from the finished shards; after any other failure nothing is left.
    Raises BadStore if `out` is there already or an unfinished store had other jobs.
    """
    out = Path(out) if cluster is None else Path(out).absolute()  # its workers may have started in another folder
    with unfinished(out) as work, executor(workers, cluster) as pool:
        folder = work.claim({**asked, "program": version("cloudchamber")})
        made = made_in_order(pool, folder, jobs, partial(_without_parents, make), progress)
        work.finish([one.part for one in made], asked)
    return Store.open(out)


def made_in_order(
    pool: Executor | None,
    folder: Path,
    jobs: Sequence[AnyJob],
    make: Callable[[AnyJob], tuple[Cloud, Parents]],
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Made]:
    """Make the shards of the jobs in the folder of an unfinished store; those that are there and whole are kept."""
    units = [_Unit(folder, number, job, make) for number, job in enumerate(jobs)]
    done, total = 0, sum(job.rows for job in jobs)
    for job, made in zip(jobs, in_order(pool, _made, units, ahead=AHEAD), strict=True):
        yield made
        done += job.rows
        if progress is not None:
            progress(done, total)


def _without_parents(make: Callable[[AnyJob], Cloud], job: AnyJob) -> tuple[Cloud, Parents]:
    return make(job), []


@dataclass(frozen=True)
class _Unit(Generic[AnyJob]):
    """A job, and where its shard (in `store`) and its record are kept; the record is written when the shard is complete."""

    folder: Path
    number: int
    job: AnyJob
    make: Callable[[AnyJob], tuple[Cloud, Parents]]

    @property
    def record(self) -> Path:
        return self.folder / f"unit-{self.number:05d}.json"


def _made(unit: _Unit[AnyJob]) -> Made:
    if (old := _finished(unit)) is not None:
        return old
    cloud, parents = unit.make(unit.job)
    made = Made(part=write_part(unit.folder / "store", unit.number, cloud), parents=parents)
    write_json(unit.record, made.model_dump(mode="json"))
    return made


def _finished(unit: _Unit[AnyJob]) -> Made | None:
    """What earlier, interrupted work made of this job; None if that is nothing, or not whole any more."""
    try:
        made = Made.model_validate_json(unit.record.read_bytes())
        shard = made.part.shard
        whole = shard is None or file_hash(unit.folder / "store" / shard.file) == shard.sha256
    except (FileNotFoundError, ValidationError):
        return None
    return made if whole else None
