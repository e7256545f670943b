"""MINERvA tuples in their three tokenisations, against the numbers that went into the file."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from tests.minerva_file import event, vectors_of_vectors, write  # noqa: F401 (a fixture)
from tests.toy import outside_vocabulary

from cloudchamber import data, registry
from cloudchamber.data.readers.minerva_clusters import BEAM_TILT, to_beam
from cloudchamber.data.readers.minerva_truth import available_energy, momentum_transfer, pion_class
from cloudchamber.errors import BadFile, MissingColumn

pytestmark = pytest.mark.usefixtures("vectors_of_vectors")
NAMES = ("minerva_clusters", "minerva_blobs", "minerva_published")
MUON = [300.0, -400.0, 5000.0, 5026.0]
PHOTON = {"gamma1_px": 0.0, "gamma1_py": 60.0, "gamma1_pz": 80.0, "gamma1_E": 100.0, "gamma1_time": 5010.0, "gamma1_dEdx": 2.5}
OTHER = {
    "gamma2_px": 0.0,
    "gamma2_py": -60.0,
    "gamma2_pz": 80.0,
    "gamma2_E": 100.0,
    "gamma2_time": 5011.0,
    "gamma2_dEdx": -999.0,
}


def prongs(codes: list[int], energy: float = 1000.0) -> dict:
    n = len(codes)
    return {
        "prong_part_pid": codes,
        "prong_part_E": [[10.0 * i, 20.0, 300.0, energy + i] for i in range(n)],
        "prong_part_pos": [[10.0 + i, 20.0, 6100.0, 5003.0] for i in range(n)],
        "prong_dEdXMean": [-999.0 if c == 3 else 5.5 for c in codes],
    }


def blobs(*rows: tuple[float, float, float, float, float, int]) -> dict:
    names = ("X", "Y", "Z", "T", "TotalE", "Is3D")
    return {f"MasterAnaDev_Blob{n}": [row[i] for row in rows] for i, n in enumerate(names)}


def clusters(*rows: tuple[float, float, float, float, int, int, int]) -> dict:
    names = ("energy", "pos", "z", "time", "view", "subdet", "isMuontrack")
    return {f"cluster_{n}": [row[i] for row in rows] for i, n in enumerate(names)}


def of_kind(cloud, kind: str, row: int = 0) -> ak.Array:
    particles = cloud.particles[row]
    return particles[particles[kind] == 1]


def beam(x: float, y: float, z: float) -> np.ndarray:
    """In the beam's frame, by a rotation matrix about x (an independent formula)."""
    c, s = np.cos(0.05887), np.sin(0.05887)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ np.array([x, y, z])


def test_the_file_is_recognised_and_every_reader_is_chosen_by_name(tmp_path):
    path = write(tmp_path / "x.dat", [event(muon_corrected_p=MUON), event()])
    assert data.recognise(path).name == "minerva_clusters"
    for name in NAMES:
        cloud = data.read(path, card=name)
        assert (cloud.schema.dataset, cloud.schema.frame, cloud.schema.simulated) == (name, "fixed-target", True)
        assert cloud.schema.citation == registry.get("readers", name).citation
        assert cloud.counts.tolist() == [1, 0]
        assert not outside_vocabulary(cloud)
        back = data.convert(path, tmp_path / name, card=name).read()
        assert back.schema == cloud.schema
        assert back.flat("pz").tolist() == cloud.flat("pz").tolist()


def test_a_beam_neutrino_comes_out_along_z():
    # The beam goes down into the earth by 58.87 mrad; y is up in the detector.
    neutrino = 6.0 * np.array([[0.0, -np.sin(0.05887), np.cos(0.05887)]])
    np.testing.assert_allclose(to_beam(neutrino), [[0, 0, 6]], atol=1e-12)
    np.testing.assert_allclose(to_beam(np.array([[1.0, 2.0, 3.0]]))[0], beam(1, 2, 3))
    assert BEAM_TILT == -0.05887


