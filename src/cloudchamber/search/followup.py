"""Follow-up: after an alert. Stages of rising cost, thresholds that find most within a budget, and what the signal is like."""

# R run: one candidate through all stages, S stage, G threshold of a grid, E encoder, N event, K signal of the bank, P particle

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from cloudchamber.errors import BadInput, BadRun
from cloudchamber.events import Cloud
from cloudchamber.run import Run, file_hash, read_json
from cloudchamber.search.ledger import Ledger
from cloudchamber.search.plan import load
from cloudchamber.search.sample import FloatArray, Sample
from cloudchamber.search.searching import KIND

_CELLS = 1 << 21  # of the grid of thresholds
_CHANCE = 0.05  # encoders whose common events chance gives more often than this disagree
LEVELS = ("nothing", "note", "candidate", "alert")  # what a candidate is called


@dataclass(frozen=True)
class Stage:
    """One step of the ladder. cost_s: CPU seconds for one candidate, measured. alert: passing it is told to people."""

    name: str
    cost_s: float
    alert: bool = False


@dataclass(frozen=True)
class Limits:
    """What a campaign may cost. candidates: regions or searches that enter. signals: how many of them are thought to hold
    one. budget_s: CPU seconds. alerts: expected number of false ones. fwer: probability of any false discovery.
    """

    candidates: int
    signals: float
    budget_s: float
    alerts: float
    fwer: float


@dataclass(frozen=True)
class Forecast:
    """What to expect of one campaign. fwer is a bound: each stage's p-value holds, whatever the others are."""

    cost_s: float
    false_alerts: float
    discoveries: float
    fwer: float


@dataclass(frozen=True)
class Policy:
    """thresholds: a candidate goes on from a stage if its p-value there is at most this; the last makes a discovery."""

    stages: tuple[Stage, ...]
    thresholds: tuple[float, ...]

    def passed(self, p_RS: FloatArray) -> NDArray[np.bool_]:
        """(R, S) whether a run passed a stage and all before it."""
        return np.asarray(np.logical_and.accumulate(p_RS <= np.array(self.thresholds), axis=1))

    def cost(self, p_RS: FloatArray) -> FloatArray:
        """(R,) CPU seconds spent on each run."""
        reached_RS = np.concatenate([np.ones((len(p_RS), 1), bool), self.passed(p_RS)[:, :-1]], axis=1)
        return np.asarray(reached_RS @ np.array([s.cost_s for s in self.stages]))

    def alerts(self, p_RS: FloatArray) -> NDArray[np.bool_]:
        """(R,) whether a run was told to people."""
        return np.asarray(self.passed(p_RS)[:, _alert_stage(self.stages)])


