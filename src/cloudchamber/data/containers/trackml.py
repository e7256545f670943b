"""TrackML: the csv files of one event, found beside its hits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc

from cloudchamber.data.containers.base import Column, Container, Jagged, check_size
from cloudchamber.data.containers.text import GZIP_DAMAGE, open_text
from cloudchamber.errors import BadFile

MAGIC = b"hit_id,x,y,z,volume_id"
_PARTS = ("hits", "truth")  # cells and particles say nothing of a hit that a token needs
_TYPES = {name: pa.int64() for name in ("hit_id", "volume_id", "layer_id", "module_id", "particle_id")}
_TYPES |= {name: pa.float64() for name in ("x", "y", "z", "tx", "ty", "tz", "tpx", "tpy", "tpz", "weight")}


class TrackML(Container):
    """The hits of one event, and what made them. Keys are `hits/x`, `truth/particle_id`, ...; one row, the event."""

    kind = "TrackML"
    damage: tuple[type[Exception], ...] = (*GZIP_DAMAGE, pa.ArrowException, UnicodeDecodeError)

    def __init__(self, path: Path):
        super().__init__(path)
        if "-hits." not in path.name:
            raise BadFile(
                f"{path}: is a TrackML table of hits; its name must be like event000001000-hits.csv to find the others"
            )
        self._columns: dict[str, Any] = {}
        for part in _PARTS:
            self._add(part, path.with_name(path.name.replace("-hits.", f"-{part}.")))
        lengths = {part: len(self._columns[f"{part}/hit_id"]) for part in _PARTS}
        if len(set(lengths.values())) != 1:
            raise BadFile(f"{path}: its event has {lengths['hits']} hits, and truth of {lengths['truth']}")

    @property
    def keys(self) -> tuple[str, ...]:
        """Every column of every table."""
        return tuple(self._columns)

    def rows(self, key: str) -> int:  # noqa: ARG002 (an event is a set of files)
        """One event."""
        return 1

    def nbytes(self, key: str, start: int, stop: int) -> int:  # noqa: ARG002 (read when opened)
        """Bytes of the column."""
        return int(self._columns[key].nbytes)

    def close(self) -> None:
        """Nothing stays open."""

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        columns = {key: np.asarray(self._columns[key]) for key in keys}
        return {key: Jagged(np.array([len(v)] * (stop - start)), v[: len(v) * (stop - start)]) for key, v in columns.items()}

    def _add(self, part: str, path: Path) -> None:
        if not path.is_file():
            raise BadFile(f"{self.path}: needs {path.name} beside it. A TrackML event is read from its hits and truth files.")
        with self.guarded(), open_text(path) as stream:
            text = bytearray()
            while more := stream.read(1 << 24):
                text += more
                check_size(path, "the unpacked text", len(text))
            if not text.endswith(b"\n"):
                raise BadFile(f"{path}: truncated: its last line does not end. Copy it again.")
            table = pc.read_csv(pa.py_buffer(bytes(text)), convert_options=pc.ConvertOptions(column_types=_TYPES))
            for name in table.column_names:
                if (times := table.column_names.count(name)) > 1:
                    raise BadFile(f"{path}: column {name!r} is there {times} times")
                self._columns[f"{part}/{name}"] = table[name].to_numpy()
        self.need((f"{part}/hit_id",), "trackml")
