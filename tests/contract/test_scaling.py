"""The suite of loss against compute: the law is found where it is known, the study runs on toy events."""

import numpy as np
import pytest
from tests.toy import toy_cloud

from cloudchamber import registry
from cloudchamber.data import store
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites import base
from cloudchamber.suites import scaling as suite


def points(floor, scale, exponent, noise=0.0, n=7):
    compute = np.geomspace(0.01, 10, n)
    loss = floor + (scale / compute) ** exponent
    loss = loss * (1 + noise * np.random.default_rng(1).normal(size=n))
    return [(c, Estimate(v, 0.0)) for c, v in zip(compute.tolist(), loss.tolist(), strict=True)]


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(0.5, 0.3, 0.4), (0.0, 2.0, 0.2), (1.2, 1e-3, 0.7)])
def test_the_law_of_exact_points_is_found(floor, scale, exponent):
    law = suite.fitted(points(floor, scale, exponent))
    assert law.floor.value == pytest.approx(floor, abs=1e-3)
    assert law.scale.value == pytest.approx(scale, rel=1e-2)
    assert law.exponent.value == pytest.approx(exponent, rel=1e-2)
    assert law.residual < 1e-4


def test_the_error_of_the_exponent_is_that_of_scattered_points():
    law = suite.fitted(points(0.5, 0.3, 0.4, noise=0.01, n=40))
    assert abs(law.exponent.value - 0.4) < 4 * law.exponent.error
    assert 0 < law.exponent.error < 0.2
    assert law.residual == pytest.approx(0.01, rel=0.4)


def test_three_points_have_no_law():
    assert suite.fitted(points(0.5, 0.3, 0.4, n=3)) is None


def test_a_tiny_study_has_losses_compute_and_a_law(tmp_path):
    store.write(tmp_path / "store", [toy_cloud(300)])
    options = base.settings(suite.SUITE, [], {"data": (str(tmp_path / "store"),), "seeds": (0, 1)}, tiny=True)
    said = []
    found = suite.SUITE.run(options, said.append)
    assert len(said) == len(options.steps) == 4
    compute = [found.figures[f"compute_xs_{steps}"][0].value for steps in options.steps]
    assert np.diff(np.log2(compute)) == pytest.approx([1, 1, 1])
    for steps in options.steps:
        losses = found.figures[f"loss_xs_{steps}"]
        assert len(losses) == 2
        assert all(0 < e.value < 2 and e.error > 0 for e in losses)
    assert all(target.figure in found.figures for target in found.targets)


def test_the_registry_knows_the_suite():
    assert registry.get("suites", "scaling") is suite.SUITE