@dataclass(frozen=True)
class Stored:
    """Runs of the whole ladder that were made once: without a signal, and with injected ones drawn from the alternatives.

    null_RS, injected_RS: p-values at every stage, each valid alone. A stage on an independent half of the data is best
    given as `combined_p` of both halves; a stage that repeats the search on the same half as `conservative_p`.
    """

    stages: tuple[Stage, ...]
    null_RS: FloatArray
    injected_RS: FloatArray

    def __post_init__(self) -> None:
        for name in ("null_RS", "injected_RS"):
            p_RS = getattr(self, name)
            if p_RS.ndim != 2 or p_RS.shape[1] != len(self.stages) or not len(p_RS):
                raise BadInput(f"{name} needs one p-value for each of {len(self.stages)} stages, got the shape {p_RS.shape}")
            if not ((p_RS > 0) & (p_RS <= 1)).all():
                raise BadInput(f"{name} holds values that are no p-values in (0, 1]")

    def forecast(self, policy: Policy, limits: Limits) -> Forecast:
        """What a policy does on the stored runs, scaled to a campaign."""
        background = limits.candidates - limits.signals
        null, injected = self.null_RS, self.injected_RS
        return Forecast(
            cost_s=float(background * policy.cost(null).mean() + limits.signals * policy.cost(injected).mean()),
            false_alerts=float(background * policy.alerts(null).mean()),
            discoveries=float(limits.signals * policy.passed(injected)[:, -1].mean()),
            fwer=limits.candidates * min(policy.thresholds),
        )

    def follow_everything(self, limits: Limits) -> Policy:
        """Every candidate through every stage: as many discoveries as the family-wise error allows, at full cost."""
        return Policy(self.stages, (*(1.0 for _ in self.stages[1:]), limits.fwer / limits.candidates))

    def best(self, limits: Limits) -> Policy:
        """The thresholds with most expected discoveries within the limits; the cheaper of equal ones.

        Every combination on a grid is looked at. Raises BadInput if even the strictest costs more than the budget.
        """
        grids = self._grids(limits)
        null, injected = (_shares(p_RS, grids) for p_RS in (self.null_RS, self.injected_RS))
        background = limits.candidates - limits.signals
        cost = sum(
            stage.cost_s * (background * _reaching(null, s) + limits.signals * _reaching(injected, s))
            for s, stage in enumerate(self.stages)
        )
        alerts = background * _reaching(null, _alert_stage(self.stages) + 1)
        strictest = reduce(np.minimum, np.ix_(*grids))
        allowed = (
            (cost <= limits.budget_s) & (alerts <= limits.alerts) & (limits.candidates * strictest <= limits.fwer * (1 + 1e-9))
        )
        if not allowed.any():
            raise BadInput(
                f"no thresholds fit: the first stage alone costs {limits.candidates * self.stages[0].cost_s:.3g} s of "
                f"{limits.budget_s:.3g} s, the strictest give {float(np.min(alerts)):.2g} false alerts of {limits.alerts:.2g}"
            )
        found = np.where(allowed, injected, -1.0)
        best = np.where(found >= found.max() - 1e-12, cost, np.inf)
        index = np.unravel_index(int(best.argmin()), best.shape)
        return Policy(self.stages, tuple(float(g[i]) for g, i in zip(grids, index, strict=True)))

    def frontier(self, limits: Limits, budgets_s: Sequence[float]) -> list[tuple[Policy, Forecast]]:
        """The best policy of each budget: cost against false alerts and discoveries."""
        policies = [self.best(replace(limits, budget_s=budget)) for budget in budgets_s]
        return [(policy, self.forecast(policy, limits)) for policy in policies]

    def _grids(self, limits: Limits) -> list[FloatArray]:
        """Thresholds of each stage: quantiles of the injected runs, what the family-wise error allows, and 1."""
        size = int(_CELLS ** (1 / len(self.stages))) - 2
        levels = np.linspace(0, 1, min(size, 64) + 1)[1:]
        always = (limits.fwer / limits.candidates, 1.0)
        return [np.unique([*np.quantile(self.injected_RS[:, s], levels), *always]) for s in range(len(self.stages))]


@dataclass(frozen=True)
class Candidate:
    """What several looks at one region say together.

    p_first: of the first. p_same: the largest on its events, other encoders, methods or seeds among them. p_other: the largest
    on other events; p_all: of both; None without a look at other events. common: of the `shown` events that are most like a
    signal, those that looks at the same events share (mean over pairs; None with one look); chance: how many it would give.
    """

    region: str
    p_first: float
    p_same: float
    p_other: float | None
    p_all: float | None
    common: float | None
    chance: float | None
    shown: int
    level: str


def follow(paths: Sequence[Path]) -> list[Candidate]:
    """What several looks at the same regions say together, as of `candidates`; noted in the ledger of the first run.

    The first run's alpha judges. Raises BadRun for a run that is no search or was not looked at, or whose table has changed.
    """
    looks, ids = [], []
    for path in paths:
        run = Run.open(path)
        if run.info.get("kind") != KIND or not (path / "observed.json").is_file():
            raise BadRun(f"{path}: is no search after `unblind`")
        table = Path(run.info["paths"]["table"])
        known = {str(p["path"]): p["sha256"] for p in run.info["parents"]}
        if file_hash(table) not in known.values():
            raise BadRun(f"{table}: is not the table that {path} looked at")
        event_id_N = Sample.read(table, load(path / "plan.yaml").features).event_id_N
        if event_id_N is None:
            raise BadInput(f"{table}: has no column 'event_id', so nobody can tell whether looks are at the same events")
        looks.append(read_json(path / "observed.json"))
        ids.append(event_id_N)
    found = candidates(looks, ids, float(looks[0]["alpha"]))
    info = Run.open(paths[0]).info
    told = "; ".join(f"{c.region}: {c.level}, p {c.p_all if c.p_all is not None else c.p_same:.2g}" for c in found)
    Ledger(Path(info["ledger"])).append("note", sha256=info["frozen_sha256"], text=f"followed up in {len(paths)} looks: {told}")
    return found


