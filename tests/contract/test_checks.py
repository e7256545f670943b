"""Checks of a data set: every planted flaw is found and counted, clean data have none; the page and the card tell them."""

import dataclasses
import importlib

import numpy as np
import pytest
from tests.spoilt_files import CARD, NEST, columns, write_npz
from tests.toy import toy_cloud
from typer.testing import CliRunner

from cloudchamber import data
from cloudchamber.cli.main import app
from cloudchamber.data.findings import Finding
from cloudchamber.data.store import Store, write
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Feature, concatenate


def with_particles(cloud: Cloud, **values) -> Cloud:
    """The cloud with some particle columns replaced; values are functions of the flat old ones."""
    flat = {n: cloud.flat(n) for n in cloud.particles.fields}
    flat |= {n: how(flat[n].copy()) for n, how in values.items()}
    return Cloud.from_flat(cloud.counts, flat, cloud.events, cloud.schema)


def with_events(cloud: Cloud, **values) -> Cloud:
    return dataclasses.replace(cloud, events={**cloud.events, **values})


def weighted(cloud: Cloud, weights) -> Cloud:
    return cloud.with_columns(cloud.schema.model_copy(update={"weight": "w"}), w=np.asarray(weights, float))


def put(place, value):
    """Values of a column replaced at a place."""

    def how(values):
        values[place] = value
        return values

    return how


def found(*clouds) -> dict[str, Finding]:
    return {f"{f.what}: {f.where}": f for f in data.findings(data.survey(clouds))}


module = importlib.import_module("cloudchamber.data.survey")  # `data.survey` is the function
CLEAN = toy_cloud(600)


def test_clean_data_have_no_findings():
    assert found(CLEAN) == {}


