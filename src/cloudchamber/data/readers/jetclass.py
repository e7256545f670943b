"""JetClass: jets in ten classes with particle identity and impact parameters, as ROOT trees."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Events, Reader, indices_among, need_exactly, of_particles, one_hot_index, standard
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Label, Schema
from cloudchamber.events.kinematics import axes_of, particle_features
from cloudchamber.run import atomic

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
    counts, values = of_particles(container, columns, tuple(_SOURCES.values()), start)
    particles = {name: values[key].astype(np.float32) for name, key in _SOURCES.items()}
    for name in _TRACK:
        particles[name] = np.where(particles["charge"] == 0, np.float32(np.nan), particles[name])
    label = one_hot_index(
        container, "label_*", np.stack([np.asarray(columns[f]) for f in flags], axis=1), np.arange(start, stop)
    )
    return Cloud.from_flat(counts, particles, {"label": label}, _SCHEMA)


def _write(events: Events, path: Path) -> None:
    """What `_read` reads, part_deta and part_dphi, and jet_* of the sum of the particles; no jet_sdmass, jet_tau*, aux_*."""
    import uproot

    need_exactly(events.schema, "jetclass", _SCHEMA.feature_names)
    with atomic(path) as temporary, uproot.recreate(temporary) as file:
        tree = None
        for cloud in events.clouds():
            branches = _branches(cloud)
            tree = tree or file.mktree("tree", {name: array.type.content for name, array in branches.items()})
            tree.extend(branches)


def _branches(cloud: Cloud) -> dict[str, ak.Array]:
    for name in _TRACK:
        if ((cloud.flat("charge") == 0) != np.isnan(cloud.flat(name))).any():
            raise BadInput(f"{name!r} must be NaN for neutral particles and only for them: JetClass files cannot say otherwise")
    derived = particle_features(cloud)
    particles = {key.removeprefix("tree/part_"): np.nan_to_num(cloud.flat(name)) for name, key in _SOURCES.items()}
    particles |= {"deta": derived["deta"], "dphi": derived["dphi"]}
    flags = {name: values.astype(np.int32) for name, values in particles.items() if name.startswith("is")}
    label = indices_among(cloud, CLASSES)
    jet = {**axes_of(cloud), "nparticles": cloud.counts}
    return {
        "part": ak.unflatten(ak.zip(particles | flags), cloud.counts),
        **{f"label_{name}": ak.Array((label == i).astype(np.float32)) for i, name in enumerate(CLASSES)},
        **{f"jet_{name}": ak.Array(np.asarray(values, dtype=np.float32)) for name, values in jet.items()},
    }


READER = Reader(
    name="jetclass",
    description="JetClass ROOT files (tree `tree`, part_* vectors, one-hot label_*)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows("tree/part_px"),
    read=_read,
    write=_write,
    sources=_SOURCES,
)
