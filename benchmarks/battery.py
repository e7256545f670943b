"""Battery: what part of the possible significance a search reaches on signals that nobody named.

On three backgrounds, 35 alternatives in five families (shifts, bumps, smooth reweightings, stretched directions, thresholds),
all at the same divergence from the background, at three strengths; and the eight signals of the bank that the search knows. The
same methods at three settings of the knob: the bank alone, half and half, anything. Reference and data are drawn from one pool,
the reference a hundred times as large: the template is ideal, as the best possible test takes it to be. Beside it: what eight
times cost, and what a test reaches that knows the five families.
"""

# T toy, N event of the pool, K sub-test, F feature, A alternative, M event to score

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

import gaussians
import record
import timing
from cloudchamber import registry
from cloudchamber.search import battery
from cloudchamber.search.battery import FAMILIES, Alternative, Verdict
from cloudchamber.search.calibrate import Calibration, calibrate, null_statistics
from cloudchamber.search.knob import knob
from cloudchamber.search.methods.base import Counts, differences, log_ratio
from cloudchamber.search.sample import Bank, Sample, concatenate
from cloudchamber.search.suite import Part, Suite, suite
from cloudchamber.stats.pvalues import Tail, significance

SEEDS = (5, 6, 7)
METHODS = ("bank", "kernel", "moments", "direction")
SETTINGS = {"bank alone": 0.0, "half": 0.5, "anything": 1.0}
STRENGTHS = (3.0, 4.5, 6.0)  # sqrt(2 n KL): the best possible significance, nearly
_STRONGER = (7.5, 9.0)  # for the minimal detectable injection alone
_BESIDE = ("eta_mean_unseen_half", "eta_worst_decile_unseen_half", "eta_mean_unseen_anything")  # of the other two
_UNSEEN, _KNOWN = 35, 8
_POOL, _COLUMNS, _EVENTS, _REFERENCE, _FEWER = 4000, 6, 1000, 100_000, 8000
_ALPHA = 1.35e-3
_NULL, _NULL_BESIDE, _TOYS = 100_000, 20_000, 64
_SIGNAL_EVENTS = 2000
_DRAWS = 500  # of each family, for the test that knows them
_BUMP = FAMILIES.index("bump")  # the family of the bank, whose signals are at other places than the unseen ones


