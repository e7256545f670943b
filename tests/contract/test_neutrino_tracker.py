"""The tracker's response, its file and its cloud: against the truth that went in, and read by the MINERvA readers."""

import awkward as ak
import numpy as np
import pytest
import uproot
from tests.minerva_file import DOUBLE_LISTS, DOUBLES, FOURS, INTEGER_LISTS, INTEGERS, TRUTH_DOUBLES, TRUTH_FOURS, VECTORS
from tests.neutrino_toy import interactions

from cloudchamber import data
from cloudchamber.data.readers.minerva import SIMULATION
from cloudchamber.data.readers.minerva_clusters import to_beam
from cloudchamber.errors import BadFile
from cloudchamber.simulate.neutrino import masteranadev
from cloudchamber.simulate.neutrino.cascade import cascade
from cloudchamber.simulate.neutrino.interactions import Interactions, Particles
from cloudchamber.simulate.neutrino.tracker import respond, to_detector
from cloudchamber.simulate.neutrino.tracker_card import MINERVA, energy_of, range_of

NAMES = ("minerva_clusters", "minerva_blobs", "minerva_published")


@pytest.fixture(scope="module")
def made():
    events = interactions(800, seed=3)
    rng = np.random.default_rng(4)
    final = cascade(events, rng)
    response = respond(events, final, rng)
    return events, final, response, masteranadev.branches(events, final, response)


@pytest.fixture(scope="module")
def path(made, tmp_path_factory):
    file = tmp_path_factory.mktemp("minerva") / "simulation.root"
    masteranadev.write(file, made[3])
    return file


def one(pdg: int, kinetic: float, mass: float, n: int = 400, lepton: int = 14) -> tuple[Interactions, Particles]:
    """Events with one particle along the beam and a neutrino as the lepton, or the lepton alone."""
    p = np.sqrt((kinetic + mass) ** 2 - mass**2)
    p4, codes = np.tile([kinetic + mass, 0, 0, p], (n, 1)), np.full(n, lepton)
    final = (
        Particles(np.arange(n), np.full(n, pdg), p4) if lepton == 14 else Particles(*(np.zeros(s, int) for s in (0, 0)), p4[:0])
    )
    return Interactions(codes, p4, codes, p4, codes > 0, codes, codes, final, codes * 0.0, codes * 1.0), final


def test_every_branch_that_a_real_file_has_for_the_readers_is_written_in_its_type(path):
    tree = uproot.open(path)["MasterAnaDev"]
    types = {name: branch.typename for name, branch in tree.items()}
    truth = [n for n in TRUTH_DOUBLES if "weight" not in n and "wgt" not in n and "cvw" not in n]
    assert {types[n] for n in (*DOUBLES, *truth)} == {"double"}
    assert {types[n] for n in (*INTEGERS, "mc_current", "mc_intType", "mc_incoming")} == {"int32_t"}
    assert {types[n] for n in (*FOURS, *TRUTH_FOURS)} == {"double[4]"}
    assert {types[n] for n in (*DOUBLE_LISTS, *VECTORS, "mc_FSPartE")} == {"double[]"}
    assert {types[n] for n in (*INTEGER_LISTS, "mc_FSPartPDG")} == {"int32_t[]"}


@pytest.mark.parametrize("name", NAMES)
def test_the_cloud_made_in_memory_is_the_one_that_the_file_gives(made, path, name):
    read = data.read(path, card=name)
    direct = data.from_columns({f"MasterAnaDev/{n}": b for n, b in made[3].items()}, name)
    assert direct.schema == read.schema
    assert direct.counts.tolist() == read.counts.tolist()
    for field in read.particles.fields:
        np.testing.assert_array_equal(direct.flat(field), read.flat(field))
    for column, values in read.events.items():
        np.testing.assert_array_equal(direct.events[column], values)


def test_the_file_is_recognised_and_says_that_it_is_simulation(made, path):
    assert data.recognise(path).name == "minerva_clusters"
    cloud = data.read(path)
    assert cloud.schema.simulated is True
    assert cloud.schema.dataset == "minerva_clusters (cloudchamber simulation)"
    assert SIMULATION == masteranadev.MARK
    assert (cloud.counts > 0).mean() > 0.95
    assert cloud.events["n_dropped"].max() == 0


def test_labels_and_truth_are_those_of_the_interactions(made, path):
    events, final, _, _ = made
    cloud = data.read(path)
    np.testing.assert_allclose(cloud.labels["neutrino_energy"], events.neutrino_N4[:, 0])
    q = events.neutrino_N4 - events.lepton_N4
    np.testing.assert_allclose(cloud.labels["q3"], np.linalg.norm(q[:, 1:], axis=1), rtol=1e-6)
    charged = np.isin(final.pdg, (211, -211))
    single = np.bincount(final.event[charged], minlength=len(events)) == 1
    assert ((cloud.labels["pion_class"] == 0) == (single & events.charged_current)).all()
    pion, proton = np.isin(final.pdg, (211, -211, 111)), final.pdg == 2212
    energy = final.p4_T4[:, 0] * (pion | proton) - 0.938272 * proton
    np.testing.assert_allclose(cloud.labels["available_energy"], np.bincount(final.event, weights=energy), atol=1e-6)


def test_the_detectors_frame_is_the_inverse_of_the_readers_beam_frame():
    vectors = np.random.default_rng(1).normal(size=(20, 4))
    np.testing.assert_allclose(to_beam(to_detector(vectors)[:, 1:]), vectors[:, 1:], atol=1e-12)


