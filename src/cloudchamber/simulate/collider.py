"""Proton collisions at 13 TeV: Pythia 8 events, the detector, anti-kt jets, and the truth that names them."""

# E event, T true or reconstructed particle, J jet, Q decay product or hard parton

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import CloudchamberError, missing_extra
from cloudchamber.events import kinematics
from cloudchamber.events.clustering import Jets, cluster
from cloudchamber.simulate.card import Card, load
from cloudchamber.simulate.detector import NO_TRACK, detect
from cloudchamber.simulate.scenarios import Scenario

Array = NDArray[Any]

COLUMNS = ("px", "py", "pz", "energy", "charge", *kinematics.FLAGS, *NO_TRACK)
PARTONS = ("quark", "gluon")
RADIUS = 0.8
MAX_ETA = 2.0  # of a jet's axis: its constituents stay inside the tracker
MATCH = 0.4  # largest distance of a QCD jet's axis to its parton
BATCH = 100  # events per call of Pythia; part of the definition of a seed's events

# Events are generated from a little below the jets' range, since radiation and resolution move jets across it.
PT_HAT_MARGIN = (0.85, 1.3)
_BARREN = 200  # batches without a single jet before the request is called impossible

_COMMON = (
    *("Print:quiet = on", "Beams:idA = 2212", "Beams:idB = 2212", "Beams:eCM = 13000.", "Tune:pp = 14"),
    *("ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 10.", "Random:setSeed = on"),
)


@dataclass(frozen=True)
class JetBatch:
    """Jets of one class: counts (J,), flat particle columns COLUMNS by falling pT in each jet, parton (J,) or -1."""

    counts: NDArray[np.int64]
    particles: dict[str, NDArray[np.float32]]
    parton: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.counts)


def generate(
    scenario: Scenario, seeds: tuple[int, int], *, mpi: bool, pt_range: tuple[float, float], card: Card | None = None
) -> Iterator[JetBatch]:
    """Endless batches of matched jets, the same for the same two seeds (Pythia's, NumPy's).

    pt_range: GeV, of the reconstructed jet. mpi: multiparton interactions; four times slower with them.
    card: of the detector; None for the default one.
    Raises MissingExtra without Pythia or FastJet; CloudchamberError if Pythia refuses a setting or no jet comes.
    """
    pythia = start_pythia(scenario, seeds[0], mpi=mpi, pt_range=pt_range)
    rng = np.random.default_rng(seeds[1])
    barren = 0
    for turn in cycle(scenario.turns):
        _apply(pythia, turn)
        jets = _select(_record(pythia), scenario, pt_range, card or load(), rng)
        barren = 0 if len(jets) else barren + 1
        if barren == _BARREN:
            raise CloudchamberError(
                f"class {scenario.name!r}: no jet with pT in {pt_range[0]:g}-{pt_range[1]:g} GeV in {barren * BATCH} events. "
                "Widen the pT range."
            )
        yield jets


def start_pythia(scenario: Scenario, seed: int, *, mpi: bool, pt_range: tuple[float, float]) -> Any:
    """Pythia, ready for a scenario; CloudchamberError naming the setting that it refuses."""
    pythia = pythia_module().Pythia("", False)
    phase_space = (
        f"PhaseSpace:pTHatMin = {PT_HAT_MARGIN[0] * pt_range[0]}",
        f"PhaseSpace:pTHatMax = {PT_HAT_MARGIN[1] * pt_range[1]}",
    )
    switches = (f"Random:seed = {seed}", f"PartonLevel:MPI = {'on' if mpi else 'off'}")
    _apply(pythia, (*_COMMON, *switches, *phase_space, *scenario.process))
    if not pythia.init():
        raise CloudchamberError(f"Pythia does not start for class {scenario.name!r} with pT in {pt_range} GeV")
    return pythia


def pythia_module() -> Any:
    """The package pythia8mc; MissingExtra if it is not installed."""
    try:
        import pythia8mc
    except ImportError as error:
        raise missing_extra("pythia8mc", "sim", "simulating collisions") from error
    return pythia8mc


def _apply(pythia: Any, settings: tuple[str, ...]) -> None:
    for setting in settings:
        if not pythia.readString(setting):
            raise CloudchamberError(f"Pythia refuses the setting {setting!r}; is this another version than 8.3?")


@dataclass(frozen=True)
class _Record:
    """A batch of events from Pythia. stable: columns for the detector. hard: the outgoing hard partons and decay products."""

    n_events: int
    stable: dict[str, Array]
    hard: dict[str, Array]


