"""Collisions as a detector sees them: jets that the truth allows to carry their class's name, or whole events."""

# E event, T true or reconstructed particle, J jet, Q hard parton or decay product, R what may be kept: jet or event

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import CloudchamberError
from cloudchamber.events import Cloud, Schema, concatenate, kinematics
from cloudchamber.events.clustering import Jets, cluster
from cloudchamber.simulate.card import Card
from cloudchamber.simulate.detector import INVISIBLE, detect
from cloudchamber.simulate.objects import identify, missing_momentum
from cloudchamber.simulate.pileup import overlaid
from cloudchamber.simulate.puppi import puppi
from cloudchamber.simulate.pythia import BATCH, Record, collisions, pythia_seed, rows
from cloudchamber.simulate.resimulation import hard_processes, replayed
from cloudchamber.simulate.scenario import Class, Scenario
from cloudchamber.simulate.scenario import Jets as Selection

Array = NDArray[Any]
Columns = dict[str, Array]

MATCH = 0.4  # largest distance of a jet's axis to its parton
_BARREN = 200  # batches of which nothing is kept before the request is called impossible
_PLACES = 1000  # more than hard partons and decay products in an event


@dataclass(frozen=True)
class View:
    """How a collision is made from its hard process on, and which detector sees it."""

    scenario: Scenario
    card: Card


def generate(views: tuple[View, ...], name: str, seeds: tuple[int, int], schema: Schema) -> Iterator[Cloud]:
    """Endless batches of the jets or events of one class, the same for the same two seeds (Pythia's, NumPy's).

    With several views every hard process is showered, hadronised and detected once for each; what all of them keep is
    given, the views of one jet or event side by side. schema: of the clouds, without the labels `label`, `pair` and `view`.
    Raises MissingExtra without Pythia or FastJet; CloudchamberError if Pythia refuses a setting or nothing is kept.
    """
    kind = views[0].scenario.classes[name]
    sources = [_records(views, index, kind, seeds) for index in range(len(views))]
    rngs = [np.random.default_rng([seeds[1], index] if index else seeds[1]) for index in range(len(views))]
    barren = 0
    for records in zip(*sources, strict=True):
        cloud = _side_by_side([_keep(*each, kind, schema) for each in zip(records, views, rngs, strict=True)])
        barren = 0 if len(cloud) else barren + 1
        if barren == _BARREN:
            jets = views[0].scenario.jets
            raise CloudchamberError(
                f"class {name!r}: no {f'jet with pT in {jets.pt[0]:g}-{jets.pt[1]:g} GeV' if jets else 'event'} "
                f"in {barren * BATCH} events of scenario {views[0].scenario.name!r}. Widen the pT range."
            )
        yield cloud


def _records(views: tuple[View, ...], index: int, kind: Class, seeds: tuple[int, int]) -> Iterator[Record]:
    """The collisions of one view, pile-up included."""
    scenario = views[index].scenario
    if len(views) == 1:
        records = collisions(scenario, kind, seeds[0])
    else:
        hard = hard_processes(views[0].scenario, kind, seeds[0])  # every view makes the same ones: they cost next to nothing
        records = replayed(scenario, kind, hard, pythia_seed(seeds[0] + index + 1))
    return overlaid(records, scenario, seeds, index) if scenario.pileup else records


@dataclass(frozen=True)
class _Groups:
    """Jets, or whole events, of a batch. group_T: index of each particle's group, -1 for none. event: (R,). fits: (R,),
    which are kept. origin: (R,), number in the event of the parton or decay that a jet comes from, -1 for none; 0 for events.
    columns: (R,) of the cloud.
    """

    group_T: Array
    event: Array
    fits: Array
    origin: Array
    columns: Columns


def _keep(record: Record, view: View, rng: np.random.Generator, kind: Class, schema: Schema) -> tuple[Cloud, Array]:
    """The groups that fit as events of a cloud, particles by falling pT; and a key of each, equal for the same origin."""
    seen = detect(record.stable, view.card, rng)
    if view.scenario.objects:  # with random numbers of their own: the particles are the same with and without
        seen |= identify(seen, view.card, rng.spawn(1)[0]) | {"puppi": puppi(seen, record.truth["n_pileup"], view.card)}
    groups = (_jets if view.scenario.output == "jets" else _events)(record, seen, view.scenario, kind)
    kept = np.flatnonzero(groups.fits)
    new_index = np.full(len(groups.fits) + 1, -1)
    new_index[kept] = np.arange(len(kept))
    new_T = new_index[groups.group_T]
    order = np.lexsort((-np.hypot(seen["px"], seen["py"]), new_T))
    order = order[new_T[order] >= 0]
    cloud = Cloud.from_flat(
        np.bincount(new_T[order], minlength=len(kept)),
        {name: seen[name][order].astype(np.float32) for name in schema.particle_names},
        rows(groups.columns, kept) | rows(record.truth, groups.event[kept]),
        schema,
    )
    origin = groups.origin[kept]
    return cloud, np.where(origin < 0, -1, record.number[groups.event[kept]] * _PLACES + origin)


