"""MINERvA relative to the interaction: muon, photons, prongs and every cluster of energy off the muon, in the beam's frame."""

# N event, T object of any event

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Columns, Reader
from cloudchamber.data.readers.minerva import CITATION, PRONGS, Block, Objects, count, is_minerva, schema_of
from cloudchamber.data.readers.minerva_truth import BEAM_TILT
from cloudchamber.events import Cloud, Feature

# The axis along which each view measures: U is X turned clockwise by 60 degrees, V counterclockwise (arXiv:1305.5199, 2.1).
_VIEWS = {1: ("view_x", 0.0), 2: ("view_u", -np.pi / 3), 3: ("view_v", np.pi / 3)}
_SUBDETECTORS = {1: "in_nuclear_targets", 2: "in_tracker", 3: "in_ecal", 4: "in_hcal"}
_CLUSTER = (
    "cluster_energy",
    "cluster_pos",
    "cluster_z",
    "cluster_time",
    "cluster_view",
    "cluster_subdet",
    "cluster_isMuontrack",
)
TRANSVERSE = Feature(name="transverse", unit="mm", description="from the vertex along the one axis that is measured")
_FEATURES = (
    TRANSVERSE,
    *(Feature(name=name, kind="flag", description="of a cluster") for name, _ in _VIEWS.values()),
    *(Feature(name=name, kind="flag", description="of a cluster") for name in _SUBDETECTORS.values()),
)
NOTES = (
    "Beam's frame: z along the beam, y up. x, y, z, time are from the interaction. The first prong is left out where the muon "
    "is there: it is the same particle. A deposit's momentum is its energy along the line from the interaction; of a single "
    "view, with its unmeasured coordinate at the interaction, and x and y are NaN."
)


def to_beam(vectors_T3: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 3) vectors of the detector's frame, in the beam's.

    >>> np.round(to_beam(np.array([[0.0, -np.sin(0.05887), np.cos(0.05887)]])), 6) + 0.0
    array([[0., 0., 1.]])
    """
    x, y, z = vectors_T3.T
    sin, cos = np.sin(BEAM_TILT), np.cos(BEAM_TILT)
    return np.stack([x, cos * y - sin * z, sin * y + cos * z], axis=1)


def vertex_reader(
    name: str, description: str, branches: tuple[str, ...], deposits: Callable[[Block], Objects], kind: str,
    features: tuple[Feature, ...], recognises: Callable[[Container], bool], notes: str,
) -> Reader:  # fmt: skip
    """A reader with the muon, photons, prongs and some deposits of energy. deposits: them, relative to the interaction."""
    kinds = ("is_muon", "is_photon", *PRONGS.values(), kind)

    def read(container: Container, start: int, stop: int) -> Cloud:
        block = Block(container, start, stop, branches, name)
        muon = block.muon()
        prongs = block.prongs(skip_first=np.isin(np.arange(block.size), muon.event))
        vertex = block.vertex_N4()
        prongs = replace(prongs, at_T4=prongs.at_T4 - vertex[prongs.event])
        timed = [replace(o, at_T4=_since(o.at_T4, vertex[o.event, 3])) for o in (muon, *block.photons())]
        timed[0].at_T4[:, :3] = 0.0  # the muon comes from the interaction
        groups = [_in_beam(objects) for objects in (*timed, prongs, deposits(block))]
        return block.cloud(groups, schema_of(container, name, kinds, features, (), notes), {})

    return Reader(name, description, CITATION, recognises, count, read)


def from_vertex(block: Block, objects: Objects, axis_T: NDArray[np.float64], in_3d: NDArray[np.bool_]) -> Objects:
    """Deposits relative to the interaction, with momentum along the line from it. axis_T: rad, the one that is measured.

    Where x and y are not both measured (`in_3d`), objects.at_T4 has the measured coordinate as x. Without an interaction a
    deposit has no direction: it is dropped and counted.
    """
    vertex_T4 = block.vertex_N4()[objects.event]
    cos, sin = np.cos(axis_T), np.sin(axis_T)
    along = objects.at_T4[:, 0] - (vertex_T4[:, 0] * cos + vertex_T4[:, 1] * sin)
    line = np.where(in_3d[:, None], objects.at_T4 - vertex_T4, 0.0)
    line[~in_3d, :2] = np.stack([along * cos, along * sin], axis=1)[~in_3d]
    line[:, 2:] = objects.at_T4[:, 2:] - vertex_T4[:, 2:]
    length = np.linalg.norm(line[:, :3], axis=1)
    unit = line[:, :3] / np.where(length > 0, length, 1.0)[:, None]
    p4 = np.column_stack([unit * objects.p4_T4[:, 3:], objects.p4_T4[:, 3]])
    features = {**objects.features, "transverse": np.where(in_3d, np.nan, along)}
    return block.measured(replace(objects, p4_T4=p4, at_T4=line, features=features), np.ones(len(line), dtype=np.bool_))


def _since(at_T4: NDArray[np.float64], time_T: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([at_T4[:, :3], at_T4[:, 3] - time_T])


def _in_beam(objects: Objects) -> Objects:
    """Momenta and positions in the beam's frame; x and y are not known of what one axis measures."""
    p4 = np.column_stack([to_beam(objects.p4_T4[:, :3]), objects.p4_T4[:, 3]])
    at = np.column_stack([to_beam(objects.at_T4[:, :3]), objects.at_T4[:, 3]])
    if "transverse" in objects.features:
        at[~np.isnan(objects.features["transverse"]), :2] = np.nan
    return replace(objects, p4_T4=p4, at_T4=at)


def _clusters(block: Block) -> Objects:
    event, (energy, position, z, time, view, subdetector, on_muon) = block.lists(_CLUSTER)
    known = np.isin(view, tuple(_VIEWS)) & np.isin(subdetector, tuple(_SUBDETECTORS))
    features: Columns = {name: (view == code).astype(np.float64) for code, (name, _) in _VIEWS.items()}
    features |= {name: (subdetector == code).astype(np.float64) for code, name in _SUBDETECTORS.items()}
    features["axis"] = np.select([view == code for code in _VIEWS], [angle for _, angle in _VIEWS.values()], 0.0)
    p4 = np.column_stack([np.zeros((len(event), 3)), energy * 1e-3])
    at = np.column_stack([np.where(known, position, np.nan), np.zeros(len(event)), z, time])
    clusters = Objects(np.full(len(event), "is_cluster"), event, p4, at, features)
    clusters = block.measured(clusters, on_muon == 0)
    return from_vertex(block, clusters, clusters.features["axis"], np.zeros(len(clusters.event), dtype=np.bool_))


# The default: blobs are neutron candidates alone, so that most of the recoil is only here. Prongs hold some of it twice.
READER = vertex_reader(
    "minerva_clusters",
    "MINERvA MasterAnaDev tuples: muon, photons, prongs and clusters, relative to the interaction",
    _CLUSTER,
    _clusters,
    "is_cluster",
    _FEATURES,
    is_minerva,
    f"{NOTES} The clusters of a prong are there beside it. Clusters of no known view or part of the detector are dropped.",
)
