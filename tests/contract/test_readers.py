"""Every reader on a small file with the keys and types of its format, against the numbers that went into the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot

from cloudchamber import data, registry
from cloudchamber.errors import BadInput, BadSchema
from cloudchamber.events import Cloud, Label, Schema

N = 30
MASS = {211: 0.13957, 22: 0.0, 2112: 0.93957, 11: 0.000511, 13: 0.10566, 130: 0.49761}
GENERATORS = {"gst", "hepmc", "lhe", "trackml"}  # in test_generator_readers.py
MINERVA = {"minerva_clusters", "minerva_blobs", "minerva_published"}  # in test_minerva.py


@dataclass
class Truth:
    """What goes into a file. Particle arrays are flat; everything is float64."""

    counts: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    code: np.ndarray
    label: np.ndarray
    mass: np.ndarray = field(init=False)

    def __post_init__(self):
        self.mass = np.array([MASS[c] for c in self.code.tolist()])

    def momentum(self, *, massless: bool) -> dict[str, np.ndarray]:
        p = self.pt * np.cosh(self.eta)
        energy = np.sqrt(p**2 + (0 if massless else self.mass**2))
        return {
            "px": self.pt * np.cos(self.phi),
            "py": self.pt * np.sin(self.phi),
            "pz": self.pt * np.sinh(self.eta),
            "energy": energy,
        }

    def pad(self, values: np.ndarray, width: int, fill: float = 0.0) -> np.ndarray:
        padded = np.full((N, width), fill)
        first = 0
        for event, count in enumerate(self.counts):
            padded[event, :count] = values[first : first + count]
            first += count
        return padded


@pytest.fixture
def truth() -> Truth:
    rng = np.random.default_rng(7)
    counts = rng.integers(1, 12, N)
    counts[3] = 0  # an empty event is an event
    size = int(counts.sum())
    pt = rng.exponential(20, size) + 0.1
    pt[5] = 1.0  # its logarithm is 0, which is no padding
    return Truth(
        counts, pt, rng.normal(0, 1, size), rng.uniform(-3, 3, size), rng.choice(list(MASS), size), rng.integers(0, 2, N)
    )


def jetclass(path: Path, t: Truth, label_type: str = "float32") -> dict:
    ten = t.label * 7 + 1  # classes Hbb and Tbqq
    names = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
    charge = np.isin(t.code, (211, 11, 13)).astype(float)
    flags = {"ChargedHadron": t.code == 211, "NeutralHadron": np.isin(t.code, (2112, 130)), "Photon": t.code == 22}
    flags |= {"Electron": t.code == 11, "Muon": t.code == 13}
    values = {f"part_{n}": v for n, v in t.momentum(massless=False).items()} | {"part_charge": charge}
    values |= {
        "part_d0val": 0.1 * charge,
        "part_d0err": 0.01 * charge,
        "part_dzval": -0.3 * charge,
        "part_dzerr": 0.02 * charge,
    }
    values |= {"part_deta": t.eta, "part_dphi": t.phi}
    jagged = {n: ak.unflatten(v.astype(np.float32), t.counts) for n, v in values.items()}
    jagged |= {f"part_is{n}": ak.unflatten(v.astype(np.int32), t.counts) for n, v in flags.items()}
    flat = {f"label_{n}": (ten == i).astype(label_type) for i, n in enumerate(names)}
    with uproot.recreate(path) as file:
        types = {n: f"var * {'int32' if 'is' in n else 'float32'}" for n in jagged}
        tree = file.mktree("tree", types | dict.fromkeys(flat, label_type))
        tree.extend(jagged | flat)
    return {
        **t.momentum(massless=False),
        "charge": charge,
        "is_muon": (t.code == 13).astype(float),
        "is_neutral_hadron": flags["NeutralHadron"].astype(float),
        "d0": np.where(charge > 0, 0.1, np.nan),
        "dz_err": np.where(charge > 0, 0.02, np.nan),
        "labels": {"label": ten},
    }


def landscape(path: Path, t: Truth) -> dict:
    p = t.momentum(massless=False)
    slots = np.stack([t.pad(p[n], 200) for n in ("energy", "px", "py", "pz")], axis=2).reshape(N, 800)
    table = np.zeros(N, dtype=[("index", "i8"), ("values_block_0", "f4", (804,)), ("values_block_1", "i8", (2,))])
    table["values_block_0"][:, :800] = slots
    table["values_block_1"][:, 1] = t.label
    with h5py.File(path, "w") as file:
        file.create_dataset("table/table", data=table)
    return {**p, "labels": {"is_signal_new": t.label}}


def energyflow(path: Path, t: Truth) -> dict:
    p = t.momentum(massless=False)
    rapidity = 0.5 * np.log((p["energy"] + p["pz"]) / (p["energy"] - p["pz"]))
    X = np.stack([t.pad(v, 14) for v in (t.pt, rapidity, t.phi % (2 * np.pi), t.code.astype(float))], axis=2)
    np.savez(path, X=X, y=t.label.astype(np.float64))
    charge = np.select([t.code == 211, np.isin(t.code, (11, 13))], [1.0, -1.0], 0.0)
    return {**p, "charge": charge, "is_electron": (t.code == 11).astype(float), "labels": {"y": t.label}}


def lhco(path: Path, t: Truth) -> dict:
    slots = np.stack([t.pad(v, 700) for v in (t.pt, t.eta, t.phi)], axis=2).reshape(N, 2100)
    with h5py.File(path, "w") as file:
        file.create_dataset("df/block0_values", data=np.column_stack([slots, t.label]), compression="gzip")
        file.create_dataset("df/axis0", data=np.arange(2101))
        file.create_dataset("df/axis1", data=np.arange(N))
    return {**t.momentum(massless=True), "labels": {"label": t.label}}


def omnilearned(path: Path, t: Truth) -> dict:
    p = t.momentum(massless=True)
    charged = np.isin(t.code, (211, 11, 13))
    d0, d0_err = np.where(charged, 0.25, 0.0), np.where(charged, 0.05, 0.0)
    values = (t.eta, t.phi, np.log(t.pt), np.log(p["energy"]), np.ones_like(t.pt), np.tanh(d0), d0_err, np.tanh(2 * d0), d0_err)
    path = path.parent / "jetclass" / "train" / path.name
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["data"] = np.stack([t.pad(v, 20) for v in values], axis=2).astype(np.float32)
        file["pid"] = t.label + 3  # the shared numbering: jetclass begins at 2
        file["global"] = np.column_stack([np.full(N, 2.5), t.counts / 100])
    return {
        **p,
        "d0": np.where(charged, 0.25, np.nan),
        "dz": np.where(charged, 0.5, np.nan),
        "d0_err": np.where(charged, 0.05, np.nan),
        "labels": {"pid": t.label + 1},
        "columns": {"global_0": np.full(N, 2.5), "global_1": t.counts / 100},
        "path": path,
    }


def store(path: Path, t: Truth) -> dict:
    schema = Schema(dataset="toy", frame="jet", labels=(Label(name="kind", classes=("a", "b")),))
    p = {n: v.astype(np.float32) for n, v in t.momentum(massless=False).items()}
    cloud = Cloud.from_flat(t.counts, p, {"kind": t.label}, schema)
    folder = path.with_suffix("")
    data.store.write(folder, [cloud])
    return {**p, "labels": {"kind": t.label}, "path": folder / "shard-00000.parquet"}


FORMATS: dict[str, tuple[str, Callable[[Path, Truth], dict]]] = {
    "jetclass": ("x.root", jetclass),
    "landscape": ("x.h5", landscape),
    "energyflow": ("x.npz", energyflow),
    "lhco": ("x.h5", lhco),
    "omnilearned": ("x.h5", omnilearned),
    "store": ("x.parquet", store),
}


def test_every_reader_of_the_registry_has_a_toy_file():
    assert set(FORMATS) | GENERATORS | MINERVA == set(registry.entries("readers"))


@pytest.fixture(params=sorted(FORMATS))
def case(request, tmp_path, truth) -> tuple[str, Path, dict]:
    name, make = FORMATS[request.param]
    expected = make(tmp_path / name, truth)
    return request.param, expected.get("path", tmp_path / name), expected


def test_a_file_is_recognised_by_its_content_alone(case):
    name, path, _ = case
    other = path.rename(path.with_name("renamed.dat")) if name != "omnilearned" else path
    assert data.recognise(other).name == name


def test_numbers_are_those_that_went_into_the_file(case, truth):
    _, path, expected = case
    cloud = data.read(path)
    assert cloud.counts.tolist() == truth.counts.tolist()
    for name, values in expected.items():
        if name not in ("labels", "columns", "path"):
            assert cloud.flat(name).dtype == np.float32
            np.testing.assert_allclose(cloud.flat(name), values, rtol=2e-6, atol=2e-5, err_msg=name)
    for name, values in expected["labels"].items():
        assert cloud.labels[name].dtype == np.int64
        assert cloud.labels[name].tolist() == values.tolist()
    for name, values in expected.get("columns", {}).items():
        np.testing.assert_allclose(cloud.events[name], values)


def test_a_block_of_events_is_that_slice_of_the_whole(case):
    _, path, _ = case
    whole, part = data.read(path), data.read(path, start=7, stop=19)
    assert part.counts.tolist() == whole.counts[7:19].tolist()
    assert part.flat("pz").tobytes() == whole[7:19].flat("pz").tobytes()
    assert data.store.event_ids(part).tolist() == data.store.event_ids(whole)[7:19].tolist()


def test_several_files_are_read_one_after_the_other(case):
    _, path, _ = case
    once = data.read(path)
    twice = data.read([path, path], start=25, stop=40)
    assert twice.counts.tolist() == [*once.counts[25:], *once.counts[:10]]
    with pytest.raises(BadInput, match="there are 60"):
        data.read([path, path], start=60, stop=61)


def test_every_format_but_ours_says_whom_to_cite_and_what_its_label_is(case):
    name, path, expected = case
    cloud = data.read(path)
    assert name == "store" or (cloud.schema.citation and cloud.schema.citation == registry.get("readers", name).citation)
    assert cloud.schema.resolve("label") in expected["labels"]
    assert cloud.labels["label"] is cloud.events[next(iter(expected["labels"]))]


def test_converting_keeps_every_number(case, tmp_path):
    _, path, _ = case
    steps = []
    converted = data.convert(path, tmp_path / "out", progress=lambda done, total: steps.append((done, total)))
    cloud, back = data.read(path), converted.read()
    assert back.schema == cloud.schema
    for name in cloud.particles.fields:
        assert back.flat(name).tobytes() == cloud.flat(name).tobytes()
    assert steps[-1] == (N, N)
    assert converted.manifest.provenance["parents"][0]["name"] == path.name


@pytest.mark.parametrize("label_type", ["float32", "int32", "bool"])
def test_jetclass_labels_may_have_any_type(label_type, tmp_path, truth):
    expected = jetclass(tmp_path / "x.root", truth, label_type)
    assert data.read(tmp_path / "x.root").labels["label"].tolist() == expected["labels"]["label"].tolist()


def test_omnilearned_keeps_a_particle_of_one_gev(tmp_path, truth):
    cloud = data.read(omnilearned(tmp_path / "x.h5", truth)["path"])
    assert np.isclose(np.hypot(cloud.flat("px"), cloud.flat("py")), 1.0).any()
    assert len(cloud.flat("px")) == truth.counts.sum()


def test_omnilearned_labels_are_shifted_by_the_name_of_the_folder_or_file(tmp_path, truth):
    path = omnilearned(tmp_path / "x.h5", truth)["path"]
    assert data.read(path).schema.labels[0].classes[1] == "Hbb"
    alone = path.rename(tmp_path / "some.h5")
    assert data.read(alone).labels["pid"].tolist() == (truth.label + 3).tolist()
    named = alone.rename(tmp_path / "jetclass.h5")
    assert data.read(named).labels["pid"].tolist() == (truth.label + 1).tolist()


def test_an_lhco_black_box_has_no_label(tmp_path, truth):
    slots = np.stack([truth.pad(v, 700) for v in (truth.pt, truth.eta, truth.phi)], axis=2).reshape(N, 2100)
    with h5py.File(tmp_path / "box.h5", "w") as file:
        file["df/block0_values"] = slots
    cloud = data.read(tmp_path / "box.h5")
    assert cloud.schema.labels == ()
    assert len(cloud) == N


def test_energyflow_without_codes_is_massless(tmp_path, truth):
    X = np.stack([truth.pad(v, 14) for v in (truth.pt, truth.eta, truth.phi)], axis=2)
    np.savez(tmp_path / "x.npz", X=X, y=truth.label)
    cloud = data.read(tmp_path / "x.npz")
    np.testing.assert_allclose(cloud.flat("energy"), truth.pt * np.cosh(truth.eta), rtol=1e-6)


CARD = """
name: toy tracker
format: {format}
tree: {tree}
frame: fixed-target
layout: jagged
particles:
  pt: {{column: trk_pt, unit: MeV}}
  eta: {{column: trk_eta}}
  phi: {{column: trk_phi, unit: deg}}
  mass: {{value: 139.57, unit: MeV}}
  d0: {{column: trk_d0, unit: cm, missing: -999}}
