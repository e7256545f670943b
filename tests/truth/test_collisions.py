"""Simulated collisions against published numbers, and against what must hold in any of them."""

import numpy as np
import pytest

from cloudchamber.events import kinematics
from cloudchamber.events.clustering import leading_jets
from cloudchamber.simulate import load_scenario, pileup, pythia, simulate
from cloudchamber.simulate.pileup import overlaid
from cloudchamber.simulate.resimulation import hard_processes, replayed

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")


def record(scenario, name, n, seed=5, **numbers):
    """n collisions before any detector, without multiparton interactions."""
    scenario = load_scenario(scenario).changed(numbers, mpi=False)
    return pythia.Run(scenario, scenario.classes[name], seed).record(n)


def totals(rows, n):
    """(n,) px, py, pz, energy of each event's particles."""
    return [np.bincount(rows["event"], rows[name], minlength=n) for name in ("px", "py", "pz", "energy")]


def mass(px, py, pz, energy):
    return np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0))


def jet_masses(cloud):
    """(N, 2) masses of the two leading anti-kt R = 1 jets, the heavier first; and the mass of both together."""
    jets = leading_jets(cloud, 2)
    event = np.repeat(np.arange(len(jets)), jets.counts)
    p = {name: jets.flat(name).astype(np.float64) for name in ("px", "py", "pz", "energy")} | {"event": event}
    each = [mass(*totals(pythia.rows(p, jets.flat("jet") == rank), len(jets))) for rank in (0, 1)]
    return np.sort(each, axis=0)[::-1].T, kinematics.invariant_mass(jets)


@pytest.mark.parametrize(("numbers", "x", "y", "resonance"), [({}, 500, 100, 3500), ({"m_x": 300, "m_y": 200}, 300, 200, 3500)])
def test_the_jets_of_a_resonance_have_the_masses_of_its_products(numbers, x, y, resonance):
    cloud = simulate("dijet_search", {"two_prong": 60, "three_prong": 60}, seed=3, workers=1, numbers=numbers)
    masses, both = jet_masses(cloud)
    for label in (0, 1):
        mine = cloud.labels["label"] == label
        assert np.median(masses[mine], axis=0) == pytest.approx([x, y], rel=0.12)  # losses of jet and calorimeter
        assert np.median(both[mine]) == pytest.approx(resonance, rel=0.06)
    assert np.median(cloud.labels["m_hat"]) == pytest.approx(resonance, rel=0.01)


def test_the_background_of_a_search_has_its_trigger_jet_and_light_jets():
    cloud = simulate("dijet_search", {"qcd": 40}, seed=3, workers=1)
    jets = leading_jets(cloud, 1)
    assert kinematics.axes_of(jets)["pt"].min() > 1199.9  # float32 particles
    assert np.median(jet_masses(cloud)[0][:, 1]) < 150


def test_jets_hold_as_many_prongs_as_their_particle_has_visible_products():
    expected = {"QCD": 1, "Wqq": 2, "Tbqq": 3, "H4q": 4, "Hqql": 3}
    jets = simulate(list(expected), 25, seed=2, workers=1, mpi=False)
    for i, prongs in enumerate(expected.values()):
        mine = jets.labels["prongs"][jets.labels["label"] == i]
        assert np.median(mine) == prongs
        assert i == 0 or mine.min() >= prongs
    quark = jets.labels["parton"] == 0
    assert np.all(np.abs(jets.labels["parton_pdg"][quark]) <= 5)
    assert np.all(jets.labels["parton_pdg"][jets.labels["parton"] == 1] == 21)


