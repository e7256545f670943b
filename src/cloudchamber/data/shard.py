"""Shard: one Parquet file of a store, and the cloud in it.

`part_<name>` list<float32> per particle column, one flat column per event column, `event_id` uint64; the schema as
JSON under the key "cloudchamber" of the file's metadata. A shard can be read without its store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import ValidationError

from cloudchamber.data.containers.parquet import Parquet, one_chunk
from cloudchamber.errors import BadFile, BadSchema
from cloudchamber.events import Cloud, Schema

METADATA_KEY = b"cloudchamber"
ROW_GROUP_EVENTS = 10_000
_PREFIX = "part_"
_ID = "event_id"


def write_shard(path: Path, parts: Iterable[tuple[Cloud, NDArray[np.uint64]]]) -> None:
    """Write clouds of one schema, each with its event ids, one after the other; at least one.

    Raises BadSchema if an event column's name is taken by the format.
    """
    with ExitStack() as stack:
        writer = None
        for cloud, ids in parts:
            table = _table(cloud, ids)
            if writer is None:
                writer = stack.enter_context(pq.ParquetWriter(path, table.schema, compression="zstd", use_dictionary=False))
            writer.write_table(table, row_group_size=ROW_GROUP_EVENTS)


def shard_schema(file: Parquet) -> Schema:
    """The schema inside an open shard; BadFile if it does not hold one that this program reads."""
    try:
        return Schema.model_validate_json(file.metadata[METADATA_KEY])
    except (KeyError, ValidationError) as error:
        raise BadFile(f"{file.path}: its metadata holds no schema that this version of cloudchamber reads") from error


def read_rows(file: Parquet, start: int, stop: int, schema: Schema) -> Cloud:
    """Events start to stop of an open shard."""
    keys = (*(_PREFIX + n for n in schema.particle_names), *schema.event_names)
    file.need(keys, "store")
    with file.guarded():
        return _cloud(file.table(keys, start, stop), schema)


def read_chosen(file: Parquet, choose: Callable[[NDArray[np.uint64]], NDArray[np.bool_]], schema: Schema) -> Iterator[Cloud]:
    """The events whose ids `choose` accepts, row group by row group; groups without one are not read."""
    first = 0
    for size in file.group_rows:
        chosen = np.flatnonzero(choose(read_ids(file, first, first + size)))
        if len(chosen):
            cloud_of_rows = read_rows(file, first + int(chosen[0]), first + int(chosen[-1]) + 1, schema)
            yield cloud_of_rows if len(chosen) == len(cloud_of_rows) else cloud_of_rows[chosen - chosen[0]]
        first += size


def read_ids(file: Parquet, start: int, stop: int) -> NDArray[np.uint64]:
    """The event ids of rows start to stop."""
    with file.guarded():
        return np.asarray(file.table((_ID,), start, stop)[_ID].to_numpy(), dtype=np.uint64)


def _table(cloud: Cloud, ids: NDArray[np.uint64]) -> pa.Table:
    offsets = pa.array(np.concatenate([[0], np.cumsum(cloud.counts)]).astype(np.int32))
    columns: dict[str, Any] = {_ID: pa.array(ids)}
    for name in cloud.schema.particle_names:
        values = pa.array(np.ascontiguousarray(cloud.flat(name), dtype=np.float32))
        columns[_PREFIX + name] = pa.ListArray.from_arrays(offsets, values)
    for name in cloud.schema.event_names:
        if name in columns:
            raise BadSchema(f"{cloud.schema.dataset!r}: an event column of a store cannot be called {name!r}. Rename it.")
        columns[name] = pa.array(cloud.events[name])
    return pa.table(columns).replace_schema_metadata({METADATA_KEY: cloud.schema.model_dump_json()})


def _cloud(table: pa.Table, schema: Schema) -> Cloud:
    table = table.combine_chunks()
    lists = {n: one_chunk(table[_PREFIX + n]) for n in schema.particle_names}
    counts = np.diff(lists["px"].offsets.to_numpy())
    particles = {n: a.flatten().to_numpy(zero_copy_only=False) for n, a in lists.items()}
    events = {n: one_chunk(table[n]).to_numpy(zero_copy_only=False) for n in schema.event_names}
    return Cloud.from_flat(counts, particles, events, schema)
