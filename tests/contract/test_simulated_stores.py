"""Simulation into stores: the same bytes whoever does the work, and nothing lost by a kill."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cloudchamber.cli.main import app
from cloudchamber.data.store import Store
from cloudchamber.simulate import production

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")

CLASSES = ("QCD", "Wqq", "Zqq")  # three chunks, so three shards


def simulated(out: Path, *options: str) -> Path:
    command = ["simulate", *CLASSES, "-n", "3", "--no-mpi", "--seed", "5", "-o", str(out), *options]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    return out


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return simulated(tmp_path_factory.mktemp("whole") / "jets", "--workers", "1")


def test_a_store_of_simulated_jets_says_how_it_was_made(whole):
    store = Store.open(whole)
    assert [s.rows for s in store.manifest.shards] == [3, 3, 3]
    asked = store.manifest.provenance
    assert (asked["seed"], asked["n"]) == (5, dict.fromkeys(CLASSES, 3))
    assert asked["views"][0]["scenario"]["classes"]["QCD"]["process"] == ["HardQCD:all = on"]
    assert asked["views"][0]["scenario"]["mpi"] is False


def test_two_processes_give_the_bytes_of_one(whole, tmp_path):
    assert content(simulated(tmp_path / "jets", "--workers", "2")) == content(whole)


@pytest.mark.filterwarnings("default")  # dask's own
def test_a_dask_cluster_gives_the_bytes_of_one_process(whole, tmp_path):
    pytest.importorskip("distributed")
    assert content(simulated(tmp_path / "jets", "--cluster", "local", "--workers", "2")) == content(whole)


CHILD = """
import os, signal, sys
from pathlib import Path
from cloudchamber.data import build
from cloudchamber.simulate import production
planned = production.production("jetclass", {"QCD": 3, "Wqq": 3, "Zqq": 3}, seed=5, mpi=False)
def progress(done, total):
    if done >= 6:
        os.kill(os.getpid(), signal.SIGKILL)
asked = {"verb": "simulate", **planned.asked()}
build(Path(sys.argv[1]), planned.jobs(), production.make, asked=asked, progress=progress)
"""


def test_a_killed_simulation_goes_on_from_its_finished_shards(whole, tmp_path):
    out = tmp_path / "jets"
    killed = subprocess.run([sys.executable, "-c", CHILD, out], check=False, stderr=subprocess.DEVNULL)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    made = {p.name: p.stat().st_ino for p in (tmp_path / ".jets.partial" / "store").iterdir()}
    assert sorted(made) == ["shard-00000.parquet", "shard-00001.parquet"]
    other = CliRunner().invoke(app, ["simulate", *CLASSES, "-n", "3", "--no-mpi", "--seed", "6", "-o", str(out)])
    assert "'seed' was 5; now it is 6" in other.output
    assert content(simulated(out, "--workers", "1")) == content(whole)
    assert {name: (out / name).stat().st_ino for name in made} == made


def test_a_large_production_is_cut_into_jobs_of_several_chunks_in_the_order_of_few(monkeypatch):
    planned = production.production(["QCD", "Hbb"], {"QCD": 100_000, "Hbb": 700})
    jobs = planned.jobs()
    assert sum(job.rows for job in jobs) == 100_700
    assert max(job.rows for job in jobs) == 3 * 500  # 202 chunks, at least 64 jobs
    assert [c for job in jobs for c in job.chunks] == [c for job in planned.jobs(most=1) for c in job.chunks]
    assert planned.jobs()[0].chunks == ((0, 0, 500), (1, 0, 500), (0, 1, 500))
    assert max(len(job.chunks) for job in production.production(["QCD"], 10_000_000).jobs()) == 20


def test_a_detector_whose_numbers_changed_is_another_request(tmp_path):
    card, asked = tmp_path / "mine.yaml", []
    for field in (2.0, 2.0, 3.0):
        card.write_text(f"extends: cms\nname: mine\nfield_t: {field}\n")
        asked.append(production.production(["QCD"], 1, detector=card).asked())
    assert asked[0] == asked[1] != asked[2]


def test_the_verb_takes_a_scenario_its_classes_numbers_and_views(tmp_path):
    out = tmp_path / "events"
    command = ["simulate", "hera", "neutral_current:2", "--seed", "5", "-o", str(out), "--workers", "1"]
    result = CliRunner().invoke(app, [*command, "--set", "q2_min=100", "--view", "same"])
    assert result.exit_code == 0, result.output
    assert "4 simulated events of neutral_current" in result.output
    assert Store.open(out).read().labels["view"].tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["herra"], "Nearest: 'hera'"),
        (["hera", "neutral"], "Nearest: 'neutral_current'"),
        (["hera", "--set", "q2=1"], "Nearest: 'q2_min'"),
        (["hera", "--set", "q2_min"], "expected NAME=NUMBER"),
        (["QCD:many"], "expected CLASS or CLASS:NUMBER"),
        (["QCD", "QCD:3"], "asked twice"),
    ],
)
def test_wrong_words_on_the_command_line_are_one_error(arguments, says, tmp_path):
    result = CliRunner().invoke(app, ["simulate", *arguments, "-o", str(tmp_path / "x")])
    assert result.exit_code == 2
    assert says in result.output
    assert not list(tmp_path.iterdir())


def test_the_scenarios_are_listed_without_the_extra(monkeypatch):
    for package in ("pythia8mc", "fastjet"):
        monkeypatch.setitem(sys.modules, package, None)
    assert CliRunner().invoke(app, ["simulate", "--list"]).exit_code == 0
    refused = CliRunner().invoke(app, ["simulate", "QCD", "-o", "nowhere"])
    assert "cloudchamber[sim]" in refused.output
