"""ROOT: the branches of every TTree and the fields of every RNTuple, read with uproot."""

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

    Field names of an RNTuple cannot hold a dot; ATLAS writes a colon for it. Such a field has its dot back here, so that
    one key fits both kinds of file.
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
            tuples = {name: self._file[name] for name in self._file.keys(cycle=False, filter_classname="ROOT::RNTuple")}
            branches = {f"{name}/{branch.name}": branch for name, tree in trees.items() for branch in tree.itervalues()}
            fields = {(name, field.name): field for name, one in tuples.items() for field in one.itervalues(recursive=False)}
            return branches | {f"{name}/{field.replace(':', '.')}": found for (name, field), found in fields.items()}

    @property
    def keys(self) -> tuple[str, ...]:
        """Every branch of every tree, as `tree/branch`."""
        return tuple(self._branches)

    def rows(self, key: str) -> int:
        """Entries of the branch."""
        return int(self._branches[key].num_entries)

    def nbytes(self, key: str, start: int, stop: int) -> int:
        """Uncompressed bytes of the baskets that hold the rows, by their own headers; of an RNTuple's field in proportion."""
        branch = self._branches[key]
        if not hasattr(branch, "basket_uncompressed_bytes"):
            return int(_field_bytes(branch) * (stop - start) / max(self.rows(key), 1))
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


def _field_bytes(field: Any) -> int:
    """Uncompressed bytes of an RNTuple's field and the fields inside it, by the file's list of pages."""
    source, inside = field.ntuple, {field.field_id}
    for i, record in enumerate(source.field_records):  # a field comes after the one that holds it
        if record.parent_field_id in inside:
            inside.add(i)
    bits = {i: record.nbits for i, record in enumerate(source.column_records) if record.field_id in inside}
    pages = ((page, n) for cluster in source.page_link_list for i, n in bits.items() for page in cluster[i].pages)
    return sum(int(page.num_elements) * int(n) for page, n in pages) // 8
