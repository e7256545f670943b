"""Re-simulation: hard processes that are made once, and showered and hadronised as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle, islice
from typing import Any, NamedTuple

from cloudchamber.errors import BadInput
from cloudchamber.simulate.pythia import BATCH, Record, Run, pythia_module
from cloudchamber.simulate.scenario import Class, Scenario

_HARD_ONLY = ("PartonLevel:all = off", "HadronLevel:all = off")
# The hard process is taken as it was, to the last digit.
_AS_GIVEN = ("Beams:frameType = 5", *(f"LesHouches:{name} = 0" for name in ("setQuarkMass", "setLeptonMass", "matchInOut")))
_FIRST = 3  # in Pythia's record the two incoming partons follow the system and the beams; here, lines count from 1


class HardProcess(NamedTuple):
    """A hard process with the decays of its resonances, in the words of the Les Houches accord (hep-ph/0609017).

    scale: GeV. beams: PDG code and energy [GeV]. lines: per particle its code, status, two mothers, two colours,
    px, py, pz, energy, mass [GeV], c tau and spin.
    """

    code: int
    scale: float
    beams: tuple[tuple[int, float], ...]
    lines: tuple[tuple[float, ...], ...]


def hard_processes(scenario: Scenario, kind: Class, seed: int) -> Iterator[HardProcess]:
    """Endless hard processes of a class, BATCH in each of its turns; BadInput if it has none, as soft collisions."""
    run = Run(scenario, kind, seed, *_HARD_ONLY)
    for turn in cycle(kind.turns):
        run.apply(turn)
        done = 0
        while done < BATCH:
            if run.pythia.next():
                done += 1
                yield _hard_process(run.pythia)


def replayed(scenario: Scenario, kind: Class, hard: Iterator[HardProcess], seed: int) -> Iterator[Record]:
    """Batches of collisions with the given hard processes, in their order."""
    feed = _feed()
    feed.waiting = list(islice(hard, BATCH))
    run = Run(scenario, kind, seed, *_AS_GIVEN, replay=feed)
    while True:
        codes = [process.code for process in feed.waiting]
        record = run.record(len(codes))
        assert not feed.waiting  # Pythia took one for each event, or the views would be of different collisions
        record.truth["process"][:] = [codes[i] for i in record.number]
        yield record
        feed.waiting = list(islice(hard, BATCH))


def _hard_process(pythia: Any) -> HardProcess:
    process = pythia.process
    if process.size() < _FIRST + 3:
        raise BadInput("a soft collision has no hard process that could be showered again: it has no views")
    beams = tuple((process[i].id(), process[i].e()) for i in (1, 2))
    lines = tuple(_line(process[i], i < _FIRST + 2) for i in range(_FIRST, process.size()))
    return HardProcess(pythia.infoPython().code(), process.scale(), beams, lines)


def _line(p: Any, incoming: bool) -> tuple[float, ...]:
    mothers = (0, 0) if incoming else (max(p.mother1() - _FIRST + 1, 0), max(p.mother2() - _FIRST + 1, 0))
    status = -1 if incoming else (1 if p.status() > 0 else 2)
    return (p.id(), status, *mothers, p.col(), p.acol(), p.px(), p.py(), p.pz(), p.e(), p.m(), 0.0, 9.0)


def _feed() -> Any:
    """What Pythia asks for hard processes; it takes those that wait."""

    class Feed(pythia_module().LHAup):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(3)  # unweighted events
            self.waiting: list[HardProcess] = []

        def setInit(self) -> bool:
            for set_beam, beam in zip((self.setBeamA, self.setBeamB), self.waiting[0].beams, strict=True):
                set_beam(*beam)
            self.addProcess(1, 1.0, 0.0, 1.0)
            return True

        def setEvent(self, _: int = 0) -> bool:
            if not self.waiting:
                return False
            process = self.waiting.pop(0)
            self.setProcess(1, 1.0, process.scale)
            for line in process.lines:
                self.addParticle(*line)
            return True

    return Feed()
