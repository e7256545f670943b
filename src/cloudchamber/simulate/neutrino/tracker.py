"""A scintillator tracker's reconstruction of neutrino events: muon, prongs, photons, blobs, Michel electrons, recoil.

Efficiencies and resolutions, not hits that are fitted. What is chosen so that published means come out is marked in the card;
widths, delays and shares that stand in the code have no source but this model.
Left out: vertices in other materials, decays in flight, K0S and hyperons (neutral ones are like neutrons), MINOS itself.
"""

# N event, T object of any event

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino import deposits as energy_of_particles
from cloudchamber.simulate.neutrino.cascade import charge_and_baryon
from cloudchamber.simulate.neutrino.deposits import FUZZ, MUON, SHAPE, TRACK, Clusters, Deposits, Ends, Lines
from cloudchamber.simulate.neutrino.interactions import Interactions, Particles
from cloudchamber.simulate.neutrino.kinematics import MUON as MUON_MASS
from cloudchamber.simulate.neutrino.kinematics import PROTON, boost, square, two_body
from cloudchamber.simulate.neutrino.tracker_card import HCAL, MINERVA, NUCLEAR, VIEW_AXES, TrackerCard, energy_of, range_of

Array = NDArray[Any]

_SHOWER_MASS = 0.001  # GeV; the tuples give prongs of pid 13 this mass
_NUCLEI = 1_000_000_000


@dataclass(frozen=True)
class Prongs:
    """Tracks and showers. code: prong_part_pid. p4_T4: energy, px, py, pz. at_T4: x, y, z, t. dedx: MeV a plane, or NaN."""

    event: Array
    code: Array
    p4_T4: Array
    at_T4: Array
    dedx: Array


@dataclass(frozen=True)
class Response:
    """What is reconstructed, in the detector's frame: z along the detector, the beam tilted down. GeV, mm, ns.

    vertex_N4, true_vertex_N4: x, y, z, t. muon_N4: energy, px, py, pz if matched to MINOS, NaN without. muon_charge: (N,).
    photons_N24, photon_time_N2, photon_dedx_N2: of the pi0 fit, NaN without. michels: (N,). recoil_N5: passive-corrected
    energy off the muon in nuclear targets, tracker, ECAL, HCAL, outer detector. fuzz, isolated: (N,) beside the muon.
    blobs: neutron candidates; in one view (not blob_in_3d) on the axis that it measures. found: (N,) whether there is a
    vertex: a track long enough to begin one.
    """

    found: Array

    vertex_N4: Array
    true_vertex_N4: Array
    muon_N4: Array
    muon_charge: Array
    prongs: Prongs
    photons_N24: Array
    photon_time_N2: Array
    photon_dedx_N2: Array
    blobs: Deposits
    blob_in_3d: Array
    clusters: Clusters
    michels: Array
    recoil_N5: Array
    fuzz: Array
    isolated: Array


def respond(interactions: Interactions, final: Particles, rng: np.random.Generator, card: TrackerCard = MINERVA) -> Response:
    """The response to the final states of interactions, each in the tracker's fiducial volume."""
    size = len(interactions)
    vertex = _vertices(size, card, rng)
    true = _visible(interactions, final, card, rng)
    charge, _ = charge_and_baryon(true.pdg)
    code, hadron = np.abs(true.pdg), (np.abs(true.pdg) > 100) & (np.abs(true.pdg) < _NUCLEI)
    charged = Lines.of(true, (hadron & (charge != 0)) | (code == 13), vertex)
    showers = Lines.of(true, np.isin(code, (11, 22)), vertex)
    neutrals = Lines.of(true, hadron & (charge == 0), vertex)
    tracks, ends = energy_of_particles.tracks(charged, card, rng)
    parts = [
        tracks,
        energy_of_particles.debris(charged, ends, card, rng),
        energy_of_particles.showers(showers, card, rng),
        energy_of_particles.neutrals(neutrals, card, rng),
        energy_of_particles.overlay(vertex, card, rng),
        energy_of_particles.fuzz(tracks, card, rng),
    ]
    deposits = energy_of_particles.joined(parts)
    clusters, outside = energy_of_particles.clusters(deposits, card, rng)
    muon, muon_charge = _muons(charged, ends, size, card, rng)
    long = np.bincount(charged.event[ends.planes >= card.vertex_planes], minlength=size) > 0
    measured = vertex + rng.normal(0, [*[card.position_resolution] * 3, 1.0], (size, 4))
    recoil, fuzz = _recoil(clusters, size, card)
    recoil[:, 4] = _sum(deposits.event, outside * (deposits.source != MUON), size)
    has_muon = ~np.isnan(muon[:, 0])
    found = long & (has_muon | (rng.random(size) < card.no_muon_efficiency))
    prongs = _prongs(charged, ends, showers, measured, muon, card, rng)
    photons, photon_time, photon_dedx = _pi0(showers, charged, ends, size, card, rng)
    blobs, in_3d = _blobs(clusters, has_muon, card, rng)
    michels, isolated = _michels(charged, ends, size, card, rng), fuzz * 0.5 * rng.random(size)
    return Response(
        found, measured, vertex, muon, muon_charge, prongs, photons, photon_time, photon_dedx, blobs, in_3d, clusters, michels,
        recoil, fuzz, isolated,
    )  # fmt: skip


