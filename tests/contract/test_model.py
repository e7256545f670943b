"""The backbone: invariances, features that are missing, new or renamed, weights that are written and read."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from tests.toy import labelled_cloud, toy_cloud

from cloudchamber.data.loader import make_batch
from cloudchamber.data.training_set import Part, TrainingSet
from cloudchamber.errors import BadWeights
from cloudchamber.events import Cloud, Feature
from cloudchamber.events.kinematics import event_features, particle_features
from cloudchamber.nn.backbone import Inputs, Look, pair_features
from cloudchamber.nn.sizes import Size
from cloudchamber.recipe import TaskSpec
from cloudchamber.train.network import adapt_network, load, new_network, save

FRAMES = (("jet", 1.0), ("fixed-target", 1e-3), ("collider", 1.0))
CLASSIFY = (TaskSpec(task="classify", target="label"),)


def network_for(data, tasks=CLASSIFY, size="xs"):
    network = new_network(size, data, tasks, 128, torch.Generator().manual_seed(0))
    with torch.no_grad():  # heads and later features start at zero; a test that compares zeros shows nothing
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network.eval()


@torch.inference_mode()
def output(network, inputs):
    encoded = network(inputs)
    return torch.cat([encoded.pooled_BE, network.tasks[0].predict(encoded)], dim=1)


@pytest.fixture
def data():
    return TrainingSet.from_cloud(toy_cloud(24))


@pytest.mark.parametrize("size", ["xs", "s"])
def test_padding_does_not_change_the_output(data, size):
    network = network_for(data, size=size)
    inputs = Inputs.of(make_batch(data, np.arange(24)))
    wide = [torch.nn.functional.pad(t, pad) for t, pad in ((inputs.particles_BPF, (0, 0, 0, 7)), (inputs.mask_BP, (0, 7)))]
    wide[0][:, -7:] = torch.randn(24, 7, wide[0].shape[-1])  # whatever stands in the padding
    padded = Inputs(wide[0], inputs.columns_BG, wide[1])
    assert torch.allclose(output(network, inputs), output(network, padded), atol=1e-5)
    alone = torch.cat([output(network, Inputs.of(make_batch(data, np.array([i])))) for i in range(24)])
    assert torch.allclose(output(network, inputs), alone, atol=1e-5)


@pytest.mark.parametrize("size", ["xs", "s"])
def test_the_order_of_particles_does_not_change_the_output(data, size):
    network = network_for(data, size=size)
    inputs = Inputs.of(make_batch(data, np.arange(24)))
    order = torch.randperm(inputs.mask_BP.shape[1], generator=torch.Generator().manual_seed(2))
    shuffled = Inputs(inputs.particles_BPF[:, order], inputs.columns_BG, inputs.mask_BP[:, order])
    assert torch.allclose(output(network, inputs), output(network, shuffled), atol=1e-5)


@pytest.mark.parametrize("size", ["xs", "s"])
def test_an_event_without_particles_gives_finite_output(size):
    cloud = toy_cloud(3)
    empty = Cloud(cloud.particles[:, :0], cloud.events, cloud.schema)
    data = TrainingSet.from_cloud(empty)
    assert torch.isfinite(output(network_for(data, size=size), Inputs.of(make_batch(data, np.arange(3))))).all()


def test_a_look_is_attention_whose_keys_and_values_are_multiplied_into_the_matrices_of_the_register():
    size = Size(width=8, layers=1, heads=1, hidden=8, learning_rate=1.0, look_layers=1, look_heads=2)
    random, look = torch.Generator().manual_seed(0), Look(size)
    query, key, value, out = (torch.randn(2, 8, 8, generator=random) for _ in range(4))  # a matrix for each head
    with torch.no_grad():
        look.query.weight.copy_((key.mT @ query).flatten(0, 1))
        look.query.bias.zero_()
        look.out.weight.copy_(torch.cat([o @ v for o, v in zip(out, value, strict=True)], dim=1))
        look.outer.weight.zero_()
        look.outer.bias.zero_()
    register, tokens, log_pt = (torch.randn(*shape, generator=random) for shape in ((3, 8), (3, 5, 8), (3, 5)))
    got = look(register, tokens, log_pt, torch.zeros(3, 5, dtype=torch.bool))
    expected = register + look.out.bias
    for h in range(2):
        asked = torch.nn.functional.layer_norm(register, (8,)) @ query[h].T
        logits = (tokens @ key[h].T @ asked[:, :, None])[..., 0] / 8**0.5 + h * log_pt  # slopes from 0 to 1
        mixed = (logits.softmax(dim=1)[:, :, None] * (tokens @ value[h].T)).sum(dim=1)
        expected = expected + mixed @ out[h].T
    assert torch.allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize(("objective", "trains"), [("classify", True), ("mask", False), ("segment", True), ("generate", False)])
def test_the_looks_are_trained_by_objectives_of_the_event_alone(objective, trains):
    data = TrainingSet.from_cloud(labelled_cloud(20))
    spec = TaskSpec(task=objective, target={"mask": None, "segment": "origin"}.get(objective, "label"))
    network = network_for(data, (spec,), "s")
    batch, (task,) = make_batch(data, np.arange(20)), network.tasks
    inputs = task.corrupt(Inputs.of(batch), torch.Generator().manual_seed(0))
    network.losses(inputs, batch)[task.key].sum().backward()
    moved = {n.split(".")[0] for n, p in network.backbone.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert "blocks" in moved
    assert ("looks" in moved) is trains


def with_feature(cloud, name, values):
    schema = cloud.schema.model_copy(update={"features": (*cloud.schema.features, Feature(name=name))})
    particles = {n: cloud.flat(n) for n in ("px", "py", "pz", "energy", *cloud.schema.feature_names)}
    return Cloud.from_flat(cloud.counts, particles | {name: values}, cloud.events, schema)


@pytest.mark.parametrize(("name", "allowed"), [("puppi", ()), ("my_own_feature", ("my_own_feature",))])
def test_adding_an_unseen_feature_changes_the_output_at_step_0_by_exactly_0(tmp_path, data, name, allowed):
    save(network_for(data), tmp_path, data={})
    cloud = toy_cloud(24)
    more = TrainingSet.from_cloud(with_feature(cloud, name, np.random.default_rng(0).normal(size=cloud.counts.sum())))
    before, _ = adapt_network(tmp_path, data, CLASSIFY, 128, (), torch.Generator().manual_seed(3))
    after, report = adapt_network(tmp_path, more, CLASSIFY, 128, allowed, torch.Generator().manual_seed(3))
    assert report.particle.new == (name,)
    a, b = (output(n.eval(), Inputs.of(make_batch(d, np.arange(24)))) for n, d in ((before, data), (after, more)))
    assert torch.equal(a, b)
    after.backbone.particle.added_weight.data.fill_(1.0)
    assert not torch.equal(a, output(after, Inputs.of(make_batch(more, np.arange(24)))))


def in_frame(cloud, frame, scale):
    """The events with every momentum times `scale`, at eta 1.5 higher: so all jets are on one side."""
    pt = np.hypot(cloud.flat("px"), cloud.flat("py"))
    eta = 1.5 + np.arcsinh(cloud.flat("pz") / pt)
    p4 = {"px": cloud.flat("px"), "py": cloud.flat("py"), "pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta)}
    features = tuple(Feature(name=f.name, kind="flag" if f.name.startswith("is_") else f.kind) for f in cloud.schema.features)
    particles = {n: scale * values for n, values in p4.items()} | {f.name: cloud.flat(f.name) for f in features}
    schema = cloud.schema.model_copy(update={"frame": frame, "features": features})
    return Cloud.from_flat(cloud.counts, particles, cloud.events, schema)


def test_fixed_target_events_are_looked_at_in_mev():
    """What jets have in GeV, events of a thousandth of the energy have too: the model reads both alike."""
    jets, small = (in_frame(toy_cloud(24), *how) for how in (("jet", 1.0), ("fixed-target", 1e-3)))
    for features in (particle_features, event_features):
        a, b = features(jets), features(small)
        for name in a:
            np.testing.assert_allclose(a[name], b[name], atol=1e-4, err_msg=name)


def test_one_model_learns_from_two_frames_and_takes_events_of_both(tmp_path):
    jets, small, whole = (in_frame(toy_cloud(24, seed=i), f, s) for i, (f, s) in enumerate(FRAMES))
    both = TrainingSet([Part.from_cloud(c, 128) for c in (jets, small)])
    save(network_for(both), tmp_path, data={})
    network = load(tmp_path)
    assert network.frame == "jet + fixed-target"
    for cloud in (jets, small):
        data = TrainingSet.from_cloud(cloud)
        network.bind(data)
        assert torch.isfinite(output(network, Inputs.of(make_batch(data, np.arange(24))))).all()
        assert adapt_network(tmp_path, data, CLASSIFY, 128, (), torch.Generator())[1].renormalised == ()
    with pytest.raises(BadWeights, match=r"frame 'jet \+ fixed-target', .* in frame 'collider'"):
        network.bind(TrainingSet.from_cloud(whole))


def test_events_of_another_frame_look_to_the_weights_as_those_that_they_know(tmp_path):
    known, other = (TrainingSet.from_cloud(in_frame(toy_cloud(24), *how)) for how in (("jet", 1.0), ("fixed-target", 1e-2)))
    weights = network_for(known)
    weights.backbone.column.weight.data.zero_()  # ln(1 + m) of the event knows its unit
    save(weights, tmp_path, data={})
    network, report = adapt_network(tmp_path, other, CLASSIFY, 128, (), torch.Generator())
    assert {"log_pt", "log_energy", "log_mass"} < set(report.renormalised)
    assert not {"is_photon", "is_charged_hadron"} & set(report.renormalised)
    a, b = (n.eval()(Inputs.of(make_batch(d, np.arange(24)))).pooled_BE for n, d in ((weights, known), (network, other)))
    assert torch.allclose(a, b, atol=1e-4)
    same, report = adapt_network(tmp_path, known, CLASSIFY, 128, (), torch.Generator())
    assert report.renormalised == ()
    assert same.backbone.particle.norms == weights.backbone.particle.norms


@pytest.mark.parametrize(("of_weights", "of_data", "differ"), [(True, True, False), (True, False, True), (False, True, True)])
def test_leading_jets_are_in_the_frame_of_jets_on_both_sides(tmp_path, of_weights, of_data, differ):
    whole = in_frame(toy_cloud(24), "collider", 1.0)
    jets = with_feature(whole, "jet", np.zeros(whole.counts.sum()))
    known, other = (TrainingSet.from_cloud(jets if leading else whole) for leading in (of_weights, of_data))
    save(network_for(known), tmp_path, data={})
    _, report = adapt_network(tmp_path, other, CLASSIFY, 128, (), torch.Generator())
    assert bool(report.renormalised) is differ


def test_a_renamed_feature_stops_with_an_error_that_names_it(tmp_path, data):
    save(network_for(data), tmp_path, data={})
    cloud = toy_cloud(24)
    renamed = with_feature(
        toy_cloud(24, features=("charge", "is_charged_hadron", "is_photon", "d0_err")), "d0val", cloud.flat("d0")
    )
    with pytest.raises(BadWeights, match=r"'d0val'.*'d0'"):
        adapt_network(tmp_path, TrainingSet.from_cloud(renamed), CLASSIFY, 128, (), torch.Generator())


def test_a_missing_feature_is_reported_and_contributes_nothing(tmp_path, data):
    save(network_for(data), tmp_path, data={})
    fewer = TrainingSet.from_cloud(toy_cloud(24, features=()))
    network, report = adapt_network(tmp_path, fewer, CLASSIFY, 128, (), torch.Generator().manual_seed(3))
    assert set(report.particle.missing) == {"charge", "is_charged_hadron", "is_photon", "d0", "d0_err"}
    part = dataclasses.replace(data.parts[0], particles_TF=data.parts[0].particles_TF.copy())
    absent = TrainingSet([part])
    part.particles_TF[:, [n in report.particle.missing for n in data.particle_names]] = np.nan
    full, _ = adapt_network(tmp_path, data, CLASSIFY, 128, (), torch.Generator().manual_seed(3))
    a = output(network.eval(), Inputs.of(make_batch(fewer, np.arange(24))))
    b = output(full.eval(), Inputs.of(make_batch(absent, np.arange(24))))
    assert torch.allclose(a, b, atol=1e-5)


def test_saved_weights_give_the_same_output(tmp_path, data):
    network = network_for(data)
    save(network, tmp_path, data={"dataset": "toy"}, citation=["arXiv:2202.03772"])
    again = load(tmp_path)
    again.bind(data)
    inputs = Inputs.of(make_batch(data, np.arange(24)))
    assert torch.equal(output(network, inputs), output(again, inputs))
    assert again.config.citation == ("arXiv:2202.03772",)


def test_altered_weights_are_refused(tmp_path, data):
    save(network_for(data), tmp_path, data={})
    path = tmp_path / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadWeights, match="SHA-256"):
        load(tmp_path)


@pytest.mark.parametrize("change", ["feature", "entry", "version"])
def test_a_configuration_that_does_not_fit_its_tensors_is_refused(tmp_path, data, change):
    save(network_for(data), tmp_path, data={})
    config = json.loads((tmp_path / "config.json").read_text())
    if change == "feature":
        config["particle"]["norms"].pop()
    elif change == "entry":
        config["widht"] = 96
    else:
        config["version"] = 99
    (tmp_path / "config.json").write_text(json.dumps(config))
    expected = {"feature": r"particle\.weight", "entry": "widht", "version": "99"}[change]
    with pytest.raises(BadWeights, match=expected):
        load(tmp_path)


@pytest.mark.parametrize("version", [[], None, "1", 0, True, 1.0, 2.0])
def test_weights_of_an_unknown_version_are_refused(tmp_path, data, version):
    save(network_for(data), tmp_path, data={})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"version": version}))
    with pytest.raises(BadWeights, match=r"weights version .*, this program reads 1, 2"):
        load(tmp_path)


def test_a_configuration_that_is_nested_without_end_is_refused(tmp_path, data):
    save(network_for(data), tmp_path, data={})
    (tmp_path / "config.json").write_text("[" * 200_000)
    with pytest.raises(BadWeights, match="cannot be read"):
        load(tmp_path)


def test_weights_of_version_1_load_unless_their_size_has_other_layers_now(tmp_path, data):
    network = network_for(data)
    for size in ("xs", "s"):
        save(network, tmp_path / size, data={})
        config = json.loads((tmp_path / size / "config.json").read_text())
        (tmp_path / size / "config.json").write_text(json.dumps(config | {"version": 1, "size": size}))
    old, new = load(tmp_path / "xs").state_dict(), network.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in new)
    with pytest.raises(BadWeights, match="'s' of version 1 had other layers"):
        load(tmp_path / "s")


def test_pair_features_are_those_of_massless_four_vectors():
    rng = np.random.default_rng(0)
    pt, eta, phi = rng.lognormal(1, 1, 8), rng.normal(0, 1, 8), rng.uniform(-3, 3, 8)
    p4 = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    total = p4[:, :, None] + p4[:, None, :]
    mass2 = total[0] ** 2 - (total[1:] ** 2).sum(0)
    position = torch.tensor(np.stack([eta, phi], axis=-1), dtype=torch.float32)[None]
    features = pair_features(position, torch.tensor(np.log(pt), dtype=torch.float32)[None])[:, 0].numpy()
    dr = np.hypot(eta[:, None] - eta, (phi[:, None] - phi + np.pi) % (2 * np.pi) - np.pi)
    softer = np.minimum(pt[:, None], pt)
    off = ~np.eye(8, dtype=bool)
    for got, expected in zip(features, (dr, softer * dr, softer / (pt[:, None] + pt), mass2), strict=True):
        assert np.allclose(got[off], np.log(expected[off]), atol=2e-3)
