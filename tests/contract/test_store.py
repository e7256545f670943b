"""The store: what is written comes back, splits never move, and a write that dies leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cloudchamber.data import read
from cloudchamber.data.store import SPLITS, Store, event_ids, split_of, write
from cloudchamber.errors import BadInput, BadSchema, BadStore
from cloudchamber.events import Cloud, Feature, Label, Schema, concatenate

SCHEMA = Schema(
    dataset="toy",
    frame="jet",
    features=(Feature(name="d0", unit="mm"),),
    columns=(Feature(name="met", unit="GeV"),),
    labels=(Label(name="kind", classes=("a", "b")), Label(name="mass", unit="GeV")),
    weight="w",
)


def toy(n: int, seed: int = 0) -> Cloud:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 6, n)
    size = int(counts.sum())
    px, py, pz = rng.normal(0, 10, (3, size)).astype(np.float32)
    energy = np.sqrt(px**2 + py**2 + pz**2) + np.float32(0.1)
    d0 = np.where(rng.random(size) < 0.3, np.nan, rng.normal(size=size)).astype(np.float32)
    events = {"met": rng.random(n), "kind": rng.integers(-1, 2, n), "mass": rng.random(n), "w": rng.random(n)}
    return Cloud.from_flat(counts, {"px": px, "py": py, "pz": pz, "energy": energy, "d0": d0}, events, SCHEMA)


def equal(a: Cloud, b: Cloud) -> bool:
    same_events = all(np.array_equal(a.events[n], b.events[n], equal_nan=True) for n in a.schema.event_names)
    same_particles = all(a.flat(n).tobytes() == b.flat(n).tobytes() for n in a.particles.fields)
    return a.schema == b.schema and np.array_equal(a.counts, b.counts) and same_events and same_particles


def test_what_is_written_comes_back_bit_by_bit(tmp_path):
    cloud = toy(1000)
    store = write(tmp_path / "s", [cloud[:300], cloud[300:301], cloud[301:301], cloud[301:]], shard_events=256)
    assert len(store.manifest.shards) == 4
    assert equal(store.read(), cloud)
    assert equal(concatenate(list(store.iter_shards())), cloud)
    assert equal(read(tmp_path / "s", start=250, stop=600), cloud[250:600])
    assert store.event_ids().tolist() == event_ids(cloud).tolist()
    assert store.manifest.particles == cloud.counts.sum()
    store.verify()


def test_float64_particles_are_stored_as_float32(tmp_path):
    cloud = toy(50)
    double = {n: cloud.flat(n).astype(np.float64) + 1e-12 for n in cloud.particles.fields}
    stored = write(tmp_path / "s", [Cloud.from_flat(cloud.counts, double, cloud.events, SCHEMA)]).read()
    assert stored.flat("px").tobytes() == double["px"].astype(np.float32).tobytes()


def test_the_splits_share_the_events_out_and_follow_the_ids(tmp_path):
    store = write(tmp_path / "s", [toy(3000)], shard_events=700)
    parts = {name: store.read(name) for name in SPLITS}
    assert sum(map(len, parts.values())) == 3000 == sum(store.manifest.splits.values())
    for i, (name, part) in enumerate(parts.items()):
        assert len(part) == store.count(name)
        assert (split_of(event_ids(part)) == i).all()
        assert store.event_ids(name).tolist() == event_ids(part).tolist()
        assert equal(store.read(name, limit=5), part[:5])
        assert store.event_ids(name, limit=5).tolist() == event_ids(part)[:5].tolist()
    counted = {n: sum(store.manifest.classes["kind"][c][n] for c in ("a", "b", "unknown")) for n in SPLITS}
    assert counted == store.manifest.splits
    assert store.manifest.classes["kind"]["a"]["val"] == (parts["val"].labels["kind"] == 0).sum()


def test_adding_data_moves_no_event_between_train_and_test(tmp_path):
    old, new = toy(400), toy(600, seed=1)
    small = write(tmp_path / "small", [old])
    large = write(tmp_path / "large", [new[:123], old, new[123:]], shard_events=111)
    for name in SPLITS:
        assert set(small.event_ids(name)) <= set(large.event_ids(name))


def test_splits_have_the_fractions_asked_for():
    ids = event_ids(toy(40_000))
    ids = np.unique(ids)
    shares = np.bincount(split_of(ids, (0.5, 0.2, 0.3)), minlength=3) / len(ids)
    np.testing.assert_allclose(shares, (0.5, 0.2, 0.3), atol=4 * np.sqrt(0.25 / len(ids)))
    with pytest.raises(BadInput, match="add up to 1"):
        split_of(ids, (0.5, 0.2, 0.2))


def test_an_event_id_depends_on_the_particles_and_their_order_alone():
    cloud = toy(500)
    ids = event_ids(cloud)
    assert event_ids(cloud[::-1]).tolist() == ids[::-1].tolist()
    assert event_ids(toy(500).with_columns(SCHEMA, met=np.zeros(500))).tolist() == ids.tolist()
    assert len(np.unique(ids)) == (cloud.counts > 0).sum() + 1  # all empty events share one
    swapped = Cloud(cloud.particles[:, ::-1], cloud.events, SCHEMA)
    assert ((event_ids(swapped) == ids) == (cloud.counts < 2)).all()


def test_views_of_one_hard_process_lie_on_one_side_of_every_split():
    labels = Label(name="pair"), Label(name="view")
    schema = SCHEMA.model_copy(update={"labels": (*SCHEMA.labels, *labels)})
    row = np.arange(3000)
    cloud = toy(3000).with_columns(schema, pair=row // 3, view=row % 3)
    ids = event_ids(cloud)
    assert len(np.unique(ids[cloud.counts > 0])) == (cloud.counts > 0).sum()
    for fractions in ((0.8, 0.1, 0.1), (0.5, 0.25, 0.25)):
        splits = split_of(ids, fractions).reshape(-1, 3)
        assert (splits == splits[:, :1]).all()
        np.testing.assert_allclose(np.bincount(splits[:, 0]) / 1000, fractions, atol=0.06)
    assert event_ids(cloud[1::3]).tolist() == ids[1::3].tolist()  # an event's id needs none of the others


def test_event_ids_are_the_same_in_every_version():
    schema = Schema(dataset="x", frame="jet")
    p = {n: np.array([1.5, -2.0, 3.25], np.float32) for n in ("px", "py", "pz", "energy")}
    ids = event_ids(Cloud.from_flat(np.array([2, 0, 1]), p, {}, schema))
    assert ids.tolist() == [16898614225642404559, 16294208416658607535, 11277727384682549130]


def test_equal_events_make_an_equal_manifest(tmp_path):
    write(tmp_path / "a", [toy(300)])
    write(tmp_path / "b", [toy(300)[:100], toy(300)[100:]])
    assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()


def test_a_shard_is_plain_parquet_with_its_schema_inside(tmp_path):
    cloud = toy(100)
    write(tmp_path / "s", [cloud])
    table = pq.read_table(tmp_path / "s" / "shard-00000.parquet")
    assert table["part_px"].to_pylist() == cloud.particles["px"].to_list()
    assert Schema.model_validate_json(table.schema.metadata[b"cloudchamber"]) == SCHEMA


def test_reading_a_few_events_reads_a_few_row_groups(tmp_path, monkeypatch):
    store = write(tmp_path / "s", [toy(60_000)])
    groups = []
    original = pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda s, g, **k: groups.append(g) or original(s, g, **k))
    store.read("train", limit=10)
    assert set(groups) == {0}


def test_nothing_is_overwritten(tmp_path):
    write(tmp_path / "s", [toy(10)])
    with pytest.raises(BadStore, match="is there already"):
        write(tmp_path / "s", [toy(10)])


def broken(error: BaseException) -> Iterator[Cloud]:
    yield toy(100)
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError(), BadSchema("x")])
def test_a_write_that_fails_leaves_nothing(error, tmp_path):
    with pytest.raises(type(error)):
        write(tmp_path / "s", broken(error), shard_events=30)
    assert list(tmp_path.iterdir()) == []


def test_no_events_make_no_store(tmp_path):
    with pytest.raises(BadStore, match="no event"):
        write(tmp_path / "s", [toy(10)[:0]])
    assert list(tmp_path.iterdir()) == []


def test_labels_out_of_range_are_not_written(tmp_path):
    with pytest.raises(BadSchema, match="'kind' has values"):
        write(tmp_path / "s", [toy(10).with_columns(SCHEMA, kind=np.full(10, 2))])
    assert list(tmp_path.iterdir()) == []


CHILD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_store import toy, write
def clouds():
    yield toy(100)
    print("started", flush=True)
    time.sleep(60)
write(Path(sys.argv[2]), clouds(), shard_events=50)
"""


