"""The metrics against formulas, scikit-learn and toys."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats
from sklearn import metrics as sk

from cloudchamber.errors import BadFile, BadInput, MissingColumn, UnknownFormat
from cloudchamber.stats import ScoreTable, calibration, metrics, paired, steps_to_reach, summarise

DISTANCE = 1.5  # between the two Gaussians, in their sigma
AUC = stats.norm.cdf(DISTANCE / np.sqrt(2))


def gaussians(rng, n, distance=DISTANCE):
    """Signal and background scores, n each, whose ROC curve is known."""
    truth = np.repeat([0, 1], n)
    return truth, rng.normal(truth * distance)


def exact_background(signal_efficiency, distance=DISTANCE):
    return stats.norm.sf(stats.norm.isf(signal_efficiency) + distance)


def coverage(pulls):
    return np.mean(np.abs(pulls) < 1)


def test_the_auc_of_two_gaussians_is_the_known_one():
    area = metrics.auc(*gaussians(np.random.default_rng(0), 100_000))
    assert area.value == pytest.approx(AUC, abs=4 * area.error)
    assert area.error < 0.002


def test_the_auc_error_covers_the_truth_in_68_percent_of_toys():
    rng = np.random.default_rng(1)
    toys = [metrics.auc(*gaussians(rng, 300)) for _ in range(600)]
    assert coverage([(t.value - AUC) / t.error for t in toys]) == pytest.approx(0.683, abs=0.06)


def test_the_weighted_auc_error_covers_the_truth_in_68_percent_of_toys():
    rng = np.random.default_rng(2)
    toys = [metrics.auc(*gaussians(rng, 300), rng.exponential(size=600)) for _ in range(600)]
    assert coverage([(t.value - AUC) / t.error for t in toys]) == pytest.approx(0.683, abs=0.06)


@pytest.mark.parametrize("efficiency", [0.3, 0.5])
@pytest.mark.parametrize("distance", [1.0, 2.0])
def test_the_rejection_error_covers_the_truth_in_68_percent_of_toys(efficiency, distance):
    rng = np.random.default_rng(3)
    toys = [metrics.rejection(metrics.roc(*gaussians(rng, 4000, distance)), [efficiency])[0] for _ in range(400)]
    truth = exact_background(efficiency, distance)
    # In the efficiency, not the rejection: that is where the errors are symmetric.
    pulls = [(1 / t.value - truth) / (t.error / t.value**2) for t in toys]
    assert coverage(pulls) == pytest.approx(0.683, abs=0.08)


def test_the_rejection_of_two_gaussians_is_the_known_one():
    points = metrics.rejection(metrics.roc(*gaussians(np.random.default_rng(4), 200_000)))
    for point in points:
        assert point.value == pytest.approx(1 / exact_background(point.signal_efficiency), abs=4 * point.error)


def test_without_background_above_threshold_the_rejection_is_a_lower_limit_that_covers():
    truth = np.repeat([0, 1], [1000, 50])
    (point,) = metrics.rejection(metrics.roc(truth, truth.astype(float)), [0.5])
    assert point.lower_limit
    assert point.error == 0
    # If eps_B were at the limit, no event of 1000 would pass in 5 % of experiments.
    assert stats.binom.pmf(0, 1000, 1 / point.value) == pytest.approx(0.05)


def test_tied_scores_are_shared_between_the_classes():
    truth, score = np.array([0, 1, 0, 1]), np.full(4, 0.5)
    assert metrics.auc(truth, score).value == 0.5
    assert metrics.roc(truth, score).background_at(0.3) == pytest.approx(0.3)


@pytest.mark.parametrize("rounding", [1, 6])
def test_roc_and_auc_agree_with_scikit_learn_with_weights_and_ties(rounding):
    rng = np.random.default_rng(5)
    truth, score = gaussians(rng, 500)
    score, weight = score.round(rounding), rng.exponential(size=1000)
    curve = metrics.roc(truth, score, weight)
    fpr, tpr, _ = sk.roc_curve(truth, score, sample_weight=weight, drop_intermediate=False)
    np.testing.assert_allclose(curve.background_efficiency, fpr, atol=1e-12)
    np.testing.assert_allclose(curve.signal_efficiency, tpr, atol=1e-12)
    assert metrics.auc(truth, score, weight).value == pytest.approx(sk.roc_auc_score(truth, score, sample_weight=weight))


def test_class_metrics_agree_with_scikit_learn_with_weights():
    rng = np.random.default_rng(6)
    p = rng.dirichlet([1, 1, 1, 1], size=800)
    truth, weight = np.array([rng.choice(4, p=row) for row in p]), rng.exponential(size=800)
    assert metrics.accuracy(truth, p, weight).value == pytest.approx(
        sk.accuracy_score(truth, p.argmax(1), sample_weight=weight)
    )
    assert metrics.cross_entropy(truth, p, weight).value == pytest.approx(sk.log_loss(truth, p, sample_weight=weight))
    expected = sk.roc_auc_score(truth, p, multi_class="ovr", average="macro", sample_weight=weight)
    assert metrics.macro_auc(truth, p, weight) == pytest.approx(expected)
    expected = sk.confusion_matrix(truth, p.argmax(1), sample_weight=weight, normalize="true")
    np.testing.assert_allclose(metrics.confusion(truth, p, weight), expected)


def test_a_calibrated_toy_is_found_calibrated_within_its_errors():
    rng = np.random.default_rng(7)
    p = rng.uniform(size=50_000)
    curve = calibration(rng.uniform(size=len(p)) < p, p)
    assert curve.error < 2 * curve.floor
    inside = [(c.low <= c.predicted) & (c.predicted <= c.high) for c in calibrated_curves(rng, 100)]
    assert np.mean(inside) == pytest.approx(0.683, abs=0.06)


def calibrated_curves(rng, toys):
    for _ in range(toys):
        p = rng.uniform(size=3000)
        yield calibration(rng.uniform(size=len(p)) < p, p)


def test_the_floor_of_the_calibration_error_is_what_chance_gives():
    rng = np.random.default_rng(8)
    curves = list(calibrated_curves(rng, 200))
    assert np.mean([c.error for c in curves]) == pytest.approx(np.mean([c.floor for c in curves]), rel=0.05)


def test_an_overconfident_classifier_shows_its_known_calibration_error():
    rng = np.random.default_rng(9)
    p = np.where(rng.uniform(size=100_000) < 0.5, 0.05, 0.95)
    truth = rng.uniform(size=len(p)) < np.where(p > 0.5, 0.8, 0.2)
    assert calibration(truth, p).error == pytest.approx(0.15, abs=0.01)


def test_regression_figures_of_a_gaussian_smearing_are_the_known_ones():
    rng = np.random.default_rng(10)
    truth = rng.normal(0, 3, size=50_000)
    r = metrics.regression(truth, truth + rng.normal(0.5, 2.0, size=len(truth)))
    assert r.bias.value == pytest.approx(0.5, abs=4 * r.bias.error)
    assert r.resolution.value == pytest.approx(2.0, abs=4 * r.resolution.error)
    assert r.mse.value == pytest.approx(4.25, abs=4 * r.mse.error)
    assert r.correlation == pytest.approx(3 / np.sqrt(13), abs=0.01)


def test_the_error_of_the_resolution_covers_in_68_percent_of_toys():
    rng = np.random.default_rng(11)
    toys = [metrics.regression(np.zeros(400), rng.normal(size=400)).resolution for _ in range(600)]
    assert coverage([(t.value - 1) / t.error for t in toys]) == pytest.approx(0.683, abs=0.06)


def test_the_paired_comparison_agrees_with_scipy():
    a, b = [0.91, 0.93, 0.90, 0.94], [0.90, 0.91, 0.905, 0.90]
    result = paired(a, b)
    assert result.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert result.error == pytest.approx(stats.sem(np.subtract(a, b)))
    assert (result.wins, result.n) == (3, 4)
    assert result.p_sign == pytest.approx(2 * (1 + 4) / 16)


def test_steps_to_reach_is_none_where_the_loss_never_gets_there():
    assert steps_to_reach([0, 10, 20], [0.7, 0.6, 0.65], 0.6) == 10
    assert steps_to_reach([0, 10, 20], [0.7, 0.6, 0.65], 0.5) is None


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: metrics.auc([1, 1], [0.1, 0.2]), "no background among 2"),
        (lambda: metrics.auc([0, 2], [0.1, 0.2]), "must be 0"),
        (lambda: metrics.auc([0, 1], [0.1, np.nan]), "1 of 2 values are not finite"),
        (lambda: metrics.auc([0, 1], [0.1, 0.2], [1, -1]), "negative"),
        (lambda: metrics.accuracy([0, -1], [[0.5, 0.5]] * 2), "drop unknown"),
        (lambda: metrics.rejection(metrics.roc([0, 1], [0, 1]), [1.0]), "working point"),
        (lambda: calibration([0, 1], [0.5, 1.5]), r"0.5 to 1.5"),
        (lambda: paired([1.0], [1.0, 2.0]), "equally long"),
    ],
)
def test_impossible_input_is_refused_with_its_reason(call, told):
    with pytest.raises(BadInput, match=told):
        call()


def table(n=40, **changes):
    rng = np.random.default_rng(0)
    signal = rng.uniform(size=n).astype(np.float32)
    content = {
        "target": "label",
        "classes": ("qcd", "top"),
        "event_id": np.arange(n, dtype=np.uint64) + np.uint64(2**63),
        "truth": np.arange(n) % 2,
        "scores_NC": np.stack([1 - signal, signal], axis=1),
        "fold": np.full(n, 2, np.int8),
        "weight": np.ones(n, np.float32),
        "embedding_NE": rng.normal(size=(n, 3)).astype(np.float32),
        "weights_sha256": "ab",
        "run": "runs/a",
    }
    return ScoreTable(**content | changes)


def test_a_score_table_comes_back_as_it_was_written(tmp_path):
    written = table()
    written.write(tmp_path / "scores.parquet")
    got = ScoreTable.read(tmp_path / "scores.parquet")
    for name in ("event_id", "truth", "scores_NC", "fold", "weight", "embedding_NE"):
        np.testing.assert_array_equal(getattr(got, name), getattr(written, name))
    assert (got.target, got.classes, got.weights_sha256, got.run) == ("label", ("qcd", "top"), "ab", "runs/a")


def test_a_regression_table_comes_back_with_its_unit_and_unknown_truth(tmp_path):
    truth = np.array([1.0, np.nan, 3.0])
    written = table(
        3, target="mass", classes=(), truth=truth, scores_NC=np.ones((3, 1), np.float32), unit="GeV", embedding_NE=None
    )
    written.write(tmp_path / "scores.parquet")
    got = ScoreTable.read(tmp_path / "scores.parquet")
    assert got.unit == "GeV"
    assert len(got.known()) == 2
    assert summarise(got)["bias"] == pytest.approx(-1.0)


def test_the_columns_on_disk_are_those_of_the_written_contract(tmp_path):
    table().write(tmp_path / "scores.parquet")
    schema = pq.read_schema(tmp_path / "scores.parquet")
    types = {f.name: str(f.type) for f in schema}
    assert types == {
        "event_id": "uint64",
        "fold": "int8",
        "weight": "float",
        "label": "int64",
        "score_qcd": "float",
        "score_top": "float",
        "embedding": "list<element: float>",
    }
    assert b"cloudchamber" in schema.metadata


def altered(path, change):
    table().write(path)
    content = pq.read_table(path)
    pq.write_table(change(content), path)


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda t: t.drop_columns("score_top"), MissingColumn, "'score_top'. Nearest: 'score_qcd'"),
        (lambda t: t.drop_columns("label"), MissingColumn, "'label'"),
        (lambda t: t.replace_schema_metadata(None), UnknownFormat, "no score table"),
        (lambda t: t.set_column(5, "score_top", pa.array([0.1] * 40, pa.float32())), BadFile, "sums to"),
        (
            lambda t: t.set_column(5, "score_top", pa.array([np.nan] * 40, pa.float32())),
            BadFile,
            "not finite, the first in row 0",
        ),
        (lambda t: t.set_column(3, "label", pa.array([7] * 40)), BadFile, "class indices -1"),
        (lambda t: t.set_column(3, "label", pa.array(["top"] * 40)), BadFile, "expected numbers"),
        (lambda t: t.set_column(0, "event_id", pa.array([0.5] * 40)), BadFile, "whole numbers"),
        (lambda t: t.set_column(1, "fold", pa.array([None] * 40, pa.int8())), BadFile, "40 empty"),
    ],
)
def test_a_wrong_score_table_is_refused_with_its_place(tmp_path, change, error, told):
    path = tmp_path / "scores.parquet"
    altered(path, change)
    with pytest.raises(error, match=told) as caught:
        ScoreTable.read(path)
    assert str(path) in str(caught.value)


def test_a_truncated_score_table_is_refused(tmp_path):
    path = tmp_path / "scores.parquet"
    table().write(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UnknownFormat, match="not a Parquet file"):
        ScoreTable.read(path)


def test_the_summary_leaves_out_what_so_few_events_do_not_define():
    one_class = table(4, truth=np.zeros(4, np.int64), embedding_NE=None)
    assert "auc" not in summarise(one_class)
    assert summarise(table())["auc"] == pytest.approx(sk.roc_auc_score(table().truth, table().scores_NC[:, 1]))
    with pytest.raises(BadInput, match="no event"):
        summarise(table(4, truth=np.full(4, -1), embedding_NE=None))
