"""The page of a search: blind it says nothing of the signal region; unblinded it has what a referee asks for."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tests.toy import toy_cloud
from typer.testing import CliRunner

from cloudchamber.cli.main import app
from cloudchamber.data.identity import event_ids
from cloudchamber.errors import BadInput, BadLedger, BadPlan, BadRun
from cloudchamber.publish.search_page import is_search, write_search_page
from cloudchamber.search import searching

PLAN = {
    "name": "a < b",  # a name is text, not HTML
    "features": ["x", "y"],
    "regions": {"mass": "mjj", "range": [2500, 5000], "signal": [[3300, 3700]]},
    "alternatives": {"bank": {"near": "near.parquet", "far": "far.parquet"}},
    "methods": ["bank", "kernel"],
    "generality": [0.0, 1.0],
    "systematics": {"closure": 2, "closure_alpha": 0.02},
    "budget": {"toys": 300, "closure_toys": 300, "injections": 20},
    "alpha": 0.01,
}
CLOUD = toy_cloud(3000, mean=3.0)


def make_search(folder):
    """A search for 100 events that look like one signal of a bank of two."""
    rng = np.random.default_rng(1)
    mass = np.concatenate([2500 + rng.exponential(700, 2900), rng.normal(3500, 50, 100)])
    x = np.concatenate([rng.normal(size=(2900, 2)), rng.normal([2.5, 2.5], 0.4, (100, 2))])
    pq.write_table(pa.table({"event_id": event_ids(CLOUD), "mjj": mass, "x": x[:, 0], "y": x[:, 1]}), folder / "table.parquet")
    for name, centre in (("near", [2.5, 2.5]), ("far", [-2.5, 2.5])):
        signal = rng.normal(centre, 0.4, (300, 2))
        pq.write_table(pa.table({"x": signal[:, 0], "y": signal[:, 1]}), folder / f"{name}.parquet")
    (folder / "plan.yaml").write_text(yaml.safe_dump(PLAN))
    searching.search(folder / "plan.yaml", folder / "table.parquet", folder / "run")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of a search, its page while blind, and its page after a look."""
    folder = tmp_path_factory.mktemp("page")
    make_search(folder)
    blind = write_search_page(folder / "run", folder / "blind.html").read_text()
    observed = searching.unblind(folder / "run")
    looked = write_search_page(folder / "run", folder / "page.html", data=CLOUD).read_text()
    return folder, blind, looked, observed


def test_the_page_of_a_blind_search_has_all_but_the_result(pages):
    _, blind, _, _ = pages
    for title in ("Null distribution", "Closure", "Knob", "Ledger", "plan.yaml"):
        assert title in blind
    assert "Blind" in blind
    assert ">Result<" not in blind
    assert "observed" not in re.sub(r"<details.*?</details>", "", blind, flags=re.DOTALL)


def test_the_page_says_what_was_found_as_the_run_does(pages):
    folder, _, looked, observed = pages
    assert f"p = {observed['p']:.2g}" in looked
    assert f"Z = {observed['z']:.2f}" in looked
    assert ("extrapolated" in looked) == observed["extrapolated"]
    assert "a &lt; b" in looked
    spectrum = json.loads((folder / "page_data" / "spectrum.json").read_text())["data"]["[3300, 3700]"]
    inside = [n for n, low in zip(spectrum["events"], spectrum["low"], strict=True) if 3300 <= low < 3700]
    assert sum(inside) == observed["regions"][0]["events"]
    before = json.loads((folder / "blind_data" / "spectrum.json").read_text())["data"]["[3300, 3700]"]
    assert [n is None for n in before["events"]] == [3300 <= low < 3700 for low in before["low"]]
    assert f"{observed['regions'][0]['expected']:,.1f} ±" in looked
    shown = json.loads((folder / "page_data" / "null.json").read_text())["data"]["[3300, 3700]"]
    joint = np.load(folder / "run" / "null-0.npz")["joint"]
    assert shown["null"] == pytest.approx(np.sort(joint).tolist())
    assert shown["observed"] == observed["regions"][0]["statistic"]
    p = observed["regions"][0]["p"]
    if not p["extrapolated"]:
        assert p["value"] == pytest.approx((1 + (joint >= shown["observed"]).sum()) / (1 + len(joint)))


def test_the_signal_that_is_there_is_the_most_probable_of_the_bank_and_its_events_are_shown(pages):
    folder, _, looked, observed = pages
    region = observed["regions"][0]
    assert sum(region["posterior"].values()) == pytest.approx(1)
    assert region["posterior"]["near"] > 0.9
    signal = set(event_ids(CLOUD)[2900:].tolist())
    assert np.mean([e["event_id"] in signal for e in region["like_signal"]]) > 0.7
    assert (folder / "page_data" / "event_displays.json").is_file()
    assert "event_displays-" in looked


def test_the_page_needs_nothing_from_elsewhere(pages):
    _, blind, looked, _ = pages
    for page in (blind, looked):
        assert not re.search(r'(src|href)="(https?:)?//', page)
        assert "<script" not in page


def test_every_line_of_the_ledger_is_on_the_page_and_a_changed_one_is_an_error(pages, tmp_path):
    folder, _, looked, _ = pages
    book = folder / "ledger.jsonl"
    lines = book.read_text().splitlines()
    assert all(json.loads(line)["sha256"][:12] in looked for line in lines)
    book.write_text("\n".join([lines[0].replace("0.01", "0.05"), *lines[1:]]) + "\n")
    try:
        with pytest.raises(BadLedger, match="line 1"):
            write_search_page(folder / "run", tmp_path / "page.html")
    finally:
        book.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("name", ["observed.json", "closure.json", "plan.yaml"])
def test_a_page_of_a_run_that_was_changed_is_refused(name, pages, tmp_path):
    path = shutil.copytree(pages[0] / "run", tmp_path / "run") / name
    edited = re.sub(r'("p": |"value": |alpha: )0\.\d+', r"\g<1>0.123", path.read_text())
    assert edited != path.read_text()
    path.write_text(edited)
    with pytest.raises((BadRun, BadPlan), match=r"the ledger .* says|was changed after it was frozen"):
        write_search_page(tmp_path / "run", tmp_path / "page.html")


def test_the_methods_are_cited(pages):
    cited = CliRunner().invoke(app, ["cite", str(pages[0] / "run")]).output
    for identifier in ("2104.02092", "2204.02317"):
        assert identifier in cited
        assert identifier in pages[2]


def test_report_writes_the_page_and_refuses_what_does_not_belong(pages, tmp_path):
    folder = pages[0]
    result = CliRunner().invoke(app, ["report", str(folder / "run"), "-o", str(tmp_path / "page.html")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "page.html").is_file()
    assert CliRunner().invoke(app, ["report", *[str(folder / "run")] * 2, "-o", str(tmp_path / "two.html")]).exit_code == 2
    with pytest.raises(BadInput, match="those of the table"):
        write_search_page(folder / "run", tmp_path / "other.html", data=toy_cloud(20, seed=9))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('{"kind": "train"}')
    assert not is_search(tmp_path / "other")
    with pytest.raises(BadRun, match="'train'"):
        write_search_page(tmp_path / "other", tmp_path / "page2.html")
