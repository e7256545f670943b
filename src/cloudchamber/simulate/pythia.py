"""Pythia 8: started for a class of a scenario; its events come in batches, as flat arrays with their truth."""

# E event, T particle

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import CloudchamberError, missing_extra
from cloudchamber.simulate.detector import INVISIBLE
from cloudchamber.simulate.scenario import Class, Scenario

Array = NDArray[Any]

BATCH = 100  # events per call of Pythia; part of the definition of a seed's events
_HIGHEST = 1.3  # hard processes are made up to so many times the jets' highest pT: radiation and resolution move jets
_COMMON = (
    *("Print:quiet = on", "Random:setSeed = on"),
    *("ParticleDecays:limitTau0 = on", "ParticleDecays:tau0Max = 10."),  # mm: what decays inside the beam pipe
)


@dataclass(frozen=True)
class Record:
    """A batch of events.

    stable: the visible stable particles, as `detector.detect` wants them, ordered by event. hard: the outgoing partons of
    the hard process and the decay products of its resonances, neutrinos among them; `ancestor` is the row of the particle
    above them that the class asks for, -1 if there is none, `place` their number in the event. truth: (E,) pt_hat, m_hat
    [GeV], x1, x2, process (NaN if it is soft), n_pileup. number: (E,) which of the events asked for these are: Pythia
    gives up on a few.
    """

    n_events: int
    stable: dict[str, Array]
    hard: dict[str, Array]
    truth: dict[str, Array]
    number: Array


class Run:
    """Pythia, ready for a class of a scenario. Raises CloudchamberError naming the setting that it refuses."""

    def __init__(self, scenario: Scenario, kind: Class, seed: int, *extra: str, replay: Any = None):
        self.contains = kind.contains
        self.pythia = pythia_module().Pythia("", False)
        switches = (f"Random:seed = {seed}", f"PartonLevel:MPI = {'on' if scenario.mpi else 'off'}")
        self.apply((*_COMMON, *_machine(scenario), *switches))
        process = kind.process if replay is None else ()
        self.apply((*scenario.filled((*scenario.settings, *process, *kind.settings)), *extra))
        self._watch = _watch(self.pythia)
        if replay is not None:
            self.pythia.setLHAupPtr(replay)
        if not self.pythia.init():
            raise CloudchamberError(f"Pythia does not start for {kind.description!r} of scenario {scenario.name!r}")

    def apply(self, settings: tuple[str, ...]) -> None:
        """Change settings."""
        for setting in settings:
            if not self.pythia.readString(setting):
                raise CloudchamberError(f"Pythia refuses the setting {setting!r}; is this another version than 8.3?")

    def record(self, n: int | None = None) -> Record:
        """The next n (BATCH without it) events, less those that Pythia gives up on."""
        events = self.pythia.nextBatch(n or BATCH, errorMode="none")
        number = np.flatnonzero(~np.asarray(ak.is_none(events)))
        particles, info = ak.drop_none(events).prt, ak.drop_none(events).info
        counts = np.asarray(ak.num(particles, axis=1))
        p, vertex = particles.p, ak.fill_none(particles.vProd, {"px": 0.0, "py": 0.0, "pz": 0.0, "e": 0.0}, axis=None)
        record = {
            "event": np.repeat(np.arange(len(counts)), counts),
            **{
                name: _flat(p[short]) for name, short in zip(("px", "py", "pz", "energy"), ("px", "py", "pz", "e"), strict=True)
            },
            **{name: _flat(vertex[short]) for name, short in zip(("vx", "vy", "vz"), ("px", "py", "pz"), strict=True)},
            "pdg": _flat(particles.id).astype(np.int64),
            "status": _flat(particles.status),
            "mother": _flat(particles.mother1) + np.repeat(np.cumsum(counts) - counts, counts),
            "root": _flat(particles.mother1) == 0,
        }
        stable = rows(record, (record["status"] > 0) & ~np.isin(np.abs(record["pdg"]), INVISIBLE))
        codes, index = np.unique(stable["pdg"], return_inverse=True)
        stable["charge"] = np.array([self.pythia.particleData.charge(int(code)) for code in codes])[index]
        return Record(len(counts), stable, _hard(record, self.contains), self._truth(info), number)

    def _truth(self, info: ak.Array) -> dict[str, Array]:
        x1, x2 = np.asarray(info.x1), np.asarray(info.x2)
        codes, self._watch.codes = self._watch.codes, {}
        process = np.array([codes.get(key, np.nan) for key in zip(x1.tolist(), x2.tolist(), strict=True)], dtype=np.float64)
        pt_hat, m_hat = np.sqrt(np.asarray(info.pT2Hat)), np.asarray(info.mHat)
        return {"pt_hat": pt_hat, "m_hat": m_hat, "x1": x1, "x2": x2, "process": process, "n_pileup": np.zeros(len(x1))}


