"""Unfinished: the hidden folder beside a store in which its shards wait until all of them are there."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from cloudchamber.data.store import Part, write_manifest
from cloudchamber.errors import BadStore, WorkerDied
from cloudchamber.run import read_json, write_json


class Unfinished:
    """`.NAME.partial` beside the store NAME: `plan.json`, a record `unit-*.json` of each finished shard, and `store/`."""

    def __init__(self, out: Path):
        self.out = out
        self.folder = out.with_name(f".{out.name}.partial")
        self._lock: IO[str] | None = None

    def claim(self, plan: Mapping[str, Any]) -> Path:
        """The folder, for a conversion with this plan: empty, or as an interrupted one with an equal plan left it.

        Raises BadStore if another process works there now, or if finished shards of another plan lie there.
        """
        (self.folder / "store").mkdir(parents=True, exist_ok=True)
        lock = _lock(self.folder)
        if lock is None:
            raise BadStore(f"{self.out}: is being written by another process at this moment")
        file = self.folder / "plan.json"
        old: dict[str, Any] = read_json(file) if file.is_file() else {}
        other = [name for name in {**old, **plan} if old.get(name) != plan.get(name)]
        if old and other and self._records():
            lock.close()
            raise BadStore(
                f"{self.folder}: holds the finished part of an interrupted conversion in which {other[0]!r} was "
                f"{old.get(other[0])}; now it is {plan.get(other[0])}. Give the same files and options to go on with it, "
                "or remove that folder to start again."
            )
        self._lock = lock
        write_json(file, dict(plan))
        return self.folder

    def finish(self, parts: Sequence[Part], provenance: Mapping[str, Any]) -> None:
        """Write the manifest and give the complete store its name. Raises BadStore if no part has an event."""
        if not any(part.shard for part in parts):
            raise BadStore(f"{self.out}: no event to write")
        write_manifest(self.folder / "store", parts, provenance)
        for stray in (self.folder / "store").glob(".*.tmp"):  # of a process that was killed
            stray.unlink()
        (self.folder / "store").rename(self.out)
        self.close(keep=False)

    def close(self, *, keep: bool) -> None:
        """Let go of the folder; remove it if it is ours and nothing in it is to be kept."""
        if self._lock is not None:
            if not (keep and self._records()):
                away = self.folder.with_suffix(".removed")  # under its old name a worker that still runs could write more
                self.folder.rename(away)
                shutil.rmtree(away, ignore_errors=True)
            self._lock.close()
            self._lock = None

    def _records(self) -> list[Path]:
        return list(self.folder.glob("unit-*.json"))


@contextmanager
def unfinished(out: Path) -> Iterator[Unfinished]:
    """The work folder of a store. On an error it is removed; after an interrupt or a killed worker what is finished stays.

    Raises BadStore if the store is there already.
    """
    if out.exists():
        raise BadStore(f"{out}: is there already. Give another name, or remove it yourself.")
    work = Unfinished(out)
    keep = False
    try:
        yield work
    except (KeyboardInterrupt, WorkerDied):
        keep = True
        raise
    except OSError as error:
        raise BadStore(f"{out}: cannot be written ({error})") from error
    finally:
        work.close(keep=keep)


def _lock(folder: Path) -> IO[str] | None:
    """A lock that ends with this process, however that ends; None if another process holds it."""
    stream = (folder / "lock").open("w")
    with suppress(ImportError):  # not on Windows: nothing tells there that two processes write one store
        import fcntl

        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            stream.close()
            return None
    return stream