columns:
  vertex_z: {{column: vz, unit: m}}
labels:
  flavour: {{column: code, classes: [light, charm, bottom], values: [0, 4, 5]}}
  visible: {{column: evis, unit: MeV}}
weight: w
selection:
  - {{column: quality, min: 1, max: 2}}
citation: ["doi:10.0000/toy"]
"""


@pytest.mark.parametrize("kind", ["root", "parquet"])
def test_a_card_gives_names_units_labels_and_a_selection_to_any_file(kind, tmp_path, truth):
    t = truth
    quality = np.arange(N) % 4
    d0 = np.where(t.code == 22, -999.0, 0.02)
    jagged = {"trk_pt": 1e3 * t.pt, "trk_eta": t.eta, "trk_phi": np.rad2deg(t.phi), "trk_d0": d0}
    flat = {
        "vz": np.full(N, 2.0),
        "code": np.where(t.label, 5, 4),
        "evis": np.arange(N) * 1e3,
        "w": np.ones(N),
        "quality": quality,
    }
    path = tmp_path / f"x.{kind}"
    if kind == "root":
        with uproot.recreate(path) as file:
            file.mktree("Trk", dict.fromkeys(jagged, "var * float64") | dict.fromkeys(flat, "float64")).extend(
                {n: ak.unflatten(v, t.counts) for n, v in jagged.items()} | {n: v.astype(float) for n, v in flat.items()}
            )
    else:
        lists = {n: ak.to_list(ak.unflatten(v, t.counts)) for n, v in jagged.items()}
        pq.write_table(pa.table(lists | flat), path, row_group_size=8)
    card = tmp_path / "card.yaml"
    card.write_text(CARD.format(format=kind, tree="Trk" if kind == "root" else '""'))
    cloud = data.read(path, card)
    keep = (quality == 1) | (quality == 2)
    rows = np.repeat(keep, t.counts)
    assert cloud.counts.tolist() == t.counts[keep].tolist()
    np.testing.assert_allclose(np.hypot(cloud.flat("px"), cloud.flat("py")), t.pt[rows], rtol=1e-5)
    np.testing.assert_allclose(cloud.flat("energy"), np.sqrt((t.pt * np.cosh(t.eta)) ** 2 + 0.13957**2)[rows], rtol=1e-5)
    np.testing.assert_allclose(cloud.flat("d0"), np.where(t.code == 22, np.nan, 0.2)[rows], rtol=1e-6)
    np.testing.assert_allclose(cloud.events["vertex_z"], 2000.0)
    assert [f.unit for f in (*cloud.schema.features, *cloud.schema.columns)] == ["mm", "mm"]
    assert cloud.labels["flavour"].tolist() == (t.label + 1)[keep].tolist()
    np.testing.assert_allclose(cloud.labels["visible"], np.arange(N)[keep])
    assert cloud.weights.tolist() == [1.0] * keep.sum()


def test_a_card_slices_a_big_array_and_reads_compound_fields(tmp_path, truth):
    t = truth
    p = t.momentum(massless=True)
    tracks = np.zeros((N, 14), dtype=[("pt", "f4"), ("eta", "f4"), ("phi", "f4")])
    for name in tracks.dtype.names:
        tracks[name] = t.pad(getattr(t, name), 14)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["channels_first"] = np.stack([t.pad(p[n], 14) for n in ("px", "py", "pz", "energy")], axis=1)
        file["tracks"] = tracks
    head = "name: toy\nformat: hdf5\nframe: jet\nlayout: padded\n"
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    lines = [f"  {n}: {{column: channels_first, index: {i}, axis: 1, unit: GeV}}" for i, n in enumerate(p)]
    first.write_text(head + "padding: zero-energy\nparticles:\n" + "\n".join(lines))
    second.write_text(
        head + "tree: tracks\npadding: zero-pt\nparticles:\n  pt: {column: pt, unit: GeV}\n  eta: {column: eta}\n"
        "  phi: {column: phi, unit: rad}\n  mass: {value: 0, unit: GeV}\n"
    )
    for card in (first, second):
        cloud = data.read(tmp_path / "x.h5", card)
        assert cloud.counts.tolist() == t.counts.tolist()
        for name, values in p.items():
            np.testing.assert_allclose(cloud.flat(name), values, rtol=2e-6, atol=1e-5)


def test_files_of_different_schemas_do_not_share_a_store(tmp_path, truth):
    landscape(tmp_path / "a.h5", truth)
    lhco(tmp_path / "b.h5", truth)
    with pytest.raises(BadSchema, match="different schemas"):
        data.convert([tmp_path / "a.h5", tmp_path / "b.h5"], tmp_path / "out")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]
