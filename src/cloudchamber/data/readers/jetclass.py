"""JetClass: jets in ten classes with particle identity and impact parameters, as ROOT trees."""

from __future__ import annotations

import numpy as np

from cloudchamber.data.containers import Container, Jagged
from cloudchamber.data.reader import Reader, one_hot_index, standard
from cloudchamber.errors import BadFile
from cloudchamber.events import Cloud, Label, Schema

CLASSES = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
_CITATION = ("arXiv:2202.03772", "doi:10.5281/zenodo.6619768")  # H. Qu, C. Li, S. Qian
_TRACK = ("d0", "d0_err", "dz", "dz_err")
_SOURCES = {
    **{name: f"tree/part_{name}" for name in ("px", "py", "pz", "energy", "charge")},
    "is_charged_hadron": "tree/part_isChargedHadron",
    "is_neutral_hadron": "tree/part_isNeutralHadron",
    "is_photon": "tree/part_isPhoton",
    "is_electron": "tree/part_isElectron",
    "is_muon": "tree/part_isMuon",
    "d0": "tree/part_d0val",
    "d0_err": "tree/part_d0err",
    "dz": "tree/part_dzval",
    "dz_err": "tree/part_dzerr",
}
_SCHEMA = Schema(
    dataset="JetClass",
    frame="jet",
    features=standard(*(name for name in _SOURCES if name not in ("px", "py", "pz", "energy"))),
    labels=(Label(name="label", classes=CLASSES),),
    simulated=True,
    licence="CC-BY-4.0",
    citation=_CITATION,
    notes="jet_* and aux_* branches are not read. Impact parameters of neutral particles, 0 in the file, are NaN here.",
)


def _recognises(container: Container) -> bool:
    return container.kind == "ROOT" and {"tree/part_px", "tree/label_QCD"} <= set(container.keys)


def _read(container: Container, start: int, stop: int) -> Cloud:
    flags = [f"tree/label_{name}" for name in CLASSES]
    columns = container.read((*_SOURCES.values(), *flags), start, stop, "jetclass")
    counts, particles = None, {}
    for name, key in _SOURCES.items():
        column = columns[key]
        if not isinstance(column, Jagged):
            raise BadFile(f"{container.path}: branch {key!r} has one number per jet, expected a list of particles")
        counts = column.counts if counts is None else counts
        if not np.array_equal(counts, column.counts):
            at = start + int(np.argmax(counts != column.counts))
            raise BadFile(f"{container.path}: branch {key!r} has another number of particles than 'tree/part_px' in event {at}")
        particles[name] = column.values.astype(np.float32)
    for name in _TRACK:
        particles[name] = np.where(particles["charge"] == 0, np.float32(np.nan), particles[name])
    label = one_hot_index(
        container, "label_*", np.stack([np.asarray(columns[f]) for f in flags], axis=1), np.arange(start, stop)
    )
    assert counts is not None
    return Cloud.from_flat(counts, particles, {"label": label}, _SCHEMA)


READER = Reader(
    name="jetclass",
    description="JetClass ROOT files (tree `tree`, part_* vectors, one-hot label_*)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows("tree/part_px"),
    read=_read,
    sources=_SOURCES,
)
