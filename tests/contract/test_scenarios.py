"""Scenarios: shipped ones make events, a user's own file is checked, views share their hard process."""

import numpy as np
import pytest
import yaml

from cloudchamber.errors import BadInput, BadScenario, CloudchamberError
from cloudchamber.simulate import load_scenario, pileup, pythia, resimulation, scenario_names, simulate
from cloudchamber.simulate.resimulation import hard_processes, replayed

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

OWN = """
name: own
description: W bosons
output: events
beams: [2212, 2212]
ecm: 8000
tune: 14
mpi: false
parameters: {low: 30}
classes:
  munu:
    description: W -> mu nu
    process: ["WeakBosonAndParton:qqbar2Wg = on"]
    settings: ["PhaseSpace:pTHatMin = {low}", "24:onMode = off", "24:onIfAny = 13"]
licence: mine
citation: {W: "arXiv:hep-ex/0000000"}
"""


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(pythia, "BATCH", 10)
    monkeypatch.setattr(resimulation, "BATCH", 10)


@pytest.mark.parametrize("name", [n for n in scenario_names() if n != "jetclass"])
def test_every_class_of_a_shipped_scenario_makes_events_with_their_truth(name, short):
    scenario = load_scenario(name)
    cloud = simulate(name, 2, seed=1, workers=1, mpi=False)
    assert cloud.labels["label"].tolist() == sorted([*range(len(scenario.classes))] * 2)
    assert cloud.schema.frame == ("jet" if scenario.output == "jets" else "collider")
    if name != "minimum_bias":  # a soft collision has no hard process
        assert np.all(cloud.labels["m_hat"] > 0)
        assert np.all(cloud.labels["process"] > 100)
    for x in ("x1", "x2"):
        assert np.all((cloud.labels[x] > 0) & (cloud.labels[x] <= 1))


def test_missing_momentum_balances_the_particles(short):
    cloud = simulate("whole_events", {"w_jets": 4}, seed=2, workers=1, mpi=False)
    event = np.repeat(np.arange(len(cloud)), cloud.counts)
    px, py = (-np.bincount(event, cloud.flat(name)) for name in ("px", "py"))
    assert cloud.events["met"] * np.cos(cloud.events["met_phi"]) == pytest.approx(px, abs=1e-2)
    assert cloud.events["met"] * np.sin(cloud.events["met_phi"]) == pytest.approx(py, abs=1e-2)


def test_objects_are_told_of_the_same_particles_and_puppi_takes_the_pile_up_away(short, monkeypatch):
    monkeypatch.setattr(pileup, "POOL", 100)
    asked = {"n": {"z_jets": 8}, "seed": 3, "workers": 1, "mpi": False}
    alone, piled, told = (
        simulate("whole_events", **asked, numbers=n) for n in ({"objects": 1}, {"pileup": 20}, {"pileup": 20, "objects": 1})
    )
    assert np.array_equal(told.flat("px"), piled.flat("px"))
    assert np.all(alone.flat("puppi") == 1)
    pt, weighted = (np.hypot(told.flat("px"), told.flat("py")) * w for w in (1.0, told.flat("puppi")))
    true = np.hypot(alone.flat("px"), alone.flat("py")).sum()
    assert abs(weighted.sum() - true) < 0.25 * (pt.sum() - true)
    identified, kind = told.flat("identified") == 1, sum(told.flat(f"is_{name}") for name in ("photon", "electron", "muon"))
    assert np.all(kind[identified] == 1)
    assert pt[identified].min() > 9.999  # float32; 10 GeV is the card's threshold
    assert np.array_equal(np.isfinite(told.flat("isolation")), identified)
    assert told.flat("isolated").sum() > 0


def test_a_users_own_file_is_simulated_with_other_numbers(tmp_path, short):
    path = tmp_path / "own.yaml"
    path.write_text(OWN)
    cloud = simulate(path, 5, seed=1, workers=1, numbers={"low": 100})
    assert cloud.schema.label("label").classes == ("munu",)
    assert cloud.labels["pt_hat"].min() > 100
    assert set(cloud.labels["process"]) == {251}  # Pythia's code of q qbar -> W g
    assert "8000 GeV" in cloud.schema.notes


