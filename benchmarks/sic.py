"""SIC: how far a search without labels improves the significance of a small signal, on simulated LHC Olympics dijets.

W' -> X Y (500 and 100 GeV, two quarks each) on QCD dijets of 3.3 to 3.7 TeV, described by the shipped weights `xs`, which have
seen neither. Data are told from an ideal reference of as many background events by boosted trees, as in weak supervision with
a perfect template. The arms differ in what the trees see: four high-level features; the class probabilities that `xs` gives
both jets ("classes"; no signal was simulated); or log ratios to seven other signals ("prior"). Without trees, the mixture of
these ratios weighted by how well each describes the data ("posterior"). Nine injections, ten trainings of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cloudchamber as cc
import dijets
import posterior
import record
import timing
from cloudchamber.search import battery
from dijets import Dijets

INJECTIONS = (0.25, 0.5, 0.8, 1.1, 1.5, 2.2, 3.0, 4.0, 6.0)  # S / sqrt(B) in the window
TRAININGS = 10
ARMS = ("four features", "classes", "prior", "posterior")
BANK = tuple({"m_x": x, "m_y": y} for x, y in ((200, 200), (300, 100), (300, 300), (400, 200), (600, 100), (600, 300)))
_ENSEMBLE = 3  # trees of an arm: another order of features each
_TREES = {"max_iter": 60, "learning_rate": 0.1, "max_leaf_nodes": 15, "l2_regularization": 1.0, "max_features": 0.5}
_PER_SIGNAL, _SIGNAL, _THREE = 700, 3000, 2000
_TEST_SIGNAL = 1500
_LHCO = {"0.3 %": 1.1, "0.6 %": 2.2}  # S/B there, and what it is in S / sqrt(B) of its 121,352 background events

Array = NDArray[np.float64]
Score = Callable[[Array], Array]


@dataclass(frozen=True)
class Part:
    """Events as each arm sees them: columns by the arm's name."""

    columns: Mapping[str, Array]

    def __len__(self) -> int:
        return len(self.columns["prior"])

    def __getitem__(self, rows: NDArray[np.int64]) -> Part:
        return Part({name: c[rows] for name, c in self.columns.items()})


