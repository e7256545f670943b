"""Intranuclear cascade: pions and nucleons on their way out of carbon, all particles of all events in steps of length.

What is approximate: free cross-sections on nucleons of a local Fermi gas without a potential, so that the Delta has no
width of the medium; each nucleon taken out costs the same energy; one pion at a time is produced; absorption is on pairs,
its rate set by two numbers that were chosen by the measured absorption of pi+; nothing evaporates from the remnant.
"""

# N event, T moving particle, H collision, 3 product

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino import kinematics as kin
from cloudchamber.simulate.neutrino import scattering as two
from cloudchamber.simulate.neutrino.initial import REMOVAL, density
from cloudchamber.simulate.neutrino.interactions import COH, DIS, Interactions, Particles

Array = NDArray[Any]

STEP, EDGE = 0.25, 6.0  # fm: length of a step; beyond it there is no nucleus
_HBAR_C = 0.1973269804  # GeV fm
_FORMATION = 0.342  # fm/c (SKAT, as in GENIE, arXiv:1510.05494): DIS hadrons move p/m times it before they can collide
_AT_REST = np.array([kin.CARBON, 0.0, 0.0, 0.0])
# Absorption: on nucleons over that on deuterons, and by how much a bound pair's is shifted [GeV]. Both chosen (see above).
_PAIRS, _PAIR_SHIFT = 3.2, 0.025
_LIKE = 0.1  # share of absorptions on nn by pi+ (pp by pi-); ours, after 3He data (not checked against a second source)
_NUCLEUS = 1_000_000_000


@dataclass(frozen=True)
class Scattering:
    """What came of beam particles. particles: the final state, each particle's own event. interacted: (N,).

    area: mb; a share of the beam times it is a cross-section.
    """

    particles: Particles
    interacted: NDArray[np.bool_]
    area: float


def cascade(interactions: Interactions, rng: np.random.Generator) -> Particles:
    """The final state of neutrino interactions on carbon, ordered by event: hadrons, then what is left of the nucleus.

    Pions and nucleons may collide on their way out, other hadrons leave freely, as do those of coherent events. Energy,
    momentum, charge and baryon number of an event are those of neutrino, nucleus at rest and lepton: the remnant (PDG code of
    a nucleus, or of its last nucleon) takes the difference, so that its mass may be off by what the interaction was off.
    """
    hadrons, size = interactions.hadrons, len(interactions)
    lepton_charge, _ = charge_and_baryon(interactions.lepton_pdg)
    initial = np.column_stack([6 - lepton_charge, np.full(size, 12)])
    charge, baryon = charge_and_baryon(hadrons.pdg)
    left = initial - _sums(hadrons.event, np.stack([charge, baryon], axis=1), size)
    wait = np.where(interactions.kind[hadrons.event] == DIS, _formation_length(hadrons), 0.0)
    wait = np.where(interactions.kind[hadrons.event] == COH, np.inf, wait)
    place = interactions.radius[:, None] * kin.direction(rng.uniform(-1, 1, size), rng)
    moving = _Moving(hadrons.event, hadrons.pdg, hadrons.p4_T4, place[hadrons.event], wait)
    final, _ = _transport(moving, left, rng)
    energy = interactions.neutrino_N4 - interactions.lepton_N4 + _AT_REST
    return _with_remnant(final, initial, energy)


def scatter(pdg: int, momentum: float, n: int, rng: np.random.Generator) -> Scattering:
    """n particles of a code and momentum [GeV] along z, evenly over the nucleus. Without elastic scattering as a whole."""
    angle, b = 2 * np.pi * rng.random(n), EDGE * np.sqrt(rng.random(n))
    at = np.stack([b * np.cos(angle), b * np.sin(angle), -np.sqrt(EDGE**2 - b**2)], axis=1)
    codes = np.full(n, pdg)
    p4 = np.tile([np.hypot(momentum, kin.mass_of(codes[:1])[0]), 0.0, 0.0, momentum], (n, 1))
    charge, baryon = charge_and_baryon(codes)
    final, interacted = _transport(_Moving(np.arange(n), codes, p4, at, np.zeros(n)), np.tile([6, 12], (n, 1)), rng)
    initial = np.column_stack([6 + charge, 12 + baryon])
    return Scattering(_with_remnant(final, initial, p4 + _AT_REST), interacted, np.pi * EDGE**2 * 10)


