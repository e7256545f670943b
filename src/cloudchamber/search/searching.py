"""Searching: a plan and a table in, a run folder out, with everything but the answer; unblinding adds the answer.

Until then nothing is computed from events in the signal region: background, closure, null and frontier come from what lies
outside of it, or from the reference sample.
"""

# N event of the pool, K sub-test

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
from cloudchamber.search.calibrate import Calibration, Permutations, Toys, null_statistics
from cloudchamber.search.frontier import Tilted, known_tilts, unseen_tilts
from cloudchamber.search.inputs import Inputs, read
from cloudchamber.search.knob import Knob, knob
from cloudchamber.search.ledger import NAME, Head, Ledger
from cloudchamber.search.methods.bank import Mixture
from cloudchamber.search.plan import Plan, load, require_unchanged
from cloudchamber.search.sample import Sample, concatenate
from cloudchamber.search.suite import Suite, suite
from cloudchamber.search.template import Abcd, Estimate, Sidebands, TemplateToys
from cloudchamber.search.trial import Look, Nulls, Trial, measure
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
    claim a share of it. A killed run goes on where it was. A plan that cannot be carried out is refused before it is in the
    ledger. Raises BadPlan if its plan was changed since, BadRun if its files were or the folder is of another run, BadInput if
    too little alpha is left.
    """
    plan = load(plan_path)
    inputs = read(plan, plan_path.parent, table)
    book = Ledger((ledger or out.parent / NAME).absolute())
    if (out / "run.json").is_file() and not (out / "done.json").is_file():
        run = Run.open(out)
        require_unchanged(plan, str(run.info.get("plan_sha256")), str(plan_path))
        _require_frozen(run, inputs)
        if str(book.path) != run.info["ledger"]:
            raise BadRun(f"{out}: was begun with the ledger {run.info['ledger']}, not with {book.path}")
        blind, closing = _checked(inputs, on_stage)
    else:
        blind, closing = _checked(inputs, on_stage)
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
    closed = _closure(run, book, blind, closing, workers, on_stage)
    frontiers: list[dict[str, Any]] = []
    for number, region in enumerate(_regions(plan) if closed["closed"] else ()):  # a search that stays blind needs no more
        on_stage(f"null and frontier of {region}")
        trial = blind.trial(number, float(closed["inflation"]))
        nulls = _nulls(blind, trial, out / "toys" / f"{number}-blind", workers)
        own = nulls.calibrations[0]
        _write_null(out / f"null-{number}.npz", own)
        _write_spectrum(out / f"spectrum-{number}.json", blind, number)
        told = {"trials": own.trials, "least_p": 1 / (len(own.joint_T) + 1), "expected": trial.expected}
        frontiers.append({"region": region, **told, **_frontier(blind, trial, nulls, workers)})
    write_json(out / "frontier.json", frontiers)
    head = book.head
    run.finish(
        {
            "name": plan.name,
            "blind": True,
            "closed": bool(closed["closed"]),
            "least_p": max((f["least_p"] for f in frontiers), default=None),
            "closure_p": closed["p"],
            "inflation": float(closed["inflation"]),
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
        test = _test(inputs, number)
        trial = test.trial(number, inflation)
        look = trial.look(test.suite, _nulls(test, trial, path / "toys" / str(number), workers))
        _write_null(path / f"null-{number}.npz", look.calibration)
        _write_spectrum(path / f"spectrum-{number}.json", test, number)
        results.append({"region": region, **_told_of(look, test, trial)})
        book.append("test", sha256=inputs.frozen, region=region, p=results[-1]["p"]["value"])
    least = min((r["p"] for r in results), key=lambda p: float(p["value"]))
    p, low, high = (min(1.0, len(results) * float(least[n])) for n in ("value", "low", "high"))  # Bonferroni: shared sidebands
    whole = {"p": p, "z": significance(p), "extrapolated": bool(least["extrapolated"]), "discovery": p <= plan.alpha}
    looks = _looks_before(book, inputs)
    observed = {"regions": results, "alpha": plan.alpha, "looks_before": looks, "low": low, "high": high, **whole}
    write_json(path / "observed.json", observed)
    write_json(path / "summary.json", {**summary, "blind": False, **whole})
    book.append("result", sha256=inputs.frozen, **whole)
    return observed


@dataclass(frozen=True)
class _Test:
    """The events that methods see, and the methods on them. looked_at: a signal region; None while blind, without any."""

    inputs: Inputs
    looked_at: int | None
    pool: Sample
    rows_N: NDArray[np.bool_]  # of the data
    suite: Suite
    knob: Knob

    def ensemble(self, number: int) -> tuple[Estimate, ...]:
        """The templates of a region."""
        plan, regions = self.inputs.plan, self.inputs.plan.regions
        if regions.pass_a is not None and regions.pass_b is not None:
            return (Abcd.of(self.inputs.selection_2N[:, self.rows_N], (regions.pass_a[1], regions.pass_b[1])),)
        assert self.pool.mass_N is not None
        assert regions.range is not None
        m_N, window, all_windows = self.pool.mass_N, regions.signal[number], regions.signal
        degrees = plan.systematics.ensemble
        return tuple(Sidebands(m_N, window, regions.range, d, regions.guard, all_windows) for d in degrees)

    def trial(self, number: int, inflation: float) -> Trial:
        """A region's data, background and toys."""
        plan, blind = self.inputs.plan, self.looked_at is None
        if self.inputs.reference is not None:
            return Trial.of_sample(len(self.inputs.data), len(self.inputs.reference), plan.seed, blind=blind)
        return Trial.of_template(self.pool, self.ensemble(number), plan.seed + 1000 * number, inflation, blind=blind)


