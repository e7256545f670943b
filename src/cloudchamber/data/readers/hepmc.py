"""HepMC: the final state of any generator, and of a neutrino generator that follows NuHepMC with its process."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.containers.hepmc import HepMC
from cloudchamber.data.pdg import IDENTITY, identity
from cloudchamber.data.reader import Columns, Reader, kept_counts, of_event, of_particles, single, standard
from cloudchamber.events import MOMENTUM, Cloud, Feature, Label, Schema

_HEPMC = "arXiv:1912.08005"  # A. Buckley et al.
_NUHEPMC = "arXiv:2310.13211"  # S. Gardiner, J. Isaacson, L. Pickering
_FINAL, _BEAM = 1, 4
_FEATURES = standard(*IDENTITY, "x", "y", "z", "time")
_PROCESS = Label(name="process_id", description="signal_process_id: the generator's own number of the process")
_NOTES = "Particles of status 1. x, y, z, time: where they were made. The weight is the first of an event, 1 if it has none."
# NuHepMC numbers processes in hundreds, of which the first fifty are charged current (G.R.8 of its specification, version 1.0).
INTERACTIONS = ("other", "low energy nuclear", "QE", "MEC", "RES", "SIS", "DIS")
CURRENTS = ("CC", "NC")
_COLLIDER = Schema(
    dataset="HepMC",
    frame="collider",
    features=_FEATURES,
    labels=(_PROCESS,),
    weight="weight",
    simulated=True,
    citation=(_HEPMC,),
    notes=_NOTES,
)
_NEUTRINO = _COLLIDER.model_copy(
    update={
        "dataset": "NuHepMC",
        "frame": "fixed-target",
        "columns": tuple(
            Feature(name=f"vertex_{n}", unit="mm", description="of the interaction in the laboratory (lab_pos)") for n in "xyz"
        ),
        "labels": (
            Label(name="interaction", classes=INTERACTIONS, description="by the hundreds of process_id"),
            Label(name="current", classes=CURRENTS),
            _PROCESS,
            Label(name="beam_energy", unit="GeV", description="of the particle of status 4"),
            Label(name="beam_pdg", description="its PDG code"),
        ),
        "citation": (_NUHEPMC, _HEPMC),
    }
)


def _is_neutrino(container: Container) -> bool:
    return isinstance(container, HepMC) and any(name.startswith("NuHepMC.") for name in container.attributes)


def _read(container: Container, start: int, stop: int) -> Cloud:
    columns = container.read(container.keys, start, stop, "hepmc")
    counts, values = of_particles(container, columns, HepMC.particle_columns, start)
    kept = values["status"] == _FINAL
    names = {**{name: name for name in (*MOMENTUM, "x", "y", "z")}, "time": "t"}
    particles = {ours: single(values[theirs][kept]) for ours, theirs in names.items()}
    particles |= identity(values["pdg"][kept])
    events = {name: of_event(container, columns, name) for name in HepMC.event_columns}
    schema = _COLLIDER
    if _is_neutrino(container):
        schema = _NEUTRINO
        events |= {f"vertex_{n}": events[f"lab_{n}"] for n in "xyz"} | _truth(events["process_id"], counts, values)
    return Cloud.from_flat(kept_counts(counts, kept), particles, {n: events[n] for n in schema.event_names}, schema)


def _truth(process: NDArray[Any], counts: NDArray[np.int64], values: Columns) -> Columns:
    """NuHepMC's labels: -1 or NaN where an event has no process or no beam particle."""
    known = process >= 100
    number = np.where(known, process, 0).astype(np.int64)
    hundreds = np.where(number // 100 < len(INTERACTIONS), number // 100, 0)
    beam = np.full((2, len(counts)), np.nan)
    at = np.flatnonzero(values["status"] == _BEAM)[::-1]  # the first of an event is written last
    beam[:, np.repeat(np.arange(len(counts)), counts)[at]] = values["energy"][at], values["pdg"][at]
    return {
        "interaction": np.where(known, hundreds, -1),
        "current": np.where(known, number % 100 // 50, -1),
        "beam_energy": beam[0],
        "beam_pdg": beam[1],
    }


READER = Reader(
    name="hepmc",
    description="HepMC 2 and 3 text, plain or gzipped; with NuHepMC's attributes as neutrino interactions",
    citation=(_HEPMC,),
    recognises=lambda container: isinstance(container, HepMC),
    count=lambda container: container.rows("pdg"),
    read=_read,
)
