"""Malformed and hostile event listings: one clear error each, never a shorter result, no memory taken on a file's word."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from cloudchamber import data
from cloudchamber.errors import BadFile, CloudchamberError

HEPMC3 = b"""HepMC::Version 3.03.01
HepMC::Asciiv3-START_EVENT_LISTING
W Weight
E 0 1 2
U GEV MM
W 1.0
P 1 0 22 0.0 3.0 4.0 5.0 0.0 1
P 2 0 11 0.0 3.0 4.0 5.0 0.0 1
E 1 1 1
U GEV MM
P 1 0 22 0.0 3.0 4.0 5.0 0.0 1
HepMC::Asciiv3-END_EVENT_LISTING
"""
HEPMC2 = b"""HepMC::Version 2.06.09
HepMC::IO_GenEvent-START_EVENT_LISTING
E 0 -1 -1.0 -1.0 -1.0 211 0 1 1 2 0 1 0.5
U GEV MM
V -1 0 0 0 0 0 1 1 0
P 1 22 0 0 6.0 6.0 0.0 4 0 0 -1 0
P 2 22 0 0 6.0 6.0 0.0 1 0 0 0 0
E 1 -1 -1.0 -1.0 -1.0 211 0 0 1 2 0 0
U GEV MM
HepMC::IO_GenEvent-END_EVENT_LISTING
"""
LHE = b"""<LesHouchesEvents version="3.0">
<init>
2212 2212 6500 6500 0 0 1 1 3 1
1.0 0.1 1.0 1
</init>
<event>
 2 661 3.5 91.2 0.0078 0.118
 5 1 0 0 502 0 3.0 4.0 0.0 5.0 0.0 0 1
 -5 1 0 0 0 502 -3.0 -4.0 0.0 5.0 0.0 0 -1
</event>
<event>
 1 661 3.5 91.2 0.0078 0.118
 5 1 0 0 502 0 3.0 4.0 0.0 5.0 0.0 0 1