@dataclass(frozen=True)
class Size:
    """How much is drawn: toys of the null, toys of each alternative, alternatives; whether stronger ones and known ones too."""

    nulls: int
    toys: int
    unseen: int
    whole: bool
    workers: int


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    size = Size(1000, 16, 5, True, args.threads) if args.tiny else Size(_NULL, _TOYS, _UNSEEN, True, args.threads)
    seeds = SEEDS[:2] if args.tiny else SEEDS
    of_seed = [on_background(seed, size) for seed in seeds]
    figures = {n: record.mean([f[n].value for f in of_seed], of_seed[0][n].unit) for n in of_seed[0]}
    path = record.write(
        "battery",
        figures,
        [
            record.Target("eta_mean_unseen_half", ">=", 0.5),
            record.Target("eta_worst_decile_unseen_half", ">=", 0.3),
        ],
        settings={
            "methods": list(METHODS),
            "generality": SETTINGS,
            "families": list(FAMILIES),
            "unseen": size.unseen,
            "known": _KNOWN,
            "strengths": list(STRENGTHS),
            "events": _EVENTS,
            "reference": _REFERENCE,
            "pool": _POOL,
            "columns": _COLUMNS,
            "alpha": _ALPHA,
            "null_toys": size.nulls,
            "null_toys_beside": min(size.nulls, _NULL_BESIDE),
            "toys_each": size.toys,
            "environment": timing.ENVIRONMENT,
        },
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def on_background(seed: int, size: Size) -> dict[str, record.Figure]:
    """All figures on one background, with one bank, for one draw of the alternatives."""
    x_NF = background(np.random.default_rng(seed))
    known = bank_signals(x_NF, 0.004, seed)
    search = suite(Sample(x_NF), simulated(x_NF, known, seed), METHODS, seed)
    figures = measured(search, x_NF, known, _REFERENCE, size, seed)
    less = replace(size, nulls=min(size.nulls, _NULL_BESIDE), whole=False)
    for label, test, reference in (
        (f"reference_{_FEWER}", search, _FEWER),
        ("knows_families", knows_families(search, x_NF, seed), _REFERENCE),
    ):
        found = measured(test, x_NF, known, reference, less, seed)
        figures |= {f"{n}_{label}": found[n] for n in _BESIDE}
    return figures


def measured(
    search: Suite, x_NF: NDArray[np.float64], known: Sequence[Alternative], reference: int, size: Size, seed: int
) -> dict[str, record.Figure]:
    """The figures of a search with a reference of so many events."""
    toys = gaussians.Drawn(_POOL, _EVENTS, reference, seed)
    null_TK = null_statistics(search, toys, 2 * size.nulls, workers=size.workers)
    calibrations = {n: calibrate(knob(search, (g,)), null_TK, search.names) for n, g in SETTINGS.items()}
    figures: dict[str, record.Figure] = {}
    powers: dict[tuple[str, str], list[float]] = {}
    etas: dict[tuple[str, str], list[list[float]]] = {}  # of each strength, of each alternative
    strengths = (*STRENGTHS, *_STRONGER) if size.whole else STRENGTHS
    for z in strengths:
        kl = z**2 / 2 / _EVENTS
        # Other places than the bank's: another seed. The bank's own signals at this strength.
        groups = {"unseen": battery.alternatives(x_NF, size.unseen, kl, seed + 1)}
        groups |= {"known": bank_signals(x_NF, kl, seed)} if size.whole else {}
        for group, ones in groups.items():
            for setting, verdicts in judged(search, calibrations, ones, known, reference, size.toys, seed).items():
                powers.setdefault((setting, group), []).append(float(np.mean([v.power for v in verdicts])))
                if z in STRENGTHS:
                    etas.setdefault((setting, group), []).append([v.eta for v in verdicts])
                if setting == "half" and group == "unseen" and z in STRENGTHS:
                    figures |= by_family(verdicts, z)
        shown = ", ".join(f"{s} {g} {p[-1]:.2f}" for (s, g), p in powers.items())
        print(f"background {seed}, reference {reference}, strength {z:g}: {shown}", flush=True)
    for (setting, group), values in etas.items():
        label = f"{group}_{setting}"
        figures[f"eta_mean_{label}"] = record.exact(float(np.mean(values)))
        figures[f"eta_worst_decile_{label}"] = record.exact(battery.worst_decile(list(itertools.chain(*values))))
        if size.whole:
            mdi = min(battery.minimal_injection(strengths, powers[setting, group]), 2 * strengths[-1])
            figures[f"mdi_{label}"] = record.exact(mdi, "sigma")
            figures[f"eta_at_half_power_{label}"] = record.exact(significance(_ALPHA) / mdi)
    return figures


@dataclass(frozen=True)
class Families:
    """The mixture of the exact ratios of many draws of the same families: what no search has, since it knows what will come."""

    tilt_NA: NDArray[np.float32]
    names: tuple[str, ...] = ("families",)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> NDArray[np.float64]:
        """(T, 1) log likelihood ratio of the mixture, linear in each alternative's ratio."""
        mean_TA, worth_T = differences(self.tilt_NA, data_TN, reference_TN)
        log_TA = log_ratio(mean_TA * np.sqrt(worth_T)[:, None])
        return np.asarray(logsumexp(log_TA, axis=1, keepdims=True) - np.log(log_TA.shape[1]))

    def scores(self, features_MF: NDArray[np.float64], data_N: Counts, reference_N: Counts) -> NDArray[np.float64]:
        """None: it is no search."""
        raise NotImplementedError


def knows_families(search: Suite, x_NF: NDArray[np.float64], seed: int) -> Suite:
    """The suite with one test that knows the families in place of those that know nothing."""
    drawn = battery.alternatives(x_NF, _DRAWS * len(FAMILIES), STRENGTHS[1] ** 2 / 2 / _EVENTS, seed + 3)
    tilt_NA = np.expm1(np.array([one.log_ratio_N for one in drawn])).T
    prepared = Families((tilt_NA / tilt_NA.std(axis=0)).astype(np.float32))
    families = Part(replace(registry.get("methods", "direction"), name="families"), None, None, prepared)
    return Suite((*(p for p in search.parts if p.method.role == "specific"), families))


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


def judged(
    search: Suite,
    calibrations: dict[str, Calibration],
    ones: Sequence[Alternative],
    known: Sequence[Alternative],
    reference: int,
    toys: int,
    seed: int,
) -> dict[str, list[Verdict]]:
    """The verdicts at each setting, on the same toys."""
    made: dict[bytes, NDArray[np.float64]] = {}

    def statistics(data_TN: Counts, reference_TN: Counts) -> NDArray[np.float64]:
        key = data_TN.tobytes()
        if key not in made:
            made[key] = search.statistics(data_TN, reference_TN)
        return made[key]

    p_values = {name: calibration.global_p for name, calibration in calibrations.items()}
    p_values["half, extrapolated"] = Extrapolated.of(calibrations["half"]).p
    return {
        name: battery.judge(
            lambda data_TN, reference_TN, p=p: p(statistics(data_TN, reference_TN)),  # type: ignore[misc]
            ones,
            events=_EVENTS,
            reference=reference,
            smallest_p=1 / (len(calibrations["half"].joint_T) + 1),
            bank=known,
            alpha=_ALPHA,
            toys=toys,
            seed=seed + 2,
        )
        for name, p in p_values.items()
    }


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


def by_family(verdicts: Sequence[Verdict], z: float) -> dict[str, record.Figure]:
    """Mean eta of each family at one strength, and how many verdicts are at the reach of the toys."""
    found = {}
    for family in FAMILIES:
        found[f"eta_{family}_at_{z:g}"] = record.mean([v.eta for v in verdicts if v.name.startswith(family)])
    return found | {f"at_the_reach_of_toys_at_{z:g}": record.exact(sum(v.reach for v in verdicts))}


if __name__ == "__main__":
    main()
