"""Simulated H -> bb jets against 2000 real ones of JetClass."""

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
    return simulate(["Hbb"], 1500, seed=21)


@pytest.mark.slow
def test_mass_quantiles_agree(theirs, ours):
    px, py, pz, energy = (theirs[name].sum(axis=1) for name in ("px", "py", "pz", "E"))
    expected = np.quantile(np.sqrt(energy**2 - px**2 - py**2 - pz**2), QUANTILES)
    got = np.quantile(kinematics.invariant_mass(ours), QUANTILES)
    # 1.5 GeV is about the statistical error of the outer quantiles of both samples; 3 % for the different generator.
    assert got == pytest.approx(expected, rel=0.03, abs=1.5), f"JetClass {expected.round(1)}, ours {got.round(1)}"


@pytest.mark.slow
def test_particle_numbers_and_spectra_agree(theirs, ours):
    pt_theirs = np.hypot(theirs["px"], theirs["py"])
    pt_ours = np.hypot(ours.flat("px"), ours.flat("py"))
    assert ours.counts.mean() == pytest.approx(theirs["n"].mean(), rel=0.07)
    for low in (1.0, 3.0, 10.0, 50.0):
        expected = (pt_theirs > low).sum() / len(pt_theirs)
        assert (pt_ours > low).sum() / len(ours) == pytest.approx(expected, rel=0.08), f"particles above {low} GeV"
