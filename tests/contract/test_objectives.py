"""Objectives beyond one answer per event: labels of particles, quantiles, new jets, pairs of views."""

import dataclasses
import shutil

import awkward as ak
import h5py
import numpy as np
import pytest
import torch
from tests.toy import labelled_cloud, toy_cloud

import cloudchamber as cc
from cloudchamber.data import store
from cloudchamber.data.loader import make_batch
from cloudchamber.data.training_set import Part, TrainingSet
from cloudchamber.errors import BadFile, BadInput, BadRecipe, BadSchema, BadWeights
from cloudchamber.events import Cloud, Feature, Label
from cloudchamber.nn.backbone import Inputs
from cloudchamber.recipe import TaskSpec, make
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable
from cloudchamber.stats.objectives import distance, quantile_figures, retrieval, segmentation
from cloudchamber.tasks.align import n_grams
from cloudchamber.tasks.contrast import Options, augmented
from cloudchamber.train import fit
from cloudchamber.train.network import new_network, save
from cloudchamber.train.rows import Rows, partners

SEGMENT = TaskSpec(task="segment", target="origin")
GENERATE = TaskSpec(task="generate", target="label", options={"conditions": 50})
CONTRAST = TaskSpec(task="contrast", target="pair")


def network_for(data, *tasks):
    network = new_network("xs", data, tasks, 128, torch.Generator().manual_seed(0))
    with torch.no_grad():  # heads start at zero; a test that compares zeros shows nothing
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@pytest.fixture(scope="module")
def data():
    return TrainingSet.from_cloud(labelled_cloud(24))


def changed(inputs, batch, order, extra):
    """The same events with other places of the particles and more padding, filled with nonsense."""
    grow = torch.nn.functional.pad
    particles = grow(inputs.particles_BPF[:, order], (0, 0, 0, extra))
    particles[:, len(order) :] = torch.randn(len(batch), extra, particles.shape[-1])
    targets = dict(batch.targets)
    targets["origin"] = grow(torch.from_numpy(targets["origin"])[:, order], (0, extra), value=-1).numpy()
    moved = dataclasses.replace(inputs, particles_BPF=particles, mask_BP=grow(inputs.mask_BP[:, order], (0, extra)))
    return moved, dataclasses.replace(batch, targets=targets)


@torch.inference_mode()
def test_a_particle_has_its_class_wherever_it_stands_and_whatever_the_padding(data):
    network, batch = network_for(data, SEGMENT), make_batch(data, np.arange(24))
    task, inputs = network.tasks[0], Inputs.of(batch)
    order = torch.randperm(inputs.mask_BP.shape[1], generator=torch.Generator().manual_seed(2))
    moved, moved_batch = changed(inputs, batch, order, 5)
    scores, again = (task.predict_particles(network(i)) for i in (inputs, moved))
    real = moved.mask_BP[:, : len(order)]
    assert torch.allclose(scores[:, order][real], again[:, : len(order)][real], atol=1e-5)
    losses = task.loss(network(inputs), inputs, batch), task.loss(network(moved), moved, moved_batch)
    assert torch.allclose(*losses, atol=1e-5)


@torch.inference_mode()
def test_the_flow_moves_a_particle_the_same_wherever_it_stands_and_whatever_the_padding(data):
    network, batch = network_for(data, GENERATE), make_batch(data, np.arange(24))
    task, inputs = network.tasks[0], Inputs.of(batch)
    order = torch.randperm(inputs.mask_BP.shape[1], generator=torch.Generator().manual_seed(2))
    moved, _ = changed(inputs, batch, order, 5)
    now = torch.randn(24, len(order), len(task.names))
    wide = torch.cat([now[:, order], torch.randn(24, 5, len(task.names))], dim=1)
    time, kind = torch.rand(24), torch.from_numpy(batch.targets["label"])
    real = moved.mask_BP[:, : len(order)]
    velocity = task._velocity(now, inputs.mask_BP[..., None].expand_as(now), time, inputs, kind)
    again = task._velocity(wide, moved.mask_BP[..., None].expand_as(wide), time, moved, kind)
    assert torch.allclose(velocity[:, order][real], again[:, : len(order)][real], atol=1e-4)
    assert velocity[inputs.mask_BP].abs().max() > 0.01


