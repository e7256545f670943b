"""The neutrino generator against published cross-sections, multiplicities and MINERvA's inclusive measurement; its speed.

    CLOUDCHAMBER_SAMPLES=FOLDER python benchmarks/neutrino.py

Everything here is at the vertex or of the muon: what the nucleus does to hadrons is not compared. Data and errors are
written below with their sources; MINERvA's tables and covariance come from FOLDER/minerva.
"""

from __future__ import annotations

import csv
import os
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import record
from cloudchamber.simulate.neutrino import coherent, hadrons, initial
from cloudchamber.simulate.neutrino.generator import generate
from cloudchamber.simulate.neutrino.interactions import COH, DIS, MEC, QE, RES, Interactions
from cloudchamber.simulate.neutrino.kinematics import NUCLEON, square

SEED = 0
KINDS = {"qe": QE, "mec": MEC, "res": RES, "dis": DIS, "coh": COH}
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
PLATEAU = {14: (0.677, 0.014), -14: (0.334, 0.008)}  # mean of 30 to 200 GeV, PDG 2024, figure 52.1
# One pion from a free nucleon [1e-38 cm2], no cut on W: BNL with its flux corrected by P. Rodrigues, C. Wilkinson, K. McFarland
# (arXiv:1601.01888); edges in energy, values, errors. Bins below 0.6 GeV are left out.
_EDGES = (0.6, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.4, 3.0)
PIONS = {
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
AGKY = {2: (0.40, 1.42), 1: (-0.20, 1.42)}  # charged multiplicity a + b ln W^2 of nu p and nu n, arXiv:0904.4043
# 1e-39 cm2 per carbon with the low-energy beam, 1.5 to 20 GeV, and its error: MINERvA, arXiv:1409.3835; the same from the
# published tables 5 and 6, cross-section by energy and flux (copied in github.com/NUISANCEMC/nuisance, data/MINERvA/CCcoh/raw).
COHERENT = (3.49, 0.43)
# Public simulation of MINERvA's medium-energy beam (GENIE, after reconstruction, all materials), percent; for orientation.
MIX = {"qe": 12.31, "res": 21.42, "dis": 61.65, "coh": 1.05, "mec": 3.58}
HYDROGEN = 1 / 13  # of the nucleons of CH
SMALLEST_MODE = 1e-6  # of the largest eigenvalue: the covariance is rounded to 7 digits, and its small modes are noise


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("-n", "--events", type=int, default=1_000_000, help="events of the comparison with MINERvA")
    args = parser.parse_args()
    samples = os.environ.get("CLOUDCHAMBER_SAMPLES")
    if samples is None and not args.tiny:
        parser.error("set CLOUDCHAMBER_SAMPLES to the folder that holds minerva/")
    n = 300 if args.tiny else 20_000
    figures = speed(2000 if args.tiny else 50_000, 1 if args.tiny else 5)
    figures |= totals(n) | single_pions(n) | multiplicities(200 if args.tiny else 5000) | coherent_pions() | mix(5 * n)
    targets = [
        record.Target("events_per_second", ">=", 10_000),
        *(record.Target(f"total_largest_pull_{name}", "<=", 2.0) for name in ("nu", "anti")),
        *(record.Target(f"plateau_pull_{name}", "<=", 2.0) for name in ("nu", "anti")),
        *(record.Target(f"chi2_per_point_{c}", "<=", 2.0) for c in ("p_pip", "p_pi0", "n_pip")),
        record.Target("multiplicity_largest_deviation", "<=", 0.1),
        record.Target("coherent_pull", "<=", 2.0),
    ]
    if samples is not None:
        figures |= inclusive_muons(Path(samples) / "minerva", 3000 if args.tiny else args.events)
        targets.append(record.Target("minerva_inclusive_chi2", "<=", "minerva_inclusive_chi2_tune_v1"))
    settings = {
        "events": n,
        "events_inclusive": args.events,
        "data": {"total": TOTAL[14] + TOTAL[-14], "plateau": list(PLATEAU.values()), "coherent": COHERENT, "mix": MIX},
    }
    path = record.write("neutrino", figures, targets, settings=settings, seeds=[SEED], tiny=args.tiny, folder=args.output)
    record.show(path)


def speed(n: int, repetitions: int) -> dict[str, record.Figure]:
    """Events per second of one core with the medium-energy flux, tables ready."""
    flux = initial.read_flux("me")
    generate(100, flux, seed=SEED)
    rates = []
    for repetition in range(repetitions):
        start = time.process_time()
        generate(n, flux, seed=SEED + repetition)
        rates.append(n / (time.process_time() - start))
    return {"events_per_second": record.median(rates, "1/s")}


def totals(n: int) -> dict[str, record.Figure]:
    """sigma/E of charged currents at the energies of the data, and how far from them in their errors."""
    figures: dict[str, record.Figure] = {}
    for pdg, name in ((14, "nu"), (-14, "anti")):
        pulls = []
        for experiment, energy, value, error in TOTAL[pdg]:
            found = charged(generate(n, initial.single_energy(energy, pdg), seed=SEED, neutral=False), per=energy)
            figures[f"total_over_energy_{name}_{energy:g}_gev_{experiment}"] = found
            pulls.append(abs(found.value - value) / error)
        figures[f"total_largest_pull_{name}"] = record.exact(max(pulls))
        figures[f"total_chi2_per_point_{name}"] = record.exact(float(np.mean(np.square(pulls))))
        found = charged(generate(n, initial.single_energy(60.0, pdg), seed=SEED, neutral=False), per=60.0)
        value, error = PLATEAU[pdg]
        figures[f"plateau_over_energy_{name}"] = found
        figures[f"plateau_pull_{name}"] = record.exact(abs(found.value - value) / error)
    return figures


def single_pions(n: int) -> dict[str, record.Figure]:
    """One-pion channels on free nucleons, mean over each energy bin, and chi2 per point."""
    figures: dict[str, record.Figure] = {}
    for (target, nucleon, pion), (edges, values, errors) in PIONS.items():
        pulls = []
        for (low, high), value, error in zip(pairwise(edges), values, errors, strict=True):
            flux = initial.Flux(np.array([low, high]), np.ones(1))
            events = generate(n, flux, seed=SEED, neutral=False, target=target)
            codes, event = events.hadrons.pdg, events.hadrons.event
            all_N, nucleons_N, pions_N = (
                np.bincount(event[np.isin(codes, c)], minlength=len(events)) for c in (codes, nucleon, pion)
            )
            found = charged(events, (all_N == 2) & (nucleons_N == 1) & (pions_N == 1))
            name = f"{NAMES[nucleon]}_{NAMES[pion]}"
            figures[f"sigma_{name}_{low:g}_{high:g}_gev"] = found
            pulls.append((found.value - value) / error)
        figures[f"chi2_per_point_{name}"] = record.exact(float(np.mean(np.square(pulls))))
    return figures


def multiplicities(n: int) -> dict[str, record.Figure]:
    """Charged multiplicity of nu p and nu n over W as the generator mixes its two ways, against AGKY; and its dispersion."""
    figures: dict[str, record.Figure] = {}
    rng, pythia, largest = np.random.default_rng(SEED), hadrons.start_pythia(1), 0.0
    for mass in (1.8, 2.0, 2.5, 3.0, 4.0, 6.0):
        for q, (a, b) in AGKY.items():
            w, charge, rows = np.full(n, mass), np.full(n, q), np.arange(n)
            low, high = hadrons.STRINGS
            string = rng.random(n) * (high - low) + low < w
            parts = hadrons.strings(
                pythia,
                rows[string],
                w[string],
                hadrons.string_ends(charge[string], np.ones(string.sum(), bool), np.zeros(string.sum(), bool), rng),
            )
            bodies = hadrons.multiplicities(w[~string], charge[~string], False, rng)
            found = hadrons.join(parts + hadrons.cluster(rows[~string], w[~string], charge[~string], bodies, rng))
            neutral = np.isin(found.pdg, (22, 111, 130, 310, 311, -311, 2112, -2112, 3122, -3122, 3212, 3322))
            charged_N = np.bincount(found.event[~neutral], minlength=n)
            name = f"{'nu_p' if q == 2 else 'nu_n'}_w_{mass:g}"
            figures[f"charged_multiplicity_{name}"] = counted(float(charged_N.mean()), float(charged_N.std() / np.sqrt(n)))
            figures[f"charged_dispersion_over_mean_{name}"] = record.exact(float(charged_N.std() / charged_N.mean()))
            largest = max(largest, abs(charged_N.mean() / (a + b * np.log(mass**2)) - 1))
    return figures | {"multiplicity_largest_deviation": record.exact(largest)}


def coherent_pions() -> dict[str, record.Figure]:
    """Coherent pi+ with the low-energy flux between 1.5 and 20 GeV."""
    flux = initial.read_flux("le")
    energy = (flux.edges[1:] + flux.edges[:-1]) / 2
    weight = flux.contents_B * ((energy > 1.5) & (energy < 20))
    found = float((weight * coherent.cross_section(energy, charged=True)).sum() / weight.sum()) * 1e39
    value, error = COHERENT
    return {"coherent_le": record.exact(found, "1e-39 cm2/C12"), "coherent_pull": record.exact(abs(found - value) / error)}


def mix(n: int) -> dict[str, record.Figure]:
    """Channels, currents, and where W and Q^2 of charged currents lie, with the medium-energy flux."""
    events = generate(n, initial.read_flux("me"), seed=SEED)
    figures = {f"me_percent_{name}": counted(*share(events.kind == kind, 100.0), "%") for name, kind in KINDS.items()}
    figures["me_percent_charged"] = counted(*share(events.charged_current, 100.0), "%")
    q = (events.neutrino_N4 - events.lepton_N4)[events.charged_current]
    q2 = -square(q)
    w = np.sqrt(np.maximum(NUCLEON**2 + 2 * NUCLEON * q[:, 0] - q2, 0.0))
    for name, values in (("q2", q2), ("w", w)):
        low, middle, high = np.percentile(values, (16, 50, 84))
        figures[f"me_{name}"] = record.Figure(
            float(middle), float(low), float(high), "16-84 % of charged currents", "GeV2" if name == "q2" else "GeV"
        )
    return figures


def inclusive_muons(folder: Path, n: int) -> dict[str, record.Figure]:
    """d2sigma/dpT dp|| of muons on CH, doi:10.1103/PhysRevD.104.092007: chi2 with the covariance, shape and size apart."""
    with (folder / "ccinclusive_ptpl_me.csv").open() as stream:
        rows = [r for r in csv.DictReader(line for line in stream if not line.startswith("#")) if r["reported"] == "1"]
    column = {name: np.array([float(r[name]) for r in rows]) for name in rows[0]}
    with np.load(folder / "covariances.npz") as stored:
        triangle, bins = stored["ccinclusive_ptpl_me_total_triu"], stored["ccinclusive_ptpl_me_bins"]
    if not np.array_equal(column["global_bin"], bins):
        raise ValueError(f"{folder}: the bins of the covariance are not the reported ones")
    covariance = np.zeros((len(bins), len(bins)))
    covariance[np.triu_indices(len(bins))] = triangle
    covariance += np.triu(covariance, 1).T
    flux = initial.read_flux("me")
    predicted = (1 - HYDROGEN) * muons(generate(n, flux, seed=SEED, neutral=False), column)
    predicted += HYDROGEN * muons(generate(max(n // 6, 100), flux, seed=SEED, neutral=False, target="p"), column)
    area = (column["p_par_high"] - column["p_par_low"]) * (column["pt_high"] - column["pt_low"])
    figures = {"minerva_inclusive_bins": record.exact(len(bins))}
    for name, model in (("", predicted), ("_tune_v1", column["model_mnvtune_v1"])):
        size = float((model * area).sum() / (column["xsec"] * area).sum())
        for kind, scaled in (("", model), ("_shape", model / size)):
            difference = (scaled - column["xsec"]) * 1e40
            whole, cut, modes = chi2(difference, covariance)
            figures[f"minerva_inclusive_chi2{kind}{name}"] = record.exact(whole)
            figures[f"minerva_inclusive_chi2_without_noise{kind}{name}"] = record.exact(cut)
            figures["minerva_inclusive_modes_without_noise"] = record.exact(modes)
        figures[f"minerva_inclusive_over_data{name}"] = record.exact(size)
    return figures


def muons(events: Interactions, column: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Cross-section per nucleon and (GeV/c)^2 in each reported bin [cm2], the muon within 20 degrees."""
    pt, pl = np.hypot(events.lepton_N4[:, 1], events.lepton_N4[:, 2]), events.lepton_N4[:, 3]
    inside = np.degrees(np.arctan2(pt, pl)) < 20
    edges = [np.unique(np.concatenate([column[f"{x}_low"], column[f"{x}_high"]])) for x in ("pt", "p_par")]
    counts = np.histogram2d(pt[inside], pl[inside], edges)[0]
    i, j = (np.searchsorted(e, column[f"{x}_low"]) for e, x in zip(edges, ("pt", "p_par"), strict=True))
    area = (column["p_par_high"] - column["p_par_low"]) * (column["pt_high"] - column["pt_low"])
    return counts[i, j] * events.cross_section / len(events) / area


def chi2(difference: NDArray[np.float64], covariance: NDArray[np.float64]) -> tuple[float, float, int]:
    """Of all modes, of those that are not noise, and the number of the latter."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > SMALLEST_MODE * values[-1]
    along = vectors.T @ difference
    whole = difference @ np.linalg.solve(covariance, difference)
    return float(whole), float((along[kept] ** 2 / values[kept]).sum()), int(kept.sum())


def counted(value: float, error: float, unit: str = "1") -> record.Figure:
    return record.Figure(value, value - error, value + error, "standard error of the simulated events", unit)


def share(mask: NDArray[np.bool_], scale: float) -> tuple[float, float]:
    p = float(mask.mean())
    return scale * p, scale * float(np.sqrt(p * (1 - p) / len(mask)))


def charged(events: Interactions, chosen: NDArray[np.bool_] | None = None, per: float = 1.0) -> record.Figure:
    """Cross-section of the chosen charged currents per nucleon and `per` [1e-38 cm2]; the error is that of their number."""
    number = len(events) if chosen is None else int(chosen.sum())
    value = events.cross_section * number / len(events) * 1e38 / per
    return counted(value, value / np.sqrt(max(number, 1)), "1e-38 cm2")


if __name__ == "__main__":
    main()
