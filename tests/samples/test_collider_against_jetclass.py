"""Simulated H -> bb jets, with JetClass's detector and decays, against 2000 real ones of JetClass."""

import os
from pathlib import Path

import numpy as np
import pytest

from cloudchamber.events import kinematics
from cloudchamber.simulate import simulate

pytest.importorskip("pythia8mc")
pytest.importorskip("fastjet")
SAMPLES = os.environ.get("CLOUDCHAMBER_SAMPLES")
QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90)


@pytest.fixture(scope="module")
def theirs():
    if SAMPLES is None:
        pytest.skip("CLOUDCHAMBER_SAMPLES is not set")
    with np.load(Path(SAMPLES) / "jetclass_HToBB_2000.npz") as file:
        return {name: file[name].astype(np.float64) for name in ("px", "py", "pz", "E")} | {"n": file["n"]}


@pytest.fixture(scope="module")
def ours():
    return simulate("jetclass_hbb", 1500, seed=21, detector="jetclass")


@pytest.mark.slow
def test_mass_quantiles_agree(theirs, ours):
    px, py, pz, energy = (theirs[name].sum(axis=1) for name in ("px", "py", "pz", "E"))
    expected = np.quantile(np.sqrt(energy**2 - px**2 - py**2 - pz**2), QUANTILES)
    got = np.quantile(kinematics.invariant_mass(ours), QUANTILES)
    # The statistical error of both samples together is 0.4 % of the median and 1.2 % of the outermost quantiles.
    for error, theirs_, ours_ in zip((0.04, 0.03, 0.015, 0.03, 0.04), expected, got, strict=True):
        assert ours_ == pytest.approx(theirs_, rel=error), f"JetClass {expected.round(1)}, ours {got.round(1)}"


@pytest.mark.slow
def test_particle_numbers_and_spectra_agree(theirs, ours):
    pt_theirs = np.hypot(theirs["px"], theirs["py"])
    pt_ours = np.hypot(ours.flat("px"), ours.flat("py"))
    assert ours.counts.mean() == pytest.approx(theirs["n"].mean(), rel=0.05)
    for low in (1.0, 3.0, 10.0, 50.0):
        expected = (pt_theirs > low).sum() / len(pt_theirs)
        assert (pt_ours > low).sum() / len(ours) == pytest.approx(expected, rel=0.08), f"particles above {low} GeV"


@pytest.mark.slow
def test_charged_hadrons_known_by_their_mass_are_as_many_at_every_energy(theirs, ours):
    # Tracks keep the mass of their particle: below 20 GeV float32 momenta tell pions and kaons.
    def found(px, py, pz, energy):
        squared = energy**2 - px**2 - py**2 - pz**2
        pions, kaons = np.abs(squared - 0.13957**2) < 0.004, np.abs(squared - 0.49368**2) < 0.03
        return [np.histogram(energy[kind], (0.5, 2.2, 3.0, 5.0, 10.0, 20.0))[0] for kind in (pions, kaons)]

    expected = np.array(found(*(theirs[n][theirs["E"] > 0] for n in ("px", "py", "pz", "E")))) / len(theirs["n"])
    got = np.array(found(*(ours.flat(n).astype(np.float64) for n in ("px", "py", "pz", "energy")))) / len(ours)
    error = np.sqrt(expected / len(theirs["n"]) + got / len(ours))
    assert np.all(np.abs(got - expected) < 0.1 * expected + 4 * error), f"JetClass {expected.round(3)}, ours {got.round(3)}"
