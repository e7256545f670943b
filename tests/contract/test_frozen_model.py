"""A model outside of this program: ONNX gives what torch gives, a published folder is whole and checks itself."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from tests.toy import JET_FEATURES, toy_cloud

import cloudchamber as cc
from cloudchamber import recipe as recipes
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRun, BadWeights
from cloudchamber.publish.bundle import VECTORS, write_bundle
from cloudchamber.recipe import TaskSpec
from cloudchamber.train import fit
from cloudchamber.train.frozen import INPUTS, Frozen, check_vectors, export_onnx
from cloudchamber.train.network import new_network, save
from cloudchamber.train.rows import split_rows
from cloudchamber.train.scoring import predicting_task


@pytest.mark.parametrize("size", ["xs", "s"])
def test_onnx_gives_what_torch_gives_for_any_number_of_events_and_particles(tmp_path, size):
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    data = TrainingSet.from_cloud(toy_cloud(9, features=JET_FEATURES))
    if size == "s":  # none ships
        task = TaskSpec(task="classify", target="label")
        save(new_network("s", data, (task,), 128, torch.Generator().manual_seed(0)), tmp_path / "s", data={})
    network = cc.load("xs" if size == "xs" else tmp_path / "s")
    model = Frozen(network, predicting_task(network, "label"))
    export_onnx(model, tmp_path / "model.onnx")
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["cloudchamber"])
    assert about["classes"] == list(network.config.labels[0].classes)
    assert about["particles"][:3] == ["pair_eta", "pair_phi", "log_pt"]
    chosen = data[np.arange(9)]
    order = [data.particle_names.index(n) for n in about["particles"]]
    columns = chosen.columns[:, [data.column_names.index(n) for n in about["columns"]]]
    mask = np.arange(chosen.counts.max()) < chosen.counts[:, None]
    jets = (chosen.particles()[..., order], columns, mask)
    for inputs in (jets, *([t.numpy() for t in model.example(*shape)] for shape in ((1, 1), (1, 7), (4, 30)))):
        got = session.run(None, dict(zip(INPUTS, inputs, strict=True)))
        with torch.inference_mode():
            expected = model(*map(torch.from_numpy, inputs))
        for a, b in zip(got, expected, strict=True):
            assert np.allclose(a, b.numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    data = TrainingSet.from_cloud(toy_cloud(80))
    numbers = {"steps": 3, "batch": 16, "validations": 1}
    recipe = recipes.make({"size": "xs", "tasks": ({"task": "classify", "target": "label"},), "optimisation": numbers})
    path = tmp_path_factory.mktemp("published") / "run"
    fit.fit_run(recipe, path, data=data, rows=split_rows(data, recipe))
    return path


def test_a_published_folder_is_a_weights_folder_with_card_and_vectors_that_hold(run, tmp_path):
    out = tmp_path / "bundle"
    write_bundle(run, out, intended_use="To tell wide from narrow.", limits=["Toy events."])
    assert (out / "model.safetensors").read_bytes() == (run / "model" / "model.safetensors").read_bytes()
    head, card = (out / "README.md").read_text().removeprefix("---\n").split("---\n", 1)
    assert yaml.safe_load(head)["library_name"] == "cloudchamber"
    assert "To tell wide from narrow." in card
    assert recipes.load(out / "recipe.yaml").size == "xs"
    with safe_open(out / VECTORS, framework="np") as file:
        assert json.loads(file.metadata()["cloudchamber"])["classes"] == ["narrow", "wide"]
    vectors = load_file(out / VECTORS)
    assert np.isnan(vectors["particles"]).any()
    assert vectors["scores"].std(axis=0).min() > 0
    with pytest.raises(BadRun, match="there already"):
        write_bundle(run, out, intended_use="", limits=[])


def test_other_weights_do_not_pass_the_test_vectors(run, tmp_path):
    write_bundle(run, tmp_path / "bundle", intended_use="", limits=[])
    path = tmp_path / "bundle" / VECTORS
    vectors = load_file(path)
    save_file({**vectors, "scores": vectors["scores"] + np.float32(0.01)}, path)
    network = cc.load(tmp_path / "bundle")
    with pytest.raises(BadWeights, match=r"other scores, by up to 0\.01"):
        check_vectors(Frozen(network, predicting_task(network)), path)
