"""Figures of merit of MINERvA's study, against formulas and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from cloudchamber.errors import BadInput
from cloudchamber.stats import minerva


@pytest.fixture
def sample():
    rng = np.random.default_rng(4)
    truth = rng.random(4000) < 0.2
    score = np.round(rng.normal(truth * 1.0, 1.0), 1)  # with many ties
    return truth, score, rng.uniform(1.0, 4.0, 4000), rng.random(4000) < np.where(truth, 0.3, 0.05)


def test_average_precision_is_that_of_scikit_learn_ties_included(sample):
    truth, score, _, _ = sample
    assert minerva.average_precision(truth, score).value == pytest.approx(average_precision_score(truth, score), abs=1e-12)
    with pytest.raises(BadInput, match="signal and background"):
        minerva.average_precision([1, 1], [0.1, 0.2])


def test_its_error_is_the_scatter_over_samples():
    rng = np.random.default_rng(5)
    truth = np.arange(1500) < 300
    samples = [rng.normal(truth * 1.5, 1.0) for _ in range(150)]
    values = [average_precision_score(truth, s) for s in samples]
    errors = [minerva.average_precision(truth, s).error for s in samples[:10]]
    # Of 150 samples the scatter is known to 6 %, the mean of ten errors to 2 %: 20 % is three standard deviations.
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.2)


def test_the_threshold_is_where_scikit_learns_curve_reaches_the_rate(sample):
    truth, score, _, _ = sample
    fpr, tpr, _ = roc_curve(truth, score, drop_intermediate=False)
    for asked in (0.0, 0.017, 0.028, 0.5, 1.0):
        above = score > minerva.threshold_at(truth, score, asked)
        assert above[~truth].mean() <= asked
        assert above[truth].mean() == pytest.approx(tpr[fpr <= asked].max())


def test_bins_in_w_have_their_own_background_and_the_one_threshold(sample):
    truth, score, w, cuts = sample
    w[:5] = np.nan
    found = minerva.tag_bins(truth, score, w, minerva.W_EDGES, passes_cuts=cuts)
    above = score > minerva.threshold_at(truth, score, cuts[~truth].mean())
    assert sum(b.n_signal for b in found) == truth[5:].sum()
    for b in found:
        inside = (w >= b.low) & (w < b.high)
        assert b.auroc.value == pytest.approx(roc_auc_score(truth[inside], score[inside]))
        assert b.auprc.value == pytest.approx(average_precision_score(truth[inside], score[inside]))
        assert b.tpr.value == above[inside & truth].mean()
        assert b.tpr_cuts.value == cuts[inside & truth].mean()
        p = b.tpr.value
        assert b.tpr.error == pytest.approx(np.sqrt(p * (1 - p) / b.n_signal), rel=0.03)  # the binomial error


def test_bins_of_the_pion_hold_equal_signal_against_all_background(sample):
    truth, score, w, cuts = sample
    energy = np.where(truth, w, np.nan)
    edges = minerva.equal_bins(energy, truth)
    found = minerva.tag_bins(truth, score, energy, edges, passes_cuts=cuts, background="all")
    assert len(found) == 5
    assert max(b.n_signal for b in found) - min(b.n_signal for b in found) <= 1
    assert sum(b.n_signal for b in found) == truth.sum()  # the largest is in the last
    rows = ~truth | ((energy >= edges[0]) & (energy < edges[1]))
    assert found[0].n_background == (~truth).sum()
    assert found[0].auprc.value == pytest.approx(average_precision_score(truth[rows], score[rows]))


def test_a_bin_without_signal_has_no_figures(sample):
    truth, score, w, cuts = sample
    (empty,) = minerva.tag_bins(truth, score, w, (5.0, 6.0), passes_cuts=cuts)
    assert (empty.n_signal, empty.n_background) == (0, 0)
    assert np.isnan([getattr(empty, n).value for n in ("auprc", "auroc", "tpr", "tpr_cuts")]).all()


def test_width_and_peak_of_known_ratios_come_out():
    rng = np.random.default_rng(6)
    sigma, n = 0.2, 40_000
    truth, q3 = rng.uniform(0.1, 2.0, n), rng.uniform(0.0, 3.0, n)
    ratio = np.exp(rng.normal(0.03, sigma, n))  # log-normal: its mode is exp(mu - sigma^2)
    mode = np.exp(0.03 - sigma**2)
    iqr = np.subtract(*stats.lognorm(sigma, scale=np.exp(0.03)).ppf([0.75, 0.25]))
    for b in minerva.energy_bins(truth, truth * ratio, q3, pull=np.log(ratio) / sigma):
        # A histogram's mode of this width scatters by about 0.03, the smooth one's by a third of that.
        assert b.mpv.value == pytest.approx(mode, abs=4 * b.mpv.error)
        assert b.bias.value + 1 == pytest.approx(mode, abs=4 * b.bias.error)
        assert b.iqr_over_mpv.value == pytest.approx(iqr / mode, abs=4 * b.iqr_over_mpv.error)
        assert b.pull.value == pytest.approx(1.0, abs=4 * b.pull.error)
        assert b.bias.error < b.mpv.error
        assert b.pull.error == pytest.approx(np.sqrt(0.683 * 0.317 / b.n) / (2 * stats.norm.pdf(1)), rel=0.3)


def test_the_fitted_mode_scatters_less_than_the_peak_of_a_kernel_density():
    rng, sigma, n = np.random.default_rng(8), 0.3, 200
    modes, peaks = np.array([(minerva.peak(x), minerva._kernel_peak(x)) for x in np.exp(rng.normal(0, sigma, (n, 1500)))]).T
    assert peaks.var(ddof=1) / modes.var(ddof=1) > stats.f.isf(1e-6, n - 1, n - 1)
    assert modes.mean() == pytest.approx(np.exp(-(sigma**2)), abs=4 * modes.std(ddof=1) / np.sqrt(n))


def test_a_mode_closer_to_zero_than_the_fit_reaches_comes_out():
    ratio = np.random.default_rng(9).gamma(3, 0.2, 40_000)  # its mode is 0.4, 1.5 widths are 0.48
    found = minerva.bootstrapped(minerva.peak, ratio)
    assert found.value == pytest.approx(0.4, abs=4 * found.error)


def test_the_peak_of_one_repeated_ratio_is_that_ratio():
    for ratio in (0.0025, 0.9025, 1.9975):  # middles of the grid's cells
        assert minerva.peak(np.full(50, ratio)) == pytest.approx(ratio)


def test_what_the_study_leaves_out_is_left_out():
    truth, q3 = np.full(60, 0.5), np.full(60, 0.3)
    reco = np.concatenate([np.linspace(0.4, 0.6, 40), np.full(10, 0.009), np.full(10, 11.0)])  # none, and 22 times the truth
    first, *others = minerva.energy_bins(truth, reco, q3)
    assert first.n == 40
    assert all(b.n == 0 and np.isnan(b.mpv.value) for b in others)
    assert first.iqr_over_mpv.value == pytest.approx(0.2 / minerva.highest_bin(reco[:40] / 0.5), rel=1e-6)
    with pytest.raises(BadInput, match="above 0"):
        minerva.energy_bins([0.0], [1.0], [0.1])


def test_the_energy_is_judged_on_the_studys_events():
    good = {"muon_theta": 0.3, "muon_momentum": 3.0, "recoil": 0.1, "truth": 0.05}
    cases = [({}, True), ({"muon_theta": np.radians(20.1)}, False), ({"muon_theta": np.nan}, False), ({"recoil": 0.0}, False)]
    cases += [({"muon_momentum": 1.4}, False), ({"muon_momentum": 20.1}, False), ({"truth": 0.049}, False)]
    for change, kept in cases:
        assert minerva.has_energy_figures(*({**good, **change}[n] for n in good)).tolist() is kept


def test_a_threshold_in_every_group_lets_as_much_through_as_the_cuts_however_small_the_groups():
    rng = np.random.default_rng(5)
    n, rate = 40_000, 0.02
    signal, cuts, groups = rng.random(n) < 0.5, rng.random(n) < rate, np.arange(n) // 50
    passed = minerva.passes_as_often(signal, rng.normal(size=n), cuts, groups)
    background, allowed = (np.bincount(groups[~signal], weights=w[~signal]) for w in (np.ones(n), cuts))
    # Signal is like background here: one more event is above the k-th highest of n others with probability k / (n + 1).
    expected = (allowed / (background + 1))[groups[signal]]
    error = np.sqrt(np.sum(np.bincount(groups[signal]) ** 2 * (allowed + 1) / background**2)) / signal.sum()
    assert passed[signal].mean() == pytest.approx(expected.mean(), abs=4 * error)
    assert expected.mean() == pytest.approx(rate, rel=0.1)
    assert passed[~signal].sum() == cuts[~signal].sum() - (allowed > 0).sum()  # those at the thresholds are left out
