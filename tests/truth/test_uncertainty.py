"""Calibration, coverage, shift and ensembles against formulas, on scores whose truth is known."""

import numpy as np
import pytest
from scipy import stats as distributions

from cloudchamber.errors import BadInput
from cloudchamber.stats import (
    Ratio,
    ScoreTable,
    Temperature,
    combined,
    coverage,
    density_ratio,
    domain_p_values,
    prediction_intervals,
    prediction_sets,
    recalibrated,
    summarise_uncertainty,
)


def classes_table(p_NC, truth, **more):
    n = len(p_NC)
    columns = {"event_id": np.arange(n, dtype=np.uint64), "fold": np.ones(n, np.int8), "weight": np.ones(n, np.float32)}
    names = tuple("abc"[: p_NC.shape[1]])
    return ScoreTable("kind", names, truth=np.asarray(truth), scores_NC=p_NC.astype(np.float32), **columns | more)


def number_table(prediction, truth, spread=None, **more):
    n = len(prediction)
    columns = {"event_id": np.arange(n, dtype=np.uint64), "fold": np.ones(n, np.int8), "weight": np.ones(n, np.float32)}
    spread_NC = None if spread is None else np.asarray(spread, np.float32)[:, None]
    scores_NC = np.asarray(prediction, np.float32)[:, None]
    return ScoreTable("mass", (), truth=np.asarray(truth, float), scores_NC=scores_NC, spread_NC=spread_NC, **columns | more)


