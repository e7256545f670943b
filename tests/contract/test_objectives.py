"""Objectives in a run: labels of particles, figures of quality, score tables, new jets. Each task by itself: test_tasks."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from scipy import stats as distributions
from sklearn import metrics as sk
from tests.toy import labelled_cloud, toy_cloud

import cloudchamber as cc
from cloudchamber.data import store
from cloudchamber.data.loader import make_batch
from cloudchamber.data.training_set import Part, TrainingSet
from cloudchamber.errors import BadFile, BadInput, BadSchema, BadWeights
from cloudchamber.events import Cloud, Feature, Label
from cloudchamber.events.kinematics import axes_of
from cloudchamber.nn.backbone import Inputs
from cloudchamber.recipe import TaskSpec, make
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable
from cloudchamber.stats.objectives import distance, quantile_figures, reconstruction, retrieval, segmentation
from cloudchamber.train import fit
from cloudchamber.train.network import new_network, save
from cloudchamber.train.rows import Rows
from cloudchamber.train.scoring import quality

SEGMENT = TaskSpec(task="segment", target="origin")
GENERATE = TaskSpec(task="generate", target="label", options={"conditions": 50})
CONTRAST = TaskSpec(task="contrast", target="pair")


@pytest.fixture(scope="module")
def data():
    return TrainingSet.from_cloud(labelled_cloud(24))


def test_a_label_of_particles_is_never_an_input(data):
    cloud = labelled_cloud(24)
    assert "origin" not in data.particle_names
    flipped = 1 - cloud.flat("origin")
    columns = {n: cloud.flat(n) for n in cloud.particles.fields} | {"origin": flipped}
    other = TrainingSet.from_cloud(Cloud.from_flat(cloud.counts, columns, cloud.events, cloud.schema))
    a, b = (make_batch(d, np.arange(24)) for d in (data, other))
    assert np.array_equal(a.particles_BPF, b.particles_BPF, equal_nan=True)
    known = a.targets["origin"] >= 0
    assert known.any()
    assert np.array_equal(b.targets["origin"][known], 1 - a.targets["origin"][known])
    assert (a.targets["origin"][~a.mask_BP] == -1).all()


def test_labels_of_particles_follow_their_particles_through_store_cache_and_cut(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    cloud = labelled_cloud(60)
    written = store.write(tmp_path / "store", [cloud])
    assert written.read().schema == cloud.schema
    data = fit.open_data(make({"data": (str(tmp_path / "store"),), "tasks": (SEGMENT,), "max_particles": 5}))
    assert data.parts[0].split == "train"
    for row in range(0, len(data), 7):
        batch = make_batch(data, np.array([row]))
        number = int(np.flatnonzero(written.event_ids() == data[np.array([row])].ids[0])[0])
        event = cloud.particles[number]
        pt = np.hypot(np.asarray(event.px), np.asarray(event.py))
        expected = np.asarray(event.origin)[np.argsort(-pt, kind="stable")][:5]
        assert np.array_equal(batch.targets["origin"][0], np.nan_to_num(expected, nan=-1))


def test_a_set_of_parts_keeps_unknown_what_a_part_has_no_label_for():
    both = TrainingSet([Part.from_cloud(toy_cloud(5), 128), Part.from_cloud(labelled_cloud(5), 128)])
    batch = make_batch(both, np.arange(10))
    assert (batch.targets["origin"][:5] == -1).all()
    assert np.array_equal(np.unique(batch.targets["origin"][5:]), [-1, 0, 1])
    cloud = labelled_cloud(5)
    own = cloud.schema.model_copy(update={"particle_labels": (), "features": (*cloud.schema.features, Feature(name="origin"))})
    with pytest.raises(BadSchema, match="'origin' is a label"):
        TrainingSet([Part.from_cloud(cloud, 128), Part.from_cloud(Cloud(cloud.particles, cloud.events, own), 128)])


CARD = """
name: tracks
format: hdf5
frame: jet
layout: padded
padding: zero-pt
particles:
  pt: {column: pt, unit: GeV}
  eta: {column: eta}
  phi: {column: phi, unit: rad}
  mass: {value: 0.139, unit: GeV}
  origin: {column: truth, classes: [pileup, b, c], values: [0, 5, 4]}
