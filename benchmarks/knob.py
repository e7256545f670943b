"""Knob: what generality costs in the bank and recovers on unseen signals; one global p-value for windows and settings scanned.

Three parts. summary: a 30-dimensional Gaussian summary statistic and a bank of 200 directions, judged by the package's knob and
calibration; every power is at 3 sigma. events: the same question asked of the whole code, with ratios learned from simulated
events of the bank. scan: windows of mass and settings of the knob, looked at all at once, without a signal.
"""

# T toy, S signal, F feature, L setting

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

import gaussians
import record
import timing
from cloudchamber.search.calibrate import Permutations, calibrate, null_statistics
from cloudchamber.search.frontier import frontier, standardised
from cloudchamber.search.knob import GRID, Knob, knob
from cloudchamber.search.methods.base import STRENGTH
from cloudchamber.search.sample import Sample
from cloudchamber.search.suite import suite

SEEDS = (0, 1, 2)
_ALPHA = 1.35e-3
_FEATURES, _BANK = 30, 200
_STRENGTHS = (3.0, 3.5, 4.0, 4.5, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0)
_TABLED = 4.5  # the strength whose powers are given
_SHIFT = 0.8  # of signal events, in standard deviations of the background
_WINDOWS = 6

Array = NDArray[np.float64]


