"""Templates against spectra and means that are known in closed form, and their uncertainty against new samples."""

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import quad

from cloudchamber.errors import BadInput
from cloudchamber.search import template
from cloudchamber.search.sample import Sample
from cloudchamber.search.template import Abcd, Sidebands

WINDOW, LIMITS, POWER = (3300.0, 3700.0), (2500.0, 5000.0), 7


def masses(rng, n):
    """From a spectrum m^-8 in the limits."""
    low, high = (edge**-POWER for edge in LIMITS)
    return (low - rng.random(n) * (low - high)) ** (-1 / POWER)


def mean_inside(function):
    def density(m):
        return m ** -(POWER + 1.0)

    return quad(lambda m: function(m) * density(m), *WINDOW)[0] / quad(density, *WINDOW)[0]


def share_inside():
    def cdf(m):
        return (LIMITS[0] ** -POWER - m**-POWER) / (LIMITS[0] ** -POWER - LIMITS[1] ** -POWER)

    return cdf(WINDOW[1]) - cdf(WINDOW[0])


def test_a_polynomial_of_mass_is_interpolated_without_error_from_its_scatter():
    mass = masses(np.random.default_rng(0), 20_000)
    sidebands = Sidebands(mass, WINDOW, LIMITS, degree=2)
    weights = sidebands.weights(np.ones((1, len(mass))))[0]
    assert weights.sum() == pytest.approx(1)
    assert not weights[sidebands.inside_N].any()
    # The spectrum's slope, -8 / m, is known to some 5 %: within the window's variance that moves the mean mass by 1.5 GeV.
    shift = (WINDOW[1] - WINDOW[0]) ** 2 / 12 * 0.05 * 8 / 3500
    assert weights @ mass == pytest.approx(mean_inside(lambda m: m), abs=shift)
    assert weights @ (mass - 3000) ** 2 == pytest.approx(mean_inside(lambda m: (m - 3000) ** 2), abs=2 * 500 * shift)


def test_the_number_of_events_follows_from_the_spectrum():
    rng, n = np.random.default_rng(1), 20_000
    found = [Sidebands(m, WINDOW, LIMITS, 2).expected(np.ones((1, n)))[0] for m in (masses(rng, n) for _ in range(40))]
    truth = n * share_inside()
    assert np.mean(found) == pytest.approx(truth, rel=0.01)
    assert np.std(found) < 2.5 * np.sqrt(truth)  # a free cubic is worth fewer events than the window holds


def test_excluded_windows_and_guards_are_left_out():
    mass = masses(np.random.default_rng(2), 10_000)
    sidebands = Sidebands(mass, (2800, 3000), LIMITS, 2, guard=50, excluded=(WINDOW,))
    outside = mass[sidebands.outside_N]
    assert not ((outside > 2750) & (outside < 3050)).any()
    assert not ((outside > 3250) & (outside < 3750)).any()
    assert sidebands.expected(np.ones((1, len(mass))))[0] == pytest.approx(sidebands.inside_N.sum(), rel=0.15)


def test_a_bootstrap_of_the_template_scatters_as_new_samples_do():
    rng, n, many = np.random.default_rng(3), 4000, 200
    drift = 2e-3

    def feature(mass):
        return drift * (mass - 3000) + rng.normal(size=len(mass))

    def estimate(mass, x, counts):
        return Sidebands(mass, WINDOW, LIMITS, 2).weights(counts) @ x

    samples = [masses(rng, n) for _ in range(many)]
    fresh = np.array([estimate(m, feature(m), np.ones((1, n)))[0] for m in samples])
    again = [estimate(m, feature(m), rng.poisson(1.0, (50, n)).astype(float)).std() for m in samples[:20]]
    assert fresh.mean() == pytest.approx(mean_inside(lambda m: drift * (m - 3000)), abs=4 * fresh.std() / np.sqrt(many))
    assert np.mean(again) == pytest.approx(fresh.std(), rel=0.15)  # three errors of a spread over 200 samples


def test_tilted_weights_are_those_of_an_exponential_family():
    z = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    weights = template.tilted(z, np.array([0.3]), 0.0, np.ones(len(z)))
    expected = np.exp(0.3 * z[:, 0])  # N(0.3, 1) over N(0, 1), up to a factor
    assert np.allclose(weights, expected / expected.sum(), rtol=0.02, atol=1e-9)


def test_abcd_is_exact_for_independent_selections_and_shifts_that_add():
    rng, n = np.random.default_rng(4), 400_000
    a, b = rng.random(n), rng.random(n)
    x = 1.0 * (a > 0.8) + 2.0 * (b > 0.7) + rng.normal(size=n)
    abcd = Abcd.of(np.stack([a, b]), (0.8, 0.7))
    once = np.ones((1, n))
    assert abcd.expected(once)[0] == pytest.approx(0.06 * n, rel=0.02)
    assert abcd.inside_N.sum() == pytest.approx(0.06 * n, rel=0.02)
    assert abcd.weights(once)[0] @ x == pytest.approx(3.0, abs=0.03)
    assert not abcd.weights(once)[0][abcd.inside_N].any()


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(5)
    mass = masses(rng, 6000)
    x = rng.normal(size=(6000, 3)) + np.outer((mass - 3000) / 1000, [1.0, 0.5, 0.0])
    return Sample(x, mass_N=mass)


