"""Searching: a plan and a table in, a run folder out, with everything but the answer; unblinding adds the answer.

Until then nothing is computed from events in the signal region: background, closure, null and frontier come from what lies
outside of it, or from the reference sample.
"""

# T toy, N event of the pool, K sub-test

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber import registry
from cloudchamber.errors import BadRun, Blinded
from cloudchamber.run import Run, atomic, file_hash, read_json, write_json
from cloudchamber.search import closure as closures
from cloudchamber.search import template
from cloudchamber.search.calibrate import Calibration, Permutations, Toys, Verdict, null_statistics
from cloudchamber.search.frontier import Tilted, known_tilts, unseen_tilts
from cloudchamber.search.inputs import Inputs, read
from cloudchamber.search.knob import knob
from cloudchamber.search.ledger import NAME, Head, Ledger
from cloudchamber.search.methods.bank import Mixture
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.nulls import Nulls, measure
from cloudchamber.search.plan import Plan, load, require_unchanged
from cloudchamber.search.sample import Sample, concatenate
from cloudchamber.search.suite import Suite, suite
from cloudchamber.search.template import Abcd, Estimate, Sidebands
from cloudchamber.stats.pvalues import PValue, significance

KIND = "search"
OnStage = Callable[[str], None]
_UNSEEN = 30  # alternatives that no bank knows, behind the frontier
_STRENGTH = 4.0  # of the frontier's signals, in standard deviations of the best test
_SHOWN = 20  # events that look most like what was found


def search(
    plan_path: Path,
    table: Path,
    out: Path,
    *,
    ledger: Path | None = None,
    campaign: float | None = None,
    workers: int = 1,
    on_stage: OnStage = lambda _: None,
) -> Run:
    """Freeze the plan in the ledger, then do everything that needs no look at the signal region.

    ledger: a JSONL file, `ledger.jsonl` beside the run without. campaign: the error of all searches in a new ledger; each may
    claim a share of it. A killed run goes on where it was. Raises BadPlan if its plan was changed since, BadRun if its files
    were or the folder is of another run, BadInput if too little alpha is left.
    """
    plan = load(plan_path)
    inputs = read(plan, plan_path.parent, table)
    book = Ledger((ledger or out.parent / NAME).absolute())
    if (out / "run.json").is_file() and not (out / "done.json").is_file():
        run = Run.open(out)
        require_unchanged(plan, str(run.info.get("plan_sha256")), str(plan_path))
        _require_frozen(run, inputs)
    else:
        if campaign is not None:
            book.append("campaign", alpha=campaign)
        paths = {name: str(path.absolute()) for name, path in inputs.paths.items()}
        known: dict[str, Any] = {"plan_sha256": plan.sha256, "frozen_sha256": inputs.frozen}
        known["citations"] = [c for name in plan.methods for c in registry.get("methods", name).citation.split(", ") if c]
        root, parents = str(plan_path.parent.absolute()), tuple(inputs.paths.values())
        run = Run.create(out, KIND, parents=parents, paths=paths, root=root, ledger=str(book.path), **known)
        with atomic(out / "plan.yaml") as temporary:
            temporary.write_text(plan.to_yaml())
    if book.find("plan", inputs.frozen) is None:
        book.append("plan", sha256=inputs.frozen, plan=plan.sha256, name=plan.name, alpha=plan.alpha, files=inputs.hashes)
    closing = None if plan.background == "sample" else _closing(run, book, inputs, workers, on_stage)
    closed, inflation = (True, 1.0) if closing is None else (bool(closing["closed"]), float(closing["inflation"]))
    frontiers: list[dict[str, Any]] = []
    for number, region in enumerate(_regions(plan) if closed else ()):  # a search that stays blind needs no more
        on_stage(f"null and frontier of {region}")
        test = _test(inputs, number, inflation, blind=True)
        nulls = _nulls(test, inputs, out / "toys" / f"{number}-blind", workers)
        own = nulls.calibrations[0]
        _write_null(out / f"null-{number}.npz", own)
        least = 1 / (len(own.joint_T) + 1)
        frontiers.append({"region": region, "trials": own.trials, "least_p": least, **_frontier(test, inputs, nulls, workers)})
    write_json(out / "frontier.json", frontiers)
    head = book.head
    run.finish(
        {
            "name": plan.name,
            "blind": True,
            "closed": closed,
            "least_p": max((f["least_p"] for f in frontiers), default=None),
            "closure_p": None if closing is None else closing["p"],
            "inflation": inflation,
            "alpha": plan.alpha,
            "ledger": {"lines": head.lines, "sha256": head.sha256},
        }
    )
    return run


