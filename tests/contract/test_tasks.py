"""Every task of the registry: its loss falls on toy data, and events without a target do not count."""

import numpy as np
import pytest
import torch
from tests.toy import labelled_cloud, toy_cloud

from cloudchamber import registry
from cloudchamber.data.loader import Loader
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.train.loop import Training, train, validation_losses
from cloudchamber.train.network import new_network

TARGETS = {True: "label", False: "width", None: None}


OPTIONS = {"distil": {"teacher": "xs"}}


def spec_of(name):
    kind = registry.get("tasks", name)
    target = None if kind.optional else "origin" if kind.per_particle else TARGETS[kind.classes]
    return TaskSpec(task=name, target=target, options=OPTIONS.get(name, {}))


def training_of(data, steps=40):
    rows = np.arange(len(data))
    return Training(data, Loader((rows[:160],), 32, 0), rows[160:], Optimisation(validations=2, checkpoints=0), steps, 3e-3, 0)


@pytest.mark.parametrize("name", registry.entries("tasks"))
def test_the_loss_falls_on_toy_data(name):
    data = TrainingSet.from_cloud(labelled_cloud(200))
    network = new_network("xs", data, [spec_of(name)], 128, torch.Generator().manual_seed(0))
    training = training_of(data)
    before = validation_losses(network, training)["loss"]
    state = train(network, training)
    assert state.progress.best_loss < 0.9 * before if before > 0 else state.progress.best_loss < before


def test_several_tasks_share_one_pass_and_all_fall():
    data = TrainingSet.from_cloud(labelled_cloud(200))
    specs = [spec_of(n) for n in registry.entries("tasks")]
    network = new_network("xs", data, specs, 128, torch.Generator().manual_seed(0))
    training = training_of(data)
    before = validation_losses(network, training)
    train(network, training)
    after = validation_losses(network, training)
    assert all(after[key] < before[key] for key in before)


def test_events_of_unknown_class_do_not_move_the_weights():
    cloud = toy_cloud(64)
    cloud.events["label"][:] = -1
    data = TrainingSet.from_cloud(cloud)
    network = new_network("xs", data, [spec_of("classify")], 128, torch.Generator().manual_seed(0))
    rows = np.arange(64)
    optimisation = Optimisation(validations=1, weight_decay=0.0, checkpoints=0)
    training = Training(data, Loader((rows,), 32, 0), rows, optimisation, 2, 1e-2, 0)
    start = {n: p.clone() for n, p in network.named_parameters()}
    train(network, training)
    assert all(torch.equal(start[n], p) for n, p in network.named_parameters())


def test_a_task_that_does_not_suit_its_target_is_refused():
    data = TrainingSet.from_cloud(toy_cloud(10))
    with pytest.raises(BadRecipe, match="regress for numbers"):
        new_network("xs", data, [TaskSpec(task="classify", target="width")], 128, torch.Generator())
    with pytest.raises(BadRecipe, match="'classify'"):
        new_network("xs", data, [TaskSpec(task="clasify", target="label")], 128, torch.Generator())
    spec = TaskSpec(task="classify", target="label", options={"label_smooting": 0.1})
    with pytest.raises(BadRecipe, match="smoothing"):
        new_network("xs", data, [spec], 128, torch.Generator())