def _test(inputs: Inputs, looked_at: int | None) -> _Test:
    plan, data, windows = inputs.plan, inputs.data, None
    rows_N = ~inputs.inside_N
    if inputs.reference is not None:
        pool = inputs.reference if looked_at is None else concatenate([data, inputs.reference])
        windows = plan.regions.signal or None
    else:
        if looked_at is not None:
            rows_N |= _in_region(inputs, looked_at)
        pool = data.where(rows_N)
    methods = suite(pool, inputs.bank, plan.methods, plan.seed, windows)
    return _Test(inputs, looked_at, pool, rows_N, methods, knob(methods, plan.generality, plan.level))


def _in_region(inputs: Inputs, number: int) -> NDArray[np.bool_]:
    if inputs.data.mass_N is None or not inputs.plan.regions.signal:
        return inputs.inside_N
    low, high = inputs.plan.regions.signal[number]
    return np.asarray((inputs.data.mass_N >= low) & (inputs.data.mass_N < high))


def _checked(inputs: Inputs, on_stage: OnStage) -> tuple[_Test, list[tuple[str, tuple[Estimate, ...]]]]:
    """The methods, ready while blind, and the windows of closure, none for a reference: whatever a plan can fail at."""
    on_stage("methods")
    plan, blind = inputs.plan, _test(inputs, None)
    if plan.background == "sample":
        return blind, []
    for number in range(len(_regions(plan))):
        blind.ensemble(number)
    regions, systematics = plan.regions, plan.systematics
    if regions.pass_a is not None and regions.pass_b is not None:
        closing = closures.of_abcd(inputs.selection_2N[:, blind.rows_N], (regions.pass_a[1], regions.pass_b[1]))
    else:
        assert blind.pool.mass_N is not None
        assert regions.range is not None
        degrees, number, guard = systematics.ensemble, systematics.closure, regions.guard
        closing = closures.of_sidebands(blind.pool.mass_N, regions.range, regions.signal, degrees, number, guard)
    closures.require_reach(plan.budget.closure_toys, systematics.closure_alpha, len(closing))
    return blind, closing


def _closure(
    run: Run,
    book: Ledger,
    blind: _Test,
    regions: list[tuple[str, tuple[Estimate, ...]]],
    workers: int,
    on_stage: OnStage,
) -> dict[str, Any]:
    """What `closure.json` says; a killed search finds its own there. A reference has none."""
    if not regions:
        return {"closed": True, "p": None, "inflation": 1.0}
    path, plan, frozen = run.path / "closure.json", blind.inputs.plan, blind.inputs.frozen
    if not path.is_file():
        on_stage("closure where there is no signal")
        found = closures.closure(
            blind.pool,
            regions,
            blind.suite,
            blind.knob,
            toys=plan.budget.closure_toys,
            alpha=plan.systematics.closure_alpha,
            seed=plan.seed + 77,
            workers=workers,
        )
        write_json(path, {**asdict(found), "p": found.p, "closed": found.closed})
    closing: dict[str, Any] = read_json(path)
    if book.find("closure", frozen) is None:
        told = {name: closing[name] for name in ("p", "closed", "inflation")}
        book.append("closure", sha256=frozen, windows=len(closing["tests"]), **told)
    return closing


