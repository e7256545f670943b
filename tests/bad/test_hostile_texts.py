"""HepMC, LHE and TrackML spoilt in many ways: one error that names the file, or the right events; in little memory."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.bad.test_bad_text_files import HEPMC2, HEPMC3, HITS, LHE, TRUTH
from tests.spoilt_files import EITHER, GOOD, LIMIT_GB, OTHER, assert_refused_in_little_memory, read_or_refused, unreadable

GOOD_FILES = {"hepmc3": HEPMC3, "hepmc2": HEPMC2, "lhe": LHE, "trackml": HITS}
COUNTS = {"hepmc3": [2, 1], "hepmc2": [1, 0], "lhe": [2, 1], "trackml": [2]}
Make = Callable[[Path, bytes], object]


def edit(how: Callable[[bytes], bytes]) -> Make:
    return lambda path, good: path.write_bytes(how(good))


def line(old: bytes, new: bytes) -> Make:
    """The good file with one piece of its text replaced."""

    def make(path: Path, good: bytes) -> None:
        assert old in good
        path.write_bytes(good.replace(old, new, 1))

    return make


def other_truth(how: Callable[[Path], object]) -> Make:
    """Good hits; the truth beside them is made otherwise."""

    def make(path: Path, good: bytes) -> None:
        path.write_bytes(good)
        truth = path.with_name("e-truth.csv")
        truth.unlink()
        how(truth)

    return make


def long_lines(content: bytes) -> bytes:
    """Two gigabytes of blanks before the last line, in two megabytes."""
    body, end = content.rstrip(b"\n").rsplit(b"\n", 1)
    blanks = gzip.compress((b" " * 99_999 + b"\n") * 100)
    return gzip.compress(body + b"\n") + blanks * 200 + gzip.compress(end + b"\n")


def one_line(content: bytes) -> bytes:
    """The good start, and two gigabytes without an end of line."""
    return gzip.compress(content[:-1]) + gzip.compress(b"0" * 10**7) * 200


TRUNCATED = "truncated"
NEITHER = "neither a ROOT"
SHARED: dict[str, tuple[Make, str | None]] = {
    **OTHER,
    "good": (edit(lambda c: c), GOOD),
    "gzipped": (edit(gzip.compress), GOOD),
    "ends of lines of Windows": (edit(lambda c: c.replace(b"\n", b"\r\n")), GOOD),
    "cut after 10 bytes": (edit(lambda c: c[:10]), NEITHER),
    "cut at 70 %": (edit(lambda c: c[: int(len(c) * 0.7)]), TRUNCATED),
    "cut in the last line": (edit(lambda c: c[:-2]), EITHER),
    "gzip cut": (edit(lambda c: gzip.compress(c)[:-20]), TRUNCATED),
    "gzip without its end": (edit(lambda c: gzip.compress(c)[:-8]), TRUNCATED),
    "gzip of another sum": (edit(lambda c: gzip.compress(c)[:-8] + bytes(4) + gzip.compress(c)[-4:]), "damaged"),
    "gzip with garbage after": (edit(lambda c: gzip.compress(c) + b"garbage"), "damaged"),
    "gzip in gzip": (edit(lambda c: gzip.compress(gzip.compress(c))), r"\(unpacked\): this is neither"),
    "PNG in gzip": (edit(lambda _: gzip.compress(b"\x89PNG\r\n\x1a\n" + bytes(2000))), r"\(unpacked\): this is neither"),
    "nothing in gzip": (edit(lambda _: gzip.compress(b"")), r"\(unpacked\): this is neither"),
    "zeros": (edit(lambda c: bytes(len(c))), NEITHER),
    "two bytes a letter": (edit(lambda c: c.decode().encode("utf-16")), NEITHER),
    "zeros inside": (edit(lambda c: c[: len(c) * 3 // 4] + bytes(40) + c[len(c) * 3 // 4 :]), EITHER),
    "bytes that are no text": (edit(lambda c: c[: len(c) * 3 // 4] + b"\xff\xfe\x80" + c[len(c) * 3 // 4 :]), EITHER),
    "unreadable": (unreadable(edit(lambda c: c)), "Permission denied"),
}
BOMBS: dict[str, tuple[Make, str | None]] = {  # for the two ways of unpacking: listings by line, tables as a whole
    "bomb of lines": (edit(long_lines), "GB of memory"),
    "bomb of one line": (edit(one_line), "GB of memory|has a line of more than"),
}
OWN: dict[str, dict[str, tuple[Make, str | None]]] = {
    "hepmc3": {
        "absurd counter": (line(b"E 0 1 2", b"E 0 1 4000000000"), "announces 4000000000 particles, has 2"),
        "negative counter": (line(b"E 0 1 2", b"E 0 1 -2"), "announces -2 particles, has 2"),
        "counter of a thousand digits": (line(b"E 0 1 2", b"E 0 1 " + b"9" * 5000), "event 0 is not HepMC"),
        "counter missing": (line(b"E 0 1 2", b"E 0 1"), "event 0 is not HepMC"),
        "NaN": (line(b"0.0 3.0", b"nan 3.0"), "'px' is nan for particle 0 of event 0"),
        "infinity": (line(b"0.0 3.0", b"inf 3.0"), "'px' is inf"),
        "negative energy": (line(b"4.0 5.0", b"4.0 -5.0"), "at least 0 GeV"),
        "energy below |p|": (line(b"4.0 5.0", b"4.0 4.0"), r"at least \|p\| = 5 GeV"),
        "no units": (line(b"U GEV MM\n", b""), "does not say its units"),
        "half of its units": (line(b"U GEV MM\n", b"U GEV\n"), "event 0 is not HepMC"),
        "no event": (edit(lambda c: c[: c.index(b"E 0")] + c[c.index(b"HepMC::Asciiv3-END") :]), "has no events"),
        "vertex inside brackets that never close": (line(b"W 1.0", b"V -1 0 [1,"), EITHER),
        "vertex without an end": (line(b"W 1.0", b"V -1"), "event 0 is not HepMC"),
        "particle in a circle": (line(b"P 1 0 22", b"P 1 1 22"), GOOD),
        "second listing": (edit(lambda c: c + c), EITHER),
    },
    "hepmc2": {
        "no event": (edit(lambda c: c[: c.index(b"E 0")] + c[c.index(b"HepMC::IO_GenEvent-END") :]), "has no events"),
        "absurd counter": (line(b"1 1 0\n", b"1 900000000 0\n"), "announce 900000001 particles"),
        "negative counter": (line(b"1 1 0\n", b"1 -1 0\n"), "announce 0 particles, it has 2"),
        "absurd random states": (line(b"2 0 1 0.5", b"2 99999999999 1 0.5"), "event 0 is not HepMC"),
        "negative random states": (line(b"2 0 1 0.5", b"2 -9 1 0.5"), "event 0 is not HepMC"),
        "negative weights": (line(b"2 0 1 0.5", b"2 0 -1 0.5"), "announces -1 weights, has 1"),
        "NaN": (line(b"0 0 6.0 6.0 0.0 1", b"nan 0 6.0 6.0 0.0 1"), "'px' is nan"),
        "words for numbers": (line(b"0 0 6.0 6.0 0.0 1", b"zero 0 6.0 6.0 0.0 1"), "could not convert"),
    },
    "lhe": {
        **BOMBS,
        "absurd counter": (line(b" 2 661", b" 4000000000 661"), "announces 4000000000 particles, has 2"),
        "negative counter": (line(b" 2 661", b" -2 661"), "announces -2 particles, has 2"),
        "NaN": (line(b"502 0 3.0", b"502 0 nan"), "'px' is nan for particle 0 of event 0"),
        "infinity": (line(b"502 0 3.0", b"502 0 inf"), "'px' is inf"),
        "negative energy": (line(b"0.0 5.0 0.0", b"0.0 -5.0 0.0"), "has an energy of -5.0"),
        "energy below |p|": (line(b"0.0 5.0 0.0", b"0.0 4.0 0.0"), r"at least \|p\| = 5 GeV"),
        "number of Fortran": (line(b"502 0 3.0", b"502 0 3.0D0"), "could not convert"),
        "column missing": (line(b"502 0 3.0", b"502 3.0"), "has 12 numbers, expected 13"),
        "column added": (line(b"502 0 3.0", b"502 0 0 3.0"), "has 14 numbers, expected 13"),
        "head missing": (line(b" 2 661 3.5 91.2 0.0078 0.118\n", b""), "event 0 is not LHE"),
        "event never closed": (line(b"</event>\n</Les", b"</Les"), "event 1 is not LHE"),
        "no event": (edit(lambda c: c[: c.index(b"<event>")] + b"</LesHouchesEvents>\n"), "has no events"),
        "entities that double": (line(b"<init>", b'<!DOCTYPE l [<!ENTITY a "&b;&b;">]>&a;\n<init>'), GOOD),
        "entity of another file": (line(b"<init>", b'<!DOCTYPE l [<!ENTITY a SYSTEM "/etc/passwd">]>&a;\n<init>'), GOOD),
        "weights after the particles": (line(b"</event>", b"<rwgt>\n<wgt id='1'>1.0</wgt>\n</rwgt>\n</event>"), GOOD),
    },
    "trackml": {
        **BOMBS,
        "no truth": (other_truth(lambda _: None), "needs e-truth.csv beside it"),
        "truth a folder": (other_truth(Path.mkdir), "needs e-truth.csv beside it"),
        "truth a link to itself": (other_truth(lambda p: p.symlink_to(p)), "needs e-truth.csv|symbolic links"),
        "truth a pipe": (other_truth(os.mkfifo), "needs e-truth.csv beside it"),
        "truth empty": (other_truth(Path.touch), "truncated"),
        "truth cut": (other_truth(lambda p: p.write_bytes(TRUTH[:-1])), "truncated"),
        "truth of one hit": (other_truth(lambda p: p.write_bytes(TRUTH[: TRUTH.index(b"2,7")])), "truth of 1"),
        "truth in another order": (other_truth(lambda p: p.write_bytes(TRUTH.replace(b"\n2,7", b"\n3,7"))), "order of hit_id"),
        "truth without a column": (
            other_truth(lambda p: p.write_bytes(re.sub(rb"particle_id", b"particle", TRUTH))),
            "no column 'truth/particle_id'",
        ),
        "hits of one": (edit(lambda c: c[: c.index(b"2,1.0")]), "its event has 1 hits, and truth of 2"),
        "hits without a column": (line(b"layer_id", b"layers"), "no column 'hits/layer_id'"),
        "word for a number": (line(b"2.0", b"zwei"), "conversion error"),
        "no hits": (edit(lambda c: c[: c.index(b"\n") + 1]), "has 0 hits"),
        "row too short": (line(b",2,1\n2,", b"\n2,"), "damaged"),
        "row too long": (line(b",2,1\n2,", b",2,1,9,9\n2,"), "damaged"),
        "name of a column that is no text": (line(b"layer_id", b"lay\x88r_id"), "damaged"),
        "column twice": (line(b"module_id", b"layer_id"), "'layer_id' is there 2 times"),
        "NaN": (line(b"2.0", b"nan"), "no finite position"),
        "infinity": (line(b"2.0", b"1e999"), "no finite position"),
        "too large for float32": (line(b"2.0", b"1e300"), "no finite position"),
        "empty cell": (line(b"2.0", b""), "no finite position"),
        "whole number too large": (line(b",8,2", b",99999999999999999999999,2"), "conversion error"),
        "fraction for a whole number": (line(b",8,2", b",8.5,2"), "conversion error"),
        "empty cell for a whole number": (line(b",8,2", b",,2"), EITHER),
        "quote that never closes": (line(b"2.0", b'"2.0'), "damaged|conversion"),
    },
}
LARGE = [(kind, name) for kind in OWN for name in (*BOMBS, "absurd counter") if name in OWN[kind]]


def case(kind: str, name: str, folder: Path) -> tuple[Path, str | None]:
    """The file and the words of the error."""
    make, words = (SHARED | OWN[kind])[name]
    folder.mkdir(exist_ok=True)
    (folder / "e-truth.csv").write_bytes(TRUTH)
    path = folder / "e-hits.csv"  # the name that TrackML needs; to the others it is any
    make(path, GOOD_FILES[kind])
    return path, words


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in GOOD_FILES for n in SHARED | OWN[k]])
def test_a_spoilt_text_is_one_error_that_names_it_or_the_right_events(kind, name, tmp_path, monkeypatch):
    monkeypatch.setenv("CLOUDCHAMBER_MAX_GB", LIMIT_GB)
    path, words = case(kind, name, tmp_path)
    cloud = read_or_refused(path, None, words)
    assert cloud is None or cloud.counts.tolist() == COUNTS[kind]


def test_hostile_texts_are_refused_in_less_than_one_gigabyte(tmp_path):
    assert_refused_in_little_memory([(case(*which, tmp_path / str(n))[0], None) for n, which in enumerate(LARGE)])