@torch.inference_mode()
def test_the_flow_is_not_shown_the_particles_that_it_makes(data):
    network, batch = network_for(data, GENERATE), make_batch(data, np.arange(24))
    task, inputs = network.tasks[0], Inputs.of(batch)
    other = dataclasses.replace(inputs, particles_BPF=torch.randn_like(inputs.particles_BPF))
    a, b = (task.sample(i, torch.zeros(24).long(), 2, torch.Generator().manual_seed(3)) for i in (inputs, other))
    assert torch.equal(a, b)


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
    quantile = TaskSpec(task="regress", target="width", options={"loss": "quantile", "levels": [0.16, 0.5, 0.84]})
    tasks = (quantile, TaskSpec(task="regress", target="pt"), SEGMENT, GENERATE, CONTRAST)
    recipe = make(RECIPE | {"tasks": tasks})
    rows = Rows(np.arange(400), np.arange(400, 500), np.arange(500, 600))  # no pair is torn apart
    cloud = labelled_cloud(600)
    pt = np.hypot(ak.sum(cloud.particles.px, axis=1), ak.sum(cloud.particles.py, axis=1))
    schema = cloud.schema.model_copy(update={"labels": (*cloud.schema.labels, Label(name="pt", unit="GeV"))})
    data = TrainingSet.from_cloud(cloud.with_columns(schema, pt=np.asarray(pt, dtype=np.float64)))
    fit.fit_run(recipe, folder / "run", data=data, rows=rows)
    return folder / "run"


def test_one_recipe_trains_them_all_and_tells_their_quality(run):
    figures = Run.open(run).summary["quality"]
    assert figures["segment_origin"]["auc"] > 0.7
    assert figures["contrast_pair"]["top1"] > 3 * figures["contrast_pair"]["chance"]
    assert set(figures["generate_label"]) == {f"distance_{n}" for n in ("log_pt", "mass", "width", "leading")}


def test_quantiles_are_in_the_score_table_and_do_not_cross(run):
    table = ScoreTable.read(run / "scores.parquet")
    assert table.columns[1] == ("q0.16_width", "q0.5_width", "q0.84_width")
    assert (np.diff(table.quantiles_NQ, axis=1) >= 0).all()
    assert np.array_equal(table.quantiles_NQ[:, 1], table.scores_NC[:, 0])
    below = Run.open(run).summary["test"]["below_0.84"]
    assert below == pytest.approx((table.truth < table.quantiles_NQ[:, 2]).mean())


def test_every_target_has_its_own_score_table_and_figures(run):
    table = ScoreTable.read(run / "scores-regress_pt.parquet")
    assert table.unit == "GeV"
    assert np.array_equal(table.event_id, ScoreTable.read(run / "scores.parquet").event_id)
    assert Run.open(run).summary["tests"]["regress_pt"]["correlation"] > 0.8
    spread = table.quantiles_NQ[:, [1, 3]] - table.scores_NC  # of a Gaussian, one standard deviation to either side
    assert np.allclose(spread[:, 0], -spread[:, 1], rtol=1e-3, atol=1e-3)
    assert np.allclose((table.quantiles_NQ[:, 4] - table.scores_NC[:, 0]) / spread[:, 1], 1.95996 / 0.99446, rtol=1e-3)


def test_levels_without_the_median_are_refused(data):
    spec = TaskSpec(task="regress", target="width", options={"loss": "quantile", "levels": [0.84, 0.16]})
    with pytest.raises(BadRecipe, match=r"contain 0\.5"):
        new_network("xs", data, [spec], 128, torch.Generator())


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


def test_a_number_of_events_cannot_be_segmented_nor_whole_events_be_generated(data):
    with pytest.raises(BadRecipe, match="segment for classes of particles"):
        new_network("xs", data, [TaskSpec(task="classify", target="origin")], 128, torch.Generator())
    cloud = toy_cloud(10)
    collider = Cloud(cloud.particles, cloud.events, cloud.schema.model_copy(update={"frame": "collider"}))
    with pytest.raises(BadRecipe, match="makes jets"):
        new_network("xs", TrainingSet.from_cloud(collider), [TaskSpec(task="generate")], 128, torch.Generator())


def test_partners_are_views_of_the_same_event_in_the_same_group(data):
    network = network_for(data, CONTRAST)
    found = partners(data, (np.arange(0, 11), np.arange(11, 24)), network)
    assert found.tolist()[:10] == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]
    assert found[10] == 10  # its partner, event 11, validates
    assert found[11] == 11
    assert partners(data, (np.arange(24),), network_for(data, SEGMENT)) is None


