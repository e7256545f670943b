"""Adaptation: LoRA, layer-wise rates, kept heads and ensembles do what their names say, or stop."""

import numpy as np
import pytest
import torch
from tests.toy import JET_FEATURES, toy_cloud

import cloudchamber as cc
from cloudchamber import recipe as recipes
from cloudchamber.data import store
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe, BadRun
from cloudchamber.nn.lora import add_lora, merge_lora
from cloudchamber.nn.sizes import SIZES
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable
from cloudchamber.train import fit
from cloudchamber.train.adaptation import kept_spec
from cloudchamber.train.ensemble import fit_ensemble
from cloudchamber.train.network import new_network
from cloudchamber.train.optimiser import make_optimiser
from cloudchamber.train.rows import split_rows
from cloudchamber.train.scoring import embeddings, score_run, score_table

CLASSIFY = TaskSpec(task="classify", target="label")
WIDTH, HIDDEN, LAYERS = 96, 192, 4  # of size xs


@pytest.fixture
def data():
    return TrainingSet.from_cloud(toy_cloud(60, features=JET_FEATURES))


def lora_recipe(**more):
    content = {"weights": "xs", "adapt": "lora", "rank": 3, "tasks": (CLASSIFY,)}
    return recipes.make(content | {"optimisation": {"steps": 8, "batch": 16, "validations": 1}} | more)


def test_lora_changes_nothing_at_step_0_to_the_last_bit(data):
    network = cc.load("xs")
    network.bind(data)
    before = embeddings(network.backbone, data, np.arange(60))
    add_lora(network.backbone, 4, torch.Generator().manual_seed(0))
    assert np.array_equal(embeddings(network.backbone, data, np.arange(60)), before)
    merge_lora(network)
    assert np.array_equal(embeddings(network.backbone, data, np.arange(60)), before)
    assert network.state_dict().keys() == cc.load("xs").state_dict().keys()


def test_lora_trains_in_mixed_precision_the_very_matrix_that_is_merged(data):
    network = cc.load("xs")
    add_lora(network.backbone, 4, torch.Generator().manual_seed(0))
    block = network.backbone.blocks[0]
    torch.nn.init.normal_(block.qkv.parametrizations["weight"][0].up_OR, generator=torch.Generator().manual_seed(1))
    with torch.autocast("cpu", torch.bfloat16):
        trained = block.qkv.weight.clone()
    merge_lora(network)
    assert torch.equal(block.qkv.weight, trained)


def test_events_that_are_asked_for_twice_are_given_twice(data):
    network = cc.load("xs")
    network.bind(data)
    rows = np.array([7, 3, 7, 59])
    each = embeddings(network.backbone, data, np.arange(60))
    np.testing.assert_allclose(embeddings(network.backbone, data, rows), each[rows], atol=1e-4)  # other widths, other rounding


def test_lora_trains_only_its_own_matrices_and_the_head(data):
    recipe = lora_recipe()
    fitted = fit.fit(recipe, data, split_rows(data, recipe))
    original, got = cc.load("xs").backbone.state_dict(), fitted.network.backbone.state_dict()
    changed = {n for n in original if not torch.equal(original[n], got[n])}
    assert changed == {f"blocks.{i}.{layer}.weight" for i in range(LAYERS) for layer in ("qkv", "inner", "outer")}
    for name in changed:
        assert torch.linalg.matrix_rank(got[name] - original[name], atol=1e-5) <= 3
    of_block = 3 * ((WIDTH + 3 * WIDTH) + (WIDTH + HIDDEN) + (HIDDEN + WIDTH))
    head = 2 * 2 * WIDTH + 2 * WIDTH * 2 + 2  # scale and shift of the pooled vector, weights and biases of two classes
    assert fitted.trained == LAYERS * of_block + head


def test_lora_changes_the_looks_of_the_register_as_it_does_the_blocks(data):
    network = new_network("s", data, [CLASSIFY], 0, torch.Generator().manual_seed(0))
    add_lora(network.backbone, 2, torch.Generator().manual_seed(0))
    trained = {n.split(".parametrizations")[0] for n, p in network.backbone.named_parameters() if p.requires_grad}
    numbers = SIZES["s"]
    assert trained == {
        *(f"blocks.{i}.{matrix}" for i in range(numbers.layers) for matrix in ("qkv", "inner", "outer")),
        *(f"looks.layers.{i}.{matrix}" for i in range(numbers.look_layers) for matrix in ("query", "inner", "outer")),
    }


