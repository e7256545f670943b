"""Jets: simulated H -> bb jets against 2000 real ones of JetClass, in the same range and with the same matching.

Jet mass by quantiles and multiplicity by its mean, as ratios to the real sample with bootstrap errors; distributions of
jets and particles by the Kolmogorov-Smirnov distance; and classifiers (boosted trees, five folds) that are trained to tell
simulated from real jets, on high-level variables alone and with the leading particles' momenta. Nothing is reweighted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from scipy.stats import ks_2samp
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold

from cloudchamber import data
from cloudchamber.events import MOMENTUM, Cloud, kinematics
from cloudchamber.events.clustering import fastjet_module
from cloudchamber.simulate import simulate
from cloudchamber.stats.figures import Figure, Target, exact, mean
from cloudchamber.stats.metrics import auc
from cloudchamber.validation.comparison import Comparison, Panel, histogram

SEED = 31
SCENARIO, DETECTOR = "jetclass_hbb", "jetclass"
LEADING = 25  # particles whose momenta the second classifier sees
QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90)
MEDIAN, OTHERS, MULTIPLICITY, AUC = 0.015, 0.04, 0.05, 0.70
FILE = "jetclass_HToBB_2000.npz"
_BOOTSTRAPS = 400
_FOLDS = 5
_UNITS = {"jet_pt": "GeV", "mass": "GeV", "pt": "GeV"}
Draw = Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]  # values of jets that are drawn with replacement


def comparisons(samples: Path | None, n: int) -> list[Comparison]:
    """With the real jets, if there are any."""
    if samples is None:
        why = f"not compared: no samples. Set CLOUDCHAMBER_SAMPLES to the folder that holds {FILE}."
        return [Comparison("jets", "Jets against JetClass", "", missing=why)]
    return [compared(data.read(samples / FILE), simulate(SCENARIO, max(n // 5, 100), seed=SEED, detector=DETECTOR, workers=1))]


def compared(real: Cloud, ours: Cloud) -> Comparison:
    """Two samples of jets: figures, targets, and every variable's distribution."""
    rng = np.random.default_rng(SEED)
    jets = {"real": _jet_variables(real), "ours": _jet_variables(ours)}
    particles = {"real": _particle_variables(real), "ours": _particle_variables(ours)}
    figures = _ratios(jets["real"], jets["ours"], rng)
    figures |= _distances(jets["real"], jets["ours"], (_resampled, _resampled), rng)
    whole = _particles_resampled(real), _particles_resampled(ours)
    figures |= _distances(particles["real"], particles["ours"], whole, rng)
    truth = np.repeat([0, 1], [len(real), len(ours)])
    high_level = np.concatenate([np.stack(list(jets[s].values()), axis=1) for s in ("real", "ours")])
    leading = np.concatenate([_leading_particles(real), _leading_particles(ours)])
    figures["auc_high_level"] = _told_apart(high_level, truth)
    figures["auc_particles"] = _told_apart(np.concatenate([high_level, leading], axis=1), truth)
    targets = (
        *(Target(f"mass_q{round(100 * q)}_off", "<=", MEDIAN if q == 0.5 else OTHERS) for q in QUANTILES),
        Target("multiplicity_off", "<=", MULTIPLICITY),
        Target("auc_particles", "<=", AUC),
    )
    panels = [_panel(name, jets["real"][name], jets["ours"][name]) for name in jets["real"]]
    panels += [_panel(f"particle {name}", particles["real"][name], particles["ours"][name]) for name in particles["real"]]
    text = (
        f"{len(ours):,} simulated H to bb jets against {len(real):,} real ones of JetClass (arXiv:2202.03772), which have "
        "four-momenta alone: no identity, charge or impact parameter can be compared."
    )
    return Comparison("jets", "Jets against JetClass", text, tuple(panels), figures, targets)