def test_a_second_view_keeps_distances_from_the_axis_and_hides_the_columns(data):
    inputs = Inputs.of(make_batch(data, np.arange(24)))
    names = data.particle_names[2:]
    view = augmented(inputs, names, Options(smear=0, soft=0, drop=0), torch.Generator().manual_seed(0))
    before, after = (
        dict(zip(("pair_eta", "pair_phi", *names), i.particles_BPF.unbind(-1), strict=True)) for i in (inputs, view)
    )
    turned = torch.hypot(after["deta"], after["dphi"])
    assert torch.allclose(turned, torch.hypot(before["deta"], before["dphi"]), atol=1e-5)
    assert not torch.allclose(after["deta"], before["deta"], atol=1e-2)
    assert torch.equal(after["log_pt"], before["log_pt"])
    assert torch.isnan(view.columns_BG).all()
    lossy = augmented(inputs, names, Options(drop=1), torch.Generator().manual_seed(0))
    kept = lossy.mask_BP[inputs.mask_BP]
    pt = before["log_pt"].exp()[inputs.mask_BP]
    assert not kept[pt < 1].any()
    assert kept[pt > 20].float().mean() > 0.9


def test_figures_of_objectives_are_those_of_their_formulas():
    rng = np.random.default_rng(0)
    a = rng.normal(0, 2, 20_000)
    assert distance(a, a + 1) == pytest.approx(0.5, abs=0.01)
    assert distance(a, a[:100]) < 0.3
    below = quantile_figures(a, np.broadcast_to([-2.0, 0.0, 2.0], (len(a), 3)), (0.16, 0.5, 0.84), np.ones(len(a)))[1]
    assert [b.value for b in below] == pytest.approx([0.1587, 0.5, 0.8413], abs=0.01)
    vectors = rng.normal(size=(200, 8))
    assert retrieval(vectors, rng.normal(size=(200, 8)), np.arange(200))["top1"] < 0.05
    assert retrieval(vectors, vectors / 1e9, np.arange(200) // 200)["top1"] == 1  # one group: no competitors
    perfect = segmentation([0, 1, 1], [[1, 0], [0, 1], [0, 1]])
    assert (perfect["accuracy"], perfect["auc"], perfect["mean_iou"]) == (1, 1, 1)


def test_a_distilled_model_needs_no_teacher_afterwards_and_owes_it_a_citation(tmp_path):
    teacher = tmp_path / "teacher"
    cloud = TrainingSet.from_cloud(labelled_cloud(200))
    save(network_for(cloud, TaskSpec(task="classify", target="label")), teacher, data={}, citation=["arXiv:1503.02531"])
    tasks = (TaskSpec(task="distil", options={"teacher": str(teacher), "what": "scores"}),)
    fit.fit_run(make(RECIPE | {"tasks": tasks}), tmp_path / "run", data=cloud)
    run = Run.open(tmp_path / "run")
    assert run.summary["quality"]["distil"]["agreement"] > 0.6
    assert any(p["path"].startswith(str(teacher)) for p in run.info["parents"])
    assert "arXiv:1503.02531" in run.info["citations"]
    before = {n: t.clone() for n, t in cc.load(tmp_path / "run").state_dict().items()}
    shutil.rmtree(teacher)
    assert all(torch.equal(before[n], t) for n, t in cc.load(tmp_path / "run").state_dict().items())
    with pytest.raises(BadWeights, match="teacher"):
        new_network("xs", cloud, tasks, 128, torch.Generator())


def test_a_process_is_found_by_a_text_that_no_event_was_labelled_with():
    texts = {"narrow": "jet, pencil-thin", "wide": "jet, broad"}
    spec = TaskSpec(task="align", target="label", options={"texts": texts, "parameters": ["width"]})
    cloud = TrainingSet.from_cloud(labelled_cloud(600))
    recipe = make(RECIPE | {"tasks": (spec,)})
    fitted = fit.fit(recipe, cloud, fit.split_rows(cloud, recipe))
    task, batch = fitted.network.tasks[0], make_batch(cloud, np.arange(100))
    grams = torch.from_numpy(n_grams(["pencil-thin jet", "broad jet"]))
    with torch.inference_mode():
        found = task.match(fitted.network(Inputs.of(batch)), grams, torch.zeros(100, 1)).argmax(dim=1)
    assert (found.numpy() == batch.targets["label"]).mean() > 0.8
    with pytest.raises(BadRecipe, match="'wide'"):
        new_network("xs", cloud, [spec.model_copy(update={"options": {"texts": {"wde": "x"}}})], 128, torch.Generator())


def test_a_schema_without_labels_of_particles_is_written_as_before_there_were_any():
    assert "particle_labels" not in toy_cloud(1).schema.model_dump_json()
    schema = labelled_cloud(1).schema
    assert type(schema).model_validate_json(schema.model_dump_json()) == schema