def _nulls(test: _Test, trial: Trial, folder: Path, workers: int) -> Nulls:
    number, frozen = 2 * test.inputs.plan.budget.toys, test.inputs.frozen  # half for the sub-tests, half for the whole
    return measure(test.suite, test.knob, trial.truths, number, folder=folder, fingerprint=frozen, workers=workers)


def _frontier(test: _Test, trial: Trial, nulls: Nulls, workers: int) -> dict[str, Any]:
    """Power against signals of the bank, if there is one, and unseen ones, at every setting of the knob."""
    plan, bank, powers = test.inputs.plan, test.inputs.bank, {}
    tilts = {"unseen": unseen_tilts(test.pool, _UNSEEN, plan.seed)}
    if bank is not None:
        tilts["known"] = known_tilts(test.pool, bank, plan.seed)
    for name, tilt_SN in tilts.items():
        if isinstance(trial.toys, Permutations):
            toys: Toys = Tilted(tilt_SN, trial.toys.data, _STRENGTH, plan.seed)
        else:
            assert isinstance(trial.toys, TemplateToys)
            toys = trial.toys.with_signals(tilt_SN, _STRENGTH)
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


def _told_of(look: Look, test: _Test, trial: Trial) -> dict[str, Any]:
    """The verdict on the data, and the events that look most like what was found."""
    verdict = look.verdict
    rows, score = test.suite.scores(verdict.best, test.pool, trial.data_N, trial.reference_N)
    ids = test.pool.event_id_N
    return {
        "events": int(trial.data_N.sum()),
        "expected": trial.expected,
        "expected_error": trial.expected_error,
        "statistic": look.statistic,
        "p": _told(verdict.global_p),
        "local": {name: _told(p) for name, p in verdict.local.items()},
        "generality": {f"{g:g}": p for g, p in verdict.setting_p.items()},
        "best": verdict.best,
        "trials": verdict.trials,
        "posterior": _posterior(test, trial),
        "like_signal": [
            {"event_id": None if ids is None else int(ids[rows[i]]), "score": float(score[i])}
            for i in np.argsort(score)[::-1][:_SHOWN]
        ],
    }


def _posterior(test: _Test, trial: Trial) -> dict[str, float] | None:
    """The probability of each signal of the bank, given that one of them is there; None without `bank` on all events."""
    mixtures = [p.prepared for p in test.suite.parts if isinstance(p.prepared, Mixture) and p.rows is None]
    if not mixtures:
        return None
    posterior_S = mixtures[0].posterior(trial.data_N, trial.reference_N)
    return dict(zip(test.inputs.plan.alternatives.bank, map(float, posterior_S), strict=True))


def _told(p: PValue) -> dict[str, Any]:
    return {**asdict(p), "z": p.z}


def _write_null(path: Path, calibration: Calibration) -> None:
    with atomic(path) as temporary, temporary.open("wb") as stream:
        names = np.array(calibration.names)
        np.savez(stream, joint=calibration.joint_T, components=calibration.component_TK, names=names)


def _write_spectrum(path: Path, test: _Test, number: int) -> None:
    """The spectrum of the mass around a region, if it is one of mass; its own events are null while blind."""
    if test.inputs.reference is None and isinstance(sidebands := test.ensemble(number)[0], Sidebands):
        low, high, events, template = sidebands.spectrum()
        inside = (low >= sidebands.window[0]) & (high <= sidebands.window[1])
        seen = [None if hidden else n for n, hidden in zip(events.tolist(), inside & (test.looked_at is None), strict=True)]
        told = {"low": low.tolist(), "high": high.tolist(), "events": seen, "template": template.tolist()}
        write_json(path, {**told, "signal": list(sidebands.window)})


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