def to_detector(p4_T4: Array, card: TrackerCard = MINERVA) -> NDArray[np.float64]:
    """(T, 4) energies and momenta of the beam's frame, in the detector's."""
    cos, sin = np.cos(card.beam_tilt), np.sin(card.beam_tilt)
    e, x, y, z = p4_T4.T
    return np.stack([e, x, cos * y + sin * z, cos * z - sin * y], axis=1)


def _vertices(size: int, card: TrackerCard, rng: np.random.Generator) -> NDArray[np.float64]:
    low, high, apothem = card.fiducial
    corner, xy = apothem / np.cos(np.pi / 6), np.empty((0, 2))
    while len(xy) < size:
        new = rng.uniform(-corner, corner, (2 * size + 8, 2))
        xy = np.concatenate([xy, new[(np.abs(new @ SHAPE.T) < apothem).all(axis=1)]])
    return np.column_stack([xy[:size], rng.uniform(low, high, size), rng.uniform(*card.spill, size)])


def _visible(interactions: Interactions, final: Particles, card: TrackerCard, rng: np.random.Generator) -> Particles:
    """Charged leptons and final states in the detector's frame; pi0 and eta are two photons (its other decays left out)."""
    leptons = np.flatnonzero(~np.isin(np.abs(interactions.lepton_pdg), (12, 14, 16)))
    parents = np.isin(final.pdg, (111, 221))
    n = int(parents.sum())
    frame, none = final.p4_T4[parents], np.zeros(n)
    pairs = boost(two_body(np.sqrt(square(frame)), none, none, rng.uniform(-1, 1, n), rng), frame[:, None]).reshape(-1, 4)
    event = np.concatenate([leptons, final.event[~parents], np.repeat(final.event[parents], 2)])
    pdg = np.concatenate([interactions.lepton_pdg[leptons], final.pdg[~parents], np.full(2 * n, 22)])
    p4 = np.concatenate([interactions.lepton_N4[leptons], final.p4_T4[~parents], pairs])
    order = np.argsort(event, kind="stable")
    return Particles(event[order], pdg[order], to_detector(p4[order], card))


