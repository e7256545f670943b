"""Battery: distances and significances against Gaussians and exact binomials, SIC and ARGOS against cut-and-count."""

import numpy as np
import pytest
from scipy import stats

from cloudchamber.errors import BadInput
from cloudchamber.search import battery

RNG = np.random.default_rng(0)
X_NF = RNG.normal(size=(20_000, 6))


def gaussian_shift(delta, pool=400_000):
    x_N = stats.norm.ppf((np.arange(pool) + 0.5) / pool)
    log_ratio_N = delta * x_N - delta**2 / 2
    return battery.Alternative("shift", log_ratio_N - np.log(np.mean(np.exp(log_ratio_N))))


def test_a_shifted_gaussian_has_the_divergence_and_the_significance_of_the_textbook():
    alternative = gaussian_shift(0.1)
    assert alternative.kl == pytest.approx(0.1**2 / 2, rel=1e-3)
    assert alternative.neyman_pearson_z(900) == pytest.approx(0.1 * np.sqrt(900), rel=1e-3)  # its test is the mean


def test_the_best_significance_of_a_rate_agrees_with_the_exact_binomial():
    rate, high, events = 0.02, 0.035, 2000
    pool = np.arange(10_000) < rate * 10_000
    alternative = battery.Alternative("rate", np.where(pool, np.log(high / rate), np.log((1 - high) / (1 - rate))))
    counted = high * events
    tail = stats.binom.sf(counted - 0.5, events, rate)  # half of the probability of the outcome itself is in the middle
    half = tail - stats.binom.pmf(counted, events, rate) / 2
    assert alternative.neyman_pearson_z(events) == pytest.approx(stats.norm.isf(half), abs=0.03)


def test_all_alternatives_lie_at_the_divergence_asked_for_and_are_densities():
    unseen = battery.alternatives(X_NF, 35, 0.004, seed=1)
    assert len({a.name for a in unseen}) == 35
    for alternative in unseen:
        assert alternative.kl == pytest.approx(0.004, rel=1e-4)
        assert np.exp(alternative.log_ratio_N).mean() == pytest.approx(1, abs=1e-9)
    z = [a.neyman_pearson_z(2000) for a in unseen]
    assert min(z) > 3.5  # sqrt(2 * 2000 * 0.004) = 4, less where few events tell
    assert max(z) < 4.5
    assert max(a.distance(unseen[:1]) for a in unseen[1:]) > 0.02
    assert unseen[0].distance(unseen) == pytest.approx(0, abs=1e-6)


def test_a_divergence_out_of_reach_is_told():
    with pytest.raises(BadInput, match="at most"):
        battery.alternatives(X_NF, 4, 50.0, seed=1)


def test_hellinger_distance_of_two_gaussians():
    one, other = gaussian_shift(0.5), gaussian_shift(-0.5)
    assert one.distance([other]) == pytest.approx(np.sqrt(1 - np.exp(-1 / 8)), rel=1e-3)  # shifted by 1
    assert one.distance([]) == 1


def test_the_exact_likelihood_ratio_reaches_all_of_the_possible_and_a_blind_search_none():
    unseen = battery.alternatives(X_NF, 4, 0.004, seed=3)[:1]
    log_ratio_N = unseen[0].log_ratio_N
    rng, events = np.random.default_rng(5), 1000
    null = np.sort(rng.multinomial(events, np.full(len(X_NF), 1 / len(X_NF)), 2000) @ log_ratio_N)

    def best(data_TN, _):
        return np.maximum((null[:, None] >= (data_TN @ log_ratio_N)).sum(axis=0) + 1, 1) / 2001

    options = {"events": events, "reference": 5000, "smallest_p": 1 / 2001}
    assert battery.judge(best, unseen, toys=200, **options)[0].eta == pytest.approx(1, abs=0.08)
    blind = battery.judge(lambda data_TN, _: rng.uniform(size=len(data_TN)), unseen, toys=400, **options)[0]
    assert blind.eta == pytest.approx(0, abs=0.06)
    assert not blind.reach


def test_worst_decile_and_minimal_injection():
    assert battery.worst_decile(np.arange(101)) == 10
    assert battery.minimal_injection([1, 2], [0.1, 0.2]) == np.inf


def test_sic_of_two_gaussians_is_that_of_the_formula():
    rng = np.random.default_rng(1)
    truth = np.repeat([0, 1], [400_000, 50_000])
    score = rng.normal(size=len(truth)) + 2.0 * truth
    cuts = np.linspace(0, 3.7, 2000)
    expected = (stats.norm.sf(cuts - 2) / np.sqrt(stats.norm.sf(cuts)))[stats.norm.sf(cuts) >= 1e-4].max()
    assert battery.max_sic(truth, score) == pytest.approx(expected, rel=0.06)


def test_argos_prefers_the_score_with_the_larger_sic():
    rng = np.random.default_rng(2)
    is_signal = np.arange(40_000) < 400
    found = {}
    for shift in (0.0, 1.0, 2.0, 3.0):
        found[shift] = battery.argos(rng.normal(size=40_000) + shift * is_signal, rng.normal(size=40_000))
    assert sorted(found, key=found.get) == sorted(found)
    with pytest.raises(BadInput, match="template events"):
        battery.argos([1.0], [1.0])
