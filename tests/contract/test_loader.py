"""Training set and loader: what a model reads is what the cloud holds, each event once an epoch, in any batch and order."""

import tracemalloc
from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare
from tests.toy import toy_cloud

from cloudchamber.data import store
from cloudchamber.data.cache import cached
from cloudchamber.data.identity import event_ids
from cloudchamber.data.loader import Loader, make_batch, micro_batches, prefetched
from cloudchamber.data.order import Mixture, Shuffle, shares_of
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadSchema
from cloudchamber.events import Cloud, Label
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
    assert cut[np.arange(30)].counts.max() == 3
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


@pytest.mark.parametrize("block", [1, 7, 256])
@pytest.mark.parametrize("n", [1, 2, 90, 1000, 70_001, 3 * 65_536])
def test_every_number_comes_once_an_epoch_in_another_order(n, block):
    shuffle = Shuffle(n, seed=3, block=block)
    first, second = shuffle.at(0, n), shuffle.at(n, 2 * n)
    for epoch in (first, second):
        assert np.array_equal(np.sort(epoch), np.arange(n))
    assert n < 3 or not np.array_equal(first, second)
    middle = n // 3
    assert np.array_equal(shuffle.at(middle, middle + n), np.concatenate([first[middle:], second[:middle]]))


def test_an_order_of_ten_billion_events_takes_no_memory():
    shuffle = Shuffle(10**10, seed=0)
    tracemalloc.start()
    far = shuffle.at(7 * 10**9, 7 * 10**9 + 1000)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
    assert len(np.unique(far)) == 1000
    assert abs(far.mean() / 5e9 - 1) < 5 / np.sqrt(3 * 1000)


@pytest.mark.parametrize("block", [1, 100])
def test_positions_in_two_epochs_are_not_correlated(block):
    n = 200_000
    shuffle = Shuffle(n, seed=1, block=block)
    where = [np.argsort(shuffle.at(e * n, (e + 1) * n)) for e in range(2)]
    # Blocks move as one, so there are n / block independent places.
    assert abs(np.corrcoef(where)[0, 1]) < 4 / np.sqrt(n / block)
    assert abs(np.corrcoef(where[0], np.arange(n))[0, 1]) < 4 / np.sqrt(n / block)


def test_all_permutations_of_a_few_numbers_come_equally_often():
    counts = Counter(tuple(Shuffle(4, seed).at(0, 4)) for seed in range(4800))
    assert len(counts) == 24
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_a_mixture_draws_each_source_in_proportion_and_each_event_once_a_pass():
    sources = (range(3000), np.arange(3000, 3100))
    loader = Loader(sources, batch=64, seed=5, shares=(0.75, 0.25))
    drawn = np.concatenate([loader.rows_of(s) for s in range(1024)])
    assert (drawn < 3000).sum() == 0.75 * len(drawn)
    small = drawn[drawn >= 3000]
    for epoch in range(10):
        assert len(np.unique(small[epoch * 100 : (epoch + 1) * 100])) == 100
    large = drawn[drawn < 3000]
    assert len(np.unique(large[:3000])) == 3000
    assert abs((drawn[:6400] < 3000).mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 6400)


def test_the_temperature_evens_out_the_shares():
    assert shares_of([1, 3]) == (0.25, 0.75)
    assert shares_of([1, 9], temperature=2.0) == (0.25, 0.75)
    assert shares_of([1, 1], weights=[1, 3]) == (0.25, 0.75)
    with pytest.raises(BadInput, match="temperature"):
        shares_of([1, 2], temperature=0.0)
    with pytest.raises(BadInput, match="leave that source out"):
        Mixture((1e-6, 1 - 1e-6), 0)


@pytest.mark.parametrize("shares", [None, (0.5, 0.5)])
@pytest.mark.parametrize("ranks", [2, 3])
def test_the_ranks_share_every_step_without_overlap(shares, ranks):
    sources = (range(100),) if shares is None else (range(60), range(60, 100))
    whole = Loader(sources, 10, 1, shares)
    parts = [Loader(sources, 10, 1, shares, rank=r, ranks=ranks) for r in range(ranks)]
    for step in range(12):
        together = np.concatenate([p.rows_of(step) for p in parts])
        assert np.array_equal(np.sort(together), np.sort(whole.rows_of(step)))
    with pytest.raises(BadInput, match="rank 3 of 3"):
        Loader(sources, 10, 1, shares, rank=3, ranks=3)


def test_an_epoch_sees_every_event_once_and_any_step_is_known_without_the_others():
    loader = Loader((np.arange(10, 100),), batch=15, seed=3)
    epoch = np.concatenate([loader.rows_of(s) for s in range(6)])
    assert np.array_equal(np.sort(epoch), np.arange(10, 100))
    assert np.array_equal(Loader((np.arange(10, 100),), 15, 3).rows_of(4), loader.rows_of(4))
    assert not np.array_equal(np.concatenate([loader.rows_of(s) for s in range(6, 12)]), epoch)


