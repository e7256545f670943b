"""Particles by a card: the file's values of one kind of objects become momenta and features, and kinds are joined."""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.card import KINEMATIC, PDG, Card, Source, form
from cloudchamber.data.pdg import charge_and_flags
from cloudchamber.data.reader import single
from cloudchamber.events import Schema
from cloudchamber.events.kinematics import momenta, momenta_from_rapidity
from cloudchamber.units import to_internal


def kind_of_objects(
    group: Mapping[str, Source], counts: NDArray[np.int64], found: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    """(T,) momentum and features of one kind of objects. group: its entries in the card. found: (T,) values of the file."""
    values = {n: in_our_units(found[n] if n in found else np.full(int(counts.sum()), s.value), s) for n, s in group.items()}
    names = form(group)
    assert names is not None
    with np.errstate(over="ignore", invalid="ignore"):  # absurd angles become infinite, and the border check names them
        particles = _momenta(names, [values[n] for n in names])
    if PDG in values:
        particles |= charge_and_flags(values[PDG], group[PDG].codes)
    particles |= {n: v for n, v in values.items() if n not in (*KINEMATIC, PDG)}
    for name, source in group.items():
        if source.only_if is not None:
            particles[name] = np.where(values[source.only_if] == 0, np.nan, particles[name])
    return particles


def one_after_the_other(
    kinds: Sequence[tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]], card: Card, schema: Schema
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float32]]]:
    """Counts and particles of all kinds of objects together: event by event, and in an event kind by kind.

    A feature that a kind lacks is NaN for its particles, but 0 if it is a constant flag, which says what a particle is.
    """
    event = np.concatenate([np.repeat(np.arange(len(counts)), counts) for counts, _ in kinds])
    order = np.argsort(event, kind="stable")
    own = card.features
    constant = {f.name for f in schema.features if f.kind == "flag" and f.name in own and own[f.name].column is None}
    particles = {}
    for name in schema.particle_names:
        absent = 0.0 if name in constant else np.nan
        parts = [kind[name] if name in kind else np.full(int(counts.sum()), absent) for counts, kind in kinds]
        particles[name] = single(np.concatenate(parts)[order])
    return np.sum([counts for counts, _ in kinds], axis=0), particles


def in_our_units(values: NDArray[Any], source: Source) -> NDArray[np.float64]:
    """The values in internal units, or as the index of their class; NaN where missing."""
    values = values.astype(np.float64)
    if source.missing is not None:
        values[values == source.missing] = np.nan
    if source.values:
        codes = np.array(source.values)
        return np.where(np.isin(values, codes), np.argmax(values[:, None] == codes, axis=1), np.nan)
    if source.classes:
        return np.where(values < 0, np.nan, values)
    return values * to_internal(source.unit)


def _momenta(names: tuple[str, ...], values: list[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """px, py, pz, energy from the quantities that one of card.MOMENTUM_FORMS names."""
    a, b, c, last = values
    if names == ("pt", "rapidity", "phi", "mass"):
        return momenta_from_rapidity(a, b, c, last)
    if names == ("pt", "eta", "phi", "mass"):
        return momenta(a, b, c, last)
    if names == ("pt", "cot_theta", "phi", "mass"):
        return momenta(a, np.arcsinh(b), c, last)
    if names == ("pt", "eta", "phi", "energy"):
        return momenta(a, b, c) | {"energy": last}
    energy = last if names[-1] == "energy" else np.sqrt(a**2 + b**2 + c**2 + last**2)
    return {"px": a, "py": b, "pz": c, "energy": energy}