def _muons(
    lines: Lines, ends: Ends, size: int, card: TrackerCard, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 4) muons that reach MINOS, as measured there, and their charges; NaN and 0 for other events."""
    xy = ends.at_T4[:, :2] + lines.unit_T3[:, :2] * ((card.minos_z - ends.at_T4[:, 2]) / lines.slope)[:, None]
    reach = (np.abs(lines.pdg) == 13) & (ends.at_T4[:, 2] >= card.planes.edge[-1] - 1) & (ends.left > card.minos_energy)
    reach &= (np.linalg.norm(xy, axis=1) < card.minos_radius) & (rng.random(len(reach)) < card.minos_efficiency)
    rows = np.flatnonzero(reach)
    p = np.linalg.norm(lines.p4_T4[rows, 1:], axis=1)
    spread = np.where(p < card.range_limit, card.range_resolution, card.curvature_resolution)
    p = p * np.exp(spread * rng.standard_normal(len(p)))
    vector = p[:, None] * _turned(lines.unit_T3[rows], card.angle_resolution, rng)
    energy = np.sqrt((vector**2).sum(axis=1) + MUON_MASS**2)
    found, charge = np.full((size, 4), np.nan), np.zeros(size)
    found[lines.event[rows]] = np.column_stack([energy, vector])
    charge[lines.event[rows]] = -np.sign(lines.pdg[rows])
    return found, charge


def _prongs(
    charged: Lines, ends: Ends, showers: Lines, vertex: Array, muon: Array, card: TrackerCard, rng: np.random.Generator
) -> Prongs:
    """The lepton's prong first, of pid 3 if there is a muon, else unfilled; then tracks (8, or 0 unknown) and showers (13)."""
    size = len(vertex)
    tracked = (ends.planes >= card.track_planes) & (np.abs(charged.pdg) != 13)
    t = np.flatnonzero(tracked & (rng.random(len(tracked)) < card.track_efficiency))
    called = rng.random(len(t)) < np.where(charged.pdg[t] == 2212, *card.proton_call)
    mass = np.maximum(charged.p4_T4[t, 0] - charged.kinetic[t], MUON_MASS)
    length = range_of(charged.kinetic[t], mass) - range_of(ends.left[t], mass)
    kinetic = energy_of(length, np.full(len(t), PROTON)) * np.exp(card.proton_resolution * rng.standard_normal(len(t)))
    s = np.flatnonzero((showers.p4_T4[:, 0] > card.shower_energy) & (rng.random(len(showers.event)) < card.shower_efficiency))
    shower_energy = _smeared(showers.p4_T4[s, 0], card, rng) + _SHOWER_MASS
    energy = np.concatenate([np.where(called, kinetic + PROTON, 0.0), shower_energy])
    rest = np.concatenate([np.where(called, PROTON, 0.0), np.full(len(s), _SHOWER_MASS)])
    unit = _turned(np.concatenate([charged.unit_T3[t], showers.unit_T3[s]]), card.track_angle, rng)
    p4 = np.column_stack([energy, np.sqrt(np.maximum(energy**2 - rest**2, 0.0))[:, None] * unit])
    way = np.concatenate([np.zeros(len(t)), card.conversion * rng.exponential(size=len(s)) * (showers.pdg[s] == 22)])
    event = np.concatenate([charged.event[t], showers.event[s]])
    at = vertex[event] + np.column_stack([way[:, None] * unit, way / energy_of_particles.LIGHT])
    dedx = card.prong_dedx * np.exp(0.4 * rng.standard_normal(len(event)))
    dedx[: len(t)][~called | (rng.random(len(t)) > card.proton_dedx)] = np.nan
    has_muon = ~np.isnan(muon[:, 0])
    event = np.concatenate([np.arange(size), event])
    order = np.argsort(event, kind="stable")
    code = np.concatenate([np.where(has_muon, 3, -999), np.where(called, 8, 0), np.full(len(s), 13)])
    p4, at = np.concatenate([np.nan_to_num(muon), p4])[order], np.concatenate([vertex, at])[order]
    return Prongs(event[order], code[order], p4, at, np.concatenate([np.full(size, np.nan), dedx])[order])


