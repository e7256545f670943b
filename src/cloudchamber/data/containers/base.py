"""Container: what every file type offers. Named columns with rows, read by block, checked before memory is taken."""

# N event, T particle of any event

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadFile, BadInput, CloudchamberError, MissingColumn, nearest

_LIMIT_VARIABLE = "CLOUDCHAMBER_MAX_GB"
_LIMIT_GB = 8.0


@dataclass(frozen=True)
class Jagged:
    """A column with a varying number of values per event. counts: (N,) int64. values: (T,), or (T, K) for K of them each."""

    counts: NDArray[np.int64]
    values: NDArray[Any]


Column = NDArray[Any] | Jagged


class Container(ABC):
    """An open file. Keys are paths inside it: `tree/part_px`, `df/block0_values`, `X`.

    Use it in a `with` statement; errors of the file library come out as BadFile that names the file.
    """

    kind: ClassVar[str]
    damage: tuple[type[Exception], ...]  # what the file library raises on a damaged file

    def __init__(self, path: Path):
        self.path = path

    @property
    @abstractmethod
    def keys(self) -> tuple[str, ...]:
        """Every column, in the file's order."""

    @abstractmethod
    def rows(self, key: str) -> int:
        """Number of events in a column."""

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a column, events first, as far as the kind of file says it."""
        return (self.rows(key),)

    @abstractmethod
    def nbytes(self, key: str, start: int, stop: int) -> int:
        """Memory that rows start to stop of a column take, by the file's own description."""

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @abstractmethod
    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        """The columns, already checked to be there and not too large."""

    def read(self, keys: Iterable[str], start: int, stop: int, reader: str) -> dict[str, Column]:
        """Rows start to stop of some columns.

        Raises MissingColumn with the nearest names, and BadFile if the file is damaged or a column is too large.
        """
        keys = tuple(keys)
        self.need(keys, reader)
        for key in keys:
            if self.rows(key) != self.rows(keys[0]):
                raise BadFile(
                    f"{self.path}: column {key!r} has {self.rows(key)} events, column {keys[0]!r} has {self.rows(keys[0])}"
                )
        with self.guarded():
            check_size(self.path, f"columns {keys[0]} ...", sum(self.nbytes(key, start, stop) for key in keys))
            columns = self._read(keys, start, stop)
        for key, column in columns.items():
            if isinstance(column, Jagged) and (column.counts.min(initial=0) < 0 or column.counts.sum() != len(column.values)):
                raise BadFile(f"{self.path}: damaged: the lists of {key!r} do not fit its {len(column.values)} values")
        return columns

    def need(self, keys: Iterable[str], reader: str) -> None:
        """Raise MissingColumn with the nearest names if a key is not there."""
        for key in keys:
            if key not in self.keys:
                raise MissingColumn(
                    f"{self.path}: has no column {key!r} (needed by the reader {reader!r}). "
                    f"Nearest: {nearest(key, self.keys)}. If the file has it under another name, write a card."
                )

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turns the file library's errors into BadFile."""
        try:
            yield
        except CloudchamberError:
            raise
        except self.damage as error:
            reason = (str(error).strip().splitlines() or [""])[0][:200]
            raise BadFile(
                f"{self.path}: truncated or damaged, cannot be read as {self.kind} ({type(error).__name__}: {reason}). "
                "Compare its size and checksum with the source and copy it again."
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_size(path: Path, what: str, nbytes: int) -> None:
    """Raise BadFile if something that a file describes would take more memory than CLOUDCHAMBER_MAX_GB (default 8)."""
    text = os.environ.get(_LIMIT_VARIABLE, str(_LIMIT_GB))
    try:
        limit = float(text)
    except ValueError as error:
        raise BadInput(f"the environment variable {_LIMIT_VARIABLE} is {text!r}, expected a number of gigabytes") from error
    if nbytes > limit * 1e9:
        raise BadFile(
            f"{path}: {what} would take {nbytes / 1e9:.1f} GB of memory, the limit is {limit:g} GB. "
            f"Read a part (start, stop), convert the file to a store, or set {_LIMIT_VARIABLE}."
        )
