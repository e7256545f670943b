"""Neutrino interactions on carbon or hydrogen: a flux in, unweighted events out, up to the hadrons that leave the vertex."""

# N trial or event, K energy interval of the tables, B bin of the flux

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput, CloudchamberError
from cloudchamber.simulate.neutrino import coherent, hadrons, inelastic, initial, quasielastic, resonance
from cloudchamber.simulate.neutrino.initial import Flux
from cloudchamber.simulate.neutrino.interactions import COH, DIS, MEC, QE, RES, Interactions, Particles
from cloudchamber.simulate.neutrino.kinematics import (
    CARBON,
    MUON,
    NEUTRON,
    NUCLEON,
    PROTON,
    Array,
    boost,
    direction,
    into_rest,
    momentum,
    on_shell,
    square,
    turn,
    two_body,
)
from cloudchamber.simulate.neutrino.tables import Tables, between, isospin_factors, tables

ENERGIES = (0.3, 100.0)  # GeV; made for 0.5 to 20
_FREE = {"C": 0, "p": 2212, "n": 2112}
_TRIALS = 60_000  # a round; part of the definition of a seed's events
_FASTEST = (
    np.sqrt(NUCLEON**2 + initial.TAIL_END**2) + initial.TAIL_END
) / NUCLEON  # energy in a nucleon's frame over that outside
_NEUTRON_PROTON = 0.75  # of the pairs; 70 to 80 %, as electrons knock them out: R. Subedi et al., doi:10.1126/science.1156675
# What is left of the deep inelastic model below W = 1.7 GeV, N pi by charge, where resonances are (GENIE config/CommonParam.xml),
# times the fit to deuterium of P. Rodrigues, C. Wilkinson, K. McFarland, arXiv:1601.01888.
_BACKGROUND_STRETCHED, _BACKGROUND = 0.10 * 0.43, 0.30 * 0.43


def generate(n: int, flux: Flux, *, seed: int = 0, neutral: bool = True, target: Literal["C", "p", "n"] = "C") -> Interactions:
    """n unweighted interactions of the neutrinos of a flux, the same for the same arguments.

    neutral: neutral currents as well; those of pairs of nucleons are left out. target: a carbon nucleus, or one free nucleon.
    Raises BadInput for an impossible argument, MissingExtra without Pythia, CloudchamberError if nothing can happen.
    """
    _check(n, flux, target)
    rng = np.random.default_rng(seed)
    source = _Source.of(flux, neutral, target)
    pythia = hadrons.start_pythia(int(rng.integers(2**31)))
    rounds: list[Interactions] = []
    tried = made = 0
    trials = min(_TRIALS, 1000 + 8 * n)
    while made < n:
        rounds.append(_round(source, trials, pythia, rng))
        tried, made = tried + trials, made + len(rounds[-1])
        if not made and tried > 100 * _TRIALS:
            raise CloudchamberError(f"no interaction in {tried} trials; is the flux above the threshold?")
    return _joined(rounds, n, source.scale * made / tried)


@dataclass(frozen=True)
class _Source:
    """What trials are drawn from. bound_B: above the cross-section per nucleon [cm2]; coherent_B: the part of pions, in bins."""

    flux: Flux
    target: str
    neutral: bool
    tables: Tables
    contents_B: NDArray[np.float64]
    bound_B: NDArray[np.float64]
    coherent: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @classmethod
    def of(cls, flux: Flux, neutral: bool, target: str) -> _Source:
        free = _FREE[target]
        fastest = 1.0 if free else _FASTEST
        own = tables(flux.pdg < 0, neutral, free, float(flux.edges[-1] * fastest))
        k = np.minimum(np.searchsorted(own.energies_K, flux.edges[1:] * fastest), len(own.energies_K) - 1)
        # Relative velocity: at most twice, for nucleons that come the neutrino's way, less for those of the tail.
        speed = 1.0 if free else 1 + initial.TAIL_END / np.sqrt(NUCLEON**2 + initial.TAIL_END**2)
        grid = np.geomspace(0.3, max(float(flux.edges[-1]), 0.31), 40)
        pions = [coherent.cross_section(grid, charged=c) / 12 * (not free and (c or neutral)) for c in (True, False)]
        bound = speed * np.maximum.accumulate(own.totals_K)[k] + np.interp(flux.edges[1:], grid, pions[0] + pions[1])
        return cls(flux, target, neutral, own, flux.contents_B, bound, (grid, pions[0], pions[1]))

    @property
    def scale(self) -> float:
        return float((self.contents_B * self.bound_B).sum())