def softmax(z):
    raised = np.exp(z - z.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def drawn(rng, p_NC):
    """Classes drawn with the probabilities given."""
    return (rng.random((len(p_NC), 1)) > p_NC.cumsum(1)).sum(1).clip(max=p_NC.shape[1] - 1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered_and_applied(temperature):
    rng = np.random.default_rng(1)
    z = rng.normal(0, 2, (20_000, 3))
    truth = drawn(rng, softmax(z))
    table = classes_table(softmax(z * temperature), truth)
    fitted = Temperature.fit(table)
    assert fitted.value == pytest.approx(temperature, rel=0.04)  # the Fisher information at T = 1 gives 0.9 %
    exact = Temperature(temperature).apply(table).scores_NC
    assert np.allclose(exact, softmax(z), atol=1e-3)


def test_isotonic_calibration_finds_a_known_rising_curve():
    rng = np.random.default_rng(2)
    score = rng.random(40_000)
    truth = (rng.random(40_000) < score**2).astype(int)
    table = classes_table(np.stack([1 - score, score], 1), truth)
    got = recalibrated(table, table, "isotonic").scores_NC[:, 1]
    assert np.abs(got - score**2).mean() < 0.01
    assert (np.diff(got[np.argsort(score)]) >= -1e-6).all()
    assert got.min() >= 1 / 40_002 - 1e-9  # more than one in n is not known


def test_a_temperature_that_the_events_do_not_define_is_refused():
    sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    with pytest.raises(BadInput, match="without an error"):
        Temperature.fit(classes_table(sure, [0, 1, 1]))
    with pytest.raises(BadInput, match="worse than by chance"):
        Temperature.fit(classes_table(sure, [1, 0, 0]))
    with pytest.raises(BadInput, match="Nearest: 'temperature'"):
        recalibrated(classes_table(sure, [0, 1, 0]), classes_table(sure, [0, 1, 0]), "temprature")
    with pytest.raises(BadInput, match="conformal intervals"):
        Temperature.fit(number_table([1.0], [1.0]))


@pytest.mark.parametrize(("level", "expected"), [(0.68, 14 / 20), (0.90, 18 / 20), (0.95, 19 / 20)])
def test_coverage_is_the_formula_of_split_conformal_prediction(level, expected):
    """With n continuous scores of each class the mean coverage is ceil((n + 1) level) / (n + 1), whatever the scores are."""
    rng = np.random.default_rng(3)
    found_sets, found_intervals = [], []
    for _ in range(250):
        p = rng.beta(2, 1, 19 * 2 + 200)  # of the true class
        truth = np.arange(len(p)) % 2
        p_NC = np.where(truth[:, None] == [0, 1], p[:, None], 1 - p[:, None])
        found_sets.append(coverage(classes_table(p_NC[:38], truth[:38]), classes_table(p_NC[38:], truth[38:]), level).value)
        y = rng.standard_t(3, 219)
        tables = (number_table(np.zeros(n), part) for n, part in ((19, y[:19]), (200, y[19:])))
        found_intervals.append(coverage(*tables, level).value)
    for found in (found_sets, found_intervals):
        assert np.mean(found) == pytest.approx(expected, abs=4 * np.std(found) / 250**0.5)


def test_the_error_of_a_coverage_holds_the_scatter_of_the_threshold_and_of_the_test():
    rng = np.random.default_rng(4)
    pulls = []
    for _ in range(300):
        y = rng.normal(size=1500)
        pulls.append(coverage(number_table(np.zeros(500), y[:500]), number_table(np.zeros(1000), y[500:]), 0.9).pull)
    assert np.std(pulls) == pytest.approx(1, abs=4 / 600**0.5)


def test_sets_cover_every_class_whatever_the_mixture():
    rng = np.random.default_rng(5)

    def sample(n, share):
        truth = (rng.random(n) < share).astype(int)
        p = distributions.norm.cdf(rng.normal(np.where(truth == 1, 1.0, -0.5), 1.0))
        return classes_table(np.stack([1 - p, p], 1), truth)

    validation, table = sample(8000, 0.5), sample(8000, 0.05)
    inside = prediction_sets(validation, table, 0.9)
    for c in (0, 1):
        assert inside[table.truth == c, c].mean() == pytest.approx(0.9, abs=4 * (0.09 / 400 + 0.09 / 4000) ** 0.5)


def test_intervals_are_as_wide_as_the_spread_says():
    rng = np.random.default_rng(6)
    sigma = rng.choice([1.0, 5.0], 20_000)
    y = rng.normal(0, sigma)
    validation, table = (number_table(np.zeros(10_000), y[part], 2 * sigma[part]) for part in (np.s_[::2], np.s_[1::2]))
    low, high = prediction_intervals(validation, table, 0.68).T
    half = distributions.norm.ppf(0.84)
    assert np.allclose((high - low) / 2, half * sigma[1::2], rtol=0.04)


def test_too_few_validation_events_give_infinite_intervals_and_full_sets():
    assert np.isinf(prediction_intervals(number_table(np.zeros(5), np.ones(5)), number_table([0.0], [0.0]), 0.95)).all()
    p_NC = np.full((4, 2), 0.5)
    assert prediction_sets(classes_table(p_NC, [0, 0, 1, 1]), classes_table(p_NC, [0, 0, 1, 1]), 0.9).all()


def test_known_weights_restore_the_coverage_under_a_covariate_shift():
    """x uniform for validation, of density 2x for the test, y | x normal of width x: without weights the coverage is low."""
    rng = np.random.default_rng(7)
    x_val, x_test = rng.random(20_000), np.sqrt(rng.random(20_000))
    validation, table = (number_table(np.zeros(20_000), rng.normal(0, x)) for x in (x_val, x_test))
    plain = coverage(validation, table, 0.9)
    assert plain.pull < -10
    weighted = coverage(validation, table, 0.9, Ratio(2 * x_val, 2 * x_test))
    assert abs(weighted.pull) < 4
    assert weighted.error > plain.error


def embedded(x_NE, truth):
    return number_table(np.zeros(len(x_NE)), truth, embedding_NE=x_NE.astype(np.float32))


def test_the_density_ratio_of_two_gaussians_is_found_and_corrects_the_coverage():
    rng = np.random.default_rng(8)
    x_val, x_test = rng.normal(0, 1, (6000, 3)), rng.normal([1.0, 0.0, 0.0], 1, (6000, 3))
    validation, table = (embedded(x, rng.normal(0, np.exp(0.5 * x[:, 0]))) for x in (x_val, x_test))
    ratio = density_ratio(validation, table)
    expected = x_val[:, 0] - 0.5  # log of the ratio of unit Gaussians at 1 and 0
    assert np.sqrt(np.mean((np.log(ratio.validation_M) - expected) ** 2)) < 0.1
    assert 6000 * np.exp(-1) == pytest.approx(ratio.effective, rel=0.3)  # E[w]^2 / E[w^2] = exp(-1)
    figures = summarise_uncertainty(validation, table, [0.9], reweight=True)
    assert figures["coverage_0.9"] < 0.9 - 10 * figures["coverage_0.9_error"]
    assert figures["coverage_0.9_reweighted"] == pytest.approx(0.9, abs=4 * figures["coverage_0.9_reweighted_error"])
    with pytest.raises(BadInput, match="--conformal"):
        summarise_uncertainty(validation, table, [], reweight=True)


def test_p_values_of_the_domain_are_uniform_inside_and_small_outside():
    rng = np.random.default_rng(9)
    truth = rng.integers(0, 2, 6000)
    x = rng.normal(0, [1.0, 3.0, 0.1, 1.0], (6000, 4)) + 8 * truth[:, None]
    p_NC = np.full((6000, 2), 0.5)
    parts = [classes_table(p_NC[s], truth[s], embedding_NE=x[s].astype(np.float32)) for s in (np.s_[::2], np.s_[1::2])]
    inside = domain_p_values(*parts)
    assert distributions.kstest(inside, "uniform").statistic < 2 / 1500**0.5
    far = classes_table(p_NC[:100], truth[:100], embedding_NE=np.add(x[:100], (0, 0, 1.0, 0)).astype(np.float32))
    assert (domain_p_values(parts[0], far) < 0.01).mean() > 0.95
    with pytest.raises(BadInput, match="embed"):
        domain_p_values(parts[0], classes_table(p_NC, truth))


def test_an_ensemble_has_the_moments_of_the_mixture():
    rng = np.random.default_rng(10)
    means, sigmas = rng.normal(0, 2, (3, 50)), rng.uniform(0.5, 2, (3, 50))
    table = combined([number_table(m, np.zeros(50), s) for m, s in zip(means, sigmas, strict=True)])
    draws = rng.normal(means[..., None], sigmas[..., None], (3, 50, 40_000))
    assert np.allclose(table.scores_NC[:, 0], means.mean(0), atol=1e-6)
    assert np.allclose(table.spread_NC[:, 0], draws.std(axis=(0, 2)), rtol=0.02)
    with pytest.raises(BadInput, match="same events"):
        combined([number_table([1.0], [1.0]), number_table([1.0], [1.0], event_id=np.array([7], np.uint64))])


def test_a_table_with_spreads_and_embeddings_comes_back_from_its_file(tmp_path):
    table = number_table([1.0, 2.0], [1.0, np.nan], [0.5, 0.25], embedding_NE=np.ones((2, 3), np.float32))
    table.write(tmp_path / "scores.parquet")
    again = ScoreTable.read(tmp_path / "scores.parquet")
    assert again.spread_NC[:, 0].tolist() == [0.5, 0.25]
    assert again.known().spread_NC.shape == (1, 1)
    with pytest.raises(BadInput, match="spreads"):
        number_table([1.0], [1.0], [-1.0])
    with pytest.raises(BadInput, match="do not belong together"):
        coverage(table, classes_table(np.full((2, 2), 0.5), [0, 1]), 0.9)
