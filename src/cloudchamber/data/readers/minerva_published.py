"""MINERvA as in arXiv:2604.12364: at most 33 tokens, blob directions from the detector's origin. Chosen by name."""

# N event, T object of any event

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Columns, Reader
from cloudchamber.data.readers.minerva import BLOB, CITATION, PRONGS, Block, Objects, count, schema_of
from cloudchamber.data.readers.minerva_truth import sum_of
from cloudchamber.events import Cloud, Feature

BLOBS, PRONG_TOKENS = 20, 10  # tokens at most, the last of them the sum of all others
_KINDS = ("is_muon", "is_photon", "is_blob", *PRONGS.values(), "is_blob_sum", "is_prong_sum")  # the study's types 0 to 7
_NAME = "minerva_published"
_GLOBALS = (
    Feature(name="recoil_passive_energy", unit="GeV", description="inner and outer detector"),
    Feature(name="has_muon", kind="flag"),
    Feature(name="photon_pair_mass", unit="GeV", description="0 without two photons"),
    Feature(name="n_hadron_prongs", kind="integer", description="prongs of pid 8 or 9; the study calls them pions"),
    *(Feature(name=f"energy_{k[3:]}", unit="GeV", description="sum over the tokens of this kind") for k in _KINDS[2:]),
)
_NOTES = (
    "Detector's frame. The muon is there twice, as itself and as the first prong. A blob's momentum is its energy along its "
    "position. The token of a sum has the summed momentum and the plain mean of what its objects have (the study's mean of "
    "plane_dedx includes its -999). The study's 16 globals are muon_fuzz_energy to n_michel and recoil_passive_energy to "
    "energy_prong_sum; other columns are there for cuts."
)


def _read(container: Container, start: int, stop: int) -> Cloud:
    block = Block(container, start, stop, BLOB, _NAME)
    blobs = block.blobs()
    distance = np.linalg.norm(blobs.at_T4[:, :3], axis=1)
    blobs.p4_T4[:, :3] = blobs.at_T4[:, :3] / np.where(distance > 1e-6, distance, 1.0)[:, None] * blobs.p4_T4[:, 3:]
    groups = [
        block.muon(),
        *block.photons(),
        *_summed(blobs, BLOBS, "is_blob_sum", block.size),
        *_summed(block.prongs(), PRONG_TOKENS, "is_prong_sum", block.size),
    ]
    return block.cloud(groups, schema_of(container, _NAME, _KINDS, (), _GLOBALS, _NOTES), _globals(block, groups))


def _summed(objects: Objects, limit: int, kind: str, size: int) -> tuple[Objects, Objects]:
    """The objects of events with at most `limit`, the limit - 1 of most energy of all others; and the sums of the rest."""
    counts = np.bincount(objects.event, minlength=size)
    many = counts[objects.event] > limit
    order = np.lexsort((np.where(many, -objects.p4_T4[:, 3], 0.0), objects.event))  # stable: few keep the file's order
    rank = np.arange(len(order)) - (np.cumsum(counts) - counts)[objects.event[order]]
    rest = order[many[order] & (rank >= limit - 1)]
    summed = objects.only(rest)
    events = np.flatnonzero(counts > limit)
    total = np.stack([sum_of(summed.event, p, size)[events] for p in summed.p4_T4.T], axis=1)
    at = np.stack([_mean(summed.event, values, size)[events] for values in summed.at_T4.T], axis=1)
    features = {name: _mean(summed.event, values, size)[events] for name, values in summed.features.items()}
    return objects.only(order[~np.isin(order, rest)]), Objects(np.full(len(events), kind), events, total, at, features)


def _mean(event: NDArray[np.int64], values: NDArray[Any], size: int) -> NDArray[np.float64]:
    """(N,) mean of each event's values that are not NaN; NaN where none is."""
    known = ~np.isnan(values)
    number = np.bincount(event[known], minlength=size)
    return np.where(number > 0, sum_of(event[known], values[known], size) / np.maximum(number, 1), np.nan)


def _globals(block: Block, groups: list[Objects]) -> Columns:
    def total(values: NDArray[Any], event: NDArray[np.int64]) -> NDArray[np.float64]:
        return sum_of(event, values, block.size)

    kind, event, p4 = (np.concatenate([getattr(g, n) for g in groups]) for n in ("kind", "event", "p4_T4"))
    photon = kind == "is_photon"
    px, py, pz, energy = (total(p4[photon, i], event[photon]) for i in range(4))
    pair = np.bincount(event[photon], minlength=block.size) == 2
    prong_event, code = block.prong_codes()
    recoil = [block.event(f"part_response_total_recoil_passive_allNonMuonClusters_{part}") for part in ("id", "od")]
    found = {
        "recoil_passive_energy": (recoil[0] + recoil[1]) * 1e-3,
        "has_muon": total((kind == "is_muon").astype(np.float64), event),
        "photon_pair_mass": np.where(pair, np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0)), 0.0),
        "n_hadron_prongs": total(np.isin(code, (8, 9)).astype(np.float64), prong_event),
    }
    return found | {f"energy_{k[3:]}": total(p4[kind == k, 3], event[kind == k]) for k in _KINDS[2:]}


READER = Reader(
    name=_NAME,
    description="MINERvA MasterAnaDev tuples with the tokens of arXiv:2604.12364; only by this name",
    citation=CITATION,
    recognises=lambda container: False,  # noqa: ARG005 (minerva_clusters is the one that a file is recognised by)
    count=count,
    read=_read,
)
