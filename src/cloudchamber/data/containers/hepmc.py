"""HepMC: versions 2 and 3 as text, plain or gzipped. A parser of our own."""

# pyhepmc 2.16.1 survives 500 randomly damaged files, but returns fewer events than were there from 222 of them, and no error.

from __future__ import annotations

import warnings
from pathlib import Path
from typing import ClassVar

from cloudchamber.data.containers.text import EventListing, announced, code
from cloudchamber.errors import BadFile
from cloudchamber.units import to_internal

_NAN = float("nan")
_LONGEST_NUMBER = 18  # digits: whatever fits 64 bits
_C = 299.792458  # mm/ns, exact: HepMC writes times as c t
_STARTS = {b"HepMC::Asciiv3-START_EVENT_LISTING": 3, b"HepMC::IO_GenEvent-START_EVENT_LISTING": 2}
_ENDS = (b"HepMC::Asciiv3-END_EVENT_LISTING", b"HepMC::IO_GenEvent-END_EVENT_LISTING")
# Kinds of lines in an event. 2: also cross-section, heavy ions, PDF. 3: also attributes and tools.
_RECORDS = {2: {b"E", b"N", b"U", b"C", b"H", b"F", b"V", b"P", b"D"}, 3: {b"E", b"U", b"W", b"A", b"T", b"N", b"V", b"P"}}
_UNITS = {b"MEV": "MeV", b"GEV": "GeV", b"MM": "mm", b"CM": "cm"}
_POSITION_NAMES = ("lab_pos", "LabPos")  # of the interaction: NuHepMC 1.0, and 0.9 (github.com/NuHepMC/Spec)
Position = tuple[float, float, float, float]


class HepMC(EventListing):
    """A HepMC file (arXiv:1912.08005). Every particle of every event, in GeV, mm, ns whatever the event's own units are.

    x, y, z, t: where a particle was made; of a vertex without a position, that of the particle that came in. lab_*: NuHepMC's
    place of the interaction, NaN if not given. weight: the first, 1 if there is none. attributes: those of the run.
    """

    kind = "HepMC"
    particle_columns: ClassVar = ("pdg", "status", "px", "py", "pz", "energy", "mass", "x", "y", "z", "t")
    event_columns: ClassVar = ("process_id", "weight", "lab_x", "lab_y", "lab_z")

    def __init__(self, path: Path):
        self.attributes: dict[str, str] = {}
        self._version = 0
        self._open = False  # between the lines that begin and end a listing; a file can hold several
        self._number: int | None = None  # of the last event in the listing
        self._jumps: list[tuple[int, int]] = []  # numbers of two events that follow each other and should not
        super().__init__(path)
        if 0 < len(self._jumps) < self.rows("weight") / 2:  # else its writer does not count
            warnings.warn(
                f"{path}: an event numbered {self._jumps[0][1]} follows one numbered {self._jumps[0][0]}, one of "
                f"{len(self._jumps)} such places. Unless events were selected, some are missing or there twice: copy it again.",
                stacklevel=2,
            )

    def _place(self, line: bytes) -> str:
        if line.startswith(b"E "):
            if not self._open:
                raise BadFile(f"{self.path}: damaged: an event outside of any listing. Copy it again.")
            if line.endswith(b"\n"):  # else the file is cut here
                self._follow(next(iter(line.split(maxsplit=2)[1:]), b""))
            return "event"
        if line.startswith(b"HepMC::"):
            self._version = _STARTS.get(line.strip(), self._version)
            self._number = None
            self._open = line.strip() in _STARTS or (self._open and not line.startswith(_ENDS))
            return "end" if line.startswith(_ENDS) else ""
        if not self._offsets and line.startswith((b"P ", b"V ")):
            raise BadFile(f"{self.path}: damaged: particles before the E line of any event. Copy it again.")
        if not self._offsets and line.startswith(b"A "):
            name, _, value = line[2:].decode(errors="replace").strip().partition(" ")
            self.attributes[name] = value.strip()
        return ""

    def _follow(self, number: bytes) -> None:
        if not number.removeprefix(b"-").isdigit() or len(number) > _LONGEST_NUMBER:
            raise BadFile(f"{self.path}: damaged: an event is numbered {number[:20]!r}. Copy it again.")
        if self._number is not None and int(number) != self._number + 1:
            self._jumps.append((self._number, int(number)))
        self._number = int(number)

    def _event(self, lines: list[bytes]) -> tuple[list[float], list[list[float]]]:
        records = [fields for line in lines if (fields := line.split()) and not fields[0].startswith(b"HepMC::")]
        units = [fields for fields in records if fields[0] == b"U"]
        if not units or not {units[0][1], units[0][2]} <= set(_UNITS):
            raise ValueError("does not say its units (a line like U GEV MM)")
        if unknown := [fields[0] for fields in records if fields[0] not in _RECORDS[self._version]]:
            raise ValueError(f"has a line that begins with {unknown[0][:20]!r}")
        scale = to_internal(_UNITS[units[0][1]]), to_internal(_UNITS[units[0][2]])
        return (_event3 if self._version == 3 else _event2)(records, *scale)