def candidates(looks: Sequence[Mapping[str, Any]], ids: Sequence[NDArray[np.uint64]], alpha: float) -> list[Candidate]:
    """Each region of several looks, the first of which raised it. looks: what `unblind` wrote. ids: the events of each table.

    Tables of the same events are the same half however they describe them; those without a common event are another. Raises
    BadInput for tables that overlap in part, and for looks at other regions.
    """
    same = [_same_events(ids[0], other) for other in ids]
    others = [i for i, s in zip(ids, same, strict=True) if not s]
    if any(not _same_events(others[0], i) for i in others):
        raise BadInput("the looks are at three or more samples of events; two halves can be combined")
    names = [[r["region"] for r in look["regions"]] for look in looks]
    if any(n != names[0] for n in names):
        raise BadInput(f"the looks are at different regions: {names}")
    found = []
    for i, region in enumerate(names[0]):
        at = [look["regions"][i] for look in looks]
        mine, other = ([r for r, s in zip(at, same, strict=True) if s is half] for half in (True, False))
        p_first, p_same = float(at[0]["p"]["value"]), max(float(r["p"]["value"]) for r in mine)
        p_other = max((float(r["p"]["value"]) for r in other), default=None)
        p_all = None if p_other is None else float(combined_p(p_same, p_other))
        chosen = [{e["event_id"] for e in r["like_signal"]} for r in mine]
        pairs = [len(a & b) for n, a in enumerate(chosen) for b in chosen[:n]]
        shown, events = min(map(len, chosen)), int(at[0]["events"])
        disagree = bool(pairs) and bool(stats.hypergeom.sf(min(pairs) - 1, events, shown, shown) > _CHANCE)
        passed_S = np.array([p <= alpha for p in (p_first, p_same if len(mine) > 1 else None, p_all) if p is not None])
        common, chance = (float(np.mean(pairs)), shown**2 / events) if pairs else (None, None)
        told = level(np.append(passed_S, [False] * (3 - len(passed_S))), disagree)
        found.append(Candidate(region, p_first, p_same, p_other, p_all, common, chance, shown, told))
    return found


def _same_events(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> bool:
    common = len(np.intersect1d(a, b))
    if 0 < common < max(len(a), len(b)):
        raise BadInput(f"two tables have {common} of {len(a)} and {len(b)} events in common: neither the same nor independent")
    return common > 0


def combined_p(first: ArrayLike, second: ArrayLike) -> FloatArray:
    """The p-value of two independent ones, by their product (R. A. Fisher's method).

    >>> round(float(combined_p(0.01, 0.01)), 6)
    0.001021
    """
    product = np.asarray(first, dtype=np.float64) * np.asarray(second, dtype=np.float64)
    return np.asarray(product * (1 - np.log(product)))


def conservative_p(p_RE: FloatArray) -> FloatArray:
    """(R,) the largest p-value of several encoders, seeds or templates on the same events: valid however they depend."""
    return np.asarray(p_RE.max(axis=1))


def level(passed_S: NDArray[np.bool_], disagree: bool) -> str:
    """What to call a candidate: one of LEVELS by how many stages it passed, one lower if its encoders disagree."""
    rank = int(np.ceil(passed_S.sum() / len(passed_S) * (len(LEVELS) - 1)))
    return LEVELS[max(0, rank - int(disagree))]


def particle_importance(score: Callable[[Cloud], ArrayLike], event: Cloud) -> FloatArray:
    """(P,) by how much the score of one event falls when each of its particles is taken away."""
    if len(event) != 1 or event.counts[0] < 2:
        raise BadInput(f"the importance of particles is that of one event with two or more, got {event.counts.tolist()[:3]}")
    P = int(event.counts[0])
    names = event.particles.fields
    kept = ~np.eye(P, dtype=bool)
    without = Cloud.from_flat(
        np.full(P, P - 1),
        {n: np.broadcast_to(event.flat(n), (P, P))[kept] for n in names},
        {n: np.repeat(np.asarray(c), P, axis=0) for n, c in event.events.items()},
        event.schema,
    )
    return float(np.asarray(score(event))[0]) - np.asarray(score(without), dtype=np.float64)


def _alert_stage(stages: Sequence[Stage]) -> int:
    """The stage whose passing is told to people; the last one without a mark."""
    return next((i for i, stage in enumerate(stages) if stage.alert), len(stages) - 1)


def _shares(p_RS: FloatArray, grids: Sequence[FloatArray]) -> FloatArray:
    """(G, G, ...) share of the runs that pass all thresholds, for every combination of them."""
    index = tuple(np.searchsorted(grid, p_RS[:, s]) for s, grid in enumerate(grids))
    shape = tuple(len(grid) for grid in grids)
    counts = np.bincount(np.ravel_multi_index(index, shape), minlength=int(np.prod(shape))).reshape(shape) / len(p_RS)
    return reduce(np.cumsum, range(len(grids)), counts)


def _reaching(shares: FloatArray, stage: int) -> FloatArray:
    """Share of the runs that reach a stage, of the same number of dimensions: later thresholds do not matter."""
    return shares[tuple(slice(None) if s < stage else slice(-1, None) for s in range(shares.ndim))]