@dataclass(frozen=True)
class _Struck:
    """Rows of incoherent interactions before their hadrons: what the neutrino, the nucleon and the lepton do."""

    energy: Array
    rest_energy: Array
    nucleon_N4: Array
    lepton_N4: Array
    kind: NDArray[np.int64]
    nucleon: NDArray[np.int64]
    charged: NDArray[np.bool_]
    cell: NDArray[np.int64]
    w: Array
    q2: Array

    def __getitem__(self, rows: Any) -> _Struck:
        return _Struck(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.energy)


def _round(source: _Source, trials: int, pythia: Any, rng: np.random.Generator) -> Interactions:
    """What becomes of some trials."""
    share = np.cumsum(source.contents_B * source.bound_B)
    b = np.minimum(np.searchsorted(share, rng.random(trials) * share[-1], side="right"), len(share) - 1)
    low, high = source.flux.edges[b], source.flux.edges[b + 1]
    energy = low + (high - low) * rng.random(trials)
    u = rng.random(trials) * source.bound_B[b]
    grid, charged, neutral = source.coherent
    by_pion, by_pion0 = np.interp(energy, grid, charged), np.interp(energy, grid, neutral)
    pion = u < by_pion + by_pion0
    parts = [_coherent(source, energy[pion], u[pion] < by_pion[pion], rng)]
    parts.append(_incoherent(source, energy[~pion], (u - by_pion - by_pion0)[~pion], pythia, rng))
    whole = _joined(parts, None, float("nan"))
    order = rng.permutation(len(whole))
    return _rows(whole, order)


def _incoherent(source: _Source, energy: Array, u: Array, pythia: Any, rng: np.random.Generator) -> Interactions:
    """Interactions with a nucleon or a pair among trials that have drawn u under the bound of their bin."""
    own, free = source.tables, _FREE[source.target]
    n = len(energy)
    nucleon = initial.nucleons(n, rng) if not free else np.tile([PROTON if free == 2212 else NEUTRON, 0.0, 0.0, 0.0], (n, 1))
    flow = energy * (nucleon[:, 0] - nucleon[:, 3])
    rest = (square(nucleon) + 2 * flow - NUCLEON**2) / (2 * NUCLEON)
    k = np.searchsorted(own.energies_K, rest)
    possible = (rest > 0.01) & (k < len(own.energies_K))
    total = own.totals_K[np.minimum(k, len(own.energies_K) - 1)] * flow / (energy * nucleon[:, 0])
    kept = np.flatnonzero(possible & (u < total))
    energy, nucleon, rest, k = energy[kept], nucleon[kept], rest[kept], k[kept]
    cell, w, q2 = own.draw(k, rng)
    kind, code, charged = (
        np.array([getattr(c, name) for c in own.channels])[own.channel_C[cell]] for name in ("kind", "nucleon", "charged")
    )
    w = np.where(kind == QE, np.where((code == 2112) ^ charged, NEUTRON, PROTON), w)
    lepton, inside = _scatter(energy, nucleon, w, q2, np.where(charged, MUON, 0.0), rng)
    value = own.values(rest, cell, w, q2) * (0.5 if not free else 1.0)
    value *= np.where((kind == QE) & charged & (not free), quasielastic.rpa(q2), 1.0)
    inside &= rng.random(len(w)) * own.bound_KC[k, cell] < value
    struck = _Struck(energy, rest, nucleon, lepton, kind, code, charged, cell, w, q2)[inside]
    return _with_hadrons(source, struck, pythia, rng)


