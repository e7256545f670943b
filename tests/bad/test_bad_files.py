"""Malformed and hostile files: one clear error each, nothing left behind, no memory taken on a file's word."""

from __future__ import annotations

import io
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from typer.testing import CliRunner

from cloudchamber import data
from cloudchamber.cli.main import app
from cloudchamber.errors import BadCard, BadFile, BadInput, CloudchamberError, MissingColumn, UnknownFormat

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
COUNTS = np.array([2, 0, 3, 1])


def jetclass(path: Path, drop: str = "", **changes: np.ndarray) -> Path:
    """Four jets with six particles of (1, 2, 2, 3) GeV, all Hbb; `changes` replaces branches, `drop` leaves one out."""
    values = {"px": 1.0, "py": 2.0, "pz": 2.0, "energy": 3.0}
    names = (
        "charge",
        "d0val",
        "d0err",
        "dzval",
        "dzerr",
        "isChargedHadron",
        "isNeutralHadron",
        "isPhoton",
        "isElectron",
        "isMuon",
    )
    flat = {f"part_{n}": np.full(6, v, np.float32) for n, v in (values | dict.fromkeys(names, 0.0)).items()}
    flat |= {f"label_{n}": np.full(4, n == "Hbb", np.float32) for n in CLASSES}
    flat |= changes
    branches = {n: ak.unflatten(v, COUNTS) if n.startswith("part_") else v for n, v in flat.items() if n != drop}
    with uproot.recreate(path) as file:
        tree = file.mktree("tree", {n: "var * float32" if n.startswith("part_") else "float32" for n in branches})
        tree.extend(branches)
    return path


def padded(path: Path, **changes: np.ndarray) -> Path:
    """Three quark or gluon jets in the layout of the shipped card quark_gluon_padded."""
    p = {"px": 1.0, "py": 2.0, "pz": 2.0, "E": 3.0}
    arrays = {n: np.full((3, 4), v, np.float32) for n, v in p.items()} | {"n": np.array([4, 0, 2]), "y": np.array([0, 1, 1])}
    np.savez(path, **(arrays | changes))
    return path


def set_at(n: int, at: int, value: float, rest: float) -> np.ndarray:
    values = np.full(n, rest, np.float32)
    values[at] = value
    return values


def files(tmp_path: Path) -> dict[str, Path]:
    """One good file of each container."""
    root, npz = jetclass(tmp_path / "a.root"), padded(tmp_path / "a.npz")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("df/block0_values", data=np.ones((20, 2101)), compression="gzip")
    store = data.convert(npz, tmp_path / "store")
    return {"root": root, "npz": npz, "hdf5": tmp_path / "a.h5", "parquet": store.path / store.manifest.shards[0].file}


KINDS = ["root", "npz", "hdf5", "parquet"]


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_never_escape_as_a_foreign_error(kind, tmp_path):
    content, path = files(tmp_path)[kind].read_bytes(), tmp_path / "flipped.dat"
    rng = np.random.default_rng(3)
    for _ in range(20):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[rng.integers(8, len(damaged), 8)] = rng.integers(0, 256, 8)
        path.write_bytes(damaged.tobytes())
        try:
            data.read(path)  # the damage may lie where nothing is read
        except CloudchamberError as error:
            assert "flipped.dat" in str(error)  # noqa: PT017


def test_no_file_at_all_is_told():
    with pytest.raises(BadInput, match="no file"):
        data.read([])


def test_a_file_that_no_reader_knows_lists_its_columns_and_says_what_a_card_is(tmp_path):
    np.savez(tmp_path / "x.npz", momentum=np.zeros((3, 4)), truth=np.zeros(3))
    with pytest.raises(UnknownFormat, match=r"momentum, truth.*card"):
        data.read(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("branch", "value", "words"),
    [
        ("part_px", np.nan, "'px' .from 'tree/part_px'. is nan for particle 1 of event 2, expected a finite"),
        ("part_energy", np.inf, "part_energy'. is inf"),
        ("part_energy", -1.0, "expected an energy of at least 0"),
        ("part_energy", 2.5, r"is 2\.5 for particle 1 of event 2, expected at least .p. = 3 GeV"),
        ("part_dzerr", np.inf, None),
    ],
)
def test_impossible_particles_are_named_by_column_and_event(branch, value, words, tmp_path):
    charge = {"part_charge": np.ones(6, np.float32)} if words is None else {}
    usual = 3.0 if branch == "part_energy" else 1.0
    path = jetclass(tmp_path / "x.root", **{branch: set_at(6, 3, value, usual)}, **charge)
    with pytest.raises(BadFile, match=words or "'dz_err' .from 'tree/part_dzerr'. is inf for particle 1 of event 2"):
        data.read(path)


