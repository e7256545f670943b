"""npz: the arrays of a NumPy zip archive. Never unpickles; sizes come from the archive's directory first."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers.base import Column, Container, check_size
from cloudchamber.errors import BadFile

_SUFFIX = ".npy"


class Npz(Container):
    """A NumPy archive. Keys are its arrays' names; an array is decompressed whole, once, and kept."""

    kind = "npz"
    damage: tuple[type[Exception], ...] = (
        OSError,
        EOFError,
        ValueError,
        KeyError,
        SyntaxError,  # from NumPy's parsing of a damaged array header, as is the next
        tokenize.TokenError,
        NotImplementedError,
        RuntimeError,
        zipfile.BadZipFile,
        zlib.error,
    )

    def __init__(self, path: Path):
        super().__init__(path)
        self._loaded: dict[str, NDArray[Any]] = {}
        with self.guarded():
            self._zip = zipfile.ZipFile(path)
            names = [i.filename for i in self._zip.infolist() if i.filename.endswith(_SUFFIX)]
            self._headers = {name.removesuffix(_SUFFIX): self._header(name) for name in names}

    @property
    def keys(self) -> tuple[str, ...]:
        """Every array of the archive."""
        return tuple(self._headers)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of an array."""
        return self._headers[key][0]

    def rows(self, key: str) -> int:
        """Length of the array's first axis; 0 for a single number."""
        return (*self.shape(key), 0)[0]

    def nbytes(self, key: str, start: int, stop: int) -> int:  # noqa: ARG002 (an archive member cannot be read in part)
        """Bytes of the whole array."""
        shape, dtype = self._headers[key]
        return prod(shape) * dtype.itemsize

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        return {key: self._array(key)[start:stop] for key in keys}

    def _array(self, key: str) -> NDArray[Any]:
        if key not in self._loaded:
            _, dtype = self._headers[key]
            if dtype.kind not in "biuf":
                raise BadFile(f"{self.path}: array {key!r} is of type {dtype}; expected numbers (pickled objects are not read)")
            held = sum(a.nbytes for a in self._loaded.values())
            check_size(self.path, f"array {key}", held + self.nbytes(key, 0, 0))
            with self._zip.open(key + _SUFFIX) as stream:
                self._loaded[key] = np.lib.format.read_array(stream, allow_pickle=False)
        return self._loaded[key]

    def _header(self, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
        """Shape and type of an array; ValueError if the archive's directory gives its data another size."""
        with self._zip.open(name) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(stream)
            size = self._zip.getinfo(name).file_size - stream.tell()
        if not dtype.hasobject and prod(shape) * dtype.itemsize != size:
            raise ValueError(f"array {name} announces shape {shape} of {dtype}, but has {size} bytes")
        return shape, dtype