def test_charged_multiplicity_of_z_decays_is_that_of_lep():
    # 20.76 +- 0.16: Particle Data Group, average of 91 GeV experiments (pdglive S044CHG). Shares of flavours among hadronic
    # decays: R_b = 0.2163, R_c = 0.1721 (LEP Electroweak Working Group, hep-ex/0509008).
    mean = 0.0
    for name, share in (("light", 1 - 0.2163 - 0.1721), ("charm", 0.1721), ("bottom", 0.2163)):
        events = record("lep_z", name, 500)
        mean += share * np.count_nonzero(events.stable["charge"]) / events.n_events
    assert mean == pytest.approx(20.76, abs=0.16 + 3 * 6.5 / np.sqrt(1500))  # 6.5: the width of its distribution


def test_the_z_is_at_its_mass_at_lep_and_in_muon_pairs():
    assert record("lep_z", "light", 20).truth["m_hat"] == pytest.approx(91.2, abs=1e-6)
    events = record("whole_events", "z_jets", 150, pt_hat_min=20)
    muon = pythia.rows(events.hard, np.abs(events.hard["pdg"]) == 13)
    pairs = mass(*totals(muon, events.n_events))[np.unique(muon["event"])]
    assert len(pairs) > 30  # a third of the events
    assert np.median(pairs) == pytest.approx(91.19, abs=0.7)  # GeV, Particle Data Group; Z width 2.5


def test_w_and_z_events_have_the_leptons_and_the_missing_momentum_of_their_decays():
    cloud = simulate("whole_events", {"w_jets": 80, "z_jets": 80}, seed=4, workers=1, mpi=False)
    event = np.repeat(np.arange(len(cloud)), cloud.counts)
    pt = np.hypot(cloud.flat("px"), cloud.flat("py"))
    hard_lepton = (cloud.flat("is_muon") + cloud.flat("is_electron") > 0) & (pt > 15)
    n_leptons = np.bincount(event[hard_lepton], minlength=len(cloud))
    w = cloud.labels["label"] == 0
    assert (n_leptons[w] >= 2).mean() < 0.15 < 0.25 < (n_leptons[~w] >= 2).mean()
    assert (n_leptons[w] == 1).mean() > 0.35
    assert np.median(cloud.events["met"][w]) > 1.5 * np.median(cloud.events["met"][~w])
    # The transverse mass of the lepton and the missing momentum ends at the W mass (80.4 GeV), smeared by the detector.
    one = np.flatnonzero(hard_lepton & w[event] & (n_leptons[event] == 1))
    dphi = np.arctan2(cloud.flat("py")[one], cloud.flat("px")[one]) - cloud.events["met_phi"][event[one]]
    transverse = np.sqrt(2 * pt[one] * cloud.events["met"][event[one]] * (1 - np.cos(dphi)))
    assert 45 < np.median(transverse) < 80
    assert (transverse < 110).mean() > 0.85


@pytest.mark.parametrize(("scenario", "name"), [("jetclass", "Zqq"), ("hera", "neutral_current")])
def test_a_hard_process_that_is_showered_again_gives_events_like_direct_ones(scenario, name):
    chosen = load_scenario(scenario).changed({}, mpi=False)
    kind = chosen.classes[name]
    again = next(replayed(chosen, kind, hard_processes(chosen, kind, 12), 13))
    direct = next(pythia.collisions(chosen, kind, 11))
    counts = [np.bincount(e.stable["event"], minlength=e.n_events) for e in (again, direct)]
    error = np.sqrt(sum(c.var() / len(c) for c in counts))
    assert counts[0].mean() == pytest.approx(counts[1].mean(), abs=3.5 * error)
    sums = [[np.median(total) for total in totals(e.stable, e.n_events)] for e in (again, direct)]
    assert sums[0] == pytest.approx(sums[1], rel=1e-6, abs=1e-6)  # the beams' momentum, in the laboratory