def _record(pythia: Any) -> _Record:
    particles = pythia.nextBatch(BATCH, errorMode="skip").prt
    counts = np.asarray(ak.num(particles, axis=1))
    p, vertex = particles.p, ak.fill_none(particles.vProd, {"px": 0.0, "py": 0.0, "pz": 0.0, "e": 0.0}, axis=None)
    record = {
        "event": np.repeat(np.arange(len(counts)), counts),
        **{name: _flat(p[short]) for name, short in zip(("px", "py", "pz", "energy"), ("px", "py", "pz", "e"), strict=True)},
        **{name: _flat(vertex[short]) for name, short in zip(("vx", "vy", "vz"), ("px", "py", "pz"), strict=True)},
        "pdg": _flat(particles.id).astype(np.int64),
        "status": _flat(particles.status),
        "mother": _flat(particles.mother1) + np.repeat(np.cumsum(counts) - counts, counts),
        "root": _flat(particles.mother1) == 0,
    }
    stable = _rows(record, (record["status"] > 0) & ~np.isin(np.abs(record["pdg"]), (12, 14, 16)))
    codes, index = np.unique(stable["pdg"], return_inverse=True)
    stable["charge"] = np.array([pythia.particleData.charge(int(code)) for code in codes])[index]
    hard = np.abs(record["status"]) == 23  # outgoing from the hard process or from a resonance in it
    return _Record(len(counts), stable, _rows(record, hard) | {"ancestor": _ancestor(record, hard)})


def _ancestor(record: dict[str, Array], start: Array) -> Array:
    """Row of the last copy of the H, W, Z or top nearest to the beams above each particle, -1 if there is none."""
    found, row = np.full(int(start.sum()), -1), np.flatnonzero(start)
    climbing = np.ones(len(row), dtype=bool)
    while climbing.any():
        below = row[climbing]
        above = np.where(record["root"][below], below, record["mother"][below])
        code = np.abs(record["pdg"][above])
        new = np.isin(code, (6, 23, 24, 25)) & (code != np.abs(record["pdg"][below]))
        spot = np.flatnonzero(climbing)
        found[spot[new]] = above[new]
        row[spot] = above
        climbing[spot] = above != below
    return found


def _select(
    record: _Record, scenario: Scenario, pt_range: tuple[float, float], card: Card, rng: np.random.Generator
) -> JetBatch:
    """The reconstructed jets of a batch that the truth allows to carry the scenario's name."""
    seen = detect(record.stable, card, rng)
    jets = cluster(np.bincount(seen["event"], minlength=record.n_events), seen, radius=RADIUS, min_pt=pt_range[0])
    pt, eta, phi = kinematics.pt_eta_phi(jets.momentum["px"], jets.momentum["py"], jets.momentum["pz"])
    fits = (pt < pt_range[1]) & (np.abs(eta) < MAX_ETA)
    parton = np.full(len(pt), -1, dtype=np.int64)
    if scenario.resonance == 0:
        fits &= jets.rank_J < 2
        parton = _partons(record.hard, jets, eta, phi)
    else:
        fits &= _contains_decay(record.hard, jets, eta, phi)
    chosen = np.flatnonzero(fits)
    new_index = np.full(len(pt) + 1, -1)
    new_index[chosen] = np.arange(len(chosen))
    jet_T = new_index[jets.jet_T]
    order = np.lexsort((-np.hypot(seen["px"], seen["py"]), jet_T))
    order = order[jet_T[order] >= 0]
    particles = {name: seen[name][order].astype(np.float32) for name in COLUMNS}
    return JetBatch(np.bincount(jet_T[order], minlength=len(chosen)), particles, parton[chosen])


def _partons(hard: dict[str, Array], jets: Jets, eta: Array, phi: Array) -> NDArray[np.int64]:
    """0 quark, 1 gluon: the outgoing hard parton closest to each jet, within MATCH; else -1."""
    distance = _distance(hard, jets, eta, phi)
    if not distance.size:
        return np.full(len(eta), -1, dtype=np.int64)
    closest = distance.argmin(axis=1)
    kind = (hard["pdg"][closest] == 21).astype(np.int64)
    return np.where(distance[np.arange(len(eta)), closest] < MATCH, kind, -1)


def _contains_decay(hard: dict[str, Array], jets: Jets, eta: Array, phi: Array) -> NDArray[np.bool_]:
    """Whether all visible decay products of one resonance lie within RADIUS of the jet's axis."""
    visible = (hard["ancestor"] >= 0) & ~np.isin(np.abs(hard["pdg"]), (12, 14, 16))
    products = _rows(hard, visible)
    inside_JQ = _distance(products, jets, eta, phi) < RADIUS
    whole = np.zeros(len(eta), dtype=bool)
    for ancestor in np.unique(products["ancestor"]):
        whole |= inside_JQ[:, products["ancestor"] == ancestor].all(axis=1)
    return whole


def _distance(hard: dict[str, Array], jets: Jets, eta: Array, phi: Array) -> NDArray[np.float64]:
    """(J, Q) Delta R between jets and hard partons; infinite between different events."""
    _, eta_Q, phi_Q = kinematics.pt_eta_phi(hard["px"], hard["py"], hard["pz"])
    distance = np.hypot(eta[:, None] - eta_Q, kinematics.wrap(phi[:, None] - phi_Q))
    return np.where(jets.event_J[:, None] == hard["event"], distance, np.inf)


def _rows(columns: dict[str, Array], rows: Array) -> dict[str, Array]:
    return {name: column[rows] for name, column in columns.items()}


def _flat(column: ak.Array) -> Array:
    return np.asarray(ak.flatten(column, axis=None))
