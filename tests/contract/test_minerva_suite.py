"""The suite of MINERvA's study: cuts and energies of hand-made events, baselines, one study of toy interactions, the verb."""

from __future__ import annotations

import json
import time
import types
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score
from tests.minerva_file import event, vectors_of_vectors, write  # noqa: F401 (a fixture)
from tests.neutrino_toy import interactions
from tests.toy import toy_cloud
from typer.testing import CliRunner

from cloudchamber import data, registry
from cloudchamber.cli import main as shell
from cloudchamber.data.readers import minerva_cuts
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadRun
from cloudchamber.events import Cloud
from cloudchamber.publish.report import write_report
from cloudchamber.simulate.neutrino import masteranadev
from cloudchamber.stats import compare, minerva
from cloudchamber.stats.figures import Target
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites import base, minerva_exam
from cloudchamber.suites import minerva as suite
from cloudchamber.suites import minerva_ablation as ablation
from cloudchamber.suites import minerva_baselines as baselines
from cloudchamber.suites.minerva_exam import PAIRED

MUON = {"muon_corrected_p": [300.0, -400.0, 5000.0, 5026.0], "improved_nmichel": 1}
SIZES = {
    "pool": 250,
    "validation": 40,
    "test": 200,
    "steps": 3,
    "batch": 16,
    "max_particles": 16,
    "labels": (80,),
    "seeds": (0, 1),
}
OPTIONS = suite.Options(**SIZES)


def prongs(*codes: int) -> dict:
    n = len(codes)
    vectors = {"prong_part_E": [[10.0, 20.0, 300.0, 1000.0]] * n, "prong_part_pos": [[0.0, 0.0, 6100.0, 5000.0]] * n}
    return {"prong_part_pid": list(codes), "prong_dEdXMean": [5.0] * n, **vectors}


def photons(energy: float) -> dict:
    """Two of them, back to back: their mass is the sum of their energies."""
    found: dict = {}
    for i, sign in ((1, 1.0), (2, -1.0)):
        momentum = {"px": 0.0, "py": 0.0, "pz": sign * energy}
        found |= {f"gamma{i}_{n}": v for n, v in {**momentum, "E": energy, "time": 5000.0, "dEdx": 2.0}.items()}
    return found


@pytest.fixture(scope="module")
def cloud():
    """The events of a study, from toy interactions in the simulated tracker."""
    branches = masteranadev.simulate(interactions(900, seed=3), np.random.default_rng(3))
    columns = {f"{masteranadev.TREE}/{name}": b for name, b in branches.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "simulate_neutrinos", lambda _, n, **__: data.from_columns(columns, OPTIONS.tokens)[:n])
        return suite.events(OPTIONS)


@pytest.fixture(scope="module")
def sample(cloud):
    return baselines.Sample(cloud, TrainingSet.from_cloud(cloud, 16))


@pytest.mark.usefixtures("vectors_of_vectors")
@pytest.mark.parametrize("reader", ["minerva_clusters", "minerva_blobs", "minerva_published"])
def test_cuts_are_those_of_the_study_whatever_the_tokens(tmp_path, reader):
    rows = [
        event(**MUON, **prongs(3, 8)),
        event(**MUON, **prongs(3, 8, 8)),
        event(**MUON, **prongs(3, 13)),
        event(**MUON | {"improved_nmichel": 2}, **prongs(3, 8)),
        event(**prongs(3, 8), improved_nmichel=1),  # no muon
        event(**MUON | {"improved_nmichel": 0}, **prongs(3), **photons(67.0)),
        event(**MUON | {"improved_nmichel": 0}, **prongs(3, 8), **photons(67.0)),
        event(**MUON | {"improved_nmichel": 0}, **prongs(3), **photons(136.0)),  # 272 MeV is more than two pi0
    ]
    found = minerva_cuts.cuts(data.read(write(tmp_path / "x.root", rows), card=reader))
    passed = {kind: {task: np.flatnonzero(m).tolist() for task, m in tasks.items()} for kind, tasks in found.items()}
    assert passed["evaluated"] == {"cc1pi": [0], "ccnpi": [0, 1, 3], "cc1pi0": [5]}
    assert passed["michel"] == {"cc1pi": [0, 1, 2], "ccnpi": [0, 1, 2, 3], "cc1pi0": [5, 6]}