</event>
</LesHouchesEvents>
"""
LISTINGS = {"hepmc3": HEPMC3, "hepmc2": HEPMC2, "lhe": LHE}


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", LISTINGS)
def test_a_listing_without_its_end_is_truncated_wherever_it_stops(kind, tmp_path):
    content = LISTINGS[kind]
    start, last = content.index(b"\n", 60), content.rindex(b"\n", 0, -1)  # after the first lines; before the closing one
    for end in range(start, last + 8):
        with pytest.raises(BadFile, match="truncated"):
            data.read(put(tmp_path / "cut.dat", content[:end]))


@pytest.mark.parametrize(
    ("kind", "old", "new", "words"),
    [
        ("hepmc3", b"E 0 1 2", b"E 0 1 1", "event 0 is not HepMC: announces 1 particles, has 2"),
        ("hepmc3", b"E 1 1 1\n", b"", "event 0 is not HepMC: announces 2 particles, has 3"),
        ("hepmc3", b"U GEV MM", b"U TEV MM", "does not say its units"),
        ("hepmc3", b"0.0 3.0 4.0 5.0 0.0 1", b"0.0 3.0 4.0 1e400 0.0 1", "'energy' is inf for particle 0 of event 0"),
        ("hepmc3", b"0.0 3.0 4.0 5.0 0.0 1", b"0.0 x 4.0 5.0 0.0 1", "could not convert string to float"),
        ("hepmc3", b"0.0 3.0 4.0 5.0 0.0 1", b"0.0 4.0 5.0 0.0 1", "a P line has 9 fields, expected 10"),
        ("hepmc3", b"P 1 0 22", b"P 1 0 99999999999999999999", "is not the code of a particle"),
        ("hepmc3", b"P 1 0 22", b"P 1 0 2.5", "event 0 is not HepMC: invalid literal"),
        ("hepmc3", b"W 1.0", b"W nan", "'weight' is nan in event 0"),
        ("hepmc2", b"1 1 0\n", b"1 7 0\n", "its vertices announce 8 particles, it has 2"),
        ("hepmc2", b"0 1 1 2 0 1 0.5", b"0 9 1 2 0 1 0.5", "announces 9 vertices, has 1"),
        ("hepmc2", b"0 1 1 2 0 1 0.5", b"0 1 1 2 0 900000000 0.5", "announces 900000000 weights, has 1"),
        ("hepmc2", b"0 1 1 2 0 1 0.5", b"0 1 1 2 900000000 1 0.5", "event 0 is not HepMC"),
        ("lhe", b" 2 661", b" 1 661", "event 0 is not LHE: announces 1 particles, has 2"),
        ("lhe", b"</event>\n<event>\n", b"", "event 0 is not LHE"),
        ("lhe", b"</event>\n<event>", b"x<event>", "event 0 is not LHE: another begins before it ends"),
        ("lhe", b"502 0 3.0", b"502 0 1e300", "'px' is inf for particle 0 of event 0"),
        ("lhe", b"<event>\n", b"", "an </event> before any <event>"),
        ("hepmc3", b"E 0 1 2\n", b"", "particles before the E line of any event"),
        ("lhe", b"</event>\n", b"", "event 0 is not LHE: is ended by </event> 0 times"),
        ("lhe", b"3.5 91.2 0.0078 0.118", b"3.5 91.2", "its first line has 4 numbers, expected 6"),
        ("lhe", b"5.0 0.0 0 1", b"5.0 91.2 0 1", "a particle has an energy of 5.0 and a mass of 91.2 GeV"),
        (
            "lhe",
            b"</event>\n<event>",
            b"</eve.0\n2 661 3.5",
            "has a line after its particles that is no comment (#): b'</eve.0'",
        ),
        ("lhe", b"</event>", b"<rwgt><wgt></rwgt>\n</event>", "has a </rwgt> that closes nothing"),
        ("lhe", b"</event>", b"<rwgt>\n</event>", "has a <rwgt> that is not closed"),
        ("lhe", b"</LesHouchesEvents>", b"</LesHouchesEvents>\n<event>\n</LesHouchesEvents>", "after </LesHouchesEvents>"),
        ("hepmc3", b"END_EVENT_LISTING", b"END_EVENT_LISTING\nE 3 0 0\n", "an event outside of any listing"),
        ("hepmc2", b"U GEV MM\nV", b"U GEV MM\n211 -1\nV", "event 0 is not HepMC: has a line that begins with b'211'"),
        ("hepmc2", b"1 1 0\n", b"1 1 0 7\n", "announces 0 weights of a vertex, has 1"),
        ("hepmc2", b"4 0 0 -1 0\n", b"4 0 0 -1 3\n", "a P line has 13 fields, expected 13 and two for each line of flow"),
        ("lhe", b"3.5 91.2", b"inf 91.2", "'weight' is inf in event 0"),
    ],
)
def test_a_wrong_line_is_one_error_that_names_its_event(kind, old, new, words, tmp_path):
    assert old in LISTINGS[kind]
    with pytest.raises(BadFile, match=r"bad\.dat: .*" + re.escape(words)):
        data.read(put(tmp_path / "bad.dat", LISTINGS[kind].replace(old, new, 1)))


@pytest.mark.parametrize("kind", LISTINGS)
def test_random_damage_is_never_a_foreign_error(kind, tmp_path):
    rng = np.random.default_rng(3)
    for i in range(60):
        damaged = bytearray(LISTINGS[kind])
        for at in rng.integers(0, len(damaged), 4):
            damaged[at] = rng.integers(0, 256) if i % 2 else 48 + rng.integers(0, 10)
        try:
            data.read(put(tmp_path / "damaged.dat", bytes(damaged)))  # a digit may change into another
        except CloudchamberError as error:
            assert "damaged.dat" in str(error)  # noqa: PT017


HITS = b"hit_id,x,y,z,volume_id,layer_id,module_id\n1,1.0,2.0,3.0,8,2,1\n2,1.0,2.0,3.0,8,2,1\n"
TRUTH = b"hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight\n1,0,1,1,1,1,1,1,0.5\n2,7,1,1,1,1,1,1,0.5\n"


def test_trackml_hits_under_another_name_cannot_find_their_truth(tmp_path):
    with pytest.raises(BadFile, match="its name must be like"):
        data.read(put(tmp_path / "some.csv", HITS))


def numbered(*numbers: int) -> bytes:
    head, end = HEPMC3[: HEPMC3.index(b"E 0")], HEPMC3[HEPMC3.index(b"HepMC::Asciiv3-END") :]
    event = HEPMC3[HEPMC3.index(b"E 1") : HEPMC3.index(b"HepMC::Asciiv3-END")]
    return head + b"".join(event.replace(b"E 1", f"E {n}".encode(), 1) for n in numbers) + end


def test_events_that_were_cut_out_of_a_listing_are_told_by_their_numbers(tmp_path):
    with pytest.warns(UserWarning, match=r"bad\.dat: an event numbered 5 follows one numbered 2, one of 1 such places"):
        assert len(data.read(put(tmp_path / "bad.dat", numbered(0, 1, 2, 5, 6)))) == 5
    two_listings = numbered(3, 4, 5) + numbered(0, 1, 2).replace(b"W Weight\n", b"")
    for whole in (numbered(7, 8, 9), numbered(0, 0, 0, 0), two_listings):  # a warning is an error of the test
        data.read(put(tmp_path / "good.dat", whole))
    for number in ("1x", "--1"):
        with pytest.raises(BadFile, match=f"an event is numbered b'{number}'"):
            data.read(put(tmp_path / "bad.dat", HEPMC3.replace(b"E 1 ", f"E {number} ".encode())))