def test_hera_events_conserve_momentum_and_have_the_asked_momentum_transfer():
    events = record("hera", "neutral_current", 300, q2_min=25)
    px, py, pz, energy = totals(events.stable, events.n_events)
    # 920 GeV protons along +z on 27.5 GeV positrons; only a neutrino of a hadron decay can be missing.
    exact = (np.abs(px) < 1e-6) & (np.abs(py) < 1e-6) & (np.abs(pz - 892.5) < 1e-2) & (np.abs(energy - 947.5) < 1e-6)
    assert exact.mean() > 0.8
    scattered = pythia.rows(events.hard, events.hard["pdg"] == -11)
    assert len(scattered["event"]) == 300
    q2 = 2 * 27.5 * (scattered["energy"] + scattered["pz"])  # -(k - k')^2 for a massless positron
    assert q2.min() > 25
    assert np.median(q2) < 100  # falls as 1 / Q^4
    neutrino = record("hera", "charged_current", 100, q2_min=25)
    assert np.hypot(*totals(neutrino.stable, 100)[:2]).mean() > 20


def test_tunes_differ_in_their_showers_and_energies_in_their_partons():
    # The strong coupling of final-state showers is 0.1365 in Monash 2013 (tune 14, arXiv:1404.5630) and 0.127 in ATLAS A14
    # (tune 21, ATL-PHYS-PUB-2014-021): less radiation, fewer particles.
    means, errors = [], []
    for tune in (14, 21):
        scenario = load_scenario("jetclass").changed({"tune": tune}, mpi=False)
        events = pythia.Run(scenario, scenario.classes["QCD"], 7).record(700)
        counts = np.bincount(events.stable["event"][events.stable["charge"] != 0], minlength=events.n_events)
        means.append(counts.mean())
        errors.append(counts.std() / np.sqrt(len(counts)))
    assert means[0] - means[1] > 2 * np.hypot(*errors)
    x = [
        np.median(np.sqrt(e.truth["x1"] * e.truth["x2"]))
        for e in (record("inclusive_jets", "jet", 60, ecm=c) for c in (7000, 14000))
    ]
    assert x[0] / x[1] == pytest.approx(2, rel=0.15)  # the same partons' energy of half the beams'


def test_pile_up_has_the_asked_mean_and_its_own_vertices(monkeypatch):
    monkeypatch.setattr(pileup, "POOL", 300)
    scenario = load_scenario("jetclass").changed({"pileup": 20}, mpi=False)
    plain = pythia.collisions(scenario, scenario.classes["Wqq"], 1)
    merged = next(overlaid(plain, scenario, (1, 2), 0))
    n = merged.truth["n_pileup"]
    assert n.mean() == pytest.approx(20, abs=3 * np.sqrt(20 / len(n)))
    assert n.var() == pytest.approx(20, rel=0.5)  # Poisson
    alone = next(pythia.collisions(scenario, scenario.classes["Wqq"], 1))
    hard = pythia.rows(merged.stable, merged.stable["vertex"] == 0)
    assert np.array_equal(hard["px"], alone.stable["px"])  # the hard collision is untouched
    assert np.all(np.diff(merged.stable["event"]) >= 0)
    vertices = np.unique(np.stack([merged.stable["event"], merged.stable["vertex"]]), axis=1)[0]
    assert np.array_equal(np.bincount(vertices) - 1, n)
    soft = merged.stable["vertex"] > 0
    prompt = soft & (np.hypot(merged.stable["vx"], merged.stable["vy"]) < 1e-9)
    assert merged.stable["vz"][prompt].std() == pytest.approx(53, rel=0.1)  # mm
    phi = np.arctan2(merged.stable["py"][soft], merged.stable["px"][soft])
    assert np.abs(np.exp(1j * phi).mean()) < 0.02


def test_pile_up_adds_particles_to_jets(monkeypatch):
    monkeypatch.setattr(pileup, "POOL", 300)
    without, with_it = (simulate(["Wqq"], 30, seed=1, workers=1, mpi=False, numbers=n) for n in ({}, {"pileup": 30}))
    assert with_it.counts.mean() > 1.3 * without.counts.mean()
    assert "pile-up 30" in with_it.schema.notes