def _panel(name: str, real: NDArray[Any], ours: NDArray[Any]) -> Panel:
    low, high = np.quantile(np.concatenate([real, ours]), (0.001, 0.99 if name.startswith("particle") else 0.999))
    edges = np.linspace(low, high + 1e-9, 31)
    both = histogram("JetClass", "truth", real, edges, error=True), histogram("simulated", "ours", ours, edges)
    unit = _UNITS.get(name.rpartition(" ")[2], "1")
    return Panel(name.replace("_", " "), f"{name.replace('_', ' ')} [{unit}]", "density", both)


def _ratios(real: dict[str, NDArray[Any]], ours: dict[str, NDArray[Any]], rng: np.random.Generator) -> dict[str, Figure]:
    """Ours over real for quantiles of the mass and the mean multiplicity, and how far from 1 they are."""
    figures = {}
    numbers: list[tuple[str, str, Callable[[NDArray[Any]], Any]]] = [("multiplicity", "multiplicity", np.mean)]
    numbers += [(f"mass_q{round(100 * q)}", "mass", partial(np.quantile, q=q)) for q in QUANTILES]
    for name, variable, number in numbers:
        value = float(number(ours[variable]) / number(real[variable]))
        tries = [number(_resampled(ours[variable], rng)) / number(_resampled(real[variable], rng)) for _ in range(_BOOTSTRAPS)]
        error = float(np.std(tries))
        spread = f"standard error from {_BOOTSTRAPS} bootstraps of both samples"
        figures[f"{name}_ratio"] = Figure(value, value - error, value + error, spread)
        figures[f"{name}_off"] = Figure(abs(value - 1), max(abs(value - 1) - error, 0.0), abs(value - 1) + error, spread)
        figures[f"{name}_real"] = exact(float(number(real[variable])), "GeV" if variable == "mass" else "1")
    return figures


