"""Searches against analytic truth: likelihood ratios of Gaussians, chi2, independent tests, flat p-values."""

import numpy as np
import pytest
from scipy import stats

from cloudchamber import registry
from cloudchamber.errors import BadInput
from cloudchamber.search import ratio
from cloudchamber.search.calibrate import Permutations, calibrate, null_statistics
from cloudchamber.search.frontier import Tilted, frontier, known_tilts, unseen_tilts
from cloudchamber.search.knob import Knob, knob, log_bayes_factor
from cloudchamber.search.sample import Bank, Sample
from cloudchamber.search.suite import suite

N, DATA = 800, 400


def gaussian(n, dimensions=4, shift=0.0, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, dimensions))
    x[:, 0] += shift
    return x


def bank_of(*shifts):
    parts = [gaussian(400, shift=s, seed=10 + i) for i, s in enumerate(shifts)]
    return Bank(Sample(np.concatenate(parts)), np.repeat(np.arange(len(shifts)), 400), tuple(f"shift {s:g}" for s in shifts))


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_a_learned_ratio_separates_nearly_as_well_as_the_analytic_one(shift):
    pool, fresh, signal = Sample(gaussian(4000)), gaussian(50_000, seed=1), gaussian(20_000, shift=shift, seed=2)
    learned = ratio.learn(pool, (Sample(gaussian(1000, shift=shift, seed=3)),), seed=0)
    best = ratio.NeymanPearson.of(learned.log_SN, pool.weights_N)

    def separation(score_of):
        s0, s1 = score_of(fresh), score_of(signal)
        return (s1.mean() - s0.mean()) / s0.std()

    exact = separation(lambda x: np.log1p(best.fraction_S[0] * (np.exp(shift * x[:, 0] - shift**2 / 2) - 1)))
    got = separation(lambda x: best(learned(x))[0])
    assert 0.95 * exact < got < 1.02 * exact


def test_the_linear_part_of_the_kernel_test_is_chi2_distributed():
    test = suite(Sample(gaussian(N, 6)), None, ("kernel",), seed=0)
    log = null_statistics(test, Permutations(N, DATA, seed=1), 2000)[:, test.names.index("kernel/linear")]
    prior = 16 / 6  # STRENGTH^2 shared by six directions
    chi2 = 2 * (log + 0.5 * 6 * np.log1p(prior)) * (1 + prior) / prior
    assert stats.kstest(chi2 * (N - 1) / N, stats.chi2(6).cdf).pvalue > 0.01


def test_a_change_along_one_direction_is_seen_alike_in_any_scale_of_its_column():
    x = gaussian(N, 3)
    x[:DATA, 1] *= 0.7
    labels = (np.arange(N) < DATA).astype(np.float32)[None]
    here, there = (
        suite(Sample(one), None, ("direction", "kernel"), seed=0).statistics(labels, 1 - labels)[0]
        for one in (x, np.column_stack([x[:, 0], np.exp(x[:, 1]), x[:, 2]]))
    )
    assert here[0] == pytest.approx(there[0], abs=0.1)  # ranks are interpolated
    assert here[0] > here[2] + 5  # the kernel's shift, which sees means alone


def test_p_values_of_a_whole_search_are_flat_without_a_signal():
    test = suite(Sample(gaussian(N)), bank_of(1.0, 2.0), ("bank", "weak", "kernel"), seed=0)
    calibration = calibrate(knob(test, (0.2, 0.5, 0.8)), null_statistics(test, Permutations(N, DATA, seed=1), 8000), test.names)
    fresh = null_statistics(test, Permutations(N, DATA, seed=2), 2000)
    assert stats.ks_2samp(calibration.joint(fresh), calibration.joint_T).pvalue > 0.01  # p are ranks of one in the other
    false_alarms = int((calibration.global_p(fresh) <= 0.05).sum())
    assert stats.betabinom(len(fresh), 101, 1900).cdf(false_alarms) > 0.005
    assert stats.betabinom(len(fresh), 101, 1900).sf(false_alarms) > 0.005


def test_a_weighted_minimum_over_independent_tests_has_its_analytic_global_p_value():
    rng = np.random.default_rng(3)
    shares = np.array([[0.5, 0.3, 0.2]])
    smallest_of = Knob((0.5,), shares, np.ones(3, bool), "minimum")
    calibration = calibrate(smallest_of, stats.norm.isf(rng.random((200_000, 3))))
    for z in (1.5, 2.5, 3.0):
        smallest = stats.norm.sf(z) / 0.3
        exact = 1 - np.prod(1 - np.minimum(shares * smallest, 1))
        got = calibration.judge(np.array([-1.0, z, -1.0])).global_p
        assert got.value == pytest.approx(exact, abs=4 * np.sqrt(exact / 50_000))


def test_what_a_p_value_is_worth_has_a_mean_of_one_without_a_signal_and_falls_with_p():
    p = np.exp(-np.linspace(0, 400, 400_001))
    worth = np.exp(log_bayes_factor(p))
    assert (np.diff(worth) > 0).all()
    assert np.trapezoid(worth[::-1], p[::-1]) == pytest.approx(1 - 1 / 401, abs=0.005)  # the rest lies below exp(-400)


