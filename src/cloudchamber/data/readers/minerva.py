"""MINERvA MasterAnaDev tuples: their objects in the detector's frame, and their event columns. What the readers share."""

# N event, T object of any event

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Column, Container, Jagged
from cloudchamber.data.reader import Columns, of_event, of_particles, single, standard
from cloudchamber.data.readers.minerva_truth import truth, truth_keys, truth_labels
from cloudchamber.errors import BadFile
from cloudchamber.events import MOMENTUM, Cloud, Feature, Schema

TREE = "MasterAnaDev"
SIMULATION = "cloudchamber_simulation"  # a branch of files that cloudchamber's own simulation wrote
CITATION = ("arXiv:2604.12364", "arXiv:1305.5199")  # K. Krzmanc et al.: the study; L. Aliaga et al.: the detector
_ABSURD = 1e6  # MeV, mm, ns: beyond it a value is a failed fit (arXiv:2604.12364 drops such muons)
_ABSENT = (-9999, -999)  # no such object; no such field of an object that is there
PRONGS = {3: "is_muon_prong", 8: "is_proton_prong", 13: "is_shower_prong"}  # prong_part_pid; 8 is no pion, 13 no muon
_NO_PRONG = (-999, 0)
_PHOTON = ("px", "py", "pz", "E", "time", "dEdx")
_PRONG = ("prong_part_E", "prong_part_pos", "prong_part_pid", "prong_dEdXMean")
BLOB = tuple(f"MasterAnaDev_Blob{n}" for n in ("X", "Y", "Z", "T", "TotalE", "Is3D"))
TRACKER_FACE = 5991.29  # mm, of module 27
_DEDX = Feature(
    name="plane_dedx", description="photons: MeV per plane in the first four; prongs: as in the file, unit not known"
)
# Our name -> branch, its position in an array, unit of the column, what it is. The study's own come first.
_COLUMNS: dict[str, tuple[str, int | None, str, str]] = {
    "muon_fuzz_energy": ("muon_fuzz_energy", None, "GeV", "along the muon's track"),
    "muon_iso_blobs_energy": ("muon_iso_blobs_energy", None, "GeV", "blobs that belong to the muon"),
    "hadron_recoil_energy": ("MasterAnaDev_hadron_recoil", None, "GeV", "zeroed in the published runs"),
    "recoil_passive_id_energy": ("part_response_total_recoil_passive_allNonMuonClusters_id", None, "GeV", "inner detector"),
    "recoil_passive_od_energy": ("part_response_total_recoil_passive_allNonMuonClusters_od", None, "GeV", "outer detector"),
    "n_michel": ("improved_nmichel", None, "1", "Michel electrons"),
    "hadron_recoil_ccinc_energy": ("MasterAnaDev_hadron_recoil_CCInc", None, "GeV", ""),
    "recoil_energy": ("MasterAnaDev_recoil_E", None, "GeV", ""),
    **{
        f"blob_recoil_energy{s}": (f"blob_recoil_E{s}", None, "GeV", "")
        for s in ("", "_tracker", "_ecal", "_hcal", "_nucl", "_od")
    },
    "muon_theta": ("muon_theta", None, "rad", "as in the file"),
    "is_minos_track": ("isMinosMatchTrack", None, "1", "the muon is matched to a track in MINOS"),
    "is_minos_stub": ("isMinosMatchStub", None, "1", "or to a stub"),
    "minos_qp": ("MasterAnaDev_minos_trk_qp", None, "1", "charge over momentum in the file's unit; below 0 is mu-"),
    "n_dead": ("phys_n_dead_discr_pair_upstream_prim_track_proj", None, "1", "dead discriminators upstream; cut at <= 1"),
    "vertex_x": ("vtx", 0, "mm", "detector's frame; the fiducial hexagon has an apothem of 850"),
    "vertex_y": ("vtx", 1, "mm", "detector's frame"),
    "vertex_tracker_z": ("vtx", 2, "mm", f"from the tracker's upstream face at {TRACKER_FACE}; the tracker is 2417.62 long"),
}
NOTES = (
    "No cut is applied. An object is dropped, and counted in n_dropped, if a number of it is NaN or beyond 1e6 MeV, mm or ns. "
    "Prongs of pid 0 and -999 or without energy and photons without energy are no objects. -9999, -999, NaN and beyond 1e6 "
    "are NaN in event columns. Weights among the labels are no targets; none of them is the weight of the central value. "
    "w: the hadronic mass by the true lepton, a nucleon at rest."
)