def _jets(record: Record, seen: Columns, scenario: Scenario, kind: Class) -> _Groups:
    """Jets; those fit that the truth allows to carry the name of the class."""
    assert scenario.jets is not None
    radius = scenario.jets.radius
    jets, eta, phi, fits = _clustered(record, seen, scenario.jets)
    hard = rows(record.hard, ~np.isin(np.abs(record.hard["pdg"]), INVISIBLE))
    distance_JQ = _distance(hard, jets, eta, phi)
    closest = _closest(distance_JQ)
    columns = {
        "parton": np.full(len(fits), -1),
        "parton_pdg": np.append(hard["pdg"], np.nan)[closest],  # index -1, none, takes the appended value
        "parton_pt": np.append(np.hypot(hard["px"], hard["py"]), np.nan)[closest],
        "prongs": (distance_JQ < radius).sum(axis=1).astype(np.float64),
    }
    origin = _whole_decay(hard, distance_JQ, radius) if kind.contains else closest
    if kind.contains:
        fits &= origin >= 0
    else:
        fits &= jets.rank_J < 2
        columns["parton"] = np.append(hard["pdg"] == 21, -1)[closest]
    return _Groups(jets.jet_T, jets.event_J, fits, np.append(hard["place"], -1)[origin], columns)


def _events(record: Record, seen: Columns, scenario: Scenario, _: Class) -> _Groups:
    """Whole events, with missing transverse momentum; if the scenario selects jets, those fit whose leading jet does."""
    event = np.arange(record.n_events)
    fits = np.ones(len(event), dtype=bool)
    if scenario.jets is not None:
        jets, _eta, _phi, good = _clustered(record, seen, scenario.jets)
        fits = np.isin(event, jets.event_J[good & (jets.rank_J == 0)])
    missing = {name: column.astype(np.float32) for name, column in missing_momentum(seen, len(event)).items()}
    return _Groups(seen["event"], event, fits, np.zeros_like(event), missing)


def _clustered(record: Record, seen: Columns, wanted: Selection) -> tuple[Jets, Array, Array, Array]:
    """The jets of a batch above the lowest pT, their eta and phi, and which of them are wanted."""
    jets = cluster(np.bincount(seen["event"], minlength=record.n_events), seen, radius=wanted.radius, min_pt=wanted.pt[0])
    pt, eta, phi = kinematics.pt_eta_phi(*(jets.momentum[name] for name in ("px", "py", "pz")))
    return jets, eta, phi, (pt < wanted.pt[1]) & (np.abs(eta) < wanted.max_eta)


def _side_by_side(kept: list[tuple[Cloud, Array]]) -> Cloud:
    """What all views keep, the views of each one after the other."""
    if len(kept) == 1:
        return kept[0][0]
    common = reduce(np.intersect1d, [key[key >= 0] for _, key in kept])
    parts = [cloud[np.array([np.flatnonzero(key == wanted)[0] for wanted in common])] for cloud, key in kept]
    return concatenate(parts)[np.arange(len(common) * len(kept)).reshape(len(kept), -1).T.ravel()]


def _closest(distance_JQ: Array) -> NDArray[np.int64]:
    """The hard parton or decay product closest to each jet's axis, -1 if none is within MATCH."""
    if not distance_JQ.size:
        return np.full(len(distance_JQ), -1)
    closest = distance_JQ.argmin(axis=1)
    return np.where(distance_JQ[np.arange(len(closest)), closest] < MATCH, closest, -1)


def _whole_decay(hard: Columns, distance_JQ: Array, radius: float) -> NDArray[np.int64]:
    """The first product of a decay whose visible products all lie within the radius of each jet's axis, else -1."""
    found = np.full(len(distance_JQ), -1)
    for ancestor in np.unique(hard["ancestor"][hard["ancestor"] >= 0]):
        products = np.flatnonzero(hard["ancestor"] == ancestor)
        found = np.where((distance_JQ[:, products] < radius).all(axis=1), products[0], found)
    return found


def _distance(hard: Columns, jets: Jets, eta: Array, phi: Array) -> NDArray[np.float64]:
    """(J, Q) Delta R between jets and hard partons; infinite between different events."""
    _, eta_Q, phi_Q = kinematics.pt_eta_phi(hard["px"], hard["py"], hard["pz"])
    distance = np.hypot(eta[:, None] - eta_Q, kinematics.wrap(phi[:, None] - phi_Q))
    return np.where(jets.event_J[:, None] == hard["event"], distance, np.inf)
