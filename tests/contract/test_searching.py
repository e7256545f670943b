"""A search from plan to answer: blind until it may look, found if it is there, refused if anything was changed."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from cloudchamber.cli.main import app
from cloudchamber.errors import BadInput, BadLedger, BadPlan, BadRun, Blinded
from cloudchamber.publish.search_page import write_search_page
from cloudchamber.run import Run
from cloudchamber.search import searching
from cloudchamber.search.ledger import Ledger

PLAN = {
    "name": "toy",
    "features": ["x", "y", "z"],
    "regions": {"mass": "mjj", "range": [2500, 5000], "signal": [[3300, 3700]]},
    "methods": ["weak", "kernel"],
    "systematics": {"closure": 2, "closure_alpha": 0.02},
    "budget": {"toys": 300, "closure_toys": 300, "injections": 20},
    "alpha": 0.01,
}


def events(rng, n, signal=0):
    """A falling spectrum with features that drift with mass, and a bump with features of its own."""
    low, high = 2500.0**-7, 5000.0**-7
    mass = (low - rng.random(n) * (low - high)) ** (-1 / 7)
    x = rng.normal(size=(n, 3)) + np.outer(np.log(mass / 3500), [1.5, -1.0, 0.5])
    bump = rng.normal(3500, 60, signal)
    mass, x = np.append(mass, bump), np.concatenate([x, rng.normal([2.5, 2.0, -2.0], 0.4, (signal, 3))])
    order = rng.permutation(len(mass))
    return {"mjj": mass[order], **{name: x[order, i] for i, name in enumerate("xyz")}}


def write(path, columns):
    columns = {"event_id": np.arange(len(next(iter(columns.values()))), dtype=np.uint64), **columns}
    pq.write_table(pa.table(columns), path)
    return path


def setup(folder, columns, **change):
    (folder / "plan.yaml").write_text(yaml.safe_dump({**PLAN, **change}))
    return folder / "plan.yaml", write(folder / "table.parquet", columns), folder / "run"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A search for a signal of 120 events among some 700, blind."""
    folder = tmp_path_factory.mktemp("search")
    plan, table, out = setup(folder, events(np.random.default_rng(0), 5000, signal=120))
    searching.search(plan, table, out)
    return folder


def copy(finished, to):
    """The finished search elsewhere, with a ledger of its own."""
    import shutil

    shutil.copytree(finished, to, dirs_exist_ok=True)
    info = json.loads((to / "run" / "run.json").read_text())
    info |= {"ledger": str(to / "ledger.jsonl"), "root": str(to), "paths": {"table": str(to / "table.parquet")}}
    (to / "run" / "run.json").write_text(json.dumps(info))
    return to / "run"


def test_nothing_of_the_signal_region_is_known_before_unblinding(finished):
    run = Run.open(finished / "run")
    assert run.summary["blind"]
    assert run.summary["closed"]
    assert not (run.path / "observed.json").exists()
    kinds = [e.kind for e in Ledger(finished / "ledger.jsonl").entries()]
    assert kinds == ["plan", "closure"]


def test_a_blind_run_does_not_depend_on_what_is_in_the_signal_region(finished, tmp_path):
    columns = events(np.random.default_rng(0), 5000, signal=120)
    inside = (columns["mjj"] >= 3300) & (columns["mjj"] < 3700)
    for name in "xyz":
        columns[name][inside] = 99.0
    plan, table, out = setup(tmp_path, columns)
    searching.search(plan, table, out)
    for name in ("closure.json", "frontier.json"):
        assert (out / name).read_text() == (finished / "run" / name).read_text()
    ours, theirs = (np.load(p / "null-0.npz") for p in (out, finished / "run"))
    assert np.array_equal(ours["joint"], theirs["joint"])


def test_a_signal_is_found_and_the_look_is_on_record(finished, tmp_path):
    path = copy(finished, tmp_path)
    observed = searching.unblind(path)
    assert observed["p"] <= 2 / 385  # no more than one of the 384 toys of the joint null is like it
    assert observed["discovery"]
    entries = Ledger(tmp_path / "ledger.jsonl").entries()
    assert [e.kind for e in entries] == ["plan", "closure", "unblinding", "test", "result"]
    assert json.loads((path / "observed.json").read_text()) == observed
    table = pq.read_table(tmp_path / "table.parquet")
    ids = [e["event_id"] for e in observed["regions"][0]["like_signal"]]
    assert np.mean(table["x"].to_numpy()[ids] > 1) > 0.8  # the injected events
    with pytest.raises(Blinded, match="unblinded before"):
        searching.unblind(path)
    assert observed["looks_before"] == 0
    (tmp_path / "narrower.yaml").write_text(yaml.safe_dump({**PLAN, "regions": {**PLAN["regions"], "signal": [[3400, 3600]]}}))
    searching.search(tmp_path / "narrower.yaml", tmp_path / "table.parquet", tmp_path / "second")
    assert searching.unblind(tmp_path / "second")["looks_before"] == 1


