"""What a person reads: the report's opening and tables, terminal lines, and errors that say the way on."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from unittest import mock

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from rich.console import Console
from scipy import stats
from tests.contract.test_report import regression_table
from typer.testing import CliRunner

from cloudchamber.cli import main as shell
from cloudchamber.cli import progress
from cloudchamber.data import read, survey
from cloudchamber.errors import BadRun, MissingColumn
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.publish import report
from cloudchamber.publish.report import lead
from cloudchamber.publish.runs import read_arms
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable, metrics, summarise
from cloudchamber.stats.compare import bootstrap_error


def scored(seed, separation, n=400, target="label", classes=("QCD", "Tbqq"), first_id=0):
    """Calibrated scores of two Gaussians, a quarter of them signal; the same noise of the events whatever the seed."""
    truth = (np.arange(n) % 4 == 0).astype(np.int64)
    x = np.random.default_rng(7).normal(size=n) + 0.3 * np.random.default_rng(seed).normal(size=n) + separation * truth
    p = 1 / (1 + np.exp(np.clip(separation**2 / 2 - separation * x, -50, 50)))
    return ScoreTable(
        target=target,
        classes=classes,
        event_id=np.arange(n, dtype=np.uint64) + np.uint64(first_id),
        truth=truth,
        scores_NC=np.stack([1 - p, p], axis=1).astype(np.float32),
        fold=np.full(n, 2, np.int8),
        weight=np.ones(n, np.float32),
    )


def run_folder(path, scores, *, arm="fine-tuned xs", seed=0, adapt="full", data="jets", options=None, **settings):
    """A run folder as training writes it; settings: entries of the recipe's optimisation, or `train_events`."""
    run = Run.create(path, "finetune", arm=arm, seed=seed, target=scores.target, data=[data], simulated=True)
    recipe = {"name": f"{arm} {seed}", "seed": seed, "data": [data], "train_events": settings.pop("train_events", None)}
    recipe["tasks"] = [{"task": "classify", "target": scores.target, "options": options or {}}]
    recipe["optimisation"] = {"steps": 15, "learning_rate": 0.002} | settings
    (path / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    for step in (5, 10, 15):
        run.log({"step": step, "split": "val", "loss": 1 / step, "jets": 64 * step, "seconds": 0.1 * step, "lr": 1e-3})
    scores.write(path / "scores.parquet")
    run.finish({"adapt": adapt, "weights": None if adapt == "scratch" else "xs", "steps": 15, "train_jets": 933})
    return path


def page_of(tmp_path, runs):
    """The page without its figures, which take most of the time and have tests of their own; its first table, by rows."""
    with mock.patch.multiple(report, _learning=lambda _: [], _shapes=lambda _: []):
        out = report.write_report(runs, tmp_path / "page.html")
    results = json.loads((tmp_path / "page_data" / "tables.json").read_text())[0]["tables"][0]
    return out.read_text(), results, {row[0]: row[1:] for row in results["rows"]}


def tiles(page):
    return re.findall(r"<li><b>(.*?)</b><span>(.*?)</span></li>", page)


def test_runs_of_one_name_with_other_settings_are_other_arms_that_say_in_what(tmp_path):
    runs = [run_folder(tmp_path / "a", scored(0, 1.5)), run_folder(tmp_path / "b", scored(1, 1.5), seed=1)]
    runs.append(run_folder(tmp_path / "c", scored(2, 1.5), seed=2, steps=4, learning_rate=0.0001))
    runs.append(run_folder(tmp_path / "d", scored(3, 1.5), seed=0, train_events=50))
    arms = read_arms(runs)
    assert [(a.name, len(a.runs)) for a in arms] == [
        ("fine-tuned xs (steps 15, learning_rate 0.002)", 2),
        ("fine-tuned xs (steps 4, learning_rate 0.0001)", 1),
        ("fine-tuned xs (steps 15, learning_rate 0.002, train_events 50)", 1),
    ]
    assert "<td>fine-tuned xs (steps 4, learning_rate 0.0001)</td>" in page_of(tmp_path, runs)[0]


def test_what_is_measured_from_the_training_events_does_not_make_another_arm(tmp_path):
    table, options = regression_table(3, 9.0, n=300), [{"centre": 150.0 + seed, "scale": 57.0 - seed} for seed in range(2)]
    runs = [run_folder(tmp_path / str(seed), table, seed=seed, options=own) for seed, own in enumerate(options)]
    (arm,) = read_arms(runs)
    assert (arm.name, len(arm.runs)) == ("fine-tuned xs", 2)


def test_the_same_settings_with_the_same_seed_are_still_the_same_run_twice(tmp_path):
    with pytest.raises(BadRun, match="narrow the bands"):
        read_arms([run_folder(tmp_path / n, scored(0, 1.5)) for n in "ab"])


@pytest.mark.parametrize("seed", [0, 1])
def test_runs_on_other_data_or_targets_want_a_report_each_whatever_their_seeds(tmp_path, seed):
    first = run_folder(tmp_path / "a", scored(0, 1.5))
    for name, scores, data in (("b", scored(0, 1.5, target="y"), "jets"), ("c", scored(0, 1.5, first_id=9000), "other")):
        with pytest.raises(BadRun, match="make one report for each"):
            read_arms([first, run_folder(tmp_path / name, scores, seed=seed, data=data)])


def test_the_same_test_events_from_a_renamed_store_may_share_a_page(tmp_path):
    runs = [run_folder(tmp_path / n, scored(s, 1.5), seed=s, data=n) for s, n in enumerate("ab")]
    assert len(read_arms(runs)[0].runs) == 2


def test_one_seed_of_each_gives_tiles_with_errors_and_a_bootstrapped_difference(tmp_path):
    a, b = scored(0, 1.8), scored(1, 1.2)
    runs = [run_folder(tmp_path / "a", a), run_folder(tmp_path / "b", b, arm="scratch xs", adapt="scratch")]
    page, results, rows = page_of(tmp_path, runs)
    ours, theirs, difference = tiles(page)[:3]
    auc = metrics.auc(a.truth, a.scores_NC[:, 1])
    assert [float(x) for x in ours[0].split(" ± ")] == pytest.approx([auc.value, auc.error], abs=1e-3)
    assert "± statistical" in ours[1]
    assert "scratch xs" in theirs[1]
    value, error = (float(x) for x in difference[0].split(" ± "))
    assert value == pytest.approx(auc.value - metrics.auc(b.truth, b.scores_NC[:, 1]).value, abs=1e-3)
    assert 0 < error < auc.error  # most of the noise is that of the events, which both share
    assert "bootstrap" in difference[1]
    assert "200 resamplings" in results["caption"]
    assert "mean over seeds" not in results["caption"]
    assert difference[0] in rows["AUC difference, paired by seed"][0]


def test_one_seed_of_each_on_other_test_events_says_that_the_difference_has_no_error(tmp_path):
    runs = [run_folder(tmp_path / "a", scored(0, 1.8))]
    runs.append(run_folder(tmp_path / "b", scored(1, 1.2, first_id=7), arm="scratch xs", adapt="scratch"))
    page, results, _ = page_of(tmp_path, runs)
    assert "±" not in tiles(page)[2][0]
    assert "no error: tested on different events" in tiles(page)[2][1]
    assert "without error where" in results["caption"]
    assert "resamplings" not in results["caption"]


def test_several_seeds_give_tiles_with_their_spread(tmp_path):
    tables = [scored(s, 1.5) for s in range(3)]
    page, _, _ = page_of(tmp_path, [run_folder(tmp_path / str(s), t, seed=s) for s, t in enumerate(tables)])
    areas = [metrics.auc(t.truth, t.scores_NC[:, 1]).value for t in tables]
    ((value, text),) = tiles(page)
    assert float(value.split(" ± ")[1]) == pytest.approx(np.std(areas, ddof=1), rel=0.1)
    assert "± spread of 3 seeds" in text


def test_the_bootstrap_error_is_that_of_a_mean_a_paired_difference_and_an_auc():
    rng = np.random.default_rng(0)
    for n in (500, 20_000):
        x = rng.normal(0, 3, size=n)
        y = x + rng.normal(size=n)
        error = bootstrap_error(lambda rows, x=x: float(x[rows].mean()), np.zeros(n))
        assert error == pytest.approx(3 / np.sqrt(n), rel=0.2)
        error = bootstrap_error(lambda rows, x=x, y=y: float(x[rows].mean() - y[rows].mean()), np.zeros(n))
        assert error == pytest.approx(1 / np.sqrt(n), rel=0.2)
    truth = np.repeat([0, 1], [400, 100])
    score = rng.normal(size=500) + 1.5 * truth
    error = bootstrap_error(lambda rows: metrics.auc(truth[rows], score[rows]).value, truth)
    assert error == pytest.approx(metrics.auc(truth, score).error, rel=0.2)


def test_the_page_of_one_run_says_what_was_learned_from_what_and_on_how_many_events(tmp_path):
    page, _, rows = page_of(tmp_path, [run_folder(tmp_path / "run", scored(0, 1.5))])
    assert "<h1>Classifying label (QCD, Tbqq) in jets: fine-tuned xs</h1>" in page
    assert "An arm is one way of training; its runs differ in their seed alone" in page
    assert "fine-tuned xs: starts from the pre-trained weights xs and trains all of them, 933 training events" in page
    assert rows["Test events of class QCD"] == ["300"]
    assert rows["Test events of class Tbqq"] == ["100"]
    low_rank = run_folder(tmp_path / "lora", scored(0, 1.5), adapt="lora")
    assert "keeps the pre-trained weights xs and trains low-rank changes to them, and the head" in lead(read_arms([low_rank]))


def test_the_tile_of_a_resolution_has_its_unit(tmp_path):
    page, _, rows = page_of(tmp_path, [run_folder(tmp_path / "run", regression_table(3, 9.0, n=300))])
    assert "<h1>Predicting mass [GeV] in jets: fine-tuned xs</h1>" in page
    assert tiles(page)[0][1].startswith("Resolution [GeV], fine-tuned xs")
    assert rows["Test events"] == ["300"]


@pytest.mark.parametrize(("separation", "drawn"), [(1.5, True), (40.0, False)])
def test_the_roc_caption_speaks_of_points_only_where_some_are_drawn(tmp_path, separation, drawn):
    report.write_report([run_folder(tmp_path / "run", scored(0, separation))], tmp_path / "page.html")
    roc = json.loads((tmp_path / "page_data" / "roc.json").read_text())
    assert bool(roc["data"]["Tbqq"]["fine-tuned xs"]["working_points"]) is drawn
    assert ("Points:" in roc["caption"]) is drawn


def test_figures_of_a_fully_separated_sample_have_errors_of_its_size(tmp_path):
    figures = summarise(scored(0, 40.0, n=40))
    assert (figures["accuracy"], figures["auc"]) == (1.0, 1.0)
    # Wilson's interval of 40 successes in 40: from n / (n + z^2) to 1, z = 1.
    assert figures["accuracy_error"] == pytest.approx((1 - 40 / 41) / 2)
    assert figures["auc_error"] == pytest.approx((1 - 10 / 11) / 2)
    assert figures["rejection"]["0.3"] == {
        "value": pytest.approx(1 / (1 - 0.05 ** (1 / 30))),
        "error": None,
        "lower_limit": True,
    }


def test_the_error_of_an_accuracy_of_many_events_is_the_binomial_one():
    truth, p = np.zeros(10_000, np.int64), np.tile([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.9, 0.1]], (2500, 1))
    assert metrics.accuracy(truth, p).error == pytest.approx(stats.binom.std(10_000, 0.75) / 10_000, rel=1e-3)