def _distances(
    real: dict[str, NDArray[Any]], ours: dict[str, NDArray[Any]], draws: tuple[Draw, Draw], rng: np.random.Generator
) -> dict[str, Figure]:
    """Largest difference of the cumulative distributions, with its 16-84 % over bootstraps of whole jets."""
    figures = {}
    for name, theirs in real.items():
        value = float(ks_2samp(theirs, ours[name]).statistic)
        pairs = [(draws[0](theirs, rng), draws[1](ours[name], rng)) for _ in range(_BOOTSTRAPS // 10)]
        low, high = np.percentile([float(ks_2samp(*pair).statistic) for pair in pairs], (16, 84))
        spread = "16-84 % of bootstraps, which can only lie above the distance itself"
        figures[f"distance_{name}"] = Figure(value, min(float(low), value), max(float(high), value), spread)
    return figures


def _resampled(values: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """As many values, drawn with replacement."""
    return values[rng.integers(len(values), size=len(values))]


def _particles_resampled(cloud: Cloud) -> Draw:
    """As `resampled` for values of particles, of whole jets."""
    return lambda values, rng: np.asarray(ak.flatten(_resampled(ak.unflatten(values, cloud.counts), rng)))


def _jet_variables(cloud: Cloud) -> dict[str, NDArray[np.float64]]:
    """High-level variables of each jet."""
    jet = np.repeat(np.arange(len(cloud)), cloud.counts)
    axes = kinematics.axes_of(cloud)
    particle = _particle_variables(cloud)
    share = particle["pt"] / np.bincount(jet, particle["pt"])[jet]
    order = np.lexsort((-share, jet))
    first = np.cumsum(cloud.counts) - cloud.counts
    tau = _subjettiness(cloud)
    return {
        "jet_pt": axes["pt"],
        "jet_abs_eta": np.abs(axes["eta"]),
        "mass": kinematics.invariant_mass(cloud),
        "multiplicity": cloud.counts.astype(float),
        **{f"share_{i + 1}": share[order][first + i] for i in range(3)},
        "width": np.bincount(jet, share * particle["dr"]),
        "dispersion": np.sqrt(np.bincount(jet, share**2)),
        "tau1": tau[0],
        "tau21": tau[1] / tau[0],
        "tau32": tau[2] / tau[1],
    }


def _particle_variables(cloud: Cloud) -> dict[str, NDArray[np.float64]]:
    """pT [GeV] and distance to the jet's axis of each particle."""
    p = {name: cloud.flat(name).astype(np.float64) for name in MOMENTUM}
    axes = kinematics.axes_of(cloud)
    pt, eta, phi = kinematics.pt_eta_phi(p["px"], p["py"], p["pz"])
    jet = np.repeat(np.arange(len(cloud)), cloud.counts)
    return {"pt": pt, "dr": np.hypot(eta - axes["eta"][jet], kinematics.wrap(phi - axes["phi"][jet]))}


def _subjettiness(cloud: Cloud) -> NDArray[np.float64]:
    """(3, N) N-subjettiness tau_1..3 with beta = 1 and exclusive kT axes, without a minimisation, R = 0.8."""
    fastjet = fastjet_module()
    names = dict(zip(("px", "py", "pz", "E"), MOMENTUM, strict=True))
    flat = {short: cloud.flat(name).astype(np.float64) for short, name in names.items()}
    particles = ak.unflatten(ak.zip(flat, with_name="Momentum4D"), cloud.counts)
    sequence = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.kt_algorithm, 0.8))
    pt, eta, phi = kinematics.pt_eta_phi(flat["px"], flat["py"], flat["pz"])
    jet = np.repeat(np.arange(len(cloud)), cloud.counts)
    scale = np.bincount(jet, pt) * 0.8
    found = []
    for n in (1, 2, 3):
        axes = sequence.exclusive_jets(n_jets=n)
        axis = [np.asarray(ak.flatten(axes[c])).reshape(-1, n) for c in ("px", "py", "pz")]
        _, axis_eta, axis_phi = kinematics.pt_eta_phi(*axis)
        distance = np.hypot(eta[:, None] - axis_eta[jet], kinematics.wrap(phi[:, None] - axis_phi[jet])).min(axis=1)
        found.append(np.bincount(jet, pt * distance) / scale)
    return np.stack(found)


def _leading_particles(cloud: Cloud) -> NDArray[np.float64]:
    """(N, 4 LEADING) share of pT, deta, dphi and mass squared of the leading particles; NaN where there is none."""
    jets = kinematics.leading(cloud, LEADING)
    axes, jet = kinematics.axes_of(cloud), np.repeat(np.arange(len(jets)), jets.counts)
    p = {name: jets.flat(name).astype(np.float64) for name in MOMENTUM}
    pt, eta, phi = kinematics.pt_eta_phi(p["px"], p["py"], p["pz"])
    squared = p["energy"] ** 2 - p["px"] ** 2 - p["py"] ** 2 - p["pz"] ** 2
    # float32 momenta: the mass of a particle above 20 GeV is noise.
    values = [pt / axes["pt"][jet], eta - axes["eta"][jet], kinematics.wrap(phi - axes["phi"][jet])]
    values.append(np.where(p["energy"] < 20, squared.round(3), np.nan))
    rank = np.arange(len(jet)) - np.repeat(np.cumsum(jets.counts) - jets.counts, jets.counts)
    table = np.full((len(jets), 4, LEADING), np.nan)
    for i, value in enumerate(values):
        table[jet, i, rank] = value
    return table.reshape(len(jets), -1)


def _told_apart(x: NDArray[np.float64], truth: NDArray[np.int64]) -> Figure:
    """AUC of boosted trees that are trained to tell the samples apart: mean over the folds and its standard error."""
    x = x[:, np.isfinite(x).sum(axis=0) > len(x) // 10]  # the first particles have no mass: they are above 20 GeV
    found = []
    for train, test in StratifiedKFold(_FOLDS, shuffle=True, random_state=SEED).split(x, truth):
        model = HistGradientBoostingClassifier(learning_rate=0.05, max_iter=200, l2_regularization=1.0, random_state=SEED)
        model.fit(x[train], truth[train])
        found.append(auc(truth[test] == 1, model.predict_proba(x[test])[:, 1]).value)
    return replace(mean(found), spread=f"standard error over {_FOLDS} folds")
