"""LHE: the outgoing partons of a hard process."""

from __future__ import annotations

from cloudchamber.data.containers import Container
from cloudchamber.data.pdg import IDENTITY, identity
from cloudchamber.data.reader import Reader, kept_counts, of_event, of_particles, single, standard
from cloudchamber.events import MOMENTUM, Cloud, Label, Schema

_CITATION = ("arXiv:hep-ph/0609017",)  # J. Alwall et al., A standard format for Les Houches event files
_OUTGOING = 1
_SCHEMA = Schema(
    dataset="LHE",
    frame="collider",
    features=standard(*IDENTITY),
    labels=(Label(name="process_id", description="IDPRUP: the generator's own number of the process"),),
    weight="weight",
    simulated=True,
    citation=_CITATION,
    notes="Particles of status 1. The weight is XWGTUP; further weights of an event are not read.",
)


def _read(container: Container, start: int, stop: int) -> Cloud:
    columns = container.read(container.keys, start, stop, "lhe")
    counts, values = of_particles(container, columns, ("status", "pdg", *MOMENTUM), start)
    kept = values["status"] == _OUTGOING
    particles = {name: single(values[name][kept]) for name in MOMENTUM} | identity(values["pdg"][kept])
    events = {name: of_event(container, columns, name) for name in ("process_id", "weight")}
    return Cloud.from_flat(kept_counts(counts, kept), particles, events, _SCHEMA)


READER = Reader(
    name="lhe",
    description="Les Houches event files, plain or gzipped (outgoing partons)",
    citation=_CITATION,
    recognises=lambda container: container.kind == "LHE",
    count=lambda container: container.rows("pdg"),
    read=_read,
)
