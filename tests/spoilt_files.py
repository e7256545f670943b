"""Spoilt files: a good file of each container, ways to spoil it, and what reading it must do: one error, or the events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from cloudchamber import data
from cloudchamber.errors import CloudchamberError
from cloudchamber.events import MOMENTUM, Cloud

LIMIT_GB = "0.1"
Make = Callable[[Path, str], object]
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


def change(**new) -> Make:
    """Write the file with some columns replaced (by arrays, or functions of the usual ones); None leaves one out."""

    def make(path: Path, kind: str) -> None:
        c = columns()
        c |= {n: v(c[n]) if callable(v) else v for n, v in new.items()}
        WRITERS[kind](path, {n: v for n, v in c.items() if v is not None})

    return make


def at(place: int, value: float, dtype: str = "f8") -> Callable[[np.ndarray], np.ndarray]:
    """A column with one value replaced."""
    return lambda old: np.where(np.arange(len(old)) == place, value, old.astype(dtype)).astype(dtype)


def edit(how: Callable[[bytes], bytes]) -> Make:
    """Write the good file and change its bytes."""

    def make(path: Path, kind: str) -> None:
        WRITERS[kind](path, columns())
        path.write_bytes(how(path.read_bytes()))

    return make


def cut(share: float) -> Make:
    return edit(lambda content: content[: int(len(content) * share)])


def instead(how: Callable[[Path], object]) -> Callable[[Path, Any], object]:
    """Something else at the path, whatever the format."""
    return lambda path, _: how(path)


def unreadable(good: Callable[[Path, Any], object]) -> Callable[[Path, Any], None]:
    """Write the good file and take away the right to read it."""

    def make(path: Path, how: Any) -> None:
        if os.geteuid() == 0:
            pytest.skip("root may read everything")
        good(path, how)
        path.chmod(0)

    return make


DAMAGED = "truncated or damaged"
GOOD = None  # the usual events must come out
EITHER = ""  # the usual events or an error
# Name -> how the file is made, and words of the error. First what is no file of any format, or no file at all.
OTHER: dict[str, tuple[Callable[[Path, Any], object], str]] = {
    "empty": (instead(lambda p: p.write_bytes(b"")), "is empty"),
    "PNG": (
        instead(lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(2000))),
        "PNG.*neither a ROOT.*nor a HepMC, LHE or TrackML",
    ),
    "LFS pointer": (instead(lambda p: p.write_text("version https://git-lfs.github.com/spec/v1\n")), "Git LFS pointer"),
    "folder": (instead(lambda p: p.mkdir()), "is not a store"),
    "pipe": (instead(os.mkfifo), "is a pipe"),
    "link to itself": (instead(lambda p: p.symlink_to(p)), "symbolic links"),
    "link to nothing": (instead(lambda p: p.symlink_to(p.with_name("no"))), "No such file"),
}
SHARED: dict[str, tuple[Make, str | None]] = {
    **OTHER,
    "good": (change(), GOOD),
    "cut after 10 bytes": (edit(lambda content: content[:10]), DAMAGED),
    "cut at 20 %": (cut(0.2), DAMAGED),
    "cut at 50 %": (cut(0.5), DAMAGED),
    "cut at 80 %": (cut(0.8), DAMAGED),
    "cut at 97 %": (cut(0.97), DAMAGED),
    "zeros": (edit(lambda content: bytes(len(content))), "neither a ROOT"),
    "only the first bytes are right": (edit(lambda content: content[:8] + bytes(len(content))), DAMAGED),
    "garbage before": (edit(lambda content: b"garbage" + content), "neither a ROOT"),
    "garbage after": (edit(lambda content: content + b"garbage " * 9), EITHER),
    "unreadable": (unreadable(change()), "Permission denied"),
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
    "label out of range": (change(y=at(1, 2)), r"label 'y' is 2\S* in event 1, expected 0 to 1"),
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


def read_or_refused(path: Path, card: Path | None, words: str | None) -> Cloud | None:
    """The events of a file, if `words` let it have any; None after one error with these words.

    It names the file or one beside it, leaves nothing behind, and takes less than ten seconds of work; converting does so too.
    """
    before, start = sorted(path.parent.iterdir()), time.process_time()
    try:
        cloud = data.read(path, card)
    except CloudchamberError as error:
        kind, said = type(error), str(error)
    else:
        assert not words, "an error was expected"
        return cloud
    finally:
        assert time.process_time() - start < 10
    assert words is not GOOD, said
    assert any(p.name in said for p in before)
    with pytest.raises(kind, match=words or None):
        data.convert(path, path.with_name("store"), card=card)
    assert sorted(path.parent.iterdir()) == before
    return None


_READING = """
import json, os, resource, sys
from cloudchamber import data, errors
for path, card in json.loads(sys.stdin.read()):
    if os.fork() == 0:
        try:
            data.read(path, card)
            said = "read"
        except errors.CloudchamberError as error:
            said = "error"
        print(json.dumps([said, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6]), flush=True)
        os._exit(0)
    os.wait()
"""


def assert_refused_in_little_memory(files: Sequence[tuple[Path, Path | None]]) -> None:
    """Reading each file (with its card) in a process of its own ends in an error, with less than a gigabyte taken."""
    run = subprocess.run(
        [sys.executable, "-c", _READING],
        input=json.dumps([[str(path), card and str(card)] for path, card in files]),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "CLOUDCHAMBER_MAX_GB": LIMIT_GB},
    )
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert [said for said, _ in found] == ["error"] * len(files)
    assert max(gigabytes for _, gigabytes in found) < 1