def unblind(path: Path, *, workers: int = 1, on_stage: OnStage = lambda _: None) -> dict[str, Any]:
    """Look at the signal region of a complete search, once; that it was looked at is in the ledger first.

    Returns what `observed.json` says: p-values of every region, and of all of them together. Raises Blinded if the search is
    not complete, its plan is not in the ledger, its closure failed, or it was unblinded before; BadPlan or BadRun if plan or
    files are not those that were frozen; BadLedger if the ledger was tampered with.
    """
    run, book, plan = _frozen_run(path)
    info, summary = run.info, run.summary
    inputs = read(plan, Path(info["root"]), Path(info["paths"]["table"]))
    _require_frozen(run, inputs)
    if book.find("unblinding", inputs.frozen) is None:  # it is there if a look was killed
        book.append("unblinding", sha256=inputs.frozen, run=str(path))
    closing = book.find("closure", inputs.frozen)  # as recorded, whatever the run's files say by now
    inflation = 1.0 if closing is None else float(closing.body["inflation"])
    results = []
    for number, region in enumerate(_regions(plan)):
        on_stage(f"looking at {region}")
        test = _test(inputs, number, inflation, blind=False)
        nulls = _nulls(test, inputs, path / "toys" / str(number), workers)
        statistics_K = test.suite.statistics(test.data_N[None], test.reference_N[None])[0]
        verdict, calibration = nulls.judge(statistics_K)
        _write_null(path / f"null-{number}.npz", calibration)
        joint = float(calibration.joint(statistics_K[None])[0])
        results.append({"region": region, "statistic": joint, **_told_of(verdict, test, plan)})
        book.append("test", sha256=inputs.frozen, region=region, p=results[-1]["p"]["value"])
    least = min((r["p"] for r in results), key=lambda p: float(p["value"]))
    p = min(1.0, len(results) * float(least["value"]))  # Bonferroni: regions share their sidebands
    whole = {"p": p, "z": significance(p), "extrapolated": bool(least["extrapolated"]), "discovery": p <= plan.alpha}
    observed = {"regions": results, "alpha": plan.alpha, "looks_before": _looks_before(book, inputs), **whole}
    write_json(path / "observed.json", observed)
    write_json(path / "summary.json", {**summary, "blind": False, **whole})
    book.append("result", sha256=inputs.frozen, **whole)
    return observed


@dataclass(frozen=True)
class _Test:
    """One signal region: the pool of events that methods see, pseudo-experiments, and the data, all 0 while blind."""

    pool: Sample
    data_N: Counts
    reference_N: Counts
    toys: Toys
    suite: Suite


