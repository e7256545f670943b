"""Closure: windows where no signal is, a gate that opens for what is described and shuts for what is not."""

import numpy as np
import pytest

from cloudchamber.errors import BadInput
from cloudchamber.search import closure
from cloudchamber.search.knob import knob
from cloudchamber.search.sample import Sample
from cloudchamber.search.suite import suite

LIMITS, SIGNAL = (0.0, 10.0), ((4.5, 5.5),)


def closed(step, seed=0, toys=256):
    rng = np.random.default_rng(seed)
    mass = rng.uniform(*LIMITS, 4000)
    mass = mass[(mass < SIGNAL[0][0]) | (mass >= SIGNAL[0][1])]
    x = rng.normal(size=(len(mass), 3)) + 0.1 * mass[:, None]
    x[:, 0] += step * ((mass > 1.5) & (mass < 3.0))
    pool = Sample(x, mass_N=mass)
    methods = suite(pool, None, ("kernel",), 0)
    regions = closure.of_sidebands(mass, LIMITS, SIGNAL, (2, 3), 2, 0.0)
    return closure.closure(pool, regions, methods, knob(methods), toys=toys, alpha=0.02, seed=1)


def test_the_gate_opens_for_a_smooth_background():
    found = closed(0.0)
    assert found.closed
    assert found.p >= 0.02
    assert len(found.tests) == 2
    assert found.inflation < 3
    assert all(t.expected == pytest.approx(t.events, rel=0.25) for t in found.tests)


def test_the_gate_shuts_for_a_step_and_says_where_and_how_much_is_unexplained():
    found = closed(1.0)
    assert not found.closed
    assert found.inflation > 3
    assert min(found.tests, key=lambda t: t.p.value).region == found.tests[0].region  # the window that lies in the step
    assert found.tests[0].unexplained > 3


def test_windows_keep_clear_of_the_signal_and_its_guard():
    mass = np.random.default_rng(0).uniform(0, 10, 5000)
    windows = closure.signal_free(mass, LIMITS, SIGNAL, 4, guard=0.3)
    assert len(windows) == 4
    assert all(high < 4.2 or low > 5.8 for low, high in windows)
    assert all(low > 0 and high < 10 for low, high in windows)  # none is at the end, where nothing lies beyond it
    with pytest.raises(BadInput, match="too few events"):
        closure.signal_free(mass[:100], LIMITS, SIGNAL, 4, 0.0)


def test_toys_that_cannot_reach_the_gate_are_refused():
    with pytest.raises(BadInput, match="cannot reach"):
        closed(0.0, toys=100)


def test_abcd_is_tested_where_one_selection_fails():
    selection = np.random.default_rng(1).random((2, 4000))
    for (name, (abcd,)), i in zip(closure.of_abcd(selection, (0.8, 0.7)), (0, 1), strict=True):
        assert name.startswith("ab"[i])
        assert selection[i, abcd.inside_N | abcd.outside_N].max() < (0.8, 0.7)[i]
        assert abcd.expected(np.ones((1, 4000)))[0] == pytest.approx(abcd.inside_N.sum(), rel=0.2)
