"""Memory: columns that a program has made, behind the interface of a file that would hold them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from cloudchamber.data.containers.base import Column, Container, Jagged


class Memory(Container):
    """NumPy arrays with a row per event and awkward lists of numbers, by key. `path` is a name for error messages."""

    kind = "memory"
    damage: tuple[type[Exception], ...] = ()

    def __init__(self, columns: Mapping[str, Any], path: Path):
        super().__init__(path)
        self._columns = dict(columns)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every column."""
        return tuple(self._columns)

    def rows(self, key: str) -> int:
        """Events of a column."""
        return len(self._columns[key])

    def nbytes(self, key: str, start: int, stop: int) -> int:
        """The part of it."""
        return int(self._columns[key][start:stop].nbytes)

    def close(self) -> None:
        """Nothing is open."""

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        return {key: _column(self._columns[key][start:stop]) for key in keys}


def _column(values: Any) -> Column:
    if isinstance(values, ak.Array):
        return Jagged(np.asarray(ak.num(values), dtype=np.int64), np.asarray(ak.flatten(values)))
    return np.asarray(values)
