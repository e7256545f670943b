"""Real files, read by us and by hand."""

from __future__ import annotations

import os
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import pytest
import uproot

from cloudchamber import data
from cloudchamber.errors import BadFile, UnknownFormat
from cloudchamber.events.kinematics import invariant_mass, particle_features

if "CLOUDCHAMBER_SAMPLES" not in os.environ:
    pytest.skip("CLOUDCHAMBER_SAMPLES is not set", allow_module_level=True)
SAMPLES = Path(os.environ["CLOUDCHAMBER_SAMPLES"])


@pytest.mark.parametrize(("name", "energy"), [("quark_gluon_1200.npz", "E"), ("jetclass_HToBB_2000.npz", "E")])
def test_padded_jets_have_the_totals_of_the_arrays(name, energy):
    cloud, arrays = data.read(SAMPLES / name), np.load(SAMPLES / name)
    assert cloud.counts.tolist() == arrays["n"].tolist()
    for ours, theirs in (("px", "px"), ("py", "py"), ("pz", "pz"), ("energy", energy)):
        # Slots beyond n hold zeros, so the sum over all of them is the sum over particles.
        ours_sum = ak.sum(ak.values_astype(cloud.particles[ours], np.float64), axis=1)
        np.testing.assert_allclose(ours_sum, arrays[theirs].sum(axis=1, dtype=np.float64), rtol=1e-6, atol=1e-6)


def test_the_quark_gluon_file_has_595_quarks():
    cloud = data.read(SAMPLES / "quark_gluon_1200.npz")
    assert data.recognise(SAMPLES / "quark_gluon_1200.npz").name == "quark_gluon_padded"
    assert np.bincount(cloud.labels["label"]).tolist() == [605, 595]
    assert cloud.schema.label("y").classes == ("gluon", "quark")
    assert cloud.labels["y"].tolist() == np.load(SAMPLES / "quark_gluon_1200.npz")["y"].tolist()


def test_the_jetclass_file_is_all_hbb_at_the_higgs_mass_and_deta_has_the_sign_of_the_jet():
    cloud, arrays = data.read(SAMPLES / "jetclass_HToBB_2000.npz"), np.load(SAMPLES / "jetclass_HToBB_2000.npz")
    assert {cloud.schema.labels[0].classes[i] for i in cloud.labels["label"]} == {"Hbb"}
    assert np.median(invariant_mass(cloud)) == pytest.approx(119.5, abs=0.1)
    first = cloud[:100]
    features = particle_features(first)
    for name in ("deta", "dphi"):
        ours = ak.unflatten(features[name], first.counts)
        theirs = arrays[f"first100_{name}"][np.arange(81) < first.counts[:, None]]
        kept = ak.flatten(ours[:, :81])
        difference = np.abs(np.asarray(kept) - theirs)
        # The file's axis is that of all the jet's particles before selection: equal to a few 1e-4, not to rounding.
        assert np.median(difference) < 1e-3, name
        assert np.median(np.abs(np.asarray(kept) + theirs)) > 1e-2, name


@pytest.mark.parametrize(
    ("name", "events", "signal"),
    [("events_anomalydetection_first60_gzip.h5", 60, 6), ("events_anomalydetection_tiny.h5", 1000, 93)],
)
def test_lhco_events_have_the_pt_and_signal_of_the_table(name, events, signal):
    pytest.importorskip("hdf5plugin")
    cloud = data.read(SAMPLES / name)
    with h5py.File(SAMPLES / name) as file:
        table = file["df/block0_values"][:]
    pt = table[:, :2100:3]
    assert len(cloud) == events
    assert cloud.labels["label"].sum() == signal == table[:, 2100].sum()
    assert cloud.counts.tolist() == (pt > 0).sum(axis=1).tolist()
    px, py = (ak.values_astype(cloud.particles[n], np.float64) for n in ("px", "py"))
    np.testing.assert_allclose(ak.sum(np.hypot(px, py), axis=1), pt.sum(axis=1), rtol=1e-6)
    longitudinal = (pt * np.sinh(table[:, 1:2100:3])).sum(axis=1)
    np.testing.assert_allclose(ak.sum(cloud.particles["pz"], axis=1), longitudinal, rtol=1e-4, atol=0.05)


