"""Examples: the plans can be read, and the table of dijets holds the masses that the jets have."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from cloudchamber.data.identity import event_ids
from cloudchamber.events import Cloud, Label, Schema
from cloudchamber.search.plan import load
from cloudchamber.search.sample import Sample

FOLDER = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda p: p.stem)
def test_a_plan_can_be_read(path):
    plan = load(path)
    assert plan.features == ("classes", "mass")
    assert path.name in (FOLDER / "README.md").read_text()


def dijets(energies, angle):
    """Events of two jets back to back in the transverse plane, each of two massless particles at this opening angle."""
    particles, counts = [], []
    for energy in energies:
        for side, opening in ((1, angle), (-1, angle / 2)):
            for sign in (-1, 1):
                phi = sign * opening / 2
                particles.append((side * energy * np.cos(phi), energy * np.sin(phi), 0.0, energy))
        counts.append(4)
    columns = dict(zip(("px", "py", "pz", "energy"), np.array(particles, dtype=np.float32).T, strict=True))
    schema = Schema(dataset="two jets", frame="collider", labels=(Label(name="label", classes=("a", "b")),), simulated=True)
    return Cloud.from_flat(np.array(counts), columns, {"label": np.arange(len(energies)) % 2}, schema)


def test_the_table_has_the_masses_of_the_formula_and_can_be_searched(tmp_path):
    pytest.importorskip("fastjet")
    spec = importlib.util.spec_from_file_location("dijet_table", FOLDER / "dijet_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    energies, angle = np.array([400.0, 800.0, 1000.0]), 0.4
    cloud = dijets(energies, angle)
    table = module.dijet_table(cloud)
    # Two particles of energy E at an angle have the mass 2 E sin(angle / 2); at rest together all four have 4 E, and two pairs
    # of momentum 2 E cos(angle / 2), 2 E cos(angle / 4) nearly so.
    heavy, light = 2 * energies * np.sin(angle / 2), 2 * energies * np.sin(angle / 4)
    momentum = 2 * energies * (np.cos(angle / 4) - np.cos(angle / 2))
    assert table["mjj"].to_numpy() == pytest.approx(np.sqrt((4 * energies) ** 2 - momentum**2), rel=1e-5)
    mass = np.stack(table["mass"].to_pylist())
    assert mass == pytest.approx(np.stack([light, heavy - light], axis=1) / 1000, rel=1e-3)
    assert table["event_id"].to_numpy().tolist() == event_ids(cloud).tolist()
    assert table["label"].to_pylist() == [0, 1, 0]
    module.pq.write_table(table, tmp_path / "table.parquet")
    sample = Sample.read(tmp_path / "table.parquet", ("classes", "mass"), "mjj", "label")
    assert sample.features_NF.shape == (3, 18)
    assert np.exp(sample.features_NF[:, :8]).sum(axis=1) == pytest.approx(1, abs=1e-4)