def test_a_test_that_is_no_ratio_counts_by_its_p_value_whatever_its_scale():
    null = stats.norm.isf(np.random.default_rng(3).random((40_000, 2)))
    one, other = (calibrate(Knob((0.5,), np.full((1, 2), 0.5), np.array([True, False])), null * [1, c]) for c in (1, 1000))
    for z in ([0.0, 3.0], [1.0, 2.0]):
        assert one.global_p(np.array([z])) == other.global_p(np.array([z]) * [1, 1000])


def test_a_scan_of_the_knob_finds_what_only_one_of_its_settings_sees():
    null = np.random.default_rng(8).normal(size=(40_000, 2))
    scanned = calibrate(Knob((0.0, 1.0), np.eye(2), np.ones(2, bool)), null)
    for z in ([4.0, 0.0], [0.0, 4.0]):
        exact = 1 - (1 - stats.norm.sf(3.0)) ** 2  # of the better of two independent settings, at three deviations
        assert scanned.judge(np.array(z)).global_p.value < exact


def test_the_number_of_trials_of_independent_tests_is_their_number():
    null = np.random.default_rng(4).normal(size=(100_000, 10))
    assert calibrate(Knob((0.5,), np.full((1, 10), 0.1), np.ones(10, bool)), null).trials == pytest.approx(10, rel=0.1)


def test_an_injected_signal_of_the_bank_is_found_and_its_signal_named():
    x = gaussian(N)
    x[:DATA][np.random.default_rng(5).random(DATA) < 0.1] += [2.0, 0, 0, 0]
    pool, bank = Sample(x), bank_of(-2.0, 2.0)
    test = suite(pool, bank, ("supervised", "bank", "kernel"), seed=0)
    calibration = calibrate(knob(test), null_statistics(test, Permutations(N, DATA, seed=1), 4000), test.names)
    labels = (np.arange(N) < DATA).astype(np.float32)[None]
    verdict = calibration.judge(test.statistics(labels, 1 - labels)[0])
    assert verdict.global_p.z > 3
    assert verdict.best == "bank/mixture"
    assert test.parts[1].prepared.posterior(labels[0], 1 - labels[0]).argmax() == 1


def test_mixing_ratios_gives_the_bank_alone_at_0_and_the_broad_tests_alone_at_1():
    test = suite(Sample(gaussian(N)), bank_of(1.0), ("bank", "kernel"), seed=0)
    statistics = null_statistics(test, Permutations(N, DATA, seed=1), 200)
    mixed = knob(test, (0.0, 1.0)).combined(np.ones_like(statistics), statistics)
    assert np.allclose(mixed[:, 0], statistics[:, 0])
    assert np.allclose(mixed[:, 1], np.log(np.exp(statistics[:, 1:]).mean(1)))


def test_a_tilt_has_the_strength_that_was_asked_for():
    x = gaussian(N)
    tilts = Tilted(x[:, :1].T - x[:, 0].mean(), DATA, strength=3.0, seed=0)
    data, reference = tilts.chunk(0)
    z = (data @ x[:, 0] / DATA - reference @ x[:, 0] / (N - DATA)) / x[:, 0].std() / np.sqrt(1 / DATA + 1 / (N - DATA))
    assert z.mean() == pytest.approx(3.0 * x[:, 0].std(), abs=4 / np.sqrt(256))


def test_the_frontier_falls_in_the_bank_and_rises_on_the_unseen_with_generality():
    pool, bank = Sample(gaussian(N)), bank_of(1.0, -1.0)
    test = suite(pool, bank, ("bank", "kernel"), seed=0)
    null = null_statistics(test, Permutations(N, DATA, seed=1), 4000)
    known = null_statistics(test, Tilted(known_tilts(pool, bank, 0), DATA, 4.0, seed=2), 500)
    unseen = null_statistics(test, Tilted(unseen_tilts(pool, 12, 0), DATA, 6.0, seed=3), 500)
    front = frontier(knob(test, (0.0, 0.5, 1.0)), null, known, unseen, alpha=0.01)
    assert front.known_L[0] > front.known_L[2] + 3 * front.error_L.max()
    assert front.unseen_L[2] > front.unseen_L[0] + 3 * front.error_L.max()


def test_windows_are_tested_one_by_one_and_an_empty_one_counts_for_nothing():
    rng = np.random.default_rng(6)
    pool = Sample(gaussian(N), mass_N=rng.uniform(0, 100, N))
    test = suite(pool, None, ("kernel",), seed=0, windows=[(0, 50), (50, 100)])
    data = (rng.random((1, N)) < 0.5).astype(np.float32)
    data[0, pool.mass_N < 50] = 0
    found = test.statistics(data, 1 - data)[0]
    alone = suite(pool.where(pool.mass_N >= 50), None, ("kernel",), 0).statistics(
        data[:, pool.mass_N >= 50], 1 - data[:, pool.mass_N >= 50]
    )
    K = len(alone[0])
    assert np.allclose(found[K:], alone[0], atol=1e-4)
    assert (found[:K] < 0).all()
    with pytest.raises(BadInput, match="at least 50"):
        suite(pool, None, ("kernel",), seed=0, windows=[(0, 0.1)])


def test_every_method_has_a_citation_and_a_known_role():
    for method in registry.entries("methods").values():
        assert method.citation
        assert method.role in ("specific", "weak", "broad")
