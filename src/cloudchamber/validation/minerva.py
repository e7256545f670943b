"""The neutrino generator with its cascade against MINERvA's measurements on hydrocarbon: muons, no pion, one pion, low recoil.

Tables and covariances are those of FOLDER/minerva of the samples, signals as their headers say. The chi2 is with the published
covariance, by a plain solve of all bins; of the shape alone the prediction is scaled to the data's integral. The simulated
events' own errors are not in it. The beam's flux is ours, without its error, which is in the covariances.
"""

# N event, X bin, A axis

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadFile
from cloudchamber.simulate.neutrino import initial
from cloudchamber.simulate.neutrino.cascade import cascade
from cloudchamber.simulate.neutrino.generator import generate
from cloudchamber.simulate.neutrino.interactions import Interactions, Particles
from cloudchamber.simulate.neutrino.kinematics import MUON, NUCLEON, mass_of, square
from cloudchamber.stats.figures import Figure, Target, exact
from cloudchamber.validation.comparison import Comparison, Panel, Series
from cloudchamber.validation.vertex import HYDROGEN, SEED

Array = NDArray[np.float64]
SMALLEST_MODE = 1e-6  # of the largest eigenvalue: a covariance is rounded, and its small modes are noise
_UNIT = 1e40  # chi2 of numbers of order 1
_CHUNK = 50_000  # events in the cascade at a time
_MUONS = "ccinclusive_ptpl_me"
_ONE_PION = {  # variable in the tables: of `Events`, factor to the table's unit
    "pmu": ("p", 1.0),
    "plmu": ("pl", 1.0),
    "ptmu": ("pt", 1.0),
    "thmu": ("theta", 1.0),
    "Q2": ("q2", 1.0),
    "Wexp": ("w", 1.0),
    "thpi": ("pion_theta", 1.0),
    "th": ("pion_theta", 1.0),
    "Tpi": ("pion_kinetic", 1.0),
    "Enu": ("energy", 1.0),
}


@dataclass(frozen=True)
class Events:
    """What is measured of charged currents. GeV and degrees. w, q2, q3 of the lepton; available: MINERvA's definition.

    mesons, pi_plus, pi_charged: numbers; odd: whether there is a baryon but nucleons; pion_*: of a charged pion, NaN without.
    share: of the nucleons of CH; weight: cross-section of one event [cm2 per nucleon of CH].
    """

    energy: Array
    p: Array
    pt: Array
    pl: Array
    theta: Array
    muon_energy: Array
    q2: Array
    q3: Array
    w: Array
    mesons: Array
    pi_plus: Array
    pi_charged: Array
    odd: NDArray[np.bool_]
    pion_kinetic: Array
    pion_theta: Array
    available: Array
    weight: float


_AXES = {
    "energy": "neutrino energy [GeV]",
    "p": "muon momentum [GeV]",
    "pt": "muon pT [GeV]",
    "pl": "muon pL [GeV]",
    "theta": "muon angle [degrees]",
    "muon_energy": "muon energy [GeV]",
    "q2": "Q2 [GeV2]",
    "q3": "q3 [GeV]",
    "w": "W [GeV]",
    "pion_kinetic": "pion kinetic energy [GeV]",
    "pion_theta": "pion angle [degrees]",
    "available": "available energy [GeV]",
}
_BEAMS = {"me": "medium-energy beam", "le": "low-energy beam"}
Sample = Sequence[Events]  # carbon and hydrogen
Signal = Callable[[Events], NDArray[np.bool_]]


def comparisons(samples: Path | None, n: int) -> list[Comparison]:
    """With every table, if there are any: 50 n events for the muons, 10 n of each beam through the cascade."""
    if samples is None:
        why = "not compared: no samples. Set CLOUDCHAMBER_SAMPLES to the folder that holds minerva/."
        titles = {"inclusive": "muons", "no_pion": "no pion", "one_pion": "one pion", "low_recoil": "low recoil"}
        return [Comparison(f"minerva_{name}", f"MINERvA: {title}", "", missing=why) for name, title in titles.items()]
    folder = samples / "minerva"
    muons = [_observed(e, None, part) for e, part in _generated("me", 50 * n)]
    me, le = ([_observed(e, _final(e, part), part) for e, part in _generated(beam, 10 * n)] for beam in ("me", "le"))
    return [inclusive(folder, muons), no_pion(folder, me, le), one_pion(folder, me, le), low_recoil(folder, le)]


