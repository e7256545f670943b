"""Simulated events as the branches of a MINERvA MasterAnaDev tuple, and such a file."""

# N event, T object of any event

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.run import atomic
from cloudchamber.simulate.neutrino.cascade import cascade as transported
from cloudchamber.simulate.neutrino.interactions import Interactions, Particles
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, square
from cloudchamber.simulate.neutrino.tracker import Response, respond, to_detector
from cloudchamber.simulate.neutrino.tracker_card import MINERVA, TrackerCard

Array = NDArray[Any]
Branches = dict[str, Any]  # NumPy arrays with a row per event, or awkward lists

TREE = "MasterAnaDev"
MARK = "cloudchamber_simulation"  # a branch that no file of the experiment has: 1
_MEV = 1e3
_ABSENT, _MISSING = -9999.0, -999.0  # no such object; no such field of an object that is there
_SUMS = ("_nucl", "_tracker", "_ecal", "_hcal", "_od")
_PASSIVE = "part_response_total_recoil_passive_allNonMuonClusters"


def simulate(
    interactions: Interactions, rng: np.random.Generator, card: TrackerCard = MINERVA, *, cascade: bool = True
) -> Branches:
    """Cascade (if asked for) and tracker for interactions, as branches; events without a vertex are left out, as in files."""
    final = transported(interactions, rng) if cascade else interactions.hadrons
    response = respond(interactions, final, rng, card)
    return {name: b[response.found] for name, b in branches(interactions, final, response, card).items()}


def branches(interactions: Interactions, final: Particles, response: Response, card: TrackerCard = MINERVA) -> Branches:
    """The branches that the MINERvA readers ask for and a few more, with names, units (MeV, mm, ns) and sentinels of the files.

    The prongs' four-vectors are flat lists, four numbers to a prong: uproot cannot write std::vector<std::vector<double>>.
    """
    size, r = len(interactions), response
    has_muon = ~np.isnan(r.muon_N4[:, 0])
    beam = np.array([0.0, np.sin(card.beam_tilt), np.cos(card.beam_tilt)])
    p = np.linalg.norm(r.muon_N4[:, 1:], axis=1)
    theta = np.arccos(np.clip(r.muon_N4[:, 1:] @ beam / p, -1, 1))
    whole = r.recoil_N5.sum(axis=1)
    found: Branches = {
        MARK: np.ones(size, np.int32),
        **{n: np.zeros(size, np.int32) for n in ("phys_n_dead_discr_pair_upstream_prim_track_proj", "isMinosMatchStub")},
        **{n: np.zeros(size, np.int32) for n in ("ev_run", "mc_run", "mc_subrun")},
        "mc_nthEvtInFile": np.arange(size, dtype=np.int32),
        "ev_gate": np.arange(size, dtype=np.int32),
        "isMinosMatchTrack": has_muon.astype(np.int32),
        "improved_nmichel": r.michels.astype(np.int32),
        "vtx": r.vertex_N4,
        "mc_vtx": r.true_vertex_N4,
        "muon_corrected_p": np.where(has_muon[:, None], _fours(r.muon_N4), _MISSING),
        "muon_trackVertexTime": np.where(has_muon, r.vertex_N4[:, 3], _ABSENT),
        "muon_theta": np.where(has_muon, theta, _MISSING),
        "MasterAnaDev_minos_trk_qp": np.where(has_muon, r.muon_charge / (p * _MEV), _ABSENT),
        "muon_fuzz_energy": r.fuzz * _MEV,
        "muon_iso_blobs_energy": r.isolated * _MEV,
        "blob_recoil_E": whole * _MEV,
        **{f"blob_recoil_E{n}": r.recoil_N5[:, i] * _MEV for i, n in enumerate(_SUMS)},
        f"{_PASSIVE}_id": r.recoil_N5[:, :4].sum(axis=1) * _MEV,
        f"{_PASSIVE}_od": r.recoil_N5[:, 4] * _MEV,
        **{f"MasterAnaDev_hadron_recoil{n}": card.recoil_scale * whole * _MEV for n in ("", "_CCInc")},
        "MasterAnaDev_recoil_E": card.recoil_scale * (whole - r.fuzz) * _MEV,
    }
    return found | _photons(r) | _lists(r, card) | _truth(interactions, final, card)


def write(path: Path, events: Mapping[str, Any]) -> None:
    """Branches as a ROOT file that cc.read knows; it appears whole or not at all."""
    import uproot

    types = {n: str(b.type.content) if isinstance(b, ak.Array) else np.dtype((b.dtype, b.shape[1:])) for n, b in events.items()}
    with atomic(path) as partial, uproot.recreate(partial) as file:
        file.mktree(TREE, types).extend(dict(events))


