"""Training set and loader: what a model reads is what the cloud holds, each event once an epoch, in any batch."""

import numpy as np
import pytest
from tests.toy import toy_cloud

from cloudchamber.data import store
from cloudchamber.data.loader import Loader, make_batch, micro_batches
from cloudchamber.data.training_set import TrainingSet, cached, write
from cloudchamber.errors import BadInput
from cloudchamber.events.kinematics import GEOMETRY


def test_a_batch_holds_the_features_of_its_events():
    cloud = toy_cloud(30)
    data = TrainingSet.from_cloud(cloud)
    assert data.particle_names[:3] == GEOMETRY
    batch = make_batch(data, np.array([7, 3]))
    assert batch.mask_BP.sum(1).tolist() == cloud.counts[[7, 3]].tolist()
    one = cloud[7]
    pt = np.sort(np.hypot(one.flat("px"), one.flat("py")))[::-1]
    assert np.allclose(batch.particles_BPF[0, : len(pt), 2], np.log(pt), atol=1e-5)
    mass = np.sqrt(max(one.flat("energy").sum() ** 2 - sum(one.flat(n).sum() ** 2 for n in ("px", "py", "pz")), 0))
    assert np.isclose(batch.columns_BG[0, data.column_names.index("log_mass")], np.log1p(mass), rtol=1e-4)
    assert (batch.particles_BPF[~batch.mask_BP] == 0).all()


def test_a_limit_keeps_the_leading_particles_and_the_axis():
    cloud = toy_cloud(30)
    full, cut = TrainingSet.from_cloud(cloud), TrainingSet.from_cloud(cloud, max_particles=3)
    assert cut.counts_N.max() == 3
    assert np.array_equal(
        make_batch(full, np.array([4])).particles_BPF[0, :3], make_batch(cut, np.array([4])).particles_BPF[0], equal_nan=True
    )


@pytest.mark.parametrize("max_tokens", [1, 50, 10_000])
def test_micro_batches_hold_every_event_once_within_the_budget(max_tokens):
    data = TrainingSet.from_cloud(toy_cloud(100))
    rows = np.random.default_rng(0).permutation(100)[:77]
    batches = list(micro_batches(data, rows, max_tokens))
    assert np.array_equal(np.sort(np.concatenate([b.index_B for b in batches])), np.sort(rows))
    assert all(b.mask_BP.size <= max_tokens or len(b) == 1 for b in batches)


def test_an_epoch_sees_every_event_once_and_any_step_is_known_without_the_others():
    data = TrainingSet.from_cloud(toy_cloud(100))
    loader = Loader(data, np.arange(10, 100), batch=15, seed=3)
    epoch = np.concatenate([loader.rows_of(s) for s in range(6)])
    assert np.array_equal(np.sort(epoch), np.arange(10, 100))
    assert np.array_equal(Loader(data, np.arange(10, 100), 15, 3).rows_of(4), loader.rows_of(4))
    assert not np.array_equal(np.concatenate([loader.rows_of(s) for s in range(6, 12)]), epoch)


def test_the_memory_mapped_cache_holds_what_the_cloud_does(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    clouds = [toy_cloud(40, seed=s) for s in (1, 2)]
    made = store.write(tmp_path / "store", clouds)
    data = cached([made], 128)
    assert isinstance(data.particles_TF.base, np.memmap)
    whole = TrainingSet.from_cloud(made.read())
    assert np.array_equal(data.particles_TF, whole.particles_TF, equal_nan=True)
    for name in ("offsets_N", "columns_NG", "weight_N", "event_id_N"):
        assert np.array_equal(getattr(data, name), getattr(whole, name)), name
    assert np.array_equal(data.targets["label"], whole.targets["label"])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_parts_with_other_features_cannot_be_joined(tmp_path):
    parts = [TrainingSet.from_cloud(toy_cloud(5)), TrainingSet.from_cloud(toy_cloud(5, features=("charge",)))]
    with pytest.raises(BadInput, match="particle_names"):
        write(tmp_path / "set", parts)
    assert list(tmp_path.iterdir()) == []


def test_the_cache_keeps_weights_that_differ_between_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    stores = []
    for weight in (1.0, 0.01):
        cloud = toy_cloud(10, seed=int(weight * 100))
        schema = cloud.schema.model_copy(update={"weight": "w"})
        stores.append(store.write(tmp_path / f"store{weight}", [cloud.with_columns(schema, w=np.full(10, weight))]))
    assert np.allclose(cached(stores, 128).weight_N, np.repeat([1.0, 0.01], 10))