class Describer:
    """What the arms see of events. ratios: of the bank, learned from its signals and some background; frozen from then on."""

    def __init__(self, background: Dijets, bank: Mapping[str, Dijets]):
        network = cc.load("xs")
        self.classify = next(t for t in network.tasks if t.spec.target == "label")
        x = np.concatenate([background.embedding_NE, *(b.embedding_NE for b in bank.values())]).astype(np.float64)
        y = np.repeat(np.arange(len(bank) + 1), [len(background), *(len(b) for b in bank.values())])
        self.ratios = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300)).fit(x, y)
        self.log_prior = np.log(np.bincount(y) / len(y))

    def __call__(self, events: Dijets) -> Part:
        """The events as all arms see them."""
        log_odds = self.ratios.decision_function(events.embedding_NE.astype(np.float64)) - self.log_prior
        masses = events.features_NF[:, :2].astype(np.float64)
        ratios = log_odds[:, 1:] - log_odds[:, :1]
        classes = np.concatenate([masses, self._log_probabilities(events)], axis=1)
        return Part({"four features": events.features_NF.astype(np.float64), "classes": classes, "prior": ratios})

    @torch.inference_mode()
    def _log_probabilities(self, events: Dijets) -> Array:
        """Of the eight classes of the pre-training, for both jets."""
        both = torch.as_tensor(events.embedding_NE.astype(np.float32)).reshape(2 * len(events), -1)
        p = self.classify.predict(SimpleNamespace(pooled_BE=both)).numpy().astype(np.float64)
        return np.log(np.maximum(p, 1e-6)).reshape(len(events), -1)


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--events", type=int, default=30_000, help="QCD events in the window, simulated if they are not there")
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    n, share = (600, 0.1) if args.tiny else (args.events, 1.0)
    background = dijets.background(n, args.threads)
    truths = {"two_prong": dijets.signal(round(share * _SIGNAL), workers=args.threads)}
    bank = {
        f"m_x {b['m_x']}, m_y {b['m_y']}": dijets.signal(round(share * _PER_SIGNAL), workers=args.threads, **b)
        for b in BANK[: 2 if args.tiny else None]
    }
    if not args.tiny:
        bank["three_prong"] = dijets.signal(_THREE, "three_prong", args.threads)
    learned, rest = background[: n // 6], background[n // 6 :]
    describe = Describer(learned, bank)
    events, signal = describe(rest), describe(truths["two_prong"])
    injections, trainings = ((1.1, 4.0), 2) if args.tiny else (INJECTIONS, TRAININGS)
    found = {z: [train_all(events, signal, z, seed) for seed in range(trainings)] for z in injections}
    figures: dict[str, record.Figure] = {}
    for z, runs in found.items():
        for arm in ARMS:
            figures[f"sic_{arm}_at_{z:g}"] = record.median([r[arm] for r in runs])
        print(f"{z:g} sigma: " + ", ".join(f"{a} {figures[f'sic_{a}_at_{z:g}'].value:.2f}" for a in ARMS), flush=True)
    figures |= summary(figures, injections)
    figures |= supervised(events, signal)
    figures |= choices(learned, rest, truths | bank, 1 if args.tiny else 3)
    B = len(events) // 3
    path = record.write(
        "sic",
        figures,
        [
            record.Target("sic_prior_at_1.1", ">=", 5.0),
            record.Target("smallest_ratio_to_four_features", ">=", 1.0),
            record.Target("turn_on_prior", "<=", 2.0),
            record.Target("turn_on_classes", "<=", 4.0),
            record.Target("argos_share_of_best", ">=", 0.9),
        ],
        settings={
            "background": {"data": B, "reference": B, "test": len(events) - 2 * B, "ratios": len(learned)},
            "signal_to_background": {f"{z:g}": z / B**0.5 for z in injections},
            "published": _LHCO,
            "test_signal": _TEST_SIGNAL,
            "trainings": trainings,
            "count_floor": battery.COUNT_FLOOR,
            "trees": {**_TREES, "ensemble": _ENSEMBLE},
            "bank": list(bank),
            "environment": timing.ENVIRONMENT,
        },
        seeds=list(range(trainings)),
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def train_all(events: Part, signal: Part, z: float, seed: int) -> dict[str, float]:
    """Max SIC of every arm in one training: other background and signal events in each."""
    data, reference, test, test_signal = drawn(events, signal, z, seed)
    scores = learn(data, reference, seed)
    return {
        arm: sic(score(test.columns[_column(arm)]), score(test_signal.columns[_column(arm)])) for arm, score in scores.items()
    }


def drawn(events: Part, signal: Part, z: float, seed: int) -> tuple[Part, Part, Part, Part]:
    """Data with an injection of z = S / sqrt(B), reference, and test events of both kinds."""
    rng = np.random.default_rng((seed, round(100 * z)))
    B = len(events) // 3
    order, rows = rng.permutation(len(events)), rng.permutation(len(signal))
    S = max(1, round(z * B**0.5))
    assert len(rows) > S
    test_signal = rows[S : S + _TEST_SIGNAL]
    data = Part({n: np.concatenate([c[order[:B]], signal.columns[n][rows[:S]]]) for n, c in events.columns.items()})
    return data, events[order[B : 2 * B]], events[order[2 * B :]], signal[test_signal]


def learn(data: Part, reference: Part, seed: int) -> dict[str, Score]:
    """The score of each arm, from data and reference without labels."""
    scores = {arm: _trees(data.columns[arm], reference.columns[arm], seed) for arm in ARMS[:3]}
    return scores | {"posterior": _posterior(data.columns["prior"])}


def sic(background: Array, signal: Array) -> float:
    """Max SIC of test events."""
    return battery.max_sic(np.repeat([0, 1], [len(background), len(signal)]), np.concatenate([background, signal]))


def summary(figures: Mapping[str, record.Figure], injections: tuple[float, ...]) -> dict[str, record.Figure]:
    """Where each arm begins to make 5 sigma of what is there, and the smallest advantage over four features."""
    found = {}
    for arm in ARMS:
        useful = [z for z in injections if z * figures[f"sic_{arm}_at_{z:g}"].value >= 5]
        found[f"turn_on_{arm}"] = record.exact(min(useful, default=2 * max(injections)), "sigma")
    low = [z for z in injections if z <= _LHCO["0.6 %"]]
    for arm in ("classes", "prior", "posterior"):
        ratios = [figures[f"sic_{arm}_at_{z:g}"].value / figures[f"sic_four features_at_{z:g}"].value for z in low]
        name = "smallest_ratio_to_four_features" + ("" if arm == "prior" else f"_{arm}")
        found[name] = record.exact(min(ratios))
    return found


def supervised(events: Part, signal: Part) -> dict[str, record.Figure]:
    """The same trees with labels: what is possible in each description."""
    found = {}
    for arm in ARMS[:3]:
        values = []
        for seed in range(3):
            _, reference, test, _ = drawn(events, signal, 1.0, seed)
            train = np.setdiff1d(
                np.arange(len(signal)), np.random.default_rng(seed).permutation(len(signal))[: len(signal) // 2]
            )
            held_out = np.setdiff1d(np.arange(len(signal)), train)
            score = _trees(signal.columns[arm][train], reference.columns[arm], seed)
            values.append(sic(score(test.columns[arm]), score(signal.columns[arm][held_out])))
        found[f"sic_supervised_{arm}"] = record.median(values)
    return found


def choices(learned: Dijets, rest: Dijets, truths: Mapping[str, Dijets], seeds: int) -> dict[str, record.Figure]:
    """ARGOS chooses among the arms for each signal in turn, which is then left out of the bank: its SIC over the best arm's.

    It chooses on two thirds of the held-out background, data and template, and is judged on the last and on other signal.
    """
    share, first = [], []
    for name, truth in truths.items():
        describe = Describer(learned, {n: b for n, b in truths.items() if n != name})
        events, signal = describe(rest), describe(truth)
        for seed in range(seeds):
            data, reference, test, test_signal = drawn(events, signal, 3.0, 100 + seed)
            third = len(test) // 3
            S = round(third * (len(data) - len(reference)) / len(reference))
            values, told = {}, {}
            for arm, score in learn(data, reference, seed).items():
                b, s = (score(part.columns[_column(arm)]) for part in (test, test_signal))
                told[arm] = battery.argos(np.concatenate([b[:third], s[:S]]), b[third : 2 * third])
                values[arm] = sic(b[2 * third :], s[S:])
            best = max(values.values())
            share.append(values[max(told, key=lambda arm: told[arm])] / best)
            first.append(values["four features"] / best)
    return {"argos_share_of_best": record.median(share), "four_features_share_of_best": record.median(first)}


def _trees(data: Array, reference: Array, seed: int) -> Score:
    x, y = np.concatenate([reference, data]), np.repeat([0, 1], [len(reference), len(data)])
    models = [
        HistGradientBoostingClassifier(early_stopping=False, random_state=_ENSEMBLE * seed + i, **_TREES).fit(x, y)
        for i in range(_ENSEMBLE)
    ]
    return lambda columns: np.asarray(np.mean([m.decision_function(columns) for m in models], axis=0))


def _posterior(log_ratio_NK: Array) -> Score:
    K = log_ratio_NK.shape[1]
    weights = posterior.characterise(log_ratio_NK, np.full(K, 1 / K)).posterior_K
    return lambda columns: np.asarray(np.logaddexp.reduce(columns + np.log(np.maximum(weights, 1e-12)), axis=1))


def _column(arm: str) -> str:
    return "prior" if arm == "posterior" else arm


if __name__ == "__main__":
    main()
