"""Exporting: a store becomes one file of a community format, a shard in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from cloudchamber import registry
from cloudchamber.data.reader import Events, Reader
from cloudchamber.data.store import Store
from cloudchamber.errors import BadInput, nearest
from cloudchamber.events import MOMENTUM, Cloud, Schema


def export(
    store: Path | str,
    to: str,
    out: Path | str,
    *,
    drop: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the events of a store to a new file of the format `to`: one of `formats()`.

    drop: particle features and event columns to leave out, where the format has no place for them.
    progress: called with (events done, events in all). The file appears whole or not at all.
    Raises BadSchema or BadInput that says what the format cannot hold, or if `out` is there already; BadStore.
    """
    source, out, writers = Store.open(Path(store)), Path(out), formats()
    if to not in writers:
        raise BadInput(f"no format that can be written is called {to!r}. Nearest: {nearest(to, writers)}.")
    if out.exists():
        raise BadInput(f"{out}: is there already. Give another name, or remove it yourself.")
    if not out.parent.is_dir():
        raise BadInput(f"{out.parent}: is no folder. Make it first.")
    schema = _without(source.schema, drop)

    def clouds() -> Iterator[Cloud]:
        done = 0
        for cloud in source.iter_shards():
            yield Cloud(cloud.particles[[*schema.particle_names]], {n: cloud.events[n] for n in schema.event_names}, schema)
            done += len(cloud)
            if progress is not None:
                progress(done, len(source))

    write = writers[to].write
    assert write is not None
    write(Events(schema, len(source), clouds), out)
    return out


def formats() -> dict[str, Reader]:
    """The readers that can also write, by the name of their format."""
    readers: dict[str, Reader] = registry.entries("readers")
    return {"parquet" if name == "store" else name: r for name, r in readers.items() if r.write is not None}


def _without(schema: Schema, drop: Sequence[str]) -> Schema:
    """The schema without some features and event columns. BadInput if one of them is not there."""
    known = (*schema.particle_names[len(MOMENTUM) :], *schema.event_names)
    if unknown := [name for name in drop if name not in known]:
        raise BadInput(f"{schema.dataset!r} has no column {unknown[0]!r} to leave out. Nearest: {nearest(unknown[0], known)}.")
    kinds = ("features", "columns", "labels", "particle_labels")
    kept = {kind: tuple(c for c in getattr(schema, kind) if c.name not in drop) for kind in kinds}
    return schema.model_copy(update={**kept, "weight": None if schema.weight in drop else schema.weight})
