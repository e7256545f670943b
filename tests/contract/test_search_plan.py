"""Plan and ledger: what was frozen stays frozen, what was looked at stays on record."""

import json
import multiprocessing

import pytest

from cloudchamber.errors import BadInput, BadLedger, BadPlan
from cloudchamber.search import plan as plans
from cloudchamber.search.ledger import Head, Ledger, wealth

RESONANCE = {"regions": {"mass": "mjj", "range": [2500, 5000], "signal": [[3300, 3700]]}}


def test_a_plan_survives_its_own_yaml_and_hashes_its_content_alone(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text("regions: {mass: mjj, range: [2500, 5000], signal: [[3300, 3700]]}\n")
    plan = plans.load(path)
    path.write_text(plan.to_yaml())
    assert plans.load(path) == plan
    assert plans.load(path).sha256 == plan.sha256 == plans.make(RESONANCE).sha256
    assert plans.make({**RESONANCE, "seed": 1}).sha256 != plan.sha256


@pytest.mark.parametrize(("change", "told"), [
    ({"generalty": 0.5}, "generality"),
    ({"generality": [0.5, 0.2]}, "rising"),
    ({"generality": [1.5]}, "0 to 1"),
    ({"regions": {}}, "needs regions"),
    ({"background": "abcd"}, "pass_a"),
    ({"background": "guess"}, "background"),
    ({"regions": {"mass": "m", "range": [0, 10], "signal": [[8, 12]]}}, "not inside"),
    ({"regions": {"mass": "m", "range": [0, 10], "signal": [[4, 6]], "guard": 5}}, "not inside"),
    ({"regions": {"mass": "m"}}, "all three"),
    ({"alternatives": {"bank": {"a": "a.parquet"}, "priors": {"b": 1.0}}}, "priors"),
    ({"alternatives": {"bank": {"a": "a", "b": "b"}, "parameters": {"a": [1.0], "b": [1.0, 2.0]}}}, "as many"),
    ({"methods": ["weak", "weak"]}, "twice"),
    ({"budget": {"toys": 3}}, "budget.toys"),
    ({"alpha": 0}, "alpha"),
])  # fmt: skip
def test_a_plan_that_cannot_be_carried_out_is_refused_by_name(change, told):
    with pytest.raises(BadPlan, match=told):
        plans.make({**RESONANCE, **change})


def test_a_changed_plan_is_refused():
    plan = plans.make(RESONANCE)
    plans.require_unchanged(plan, plan.sha256, "plan.yaml")
    with pytest.raises(BadPlan, match="changed after it was frozen"):
        plans.require_unchanged(plans.make({**RESONANCE, "seed": 3}), plan.sha256, "plan.yaml")


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for number in range(5):
        ledger.append("note", number=number)
    return ledger


def test_a_ledger_gives_back_what_was_written(ledger):
    assert [e.body["number"] for e in ledger.entries()] == list(range(5))
    assert ledger.head.lines == 5
    ledger.append("plan", sha256="a", alpha=0.01)
    assert ledger.find("plan", "a").number == 5
    assert ledger.find("plan", "b") is None


@pytest.mark.parametrize("line", range(5))
@pytest.mark.parametrize("reseal", [False, True])
def test_a_changed_line_is_found_where_it_is(ledger, line, reseal):
    from cloudchamber.search.ledger import _digest

    lines = ledger.path.read_text().splitlines()
    content = json.loads(lines[line])
    content["body"] = {"number": 99}
    if reseal:  # a forger who computes the line's own hash again
        content["sha256"] = _digest({k: v for k, v in content.items() if k != "sha256"})
    lines[line] = json.dumps(content)
    ledger.path.write_text("\n".join(lines) + "\n")
    found = line + 1 if not reseal else min(line + 2, 5)  # then the next line does not follow, or the head knows another
    with pytest.raises(BadLedger, match=f"line {found}"):
        ledger.entries()


@pytest.mark.parametrize("line", range(5))
def test_a_line_taken_out_is_found(ledger, line):
    lines = ledger.path.read_text().splitlines(keepends=True)
    ledger.path.write_text("".join(lines[:line] + lines[line + 1 :]))
    with pytest.raises(BadLedger, match="cut off" if line == 4 else f"line {line + 1} does not follow"):
        ledger.entries()


def test_a_shortened_ledger_is_found_by_its_head_and_by_the_run_that_wrote_to_it(ledger):
    known = ledger.head
    lines = ledger.path.read_text().splitlines(keepends=True)
    head = ledger.path.with_name("ledger.jsonl.head")
    ledger.path.write_text("".join(lines[:3]))
    with pytest.raises(BadLedger, match="after line 3"):
        ledger.entries()
    head.unlink()
    with pytest.raises(BadLedger, match="missing"):
        ledger.entries()
    head.write_text(json.dumps({"lines": 3, "sha256": json.loads(lines[2])["sha256"]}))
    assert len(ledger.entries()) == 3  # whoever rewrites both files
    with pytest.raises(BadLedger, match="the run knows of 5"):
        ledger.entries(reaches=known)
    ledger.append("note", number=3)
    ledger.append("note", number=44)
    with pytest.raises(BadLedger, match="written anew"):
        ledger.entries(reaches=known)


def test_half_a_line_is_found(ledger):
    ledger.path.write_text(ledger.path.read_text()[:-10])
    with pytest.raises(BadLedger, match="line, number 5, is cut off"):
        ledger.entries()


def test_a_kill_between_the_two_files_loses_nothing(ledger):
    before = ledger.path.with_name("ledger.jsonl.head").read_text()
    ledger.append("note", number=5)
    ledger.path.with_name("ledger.jsonl.head").write_text(before)
    assert len(ledger.entries()) == 6
    assert ledger.append("note", number=6).number == 6


def _append(path, number):
    for _ in range(10):
        Ledger(path).append("note", number=number)


def test_two_programs_write_without_losing_a_line(tmp_path):
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=_append, args=(tmp_path / "l.jsonl", n)) for n in range(3)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert sorted(e.body["number"] for e in Ledger(tmp_path / "l.jsonl").entries()) == [n for n in range(3) for _ in range(10)]


def test_a_campaign_is_never_overspent_and_a_discovery_gives_back(tmp_path):
    ledger = Ledger(tmp_path / "l.jsonl")
    ledger.append("campaign", alpha=0.01)
    with pytest.raises(BadInput, match="once"):
        ledger.append("campaign", alpha=0.5)
    ledger.append("plan", sha256="a", alpha=0.006)
    ledger.append("plan", sha256="a", alpha=0.006)  # the same plan again costs nothing
    with pytest.raises(BadInput, match=r"0\.004 of the campaign is left"):
        ledger.append("plan", sha256="b", alpha=0.005)
    ledger.append("result", sha256="a", p=1e-4)
    ledger.append("result", sha256="a", p=1e-4)  # only once
    assert wealth(ledger.entries()) == pytest.approx(0.01)
    ledger.append("plan", sha256="b", alpha=0.01)
    ledger.append("result", sha256="b", p=0.5)
    assert wealth(ledger.entries()) == pytest.approx(0.0)


@pytest.mark.parametrize("call", [
    lambda path: Ledger(path).append("gossip"),
    lambda path: Ledger(path).append("plan", sha256="a", alpha=float("nan")),
])  # fmt: skip
def test_entries_that_mean_nothing_are_refused(call, tmp_path):
    with pytest.raises((BadInput, ValueError)):
        call(tmp_path / "l.jsonl")


def test_an_empty_place_is_an_empty_ledger(tmp_path):
    assert Ledger(tmp_path / "none.jsonl").head == Head(0, "0" * 64)
