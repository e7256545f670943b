"""EnergyFlow quark and gluon jets: (pt, rapidity, phi, PDG code) per particle, as npz."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.pdg import mass_and_charge
from cloudchamber.data.reader import Reader, class_index, standard
from cloudchamber.errors import BadFile, BadInput
from cloudchamber.events import Cloud, Label, Schema
from cloudchamber.events.kinematics import FLAGS, flags_from_pdg, momenta_from_rapidity

_CITATION = ("arXiv:1810.05165", "doi:10.5281/zenodo.3164691")  # P. T. Komiske, E. M. Metodiev, J. Thaler
_COLUMNS = ("pt", "y", "phi", "pdgid")
_LARGEST_PHI = 7.0  # rad; just above 2 pi, so that another order of columns is noticed


def _schema(with_codes: bool) -> Schema:
    return Schema(
        dataset="EnergyFlow quark/gluon",
        frame="jet",
        features=standard("charge", *FLAGS) if with_codes else (),
        labels=(Label(name="y", classes=("gluon", "quark")),),
        simulated=True,
        licence="CC-BY-4.0",
        citation=_CITATION,
        notes="Momenta from rapidity with the mass of the PDG code." if with_codes else "No PDG codes: particles are massless.",
    )


def _recognises(container: Container) -> bool:
    if container.kind != "npz" or not {"X", "y"} <= set(container.keys):
        return False
    shape = container.shape("X")
    return len(shape) == 3 and shape[2] in (3, 4)


def _read(container: Container, start: int, stop: int) -> Cloud:
    columns = container.read(("X", "y"), start, stop, "energyflow")
    slots = np.asarray(columns["X"]).astype(np.float64)
    real = slots[..., 0] != 0  # a pT below 0 or NaN is not padding
    values = {name: slots[..., i][real] for i, name in enumerate(_COLUMNS[: slots.shape[2]])}
    _check_columns(container, values)
    with_codes = "pdgid" in values
    mass, charge = mass_and_charge(values["pdgid"]) if with_codes else (np.zeros(1), np.zeros(1))
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd rapidity becomes infinite, and the border check names it
        particles = momenta_from_rapidity(values["pt"], values["y"], values["phi"], mass)
        particles = {name: p.astype(np.float32) for name, p in particles.items()}
    if with_codes:
        particles |= {"charge": charge.astype(np.float32)} | flags_from_pdg(values["pdgid"], charge)
    label = class_index(container, "y", np.asarray(columns["y"]), 2, np.arange(start, stop))
    return Cloud.from_flat(real.sum(axis=1), particles, {"y": label}, _schema(with_codes))


def _check_columns(container: Container, values: dict[str, NDArray[np.float64]]) -> None:
    """Any npz may call an array X: stop where its columns cannot be what EnergyFlow writes."""
    what = f"{container.path}: X was read as EnergyFlow's ({', '.join(values)})"
    if (values["pt"] < 0).any() or (np.abs(values["phi"]) > _LARGEST_PHI).any():
        raise BadFile(f"{what}, but has a negative pt or a phi beyond 2 pi. If its columns mean something else, write a card.")
    if "pdgid" in values:
        try:
            mass_and_charge(values["pdgid"])
        except BadInput as error:
            raise BadFile(f"{what}, but {error}. If its columns mean something else, write a card.") from error


READER = Reader(
    name="energyflow",
    description="EnergyFlow quark/gluon npz files (X = pt, rapidity, phi, PDG code; y)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows("X"),
    read=_read,
)
