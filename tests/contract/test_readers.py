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
from cloudchamber.errors import BadFile, BadInput, BadSchema
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


def pfnano(path: Path, t: Truth) -> dict:
    """One fat jet per event; candidates of no jet before and after its own."""
    first = np.repeat(np.cumsum(t.counts) - t.counts, t.counts)
    own = np.arange(len(t.pt)) - first
    charge = np.where(np.isin(t.code, (211, 11, 13)), 1, 0)

    def column(values: np.ndarray, outside: float, kind: str) -> ak.Array:
        pad = ak.Array([[outside]] * N)
        whole = ak.concatenate([pad, ak.unflatten(values.astype(float), t.counts), pad], axis=1)
        return ak.values_astype(whole, kind)

    track = charge != 0
    values = {"pt": t.pt, "eta": t.eta, "phi": t.phi, "mass": t.mass, "puppiWeight": np.full(len(t.pt), 0.5)}
    values |= {n: np.where(track, v, -1.0) for n, v in (("d0", 0.01), ("d0Err", 0.002), ("dz", -0.3), ("dzErr", 0.004))}
    cands = {n: column(v, 7.0, "float32") for n, v in values.items()}
    cands |= {"charge": column(charge, 0, "int32"), "pdgId": column(t.code, 1, "int32")}
    links = {"jetIdx": np.zeros(len(t.pt), dtype=np.int32), "pFCandsIdx": (own + 1).astype(np.int32)}
    jets = {"msoftdrop": np.full(N, 80.0, dtype=np.float32), "hadronFlavour": np.where(t.label, 5, 0).astype(np.int32)}
    columns = {
        "PFCands": ak.zip(cands),
        "FatJetPFCands": ak.zip({n: ak.unflatten(v, t.counts) for n, v in links.items()}),
        "FatJet": ak.zip({n: ak.unflatten(v, np.ones(N, dtype=int)) for n, v in jets.items()}),
        "genWeight": np.full(N, -2.0, dtype=np.float32),
    }
    with uproot.recreate(path) as file:
        types = {n: c.dtype if isinstance(c, np.ndarray) else c.type.content for n, c in columns.items()}
        file.mktree("Events", types).extend(columns)
    return {
        **t.momentum(massless=False),
        "charge": charge,
        "is_neutral_hadron": np.isin(t.code, (2112, 130)),
        "is_electron": t.code == 11,
        "d0": np.where(track, 0.1, np.nan),
        "d0_err": np.where(track, 0.02, np.nan),
        "dz": np.where(track, -3.0, np.nan),
        "dz_err": np.where(track, 0.04, np.nan),
        "puppi": np.full(len(t.pt), 0.5),
        "labels": {"hadron_flavour": t.label * 2},
        "columns": {"soft_drop_mass": np.full(N, 80.0), "weight": np.full(N, -2.0)},
    }


def jetnet(path: Path, t: Truth) -> dict:
    jet_pt, jet_eta = np.linspace(900, 1100, N), np.linspace(-1, 1, N)
    values = (t.eta - np.repeat(jet_eta, t.counts), t.phi, t.pt / np.repeat(jet_pt, t.counts), np.ones(len(t.pt)))
    path = path.with_name("t150.hdf5")
    with h5py.File(path, "w") as file:
        file["particle_features"] = np.stack([t.pad(v, 30) for v in values], axis=2).astype(np.float32)
        file["jet_features"] = np.stack([jet_pt, jet_eta, np.full(N, 172.5), t.counts], axis=1).astype(np.float32)
    return {
        **t.momentum(massless=True),
        "labels": {"jet_type": np.full(N, 2)},
        "columns": {"jet_mass": np.full(N, 172.5)},
        "path": path,
    }


