"""ROOT: the branches of every TTree, read with uproot."""

from __future__ import annotations

import struct
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from cloudchamber.data.containers.base import Column, Container, Jagged
from cloudchamber.errors import BadFile


class Root(Container):
    """A ROOT file. Keys are `tree/branch`; std::vector and counter-style branches are both Jagged.

    A list of lists of one length (std::vector<std::vector<double>>) is Jagged with values of shape (T, length).
    """

    kind = "ROOT"
    # uproot reads structures as it meets them, so damage surfaces as whatever the first wrong byte led to.
    damage: tuple[type[Exception], ...] = (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        LookupError,
        ArithmeticError,
        MemoryError,
        NotImplementedError,
        AssertionError,
        AttributeError,
        RuntimeError,
        struct.error,
        zlib.error,
    )

    def __init__(self, path: Path):
        super().__init__(path)
        import uproot

        self.damage = (*self.damage, uproot.DeserializationError)
        with self.guarded():
            self._file = uproot.open(path)

    @cached_property
    def _branches(self) -> dict[str, Any]:
        with self.guarded():
            trees = {name: self._file[name] for name in self._file.keys(cycle=False, filter_classname="TTree")}
            return {f"{name}/{branch.name}": branch for name, tree in trees.items() for branch in tree.itervalues()}

    @property
    def keys(self) -> tuple[str, ...]:
        """Every branch of every tree, as `tree/branch`."""
        return tuple(self._branches)

    def rows(self, key: str) -> int:
        """Entries of the branch."""
        return int(self._branches[key].num_entries)

    def nbytes(self, key: str, start: int, stop: int) -> int:
        """The branch's uncompressed bytes, in proportion."""
        return int(self._branches[key].uncompressed_bytes * (stop - start) / max(self.rows(key), 1))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        return {key: self._column(key, start, stop) for key in keys}

    def _column(self, key: str, start: int, stop: int) -> Column:
        branch = self._branches[key]
        array = branch.array(entry_start=start, entry_stop=stop, library="ak")
        if len(array) != stop - start:
            raise BadFile(f"{self.path}: branch {key!r} holds {len(array)} of the {stop - start} entries that it announces")
        if array.layout.is_numpy or (array.layout.is_regular and array.layout.purelist_isregular):
            return np.asarray(array)
        if array.ndim == 2 and array.layout.is_list and array.layout.content.is_numpy:
            return Jagged(np.asarray(ak.num(array), dtype=np.int64), np.asarray(ak.flatten(array)))
        if array.ndim == 3 and array.layout.is_list:  # such as a four-vector for every prong
            inner = ak.flatten(array, axis=1)
            widths = np.unique(np.asarray(ak.num(inner)))
            if len(widths) < 2:
                values = np.asarray(ak.flatten(inner, axis=None)).reshape(len(inner), int(widths.sum()))
                return Jagged(np.asarray(ak.num(array), dtype=np.int64), values)
        raise BadFile(
            f"{self.path}: branch {key!r} is of type {branch.typename}; expected a number or a list of numbers per entry"
        )