def call(*arguments):
    return CliRunner().invoke(shell.app, list(arguments), catch_exceptions=False)


def scoring_gives(monkeypatch, table):
    """What the verbs get in place of a model's scores."""
    from cloudchamber.train import scoring

    monkeypatch.setattr(scoring, "score_run", lambda *_, **__: table)


def test_predict_says_how_many_events_fall_in_each_fold_and_the_table_names_them(tmp_path, monkeypatch):
    scoring_gives(monkeypatch, replace(scored(0, 1.5, n=6), fold=np.array([0, 2, 0, 1, 0, 2], np.int8)))
    out = tmp_path / "scores.parquet"
    done = call("predict", "run", "jets", "-o", str(out))
    assert done.exit_code == 0, done.output
    assert "fold: 3 train, 1 val, 2 test by the hash of their ids" in done.output
    assert json.loads(pq.read_schema(out).metadata[b"cloudchamber"])["folds"] == ["train", "val", "test"]


def test_evaluate_gives_a_limit_its_confidence_level(tmp_path, monkeypatch):
    scoring_gives(monkeypatch, scored(0, 40.0))
    (tmp_path / "events").write_bytes(b"any")
    done = call("evaluate", str(tmp_path), str(tmp_path / "events"))
    line = next(line for line in done.output.splitlines() if "rejection at 0.3" in line)
    assert "> " in line
    assert "95 % CL" in line


