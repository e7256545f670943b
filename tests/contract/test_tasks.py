"""Every task of the registry: its loss falls on toy data, events without a target do not count; and each against its truth."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy import stats as distributions
from scipy.special import entr
from scipy.stats import binomtest, kstest, lognorm, norm
from tests.toy import labelled_cloud, toy_cloud

import cloudchamber as cc
from cloudchamber import registry
from cloudchamber.data.loader import Loader, make_batch
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe, BadWeights
from cloudchamber.events import Batch, Cloud
from cloudchamber.nn.backbone import Encoded, Inputs
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.tasks.align import n_grams
from cloudchamber.tasks.contrast import Options, augmented
from cloudchamber.train.loop import Training, train, validation_losses
from cloudchamber.train.network import new_network, save
from cloudchamber.train.rows import partners

TARGETS = {True: "label", False: "width", None: None}
OPTIONS = {"distil": {"teacher": "xs"}}
CONTRAST = TaskSpec(task="contrast", target="pair")
GENERATE = TaskSpec(task="generate", target="label", options={"conditions": 50})


def spec_of(name):
    kind = registry.get("tasks", name)
    target = None if kind.optional else "origin" if kind.per_particle else TARGETS[kind.classes]
    return TaskSpec(task=name, target=target, options=OPTIONS.get(name, {}))


def training_of(data, steps=40):
    rows = np.arange(len(data))
    return Training(data, Loader((rows[:160],), 32, 0), rows[160:], Optimisation(validations=2, checkpoints=0), steps, 3e-3, 0)


def fresh(data, *specs):
    return new_network("xs", data, specs, 128, torch.Generator().manual_seed(0))


def moved(data, *specs):
    """A network away from its start: heads start at zero, and a test that compares zeros shows nothing."""
    network = fresh(data, *specs)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


def bare(n, particles=1, **targets):
    """A batch of events without features."""
    shape = (n, particles)
    x, columns, mask, weight = np.zeros((*shape, 0)), np.zeros((n, 0)), np.ones(shape, np.bool_), np.ones(n)
    return Batch(x, columns, mask, weight, targets, np.arange(n))


@pytest.fixture(scope="module")
def data():
    return TrainingSet.from_cloud(labelled_cloud(24))


@pytest.fixture(scope="module")
def batch(data):
    return make_batch(data, np.arange(24))


@pytest.mark.parametrize("name", registry.entries("tasks"))
def test_the_loss_falls_on_toy_data(name):
    data = TrainingSet.from_cloud(labelled_cloud(200))
    network, training = fresh(data, spec_of(name)), training_of(data)
    before = validation_losses(network, training)["loss"]
    state = train(network, training)
    assert state.progress.best_loss < 0.9 * before if before > 0 else state.progress.best_loss < before


def test_several_tasks_share_one_pass_and_all_fall():
    data = TrainingSet.from_cloud(labelled_cloud(200))
    network, training = fresh(data, *(spec_of(n) for n in registry.entries("tasks"))), training_of(data)
    before = validation_losses(network, training)
    train(network, training)
    after = validation_losses(network, training)
    assert all(after[key] < before[key] for key in before)


def test_events_of_unknown_class_do_not_move_the_weights():
    cloud = toy_cloud(64)
    cloud.events["label"][:] = -1
    data = TrainingSet.from_cloud(cloud)
    network = fresh(data, spec_of("classify"))
    rows = np.arange(64)
    optimisation = Optimisation(validations=1, weight_decay=0.0, checkpoints=0)
    training = Training(data, Loader((rows,), 32, 0), rows, optimisation, 2, 1e-2, 0)
    start = {n: p.clone() for n, p in network.named_parameters()}
    train(network, training)
    assert all(torch.equal(start[n], p) for n, p in network.named_parameters())


def test_a_task_that_does_not_suit_its_data_is_refused(data):
    for target, spec in (
        ("regress for numbers", TaskSpec(task="classify", target="width")),
        ("segment for classes of particles", TaskSpec(task="classify", target="origin")),
        ("'classify'", TaskSpec(task="clasify", target="label")),
        ("smoothing", TaskSpec(task="classify", target="label", options={"label_smooting": 0.1})),
        (r"contain 0\.5", TaskSpec(task="regress", target="width", options={"loss": "quantile", "levels": [0.84, 0.16]})),
        ("'wide'", TaskSpec(task="align", target="label", options={"texts": {"wde": "x"}})),
    ):
        with pytest.raises(BadRecipe, match=target):
            fresh(data, spec)
    cloud = toy_cloud(10)
    collider = Cloud(cloud.particles, cloud.events, cloud.schema.model_copy(update={"frame": "collider"}))
    with pytest.raises(BadRecipe, match="makes jets"):
        fresh(TrainingSet.from_cloud(collider), TaskSpec(task="generate"))


@pytest.mark.parametrize("spec", [spec_of("classify"), spec_of("segment")], ids=lambda s: s.task)
@torch.inference_mode()
def test_two_classes_cost_ln_2_before_the_first_step(spec, data, batch):
    network, inputs = fresh(data, spec), Inputs.of(batch)
    losses = network.losses(inputs, batch)
    assert torch.allclose(losses[network.tasks[0].key], torch.full((24,), math.log(2)))


def learned(data, truth, **options):
    """What a regression says after learning numbers from events that are all alike: the best constant answer."""
    task = fresh(data, TaskSpec(task="regress", target="width", options=options)).tasks[0]
    events, same = bare(len(truth), width=truth), torch.zeros(1, task.out.in_features)
    encoded, inputs = Encoded(same[:, None], same), Inputs.of(events)
    optimiser = torch.optim.Adam([task.out.bias], lr=0.05)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 600)
    for _ in range(600):
        optimiser.zero_grad()
        task.loss(encoded, inputs, events).mean().backward()
        optimiser.step()
        rate.step()
    with torch.inference_mode():
        predicted = task.predict(encoded).numpy()
        return task.options.levels, predicted[0], task.quantiles(predicted)[0]


def test_quantiles_of_an_exponential_are_those_of_its_formula(data):
    n = 5_000
    levels, found, _ = learned(data, np.random.default_rng(0).exponential(size=n), loss="quantile")
    level_Q = np.array(levels)
    error_Q = np.sqrt(level_Q / (1 - level_Q) / n)  # of a sample's quantile; the density there is 1 - level
    assert (np.abs(found[1:] + np.log(1 - level_Q)) < 4 * error_Q).all()
    assert found[0] == found[1 + levels.index(0.5)]


def test_value_and_spread_of_a_regression_are_the_first_two_moments(data):
    n = 5_000
    _, (value, spread), _ = learned(data, np.random.default_rng(1).exponential(size=n), loss="gaussian")
    assert value == pytest.approx(1, abs=4 / n**0.5)
    assert spread == pytest.approx(1, abs=4 * (2 / n) ** 0.5)  # the kurtosis of an exponential is 9


def test_the_scale_of_students_t_is_found_and_events_far_off_move_nothing(data):
    n, scale = 20_000, 0.7
    truth = 2 + scale * distributions.t.rvs(4, size=n, random_state=2)
    truth[:20] += 1e4
    levels, (value, spread), quantiles = learned(data, truth, loss="student")
    # Fisher's information of one event is 5/7 for the place, in units of the scale, and 8/7 for the scale's logarithm; an event
    # far off has no pull on the place and one of 4 on that logarithm.
    place, log_scale = 4 * scale * (7 / 5 / n) ** 0.5, 4 * (7 / 8 / n) ** 0.5 + 20 * 4 * 7 / 8 / n
    assert value == pytest.approx(2, abs=place)
    assert spread == pytest.approx(scale * distributions.t.ppf(distributions.norm.cdf(1), 4), rel=log_scale)
    expected = scale * distributions.t.ppf(levels, 4)
    assert (np.abs(quantiles - 2 - expected) < place + log_scale * np.abs(expected)).all()


def test_the_loss_of_students_t_is_scipys(data):
    task = fresh(data, TaskSpec(task="regress", target="width", options={"loss": "student"})).tasks[0]
    truth, same = np.array([-3.0, 0.2, 40.0]), torch.zeros(3, task.out.in_features)
    events = bare(3, width=truth)
    with torch.inference_mode():
        found = task.loss(Encoded(same[:, None], same), Inputs.of(events), events)
    np.testing.assert_allclose(found, -distributions.t.logpdf(truth, 4), rtol=1e-5)


@pytest.mark.parametrize("loss", ["gaussian", "student"])
def test_the_likelihood_of_a_number_does_not_depend_on_how_it_is_standardised(data, loss):
    truth, same, found = np.array([0.3, 1.0, 4.0]), torch.zeros(3, 192), []
    for centre, scale in ((0.0, 1.0), (0.5, 3.0)):
        given = {"loss": loss, "transform": "log1p", "centre": centre, "scale": scale}
        task = fresh(data, TaskSpec(task="regress", target="width", options=given)).tasks[0]
        with torch.no_grad():  # in both: 1.2 and 0.6 of ln(1 + width)
            task.out.bias.copy_(torch.tensor([(1.2 - centre) / scale, math.log(0.6 / scale)]))
        events = bare(3, width=truth)
        with torch.inference_mode():
            encoded = Encoded(torch.zeros(3, 1, 192), same)
            found.append((task.loss(encoded, Inputs.of(events), events).numpy(), task.predict(encoded).numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    shape = {"gaussian": distributions.norm, "student": distributions.t(4)}[loss]
    np.testing.assert_allclose(found[0][0], -shape.logpdf((np.log1p(truth) - 1.2) / 0.6) + np.log(0.6), rtol=1e-5)


@pytest.mark.parametrize("loss", ["gaussian", "quantile"])
def test_quantiles_of_a_shifted_log_normal_are_those_of_its_formula(data, loss):
    n, width = 5_000, 0.6
    truth = lognorm(width, loc=-1, scale=3)  # ln(1 + x) is normal around ln 3
    levels, _, found_Q = learned(data, truth.rvs(n, random_state=2), loss=loss, transform="log1p")
    level_Q = np.array(levels)
    at_Q = norm.ppf(level_Q)
    of_rank_Q = np.sqrt(level_Q * (1 - level_Q) / n) / norm.pdf(at_Q)
    of_moments_Q = np.sqrt((1 + at_Q**2 / 2) / n)
    error_Q = width * (of_rank_Q if loss == "quantile" else of_moments_Q)
    assert (np.abs(np.log1p(found_Q) - np.log1p(truth.ppf(level_Q))) < 4 * error_Q).all()


def changed(inputs, batch, order, extra):
    """The same events with other places of the particles and more padding, filled with nonsense."""
    grow = torch.nn.functional.pad
    particles = grow(inputs.particles_BPF[:, order], (0, 0, 0, extra))
    particles[:, len(order) :] = torch.randn(len(batch), extra, particles.shape[-1])
    targets = dict(batch.targets)
    targets["origin"] = grow(torch.from_numpy(targets["origin"])[:, order], (0, extra), value=-1).numpy()
    other = dataclasses.replace(inputs, particles_BPF=particles, mask_BP=grow(inputs.mask_BP[:, order], (0, extra)))
    return other, dataclasses.replace(batch, targets=targets)


@torch.inference_mode()
def test_a_particle_has_its_class_wherever_it_stands_and_whatever_the_padding(data, batch):
    network, inputs = moved(data, spec_of("segment")), Inputs.of(batch)
    task = network.tasks[0]
    order = torch.randperm(inputs.mask_BP.shape[1], generator=torch.Generator().manual_seed(2))
    other, other_batch = changed(inputs, batch, order, 5)
    scores, again = (task.predict_particles(network(i)) for i in (inputs, other))
    real = other.mask_BP[:, : len(order)]
    assert torch.allclose(scores[:, order][real], again[:, : len(order)][real], atol=1e-5)
    losses = task.loss(network(inputs), inputs, batch), task.loss(network(other), other, other_batch)
    assert torch.allclose(*losses, atol=1e-5)


@torch.inference_mode()
def test_the_flow_moves_a_particle_the_same_wherever_it_stands_and_whatever_the_padding(data, batch):
    task, inputs = moved(data, GENERATE).tasks[0], Inputs.of(batch)
    order = torch.randperm(inputs.mask_BP.shape[1], generator=torch.Generator().manual_seed(2))
    other, _ = changed(inputs, batch, order, 5)
    now = torch.randn(24, len(order), len(task.names))
    wide = torch.cat([now[:, order], torch.randn(24, 5, len(task.names))], dim=1)
    time, kind = torch.rand(24), torch.from_numpy(batch.targets["label"])
    real = other.mask_BP[:, : len(order)]
    velocity = task._velocity(now, inputs.mask_BP[..., None].expand_as(now), time, inputs, kind)
    again = task._velocity(wide, other.mask_BP[..., None].expand_as(wide), time, other, kind)
    assert torch.allclose(velocity[:, order][real], again[:, : len(order)][real], atol=1e-4)
    assert velocity[inputs.mask_BP].abs().max() > 0.01


@torch.inference_mode()
def test_the_flow_is_not_shown_the_particles_that_it_makes(data, batch):
    task, inputs = moved(data, GENERATE).tasks[0], Inputs.of(batch)
    other = dataclasses.replace(inputs, particles_BPF=torch.randn_like(inputs.particles_BPF))
    a, b = (task.sample(i, torch.zeros(24).long(), 2, torch.Generator().manual_seed(3)) for i in (inputs, other))
    assert torch.equal(a, b)


@torch.inference_mode()
def test_with_the_exact_velocity_of_a_gaussian_the_flow_makes_it_and_has_its_known_loss(data, monkeypatch):
    """For data N(m, s^2) the velocity at x and t is m + (t s^2 - 1 + t) (x - t m) / v with v = (1 - t)^2 + t^2 s^2. What is
    left of the loss is s^2 / v, over all times pi s / 2.
    """
    task, n, m, s = fresh(data, GENERATE).tasks[0], 4000, 0.7, 0.5

    def velocity(now_BPD, _present, time_B, _inputs, _classes):
        t = time_B[:, None, None]
        return m + (t * s**2 - 1 + t) * (now_BPD - t * m) / ((1 - t) ** 2 + t**2 * s**2)

    drawn = m + s * torch.randn(n, 10, len(task.names), generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(task, "_velocity", velocity)
    monkeypatch.setattr(task, "_coordinates", lambda _: (drawn, torch.ones_like(drawn, dtype=torch.bool)))
    events = bare(n, 10, label=np.zeros(n))
    inputs = Inputs.of(events)
    losses = task.loss(Encoded(torch.empty(0), torch.empty(0)), inputs, events)
    assert float(losses.mean()) == pytest.approx(math.pi * s / 2, abs=4 * float(losses.std()) / n**0.5)
    made = task.sample(inputs, torch.zeros(n), 32, torch.Generator().manual_seed(1))
    own = ((made - task.centre) * task.scale)[..., :3].flatten().numpy()
    assert kstest(own, norm(m, s).cdf).pvalue > 1e-3


def test_partners_are_views_of_the_same_event_in_the_same_group(data):
    network = moved(data, CONTRAST)
    found = partners(data, (np.arange(0, 11), np.arange(11, 24)), network)
    assert found.tolist()[:10] == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8]
    assert found[10] == 10  # its partner, event 11, validates
    assert found[11] == 11
    assert partners(data, (np.arange(24),), moved(data, spec_of("segment"))) is None


def test_a_second_view_keeps_distances_from_the_axis_and_hides_the_columns(data, batch):
    inputs = Inputs.of(batch)
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
    expected = 1 - 1 / pt.clamp(min=1)  # the probability to be kept falls short of 1 by 1 GeV / pT
    assert float(kept.sum()) == pytest.approx(float(expected.sum()), abs=4 * float((expected * (1 - expected)).sum()) ** 0.5)


@torch.inference_mode()
def test_the_contrast_of_known_vectors_is_that_of_the_formula(data, batch, monkeypatch):
    task, inputs = fresh(data, TaskSpec(task="contrast", options={"temperature": 0.5})).tasks[0], Inputs.of(batch)
    encoded = task._backbone[0](inputs)
    for vectors, expected in (
        (torch.ones(24, 1), math.log(24)),  # nothing told apart
        (torch.eye(24), math.log(1 + 23 * math.exp(-2))),  # each event unlike all others: logits 2 and 0
    ):
        monkeypatch.setattr(task, "_project", lambda _, vectors=vectors: vectors)
        assert torch.allclose(task.loss(encoded, inputs, batch), torch.tensor(expected))


@torch.inference_mode()
def test_an_alignment_that_tells_nothing_apart_costs_the_share_of_a_class(data, batch, monkeypatch):
    network, inputs = fresh(data, spec_of("align")), Inputs.of(batch)
    task, label = network.tasks[0], torch.from_numpy(batch.targets["label"])
    monkeypatch.setattr(task, "_theory", lambda grams, _: torch.zeros(len(grams), 96))
    share = (label[:, None] == label).float().mean(dim=1)
    assert torch.allclose(task.loss(network(inputs), inputs, batch), -share.log(), atol=1e-6)


def test_new_events_are_found_by_a_text_that_shares_words_with_that_of_their_process():
    texts = {"narrow": "jet, pencil-thin", "wide": "jet, broad"}
    data, new = (TrainingSet.from_cloud(toy_cloud(200, seed)) for seed in (0, 5))
    network = fresh(data, TaskSpec(task="align", target="label", options={"texts": texts}))
    train(network, training_of(data))
    network.bind(new)
    events = make_batch(new, np.arange(200))
    grams = torch.from_numpy(n_grams(["a broad one", "one that is pencil-thin"]))  # not in the order of the classes
    with torch.inference_mode():
        found = network.tasks[0].match(network(Inputs.of(events)), grams, torch.zeros(200, 0)).argmax(dim=1)
    hits = int((found.numpy() == 1 - events.targets["label"]).sum())
    assert binomtest(hits, 200, 0.5, alternative="greater").pvalue < 1e-6, hits


@torch.inference_mode()
def test_a_student_that_is_its_teacher_has_nothing_to_learn(tmp_path, data, batch):
    save(moved(data, spec_of("classify")), tmp_path, data={})
    network, inputs = fresh(data, TaskSpec(task="distil", options={"teacher": str(tmp_path)})), Inputs.of(batch)
    task, teacher = network.tasks[0], cc.load(tmp_path)
    # The vector is standardised over these very events, and a head of zeros gives 0: what is left is the variance, 1.
    assert float(task.loss(network(inputs), inputs, batch).mean()) == pytest.approx(1, rel=1e-4)
    teacher.bind(data)
    mean, spread = task._norm
    task.out.weight.copy_(torch.diag(1 / spread))
    task.out.bias.copy_(-mean / spread)
    assert task.loss(teacher(inputs), inputs, batch).max() < 1e-6
    answers = task.answers(teacher(inputs), inputs, batch)
    assert task.figures({n: values.numpy() for n, values in answers.items()})["explained"] == pytest.approx(1)


@torch.inference_mode()
def test_probabilities_to_distil_cost_what_they_lack_in_entropy_before_the_first_step(tmp_path, data, batch):
    save(moved(data, spec_of("classify")), tmp_path, data={})
    spec = TaskSpec(task="distil", options={"teacher": str(tmp_path), "what": "scores"})
    network, inputs, teacher = fresh(data, spec), Inputs.of(batch), cc.load(tmp_path)
    teacher.bind(data)
    entropy = entr(teacher.tasks[0].predict(teacher(inputs)).numpy()).sum(axis=1)
    assert np.allclose(network.tasks[0].loss(network(inputs), inputs, batch), math.log(2) - entropy, atol=1e-6)
    with pytest.raises(BadWeights, match="no_such"):
        fresh(data, TaskSpec(task="distil", options={"teacher": "no_such"}))