def test_the_blosc_and_the_zlib_copy_of_the_same_events_have_equal_ids():
    pytest.importorskip("hdf5plugin")
    first = data.read(SAMPLES / "events_anomalydetection_tiny.h5", stop=60)
    other = data.read(SAMPLES / "events_anomalydetection_first60_gzip.h5")
    assert data.store.event_ids(first).tolist() == data.store.event_ids(other).tolist()


def test_lhco_events_become_a_store_of_their_two_leading_jets(tmp_path):
    pytest.importorskip("fastjet")
    path = SAMPLES / "events_anomalydetection_first60_gzip.h5"
    jets = data.convert(path, tmp_path / "jets", leading_jets=2).read()
    assert jets.labels["label"].sum() == 6
    assert set(np.unique(jets.flat("jet"))) == {0.0, 1.0}
    assert (jets.counts < data.read(path).counts).all()
    # The R&D events were selected with a leading anti-kt R = 1 jet above 1.2 TeV (arXiv:2101.08320).
    leading = jets.particles[jets.particles["jet"] == 0]
    assert np.min(np.hypot(ak.sum(leading["px"], axis=1), ak.sum(leading["py"], axis=1))) > 1200


CARDS = {
    "uproot-HZZ.root": """
name: HZZ jets
format: root
tree: events
frame: collider
layout: jagged
particles:
  px: {column: Jet_Px, unit: GeV}
  py: {column: Jet_Py, unit: GeV}
  pz: {column: Jet_Pz, unit: GeV}
  energy: {column: Jet_E, unit: GeV}
  btag: {column: Jet_btag}
  passes_id: {column: Jet_ID, kind: flag}
columns:
  met_px: {column: MET_px, unit: GeV}
weight: EventWeight
""",
    "gntp.NuMI_C12_Dilepton_inclusive.gst.root": """
name: GENIE gst
format: root
tree: gst
frame: fixed-target
layout: jagged
particles:
  px: {column: pxf, unit: GeV}
  py: {column: pyf, unit: GeV}
  pz: {column: pzf, unit: GeV}
  energy: {column: Ef, unit: GeV}
labels:
  neutrino_energy: {column: Ev, unit: GeV}
  current: {one_hot: [cc, nc], classes: [CC, NC]}
weight: wght
simulated: true
""",
}
# File -> tree, columns of pT or (px, py), and the factor to GeV.
BY_HAND = {
    "uproot-HZZ.root": ("events", ("Jet_Px", "Jet_Py"), 1.0),
    "gntp.NuMI_C12_Dilepton_inclusive.gst.root": ("gst", ("pxf", "pyf"), 1.0),
}


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_card_reads_a_real_tree_as_uproot_does(name, tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(CARDS[name])
    cloud = data.read(SAMPLES / name, card)
    tree, columns, factor = BY_HAND[name]
    with uproot.open(SAMPLES / name) as file:
        arrays = [file[tree][c].array(library="ak") for c in columns]
    assert cloud.counts.tolist() == ak.num(arrays[0]).to_list()
    pt = np.hypot(*arrays) if len(arrays) == 2 else arrays[0]
    ours = np.hypot(cloud.flat("px"), cloud.flat("py"))
    np.testing.assert_allclose(ours, ak.flatten(pt) * factor, rtol=2e-6)


def test_the_hzz_file_has_its_2773_jets_and_its_weights(tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(CARDS["uproot-HZZ.root"])
    cloud = data.read(SAMPLES / "uproot-HZZ.root", card)
    with uproot.open(SAMPLES / "uproot-HZZ.root") as file:
        weight, met = file["events/EventWeight"].array(library="np"), file["events/MET_px"].array(library="np")
    assert (len(cloud), cloud.counts.sum()) == (2421, 2773)
    np.testing.assert_allclose(cloud.weights, weight)
    np.testing.assert_allclose(cloud.events["met_px"], met)


def test_the_gst_file_has_1_6_percent_charged_current(tmp_path):
    card = tmp_path / "card.yaml"
    card.write_text(CARDS["gntp.NuMI_C12_Dilepton_inclusive.gst.root"])
    cloud = data.read(SAMPLES / "gntp.NuMI_C12_Dilepton_inclusive.gst.root", card)
    assert len(cloud) == 182
    assert (cloud.labels["label"] == 0).mean() == pytest.approx(0.016, abs=0.001)


def test_the_example_card_reads_the_file_that_it_was_written_for():
    cloud = data.read(SAMPLES / "uproot-HZZ.root", "example_jagged_root")
    with uproot.open(SAMPLES / "uproot-HZZ.root") as file:
        jets, vertices = (file["events"][n].array(library="np") for n in ("NJet", "NPrimaryVertices"))
    assert cloud.counts.tolist() == jets[jets >= 1].tolist()
    assert cloud.labels["vertices"].tolist() == vertices[jets >= 1].tolist()
    assert np.isnan(cloud.flat("btag")).any()
    assert not (cloud.flat("btag") == -1).any()


@pytest.mark.parametrize("name", ["uproot-HZZ.root"])
def test_a_tree_that_no_reader_knows_asks_for_a_card(name):
    with pytest.raises(UnknownFormat, match="card"):
        data.read(SAMPLES / name)


def test_other_files_are_told_to_be_something_else():
    with pytest.raises(BadFile, match="neither a ROOT, HDF5, Parquet nor npz file"):
        data.read(SAMPLES / "README.md")


def flat(name: str, tree: str, *columns: str) -> list[np.ndarray]:
    """Columns of a tree by uproot, events one after the other."""
    with uproot.open(SAMPLES / name) as file:
        arrays = [file[tree][c].array(library="ak") for c in columns]
    return [np.asarray(ak.flatten(a) if a.ndim > 1 else a).astype(np.float64) for a in arrays]


# File -> card, tree, start of its branches, factor to GeV; card -> collections, in the order of our flags.
EVENTS = {
    "nano_dimuon.root": ("cms_nanoaod", "Events", "{}_", 1.0),
    "nanoAOD_2015_CMS_Open_Data_ttbar.root": ("cms_nanoaod", "Events", "{}_", 1.0),
    "PHYSLITE_example.root": ("atlas_physlite", "CollectionTree", "Analysis{}AuxDyn.", 1e-3),
}
FLAGS = ("is_muon", "is_electron", "is_photon", "is_tau", "is_jet")
KINDS = {
    "cms_nanoaod": ("Muon", "Electron", "Photon", "Tau", "Jet"),
    "atlas_physlite": ("Muons", "Electrons", "Photons", "TauJets", "Jets"),
}


@pytest.mark.parametrize("name", sorted(EVENTS))
def test_an_event_of_a_collaboration_has_the_objects_of_its_collections(name):
    card, tree, prefix, factor = EVENTS[name]
    cloud = data.read(SAMPLES / name)
    assert data.recognise(SAMPLES / name).name == card
    found = 0
    for flag, collection in zip(FLAGS, KINDS[card], strict=True):
        start = prefix.format(collection)
        pt, eta = flat(name, tree, f"{start}pt", f"{start}eta")
        ours = cloud.flat(flag) == 1
        assert ours.sum() == len(pt)
        np.testing.assert_allclose(np.hypot(cloud.flat("px"), cloud.flat("py"))[ours], pt * factor, rtol=2e-6)
        np.testing.assert_allclose(cloud.flat("pz")[ours], pt * factor * np.sinh(eta), rtol=1e-5, atol=1e-5)
        found += len(pt)
        if flag not in ("is_photon", "is_jet"):
            assert cloud.flat("charge")[ours].tolist() == flat(name, tree, f"{start}charge")[0].tolist()
    others = len(cloud) if card == "cms_nanoaod" else 0  # the missing momentum
    assert cloud.counts.sum() == found + others
    if card == "cms_nanoaod":
        met, dxy = flat(name, tree, "PuppiMET_pt", "Muon_dxy")
        missing = cloud.flat("is_missing_momentum") == 1
        np.testing.assert_allclose(cloud.flat("energy")[missing], met, rtol=2e-6)
        np.testing.assert_allclose(cloud.flat("d0")[cloud.flat("is_muon") == 1], 10 * dxy, rtol=1e-6)


def test_collisions_and_simulation_of_cms_have_the_same_schema():
    one, other = (data.read(SAMPLES / n, stop=3) for n in ("nano_dimuon.root", "nanoAOD_2015_CMS_Open_Data_ttbar.root"))
    assert one.schema == other.schema


def test_delphes_candidates_have_the_energy_and_momentum_of_the_file():
    name = "events_delphes_higgs2p_example.root"
    cloud = data.read(SAMPLES / name)
    pre = "ParticleFlowCandidate."
    fields = ("E", "P", "PT", "PID", "Charge", "D0")
    energy, p, pt, code, charge, d0 = flat(name, "Delphes", *(pre + n for n in fields))
    assert data.recognise(SAMPLES / name).name == "delphes"
    assert (len(cloud), cloud.counts.sum(), cloud.counts.min(), cloud.counts.max()) == (10, len(pt), 85, 260)
    ours = np.sqrt(cloud.flat("px") ** 2 + cloud.flat("py") ** 2 + cloud.flat("pz") ** 2)
    np.testing.assert_allclose(ours, p, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(cloud.flat("energy"), energy, rtol=1e-5)
    for flag, expected in (
        ("is_neutral_hadron", code == 0),
        ("is_photon", code == 22),
        ("is_electron", np.abs(code) == 11),
        ("is_muon", np.abs(code) == 13),
        ("is_charged_hadron", np.isin(np.abs(code), (211, 321, 2212))),
    ):
        assert cloud.flat(flag).tolist() == expected.tolist(), flag
    np.testing.assert_allclose(cloud.flat("d0"), np.where(charge == 0, np.nan, d0), rtol=1e-6)
    assert cloud.weights.tolist() == flat(name, "Delphes", "Event.Weight")[0].tolist()


def test_fat_jets_of_pfnano_are_the_candidates_that_the_links_name():
    name = "pfnano.root"
    cloud = data.read(SAMPLES / name)
    assert data.recognise(SAMPLES / name).name == "pfnano"
    names = ["nFatJet", "FatJet_pt", "FatJet_eta", "FatJet_phi", "FatJet_rawFactor", "FatJet_hadronFlavour"]
    names += ["FatJetPFCands_jetIdx", "FatJetPFCands_pFCandsIdx", "PFCands_pt", "PFCands_charge", "PFCands_d0", "PFCands_d0Err"]
    with uproot.open(SAMPLES / name) as file:
        arrays = {n: file["Events"][n].array(library="ak") for n in names}
    counts, pts, d0, jets = [], [], [], []
    for i in range(10):
        event = {n: np.asarray(a[i]) for n, a in arrays.items()}
        for jet in range(int(event["nFatJet"])):
            index = event["FatJetPFCands_pFCandsIdx"][event["FatJetPFCands_jetIdx"] == jet]
            counts.append(len(index))
            pts += event["PFCands_pt"][index].tolist()
            d0 += np.where(event["PFCands_d0Err"][index] < 0, np.nan, 10 * event["PFCands_d0"][index]).tolist()
            jets.append([event[f"FatJet_{n}"][jet] for n in ("pt", "rawFactor", "eta", "phi", "hadronFlavour")])
    assert (len(cloud), cloud.counts.tolist()) == (24, counts)
    np.testing.assert_allclose(np.hypot(cloud.flat("px"), cloud.flat("py")), pts, rtol=2e-6)
    np.testing.assert_allclose(cloud.flat("d0"), d0, rtol=1e-6)
    pt, raw, eta, phi, flavour = np.array(jets).T
    assert cloud.labels["label"].tolist() == [{0: 0, 4: 1, 5: 2}[int(f)] for f in flavour]
    # A PUPPI jet is the sum of its candidates times their weights, before corrections: axis and pT must come out.
    weighted = ak.values_astype(cloud.particles, np.float64)
    px, py, pz = (np.asarray(ak.sum(weighted[n] * weighted["puppi"], axis=1)) for n in ("px", "py", "pz"))
    np.testing.assert_allclose(np.hypot(px, py), pt * (1 - raw), rtol=0.01)
    assert np.abs(np.arcsinh(pz / np.hypot(px, py)) - eta).max() < 0.01
    assert np.abs((np.arctan2(py, px) - phi + np.pi) % (2 * np.pi) - np.pi).max() < 0.01
