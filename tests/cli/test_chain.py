"""The whole chain by its verbs, on a toy file: convert, inspect, pretrain, finetune, predict, evaluate, report, cite."""

import contextlib
import json

import h5py
import numpy as np
import pytest
from tests.toy import labelled_cloud
from typer.testing import CliRunner

from cloudchamber import recipe as recipes
from cloudchamber.cli.main import app
from cloudchamber.data import store
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable


def cloudchamber(*arguments, cwd, code=0):
    """A verb, in this process: the start of another would take longer than most of them."""
    with contextlib.chdir(cwd):
        result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chain")
    write_landscape(folder / "jets.h5", 240)
    return folder


def write_landscape(path, n):
    """A file of the top-tagging landscape's layout (pandas table), class 1 wider than class 0."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, n)
    values = np.zeros((n, 804), dtype=np.float32)
    for event in range(n):
        size = rng.integers(5, 20)
        eta, phi = rng.normal(0, 0.1 + 0.2 * label[event], (2, size))
        pt = np.sort(rng.lognormal(2, 1, size))[::-1]
        p4 = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
        values[event, : 4 * size] = p4.ravel()
    kind = np.dtype([("index", "i8"), ("values_block_0", "f4", (804,)), ("values_block_1", "i8", (2,))])
    table = np.zeros(n, dtype=kind)
    table["values_block_0"] = values
    table["values_block_1"][:, 1] = label
    with h5py.File(path, "w") as file:
        file.create_group("table").create_dataset("table", data=table)


RECIPE = """
name: toy
size: xs
data: [store]
tasks: [{task: classify, target: is_signal_new}, {task: mask}]
optimisation: {steps: 12, batch: 16, learning_rate: 0.002, validations: 2}
"""


def test_the_chain_from_file_to_report(folder, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(folder / "cache"))
    cloudchamber("convert", "jets.h5", "-o", "store", cwd=folder)
    assert "240" in cloudchamber("inspect", "store", cwd=folder).stdout
    (folder / "recipe.yaml").write_text(RECIPE)
    cloudchamber("pretrain", "recipe.yaml", "-o", "pretrained", cwd=folder)
    tune = ["finetune", "pretrained", "jets.h5", "--target", "label", "--steps", "40", "--learning-rate", "0.002"]
    shown = cloudchamber(*tune, "-o", "tuned", cwd=folder).stdout
    assert "particle features: matched 7" in shown
    run = Run.open(folder / "tuned")
    assert run.done
    assert run.summary["test"]["auc"] > 0.8
    assert {p["path"].rsplit("/", 1)[-1] for p in run.info["parents"]} == {"jets.h5", "model.safetensors"}
    cloudchamber(*tune[:-4], "--steps", "2", "--keep-head", "-o", "kept", cwd=folder)
    assert recipes.load(folder / "kept" / "recipe.yaml").tasks[0].kept
    cloudchamber("predict", "tuned", "jets.h5", "-o", "scores.parquet", "--embed", cwd=folder)
    table = ScoreTable.read(folder / "scores.parquet")
    assert len(table) == 240
    assert table.embedding_NE.shape == (240, 192)
    test = ScoreTable.read(folder / "tuned" / "scores.parquet")
    order = {int(e): i for i, e in enumerate(table.event_id)}
    assert np.allclose(table.scores_NC[[order[int(e)] for e in test.event_id]], test.scores_NC, atol=1e-5)
    figures = json.loads(cloudchamber("evaluate", "tuned", "jets.h5", "--json", cwd=folder).stdout)
    assert figures["n"] == len(test)  # the test split alone: the rest was trained on
    assert figures["auc"] == pytest.approx(run.summary["test"]["auc"], abs=1e-6)
    copy = cloudchamber("evaluate", "tuned", "store", "--json", cwd=folder)  # the same events in another format
    assert json.loads(copy.stdout)["auc"] == pytest.approx(figures["auc"])
    assert f"using the {len(test)} of their test split" in copy.stderr
    cloudchamber("report", "tuned", "-o", "page.html", cwd=folder)
    assert "<img" in (page := (folder / "page.html").read_text()) or "<svg" in page
    assert 'src="http' not in page
    assert "1902.09914" in cloudchamber("cite", "tuned", cwd=folder).stdout


def test_an_ensemble_by_lora_is_scored_calibrated_and_shown(folder):
    tune = ["finetune", "xs", "jets.h5", "-t", "label", "--adapt", "lora", "--rank", "2", "--seeds", "2", "--steps", "6"]
    assert "mean and spread of seed0, seed1" in cloudchamber(*tune, "-o", "both", cwd=folder).stdout
    asked = ["--calibrate", "isotonic", "--conformal", "0.9", "--conformal", "0.68", "--reweight", "--domain", "--json"]
    figures = json.loads(cloudchamber("evaluate", "both", "jets.h5", *asked, cwd=folder).stdout)
    n = figures["n"]
    assert n == len(ScoreTable.read(folder / "both" / "scores.parquet"))
    for name in ("coverage_0.9", "coverage_0.68", "coverage_0.9_reweighted"):
        assert figures[name] * n == pytest.approx(round(figures[name] * n), abs=1e-3)  # a share of the test events
    assert figures["size_0.68"] <= figures["size_0.9"] <= 2
    assert 0 < figures["effective_validation"] <= len(ScoreTable.read(folder / "both" / "validation.parquet"))
    page = (folder / "both" / "report.html").read_text()
    assert "Truth inside, of 90% asked" in page
    assert "2 x LoRA on xs" in page
    assert "2106.09685" in cloudchamber("cite", "both", cwd=folder).stdout


def test_a_run_that_is_there_and_weights_that_are_not_stop_with_one_line(folder):
    result = cloudchamber("finetune", "no_such", "jets.h5", "-t", "label", "-o", "x", cwd=folder, code=2)
    assert result.stderr.strip().startswith("error: no_such")
    assert "Traceback" not in result.stderr
    assert not (folder / "x").exists()


def test_a_misspelt_target_names_the_nearest(folder):
    result = cloudchamber("finetune", "xs", "jets.h5", "-t", "is_signal", "-o", "y", "--adapt", "scratch", cwd=folder, code=2)
    assert "is_signal_new" in result.stderr


OBJECTIVES = """
name: toy
data: [labelled]
tasks: [{task: generate, target: label, options: {steps: 1}}, {task: segment, target: origin}]
optimisation: {steps: 4, batch: 16, learning_rate: 0.002, validations: 2}
"""


def test_new_jets_are_generated_into_a_store_that_is_read_like_any_other(folder, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(folder / "cache"))
    store.write(folder / "labelled", [labelled_cloud(120)])
    (folder / "objectives.yaml").write_text(OBJECTIVES)
    cloudchamber("pretrain", "objectives.yaml", "-o", "objectives", cwd=folder)
    assert Run.open(folder / "objectives").summary["quality"].keys() == {"generate_label", "segment_origin"}
    cloudchamber("generate", "objectives", "-n", "30", "--class", "wide", "--steps", "1", "-o", "made", cwd=folder)
    made = store.Store.open(folder / "made")
    assert len(made) == 30
    assert made.schema.simulated
    assert made.manifest.provenance["class"] == "wide"
    assert made.manifest.classes["label"]["narrow"] == {"train": 0, "val": 0, "test": 0}
    assert "30" in cloudchamber("inspect", "made", cwd=folder).stdout
    again = cloudchamber("generate", "objectives", "-n", "30", "-o", "made", cwd=folder, code=2)
    assert "is there already" in again.stderr
