"""Every shipped card on a small file with the keys and types of its format, and what cards can say beyond columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import uproot
from tests.format_files import Truth, landscape, lhco, lhco_black_box, toy_truth
from tests.toy import outside_vocabulary

from cloudchamber import data
from cloudchamber.data.card import load
from cloudchamber.data.card_reader import card_reader
from cloudchamber.data.containers import open_container
from cloudchamber.errors import BadCard, BadFile
from cloudchamber.events import Cloud

N = 12
CARDS = Path(data.__file__).with_name("cards")
MUON, ELECTRON = 0.1056584, 0.000511
Objects = dict[str, np.ndarray]


def objects(seed: int, single: bool = False) -> Objects:
    """Momenta of some objects of every event, in GeV; counts says how many."""
    rng = np.random.default_rng(seed)
    counts = np.ones(N, dtype=int) if single else rng.integers(0, 4, N)
    size = int(counts.sum())
    values = {"pt": rng.exponential(30, size) + 1, "eta": rng.normal(0, 1, size), "phi": rng.uniform(-3, 3, size)}
    values |= {"mass": rng.uniform(1, 5, size), "charge": rng.choice([-1, 1], size), "extra": rng.uniform(0, 1, size)}
    return {"counts": counts, **{n: v.astype(np.float32).astype(float) for n, v in values.items()}}


def jagged(o: Objects, name: str, kind: str = "float32") -> ak.Array:
    return ak.values_astype(ak.unflatten(o[name], o["counts"]), kind)


def write_tree(path: Path, tree: str, columns: Mapping[str, ak.Array | np.ndarray]) -> Path:
    types = {n: c.dtype if isinstance(c, np.ndarray) else c.type.content for n, c in columns.items()}
    with uproot.recreate(path) as file:
        file.mktree(tree, types).extend(dict(columns))
    return path


def in_turn(kinds: list[tuple[Objects, Callable[[Objects, int], float]]]) -> list[float]:
    """A quantity of every particle: event by event, and in an event kind by kind."""
    found = []
    for event in range(N):
        for o, quantity in kinds:
            first = int(o["counts"][:event].sum())
            found += [quantity(o, i) for i in range(first, first + int(o["counts"][event]))]
    return found


def same(cloud: Cloud, name: str, kinds: list[tuple[Objects, Callable[[Objects, int], float]]]) -> None:
    np.testing.assert_allclose(cloud.flat(name), in_turn(kinds), rtol=3e-6, atol=1e-5, err_msg=name)


def energy(mass: float | None) -> Callable[[Objects, int], float]:
    return lambda o, i: np.sqrt((o["pt"][i] * np.cosh(o["eta"][i])) ** 2 + (o["mass"][i] if mass is None else mass) ** 2)


def constant(value: float) -> Callable[[Objects, int], float]:
    return lambda _o, _i: value


def check_kinds(cloud: Cloud, kinds: Mapping[str, tuple[Objects, float | None]]) -> None:
    """Momenta, and the flag of each kind. kinds: flag -> objects and their mass, None for their own."""
    assert cloud.counts.tolist() == np.sum([o["counts"] for o, _ in kinds.values()], axis=0).tolist()
    same(cloud, "px", [(o, lambda o, i: o["pt"][i] * np.cos(o["phi"][i])) for o, _ in kinds.values()])
    same(cloud, "pz", [(o, lambda o, i: o["pt"][i] * np.sinh(o["eta"][i])) for o, _ in kinds.values()])
    same(cloud, "energy", [(o, energy(m)) for o, m in kinds.values()])
    for flag in kinds:
        same(cloud, flag, [(o, constant(float(other == flag))) for other, (o, _) in kinds.items()])


def cms_nanoaod(folder: Path) -> Path:
    columns: dict[str, ak.Array | np.ndarray] = {}
    kinds: dict[str, tuple[Objects, float | None]] = {}
    masses = {"Muon": MUON, "Electron": ELECTRON, "Photon": 0.0, "Tau": None, "Jet": None}
    for seed, (name, mass) in enumerate(masses.items()):
        o = objects(seed)
        fields = {n: jagged(o, n) for n in ("pt", "eta", "phi", "mass")}
        if name != "Jet":
            fields["charge"] = jagged(o, "charge", "int32")
        if name in ("Muon", "Electron"):
            fields |= {n: jagged(o, "extra") for n in ("dxyErr", "dzErr", "pfRelIso03_all")}
        if name in ("Muon", "Electron", "Tau"):
            fields |= {"dxy": -jagged(o, "extra"), "dz": jagged(o, "extra")}
        if name == "Jet":
            fields["btagDeepFlavB"] = jagged(o, "extra")
        columns[name] = ak.zip(fields)
        kinds[f"is_{name.lower()}"] = (o, mass)
    met = objects(9, single=True) | {"eta": np.zeros(N)}
    columns |= {"PuppiMET_pt": met["pt"].astype(np.float32), "PuppiMET_phi": met["phi"].astype(np.float32)}
    kinds["is_missing_momentum"] = (met, 0.0)
    cloud = data.read(write_tree(folder / "x.root", "Events", columns))
    check_kinds(cloud, kinds)
    of = {flag.removeprefix("is_"): o for flag, (o, _) in kinds.items()}
    cm, nan = (lambda o, i: -10 * o["extra"][i]), constant(np.nan)
    tracks = [(of["muon"], cm), (of["electron"], cm), (of["photon"], nan), (of["tau"], cm)]
    same(cloud, "d0", [*tracks, (of["jet"], nan), (of["missing_momentum"], nan)])
    charged = [(of[n], lambda o, i: o["charge"][i]) for n in ("muon", "electron")]
    tau = (of["tau"], lambda o, i: o["charge"][i])
    same(cloud, "charge", [*charged, (of["photon"], constant(0)), tau, (of["jet"], nan), (of["missing_momentum"], nan)])
    same(cloud, "btag", [*((of[n], nan) for n in list(of)[:4]), (of["jet"], lambda o, i: o["extra"][i]), (met, nan)])
    return folder / "x.root"


def atlas_physlite(folder: Path) -> Path:
    masses = {"Muons": MUON, "Electrons": ELECTRON, "Photons": 0.0, "TauJets": None, "Jets": None}
    flags = ("is_muon", "is_electron", "is_photon", "is_tau", "is_jet")
    kinds = {flag: (objects(seed), mass) for seed, (flag, mass) in enumerate(zip(flags, masses.values(), strict=True))}
    columns = {}
    for name, (o, _) in zip(masses, kinds.values(), strict=True):
        prefix = f"Analysis{name}AuxDyn."
        columns |= {prefix + "pt": 1e3 * jagged(o, "pt"), prefix + "m": 1e3 * jagged(o, "mass")}
        columns |= {prefix + n: jagged(o, n) for n in ("eta", "phi", "charge")}
    check_kinds(data.read(write_tree(folder / "tree.root", "CollectionTree", columns)), kinds)
    with uproot.recreate(folder / "ntuple.root") as file:
        file.mkrntuple("EventData", {n.replace(".", ":"): c for n, c in columns.items()})
    check_kinds(data.read(folder / "ntuple.root"), kinds)
    return folder / "ntuple.root"


def delphes(folder: Path) -> Path:
    o = objects(1)
    code = np.resize([211, -11, 13, 22, 0, -2212], len(o["pt"]))
    charge = np.resize([1, 1, -1, 0, 0, -1], len(o["pt"]))
    o |= {"PID": code, "Charge": charge, "CtgTheta": np.sinh(o["eta"]), "Eta": 9 + 0 * o["eta"]}
    floats = {"PT": "pt", "Phi": "phi", "Mass": "mass", "CtgTheta": "CtgTheta", "Eta": "Eta", "D0": "extra"}
    columns = {f"ParticleFlowCandidate.{n}": jagged(o, m) for n, m in floats.items()}
    columns |= {f"ParticleFlowCandidate.{n}": jagged(o, n, "int32") for n in ("PID", "Charge")}
    columns |= {f"ParticleFlowCandidate.{n}": jagged(o, "extra") for n in ("ErrorD0", "DZ", "ErrorDZ")}
    columns["Event.Weight"] = ak.values_astype(ak.Array([[float(i)] for i in range(N)]), np.float32)
    cloud = data.read(write_tree(folder / "x.root", "Delphes", columns))
    same(cloud, "pz", [(o, lambda o, i: o["pt"][i] * np.sinh(o["eta"][i]))])
    same(cloud, "energy", [(o, energy(None))])
    assert cloud.flat("charge").tolist() == charge.tolist()
    assert cloud.flat("is_neutral_hadron").tolist() == (code == 0).tolist()
    assert cloud.flat("is_charged_hadron").tolist() == np.isin(code, (211, -2212)).tolist()
    np.testing.assert_allclose(cloud.flat("d0"), np.where(charge == 0, np.nan, o["extra"]), rtol=1e-6)
    assert cloud.weights.tolist() == list(range(N))
    return folder / "x.root"


def jetclass2(folder: Path) -> Path:
    o = objects(1)
    p = o["pt"] * np.cosh(o["eta"])
    values = {"px": o["pt"] * np.cos(o["phi"]), "py": o["pt"] * np.sin(o["phi"]), "pz": o["pt"] * np.sinh(o["eta"])}
    charge = np.resize([1, 0, -1], len(p))
    values |= {"energy": p + 1, "deta": o["eta"], "d0val": o["extra"], "d0err": o["extra"], "dzval": o["extra"]}
    o |= values | {"dzerr": o["extra"], "charge": charge, "yes": np.ones(len(p)), "no": np.zeros(len(p))}
    columns = {f"part_{n}": jagged(o, n) for n in (*values, "dzerr")} | {"part_charge": jagged(o, "charge", "int32")}
    columns |= {f"part_is{n}": jagged(o, "no", "bool") for n in ("ChargedHadron", "NeutralHadron", "Electron", "Muon")}
    columns |= {"part_isPhoton": jagged(o, "yes", "bool")}
    label = np.resize([0, 14, 15, 77, 115, 131, 161, 169, 181, 187], N).astype(np.int32)
    names = ["X_bb", "X_tauhtauh", "X_YY_bbbb", "X_YY_gggg", "X_YY_qqqb", "X_YY_bcev"]
    names += ["QCD_bbccss", "QCD_bb", "QCD_cc", "QCD_light"]
    pq.write_table(pa.table({n: ak.to_list(c) for n, c in columns.items()} | {"jet_label": label}), folder / "x.parquet")
    write_tree(folder / "x.root", "tree", columns | {"jet_label": label})
    for path in (folder / "x.root", folder / "x.parquet"):
        cloud = data.read(path)
        np.testing.assert_allclose(cloud.flat("energy"), p + 1, rtol=1e-6)
        np.testing.assert_allclose(cloud.flat("dz"), np.where(charge == 0, np.nan, o["extra"]), rtol=1e-6)
        assert cloud.flat("is_photon").tolist() == [1.0] * len(p)
        assert [cloud.schema.labels[0].classes[i] for i in cloud.labels["label"]] == np.resize(names, N).tolist()
        assert len(set(cloud.schema.labels[0].classes)) == 188
    return folder / "x.parquet"


def slots(o: Objects, values: np.ndarray, width: int) -> np.ndarray:
    return ak.to_numpy(ak.fill_none(ak.pad_none(ak.unflatten(values, o["counts"]), width, clip=True), 0)).astype(np.float32)


def aspen_open_jets(folder: Path) -> Path:
    o = objects(1)
    p = {"px": o["pt"] * np.cos(o["phi"]), "py": o["pt"] * np.sin(o["phi"]), "pz": o["pt"] * np.sinh(o["eta"])}
    p["energy"] = o["pt"] * np.cosh(o["eta"]) + 1
    charge, code = np.resize([1, 0, 0, 0], len(o["pt"])), np.resize([211, 22, 2, 130], len(o["pt"]))
    track = [np.where(charge == 0, -1, v) for v in (0.5, 0.25, -0.75, 0.125)]
    values = [*p.values(), *track, charge, code, o["extra"]]
    with h5py.File(folder / "x.h5", "w") as file:
        file["PFCands"] = np.stack([slots(o, v, 150) for v in values], axis=2)
        file["jet_kinematics"] = np.stack([np.full(N, v) for v in (400.0, 0.5, 1.0, 85.0)], axis=1)
        file["event_info"], file["jet_tagging"] = np.zeros((N, 3), dtype=np.int64), np.tile(np.arange(13.0), (N, 1))
    cloud = data.read(folder / "x.h5")
    for name, v in p.items():
        np.testing.assert_allclose(cloud.flat(name), v, rtol=1e-6)
    for name, v in (("d0", 5.0), ("d0_err", 2.5), ("dz", -7.5), ("dz_err", 1.25)):
        np.testing.assert_allclose(cloud.flat(name), np.where(charge == 0, np.nan, v))
    assert cloud.flat("is_photon").tolist() == np.isin(code, (22, 2)).tolist()
    assert cloud.events["soft_drop_mass"].tolist() == [85.0] * N
    assert cloud.events["tau3"].tolist() == [3.0] * N
    return folder / "x.h5"


def atlas_top_tagging(folder: Path, weighted: bool = True) -> Path:
    o = objects(1)
    values = {"pt": 1e3 * o["pt"], "eta": o["eta"], "phi": o["phi"], "E": 1e3 * (o["pt"] * np.cosh(o["eta"]) + 1)}
    label = np.arange(N) % 2
    with h5py.File(folder / "x.h5", "w") as file:
        for name, v in values.items():
            file[f"fjet_clus_{name}"] = slots(o, v, 200)
        file["fjet_pt"], file["labels"] = np.full(N, 9e5, dtype=np.float32), label
        if weighted:
            file["weights"] = np.linspace(0, 2, N)
    cloud = data.read(folder / "x.h5")
    assert cloud.counts.tolist() == o["counts"].tolist()
    np.testing.assert_allclose(cloud.flat("energy"), values["E"] / 1e3, rtol=1e-6)
    np.testing.assert_allclose(np.hypot(cloud.flat("px"), cloud.flat("py")), o["pt"], rtol=1e-6)
    assert [cloud.schema.labels[0].classes[i] for i in cloud.labels["label"]] == ["QCD", "top"] * (N // 2)
    assert cloud.weights.tolist() == (np.linspace(0, 2, N) if weighted else np.ones(N)).tolist()
    return folder / "x.h5"


def padded(folder: Path, extra: Mapping[str, np.ndarray]) -> Path:
    o = objects(1)
    p = {"px": o["pt"], "py": 0 * o["pt"], "pz": o["eta"], "E": 100 + o["pt"]}
    np.savez(folder / "x.npz", n=o["counts"].astype(np.int16), **{n: slots(o, v, 6) for n, v in p.items()}, **extra)
    cloud = data.read(folder / "x.npz")
    np.testing.assert_allclose(cloud.flat("energy"), 100 + o["pt"], rtol=1e-6)
    assert cloud.labels["label"].tolist() == [1] * N
    return folder / "x.npz"


def example_jagged_root(folder: Path) -> Path:
    o = objects(1)
    columns = {f"Jet_{n}": jagged(o, "pt") for n in ("Px", "Py", "Pz")} | {"Jet_E": 9 * jagged(o, "pt")}
    columns |= {"Jet_btag": jagged(o, "extra") * 0 - 1, "Jet_ID": jagged(o, "pt") > 0, "NJet": o["counts"].astype(np.int32)}
    columns |= {n: np.full(N, 3, dtype=np.float32) for n in ("MET_px", "MET_py", "EventWeight", "NPrimaryVertices")}
    cloud = data.read(write_tree(folder / "x.root", "events", columns), "example_jagged_root")
    assert cloud.counts.tolist() == [c for c in o["counts"] if c]
    assert np.isnan(cloud.flat("btag")).all()
    return folder / "x.root"


def of_readers(make: Callable[[Path, Truth], object]) -> Callable[[Path], Path]:
    """A file whose numbers are compared in test_readers.py."""

    def made(folder: Path) -> Path:
        make(folder / "x.h5", toy_truth())
        return folder / "x.h5"

    return made


SHIPPED: dict[str, Callable[[Path], Path]] = {
    "aspen_open_jets": aspen_open_jets,
    "atlas_physlite": atlas_physlite,
    "atlas_top_tagging": atlas_top_tagging,
    "atlas_top_tagging_systematics": lambda folder: atlas_top_tagging(folder, weighted=False),
    "cms_nanoaod": cms_nanoaod,
    "delphes": delphes,
    "example_jagged_root": example_jagged_root,
    "jetclass2": jetclass2,
    "jetclass_padded": lambda folder: padded(folder, {"label": np.eye(10)[np.ones(N, dtype=int)]}),
    "landscape": of_readers(landscape),
    "lhco": of_readers(lhco),
    "lhco_black_box": of_readers(lhco_black_box),
    "quark_gluon_padded": lambda folder: padded(folder, {"y": np.ones(N, dtype=np.uint8)}),
}


@pytest.mark.parametrize("name", sorted(p.stem for p in CARDS.glob("*.yaml")))
def test_every_shipped_card_reads_its_file_and_is_recognised_by_columns_that_it_reads(name, tmp_path):
    path = SHIPPED[name](tmp_path)
    if not name.startswith("example"):
        assert not outside_vocabulary(data.read(path, card=name if name.startswith("atlas_top") else None))
    card = load(CARDS / f"{name}.yaml")
    read = {s.column for group in (*card.groups.values(), card.columns) for s in group.values()}
    read |= {t.column for t in card.labels.values()} | {card.count, card.weight}
    assert set(card.recognise) <= read
    if card.recognise:
        assert data.recognise(path).name == card.name
        fitting = {c.stem for c in CARDS.glob("*.yaml") if _recognises(c, path)}
        special = {"atlas_top_tagging_systematics"} if name == "atlas_top_tagging" else set()  # asks for fewer columns
        assert fitting == {name} | special


def _recognises(card: Path, path: Path) -> bool:
    with open_container(path) as container:
        return card_reader(load(card), card).recognises(container)


CARD = """
name: toy
format: root
tree: [Absent, T]
frame: collider
layout: jagged
particles:
  pt: {column: a_pt, unit: GeV}
  eta: {column: a_eta}
  phi: {column: a_phi, unit: rad}
  mass: {value: 0, unit: GeV}
  pdg: {column: a_code}
  arrival: {column: a_t, unit: ns}
  is_track: {value: 1, kind: flag}