"""


def test_a_card_reads_the_origin_of_tracks_as_a_label(tmp_path):
    pt = np.array([[5.0, 3.0, 0.0], [4.0, 0.0, 0.0]])
    with h5py.File(tmp_path / "tracks.h5", "w") as file:
        file["pt"], file["eta"], file["phi"] = pt, np.full((2, 3), 0.1), np.zeros((2, 3))
        file["truth"] = np.array([[4, -2, 0], [0, 0, 0]])
    (tmp_path / "tracks.yaml").write_text(CARD)
    cloud = cc.read(tmp_path / "tracks.h5", card=tmp_path / "tracks.yaml")
    assert cloud.schema.particle_labels[0].classes == ("pileup", "b", "c")
    assert cloud.schema.feature_names == ()
    assert np.array_equal(cloud.flat("origin"), [2, np.nan, 0], equal_nan=True)
    (tmp_path / "tracks.yaml").write_text(CARD.replace(", values: [0, 5, 4]", ""))
    with pytest.raises(BadFile, match=r"'origin' .*is 4.*class from 0 to 2"):
        cc.read(tmp_path / "tracks.h5", card=tmp_path / "tracks.yaml")


RECIPE = {
    "optimisation": {"steps": 30, "batch": 32, "learning_rate": 2e-3, "validations": 2, "checkpoints": 0},
    "name": "toy",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives")
    quantile = TaskSpec(task="regress", target="pt", options={"loss": "quantile", "levels": [0.16, 0.5, 0.84]})
    tasks = (quantile, TaskSpec(task="regress", target="width"), SEGMENT, GENERATE, CONTRAST)
    recipe = make(RECIPE | {"tasks": tasks})
    rows = Rows(np.arange(400), np.arange(400, 500), np.arange(500, 600))  # no pair is torn apart
    cloud = labelled_cloud(600)
    schema = cloud.schema.model_copy(update={"labels": (*cloud.schema.labels, Label(name="pt", unit="GeV"))})
    data = TrainingSet.from_cloud(cloud.with_columns(schema, pt=axes_of(cloud)["pt"]))
    fit.fit_run(recipe, folder / "run", data=data, rows=rows)
    return folder / "run"


def test_one_recipe_trains_them_all_and_tells_their_quality(run):
    figures = Run.open(run).summary["quality"]
    assert figures["segment_origin"]["auc"] > 0.7
    found = figures["contrast_pair"]
    hits = round(found["top1"] * found["events"])
    assert distributions.binomtest(hits, found["events"], found["chance"], alternative="greater").pvalue < 1e-6
    assert set(figures["generate_label"]) == {f"distance_{n}" for n in ("log_pt", "mass", "width", "leading")}


def test_quantiles_are_in_the_score_table_and_do_not_cross(run):
    table = ScoreTable.read(run / "scores.parquet")
    assert table.columns[1] == ("q0.16_pt", "q0.5_pt", "q0.84_pt")
    assert (np.diff(table.quantiles_NQ, axis=1) >= 0).all()
    assert np.array_equal(table.quantiles_NQ[:, 1], table.scores_NC[:, 0])
    test = Run.open(run).summary["test"]
    assert test["below_0.84"] == pytest.approx((table.truth < table.quantiles_NQ[:, 2]).mean())
    assert test["correlation"] > 0.8


def test_every_target_has_its_own_score_table_and_figures(run):
    table = ScoreTable.read(run / "scores-regress_width.parquet")
    assert (table.unit, ScoreTable.read(run / "scores.parquet").unit) == ("rad", "GeV")
    assert np.array_equal(table.event_id, ScoreTable.read(run / "scores.parquet").event_id)
    assert Run.open(run).summary["tests"]["regress_width"]["n"] == len(table)
    spread = table.quantiles_NQ[:, [1, 3]] - table.scores_NC  # of a Gaussian, one standard deviation to either side
    assert np.allclose(spread[:, 0], -spread[:, 1], rtol=1e-3, atol=1e-3)
    assert np.allclose((table.quantiles_NQ[:, 4] - table.scores_NC[:, 0]) / spread[:, 1], 1.95996 / 0.99446, rtol=1e-3)


def test_segmented_events_say_the_class_of_each_of_their_own_particles(run):
    cloud = labelled_cloud(20, seed=5)
    scored = cc.segment(run, cloud)
    assert np.array_equal(scored.counts, cloud.counts)
    assert np.allclose(scored.flat("score_core") + scored.flat("score_halo"), 1, atol=1e-5)
    assert np.array_equal(np.sort(scored.flat("px")), np.sort(cloud.flat("px")))
    truth = np.abs(np.arctan2(scored.flat("py"), scored.flat("px"))) > 0.12
    assert scored.flat("score_halo")[truth].mean() > scored.flat("score_halo")[~truth].mean() + 0.1


def test_generated_jets_are_those_that_were_asked_for(run, tmp_path):
    jets = cc.generate(run, 40, kind="wide", steps=2, seed=1)
    assert len(jets) == 40
    assert jets.schema.simulated
    assert (jets.labels["label"] == 1).all()
    assert set(np.unique(jets.flat("is_photon"))) <= {0, 1}
    again = cc.generate(run, 40, kind="wide", steps=2, seed=1)
    assert np.array_equal(jets.flat("px"), again.flat("px"))
    assert not np.array_equal(jets.flat("px"), cc.generate(run, 40, kind="wide", steps=2, seed=2).flat("px"))
    assert store.write(tmp_path / "store", [jets]).read().schema.labels[0].classes == ("narrow", "wide")
    with pytest.raises(BadInput, match="'narrow'"):
        cc.generate(run, 5, kind="narow")
    with pytest.raises(BadWeights, match="'generate'"):
        cc.generate("xs", 5)


def test_fine_tuning_on_a_label_of_particles_is_segmentation(data):
    tasks = {target: fit.task_for(target, data.schema).task for target in ("origin", "label", "width")}
    assert tasks == {"origin": "segment", "label": "classify", "width": "regress"}


def test_the_distance_of_two_gaussians_is_that_of_the_formula():
    rng, n = np.random.default_rng(0), 20_000
    a, b = rng.normal(0, 2, n), rng.normal(1, 3, n)
    # Quantile by quantile they are 1 + z apart, z a unit Gaussian: the mean of |1 + z|, in units of 2.
    assert distance(a, b) == pytest.approx(distributions.foldnorm(1).mean() / 2, abs=4 * (4 / n + 9 / n) ** 0.5 / 2)
    assert np.isnan(distance(np.ones(5), np.ones(5)))


def test_the_share_below_the_quantiles_of_a_gaussian_is_their_level():
    a, levels = np.random.default_rng(1).normal(0, 2, 20_000), (0.16, 0.5, 0.84)
    quantiles = np.broadcast_to(distributions.norm(0, 2).ppf(levels), (len(a), 3))
    pinball, below = quantile_figures(a, quantiles, levels, np.ones(len(a)))
    for level, b in zip(levels, below, strict=True):
        assert b.value == pytest.approx(level, abs=4 * b.error)
    expected = [sk.mean_pinball_loss(a, q, alpha=level) for q, level in zip(quantiles.T, levels, strict=True)]
    assert pinball == pytest.approx(np.mean(expected))


def test_random_vectors_are_found_as_often_as_chance_says():
    rng, trials = np.random.default_rng(2), 400
    found = [retrieval(rng.normal(size=(5, 8)), rng.normal(size=(5, 8)), np.arange(5)) for _ in range(trials)]
    assert {f["chance"] for f in found} == {0.2}
    hits = round(sum(5 * f["top1"] for f in found))
    assert distributions.binomtest(hits, 5 * trials, 0.2).pvalue > 1e-3
    ranks = [f["mean_rank"] for f in found]  # from 1 to 5 alike
    assert np.mean(ranks) == pytest.approx(3, abs=4 * np.std(ranks) / trials**0.5)
    vectors = rng.normal(size=(200, 8))
    assert retrieval(vectors, vectors / 1e9, np.arange(200) // 200)["top1"] == 1  # one group: no competitors


def test_figures_of_a_segmentation_agree_with_scikit_learn():
    rng = np.random.default_rng(3)
    p = rng.dirichlet([1, 1, 1], 500)
    truth = (rng.random((500, 1)) > p.cumsum(1)).sum(1).clip(max=2)
    found = segmentation(truth, p)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, p.argmax(1)))
    assert found["auc"] == pytest.approx(sk.roc_auc_score(truth, p, multi_class="ovr"))
    assert found["mean_iou"] == pytest.approx(sk.jaccard_score(truth, p.argmax(1), average="macro"))


def test_a_distilled_model_needs_no_teacher_afterwards_and_owes_it_a_citation(tmp_path):
    teacher = tmp_path / "teacher"
    cloud = TrainingSet.from_cloud(labelled_cloud(200))
    known = new_network("xs", cloud, [TaskSpec(task="classify", target="label")], 128, torch.Generator().manual_seed(0))
    save(known, teacher, data={}, citation=["arXiv:1503.02531"])
    tasks = (TaskSpec(task="distil", options={"teacher": str(teacher), "what": "scores"}),)
    fit.fit_run(make(RECIPE | {"tasks": tasks}), tmp_path / "run", data=cloud)
    run = Run.open(tmp_path / "run")
    assert run.summary["quality"]["distil"].keys() == {"agreement", "events"}
    assert any(p["path"].startswith(str(teacher)) for p in run.info["parents"])
    assert "arXiv:1503.02531" in run.info["citations"]
    before = {n: t.clone() for n, t in cc.load(tmp_path / "run").state_dict().items()}
    shutil.rmtree(teacher)
    assert all(torch.equal(before[n], t) for n, t in cc.load(tmp_path / "run").state_dict().items())
    with pytest.raises(BadWeights, match="teacher"):
        new_network("xs", cloud, tasks, 128, torch.Generator())


def test_a_student_comes_in_one_step_closer_to_where_its_teacher_comes_in_many(tmp_path):
    data = TrainingSet.from_cloud(labelled_cloud(600))
    rows = Rows(np.arange(400), np.arange(400, 500), np.arange(500, 600))
    steps = RECIPE["optimisation"] | {"steps": 80}
    fit.fit_run(make(RECIPE | {"tasks": (GENERATE,), "optimisation": steps}), tmp_path / "teacher", data=data, rows=rows)
    taught = GENERATE.model_copy(update={"kept": True, "options": {"teacher": str(tmp_path / "teacher"), "steps": 1}})
    recipe = RECIPE | {
        "weights": str(tmp_path / "teacher"),
        "adapt": "full",
        "tasks": (taught,),
        "optimisation": steps | {"backbone_factor": 1.0},
    }
    fit.fit_run(make(recipe), tmp_path / "student", data=data, rows=rows)
    batch = make_batch(data, np.arange(500, 600))
    classes = torch.from_numpy(batch.targets["label"]).long()
    inputs, random, made = Inputs.of(batch), torch.Generator().manual_seed(0), {}
    noise = torch.randn((*inputs.mask_BP.shape, len(data.particle_names)), generator=random)
    for who in ("teacher", "student"):
        network = cc.load(tmp_path / who)
        network.bind(data)
        (task,) = network.tasks
        made[who] = {n: task.flow(noise[..., : len(task.names)], inputs, classes, n)[inputs.mask_BP] for n in (1, 16)}
    goal = made["teacher"][16]
    error = {who: float((made[who][1] - goal).square().mean()) for who in made}
    assert error["student"] < 0.5 * error["teacher"]
    cited = {who: cc.generate(tmp_path / who, 2, steps=1).schema.citation for who in made}
    assert set(cited["student"]) - set(cited["teacher"]) == {"arXiv:2209.03003"}
    with pytest.raises(BadWeights, match="one task 'generate', the weights have 0"):
        new_network("xs", data, [GENERATE.model_copy(update={"options": {"teacher": "xs"}})], 128, torch.Generator())


def test_a_schema_without_labels_of_particles_is_written_as_before_there_were_any():
    assert "particle_labels" not in toy_cloud(1).schema.model_dump_json()
    schema = labelled_cloud(1).schema
    assert type(schema).model_validate_json(schema.model_dump_json()) == schema


def test_figures_of_hidden_particles_agree_with_scikit_learn_and_leave_out_what_is_missing():
    rng = np.random.default_rng(4)
    truth, guess = rng.normal(size=(500, 2)), rng.normal(size=(500, 2))
    truth[:, 1] = np.where(truth[:, 1] > 0.5, 1.4, -0.7)  # a flag, normalised
    truth[:50] = np.nan
    found = reconstruction(truth, guess, [False, True])
    assert found["values_over_mean"] == pytest.approx(1 - sk.r2_score(truth[50:, 0], guess[50:, 0]))
    is_set = truth[50:, 1] > 0
    log_loss = sk.log_loss(is_set, 1 / (1 + np.exp(-guess[50:, 1])))
    assert found["flags_over_mean"] == pytest.approx(log_loss / distributions.entropy([is_set.mean(), 1 - is_set.mean()]))


def test_hidden_particles_are_told_better_than_by_their_mean():
    data = TrainingSet.from_cloud(labelled_cloud(300))
    mask = TaskSpec(task="mask", options={"events": 1.0})
    recipe = make({"tasks": (mask,), "optimisation": {**RECIPE["optimisation"], "steps": 120, "ema": 0.9}})
    rows = Rows(np.arange(200), np.arange(200, 250), np.arange(250, 300))
    untrained = new_network("xs", data, (mask,), 128, torch.Generator().manual_seed(0))
    before, after = (quality(n, data, rows.test, 50)["mask"] for n in (untrained, fit.fit(recipe, data, rows).network))
    assert 0 < after["values_over_mean"] < min(1, before["values_over_mean"])
    assert after["flags_over_mean"] < before["flags_over_mean"]
