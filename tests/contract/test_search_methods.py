"""Every search method of the registry: toys at once as toys one by one, blind to labels when prepared; toys are resumed."""

import numpy as np
import pytest

from cloudchamber import registry
from cloudchamber.errors import BadInput, BadRun, MissingColumn
from cloudchamber.search.calibrate import Permutations, calibrate, null_statistics
from cloudchamber.search.knob import knob
from cloudchamber.search.sample import Bank, Sample, concatenate
from cloudchamber.search.suite import suite
from cloudchamber.stats.score_table import ScoreTable

N, DATA = 300, 150


@pytest.fixture(scope="module")
def pool():
    return Sample(np.random.default_rng(0).normal(size=(N, 3)))


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(1)
    theta = np.array([[1.0], [2.0], [3.0]])
    x = rng.normal(size=(180, 3)) + np.repeat(theta, 60, axis=0) * [1, 0, 0]
    return Bank(Sample(x), np.repeat(np.arange(3), 60), ("one", "two", "three"), theta_SP=theta)


@pytest.mark.parametrize("name", registry.entries("methods"))
def test_a_method_judges_many_toys_as_it_judges_one(name, pool, bank):
    prepared = registry.get("methods", name).prepare(pool, bank, 0)
    data, reference = Permutations(N, DATA, seed=2, size=3).chunk(0)
    together = prepared.statistics(data, reference)
    assert together.shape == (3, len(prepared.names))
    alone = np.concatenate([prepared.statistics(d[None], r[None]) for d, r in zip(data, reference, strict=True)])
    assert np.allclose(together, alone, rtol=1e-3, atol=1e-3)
    scores = prepared.scores(pool.features_NF[:7], data[0], reference[0])
    assert scores.shape == (7,)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", registry.entries("methods"))
def test_a_signal_in_the_data_raises_the_statistic_and_the_scores_of_its_events(name, pool, bank):
    x = pool.features_NF.copy()
    x[:40, 0] += 3
    prepared = registry.get("methods", name).prepare(Sample(x), bank, 0)
    labels = (np.arange(N) < DATA).astype(np.float32)
    null = prepared.statistics(*Permutations(N, DATA, seed=2, size=20).chunk(0))
    assert (prepared.statistics(labels[None], 1 - labels[None])[0] > null.max(axis=0)).any()
    scores = prepared.scores(x, labels, 1 - labels)
    assert scores[:40].mean() > scores[40:].mean() + scores[40:].std() / 2


@pytest.mark.parametrize("name", [n for n, m in registry.entries("methods").items() if m.log_ratio])
def test_what_counts_as_a_ratio_is_worth_no_more_than_one_without_a_signal(name, pool, bank):
    prepared = registry.get("methods", name).prepare(pool, bank, 0)
    worth = np.exp(null_statistics(suite(pool, bank, (name,), seed=0), Permutations(N, DATA, seed=7), 4000))
    assert worth.shape[1] == len(prepared.names)
    assert (worth.mean(axis=0) - 4 * worth.std(axis=0) / 4000**0.5 < 1).all()


@pytest.mark.parametrize("name", [n for n, m in registry.entries("methods").items() if m.needs_bank])
def test_a_method_that_needs_a_bank_says_so(name, pool):
    with pytest.raises(BadInput, match=f"{name}.*needs a bank"):
        suite(pool, None, (name,), seed=0)


def test_toys_that_were_killed_go_on_as_if_nothing_had_been(pool, tmp_path):
    test = suite(pool, None, ("weak", "kernel"), seed=0)
    toys = Permutations(N, DATA, seed=3, size=16)
    whole = null_statistics(test, toys, 60)
    null_statistics(test, toys, 20, folder=tmp_path, fingerprint="plan")
    made = sorted(tmp_path.glob("chunk-*.npy"))
    assert len(made) == 2
    before = [p.stat().st_mtime_ns for p in made]
    assert np.array_equal(null_statistics(test, toys, 60, folder=tmp_path, fingerprint="plan", workers=2), whole)
    assert [p.stat().st_mtime_ns for p in made] == before
    with pytest.raises(BadRun, match="another search or plan"):
        null_statistics(test, toys, 60, folder=tmp_path, fingerprint="another plan")


def test_a_knob_that_leaves_nothing_to_test_is_refused(pool, bank):
    with pytest.raises(BadInput, match="leaves no test any share"):
        knob(suite(pool, bank, ("bank",), seed=0), (1.0,))
    with pytest.raises(BadInput, match="between 0"):
        knob(suite(pool, bank, ("bank",), seed=0), (1.5,))


def test_a_calibration_of_few_toys_is_refused(pool, bank):
    test = suite(pool, bank, ("bank",), seed=0)
    with pytest.raises(BadInput, match="at least 40 toys"):
        calibrate(knob(test), np.zeros((10, 1)))


def test_a_sample_is_read_from_a_score_table(tmp_path):
    rng = np.random.default_rng(4)
    table = ScoreTable(
        target="label",
        classes=("background", "signal"),
        event_id=np.arange(20, dtype=np.uint64),
        truth=np.zeros(20, dtype=np.int64),
        scores_NC=np.full((20, 2), 0.5, dtype=np.float32),
        fold=np.full(20, 2, dtype=np.int8),
        weight=np.ones(20, dtype=np.float32),
        embedding_NE=rng.normal(size=(20, 5)).astype(np.float32),
    )
    table.write(tmp_path / "scores.parquet")
    sample = Sample.read(tmp_path / "scores.parquet")
    assert np.allclose(sample.features_NF, table.embedding_NE)
    assert (sample.event_id_N == table.event_id).all()
    both = concatenate([sample, Sample(sample.features_NF)])
    assert len(both) == 2 * len(sample)
    assert both.event_id_N is None
    with pytest.raises(MissingColumn, match="Nearest"):
        Sample.read(tmp_path / "scores.parquet", features=("embeding",))


@pytest.mark.parametrize(
    ("change", "message"),
    [({"features_NF": np.zeros(3)}, "events with features"), ({"mass_N": np.zeros(2)}, "mass_N of shape")],
)
def test_a_sample_that_is_inconsistent_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        Sample(**{"features_NF": np.zeros((3, 2))} | change)
    with pytest.raises(BadInput, match="not finite"):
        Sample(np.full((3, 2), np.nan))