def test_the_event_number_is_that_of_the_file_when_a_part_is_read(tmp_path):
    path = jetclass(tmp_path / "x.root", part_px=set_at(6, 5, np.nan, 1.0))
    assert len(data.read(path, stop=3)) == 3
    with pytest.raises(BadFile, match="particle 0 of event 3"):
        data.read(path, start=2)


def test_energy_may_fall_short_by_rounding(tmp_path):
    path = jetclass(tmp_path / "x.root", part_energy=np.full(6, 2.9985, np.float32))
    assert len(data.read(path)) == 4


@pytest.mark.parametrize(
    ("value", "at", "got"),
    [(0.0, 2, "event 2.*expected one 1"), (2.0, 0, "event 0"), (np.nan, 1, "event 1")],
)
def test_labels_that_are_not_one_hot_are_named(value, at, got, tmp_path):
    with pytest.raises(BadFile, match=f"'label_.' is not one-hot in {got}"):
        data.read(jetclass(tmp_path / "x.root", label_Hbb=set_at(4, at, value, 1.0)))


def test_a_missing_branch_names_the_nearest(tmp_path):
    with pytest.raises(MissingColumn, match=r"no column 'tree/part_pz'.*Nearest: 'tree/part_p"):
        data.read(jetclass(tmp_path / "x.root", drop="part_pz"))
    with pytest.raises(MissingColumn, match="'tree/label_Tbl'"):
        data.read(jetclass(tmp_path / "y.root", drop="label_Tbl"))


def test_columns_of_different_lengths_are_told(tmp_path):
    with pytest.raises(BadFile, match="has 2 events"):
        data.read(padded(tmp_path / "x.npz", y=np.array([0, 1])))


def test_an_energyflow_array_of_other_columns_is_not_taken_for_one(tmp_path):
    X = np.full((3, 5, 4), 100.0)
    np.savez(tmp_path / "x.npz", X=X, y=np.zeros(3))
    with pytest.raises(BadFile, match=r"phi beyond 2 pi.*card"):
        data.read(tmp_path / "x.npz")
    X[..., 2] = 1.0
    np.savez(tmp_path / "x.npz", X=X, y=np.zeros(3))
    with pytest.raises(BadFile, match=r"100 is not the PDG code.*card"):
        data.read(tmp_path / "x.npz")


def test_an_absurd_angle_is_an_error_and_not_a_warning(tmp_path):
    values = np.zeros((2, 2101))
    values[1, :3] = 100.0, 2000.0, 0.0
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["df/block0_values"] = values
    with pytest.raises(BadFile, match="'pz' is inf for particle 0 of event 1"):
        data.read(tmp_path / "x.h5")


def test_a_label_below_the_shift_of_its_data_set_is_told(tmp_path):
    with h5py.File(tmp_path / "jetclass.h5", "w") as file:
        file["data"], file["pid"] = np.ones((3, 2, 4), np.float32), np.array([2, 1, 5])
    with pytest.raises(BadFile, match="'pid' is -1 in event 1"):
        data.read(tmp_path / "jetclass.h5")


def test_a_file_that_announces_too_much_is_refused_before_memory_is_taken(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:  # nothing is stored: 2 TB of zeros by the file's word
        file.create_dataset("df/block0_values", shape=(10**8, 2101), dtype="f8", chunks=(100, 2101))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 100, 4)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("X.npy", header.getvalue() + bytes(8))
    tracemalloc.start()
    with pytest.raises(BadFile, match=r"would take 1680\.8 GB of memory, the limit is 8 GB"):
        data.read(tmp_path / "x.h5")
    with pytest.raises(BadFile, match="announces shape"):
        data.read(tmp_path / "x.npz")
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()
    assert len(data.read(tmp_path / "x.h5", start=10, stop=12)) == 2


def test_the_memory_limit_is_the_users(tmp_path, monkeypatch):
    paths = files(tmp_path)
    monkeypatch.setenv("CLOUDCHAMBER_MAX_GB", "1e-8")
    for path in paths.values():
        with pytest.raises(BadFile, match="CLOUDCHAMBER_MAX_GB"):
            data.read(path)
    monkeypatch.setenv("CLOUDCHAMBER_MAX_GB", "much")
    with pytest.raises(BadInput, match="CLOUDCHAMBER_MAX_GB is 'much'"):
        data.read(paths["root"])


