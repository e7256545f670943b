"""Opening a file by what it is, not by what it is called: the first bytes decide."""

from __future__ import annotations

from pathlib import Path

from cloudchamber.data.containers.base import Container
from cloudchamber.data.containers.hdf5 import Hdf5
from cloudchamber.data.containers.hepmc import HepMC
from cloudchamber.data.containers.lhe import Lhe
from cloudchamber.data.containers.npz import Npz
from cloudchamber.data.containers.parquet import Parquet
from cloudchamber.data.containers.root import Root
from cloudchamber.data.containers.text import GZIP_DAMAGE, GZIP_MAGIC, open_text
from cloudchamber.data.containers.trackml import MAGIC, TrackML
from cloudchamber.errors import BadFile

_MAGIC: tuple[tuple[bytes, type[Container]], ...] = (
    (b"root", Root),
    (b"\x89HDF\r\n\x1a\n", Hdf5),
    (b"PAR1", Parquet),
    (b"PK\x03\x04", Npz),
)
# What the text of a listing has near its start, plain or gzipped.
_TEXTS: tuple[tuple[bytes, type[Container]], ...] = (
    (b"HepMC::Asciiv3-START_EVENT_LISTING", HepMC),
    (b"HepMC::IO_GenEvent-START_EVENT_LISTING", HepMC),
    (b"<LesHouchesEvents", Lhe),
    (MAGIC, TrackML),
)
_TEXT_HEAD = 1000  # bytes
_POINTER = b"version https://git-lfs"


def open_container(path: Path) -> Container:
    """The file as a container of named columns.

    Raises BadFile if it is missing, empty, a Git LFS pointer, damaged, or none of the types above.
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
    text = _text_head(path)
    for mark, container in _TEXTS:
        if mark in text:
            return container(path)
    inside = " (unpacked)" if head.startswith(GZIP_MAGIC) else ""
    raise BadFile(
        f"{path}: begins with {text[:8]!r}{inside}: this is neither a ROOT, HDF5, Parquet nor npz file, nor a HepMC, LHE or "
        "TrackML text, whatever its name says"
    )


def _text_head(path: Path) -> bytes:
    try:
        with open_text(path) as stream:
            return stream.read(_TEXT_HEAD)
    except GZIP_DAMAGE as error:
        raise BadFile(f"{path}: truncated or damaged, cannot be unpacked ({error}). Copy it again.") from error
