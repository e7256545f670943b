"""Training in several processes: the numbers of one, also with ragged micro-batches; killed and restarted, the same weights."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.dist import worker
from tests.toy import labelled_cloud

from cloudchamber.data import store
from cloudchamber.errors import BadRecipe, BadRun
from cloudchamber.run import Run
from cloudchamber.train import fit, shards
from cloudchamber.train.parallel import ALONE, Ranks, joined

MODES = ("ddp", "fsdp")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}
RECIPE = """
name: toy
size: xs
data: [{store}]
tasks: [{{task: classify, target: label}}, {{task: mask, weight: 0.5}}]
optimisation: {{steps: 24, batch: 16, learning_rate: 0.001, validations: 3, checkpoints: 6, max_tokens: 100}}
feature_drop: 0.3
seed: 4
"""


def run(command, **options):
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=600, check=False, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    for case, options in worker.CASES.items():
        worker.trained(ALONE, folder / case, **options)
    return folder


@pytest.mark.parametrize("mode", MODES)
def test_two_processes_give_the_numbers_of_one(alone, mode, tmp_path):
    run([*TORCHRUN, "-m", "tests.dist.worker", mode, str(tmp_path)])
    for case in worker.cases(mode):
        one, two = (load_file(folder / case / "weights.safetensors") for folder in (alone, tmp_path))
        assert one.keys() == two.keys()
        apart = sum(float((one[n] - two[n]).double().square().sum()) for n in one) ** 0.5
        assert apart < 1e-6 * sum(float(t.double().square().sum()) for t in one.values()) ** 0.5, case
        ours, theirs = (json.loads((folder / case / "records.json").read_text()) for folder in (alone, tmp_path))
        assert len(ours) == len(theirs) == worker.STEPS + 2
        for a, b in zip(ours, theirs, strict=True):
            assert b == pytest.approx(a, abs=1e-6), case


def test_blocks_computed_again_give_the_same_bits(alone):
    plain, again = (load_file(alone / case / "weights.safetensors") for case in ("plain", "blocks computed again"))
    assert all(torch.equal(plain[n], again[n]) for n in plain)


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setitem(ENVIRONMENT, "CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    store.write(tmp_path / "store", [labelled_cloud(200)])
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE.format(store=tmp_path / "store"))
    return path


def pretrain(mode, *more, restarts=0):
    return [*TORCHRUN, f"--max-restarts={restarts}", "-m", "cloudchamber", "pretrain", "--parallel", mode, *map(str, more)]


def workers_of(pid):
    """The processes that torchrun started, by rank."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"pretrain" in Path(f"/proc/{child}/cmdline").read_bytes()]


def kill_one(process, folder, steps, victim):
    deadline = time.monotonic() + 500
    while time.monotonic() < deadline and process.poll() is None:
        metrics = folder / "metrics.jsonl"
        if metrics.is_file() and metrics.read_text().count('"train"') >= steps:
            os.kill(workers_of(process.pid)[victim], signal.SIGKILL)
            return
        time.sleep(0.01)
    pytest.fail("the training ended before one of it was killed")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes of torchrun in /proc")
@pytest.mark.parametrize("mode", MODES)
def test_a_killed_process_is_restarted_by_torchrun_and_the_weights_are_the_same(recipe, mode, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(pretrain(mode, recipe, "-o", whole))
    command = pretrain(mode, recipe, "-o", killed, restarts=1)
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        kill_one(process, killed, steps=11, victim=1)
    assert process.returncode == 0
    same_runs(whole, killed)
    with pytest.raises(BadRun, match="complete"):
        fit.resume(killed)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the processes of torchrun in /proc")
def test_a_run_whose_torchrun_ended_goes_on_with_resume(recipe, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(pretrain("fsdp", recipe, "-o", whole))
    with subprocess.Popen(
        pretrain("fsdp", recipe, "-o", killed), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        kill_one(process, killed, steps=9, victim=0)
    assert process.returncode != 0
    run(pretrain("fsdp", recipe, "-o", killed, "--resume"))
    same_runs(whole, killed)


def same_runs(whole, killed):
    a, b = ((folder / "model" / "model.safetensors").read_bytes() for folder in (whole, killed))
    assert a == b
    losses = [[(m["step"], m["split"], m["loss"]) for m in Run.open(folder).metrics()] for folder in (whole, killed)]
    assert losses[0] == losses[1]
    assert Run.open(killed).done


def test_a_mode_without_torchrun_is_refused():
    with pytest.raises(BadRecipe, match="torchrun"), joined("fsdp", "cpu"):
        pass
    with joined(None, "cpu") as ranks:
        assert ranks == ALONE


def test_processes_have_seeds_of_their_own_and_the_first_has_the_recipes():
    assert Ranks(0, 2, "ddp").seed(7) == 7
    assert len({Ranks(rank, 3, "ddp").seed(7) for rank in range(3)}) == 3


class Hostile:
    def __reduce__(self):
        return os.system, ("touch hostile",)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shards-1").mkdir()
    (tmp_path / "shards-1" / ".metadata").write_bytes(pickle.dumps(Hostile()))
    (tmp_path / "shards.json").write_text(json.dumps({"folder": "shards-1", "identity": "", "progress": "{}"}))
    with pytest.raises(BadRun, match="no place in a table"):
        shards.read(tmp_path / "shards.json", {})
    assert not (tmp_path / "hostile").exists()