def _pi0(
    showers: Lines, charged: Lines, ends: Ends, size: int, card: TrackerCard, rng: np.random.Generator
) -> tuple[Array, Array, Array]:
    """The two hardest photons of an event, measured; debris of hadrons may pass as one. NaN in events without two."""
    fake = np.flatnonzero(ends.collides & (rng.random(len(ends.left)) < card.photon_fake))
    photon = np.flatnonzero((showers.pdg == 22) & (rng.random(len(showers.pdg)) < card.photon_seen))
    event = np.concatenate([showers.event[photon], charged.event[fake]])
    true = np.concatenate([showers.p4_T4[photon, 0], ends.left[fake] * card.rest_visible[0]])
    unit = np.concatenate([showers.unit_T3[photon], charged.unit_T3[fake]])
    start = np.concatenate([showers.start_T4[photon, 3], charged.start_T4[fake, 3]])
    seen = np.flatnonzero(true > card.photon_energy)
    order = seen[np.lexsort((-true[seen], event[seen]))]
    counts = np.bincount(event[order], minlength=size)
    events = np.flatnonzero((counts >= 2) & (rng.random(size) < card.photon_efficiency))
    begin, first = (np.cumsum(counts) - counts)[events], rng.random(len(events)) < card.photon_swap
    pair = order[np.stack([begin + first, begin + 1 - first])].ravel()  # the harder mostly comes first
    energy = _smeared(true[pair], card, rng)
    p4 = np.column_stack([energy, energy[:, None] * _turned(unit[pair], card.photon_angle, rng)])
    time = start[pair] + rng.normal(2.0, card.time_resolution, len(pair))
    dedx = 2 * card.prong_dedx * np.exp(0.4 * rng.standard_normal(len(pair)))
    photons, others = np.full((size, 2, 4), np.nan), np.full((2, size, 2), np.nan)
    photons[events] = p4.reshape(2, -1, 4).swapaxes(0, 1)
    others[0, events], others[1, events] = time.reshape(2, -1).T, dedx.reshape(2, -1).T
    return photons, others[0], others[1]


def _michels(lines: Lines, ends: Ends, size: int, card: TrackerCard, rng: np.random.Generator) -> NDArray[np.int64]:
    """Electrons of stopped mu, of pi+ and K+ that stop, also after a collision; pi- are captured."""
    plus = np.isin(lines.pdg, (211, 321))
    stopped = (plus | (np.abs(lines.pdg) == 13)) & ends.stays
    chance = card.michel_efficiency * (stopped + card.michel_after * (plus & ends.collides))
    found = lines.event[rng.random(len(chance)) < chance]
    return np.bincount(found, minlength=size) + rng.poisson(card.michel_noise, size)


def _recoil(found: Clusters, size: int, card: TrackerCard) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N, 5) passive-corrected energy off the muon, the last column still 0; and (N,) the fuzz in it."""
    deposits, subdetector = found.deposits, card.planes.subdet[found.plane]
    energy = deposits.energy * card.planes.constant[found.plane] * (deposits.source != MUON)
    sums = [_sum(deposits.event, energy * (subdetector == s), size) for s in range(NUCLEAR, HCAL + 1)]
    return np.stack([*sums, np.zeros(size)], axis=1), _sum(deposits.event, energy * (deposits.source == FUZZ), size)


def _blobs(found: Clusters, has_muon: Array, card: TrackerCard, rng: np.random.Generator) -> tuple[Deposits, Array]:
    """Clusters off the tracks, in events with a muon (in the real files a third has none, as many as lack a muon)."""
    d = found.deposits
    off = ~np.isin(d.source, (MUON, TRACK)) & has_muon[d.event] & (rng.random(len(d.event)) < card.blob_share)
    kept, axis = d.only(off), VIEW_AXES[card.planes.view[found.plane[off]]]
    in_3d, u = rng.random(len(axis)) < card.blob_3d, found.position[off]
    line = np.column_stack([u * np.cos(axis), u * np.sin(axis), kept.at_T4[:, 2:]])
    return replace(kept, at_T4=np.where(in_3d[:, None], kept.at_T4, line)), in_3d


def _smeared(energy: Array, card: TrackerCard, rng: np.random.Generator) -> NDArray[np.float64]:
    constant, stochastic = card.photon_resolution
    spread = np.hypot(constant, stochastic / np.sqrt(np.maximum(energy, 1e-3)))
    return np.asarray(energy * np.exp(spread * rng.standard_normal(len(energy))))


def _turned(unit_T3: Array, spread: float, rng: np.random.Generator) -> NDArray[np.float64]:
    turned = unit_T3 + rng.normal(0, spread, unit_T3.shape)
    return np.asarray(turned / np.linalg.norm(turned, axis=1)[:, None])


def _sum(event: Array, values: Array, size: int) -> NDArray[np.float64]:
    return np.bincount(event, weights=values, minlength=size).astype(np.float64)