def test_what_was_changed_after_freezing_is_refused(finished, tmp_path):
    path = copy(finished, tmp_path)
    plan = (path / "plan.yaml").read_text()
    (path / "plan.yaml").write_text(plan.replace("seed: 0", "seed: 1"))
    with pytest.raises(BadPlan, match="changed after it was frozen"):
        searching.unblind(path)
    (path / "plan.yaml").write_text(plan)
    table = (tmp_path / "table.parquet").read_bytes()
    write(tmp_path / "table.parquet", events(np.random.default_rng(9), 5000))
    with pytest.raises(BadRun, match="not those that were frozen"):
        searching.unblind(path)
    (tmp_path / "table.parquet").write_bytes(table)
    ledger = (tmp_path / "ledger.jsonl").read_text()
    (tmp_path / "ledger.jsonl").write_text(ledger.splitlines(keepends=True)[0])
    with pytest.raises(BadLedger, match="cut off"):
        searching.unblind(path)
    (tmp_path / "ledger.jsonl").write_text(ledger)
    (path / "done.json").rename(path / "not_done.json")
    with pytest.raises(Blinded, match="not complete"):
        searching.unblind(path)
    assert not (path / "observed.json").exists()


def test_a_killed_search_goes_on_to_the_same_result(finished, tmp_path, monkeypatch):
    plan, table, out = setup(tmp_path, events(np.random.default_rng(0), 5000, signal=120))
    with monkeypatch.context() as patch:
        patch.setattr(searching, "_frontier", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            searching.search(plan, table, out)
    assert not (out / "done.json").exists()
    kept = {p: p.stat().st_mtime_ns for p in (out / "toys").rglob("*.npy")}
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({**PLAN, "seed": 1}))
    with pytest.raises(BadPlan, match="changed after it was frozen"):
        searching.search(tmp_path / "other.yaml", table, out)
    searching.search(plan, table, out)
    assert kept == {p: p.stat().st_mtime_ns for p in (out / "toys").rglob("*.npy")}
    assert (out / "frontier.json").read_text() == (finished / "run" / "frontier.json").read_text()
    with pytest.raises(BadRun, match="there already"):
        searching.search(plan, table, out)


def test_a_background_that_is_not_described_stays_blind(tmp_path):
    columns = events(np.random.default_rng(1), 5000)
    low = (columns["mjj"] > 2700) & (columns["mjj"] < 2950)
    columns["x"] = np.where(low, columns["x"] + 1.5, columns["x"])  # a step that no polynomial follows
    plan, table, out = setup(tmp_path, columns)
    assert not searching.search(plan, table, out).summary["closed"]
    with pytest.raises(Blinded, match="not described where there is no signal"):
        searching.unblind(out)
    assert [e.kind for e in Ledger(tmp_path / "ledger.jsonl").entries()] == ["plan", "closure"]
    assert "it stays blind" in write_search_page(out, tmp_path / "page.html").read_text()


def test_a_campaign_limits_the_plans(tmp_path):
    plan, table, out = setup(tmp_path, events(np.random.default_rng(2), 3000))
    with pytest.raises(BadInput, match=r"0\.005 of the campaign is left"):
        searching.search(plan, table, out, campaign=0.005)
    assert [e.kind for e in Ledger(tmp_path / "ledger.jsonl").entries()] == ["campaign"]


def test_abcd_and_reference_samples_are_backgrounds_too(tmp_path):
    rng = np.random.default_rng(3)
    x, a, b = rng.normal(size=(4000, 2)), rng.random(4000), rng.random(4000)
    base = {**PLAN, "features": ["x", "y"], "methods": ["kernel"]}
    columns = {"x": x[:, 0] + (a > 0.7), "y": x[:, 1], "a": a, "b": b}
    base["regions"] = {"pass_a": ["a", 0.7], "pass_b": ["b", 0.6]}
    plan, table, out = setup(tmp_path, columns, **{**base, "background": "abcd"})
    searching.search(plan, table, out)
    assert searching.unblind(out)["regions"][0]["events"] == ((a >= 0.7) & (b >= 0.6)).sum()
    folder = tmp_path / "sample"
    folder.mkdir()
    write(folder / "mc.parquet", {"x": rng.normal(size=3000), "y": rng.normal(size=3000)})
    shifted = {"x": rng.normal(0.5, 1, size=1000), "y": rng.normal(size=1000)}
    change = {**base, "background": "sample", "reference": "mc.parquet", "regions": {}}
    plan, table, out = setup(folder, shifted, **change)
    searching.search(plan, table, out)
    assert searching.unblind(out)["p"] <= 2 / 385


