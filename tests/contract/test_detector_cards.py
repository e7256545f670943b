"""The contract of detector cards: shipped ones hold the published numbers, a user's own is read or its mistake is told."""

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from cloudchamber.errors import BadCard
from cloudchamber.simulate import card as cards
from cloudchamber.simulate.card import load, shipped

FOLDER = Path(cards.__file__).parent / "cards"
NUMBER = re.compile(r"[:[,] *-?\d")


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_card_loads_under_its_name_with_its_citation(name):
    card = load(name)
    assert card.name == name
    assert card.citation


@pytest.mark.parametrize("name", shipped())
def test_every_entry_with_numbers_of_a_shipped_card_has_its_source_beside_it(name):
    entry, without = "", []
    for line in (FOLDER / f"{name}.yaml").read_text().splitlines():
        entry += line + "\n"
        content = re.sub("#.*", "", entry)
        if sum(map(content.count, "[{")) == sum(map(content.count, "]}")):  # else it goes on in the next line
            if NUMBER.search(content) and content == entry:
                without.append(entry)
            entry = ""
    assert without == ["version: 1\n"]


@pytest.mark.parametrize(
    ("name", "geometry", "pion", "hcal"),  # the Delphes cards, read by hand
    [
        ("cms", (1.29, 3.0, 3.8), (0.01, 1.5e-4), (0.05, 1.5, 0.0, 2.0)),
        ("atlas", (1.15, 3.51, 2.0), (0.06, 1.3e-3), (0.0302, 0.5205, 1.59, 2.0)),
        ("jetclass", (1.29, 3.0, 3.8), (0.0, 0.0), (0.05, 1.5, 0.0, 1.0)),
    ],
)
def test_cards_hold_the_published_numbers(name, geometry, pion, hcal):
    card = load(name)
    assert (card.radius_m, card.half_length_m, card.field_t) == geometry
    hadron = card.tracking.momentum["hadron"]
    assert (hadron.constant[0], hadron.slope_per_gev[0]) == pion
    first = card.hcal.resolution[0]
    assert (first.constant, first.stochastic, first.noise_gev, card.hcal.significance) == hcal


def test_a_resolution_is_its_formula():
    sigma = load("cms").ecal.sigma(np.array([100.0, 100.0, 100.0, 9.0]), np.array([0.0, -1.0, 2.2, 5.1]))
    flat = np.sqrt((0.008 * 100) ** 2 + 0.11**2 * 100 + 0.4**2)
    assert sigma == pytest.approx([flat, 1.64 * flat, (2.16 + 5.6 * 0.04) * flat, 0.0])


def test_a_card_that_extends_another_changes_what_it_says_alone(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("extends: cms\nname: mine\nfield_t: 2.0\nhcal: {significance: 3.0}\n")
    mine, cms = load(path), load("cms")
    assert (mine.field_t, mine.hcal.significance, mine.name) == (2.0, 3.0, "mine")
    assert mine.hcal.cells == cms.hcal.cells
    assert mine.tracking == cms.tracking
    path.write_text("extends: cms\nname: mine\nfield_t: 1.0\n")
    assert load(path).field_t == 1.0  # edited in the meantime


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("extends: cms\nname: x\nfield: 2.0\n", r"field is not an entry.*'field_t'"),
        ("extends: cms\nname: x\nhcal: {significanse: 2.0}\n", r"hcal\.significanse is not an entry.*'significance'"),
        ("extends: cms\nname: x\nradius_m: -1\n", r"radius_m: got -1, expected.*greater than 0"),
        ("extends: cms\nname: x\nradius_m: .nan\n", r"radius_m: got nan, expected"),
        ("extends: cms\nname: x\nfield_t: strong\n", r"field_t: got 'strong', expected.*number"),
        ("extends: cms\nname: x\nhcal: {cells: [{eta: [2.0, 1.0], phi: 36}]}\n", r"hcal.*rising"),
        (
            "extends: cms\nname: x\ntracking: {efficiency: {muon: {value: [[0.5, 1.2], [0.5, 0.5]]}}}\n",
            r"muon.*1\.2.*at most 1",
        ),
        ("extends: cms\nname: x\ntracking: {efficiency: {muon: {value: [[0.5, 0.6]]}}}\n", r"muon.*expected 2 rows"),
        ("extends: cms\nname: x\ntracking: {mass: proton}\n", r"tracking\.mass: got 'proton', expected.*'pion'"),
        ("extends: csm\nname: x\n", r"extends 'csm'.*'cms'"),
        ("name: x\n", r"radius_m is missing"),
        ("- 1\n", r"found list"),
        ("a: [1\n", r"is not YAML"),
        ("a: &x [1]\nb: *x\n", r"aliases"),
    ],
)
def test_a_mistake_is_told_with_file_place_and_what_was_expected(tmp_path, text, says):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(BadCard, match=rf"(?s)mine\.yaml.*{says}"):
        load(path)


def test_an_unknown_name_is_told_with_the_nearest():
    with pytest.raises(BadCard, match=r"'cns'.*Nearest: 'cms'"):
        load("cns")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("name: " + "x" * (1 << 20))
    with pytest.raises(BadCard, match="larger than"):
        load(path)


def test_the_jetclass_card_writes_its_differences_alone():
    assert set(yaml.safe_load((FOLDER / "jetclass.yaml").read_text())) == {
        *("version", "extends", "name", "citation", "notes", "tracking", "hcal")
    }