@pytest.mark.parametrize("ahead", [0, 1, 3])
def test_prefetching_changes_neither_order_nor_content_and_passes_errors_on(ahead):
    assert list(prefetched(lambda s: s * s, range(3, 20), ahead)) == [s * s for s in range(3, 20)]

    def fails(step):
        if step == 5:
            raise BadInput("step 5")
        return step

    seen = []
    with pytest.raises(BadInput, match="step 5"):
        seen.extend(prefetched(fails, range(20), ahead))


def test_the_memory_mapped_cache_holds_what_the_cloud_does_split_by_split(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    clouds = [toy_cloud(40, seed=s) for s in (1, 2)]
    made = store.write(tmp_path / "store", clouds)
    data = cached([made], 128)
    assert all(isinstance(p.particles_TF.base, np.memmap) for p in data.parts)
    first = 0
    for name in store.SPLITS:
        whole = TrainingSet.from_cloud(made.read(name))
        rows = data.split(name)
        assert rows == range(first, first := first + len(whole))
        same_events(data, np.arange(rows.start, rows.stop), whole, np.arange(len(whole)))
    assert first == 80
    assert len(list((tmp_path / "cache").iterdir())) == 1


def same_events(data, rows, other, others):
    one, two = make_batch(data, rows), make_batch(other, others)
    for name in ("particles_BPF", "columns_BG", "mask_BP", "weight_B"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True), name
    assert one.targets.keys() == two.targets.keys()
    for name in one.targets:
        assert np.array_equal(one.targets[name], two.targets[name], equal_nan=True)
    assert np.array_equal(data[rows].ids, other[others].ids)


def test_a_repeated_part_gives_its_events_at_every_place():
    part = TrainingSet.from_cloud(toy_cloud(10)).parts[0]
    many = TrainingSet([part] * 1000)
    assert len(many) == 10_000
    same_events(many, np.array([9_999, 4, 17]), TrainingSet([part]), np.array([9, 4, 7]))


def test_parts_with_other_features_and_labels_share_a_set(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    rich, poor = toy_cloud(30, seed=1), toy_cloud(30, seed=2, features=("charge", "extra"))
    labels = (Label(name="label", classes=("wide", "round")), Label(name="mass", unit="GeV"))
    schema = poor.schema.model_copy(update={"dataset": "other", "labels": labels})
    poor = Cloud(poor.particles, {"label": poor.events["label"], "mass": np.arange(30.0)}, schema)
    stores = [store.write(tmp_path / n, [c]) for n, c in (("rich", rich), ("poor", poor))]
    data = cached(stores, 128)
    assert data.schema.label("label").classes == ("narrow", "wide", "round")
    assert data.schema.label_names == ("label", "width", "mass")
    kinds = (np.searchsorted(data.starts, np.arange(60), side="right") - 1) % 2  # parts alternate: rich, poor
    batch = make_batch(data, np.arange(60))
    column = {n: batch.particles_BPF[..., i] for i, n in enumerate(data.particle_names)}
    assert np.isnan(column["d0_err"][kinds == 1][batch.mask_BP[kinds == 1]]).all()
    assert np.isfinite(column["extra"][kinds == 1][batch.mask_BP[kinds == 1]]).all()
    assert np.isnan(column["extra"][kinds == 0][batch.mask_BP[kinds == 0]]).all()
    assert (batch.particles_BPF[~batch.mask_BP] == 0).all()
    assert np.isnan(batch.targets["width"][kinds == 1]).all()
    assert np.isnan(batch.targets["mass"][kinds == 0]).all()
    assert set(batch.targets["label"][kinds == 1]) == {1, 2}  # "wide" is class 1 of the set, class 0 of the store
    by_id = dict(zip(event_ids(poor).tolist(), poor.events["label"].tolist(), strict=True))
    ids = data[np.arange(60)].ids[kinds == 1].tolist()
    assert [by_id[i] + 1 for i in ids] == batch.targets["label"][kinds == 1].tolist()


def test_a_label_with_two_meanings_is_refused():
    cloud = toy_cloud(5)
    numbers = cloud.schema.model_copy(update={"labels": (Label(name="label"), cloud.schema.label("width"))})
    parts = [TrainingSet.from_cloud(c).parts[0] for c in (cloud, Cloud(cloud.particles, cloud.events, numbers))]
    with pytest.raises(BadSchema, match="'label'"):
        TrainingSet(parts)


def test_the_cache_keeps_weights_that_differ_between_shards(tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    stores = []
    for weight in (1.0, 0.01):
        cloud = toy_cloud(10, seed=int(weight * 100))
        schema = cloud.schema.model_copy(update={"weight": "w"})
        stores.append(store.write(tmp_path / f"store{weight}", [cloud.with_columns(schema, w=np.full(10, weight))]))
    assert np.allclose(np.sort(cached(stores, 128)[np.arange(20)].weights), np.repeat([0.01, 1.0], 10))