def atlas_ftag(path: Path, t: Truth) -> dict:
    charge = np.where(np.arange(len(t.pt)) % 2, -1.0, 1.0)
    jet_eta = np.linspace(-2, 2, N).astype(np.float32)
    names = ("qOverP", "deta", "dphi", "d0", "z0SinTheta", "IP3D_signed_d0_significance")
    tracks = np.zeros((N, 14), dtype=[*((n, "f4") for n in names), ("valid", "?"), ("numberOfPixelHits", "u1")])
    tracks["qOverP"] = t.pad(charge / (1e3 * t.pt * np.cosh(t.eta)), 14)
    tracks["deta"], tracks["dphi"] = t.pad(t.eta - np.repeat(jet_eta, t.counts), 14), t.pad(t.phi, 14)
    tracks["d0"], tracks["z0SinTheta"] = t.pad(0.05 * charge, 14), t.pad(-0.2 * charge, 14)
    tracks["IP3D_signed_d0_significance"] = t.pad(3 * charge, 14)
    tracks["valid"] = t.pad(np.ones(len(t.pt)), 14)
    jets = np.zeros(N, dtype=[("pt", "f4"), ("eta", "f4"), ("HadronConeExclTruthLabelID", "i4")])
    jets["pt"], jets["eta"], jets["HadronConeExclTruthLabelID"] = 45e3, jet_eta, np.where(t.label, 15, 4)
    jets["HadronConeExclTruthLabelID"][2] = 44  # two bottom hadrons: a code that the label does not name
    with h5py.File(path, "w") as file:
        file["jets"], file["tracks"] = jets, tracks
    label = np.where(t.label, 3, 1)
    label[2] = -1
    return {
        **t.momentum(massless=True),
        "charge": charge,
        "d0": 0.05 * charge,
        "z0_sin_theta": -0.2 * charge,
        "d0_significance": 3 * charge,
        "labels": {"HadronConeExclTruthLabelID": label},
        "columns": {"jet_pt": np.full(N, 45.0), "jet_eta": jet_eta},
    }


