"""MINERvA relative to the interaction, with blobs (neutron candidates) in place of clusters. Chosen by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from cloudchamber.data.readers.minerva import BLOB, Block, Objects
from cloudchamber.data.readers.minerva_clusters import NOTES, TRANSVERSE, from_vertex, vertex_reader
from cloudchamber.events import Feature


def _blobs(block: Block) -> Objects:
    blobs = block.blobs()
    in_3d = blobs.features["in_3d"] != 0
    # A blob of a single view lies on the axis that the view measures, through the detector's centre (y is 0 in view X).
    x, y = blobs.at_T4[:, 0], blobs.at_T4[:, 1]
    side = np.where(x < 0, -1.0, 1.0)
    axis = np.where(in_3d, 0.0, np.arctan2(side * y, side * x))
    at = np.column_stack([np.where(in_3d, x, side * np.hypot(x, y)), blobs.at_T4[:, 1:]])
    return from_vertex(block, replace(blobs, at_T4=at), axis, in_3d)


READER = vertex_reader(
    "minerva_blobs",
    "MINERvA MasterAnaDev tuples: muon, photons, prongs and blobs, relative to the interaction; only by this name",
    BLOB,
    _blobs,
    "is_blob",
    (TRANSVERSE, Feature(name="in_3d", kind="flag", description="of a blob: x and y are both measured")),
    lambda container: False,  # noqa: ARG005 (minerva_clusters is the one that a file is recognised by)
    NOTES,
)
