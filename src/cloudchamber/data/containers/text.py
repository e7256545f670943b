"""Event listings: text files of one event after the other, plain or gzipped, as columns. Parsed block by block."""

# N event, T particle of any event, E event column, C particle column

from __future__ import annotations

import gzip
import zlib
from abc import abstractmethod
from array import array
from collections.abc import Iterator
from contextlib import ExitStack
from io import BufferedReader
from pathlib import Path
from typing import ClassVar

import numpy as np

from cloudchamber.data.containers.base import Column, Container, Jagged, check_size
from cloudchamber.errors import BadFile

GZIP_MAGIC = b"\x1f\x8b"
GZIP_DAMAGE: tuple[type[Exception], ...] = (OSError, EOFError, zlib.error)
_LONGEST_LINE = 1 << 24  # bytes; an event with a thousand named weights has lines of 1e5
_STEP = 1 << 26  # bytes between two looks at how much has been unpacked


def open_text(path: Path) -> gzip.GzipFile | BufferedReader:
    """The file as bytes, unpacked if it is gzipped."""
    with path.open("rb") as stream:
        packed = stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return gzip.open(path, "rb") if packed else path.open("rb")


class EventListing(Container):
    """A listing of events. Opening it reads it once, for where events begin and whether its end is there.

    Particle columns are Jagged, event columns have one number per event; all are float64.
    """

    particle_columns: ClassVar[tuple[str, ...]]
    event_columns: ClassVar[tuple[str, ...]]
    damage = GZIP_DAMAGE

    def __init__(self, path: Path):
        super().__init__(path)
        self._offsets = array("q")
        with ExitStack() as unless_read, self.guarded():
            self._stream = open_text(path)
            unless_read.callback(self.close)
            if not self._index():
                raise BadFile(f"{path}: truncated: the line that ends a {self.kind} file is missing. Copy it again.")
            unless_read.pop_all()

    @property
    def keys(self) -> tuple[str, ...]:
        """The particle columns, then the event columns."""
        return (*self.particle_columns, *self.event_columns)

    def rows(self, key: str) -> int:  # noqa: ARG002 (all columns have the same events)
        """Number of events."""
        return len(self._offsets) - 1

    def nbytes(self, key: str, start: int, stop: int) -> int:  # noqa: ARG002 (a line holds all columns)
        """The text of the events, shared out among the columns: numbers take less than their digits."""
        return (self._offsets[stop] - self._offsets[start]) // len(self.keys)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    @abstractmethod
    def _place(self, line: bytes) -> str:
        """What a line is to the index: "event" if one begins with it, "end" if the listing ends with it, or ""."""

    @abstractmethod
    def _event(self, lines: list[bytes]) -> tuple[list[float], list[list[float]]]:
        """Event columns and one row of particle columns per particle. Raises ValueError that says what is wrong."""

    def _index(self) -> bool:
        """Fill the offsets: where each event begins, and where the last of them ends. Whether the listing ends properly."""
        position, looked, ended = 0, 0, False
        for line in self._lines():
            place = self._place(line)
            if place == "event":
                self._offsets.append(position)
            elif place == "end":
                last = position
            ended = place == "end" or (ended and not place)
            position += len(line)
            if position > looked + _STEP and isinstance(self._stream, gzip.GzipFile):
                looked = position
                check_size(self.path, "the unpacked text", position)
        check_size(self.path, "the unpacked text", position if isinstance(self._stream, gzip.GzipFile) else 0)
        self._offsets.append(last if ended else position)
        return ended

    def _lines(self) -> Iterator[bytes]:
        self._stream.seek(0)
        while line := self._stream.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise BadFile(f"{self.path}: has a line of more than {_LONGEST_LINE:,} bytes, this is no {self.kind} file")
            yield line

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        events, particles, counts = array("d"), array("d"), []
        self._stream.seek(self._offsets[start])
        for number in range(start, stop):
            lines = self._stream.read(self._offsets[number + 1] - self._offsets[number]).splitlines()
            try:
                values, rows = self._event(lines)
            except (ValueError, IndexError, OverflowError) as error:
                raise BadFile(f"{self.path}: event {number} is not {self.kind}: {error}") from error
            events.extend(values)
            counts.append(len(rows))
            for row in rows:
                particles.extend(row)
        table_NE = np.array(events).reshape(stop - start, len(self.event_columns))
        table_TC = np.array(particles).reshape(-1, len(self.particle_columns))
        sizes = np.array(counts, dtype=np.int64)
        jagged = {name: Jagged(sizes, table_TC[:, i]) for i, name in enumerate(self.particle_columns)}
        flat = {name: table_NE[:, i] for i, name in enumerate(self.event_columns)}
        found: dict[str, Column] = {**jagged, **flat}
        return {key: found[key] for key in keys}


def announced(text: bytes, got: int, what: str) -> None:
    """Raise ValueError unless a count that an event announces is what it has."""
    if int(text) != got:
        raise ValueError(f"announces {int(text)} {what}, has {got}")


def code(text: bytes) -> float:
    """A PDG or status code. Raises ValueError if it is not a whole number that fits one."""
    value = int(text)
    if abs(value) >= 1 << 31:
        raise ValueError(f"{value} is not the code of a particle or of a status")
    return float(value)
