"""Every container spoilt in many ways: one error that names the file, or the right events; in little time and memory."""

from __future__ import annotations

import io
import json
import os
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from cloudchamber import data
from cloudchamber.errors import CloudchamberError
from cloudchamber.events import MOMENTUM

COUNTS = np.array([2, 0, 3, 1])
WIDTH = 4
NEST = {"root": "jagged", "parquet": "jagged", "npz": "padded\ncount: n", "hdf5": "padded\ncount: n"}
CARD = """
name: toy
format: {format}
tree: {tree}
frame: jet
layout: {layout}
particles:
  px: {{column: px, unit: GeV}}
  py: {{column: py, unit: GeV}}
  pz: {{column: pz, unit: GeV}}
  energy: {{column: energy, unit: GeV}}
labels:
  y: {{column: y, classes: [gluon, quark]}}
  kind: {{one_hot: [ka, kb], classes: [a, b]}}
weight: w
"""


def columns() -> dict[str, object]:
    """Four jets with six particles of (1, 2, 2, 3) GeV. Particle columns are flat, or (counts, flat)."""
    p = {n: np.full(6, v, np.float32) for n, v in zip(MOMENTUM, (1, 2, 2, 3), strict=True)}
    return {
        **p,
        "n": COUNTS,
        "y": np.array([0, 1, 1, 0]),
        "ka": np.array([1, 0, 0, 1]),
        "kb": np.array([0, 1, 1, 0]),
        "w": np.ones(4),
    }


def jagged(values: object) -> object:
    """(counts, flat) of a particle column that is flat or has its own counts; None for any other."""
    if isinstance(values, tuple):
        return values
    return {6: (COUNTS, values), 0: (COUNTS[:0], values)}.get(len(values))


def lists(c: dict) -> dict[str, object]:
    """The columns with particles as one list per event."""
    split = {n: jagged(c[n]) for n in MOMENTUM if n in c and jagged(c[n])}
    return {n: ak.unflatten(split[n][1], split[n][0]) if n in split else v for n, v in c.items() if n != "n"}


def slots(c: dict) -> dict[str, np.ndarray]:
    """The columns with particles in rows of WIDTH slots, more where an event has more."""
    found = dict(c)
    for name in MOMENTUM:
        if name in c and jagged(c[name]):
            counts, flat = jagged(c[name])
            found[name] = np.zeros((len(counts), max(WIDTH, *counts, 0)), flat.dtype)
            found[name][np.arange(found[name].shape[1]) < counts[:, None]] = flat
    return found


def write_root(path: Path, c: dict, **options) -> None:
    arrays = {n: v if isinstance(v, ak.Array) else np.asarray(v) for n, v in lists(c).items()}
    types = {
        n: f"var * {ak.flatten(v).type.content}" if isinstance(v, ak.Array) else np.dtype((v.dtype, v.shape[1:]))
        for n, v in arrays.items()
    }
    with uproot.recreate(path, compression=None, **options) as file:
        file.mktree("t", types).extend(arrays)


def write_hdf5(path: Path, c: dict, **options) -> None:
    with h5py.File(path, "w") as file:
        for name, values in slots(c).items():
            file.create_dataset(f"t/{name}", data=values, **options)


def write_npz(path: Path, c: dict) -> None:
    with path.open("wb") as stream:
        np.savez(stream, **slots(c))


def write_parquet(path: Path, c: dict, **options) -> None:
    pq.write_table(
        pa.table({n: ak.to_list(v) if isinstance(v, ak.Array) else list(v) for n, v in lists(c).items()}), path, **options
    )


WRITERS = {"root": write_root, "hdf5": write_hdf5, "npz": write_npz, "parquet": write_parquet}
KINDS = list(WRITERS)


def change(**new) -> Callable[[Path, str], None]:
    """Write the file with some columns replaced (by arrays, or functions of the usual ones); None leaves one out."""

    def make(path: Path, kind: str) -> None:
        c = columns()
        c |= {n: v(c[n]) if callable(v) else v for n, v in new.items()}
        WRITERS[kind](path, {n: v for n, v in c.items() if v is not None})

    return make