@pytest.mark.usefixtures("vectors_of_vectors")
def test_calorimetric_energies_and_the_muon_come_from_their_branches(tmp_path):
    rows = [event(blob_recoil_E=500.0, blob_recoil_E_tracker=300.0, blob_recoil_E_ecal=-20.0, **MUON), event()]
    cloud = data.read(write(tmp_path / "x.root", rows))
    assert minerva_cuts.calorimetric(cloud)["study"] == pytest.approx([0.585, 0.0])
    assert minerva_cuts.calorimetric(cloud)["mat"] == pytest.approx([0.351, 0.0])
    np.testing.assert_allclose(minerva_cuts.muon_momentum(cloud), [np.sqrt(0.3**2 + 0.4**2 + 5**2), np.nan], rtol=1e-6)


def test_labels_to_learn_follow_from_the_truth(cloud):
    pion = cloud.labels["pion_class"]
    assert np.array_equal(cloud.labels["ccnpi"], (pion == 0) | (pion == 1))
    assert np.array_equal(cloud.labels["cc1pi0"], pion == 2)


def test_every_seed_draws_its_labels_from_the_pool_in_proportion(cloud, sample):
    pion = cloud.labels["pion_class"]
    draws = [suite.draw_labels(sample, OPTIONS, 80, seed) for seed in (0, 1)]
    for draw in draws:
        assert draw.train.min() >= 240
        assert len(np.unique(draw.train)) == len(draw.train)
        shares = np.bincount(pion[draw.train], minlength=5)
        assert np.abs(shares - 80 * np.bincount(pion[240:], minlength=5) / 250).max() <= 2
        assert not set(draw.train) & set(draw.val) | set(draw.val) & set(draw.test)
    shared = np.array(sorted(set(draws[0].train) & set(draws[1].train)), dtype=int)
    assert (np.bincount(pion[240:], minlength=5)[pion[shared]] < 4).all()  # twice two: of a rarer class there are no others