collections:
  vee:
    particles:
      px: {column: v_px, unit: GeV}
      py: {value: 0, unit: GeV}
      pz: {value: 0, unit: GeV}
      energy: {column: v_e, unit: GeV}
selection:
  - {column: keep, equals: 1}
"""


def two_kinds(path: Path) -> Path:
    """Five events with 3, 0, 1, 2, 1 tracks and one vee each; events 0, 1 and 3 are to be kept."""
    counts = [3, 0, 1, 2, 1]
    columns = {
        f"a_{n}": ak.unflatten(np.arange(1.0, 8.0) * f, counts) for n, f in (("pt", 1), ("eta", 0), ("phi", 0), ("t", 7))
    }
    columns["a_code"] = ak.unflatten(np.array([11, -211, 1000020040, 3, 12, 0, 2112], dtype=np.int32), counts)
    columns |= {"v_px": np.arange(10.0, 15.0), "v_e": np.full(5, 50.0), "keep": np.array([1.0, 1, 0, 1, 0])}
    return write_tree(path, "T", columns)


def test_objects_of_a_kind_follow_those_of_the_kind_before_and_a_selection_keeps_whole_events(tmp_path):
    (tmp_path / "card.yaml").write_text(CARD)
    cloud = data.read(two_kinds(tmp_path / "x.root"), tmp_path / "card.yaml")
    nan = np.nan
    assert ak.to_list(cloud.particles["px"]) == [[1, 2, 3, 10], [11], [5, 6, 13]]
    np.testing.assert_array_equal(cloud.flat("arrival"), [7, 14, 21, nan, nan, 35, 42, nan])
    assert cloud.flat("is_track").tolist() == [1, 1, 1, 0, 0, 1, 1, 0]
    # The electron, the pion, the helium nucleus; then a neutrino is nothing seen, and code 0 says nothing.
    np.testing.assert_array_equal(cloud.flat("charge"), [-1, -1, 2, nan, nan, 0, nan, nan])
    np.testing.assert_array_equal(cloud.flat("is_electron"), [1, 0, 0, nan, nan, 0, nan, nan])
    np.testing.assert_array_equal(cloud.flat("is_charged_hadron"), [0, 1, 1, nan, nan, 0, nan, nan])
    np.testing.assert_array_equal(cloud.flat("is_neutral_hadron"), [0, 0, 0, nan, nan, 0, nan, nan])


def test_a_card_names_several_file_types_that_hold_the_same_columns(tmp_path):
    (tmp_path / "card.yaml").write_text(CARD.replace("format: root", "format: [parquet, root]"))
    two_kinds(tmp_path / "x.root")
    with uproot.open(tmp_path / "x.root") as file:
        arrays = file["T"].arrays()
    names = [n for n in arrays.fields if not n.startswith("n")]
    pq.write_table(pa.table({n: ak.to_list(arrays[n]) for n in names}), tmp_path / "x.parquet")
    one, other = (data.read(tmp_path / f"x.{kind}", tmp_path / "card.yaml") for kind in ("root", "parquet"))
    assert one.schema == other.schema
    assert data.store.event_ids(one).tolist() == data.store.event_ids(other).tolist()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "    particles:\n      px",
            "    particlez:\n      px",
            "unknown entry 'collections.vee.particlez'. Nearest: 'particles'",
        ),
        ("py: {value: 0, unit", "py: {value: 0, unti", "unknown entry 'collections.vee.particles.py.unti'. Nearest: 'unit'"),
        ("      energy: {column: v_e, unit: GeV}\n", "", r"collections.vee.particles give the momentum as \(px py pz\)"),
        ("column: v_px", "column: a_pt", "column 'v_e' has one number per event, expected a list"),
        ("column: a_eta", "column: v_e", "'v_e' has one number per event, expected a list. Edit particles.eta"),
        ("column: v_e", "column: a_pt", "column 'v_px' has one number per event"),
        (
            "energy: {column: v_e",
            "arrival: {value: 0, unit: mm}\n      energy: {column: v_e",
            "arrival has another unit or kind",
        ),
        ("value: 1, kind: flag", "column: a_t, only_if: a_t", "only_if 'a_t' must be another entry"),
        ("column: a_t, unit: ns", "column: a_t, unit: ns, codes: {1: 2}", "particles.arrival: codes are for pdg alone"),
        ("layout: jagged", "layout: padded\ncount: keep", "collections need the layout `jagged`"),
        ("format: root", "format: rut", "'format.0': Input should be 'root'"),
        ("format: root", "format: [npz, parquet]", "is a ROOT file, .* is for npz or parquet. Edit format"),
        ("px: {column: v_px", "px: {column: v_py", "no column 'Absent/v_py'.*Edit collections.vee.particles.px"),
    ],
)
def test_a_wrong_collection_says_which_entry_to_edit(old, new, words, tmp_path):
    assert old in CARD
    (tmp_path / "card.yaml").write_text(CARD.replace(old, new, 1))
    with pytest.raises((BadCard, BadFile), match=words):
        data.read(two_kinds(tmp_path / "x.root"), tmp_path / "card.yaml")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "slots: [200, 4], index: 0",
            "slots: [300, 4], index: 0",
            "has shape .*, expected events x 1200 or more. Edit .*slots",
        ),
        ("slots: [200, 4], index: 3", "slots: [200, 4], index: 4", r"particles.pz.*needs an `index` from 0 to 3"),
        ("index: 1, classes", "index: 2, classes", r"index 2 .* is outside the shape .* Edit labels.is_signal_new"),
    ],
)
def test_slots_and_labels_outside_of_a_row_say_which_entry_to_edit(old, new, words, tmp_path):
    (tmp_path / "card.yaml").write_text((CARDS / "landscape.yaml").read_text().replace(old, new))
    with pytest.raises((BadCard, BadFile), match=words):
        data.read(SHIPPED["landscape"](tmp_path), tmp_path / "card.yaml")


def test_a_class_that_yaml_takes_for_a_truth_value_has_to_be_quoted(tmp_path):
    text = (CARDS / "quark_gluon_padded.yaml").read_text()
    start = text.index("classes: [")
    (tmp_path / "card.yaml").write_text(f"{text[:start]}classes: [no, yes]{text[text.index(']', start) + 1 :]}")
    with pytest.raises(BadCard, match=r"classes.*False is no name.*quotes"):
        load(tmp_path / "card.yaml")