def test_a_killed_write_leaves_no_store(tmp_path):
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child:
        assert child.stdout.readline() == b"started\n"
        child.kill()
        assert child.wait(30) != 0
    assert not (tmp_path / "s").exists()
    assert len(write(tmp_path / "s", [toy(100)])) == 100


def test_a_missing_short_or_altered_shard_is_named(tmp_path):
    write(tmp_path / "s", [toy(100)], shard_events=40)
    shard = tmp_path / "s" / "shard-00001.parquet"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1])
    with pytest.raises(BadStore, match=r"shard-00001\.parquet: has .* bytes, the manifest says"):
        Store.open(tmp_path / "s")
    shard.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(BadStore, match=r"shard-00001\.parquet: SHA-256"):
        Store.open(tmp_path / "s").verify()
    shard.unlink()
    with pytest.raises(BadStore, match=r"shard-00001\.parquet: the manifest names this shard"):
        Store.open(tmp_path / "s")


def test_a_folder_or_manifest_that_is_no_store_is_told(tmp_path):
    with pytest.raises(BadStore, match=r"no manifest\.json"):
        Store.open(tmp_path)
    write(tmp_path / "s", [toy(10)])
    manifest = tmp_path / "s" / "manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "rows": "many"}))
    with pytest.raises(BadStore, match=r"manifest\.json: entry 'rows'"):
        Store.open(tmp_path / "s")
    manifest.write_text(json.dumps({**content, "version": 99}))
    with pytest.raises(BadStore, match="version 99"):
        Store.open(tmp_path / "s")


def test_an_unknown_split_or_label_names_the_nearest(tmp_path):
    store = write(tmp_path / "s", [toy(20)])
    with pytest.raises(BadInput, match="'train'"):
        store.read("training")
    with pytest.raises(BadSchema, match="'kind'"):
        store.read().labels["knd"]
    assert store.read().labels["label"].tolist() == store.read().labels["kind"].tolist()