def inclusive(folder: Path, muons: Sample) -> Comparison:
    """d2sigma/dpT dp|| of muons within 20 degrees, doi:10.1103/PhysRevD.104.092007, with MINERvA Tune v1 beside it."""
    table = Table.read(folder, _MUONS, {"p_par": "pl", "pt": "pt"})
    covariance = _covariance(folder, f"{_MUONS}_total", table, "global_bin")
    figures = {"minerva_inclusive_bins": exact(len(table.value))}
    ours = table.predicted(muons, lambda e: e.theta < 20)
    tune = table.column("model_mnvtune_v1")
    for name, model in (("", ours), ("_tune_v1", tune)):
        size, scaled = _scaled(model, table)
        for kind, values in (("", model), ("_shape", scaled)):
            whole, cut, modes = chi2(_UNIT * (values - table.value), covariance)
            figures[f"minerva_inclusive_chi2{kind}{name}"] = exact(whole)
            figures[f"minerva_inclusive_chi2_without_noise{kind}{name}"] = exact(cut)
            figures["minerva_inclusive_modes_without_noise"] = exact(modes)
        figures[f"minerva_inclusive_over_data{name}"] = exact(size)
    panels = [table.panel(a, "Muons", {"simulated": ours, "MINERvA Tune v1": tune}) for a in ("pl", "pt")]
    text = (
        "Muons of all charged currents, medium-energy beam. The covariance is rounded to 7 digits: chi2 also without its "
        "modes below 1e-6 of the largest eigenvalue. Target: not above the chi2 of MINERvA Tune v1, which ships with the data."
    )
    target = Target("minerva_inclusive_chi2", "<=", "minerva_inclusive_chi2_tune_v1")
    return Comparison("minerva_inclusive", "MINERvA: muons", text, tuple(panels), figures, (target,))


def no_pion(folder: Path, me: Sample, le: Sample) -> Comparison:
    """Muons of events without mesons, photons or baryons but nucleons, in both beams."""

    def signal(e: Events) -> NDArray[np.bool_]:
        return np.asarray((e.theta < 20) & (e.mesons == 0) & ~e.odd)

    found = _Found()
    table = Table.read(folder, "cc0pi_ptpl_le", {"p_par": "pl", "pt": "pt"})
    found.add("cc0pi_le", table, table.predicted(le, signal), _covariance(folder, "cc0pi_ptpl_le_total", table, "bin"), "pt")
    table = Table.read(folder, "cc0pi_ptpz_me", {"pz": "pl", "pt": "pt"})
    found.add("cc0pi_me", table, table.predicted(me, lambda e: signal(e) & (e.p > 1.5)), _diagonal(table, "unc"), "pt")
    text = (
        "One muon within 20 degrees, no meson and no baryon but nucleons. Low-energy beam: arXiv:1811.02774, with covariance; "
        "medium-energy beam: errors alone, so its chi2 ignores correlations. No published generator's chi2 is known to us."
    )
    return found.comparison("minerva_no_pion", "MINERvA: no pion", text)


def one_pion(folder: Path, me: Sample, le: Sample) -> Comparison:
    """One charged pion at W below 1.4 GeV: every variable of both releases."""

    def signal_me(e: Events) -> NDArray[np.bool_]:
        muon = (e.p > 1.5) & (e.p < 20) & (e.theta < 13) & (e.w < 1.4)
        return np.asarray(muon & (e.pi_plus == 1) & (e.mesons == 1) & (e.pion_kinetic > 0.035) & (e.pion_kinetic < 0.35))

    def signal_le(e: Events) -> NDArray[np.bool_]:
        return np.asarray((e.pi_charged == 1) & (e.w < 1.4) & (e.energy > 1.5) & (e.energy < 10))

    found = _Found()
    for variable in ("pmu", "plmu", "ptmu", "thmu", "Q2", "Wexp", "Tpi", "thpi"):
        table = Table.of_variable(folder, "cc1pip_me_targets", variable, target="CH")
        covariance = _covariance(folder, f"cc1pip_me_CH_{variable}_total", table)
        found.add(f"cc1pi_me_{variable.lower()}", table, table.predicted(me, signal_me), covariance)
    flux = initial.read_flux("le")
    for variable in ("pmu", "thmu", "Q2", "Enu", "Tpi", "th"):
        table = Table.of_variable(folder, "cc1pip_le", variable)
        error = _UNIT * table.column("unc")
        covariance = _symmetric(folder, f"cc1pip_le_{variable}_corr", len(error)) * np.outer(error, error)
        if variable == "Enu":  # a cross-section at each energy, not a density
            inside = np.array([_flux_share(flux, a, b) for a, b in zip(table.low_XA[:, 0], table.high_XA[:, 0], strict=True)])
            values = table.predicted(le, signal_le) * np.prod(table.high_XA - table.low_XA, axis=1) / inside
        else:
            values = table.predicted(le, signal_le) / _flux_share(flux, 1.5, 10)
        found.add(f"cc1pi_le_{variable.lower()}", table, values, covariance)
    text = (
        "One charged pion at W below 1.4 GeV. Medium-energy beam, CH: arXiv:2209.07852, pi+ of 35 to 350 MeV, no other meson; "
        "low-energy beam: the release of 2017 of arXiv:1406.6415, pi+ or pi-, 1.5 to 10 GeV. No published generator's chi2 is "
        "known to us."
    )
    return found.comparison("minerva_one_pion", "MINERvA: one pion", text)


