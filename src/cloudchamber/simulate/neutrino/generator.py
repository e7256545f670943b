"""Neutrino interactions on carbon or a free nucleon: a flux in, unweighted events out, up to the hadrons of the vertex."""

# N trial or event, K energy interval of the tables, B bin of the flux

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput, CloudchamberError
from cloudchamber.simulate.neutrino import coherent, hadrons, inelastic, initial, quasielastic, resonance
from cloudchamber.simulate.neutrino import kinematics as kin
from cloudchamber.simulate.neutrino.initial import Flux
from cloudchamber.simulate.neutrino.interactions import COH, DIS, MEC, QE, RES, Interactions, Particles, concatenate
from cloudchamber.simulate.neutrino.kinematics import CARBON, MUON, NEUTRON, NUCLEON, PROTON, Array
from cloudchamber.simulate.neutrino.tables import Tables, between, tables

# What a user of these events owes, by what it gave.
CITATIONS = {
    "C. Llewellyn Smith, quasielastic scattering": "doi:10.1016/0370-1573(72)90010-5",
    "A. Bodek, H. Budd, M. Christy, pairs of nucleons": "arXiv:1106.0340",
    "J. Nieves et al., correlations in quasielastic scattering": "arXiv:1102.2777",
    "D. Rein, L. Sehgal, resonances": "doi:10.1016/0003-4916(81)90242-6",
    "P. Rodrigues, C. Wilkinson, K. McFarland, resonances and background on deuterium": "arXiv:1601.01888",
    "A. Bodek, U. K. Yang, structure functions": "arXiv:2108.09240",
    "M. Glueck, E. Reya, A. Vogt, parton densities": "doi:10.1007/BF01624586",
    "C. Berger, L. Sehgal, coherent pions": "arXiv:0812.2653",
    "T. Yang et al., AGKY, multiplicities": "arXiv:0904.4043",
    "Pythia 8.3, strings": "arXiv:2203.11601",
    "MINERvA, the medium-energy flux": "arXiv:2209.05540",
    "L. Aliaga et al., NuMI fluxes": "arXiv:1607.00704",
}
ENERGIES = (0.3, 100.0)  # GeV; made for 0.5 to 20
_FREE = {"C": 0, "p": 2212, "n": 2112}
_TRIALS = 60_000  # a round; part of the definition of a seed's events
_FASTEST = (np.hypot(NUCLEON, initial.TAIL_END) + initial.TAIL_END) / NUCLEON  # energy in a nucleon's frame over the neutrino's
_NEUTRON_PROTON = 0.75  # of the pairs; 70 to 80 %, as electrons knock them out: R. Subedi et al., doi:10.1126/science.1156675
# What is left of the deep inelastic model below W = 1.7 GeV in N pi, where resonances are (GENIE, config/CommonParam.xml),
# times the fit to deuterium of P. Rodrigues, C. Wilkinson, K. McFarland, arXiv:1601.01888. First for charges 2 and -1.
_BACKGROUND_STRETCHED, _BACKGROUND = 0.10 * 0.43, 0.30 * 0.43


def generate(n: int, flux: Flux, *, seed: int = 0, neutral: bool = True, target: Literal["C", "p", "n"] = "C") -> Interactions:
    """n unweighted interactions of the neutrinos of a flux, the same for the same arguments.

    neutral: neutral currents as well; those of pairs of nucleons are left out. target: a carbon nucleus, or one free nucleon.
    Raises BadInput for an impossible argument, MissingExtra without Pythia, CloudchamberError if nothing can happen.
    """
    _check(n, flux, target)
    rng = np.random.default_rng(seed)
    source = _Source.of(flux, neutral, _FREE[target])
    pythia = hadrons.start_pythia(int(rng.integers(2**31)))
    rounds: list[Interactions] = []
    tried = made = 0
    trials = min(_TRIALS, 1000 + 8 * n)
    while made < n:
        rounds.append(_round(source, trials, pythia, rng))
        tried, made = tried + trials, made + len(rounds[-1])
        if not made and tried > 100 * _TRIALS:
            raise CloudchamberError(f"no interaction in {tried} trials; is the flux above the threshold?")
    return concatenate(rounds, source.scale * made / tried)[np.arange(n)]


