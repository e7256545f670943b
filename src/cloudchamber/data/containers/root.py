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
    """A ROOT file. Keys are `tree/branch`; std::vector and counter-style branches are both Jagged."""

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
        NameError,  # of an array that uproot never filled
        RuntimeError,
        struct.error,
        zlib.error,
    )

    def __init__(self, path: Path):
        super().__init__(path)
        import uproot
        from uproot.interpretation.identify import UnknownInterpretation

        self.damage = (*self.damage, uproot.DeserializationError, UnknownInterpretation)
        with self.guarded():
            # Mapped, since reading would first take as much memory as a damaged file asks for.
            self._file = uproot.open(path, handler=uproot.source.file.MemmapSource)

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
        """Uncompressed bytes of the baskets that hold the rows, by their own headers."""
        branch = self._branches[key]
        first = np.asarray(branch.entry_offsets)
        held = np.flatnonzero((first[:-1] < stop) & (first[1:] > start))
        return sum(max(int(branch.basket_uncompressed_bytes(i)), 0) for i in held.tolist())

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
        if array.ndim == 1 and array.layout.is_numpy:
            return np.asarray(array)
        if array.ndim == 2 and array.layout.is_list and array.layout.content.is_numpy:
            return Jagged(np.asarray(ak.num(array), dtype=np.int64), np.asarray(ak.flatten(array)))
        if array.layout.purelist_isregular and array.layout.is_numpy:
            return np.asarray(array)
        raise BadFile(
            f"{self.path}: branch {key!r} is of type {branch.typename}; expected a number or a list of numbers per entry"
        )