def test_the_merged_model_of_a_lora_run_is_an_ordinary_weights_folder_that_gives_the_trained_scores(tmp_path, data):
    recipe = lora_recipe()
    fitted = fit.fit_run(recipe, tmp_path / "run", data=data)
    again = cc.load(tmp_path / "run")
    again.bind(data)
    task, test = again.tasks[0], split_rows(data, recipe).test
    assert np.array_equal(
        score_table(again, data, test, task).scores_NC, ScoreTable.read(tmp_path / "run" / "scores.parquet").scores_NC
    )
    assert Run.open(tmp_path / "run").summary["trained"] == fitted.trained < again.parameters_count / 10


def test_lora_trains_the_embedding_of_a_new_feature_and_a_probe_refuses_it():
    cloud = toy_cloud(60, features=(*JET_FEATURES, "timing"))
    data = TrainingSet.from_cloud(cloud)
    recipe = lora_recipe(new_features=("timing",))
    fitted = fit.fit(recipe, data, split_rows(data, recipe))
    assert fitted.network.backbone.particle.added_weight.abs().max() > 0
    probe = recipes.make({"weights": "xs", "adapt": "probe", "tasks": (CLASSIFY,), "new_features": ("timing",)})
    with pytest.raises(BadRecipe, match="timing"):
        fit.prepare(probe, data, split_rows(data, probe))


def test_a_new_feature_comes_to_the_size_of_the_others_while_a_pre_trained_one_hardly_moves():
    data = TrainingSet.from_cloud(toy_cloud(60, features=(*JET_FEATURES, "timing")))
    recipe = lora_recipe(adapt="full", rank=None, new_features=("timing",))
    particle = fit.fit(recipe, data, split_rows(data, recipe)).network.backbone.particle
    moved = (particle.weight - cc.load("xs").backbone.particle.weight).abs().mean()
    assert particle.added_weight.abs().mean() > 10 * moved


def test_a_new_feature_has_its_higher_rate_until_it_has_been_trained():
    data = TrainingSet.from_cloud(toy_cloud(60, features=(*JET_FEATURES, "timing")))
    recipe = lora_recipe(adapt="full", rank=None, new_features=("timing",))
    network = fit.prepare(recipe, data, split_rows(data, recipe)).network
    added = network.backbone.particle.added_weight
    for higher in (True, False):
        groups = make_optimiser(network, Optimisation(backbone_factor=0.5), 1e-3).param_groups
        (factor,) = (g["factor"] for g in groups if any(p is added for p in g["params"]))
        assert (factor > 1) is higher
        torch.nn.init.ones_(added)


@pytest.mark.parametrize("size", ["xs", "s"])
def test_the_rate_falls_by_the_layer_decay_from_layer_to_layer(data, size):
    network = new_network(size, data, (CLASSIFY,), 128, torch.Generator())
    optimiser = make_optimiser(network, Optimisation(backbone_factor=0.5, layer_decay=0.8), 1e-3)
    names = {id(p): n for n, p in network.named_parameters()}
    factor = {names[id(p)]: g["factor"] for g in optimiser.param_groups for p in g["params"]}
    assert factor["heads.classify_label.out.weight"] == 1
    looks = [f"looks.layers.{i}.query" for i in range(SIZES[size].look_layers)]
    layers = [*(f"blocks.{i}.qkv" for i in range(SIZES[size].layers)), *looks]
    for below, layer in enumerate(reversed(layers), 1):
        assert factor[f"backbone.{layer}.weight"] == pytest.approx(0.5 * 0.8**below)
    assert factor["backbone.norm.weight"] == pytest.approx(0.5 * 0.8 ** len(looks))
    assert factor.get("backbone.looks.norm.weight", 0.5) == 0.5
    for name in ("particle.weight", "pair.outer", "token_out.bias"):
        assert factor[f"backbone.{name}"] == pytest.approx(0.5 * 0.8 ** (len(layers) + 1))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"rank": 96}, "rank 96"),
        ({"adapt": "full"}, "rank is for 'lora'"),
        ({"adapt": "probe", "rank": None, "optimisation": {"layer_decay": 0.5}}, "layer_decay"),
        ({"adapt": "probe", "rank": None, "optimisation": {"optimiser": "muon"}}, "muon"),
        ({"optimisation": {"optimiser": "muon"}}, "muon"),
        ({"adapt": "scratch", "rank": None, "weights": None, "tasks": [{**CLASSIFY.model_dump(), "kept": True}]}, "kept"),
        ({"weights": None}, "weights"),
        ({"seeds": 2}, "ensemble"),
        ({"tasks": [{"task": "classify", "target": "label", "kept": True}]}, "narrow, wide"),
        ({"tasks": [{"task": "regress", "target": "width", "kept": True}]}, "regress of width"),
    ],
)
def test_what_is_impossible_stops_before_the_training(data, content, said):
    def prepare():
        recipe = lora_recipe(**content)
        fit.prepare(recipe, data, split_rows(data, recipe))

    with pytest.raises(BadRecipe, match=said):
        prepare()