def collisions(scenario: Scenario, kind: Class, seed: int) -> Iterator[Record]:
    """Endless batches of collisions."""
    run = Run(scenario, kind, seed)
    for turn in cycle(kind.turns):
        run.apply(turn)
        yield run.record()


def pythia_seed(number: int) -> int:
    """A seed within Pythia's range, 1 to 900,000,000; 0 would mean the clock."""
    return 1 + number % 899_999_999


def pythia_module() -> Any:
    """The package pythia8mc; MissingExtra if it is not installed."""
    try:
        import pythia8mc
    except ImportError as error:
        raise missing_extra("pythia8mc", "sim", "simulating collisions") from error
    return pythia8mc


def rows(columns: dict[str, Array], chosen: Array) -> dict[str, Array]:
    """The chosen rows of flat columns."""
    return {name: column[chosen] for name, column in columns.items()}


def _machine(scenario: Scenario) -> Iterator[str]:
    """Beams, tune, and the transverse momentum that the jets need."""
    yield from (f"Beams:id{beam} = {code}" for beam, code in zip("AB", scenario.beams, strict=True))
    if scenario.energies is None:
        yield f"Beams:eCM = {scenario.ecm}"
    else:
        yield "Beams:frameType = 2"
        yield from (f"Beams:e{beam} = {energy}" for beam, energy in zip("AB", scenario.energies, strict=True))
    if scenario.tune is not None:
        yield f"Tune:pp = {scenario.tune}"
    if scenario.jets is not None:
        yield f"PhaseSpace:pTHatMin = {scenario.jets.made_from * scenario.jets.pt[0]}"
        yield f"PhaseSpace:pTHatMax = {_HIGHEST * scenario.jets.pt[1]}"


def _watch(pythia: Any) -> Any:
    """An observer whose `codes` has Pythia's code of the process by the momentum fractions: its batches lack it."""
    owner: Any = weakref.ref(pythia)  # a cycle with C++ in it is never freed, and every job has a Pythia of its own

    class Watch(pythia_module().UserHooks):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.codes: dict[tuple[float, float], int] = {}

        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, _: Any) -> bool:
            info = owner().infoPython()
            self.codes[info.x1(), info.x2()] = info.code()
            return False

    watch = Watch()
    pythia.setUserHooksPtr(watch)
    return watch


def _hard(record: dict[str, Array], wanted: tuple[int, ...]) -> dict[str, Array]:
    start = np.abs(record["status"]) == 23  # outgoing from the hard process or from a resonance in it
    hard = rows(record, start)
    place = np.arange(len(hard["event"])) - np.searchsorted(hard["event"], hard["event"])
    return hard | {"place": place, "ancestor": _ancestor(record, start, wanted)}


def _ancestor(record: dict[str, Array], start: Array, wanted: tuple[int, ...]) -> Array:
    """Row of the last copy of the wanted particle nearest to the beams above each particle, -1 if there is none."""
    found, row = np.full(int(start.sum()), -1), np.flatnonzero(start)
    climbing = np.ones(len(row), dtype=bool)
    while wanted and climbing.any():
        below = row[climbing]
        above = np.where(record["root"][below], below, record["mother"][below])
        code = np.abs(record["pdg"][above])
        new = np.isin(code, wanted) & (code != np.abs(record["pdg"][below]))
        spot = np.flatnonzero(climbing)
        found[spot[new]] = above[new]
        row[spot] = above
        climbing[spot] = above != below
    return found


def _flat(column: ak.Array) -> Array:
    return np.asarray(ak.flatten(column, axis=None))
