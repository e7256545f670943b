"""The registry: a reader, task, search method or suite is one file in its folder, found by listing that folder.

Each such module carries one object under a fixed name (`READER`, `TASK`, ...). Other packages add theirs
through the entry-point group `cloudchamber.<kind>`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from cloudchamber.errors import BadInput, nearest

_PLACES = {
    "readers": ("cloudchamber.data.readers", "READER"),
    "tasks": ("cloudchamber.tasks", "TASK"),
    "suites": ("cloudchamber.suites", "SUITE"),
    "methods": ("cloudchamber.search.methods", "METHOD"),
}


@cache
def entries(kind: str) -> dict[str, Any]:
    """Every registered object of a kind ("readers", "tasks", "methods", "suites") by name, in alphabetical order.

    Raises RuntimeError if two of them share a name: a silent winner would be another experiment.
    """
    package_name, attribute = _PLACES[kind]
    package = importlib.import_module(package_name)
    found: dict[str, Any] = {}
    for module_info in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
        module = importlib.import_module(f"{package_name}.{module_info.name}")
        if hasattr(module, attribute):
            _add(found, kind, getattr(module, attribute))
    for point in entry_points(group=f"cloudchamber.{kind}"):
        _add(found, kind, point.load())
    return found


def get(kind: str, name: str) -> Any:
    """One registered object by name.

    Raises BadInput with the nearest names if there is none.
    """
    known = entries(kind)
    if name not in known:
        raise BadInput(f"no {kind.rstrip('s')} is called {name!r}. Nearest: {nearest(name, known)}. Known: {', '.join(known)}.")
    return known[name]


def _add(found: dict[str, Any], kind: str, entry: Any) -> None:
    if entry.name in found:
        raise RuntimeError(f"two {kind} are called {entry.name!r}: {found[entry.name]!r} and {entry!r}")
    found[entry.name] = entry