def low_recoil(folder: Path, le: Sample) -> Comparison:
    """d2sigma/dE_avail dq3 between 2 and 6 GeV, arXiv:1511.05944."""
    name = "lowrecoil_eavail_q3_le"
    table = Table.read(folder, name, {"eavail": "available", "q3": "q3"}, scale=1e-38)

    def signal(e: Events) -> NDArray[np.bool_]:
        return np.asarray((e.energy > 2) & (e.energy < 6) & (e.muon_energy > 1.5) & (e.theta < 20))

    values = table.predicted(le, signal) / _flux_share(initial.read_flux("le"), 2, 6)
    covariance = _symmetric(folder, f"{name}_total", len(values)) * (1e-38 * _UNIT) ** 2
    found = _Found()
    found.add("low_recoil", table, values, covariance, "available")
    text = (
        "Energy that can be seen against the momentum transfer, low-energy beam, 2 to 6 GeV: arXiv:1511.05944. The flux is the "
        "later one of the same beam. No published generator's chi2 is known to us."
    )
    return found.comparison("minerva_low_recoil", "MINERvA: low recoil", text)


@dataclass(frozen=True)
class Table:
    """A measurement. axes: of `Events`. low_XA, high_XA: bins. value: [cm2 per unit of the axes]; rows: its lines."""

    axes: tuple[str, ...]
    low_XA: Array
    high_XA: Array
    value: Array
    rows: tuple[Mapping[str, str], ...]

    @classmethod
    def read(cls, folder: Path, name: str, axes: Mapping[str, str], *, scale: float = 1.0) -> Table:
        """A table with columns `<axis>_low`, `<axis>_high`, `xsec`; bins that are not reported are left out."""
        rows = tuple(r for r in _lines(folder / f"{name}.csv") if r.get("reported", "1") == "1")
        low, high = (np.array([[float(r[f"{a}_{end}"]) for a in axes] for r in rows]) for end in ("low", "high"))
        return cls(tuple(axes.values()), low, high, scale * np.array([float(r["xsec"]) for r in rows]), rows)

    @classmethod
    def of_variable(cls, folder: Path, name: str, variable: str, **chosen: str) -> Table:
        """The lines of one variable; the axis in GeV or degrees, whatever its unit there."""
        rows = tuple(
            r for r in _lines(folder / f"{name}.csv") if r["variable"] == variable and all(r[k] == v for k, v in chosen.items())
        )
        scale = 1e-3 if rows[0]["x_unit"] == "MeV" else 1.0
        low, high = (scale * np.array([[float(r[end])] for r in rows]) for end in ("x_low", "x_high"))
        return cls((_ONE_PION[variable][0],), low, high, np.array([float(r["xsec"]) for r in rows]) / scale, rows)

    def column(self, name: str) -> Array:
        """Another column, in the unit of the values."""
        scale = self.value[0] / float(self.rows[0]["xsec"])
        return np.asarray(scale * np.array([float(r[name]) for r in self.rows]))

    def predicted(self, sample: Sample, signal: Signal) -> Array:
        """(X,) the same of simulated events."""
        total = np.zeros(len(self.value))
        for events in sample:
            chosen = np.flatnonzero(signal(events))
            x_NA = np.stack([getattr(events, axis)[chosen] for axis in self.axes], axis=1)
            inside = [
                ((x_NA >= low) & (x_NA < high)).all(axis=1).sum() for low, high in zip(self.low_XA, self.high_XA, strict=True)
            ]
            total += events.weight * np.array(inside)
        return np.asarray(total / np.prod(self.high_XA - self.low_XA, axis=1))

    def panel(self, axis: str, title: str, models: Mapping[str, Array], error: Array | None = None) -> Panel:
        """The values summed over the other axes, as a density in this one."""
        a = self.axes.index(axis)
        edges = np.unique(np.concatenate([self.low_XA[:, a], self.high_XA[:, a]]))
        area = np.prod(self.high_XA - self.low_XA, axis=1)

        def along(values: Array) -> Array:  # a coarse bin is spread over the fine ones inside it
            share = np.minimum(self.high_XA[:, a, None], edges[1:]) - np.maximum(self.low_XA[:, a, None], edges[:-1])
            share = np.maximum(share, 0) / (self.high_XA[:, a] - self.low_XA[:, a])[:, None]
            return np.asarray(1e39 * ((values * area)[:, None] * share).sum(axis=0) / np.diff(edges))

        series = [Series.of("MINERvA", "truth", edges, along(self.value), None if error is None else along(error))]
        series += [Series.of(n, "ours" if n == "simulated" else "other", edges, along(v)) for n, v in models.items()]
        return Panel(title, _AXES[axis], "dsigma/dx [1e-39 cm2/unit/nucleon]", tuple(series))


