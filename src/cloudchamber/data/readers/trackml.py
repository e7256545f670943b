"""TrackML: the hits of a silicon tracker, to be grouped into tracks."""

from __future__ import annotations

import numpy as np

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Reader, of_particles, single, standard
from cloudchamber.errors import BadFile
from cloudchamber.events import MOMENTUM, Cloud, Feature, Schema

_CITATION = ("arXiv:1904.06778",)  # S. Amrouche et al., the tracking machine learning challenge: accuracy phase
_DETECTOR = ("volume_id", "layer_id", "module_id")
_SCHEMA = Schema(
    dataset="TrackML",
    frame="collider",
    features=(
        *standard("x", "y", "z"),
        *(Feature(name=name, kind="integer") for name in _DETECTOR),
        Feature(name="true_track", kind="integer", description="truth: which particle made the hit, 1, 2, ...; 0 is noise"),
    ),
    simulated=True,
    citation=_CITATION,
    notes=(
        "A token is a hit. It has no momentum: px, py, pz and energy are 0. x, y, z are its position from the centre of the "
        "detector. true_track numbers the particle_id of the truth within the event. cells and particles are not read."
    ),
)


def _read(container: Container, start: int, stop: int) -> Cloud:
    keys = (*(f"hits/{n}" for n in ("hit_id", "x", "y", "z", *_DETECTOR)), "truth/hit_id", "truth/particle_id")
    counts, values = of_particles(container, container.read(keys, start, stop, "trackml"), keys, start)
    if not np.array_equal(values["hits/hit_id"], values["truth/hit_id"]):
        raise BadFile(f"{container.path}: its hits and its truth are not in the same order of hit_id")
    particles = {name: np.zeros(int(counts.sum()), np.float32) for name in MOMENTUM}
    particles |= {name: single(values[f"hits/{name}"]) for name in ("x", "y", "z", *_DETECTOR)}
    if not all(np.isfinite(particles[name]).all() for name in "xyz"):
        raise BadFile(f"{container.path}: a hit has no finite position")
    noise = np.array([0])
    made_by = np.unique(np.concatenate([noise, values["truth/particle_id"]]), return_inverse=True)[1]
    particles["true_track"] = made_by[1:].astype(np.float32)
    return Cloud.from_flat(counts, particles, {}, _SCHEMA)


READER = Reader(
    name="trackml",
    description="TrackML csv files (event*-hits.csv, with its truth beside it)",
    citation=_CITATION,
    recognises=lambda container: container.kind == "TrackML",
    count=lambda container: container.rows("hits/x"),
    read=_read,
)