def _event3(records: list[list[bytes]], momentum: float, length: float) -> tuple[list[float], list[list[float]]]:
    particles: list[list[float]] = []
    made: dict[int, Position] = {}  # by particle (positive) and vertex (negative)
    process, weight = _NAN, 1.0
    origin: Position = (0.0, 0.0, 0.0, 0.0)
    lab = [_NAN] * 3
    for fields in records:
        if fields[0] == b"P":  # id, mother (a vertex, or the one particle that came in), pdg, px, py, pz, E, m, status
            if len(fields) != 10:
                raise ValueError(f"a P line has {len(fields)} fields, expected 10")
            place = made[int(fields[1])] = made.get(int(fields[2]), origin)
            particles.append(_particle(fields[3], fields[9], fields[4:9], momentum, place))
        elif fields[0] == b"V":  # id, status, [particles that come in], and @ x y z t if it has a position
            incoming = int(fields[3].strip(b"[]").split(b",")[0] or 0)
            made[int(fields[1])] = _position(fields[5:], length) if b"@" in fields else made.get(incoming, origin)
        elif fields[0] == b"W":
            weight = float(fields[1]) if len(fields) > 1 else weight
        elif fields[0] == b"A" and fields[1] == b"0":
            name = fields[2].decode(errors="replace")
            process = float(fields[3]) if name == "signal_process_id" else process
            lab = [float(x) * length for x in fields[3:6]] if name in _POSITION_NAMES else lab
    announced(records[0][3], len(particles), "particles")
    return [process, weight, *lab], particles


def _event2(records: list[list[bytes]], momentum: float, length: float) -> tuple[list[float], list[list[float]]]:
    particles: list[list[float]] = []
    expected, vertices = 0, 0
    place: Position = (0.0, 0.0, 0.0, 0.0)
    # Number, interactions, scale, 2 couplings, process, its vertex, vertices, 2 beams; random states and weights with counts.
    head = records[0][1:]
    states = int(head[10])
    weights = head[12 + states :]
    for fields in records[1:]:
        if fields[0] == b"V":  # barcode, id, x, y, z, ct, orphans that come in, particles that go out, weights
            vertices += 1
            announced(fields[9], len(fields) - 10, "weights of a vertex")
            expected += int(fields[7]) + int(fields[8])
            place = _position(fields[3:7], length)
        elif fields[0] == b"P":  # barcode, pdg, px, py, pz, E, m, status, 2 angles, vertex, flow lines, two numbers for each
            if len(fields) < 13 or len(fields) != 13 + 2 * int(fields[12]):
                raise ValueError(f"a P line has {len(fields)} fields, expected 13 and two for each line of flow")
            particles.append(_particle(fields[2], fields[8], fields[3:8], momentum, place))
    announced(head[7], vertices, "vertices")
    announced(head[11 + states], len(weights), "weights")
    if expected != len(particles):
        raise ValueError(f"its vertices announce {expected} particles, it has {len(particles)}")
    return [float(head[5]), float(weights[0]) if weights else 1.0, _NAN, _NAN, _NAN], particles


def _particle(pdg: bytes, status: bytes, p: list[bytes], momentum: float, place: Position) -> list[float]:
    return [code(pdg), code(status), *(float(x) * momentum for x in p), *place]


def _position(fields: list[bytes], length: float) -> Position:
    x, y, z, ct = (float(f) * length for f in fields[:4])
    return x, y, z, ct / _C