def test_absent_objects_have_the_sentinels_of_the_files(made):
    events, _, response, branches = made
    no_muon = np.isnan(response.muon_N4[:, 0])
    assert (branches["muon_corrected_p"][no_muon] == -999).all()
    assert (branches["gamma1_E"][np.isnan(response.photons_N24[:, 0, 0])] == -9999).all()
    first = ak.firsts(branches["prong_part_pid"])
    assert (np.asarray(first) == np.where(no_muon, -999, 3)).all()
    assert no_muon[~events.charged_current].all()
    assert not any(np.isnan(ak.to_numpy(ak.flatten(b, axis=None))).any() for b in branches.values())


def test_ranges_between_the_tables_energies_are_the_published_ones_and_invert():
    # In polystyrene: protons by NIST PSTAR, muons by PUMAS (github.com/niess/pumas-materials).
    protons = {0.06: 3.151, 0.25: 38.74, 0.7: 199.5, 3.0: 1341, 9.0: 4356}
    muons = {0.1: 31.73, 0.3: 131.8, 0.9: 435.0, 2.0: 958.1, 10.0: 4397}
    for mass, table in ((0.938272, protons), (0.105658, muons)):
        energies = np.array(list(table))
        np.testing.assert_allclose(range_of(energies, energies * 0 + mass), list(table.values()), rtol=0.03)
    energies = np.geomspace(0.005, 20, 30)
    np.testing.assert_allclose(energy_of(range_of(energies, energies * 0 + 0.14), energies * 0 + 0.14), energies, rtol=1e-9)


def test_a_muon_crosses_every_plane_to_the_end_with_the_energy_of_a_minimum_ionising_particle():
    events, final = one(0, 5.0, 0.105658, lepton=13)
    response = respond(events, final, np.random.default_rng(2))
    clusters = response.clusters
    track = (clusters.deposits.source == 0) & (MINERVA.planes.subdet[clusters.plane] == 2)
    # A plane has 17 mm of scintillator, 2 MeV/cm; rising slowly with energy.
    assert np.median(clusters.deposits.energy[track]) == pytest.approx(0.0034, rel=0.15)
    crossed = ((MINERVA.planes.z > response.true_vertex_N4[:, 2:3]) & (MINERVA.planes.subdet == 2)).sum(axis=1)
    counts = np.bincount(clusters.deposits.event[track], minlength=len(events))
    assert np.median(counts / crossed) == pytest.approx(1.0, abs=0.05)
    matched = ~np.isnan(response.muon_N4[:, 0])
    assert matched.mean() > 0.85
    assert np.median(response.muon_N4[matched, 0]) == pytest.approx(5.1, rel=0.02)
    assert (response.muon_charge[matched] == -1).all()


def test_a_contained_proton_prong_has_its_energy_and_a_slow_one_is_not_tracked():
    events, final = one(2212, 0.2, 0.938272, n=900)
    prongs = respond(events, final, np.random.default_rng(3)).prongs
    energy = prongs.p4_T4[prongs.code == 8, 0] - 0.938272
    assert len(energy) > 100
    assert np.median(energy) == pytest.approx(0.2, rel=0.1)
    assert (respond(*one(2212, 0.06, 0.938272), np.random.default_rng(3)).prongs.code != 8).all()


def test_calorimetry_gives_the_energy_of_photons_in_the_tracker():
    events, final = one(22, 0.5, 0.0)
    recoil = respond(events, final, np.random.default_rng(4)).recoil_N5.sum(axis=1)
    assert np.median(recoil) == pytest.approx(0.5, rel=0.1)


def test_only_positive_pions_that_stop_leave_a_michel_electron():
    plus, minus = (respond(*one(c, 0.1, 0.13957, n=3000), np.random.default_rng(5)).michels.mean() for c in (211, -211))
    assert 0.35 < plus < 0.7
    assert minus < 0.08


def test_the_pair_of_photons_of_a_pi0_has_its_mass():
    events, final = one(111, 0.5, 0.13498, n=1500)
    photons = respond(events, final, np.random.default_rng(6)).photons_N24
    total = photons[~np.isnan(photons[:, 0, 0])].sum(axis=1)
    assert len(total) > 100
    mass = np.sqrt(np.maximum(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1), 0))
    assert np.median(mass) == pytest.approx(0.135, rel=0.1)


def test_blobs_and_clusters_of_one_view_lie_where_their_view_measures(made):
    _, _, response, branches = made
    flat = ~response.blob_in_3d
    angle = np.degrees(np.arctan2(response.blobs.at_T4[flat, 1], response.blobs.at_T4[flat, 0])) % 180
    assert set(np.unique(np.round(angle)) % 180) <= {0, 60, 120}
    assert set(ak.flatten(branches["cluster_view"])) == {1, 2, 3}
    assert (np.abs(response.clusters.position) < 1300).all()


def test_prongs_as_flat_lists_that_are_no_fours_are_told(made, tmp_path):
    broken = {**made[3], "prong_part_E": made[3]["prong_dEdXMean"]}
    with pytest.raises(BadFile, match=r"prong_part_E has .* numbers in event 0, expected four for each prong"):
        data.from_columns({f"MasterAnaDev/{n}": b for n, b in broken.items()}, "minerva_clusters")


def test_events_without_a_vertex_are_left_out_and_the_rest_keeps_its_number():
    events = interactions(300, seed=9)
    branches = masteranadev.simulate(events, np.random.default_rng(1))
    number = branches["mc_nthEvtInFile"]
    assert 0.7 * 300 < len(number) < 300
    np.testing.assert_allclose(branches["mc_incomingE"], events.neutrino_N4[number, 0] * 1e3)
    assert events.charged_current[number].mean() > events.charged_current.mean()


def test_the_same_seed_gives_the_same_events():
    events = interactions(50, seed=8)
    a, b = (masteranadev.simulate(events, np.random.default_rng(1)) for _ in range(2))
    assert all(ak.array_equal(a[n], b[n], equal_nan=True) for n in a)
