"""Opening a file by what it is, not by what it is called: the first bytes decide."""

from __future__ import annotations

from pathlib import Path

from cloudchamber.data.containers.base import Container
from cloudchamber.data.containers.hdf5 import Hdf5
from cloudchamber.data.containers.npz import Npz
from cloudchamber.data.containers.parquet import Parquet
from cloudchamber.data.containers.root import Root
from cloudchamber.errors import BadFile

_MAGIC: tuple[tuple[bytes, type[Container]], ...] = (
    (b"root", Root),
    (b"\x89HDF\r\n\x1a\n", Hdf5),
    (b"PAR1", Parquet),
    (b"PK\x03\x04", Npz),
)
_POINTER = b"version https://git-lfs"


def open_container(path: Path) -> Container:
    """The file as a container of named columns.

    Raises BadFile if it is missing, empty, a Git LFS pointer, damaged, or neither ROOT, HDF5, Parquet nor npz.
    """
    try:
        if path.exists() and not path.is_file():
            raise BadFile(f"{path}: is a pipe, socket or device, which cannot be read twice. Copy its content to a file.")
        with path.open("rb") as stream:
            head = stream.read(len(_POINTER))
    except OSError as error:
        raise BadFile(f"{path}: cannot be opened ({error.strerror})") from error
    if not head:
        raise BadFile(f"{path}: is empty (0 bytes). Copy it again.")
    if head.startswith(_POINTER):
        raise BadFile(f"{path}: is a Git LFS pointer, not the data. Fetch the file itself: git lfs pull")
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return container(path)
    raise BadFile(
        f"{path}: begins with {head[:8]!r}: this is neither a ROOT, HDF5, Parquet nor npz file, whatever its name says"
    )
