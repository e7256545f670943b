"""Battery: what part of the possible significance a search reaches on signals that nobody named.

Three draws of a background's events, of a bank of eight signals, and of 35 alternatives in five families (shifts, bumps, smooth
reweightings, stretched directions, thresholds), all at the same divergence from the background, at three strengths. The same
methods at three settings of the knob: the bank alone, half and half, anything. The background is known, as it is to the best
possible test. Beside it: what a reference of eight times the data reaches, and what a test does that knows the five families.
"""

# T toy, N event of the pool, K sub-test, F feature, A alternative, M event to score

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import families
import gaussians
import record
import timing
from cloudchamber.search import battery
from cloudchamber.search.battery import FAMILIES, Alternative, Verdict
from cloudchamber.search.calibrate import Calibration, calibrate, null_statistics
from cloudchamber.search.knob import knob
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import Bank, Sample, concatenate
from cloudchamber.search.suite import Suite, suite
from cloudchamber.stats.pvalues import Tail, significance

SEEDS = (5, 6, 7)
METHODS = ("bank", "kernel", "moments", "direction")
SETTINGS = {"bank alone": 0.0, "half": 0.5, "anything": 1.0}
STRENGTHS = (3.0, 4.5, 6.0)  # sqrt(2 n KL): the best possible significance, nearly
_STRONGER = (7.5, 9.0)  # for the minimal detectable injection alone
_BESIDE = ("eta_mean_unseen_half", "eta_worst_decile_unseen_half", "eta_mean_unseen_anything")  # given for all three tests
_UNSEEN, _KNOWN = 35, 8
_POOL, _COLUMNS, _EVENTS = 4000, 6, 1000
_KNOWN_BACKGROUND, _FEWER = 10**9, 8000  # events of the reference: so many have no fluctuations left
_ALPHA = 1.35e-3
_NULL, _TOYS = 100_000, 64
_SIGNAL_EVENTS = 2000
_DRAWS = 500  # of each family, for the test that knows them
_BUMP = FAMILIES.index("bump")  # the family of the bank, whose signals are at other places than the unseen ones

