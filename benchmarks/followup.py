"""Follow-up: whether a policy chosen on stored runs costs, alerts and finds in new campaigns what it says.

A campaign has 200 candidate regions, of which four hold a signal that the search was not made for. Each region has two halves
of data. Stages: one encoder on the first half; two more encoders on the same half, of which the least significant counts; all
three on the other half, combined with the first; the posterior over a bank. The first stage makes few pseudo-experiments,
the others many. The policy is chosen on one set of runs and timings and judged on another: campaigns are drawn from it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

import posterior
import record
import timing
from cloudchamber.errors import BadInput
from cloudchamber.search import battery, followup
from cloudchamber.search.followup import Limits, Policy, Stage, Stored
from cloudchamber.search.methods import kernel
from cloudchamber.search.sample import Sample
from cloudchamber.stats.event_p import event_p

SEED = 11
CAMPAIGNS = 1000
LIMITS = Limits(candidates=200, signals=4, budget_s=0.0, alerts=4.0, fwer=0.05)
_SHARE = 0.2  # of the cost of following everything
_STAGES = ("first encoder", "more encoders", "other half", "characterise")
_EVENTS, _REFERENCE, _POOL, _COLUMNS = 500, 2000, 2000, 6
_ENCODERS = 3
_SIGNALS, _STRENGTH = 24, (4.0, 10.0)  # shapes, and the best possible significance of one half
_CHUNK = 500
_DRAWS = 100  # places that are tried for a signal


@dataclass(frozen=True)
class Size:
    """How many toys: null of the first stage and of the others, stored runs without and with a signal, timed runs."""

    coarse: int = 1000
    fine: int = 10_000
    null: int = 60_000
    injected: int = 6_000
    timed: int = 8


class Encoder:
    """The search with one encoding of the events: the Bayes factors of the kernel test, averaged, and its own null."""

    def __init__(self, encoded_NE: NDArray[np.float64], toys: int, seed: int):
        rng = np.random.default_rng(seed)
        self.test = kernel.prepare(Sample(encoded_NE), None, seed)
        sizes = [min(_CHUNK, toys - start) for start in range(0, toys, _CHUNK)]
        self.null_T = np.concatenate([self._statistic(*draw(np.zeros(_POOL), size, rng)) for size in sizes])

    def p(self, data_TN: NDArray[np.float32], reference_TN: NDArray[np.float32]) -> NDArray[np.float64]:
        """(T,) p-values by rank, (b + 1) / (n + 1)."""
        return event_p(self.null_T, self._statistic(data_TN, reference_TN))

    def _statistic(self, data_TN: NDArray[np.float32], reference_TN: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(logsumexp(self.test.statistics(data_TN, reference_TN), axis=1))


class Ladder:
    """The stages on one pool of background events."""

    def __init__(self, size: Size, seed: int):
        self.size, self.rng, self.seed = size, np.random.default_rng(seed), seed
        x_NF = self.rng.normal(size=(_POOL, _COLUMNS))
        x_NF[:, 0] = np.abs(x_NF[:, 0]) ** 1.5  # one that is not Gaussian
        self.x_NF = (x_NF - x_NF.mean(axis=0)) / x_NF.std(axis=0)
        matrices = [self.rng.normal(size=(_COLUMNS, 8)) / np.sqrt(_COLUMNS) for _ in range(_ENCODERS - 1)]
        self.encodings = [self.x_NF, *(np.tanh(self.x_NF @ m) for m in matrices)]
        self.bank = battery.alternatives(self.x_NF, 12, 0.02, seed + 100)
        self.first = Encoder(self.x_NF, size.coarse, seed)
        self.all = [Encoder(x, size.fine, seed + 1 + i) for i, x in enumerate(self.encodings)]

    def run(self, log_ratio_N: NDArray[np.float64], n: int) -> NDArray[np.float64]:
        """(n, S) p-values of each stage. What the candidates share is made once here, for each of them in `cost`."""
        halves = [draw(log_ratio_N, n, self.rng) for _ in range(2)]
        one, other = (followup.conservative_p(np.stack([e.p(*half) for e in self.all], axis=1)) for half in halves)
        both = followup.combined_p(one, other)
        return np.stack([self.first.p(*halves[0]), one, both, both], axis=1)

    def cost(self) -> NDArray[np.float64]:
        """(S,) CPU seconds of each stage for one candidate by itself, its pseudo-experiments included."""
        half = draw(np.zeros(_POOL), 1, self.rng)
        spent = [time.process_time()]
        Encoder(self.x_NF, self.size.coarse, self.seed).p(*half)
        spent.append(time.process_time())
        for _ in range(2):  # the other half costs as much as the first
            for x in self.encodings:
                Encoder(x, self.size.fine, self.seed).p(*half)
            spent.append(time.process_time())
        rows = np.repeat(np.arange(_POOL), half[0][0].astype(int))
        log_ratio_NK = np.stack([a.log_ratio_N[rows] for a in self.bank], axis=1)
        posterior.characterise(log_ratio_NK, np.full(len(self.bank), 1 / len(self.bank)))
        spent.append(time.process_time())
        return np.diff(spent)


def draw(log_ratio_N: NDArray[np.float64], n: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(n, N) data and reference, drawn from the pool."""
    rates = (_EVENTS / _POOL * np.exp(log_ratio_N), np.full(_POOL, _REFERENCE / _POOL))
    data_TN, reference_TN = (rng.poisson(rate, (n, _POOL)).astype(np.float32) for rate in rates)
    return data_TN, reference_TN


