"""GENIE gst: the final state of neutrino interactions, as a ROOT tree with one entry per interaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Column, Container
from cloudchamber.data.pdg import IDENTITY, identity
from cloudchamber.data.reader import Columns, Reader, of_event, of_particles, one_hot_index, single, standard
from cloudchamber.events import Cloud, Feature, Label, Schema

_CITATION = ("arXiv:0905.2517", "arXiv:1510.05494")  # C. Andreopoulos et al.: the generator, and the manual with this tree
_HADRONS = {"px": "gst/pxf", "py": "gst/pyf", "pz": "gst/pzf", "energy": "gst/Ef"}
_LEPTON = {"px": "gst/pxl", "py": "gst/pyl", "pz": "gst/pzl", "energy": "gst/El"}
_INTERACTIONS = ("qel", "mec", "res", "dis", "coh", "dfr", "imd", "imdanh", "nuel")  # GENIE versions have more or fewer of them
_CURRENTS = ("cc", "nc", "em")
_NUMBERS = {"neutrino_energy": "Ev", "q2": "Q2", "w": "W", "x_bjorken": "x", "y_inelasticity": "y", "neutrino_pdg": "neu"}
_UNITS = {"neutrino_energy": "GeV", "q2": "GeV^2", "w": "GeV"}
_SCHEMA = Schema(
    dataset="GENIE gst",
    frame="fixed-target",
    features=(*standard(*IDENTITY), Feature(name="is_primary_lepton", kind="flag")),
    labels=(
        Label(name="interaction", classes=(*(n.upper() for n in _INTERACTIONS), "other")),
        Label(name="current", classes=tuple(n.upper() for n in _CURRENTS)),
        *(Label(name=name, unit=_UNITS.get(name, "1"), description=branch) for name, branch in _NUMBERS.items()),
    ),
    weight="wght",
    simulated=True,
    citation=_CITATION,
    notes="The outgoing lepton (a neutrino in neutral currents) comes first, then the final state after the nucleus.",
)


def _read(container: Container, start: int, stop: int) -> Cloud:
    flags = [f"gst/{n}" for n in (*_INTERACTIONS, *_CURRENTS) if f"gst/{n}" in container.keys]
    scalars = [f"gst/{n}" for n in (*_NUMBERS.values(), "wght", "cc")]
    keys = dict.fromkeys((*_HADRONS.values(), "gst/pdgf", *_LEPTON.values(), *scalars, *flags))
    columns = container.read(keys, start, stop, "gst")
    counts, hadrons = of_particles(container, columns, (*_HADRONS.values(), "gst/pdgf"), start)
    numbers = {name: of_event(container, columns, f"gst/{b}") for name, b in {**_NUMBERS, "wght": "wght"}.items()}
    first = np.cumsum(counts) - counts  # the lepton goes before these
    neutrino = numbers["neutrino_pdg"]
    lepton = np.where(of_event(container, columns, "gst/cc") != 0, neutrino - np.sign(neutrino), neutrino)
    particles = {
        name: single(np.insert(hadrons[key], first, of_event(container, columns, _LEPTON[name])))
        for name, key in _HADRONS.items()
    }
    particles |= identity(np.insert(hadrons["gst/pdgf"], first, lepton))
    particles["is_primary_lepton"] = np.insert(np.zeros(int(counts.sum()), np.float32), first, 1)
    events: Columns = {name: values.astype(np.float64) for name, values in numbers.items()}
    rows = np.arange(start, stop)
    kinds = [_flags(container, columns, name) for name in _INTERACTIONS]
    rest = (np.sum(kinds, axis=0) == 0).astype(np.int64)
    events["interaction"] = one_hot_index(container, "interaction flags", np.stack([*kinds, rest], axis=1), rows)
    currents = [_flags(container, columns, name) for name in _CURRENTS]
    events["current"] = one_hot_index(container, "cc, nc, em", np.stack(currents, axis=1), rows)
    return Cloud.from_flat(counts + 1, particles, events, _SCHEMA)


def _flags(container: Container, columns: Mapping[str, Column], name: str) -> NDArray[Any]:
    """(N,) a flag of the tree as 0 or 1; 0 where this version of GENIE does not have it."""
    key = f"gst/{name}"
    some = of_event(container, columns, "gst/cc")
    return (of_event(container, columns, key) if key in columns else np.zeros_like(some)).astype(np.int64)


READER = Reader(
    name="gst",
    description="GENIE summary trees (gst: pdgf, pxf, ..., the outgoing lepton, neu)",
    citation=_CITATION,
    recognises=lambda container: container.kind == "ROOT" and {"gst/pdgf", "gst/Ef", "gst/neu"} <= set(container.keys),
    count=lambda container: container.rows("gst/pdgf"),
    read=_read,
    sources=_HADRONS,
)