@dataclass(frozen=True)
class _Source:
    """What trials are drawn from. free: code of the free nucleon, or 0. bound_B: above the cross-section per nucleon [cm2].

    coherent: energies, and the cross-sections of charged and neutral pions there.
    """

    flux: Flux
    free: int
    tables: Tables
    contents_B: NDArray[np.float64]
    bound_B: NDArray[np.float64]
    coherent: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

    @classmethod
    def of(cls, flux: Flux, neutral: bool, free: int) -> _Source:
        fastest = 1.0 if free else _FASTEST
        own = tables(flux.pdg < 0, neutral, free, 12.0 if flux.edges[-1] * fastest < 12 else ENERGIES[1] * _FASTEST)
        k = np.searchsorted(own.energies_K, flux.edges[1:] * fastest)
        closing = 1.0 if free else 1 + initial.TAIL_END / np.hypot(NUCLEON, initial.TAIL_END)  # largest relative velocity
        grid = np.geomspace(0.3, max(float(flux.edges[-1]), 0.31), 40)
        pions = [coherent.cross_section(grid, charged=c) / 12 * (not free and (c or neutral)) for c in (True, False)]
        bound = closing * np.maximum.accumulate(own.totals_K)[k] + np.interp(flux.edges[1:], grid, pions[0] + pions[1])
        return cls(flux, free, own, flux.contents_B, bound, (grid, pions[0], pions[1]))

    @property
    def scale(self) -> float:
        """Mean bound over the flux [cm2 per nucleon]: times the accepted share it is the cross-section."""
        return float((self.contents_B * self.bound_B).sum())

    @property
    def anti(self) -> bool:
        return self.flux.pdg < 0


