"""Converting: files of any known format become a store, one shard at a time, by whichever worker has the time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from cloudchamber.data.build import AHEAD, Made, Parents, made_in_order
from cloudchamber.data.reading import Files, opened, paths_of
from cloudchamber.data.store import SHARD_EVENTS, Store
from cloudchamber.data.unfinished import unfinished
from cloudchamber.errors import BadFile, BadInput, BadSchema, BadStore
from cloudchamber.events import Cloud, Schema, concatenate
from cloudchamber.events.clustering import leading_jets as cluster_leading
from cloudchamber.run import file_hash
from cloudchamber.workers import check_stop, executor, in_order

BLOCK_EVENTS = 20_000  # events that are read at once, so that a file's arrays and their cloud are both small
RADIUS = 1.0  # of the anti-kt jets that leading_jets keeps; the LHC Olympics' choice (arXiv:2101.08320)
Range = tuple[int, int, int]  # the number of a file, and of its first event and the one after its last


def convert(
    files: Files,
    out: Path,
    *,
    card: Path | str | None = None,
    leading_jets: int | None = None,
    max_events: int | None = None,
    workers: int = 1,
    cluster: str | None = None,
    quarantine: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Store:
    """Write a store at `out` with the events of some files (or stores), in their order.

    card: as for `read`. leading_jets: cluster whole events and keep the constituents of this many leading jets.
    max_events: stop after so many events of the files. workers, cluster: who does the work, see `workers.executor`;
    the store is the same to the last byte. quarantine: read every file once before, and leave out as a whole those that
    fail; the manifest's provenance names them. progress: called with (events done, events in all).

    A conversion that is killed or interrupted leaves its finished shards in `.NAME.partial` beside `out`; the same call
    goes on from there. After any other failure nothing is left.
    Raises what `read` raises, BadSchema if two files cannot share a store, BadFile if a file changes meanwhile or all of
    them are bad, and BadStore if `out` is there already or an unfinished conversion had other files or options.
    """
    if max_events is not None and max_events < 1:
        raise BadInput(f"max_events must be at least 1, got {max_events}")
    paths, out = paths_of(files), Path(out)
    card_file = Path(card) if card is not None and Path(card).is_file() else None
    if cluster is not None:  # its workers may have started in another folder
        paths, card, out = [p.absolute() for p in paths], card_file.absolute() if card_file else card, out.absolute()
    options = {"card": None if card is None else Path(card).name, "leading_jets": leading_jets, "max_events": max_events}
    card_parent = [{"name": card_file.name, "sha256": file_hash(card_file)}] if card_file else []
    with unfinished(out) as work, executor(workers, cluster) as pool:
        found = list(in_order(pool, partial(_examine, card=card, whole=quarantine), paths, ahead=AHEAD))
        good = [file for file in found if not file.error]
        if not good:
            raise BadFile(f"none of the {len(found)} files can be read. The first: {found[0].error}")
        listing = {f"file {i}": [str(f.path.absolute()), *f.stamp, f.count] for i, f in enumerate(good)}
        asked = {**options, "card's content": card_parent, "shard_events": SHARD_EVENTS, "program": version("cloudchamber")}
        folder = work.claim(asked | listing)
        units = plan([file.count for file in good], max_events, SHARD_EVENTS)
        jobs = [_Job(tuple((good[r[0]], *r[1:]) for r in unit), card, leading_jets) for unit in units]
        made: list[Made] = []
        for job, one in zip(jobs, made_in_order(pool, folder, jobs, _make, progress), strict=True):
            made.append(one)
            _check_schema(one.part.events, job.pieces[0][0].path, made[0].part.events, jobs[0].pieces[0][0].path)
        provenance = {
            "command": "convert",
            **options,
            "readers": sorted({file.reader for job in jobs for file, _, _ in job.pieces}),
            "parents": [parent for one in made for parent in one.parents] + card_parent,
            **({"quarantined": [{"name": f.path.name, "error": f.error} for f in found if f.error]} if quarantine else {}),
        }
        work.finish([one.part for one in made], provenance)
    return Store.open(out)


def plan(counts: Sequence[int], max_events: int | None = None, shard_events: int = SHARD_EVENTS) -> list[tuple[Range, ...]]:
    """The events of each shard: those of the files in their order, at most `max_events`, cut after every `shard_events`.

    counts: events of each file. A function of these numbers alone, whoever does the work.

    >>> [list(unit) for unit in plan([2, 5], shard_events=4)]
    [[(0, 0, 2), (1, 0, 2)], [(1, 2, 5)]]
    """
    units: list[list[Range]] = []
    room, left = 0, sum(counts) if max_events is None else max_events
    for file, count in enumerate(counts):
        start, stop = 0, min(count, left)
        left -= stop
        while start < stop:
            if room == 0:
                units.append([])
                room = shard_events
            end = min(start + room, stop)
            units[-1].append((file, start, end))
            room -= end - start
            start = end
    return [tuple(unit) for unit in units]


@dataclass(frozen=True)
class _File:
    """A file that was looked at. stamp: its size and time of change. error: why it is set aside."""

    path: Path
    stamp: tuple[int, int] = (0, 0)
    count: int = 0
    reader: str = ""
    error: str = ""

    def check(self) -> None:
        if _stamp(self.path) != self.stamp:
            raise BadFile(f"{self.path}: was changed while it was converted. Wait until it is complete and start again.")


@dataclass(frozen=True)
class _Job:
    """One shard: enough for any process to make it."""

    pieces: tuple[tuple[_File, int, int], ...]  # a file and the events start to stop of it
    card: Path | str | None
    leading_jets: int | None

    @property
    def rows(self) -> int:
        return sum(stop - start for _, start, stop in self.pieces)


def _examine(path: Path, *, card: Path | str | None, whole: bool) -> _File:
    """Count a file's events. whole: read all of them, too, and say what is wrong instead of raising it."""
    try:
        with opened(path, card) as source:
            stamp = _stamp(path)
            for start in range(0, source.count if whole else 0, BLOCK_EVENTS):
                check_stop()
                source.read(start, min(start + BLOCK_EVENTS, source.count))
            return _File(path, stamp, source.count, source.reader.name)
    except (BadFile, BadStore) as error:
        if not whole:
            raise
        return _File(path, error=str(error).replace(str(path), path.name))


def _make(job: _Job) -> tuple[Cloud, Parents]:
    clouds, parents = [], []
    for file, first, stop in job.pieces:
        file.check()
        with opened(file.path, job.card) as source:
            for start in range(first, stop, BLOCK_EVENTS):
                check_stop()
                cloud = source.read(start, min(start + BLOCK_EVENTS, stop))
                clouds.append(cloud if job.leading_jets is None else cluster_leading(cloud, job.leading_jets, radius=RADIUS))
                _check_schema(clouds[-1].schema, file.path, clouds[0].schema, job.pieces[0][0].path)
        if first == 0:  # every file is hashed once, by whoever begins it
            parents.append({"name": file.path.name, "sha256": file_hash(file.path)})
        file.check()
    return concatenate(clouds), parents


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of change of a file, or of a store's manifest."""
    try:
        status = (path / "manifest.json" if path.is_dir() else path).stat()
    except OSError as error:
        raise BadFile(f"{path}: cannot be opened ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def _check_schema(schema: Schema, path: Path, first: Schema, first_path: Path) -> None:
    if schema != first:
        raise BadSchema(
            f"{path} ({schema.dataset}) and {first_path} ({first.dataset}) have different schemas and "
            "cannot share a store. Convert them one by one, or map both with one card."
        )
