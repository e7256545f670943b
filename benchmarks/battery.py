"""Battery: what part of the possible significance a search reaches on signals that nobody named.

35 alternatives in five families (shifts, bumps, smooth reweightings, stretched directions, thresholds), all at the same
divergence from the background, at three strengths; and the eight signals of the bank that the search knows. The same methods
at three settings of the knob: the bank alone, half and half, anything. Reference and data are drawn from one pool, the
reference forty times as large: the template is ideal, as the best possible test takes it to be. What eight times cost stands
beside it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import gaussians
import record
import timing
from cloudchamber.search import battery
from cloudchamber.search.battery import Alternative, Verdict
from cloudchamber.search.calibrate import Calibration, calibrate, null_statistics
from cloudchamber.search.knob import knob
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import Bank, Sample, concatenate
from cloudchamber.search.suite import Suite, suite
from cloudchamber.stats.pvalues import Tail, significance

SEED = 5
METHODS = ("bank", "kernel", "moments", "direction")
SETTINGS = {"bank alone": 0.0, "half": 0.5, "anything": 1.0}
STRENGTHS = (3.0, 4.5, 6.0)  # sqrt(2 n KL): the best possible significance, nearly
_STRONGER = (7.5, 9.0)  # for the minimal detectable injection alone
_UNSEEN, _KNOWN = 35, 8
_POOL, _COLUMNS, _EVENTS, _REFERENCE, _FEWER = 4000, 6, 1000, 40_000, 8000
_ALPHA = 1.35e-3
_NULL, _TOYS = 100_000, 64
_SIGNAL_EVENTS = 2000
_BUMP = battery.FAMILIES.index("bump")  # the family of the bank, whose signals are at other places than the unseen ones


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    nulls, toys, unseen_n = (1000, 16, 5) if args.tiny else (_NULL, _TOYS, _UNSEEN)
    x_NF = background(np.random.default_rng(SEED))
    known = bank_signals(x_NF, 0.004)
    search = suite(Sample(x_NF), simulated(x_NF, known), METHODS, SEED)
    figures = measured(search, x_NF, known, _REFERENCE, nulls, toys, unseen_n)
    # What a reference that is no larger than many an experiment's costs: the limit knows nothing of its fluctuations.
    fewer = measured(search, x_NF, known, _FEWER, nulls, toys, unseen_n)
    figures |= {f"{n}_reference_{_FEWER}": fewer[n] for n in ("eta_mean_unseen_half", "eta_worst_decile_unseen_half")}
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
            "families": list(battery.FAMILIES),
            "unseen": unseen_n,
            "known": _KNOWN,
            "strengths": list(STRENGTHS),
            "events": _EVENTS,
            "reference": _REFERENCE,
            "pool": _POOL,
            "columns": _COLUMNS,
            "alpha": _ALPHA,
            "null_toys": nulls,
            "toys_each": toys,
            "environment": timing.ENVIRONMENT,
        },
        seeds=[SEED],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def measured(
    search: Suite, x_NF: NDArray[np.float64], known: Sequence[Alternative], reference: int, nulls: int, toys: int, unseen_n: int
) -> dict[str, record.Figure]:
    """All figures of the search with a reference of so many events."""
    null_TK = null_statistics(search, gaussians.Drawn(_POOL, _EVENTS, reference, SEED), 2 * nulls)
    calibrations = {n: calibrate(knob(search, (g,)), null_TK, search.names) for n, g in SETTINGS.items()}
    figures: dict[str, record.Figure] = {}
    powers: dict[tuple[str, str], list[float]] = {}
    etas: dict[tuple[str, str], list[list[float]]] = {}  # of each strength, of each alternative
    for z in (*STRENGTHS, *_STRONGER):
        kl = z**2 / 2 / _EVENTS
        # Other places than the bank's: another seed. The bank's own signals at this strength.
        groups = {
            "unseen": battery.alternatives(x_NF, unseen_n, kl, SEED + 1),
            "known": bank_signals(x_NF, kl),
        }
        for group, ones in groups.items():
            for setting, verdicts in judged(search, calibrations, ones, known, reference, toys).items():
                powers.setdefault((setting, group), []).append(float(np.mean([v.power for v in verdicts])))
                if z in STRENGTHS:
                    etas.setdefault((setting, group), []).append([v.eta for v in verdicts])
                if setting == "half" and group == "unseen" and z in STRENGTHS:
                    figures |= by_family(verdicts, z)
        print(f"strength {z:g}: " + ", ".join(f"{s} {g} {p[-1]:.2f}" for (s, g), p in powers.items()), flush=True)
    strengths = (*STRENGTHS, *_STRONGER)
    for (setting, group), values in etas.items():
        label = f"{group}_{setting}"
        # An alternative's strengths are no independent ones.
        figures[f"eta_mean_{label}"] = record.mean(np.mean(values, axis=0).tolist())
        figures[f"eta_worst_decile_{label}"] = record.exact(battery.worst_decile(list(itertools.chain(*values))))
        mdi = battery.minimal_injection(strengths, powers[setting, group])
        figures[f"mdi_{label}"] = record.exact(min(mdi, 2 * strengths[-1]), "sigma")
        figures[f"eta_at_half_power_{label}"] = record.exact(significance(_ALPHA) / min(mdi, 2 * strengths[-1]))
    return figures


def background(rng: np.random.Generator) -> NDArray[np.float64]:
    """(N, F) events of mean 0 and unit variance: two clusters, one column with a tail, two that depend on each other."""
    x_NF = rng.normal(size=(_POOL, _COLUMNS))
    x_NF[:, 0] += 2.0 * (rng.uniform(size=_POOL) < 0.3)
    x_NF[:, 1] = rng.exponential(size=_POOL)
    x_NF[:, 2] += 0.5 * x_NF[:, 3] ** 2
    return (x_NF - x_NF.mean(axis=0)) / x_NF.std(axis=0)


def bank_signals(x_NF: NDArray[np.float64], kl: float) -> list[Alternative]:
    """The signals of the bank at a divergence: bumps."""
    families = len(battery.FAMILIES)
    return battery.alternatives(x_NF, _KNOWN * families, kl, SEED)[_BUMP::families]


def simulated(x_NF: NDArray[np.float64], known: Sequence[Alternative]) -> Bank:
    """Events of each signal of the bank: of the excess over the background alone."""
    rng = np.random.default_rng(SEED)
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
            seed=SEED + 2,
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
    for family in battery.FAMILIES:
        found[f"eta_{family}_at_{z:g}"] = record.mean([v.eta for v in verdicts if v.name.startswith(family)])
    return found | {f"at_the_reach_of_toys_at_{z:g}": record.exact(sum(v.reach for v in verdicts))}


if __name__ == "__main__":
    main()