@pytest.mark.parametrize(
    ("cloud", "name", "severity", "count"),
    [
        (with_particles(CLEAN, px=put([3, 4, 900], np.nan)), "not finite: px", "serious", 3),
        (with_particles(CLEAN, charge=put([7, 8], np.inf)), "infinite: charge", "serious", 2),
        (with_particles(CLEAN, energy=put(11, -1.0)), "negative: energy", "serious", 1),
        (with_particles(CLEAN, energy=lambda e: e * 0.5), "below |p|: energy", "serious", int(CLEAN.counts.sum())),
        (with_events(CLEAN, label=np.where(np.arange(600) < 5, 9, CLEAN.events["label"])), "no class: label", "serious", 5),
        (concatenate([CLEAN, CLEAN[:40]]), "duplicate events: all files", "warning", 40),
        (CLEAN[np.flatnonzero(CLEAN.events["label"] == 0)], "one class only: label", "warning", None),
        (with_events(CLEAN, label=np.where(np.arange(600) < 9, 1, 0)), "rare class: label: wide", "warning", 9),
        (with_events(CLEAN, label=np.where(np.arange(600) < 9, -1, CLEAN.events["label"])), "unknown class: label", "note", 9),
        (with_particles(CLEAN, charge=lambda v: v * 0 + 2), "constant column: charge", "warning", int(CLEAN.counts.sum())),
        (with_particles(CLEAN, charge=lambda v: v * np.nan), "empty column: charge", "warning", int(CLEAN.counts.sum())),
        (with_particles(CLEAN, charge=put(slice(0, 200), -999.0)), "suspected code: charge", "warning", None),
        (with_particles(CLEAN, energy=put(slice(0, 2), 0.0), **dict.fromkeys(("px", "py", "pz"), put(slice(0, 2), 0.0))),
         "zero energy: energy", "note", 2),
        (with_particles(CLEAN, **dict.fromkeys(("px", "py", "pz", "energy"), lambda v: v * 1000)),
         "suspected unit: momentum", "warning", 600),
        (with_particles(CLEAN, d0=lambda v: v * 1e4), "suspected unit: d0", "warning", None),
        (with_events(CLEAN, width=CLEAN.events["width"] * 180 / np.pi), "suspected unit: width", "warning",
         int(CLEAN.events["label"].sum())),
        (weighted(CLEAN, np.where(np.arange(600) < 60, -1.0, 1.0)), "negative weights: w", "note", 60),
        (weighted(CLEAN, np.where(np.arange(600) < 60, 50.0, 1.0)), "uneven weights: w", "warning",
         round((540 + 60 * 50) ** 2 / (540 + 60 * 50**2))),
        (weighted(CLEAN, np.where(np.arange(600) == 7, 50.0, 1.0)), "extreme weight: w", "warning", 1),
        (weighted(CLEAN, np.where(np.arange(600) % 2, -1.0, 1.0)), "weights cancel: w", "serious", 600),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_planted_flaw_is_found_and_counted(cloud, name, severity, count):
    finding = found(cloud)[name]
    assert finding.severity == severity
    if count is not None:
        assert finding.count == count


def test_classes_and_flags_that_no_event_has_are_one_line_each():
    label, number = CLEAN.schema.labels
    more = label.model_copy(update={"classes": ("narrow", "wide", "square", "round")})
    flag = Feature(name="is_photon", kind="flag")
    features = tuple(flag if f.name == "is_photon" else f for f in CLEAN.schema.features)
    schema = CLEAN.schema.model_copy(update={"labels": (more, number), "features": features})
    findings = found(with_particles(Cloud(CLEAN.particles, CLEAN.events, schema), is_photon=lambda v: v * 0))
    assert set(findings) == {"absent classes: label", "constant flags: is_photon"}
    assert "square, round" in findings["absent classes: label"].text


def test_an_event_that_is_refused_counts_in_nothing_else():
    seen = data.survey(with_particles(CLEAN, px=put(0, np.nan)))
    assert (seen.seen.sum(), seen.columns["px"].size) == (600, CLEAN.counts.sum() - CLEAN.counts[0])
    assert not np.isnan(seen.sample.flat("px")).any()


def test_copies_with_their_particles_in_another_order_are_found_wherever_the_split_puts_them():
    other_order = Cloud(CLEAN.particles[:, ::-1], CLEAN.events, CLEAN.schema)
    two = CLEAN.counts > 1  # one particle has but one order
    both = concatenate([CLEAN[two], other_order[two]])
    findings = found(both)
    splits = module.split_of(module.event_ids(both)).reshape(2, -1)
    assert findings["reordered copies: all files"].count == two.sum()
    assert findings["copies across splits: splits"].count == 2 * (splits[0] != splits[1]).sum() > 0
    assert findings["copies across splits: splits"].severity == "serious"


def test_copies_in_another_file_are_told_apart_from_copies_in_one(tmp_path):
    assert found(CLEAN, CLEAN[:50])["copies across files: all files"].count == 100
    assert "copies across files: all files" not in found(concatenate([CLEAN, CLEAN[:50]]))
    write(tmp_path / "store", [CLEAN, CLEAN[:50]], shard_events=100)  # shards are no files that anybody chose
    findings = data.findings(data.survey(tmp_path / "store"))
    assert [(f.what, f.count) for f in findings if "cop" in f.what or "dup" in f.what] == [("duplicate events", 50)]


def test_few_fingerprints_are_kept_of_very_many_events_and_no_copy_is_lost(monkeypatch):
    monkeypatch.setattr(module, "FINGERPRINTS", 300)
    monkeypatch.setattr(module, "BLOCK_EVENTS", 50)
    seen = data.survey([CLEAN, CLEAN])
    assert seen.stride >= 4
    assert sum(p.shape[1] for p in seen.prints) <= 300
    copies = next(f for f in data.findings(seen) if f.what == "duplicate events")
    assert copies.count == sum(p.shape[1] for p in seen.prints) / 2
    assert f"one event in {seen.stride}" in copies.text


def test_a_file_that_differs_is_named_with_the_variable_and_its_class():
    first, second, third = (toy_cloud(800, seed=s) for s in (1, 2, 3))
    wide = third.events["label"] == 1
    shifted = with_particles(third, d0=lambda v: v + np.repeat(wide, third.counts))
    drift = found(first, second, shifted)["drift: mean d0"]
    assert "cloud 2 differs most from the rest among wide" in drift.text
    fewer = second[np.flatnonzero((second.events["label"] == 0) | (np.arange(800) % 2 == 0))]
    assert "drift of classes: label" in found(first, fewer, toy_cloud(800, seed=4))


def test_files_of_one_kind_are_hardly_ever_called_different():
    alarms = sum(any("drift" in name for name in found(*(toy_cloud(120, 100 * i + k) for k in range(3)))) for i in range(20))
    assert alarms <= 2  # at most 0.2 expected


def test_a_part_of_another_schema_is_a_finding_and_the_others_are_looked_at():
    findings = found(CLEAN, toy_cloud(20, features=("charge",)))
    assert findings["other schema: cloud 1"].count == 20
    assert "d0_err" in findings["other schema: cloud 1"].text


def test_a_limit_is_shared_out_among_the_shards_of_a_store(tmp_path):
    write(tmp_path / "store", [CLEAN], shard_events=100)
    seen = data.survey(tmp_path / "store", limit=120)
    assert seen.seen.tolist() == [20] * 6
    assert seen.total.tolist() == [100] * 6


def test_counts_ranges_and_splits_are_those_of_all_events(tmp_path):
    store = write(tmp_path / "store", [CLEAN], shard_events=250)
    seen = data.survey(tmp_path / "store")
    assert seen.split_counts == Store.open(store.path).manifest.splits
    assert seen.columns["px"].minimum == CLEAN.flat("px").min()
    assert seen.columns["d0"].missing == np.isnan(CLEAN.flat("d0")).sum()
    assert seen.classes["label"].sum(axis=0).tolist() == [0, *np.bincount(CLEAN.events["label"])]
    with pytest.raises(BadInput, match="no event"):
        data.survey(CLEAN[:0])


def test_the_page_and_the_card_tell_what_was_found_and_the_exit_status_what_is_serious(tmp_path):
    c = columns()
    c["px"] = np.where(np.arange(6) == 4, np.nan, c["px"])
    write_npz(tmp_path / "a.npz", c)
    write_npz(tmp_path / "b.npz", columns())
    (tmp_path / "card.yaml").write_text(CARD.format(format="npz", tree='""', layout=NEST["npz"]) + "licence: CC-BY-4.0\n")
    page, card = tmp_path / "page.html", tmp_path / "card.md"
    options = ["--card", str(tmp_path / "card.yaml"), "--report", str(page), "--data-card", str(card)]
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "a.npz"), str(tmp_path / "b.npz"), *options])
    assert result.exit_code == 1
    for text in (page.read_text(), card.read_text()):
        assert "not finite" in text
        assert "In 1 events, first in" in text
        assert "CC-BY-4.0" in text
    for title in (
        "Events of each class",
        "Distributions by class of y",
        "Distributions by class of kind",
        "Distributions by file",
    ):
        assert page.read_text().count(f"<h2>{title}</h2>") == 1
    assert page.read_text().count("<svg") == 4
    assert "http" not in page.read_text().replace("http://www.w3.org", "")
    assert "| `px` | GeV | number |" in card.read_text()
    assert "| `y` | gluon |" in card.read_text()


def test_inspecting_clean_files_ends_well(tmp_path):
    for name, seed in (("a", 1), ("b", 2)):
        write(tmp_path / name, [toy_cloud(300, seed=seed)])
    result = CliRunner().invoke(app, ["inspect", str(tmp_path / "a"), str(tmp_path / "b")])
    assert result.exit_code == 0, result.output
    assert "findings: none" in result.output
    assert "600 events" in result.output
