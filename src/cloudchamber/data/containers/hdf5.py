"""HDF5: the datasets of a file and the fields of compound datasets, read by block with h5py."""

from __future__ import annotations

from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from cloudchamber.data.containers.base import Column, Container
from cloudchamber.errors import BadFile, missing_extra

_NAMES_BYTES = 1_000_000  # a list of names is not longer


class Hdf5(Container):
    """An HDF5 file. Keys are dataset paths, and `dataset/field` for compound datasets."""

    kind = "HDF5"
    # h5py has no exception of its own: HDF5 errors arrive as these.
    damage: tuple[type[Exception], ...] = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)

    def __init__(self, path: Path):
        super().__init__(path)
        import h5py

        with self.guarded():
            self._file = h5py.File(path, "r")

    @cached_property
    def _columns(self) -> dict[str, tuple[Any, str | None]]:
        """Dataset and field name of every key."""
        import h5py

        found: dict[str, tuple[Any, str | None]] = {}

        def add(name: str | bytes, item: Any) -> None:
            name = name if isinstance(name, str) else name.decode(errors="replace")  # h5py gives bytes if not UTF-8
            if isinstance(item, h5py.Dataset) and (item.external or item.is_virtual):
                raise BadFile(f"{self.path}: dataset {name!r} takes its values from other files; copy them into this one")
            if isinstance(item, h5py.Dataset) and item.shape:
                found[name] = (item, None)
                found.update({f"{name}/{field}": (item, field) for field in item.dtype.names or ()})

        with self.guarded():
            self._file.visititems(add)
        return found

    @property
    def keys(self) -> tuple[str, ...]:
        """Every dataset that is an array, and every field of those that are compound."""
        return tuple(self._columns)

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of a column, events first."""
        dataset, field = self._columns[key]
        return tuple(dataset.shape) + (dataset.dtype[field].shape if field else ())

    def text(self, key: str) -> tuple[str, ...]:
        """A short list of names that the file keeps as bytes; empty if there is none under this key."""
        dataset = self._columns[key][0] if key in self._columns else None
        if dataset is None or dataset.dtype.kind != "S" or len(dataset.shape) != 1 or dataset.nbytes > _NAMES_BYTES:
            return ()
        with self.guarded():
            return tuple(name.decode(errors="replace") for name in dataset[:])

    def rows(self, key: str) -> int:
        """Length of the dataset's first axis."""
        return int(self._columns[key][0].shape[0])

    def nbytes(self, key: str, start: int, stop: int) -> int:
        """Bytes of the rows by the dataset's shape and type, and of the chunk that is unpacked to get at them."""
        dataset, field = self._columns[key]
        item = dataset.dtype[field].itemsize if field else dataset.dtype.itemsize
        chunk = prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0
        return int(prod(dataset.shape[1:]) * item * (stop - start) + chunk)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read(self, keys: tuple[str, ...], start: int, stop: int) -> dict[str, Column]:
        return {key: self._column(key, start, stop) for key in keys}

    def _column(self, key: str, start: int, stop: int) -> Column:
        dataset, field = self._columns[key]
        self._need_filters(key, dataset)
        array = np.asarray((dataset.fields(field) if field else dataset)[start:stop])
        if array.dtype.kind not in "biuf":
            raise BadFile(f"{self.path}: dataset {key!r} is of type {array.dtype}; expected numbers")
        return array

    def _need_filters(self, key: str, dataset: Any) -> None:
        """Load the compression filters of a dataset if HDF5 lacks them; MissingExtra if hdf5plugin is not installed."""
        import h5py

        properties = dataset.id.get_create_plist()
        missing = [
            properties.get_filter(i)
            for i in range(properties.get_nfilters())
            if not h5py.h5z.filter_avail(properties.get_filter(i)[0])
        ]
        if missing:
            name = missing[0][3].decode(errors="replace") or missing[0][0]
            try:
                import hdf5plugin  # noqa: F401 (registers its filters when imported)
            except ImportError as error:
                raise missing_extra(
                    "hdf5plugin", "blosc", f"{self.path}: dataset {key!r} is compressed with {name}; reading it"
                ) from error
