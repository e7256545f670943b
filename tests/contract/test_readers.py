"""Every reader on a small file with the keys and types of its format, against the numbers that went into the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from tests.format_files import FORMATS, N, Truth, atlas_ftag, jetclass, landscape, lhco, lhco_black_box, omnilearned, toy_truth
from tests.toy import outside_vocabulary

from cloudchamber import data, registry
from cloudchamber.errors import BadFile, BadInput, BadSchema, CloudchamberError

GENERATORS = {"gst", "hepmc", "lhe", "trackml"}  # in test_generator_readers.py
CARDS = {"landscape": "top-tagging landscape", "lhco": "LHC Olympics"}  # no readers; their names
MINERVA = {"minerva_clusters", "minerva_blobs", "minerva_published"}  # in test_minerva.py


@pytest.fixture(scope="module")
def truth() -> Truth:
    return toy_truth()


def test_every_reader_of_the_registry_has_a_toy_file():
    assert set(FORMATS) - set(CARDS) | GENERATORS | MINERVA == set(registry.entries("readers"))


@pytest.fixture(params=sorted(FORMATS), scope="module")
def case(request, tmp_path_factory, truth) -> tuple[str, Path, dict]:
    name, make = FORMATS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    expected = make(folder / name, truth)
    return request.param, expected.get("path", folder / name), expected


def test_a_file_is_recognised_by_its_content_alone(case, tmp_path):
    name, path, _ = case
    other = Path(shutil.copy(path, tmp_path / "renamed.dat"))
    assert data.recognise(other).name == CARDS.get(name, name)


def test_weights_can_take_what_the_reader_gives(case):
    if case[0] != "omnilearned":  # codes and globals without a name in the file: only the user knows what they are
        assert not outside_vocabulary(data.read(case[1]))


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
    assert name == "store" or (cloud.schema.citation and cloud.schema.citation == data.recognise(path).citation)
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


@pytest.mark.parametrize("label_type", ["int32", "bool"])
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
    lhco_black_box(tmp_path / "box.h5", truth)
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


@pytest.mark.parametrize("reader", sorted({*registry.entries("readers")} - {"store"}))
def test_a_reader_that_is_chosen_for_a_file_of_another_kind_says_so(reader, tmp_path):
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(CloudchamberError, match=r"other\.npz"):
        data.read(tmp_path / "other.npz", card=reader)
