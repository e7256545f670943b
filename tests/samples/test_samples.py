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
    "PHYSLITE_example.root": """
name: PHYSLITE jets
format: root
tree: CollectionTree
frame: collider
layout: jagged
particles:
  pt: {column: AnalysisJetsAuxDyn.pt, unit: MeV}
  eta: {column: AnalysisJetsAuxDyn.eta}
  phi: {column: AnalysisJetsAuxDyn.phi, unit: rad}
  mass: {column: AnalysisJetsAuxDyn.m, unit: MeV}
""",
    "events_delphes_higgs2p_example.root": """
name: Delphes
format: root
tree: Delphes
frame: collider
layout: jagged
particles:
  pt: {column: ParticleFlowCandidate.PT, unit: GeV}
  eta: {column: ParticleFlowCandidate.Eta}
  phi: {column: ParticleFlowCandidate.Phi, unit: rad}
  mass: {column: ParticleFlowCandidate.Mass, unit: GeV}
  charge: {column: ParticleFlowCandidate.Charge}
  d0: {column: ParticleFlowCandidate.D0, unit: mm}
simulated: true
""",
    "pfnano.root": """
name: PFNano
format: root
tree: Events
frame: collider
layout: jagged
particles:
  pt: {column: PFCands_pt, unit: GeV}
  eta: {column: PFCands_eta}
  phi: {column: PFCands_phi, unit: rad}
  mass: {column: PFCands_mass, unit: GeV}
  charge: {column: PFCands_charge}
  puppi: {column: PFCands_puppiWeight}
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
    "PHYSLITE_example.root": ("CollectionTree", ("AnalysisJetsAuxDyn.pt",), 1e-3),
    "events_delphes_higgs2p_example.root": ("Delphes", ("ParticleFlowCandidate.PT",), 1.0),
    "pfnano.root": ("Events", ("PFCands_pt",), 1.0),
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


@pytest.mark.parametrize("name", ["pfnano.root", "nano_dimuon.root", "PHYSLITE_example.root", "uproot-HZZ.root"])
def test_a_tree_that_no_reader_knows_asks_for_a_card(name):
    with pytest.raises(UnknownFormat, match="card"):
        data.read(SAMPLES / name)


def test_other_files_are_told_to_be_something_else():
    with pytest.raises(BadFile, match="neither a ROOT, HDF5, Parquet nor npz file"):
        data.read(SAMPLES / "README.md")
