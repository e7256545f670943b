"""Energy that particles leave in the planes of a scintillator tracker: tracks, showers, debris of collisions, neutrons.

Parametric: particles go straight, lose energy by range tables and collide at most once; what comes of a collision is a few
deposits near it; showers are points along their axis. Widths and shares that stand in the code have no source but this model.
"""

# N event, T particle or deposit

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino.interactions import Particles
from cloudchamber.simulate.neutrino.kinematics import MUON as MUON_MASS
from cloudchamber.simulate.neutrino.kinematics import PION
from cloudchamber.simulate.neutrino.tracker_card import VIEW_AXES, TrackerCard, energy_of, range_of

Array = NDArray[Any]

MUON, TRACK, SHOWER, DEBRIS, NEUTRON, OVERLAY, FUZZ = range(7)  # what a deposit comes from
LIGHT = 299.792458  # mm/ns
_CRITICAL = 0.094  # GeV, critical energy of polystyrene (PDG, atomic and nuclear properties)
SHAPE = np.array([[np.cos(a), np.sin(a)] for a in (0, np.pi / 3, -np.pi / 3)])  # normals of the hexagon's sides


@dataclass(frozen=True)
class Deposits:
    """Energy in places. energy: (T,) lost there [GeV], passive material included. at_T4: x, y, z, t. source: a code."""

    event: Array
    energy: Array
    at_T4: Array
    source: Array

    def only(self, keep: Array) -> Deposits:
        """Those of a mask or an array of positions."""
        return Deposits(*(getattr(self, f.name)[keep] for f in fields(self)))


def joined(parts: Sequence[Deposits]) -> Deposits:
    """All deposits of several."""
    return Deposits(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Deposits)))


@dataclass(frozen=True)
class Lines:
    """Particles on straight lines from their event's vertex. slope: dz per mm of way; steep ones stay in a plane or two."""

    event: Array
    pdg: Array
    p4_T4: Array
    start_T4: Array
    unit_T3: Array
    slope: Array
    kinetic: Array

    @classmethod
    def of(cls, true: Particles, chosen: Array, vertex_N4: Array) -> Lines:
        """The chosen particles."""
        rows = np.flatnonzero(chosen)
        p4 = true.p4_T4[rows]
        p = np.linalg.norm(p4[:, 1:], axis=1)
        unit = p4[:, 1:] / np.maximum(p, 1e-9)[:, None]
        slope = np.where(unit[:, 2] < 0, -1.0, 1.0) * np.maximum(np.abs(unit[:, 2]), 0.05)
        kinetic = p4[:, 0] - np.sqrt(np.maximum(p4[:, 0] ** 2 - p**2, 0.0))
        return cls(true.event[rows], true.pdg[rows], p4, vertex_N4[true.event[rows]], unit, slope, kinetic)

    def at(self, way: Array, row: Array) -> NDArray[np.float64]:
        """(R, 4) places after a way [mm] on lines `row`; the time is that of light."""
        place = self.start_T4[row, :3] + way[:, None] * self.unit_T3[row]
        return np.column_stack([place, self.start_T4[row, 3] + way / LIGHT])


@dataclass(frozen=True)
class Ends:
    """How lines end. left: kinetic energy [GeV] there. collides, stays: with a nucleus, or by range. planes: crossed."""

    left: Array
    at_T4: Array
    collides: Array
    stays: Array
    planes: Array