def test_tokens_are_relative_to_the_interaction_in_the_beams_frame(tmp_path):
    row = event(muon_corrected_p=MUON, muon_trackVertexTime=5004.0, **PHOTON, **prongs([3, 8, 13]))
    cloud = data.read(write(tmp_path / "x.root", [row]))
    (muon,), (photon,) = of_kind(cloud, "is_muon"), of_kind(cloud, "is_photon")
    np.testing.assert_allclose([muon[n] for n in ("px", "py", "pz")], beam(0.3, -0.4, 5.0), rtol=1e-6)
    assert [muon[n] for n in ("x", "y", "z", "time")] == [0, 0, 0, 4]
    assert muon["energy"] == pytest.approx(5.026)
    np.testing.assert_allclose([photon[n] for n in ("px", "py", "pz")], beam(0, 0.06, 0.08), rtol=1e-6)
    assert (photon["time"], photon["plane_dedx"], np.isnan(photon["x"])) == (10, 2.5, True)
    assert len(of_kind(cloud, "is_muon_prong")) == 0  # the first prong is the muon again
    (proton,), (shower,) = of_kind(cloud, "is_proton_prong"), of_kind(cloud, "is_shower_prong")
    np.testing.assert_allclose([proton[n] for n in ("px", "py", "pz")], beam(0.01, 0.02, 0.3), rtol=1e-6)
    np.testing.assert_allclose([shower[n] for n in ("x", "y", "z", "time")], [*beam(2, 0, 100), 3], rtol=1e-5, atol=1e-5)
    assert (proton["energy"], proton["plane_dedx"]) == (pytest.approx(1.001), 5.5)


def test_without_a_muon_the_first_prong_stays(tmp_path):
    cloud = data.read(write(tmp_path / "x.root", [event(**prongs([3, 8])), event(**prongs([0, -999]))]))
    assert cloud.counts.tolist() == [2, 0]
    assert len(of_kind(cloud, "is_muon_prong")) == 1


def test_clusters_measure_one_axis_from_the_interaction_and_point_away_from_it(tmp_path):
    rows = [
        (10.0, 110.0, 6100.0, 5001.0, 1, 2, 0),
        (20.0, 0.0, 6200.0, 5002.0, 2, 3, 0),
        (30.0, 0.0, 6200.0, 5002.0, 3, 4, 0),
        (40.0, 0.0, 6200.0, 5002.0, 1, 1, 1),  # on the muon's track
        (50.0, 0.0, 6200.0, 5002.0, 0, 9, 0),  # nowhere
    ]
    cloud = data.read(write(tmp_path / "x.root", [event(**clusters(*rows))]))
    x, u, v = of_kind(cloud, "is_cluster")
    # The interaction is at x = 10, y = 20: u = x cos 60 - y sin 60, v = x cos 60 + y sin 60.
    vertex_u, vertex_v = 5 - 20 * np.sqrt(0.75), 5 + 20 * np.sqrt(0.75)
    np.testing.assert_allclose([c["transverse"] for c in (x, u, v)], [100, -vertex_u, -vertex_v], rtol=1e-6)
    np.testing.assert_allclose(
        [x[n] for n in ("px", "py", "pz")], 0.01 * beam(*[np.sqrt(0.5), 0, np.sqrt(0.5)]), rtol=1e-5, atol=1e-9
    )
    line = np.array([-vertex_u * 0.5, vertex_u * np.sqrt(0.75), 200.0])
    np.testing.assert_allclose([u[n] for n in ("px", "py", "pz")], 0.02 * beam(*line / np.linalg.norm(line)), rtol=1e-5)
    assert u["z"] == pytest.approx(beam(*line)[2])
    assert [c["time"] for c in (x, u, v)] == [1, 2, 2]
    assert [(c["view_x"], c["view_u"], c["view_v"]) for c in (x, u, v)] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert [(c["in_tracker"], c["in_ecal"], c["in_hcal"]) for c in (x, u, v)] == [(1, 0, 0), (0, 1, 0), (0, 0, 1)]
    assert np.isnan(x["x"])
    assert cloud.events["n_dropped"].tolist() == [1]


def test_blobs_hide_the_coordinate_that_is_not_measured(tmp_path):
    row = event(**blobs((110.0, 20.0, 6100.0, 5100.0, 30.0, 1), (-90.0, 0.0, 6100.0, 5100.0, 40.0, 0)))
    cloud = data.read(write(tmp_path / "x.root", [row]), card="minerva_blobs")
    both, one = of_kind(cloud, "is_blob")
    np.testing.assert_allclose([both[n] for n in ("x", "y", "z", "time")], [*beam(100, 0, 100), 100], rtol=1e-6)
    np.testing.assert_allclose(
        [both[n] for n in ("px", "py", "pz")], 0.03 * beam(np.sqrt(0.5), 0, np.sqrt(0.5)), rtol=1e-6, atol=1e-9
    )
    assert (one["transverse"], np.isnan(one["x"]), np.isnan(one["y"])) == (-100, True, True)
    np.testing.assert_allclose(
        [one[n] for n in ("px", "py", "pz")], 0.04 * beam(-np.sqrt(0.5), 0, np.sqrt(0.5)), rtol=1e-6, atol=1e-9
    )