def test_a_blosc_file_without_hdf5plugin_names_the_package(tmp_path):
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("df/block0_values", data=np.ones((20, 2101)), **hdf5plugin.Blosc())
    assert len(data.read(tmp_path / "x.h5")) == 20
    code = f"""
import sys
sys.modules["hdf5plugin"] = None
from cloudchamber import data, errors
try:
    data.read({str(tmp_path / "x.h5")!r})
except errors.MissingExtra as error:
    sys.exit(0 if "blosc" in str(error) and "'hdf5plugin'" in str(error) else str(error))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_null_cells_and_text_in_parquet_are_told(tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(CARD.replace("format: npz", "format: parquet").replace("layout: padded\ncount: n", "layout: jagged"))
    good = {n: [[1.0], [2.0, 0.5]] for n in ("px", "py", "pz")} | {"y": [0, 1]}
    for column, values, words in (
        ("px", [[1.0], [None, 2.0]], "'px' has 1 empty cells"),
        ("py", [["a"], ["b", "c"]], "'py' holds string"),
        ("pz", [[1.0, 2.0], [2.0]], "'pz' has 2 values in event 0, 'px' has 1"),
        ("px", [1.0, 2.0], "'px' has one number per event"),
    ):
        pq.write_table(pa.table(good | {column: values}), tmp_path / "x.parquet")
        with pytest.raises(BadFile, match=words):
            data.read(tmp_path / "x.parquet", card)


CARD = """
name: toy
format: npz
frame: jet
layout: padded
count: n
particles:
  px: {column: px, unit: GeV}
  py: {column: py, unit: GeV}
  pz: {column: pz, unit: GeV}
  mass: {value: 0, unit: GeV}
labels:
  y: {column: y, classes: [gluon, quark]}
"""


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("count: n", "count: n\ncuont: n", "unknown entry 'cuont'. Nearest: 'count'"),
        ("unit: GeV}\n  py", "units: GeV}\n  py", "unknown entry 'particles.px.units'. Nearest: 'unit'"),
        ("unit: GeV}\n  py", "unit: GEV}\n  py", "unknown unit 'GEV'. Nearest: 'GeV'"),
        ("unit: GeV}\n  py", "unit: mm}\n  py", "particles.px has unit 'mm'"),
        ("  mass: {value: 0, unit: GeV}\n", "", "momentum as .px py pz., expected one of.*mass: {value: 0}"),
        ("count: n\n", "", "layout `padded` needs either `count` or `padding`"),
        ("frame: jet", "frame: lab", "entry 'frame': Input should be 'jet'"),
        ("classes: [gluon, quark]", "classes: [gluon, quark], values: [1]", "`values` has 1 entries, `classes` has 2"),
        ("name: toy", "name: [toy", "is not YAML"),
    ],
)
def test_a_wrong_card_says_which_entry_to_edit(old, new, words, tmp_path):
    card = tmp_path / "card.yaml"
    assert old in CARD
    card.write_text(CARD.replace(old, new, 1))
    with pytest.raises(BadCard, match=words):
        data.read(padded(tmp_path / "x.npz"), card)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("column: pz", "column: pzz", r"no column 'pzz'. Nearest: 'pz'.*Edit particles.pz in .*card\.yaml"),
        ("column: y", "column: yy", "no column 'yy'. Nearest: 'y'.*Edit labels.y"),
        ("column: pz", "column: pz, index: 2", "expected events x slots x quantities.*Edit particles.pz"),
        ("column: pz", "column: pz, index: 9", "index 9 on axis -1 is outside the shape"),
        ("column: y", "column: px", "column 'px' has not one number per event. Edit labels.y"),
        ("format: npz", "format: hdf5", "is a npz file"),
        ("layout: padded\ncount: n", "layout: jagged", "'px' has one number per event, expected a list. Edit particles.px"),
        ("name: toy", "name: toy\nselection: [{column: y, min: 7}]", "selection keeps none of its 3 events"),
    ],
)
def test_a_card_that_does_not_fit_its_file_says_which_entry_to_edit(old, new, words, tmp_path):
    card = tmp_path / "card.yaml"
    assert old in CARD
    card.write_text(CARD.replace(old, new, 1))
    with pytest.raises(BadFile, match=words):
        data.read(padded(tmp_path / "x.npz"), card)


def test_an_unknown_shipped_card_names_the_nearest(tmp_path):
    with pytest.raises(BadCard, match="'quark_gluon_padded'"):
        data.read(padded(tmp_path / "x.npz"), "quark_gluon")
    with pytest.raises(BadCard, match="no such card file"):
        data.read(padded(tmp_path / "x.npz"), tmp_path / "no.yaml")


def test_the_command_line_ends_with_one_error_and_leaves_nothing(tmp_path):
    good, bad = padded(tmp_path / "good.npz"), padded(tmp_path / "bad.npz", px=np.full((3, 4), np.nan, np.float32))
    runner = CliRunner()
    result = runner.invoke(app, ["convert", str(good), str(bad), "-o", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert result.stderr.count("error:") == 1
    assert "bad.npz: 'px' is nan for particle 0 of event 0" in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "good.npz"]