def test_windows_against_a_reference_are_one_test_and_parameters_reach_the_methods(tmp_path):
    rng = np.random.default_rng(7)
    x = {"x": rng.normal(size=3000), "mjj": rng.uniform(0, 100, 3000)}
    write(tmp_path / "mc.parquet", {"x": rng.normal(size=3000), "mjj": rng.uniform(0, 100, 3000)})
    bump = rng.random(3000) < 0.1 * (x["mjj"] >= 60)
    x["x"][bump] = rng.normal(2.0, 0.3, bump.sum())
    bank = {f"at {m:g}": f"{m:g}.parquet" for m in (1.0, 3.0)}
    for m in (1.0, 3.0):
        write(tmp_path / f"{m:g}.parquet", {"x": rng.normal(m, 0.3, 300)})
    plan, table, out = setup(
        tmp_path,
        x,
        features=["x"],
        background="sample",
        reference="mc.parquet",
        regions={"mass": "mjj", "range": [-1, 101], "signal": [[0, 50], [60, 100]]},
        alternatives={"bank": bank, "parameters": {name: [m] for name, m in zip(bank, (1.0, 3.0), strict=True)}},
        methods=["parametrised"],
        generality=[0.0],
    )
    searching.search(plan, table, out)
    (found,) = searching.unblind(out)["regions"]
    assert found["best"] == "60-100/parametrised/profile"
    assert found["p"]["value"] <= 2 / 385
    masses = pq.read_table(table)["mjj"].to_numpy()
    assert all(masses[e["event_id"]] >= 60 for e in found["like_signal"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"systematics": {**PLAN["systematics"], "closure_alpha": 1e-3}}, "cannot reach"),
        ({"generality": [0.0]}, "leaves no test any share"),
        ({"methods": ["bank"]}, "needs a bank"),
        ({"regions": {**PLAN["regions"], "signal": [[4900, 4950]]}}, "too few events beside it"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_before_it_is_in_the_ledger(change, told, tmp_path):
    plan, table, out = setup(tmp_path, events(np.random.default_rng(8), 3000), **change)
    with pytest.raises(BadInput, match=told):
        searching.search(plan, table, out)
    assert not out.exists()
    assert not Ledger(tmp_path / "ledger.jsonl").entries()


def test_the_verbs_do_the_same(tmp_path):
    plan, table, out = setup(tmp_path, events(np.random.default_rng(4), 3000), alpha=0.002)
    shell = CliRunner()
    searched = shell.invoke(app, ["search", str(plan), str(table), "-o", str(out)])
    assert searched.exit_code == 0, searched.output
    assert "blind" in searched.output
    assert "measure p-values down to 0.0026, alpha is 0.002" in searched.output  # 384 toys of the joint null
    told = shell.invoke(app, ["unblind", str(out)])
    assert told.exit_code == 0, told.output
    assert "not below alpha" in told.output
    again = shell.invoke(app, ["unblind", str(out)])
    assert again.exit_code == 2
    followed = shell.invoke(app, ["followup", str(out)])
    assert followed.exit_code == 0, followed.output
    assert "[3300, 3700]: nothing" in followed.output
    assert Ledger(tmp_path / "ledger.jsonl").entries()[-1].kind == "note"
    assert shell.invoke(app, ["followup", str(tmp_path)]).exit_code == 2


def test_trees_are_refused_where_toys_would_hold_an_event_twice(tmp_path):
    plan, table, out = setup(tmp_path, events(np.random.default_rng(6), 600), methods=["weak", "trees"])
    with pytest.raises(BadPlan, match="'trees' is for background 'sample'"):
        searching.search(plan, table, out)
    assert not out.exists()


def test_weighted_events_are_refused(tmp_path):
    plan, table, out = setup(tmp_path, {**events(np.random.default_rng(5), 3000), "weight": np.linspace(0.5, 2, 3000)})
    with pytest.raises(BadInput, match="equal weights"):
        searching.search(plan, table, out)
    plan, table, out = setup(tmp_path, events(np.random.default_rng(5), 3000))
    weighted = {**events(np.random.default_rng(6), 300), "weight": np.linspace(0.5, 2, 300)}
    write(tmp_path / "mc.parquet", weighted)
    plan.write_text(yaml.safe_dump({**PLAN, "regions": {}, "background": "sample", "reference": "mc.parquet"}))
    with pytest.raises(BadInput, match="equal weights"):
        searching.search(plan, table, out)