@pytest.mark.usefixtures("vectors_of_vectors")
def test_models_without_particles_see_what_the_cuts_do(tmp_path):
    rows = [event(**MUON, **prongs(3, 8, 8), **photons(67.0)), event(**MUON, **prongs(3, 8, 13))]
    first, second = baselines._summary(data.read(write(tmp_path / "x.root", rows)))
    assert any(np.isclose(a, 0.134) and b == 0 for a, b in zip(first, second, strict=True))  # mass of the photons
    for numbers in ((2, 1), (0, 1), (2, 0)):  # proton prongs, shower prongs, photons
        assert any((a, b) == pytest.approx(numbers) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("model", [baselines.boosted_trees, baselines.mlp])
def test_models_without_particles_learn(sample, model):
    draw = baselines.Draw(np.arange(200, 490), np.arange(0), np.arange(200), 0)
    tables = model(sample, draw)
    tag, energy = tables["ccnpi"], tables[baselines.ENERGY]
    assert average_precision_score(tag.truth, tag.scores_NC[:, 1]) > tag.truth.mean() + 0.1
    assert np.corrcoef(energy.truth, energy.scores_NC[:, 0])[0, 1] > 0.6
    np.testing.assert_allclose(tag.scores_NC[:, 1], tables["pion_class"].scores_NC[:, :2].sum(axis=1), rtol=1e-5)
    assert np.array_equal(tag.event_id, tables["pion_class"].event_id)


def test_a_study_compares_both_arms_and_every_baseline_at_the_same_steps(cloud, monkeypatch):
    monkeypatch.setattr(suite, "events", lambda _: cloud)
    for module in (minerva, compare):
        monkeypatch.setattr(module, "RESAMPLINGS", 5)
    lines, began = [], time.perf_counter()
    found = suite.SUITE.run(OPTIONS, lines.append)
    elapsed = time.perf_counter() - began
    assert len(lines) == 2
    for model in ("full", "scratch", "full_own", "trees", "mlp"):
        estimates = found.figures[f"auprc_cc1pi_{model}_80"]
        assert len(estimates) == 2
        assert all(0 < e.value < 1 and e.error > 0 for e in estimates)
    signal = np.isin(cloud.labels["pion_class"][:200], (0,))
    cuts = minerva_cuts.cuts(cloud[:200])["evaluated"]["cc1pi"]
    assert found.figures["fpr_cuts_evaluated_cc1pi"][0].value == cuts[~signal].mean()
    assert found.figures["tpr_cuts_evaluated_cc1pi"][0].value == cuts[signal].mean()
    assert sum(found.figures[f"signal_cc1pi_pion_energy_{i}"][0].value for i in range(5)) == signal.sum()
    full, scratch = ([e.value for e in found.figures[f"auprc_cc1pi_{arm}_80"]] for arm in suite.ARMS)
    gain = found.figures["gain_auprc_cc1pi_80"][0]
    assert gain.value == pytest.approx(np.mean(np.subtract(full, scratch)))
    seconds = [e.value for arm in suite.ARMS for e in found.figures[f"seconds_{arm}_80"]]
    assert len(seconds) == 4
    assert 0 < min(seconds) <= sum(seconds) < elapsed
    # Of so few events some bins define nothing; what has no figure is counted, not passed over.
    assert found.targets[-1].figure == "targets_without_a_figure"
    assert found.figures["targets_without_a_figure"][0].value == len(suite._targets(OPTIONS)) - len(found.targets) + 1
    assert not found.holds(found.targets[-1])
    assert "arXiv:2604.12364" in found.citation


def test_an_ablation_has_a_row_for_every_change_and_compares_each_with_scratch_on_the_same_events(cloud, monkeypatch):
    monkeypatch.setattr(suite, "events", lambda _: cloud)
    for module in (minerva, compare):
        monkeypatch.setattr(module, "RESAMPLINGS", 5)
    jets = toy_cloud(120, seed=4)
    bare = Cloud(jets.particles, {}, jets.schema.model_copy(update={"labels": (), "columns": ()}))
    samples = {"jets": jets, "two_classes": jets, "ep": bare, "ee": bare, "neutrinos": cloud[:120]}
    monkeypatch.setattr(ablation, "_samples", lambda _: samples)
    kept = ("jets_ep_ee", "neutrinos_masked", "jets_and_neutrinos")
    monkeypatch.setattr(ablation, "_MIXTURES", {name: ablation._MIXTURES[name] for name in kept})
    monkeypatch.setattr(ablation, "_ELSEWHERE", {"no_cascade": ablation._ELSEWHERE["no_cascade"]})
    lines = []
    options = ablation.Options(**SIZES, pretraining_steps=2, pretraining_batch=16)
    found = ablation.SUITE.run(options, lines.append)
    assert len(lines) == 4 + 1 + 2 + 3
    for row in (
        "lora",
        "full_new_heads",
        "probe",
        "scratch",
        "full_no_cascade",
        "mixture_jets_ep_ee",
        "mixture_neutrinos_masked",
    ):
        assert len(found.figures[f"auprc_cc1pi_{row}"]) == 2
    lora, scratch = ([e.value for e in found.figures[f"auprc_cc1pi_{row}"]] for row in ("lora", "scratch"))
    assert found.figures["gain_auprc_cc1pi_lora"][0].value == pytest.approx(np.mean(np.subtract(lora, scratch)))
    assert {f"accuracy_of_{one}_jets_and_neutrinos" for one in ("jets", "neutrinos")} <= set(found.figures)
    assert "accuracy_of_neutrinos_neutrinos_masked" not in found.figures  # it has no head for classes
    ours, theirs = ([e.value for e in found.figures[f"auprc_cc1pi_{arm}_no_cascade"]] for arm in ("full", "scratch"))
    p = stats.ttest_rel(ours, theirs).pvalue if np.mean(ours) > np.mean(theirs) else 1.0
    assert found.figures["p_auprc_cc1pi_full_no_cascade"][0].value == pytest.approx(p)
    *asked, counted = found.targets
    assert all(t.figure.startswith("p_") and t.figure.endswith(("no_cascade", "other_detector")) for t in asked)
    assert counted.figure == "targets_without_a_figure"


def test_arms_differ_in_their_start_alone():
    full, scratch = (suite.recipe(OPTIONS, arm, 1).model_dump() for arm in suite.ARMS)
    assert {n for n in full if full[n] != scratch[n]} == {"name", "weights", "adapt", "tasks"}
    assert [{**t, "kept": False} for t in full["tasks"]] == list(scratch["tasks"])
    assert {t["target"] for t in full["tasks"] if t["kept"]} == {"pion_class", "available_energy", "w"}
    assert full["optimisation"]["steps"] == 3
    new = suite.recipe(OPTIONS.model_copy(update={"heads": "new"}), "full", 1)
    assert not any(t.kept for t in new.tasks)


def test_the_spread_of_the_energy_is_calibrated_on_the_validation_events(cloud, sample):
    found, own = _trained_scores(cloud, sample)
    energy, true = found["available_energy"], np.asarray(cloud.labels["available_energy"])[200:240]
    again, _ = _trained_scores(cloud, sample, test=np.arange(200, 240))  # the validation events themselves
    same = again["available_energy"]
    judged = minerva_exam._judged(cloud[200:240])
    pulls = (np.log1p(same.scores_NC[:, 0]) - np.log1p(true)) * (1 + same.scores_NC[:, 0]) / same.spread_NC[:, 0]
    assert minerva.pull_width(pulls[judged]) == pytest.approx(1, rel=1e-3)
    few, _ = _trained_scores(cloud, sample, test=np.arange(5))
    np.testing.assert_allclose(few["available_energy"].spread_NC, energy.spread_NC[:5], rtol=1e-3)  # whatever is tested
    assert len(energy.spread_NC) == 200
    assert set(own) == {"pion_class", *minerva.SIGNAL}
    np.testing.assert_allclose(found["ccnpi"].scores_NC[:, 1], found["pion_class"].scores_NC[:, :2].sum(axis=1), rtol=1e-5)


def _trained_scores(cloud, sample, test=None):
    draw = suite.draw_labels(sample, OPTIONS, 80, 0)
    fitted, _ = suite.train(sample, draw, OPTIONS, "full")
    exam = minerva_exam.prepare(cloud, OPTIONS.test, OPTIONS.validation)
    return suite.scores(fitted, sample, exam, draw if test is None else replace(draw, test=test), OPTIONS)


def test_the_share_of_steps_is_that_of_scratchs_best_loss():
    scratch, full = {10: 3.0, 20: 2.0, 30: 2.5}, {10: 2.0, 20: 1.9, 30: 1.8}
    speed = suite._speed([{"full": full, "scratch": scratch}, {"full": scratch, "scratch": full}])
    assert speed["steps_share"] == [0.5, 1.0]  # the second never reaches it in its 30 steps
    assert speed["reached"] == [1.0, 0.0]
    assert speed["loss_full"] == [1.8, 2.0]


def test_the_arms_are_compared_seed_by_seed_and_a_worse_one_never_passes():
    full, scratch = [0.62, 0.65, 0.61, 0.66, 0.64], [0.60, 0.61, 0.60, 0.62, 0.63]
    values = {"full": full, "scratch": scratch}
    compared = minerva_exam.compared(*({n: [Estimate(v, 0.01) for v in values[arm]] for n in PAIRED} for arm in suite.ARMS))
    assert compared["p_auprc_cc1pi"].value == pytest.approx(stats.ttest_rel(full, scratch).pvalue)
    assert compared["gain_auprc_cc1pi"].value == pytest.approx(np.mean(np.subtract(full, scratch)))
    assert compared["p_iqr_over_mpv"].value == 1.0  # a wider energy is worse
    assert compared["gain_iqr_over_mpv"].value < 0


def test_a_comparison_without_a_figure_is_no_proof():
    values = {n: [Estimate(v, 0.01) for v in (0.6, float("nan"), 0.7)] for n in PAIRED}
    none = minerva_exam.compared(values, {n: [Estimate(0.5, 0.01)] * 3 for n in PAIRED})
    assert all(np.isnan(e.value) for e in none.values())


def test_the_mean_over_seeds_has_their_scatter_and_the_error_of_the_test_events():
    values = [1.0, 2.0, 4.0]
    found = base.mean([Estimate(v, 0.1) for v in values])
    assert (found.value, found.error) == pytest.approx((7 / 3, np.hypot(np.std(values, ddof=1) / 3**0.5, 0.1)))


def test_settings_come_from_texts_and_a_wrong_one_is_told():
    asked = base.settings(suite.SUITE, ["steps=7", "labels=[5, 6]", "optimisation={learning_rate: 0.1}"], {"tuples": ("a",)})
    assert (asked.steps, asked.labels, asked.optimisation, asked.tuples) == (7, (5, 6), {"learning_rate": 0.1}, ("a",))
    assert base.settings(suite.SUITE, [], {}, tiny=True).steps < 10
    for text, told in (
        ("step=7", "Nearest: 'steps'"),
        ("steps", "NAME=VALUE"),
        ("steps=many", "steps"),
        ("steps=[", "not YAML"),
    ):
        with pytest.raises(BadInput, match=told):
            base.settings(suite.SUITE, [text], {})


def test_real_files_are_read_shuffled_and_labelled(tmp_path):
    final = [([13, 211], [3000.0, 500.0]), ([13, 111], [3000.0, 200.0]), ([13, 211, -211], [3000.0, 300.0, 400.0])]
    rows = [event(mc_FSPartPDG=final[i % 3][0], mc_FSPartE=final[i % 3][1], muon_fuzz_energy=float(i)) for i in range(12)]
    paths = [write(tmp_path / f"{i}.root", rows[6 * i : 6 * i + 6]) for i in (0, 1)]
    sizes = {"pool": 6, "validation": 2, "test": 3, "labels": (6,), "tuples": tuple(map(str, paths))}
    cloud = suite.events(suite.Options(**sizes))
    order = np.round(cloud.events["muon_fuzz_energy"] * 1e3).astype(int)
    assert sorted(order) == list(range(11))  # as many as asked for, across files
    assert list(order) != list(range(11))
    assert cloud.labels["cc1pi0"].tolist() == (order % 3 == 1).astype(int).tolist()
    np.testing.assert_allclose(cloud.labels[baselines.ENERGY], np.array([0.5, 0.2, 0.7])[order % 3], rtol=1e-6)


def test_files_with_too_few_events_or_without_truth_are_refused(tmp_path):
    path = write(tmp_path / "x.root", [event(), event()], simulated=False)
    with pytest.raises(BadInput, match=r"needs 490 simulated events with their truth, 'minerva_blobs' has 2"):
        suite.events(OPTIONS.model_copy(update={"tuples": (str(path),)}))
    with pytest.raises(BadInput, match="251 labels cannot be drawn from a pool of 250 events"):
        suite.events(OPTIONS.model_copy(update={"labels": (10, 251)}))


def test_the_verb_runs_a_suite_by_name_and_keeps_figures_and_verdicts(tmp_path, monkeypatch):
    figures = {"speed": (Estimate(2.0, 0.1), Estimate(4.0, 0.1)), "width": (Estimate(0.5, 0.0),)}
    targets = (Target("speed", ">=", 2.5), Target("width", "<=", 0.4))
    owed = ("arXiv:2604.12364",)
    toy = base.Suite(
        "toy", "a toy", suite.Options, lambda options, _: base.Findings(figures, targets, {"n": options.steps}, owed)
    )
    monkeypatch.setattr(registry, "get", lambda kind, name: {("suites", "toy"): toy}[kind, name])
    done = CliRunner().invoke(shell.app, ["benchmark", "toy", "-o", str(tmp_path / "run"), "--set", "steps=9"])
    assert done.exit_code == 0, done.output
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["figures"]["speed"]["value"] == 3.0
    assert [t["holds"] for t in summary["targets"]] == [True, False]
    assert summary["data"] == {"n": 9}
    assert "2604.12364" in CliRunner().invoke(shell.app, ["cite", str(tmp_path / "run")]).output
    with pytest.raises(BadRun, match="is a study, of which no page is made"):
        write_report([tmp_path / "run"], tmp_path / "page.html")


def test_the_registry_knows_the_suite():
    assert registry.get("suites", "minerva") is suite.SUITE
    assert isinstance(suite.SUITE.run, types.FunctionType)
    with pytest.raises(BadInput, match=r"no suite is called 'minerve'\. Nearest: 'minerva'"):
        registry.get("suites", "minerve")