def tracks(lines: Lines, card: TrackerCard, rng: np.random.Generator) -> tuple[Deposits, Ends]:
    """Deposits of charged particles, one in each plane crossed, with Birks' quenching; and how they end."""
    planes, muon = card.planes, np.abs(lines.pdg) == 13
    mass = np.maximum(lines.p4_T4[:, 0] - lines.kinetic, MUON_MASS)
    whole = range_of(lines.kinetic, mass)
    length = np.where(np.abs(lines.pdg) > 1000, card.nucleon_length, card.pion_length)
    collision = np.where(muon, np.inf, length * rng.exponential(size=len(mass)))
    depth = np.interp(lines.start_T4[:, 2], planes.edge, planes.depth)
    exit_z = lines.start_T4[:, 2] + _to_side(lines, card) * lines.slope
    leaves = np.abs(np.interp(exit_z, planes.edge, planes.depth) - depth) / np.abs(lines.slope)
    path = np.minimum(np.minimum(whole, collision), leaves)
    ends = np.sort(np.stack([depth, np.clip(depth + path * lines.slope, *planes.depth[[0, -1]])]), axis=0)
    first = np.clip(np.searchsorted(planes.depth, ends[0], side="right") - 1, 0, len(planes.z) - 1)
    count = np.clip(np.searchsorted(planes.depth, ends[1], side="left") - 1, first, len(planes.z) - 1) - first + 1
    row = np.repeat(np.arange(len(mass)), count)
    k = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count) + first[row]
    borders = np.clip(np.stack([planes.depth[k], planes.depth[k + 1]]), ends[0, row], ends[1, row])
    residual = whole[row] - np.abs(borders - depth[row]) / np.abs(lines.slope[row])
    energy = energy_of(residual, mass[row])
    loss = np.abs(energy[0] - energy[1])
    dedx = loss * 1e3 / np.maximum(np.abs(residual[0] - residual[1]) * 10 / card.density, 1e-3)  # MeV/mm
    at = lines.at(np.abs(planes.z[k] - lines.start_T4[row, 2]) / np.abs(lines.slope[row]), row)
    at[:, 2] = planes.z[k]
    light = loss * (1 + card.birks * card.mip_density) / (1 + card.birks * dedx)
    found = Deposits(lines.event[row], light, at, np.where(muon[row], MUON, TRACK))
    stop = np.interp(np.clip(depth + path * lines.slope, *planes.depth[[0, -1]]), planes.depth, planes.edge)
    end = lines.at(np.abs(stop - lines.start_T4[:, 2]) / np.abs(lines.slope), np.arange(len(mass)))
    left = np.where(whole > path, energy_of(whole - path, mass), 0.0)
    return found, Ends(left, end, collision <= np.minimum(whole, leaves), whole <= np.minimum(collision, leaves), count)


def debris(lines: Lines, ends: Ends, card: TrackerCard, rng: np.random.Generator) -> Deposits:
    """What is seen around the points where hadrons collided; a third of the pions is absorbed, with their mass."""
    hit = np.flatnonzero(ends.collides)
    absorbed = (np.abs(lines.pdg[hit]) < 1000) & (rng.random(len(hit)) < 1 / 3)
    seen = (ends.left[hit] + absorbed * PION) * np.clip(rng.normal(*card.rest_visible, len(hit)), 0.05, 1.1)
    return _spread(lines, hit, seen, ends.at_T4[hit], DEBRIS, card, rng)


def neutrals(lines: Lines, card: TrackerCard, rng: np.random.Generator) -> Deposits:
    """Neutral hadrons: the first two places where they give energy to protons, delayed by their speed."""
    rows, parts = np.arange(len(lines.event)), []
    way, left = np.zeros(len(rows)), lines.kinetic
    slowness = lines.p4_T4[:, 0] / np.maximum(np.linalg.norm(lines.p4_T4[:, 1:], axis=1), 1e-3) - 1
    for _ in range(2):
        way = way + card.neutron_length * rng.exponential(size=len(rows))
        energy = left * np.minimum(card.neutron_visible * rng.exponential(size=len(rows)), 1.0)
        at = lines.at(way, rows) + np.outer(way * slowness / LIGHT, [0, 0, 0, 1])
        parts.append(_spread(lines, rows, energy, at, NEUTRON, card, rng))
        left = (left - energy) * rng.random(len(rows))
    return joined(parts)


def showers(lines: Lines, card: TrackerCard, rng: np.random.Generator) -> Deposits:
    """Photons and electrons: quanta along the axis by a gamma profile in radiation lengths (PDG, passage of particles)."""
    planes, photon = card.planes, lines.pdg == 22
    begin = np.where(photon, 9 / 7 * rng.exponential(size=len(photon)), 0.0)
    number = np.clip(lines.p4_T4[:, 0] / card.shower_quantum, 1, 60).astype(np.int64)
    row = np.repeat(np.arange(len(photon)), number)
    peak = np.log(np.maximum(lines.p4_T4[:, 0], 1e-6) / _CRITICAL) + np.where(photon, 0.5, -0.5)
    depth = begin[row] + rng.gamma(1 + 0.5 * np.maximum(peak, 0.1)[row]) / 0.5
    radiation = np.interp(lines.start_T4[:, 2], planes.edge, planes.radiation)
    z = np.interp(radiation[row] + depth * lines.slope[row], planes.radiation, planes.edge, left=-1e9, right=1e9)
    at = lines.at(np.abs(z - lines.start_T4[row, 2]) / np.abs(lines.slope[row]), row)
    at += rng.normal(0, 15.0, (len(row), 4)) * [1, 1, 0, 0]
    at[:, 2] = z
    energy = (lines.p4_T4[:, 0] / number)[row] * rng.gamma(4.0, 0.25, len(row))
    return Deposits(lines.event[row], energy, at, np.full(len(row), SHOWER))


