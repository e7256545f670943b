"""The method of moments: chi-squared without a signal, and what it is for: widths and correlations."""

import numpy as np
from scipy import stats

from cloudchamber.search.methods import kernel, moments
from cloudchamber.search.methods.base import STRENGTH
from cloudchamber.search.sample import Sample

EVENTS, DOF = 4000, 9  # three means, three widths, three correlations
POOL = Sample(np.random.default_rng(0).normal(size=(EVENTS, 3)))


def draws(rng, weight_N, n=2000):
    data = rng.poisson(1000 / weight_N.sum() * weight_N, (n, EVENTS)).astype(np.float32)
    return data, rng.poisson(1, (n, EVENTS)).astype(np.float32)


def test_without_a_signal_it_is_chi_squared_of_the_number_of_moments():
    statistic_T = moments.prepare(POOL, None, 0).statistics(*draws(np.random.default_rng(1), np.ones(EVENTS)))[:, 0]
    prior = STRENGTH**2 / DOF
    chi2_T = (2 * statistic_T + DOF * np.log1p(prior)) * (1 + prior) / prior
    assert stats.kstest(chi2_T, stats.chi2(DOF).cdf).pvalue > 0.01


def test_a_correlation_that_leaves_all_means_alone_is_found_where_means_tell_nothing():
    x_NF = POOL.features_NF
    weight_N = np.exp(0.2 * x_NF[:, 0] * x_NF[:, 1])
    rng, power = np.random.default_rng(2), {}
    for name, method in (("moments", moments), ("kernel", kernel)):
        prepared = method.prepare(POOL, None, 0)
        column = 0 if name == "moments" else prepared.names.index("linear")
        null_T, signal_T = (prepared.statistics(*draws(rng, w, 1000))[:, column] for w in (np.ones(EVENTS), weight_N))
        power[name] = (signal_T > np.quantile(null_T, 0.95)).mean()
    assert power["moments"] > 0.9
    assert power["kernel"] < 0.2