def charge_and_baryon(pdg: Array) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Charge [e] and baryon number of leptons, hadrons and nuclei, by the digits of their PDG codes.

    >>> charge_and_baryon(np.array([-211, 3122, 13, 1000060120]))
    (array([-1,  0, -1,  6]), array([ 0,  1,  0, 12]))
    """
    size, sign = np.abs(pdg), np.sign(pdg)
    q1, q2, q3 = (size // place % 10 for place in (1000, 100, 10))
    thirds = np.array([0, -1, 2, -1, 2, -1, 2, 0, 0, 0])  # of quarks d u s c b t
    meson = np.where(q2 % 2 == 0, thirds[q2] - thirds[q3], thirds[q3] - thirds[q2])  # the heavier is the quark if up-type
    third = np.where(q1 > 0, thirds[q1] + thirds[q2] + thirds[q3], np.where(q2 > 0, meson, 0))
    lepton = np.isin(size, (11, 13, 15))
    charge = np.select([size >= _NUCLEUS, lepton], [size // 10_000 % 1000, -1], third // 3)
    baryon = np.select([size >= _NUCLEUS, q1 > 0], [size // 10 % 1000, 1], 0)
    return charge * sign, baryon * sign


@dataclass(frozen=True)
class _Moving:
    """Particles inside the nucleus. at_T3, wait: position and the way [fm] before they can collide."""

    event: Array
    pdg: Array
    p4_T4: Array
    at_T3: Array
    wait: Array

    def only(self, keep: Array) -> _Moving:
        return _Moving(*(getattr(self, f.name)[keep] for f in fields(self)))

    def joined(self, other: _Moving) -> _Moving:
        return _Moving(*(np.concatenate([getattr(x, f.name) for x in (self, other)]) for f in fields(self)))


def _transport(moving: _Moving, left_N2: Array, rng: np.random.Generator) -> tuple[Particles, NDArray[np.bool_]]:
    """The particles when all have left, and whether any collided. left_N2: charge and nucleons of the remnants; changed."""
    interacted, done = np.zeros(len(left_N2), dtype=np.bool_), []
    collides = np.isin(moving.pdg, (two.PROTON, two.NEUTRON, two.PIPLUS, -two.PIPLUS, two.PIZERO)) & np.isfinite(moving.wait)
    done.append(moving.only(~collides))
    moving = moving.only(collides)
    while len(moving.event):
        p = np.linalg.norm(moving.p4_T4[:, 1:], axis=1)
        at = moving.at_T3 + STEP * moving.p4_T4[:, 1:] / np.maximum(p, 1e-9)[:, None]
        moving = _Moving(moving.event, moving.pdg, moving.p4_T4, at, moving.wait - STEP)
        inside = ((at**2).sum(axis=1) < EDGE**2) | ((at * moving.p4_T4[:, 1:]).sum(axis=1) < 0)
        inside &= p > 0
        done.append(moving.only(~inside))
        moving = _step(moving.only(inside), left_N2, interacted, rng)
    event, pdg, p4 = (np.concatenate([getattr(d, n) for d in done]) for n in ("event", "pdg", "p4_T4"))
    order = np.argsort(event, kind="stable")
    return Particles(event[order], pdg[order], p4[order]), interacted


def _step(moving: _Moving, left_N2: Array, interacted_N: Array, rng: np.random.Generator) -> _Moving:
    """The particles after what happens to them within one step."""
    ready = np.flatnonzero(moving.wait <= 0)
    rho = density(np.linalg.norm(moving.at_T3[ready], axis=1))
    fermi = _HBAR_C * np.cbrt(1.5 * np.pi**2 * rho)
    target, pion = _bound(fermi, rng), np.abs(moving.pdg[ready]) < 1000
    total = moving.p4_T4[ready] + target
    # The cross-section is that on a free nucleon of this momentum: a Delta is bound as the nucleon is.
    sqrt_s = np.sqrt(kin.square(moving.p4_T4[ready] + kin.on_shell(kin.NUCLEON, target[:, 1:])))
    left = left_N2[moving.event[ready]]
    there = np.stack([left[:, 0], left[:, 1] - left[:, 0]], axis=1) * (rho / 12)[:, None]  # protons and neutrons per fm3
    kinetic = moving.p4_T4[ready, 0] - kin.mass_of(moving.pdg[ready])
    pairs = _PAIRS * pion * two.deuteron_absorption(kinetic - _PAIR_SHIFT) * rho * (left[:, 1] / 12) ** 2
    rates = np.column_stack([(two.cross_sections(moving.pdg[ready], sqrt_s) * there[:, :, None]).reshape(-1, 6), pairs])
    cumulative = rates.cumsum(axis=1)
    hit = np.flatnonzero(rng.random(len(ready)) > np.exp(-STEP * cumulative[:, -1]))
    channel = (cumulative[hit] < (rng.random(len(hit)) * cumulative[hit, -1])[:, None]).sum(axis=1)
    rows = ready[hit]
    pdg, p4 = _products(moving.only(rows), channel, total[hit], fermi[hit], rng)
    slow = np.isin(pdg, (two.PROTON, two.NEUTRON)) & ((p4[:, :, 1:] ** 2).sum(axis=2) < fermi[hit, None] ** 2)
    happens = (pdg > -_NUCLEUS).all(axis=1) & ~slow.any(axis=1)
    happens &= _afford(moving.event[rows], moving.pdg[rows], pdg, happens, left_N2)
    rows, pdg, p4 = rows[happens], pdg[happens], p4[happens]
    interacted_N[moving.event[rows]] = True
    stays = np.ones(len(moving.event), dtype=np.bool_)
    stays[rows] = False
    made = np.flatnonzero(pdg.ravel())
    parent = rows[made // 3]
    new = _Moving(moving.event[parent], pdg.ravel()[made], p4.reshape(-1, 4)[made], moving.at_T3[parent], np.zeros(len(made)))
    return moving.only(stays).joined(new)


def _bound(fermi_T: Array, rng: np.random.Generator) -> NDArray[np.float64]:
    """(T, 4) nucleons of the local Fermi sea, less what it takes to remove them."""
    n = len(fermi_T)
    p = (fermi_T * np.cbrt(rng.random(n)))[:, None] * kin.direction(rng.uniform(-1, 1, n), rng)
    return np.column_stack([np.full(n, kin.NUCLEON - REMOVAL), p])


def _products(
    hit: _Moving, channel_H: Array, total_H4: Array, fermi_H: Array, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """(H, 3) codes, 0 for none, and (H, 3, 4) momenta; -_NUCLEUS where there is not enough energy."""
    n, pion = len(channel_H), np.abs(hit.pdg) < 1000
    charge, _ = charge_and_baryon(hit.pdg)
    absorbed, inelastic = channel_H == 6, channel_H % 3 == 2
    on = (channel_H < 3).astype(np.int64)  # charge of the struck nucleon
    on_other = np.where(channel_H % 3 == 1, 1 - on, on)
    meson = np.where(charge + on - on_other == 0, two.PIZERO, two.PIPLUS * (charge + on - on_other))
    pdg = np.stack([np.where(pion, meson, hit.pdg), two.NEUTRON + 100 * on_other, np.zeros(n, dtype=np.int64)], axis=1)
    pdg[inelastic] = two.three_body_codes((charge + on)[inelastic], pion[inelastic], rng)
    pair = np.where(rng.random(n) < _LIKE, 1 - charge, 1)  # charge of the absorbing pair: np, or nn for pi+, pp for pi-
    pdg[absorbed, :2] = two.NEUTRON + 100 * np.stack([pair + charge > 0, pair + charge > 1], axis=1)[absorbed]
    total = total_H4 + absorbed[:, None] * _bound(fermi_H, rng)
    sqrt_s, mass = np.sqrt(np.maximum(kin.square(total), 1e-6)), kin.mass_of(pdg)
    closed = sqrt_s <= mass.sum(axis=1)
    cos = two.cos_theta(pion, sqrt_s, kin.momentum(sqrt_s, mass[:, 0], mass[:, 1]), rng)
    cos = np.where(absorbed, rng.uniform(-1, 1, n), cos)
    p4 = np.zeros((n, 3, 4))
    axis = kin.into_rest(hit.p4_T4, total)[:, None, 1:]
    p4[:, :2] = kin.boost(kin.turn(kin.two_body(sqrt_s, mass[:, 0], mass[:, 1], cos, rng), axis), total[:, None])
    three = np.flatnonzero(inelastic & ~closed)
    p4[three] = kin.boost(kin.phase_space(sqrt_s[three], mass[three], rng), total[three, None])
    pdg[closed] = -_NUCLEUS
    return pdg, p4


def _afford(event: Array, before: Array, pdg_H3: Array, happens: Array, left_N2: Array) -> NDArray[np.bool_]:
    """(H,) collisions whose nucleons the remnant has; all those of an event or none. Takes them out of left_N2."""
    event, before, pdg = event[happens], before[happens], pdg_H3[happens]
    taken = np.stack(charge_and_baryon(pdg), axis=2).sum(axis=1) - np.stack(charge_and_baryon(before), axis=1)
    events, index = np.unique(event, return_inverse=True)
    after = left_N2[events] - _sums(index, taken, len(events))
    possible = (after[:, 0] >= 0) & (after[:, 0] <= after[:, 1])
    left_N2[events[possible]] = after[possible]
    found = np.zeros(len(happens), dtype=np.bool_)
    found[happens] = possible[index]
    return found


def _with_remnant(final: Particles, initial_N2: Array, p4_N4: Array) -> Particles:
    size = len(initial_N2)
    charge, baryon = charge_and_baryon(final.pdg)
    z, a = (initial_N2 - _sums(final.event, np.stack([charge, baryon], axis=1), size)).T
    rest = p4_N4 - _sums(final.event, final.p4_T4, size)
    code = np.where(a > 1, _NUCLEUS + 10_000 * z + 10 * a, two.NEUTRON + 100 * z)
    rows = np.flatnonzero(a > 0)
    event = np.concatenate([final.event, rows])
    order = np.argsort(event, kind="stable")
    pdg, p4 = np.concatenate([final.pdg, code[rows]]), np.concatenate([final.p4_T4, rest[rows]])
    return Particles(event[order], pdg[order], p4[order])


def _formation_length(hadrons: Particles) -> NDArray[np.float64]:
    square = (hadrons.p4_T4[:, 1:] ** 2).sum(axis=1)
    mass = np.sqrt(np.maximum(hadrons.p4_T4[:, 0] ** 2 - square, 1e-4))  # a photon does not collide anyway
    return np.asarray(_FORMATION * np.sqrt(square) / mass)


def _sums(event: Array, values_TK: Array, size: int) -> Array:
    """(N, K) sums over the particles of each event."""
    total = np.stack([np.bincount(event, weights=v, minlength=size) for v in values_TK.T], axis=1)
    return total.astype(values_TK.dtype) if values_TK.dtype.kind == "i" else total