def main() -> None:
    parser = record.arguments(__doc__)
    args = parser.parse_args()
    timing.settle(args.threads)
    sizes = {"summary": (8_000, 500), "events": (4_000, 500), "scan": (4_000, 2_000)} if args.tiny else _SIZES
    seeds = SEEDS[:1] if args.tiny else SEEDS
    found: dict[str, list[float]] = {}
    for seed in seeds:
        for part, measure in (("summary", summary), ("events", events), ("scan", scan)):
            if part == "events" and seed != seeds[0]:
                continue  # ten times the price of the others
            for name, value in measure(*sizes[part], seed).items():
                found.setdefault(f"{part}_{name}", []).append(value)
            print(seed, part, {n: round(v[-1], 4) for n, v in found.items() if n.startswith(part)}, flush=True)
    path = record.write(
        "knob",
        {name: record.mean(v) for name, v in found.items()}
        | {"scan_largest_pull": record.exact(max(found["scan_largest_pull"]))},
        [
            record.Target("summary_loss", "<=", 0.15),
            record.Target("summary_recovered", ">=", 0.8),
            record.Target("summary_frontier_pull", "<=", 3.0),
            record.Target("events_loss", "<=", 0.15),
            record.Target("events_recovered", ">=", 0.8),
            record.Target("events_frontier_pull", "<=", 3.0),
            record.Target("scan_largest_pull", "<=", 3.0),
            record.Target("scan_naive_over_nominal", ">=", 1.9),
        ],
        settings={
            "generality": GRID,
            "alpha": _ALPHA,
            "features": _FEATURES,
            "bank": _BANK,
            "shift": _SHIFT,
            "windows": _WINDOWS,
            "toys": {part: {"null": null, "judged": judged} for part, (null, judged) in sizes.items()},
        },
        seeds=seeds,
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


_SIZES = {"summary": (400_000, 20_000), "events": (60_000, 1_000), "scan": (160_000, 80_000)}


def summary(null: int, judged: int, seed: int) -> dict[str, float]:
    """A Gaussian summary z: the bank's mixture and the omnibus test as Bayes factors, of which the knob makes one test."""
    rng = np.random.default_rng((seed, 21))
    bank_SF = gaussians.directions(rng, _BANK, _FEATURES)
    unseen_SF = gaussians.directions(rng, _BANK, _FEATURES)
    prior = STRENGTH**2 / _FEATURES

    def statistics(toys: int, u_SF: Array | None, strength: float) -> Array:
        parts = []
        for _ in range(0, toys, 5000):
            z_TF = rng.normal(size=(min(5000, toys), _FEATURES))
            if u_SF is not None:
                z_TF += strength * u_SF[rng.integers(len(u_SF), size=len(z_TF))]
            mixture_T = logsumexp(STRENGTH * z_TF @ bank_SF.T - STRENGTH**2 / 2, axis=1) - np.log(_BANK)
            broad_T = 0.5 * ((z_TF**2).sum(1) * prior / (1 + prior) - _FEATURES * np.log1p(prior))
            parts.append(np.stack([mixture_T, broad_T], axis=1))
        return np.concatenate(parts)

    shares_LK = np.array([[1 - g, g] for g in GRID])
    null_TK = statistics(null, None, 0.0)
    known, unseen = ({s: statistics(judged, u_SF, s) for s in _STRENGTHS} for u_SF in (bank_SF, unseen_SF))
    ratios_K = np.ones(2, bool)
    figures = compared(Knob(GRID, shares_LK, ratios_K), null_TK, known, unseen)
    figures |= _minimum(compared(Knob(GRID, shares_LK, ratios_K, "minimum"), null_TK, known, unseen))
    one_TK = statistics(judged, bank_SF[:1], _TABLED)
    alone = frontier(Knob((0.0,), shares_LK[:1], ratios_K), null_TK, one_TK, one_TK, _ALPHA)
    return figures | {"power_of_a_hypothesis_by_the_bank": float(alone.known_L[0])}


def events(null: int, judged: int, seed: int) -> dict[str, float]:
    """Events through the whole code. Data with one of 20 signals of the bank, and of 20 unseen ones, by their exact ratios."""
    rng = np.random.default_rng((seed, 22))
    background, data, shown = 3000, 1000, 20
    bank_SF, unseen_SF = gaussians.directions(rng, _BANK, _FEATURES), gaussians.directions(rng, shown, _FEATURES)
    pool = Sample(rng.normal(size=(background, _FEATURES)))
    test = suite(pool, gaussians.bank(rng, bank_SF, _SHIFT, 400), ("bank", "kernel"), seed)
    null_TK = null_statistics(test, gaussians.Drawn(background, data, 2 * data, 100 * seed), null)

    def injected(u_SF: Array, stream: int) -> dict[float, Array]:
        tilt_SN = np.stack([standardised(np.exp(_SHIFT * pool.features_NF @ u_F)) for u_F in u_SF])
        seeds = itertools.count(100 * seed + stream)
        made = {s: gaussians.Drawn(background, data, 2 * data, next(seeds), tilt_SN, s) for s in _STRENGTHS}
        return {s: null_statistics(test, toys, judged) for s, toys in made.items()}

    known, unseen = injected(bank_SF[:shown], 1), injected(unseen_SF, 50)
    smallest = compared(knob(test, GRID, "minimum"), null_TK, known, unseen)
    return compared(knob(test, GRID), null_TK, known, unseen) | _minimum(smallest)


def _minimum(figures: dict[str, float]) -> dict[str, float]:
    """What the weighted minimum of p-values loses and recovers, beside the mixture."""
    return {f"minimum_{name}": figures[name] for name in ("loss", "recovered", "frontier_pull")}


def compared(of: Knob, null_TK: Array, known: dict[float, Array], unseen: dict[float, Array]) -> dict[str, float]:
    """Loss in the bank and gain outside at generality .5, in strengths for 50 % power; powers; how monotone the frontier is."""
    fronts = {s: frontier(of, null_TK, known[s], unseen[s], _ALPHA) for s in known}
    needed = {
        kind: [crossing(s, [getattr(f, f"{kind}_L")[i] for f in fronts.values()]) for i in range(len(GRID))]
        for kind in ("known", "unseen")
        for s in [list(fronts)]
    }
    half, front = GRID.index(0.5), fronts[_TABLED]
    gap = needed["unseen"][0] - needed["unseen"][-1]
    # Neighbouring settings judge the same toys: the error of a step is that of the toys that change their verdict.
    steps = [sign * np.diff(saw_TL.astype(float), axis=1) for sign, saw_TL in ((1, front.known_TL), (-1, front.unseen_TL))]
    wrong = [d.mean() / max(d.std(), 1e-12) * len(d) ** 0.5 for step_TL in steps for d in step_TL.T]
    figures = {
        "loss": needed["known"][half] - needed["known"][0],
        "gap": gap,
        "recovered": (needed["unseen"][0] - needed["unseen"][half]) / max(gap, 1e-9),
        "frontier_pull": max(0.0, *wrong),
        "alpha": front.alpha,
    }
    for i, g in enumerate(GRID):
        figures |= {f"needed_known_{g:g}": needed["known"][i], f"needed_unseen_{g:g}": needed["unseen"][i]}
        figures |= {f"power_known_{g:g}": front.known_L[i], f"power_unseen_{g:g}": front.unseen_L[i]}
    return {name: float(value) for name, value in figures.items()}


def crossing(strengths: list[float], powers: list[float]) -> float:
    """The strength of 50 % power, on a line between those beside it; the largest strength if none reaches it."""
    if max(powers) < 0.5:
        return strengths[-1]
    i = next(i for i, p in enumerate(powers) if p >= 0.5)
    return strengths[0] if i == 0 else float(np.interp(0.5, powers[i - 1 : i + 1], strengths[i - 1 : i + 1]))


def scan(null: int, judged: int, seed: int) -> dict[str, float]:
    """Windows of mass x settings, without a signal: reported against empirical global p, and what looking at each costs."""
    rng = np.random.default_rng((seed, 23))
    events = 600
    pool = Sample(rng.normal(size=(events, 4)), mass_N=rng.uniform(0, 1, events))
    signals = gaussians.bank(rng, gaussians.directions(rng, 4, 4), 2.0, 100)
    edges = np.linspace(0, 1, _WINDOWS + 1)
    test = suite(pool, signals, ("bank", "kernel"), seed, windows=list(itertools.pairwise(map(float, edges))))
    null_TK, fresh_TK = (
        null_statistics(test, Permutations(events, events // 2, seed=10 * seed + stream, size=512), toys)
        for stream, toys in ((1, null), (2, judged))
    )
    calibration = calibrate(knob(test, GRID), null_TK, test.names)
    p_T, local_T = calibration.global_p(fresh_TK), calibration.local_p(fresh_TK).min(axis=1)
    figures, pulls = {}, []
    for alpha in (0.05, 0.01, _ALPHA):
        rate = float((p_T <= alpha).mean())
        pulls.append((rate - alpha) / np.sqrt(alpha * (1 - alpha) * (1 / len(fresh_TK) + 1 / len(calibration.joint_T))))
        figures |= {f"rate_{alpha:g}": rate, f"pull_{alpha:g}": pulls[-1]}
    over_settings = (calibration.setting_p(fresh_TK).min(axis=1) <= _ALPHA).mean() / _ALPHA
    return figures | {
        "largest_pull": float(np.abs(pulls).max()),
        "naive_over_nominal": float((local_T <= _ALPHA).mean() / _ALPHA),
        "settings_over_nominal": float(over_settings),
        "trials": calibration.trials,
        "tests": float(len(test.names)),
    }


if __name__ == "__main__":
    main()
