"""JetNet: jets of about 1 TeV as particles relative to the jet, one class per file, as HDF5."""

# N event, P particle slot

from __future__ import annotations

import re

import numpy as np

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Reader
from cloudchamber.errors import BadFile
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.events.kinematics import momenta

# R. Kansal et al.; order of the columns as at https://zenodo.org/records/6975118
_CITATION = ("arXiv:2106.11535", "doi:10.5281/zenodo.6975118")
_PARTICLES, _JETS = "particle_features", "jet_features"
_CLASSES = {"g": "gluon", "q": "quark", "t": "top", "w": "W", "z": "Z"}
_SCHEMA = Schema(
    dataset="JetNet",
    frame="jet",
    columns=(Feature(name="jet_mass", unit="GeV", description="of all of the jet's particles, not only of those in the file"),),
    labels=(Label(name="jet_type", classes=tuple(_CLASSES.values()), description="from the file's name; -1 for other names"),),
    simulated=True,
    citation=_CITATION,
    notes=(
        "Momenta are rebuilt as pt = ptrel jet_pt, eta = etarel + jet_eta, phi = phirel, massless: the file has no jet phi, so "
        "the jet lies at phi = 0. A file holds the 30 (or 150) leading particles of a jet. The jet's pt and eta are not kept."
    ),
)


def _recognises(container: Container) -> bool:
    if container.kind != "HDF5" or not {_PARTICLES, _JETS} <= set(container.keys):
        return False
    particles, jets = container.shape(_PARTICLES), container.shape(_JETS)
    return len(particles) == 3 and particles[2] == 4 and jets[1:] == (4,)


def _read(container: Container, start: int, stop: int) -> Cloud:
    columns = container.read((_PARTICLES, _JETS), start, stop, "jetnet")
    eta, phi, pt, mask = np.moveaxis(np.asarray(columns[_PARTICLES]).astype(np.float64), 2, 0)
    jet_pt, jet_eta, jet_mass, _ = np.asarray(columns[_JETS]).astype(np.float64).T
    bad = ~np.isin(mask, (0, 1)).all(axis=1)
    if bad.any():
        at = int(np.argmax(bad))
        raise BadFile(f"{container.path}: the mask (last of {_PARTICLES}) is not 0 or 1 in event {start + at}: {mask[at]}")
    real = mask == 1
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd eta becomes infinite, and the border check names it
        p = momenta((pt * jet_pt[:, None])[real], (eta + jet_eta[:, None])[real], phi[real])
    label = np.full(len(real), _jet_type(container.path.stem))
    particles = {name: values.astype(np.float32) for name, values in p.items()}
    return Cloud.from_flat(real.sum(axis=1), particles, {"jet_mass": jet_mass, "jet_type": label}, _SCHEMA)


def _jet_type(stem: str) -> int:
    """The class that a file is called after, such as g.hdf5 or t150.hdf5; -1 for other names."""
    name = re.fullmatch(r"([gqtwz])(30|150)?", stem)
    return list(_CLASSES).index(name[1]) if name else -1


READER = Reader(
    name="jetnet",
    description="JetNet HDF5 files (particle_features = etarel, phirel, ptrel, mask; jet_features)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows(_PARTICLES),
    read=_read,
    sources={"energy": _PARTICLES, "jet_mass": _JETS},
)