def test_the_line_of_a_training_fits_in_80_columns_with_all_its_numbers(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(progress, "Console", lambda **_: Console(file=stream, width=80, force_terminal=True, color_system=None))
    with progress.training_bar("fine-tuned /somewhere/far/away") as on_record:
        on_record(10000, 20000, {"split": "train", "loss": 1.2345, "jets": 12345, "seconds": 1.0})
        on_record(10000, 20000, {"split": "val", "loss": 0.4321, "jets": 12345, "seconds": 1.0})
    lines = [line for line in re.split(r"[\r\n]|\x1b\[[\d;?]*[A-Za-z]", stream.getvalue()) if "val" in line]
    assert "10000/20000" in lines[-1]
    assert "12,345 ev/s" in lines[-1]
    assert "loss 1.234  val 0.432" in lines[-1]
    assert len(lines[-1].rstrip()) <= 80


def test_labels_show_their_unit_in_brackets_and_classes_in_parentheses():
    schema = Schema(
        dataset="toy",
        frame="jet",
        features=(Feature(name="charge"),),
        labels=(Label(name="id"), Label(name="beam_energy", unit="GeV"), Label(name="current", classes=("CC", "NC"))),
    )
    columns = {n: np.ones(1) for n in ("px", "py", "pz", "energy", "charge")}
    events = {"id": np.ones(1), "beam_energy": np.ones(1), "current": np.ones(1, np.int64)}
    lines = repr(Cloud.from_flat(np.ones(1, np.int64), columns, events, schema)).rstrip(">").splitlines()
    assert [line.split(":")[1].strip() for line in lines if "label:" in line] == ["id", "beam_energy [GeV]", "current (CC, NC)"]


def test_a_file_whose_rows_hold_several_jets_counts_both():
    p4 = {n: np.ones(12) for n in ("px", "py", "pz")} | {"energy": np.full(12, 2.0)}
    seen = survey(Cloud.from_flat(np.full(4, 3), p4, {}, Schema(dataset="toy", frame="jet")))
    assert seen.how_many == "4 jets, 3.0 particles each"
    seen.total = np.array([2])
    assert seen.how_many == "2 rows in the files, with 4 jets that were looked at, 3.0 particles each"
    seen.total = np.array([500])
    assert seen.how_many == "500 jets (4 of them were looked at), 3.0 particles each"


def test_a_card_whose_tree_is_not_there_is_told_the_trees(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name in ("px", "py", "pz", "energy"):
            file[f"events/{name}"] = np.ones((3, 2))
    particles = {n: {"column": n, "unit": "GeV"} for n in ("px", "py", "pz", "energy")}
    card = {"name": "a", "format": "hdf5", "tree": "evnts", "frame": "jet", "layout": "padded", "particles": particles}
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(card | {"padding": "zero-energy"}))
    with pytest.raises(MissingColumn, match=r"has no tree 'evnts'. Nearest: 'events'. Edit tree in"):
        read(tmp_path / "a.h5", card=tmp_path / "a.yaml")


def test_inspect_of_shipped_weights_shows_their_card():
    done = call("inspect", "xs")
    assert done.exit_code == 0
    assert "cloudchamber weights `xs`" in done.output


def test_a_verb_that_others_have_is_told_by_our_name():
    assert "Use predict --embed." in call("embed", "xs").stderr