@pytest.mark.parametrize(
    ("entry", "value", "says"),
    [
        ("pileupp", 5, "'pileup'"),
        ("output", "jets", "needs `jets`"),
        ("energies", [10, 10], "either `ecm` or `energies`"),
        ("ecm", float("inf"), "finite"),
        ("settings", ["Init:plugins = {libevil.so::Evil}"], "group that a scenario may set"),
        ("settings", ["Vincia:MEplugin = evil"], "group that a scenario may set"),
        ("settings", ["Beams:LHEF = /etc/passwd"], "group that a scenario may set"),
        ("settings", ["PDF:pSet = ../evil"], "group that a scenario may set"),
        ("settings", ["include = evil.cmnd"], "group that a scenario may set"),
        ("settings", ["Random:seed = 7"], "group that a scenario may set"),
        ("settings", ["random:SEED = 7"], "group that a scenario may set"),  # Pythia takes either case
        ("settings", ["PhaseSpace:pTHatMin = {lo}"], "Nearest: 'low'"),
        ("classes", {}, "at least 1"),
    ],
)
def test_a_file_that_cannot_be_right_says_which_entry(tmp_path, entry, value, says):
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(OWN) | {entry: value}))
    with pytest.raises(BadScenario, match=r"own\.yaml") as caught:
        load_scenario(path)
    assert says in str(caught.value)


def test_a_setting_that_pythia_does_not_know_is_named(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(OWN.replace("qqbar2Wg", "qqbar2Wgg"))
    with pytest.raises(CloudchamberError, match="refuses the setting 'WeakBosonAndParton:qqbar2Wgg = on'"):
        simulate(path, 1, workers=1)


@pytest.mark.parametrize(("scenario", "name"), [("jetclass", "QCD"), ("jetclass", "Tbqq"), ("dijet_search", "three_prong")])
def test_the_hard_partons_of_two_views_agree_to_rounding(scenario, name, short):
    scenario = load_scenario(scenario).changed({}, mpi=False)
    kind = scenario.classes[name]
    run = pythia.Run(scenario, kind, 3, "PartonLevel:all = off", "HadronLevel:all = off")
    assert run.pythia.next()
    process = [run.pythia.process[i] for i in range(5, run.pythia.process.size())]
    records = [next(replayed(scenario, kind, hard_processes(scenario, kind, 3), seed)) for seed in (4, 5)]
    for record in records:
        assert record.hard["pdg"][record.hard["event"] == 0].tolist() == [p.id() for p in process if p.status() > 0]
        if name == "QCD":  # the recoil of initial-state radiation moves decay products, in each view differently
            assert record.hard["px"][:2] == pytest.approx([p.px() for p in process], rel=1e-12)
    for truth in ("pt_hat", "m_hat", "x1", "x2", "process"):
        assert records[0].truth[truth] == pytest.approx(records[1].truth[truth], rel=1e-12, nan_ok=False)
    assert len(records[0].stable["px"]) != len(records[1].stable["px"])


def test_views_of_jets_are_pairs_of_one_parton_or_decay_and_differ_in_all_else(short):
    cloud = simulate(["QCD", "Hbb"], 6, seed=1, workers=1, mpi=False, views=[{"tune": 21}, {"mpi": True}])
    assert len(cloud) == 36
    one, two, three = (cloud[cloud.labels["view"] == v] for v in range(3))
    assert cloud.labels["view"][:6].tolist() == [0, 1, 2, 0, 1, 2]
    assert len(set(one.labels["pair"])) == 12
    for name in ("pair", "label", "pt_hat", "x1", "x2", "process", "parton"):
        assert one.labels[name].tolist() == two.labels[name].tolist() == three.labels[name].tolist()
    assert set(one.labels["process"]) <= {*range(111, 125), 904}  # Pythia's codes of HardQCD and of f fbar -> H Z
    phi = [np.arctan2(*(np.add.reduceat(c.flat(n), np.cumsum(c.counts) - c.counts) for n in ("py", "px"))) for c in (one, two)]
    assert np.abs(np.exp(1j * phi[0]) - np.exp(1j * phi[1])).max() < 0.8  # the same jet, twice
    assert not np.any(one.flat("px")[:20] == two.flat("px")[:20])


def test_views_of_whole_events_are_pairs(short):
    cloud = simulate("whole_events", {"z_jets": 3}, seed=1, workers=1, mpi=False, views=[{}])
    assert cloud.labels["pair"].tolist() == [0, 0, 1, 1, 2, 2]
    assert cloud.labels["m_hat"][::2].tolist() == cloud.labels["m_hat"][1::2].tolist()


def test_a_soft_collision_has_no_views(short):
    with pytest.raises(BadInput, match="soft collision has no hard process"):
        simulate("minimum_bias", 1, workers=1, mpi=False, views=[{}])