Verdicts = Mapping[float, Mapping[str, Sequence[Verdict]]]  # by strength and by setting


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    nulls, toys, unseen, seeds = (1000, 16, 5, SEEDS[:2]) if args.tiny else (_NULL, _TOYS, _UNSEEN, SEEDS)
    drawn = [on_one_draw(seed, nulls, toys, unseen, args.threads) for seed in seeds]
    common = [name for name in drawn[0] if all(name in figures for figures in drawn)]
    path = record.write(
        "battery",
        {n: record.mean([figures[n].value for figures in drawn], drawn[0][n].unit) for n in common},
        [
            record.Target("eta_mean_unseen_half", ">=", 0.5),
            record.Target("eta_worst_decile_unseen_half", ">=", 0.3),
        ],
        settings={
            "methods": list(METHODS),
            "generality": SETTINGS,
            "families": list(FAMILIES),
            "unseen": unseen,
            "known": _KNOWN,
            "strengths": list(STRENGTHS),
            "events": _EVENTS,
            "reference": _KNOWN_BACKGROUND,
            "pool": _POOL,
            "columns": _COLUMNS,
            "alpha": _ALPHA,
            "null_toys": nulls,
            "toys_each": toys,
            "environment": timing.ENVIRONMENT,
        },
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def on_one_draw(seed: int, nulls: int, toys: int, unseen: int, workers: int) -> dict[str, record.Figure]:
    """All figures of one draw of events, bank and alternatives."""
    x_NF = background(np.random.default_rng(seed))
    known = bank_signals(x_NF, 0.004, seed)
    search = suite(Sample(x_NF), simulated(x_NF, known, seed), METHODS, seed)

    def others(kl: float) -> list[Alternative]:
        return battery.alternatives(x_NF, unseen, kl, seed + 1)  # at other places than the bank's: another seed

    def calibrated(test: Suite, reference: int) -> Calibrated:
        null_TK = null_statistics(test, gaussians.Drawn(_POOL, _EVENTS, reference, seed), 2 * nulls, workers=workers)
        return Calibrated(
            test, {n: calibrate(knob(test, (g,)), null_TK, test.names) for n, g in SETTINGS.items()}, reference, toys, seed
        )

    whole, all_strengths = calibrated(search, _KNOWN_BACKGROUND), (*STRENGTHS, *_STRONGER)
    figures: dict[str, record.Figure] = {}
    for group, make in (("unseen", others), ("known", lambda kl: bank_signals(x_NF, kl, seed))):
        verdicts = whole.verdicts(make, known, all_strengths)
        figures |= etas(verdicts, group) | injections(verdicts, group)
        if group == "unseen":
            figures |= by_family(verdicts)
    for label, test, reference in (
        (f"reference_{_FEWER}", search, _FEWER),
        ("knows_families", families.instead(search, drawn_families(x_NF, seed)), _KNOWN_BACKGROUND),
    ):
        found = etas(calibrated(test, reference).verdicts(others, known, STRENGTHS), "unseen")
        figures |= {f"{name}_{label}": found[name] for name in _BESIDE}
    return figures


@dataclass(frozen=True)
class Calibrated:
    """A search at each setting of the knob, and how toys with a signal are drawn for it."""

    suite: Suite
    calibrations: dict[str, Calibration]
    reference: int
    toys: int
    seed: int

    def verdicts(
        self, make: Callable[[float], list[Alternative]], known: Sequence[Alternative], strengths: Sequence[float]
    ) -> Verdicts:
        """Of the alternatives that are made for the divergence of each strength."""
        found = {z: self._judged(make(z**2 / 2 / _EVENTS), known) for z in strengths}
        for z, of_settings in found.items():
            powers = ", ".join(f"{n} {np.mean([v.power for v in verdicts]):.2f}" for n, verdicts in of_settings.items())
            print(f"draw {self.seed}, {', '.join(self.suite.names)}, strength {z:g}: {powers}", flush=True)
        return found

    def _judged(self, ones: Sequence[Alternative], known: Sequence[Alternative]) -> dict[str, list[Verdict]]:
        """At each setting, on the same toys."""
        made: dict[bytes, NDArray[np.float64]] = {}

        def statistics(data_TN: Counts, reference_TN: Counts) -> NDArray[np.float64]:
            key = data_TN.tobytes()
            if key not in made:
                made[key] = self.suite.statistics(data_TN, reference_TN)
            return made[key]

        p_values: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
            name: calibration.global_p for name, calibration in self.calibrations.items()
        }
        p_values["half, extrapolated"] = Extrapolated.of(self.calibrations["half"]).p
        return {
            name: battery.judge(
                lambda data_TN, reference_TN, p=p: p(statistics(data_TN, reference_TN)),  # type: ignore[misc]
                ones,
                events=_EVENTS,
                reference=self.reference,
                smallest_p=1 / (len(self.calibrations["half"].joint_T) + 1),
                bank=known,
                alpha=_ALPHA,
                toys=self.toys,
                seed=self.seed + 2,
            )
            for name, p in p_values.items()
        }


def etas(verdicts: Verdicts, group: str) -> dict[str, record.Figure]:
    """Mean and worst decile of eta at every setting, over STRENGTHS."""
    figures = {}
    for setting in verdicts[STRENGTHS[0]]:
        values = [[v.eta for v in verdicts[z][setting]] for z in STRENGTHS]
        figures[f"eta_mean_{group}_{setting}"] = record.exact(float(np.mean(values)))
        figures[f"eta_worst_decile_{group}_{setting}"] = record.exact(battery.worst_decile(list(itertools.chain(*values))))
    return figures