def chi2(difference: Array, covariance: Array) -> tuple[float, float, int]:
    """Of all modes, of those that are not noise, and the number of the latter."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > SMALLEST_MODE * values[-1]
    along = vectors.T @ difference
    whole = difference @ np.linalg.solve(covariance, difference)
    return float(whole), float((along[kept] ** 2 / values[kept]).sum()), int(kept.sum())


class _Found:
    """Figures and panels of several tables, whose target is a chi2 of 2 per bin."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.panels: list[Panel] = []

    def add(self, name: str, table: Table, values: Array, covariance: Array, axis: str = "") -> None:
        size, scaled = _scaled(values, table)
        what, beam, *_ = name.split("_")
        title = f"{what.upper().replace('PI', 'pi')}, {_BEAMS[beam]}" if beam in _BEAMS else name.replace("_", " ").capitalize()
        name = f"minerva_{name}"
        self.figures |= {
            f"{name}_bins": exact(len(values)),
            f"{name}_over_data": exact(size),
            f"{name}_chi2_per_bin": exact(chi2(_UNIT * (values - table.value), covariance)[0] / len(values)),
            f"{name}_chi2_per_bin_shape": exact(chi2(_UNIT * (scaled - table.value), covariance)[0] / len(values)),
        }
        error = np.sqrt(np.diag(covariance)) / _UNIT
        self.panels.append(table.panel(axis or table.axes[0], title, {"simulated": values}, None if axis else error))

    def comparison(self, name: str, title: str, text: str) -> Comparison:
        targets = tuple(Target(f, "<=", 2.0) for f in self.figures if f.endswith("_chi2_per_bin"))
        return Comparison(name, title, text, tuple(self.panels), self.figures, targets)


def _scaled(model: Array, table: Table) -> tuple[float, Array]:
    """Size of a prediction over the data's, and the prediction with the data's."""
    area = np.prod(table.high_XA - table.low_XA, axis=1)
    size = float((model * area).sum() / (table.value * area).sum())
    return size, model / max(size, 1e-9)


def _lines(path: Path) -> list[dict[str, str]]:
    with path.open() as stream:
        return list(csv.DictReader(line for line in stream if not line.startswith("#")))


def _symmetric(folder: Path, name: str, size: int) -> Array:
    with np.load(folder / "covariances.npz") as stored:
        triangle = stored[f"{name}_triu"]
    if len(triangle) != size * (size + 1) // 2:
        raise BadFile(f"{folder / 'covariances.npz'}: {name} is not of {size} bins")
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = triangle
    return found + np.triu(found, 1).T