def _photons(r: Response) -> Branches:
    found: Branches = {}
    for i in (0, 1):
        there = ~np.isnan(r.photons_N24[:, i, 0])
        columns = dict(zip(("px", "py", "pz", "E"), _fours(r.photons_N24[:, i]).T, strict=True))
        columns["time"] = r.photon_time_N2[:, i]
        found |= {f"gamma{i + 1}_{n}": np.where(there, values, _ABSENT) for n, values in columns.items()}
        dedx = np.where(np.isnan(r.photon_dedx_N2[:, i]), _MISSING, r.photon_dedx_N2[:, i])
        found[f"gamma{i + 1}_dEdx"] = np.where(there, dedx, _ABSENT)
    return found


def _lists(r: Response, card: TrackerCard) -> Branches:
    size = len(r.vertex_N4)
    prongs, blobs, deposits = r.prongs, r.blobs, r.clusters.deposits
    x, y, z, t = blobs.at_T4.T
    clusters = {
        "energy": deposits.energy * _MEV,
        "pos": r.clusters.position,
        "z": deposits.at_T4[:, 2],
        "time": deposits.at_T4[:, 3],
        "view": card.planes.view[r.clusters.plane],
        "subdet": card.planes.subdet[r.clusters.plane],
        "isMuontrack": deposits.source == 0,
    }
    blob = {"X": x, "Y": y, "Z": z, "T": t, "TPos": np.where(y == 0, x, np.hypot(x, y)), "TotalE": blobs.energy * _MEV}
    found = {f"MasterAnaDev_Blob{n}": _jagged(blobs.event, values, size) for n, values in blob.items()}
    found["MasterAnaDev_BlobIs3D"] = _jagged(blobs.event, r.blob_in_3d, size)
    found |= {f"cluster_{n}": _jagged(deposits.event, values, size) for n, values in clusters.items()}
    four = np.repeat(prongs.event, 4)
    found["prong_part_E"] = _jagged(four, _fours(prongs.p4_T4).ravel(), size)
    found["prong_part_pos"] = _jagged(four, prongs.at_T4.ravel(), size)
    found["prong_part_pid"] = _jagged(prongs.event, prongs.code, size)
    found["prong_dEdXMean"] = _jagged(prongs.event, np.where(np.isnan(prongs.dedx), _MISSING, prongs.dedx), size)
    return found


def _truth(interactions: Interactions, final: Particles, card: TrackerCard) -> Branches:
    """Truth in the detector's frame; the lepton is the first particle of the final state, a remnant the last."""
    size = len(interactions)
    event = np.concatenate([np.arange(size), final.event])
    order = np.argsort(event, kind="stable")
    pdg = np.concatenate([interactions.lepton_pdg, final.pdg])[order]
    p4 = _fours(to_detector(np.concatenate([interactions.lepton_N4, final.p4_T4])[order], card))
    q = interactions.neutrino_N4 - interactions.lepton_N4
    q2 = -square(q)
    w2 = NUCLEON**2 + 2 * NUCLEON * q[:, 0] - q2
    return {
        "mc_incoming": interactions.neutrino_pdg.astype(np.int32),
        "mc_incomingE": interactions.neutrino_N4[:, 0] * _MEV,
        "mc_current": np.where(interactions.charged_current, 1, 2).astype(np.int32),
        "mc_intType": interactions.kind.astype(np.int32),
        "mc_targetNucleon": interactions.nucleon.astype(np.int32),
        "mc_incomingPartVec": _fours(to_detector(interactions.neutrino_N4, card)),
        "mc_primFSLepton": _fours(to_detector(interactions.lepton_N4, card)),
        "mc_Q2": q2 * _MEV**2,
        "mc_w": np.sqrt(np.maximum(w2, 0.0)) * _MEV,
        "mc_FSPartPDG": _jagged(event[order], pdg, size),
        **{f"mc_FSPart{n}": _jagged(event[order], p4[:, i], size) for i, n in enumerate(("Px", "Py", "Pz", "E"))},
    }


def _fours(p4_T4: Array) -> NDArray[np.float64]:
    """(T, 4) px, py, pz, energy [MeV]."""
    return p4_T4[:, [1, 2, 3, 0]] * _MEV


def _jagged(event: Array, values: Array, size: int) -> ak.Array:
    """Lists by rising event; whole numbers as the files' int."""
    kind = np.int32 if values.dtype.kind in "ib" else np.float64
    return ak.unflatten(ak.Array(values.astype(kind)), np.bincount(event, minlength=size))
