"""Simulated jets against what is known of their particles: masses, flavours, decays."""

import numpy as np
import pytest

from cloudchamber.events import kinematics
from cloudchamber.simulate import simulate

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

CLASSES = ("QCD", "Hbb", "Hqql", "Zqq", "Wqq", "Tbqq")


@pytest.fixture(scope="module")
def jets():
    cloud = simulate(CLASSES, 70, seed=11, workers=2, mpi=False)
    return {name: cloud[cloud.labels["label"] == i] for i, name in enumerate(CLASSES)}


@pytest.mark.parametrize(
    ("name", "mass"),  # GeV, Particle Data Group 2024
    [("Wqq", 80.4), ("Zqq", 91.2), ("Tbqq", 172.6), ("Hbb", 125.2)],
)
def test_the_jet_mass_peaks_at_the_mass_of_the_particle(jets, name, mass):
    # Neutrinos of b decays and particles outside the cone take a few per cent, never add.
    assert np.median(kinematics.invariant_mass(jets[name])) == pytest.approx(mass, rel=0.08)


def test_quark_and_gluon_jets_are_lighter_than_the_decays_of_heavy_particles(jets):
    assert np.median(kinematics.invariant_mass(jets["QCD"])) < 78


def test_gluon_jets_hold_more_particles_than_quark_jets(jets):
    parton, counts = jets["QCD"].labels["parton"], jets["QCD"].counts
    assert counts[parton == 1].mean() > 1.15 * counts[parton == 0].mean()


def test_b_hadrons_show_in_impact_parameters(jets):
    def displaced(cloud):
        return (np.abs(cloud.flat("d0") / cloud.flat("d0_err")) > 4).sum() / len(cloud)

    assert displaced(jets["Hbb"]) > 3 * displaced(jets["Wqq"])  # two b hadrons of five charged particles each
    assert displaced(jets["Hbb"]) > 4


def test_leptonic_jets_hold_a_hard_lepton_of_either_charge(jets):
    cloud = jets["Hqql"]
    pt = np.hypot(cloud.flat("px"), cloud.flat("py"))
    lepton = (cloud.flat("is_electron") + cloud.flat("is_muon") > 0) & (pt > 20)
    event = np.repeat(np.arange(len(cloud)), cloud.counts)
    assert len(np.unique(event[lepton])) > 0.75 * len(cloud)
    positive = (cloud.flat("charge")[lepton] > 0).mean()
    assert 0.25 < positive < 0.75


def test_jets_of_a_symmetric_initial_state_go_everywhere(jets):
    for cloud in jets.values():
        phi = np.arctan2(*(np.add.reduceat(cloud.flat(n), np.cumsum(cloud.counts) - cloud.counts) for n in ("py", "px")))
        assert np.abs(np.exp(1j * phi).mean()) < 3 / np.sqrt(len(cloud))