def _test(inputs: Inputs, number: int, inflation: float, *, blind: bool) -> _Test:
    plan, data, made = inputs.plan, inputs.data, None
    toys: Toys
    if plan.background == "sample":
        assert inputs.reference is not None
        n, m = len(data), len(inputs.reference)
        pool = inputs.reference if blind else concatenate([data, inputs.reference])
        toys = Permutations(len(pool), max(1, m * n // (n + m)) if blind else n, plan.seed)
        data_N = np.zeros(m, np.float32) if blind else (np.arange(n + m) < n).astype(np.float32)
        reference_N = 1 - data_N
    else:
        rows = ~inputs.inside_N if blind else ~inputs.inside_N | _in_region(inputs, number)
        pool, ensemble = data.where(rows), _ensemble(inputs, number, rows)
        data_N = ensemble[0].inside_N.astype(np.float32)
        events = None if blind else float(data_N.sum())
        toys = made = template.toys(pool, ensemble, events, plan.seed + 1000 * number, inflation)
        reference_N = made.reference_N
    return _Test(pool, data_N, reference_N, toys, suite(pool, inputs.bank, plan.methods, plan.seed))


def _in_region(inputs: Inputs, number: int) -> NDArray[np.bool_]:
    if inputs.data.mass_N is None or not inputs.plan.regions.signal:
        return inputs.inside_N
    low, high = inputs.plan.regions.signal[number]
    return np.asarray((inputs.data.mass_N >= low) & (inputs.data.mass_N < high))


def _ensemble(inputs: Inputs, number: int, rows: NDArray[np.bool_]) -> tuple[Estimate, ...]:
    plan, regions = inputs.plan, inputs.plan.regions
    if regions.pass_a is not None and regions.pass_b is not None:
        return (Abcd.of(inputs.selection_2N[:, rows], (regions.pass_a[1], regions.pass_b[1])),)
    assert inputs.data.mass_N is not None
    assert regions.range is not None
    mass_N, window = inputs.data.mass_N[rows], regions.signal[number]
    degrees = plan.systematics.ensemble
    return tuple(Sidebands(mass_N, window, regions.range, d, regions.guard, regions.signal) for d in degrees)


def _closing(run: Run, book: Ledger, inputs: Inputs, workers: int, on_stage: OnStage) -> dict[str, Any]:
    """What `closure.json` says; a killed search finds its own there."""
    path = run.path / "closure.json"
    if not path.is_file():
        on_stage("closure where there is no signal")
        found = _closure(inputs, workers)
        write_json(path, {**asdict(found), "p": found.p, "closed": found.closed})
    closing: dict[str, Any] = read_json(path)
    if book.find("closure", inputs.frozen) is None:
        told = {name: closing[name] for name in ("p", "closed", "inflation")}
        book.append("closure", sha256=inputs.frozen, windows=len(closing["tests"]), **told)
    return closing


def _closure(inputs: Inputs, workers: int) -> closures.Closure:
    plan, regions, rows = inputs.plan, inputs.plan.regions, ~inputs.inside_N
    pool = inputs.data.where(rows)
    if regions.pass_a is not None and regions.pass_b is not None:
        tested = closures.of_abcd(inputs.selection_2N[:, rows], (regions.pass_a[1], regions.pass_b[1]))
    else:
        assert pool.mass_N is not None
        assert regions.range is not None
        degrees, number, guard = plan.systematics.ensemble, plan.systematics.closure, regions.guard
        tested = closures.of_sidebands(pool.mass_N, regions.range, regions.signal, degrees, number, guard)
    methods, budget = suite(pool, inputs.bank, plan.methods, plan.seed), plan.budget.closure_toys
    setting = knob(methods, plan.generality)
    alpha = plan.systematics.closure_alpha
    return closures.closure(pool, tested, methods, setting, toys=budget, alpha=alpha, seed=plan.seed + 77, workers=workers)


def _nulls(test: _Test, inputs: Inputs, folder: Path, workers: int) -> Nulls:
    number = 2 * inputs.plan.budget.toys  # half for the sub-tests, half for the whole
    setting = knob(test.suite, inputs.plan.generality)
    return measure(test.suite, setting, test.toys, number, folder=folder, fingerprint=inputs.frozen, workers=workers)


def _frontier(test: _Test, inputs: Inputs, nulls: Nulls, workers: int) -> dict[str, Any]:
    """Power against signals of the bank, if there is one, and unseen ones, at every setting of the knob."""
    plan, powers = inputs.plan, {}
    tilts = {"unseen": unseen_tilts(test.pool, _UNSEEN, plan.seed)}
    if inputs.bank is not None:
        tilts["known"] = known_tilts(test.pool, inputs.bank, plan.seed)
    for name, tilt_SN in tilts.items():
        if isinstance(test.toys, Permutations):
            toys: Toys = Tilted(tilt_SN, test.toys.data, _STRENGTH, plan.seed)
        else:
            assert isinstance(test.toys, template.TemplateToys)
            toys = test.toys.with_signals(tilt_SN, _STRENGTH)
        powers[name] = null_statistics(test.suite, toys, plan.budget.injections, workers=workers)
    known_TK = powers.get("known", powers["unseen"])
    found = nulls.frontier(known_TK, powers["unseen"], plan.alpha)
    return {
        "generality": list(found.settings),
        "known": found.known_L.tolist() if "known" in powers else None,
        "unseen": found.unseen_L.tolist(),
        "error": found.error_L.tolist(),
        "alpha": found.alpha,
        "strength": _STRENGTH,
    }


def _told_of(verdict: Verdict, test: _Test, plan: Plan) -> dict[str, Any]:
    """The verdict on the data, and the events that look most like what was found."""
    rows = np.flatnonzero(test.data_N)
    part = next(p for p in test.suite.parts if any(verdict.best.endswith(f"{p.method.name}/{n}") for n in p.prepared.names))
    score_N = part.prepared.scores(test.pool.features_NF[rows], test.data_N, test.reference_N)
    ids = test.pool.event_id_N
    return {
        "events": len(rows),
        "p": _told(verdict.global_p),
        "local": {name: _told(p) for name, p in verdict.local.items()},
        "generality": {f"{g:g}": p for g, p in verdict.setting_p.items()},
        "best": verdict.best,
        "trials": verdict.trials,
        "posterior": _posterior(test, plan),
        "like_signal": [
            {"event_id": None if ids is None else int(ids[rows[i]]), "score": float(score_N[i])}
            for i in np.argsort(score_N)[::-1][:_SHOWN]
        ],
    }


def _posterior(test: _Test, plan: Plan) -> dict[str, float] | None:
    """The probability of each signal of the bank, given that one of them is there; None without the method `bank`."""
    mixtures = [part.prepared for part in test.suite.parts if isinstance(part.prepared, Mixture)]
    if not mixtures:
        return None
    return dict(zip(plan.alternatives.bank, map(float, mixtures[0].posterior(test.data_N, test.reference_N)), strict=True))


def _told(p: PValue) -> dict[str, Any]:
    return {**asdict(p), "z": p.z}


def _write_null(path: Path, calibration: Calibration) -> None:
    with atomic(path) as temporary, temporary.open("wb") as stream:
        names = np.array(calibration.names)
        np.savez(stream, joint=calibration.joint_T, components=calibration.component_TK, names=names)


def _regions(plan: Plan) -> tuple[str, ...]:
    if plan.background == "sidebands":
        return tuple(f"[{low:g}, {high:g}]" for low, high in plan.regions.signal)
    return ("A",) if plan.background == "abcd" else ("all events",)


def _frozen_run(path: Path) -> tuple[Run, Ledger, Plan]:
    """A search that may be unblinded, its ledger and plan; each reason against it has its own error."""
    run = Run.open(path)
    info = run.info
    if info.get("kind") != KIND:
        raise BadRun(f"{path}: is a run of {info.get('kind')!r}, not a search")
    if not run.done:
        raise Blinded(f"{path}: the search is not complete. Run it again with the same plan: it goes on where it was.")
    plan = load(path / "plan.yaml")
    require_unchanged(plan, str(info["plan_sha256"]), str(path / "plan.yaml"))
    book, head, frozen = Ledger(Path(info["ledger"])), run.summary["ledger"], str(info["frozen_sha256"])
    book.entries(reaches=Head(int(head["lines"]), str(head["sha256"])))
    if book.find("plan", frozen) is None:
        raise Blinded(f"{path}: its plan is not in the ledger {book.path}")
    closing = book.find("closure", frozen)
    if plan.background != "sample" and (closing is None or not closing.body["closed"]):
        told = "was not tested" if closing is None else f"p = {closing.body['p']:.2g}"
        raise Blinded(
            f"{path}: the background is not described where there is no signal ({told}), so the search stays blind. Change the "
            "systematics of the plan and search again."
        )
    if book.find("result", frozen) is not None:
        raise Blinded(f"{path}: was unblinded before; what was seen is in {path / 'observed.json'} and {book.path}")
    return run, book, plan


def _looks_before(book: Ledger, inputs: Inputs) -> int:
    """How many other plans of the ledger looked at the same table before."""
    same = {e.body["sha256"] for e in book.entries() if e.kind == "plan" and e.body["files"]["table"] == inputs.hashes["table"]}
    looked = {e.body["sha256"] for e in book.entries() if e.kind == "unblinding"}
    return len((same & looked) - {inputs.frozen})


def _require_frozen(run: Run, inputs: Inputs) -> None:
    if run.info.get("frozen_sha256") != inputs.frozen:
        known = {str(p["path"]): p["sha256"] for p in run.info["parents"]}
        changed = [str(p) for p in inputs.paths.values() if known.get(str(p)) != file_hash(p)]
        raise BadRun(f"{run.path}: files are not those that were frozen with its plan: {', '.join(changed) or 'their names'}")
