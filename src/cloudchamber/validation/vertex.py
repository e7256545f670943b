"""The neutrino generator at the vertex, before the nucleus acts on hadrons, against published and analytic truth.

Data and errors are written here with their sources.
"""

# N event, T particle of any event

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from cloudchamber.simulate.neutrino import coherent, hadrons, initial, quasielastic
from cloudchamber.simulate.neutrino import kinematics as kin
from cloudchamber.simulate.neutrino.cascade import charge_and_baryon
from cloudchamber.simulate.neutrino.generator import generate
from cloudchamber.simulate.neutrino.interactions import COH, DIS, MEC, QE, RES, Interactions
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, square
from cloudchamber.stats.figures import Figure, Target, exact, measured, share
from cloudchamber.validation.comparison import Comparison, Panel, Series, histogram

SEED = 0
KINDS = {"qe": QE, "mec": MEC, "res": RES, "dis": DIS, "coh": COH}
HYDROGEN = 1 / 13  # of the nucleons of CH
# sigma/E of charged currents per nucleon [1e-38 cm2/GeV] and its error. SciBooNE (CH, with NEUT): arXiv:1011.2131, its sigma
# over its mean energy; T2K (CH, mean of the on-axis flux): arXiv:1407.4256; MINOS (Fe, made isoscalar): arXiv:0910.2201,
# table III; NOMAD (C): arXiv:0711.1183, table 1.
TOTAL = {
    14: (
        ("sciboone", 1.11, 1.38 / 1.11, 0.172 / 1.11),
        ("t2k", 1.51, 1.379 / 1.51, 0.178 / 1.51),
        ("sciboone", 2.47, 1.74 / 2.47, 0.382 / 2.47),
        ("minos", 3.48, 0.748, 0.061),
        ("minos", 5.89, 0.708, 0.032),
        ("nomad", 6.5, 0.763, 0.038),
        ("minos", 10.45, 0.699, 0.043),
        ("nomad", 10.5, 0.706, 0.026),
        ("minos", 19.87, 0.689, 0.016),
        ("nomad", 21.2, 0.699, 0.024),
        ("minos", 45.77, 0.676, 0.019),
    ),
    -14: (
        ("minos", 6.07, 0.305, 0.029),
        ("minos", 10.43, 0.303, 0.019),
        ("minos", 19.82, 0.316, 0.013),
        ("minos", 45.61, 0.324, 0.027),
    ),
}
ON_CH = ("sciboone", "t2k")
PLATEAU = {14: (0.677, 0.014), -14: (0.334, 0.008)}  # mean of 30 to 200 GeV, PDG 2024, figure 52.1
# One pion from a free nucleon [1e-38 cm2], no cut on W: BNL with its flux corrected by P. Rodrigues, C. Wilkinson, K. McFarland
# (arXiv:1601.01888); edges in energy, values, errors. Bins below 0.6 GeV are left out.
_EDGES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.4, 3.0)
PIONS: Mapping[tuple[Literal["p", "n"], int, int], tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]] = {
    ("p", 2212, 211): (
        (0.6, 0.8, 1.0, 1.4, 2.2, 3.0),
        (0.262, 0.433, 0.582, 0.661, 0.828),
        (0.031, 0.041, 0.036, 0.035, 0.073),
    ),
    ("n", 2212, 111): (
        _EDGES,
        (0.138, 0.175, 0.189, 0.218, 0.252, 0.310, 0.278, 0.381, 0.464),
        (0.021, 0.023, 0.024, 0.028, 0.032, 0.042, 0.043, 0.044, 0.060),
    ),
    ("n", 2112, 211): (
        _EDGES,
        (0.088, 0.106, 0.148, 0.186, 0.160, 0.207, 0.319, 0.373, 0.375),
        (0.016, 0.018, 0.021, 0.025, 0.024, 0.033, 0.047, 0.044, 0.052),
    ),
}
NAMES = {2212: "p", 2112: "n", 211: "pip", 111: "pi0"}
AGKY = {2: (0.40, 1.42, 7.93), 1: (-0.20, 1.42, 5.22)}  # n = a + b ln W^2 of nu p and nu n, KNO's c: arXiv:0904.4043
# Coherent pi+ per carbon with the low-energy beam [1e-39 cm2]: MINERvA, arXiv:1409.3835, tables 5 and 6, cross-section, its
# statistical and systematic error by energy, and flux (copied in github.com/NUISANCEMC/nuisance, data/MINERvA/CCcoh/raw).
COHERENT = (3.49, 0.43)  # mean over that flux, and its error
COHERENT_EDGES = (1.5, 2.0, 3.0, 4.0, 5.0, 7.0, 9.0, 11.0, 15.0, 20.0)
COHERENT_VALUES = (3.952, 2.485, 2.736, 3.096, 5.037, 6.540, 6.321, 8.205, 12.330)
COHERENT_ERRORS = (
    (0.914, 0.214, 0.183, 0.276, 0.478, 0.791, 1.033, 1.115, 1.686),
    (0.454, 0.335, 0.349, 0.559, 0.798, 0.844, 0.932, 1.149, 1.622),
)
# Public simulation of MINERvA's medium-energy beam (GENIE, after reconstruction, all materials), percent; for orientation.
MIX = {"qe": 12.31, "res": 21.42, "dis": 61.65, "coh": 1.05, "mec": 3.58}


