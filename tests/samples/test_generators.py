"""Real files of generators, read by us and by hand: lines of text, and branches with uproot."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from cloudchamber import data
from cloudchamber.data.containers import Jagged, open_container

if "CLOUDCHAMBER_SAMPLES" not in os.environ:
    pytest.skip("CLOUDCHAMBER_SAMPLES is not set", allow_module_level=True)
SAMPLES = Path(os.environ["CLOUDCHAMBER_SAMPLES"])
GST = "gntp.NuMI_C12_Dilepton_inclusive.gst.root"


def totals(cloud) -> np.ndarray:
    """(N, 4) sums of px, py, pz, energy of each event."""
    return np.stack(
        [ak.sum(ak.values_astype(cloud.particles[n], np.float64), axis=1) for n in ("px", "py", "pz", "energy")], axis=1
    )


@pytest.mark.parametrize("version", ["v1.0.0", "v0.9.0"])
def test_nuhepmc_has_the_final_state_of_the_text_in_gev(version):
    path = SAMPLES / f"nuhepmc_test.{version}.hepmc3"
    sums, counts, beams, processes = [], [], [], []
    for line in path.read_text().splitlines():
        fields = line.split()
        if line.startswith("E "):
            sums.append(np.zeros(4))
            counts.append(0)
        elif line.startswith("P ") and fields[-1] == "1":
            sums[-1] += np.array(fields[4:8], float) / 1e3  # MeV
            counts[-1] += 1
        elif line.startswith("P ") and fields[-1] == "4":
            beams.append((float(fields[7]) / 1e3, int(fields[3])))
        elif "signal_process_id" in line and line.startswith("A 0"):
            processes.append(int(fields[3]))
    cloud = data.read(path)
    assert cloud.counts.tolist() == counts
    np.testing.assert_allclose(totals(cloud), sums, rtol=1e-6, atol=1e-6)
    assert cloud.labels["process_id"].tolist() == processes == [600, 600, 250, 600]
    assert [cloud.schema.label("interaction").classes[i] for i in cloud.labels["interaction"]] == ["DIS", "DIS", "QE", "DIS"]
    assert cloud.labels["current"].tolist() == [0, 0, 1, 0]
    np.testing.assert_allclose(np.stack([cloud.labels["beam_energy"], cloud.labels["beam_pdg"]], axis=1), beams)
    assert cloud.schema.frame == "fixed-target"


@pytest.mark.parametrize(("name", "events"), [("powheg_hvq.lhe", 6), ("madgraph5_pp_to_jj_100.lhe.gz", 100)])
def test_lhe_has_the_outgoing_partons_and_weights_of_the_text(name, events):
    content = (SAMPLES / name).read_bytes()
    text = (gzip.decompress(content) if name.endswith("gz") else content).decode()
    sums, weights, codes = [], [], []
    for block in text.split("<event>")[1:]:
        lines = block.strip().splitlines()
        rows = [line.split() for line in lines[1 : 1 + int(lines[0].split()[0])]]
        out = [row for row in rows if row[1] == "1"]
        sums.append(np.array([row[6:10] for row in out], float).sum(axis=0))
        codes += [int(row[0]) for row in out]
        weights.append(float(lines[0].split()[2]))
    cloud = data.read(SAMPLES / name)
    assert len(cloud) == events == len(sums)
    assert cloud.flat("pdg").tolist() == codes
    np.testing.assert_allclose(totals(cloud), sums, rtol=1e-5, atol=1e-4)
    assert cloud.weights.tolist() == weights


def test_gst_has_the_totals_of_the_tree_and_conserves_the_leptons_energy():
    cloud = data.read(SAMPLES / GST)
    with uproot.open(SAMPLES / GST) as file:
        tree = {
            n: file["gst"][n].array()
            for n in ("pxf", "pyf", "pzf", "Ef", "pxl", "pyl", "pzl", "El", "Ev", "neu", "cc", "res", "dis")
        }
    assert cloud.counts.tolist() == (ak.num(tree["Ef"]) + 1).to_list()
    expected = [ak.sum(tree[f"{n}f"], axis=1) + tree[f"{n}l"] for n in ("px", "py", "pz", "E")]
    np.testing.assert_allclose(totals(cloud), np.stack(expected, axis=1), rtol=1e-5, atol=1e-5)
    classes = cloud.schema.label("interaction").classes
    assert [classes[i] for i in cloud.labels["interaction"]] == ["RES" if r else "DIS" for r in tree["res"]]
    assert (cloud.labels["current"] == 0).tolist() == tree["cc"].to_list()
    np.testing.assert_allclose(cloud.labels["neutrino_energy"], tree["Ev"])
    lepton = cloud.particles[cloud.particles["is_primary_lepton"] == 1]["pdg"][:, 0]
    same_sign = np.sign(np.asarray(lepton)) == np.sign(np.asarray(tree["neu"]))
    assert same_sign.all()


def test_a_list_of_lists_of_one_length_is_a_table_per_event():
    # MINERvA's prong_part_E is of this type; no small MINERvA file is public.
    with uproot.open(SAMPLES / "PHYSLITE_example.root") as file:
        tree = file["CollectionTree"]
        nested = (b for b in tree.itervalues() if b.typename == "std::vector<std::vector<float>>")
        name, by_hand = next((b.name, a) for b in nested if len(set(ak.num((a := b.array(entry_stop=1))[0]).to_list())) == 1)
    with open_container(SAMPLES / "PHYSLITE_example.root") as container:
        key = f"CollectionTree/{name}"
        column = container.read([key], 0, 1, "test")[key]
    assert isinstance(column, Jagged)
    assert column.counts.tolist() == ak.num(by_hand).to_list()
    assert column.values.tolist() == by_hand[0].to_list()
