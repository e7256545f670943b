"""LHC Olympics: whole events of up to 700 massless particles, as a pandas frame in HDF5."""

from __future__ import annotations

import numpy as np

from cloudchamber.data.containers import Container
from cloudchamber.data.containers.hdf5 import Hdf5
from cloudchamber.data.reader import Reader, class_index
from cloudchamber.events import Cloud, Label, Schema
from cloudchamber.events.kinematics import momenta

SLOTS = 700
_VALUES = "df/block0_values"
_CITATION = ("arXiv:2101.08320", "doi:10.5281/zenodo.4536377")  # G. Kasieczka et al.


def _schema(labelled: bool) -> Schema:
    return Schema(
        dataset="LHC Olympics",
        frame="collider",
        labels=(Label(name="label", classes=("background", "signal")),) if labelled else (),
        simulated=True,
        licence="CC-BY-4.0",
        citation=_CITATION,
        notes="Particles are massless." + ("" if labelled else " A black box: no labels."),
    )


def _recognises(container: Container) -> bool:
    if not isinstance(container, Hdf5) or _VALUES not in container.keys:
        return False
    return container.shape(_VALUES)[1:] in ((3 * SLOTS,), (3 * SLOTS + 1,))


def _read(container: Container, start: int, stop: int) -> Cloud:
    values = np.asarray(container.read((_VALUES,), start, stop, "lhco")[_VALUES])
    slots = values[:, : 3 * SLOTS].reshape(-1, SLOTS, 3)
    real = slots[..., 0] != 0  # a pT below 0 or NaN is not padding
    pt, eta, phi = (slots[..., i][real].astype(np.float64) for i in range(3))
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd eta becomes infinite, and the border check names it
        particles = {name: p.astype(np.float32) for name, p in momenta(pt, eta, phi).items()}
    labelled = values.shape[1] > 3 * SLOTS
    events = {"label": class_index(container, "label", values[:, -1], 2, np.arange(start, stop))} if labelled else {}
    return Cloud.from_flat(real.sum(axis=1), particles, events, _schema(labelled))


READER = Reader(
    name="lhco",
    description="LHC Olympics HDF5 files (pandas frame `df`, 700 slots of pt, eta, phi, and the label)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows(_VALUES),
    read=_read,
)