def overlay(vertex_N4: Array, card: TrackerCard, rng: np.random.Generator) -> Deposits:
    """Energy of other interactions and noise within the time of an event."""
    event = np.repeat(np.arange(len(vertex_N4)), rng.poisson(card.overlay_clusters, len(vertex_N4)))
    n, edge = len(event), card.planes.edge
    place = np.column_stack([rng.uniform(-0.8, 0.8, (n, 2)) * card.apothem, rng.uniform(edge[0], edge[-1], n)])
    at = np.column_stack([place, vertex_N4[event, 3] + rng.uniform(*card.window, n)])
    return Deposits(event, card.overlay_energy * rng.exponential(size=n), at, np.full(n, OVERLAY))


def fuzz(found: Deposits, card: TrackerCard, rng: np.random.Generator) -> Deposits:
    """Delta rays and cross-talk beside muons. found: the deposits of tracks."""
    beside = found.only((found.source == MUON) & (rng.random(len(found.event)) < card.fuzz_per_plane))
    n = len(beside.event)
    at = beside.at_T4 + rng.normal(0, 60.0, (n, 4)) * [1, 1, 0, 0]
    return replace(beside, at_T4=at, energy=card.fuzz_energy * rng.exponential(size=n), source=np.full(n, FUZZ))


@dataclass(frozen=True)
class Clusters:
    """Deposits of neighbouring strips of a plane together. deposits: energy is that of the scintillator [GeV], the place and
    source those of the largest. plane: its number. position: along the view's axis [mm].
    """

    deposits: Deposits
    plane: Array
    position: Array


def clusters(deposits: Deposits, card: TrackerCard, rng: np.random.Generator) -> tuple[Clusters, NDArray[np.float64]]:
    """The clusters, by rising event; and of each deposit the energy [GeV] that it leaves in the outer detector."""
    planes, place = card.planes, deposits.at_T4
    plane = np.searchsorted(planes.edge, place[:, 2], side="right") - 1
    inside_z = (plane >= 0) & (plane < len(planes.z))
    beyond = (np.abs(place[:, :2] @ SHAPE.T) > card.apothem).any(axis=1)
    kept = np.flatnonzero(inside_z & ~beyond)
    angle = VIEW_AXES[planes.view[plane[kept]]]
    position = place[kept, 0] * np.cos(angle) + place[kept, 1] * np.sin(angle)
    strips = np.floor(position / card.neighbours).astype(np.int64) + 128
    key = ((deposits.event[kept] * len(planes.z) + plane[kept]) * 2 + (deposits.source[kept] == MUON)) * 256 + strips
    order = np.lexsort((-deposits.energy[kept], key))
    _, first, index = np.unique(key[order], return_index=True, return_inverse=True)
    lead = order[first]
    loss = np.bincount(index, weights=deposits.energy[kept[order]], minlength=len(first))
    energy = loss / planes.constant[plane[kept[lead]]] * (1 + card.light_noise * rng.standard_normal(len(first)))
    lead, energy = lead[energy > card.threshold], energy[energy > card.threshold]
    found = deposits.only(kept[lead])
    at = found.at_T4 + rng.normal(0, [0, 0, 0, card.time_resolution], (len(lead), 4))
    at[:, 2] = planes.z[plane[kept[lead]]]
    measured = position[lead] + rng.normal(0, card.position_resolution, len(lead))
    outside = deposits.energy * (inside_z & beyond) * card.outer_share
    return Clusters(replace(found, energy=energy, at_T4=at), plane[kept[lead]], measured), outside


def _spread(
    lines: Lines, rows: Array, energy: Array, at_T4: Array, source: int, card: TrackerCard, rng: np.random.Generator
) -> Deposits:
    """Energies at points of lines, in a few random shares downstream of them."""
    row = np.repeat(np.arange(len(rows)), 1 + rng.poisson(np.minimum(energy / card.rest_quantum, 40.0)))
    share = rng.exponential(size=len(row))
    share /= np.maximum(np.bincount(row, weights=share, minlength=len(rows)), 1e-12)[row]
    reach = card.rest_reach * rng.exponential(size=len(row)) * (source == DEBRIS)
    way = reach[:, None] * (lines.unit_T3[rows[row]] + rng.normal(0, 0.5, (len(row), 3)))
    at = at_T4[row] + np.column_stack([way, reach / LIGHT])
    return Deposits(lines.event[rows[row]], energy[row] * share, at, np.full(len(row), source))


def _to_side(lines: Lines, card: TrackerCard) -> NDArray[np.float64]:
    """Way [mm] until a line leaves the hexagon."""
    towards = lines.unit_T3[:, :2] @ SHAPE.T
    gap = card.apothem - np.sign(towards) * (lines.start_T4[:, :2] @ SHAPE.T)
    return np.asarray((gap / np.maximum(np.abs(towards), 1e-6)).min(axis=1))
