"""A training that is killed at any step and resumed ends with the very bits of an uninterrupted one."""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from cloudchamber.data import store
from cloudchamber.errors import BadRun
from cloudchamber.run import Run
from cloudchamber.train import fit
from tests.toy import labelled_cloud

RECIPE = """
name: toy
size: xs
data: [{store}]
tasks: {tasks}
optimisation: {{optimiser: {optimiser}, steps: 40, batch: 16, learning_rate: 0.001, validations: 5, checkpoints: {checkpoints}}}
feature_drop: 0.3
seed: 4
"""


TASKS = {
    "classify": "[{task: classify, target: label}]",  # leaves the masked token without a gradient
    "classify and mask": "[{task: classify, target: label}, {task: mask, weight: 0.5}]",
    "the rest": "[{task: segment, target: origin}, {task: generate, target: label}, {task: contrast, target: pair}, "
    "{task: regress, target: width, options: {loss: quantile}}]",
    "classify by LoRA": "[{task: classify, target: label}]\nweights: xs\nadapt: lora",
    "classify by Muon": "[{task: classify, target: label}]",
}


@pytest.fixture(params=["classify"])
def recipe(request, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    store.write(tmp_path / "store", [labelled_cloud(200)])
    path = tmp_path / "recipe.yaml"
    optimiser = "muon" if request.param.endswith("Muon") else "adamw"
    path.write_text(RECIPE.format(store=tmp_path / "store", checkpoints=5, tasks=TASKS[request.param], optimiser=optimiser))
    return path


def pretrain(recipe, out, *more):
    return [sys.executable, "-m", "cloudchamber", "pretrain", str(recipe), "-o", str(out), *more]


def kill_in_training(command, run, steps):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        metrics = run / "metrics.jsonl"
        if metrics.is_file() and metrics.read_text().count('"train"') >= steps:
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(0.005)
    assert process.wait() == -signal.SIGKILL, "the training ended before it was killed"


@pytest.mark.parametrize("recipe", list(TASKS), indirect=True)
def test_killed_and_resumed_is_bit_identical_to_uninterrupted(recipe, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run(pretrain(recipe, whole), check=True, capture_output=True)
    step = random.Random().randint(3, 30)  # any step must do
    kill_in_training(pretrain(recipe, killed), killed, step)
    assert not Run.open(killed).done
    subprocess.run(pretrain(recipe, killed, "--resume"), check=True, capture_output=True)
    a, b = ((r / "model" / "model.safetensors").read_bytes() for r in (whole, killed))
    assert a == b, f"killed at step {step}"

    def losses(run):
        return [(m["step"], m["split"], m["loss"]) for m in Run.open(run).metrics()]

    assert losses(whole) == losses(killed)
    with pytest.raises(BadRun, match="complete"):
        fit.resume(killed)


def test_a_checkpoint_of_another_recipe_is_refused(recipe, tmp_path):
    out = tmp_path / "run"
    kill_in_training(pretrain(recipe, out), out, 10)
    text = (out / "recipe.yaml").read_text()
    (out / "recipe.yaml").write_text(text.replace("seed: 4", "seed: 5"))
    with pytest.raises(BadRun, match="another recipe"):
        fit.resume(out)


def test_a_run_folder_is_never_overwritten(recipe, tmp_path):
    out = tmp_path / "run"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    result = subprocess.run(pretrain(recipe, out), capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "is there already" in result.stderr
    assert (out / "precious.txt").read_text() == "mine"
