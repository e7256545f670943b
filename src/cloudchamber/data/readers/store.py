"""Our own Parquet: a shard of a store as a single file. A whole store folder is opened by `data.store.Store`."""

from __future__ import annotations

from pathlib import Path

from cloudchamber.data.containers import Container
from cloudchamber.data.containers.parquet import Parquet
from cloudchamber.data.identity import event_ids
from cloudchamber.data.reader import Events, Reader
from cloudchamber.data.shard import METADATA_KEY, read_rows, shard_schema, write_shard
from cloudchamber.events import Cloud
from cloudchamber.run import atomic


def _recognises(container: Container) -> bool:
    return isinstance(container, Parquet) and METADATA_KEY in container.metadata and "part_px" in container.keys


def _read(container: Container, start: int, stop: int) -> Cloud:
    assert isinstance(container, Parquet)
    return read_rows(container, start, stop, shard_schema(container))


def _write(events: Events, path: Path) -> None:
    with atomic(path) as temporary:
        write_shard(temporary, ((cloud, event_ids(cloud)) for cloud in events.clouds()))


READER = Reader(
    name="store",
    description="a shard of a cloudchamber store (Parquet with its schema inside)",
    citation=(),
    recognises=_recognises,
    count=lambda container: container.rows("part_px"),
    read=_read,
    write=_write,
)