def comparisons(_: Path | None, n: int) -> list[Comparison]:
    """All of them."""
    return [totals(n), elastic(3 * n), single_pions(n), multiplicities(max(n // 4, 100)), coherent_pions(), mix(5 * n)]


def totals(n: int) -> Comparison:
    """sigma/E of charged currents at the energies of the data, and how far from them in their errors."""
    figures: dict[str, Figure] = {}
    panels = []
    for pdg, name, title in ((14, "nu", "Neutrinos"), (-14, "anti", "Anti-neutrinos")):
        plateau, error = PLATEAU[pdg]
        found = [_over_energy(e, pdg, n, ch=experiment in ON_CH) for experiment, e, *_ in TOTAL[pdg]]
        figures |= {
            f"total_over_energy_{name}_{energy:g}_gev_{experiment}": f
            for (experiment, energy, *_), f in zip(TOTAL[pdg], found, strict=True)
        }
        pulls = [abs(f.value - row[2]) / row[3] for f, row in zip(found, TOTAL[pdg], strict=True)]
        figures[f"total_largest_pull_{name}"] = exact(max(pulls))
        figures[f"total_chi2_per_point_{name}"] = exact(float(np.mean(np.square(pulls))))
        high = _over_energy(60.0, pdg, n)
        figures[f"plateau_over_energy_{name}"] = high
        figures[f"plateau_pull_{name}"] = exact(abs(high.value - plateau) / error)
        experiments = dict.fromkeys(row[0] for row in TOTAL[pdg])
        rows = {e: np.array([row[1:] for row in TOTAL[pdg] if row[0] == e]).T for e in experiments}
        data = [Series.of(e, "truth", *columns) for e, columns in rows.items()]
        data.append(Series.of("PDG, 30 to 200 GeV", "truth", [60], [plateau], [error]))
        energies = [*(row[1] for row in TOTAL[pdg]), 60.0]
        ours = Series.of("simulated", "ours", energies, [f.value for f in (*found, high)])
        panels.append(
            Panel(f"{title}, charged currents", "energy [GeV]", "sigma / E [1e-38 cm2/GeV/nucleon]", (*data, ours), "x")
        )
    bounds = [Target(f"total_largest_pull_{x}", "<=", 2.0) for x in ("nu", "anti")]
    bounds += [Target(f"plateau_pull_{x}", "<=", 2.0) for x in ("nu", "anti")]
    text = "Each measurement with its error, and the simulation at its energy: on CH for SciBooNE and T2K, on carbon else."
    return Comparison("total", "Total cross-sections", text, tuple(panels), figures, tuple(bounds))


def elastic(n: int) -> Comparison:
    """Quasielastic events on a free neutron against the integral of Llewellyn Smith's formula; what is conserved."""
    figures: dict[str, Figure] = {}
    energies, found = (0.7, 1.0, 1.5), []
    for energy in energies:
        events = generate(n, initial.single_energy(energy), seed=SEED, neutral=False, target="n")
        found.append(share(events.kind == QE, events.cross_section * 1e38 / _elastic_integral(energy)))
        figures[f"quasielastic_over_integral_{energy:g}_gev"] = found[-1]
    figures["quasielastic_largest_off"] = exact(max(abs(f.value - 1) for f in found))
    events = generate(n // 6, initial.read_flux("me"), seed=SEED)
    figures |= _conserved(events)
    targets = (
        Target("quasielastic_largest_off", "<=", 0.01),
        Target("conservation_largest_gev", "<=", 1e-6),
        Target("conservation_charge_and_baryon", "<=", 0.0),
    )
    values, errors = [f.value for f in found], [f.high - f.value for f in found]
    one = Series.of("integral", "truth", (0.6, 1.6), (1, 1))
    panel = Panel(
        "Quasielastic, free neutron",
        "energy [GeV]",
        "simulated / integral",
        (one, Series.of("simulated", "ours", energies, values, errors)),
    )
    text = (
        "Events counted against the integral of the formula of Llewellyn Smith over Q2. Energy and momentum, charge and "
        "baryon number of all events of the medium-energy beam on carbon, before the cascade."
    )
    return Comparison("elastic", "Quasielastic scattering, and what is conserved", text, (panel,), figures, targets)


def single_pions(n: int) -> Comparison:
    """One-pion channels on free nucleons, mean over each energy bin, chi2 per point; charges of the Delta by isospin."""
    figures: dict[str, Figure] = {}
    panels = []
    for (target, nucleon, pion), (edges, values, errors) in PIONS.items():
        name, found = f"{NAMES[nucleon]}_{NAMES[pion]}", []
        for low, high in pairwise(edges):
            events = generate(n, initial.Flux(np.array([low, high]), np.ones(1)), seed=SEED, neutral=False, target=target)
            codes, event = events.hadrons.pdg, events.hadrons.event
            all_N, nucleons_N, pions_N = (
                np.bincount(event[np.isin(codes, c)], minlength=len(events)) for c in (codes, nucleon, pion)
            )
            found.append(charged(events, (all_N == 2) & (nucleons_N == 1) & (pions_N == 1)))
            figures[f"sigma_{name}_{low:g}_{high:g}_gev"] = found[-1]
        pulls = [(f.value - v) / e for f, v, e in zip(found, values, errors, strict=True)]
        figures[f"chi2_per_point_{name}"] = exact(float(np.mean(np.square(pulls))))
        centres = (np.array(edges[1:]) + edges[:-1]) / 2
        series = (
            Series.of("BNL, flux corrected", "truth", centres, values, errors),
            Series.of("simulated", "ours", edges, [f.value for f in found]),
        )
        panels.append(Panel(f"{target} to {NAMES[nucleon]} {NAMES[pion]}", "energy [GeV]", "sigma [1e-38 cm2]", series))
    delta = _delta_charges(n)
    figures |= {f"delta_{name}": f for name, (f, _) in delta.items()}
    pulls = [abs(f.value - expected) / (f.high - f.value) for f, expected in delta.values()]
    figures["delta_largest_pull"] = exact(max(pulls))
    targets = [Target(f"chi2_per_point_{name}", "<=", 2.0) for name in ("p_pip", "p_pi0", "n_pip")]
    text = (
        "One pion from a free nucleon without a cut on W, data: arXiv:1601.01888. Near the threshold the resonances give "
        "pions on neutrons nearly as 2 to 1 and too few of them: non-resonant amplitudes that interfere with the Delta are "
        "not in the model."
    )
    return Comparison(
        "single_pions",
        "Single pions and isospin",
        text,
        tuple(panels),
        figures,
        (*targets, Target("delta_largest_pull", "<=", 3.0)),
    )


def multiplicities(n: int) -> Comparison:
    """Charged multiplicity of nu p and nu n over W as the generator mixes its two ways, against AGKY; and its KNO shape."""
    figures: dict[str, Figure] = {}
    rng, pythia, largest, panels = np.random.default_rng(SEED), hadrons.start_pythia(1), 0.0, []
    masses = (1.8, 2.0, 2.5, 3.0, 4.0, 6.0)
    for q, (a, b, c) in AGKY.items():
        name, label = ("nu_p", "nu p") if q == 2 else ("nu_n", "nu n")
        counts = {w: _charged_counts(n, w, q, pythia, rng) for w in masses}
        means = {w: x.mean() for w, x in counts.items()}
        for w, x in counts.items():
            figures[f"charged_multiplicity_{name}_w_{w:g}"] = measured(x.mean(), x.std() / np.sqrt(n))
            figures[f"charged_dispersion_over_mean_{name}_w_{w:g}"] = exact(float(x.std() / x.mean()))
        largest = max(largest, *(abs(m / (a + b * np.log(w**2)) - 1) for w, m in means.items()))
        grid = np.geomspace(1.5, 7, 40)
        fit = Series.of("AGKY, fit to bubble chambers", "truth", grid, a + b * np.log(grid**2))
        ours = Series.of("simulated", "ours", masses, list(means.values()), [counts[w].std() / np.sqrt(n) for w in masses])
        panels.append(Panel(f"Charged hadrons, {label}", "W [GeV]", "mean number", (fit, ours), "x"))
        z = np.linspace(0.05, 3, 60)
        shape = Series.of("KNO function", "truth", z, 2 * np.exp((c * z + 1) * np.log(c) - c - gammaln(c * z + 1)))
        series = [shape]
        for w in (3.0, 6.0):
            number, share_ = np.unique(counts[w], return_counts=True)
            series.append(
                Series.of(
                    f"simulated, W = {w:g} GeV",
                    "ours",
                    number / means[w],
                    share_ / n * means[w],
                    np.sqrt(share_) / n * means[w],
                )
            )
        panels.append(Panel(f"KNO scaling, {label}", "n / <n>", "<n> P(n)", tuple(series)))
    figures["multiplicity_largest_deviation"] = exact(largest)
    text = (
        "Below W of 2.3 GeV AGKY's own recipe: total multiplicity 1.5 times the charged one, KNO, and nucleon and pions "
        "that add up to the charge. For nu p that gives more charged hadrons than its formula at W below 2 GeV, since two "
        "is the least. Even numbers alone are possible for nu p, so their shares are twice a smooth curve's."
    )
    return Comparison(
        "multiplicities", "Multiplicities", text, tuple(panels), figures, (Target("multiplicity_largest_deviation", "<=", 0.1),)
    )


def coherent_pions() -> Comparison:
    """Coherent pi+ by energy, and with the low-energy flux between 1.5 and 20 GeV."""
    flux = initial.read_flux("le")
    energy = (flux.edges[1:] + flux.edges[:-1]) / 2
    weight = flux.contents_B * ((energy > 1.5) & (energy < 20))
    by_energy = coherent.cross_section(energy, charged=True) * 1e39
    found = float((weight * by_energy).sum() / weight.sum())
    value, error = COHERENT
    figures = {"coherent_le": exact(found, "1e-39 cm2/C12"), "coherent_pull": exact(abs(found - value) / error)}
    centres = (np.array(COHERENT_EDGES[1:]) + COHERENT_EDGES[:-1]) / 2
    data = Series.of("MINERvA", "truth", centres, COHERENT_VALUES, np.hypot(*COHERENT_ERRORS))
    inside = (energy > 1) & (energy < 21)
    panel = Panel(
        "Coherent pi+ on carbon",
        "energy [GeV]",
        "sigma [1e-39 cm2/C12]",
        (data, Series.of("simulated", "ours", energy[inside], by_energy[inside])),
    )
    text = (
        "Berger and Sehgal's model, arXiv:0812.2653; data: arXiv:1409.3835. Above a pion energy of 0.9 GeV it keeps the "
        "elastic cross-section of pions on carbon, where other programs let it fall: they lie lower still."
    )
    return Comparison("coherent", "Coherent pions", text, (panel,), figures, (Target("coherent_pull", "<=", 2.0),))


def mix(n: int) -> Comparison:
    """Channels, currents, and where W and Q^2 of charged currents lie, with the medium-energy flux."""
    events = generate(n, initial.read_flux("me"), seed=SEED)
    figures = {f"me_percent_{name}": share(events.kind == kind, 100.0, "%") for name, kind in KINDS.items()}
    figures["me_percent_charged"] = share(events.charged_current, 100.0, "%")
    events = events[np.flatnonzero(events.charged_current)]
    q = events.neutrino_N4 - events.lepton_N4
    q2 = -square(q)
    w = np.sqrt(np.maximum(NUCLEON**2 + 2 * NUCLEON * q[:, 0] - q2, 0.0))
    panels = []
    for name, unit, values, edges in (("q2", "GeV2", q2, np.linspace(0, 6, 61)), ("w", "GeV", w, np.linspace(0.7, 4.5, 77))):
        low, middle, high = np.percentile(values, (16, 50, 84))
        figures[f"me_{name}"] = Figure(float(middle), float(low), float(high), "16-84 % of charged currents", unit)
        whole = histogram("charged currents", "ours", values, edges)
        parts = [histogram(k, "other", values[events.kind == code], edges) for k, code in KINDS.items() if k != "coh"]
        scaled = [Series.of(s.name, s.kind, s.x, s.y * np.mean(events.kind == KINDS[s.name])) for s in parts]
        panels.append(
            Panel(
                f"{'Q2' if name == 'q2' else 'W'}, medium-energy beam", f"{name} [{unit}]", "share per unit", (whole, *scaled)
            )
        )
    x, there = np.arange(len(KINDS)), list(KINDS)
    parts_ = (
        Series.of("MINERvA's public simulation (GENIE)", "other", x, [MIX[k] for k in there]),
        Series.of("simulated", "ours", x, [figures[f"me_percent_{k}"].value for k in there]),
    )
    panels.append(Panel("Kinds: " + ", ".join(there), "kind", "% of interactions", parts_))
    text = (
        "For orientation, without a target: the public simulation is counted after reconstruction and in every material. W "
        "and Q2 of the lepton, on a nucleon at rest; measured ones are below, with one pion."
    )
    return Comparison("mix", "W, Q2 and the mix of interactions", text, tuple(panels), figures)


def charged(events: Interactions, chosen: NDArray[np.bool_] | None = None, per: float = 1.0) -> Figure:
    """Cross-section of the chosen charged currents per nucleon and `per` [1e-38 cm2]; the error is that of their number."""
    number = len(events) if chosen is None else int(chosen.sum())
    value = events.cross_section * number / len(events) * 1e38 / per
    return measured(value, value / np.sqrt(max(number, 1)), unit="1e-38 cm2")


def _over_energy(energy: float, pdg: int, n: int, *, ch: bool = False) -> Figure:
    flux = initial.single_energy(energy, pdg)
    carbon = charged(generate(n, flux, seed=SEED, neutral=False), per=energy)
    if not ch:
        return carbon
    proton = charged(generate(n, flux, seed=SEED, neutral=False, target="p"), per=energy)
    value, error = ((1 - HYDROGEN) * getattr(carbon, x) + HYDROGEN * getattr(proton, x) for x in ("value", "high"))
    return measured(value, error - value, unit="1e-38 cm2")


def _elastic_integral(energy: float) -> float:
    """[1e-38 cm2] of nu n -> mu p over the Q^2 that kinematics allow."""
    s = NUCLEON**2 + 2 * NUCLEON * energy
    k, e = (s - NUCLEON**2) / (2 * np.sqrt(s)), (s + kin.MUON**2 - NUCLEON**2) / (2 * np.sqrt(s))
    p = np.sqrt(e**2 - kin.MUON**2)
    q2 = np.linspace(2 * k * (e - p) - kin.MUON**2, 2 * k * (e + p) - kin.MUON**2, 4001)
    density = quasielastic.cross_section(np.full_like(q2, energy), q2, lepton=kin.MUON, anti=False, charged=True, nucleon=2112)
    return float(np.trapezoid(density, q2)) * 1e38


def _conserved(events: Interactions) -> dict[str, Figure]:
    size, flat = len(events), events.hadrons
    left = events.neutrino_N4 + events.nucleon_N4 - events.lepton_N4
    left -= np.stack([np.bincount(flat.event, flat.p4_T4[:, i], size) for i in range(4)], axis=1)
    nucleus, lepton = events.kind == COH, charge_and_baryon(events.lepton_pdg)[0]
    pair = np.where(events.kind == MEC, events.nucleon - 2000000200, 0)
    before = (
        np.select([nucleus, events.kind == MEC], [6, pair], events.nucleon == 2212),
        np.select([nucleus, events.kind == MEC], [12, 2], 1),
    )
    off = 0
    for there, values, taken in zip(before, charge_and_baryon(flat.pdg), (lepton, 0), strict=True):
        off += int((np.rint(np.bincount(flat.event, values, size)) + taken != there).sum())
    return {
        "conservation_largest_gev": exact(float(np.abs(left).max()), "GeV"),
        "conservation_charge_and_baryon": exact(off, "events"),
    }


def _delta_charges(n: int) -> dict[str, tuple[Figure, float]]:
    """Shares of p pi0 and n pi+ of the Delta+ with their Clebsch-Gordan coefficients."""
    charge = np.ones(n, dtype=np.int64)
    parts = hadrons.resonance_decays(np.full(n, 1.232), charge, 0 * charge, np.full(n, 0.5), np.random.default_rng(SEED))
    codes = hadrons.join(parts).pdg
    return {
        name: (share(codes[codes < 1000] == pion), expected)
        for name, pion, expected in (("p_pi0", 111, 2 / 3), ("n_pip", 211, 1 / 3))
    }


def _charged_counts(n: int, mass: float, q: int, pythia: object, rng: np.random.Generator) -> NDArray[np.int64]:
    """(N,) charged hadrons of systems of one mass and charge."""
    w, charge, rows = np.full(n, mass), np.full(n, q), np.arange(n)
    low, high = hadrons.STRINGS
    string = rng.random(n) * (high - low) + low < w
    ends = hadrons.string_ends(charge[string], np.ones(string.sum(), bool), np.zeros(string.sum(), bool), rng)
    parts = hadrons.strings(pythia, rows[string], w[string], ends)
    bodies = hadrons.multiplicities(w[~string], charge[~string], False, rng)
    found = hadrons.join(parts + hadrons.cluster(rows[~string], w[~string], charge[~string], bodies, rng))
    return np.bincount(found.event[charge_and_baryon(found.pdg)[0] != 0], minlength=n)
