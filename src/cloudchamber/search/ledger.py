"""Ledger: an append-only record of every test that was looked at; each line holds the hash of the line before.

A JSONL file; `NAME.head` beside it holds the number of lines and the hash of the last one, and so does every run that wrote
to it: a line that was changed, taken out or cut off is found. It keeps the books of a campaign too: tests may spend its
alpha in shares, and what a discovery spent comes back (an online graphical procedure, arXiv:1910.04900: the family-wise error
holds for any dependence).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cloudchamber.errors import BadInput, BadLedger
from cloudchamber.run import atomic

START = "0" * 64  # what stands for the line before the first
NAME = "ledger.jsonl"
KINDS = ("campaign", "plan", "closure", "test", "unblinding", "result", "note")
_ROUNDING = 1e-12  # of sums of shares of alpha


class Head(NamedTuple):
    """How far a ledger reaches: its number of lines and the hash of the last one."""

    lines: int
    sha256: str


@dataclass(frozen=True)
class Entry:
    """One line: what happened, when, and with which numbers."""

    number: int
    time: str
    kind: str
    body: Mapping[str, Any]
    previous: str
    sha256: str


class Ledger:
    """A ledger file, made with its first entry. Many programs may append: a lock lets one of them write at a time."""

    def __init__(self, path: Path):
        self.path = path
        self._head = path.with_name(f"{path.name}.head")

    def append(self, kind: str, **body: Any) -> Entry:
        """Add an entry and return it. Raises BadLedger if the ledger was tampered with, BadInput if alpha is overspent.

        kind: one of KINDS. Numbers that mean something: "campaign" with alpha, before any plan; "plan" with sha256 and the
        alpha it claims; "result" with sha256 and p.
        """
        if kind not in KINDS:
            raise BadInput(f"a ledger entry is one of {', '.join(KINDS)}, got {kind!r}")
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._locked():
            entries = self.entries()
            previous = entries[-1].sha256 if entries else START
            time = datetime.now(UTC).isoformat(timespec="seconds")
            entry = _sealed(len(entries), time, kind, body, previous)
            if kind == "campaign" and any(e.kind in ("campaign", "plan") for e in entries):
                raise BadInput(f"{self.path}: the alpha of a campaign is declared once, before its first plan")
            if kind == "plan" and wealth([*entries, entry]) < -_ROUNDING:
                left = wealth(entries)
                raise BadInput(f"{self.path}: alpha {body['alpha']:g} is asked for, {left:g} of the campaign is left")
            with atomic(self.path) as temporary:
                temporary.write_text("".join(f"{line}\n" for line in (*_whole_lines(self.path), _line(entry))))
            with atomic(self._head) as temporary:
                temporary.write_text(json.dumps({"lines": entry.number + 1, "sha256": entry.sha256}) + "\n")
        return entry

    def entries(self, reaches: Head | None = None) -> list[Entry]:
        """Every entry, checked. reaches: what a run remembers of it.

        Raises BadLedger that names the first line that does not follow from the one before, or what was cut off.
        """
        lines, previous, entries = _whole_lines(self.path), START, []
        for number, line in enumerate(lines):
            entries.append(_opened(line, number, previous, self.path))
            previous = entries[-1].sha256
        for head, whose in ((self._remembered(bool(entries)), self._head.name), (reaches, "the run")):
            if head is not None:
                _check_reach(entries, head, whose, self.path)
        return entries

    @property
    def head(self) -> Head:
        """How far it reaches now."""
        entries = self.entries()
        return Head(len(entries), entries[-1].sha256 if entries else START)

    def find(self, kind: str, sha256: str) -> Entry | None:
        """The last entry of a kind about the plan of this hash, or None."""
        found = [e for e in self.entries() if e.kind == kind and e.body.get("sha256") == sha256]
        return found[-1] if found else None

    def _remembered(self, expected: bool) -> Head | None:
        if not self._head.is_file():
            if expected:
                raise BadLedger(
                    f"{self.path}: {self._head.name} beside it is missing, so nobody knows whether lines were cut off"
                )
            return None
        try:
            content = json.loads(self._head.read_text())
            return Head(int(content["lines"]), str(content["sha256"]))
        except (ValueError, KeyError, TypeError) as error:
            raise BadLedger(f"{self._head}: is no head of a ledger ({error})") from error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def wealth(entries: list[Entry]) -> float:
    """The alpha that a campaign has left: infinite without one; a plan spends its own once, a discovery gives it back once."""
    left = float("inf")
    claimed: dict[str, float] = {}
    found: set[str] = set()
    for entry in entries:
        plan = str(entry.body.get("sha256"))
        if entry.kind == "campaign":
            left = float(entry.body["alpha"])
        elif entry.kind == "plan" and plan not in claimed:
            claimed[plan] = float(entry.body["alpha"])
            left -= claimed[plan]
        elif entry.kind == "result" and plan not in found and entry.body["p"] <= claimed.get(plan, 0.0):
            found.add(plan)
            left += claimed[plan]
    return left


def _sealed(number: int, time: str, kind: str, body: Mapping[str, Any], previous: str) -> Entry:
    content = {"number": number, "time": time, "kind": kind, "body": dict(body), "previous": previous}
    return Entry(number, time, kind, dict(body), previous, _digest(content))


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _line(entry: Entry) -> str:
    return json.dumps({**entry.__dict__, "body": dict(entry.body)}, sort_keys=True, allow_nan=False)


def _whole_lines(path: Path) -> list[str]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadLedger(f"{path}: cannot be read ({error})") from error
    if text and not text.endswith("\n"):
        raise BadLedger(f"{path}: its last line, number {text.count(chr(10)) + 1}, is cut off")
    return text.splitlines()


def _opened(line: str, number: int, previous: str, path: Path) -> Entry:
    where = f"{path}: line {number + 1}"
    try:
        content = json.loads(line)
        entry = Entry(**content)
        digest = _digest({name: value for name, value in content.items() if name != "sha256"})
    except (ValueError, TypeError, AttributeError) as error:
        raise BadLedger(f"{where} is no entry of a ledger ({error})") from error
    if entry.sha256 != digest:
        raise BadLedger(f"{where} was changed: its content has the hash {digest[:12]}, it says {str(entry.sha256)[:12]}")
    if entry.number != number or entry.previous != previous:
        raise BadLedger(f"{where} does not follow the line before it: something was taken out, put in or moved there")
    return entry


def _check_reach(entries: list[Entry], head: Head, whose: str, path: Path) -> None:
    if len(entries) < head.lines:
        raise BadLedger(f"{path}: ends after line {len(entries)}, but {whose} knows of {head.lines}: the rest was cut off")
    if head.lines and entries[head.lines - 1].sha256 != head.sha256:
        raise BadLedger(f"{path}: line {head.lines} is not the one that {whose} knows of: the ledger was written anew")
