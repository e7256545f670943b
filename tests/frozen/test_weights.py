"""The shipped weights give what they gave when they were released."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.toy import frozen_cloud

import cloudchamber as cc
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.train.scoring import predicting_task, scores
from cloudchamber.train.weights import shipped_names

NAMES = pytest.mark.parametrize("name", shipped_names())
# Released outputs were computed in float32; another processor or thread count moves the last bits.
TOLERANCE = 1e-4


def stored(name):
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


@NAMES
def test_the_embedding_is_the_released_one(name):
    got = cc.embed(name, frozen_cloud())[:, :8]
    assert np.allclose(got, stored(name)["embedding"], atol=TOLERANCE)


@NAMES
def test_the_class_probabilities_are_the_released_ones(name):
    network = cc.load(name)
    data = TrainingSet.from_cloud(frozen_cloud())
    network.bind(data)
    got = scores(network, data, np.arange(len(data)), predicting_task(network, "label"))
    assert np.allclose(got, stored(name)["probabilities"], atol=TOLERANCE)


@NAMES
def test_the_weights_are_whole_small_and_owe_their_sources(name):
    network = cc.load(name)  # checks the hash of the tensors
    assert network.parameters_count == pytest.approx(0.35e6, rel=0.1)
    assert "arXiv:2203.11601" in network.config.citation
    assert not any("Tb" in c for c in network.config.data["classes"]["label"])