def at(place: int, value: float, dtype: str = "f8") -> Callable[[np.ndarray], np.ndarray]:
    """A column with one value replaced."""
    return lambda old: np.where(np.arange(len(old)) == place, value, old.astype(dtype)).astype(dtype)


def edit(how: Callable[[bytes], bytes]) -> Callable[[Path, str], None]:
    """Write the good file and change its bytes."""

    def make(path: Path, kind: str) -> None:
        WRITERS[kind](path, columns())
        path.write_bytes(how(path.read_bytes()))

    return make


def cut(share: float) -> Callable[[Path, str], None]:
    return edit(lambda content: content[: int(len(content) * share)])


def instead(how: Callable[[Path], object]) -> Callable[[Path, str], None]:
    """Something else at the path, whatever the format."""
    return lambda path, _: how(path) and None


def unreadable(path: Path, kind: str) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    change()(path, kind)
    path.chmod(0)


DAMAGED = "truncated or damaged"
GOOD = None  # the usual events must come out
EITHER = ""  # the usual events or an error
# Name -> how the file is made, and words of the error.
SHARED: dict[str, tuple[Callable[[Path, str], None], str | None]] = {
    "good": (change(), GOOD),
    "cut after 10 bytes": (edit(lambda content: content[:10]), DAMAGED),
    "cut at 20 %": (cut(0.2), DAMAGED),
    "cut at 50 %": (cut(0.5), DAMAGED),
    "cut at 80 %": (cut(0.8), DAMAGED),
    "cut at 97 %": (cut(0.97), DAMAGED),
    "empty": (instead(lambda p: p.write_bytes(b"")), "is empty"),
    "PNG": (instead(lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))), "neither a ROOT"),
    "zeros": (edit(lambda content: bytes(len(content))), "neither a ROOT"),
    "only the first bytes are right": (edit(lambda content: content[:8] + bytes(len(content))), DAMAGED),
    "garbage before": (edit(lambda content: b"garbage" + content), "neither a ROOT"),
    "garbage after": (edit(lambda content: content + b"garbage " * 9), EITHER),
    "LFS pointer": (instead(lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n")), "Git LFS pointer"),
    "folder": (instead(lambda p: p.mkdir()), "is not a store"),
    "pipe": (instead(os.mkfifo), "is a pipe"),
    "link to itself": (instead(lambda p: p.symlink_to(p)), "symbolic links"),
    "link to nothing": (instead(lambda p: p.symlink_to(p.with_name("no"))), "No such file"),
    "unreadable": (unreadable, "Permission denied"),
    "text": (change(y=np.array(["a", "b", "c", "d"], "S1")), "expected|holds|type"),
    "missing column": (change(pz=None), "no column '(t/)?pz'.*Nearest"),
    "missing label": (change(y=None), "no column '(t/)?y'"),
    "no events": (change(**dict.fromkeys(columns(), lambda v: v[:0])), "has no events"),
    "NaN": (change(px=at(3, np.nan)), "'px'.* is nan for particle 1 of event 2"),
    "infinity": (change(energy=at(5, np.inf)), "'energy'.* is inf for particle 0 of event 3"),
    "negative energy": (change(energy=at(0, -3)), "at least 0 GeV"),
    "energy below |p|": (change(energy=at(0, 2)), r"at least \|p\| = 3 GeV"),
    "too large for float32": (change(px=at(0, 1e300)), "'px'.* is inf"),
    "columns disagree": (change(px=(np.array([5, 0, 3, 1]), np.ones(9))), "values in event 0|has shape"),
    "label out of range": (change(y=at(1, 2)), "label 'y' is 2"),
    "label below zero": (change(y=at(1, -1)), "label 'y' is -1"),
    "label absurd": (change(y=at(1, 2**40, "i8")), "label 'y' is 1099511627776"),
    "label NaN": (change(y=at(1, np.nan)), "label 'y' is nan"),
    "label between classes": (change(y=at(1, 0.5)), "label 'y' is 0.5"),
    "two classes at once": (change(ka=at(1, 1)), "'kind' is not one-hot in event 1"),
    "no class": (change(kb=at(1, 0)), "'kind' is not one-hot in event 1"),
    "weight NaN": (change(w=at(2, np.nan)), "'w' is nan in event 2"),
    "list for a number": (change(w=np.ones((4, 3))), "not one number per event"),
    "number for a list": (change(px=np.ones(4)), "expected"),
    "double precision": (change(px=lambda v: v.astype("f8")), GOOD),
    "whole numbers": (change(px=lambda v: v.astype("i4")), GOOD),
    "unicode and blanks in further names": (change(**{"größe [GeV]": np.ones(4), "粒子": np.ones(4)}), GOOD),
}


def zipped(path: Path, name: str = "w", content: bytes = b"", **options) -> None:
    """The good archive with one member replaced, deflated."""
    buffer = io.BytesIO()
    np.savez(buffer, **slots(columns()))
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.namelist():
            new.writestr(member, content if member == f"{name}.npy" else old.read(member), **options)


def npy(shape: tuple[int, ...], content: bytes = bytes(8), descr: str = "<f8", order: bool = False) -> bytes:
    """An array with any header."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": order, "shape": shape})
    return stream.getvalue() + content


def zip_bomb(path: Path, _: str) -> None:
    """288 MB by the word of array and archive, a few bytes in truth."""
    zipped(path, "w", npy((4, 9_000_000)))
    content, said = path.read_bytes(), struct.pack("<I", 288_000_128)
    for place, name in ((22, 30), (24, 46)):  # of the size and of the name, in the member's header and in the directory's
        start = (content.index if name == 30 else content.rindex)(b"w.npy") - name
        content = content[: start + place] + said + content[start + place + 4 :]
    path.write_bytes(content)


def member(array: bytes, name: str = "w") -> Callable[[Path, str], None]:
    return lambda path, _: zipped(path, name, array)


def inside(how: Callable[[h5py.File], object]) -> Callable[[Path, str], None]:
    """Write the good HDF5 file and do something to it."""

    def make(path: Path, kind: str) -> None:
        write_hdf5(path, columns())
        with h5py.File(path, "a") as file:
            how(file)

    return make


def replaced(name: str, **new) -> Callable[[Path, str], None]:
    """The good HDF5 file with one dataset made otherwise."""

    def how(file: h5py.File) -> None:
        del file[f"t/{name}"]
        file.create_dataset(f"t/{name}", **new)

    return inside(how)


def linked(link: object) -> Callable[[Path, str], None]:
    def how(file: h5py.File) -> None:
        del file["t/w"]
        file["t/w"] = link

    return inside(how)


def external(file: h5py.File) -> None:
    other = Path(file.filename).with_name("other.bin")
    other.write_bytes(bytes(64))
    del file["t/w"]
    file.create_dataset("t/w", (4,), "f8", external=[(str(other), 0, 64)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource("/etc/hostname.h5", "w", (4,))
    del file["t/w"]
    file.create_virtual_dataset("t/w", layout)


def circle(file: h5py.File) -> None:
    file["t/again"] = file["t"]
    file["t/soft"] = h5py.SoftLink("/t/soft")


def bomb(path: Path, _: str) -> None:
    """A chunk that unpacks to 3 GB, for a few numbers."""
    write_hdf5(path, columns())
    with h5py.File(path, "a") as file:
        del file["t/w"]
        file.create_dataset("t/w", (4,), "f8", chunks=(4 * 10**8,), maxshape=(None,), compression="gzip")
        file["t/w"].id.write_direct_chunk((0,), b"x\x9c" + bytes(100))


def table(**new: pa.Array) -> Callable[[Path, str], None]:
    """The good Parquet file with some columns replaced by Arrow arrays."""

    def make(path: Path, _: str) -> None:
        write_parquet(path, columns())
        good = pq.read_table(path)
        for name, values in new.items():
            good = good.set_column(good.column_names.index(name), name, values)
        pq.write_table(good, path)

    return make


def twice(path: Path, _: str) -> None:
    write_parquet(path, columns())
    good = pq.read_table(path)
    pq.write_table(good.append_column("w", pa.array(np.zeros(4))), path)


def dictionary_bomb(path: Path, _: str) -> None:
    """320 MB of one number, in a few kilobytes."""
    pq.write_table(
        pa.table(dict.fromkeys([n for n in columns() if n != "n"], np.ones(5_000_000))), path, row_group_size=5_000_000
    )


def offsets(*places: int) -> Callable[[Path, str], None]:
    """The good ROOT file whose baskets say that the particles of event i begin at another place (in particles)."""

    def how(content: bytes) -> bytes:
        for start in range(60, 120):  # the length of the basket's header, from which ROOT counts
            good, bad = (np.array(p, ">i4") * 4 + start for p in ((0, 2, 2, 5), places))
            content = content.replace(good.astype(">i4").tobytes(), bad.astype(">i4").tobytes())
        return content

    return edit(how)


def baskets(place: int, value: int) -> Callable[[Path, str], None]:
    """Every basket's header announces another number; place: bytes before its class name (ROOT's TKey)."""

    def how(content: bytes) -> bytes:
        parts = content.split(b"\x07TBasket")
        return b"\x07TBasket".join([p[:-place] + struct.pack(">i", value) + p[4 - place :] for p in parts[:-1]] + parts[-1:])

    return edit(how)


def words_for_numbers(path: Path, _: str) -> None:
    arrays = lists(columns()) | {"y": ak.Array(["a", "bb", "c", "d"])}
    with uproot.recreate(path) as file:
        file.mktree("t", {n: v.type.content if isinstance(v, ak.Array) else v.dtype for n, v in arrays.items()}).extend(arrays)


def other_objects(path: Path, _: str) -> None:
    with uproot.recreate(path) as file:
        file["h"] = np.histogram([1.0, 2.0])


OWN: dict[str, dict[str, tuple[Callable[[Path, str], None], str | None]]] = {
    "npz": {
        "zip bomb": (zip_bomb, DAMAGED),
        "array of 8 TB": (member(npy((10**12,))), "announces"),
        "more axes than there are": (member(npy((1,) * 70)), "has 1"),
        "negative shape": (member(npy((-4,))), DAMAGED),
        "header that is code": (member(b"\x93NUMPY\x01\x00\x20\x00" + b"__import__('os').system('true')".ljust(32)), DAMAGED),
        "endless header": (member(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b"(" * 99999), DAMAGED),
        "no array inside": (member(b"hello"), DAMAGED),
        "pickled objects": (change(w=np.array([Path()] * 4, object)), "pickled objects are not read"),
        "structured type": (change(w=np.zeros(4, "f4,f4")), "expected numbers"),
        "dates": (change(w=np.zeros(4, "M8[s]")), "expected numbers"),
        "complex numbers": (change(w=np.ones(4, "c16")), "expected numbers"),
        "one number": (change(w=np.float64(1)), "'w' has 0"),
        "flipped content": (edit(lambda c: c.replace(np.float32([3]).tobytes(), np.float32([4]).tobytes())), DAMAGED),
        "no directory": (edit(lambda c: c[: c.rindex(b"PK\x01\x02")]), DAMAGED),
        "encrypted": (edit(lambda c: c.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")), EITHER),
        "counter above the slots": (change(n=at(2, 5, "i8")), "'n' says 5 particles in event 2"),
        "absurd counter": (change(n=at(2, 2**62, "i8")), "'n' says 4611686018427387904"),
        "negative counter": (change(n=at(2, -1, "i8")), "'n' says -1"),
        "counter NaN": (change(n=at(2, np.nan)), "'n' says nan"),
        "deflated": (member(npy((4,), np.ones(4).tobytes())), GOOD),
        "big-endian": (change(px=lambda v: v.astype(">f4"), y=lambda v: v.astype(">i8")), GOOD),
        "half precision": (change(px=lambda v: v.astype("f2")), GOOD),
    },
    "hdf5": {
        "dataset in another file": (inside(external), "from other files"),
        "virtual dataset": (inside(virtual), "from other files"),
        "link to another file": (linked(h5py.ExternalLink("/etc/passwd", "/w")), "no column 't/w'"),
        "link to nothing inside": (linked(h5py.SoftLink("/nowhere")), "no column 't/w'"),
        "link to itself inside": (linked(h5py.SoftLink("/t/w")), "no column 't/w'"),
        "groups in a circle": (inside(circle), EITHER),
        "160 GB announced": (replaced("px", shape=(4, 10**10), dtype="f4", chunks=(1, 1000)), "GB of memory"),
        "endless axis": (replaced("px", shape=(2**62, 4), dtype="f4", chunks=(1, 4), maxshape=(None, 4)), "events"),
        "10 GB in one row": (replaced("w", shape=(4, 5 * 10**8), dtype="f8", chunks=(1, 10**6)), "GB of memory"),
        "chunk of 3 GB": (bomb, "GB of memory"),
        "one number": (replaced("w", data=1.0), "no column 't/w'"),
        "no value at all": (replaced("w", data=h5py.Empty("f8")), "no column 't/w'"),
        "strings of any length": (replaced("w", data=["a"] * 4), "of type object"),
        "lists of any length": (replaced("w", shape=(4,), dtype=h5py.vlen_dtype("f4")), "of type object"),
        "references": (replaced("w", shape=(4,), dtype=h5py.ref_dtype), "of type object"),
        "complex numbers": (replaced("w", data=np.ones(4, "c16")), "of type complex128|has no column"),
        "compound for a number": (replaced("w", data=np.zeros(4, "f4,f4")), "expected numbers"),
        "group for a column": (inside(lambda f: (f.pop("t/w"), f.create_group("t/w"))), "no column 't/w'"),
        "absurd counter": (change(n=at(2, 2**62, "i8")), "'n' says 4611686018427387904"),
        "negative counter": (change(n=at(2, -1, "i8")), "'n' says -1"),
        "big-endian": (change(px=lambda v: v.astype(">f4"), y=lambda v: v.astype(">i8")), GOOD),
        "half precision": (change(px=lambda v: v.astype("f2")), GOOD),
        "truth values": (change(ka=lambda v: v.astype("?")), GOOD),
    },
    "parquet": {
        "320 MB of one number": (dictionary_bomb, "GB of memory"),
        "column twice": (twice, '"w" exists 2 times'),
        "empty cells": (table(w=pa.array([1.0, None, 1.0, 1.0])), "1 empty cells"),
        "empty lists": (table(px=pa.array([[1.0, 1.0], None, [1.0] * 3, [1.0]])), GOOD),
        "lists of lists": (table(px=pa.array([[[1.0]]] * 4)), "holds list"),
        "text in lists": (table(px=pa.array([["a"]] * 4)), "holds string"),
        "dates": (table(w=pa.array([0] * 4, pa.timestamp("s"))), "holds timestamp"),
        "decimals": (table(w=pa.array([1] * 4, pa.decimal128(5))), "holds decimal"),
        "nothing": (table(w=pa.nulls(4)), "holds null"),
        "map": (table(px=pa.array([[("a", 1.0)]] * 4, pa.map_(pa.string(), pa.float64()))), "expected numbers"),
        "structs": (table(w=pa.array([{"a": 1.0}] * 4)), "holds struct"),
        "footer of 2 GB": (edit(lambda c: c[:-8] + struct.pack("<I", 2**31 - 1) + b"PAR1"), DAMAGED),
        "negative footer": (edit(lambda c: c[:-8] + struct.pack("<i", -5) + b"PAR1"), DAMAGED),
        "encrypted": (edit(lambda c: c[:-4] + b"PARE"), DAMAGED),
        "flipped footer": (edit(lambda c: c[:-40] + bytes(b ^ 255 for b in c[-40:-8]) + c[-8:]), DAMAGED),
        "dictionary type": (table(y=pa.array([0, 1, 1, 0]).dictionary_encode()), GOOD),
        "large lists": (table(px=pa.array([[1.0] * n for n in COUNTS], pa.large_list(pa.float64()))), GOOD),
        "compressed": (lambda p, k: write_parquet(p, columns(), compression="brotli"), GOOD),
        "many row groups": (lambda p, k: write_parquet(p, columns(), row_group_size=1), GOOD),
    },
    "root": {
        "text": (words_for_numbers, "expected"),
        "only the first bytes are right": (edit(lambda content: content[:8] + bytes(len(content))), "no column"),
        "no tree": (other_objects, "no column 't/px'"),
        "events that begin beyond the end": (offsets(0, 2, 2, 2**28), "damaged"),
        "events that end before they begin": (offsets(0, 5, 2, 5), "damaged"),
        "events that begin before the first": (offsets(0, -9, 2, 5), "damaged"),
        "basket of 2 GB": (baskets(20, 2**31 - 1), DAMAGED),
        "basket of negative size": (baskets(20, -1), DAMAGED),
        "basket of no size": (baskets(26, 0), DAMAGED),
        "other class name": (edit(lambda c: c.replace(b"TTree", b"TFree")), "no column 't/px'|damaged"),
        "branches of another name": (edit(lambda c: c.replace(b"TBranch", b"TBrunch")), "no column|damaged"),
        "truth values": (change(ka=lambda v: v.astype("?")), GOOD),
        "compressed": (lambda p, k: write_root(p, columns()), GOOD),
    },
}
LIMIT_GB = "0.3"
HOSTILE = [
    *(("npz", n) for n in ("zip bomb", "array of 8 TB", "endless header", "absurd counter")),
    *(("hdf5", n) for n in ("160 GB announced", "endless axis", "10 GB in one row", "chunk of 3 GB")),
    *(("parquet", n) for n in ("320 MB of one number", "footer of 2 GB")),
    *(("root", n) for n in ("basket of 2 GB", "events that begin beyond the end")),
]


def case(kind: str, name: str, folder: Path) -> tuple[Path, Path, str | None]:
    """The file, its card and the words of the error."""
    make, words = (SHARED | OWN[kind])[name]
    path, card = folder / f"bad.{kind}", folder / "card.yaml"
    card.write_text(CARD.format(format=kind, tree="t" if kind in ("root", "hdf5") else '""', layout=NEST[kind]))
    make(path, kind)
    return path, card, words


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in SHARED | OWN[k]])
def test_a_spoilt_file_is_one_error_that_names_it_or_the_right_events(kind, name, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_MAX_GB", LIMIT_GB)
    path, card, words = case(kind, name, tmp_path)
    before, start = sorted(tmp_path.iterdir()), time.perf_counter()
    try:
        cloud = data.read(path, card)
    except CloudchamberError as error:
        assert words is not GOOD, error
        assert path.name in str(error)
        with pytest.raises(type(error), match=words or None):
            data.convert(path, tmp_path / "store", card=card)
        assert sorted(tmp_path.iterdir()) == before
    else:
        assert not words, "an error was expected"
        assert cloud.counts.tolist() == COUNTS.tolist()
        assert [cloud.flat(n).tolist() for n in MOMENTUM] == [[v] * 6 for v in (1.0, 2.0, 2.0, 3.0)]
        assert (cloud.labels["y"].tolist(), cloud.labels["kind"].tolist()) == ([0, 1, 1, 0], [0, 1, 1, 0])
        assert cloud.weights.tolist() == [1.0] * 4
    assert time.perf_counter() - start < 10


READING = """
import json, os, resource, sys
from cloudchamber import data, errors
for path, card in json.loads(sys.stdin.read()):
    if os.fork() == 0:
        try:
            data.read(path, card)
            said = "read"
        except errors.CloudchamberError as error:
            said = "error"
        print(json.dumps([path, said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]), flush=True)
        os._exit(0)
    os.wait()
"""


def test_hostile_files_are_refused_in_less_than_one_gigabyte(tmp_path):
    files = []
    for number, (kind, name) in enumerate(HOSTILE):
        folder = tmp_path / str(number)
        folder.mkdir()
        files.append([str(p) for p in case(kind, name, folder)[:2]])
    run = subprocess.run(
        [sys.executable, "-c", READING],
        input=json.dumps(files),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CLOUDCHAMBER_MAX_GB": LIMIT_GB},
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(found) == len(HOSTILE)
    assert [(n, said) for n, (_, said, _) in zip(HOSTILE, found, strict=True) if said != "error"] == []
    assert max(gigabytes for _, _, gigabytes in found) < 1
