"""Errors that a user can act on: what, where, got, expected, the nearest name, and what to edit."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class CloudchamberError(Exception):
    """Base of every error that cloudchamber raises on purpose; the command line prints it without a traceback."""


class BadFile(CloudchamberError):
    """A file is truncated, empty, of another type than its name says, or holds values that cannot be right."""


class UnknownFormat(BadFile):
    """A file was opened, but no reader recognises its content."""


class MissingColumn(BadFile):
    """A file lacks a column that its reader or card needs."""


class BadCard(CloudchamberError):
    """A YAML card does not describe a file that can be read, or a detector."""


class BadScenario(CloudchamberError):
    """A YAML scenario does not describe collisions that can be simulated."""


class BadSchema(CloudchamberError):
    """Events and their schema disagree."""


class BadStore(CloudchamberError):
    """A store folder is incomplete, altered, or cannot be written where asked."""


class BadRecipe(CloudchamberError):
    """A recipe asks for something unknown, contradictory or impossible."""


class BadWeights(CloudchamberError):
    """Weights do not fit what they are asked to do."""


class BadRun(CloudchamberError):
    """A run folder is missing, incomplete, or already there."""


class BadPlan(CloudchamberError):
    """A search plan asks for something unknown or impossible, or was changed after it was frozen."""


class BadLedger(CloudchamberError):
    """The record of what was looked at was changed, shortened, or cannot be read."""


class Blinded(CloudchamberError):
    """A number of the signal region was asked for before the rules allow it."""


class WorkerDied(CloudchamberError):
    """A process that did a part of the work was killed; what was finished is kept where the work can be resumed."""


class BadInput(CloudchamberError, ValueError):
    """An argument of a public function is out of its range."""


class MissingExtra(CloudchamberError, ImportError):
    """A feature needs an optional package that is not installed."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> str:
    """The known names closest to `name`, as text for an error message.

    >>> nearest("part_pz", ["part_px", "part_py", "label"])
    "'part_py', 'part_px'"
    >>> nearest("x", [])
    'none'
    """
    known = list(known)
    close = get_close_matches(name, known, n=limit, cutoff=0.4) or known[:limit]
    return ", ".join(repr(k) for k in close) or "none"


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtra:
    """The error for an optional package that is not there.

    >>> str(missing_extra("fastjet", "sim", "clustering jets"))
    "clustering jets needs the package 'fastjet'. Install it with: pip install 'cloudchamber[sim]'"
    """
    return MissingExtra(f"{purpose} needs the package {package!r}. Install it with: pip install 'cloudchamber[{extra}]'")