def _scatter(
    energy: Array, nucleon: Array, w: Array, q2: Array, lepton: Array, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """(N, 4) leptons, and whether there can be one.

    The angle in the rest frame of neutrino and nucleon is that of a free nucleon with the same invariant mass and Q^2. So a
    bound nucleon's lack of energy is shared by lepton and hadrons, and four-momentum is conserved.
    """
    beam = np.stack([energy, 0 * energy, 0 * energy, energy], axis=1)
    both = beam + nucleon
    s = square(both)
    root = np.sqrt(s)
    inside = root > w + lepton
    l_p = momentum(root, w, lepton)
    l_energy = np.sqrt(l_p**2 + lepton**2)
    free = (s - NUCLEON**2) / (2 * root)
    cosine = (l_energy - (q2 + lepton**2) / (2 * free)) / np.maximum(l_p, 1e-12)
    inside &= np.abs(cosine) <= 1
    vector = l_p[:, None] * direction(np.clip(cosine, -1, 1), rng)
    return boost(turn(on_shell(lepton, vector), into_rest(beam, both)[:, 1:]), both), inside


def _with_hadrons(source: _Source, struck: _Struck, pythia: Any, rng: np.random.Generator) -> Interactions:
    """Interactions with hadrons, without those that Pauli or the resonances' share of the background forbid."""
    n = len(struck)
    anti, free = source.flux.pdg < 0, _FREE[source.target]
    partner = initial.nucleons(n, rng) if not free else np.zeros((n, 4))
    mec = struck.kind == MEC
    partner_code = np.where(rng.random(n) < _NEUTRON_PROTON, 4324 - struck.nucleon, struck.nucleon)
    target = struck.nucleon_N4 + np.where(mec[:, None], partner, 0.0)
    beam = np.stack([struck.energy, 0 * struck.energy, 0 * struck.energy, struck.energy], axis=1)
    system = beam + target - struck.lepton_N4
    w = np.sqrt(np.maximum(square(system), 1e-6))
    unit = (-1 if anti else 1) * struck.charged
    charge = (struck.nucleon == 2212) + unit
    parts, alive = _in_rest_frame(source, struck, w, charge, pythia, rng)
    after = np.where(struck.nucleon == 2212, 2112, 2212)  # a pair exists for charged currents alone
    pairs = np.flatnonzero(mec & (w > 2 * NEUTRON))
    codes = np.stack([after, partner_code], axis=1)[pairs]
    masses = np.where(codes == 2212, PROTON, NEUTRON)
    parts.append((pairs, codes, two_body(w[pairs], masses[:, 0], masses[:, 1], rng.uniform(-1, 1, len(pairs)), rng)))
    alive &= ~mec | (w > 2 * NEUTRON)
    flat = hadrons.join(parts)
    axis = into_rest(beam - struck.lepton_N4, system)[:, 1:]
    p4 = boost(turn(flat.p4_T4, axis[flat.event]), system[flat.event])
    alone = np.flatnonzero(struck.kind == QE)
    outgoing = np.where(charge[alone] == 1, 2212, 2112)
    flat = hadrons.join([(flat.event, flat.pdg[:, None], p4[:, None]), (alone, outgoing[:, None], system[alone, None])])
    if not free:
        alive &= ~initial.pauli_blocked(flat, n)
    pair_code = 2000000200 + (struck.nucleon == 2212) + (partner_code == 2212)
    return _rows(
        Interactions(
            neutrino_pdg=np.full(n, source.flux.pdg),
            neutrino_N4=beam,
            lepton_pdg=np.where(struck.charged, np.sign(source.flux.pdg) * 13, source.flux.pdg),
            lepton_N4=struck.lepton_N4,
            charged_current=struck.charged,
            kind=struck.kind,
            nucleon=np.where(mec, pair_code, struck.nucleon),
            hadrons=flat,
            radius=initial.radii(n, rng) if not free else np.zeros(n),
            weight=np.ones(n),
            nucleon_N4=target,
        ),
        np.flatnonzero(alive),
    )


def _in_rest_frame(
    source: _Source, struck: _Struck, w: Array, charge: NDArray[np.int64], pythia: Any, rng: np.random.Generator
) -> tuple[list[Any], NDArray[np.bool_]]:
    """Hadrons of resonances and of deep inelastic scattering with the momentum transfer along z, and which events stay."""
    anti, own = source.flux.pdg < 0, source.tables
    alive = np.ones(len(w), dtype=bool)
    parts: list[Any] = []
    for now in (True, False):
        rows = np.flatnonzero((struck.kind == RES) & (struck.charged == now))
        mine = struck[rows]
        which, three_half = _resonance(mine, charge[rows], now, anti, rng)
        found = hadrons.resonance_decays(w[rows], charge[rows], which, three_half, rng)
        parts += [(rows[i], codes, p4) for i, codes, p4 in found]
    rows = np.flatnonzero(struck.kind == DIS)
    multiplicity = hadrons.multiplicities(w[rows], charge[rows], anti, rng)
    stretched = (charge[rows] == 2) | (charge[rows] == -1)
    background = np.where(stretched, _BACKGROUND_STRETCHED, _BACKGROUND)
    single = (struck.w[rows] < resonance.W_CUT) & (multiplicity == 2)
    alive[rows] = ~single | (rng.random(len(rows)) < background)
    low, high = hadrons.STRINGS
    string = alive[rows] & (rng.random(len(rows)) * (high - low) + low < w[rows])
    gas = alive[rows] & ~string
    parts += hadrons.cluster(rows[gas], w[rows[gas]], charge[rows[gas]], multiplicity[gas], rng)
    rows = rows[string]
    mine = struck[rows]
    charm = np.zeros(len(rows), dtype=bool)
    for h, channel in enumerate(own.channels):
        here = np.flatnonzero((own.channel_C[mine.cell] == h) & (mine.w > inelastic.CHARM_W) & (not anti))
        cell = mine.cell[here]
        if channel.kind == DIS and len(here):
            share = between(channel.charm_WQ, own.w_C[cell], own.q_C[cell], mine.w[here], mine.q2[here])
            charm[here] = rng.random(len(here)) < share
    ends = hadrons.string_ends(charge[rows], mine.charged, charm, rng)
    return parts + hadrons.strings(pythia, rows, w[rows], ends), alive


def _resonance(
    struck: _Struck, charge: NDArray[np.int64], charged: bool, anti: bool, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Array]:
    """Index in RESONANCES, and the probability of helicity 3/2."""
    w, q2, energy = struck.w, struck.q2, struck.rest_energy
    stretched = charged & ((charge == 2) | (charge == -1))
    factor_RN = np.where(stretched, isospin_factors(True)[:, None], isospin_factors(False)[:, None])
    strengths = resonance.helicities(w, q2, charged=charged)
    f = resonance.structure(strengths, w, q2, charged=charged)
    share = np.cumsum(factor_RN * inelastic.cross_section(energy, w, q2, f, anti=anti, charged=charged), axis=0)
    which = np.minimum((rng.random(len(w)) * share[-1] > share).sum(axis=0), len(share) - 1)
    nu = (w**2 - NUCLEON**2 + q2) / (2 * NUCLEON)
    q3 = np.sqrt(nu**2 + q2)
    u, v = ((2 * energy - nu + sign * q3) / (2 * energy) for sign in ((-1, 1) if anti else (1, -1)))
    half_l, three_l, half_r, three_r, scalar = np.take_along_axis(strengths, which[None, None, :], axis=0)[0]
    three = u**2 * three_l + v**2 * three_r
    rest = u**2 * half_l + v**2 * half_r + 2 * u * v * scalar * (NUCLEON / w) ** 2 * q3**2 / np.maximum(q2, 1e-9)
    return which, three / np.maximum(three + rest, 1e-99)


def _coherent(source: _Source, energy: Array, charged: NDArray[np.bool_], rng: np.random.Generator) -> Interactions:
    n, anti = len(energy), source.flux.pdg < 0
    leptons, products = np.zeros((n, 4)), np.zeros((n, 2, 4))
    for now in (True, False):
        leptons[charged == now], products[charged == now] = coherent.sample(energy[charged == now], charged=now, rng=rng)
    pions = np.where(charged, -211 if anti else 211, 111)
    codes = np.stack([pions, np.full(n, 1000060120)], axis=1)
    return Interactions(
        neutrino_pdg=np.full(n, source.flux.pdg),
        neutrino_N4=np.stack([energy, 0 * energy, 0 * energy, energy], axis=1),
        lepton_pdg=np.where(charged, np.sign(source.flux.pdg) * 13, source.flux.pdg),
        lepton_N4=leptons,
        charged_current=charged,
        kind=np.full(n, COH),
        nucleon=np.zeros(n, dtype=np.int64),
        hadrons=hadrons.join([(np.arange(n), codes, products)]),
        radius=initial.radii(n, rng),
        weight=np.ones(n),
        nucleon_N4=np.tile([CARBON, 0.0, 0.0, 0.0], (n, 1)),
    )


def _rows(events: Interactions, rows: NDArray[np.int64]) -> Interactions:
    """Some events, in the order of rows."""
    new = np.full(len(events), -1)
    new[rows] = np.arange(len(rows))
    event = new[events.hadrons.event]
    order = np.argsort(event, kind="stable")
    order = order[event[order] >= 0]
    flat = Particles(event[order], events.hadrons.pdg[order], events.hadrons.p4_T4[order])
    columns = {f.name: getattr(events, f.name) for f in fields(events)}
    taken = {name: column[rows] for name, column in columns.items() if name not in ("hadrons", "cross_section")}
    return Interactions(**taken, hadrons=flat, cross_section=events.cross_section)


def _joined(parts: list[Interactions], n: int | None, cross_section: float) -> Interactions:
    """Events one after the other, the first n of them."""
    starts = np.cumsum([0] + [len(p) for p in parts])
    event = np.concatenate([p.hadrons.event + s for p, s in zip(parts, starts, strict=False)])
    flat = Particles(event, np.concatenate([p.hadrons.pdg for p in parts]), np.concatenate([p.hadrons.p4_T4 for p in parts]))
    names = [f.name for f in fields(Interactions) if f.name not in ("hadrons", "cross_section")]
    whole = Interactions(
        **{name: np.concatenate([getattr(p, name) for p in parts]) for name in names}, hadrons=flat, cross_section=cross_section
    )
    return whole if n is None else _rows(whole, np.arange(n))


def _check(n: int, flux: Flux, target: str) -> None:
    if n < 1:
        raise BadInput(f"n must be at least 1, got {n}")
    if target not in _FREE:
        raise BadInput(f"target must be one of {', '.join(map(repr, _FREE))}, got {target!r}")
    if flux.pdg not in (14, -14):
        raise BadInput(f"only muon neutrinos and anti-neutrinos (PDG codes 14 and -14), got {flux.pdg}")
    if not 0 <= flux.edges[0] <= flux.edges[-1] <= ENERGIES[1] or flux.edges[-1] < ENERGIES[0]:
        raise BadInput(
            f"the flux must lie below {ENERGIES[1]:g} GeV and reach {ENERGIES[0]:g} GeV, got {flux.edges[0]:g} to {flux.edges[-1]:g}"
        )
