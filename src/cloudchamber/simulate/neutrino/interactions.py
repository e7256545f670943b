"""What the neutrino generator and the tracker hand on: events as flat arrays; the same as a NuHepMC file."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber.run import atomic
from cloudchamber.simulate.neutrino.kinematics import CARBON

# GENIE's numbers of the interaction types, as in MINERvA's mc_intType and in gst.
QE, RES, DIS, COH, MEC = 1, 2, 3, 4, 8
# NuHepMC's hundreds of process numbers (E.C.1, arXiv:2310.13211); 50 more for the neutral current.
PROCESSES = {QE: 200, MEC: 300, RES: 400, DIS: 600, COH: 700}
_NAMES = {QE: "quasielastic", MEC: "pair of nucleons", RES: "resonance", DIS: "deep inelastic", COH: "coherent pion"}
_TARGET, _STRUCK, _REMNANT, _FINAL, _BEAM = 20, 21, 2009900000, 1, 4  # status codes, and NuHepMC's code of what is left


@dataclass(frozen=True)
class Particles:
    """Particles of many events. event: (T,) row of the event, ascending. pdg: (T,). p4_T4: energy, px, py, pz [GeV]."""

    event: NDArray[np.int64]
    pdg: NDArray[np.int64]
    p4_T4: NDArray[np.float64]


@dataclass(frozen=True)
class Interactions:
    """Interactions of neutrinos on carbon, the neutrino along +z.

    neutrino, lepton: (N, 4) energy, px, py, pz [GeV]; neutrino_pdg, lepton_pdg: (N,). charged_current: (N,).
    kind: (N,) QE, RES, DIS, COH or MEC. nucleon: (N,) PDG code of the struck nucleon, 2000000200 + 0, 1, 2 for the pairs
    nn, np, pp (GENIE's codes), 0 for the whole nucleus. hadrons: what left the vertex, before the nucleus acts on it.
    radius: (N,) distance of the vertex from the nucleus' centre [fm]. weight: (N,), 1 for unweighted events.
    nucleon_N4: (N, 4) energy and momentum of what was struck, bound: neutrino + nucleon_N4 = lepton + hadrons.
    cross_section: mean over the flux [cm2 per nucleon]. Of a coherent event the recoiling nucleus is a hadron, too.
    """

    neutrino_pdg: NDArray[np.int64]
    neutrino_N4: NDArray[np.float64]
    lepton_pdg: NDArray[np.int64]
    lepton_N4: NDArray[np.float64]
    charged_current: NDArray[np.bool_]
    kind: NDArray[np.int64]
    nucleon: NDArray[np.int64]
    hadrons: Particles
    radius: NDArray[np.float64]
    weight: NDArray[np.float64]
    nucleon_N4: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    cross_section: float = float("nan")

    def __len__(self) -> int:
        return len(self.kind)

    def __getitem__(self, rows: NDArray[np.int64]) -> Interactions:
        """Some events, in the order of rows, each at most once."""
        new = np.full(len(self), -1)
        new[rows] = np.arange(len(rows))
        event = new[self.hadrons.event]
        order = np.argsort(event, kind="stable")[np.count_nonzero(event < 0) :]
        flat = Particles(event[order], self.hadrons.pdg[order], self.hadrons.p4_T4[order])
        columns = {name: getattr(self, name)[rows] for name in _columns()}
        return Interactions(**columns, hadrons=flat, cross_section=self.cross_section)


def concatenate(parts: Sequence[Interactions], cross_section: float) -> Interactions:
    """Events one after the other."""
    starts = np.cumsum([0] + [len(p) for p in parts])
    event = np.concatenate([p.hadrons.event + start for p, start in zip(parts, starts, strict=False)])
    pdg, p4 = (np.concatenate([getattr(p.hadrons, name) for p in parts]) for name in ("pdg", "p4_T4"))
    columns = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _columns()}
    return Interactions(**columns, hadrons=Particles(event, pdg, p4), cross_section=cross_section)


def _columns() -> list[str]:
    return [f.name for f in fields(Interactions) if f.name not in ("hadrons", "cross_section")]


def write_nuhepmc(path: Path, interactions: Interactions, particles: Particles) -> None:
    """Events as HepMC3 text that follows NuHepMC 1.0 (arXiv:2310.13211), in GeV and mm; written whole or not at all.

    particles: the hadrons of the final state, after the nucleus or `interactions.hadrons`. With them go the nucleus, the struck
    nucleon, and a remnant that balances momentum if hadrons are those of the vertex. mc_intType is GENIE's number.
    """
    with atomic(path) as temporary, temporary.open("w") as stream:
        stream.writelines(f"{line}\n" for line in _run_lines(interactions))
        stops = np.searchsorted(particles.event, np.arange(len(interactions)), side="right")
        starts = np.concatenate([[0], stops[:-1]])
        for row, (start, stop) in enumerate(zip(starts.tolist(), stops.tolist(), strict=True)):
            stream.writelines(f"{line}\n" for line in _event_lines(row, interactions, particles, slice(start, stop)))
        stream.write("HepMC::Asciiv3-END_EVENT_LISTING\n\n")


def _run_lines(interactions: Interactions) -> Iterator[str]:
    yield from (
        "HepMC::Version 3.02.06",
        "HepMC::Asciiv3-START_EVENT_LISTING",
        "W CV",
        "T cloudchamber\\|1\\|neutrino generator",
    )
    numbers = {number + 50 * nc: (kind, nc) for kind, number in PROCESSES.items() for nc in (0, 1)}
    statuses = {_FINAL: "final", _BEAM: "beam", _TARGET: "target nucleus", _STRUCK: "struck nucleon or pair"}
    attributes = {
        **{f"Version.{part}": number for part, number in (("Major", 1), ("Minor", 0), ("Patch", 0))},
        "Conventions": "G.C.2 E.C.1",
        "Units.CrossSection.Unit": "cm2",
        "Units.CrossSection.TargetScale": "PerNucleon",
        "FluxAveragedTotalCrossSection": f"{interactions.cross_section:.8e}",
        "ProcessIDs": " ".join(map(str, numbers)),
        **{f"ProcessInfo[{n}].Name": f"{'NC' if nc else 'CC'} {_NAMES[kind]}" for n, (kind, nc) in numbers.items()},
        **{f"ProcessInfo[{n}].Description": _NAMES[kind] for n, (kind, _) in numbers.items()},
        "VertexStatusIDs": "1 21",
        **{
            f"VertexStatusInfo[{n}].{x}": name
            for n, name in ((1, "interaction"), (21, "nucleus"))
            for x in ("Name", "Description")
        },
        "ParticleStatusIDs": " ".join(map(str, statuses)),
        **{f"ParticleStatusInfo[{n}].{x}": name for n, name in statuses.items() for x in ("Name", "Description")},
        "AdditionalParticleNumbers": f"{_REMNANT} 2000000200 2000000201 2000000202",
        **{f"AdditionalParticleNumber[{n}].Name": "pair" for n in (2000000200, 2000000201, 2000000202)},
        f"AdditionalParticleNumber[{_REMNANT}].Name": "nuclear remnant",
    }
    yield from (f"A NuHepMC.{name} {value}" for name, value in attributes.items())


def _event_lines(row: int, events: Interactions, particles: Particles, own: slice) -> Iterator[str]:
    carbon = np.array([CARBON, 0.0, 0.0, 0.0])
    struck, whole = events.nucleon_N4[row], int(events.nucleon[row]) == 0
    incoming = [(int(events.neutrino_pdg[row]), events.neutrino_N4[row], _BEAM)]
    outgoing = [(int(events.lepton_pdg[row]), events.lepton_N4[row], _FINAL)]
    outgoing += [(int(c), p, _FINAL) for c, p in zip(particles.pdg[own], particles.p4_T4[own], strict=True)]
    split = [] if whole else [(int(events.nucleon[row]), struck, _STRUCK), (_REMNANT, carbon - struck, _FINAL)]
    process = PROCESSES[int(events.kind[row])] + 50 * (not events.charged_current[row])
    yield f"E {row} {1 if whole else 2} {2 + len(split) + len(outgoing)}"
    yield from ("U GEV MM", f"W {float(events.weight[row])!r}", "A 0 lab_pos 0 0 0 0", f"A 0 signal_process_id {process}")
    yield f"A 0 mc_intType {int(events.kind[row])}"
    yield _particle(1, 0, 1000060120, carbon, _TARGET)
    number = 1
    if split:
        yield "V -1 21 [1]"
        for number, (code, p4, status) in enumerate(split, 2):
            yield _particle(number, -1, code, p4, status)
    vertex, number = (-2, number + 1) if split else (-1, 2)
    yield _particle(number, 0, *incoming[0])
    yield f"V {vertex} 1 [{2 if split else 1},{number}]"
    for place, (code, p4, status) in enumerate(outgoing, number + 1):
        yield _particle(place, vertex, code, p4, status)


def _particle(number: int, mother: int, code: int, p4: NDArray[np.float64], status: int) -> str:
    energy, *vector = (float(x) for x in p4)
    squared = energy**2 - sum(x * x for x in vector)
    mass = np.sqrt(squared) if squared > 0 else 0.0
    return f"P {number} {mother} {code} {' '.join(f'{x:.16e}' for x in (*vector, energy, mass))} {status}"
