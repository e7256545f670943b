"""Units: GeV, mm, ns and rad inside; everything else is converted once, at the border."""

from __future__ import annotations

from cloudchamber.errors import BadInput, nearest

# Factors are exact by definition (SI prefixes; pi/180 for the degree).
_TO_INTERNAL: dict[str, tuple[float, str]] = {
    "1": (1.0, "1"),
    "eV": (1e-9, "GeV"),
    "keV": (1e-6, "GeV"),
    "MeV": (1e-3, "GeV"),
    "GeV": (1.0, "GeV"),
    "TeV": (1e3, "GeV"),
    "um": (1e-3, "mm"),
    "mm": (1.0, "mm"),
    "cm": (10.0, "mm"),
    "m": (1e3, "mm"),
    "ps": (1e-3, "ns"),
    "ns": (1.0, "ns"),
    "us": (1e3, "ns"),
    "s": (1e9, "ns"),
    "rad": (1.0, "rad"),
    "mrad": (1e-3, "rad"),
    "deg": (0.017453292519943295, "rad"),
    "MeV/cm": (1.0, "MeV/cm"),
    "MeV/mm": (10.0, "MeV/cm"),
    "GeV/mm": (1e4, "MeV/cm"),
}


def internal_unit(unit: str) -> str:
    """The unit that values given in `unit` have inside cloudchamber.

    >>> internal_unit("cm")
    'mm'
    """
    return _lookup(unit)[1]


def to_internal(unit: str) -> float:
    """The factor that turns values in `unit` into internal units.

    >>> to_internal("MeV")
    0.001
    """
    return _lookup(unit)[0]


def _lookup(unit: str) -> tuple[float, str]:
    if unit not in _TO_INTERNAL:
        raise BadInput(f"unknown unit {unit!r}. Nearest: {nearest(unit, _TO_INTERNAL)}. Known: {', '.join(_TO_INTERNAL)}.")
    return _TO_INTERNAL[unit]