def injections(verdicts: Verdicts, group: str) -> dict[str, record.Figure]:
    """The minimal detectable injection of every setting that reaches half power at any strength."""
    figures = {}
    for setting in verdicts[STRENGTHS[0]]:
        powers = [float(np.mean([v.power for v in of_settings[setting]])) for of_settings in verdicts.values()]
        mdi = battery.minimal_injection(list(verdicts), powers)
        if np.isfinite(mdi):
            figures[f"mdi_{group}_{setting}"] = record.exact(mdi, "sigma")
            figures[f"eta_at_half_power_{group}_{setting}"] = record.exact(significance(_ALPHA) / mdi)
    return figures


def by_family(verdicts: Verdicts) -> dict[str, record.Figure]:
    """At half generality: mean eta of all and of each family at each strength, and how many are at the reach of the toys."""
    figures = {}
    for z in STRENGTHS:
        found = verdicts[z]["half"]
        figures[f"eta_at_{z:g}"] = record.exact(float(np.mean([v.eta for v in found])))
        for family in FAMILIES:
            etas_of_family = [v.eta for v in found if v.name.startswith(family)]
            figures[f"eta_{family}_at_{z:g}"] = record.exact(float(np.mean(etas_of_family)))
        figures[f"at_the_reach_of_toys_at_{z:g}"] = record.exact(sum(v.reach for v in found))
    return figures


def drawn_families(x_NF: NDArray[np.float64], seed: int) -> list[Alternative]:
    """Other draws of the families, half at 3, half at 4.5 sigma: not every bump can be as far from the background as 6 ask."""
    number = _DRAWS * len(FAMILIES) // 2
    return [
        one
        for i, z in enumerate(STRENGTHS[:2])
        for one in battery.alternatives(x_NF, number, z**2 / 2 / _EVENTS, seed + 10 + i)
    ]


def background(rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, F) events of mean 0 and unit variance: two clusters, one column with a tail, two that depend on each other."""
    x_NF = rng.normal(size=(_POOL, _COLUMNS))
    x_NF[:, 0] += 2.0 * (rng.uniform(size=_POOL) < 0.3)
    x_NF[:, 1] = rng.exponential(size=_POOL)
    x_NF[:, 2] += 0.5 * x_NF[:, 3] ** 2
    return (x_NF - x_NF.mean(axis=0)) / x_NF.std(axis=0)


def bank_signals(x_NF: NDArray[np.float64], kl: float, seed: int) -> list[Alternative]:
    """The signals of the bank at a divergence: bumps."""
    families = len(FAMILIES)
    return battery.alternatives(x_NF, _KNOWN * families, kl, seed)[_BUMP::families]


def simulated(x_NF: NDArray[np.float64], known: Sequence[Alternative], seed: int) -> Bank:
    """Events of each signal of the bank: of the excess over the background alone."""
    rng = np.random.default_rng(seed)
    samples = []
    for one in known:
        excess_N = np.maximum(np.expm1(one.log_ratio_N) - np.expm1(one.log_ratio_N).min(), 0)
        samples.append(Sample(x_NF[rng.choice(_POOL, _SIGNAL_EVENTS, p=excess_N / excess_N.sum())]))
    signal_N = np.repeat(np.arange(len(known)), _SIGNAL_EVENTS)
    return Bank(concatenate(samples), signal_N, tuple(one.name for one in known))


@dataclass(frozen=True)
class Extrapolated:
    """p-values that go on beyond the reach of the toys by the fit of the tail: what more toys would say, if it is right."""

    calibration: Calibration
    tail: Tail

    @classmethod
    def of(cls, calibration: Calibration) -> Extrapolated:
        """The fit of a calibration's joint null."""
        return cls(calibration, Tail.fit(calibration.joint_T))

    def p(self, statistics_TK: NDArray[np.float64]) -> NDArray[np.float64]:
        """(T,) ranks where at least ten toys lie above, else the tail."""
        rank_T, joint_T = self.calibration.global_p(statistics_TK), self.calibration.joint(statistics_TK)
        few = 11 / (len(self.calibration.joint_T) + 1)
        return np.array([self.tail.p(x).value if p < few else p for p, x in zip(rank_T, joint_T, strict=True)])


if __name__ == "__main__":
    main()