LHCO_COLUMNS = [f"{n}j{j}" for j in "12" for n in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")]


def lhco_features(path: Path, t: Truth) -> dict:
    """pandas' fixed layout, with the columns in another order than usual."""
    values = np.random.default_rng(2).normal(0, 500, (N, 14))
    values[:, [3, 10]] = np.abs(values[:, [3, 10]])
    order = np.random.default_rng(3).permutation(14)
    with h5py.File(path, "w") as file:
        file["df/block0_values"] = values[:, order]
        file["df/block0_items"] = np.array([LHCO_COLUMNS[i] for i in order], dtype="S7")
        file["df/block1_values"], file["df/block1_items"] = t.label[:, None], np.array(["label"], dtype="S5")
    jets = values.reshape(N * 2, 7)
    return {
        "px": jets[:, 0],
        "py": jets[:, 1],
        "pz": jets[:, 2],
        "energy": np.sqrt((jets[:, :4] ** 2).sum(axis=1)),
        "tau1": jets[:, 4],
        "tau3": jets[:, 6],
        "labels": {"label": t.label},
        "counts": np.full(N, 2),
    }


FORMATS: dict[str, tuple[str, Callable[[Path, Truth], dict]]] = {
    "jetclass": ("x.root", jetclass),
    "landscape": ("x.h5", landscape),
    "energyflow": ("x.npz", energyflow),
    "lhco": ("x.h5", lhco),
    "omnilearned": ("x.h5", omnilearned),
    "store": ("x.parquet", store),
    "pfnano": ("x.root", pfnano),
    "jetnet": ("x.hdf5", jetnet),
    "atlas_ftag": ("x.h5", atlas_ftag),
    "lhco_features": ("x.h5", lhco_features),
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
    assert cloud.counts.tolist() == expected.get("counts", truth.counts).tolist()
    for name, values in expected.items():
        if name not in ("labels", "columns", "path", "counts"):
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


def test_fat_jets_of_pfnano_may_share_candidates_and_may_have_none(tmp_path):
    pt = ak.values_astype(ak.Array([[1.0, 2.0, 3.0], [4.0, 5.0]]), np.float32)
    names = ("pt", "eta", "phi", "mass", "d0", "d0Err", "dz", "dzErr", "puppiWeight")
    cands = {n: pt if n == "pt" else ak.zeros_like(pt) for n in names}
    cands |= {n: ak.values_astype(ak.zeros_like(pt) + v, np.int32) for n, v in (("charge", 1), ("pdgId", 211))}
    # Event 0: jet 1 has candidates 2, 0; jet 0 has 0; jet 2 none. Event 1: no jet.
    jet_index, index = [[1, 0, 1], []], [[2, 0, 0], []]
    path = tmp_path / "x.root"

    def write() -> None:
        links = {"jetIdx": jet_index, "pFCandsIdx": index}
        links = {n: ak.values_astype(ak.Array(v), np.int32) for n, v in links.items()}
        mass = ak.values_astype(ak.Array([[10.0, 20.0, 30.0], []]), np.float32)
        columns = {"PFCands": ak.zip(cands), "FatJetPFCands": ak.zip(links), "FatJet": ak.zip({"msoftdrop": mass})}
        with uproot.recreate(path) as file:
            file.mktree("Events", {n: c.type.content for n, c in columns.items()}).extend(columns)

    write()
    cloud = data.read(path)
    assert ak.to_list(cloud.particles["px"]) == [[1.0], [3.0, 1.0], []]
    assert cloud.events["soft_drop_mass"].tolist() == [10.0, 20.0, 30.0]
    assert (cloud.schema.labels, cloud.schema.weight, cloud.schema.simulated) == ((), None, None)
    assert data.convert(path, tmp_path / "out").read().counts.tolist() == [1, 2, 0]
    with pytest.raises(BadFile, match="none of its 2 events, or they hold nothing that 'pfnano' reads"):
        data.read(path, start=1)
    index[0][0] = 3
    write()
    with pytest.raises(BadFile, match="'FatJetPFCands_pFCandsIdx' is 3 in event 0, expected 0 to 2"):
        data.read(path)


def test_the_mask_of_jetnet_is_a_mask(tmp_path):
    features = np.zeros((1, 30, 4), dtype=np.float32)
    features[0, 4] = 0.1, 0.2, 0.0, 1.0  # a real particle without momentum, after empty slots
    features[0, 7] = 0.1, 0.2, 0.5, 0.0  # numbers that are no particle
    with h5py.File(tmp_path / "g.hdf5", "w") as file:
        file["particle_features"], file["jet_features"] = features, np.array([[1000, 0, 10, 1]], dtype=np.float32)
    assert data.read(tmp_path / "g.hdf5").flat("energy").tolist() == [0.0]
    assert data.read((tmp_path / "g.hdf5").rename(tmp_path / "some.hdf5")).labels["label"].tolist() == [-1]
    features[0, 0, 3] = -0.5
    with h5py.File(tmp_path / "q.hdf5", "w") as file:
        file["particle_features"], file["jet_features"] = features, np.array([[1000, 0, 10, 1]], dtype=np.float32)
    with pytest.raises(BadFile, match=r"the mask .* is not 0 or 1 in event 0"):
        data.read(tmp_path / "q.hdf5")


@pytest.mark.parametrize("separate_label", [False, True])
def test_high_level_lhco_tables_have_the_published_order_of_columns(separate_label, tmp_path):
    values = np.arange(30.0).reshape(2, 15)
    values[:, 14] = 0, 1
    blocks = [("index", "i8"), ("values_block_0", "f8", (14 if separate_label else 15,))]
    table = np.zeros(2, dtype=[*blocks, *([("values_block_1", "i8", (1,))] if separate_label else [])])
    table["values_block_0"] = values[:, : blocks[1][2][0]]
    if separate_label:
        table["values_block_1"] = values[:, 14:]
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["df/table"] = table
    cloud = data.read(tmp_path / "x.h5")
    assert cloud.flat("px").tolist() == [0, 7, 15, 22]
    assert cloud.flat("tau2").tolist() == [5, 12, 20, 27]
    assert cloud.labels["label"].tolist() == [0, 1]


def test_flavour_labels_without_a_truth_code_are_numbered(tmp_path, truth):
    path = atlas_ftag(tmp_path / "x.h5", truth).get("path", tmp_path / "x.h5")
    with h5py.File(path, "r+") as file:
        jets = file["jets"][:]
        del file["jets"]
        jets.dtype.names = ("pt", "eta", "flavour_label")
        jets["flavour_label"] = np.arange(N) % 3
        file["jets"] = jets
    cloud = data.read(path, start=0, stop=2)
    assert cloud.schema.labels[0].classes == ("flavour_0", "flavour_1", "flavour_2")
    assert cloud.labels["label"].tolist() == [0, 1]


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
