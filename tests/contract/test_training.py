"""The training loop against formulas: accumulated gradients, averages, best weights, patience, hidden features."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.toy import toy_cloud

from cloudchamber import recipe as recipes
from cloudchamber.data import store
from cloudchamber.data.loader import Loader, make_batch
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadRecipe
from cloudchamber.events import Cloud
from cloudchamber.nn.backbone import Inputs
from cloudchamber.nn.sizes import SIZES
from cloudchamber.recipe import Optimisation, TaskSpec
from cloudchamber.train import fit
from cloudchamber.train.checkpoint import State
from cloudchamber.train.loop import Training, drop_features, train, train_step, validation_losses
from cloudchamber.train.muon import orthogonal
from cloudchamber.train.network import new_network
from cloudchamber.train.optimiser import Average, make_optimiser
from cloudchamber.train.parallel import ALONE
from cloudchamber.train.rows import loader_of, split_rows, weight_scale

CLASSIFY, REGRESS = TaskSpec(task="classify", target="label"), TaskSpec(task="regress", target="width", weight=0.5)


def training_of(data, *, steps=1, device="cpu", **optimisation):
    rows = np.arange(len(data))
    settings = Optimisation(batch=len(data), checkpoints=0, **optimisation)
    scale = weight_scale(data, rows)
    return Training(data, Loader((rows,), len(rows), 0), rows, settings, steps, 1e-3, 0, weight_scale=scale, device=device)


def network_of(data, specs=(CLASSIFY,)):
    return new_network("xs", data, specs, 128, torch.Generator().manual_seed(0))


def gradients_of(data, *, like=None, device="cpu", **optimisation):
    """The gradients that one step leaves, unclipped, in a network whose normalisation is that of `like`."""
    training = training_of(data, clip=1e9, device=device, **optimisation)
    network = network_of(like or data, (CLASSIFY, REGRESS)).to(device)
    network.bind(data)
    state = State(network, make_optimiser(network, training.optimisation, 0.0), Average(network, 0.9))
    state.optimiser.zero_grad = lambda **_: None
    train_step(state, training, training.batches_of(0), 0)
    return {n: p.grad.cpu() for n, p in network.named_parameters() if p.grad is not None}


def assert_close(one, other, tolerance):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.allclose(value, other[name], rtol=tolerance, atol=tolerance * float(value.abs().max())), name


def test_micro_batches_add_up_to_the_gradient_of_the_whole_batch():
    data = TrainingSet.from_cloud(toy_cloud(40))
    assert_close(gradients_of(data, max_tokens=1 << 20), gradients_of(data, max_tokens=30), 1e-4)


CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@CUDA
def test_a_cuda_device_gives_the_gradient_of_the_cpu():
    data = TrainingSet.from_cloud(toy_cloud(40))
    assert_close(gradients_of(data), gradients_of(data, device="cuda"), 1e-3)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=CUDA)])
def test_bfloat16_gives_the_gradient_within_its_rounding_and_changes_nothing_but_training(device):
    data = TrainingSet.from_cloud(toy_cloud(40))
    inputs, found = Inputs.of(make_batch(data, np.arange(40)), device), {}
    for mixed in (False, True):
        network = network_of(data).to(device)
        network.bind(data)
        network.backbone.mixed_precision = mixed
        scored = network.eval()(inputs).pooled_BE
        encoded = network.train()(inputs)
        assert torch.equal(scored, encoded.pooled_BE) is not mixed
        assert encoded.tokens_BPE.dtype == encoded.pooled_BE.dtype == torch.float32
        encoded.pooled_BE.square().sum().backward()
        found[mixed] = torch.cat([p.grad.flatten() for p in network.backbone.parameters() if p.grad is not None])
    # Roundings of the products on the way there and back, of which an event meets each once, add in quadrature.
    layers = sum(isinstance(m, torch.nn.Linear) for m in network.modules()) + 2 * SIZES["xs"].layers + 2  # attention, pairs
    bound = torch.finfo(torch.bfloat16).eps / 2 * (2 * layers) ** 0.5
    assert 0 < (found[True] - found[False]).norm() / found[False].norm() < bound
    network = network_of(data)
    network.bind(data)
    train(network, training_of(data, precision="bfloat16"))
    assert network.backbone.mixed_precision
    assert {p.dtype for p in network.parameters()} == {torch.float32}


def test_an_event_of_weight_two_counts_as_two_events():
    cloud = toy_cloud(20)
    twice = cloud[np.concatenate([np.arange(20), np.arange(10)])]
    data = TrainingSet.from_cloud(cloud)
    data.parts[0].events_N["weight"][:10] = 2
    assert_close(gradients_of(TrainingSet.from_cloud(twice), like=data), gradients_of(data), 1e-4)


def repeated_quintic(x):
    """What five iterations make of a singular value."""
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    return x


@pytest.mark.parametrize("shape", [(96, 288), (192, 96), (64, 64)])
def test_an_orthogonal_step_has_the_singular_vectors_of_its_matrix_and_singular_values_of_about_one(shape):
    sizes = torch.tensor([1e-6, 1.0, 1e3])[:, None, None]
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0)) * sizes
    for matrix, turned in zip(matrices, orthogonal(matrices), strict=True):
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
        expected = repeated_quintic(values.double().numpy() / float(matrix.norm()))
        assert np.abs((left.T @ turned @ right.T).numpy() - np.diag(expected)).max() < 1e-3
    everywhere = repeated_quintic(np.geomspace(0.002, 1, 100_000))
    assert everywhere.min().round(2) == 0.68
    assert everywhere.max().round(2) == 1.2


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch.optim.Muon came with torch 2.9")
@pytest.mark.parametrize("size", ["xs", "s"])
def test_muon_moves_hidden_matrices_as_torchs_own_does_and_the_rest_as_adamw(size, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.float)  # in which torch's own iterates
    data = TrainingSet.from_cloud(toy_cloud(40))
    ours, theirs, plain = (new_network(size, data, (CLASSIFY,), 128, torch.Generator().manual_seed(0)) for _ in range(3))
    start = {n: p.detach().clone() for n, p in ours.named_parameters()}
    hidden = {n for n, p in start.items() if n.startswith(("backbone.blocks.", "backbone.looks.layers.")) and p.ndim == 2}
    assert len(hidden) == 4 * (SIZES[size].layers + SIZES[size].look_layers)
    muon = make_optimiser(ours, Optimisation(optimiser="muon", backbone_factor=0.5), 1e-2)
    adamw = make_optimiser(plain, Optimisation(backbone_factor=0.5), 1e-2)
    peer = torch.optim.Muon(
        [p for n, p in theirs.named_parameters() if n in hidden], weight_decay=0.01, adjust_lr_fn="match_rms_adamw"
    )
    random = torch.Generator().manual_seed(1)
    for rate in (1e-2, 5e-3, 5e-3, 2e-3, 1e-3):
        for name, parameter in ours.named_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=random)
            theirs.get_parameter(name).grad, plain.get_parameter(name).grad = (parameter.grad.clone() for _ in range(2))
        for optimiser in (muon, adamw, peer):
            for group in optimiser.param_groups:
                group["lr"] = rate * group.get("factor", 0.5)
            optimiser.step()
    for name, got in ours.named_parameters():
        if name in hidden:
            expected = theirs.get_parameter(name) - start[name]
            assert (got - start[name] - expected).norm() < 1e-3 * expected.norm()
        else:
            assert torch.equal(got, plain.get_parameter(name))


def test_muon_is_refused_before_there_is_a_folder_where_matrices_are_cut_into_shards(tmp_path):
    content = {"size": "xs", "tasks": (CLASSIFY,), "optimisation": {"steps": 1, "optimiser": "muon"}}
    with pytest.raises(BadRecipe, match="--parallel ddp"):
        fit.fit_run(recipes.make(content), tmp_path / "run", ranks=replace(ALONE, mode="fsdp"))
    assert not (tmp_path / "run").exists()


def test_the_average_follows_its_formula():
    module = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        module.weight.fill_(0.0)
    average = Average(module, decay=0.5)
    expected = 0.0
    for step in range(20):
        with torch.no_grad():
            module.weight.fill_(float(step + 1))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * (step + 1)
        assert average.values["weight"].item() == pytest.approx(expected, rel=1e-6)
    average.swap()
    assert module.weight.item() == pytest.approx(expected, rel=1e-6)
    average.swap()
    assert module.weight.item() == 20.0


def test_training_ends_with_the_weights_of_its_best_validation_and_stops_when_patience_is_over():
    data = TrainingSet.from_cloud(toy_cloud(60))
    rng = np.random.default_rng(0)
    data.parts[0].events_N["target-0"] = rng.integers(0, 2, 60)  # nothing to learn: the validation loss soon rises
    rows = np.arange(60)
    settings = Optimisation(batch=30, validations=60, patience=3, checkpoints=0, ema=0.0)
    training = Training(data, Loader((rows[:30],), 30, 0), rows[30:], settings, 60, 1e-2, 0)
    network = network_of(data)
    losses = []
    state = train(network, training, on_record=lambda done, _, record: losses.append((done, record)))
    validated = {done: record["loss"] for done, record in losses if record["split"] == "val"}
    assert state.progress.best_loss == min(validated.values())
    assert state.progress.step == state.progress.best_step + 3 < 60
    assert validation_losses(network, training)["loss"] == pytest.approx(state.progress.best_loss, rel=1e-5)


def test_the_loss_shown_for_a_task_is_that_of_the_events_with_a_known_target():
    cloud = toy_cloud(60)
    cloud.events["label"][20:] = -1
    data = TrainingSet.from_cloud(cloud)
    network = network_of(data)
    rows = np.arange(60)
    of_all, of_known = (
        validation_losses(network, Training(data, Loader((rows,), 60, 0), chosen, Optimisation(checkpoints=0), 1, 1e-3, 0))
        for chosen in (rows, rows[:20])
    )
    assert of_all["classify_label"] == pytest.approx(of_known["classify_label"], rel=1e-5)
    assert of_all["loss"] == pytest.approx(of_known["loss"] / 3, rel=1e-5)


def test_feature_drop_hides_everything_but_the_kinematics_of_the_chosen_share():
    data = TrainingSet.from_cloud(toy_cloud(400))
    batch = make_batch(data, np.arange(400))
    shown = drop_features(batch, data, 0.3, np.random.default_rng(0))
    charge, log_pt = (data.particle_names.index(n) for n in ("charge", "log_pt"))
    hidden_B = np.isnan(shown.particles_BPF[:, 0, charge])
    assert hidden_B.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 400))
    assert np.isnan(shown.particles_BPF[hidden_B][..., charge][batch.mask_BP[hidden_B]]).all()
    assert np.array_equal(shown.particles_BPF[~hidden_B], batch.particles_BPF[~hidden_B], equal_nan=True)
    assert np.array_equal(shown.particles_BPF[..., log_pt], batch.particles_BPF[..., log_pt])


def mixed_recipe(stores, tasks=(CLASSIFY,), **more):
    content = {"data": [str(s.path) for s in stores], "tasks": tasks, "optimisation": {"batch": 32}}
    return recipes.make(content | more)


def test_a_recipe_draws_from_its_stores_in_the_shares_it_says(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    stores = [store.write(tmp_path / n, [toy_cloud(size, seed=size)]) for n, size in (("large", 300), ("small", 60))]
    recipe = mixed_recipe(stores, mixture={"weights": [1, 1], "temperature": 1e9})  # sizes do not matter any more
    data = fit.open_data(recipe)
    rows = split_rows(data, recipe)
    assert [len(r) for r in rows.mixture] == [s.count("train") for s in stores]
    loader = loader_of(recipe, rows)
    drawn = np.concatenate([loader.rows_of(step) for step in range(2048)])
    assert (drawn < len(rows.mixture[0])).mean() == 0.5
    fitted = fit.fit(recipe.model_copy(update={"optimisation": Optimisation(steps=2, batch=32, checkpoints=0)}), data, rows)
    assert fitted.progress.jets == 64


def test_a_mixture_of_what_is_not_a_store_each_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    made = store.write(tmp_path / "one", [toy_cloud(300)])
    for more in ({"train_events": 10}, {"data": [str(made.path), str(made.path / made.manifest.shards[0].file)]}):
        recipe = mixed_recipe([made], mixture={"temperature": 2.0}, **more)
        with pytest.raises(BadRecipe, match="a mixture needs stores"):
            split_rows(fit.open_data(recipe), recipe)


def test_events_without_a_target_stay_if_a_task_needs_none(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    cloud = toy_cloud(300)
    cloud.events["label"][::2] = -1
    made = store.write(tmp_path / "store", [cloud])
    known = int((made.read("train").labels["label"] >= 0).sum())
    assert 0 < known < made.count("train")
    for tasks, kept in (((CLASSIFY,), known), ((CLASSIFY, TaskSpec(task="mask")), made.count("train"))):
        recipe = mixed_recipe([made], tasks)
        assert len(split_rows(fit.open_data(recipe), recipe).train) == kept


def test_events_without_a_target_are_counted_and_one_class_is_nothing_to_learn():
    cloud = toy_cloud(300)
    label = cloud.labels["label"].copy()
    label[:120] = -1
    data = TrainingSet.from_cloud(Cloud(cloud.particles, {**cloud.events, "label": label}, cloud.schema))
    recipe = recipes.make({"name": "toy", "adapt": "scratch", "tasks": (CLASSIFY,)})
    assert split_rows(data, recipe).left_out == 120
    alone = TrainingSet.from_cloud(cloud[cloud.labels["label"] == 1])
    with pytest.raises(BadInput, match=r"only one class of 'label' \(wide\)"):
        fit.fit(recipe, alone, split_rows(alone, recipe))
