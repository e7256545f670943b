"""A small MasterAnaDev file with the names and types of the real branches, written event by event."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

DOUBLES = (
    *("muon_trackVertexTime", "muon_fuzz_energy", "muon_iso_blobs_energy", "muon_theta"),
    *(f"gamma{i}_{n}" for i in (1, 2) for n in ("px", "py", "pz", "E", "time", "dEdx")),
    *("MasterAnaDev_hadron_recoil", "MasterAnaDev_hadron_recoil_CCInc", "MasterAnaDev_recoil_E", "MasterAnaDev_minos_trk_qp"),
    *(f"part_response_total_recoil_passive_allNonMuonClusters_{n}" for n in ("id", "od")),
    *(f"blob_recoil_E{n}" for n in ("", "_tracker", "_ecal", "_hcal", "_nucl", "_od")),
)
INTEGERS = ("improved_nmichel", "isMinosMatchTrack", "isMinosMatchStub", "phys_n_dead_discr_pair_upstream_prim_track_proj")
FOURS = ("muon_corrected_p", "vtx")
DOUBLE_LISTS = (
    *(f"MasterAnaDev_Blob{n}" for n in ("X", "Y", "Z", "T", "TotalE")),
    *("prong_dEdXMean", "cluster_energy", "cluster_pos", "cluster_z", "cluster_time"),
)
INTEGER_LISTS = ("MasterAnaDev_BlobIs3D", "prong_part_pid", "cluster_view", "cluster_subdet", "cluster_isMuontrack")
VECTORS = ("prong_part_E", "prong_part_pos")  # std::vector<std::vector<double>>
TRUTH_DOUBLES = ("mc_incomingE", "mc_cvweight_total", "mc_ppfx1_cvweight")
TRUTH_INTEGERS = ("mc_current", "mc_intType", "mc_incoming")
FINAL = tuple(f"mc_FSPart{n}" for n in ("Px", "Py", "Pz", "E"))
TRUTH_FOURS = ("mc_incomingPartVec", "mc_primFSLepton")
ABSENT = {f"gamma{i}_{n}": -9999.0 for i in (1, 2) for n in ("px", "py", "pz", "E", "time", "dEdx")}
ABSENT |= {"muon_corrected_p": [-999.0] * 4, "muon_trackVertexTime": -9999.0}


def event(**branches: Any) -> dict[str, Any]:
    """An event without any object, at (10, 20, 6000) mm and 5000 ns, with some branches given."""
    usual: dict[str, Any] = dict.fromkeys((*DOUBLES, *TRUTH_DOUBLES), 0.0) | dict.fromkeys(INTEGERS, 0)
    usual |= {name: [] for name in (*DOUBLE_LISTS, *INTEGER_LISTS, *VECTORS, "mc_FSPartPDG", *FINAL)} | ABSENT
    usual |= {"vtx": [10.0, 20.0, 6000.0, 5000.0], "mc_current": 1, "mc_intType": 1, "mc_incoming": 14, "mc_incomingE": 5000.0}
    usual |= {"mc_incomingPartVec": [0.0, 0.0, 5000.0, 5000.0], "mc_primFSLepton": [0.0, 0.0, 3000.0, 3001.86]}
    assert set(branches) <= set(usual)
    still = [0.0] * len(branches.get("mc_FSPartE", []))
    return usual | dict.fromkeys(FINAL[:3], still) | branches


def write(path: Path, events: list[dict[str, Any]], *, simulated: bool = True, drop: tuple[str, ...] = ()) -> Path:
    """The file; without any mc_ branch if it is not simulated."""
    scalars = dict.fromkeys(DOUBLES, "float64") | dict.fromkeys(INTEGERS, "int32")
    fours = FOURS + (TRUTH_FOURS if simulated else ())
    lists = dict.fromkeys((*DOUBLE_LISTS, *VECTORS), "float64") | dict.fromkeys(INTEGER_LISTS, "int32")
    if simulated:
        scalars |= dict.fromkeys(TRUTH_DOUBLES, "float64") | dict.fromkeys(TRUTH_INTEGERS, "int32")
        lists |= {"mc_FSPartPDG": "int32", **dict.fromkeys(FINAL, "float64")}
    types: dict[str, Any] = {**scalars, **dict.fromkeys(fours, np.dtype(("f8", (4,))))}
    types |= {name: f"var * {kind}" for name, kind in lists.items()}
    types = {name: kind for name, kind in types.items() if name not in drop}
    columns: dict[str, Any] = {name: np.array([e[name] for e in events], types[name]) for name in scalars if name in types}
    columns |= {name: np.array([e[name] for e in events], float) for name in fours if name in types}
    for name, kind in ((n, k) for n, k in lists.items() if n in types):
        flat = [np.array(e[name], kind).reshape(-1) for e in events]
        columns[name] = ak.unflatten(np.concatenate(flat), [len(x) for x in flat])
    with uproot.recreate(path) as file:
        file.mktree("MasterAnaDev", types).extend(columns)
    return path


@pytest.fixture
def vectors_of_vectors(monkeypatch):
    """uproot cannot write std::vector<std::vector<double>>: give it as uproot reads that type from a real file."""
    from uproot.behaviors.TBranch import TBranch

    plain = TBranch.array

    def array(self, *arguments, **named):
        values = plain(self, *arguments, **named)
        if self.name in VECTORS:
            fours = ak.unflatten(ak.flatten(values), np.full(len(ak.flatten(values)) // 4, 4))
            return ak.unflatten(fours, ak.num(values) // 4)
        return values

    monkeypatch.setattr(TBranch, "array", array)