def test_the_published_tokens_are_in_the_detectors_frame_with_the_muon_twice(tmp_path):
    row = event(
        muon_corrected_p=MUON, **PHOTON, **OTHER, **prongs([3, 8, 13, 0]), **blobs((300.0, 0.0, 400.0, 5100.0, 30.0, 0)),
        muon_fuzz_energy=12.0, muon_iso_blobs_energy=-1.0, MasterAnaDev_hadron_recoil=-9999.0, improved_nmichel=2,
        part_response_total_recoil_passive_allNonMuonClusters_id=400.0,
        part_response_total_recoil_passive_allNonMuonClusters_od=50.0,
    )  # fmt: skip
    cloud = data.read(write(tmp_path / "x.root", [row]), card="minerva_published")
    kinds = (
        "is_muon",
        "is_photon",
        "is_blob",
        "is_muon_prong",
        "is_proton_prong",
        "is_shower_prong",
        "is_blob_sum",
        "is_prong_sum",
    )
    types = np.argmax([cloud.flat(k) for k in kinds], axis=0)
    assert types.tolist() == [0, 1, 1, 2, 3, 4, 5]
    np.testing.assert_allclose(cloud.flat("py"), [-0.4, 0.06, -0.06, 0, 0.02, 0.02, 0.02], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(cloud.flat("px")[3], 0.018, rtol=1e-6)  # 30 MeV along (3, 0, 4) / 5
    assert cloud.flat("time").tolist()[3:5] == [5100, 5003]
    assert np.isnan(cloud.flat("plane_dedx")[[0, 2, 3, 4]]).all()
    expected = {
        "muon_fuzz_energy": 0.012, "muon_iso_blobs_energy": -0.001, "hadron_recoil_energy": np.nan, "n_michel": 2,
        "recoil_passive_id_energy": 0.4, "recoil_passive_od_energy": 0.05, "recoil_passive_energy": 0.45, "has_muon": 1,
        "photon_pair_mass": 0.12, "n_hadron_prongs": 1, "energy_blob": 0.03, "energy_muon_prong": 1.0,
        "energy_proton_prong": 1.001, "energy_shower_prong": 1.002, "energy_blob_sum": 0, "energy_prong_sum": 0,
    }  # fmt: skip
    assert len(expected) == 16
    for name, value in expected.items():
        np.testing.assert_allclose(cloud.events[name][0], value, rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_published_tokens_are_33_at_most_with_the_rest_summed(tmp_path):
    many = [(float(i + 1), 0.0, 0.0, 5000.0 + i, 10.0 + i, 0) for i in range(25)]
    row = event(muon_corrected_p=MUON, **PHOTON, **OTHER, **blobs(*many), **prongs([3] + [8] * 11))
    just = event(**blobs(*many[:20]))
    cloud = data.read(write(tmp_path / "x.root", [row, just]), card="minerva_published")
    assert cloud.counts.tolist() == [33, 20]
    some, (total,) = of_kind(cloud, "is_blob"), of_kind(cloud, "is_blob_sum")
    np.testing.assert_allclose(some["energy"], 1e-3 * np.arange(34, 15, -1), rtol=1e-6)
    assert total["energy"] == pytest.approx(1e-3 * sum(range(10, 16)))
    assert (total["x"], total["time"]) == (3.5, 5002.5)
    assert len(of_kind(cloud, "is_prong_sum")) == 1
    assert cloud.events["energy_blob_sum"].tolist() == pytest.approx([0.075, 0])
    np.testing.assert_allclose(of_kind(cloud, "is_blob", 1)["energy"], 1e-3 * np.arange(10, 30), rtol=1e-6)  # the file's order


def test_what_cannot_be_is_dropped_and_counted(tmp_path):
    rows = [
        event(muon_corrected_p=[1.0, 2.0, 3e6, 3e6]),
        event(**PHOTON | {"gamma1_E": np.nan}),
        event(**PHOTON | {"gamma1_E": 0.0}),
        event(**blobs((1.0, 2.0, np.nan, 5.0, 3.0, 1), (1.0, 2.0, 6000.0, 5.0, -3.0, 1), (1.0, 2.0, 6000.0, 5.0, 3.0, 1))),
        event(**prongs([8], energy=2e6)),
        event(vtx=[-9999.0] * 4, **blobs((1.0, 2.0, 6000.0, 5.0, 3.0, 1))),
    ]
    path = write(tmp_path / "x.root", rows)
    cloud = data.read(path, card="minerva_blobs")
    assert cloud.events["n_dropped"].tolist() == [1, 1, 0, 2, 1, 1]
    assert cloud.counts.tolist() == [0, 0, 0, 1, 0, 0]
    assert data.read(path, card="minerva_published").counts.tolist() == [0, 0, 0, 1, 0, 1]
    assert np.isnan(cloud.events["vertex_x"][5])


def test_event_columns_serve_cuts_in_our_units(tmp_path):
    row = event(
        MasterAnaDev_hadron_recoil_CCInc=1500.0, blob_recoil_E_tracker=250.0, muon_theta=0.1, isMinosMatchTrack=1,
        phys_n_dead_discr_pair_upstream_prim_track_proj=1, MasterAnaDev_recoil_E=-999.0, MasterAnaDev_minos_trk_qp=-0.2,
    )  # fmt: skip
    events = data.read(write(tmp_path / "x.root", [row])).events
    names = ("hadron_recoil_ccinc_energy", "blob_recoil_energy_tracker", "muon_theta", "is_minos_track", "n_dead", "minos_qp")
    assert [events[n][0] for n in names] == [1.5, 0.25, 0.1, 1, 1, -0.2]
    assert np.isnan(events["recoil_energy"][0])
    assert [events[n][0] for n in ("vertex_x", "vertex_y")] == [10, 20]
    assert events["vertex_tracker_z"][0] == pytest.approx(6000 - 5991.29)


def test_recorded_data_have_no_labels(tmp_path):
    cloud = data.read(write(tmp_path / "x.root", [event(muon_corrected_p=MUON)], simulated=False))
    assert (cloud.schema.labels, cloud.schema.simulated, len(cloud)) == ((), False, 1)


def test_labels_come_from_the_true_final_state(tmp_path):
    rows = [
        event(
            mc_intType=2, mc_FSPartPDG=[13, -211, 2212, 111], mc_FSPartE=[3000.0, 500.0, 1038.27, 200.0], mc_cvweight_total=1.1
        ),
        event(mc_current=2, mc_intType=8, mc_FSPartPDG=[14, 211], mc_FSPartE=[4000.0, 300.0]),
        event(mc_intType=7, mc_FSPartPDG=[13, 211], mc_FSPartE=[3000.0, 1e30]),
    ]
    cloud = data.read(write(tmp_path / "x.root", rows))
    names = {n: cloud.schema.label(n).classes for n in ("pion_class", "interaction", "current")}
    assert [names["pion_class"][i] for i in cloud.labels["pion_class"]] == ["CC1pi+-", "NC", "CC1pi+-"]
    assert [names["interaction"][i] for i in cloud.labels["interaction"]] == ["RES", "MEC", "other"]
    assert [names["current"][i] for i in cloud.labels["current"]] == ["CC", "NC", "CC"]
    np.testing.assert_allclose(cloud.labels["available_energy"], [0.5 + 0.099998 + 0.2, 0.3, np.nan])
    np.testing.assert_allclose(cloud.labels["available_energy_mat"], [0.365 + 0.1 + 0.2, 0.165, np.nan])
    np.testing.assert_allclose(cloud.labels["neutrino_energy"], 5.0)
    assert cloud.labels["cvweight_total"].tolist() == [1.1, 0, 0]
    assert cloud.schema.weight is None
    # Forward lepton of 3 GeV from 5 GeV along the same line: q = 2 GeV in momentum.
    np.testing.assert_allclose(cloud.labels["q3"], 2.0, atol=1e-4)


def test_the_leading_pions_have_their_energy_and_their_angle_to_the_beam(tmp_path):
    along = np.array([0.0, -np.sin(0.05887), np.cos(0.05887)])  # the beam goes down, y is up
    across, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, np.cos(0.05887), np.sin(0.05887)])
    cos, sin = np.cos(0.4), np.sin(0.4)
    momenta = [3000 * along, 200 * across, 400 * (cos * along + sin * across), 150 * (sin * up - cos * along), 900 * along]
    codes, masses = [13, 211, -211, 111, 2212], np.array([105.66, 139.57, 139.57, 134.98, 938.27])
    energies = np.sqrt((np.array(momenta) ** 2).sum(axis=1) + masses**2)
    final = {f"mc_FSPart{n}": np.array(momenta)[:, i].tolist() for i, n in enumerate(("Px", "Py", "Pz"))}
    full = event(mc_FSPartPDG=codes, mc_FSPartE=energies.tolist(), **final)
    absurd = event(mc_FSPartPDG=[211, 2112], mc_FSPartE=[300.0, 1e30])
    labels = data.read(write(tmp_path / "x.root", [event(), full, absurd])).labels
    expected = {"pion_energy": energies[2] / 1e3, "pion_theta": 0.4, "pi0_energy": energies[3] / 1e3, "pi0_theta": np.pi - 0.4}
    for name, value in expected.items():
        np.testing.assert_allclose(labels[name], [np.nan, value, np.nan], rtol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("code", "study", "mat"),
    [
        *(
            (2212, 2 - 0.938272, 2 - 0.93827),
            (-2212, 2 - 0.938272, 0),
            (211, 2, 1.865),
            (-211, 2, 1.865),
            (111, 2, 2),
            (22, 2, 2),
        ),
        *(
            (11, 2, 0),
            (-11, 2, 0),
            (321, 2, 0),
            (-321, 2, 0),
            (2112, 0, 0),
            (3122, 0, 0),
            (3222, 0, 0),
            (311, 0, 0),
            (130, 0, 0),
        ),
        *((1000060120, 0, 0), (2000000101, 0, 0), (13, 0, 0), (14, 0, 0)),
    ],
)
def test_available_energy_of_each_species(code, study, mat):
    a, b = available_energy(np.array([0, 1]), np.array([code]), np.array([2.0]))
    assert a.tolist() == pytest.approx([0, study])
    assert b.tolist() == pytest.approx([0, mat])


