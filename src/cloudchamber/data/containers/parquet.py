"""Parquet: flat and list columns, read by row group with pyarrow."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cloudchamber.data.containers.base import Column, Container, Jagged, check_size
from cloudchamber.errors import BadFile

_WIDTH = {"BOOLEAN": 1, "INT32": 4, "FLOAT": 4}  # bytes of a number in memory


class Parquet(Container):
    """A Parquet file. Keys are its top-level columns; lists of numbers are Jagged."""

    kind = "Parquet"
    damage: tuple[type[Exception], ...] = (OSError, pa.ArrowException, ValueError, KeyError)

    def __init__(self, path: Path):
        super().__init__(path)
        with self.guarded():
            self._file = pq.ParquetFile(path)

    @cached_property
    def metadata(self) -> dict[bytes, bytes]:
        """The key-value metadata of the file."""
        return dict(self._file.schema_arrow.metadata or {})

    @property
    def keys(self) -> tuple[str, ...]:
        """Every top-level column."""
        return tuple(self._file.schema_arrow.names)

    def rows(self, key: str) -> int:  # noqa: ARG002 (all columns of a table have the same length)
        """Rows of the table."""
        return int(self._file.metadata.num_rows)

    @property
    def group_rows(self) -> tuple[int, ...]:
        """Rows of each row group."""
        meta = self._file.metadata
        return tuple(meta.row_group(g).num_rows for g in range(meta.num_row_groups))

    def nbytes(self, key: str, start: int, stop: int) -> int:
        """Bytes of the column in the row groups that hold the rows: as stored, or as numbers if those take more.

        A dictionary stores a billion equal numbers in a few bytes.
        """
        total = 0
        for group, _, _ in self._groups(start, stop):
            meta = self._file.metadata.row_group(group)
            for c in (meta.column(i) for i in range(meta.num_columns)):
                if c.path_in_schema.split(".")[0] == key:
                    total += max(c.total_uncompressed_size, c.num_values * _WIDTH.get(c.physical_type, 8))
        return total

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def table(self, keys: tuple[str, ...], start: int, stop: int) -> pa.Table:
        """Rows start to stop of some columns as an Arrow table. Raises BadFile if they are too large."""
        check_size(self.path, f"columns {keys[0]} ...", sum(self.nbytes(key, start, stop) for key in keys))
        groups = list(self._groups(start, stop))
        parts = [self._file.read_row_group(g, columns=list(keys)).slice(a, b - a) for g, a, b in groups]
        return pa.concat_tables(parts) if parts else self._file.schema_arrow.empty_table().select(list(keys))

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        table = self.table(keys, start, stop).combine_chunks()
        return {key: self._column(key, one_chunk(table[key])) for key in keys}

    def _column(self, key: str, array: pa.Array) -> Column:
        if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
            counts = np.diff(array.offsets.to_numpy()).astype(np.int64)
            return Jagged(counts, self._numbers(key, array.flatten()))
        if pa.types.is_fixed_size_list(array.type):
            return self._numbers(key, array.flatten()).reshape(len(array), array.type.list_size)
        return self._numbers(key, array)

    def _numbers(self, key: str, array: pa.Array) -> NDArray[Any]:
        kind = array.type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise BadFile(f"{self.path}: column {key!r} holds {kind}; expected numbers or lists of numbers")
        if array.null_count:
            raise BadFile(f"{self.path}: column {key!r} has {array.null_count} empty cells. Write them as NaN.")
        return np.asarray(array.to_numpy(zero_copy_only=False))

    def _groups(self, start: int, stop: int) -> list[tuple[int, int, int]]:
        """Row group number and the first and last row wanted in it, for every row group that holds wanted rows."""
        found, first = [], 0
        for group, size in enumerate(self.group_rows):
            a, b = max(start - first, 0), min(stop - first, size)
            found += [(group, a, b)] if a < b else []
            first += size
        return found


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
