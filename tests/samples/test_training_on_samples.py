"""Every real sample becomes a store that the model can be trained on, from scratch and from the shipped weights."""

import os
from pathlib import Path

import numpy as np
import pytest

import cloudchamber as cc
from cloudchamber import recipe
from cloudchamber.data import store
from cloudchamber.data.cache import cached
from cloudchamber.nn.features import VOCABULARY
from cloudchamber.run import Run
from cloudchamber.train.fit import fit_run
from cloudchamber.train.rows import Rows

SAMPLES = os.environ.get("CLOUDCHAMBER_SAMPLES")
pytestmark = pytest.mark.skipif(not SAMPLES, reason="CLOUDCHAMBER_SAMPLES is not set")
NAMES = (
    "quark_gluon_1200.npz",
    "jetclass_HToBB_2000.npz",
    "events_anomalydetection_first60_gzip.h5",
    "pfnano.root",
    "nano_dimuon.root",
    "nanoAOD_2015_CMS_Open_Data_ttbar.root",
    "PHYSLITE_example.root",
    "events_delphes_higgs2p_example.root",
    "gntp.NuMI_C12_Dilepton_inclusive.gst.root",
    "nuhepmc_test.v1.0.0.hepmc3",
    "madgraph5_pp_to_jj_100.lhe.gz",
    # not powheg_hvq.lhe: some of its weights are negative, and a training refuses those
)


@pytest.mark.parametrize("adapt", ["scratch", "full"])
@pytest.mark.parametrize("name", NAMES)
def test_a_store_of_a_real_sample_trains_the_model(name, adapt, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_CACHE", str(tmp_path / "cache"))
    cloud = cc.read(Path(SAMPLES) / name)[:40]
    written = store.write(tmp_path / "store", [cloud])
    data = cached([written], 64)
    new = [n for n in (*data.particle_names, *data.column_names) if n not in VOCABULARY]
    asked = recipe.make(
        {
            "name": name,
            "size": "xs",
            "weights": None if adapt == "scratch" else "xs",
            "adapt": adapt,
            "new_features": tuple(new),
            "data": (str(written.path),),
            "tasks": ({"task": "mask", "options": {"events": 0.9, "particles": 0.5}},),
            "optimisation": {"steps": 3, "batch": 16, "validations": 1, "checkpoints": 0},
            "max_particles": 64,
            "seed": 1,
        }
    )
    first, rest = np.array([0]), np.arange(1, len(data))  # some samples are too small for three splits
    fit_run(asked, tmp_path / "run", kind="pretrain", data=data, rows=Rows(rest, rest, first))
    losses = [m["loss"] for m in Run.open(tmp_path / "run").metrics() if m["split"] == "train"]
    assert len(losses) == 3
    assert all(np.isfinite(losses))
    assert min(losses) > 0