@dataclass(frozen=True)
class Objects:
    """Some objects. event: (T,) row. p4_T4: px, py, pz, energy in GeV. at_T4: x, y, z, t in mm, ns; NaN if unknown.

    kind: (T,) the name of the flag that each has. features: (T,) further columns by name.
    """

    kind: NDArray[np.str_]
    event: NDArray[np.int64]
    p4_T4: NDArray[np.float64]
    at_T4: NDArray[np.float64]
    features: Columns

    def only(self, keep: NDArray[Any]) -> Objects:
        """The objects that a mask or an array of positions selects."""
        features = {name: values[keep] for name, values in self.features.items()}
        return Objects(self.kind[keep], self.event[keep], self.p4_T4[keep], self.at_T4[keep], features)

    def feature(self, name: str) -> NDArray[np.float64]:
        """(T,) one feature: its own column, or whether it is the kind, or NaN."""
        if name in self.features:
            return self.features[name]
        return (self.kind == name).astype(np.float64) if name.startswith("is_") else np.full(len(self.event), np.nan)


class Block:
    """The branches of one block of events, and the objects made of them."""

    def __init__(self, container: Container, start: int, stop: int, branches: tuple[str, ...], reader: str):
        self.container, self.start, self.size = container, start, stop - start
        names = dict.fromkeys(("muon_corrected_p", "muon_trackVertexTime", "vtx", *(c[0] for c in _COLUMNS.values())))
        photons = [f"gamma{i}_{n}" for i in (1, 2) for n in _PHOTON]
        keys = [f"{TREE}/{n}" for n in (*names, *photons, *_PRONG, *branches)] + truth_keys(container, TREE)
        self._columns: dict[str, Column] = container.read(keys, start, stop, reader)
        for name in ("prong_part_E", "prong_part_pos"):
            self._columns[f"{TREE}/{name}"] = self._in_fours(self._columns[f"{TREE}/{name}"], name)
        self.dropped = np.zeros(self.size, dtype=np.int64)

    def event(self, name: str) -> NDArray[np.float64]:
        """A branch with one number or one array per event."""
        return of_event(self.container, self._columns, f"{TREE}/{name}").astype(np.float64)

    def lists(self, names: tuple[str, ...]) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
        """(T,) event of each value, and the values, of branches with a list per event."""
        counts, values = of_particles(self.container, self._columns, [f"{TREE}/{n}" for n in names], self.start)
        return np.repeat(np.arange(self.size), counts), list(values.values())

    def vertex_N4(self) -> NDArray[np.float64]:
        """x, y, z, t of the interaction; NaN where there is none."""
        return _missing(self.event("vtx"))

    def muon(self) -> Objects:
        """The muon matched to MINOS, where there is one."""
        p4, time = self.event("muon_corrected_p"), _missing(self.event("muon_trackVertexTime"))
        at = np.column_stack([np.full((self.size, 3), np.nan), time])
        muons = Objects(np.full(self.size, "is_muon"), np.arange(self.size), p4 * 1e-3, at, {})
        return self._possible(muons, np.asarray(~np.isin(p4[:, :2], _ABSENT).any(axis=1)), p4)

    def photons(self) -> list[Objects]:
        """The two photons of the pi0 fit, where they have energy."""
        found = []
        for i in (1, 2):
            *p, time, dedx = (self.event(f"gamma{i}_{n}") for n in _PHOTON)
            p4 = np.column_stack(p)
            at = np.column_stack([np.full((self.size, 3), np.nan), _missing(time)])
            photons = Objects(
                np.full(self.size, "is_photon"), np.arange(self.size), p4 * 1e-3, at, {"plane_dedx": _missing(dedx)}
            )
            found.append(self._possible(photons, ~(p4[:, 3] <= 1e-5), p4))
        return found

    def prong_codes(self) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """(T,) event and prong_part_pid of every prong, used or not."""
        event, (_, _, pid, _) = self.lists(_PRONG)
        return event, pid

    def prongs(self, skip_first: NDArray[np.bool_] | None = None) -> Objects:
        """The prongs. skip_first: (N,) events whose first prong, the primary lepton, is already there as the muon."""
        event, (p4, at, pid, dedx) = self.lists(_PRONG)
        if p4.ndim != 2 or at.ndim != 2 or (len(pid) and (p4.shape[1], at.shape[1]) != (4, 4)):
            raise BadFile(f"{self.container.path}: a prong has {p4.shape[1:]} numbers in prong_part_E, expected 4")
        p4, at = p4.reshape(-1, 4), at.reshape(-1, 4)
        unknown = ~np.isin(pid, (*PRONGS, *_NO_PRONG))
        if unknown.any():
            raise BadFile(
                f"{self.container.path}: prong_part_pid is {pid[np.argmax(unknown)]} in a prong, expected one of "
                f"{', '.join(map(str, (*PRONGS, *_NO_PRONG)))}"
            )
        there = ~np.isin(pid, _NO_PRONG) & ~(p4[:, 3] < 1e-6)
        if skip_first is not None:
            first = np.diff(event, prepend=-1) != 0
            there &= ~(first & skip_first[event])
        kind = np.select([pid == code for code in PRONGS], list(PRONGS.values()), "")
        prongs = Objects(kind, event, p4 * 1e-3, at, {"plane_dedx": _missing(dedx)})
        return self._possible(prongs, there, np.column_stack([p4, at]))

    def blobs(self) -> Objects:
        """Neutron candidates, with momentum still 0. in_3d: whether x and y are both measured."""
        event, (x, y, z, t, energy, in_3d) = self.lists(BLOB)
        p4 = np.column_stack([np.zeros((len(event), 3)), energy * 1e-3])
        blobs = Objects(
            np.full(len(event), "is_blob"), event, p4, np.column_stack([x, y, z, t]), {"in_3d": in_3d.astype(np.float64)}
        )
        return self.measured(blobs, np.ones(len(event), dtype=np.bool_))

    def measured(self, objects: Objects, there: NDArray[np.bool_]) -> Objects:
        """The deposits of energy that can be: finite, not absurd, not below 0. Others are counted as dropped."""
        energy = objects.p4_T4[:, 3]
        return self._possible(objects, there, np.column_stack([energy * 1e3, objects.at_T4, np.where(energy < 0, np.nan, 0.0)]))

    def cloud(self, groups: list[Objects], schema: Schema, columns: Columns) -> Cloud:
        """The cloud of some groups of objects: in each event in their order."""
        event = np.concatenate([g.event for g in groups])
        order = np.argsort(event, kind="stable")
        p4 = np.concatenate([g.p4_T4 for g in groups])[order]
        at = np.concatenate([g.at_T4 for g in groups])[order]
        particles = {name: p4[:, i] for i, name in enumerate(MOMENTUM)}
        particles |= {name: at[:, i] for i, name in enumerate(("x", "y", "z", "time"))}
        for name in schema.feature_names[4:]:
            particles[name] = np.concatenate([g.feature(name) for g in groups])[order]
        events = {**self._event_columns(), **columns, "n_dropped": self.dropped.astype(np.float64)}
        events |= truth(self.container, self._columns, TREE, self.start) if schema.labels else {}
        counts = np.bincount(event, minlength=self.size)
        return Cloud.from_flat(counts, {n: single(v) for n, v in particles.items()}, events, schema)

    def _in_fours(self, column: Column, name: str) -> Column:
        """Flat lists, which uproot can write, as lists of four numbers, which the experiment's files have."""
        if not isinstance(column, Jagged) or column.values.ndim == 2:
            return column
        if (column.counts % 4).any():
            odd = int(np.argmax(column.counts % 4 != 0))
            raise BadFile(
                f"{self.container.path}: {name} has {column.counts[odd]} numbers in event {self.start + odd}, "
                "expected four for each prong"
            )
        return Jagged(column.counts // 4, column.values.reshape(-1, 4))

    def _possible(self, objects: Objects, there: NDArray[np.bool_], numbers: NDArray[np.float64]) -> Objects:
        possible = (np.abs(numbers) <= _ABSURD).all(axis=1)  # NaN is not
        self.dropped += np.bincount(objects.event[there & ~possible], minlength=self.size)
        return objects.only(there & possible)

    def _event_columns(self) -> Columns:
        found = {}
        for name, (branch, index, unit, _) in _COLUMNS.items():
            values = self.event(branch) if index is None else self.event(branch)[:, index]
            found[name] = _missing(values) * (1e-3 if unit == "GeV" else 1.0)
        found["vertex_tracker_z"] = found["vertex_tracker_z"] - TRACKER_FACE
        return found


def schema_of(
    container: Container,
    name: str,
    kinds: tuple[str, ...],
    features: tuple[Feature, ...],
    columns: tuple[Feature, ...],
    notes: str,
) -> Schema:
    """The schema of a tokenisation. kinds: the flags, of which each token has one."""
    labels = truth_labels(container, TREE)
    ours = f"{TREE}/{SIMULATION}" in container.keys
    return Schema(
        dataset=f"{name} (cloudchamber simulation)" if ours else name,
        frame="fixed-target",
        features=(*standard("x", "y", "z", "time"), *(Feature(name=k, kind="flag") for k in kinds), _DEDX, *features),
        columns=(
            *(Feature(name=n, unit=unit, kind=_kind(n), description=text) for n, (_, _, unit, text) in _COLUMNS.items()),
            *columns,
            Feature(name="n_dropped", kind="integer", description="objects that cannot be"),
        ),
        labels=labels,
        simulated=bool(labels),
        citation=CITATION,
        notes=f"{notes} {NOTES}",
    )


def is_minerva(container: Container) -> bool:
    """Whether a file holds a MasterAnaDev tree."""
    return container.kind == "ROOT" and {f"{TREE}/muon_corrected_p", f"{TREE}/prong_part_E"} <= set(container.keys)


def count(container: Container) -> int:
    """Its number of events."""
    return container.rows(f"{TREE}/muon_corrected_p")


def _missing(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN in place of what the file writes where it has no value."""
    return np.where(np.isin(values, _ABSENT) | ~(np.abs(values) <= _ABSURD), np.nan, values)


def _kind(name: str) -> Any:
    return "flag" if name.startswith("is_") else "integer" if name.startswith("n_") else "number"
