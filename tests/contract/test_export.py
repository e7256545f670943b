"""Export: a store written in a community format and read back is the store, to the format's own rounding."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import uproot
from tests.toy import JET_FEATURES, toy_cloud
from typer.testing import CliRunner

from cloudchamber import data
from cloudchamber.cli.main import app
from cloudchamber.data.store import write
from cloudchamber.errors import BadInput, BadSchema
from cloudchamber.events import Cloud, Feature, Label, Schema


def jets(n: int = 60) -> Cloud:
    """Toy jets with the features and labels that JetClass has: one kind of particle each, tracks for the charged ones."""
    cloud = toy_cloud(n, features=JET_FEATURES)
    rng = np.random.default_rng(3)
    kind = rng.integers(0, 5, int(cloud.counts.sum()))
    charge = np.where(np.isin(kind, (1, 2)), 0, rng.choice([-1, 1], len(kind)))  # neutral hadrons and photons
    particles = {name: cloud.flat(name) for name in cloud.particles.fields} | {"charge": charge}
    particles |= {name: kind == i for i, name in enumerate(JET_FEATURES[1:6])}
    for name in ("d0", "dz"):
        particles[name] = np.where(charge == 0, np.nan, rng.normal(0, 1, len(kind)))
        particles[f"{name}_err"] = np.where(charge == 0, np.nan, rng.uniform(0.01, 0.1, len(kind)))
    schema = cloud.schema.model_copy(update={"labels": (Label(name="label", classes=("QCD", "Tbqq")),)})
    counts = cloud.counts
    counts[0] = 0  # the first jet has no particle
    rows = slice(int(cloud.counts[0]), None)
    columns = {name: np.asarray(values, dtype=np.float32)[rows] for name, values in particles.items()}
    return Cloud.from_flat(counts, columns, {"label": cloud.labels["label"]}, schema)


def same_events(a: Cloud, b: Cloud) -> bool:
    same = all(a.flat(n).tobytes() == b.flat(n).tobytes() for n in a.particles.fields)
    return same and a.counts.tolist() == b.counts.tolist() and a.labels["label"].tolist() == b.labels["label"].tolist()


@pytest.fixture
def store(tmp_path) -> Path:
    return write(tmp_path / "store", [jets()], shard_events=25).path


def test_parquet_there_and_back_is_the_same_cloud(store, tmp_path):
    path = data.export(store, "parquet", tmp_path / "x.parquet")
    again = data.convert(path, tmp_path / "again")
    assert same_events(again.read(), jets())
    assert again.schema == jets().schema


def test_jetclass_there_and_back_is_equal_bit_by_bit(store, tmp_path):
    steps = []
    path = data.export(store, "jetclass", tmp_path / "x.root", progress=lambda *step: steps.append(step))
    again = data.convert(path, tmp_path / "again")
    assert again.manifest.provenance["readers"] == ["jetclass"]
    cloud, back = jets(), again.read()
    assert all(back.flat(n).tobytes() == cloud.flat(n).tobytes() for n in cloud.particles.fields)
    assert back.labels["label"].tolist() == np.where(cloud.labels["label"] == 1, 8, 0).tolist()  # Tbqq is class 8 of 10
    data.export(again.path, "jetclass", tmp_path / "y.root")
    assert same_events(data.read(tmp_path / "y.root"), back)
    assert steps == [(25, 60), (50, 60), (60, 60)]


def test_a_jetclass_file_has_the_branches_and_conventions_of_jetclass(store, tmp_path):
    with uproot.open(data.export(store, "jetclass", tmp_path / "x.root")) as file:
        tree = file["tree"].arrays(library="ak")
        assert file["tree"].keys(filter_name="n*") == ["npart"]
        assert file["tree"]["part_isMuon"].typename == "int32_t[]"
    cloud, i = jets(), 7
    particles = {n: np.asarray(tree[f"part_{n}"][i]) for n in ("px", "py", "pz", "energy")}
    px, py, pz, energy = (p.astype(float).sum() for p in particles.values())
    eta = np.arcsinh(pz / np.hypot(px, py))
    expected = np.sign(eta) * (np.arcsinh(particles["pz"] / np.hypot(particles["px"], particles["py"])) - eta)
    np.testing.assert_allclose(tree["part_deta"][i], expected, atol=1e-5)
    jet = [tree[f"jet_{n}"][i] for n in ("pt", "eta", "energy", "nparticles")]
    np.testing.assert_allclose(jet, [np.hypot(px, py), eta, energy, cloud.counts[i]], rtol=1e-5)
    assert not np.isnan(np.asarray(tree["part_d0val"][i])).any()
    assert [tree[f"label_{n}"][i] for n in ("QCD", "Tbqq", "Hbb")] == [cloud.labels["label"][i] == c for c in (0, 1, 2)]


def omnilearned(path: Path, shift: int) -> np.ndarray:
    """Forty jets as OmniLearned stores them: pT-ordered particles around the axis, zeros, one pT of exactly 1 GeV."""
    rng = np.random.default_rng(5)
    X = np.zeros((40, 12, 9), np.float32)
    for jet, count in zip(X, rng.integers(1, 13, 40), strict=True):
        jet[:count, :2] = rng.normal(0, 0.2, (count, 2))
        jet[:count, 2] = rng.normal(2, 1, count)
        jet[:count, 3] = jet[:count, 2] + 0.5
        jet[:count, 4] = rng.integers(1, 9, count)
        jet[:count, 5::2] = np.tanh(rng.normal(0, 3, (count, 2)))
        jet[:count, 6::2] = rng.uniform(0.01, 0.5, (count, 2))
        jet[: count // 3, 5:] = 0  # no track
    X[2, 0, :3] = 0.0  # on the axis, where nothing rounds
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["data"], file["pid"] = X, rng.integers(0, 10, 40) + shift
        file["global"] = rng.normal(size=(40, 3)).astype(np.float32)
    return X


def test_omnilearned_there_and_back_is_equal_to_the_rounding_of_its_transforms(tmp_path):
    first, second = tmp_path / "jetclass" / "train" / "x.h5", tmp_path / "copy" / "jetclass.h5"
    X = omnilearned(first, shift=2)
    one = data.convert(first, tmp_path / "one")
    second.parent.mkdir()
    data.export(one.path, "omnilearned", second)
    with h5py.File(second) as file, h5py.File(first) as original:
        Y, nudged = file["data"][:], np.zeros_like(X, dtype=bool)
        assert (file["pid"][:] == original["pid"][:]).all()  # in the shared numbering
        assert (file["global"][:] == original["global"][:]).all()
    assert Y.shape == X.shape
    assert ((Y[..., 2] != 0) == (X != 0).any(axis=2)).all()  # the loader's mask finds every particle, that of 1 GeV too
    assert 0 < Y[2, 0, 2] < 1.2e-7
    nudged[..., 3] = True  # log E is that of massless particles around the axis
    # A float32 momentum is right to 6e-8 of itself, which is the error of its logarithm and of an angle near the axis;
    # d0 has the same relative error, and tanh makes none of its errors larger. Twice that for the two roundings.
    np.testing.assert_allclose(Y[~nudged], X[~nudged], rtol=3e-7, atol=3e-7)
    two = data.convert(second, tmp_path / "two").read()
    for name in two.particles.fields:
        a, b = one.read().flat(name), two.flat(name)
        assert (np.isnan(a) == np.isnan(b)).all()
        # arctanh makes the error of a float32 tanh, 3e-8, larger by 1 / (1 - tanh^2) = cosh^2 d0.
        slack = 6e-8 * np.cosh(np.nan_to_num(a, nan=0.0)) ** 2 if name in ("d0", "dz") else 0.0
        assert (np.abs(np.nan_to_num(a - b)) <= 5e-7 * np.nan_to_num(np.abs(a)) + slack + 2e-6).all(), name
    assert two.labels["label"].tolist() == one.read().labels["label"].tolist()


def test_jets_of_another_source_get_omnilearned_coordinates_and_codes(store, tmp_path):
    path = data.export(store, "omnilearned", tmp_path / "x.h5")
    with h5py.File(path) as file:
        X, pid = file["data"][:], file["pid"][:]
    cloud, i = jets(), 7
    assert X.shape == (60, cloud.counts.max(), 9)
    assert pid.tolist() == cloud.labels["label"].tolist()  # no data set is called x: its own numbering, from 0
    one = cloud[i]
    eta = np.arcsinh(one.flat("pz") / np.hypot(one.flat("px"), one.flat("py")))
    axis = np.arcsinh(one.flat("pz").sum() / np.hypot(one.flat("px").sum(), one.flat("py").sum()))
    slots = X[i, : len(eta)]
    np.testing.assert_allclose(slots[:, 0], eta - axis, atol=1e-5)
    np.testing.assert_allclose(slots[:, 3], np.log(one.flat("energy")), atol=1e-6)
    np.testing.assert_allclose(slots[:, 5], np.nan_to_num(np.tanh(one.flat("d0"))), atol=1e-6)
    codes = {8: "is_charged_hadron", 1: "is_charged_hadron", 6: "is_photon", 7: "is_neutral_hadron", 3: "is_electron"}
    assert all((one.flat(flag)[slots[:, 4] == code] == 1).all() for code, flag in codes.items())
    assert (one.flat("charge")[slots[:, 4] == 8] == 1).all()
    (tmp_path / "file_index.npy").write_bytes(b"")
    with pytest.raises(BadInput, match=r"file_index\.npy: lists the events of this folder without y\.h5"):
        data.export(store, "omnilearned", tmp_path / "y.h5")


@pytest.mark.parametrize(
    ("change", "to", "error", "says"),
    [
        ({"frame": "collider"}, "jetclass", BadSchema, "its frame is 'collider'"),
        ({"labels": ()}, "jetclass", BadSchema, "no label"),
        ({"labels": (Label(name="label", classes=("QCD", "dark")),)}, "jetclass", BadSchema, "has the class 'dark'"),
        ({"drop": ("d0",)}, "jetclass", BadSchema, "lacks d0"),
        ({"columns": (Feature(name="met", unit="GeV"),)}, "jetclass", BadSchema, "no place for met.*--drop"),
        ({"columns": (Feature(name="met", unit="GeV"),)}, "omnilearned", BadSchema, "lacks global_0; .*no place for met"),
        ({"label": np.full(60, -1)}, "omnilearned", BadInput, "is unknown"),
        ({"d0": 0.0}, "jetclass", BadInput, "'d0' must be NaN for neutral"),
        ({"d0_err": np.nan}, "omnilearned", BadInput, "'d0' without its error"),
        ({"charge": 0.0}, "omnilearned", BadInput, "it has no code"),
        ({}, "jetclas", BadInput, "Nearest: 'jetclass'"),
        ({"drop": ("d00",)}, "parquet", BadInput, "no column 'd00' to leave out. Nearest: 'd0'"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_and_leaves_nothing(change, to, error, says, tmp_path):
    cloud = jets()
    drop = change.pop("drop", ())
    label = change.pop("label", cloud.labels["label"])
    particles = {
        n: np.full(len(cloud.flat(n)), change.pop(n)) if n in change else cloud.flat(n) for n in cloud.particles.fields
    }
    schema = Schema(**{**dict(cloud.schema), **change})
    events = {"met": np.ones(60), "label": label}
    written = {n: events[n] for n in schema.event_names}
    write(tmp_path / "s", [Cloud.from_flat(cloud.counts, particles, written, schema)])
    with pytest.raises(error, match=says):
        data.export(tmp_path / "s", to, tmp_path / "x", drop=drop)
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_the_verb_writes_a_file_from_a_store_and_drops_what_it_is_told(store, tmp_path):
    def run(*more):
        return CliRunner().invoke(app, ["convert", str(store), "-o", str(tmp_path / "x.h5"), "--to", "omnilearned", *more])

    drop = [part for name in JET_FEATURES for part in ("--drop", name)]
    assert run(*drop).exit_code == 0
    with h5py.File(tmp_path / "x.h5") as file:
        assert file["data"].shape[2] == 4
    again = run()
    assert again.exit_code == 2
    assert "is there already" in again.output
    assert "takes one STORE and no other option" in run("--workers", "2").output.replace("\n", " ")
