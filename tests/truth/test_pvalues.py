"""p-values against exact binomials and SciPy's distributions."""

import numpy as np
import pytest
from scipy import stats

from cloudchamber.errors import BadInput
from cloudchamber.stats.event_p import event_p
from cloudchamber.stats.pvalues import (
    PValue,
    Tail,
    effective_trials,
    interval,
    p_of,
    p_value,
    rank_p,
    significance,
)


@pytest.mark.parametrize(("k", "n"), [(0, 7), (3, 20), (20, 20), (135, 100_000)])
def test_intervals_are_those_of_scipy(k, n):
    theirs = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    assert interval(k, n, 0.95) == pytest.approx((theirs.low, theirs.high), rel=1e-9)


def test_significance_and_p_value_are_inverse_and_five_sigma_is_published():
    assert p_value(5) == pytest.approx(2.87e-7, rel=2e-3)  # the number that collaborations quote
    assert significance(p_value(3.3)) == pytest.approx(3.3)


def test_the_rank_is_uniform_on_its_grid_and_never_zero():
    assert rank_p(10.0, np.zeros(99)).value == 0.01
    null = np.arange(9.0)
    values = [rank_p(x, null).value for x in np.arange(-0.5, 9)]  # each gap between the nine is equally likely
    assert sorted(values) == pytest.approx(np.arange(1, 11) / 10)


def test_the_interval_of_a_rank_holds_the_truth_as_often_as_it_says():
    rng, truth = np.random.default_rng(0), 0.02
    held = [p.low <= truth <= p.high for p in (rank_p(stats.norm.isf(truth), rng.normal(size=2000)) for _ in range(500))]
    assert 0.6827 - 0.04 < np.mean(held) < 0.85  # an exact interval may only be too wide


@pytest.mark.parametrize(
    ("law", "too_large"),
    [(stats.expon(), 0.6), (stats.chi2(3), 0.6), (stats.chi2(30), 3.0), (stats.t(5), 0.6)],
    ids=["exponential", "chi2", "chi2_30", "student"],
)
def test_the_tail_fit_agrees_with_the_law_within_its_interval(law, too_large):
    pulls = []
    for seed in range(60):
        tail = Tail.fit(law.rvs(20_000, random_state=seed))
        p = tail.p(law.isf(1e-4))
        pulls.append(np.log(p.value / 1e-4) / (np.log(p.high / p.value) or np.inf))
    # A chi2 tail is a Pareto one only far out: a bias below its own error. That of 30 dof falls faster than any that is fitted.
    assert -0.6 < np.mean(pulls) < too_large
    assert np.std(pulls) < 1.35


def test_five_sigma_of_an_exponential_is_reached_within_the_error():
    truth = p_value(5)
    p = Tail.fit(stats.expon.rvs(size=200_000, random_state=1)).p(stats.expon.isf(truth))
    assert p.extrapolated
    assert p.low / 2 < truth < p.high * 2
    assert abs(p.z - 5) < 0.25  # 5 %


def test_tail_fit_is_the_maximum_likelihood_of_scipy():
    sample = stats.genpareto.rvs(0.2, scale=2.0, size=40_000, random_state=3)
    tail = Tail.fit(sample, share=0.1)
    excess = np.sort(sample)[-4000:] - tail.threshold
    shape, _, scale = stats.genpareto.fit(excess, floc=0)
    assert (tail.shape, tail.scale) == pytest.approx((shape, scale), rel=1e-3, abs=1e-3)
    assert tail.p(tail.threshold + 10).value == pytest.approx(0.1 * stats.genpareto.sf(10, shape, scale=scale), rel=2e-3)


def test_beyond_the_end_that_few_toys_suggest_the_significance_is_not_absurd():
    nulls = [stats.expon.rvs(size=2000, random_state=seed) for seed in range(100)]
    z = [p_of(-np.log(p_value(5)), null).z for null in nulls]  # five standard deviations
    assert max(z) < 7
    assert np.median(z) == pytest.approx(5, abs=0.6)


def test_a_rank_is_taken_where_there_is_one_and_a_tail_beyond():
    null = stats.expon.rvs(size=4000, random_state=0)
    assert not p_of(1.0, null).extrapolated
    assert p_of(20.0, null).extrapolated
    assert not p_of(20.0, null[:500]).extrapolated  # 25 values are no tail


def test_trials_of_independent_tests_are_their_number():
    local = 1e-4
    assert effective_trials(local, 1 - (1 - local) ** 50) == pytest.approx(50)


@pytest.mark.parametrize("call", [
    lambda: rank_p(0.0, []), lambda: rank_p(0.0, [np.nan]), lambda: interval(3, 2), lambda: Tail.fit(np.arange(100.0)),
    lambda: Tail.fit(np.ones(10_000)), lambda: effective_trials(0, 0.5),
    lambda: event_p([1.0], [1.0], weight_M=[1.0]), lambda: event_p([1.0], [1.0], group_M=[0], group_N=[1]),
    lambda: event_p([1.0], [1.0], weight_M=[-1.0], weight_N=[1.0]),
])  # fmt: skip
def test_what_cannot_be_answered_is_refused(call):
    with pytest.raises(BadInput):
        call()


def test_event_p_values_are_uniform_for_exchangeable_events():
    rng = np.random.default_rng(0)
    p = np.concatenate([event_p(rng.normal(size=19), rng.normal(size=1)) for _ in range(4000)])
    counts = np.bincount(np.rint(p * 20).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3  # each of the 20 ranks alike


def test_weights_repair_a_shift_that_breaks_the_plain_ones():
    rng = np.random.default_rng(1)
    calibration, events = rng.normal(0, 1, 50_000), rng.normal(0.5, 1, 20_000)
    weights = {name: np.exp(0.5 * x - 0.125) for name, x in (("weight_M", calibration), ("weight_N", events))}  # N(.5)/N(0)
    plain, weighted = event_p(calibration, events), event_p(calibration, events, **weights, seed=0)
    assert (plain < 0.01).mean() == pytest.approx(stats.norm.sf(stats.norm.isf(0.01) - 0.5), rel=0.1)  # 3.4 times too often
    assert (weighted < 0.1).mean() == pytest.approx(0.1, rel=0.1)  # two errors: 10,000 calibration events count, in effect


def test_groups_make_the_values_uniform_in_each():
    rng = np.random.default_rng(2)
    group_M, group_N = rng.integers(0, 2, 40_000), rng.integers(0, 2, 40_000)
    p = event_p(rng.normal(2.0 * group_M), rng.normal(2.0 * group_N), group_M=group_M, group_N=group_N, seed=0)
    for one in (0, 1):
        assert (p[group_N == one] < 0.05).mean() == pytest.approx(0.05, abs=0.006)  # three binomial errors of both samples


def test_a_p_value_carries_its_significance():
    assert PValue(0.02275013, 0.02, 0.03, 100).z == pytest.approx(2.0, abs=1e-6)