def _covariance(folder: Path, name: str, table: Table, index: str = "") -> Array:
    """In units of 1e-40 cm2; index: the column whose numbers the stored bins are."""
    if index:
        with np.load(folder / "covariances.npz") as stored:
            bins = stored[f"{name.removesuffix('_total')}_bins"].tolist()
        if bins != [int(r[index]) for r in table.rows]:
            raise BadFile(f"{folder}: the bins of the covariance {name} are not the reported ones")
    return _symmetric(folder, name, len(table.value))


def _diagonal(table: Table, column: str) -> Array:
    return np.diag((_UNIT * table.column(column)) ** 2)


def _flux_share(flux: initial.Flux, low: float, high: float) -> float:
    inside = np.minimum(flux.edges[1:], high) - np.maximum(flux.edges[:-1], low)
    return float((flux.contents_B * np.maximum(inside, 0) / np.diff(flux.edges)).sum())


def _generated(beam: str, n: int) -> list[tuple[Interactions, float]]:
    """Charged currents on carbon and on hydrogen, and their shares of the nucleons of CH."""
    flux = initial.read_flux(beam)
    carbon = generate(n, flux, seed=SEED, neutral=False)
    hydrogen = generate(max(n // 6, 100), flux, seed=SEED, neutral=False, target="p")
    return [(carbon, 1 - HYDROGEN), (hydrogen, HYDROGEN)]


def _final(events: Interactions, part: float) -> Particles:
    """What leaves the nucleus, in chunks that fit in memory; of hydrogen there is none."""
    if part == HYDROGEN:
        return events.hadrons
    starts = range(0, len(events), _CHUNK)
    rng = np.random.default_rng(SEED)
    parts = [cascade(events[np.arange(i, min(i + _CHUNK, len(events)))], rng) for i in starts]
    event = np.concatenate([p.event + i for p, i in zip(parts, starts, strict=True)])
    return Particles(event, np.concatenate([p.pdg for p in parts]), np.concatenate([p.p4_T4 for p in parts]))


def _observed(events: Interactions, final: Particles | None, part: float) -> Events:
    """final: None where hadrons are not looked at."""
    size, lepton = len(events), events.lepton_N4
    p, pt, pl = np.linalg.norm(lepton[:, 1:], axis=1), np.hypot(lepton[:, 1], lepton[:, 2]), lepton[:, 3]
    q = events.neutrino_N4 - lepton
    q2 = -square(q)
    flat = Particles(*(np.zeros(0, int), np.zeros(0, int), np.zeros((0, 4)))) if final is None else final
    code = np.abs(flat.pdg)
    meson = (code > 100) & (code < 1000)
    charged_pion = code == 211

    def count(mask: NDArray[np.bool_], weight: Array | None = None) -> Array:
        return np.bincount(flat.event[mask], None if weight is None else weight[mask], minlength=size).astype(float)

    kinetic = flat.p4_T4[:, 0] - np.where(flat.pdg == 2212, mass_of(np.array([2212])), mass_of(np.array([211])))
    seen = np.where(charged_pion | (flat.pdg == 2212), kinetic, flat.p4_T4[:, 0])
    visible = charged_pion | np.isin(flat.pdg, (2212, 111, 22, 11, -11))
    pion_kinetic, pion_theta = np.full((2, size), np.nan)
    pion_kinetic[flat.event[charged_pion]] = kinetic[charged_pion]
    momentum = np.linalg.norm(flat.p4_T4[charged_pion, 1:], axis=1)
    pion_theta[flat.event[charged_pion]] = np.degrees(np.arccos(flat.p4_T4[charged_pion, 3] / np.maximum(momentum, 1e-9)))
    odd = (code == 22) & (flat.p4_T4[:, 0] > 0.01) | (code > 1000) & (code < 100_000) & ~np.isin(code, (2212, 2112))
    return Events(
        energy=events.neutrino_N4[:, 0],
        p=p,
        pt=pt,
        pl=pl,
        theta=np.degrees(np.arctan2(pt, pl)),
        muon_energy=np.hypot(p, MUON),
        q2=q2,
        q3=np.sqrt(np.maximum(q2 + q[:, 0] ** 2, 0)),
        w=np.sqrt(np.maximum(NUCLEON**2 + 2 * NUCLEON * q[:, 0] - q2, 0)),
        mesons=count(meson),
        pi_plus=count(flat.pdg == 211),
        pi_charged=count(charged_pion),
        odd=count(odd) > 0,
        pion_kinetic=pion_kinetic,
        pion_theta=pion_theta,
        available=count(visible, seen),
        weight=part * events.cross_section / size,
    )