@pytest.fixture
def stores(tmp_path, monkeypatch):
    """A store of pre-training and one of a new task, whose label has another name."""
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    old = toy_cloud(200, seed=1)
    new = toy_cloud(200, seed=2)
    names = [{**label.model_dump(), "name": {"label": "is_wide"}.get(label.name, label.name)} for label in new.schema.labels]
    schema = type(new.schema).model_validate({**new.schema.model_dump(), "labels": names})
    events = {**new.events, "is_wide": new.events["label"]}
    del events["label"]
    for name, cloud in (("old", old), ("new", cc.Cloud(new.particles, events, schema))):
        store.write(tmp_path / name, [cloud])
    return tmp_path


def test_replay_starts_from_the_old_head_and_keeps_what_it_could_do(stores):
    steps = {"steps": 60, "batch": 32, "learning_rate": 3e-3, "validations": 2, "checkpoints": 0}
    before = recipes.make({"size": "xs", "data": [str(stores / "old")], "tasks": (CLASSIFY,), "optimisation": steps})
    fit.fit_run(before, stores / "pretrained")
    kept, added = {"task": "classify", "target": "label", "kept": True}, {"task": "classify", "target": "is_wide"}
    content = {"weights": str(stores / "pretrained"), "adapt": "full", "data": [str(stores / n) for n in ("new", "old")]}
    content |= {"tasks": [added, kept], "mixture": {"weights": [0.7, 0.3]}, "optimisation": {**steps, "steps": 30}}
    recipe = recipes.make(content)
    data = fit.open_data(recipe)
    ready = fit.prepare(recipe, data, split_rows(data, recipe))
    assert ready.report.heads == ("classify_is_wide",)
    old = cc.load(stores / "pretrained")
    assert torch.equal(ready.network.heads["classify_label"].out.weight, old.heads["classify_label"].out.weight)
    fit.fit_run(recipe, stores / "both")
    for task, place in (("classify_label", "old"), ("classify_is_wide", "new")):
        table = score_run(stores / "both", [stores / place], task=task)
        assert (table.scores_NC.argmax(1) == table.truth).mean() > 0.9, task


def test_a_kept_head_takes_no_option_that_would_change_what_its_numbers_mean():
    trained = TaskSpec(task="regress", target="width", options={"transform": "log1p", "centre": 0.2, "scale": 2.0})
    config = cc.load("xs").config.model_copy(update={"tasks": (trained,)})
    asked = TaskSpec(task="regress", target="width", kept=True)
    given = asked.model_copy(update={"options": {"loss": "student", "transform": "log1p"}})
    assert kept_spec(given, config).options == {**trained.options, "loss": "student"}
    for options in ({"transform": "none"}, {"scale": 1.0}, {"loss": "quantile"}, {"levels": [0.1, 0.5, 0.9]}):
        with pytest.raises(BadRecipe, match=f"trained with {next(iter(options))}"):
            kept_spec(asked.model_copy(update={"options": options}), config)
    assert config.has_head("regress", "width")
    assert not config.has_head("classify", "width")


def test_an_ensemble_is_the_mean_of_its_members_and_goes_on_after_a_kill(tmp_path, data):
    recipe = lora_recipe(seeds=2, seed=5)
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    members = fit_ensemble(recipe, whole, data=data)
    assert [m.name for m in members] == ["seed5", "seed6"]
    a, b = (ScoreTable.read(m / "scores.parquet") for m in members)
    table = ScoreTable.read(whole / "scores.parquet")
    assert np.array_equal(a.event_id, table.event_id)
    assert np.allclose(table.scores_NC, (a.scores_NC + b.scores_NC) / 2, atol=1e-7)
    assert np.allclose(table.spread_NC, np.abs(a.scores_NC - b.scores_NC) / 2**0.5, atol=1e-6)

    def kill(done, *_):
        if done == 5 and (killed / "seed6" / "metrics.jsonl").is_file():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_ensemble(recipe, killed, data=data, on_record=kill)
    with pytest.raises(BadRun, match="there already"):
        fit_ensemble(recipe, killed, data=data)
    fit_ensemble(recipe, killed, data=data, resume=True)
    assert np.array_equal(ScoreTable.read(killed / "scores.parquet").scores_NC, table.scores_NC)
    with pytest.raises(BadRun, match="complete"):
        fit_ensemble(recipe, killed, data=data, resume=True)
