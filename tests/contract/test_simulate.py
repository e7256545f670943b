"""The contract of simulated jets: reproducible, labelled, in range, and stopped without a hang."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cloudchamber.data.store import Store
from cloudchamber.errors import BadInput, CloudchamberError, MissingExtra
from cloudchamber.events import kinematics
from cloudchamber.simulate import load_scenario, production, pythia, scenario_names, simulate, stream
from cloudchamber.simulate.card import load, shipped

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

FAST = {"seed": 5, "mpi": False}
CLASSES = list(load_scenario("jetclass").classes)


@pytest.fixture(scope="module")
def jets():
    return simulate(CLASSES, 8, workers=2, **FAST)


def equal(a, b):
    same = all(np.array_equal(a.flat(f), b.flat(f), equal_nan=True) for f in a.particles.fields)
    return same and np.array_equal(a.counts, b.counts)


def test_jets_depend_neither_on_the_number_of_workers_nor_on_the_other_classes(jets):
    alone = simulate(["Hqql", "QCD"], 8, workers=1, **FAST)
    for name in ("QCD", "Hqql"):
        mine = alone[alone.labels["label"] == alone.schema.label("label").classes.index(name)]
        theirs = jets[jets.labels["label"] == CLASSES.index(name)]
        assert equal(mine, theirs)


def test_another_seed_gives_other_jets():
    assert not equal(*(simulate(["Wqq"], 3, seed=s, workers=1, mpi=False) for s in (1, 2)))


def test_more_jets_are_appended_in_chunks_that_alternate_between_the_classes(monkeypatch):
    monkeypatch.setattr(production, "CHUNK", 2)
    monkeypatch.setattr(pythia, "BATCH", 10)
    done = []
    few = simulate(["QCD"], 1, workers=1, **FAST)
    many = simulate(["QCD", "Wqq"], 3, workers=1, progress=done.append, **FAST)
    assert many.labels["label"].tolist() == [0, 0, 1, 1, 0, 1]
    assert done == [2, 2, 1, 1]
    assert equal(few, many[:1])


def test_every_class_is_there_under_its_name_as_often_as_asked(jets):
    assert jets.schema.label("label").classes == tuple(CLASSES)
    assert np.bincount(jets.labels["label"]).tolist() == [8] * len(CLASSES)
    parton = jets.labels["parton"]
    assert set(parton[jets.labels["label"] != 0]) == {-1}
    assert set(parton[jets.labels["label"] == 0]) >= {0, 1}


def test_jets_lie_in_the_asked_range_with_particles_by_falling_pt(jets):
    total = [np.asarray([e.sum() for e in np.split(jets.flat(n), np.cumsum(jets.counts)[:-1])]) for n in ("px", "py", "pz")]
    pt, eta, _ = kinematics.pt_eta_phi(*total)
    assert pt.min() > 499.9  # float32 constituents
    assert pt.max() < 1000.1
    assert np.abs(eta).max() < 2.0
    assert equal(jets, kinematics.leading(jets, 1000))


def test_each_particle_has_one_flag_and_only_charged_ones_have_impact_parameters(jets):
    assert np.all(sum(jets.flat(f) for f in kinematics.FLAGS) == 1)
    neutral = jets.flat("charge") == 0
    for name in ("d0", "d0_err", "dz", "dz_err"):
        assert np.array_equal(np.isnan(jets.flat(name)), neutral)
    assert np.all(jets.flat("d0_err")[~neutral] > 0)
    assert {jets.flat(n).dtype for n in jets.particles.fields} == {np.dtype(np.float32)}


def test_the_schema_says_that_it_is_simulation_and_whom_to_cite(jets):
    assert jets.schema.simulated is True
    assert jets.schema.frame == "jet"
    assert {"arXiv:2203.11601", "arXiv:1111.6097", "arXiv:1307.6346", "arXiv:2202.03772"} <= set(jets.schema.citation)
    assert "MPI off" in jets.schema.notes


@pytest.mark.parametrize("detector", shipped())
def test_the_detector_that_was_used_is_cited_and_no_other(detector):
    schema = production.production("lep_z", 1, detector=detector).schema
    assert set(schema.citation) == {*load_scenario("lep_z").citation.values(), *load(detector).citation}


def test_the_package_can_be_called_like_its_function():
    import cloudchamber.simulate as package

    assert equal(package(["Wqq"], 2, workers=1, **FAST), simulate(["Wqq"], 2, workers=1, **FAST))


@pytest.mark.parametrize(
    ("classes", "n", "options", "says"),
    [
        (["Hbbb"], 5, {}, "'Hbb'"),
        ("QCD", 5, {}, "list of names"),
        ([], 5, {}, "list of names"),
        (["QCD", "QCD"], 5, {}, "twice"),
        (["QCD"], 0, {}, "n = 0"),
        (["QCD"], 5, {"workers": 0}, "workers = 0"),
        (["QCD"], 5, {"pt_range": (500.0, 400.0)}, "low < high"),
        (["QCD"], 5, {"pt_range": (None, 400.0)}, r"got \(500.0, 400.0\)"),
        ("dijet", 5, {}, "Nearest: 'dijet_search'"),
        ("dijet_search", {"qdc": 5}, {}, "Nearest: 'qcd'"),
        ("dijet_search", 5, {"numbers": {"mas": 1000}}, "Nearest: 'mass'"),
        ("dijet_search", 5, {"numbers": {"tune": 99}}, "'tune'"),
        ("whole_events", 5, {"pt_range": (500.0, 600.0)}, "no pt_range"),
        ("lep_z", 5, {"numbers": {"pileup": 10}}, "both beams must be 2212"),
        (["QCD"], 5, {"views": [{"ecm": 7000}]}, "'ecm' cannot differ"),
    ],
)
def test_wrong_arguments_are_told_at_the_call(classes, n, options, says):
    with pytest.raises(BadInput, match=says):
        stream(classes, n, **options)


@pytest.mark.parametrize("package", ["pythia8mc", "fastjet"])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"{package}.*cloudchamber\[sim\]"):
        simulate(["QCD"], 1, workers=1)


def test_a_killed_worker_is_an_error_and_leaves_no_process(monkeypatch):
    monkeypatch.setattr(production, "CHUNK", 2)
    clouds = stream(["Wqq"], 1000, workers=2, mpi=False)
    next(clouds)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(CloudchamberError, match="worker died"):
        list(clouds)
    assert not multiprocessing.active_children()


def test_a_stream_that_is_closed_early_leaves_no_process(monkeypatch):
    monkeypatch.setattr(production, "CHUNK", 2)
    clouds = stream(["Wqq"], 1000, workers=2, mpi=False)
    assert len(next(clouds)) == 2
    clouds.close()
    assert not multiprocessing.active_children()


def test_a_script_without_a_main_guard_can_simulate_in_parallel(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from cloudchamber.simulate import simulate\n"
        "print('started')\n"
        "print(len(simulate(['QCD', 'Wqq'], 2, workers=2, mpi=False)))\n"
    )
    result = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert result.stdout == "started\n4\n"
    assert not result.stderr


def test_the_verb_writes_a_store_and_refuses_a_folder_that_is_there(tmp_path: Path):
    from typer.testing import CliRunner

    from cloudchamber.cli.main import app

    out = tmp_path / "jets"
    command = ["simulate", "Wqq", "-n", "3", "--workers", "1", "--no-mpi", "--seed", "5", "-o", str(out)]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert equal(Store.open(out).read(), simulate(["Wqq"], 3, workers=1, **FAST))
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 2
    assert "is there already" in again.output


def test_the_list_of_classes_shows_settings_and_citations():
    from typer.testing import CliRunner

    from cloudchamber.cli.main import app

    result = CliRunner().invoke(app, ["simulate", "--list"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert all(text in result.output for text in (*scenario_names(), *shipped(), *CLASSES, "HardQCD:all = on"))
    for scenario in map(load_scenario, scenario_names()):
        assert all(text in result.output for text in (*scenario.classes, *scenario.citation.values(), scenario.licence))
