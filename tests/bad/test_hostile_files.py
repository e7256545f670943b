"""Every container of columns spoilt in many ways: one error that names the file, or the right events; little memory."""

from __future__ import annotations

import io
import struct
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
from tests.spoilt_files import (
    CARD,
    COUNTS,
    DAMAGED,
    EITHER,
    GOOD,
    KINDS,
    LIMIT_GB,
    NEST,
    SHARED,
    Make,
    assert_refused_in_little_memory,
    at,
    change,
    columns,
    edit,
    lists,
    read_or_refused,
    slots,
    write_hdf5,
    write_parquet,
    write_root,
)

from cloudchamber.events import MOMENTUM


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
    """80 MB by the word of array and archive, a few bytes in truth."""
    zipped(path, "w", npy((4, 2_500_000)))
    content, said = path.read_bytes(), struct.pack("<I", 80_000_128)
    for place, name in ((22, 30), (24, 46)):  # of the size and of the name, in the member's header and in the directory's
        start = (content.index if name == 30 else content.rindex)(b"w.npy") - name
        content = content[: start + place] + said + content[start + place + 4 :]
    path.write_bytes(content)


def member(array: bytes, name: str = "w") -> Make:
    return lambda path, _: zipped(path, name, array)


def inside(how: Callable[[h5py.File], object]) -> Make:
    """Write the good HDF5 file and do something to it."""

    def make(path: Path, kind: str) -> None:
        write_hdf5(path, columns())
        with h5py.File(path, "a") as file:
            how(file)

    return make


def replaced(name: str, **new) -> Make:
    """The good HDF5 file with one dataset made otherwise."""

    def how(file: h5py.File) -> None:
        del file[f"t/{name}"]
        file.create_dataset(f"t/{name}", **new)

    return inside(how)


def linked(link: object) -> Make:
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


def table(**new: pa.Array) -> Make:
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


def offsets(*places: int) -> Make:
    """The good ROOT file whose baskets say that the particles of event i begin at another place (in particles)."""

    def how(content: bytes) -> bytes:
        for start in range(60, 120):  # the length of the basket's header, from which ROOT counts
            good, bad = (np.array(p, ">i4") * 4 + start for p in ((0, 2, 2, 5), places))
            content = content.replace(good.astype(">i4").tobytes(), bad.astype(">i4").tobytes())
        return content

    return edit(how)


def baskets(place: int, value: int) -> Make:
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


OWN: dict[str, dict[str, tuple[Make, str | None]]] = {
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
        "counter above the slots": (change(n=at(2, 5, "i8")), "'n' says 5 particles in event 2, expected 0 to 4"),
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
        "endless axis": (replaced("px", shape=(2**62, 4), dtype="f4", chunks=(1, 4), maxshape=(None, 4)), "announces 4,611"),
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
        "only the first bytes are right": (edit(lambda content: content[:8] + bytes(len(content))), "no tree"),
        "no tree": (other_objects, "has no tree 't'"),
        "events that begin beyond the end": (offsets(0, 2, 2, 2**28), "damaged"),
        "events that end before they begin": (offsets(0, 5, 2, 5), "damaged"),
        "events that begin before the first": (offsets(0, -9, 2, 5), "damaged"),
        "basket of 2 GB": (baskets(20, 2**31 - 1), DAMAGED),
        "basket of negative size": (baskets(20, -1), DAMAGED),
        "basket of no size": (baskets(26, 0), DAMAGED),
        "other class name": (edit(lambda c: c.replace(b"TTree", b"TFree")), "has no tree 't'|damaged"),
        "branches of another name": (edit(lambda c: c.replace(b"TBranch", b"TBrunch")), "no column|damaged"),
        "truth values": (change(ka=lambda v: v.astype("?")), GOOD),
        "compressed": (lambda p, k: write_root(p, columns()), GOOD),
    },
}
HOSTILE = [
    *(("npz", n) for n in ("zip bomb", "array of 8 TB", "endless header", "absurd counter")),
    *(("hdf5", n) for n in ("160 GB announced", "endless axis", "10 GB in one row", "chunk of 3 GB")),
    *(("parquet", n) for n in ("320 MB of one number", "footer of 2 GB")),
    *(("root", n) for n in ("basket of 2 GB", "events that begin beyond the end")),
]


def case(kind: str, name: str, folder: Path) -> tuple[Path, Path, str | None]:
    """The file, its card and the words of the error."""
    make, words = (SHARED | OWN[kind])[name]
    folder.mkdir(exist_ok=True)
    path, card = folder / f"bad.{kind}", folder / "card.yaml"
    card.write_text(CARD.format(format=kind, tree="t" if kind in ("root", "hdf5") else '""', layout=NEST[kind]))
    make(path, kind)
    return path, card, words


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in KINDS for n in SHARED | OWN[k]])
def test_a_spoilt_file_is_one_error_that_names_it_or_the_right_events(kind, name, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_MAX_GB", LIMIT_GB)
    path, card, words = case(kind, name, tmp_path)
    cloud = read_or_refused(path, card, words)
    if cloud is None:
        return
    assert cloud.counts.tolist() == COUNTS.tolist()
    assert [cloud.flat(n).tolist() for n in MOMENTUM] == [[v] * 6 for v in (1.0, 2.0, 2.0, 3.0)]
    assert (cloud.labels["y"].tolist(), cloud.labels["kind"].tolist()) == ([0, 1, 1, 0], [0, 1, 1, 0])
    assert cloud.weights.tolist() == [1.0] * 4


def test_hostile_files_are_refused_in_less_than_one_gigabyte(tmp_path):
    assert_refused_in_little_memory([case(*which, tmp_path / str(number))[:2] for number, which in enumerate(HOSTILE)])
