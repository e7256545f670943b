"""Benchmarks: the record keeps its word, the committed results follow from their figures, the scripts run."""

import importlib.util
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
RESULTS = sorted((FOLDER / "results").glob("*.json"))
# Script -> the packages that it needs.
SCRIPTS = dict.fromkeys(("train_speed", "load_speed", "quality"), ("omnilearned", "weaver"))
SCRIPTS |= dict.fromkeys(("detector", "jetclass_match", "sic"), ("pythia8mc", "fastjet"))
SCRIPTS |= {"neutrino": ("pythia8mc",), "minerva": ("pythia8mc",), "adaptation": (), "calibration": (), "memory": ()}
SCRIPTS |= {"objectives": ("fastjet",), "generation": ("fastjet",), "scaling": ("pythia8mc", "fastjet")}
SCRIPTS |= dict.fromkeys(("false_alarms", "knob", "sculpting", "followup", "battery"), ())


@pytest.fixture
def module(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    names = [path.stem for path in FOLDER.glob("*.py")]
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


def write(record, folder, value, bound=2.0, tiny=False):
    figures = {"ratio": record.median([value, value, value + 1]), "other": record.exact(bound)}
    targets = [record.Target("ratio", ">=", bound), record.Target("other", "<=", "ratio")]
    return record.write("example", figures, targets, settings={}, seeds=[0], tiny=tiny, folder=folder)


@pytest.mark.parametrize(("value", "holds"), [(1.9, False), (2.0, True), (7.0, True)])
def test_holds_follows_from_figure_and_bound(module, tmp_path, value, holds):
    content = json.loads(write(module("record"), tmp_path, value).read_text())
    assert content["holds"] is holds
    assert [t["holds"] for t in content["targets"]] == [holds, holds]


def test_a_typed_holds_is_found(module, tmp_path):
    record = module("record")
    content = json.loads(write(record, tmp_path, 1.0).read_text())
    record.check(content)
    with pytest.raises(ValueError, match="does not follow"):
        record.check({**content, "holds": True})
    with pytest.raises(ValueError, match="machine"):
        record.check({k: v for k, v in content.items() if k != "machine"})


def test_a_figure_that_is_no_number_is_refused(module, tmp_path):
    with pytest.raises(ValueError, match=r"spread|JSON"):
        write(module("record"), tmp_path, float("nan"))
    assert not list(tmp_path.iterdir())


def test_a_record_says_its_command_as_the_readme_does_and_no_folder_of_this_machine(module):
    told = module("record")._command(["./few.py", "--threads", "2", "-o", "/somewhere", "--tiny"])
    assert told == "python benchmarks/few.py --threads 2 --tiny"


def test_a_tiny_run_never_lands_among_the_results(module):
    record = module("record")
    path = write(record, record.RESULTS, 1.0, tiny=True)
    assert path.parent == record.RESULTS / "tiny"
    path.unlink()


def test_median_and_mean_agree_with_their_formulas(module):
    record, values = module("record"), [1.0, 2.0, 4.0, 8.0, 16.0]
    assert record.median(values).value == 4.0
    mean = record.mean(values)
    assert mean.value == pytest.approx(6.2)
    assert mean.high - mean.value == pytest.approx(np.std(values, ddof=1) / 5**0.5)


def test_every_contestant_starts_a_repetition_once(module):
    order = []
    work = {name: lambda repetition, name=name: order.append((repetition, name)) or 1 for name in "abc"}
    rates = module("timing").interleaved(work, 3, report=lambda _: None)
    assert {name for i, (_, name) in enumerate(order) if i % 3 == 0} == {"a", "b", "c"}
    assert all(len(r) == 3 and min(r) > 0 for r in rates.values())


@pytest.mark.parametrize("path", RESULTS, ids=lambda p: p.stem)
def test_a_committed_result_follows_from_its_figures(module, path):
    content = json.loads(path.read_text())
    module("record").check(content)
    assert content["name"] == path.stem
    assert not content["tiny"]
    assert path.stem in (FOLDER / "README.md").read_text()


def test_toy_jets_have_the_multiplicity_they_claim(module):
    counts = module("jets").toy(4000).counts
    assert counts.mean() == pytest.approx(45, rel=0.02)
    assert counts.min() >= 10
    assert counts.max() <= 128


def test_sorted_cuts_hold_every_jet_once_within_the_budget(module):
    jets = module("jets").Jets.of(module("jets").toy(300))
    rows = np.random.default_rng(1).permutation(300)[:200]
    cuts = list(module("inputs").sorted_cuts(jets.offsets_N, rows, 1024, least=11))
    assert sorted(np.concatenate(cuts)) == sorted(rows)
    assert max(len(c) * max(jets.counts_N[c].max(), 11) for c in cuts) <= 1024


def test_peers_read_the_momenta_of_our_jets(module):
    jets = module("jets").Jets.of(module("jets").toy(50))
    px, py, _, energy = jets.momentum_T4.astype(np.float64).T
    theirs, part = module("inputs").pet2_columns(jets), module("inputs").part_columns(jets)
    assert np.allclose(np.exp(theirs[:, 2]), np.hypot(px, py), rtol=1e-4)
    assert np.allclose(np.exp(theirs[:, 3]), energy, rtol=1e-4)
    assert set(np.unique(theirs[:, 4])) <= set(range(1, 9))
    assert np.array_equal(part[:, :4], jets.momentum_T4)
    assert np.isfinite(part).all()


def test_our_contestant_learns_and_gives_probabilities_in_the_order_asked(module):
    jets = module("jets").Jets.of(module("jets").toy(20, classes=("a", "b")))
    ours = module("ours").Ours(jets, "xs", schedule=module("peers").Schedule(20, 2e-3))
    rows = np.arange(12)
    losses = [ours.train_step(rows, step) for step in range(5)]
    assert losses[0] == pytest.approx(np.log(2), abs=1e-3)
    assert losses[-1] < losses[0]
    chosen = np.array([7, 3, 15])
    together = ours.probabilities(chosen)
    assert np.allclose(together, np.concatenate([ours.probabilities(chosen[i : i + 1]) for i in range(3)]), atol=1e-5)


def test_a_mutation_follows_from_its_number_and_always_changes_the_file(module):
    damage, content = module("damage"), bytes(range(256)) * 4
    first = [damage.damaged(content, "npz", number) for number in range(90)]
    assert first == [damage.damaged(content, "npz", number) for number in range(90)]
    assert all(spoilt != content for _, spoilt in first)
    assert {kind for kind, _ in first} == set(damage.KINDS)
    assert first != [damage.damaged(content, "root", number) for number in range(90)]


def test_fuzzing_tells_what_became_of_every_mutation(module, tmp_path):
    command = [sys.executable, str(FOLDER / "fuzz.py"), "--tiny", "--containers", "npz", "lhe", "-o", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    figures = json.loads((tmp_path / "fuzz.json").read_text())["figures"]
    fuzz = module("fuzz")
    for name in ("npz", "lhe"):
        assert sum(figures[f"{name}: {outcome}"]["value"] for outcome in fuzz.GOOD) == 45


def test_a_worker_that_dies_hangs_or_asks_for_memory_is_told(module, monkeypatch):
    fuzz = module("fuzz")
    done = {"crash": "import os; input(); os.abort()", "hang": "import time; input(); time.sleep(60)"}
    done["memory"] = "import sys; input(); sys.exit('std::bad_alloc')"
    start = subprocess.Popen
    monkeypatch.setattr(fuzz, "LIMIT_S", 2.0)
    monkeypatch.setattr(fuzz, "START_S", 0.0)
    for outcome, code in done.items():
        instead = partial(lambda code, _, **options: start([sys.executable, "-c", code], **options), code)
        monkeypatch.setattr(fuzz.subprocess, "Popen", instead)
        assert [o.outcome for o in fuzz.run_until_end("npz", [0, 1])] == [outcome]


def test_subjettiness_of_two_narrow_pairs_is_the_ratio_of_their_widths(module):
    pytest.importorskip("fastjet")
    from cloudchamber.events import Cloud, Schema

    phi = np.array([0.0, 0.02, 0.4, 0.42])  # equal pT at eta 0: tau1 from the middle 0.2 each, tau2 0.01 each
    columns = {"px": np.cos(phi), "py": np.sin(phi), "pz": 0 * phi, "energy": 1 + 0 * phi}
    jets = {n: np.append(c, c[:1]).astype(np.float32) for n, c in columns.items()}
    cloud = Cloud.from_flat(np.array([4, 1]), jets, {}, Schema(dataset="pairs", frame="jet"))
    assert module("dijets").tau21(cloud) == pytest.approx([0.05, 0], abs=1e-3)


def test_jets_for_jetnet_lie_about_their_axis_with_shares_of_its_momentum(module):
    from cloudchamber.events import Cloud, Schema, kinematics

    phi = np.array([0.9, 1.1, 1.0])  # two of equal pT about phi 1, and one alone
    columns = kinematics.momenta(np.array([2.0, 2.0, 5.0]), np.array([0.3, 0.3, -0.5]), phi)
    flat = {n: v.astype(np.float32) for n, v in columns.items()}
    made = module("generation").relative(Cloud.from_flat(np.array([2, 1]), flat, {}, Schema(dataset="two", frame="jet")))
    assert made.shape == (2, 2, 3)
    assert made[0, :, 1] == pytest.approx([-0.1, 0.1], abs=1e-4)
    assert made[0, :, 2] == pytest.approx(np.full(2, 0.5 / np.cos(0.1)), rel=1e-4)
    assert made[1, 0] == pytest.approx([0, 0, 1], abs=1e-4)
    assert not made[1, 1].any()


def test_the_test_that_knows_the_families_is_the_likelihood_ratio_of_their_mixture(module):
    from cloudchamber.search.battery import alternatives

    rng, n = np.random.default_rng(3), 500
    x = rng.normal(size=(n, 2))
    log_ratio = np.array([one.log_ratio_N for one in alternatives(x, 10, 0.01, 1)]).T.astype(np.float32)
    known = module("families").Families(log_ratio)
    data = rng.poisson(100 / n, (4000, n)).astype(np.float32)
    ratio = np.exp(known.statistics(data, data)[:, 0])
    # As many events are expected with a signal as without, so that the product over events is the whole Poisson ratio.
    assert ratio == pytest.approx(np.exp(data.astype(float) @ log_ratio.astype(float)).mean(axis=1), rel=1e-4)
    assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std(ddof=1) / np.sqrt(len(ratio)))


def test_drawn_toys_have_the_strength_that_was_asked_for(module):
    x = np.random.default_rng(0).normal(size=500)
    x = (x - x.mean()) / x.std()
    data, reference = module("gaussians").Drawn(500, 1000, 2000, seed=0, tilt_SN=x[None], strength=1.5, size=1000).chunk(0)
    assert data.sum(1).mean() == pytest.approx(1000, abs=4)
    z = (data @ x / 1000 - reference @ x / 2000) / np.sqrt(1 / 1000 + 1 / 2000)
    assert z.mean() == pytest.approx(1.5, abs=4 / np.sqrt(1000))
    assert z.std() == pytest.approx(1, abs=0.1)


def test_the_posterior_finds_the_signal_its_share_and_its_events(module):
    rng = np.random.default_rng(0)
    means_K = np.array([-3.0, 1.5, 3.0])
    is_signal_N = rng.uniform(size=20_000) < 0.02
    x_N = rng.normal(size=20_000) + np.where(is_signal_N, 3.0, 0.0)
    log_ratio_NK = means_K * x_N[:, None] - means_K**2 / 2
    found = module("posterior").characterise(log_ratio_NK, np.full(3, 1 / 3))
    assert found.posterior_K.sum() == pytest.approx(1)
    assert found.posterior_K[2] > 0.99
    assert found.fraction == pytest.approx(0.02, rel=0.15)
    truth_N = 0.02 / (0.02 + 0.98 * np.exp(4.5 - 3 * x_N))  # Bayes' theorem
    assert np.abs(found.signal_N - truth_N).max() < 0.05


def test_what_the_data_cannot_tell_stays_as_the_prior_says(module):
    prior_K = np.array([0.7, 0.2, 0.1])
    assert module("posterior").characterise(np.zeros((100, 3)), prior_K).posterior_K == pytest.approx(prior_K)


def test_the_detector_is_compared_with_the_card_s_own_numbers_and_a_wrong_one_is_found():
    from cloudchamber.validation import detector

    numbers = {"eta": (1.0, 2.0), "pt_gev": (1.0, 10.0), "value": ((0.5, 0.9), (0.2, 0.3))}
    numbers |= {"falls_above_gev": 100.0, "falls_per_gev": 0.01}
    pt, eta = np.array([0.5, 5.0, 50.0, 200.0, 5.0, 5.0]), np.array([0.0, -0.5, 0.5, 1.5, 1.5, 2.5])
    assert detector._table(numbers, pt, eta) == pytest.approx([0.0, 0.5, 0.9, 0.3 / np.e, 0.2, 0.0])
    cell = {"significance": 2.0, "threshold_gev": 0.5}
    assert detector._noise_border(cell, 1.0, 0.0, 2.25, 0.0) == pytest.approx(9.0)  # E = 2 * 1.5 sqrt(E)
    assert detector._noise_border(cell, 1.0, 0.0, 0.01, 0.0) == pytest.approx(0.5)
    pulls = detector.Pulls()
    detector._binomial(pulls, "right", np.repeat([1.0, 0.0], [900, 100]), np.full(1000, 0.9))
    detector._binomial(pulls, "wrong", np.repeat([1.0, 0.0], [900, 100]), np.full(1000, 0.95))
    assert pulls.p_values()["right"] == pytest.approx(1.0)
    assert pulls.p_values()["wrong"] < 1e-9


def test_pet2_reads_minervas_particles_by_rising_event_with_their_kind_and_place(module):
    from cloudchamber.events import Cloud, Feature, Label, Schema

    features = (
        *(Feature(name=n) for n in ("x", "y", "z", "time")),
        *(Feature(name=n, kind="flag") for n in ("is_muon", "is_cluster")),
    )
    schema = Schema(
        dataset="two", frame="fixed-target", features=features, labels=(Label(name="pion_class", classes=("a", "b")),)
    )
    particles = {"px": [0.0, 3.0, 1.0], "py": [2.0, 4.0, 0.0], "pz": [0.0, 0.0, 1.0], "energy": [2.0, 5.0, 2.0]}
    particles |= {"x": [np.nan, 500.0, 0.0], "y": [0.0] * 3, "z": [1000.0, 0.0, 0.0], "time": [0.0, 0.0, 20.0]}
    particles |= {"is_muon": [0.0, 1.0, 0.0], "is_cluster": [1.0, 0.0, 1.0]}
    flat = {n: np.array(v, dtype=np.float32) for n, v in particles.items()}
    events = module("minerva").of_cloud(Cloud.from_flat(np.array([2, 1]), flat, {"pion_class": np.array([1, 0])}, schema), 128)
    assert events.offsets_N.tolist() == [0, 2, 3]
    assert events.input_T9[:, 4].tolist() == [1, 6, 6]  # by falling pT: the muon first
    expected = [0, np.arctan2(4, 3), np.log(5), np.log(5), 1, 0.5, 0, 0, 0]
    np.testing.assert_allclose(events.input_T9[0], expected, rtol=1e-6)
    np.testing.assert_allclose(events.input_T9[1, 5:], [0, 0, 1, 0], rtol=1e-6)  # an unmeasured coordinate is 0
    assert events.input_T9[2, 0] == pytest.approx(np.arctanh(1 / 2**0.5))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "needs"), SCRIPTS.items())
def test_a_script_runs_without_real_files_and_writes_its_record(name, needs, tmp_path, monkeypatch):
    if lacking := [package for package in needs if not importlib.util.find_spec(package)]:
        pytest.skip(f"{', '.join(lacking)} is not installed; see benchmarks/README.md")
    monkeypatch.delenv("CLOUDCHAMBER_SAMPLES", raising=False)
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--tiny", "-o", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    assert json.loads((tmp_path / f"{name}.json").read_text())["tiny"]
