"""The report: one page from run folders alone, self-contained, and right about the figures that it quotes."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from cloudchamber.errors import BadRun
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.publish import citations
from cloudchamber.publish.card import model_card
from cloudchamber.publish.citations import bibtex, entries
from cloudchamber.publish.report import write_report
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable, metrics

STEPS = list(range(0, 401, 20))
PARTICLE_FLAGS = ("is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")


def probabilities(rng, truth, classes, separation):
    """Exactly calibrated probabilities of Gaussians around the corners of a simplex."""
    x = rng.normal(size=(len(truth), classes)) + separation * np.eye(classes)[truth]
    p = np.exp(separation * x)
    return (p / p.sum(1, keepdims=True)).astype(np.float32)


def score_table(seed, separation, classes=("qcd", "top"), n=2000):
    truth = np.random.default_rng(99).integers(len(classes), size=n)
    rng = np.random.default_rng(seed)
    return ScoreTable(
        target="label",
        classes=classes,
        event_id=np.arange(n, dtype=np.uint64),
        truth=truth,
        scores_NC=probabilities(rng, truth, len(classes), separation),
        fold=np.full(n, 2, np.int8),
        weight=np.ones(n, np.float32),
    )


def regression_table(seed, width, n=2000):
    truth = np.random.default_rng(99).uniform(50, 250, size=n)
    prediction = 0.98 * truth + np.random.default_rng(seed).normal(0, width, size=n)
    return ScoreTable(
        target="mass",
        classes=(),
        event_id=np.arange(n, dtype=np.uint64),
        truth=truth,
        scores_NC=prediction[:, None].astype(np.float32),
        fold=np.full(n, 2, np.int8),
        weight=np.ones(n, np.float32),
        unit="GeV",
    )


def make_run(path, arm, seed, scores, *, adapt, floor=0.3, rate=60.0, done=True):
    """A run folder such as training writes, with a made-up learning curve."""
    run = Run.create(
        path,
        "finetune",
        arm=arm,
        seed=seed,
        target=scores.target if scores else None,
        data="jets",
        simulated=True,
        citations=["arXiv:2203.11601", "arXiv:1111.6097"],
    )
    rng = np.random.default_rng(seed)
    for step in STEPS:
        loss = floor + (0.693 - floor) * np.exp(-step / rate) + 0.004 * rng.normal()
        extra = {"auc": 1 - loss / 1.4} if scores is None or scores.classes else {}
        run.log({"step": step, "split": "val", "loss": loss, "jets": 64 * step, "seconds": 0.1 * step, "lr": 1e-3, **extra})
        run.log({"step": step, "split": "train", "loss": loss, "jets": 64 * step, "seconds": 0.1 * step, "lr": 1e-3})
    (path / "recipe.yaml").write_text(f"adapt: {adapt}\nseed: {seed}\nsteps: {STEPS[-1]}\n")
    if scores is not None:
        scores.write(path / "scores.parquet")
    summary = {"arm": arm, "seed": seed, "adapt": adapt, "size": "xs", "parameters": 312_345, "steps": STEPS[-1], "batch": 64}
    summary |= {"train_jets": 400, "jets_seen": 64 * STEPS[-1], "wall_s": 40.0 + seed, "classes": []}
    if done:
        run.finish(summary)
    return path


def jets(n=8):
    """Jets of random particles of all kinds around eta = 0.3, for the displays."""
    rng = np.random.default_rng(5)
    counts = rng.integers(15, 60, size=n)
    total = counts.sum()
    pt, eta, phi = rng.exponential(12, size=total), rng.normal(0.3, 0.25, size=total), rng.normal(1.0, 0.25, size=total)
    particles = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta), "energy": pt * np.cosh(eta)}
    kind = rng.integers(5, size=total)
    particles |= {f: (kind == i).astype(np.float32) for i, f in enumerate(PARTICLE_FLAGS)}
    schema = Schema(
        dataset="toy",
        frame="jet",
        features=tuple(Feature(name=f, kind="flag") for f in PARTICLE_FLAGS),
        labels=(Label(name="label", classes=("qcd", "top")),),
        simulated=True,
    )
    return Cloud.from_flat(counts, particles, {"label": np.arange(n) % 2}, schema)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    paths = []
    for seed in range(3):
        tuned, scratch = score_table(seed, 1.8), score_table(seed + 10, 1.2)
        paths.append(make_run(folder / f"tuned{seed}", "fine-tuned xs", seed, tuned, adapt="full", floor=0.28, rate=30))
        paths.append(make_run(folder / f"scratch{seed}", "scratch xs", seed, scratch, adapt="scratch", floor=0.36, rate=110))
    return paths


@pytest.fixture(scope="module")
def page(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    return write_report(runs, out, title="Tops from few labels", story="One.\n\nTwo.", data=jets())


class Resources(HTMLParser):
    """Everything that a browser would fetch, and whether the tags close."""

    def __init__(self):
        super().__init__()
        self.fetched, self.open, self.ids = [], [], []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name in ("src", "srcset", "data", "poster") or (tag == "link" and name == "href"):
                self.fetched.append(value)
            if name == "xlink:href" and not value.startswith("#"):
                self.fetched.append(value)
            if name == "id":
                self.ids.append(value)
        if tag not in ("meta", "br", "path", "use", "image", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in ("path", "use", "image", "rect"):
            return
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()


def test_the_page_fetches_nothing_and_its_tags_close(page):
    text = page.read_text()
    parser = Resources()
    parser.feed(text)
    assert parser.fetched == []
    assert parser.open == []
    assert "<script" not in text
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)


def test_every_figure_in_the_page_has_its_own_names(page):
    parser = Resources()
    parser.feed(page.read_text())
    figures = {name.split("-")[0] for name in parser.ids if "-" in name}
    assert {"learning_curves", "roc", "calibration", "event_displays"} <= figures
    anchors = re.findall(r'xlink:href="#([^"]+)"', page.read_text())
    assert set(anchors) <= set(parser.ids)


def test_the_headline_table_quotes_the_score_tables(page):
    (table, per_seed) = json.loads((page.parent / "report_data" / "tables.json").read_text())[0]["tables"]
    column = {row[0]: row[1] for row in table["rows"]}
    areas = [metrics.auc(t.truth, t.scores_NC[:, 1]).value for t in (score_table(s, 1.8) for s in range(3))]
    others = [metrics.auc(t.truth, t.scores_NC[:, 1]).value for t in (score_table(s + 10, 1.2) for s in range(3))]
    assert table["columns"][1] == "fine-tuned xs"
    assert float(column["AUC"].split(" ± ")[0]) == pytest.approx(np.mean(areas), abs=1e-3)
    assert float(column["AUC"].split(" ± ")[1]) == pytest.approx(np.std(areas, ddof=1), abs=1e-3)
    difference = column["AUC difference, paired by seed"]
    assert float(difference.split(" ± ")[0]) == pytest.approx(np.mean(np.subtract(areas, others)), abs=1e-3)
    assert "3 of 3 better" in difference
    assert [float(r[2]) for r in per_seed["rows"]] == pytest.approx(areas, abs=1e-4)


def test_steps_to_the_best_loss_are_those_of_the_learning_curves(page, runs):
    per_seed = json.loads((page.parent / "report_data" / "tables.json").read_text())[0]["tables"][1]
    tuned, scratch = ([m for m in Run.open(p).metrics() if m["split"] == "val"] for p in (runs[0], runs[1]))  # of seed 0
    target = min(m["loss"] for m in scratch)
    expected = next(m["step"] for m in tuned if m["loss"] <= target)
    own = next(m["step"] for m in scratch if m["loss"] <= target)
    assert per_seed["rows"][0][6] == f"{expected} vs {own}"


def test_the_numbers_of_the_roc_curve_lie_beside_the_page(page):
    roc = json.loads((page.parent / "report_data" / "roc.json").read_text())["data"]["top"]
    assert set(roc) == {"fine-tuned xs", "scratch xs"}
    points = roc["scratch xs"]["working_points"]
    expected = [
        metrics.rejection(metrics.roc(t.truth, t.scores_NC[:, 1]))[1].value
        for t in (score_table(s + 10, 1.2) for s in range(3))
    ]
    assert points[1]["rejection"] == pytest.approx(np.mean(expected))


def test_simulation_is_called_simulation_in_every_caption(page):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", page.read_text(), flags=re.DOTALL)
    assert len(captions) == 4
    assert all("Simulation." in c for c in captions)


def test_recipe_provenance_and_citations_are_on_the_page(page):
    text = page.read_text()
    for told in (
        "adapt: scratch",
        "@article{Bierlich:2022pfr,",
        "@article{Cacciari:2011ma,",
        "@software{cloudchamber,",
        "numpy",
    ):
        assert told in text
    assert "All runs were tested on the same events." in text


def test_a_run_without_scores_has_a_page_of_its_learning_curve_and_the_same_one_again(tmp_path):
    run = make_run(tmp_path / "run", "pre-training xs", 0, None, adapt="scratch")
    pages = []
    for name in "ab":
        (tmp_path / name).mkdir()
        text = write_report([run], tmp_path / name / "page.html", title="T").read_text()
        pages.append(re.sub(r"on \d{4}-\S+ \S+ UTC", "", text))
    assert pages[0] == pages[1]
    sections = json.loads((tmp_path / "a" / "page_data" / "tables.json").read_text())
    assert [s["section"] for s in sections] == ["Learning curves", "Time and cost"]


def test_a_hostile_name_is_text_not_markup(tmp_path):
    run = make_run(tmp_path / "run", "<script>alert(1)</script> $\\frac$", 0, None, adapt="full")
    out = write_report([run], tmp_path / "page.html", title="<b>&", story="<img src=x>")
    assert "<script" not in out.read_text()
    assert "<img" not in out.read_text()


def test_a_single_run_makes_the_same_page_with_one_arm(tmp_path):
    run = make_run(tmp_path / "run", "fine-tuned xs", 0, score_table(0, 1.5), adapt="full")
    out = write_report([run], tmp_path / "page.html", title="One run")
    sections = json.loads((tmp_path / "page_data" / "tables.json").read_text())
    assert [s["section"] for s in sections] == ["Results", "Learning curves", "ROC curves", "Calibration", "Time and cost"]
    assert len(sections[0]["tables"]) == 1
    assert out.stat().st_size < 2_000_000


def test_more_classes_give_a_confusion_matrix_whose_rows_add_up(tmp_path):
    classes = ("qcd", "wqq", "top")
    run = make_run(tmp_path / "run", "fine-tuned s", 0, score_table(0, 1.5, classes), adapt="full")
    write_report([run], tmp_path / "page.html", title="Three classes")
    data = json.loads((tmp_path / "page_data" / "confusion.json").read_text())["data"]
    np.testing.assert_allclose(np.sum(data["fine-tuned s"], axis=1), 1)
    roc = json.loads((tmp_path / "page_data" / "roc.json").read_text())["data"]
    assert set(roc) == set(classes)


def test_a_regression_shows_bias_and_resolution_in_its_unit(tmp_path):
    paths = [make_run(tmp_path / f"t{s}", "fine-tuned", s, regression_table(s, 8.0), adapt="full") for s in range(2)]
    paths += [make_run(tmp_path / f"s{s}", "scratch", s, regression_table(s, 14.0), adapt="scratch") for s in range(2)]
    out = write_report(paths, tmp_path / "page.html", title="Mass")
    data = json.loads((tmp_path / "page_data" / "residuals.json").read_text())["data"]
    assert np.mean(data["fine-tuned"]["resolution_value"]) == pytest.approx(8.0, rel=0.1)
    np.testing.assert_allclose(data["scratch"]["bias_value"], -0.02 * np.array(data["scratch"]["truth"]), atol=4)
    assert "Resolution" in out.read_text()


def test_an_unfinished_run_is_refused(tmp_path):
    run = make_run(tmp_path / "run", "a", 0, score_table(0, 1.5), adapt="full", done=False)
    with pytest.raises(BadRun, match="not complete"):
        write_report([run], tmp_path / "page.html", title="")
    assert not (tmp_path / "page.html").exists()


def test_the_same_seed_twice_in_one_arm_is_refused(tmp_path):
    pair = [make_run(tmp_path / n, "a", 0, score_table(0, 1.5), adapt="full") for n in "ab"]
    with pytest.raises(BadRun, match="narrow the bands"):
        write_report(pair, tmp_path / "page.html", title="")


def test_runs_with_different_targets_are_refused(tmp_path):
    pair = [
        make_run(tmp_path / "a", "a", 0, score_table(0, 1.5), adapt="full"),
        make_run(tmp_path / "b", "b", 0, regression_table(0, 5.0), adapt="full"),
    ]
    with pytest.raises(BadRun, match="one report for each"):
        write_report(pair, tmp_path / "page.html", title="")


def test_a_test_sample_without_a_class_says_so_instead_of_a_roc_curve(tmp_path):
    pair = [
        make_run(tmp_path / n, n, 0, score_table(0, 1.5, ("qcd", "top", "w"), n=2), adapt=a)
        for n, a in (("a", "full"), ("b", "scratch"))
    ]
    write_report(pair, tmp_path / "page.html", title="")
    results = json.loads((tmp_path / "page_data" / "tables.json").read_text())[0]["tables"][0]
    assert "No ROC curve: no test event of some run is of class" in results["caption"]
    assert "Accuracy difference, paired by seed" in [row[0] for row in results["rows"]]


def test_an_unknown_citation_becomes_an_entry_without_inventions():
    assert bibtex(["doi:10.9999/x.y"]) == '@misc{doi_10.9999_x.y,\n    doi = "10.9999/x.y"\n}'
    assert bibtex(["arXiv:2203.11601", "https://arxiv.org/abs/2203.11601v1"]).count("@") == 1


def test_every_known_citation_is_balanced_bibtex():
    text = (Path(citations.__file__).parent / "citations.bib").read_text()
    assert len(entries()) == sum(line.startswith("@") for line in text.splitlines()) > 0
    for key, entry in entries().items():
        assert entry.count("{") == entry.count("}"), key
        assert key.split(":", 1)[-1] in entry.lower()


def test_the_model_card_says_what_was_seen_and_what_was_left_out():
    config = {
        "size": "xs",
        "particle": {"norms": [["charge", {}], ["d0", {}]], "added": []},
        "tasks": [{"task": "classify", "target": "label"}, {"task": "mask", "target": None}],
        "max_particles": 128,
        "data": {"dataset": "simulated jets", "events": 100_000, "jets_seen": 300_000, "classes": {"label": {"QCD": 50_000}}},
        "citation": ["arXiv:2203.11601"],
        "licence": "BSD-3-Clause",
        "sha256": "ab" * 32,
    }
    card = model_card(
        "xs",
        config,
        "size: xs\n",
        {"AUC, top against QCD": "0.95 ± 0.01"},
        parameters=343_314,
        left_out=["Tbqq, the demonstration's signal"],
        intended_use="Start of a fine-tuning.",
        limits=["Simulation only."],
        environment={"python": "3.11", "platform": "Linux", "packages": {"torch": "2.13"}},
    )
    assert card.startswith("# cloudchamber weights `xs`\n")
    for told in (
        "343,314",
        "300,000 presentations",
        "| QCD | 50,000 |",
        "Tbqq",
        "charge, d0",
        "0.95 ± 0.01",
        "Bierlich",
        "size: xs",
    ):
        assert told in card


def test_further_targets_of_all_runs_have_results_and_residuals_of_their_own(tmp_path):
    paths = [
        make_run(tmp_path / f"{arm}-{seed}", arm, seed, score_table(seed, separation), adapt=adapt)
        for arm, adapt, separation, width in (("ours", "full", 2.0, 5), ("scratch", "scratch", 1.0, 12))
        for seed in (0, 1)
    ]
    for path in paths:
        regression_table(int(path.name[-1]), 5 if "ours" in path.name else 12).write(path / "scores-regress_mass.parquet")
    score_table(3, 1.0).write(paths[0] / "scores-classify_other.parquet")  # of one run alone: no comparison
    write_report(paths, tmp_path / "page.html")
    tables = json.loads((tmp_path / "page_data" / "tables.json").read_text())
    rows = {s["section"]: {row[0]: row[1:] for row in s["tables"][0]["rows"]} for s in tables if s["tables"]}
    assert "AUC" in rows["Results"]
    widths = [float(text.split(" ")[0]) for text in rows["Mass: results"]["Resolution [GeV]"]]
    assert widths == pytest.approx([5, 12], rel=0.1)
    assert (tmp_path / "page_data" / "residuals_mass.json").is_file()
    assert not any("other" in name.lower() for name in rows)