def main() -> None:
    args = record.arguments(__doc__).parse_args()
    timing.settle(args.threads)
    size = Size(300, 1000, 1500, 480, 2) if args.tiny else Size()
    ladder = Ladder(size, SEED)
    chosen, judged = library(ladder, size), library(ladder, size)
    cost_S = np.mean(chosen.cost_CS, axis=0)
    stages = tuple(Stage(n, float(c), alert=i == 1) for i, (n, c) in enumerate(zip(_STAGES, cost_S, strict=True)))
    stored = Stored(stages, chosen.null_RS, chosen.injected_RS)
    everything = stored.follow_everything(LIMITS)
    full = stored.forecast(everything, LIMITS)
    limits = replace(LIMITS, budget_s=_SHARE * full.cost_s)
    policy = stored.best(limits)
    print(policy, flush=True)
    forecast = stored.forecast(policy, limits)
    campaigns = 50 if args.tiny else CAMPAIGNS
    measured = replay(judged, {"policy": policy, "everything": everything}, campaigns)
    ours, theirs = measured["policy"], measured["everything"]
    per_campaign = "standard error of the mean of the campaigns"
    figures = {
        "false_alerts": average(ours["alerts"], per_campaign),
        "false_alerts_forecast": record.exact(forecast.false_alerts),
        "false_alerts_off": ratio_off(ours["alerts"], forecast.false_alerts),
        "cpu": average(ours["cost"], per_campaign, "s"),
        "cpu_forecast": record.exact(forecast.cost_s, "s"),
        "cpu_off": ratio_off(ours["cost"], forecast.cost_s),
        "discoveries": average(ours["found"], per_campaign),
        "discoveries_everything": average(theirs["found"], per_campaign),
        "discoveries_share": record.exact(ours["found"].sum() / max(theirs["found"].sum(), 1)),
        "cost_share": record.exact(ours["cost"].sum() / theirs["cost"].sum()),
        "campaigns_with_a_false_discovery": average(ours["false"] > 0, per_campaign),
    }
    shares = (0.1, 0.15, 0.3)
    for share, (_, at) in zip(shares, stored.frontier(limits, [s * full.cost_s for s in shares]), strict=True):
        figures |= {f"discoveries_share_at_{share:g}_of_the_cost": record.exact(at.discoveries / max(full.discoveries, 1e-9))}
    path = record.write(
        "followup",
        figures,
        [
            record.Target("false_alerts_off", "<=", 0.1),
            record.Target("cpu_off", "<=", 0.1),
            record.Target("discoveries_share", ">=", 0.8),
            record.Target("cost_share", "<=", _SHARE),
        ],
        settings={
            "campaigns": campaigns,
            "candidates": LIMITS.candidates,
            "signals": LIMITS.signals,
            "alerts_allowed": LIMITS.alerts,
            "fwer": LIMITS.fwer,
            "events_per_half": _EVENTS,
            "reference": _REFERENCE,
            "encoders": _ENCODERS,
            "stored_runs": {"null": size.null, "injected": size.injected},
            "thresholds": dict(zip(_STAGES, policy.thresholds, strict=True)),
            "seconds_per_candidate": dict(zip(_STAGES, map(float, cost_S), strict=True)),
            "environment": timing.ENVIRONMENT,
        },
        seeds=[SEED],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


@dataclass(frozen=True)
class Runs:
    """p-values of all stages, and CPU seconds of some candidates."""

    null_RS: NDArray[np.float64]
    injected_RS: NDArray[np.float64]
    cost_CS: NDArray[np.float64]


def library(ladder: Ladder, size: Size) -> Runs:
    """Runs of all stages: without a signal, and with signals of many shapes and strengths."""
    null = [ladder.run(np.zeros(_POOL), _CHUNK) for _ in range(-(-size.null // _CHUNK))]
    injected = []
    for i, z in enumerate(ladder.rng.uniform(*_STRENGTH, _SIGNALS)):
        shape = _shape(ladder, battery.FAMILIES[i % len(battery.FAMILIES)], z**2 / 2 / _EVENTS)
        injected.append(ladder.run(shape.log_ratio_N, size.injected // _SIGNALS))
    costs = np.stack([ladder.cost() for _ in range(size.timed)])
    return Runs(np.concatenate(null), np.concatenate(injected), costs)


def _shape(ladder: Ladder, family: str, kl: float) -> battery.Alternative:
    """A signal of a family at a divergence; a place with too few events for it is drawn again."""
    for _ in range(_DRAWS):
        try:
            return battery.alternatives(ladder.x_NF, 1, kl, int(ladder.rng.integers(1 << 30)), (family,))[0]
        except BadInput as error:
            last = error
    raise last


def replay(runs: Runs, policies: dict[str, Policy], campaigns: int) -> dict[str, dict[str, NDArray[np.float64]]]:
    """What each policy does in campaigns that are drawn from measured runs and costs: (campaigns,) each."""
    rng = np.random.default_rng(SEED + 1)
    signals = int(LIMITS.signals)
    null = rng.integers(len(runs.null_RS), size=(campaigns, LIMITS.candidates - signals))
    injected = rng.integers(len(runs.injected_RS), size=(campaigns, signals))
    cost = runs.cost_CS[rng.integers(len(runs.cost_CS), size=(campaigns, LIMITS.candidates))]
    found = {}
    for name, policy in policies.items():
        passed_null, passed = (policy.passed(p_RS) for p_RS in (runs.null_RS, runs.injected_RS))
        passed_CRS = np.concatenate([passed_null[null], passed[injected]], axis=1)
        reached_CRS = np.concatenate([np.ones((*passed_CRS.shape[:2], 1), bool), passed_CRS[..., :-1]], axis=2)
        found[name] = {
            "cost": (reached_CRS * cost).sum(axis=(1, 2)),
            "alerts": policy.alerts(runs.null_RS)[null].sum(axis=1).astype(float),
            "false": passed_null[:, -1][null].sum(axis=1).astype(float),
            "found": passed[:, -1][injected].sum(axis=1).astype(float),
        }
    return found


def average(values: NDArray[np.generic], spread: str, unit: str = "1") -> record.Figure:
    """Mean and its standard error."""
    centre, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    return record.Figure(centre, centre - error, centre + error, spread, unit)


def ratio_off(values: NDArray[np.float64], forecast: float) -> record.Figure:
    """By which part of the forecast the mean is off."""
    return record.exact(abs(float(np.mean(values)) - forecast) / max(forecast, 1e-3))


if __name__ == "__main__":
    main()