@dataclass(frozen=True)
class _Struck:
    """Interactions with a nucleon before their hadrons: beam, nucleon (bound) and lepton; energy in the nucleon's frame."""

    beam_N4: Array
    nucleon_N4: Array
    lepton_N4: Array
    energy: Array
    kind: NDArray[np.int64]
    nucleon: NDArray[np.int64]
    charged: NDArray[np.bool_]
    cell: NDArray[np.int64]
    w: Array
    q2: Array

    def __getitem__(self, rows: Any) -> _Struck:
        return _Struck(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __len__(self) -> int:
        return len(self.w)


def _round(source: _Source, trials: int, pythia: Any, rng: np.random.Generator) -> Interactions:
    """What becomes of some trials."""
    share = np.cumsum(source.contents_B * source.bound_B)
    b = np.minimum(np.searchsorted(share, rng.random(trials) * share[-1], side="right"), len(share) - 1)
    low, high = source.flux.edges[b], source.flux.edges[b + 1]
    energy = low + (high - low) * rng.random(trials)
    beam = np.stack([energy, 0 * energy, 0 * energy, energy], axis=1)
    u = rng.random(trials) * source.bound_B[b]
    grid, charged, neutral = source.coherent
    by_pion, by_pion0 = (np.interp(energy, grid, pions, left=0.0) for pions in (charged, neutral))
    pion = u < by_pion + by_pion0
    coherent_part = _coherent(source, beam[pion], u[pion] < by_pion[pion], rng)
    rest = _incoherent(source, beam[~pion], (u - by_pion - by_pion0)[~pion], pythia, rng)
    whole = concatenate([coherent_part, rest], float("nan"))
    return whole[rng.permutation(len(whole))]


def _coherent(source: _Source, beam: Array, charged: NDArray[np.bool_], rng: np.random.Generator) -> Interactions:
    n = len(beam)
    leptons, products = np.zeros((n, 4)), np.zeros((n, 2, 4))
    for now in (True, False):
        rows = charged == now
        leptons[rows], products[rows] = coherent.sample(beam[rows, 0], charged=now, rng=rng)
    codes = np.stack([np.where(charged, -211 if source.anti else 211, 111), np.full(n, 1000060120)], axis=1)
    target = np.tile([CARBON, 0.0, 0.0, 0.0], (n, 1))
    kind, nucleon = np.full(n, COH), np.zeros(n, dtype=np.int64)
    struck = _Struck(beam, target, leptons, beam[:, 0], kind, nucleon, charged, nucleon, kin.square(beam), kin.square(beam))
    return _events(source, struck, nucleon, target, hadrons.join([(np.arange(n), codes, products)]), rng)


def _incoherent(source: _Source, beam: Array, u: Array, pythia: Any, rng: np.random.Generator) -> Interactions:
    """Interactions with a nucleon or a pair among trials that have drawn u under the bound of their bin."""
    own, n = source.tables, len(beam)
    at_rest = np.tile([PROTON if source.free == 2212 else NEUTRON, 0.0, 0.0, 0.0], (n, 1))
    nucleon = at_rest if source.free else initial.nucleons(n, rng)
    flow = beam[:, 0] * (nucleon[:, 0] - nucleon[:, 3])
    energy = (kin.square(nucleon) + 2 * flow - NUCLEON**2) / (2 * NUCLEON)
    k = np.searchsorted(own.energies_K, energy)
    kept = (energy > 0.01) & (u < own.totals_K[k] * flow / (beam[:, 0] * nucleon[:, 0]))
    beam, nucleon, energy, k = beam[kept], nucleon[kept], energy[kept], k[kept]
    cell, w, q2 = own.draw(k, rng)
    kind, code, charged = (
        np.array([getattr(c, x) for c in own.channels])[own.channel_C[cell]] for x in ("kind", "nucleon", "charged")
    )
    w = np.where(kind == QE, np.where((code == 2112) ^ charged, NEUTRON, PROTON), w)
    lepton, inside = _scatter(beam, nucleon, w, q2, np.where(charged, MUON, 0.0), rng)
    value = own.values(energy, cell, w, q2) * (1.0 if source.free else 0.5)
    value *= np.where((kind == QE) & charged & (not source.free), quasielastic.rpa(q2), 1.0)
    inside &= rng.random(len(w)) * own.bound_KC[k, cell] < value
    struck = _Struck(beam, nucleon, lepton, energy, kind, code, charged, cell, w, q2)[inside]
    return _with_hadrons(source, struck, pythia, rng)


def _scatter(
    beam: Array, nucleon: Array, w: Array, q2: Array, lepton: Array, rng: np.random.Generator
) -> tuple[Array, NDArray[np.bool_]]:
    """(N, 4) leptons, and whether there can be one.

    The angle in the rest frame of neutrino and nucleon is that of a free nucleon with the same invariant mass and Q^2. So a
    bound nucleon's lack of energy is shared by lepton and hadrons, and four-momentum is conserved.
    """
    both = beam + nucleon
    s = kin.square(both)
    root = np.sqrt(s)
    inside = root > w + lepton
    l_p = kin.momentum(root, w, lepton)
    l_energy = np.sqrt(l_p**2 + lepton**2)
    free = (s - NUCLEON**2) / (2 * root)
    cosine = (l_energy - (q2 + lepton**2) / (2 * free)) / np.maximum(l_p, 1e-12)
    inside &= np.abs(cosine) <= 1
    vector = l_p[:, None] * kin.direction(np.clip(cosine, -1, 1), rng)
    return kin.boost(kin.turn(kin.on_shell(lepton, vector), kin.into_rest(beam, both)[:, 1:]), both), inside


def _with_hadrons(source: _Source, struck: _Struck, pythia: Any, rng: np.random.Generator) -> Interactions:
    """Interactions with hadrons, without those that Pauli or the resonances' share of the background forbid."""
    n, mec = len(struck), struck.kind == MEC
    partner = np.where(rng.random(n) < _NEUTRON_PROTON, 4324 - struck.nucleon, struck.nucleon)
    target = struck.nucleon_N4 + np.where(mec[:, None], initial.nucleons(n, rng), 0.0)
    system = struck.beam_N4 + target - struck.lepton_N4
    w = np.sqrt(np.maximum(kin.square(system), 1e-6))
    charge = (struck.nucleon == 2212) + (-1 if source.anti else 1) * struck.charged
    parts, alive = _in_rest_frame(source, struck, w, charge, pythia, rng)
    alive &= ~mec | (w > 2 * NEUTRON)
    pairs = np.flatnonzero(mec & alive)
    codes = np.stack([4324 - struck.nucleon, partner], axis=1)[pairs]  # charged currents alone: the struck nucleon turns
    masses = kin.mass_of(codes)
    parts.append((pairs, codes, kin.two_body(w[pairs], masses[:, 0], masses[:, 1], rng.uniform(-1, 1, len(pairs)), rng)))
    flat = hadrons.join(parts)
    axis = kin.into_rest(struck.beam_N4 - struck.lepton_N4, system)[:, 1:]
    p4 = kin.boost(kin.turn(flat.p4_T4, axis[flat.event]), system[flat.event])
    alone = np.flatnonzero(struck.kind == QE)
    outgoing = np.where(charge[alone] == 1, 2212, 2112)
    flat = hadrons.join([(flat.event, flat.pdg[:, None], p4[:, None]), (alone, outgoing[:, None], system[alone, None])])
    if not source.free:
        alive &= ~initial.pauli_blocked(flat, n)
    nucleon = np.where(mec, 2000000200 + (struck.nucleon == 2212) + (partner == 2212), struck.nucleon)
    return _events(source, struck, nucleon, target, flat, rng)[np.flatnonzero(alive)]


def _in_rest_frame(
    source: _Source, struck: _Struck, w: Array, charge: NDArray[np.int64], pythia: Any, rng: np.random.Generator
) -> tuple[list[Any], NDArray[np.bool_]]:
    """Hadrons of resonances and of deep inelastic scattering with the momentum transfer along z, and which events stay."""
    alive = np.ones(len(w), dtype=bool)
    parts: list[Any] = []
    for now in (True, False):
        rows = np.flatnonzero((struck.kind == RES) & (struck.charged == now))
        mine, stretched = struck[rows], now & ((charge[rows] == 2) | (charge[rows] == -1))
        which, three_half = resonance.choose(mine.energy, mine.w, mine.q2, stretched, charged=now, anti=source.anti, rng=rng)
        found = hadrons.resonance_decays(w[rows], charge[rows], which, three_half, rng)
        parts += [(rows[i], codes, p4) for i, codes, p4 in found]
    rows = np.flatnonzero(struck.kind == DIS)
    multiplicity = hadrons.multiplicities(w[rows], charge[rows], source.anti, rng)
    background = np.where((charge[rows] == 2) | (charge[rows] == -1), _BACKGROUND_STRETCHED, _BACKGROUND)
    single = (struck.w[rows] < resonance.W_CUT) & (multiplicity == 2)
    alive[rows] = ~single | (rng.random(len(rows)) < background)
    low, high = hadrons.STRINGS
    string = alive[rows] & (rng.random(len(rows)) * (high - low) + low < w[rows])
    gas = alive[rows] & ~string
    parts += hadrons.cluster(rows[gas], w[rows[gas]], charge[rows[gas]], multiplicity[gas], rng)
    rows = rows[string]
    ends = hadrons.string_ends(charge[rows], struck.charged[rows], _charm(source, struck[rows], rng), rng)
    return parts + hadrons.strings(pythia, rows, w[rows], ends), alive


def _charm(source: _Source, struck: _Struck, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which quarks turn into charm. Anti-charm is counted in the cross-section, and made as light quarks."""
    own, share = source.tables, np.zeros(len(struck))
    for h, channel in enumerate(own.channels):
        here = np.flatnonzero((own.channel_C[struck.cell] == h) & (struck.w > inelastic.CHARM_W) & (not source.anti))
        cell = struck.cell[here]
        if channel.kind == DIS:
            share[here] = between(channel.charm_WQ, own.w_C[cell], own.q_C[cell], struck.w[here], struck.q2[here])
    return np.asarray(rng.random(len(share)) < share)


def _events(
    source: _Source, struck: _Struck, nucleon: NDArray[np.int64], target: Array, flat: Particles, rng: np.random.Generator
) -> Interactions:
    n, pdg = len(struck), source.flux.pdg
    return Interactions(
        neutrino_pdg=np.full(n, pdg),
        neutrino_N4=struck.beam_N4,
        lepton_pdg=np.where(struck.charged, np.sign(pdg) * 13, pdg),
        lepton_N4=struck.lepton_N4,
        charged_current=struck.charged,
        kind=struck.kind,
        nucleon=nucleon,
        hadrons=flat,
        radius=np.zeros(n) if source.free else initial.radii(n, rng),
        weight=np.ones(n),
        nucleon_N4=target,
    )


def _check(n: int, flux: Flux, target: str) -> None:
    low, high = float(flux.edges[0]), float(flux.edges[-1])
    if n < 1:
        raise BadInput(f"n must be at least 1, got {n}")
    if target not in _FREE:
        raise BadInput(f"target must be one of {', '.join(map(repr, _FREE))}, got {target!r}")
    if flux.pdg not in (14, -14):
        raise BadInput(f"only muon neutrinos and anti-neutrinos (PDG codes 14 and -14), got {flux.pdg}")
    if not 0 <= low <= high <= ENERGIES[1] or high < ENERGIES[0]:
        raise BadInput(
            f"the flux must lie below {ENERGIES[1]:g} GeV and reach {ENERGIES[0]:g} GeV, got {low:g} to {high:g} GeV"
        )