def test_pseudo_data_follow_the_template_and_the_estimate_scatters_around_it(sample):
    ensemble = (Sidebands(sample.mass_N, WINDOW, LIMITS, 2),)
    toys = template.toys(sample, ensemble, 500.0, seed=0)
    data, reference = toys.chunk(0)
    assert data.sum(1).mean() == pytest.approx(500, abs=4 * np.sqrt(500 / toys.size))
    assert reference.sum(1) == pytest.approx(toys.worth, rel=1e-4)
    inside = ensemble[0].inside_N
    assert not data[:, inside].any()
    assert not reference[:, inside].any()
    mean = sample.features_NF.T @ (data / data.sum(1, keepdims=True)).T - sample.features_NF.T @ (reference / toys.worth).T
    assert np.abs(mean.mean(1) / mean.std(1) * np.sqrt(toys.size)).max() < 4  # no bias of either
    # Scatter of data and estimate: 1 / events and 1 / worth, for features of unit width around their mean.
    assert mean[2].var() == pytest.approx(1 / 500 + 1 / toys.worth, rel=0.25)
    assert np.array_equal(data, toys.chunk(0)[0])
    assert not np.array_equal(data, toys.chunk(1)[0])


def test_pseudo_data_have_the_means_that_were_interpolated(sample):
    toys = template.toys(sample, (Sidebands(sample.mass_N, WINDOW, LIMITS, 2),), None, seed=0)
    drawn = toys.rate_EN[0] @ sample.features_NF / toys.rate_EN[0].sum()
    error = np.sqrt(1 / toys.worth)
    assert np.abs(drawn - toys.weight_EN[0] @ sample.features_NF).max() < error
    assert np.abs(drawn - sample.features_NF[toys.estimate.inside_N].mean(0)).max() < 4 * error


def test_inflation_scales_the_variance_of_the_estimate(sample):
    ensemble = (Sidebands(sample.mass_N, WINDOW, LIMITS, 2),)
    spread = []
    for inflation in (1.0, 4.0):
        toys = template.toys(sample, ensemble, 500.0, seed=0, inflation=inflation)
        spread.append((toys.chunk(0)[1] @ sample.features_NF[:, 2] / toys.worth).var())
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.3)


def test_members_of_the_ensemble_that_disagree_widen_the_null(sample):
    curved = Sample(np.c_[sample.features_NF, ((sample.mass_N - 3500) / 500) ** 3], mass_N=sample.mass_N)
    degrees = tuple(Sidebands(sample.mass_N, WINDOW, LIMITS, d) for d in (1, 3))
    widths = []
    for ensemble in (degrees[:1], degrees):
        data, reference = template.toys(curved, ensemble, 500.0, seed=0).chunk(0)
        x = curved.features_NF[:, 3]
        widths.append((data @ x / data.sum(1) - reference @ x / reference.sum(1)).std())
    assert widths[1] > 1.5 * widths[0]


def test_a_window_without_events_beside_it_is_refused(sample):
    with pytest.raises(BadInput, match="too few events beside it"):
        Sidebands(sample.mass_N, (2500.5, 3000.0), LIMITS, 2)
    with pytest.raises(BadInput, match="B, C and D"):
        Abcd(np.zeros(10, dtype=np.int64))


@pytest.mark.slow
def test_p_values_against_a_template_are_uniform_without_a_signal():
    """200 whole searches on new events whose means follow mass as the polynomial does; each toy refits and trains anew."""
    from cloudchamber.search.calibrate import calibrate, null_statistics
    from cloudchamber.search.knob import knob
    from cloudchamber.search.suite import suite

    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        mass = masses(rng, 3000)
        x = rng.normal(size=(3000, 3)) + np.outer((mass - 3000) / 1000, [1.0, 0.5, 0.0])
        pool = Sample(x, mass_N=mass)
        ensemble = (Sidebands(mass, WINDOW, LIMITS, 2),)
        data = ensemble[0].inside_N[None].astype(np.float32)
        toys = template.toys(pool, ensemble, float(data.sum()), seed)
        methods = suite(pool, None, ("weak", "kernel"), seed)
        calibration = calibrate(knob(methods), null_statistics(methods, toys, 400), methods.names)
        p.append(calibration.judge(methods.statistics(data, toys.reference_N[None])[0]).global_p.value)
    assert stats.kstest(p, "uniform").pvalue > 0.01
    low, high = stats.binomtest(int(np.sum(np.array(p) <= 0.05)), 200).proportion_ci(0.95, method="exact")
    assert low <= 0.05 <= high