def test_a_negative_available_energy_is_clipped_in_one_convention_only():
    a, b = available_energy(np.array([1]), np.array([2212]), np.array([0.9]))
    assert a.tolist() == [0]
    assert b.tolist() == pytest.approx([-0.03827])


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([211], 0),
        ([-211], 0),
        ([211, 111, 111], 0),
        ([211, -211], 1),
        ([-211, -211], 1),
        ([111], 2),
        ([111, 111], 3),
        ([2212], 3),
    ],
)
def test_pion_classes_do_not_know_the_sign(codes, expected):
    counts = np.array([len(codes)])
    assert pion_class(counts, np.array(codes), np.array([True])).tolist() == [expected]
    assert pion_class(counts, np.array(codes), np.array([False])).tolist() == [4]


def test_the_momentum_transfer_is_that_of_the_four_vectors():
    rng = np.random.default_rng(2)
    direction = rng.normal(size=(20, 3))
    nu = 6.0 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    lepton = rng.normal(0, 1, (20, 3))
    energy = np.sqrt((lepton**2).sum(axis=1) + 0.10566**2)
    q3, w = momentum_transfer(np.full(20, 6.0), np.column_stack([nu, np.full(20, 6.0)]), np.column_stack([lepton, energy]))
    np.testing.assert_allclose(q3, np.linalg.norm(nu - lepton, axis=1), rtol=1e-9)
    hadrons = (0.93891875 + 6.0 - energy) ** 2 - ((nu - lepton) ** 2).sum(axis=1)
    np.testing.assert_allclose(w, np.sqrt(np.maximum(hadrons, 0)), rtol=1e-6, atol=1e-6)


def test_an_unknown_prong_and_a_missing_branch_are_told(tmp_path):
    with pytest.raises(BadFile, match="prong_part_pid is 9 in a prong, expected one of 3, 8, 13, -999, 0"):
        data.read(write(tmp_path / "x.root", [event(**prongs([3, 9]))]))
    with pytest.raises(MissingColumn, match=r"cluster_view.*minerva_clusters"):
        data.read(write(tmp_path / "y.root", [event()], drop=("cluster_view",)))
    assert len(data.read(tmp_path / "y.root", card="minerva_blobs")) == 1
