"""Follow-up: thresholds against brute force and closed forms, posteriors against Gaussian mixtures."""

import numpy as np
import pytest
from scipy import stats
from tests.toy import toy_cloud

from cloudchamber.errors import BadInput
from cloudchamber.search import followup
from cloudchamber.search.followup import LEVELS, Limits, Policy, Stage, Stored

STAGES = (Stage("score", 1.0), Stage("again", 10.0, alert=True), Stage("other half", 30.0))
LIMITS = Limits(candidates=200, signals=4, budget_s=600.0, alerts=2.0, fwer=0.05)


def stored(runs=20_000, seed=0):
    """First two stages with correlation 0.8 on one half, the third on another; signals of 2 to 5 sigma in each half."""
    rng = np.random.default_rng(seed)

    def p(shift_R):
        first = rng.normal(size=len(shift_R))
        again = 0.8 * first + 0.6 * rng.normal(size=len(shift_R))
        p_R3 = stats.norm.sf(np.stack([first, again, rng.normal(size=len(shift_R))], axis=1) + shift_R[:, None])
        p_R3[:, 2] = followup.combined_p(p_R3[:, 0], p_R3[:, 2])
        return p_R3

    return Stored(STAGES, p(np.zeros(runs)), p(rng.uniform(2, 5, runs)))


def test_the_cost_of_uniform_p_values_is_that_of_their_thresholds():
    p_RS = np.random.default_rng(1).uniform(size=(400_000, 3))
    policy = Policy(STAGES, (0.2, 0.1, 0.5))
    assert policy.cost(p_RS).mean() == pytest.approx(1 + 0.2 * 10 + 0.02 * 30, rel=0.01)
    assert policy.alerts(p_RS).mean() == pytest.approx(0.02, rel=0.05)
    assert policy.passed(p_RS)[:, -1].mean() == pytest.approx(0.01, rel=0.05)


def test_no_random_policy_within_the_limits_finds_more():
    runs = stored(4000)
    best = runs.forecast(runs.best(LIMITS), LIMITS)
    assert best.cost_s <= LIMITS.budget_s
    assert best.false_alerts <= LIMITS.alerts
    assert best.fwer <= LIMITS.fwer * (1 + 1e-9)
    rng, tried = np.random.default_rng(2), 0
    for _ in range(3000):
        thresholds = (*rng.uniform(0, 0.3, 2), LIMITS.fwer / LIMITS.candidates)
        other = runs.forecast(Policy(STAGES, tuple(map(float, thresholds))), LIMITS)
        if other.cost_s <= LIMITS.budget_s and other.false_alerts <= LIMITS.alerts:
            tried += 1
            assert other.discoveries <= best.discoveries * 1.02  # the grid is of 64 quantiles
    assert tried > 100


def test_a_forecast_holds_on_other_runs_and_the_family_wise_error_on_those_without_a_signal():
    policy = stored(seed=3).best(LIMITS)
    expected, got = stored(seed=3).forecast(policy, LIMITS), stored(seed=4).forecast(policy, LIMITS)
    assert got.cost_s == pytest.approx(expected.cost_s, rel=0.05)
    assert got.false_alerts == pytest.approx(expected.false_alerts, rel=0.2)  # 200 of 20,000 runs: 7 % each
    assert got.discoveries == pytest.approx(expected.discoveries, rel=0.05)
    p_RS = stored(200_000, seed=5).null_RS
    false = policy.passed(p_RS)[:, -1].mean() * LIMITS.candidates
    assert false <= LIMITS.fwer + 3 * np.sqrt(LIMITS.fwer * LIMITS.candidates / 200_000)


def test_more_budget_never_finds_less_and_all_of_it_as_much_as_following_everything():
    runs = stored()
    everything = runs.forecast(runs.follow_everything(LIMITS), LIMITS)
    found = [f.discoveries for _, f in runs.frontier(LIMITS, (220, 400, 1000, 8200))]
    assert found == sorted(found)
    generous = Limits(200, 4, everything.cost_s, 200, 0.05)
    assert runs.forecast(runs.best(generous), generous).discoveries == pytest.approx(everything.discoveries)
    with pytest.raises(BadInput, match="first stage alone costs 200 s"):
        runs.best(Limits(200, 4, 100, 2, 0.05))


def test_p_values_of_another_shape_or_range_are_refused():
    with pytest.raises(BadInput, match="3 stages"):
        Stored(STAGES, np.full((5, 2), 0.5), np.full((5, 3), 0.5))
    with pytest.raises(BadInput, match="no p-values"):
        Stored(STAGES, np.zeros((5, 3)), np.full((5, 3), 0.5))


def test_two_halves_combine_as_fisher_s_method_does():
    for pair in ((0.3, 0.02), (1.0, 0.5), (1e-9, 0.04)):
        assert followup.combined_p(*pair) == pytest.approx(stats.combine_pvalues(pair, "fisher").pvalue, rel=1e-9)


def test_the_largest_of_dependent_p_values_is_never_too_small():
    z_RE = np.random.default_rng(0).multivariate_normal(np.zeros(3), 0.7 + 0.3 * np.eye(3), 100_000)
    p_R = followup.conservative_p(stats.norm.sf(z_RE))
    for alpha in (0.01, 0.1, 0.5):
        assert (p_R <= alpha).mean() <= alpha


def test_disagreement_lowers_an_alert_by_one():
    assert followup.level(np.array([True] * 3), disagree=False) == LEVELS[3]
    assert followup.level(np.array([True] * 3), disagree=True) == LEVELS[2]
    assert followup.level(np.array([False] * 3), disagree=True) == LEVELS[0]


def look(p, chosen):
    like_signal = [{"event_id": int(i)} for i in chosen]
    return {"regions": [{"region": "A", "events": 1000, "p": {"value": p}, "like_signal": like_signal}]}


def test_looks_at_the_same_events_are_not_counted_twice_and_those_at_others_are():
    half, other = np.arange(1000, dtype=np.uint64), np.arange(1000, 2000, dtype=np.uint64)
    first, again, elsewhere = look(1e-4, range(20)), look(1e-3, range(4, 24)), look(1e-3, range(1000, 1020))
    (one,) = followup.candidates([first, again, elsewhere], [half, half[::-1], other], alpha=0.01)
    assert one.p_same == 1e-3
    assert one.p_all == pytest.approx(stats.combine_pvalues([1e-3, 1e-3], "fisher").pvalue)
    assert (one.common, one.chance, one.level) == (16, 0.4, LEVELS[3])
    (chosen_apart,) = followup.candidates([first, look(1e-3, range(20, 40))], [half, half], alpha=0.01)
    assert chosen_apart.p_all is None
    assert chosen_apart.level == LEVELS[1]  # two stages of three passed, one lower
    with pytest.raises(BadInput, match="neither the same nor independent"):
        followup.candidates([first, again], [half, half + 500], alpha=0.01)
    with pytest.raises(BadInput, match="three or more"):
        followup.candidates([first, again, elsewhere], [half, other, other + 1000], alpha=0.01)


def test_taking_a_particle_away_costs_what_it_adds_to_a_sum():
    event = toy_cloud(1)

    def energy(cloud):
        return np.bincount(np.repeat(np.arange(len(cloud)), cloud.counts), weights=cloud.flat("energy"))

    assert followup.particle_importance(energy, event) == pytest.approx(event.flat("energy"), rel=1e-4)
    with pytest.raises(BadInput, match="one event"):
        followup.particle_importance(energy, toy_cloud(2))
