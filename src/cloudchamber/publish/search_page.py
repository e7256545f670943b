"""Search page: what a referee wants to see of one search, on one self-contained page. Before `unblind` it has no result."""

# T toy, L setting of the knob

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.identity import event_ids
from cloudchamber.errors import BadInput, BadRun
from cloudchamber.events import Cloud
from cloudchamber.publish.displays import event_displays
from cloudchamber.publish.figure import GREY, Figure, canvas, finish, style
from cloudchamber.publish.page import Fact, Section, Table, write_sections
from cloudchamber.run import Run, read_json
from cloudchamber.search.ledger import Ledger
from cloudchamber.search.plan import Plan, load, require_unchanged

_DISPLAYS = 6  # events most like what was found
_BINS = 60
_ORIGIN = {True: "Simulation", False: "Recorded data", None: "Origin of the events not stated"}


@dataclass(frozen=True)
class _Search:
    """A run folder of search, read. observed: None while blind."""

    path: Path
    info: Mapping[str, Any]
    plan: Plan
    summary: Mapping[str, Any]
    closure: Mapping[str, Any] | None
    frontiers: Sequence[Mapping[str, Any]]
    nulls: Sequence[NDArray[np.float64]]  # (T,) the joint statistic of each region
    spectra: Sequence[Mapping[str, Any]]  # of the mass around each region; none without sidebands
    observed: Mapping[str, Any] | None
    ledger: Ledger

    @classmethod
    def of(cls, path: Path) -> _Search:
        run = Run.open(path)
        if not is_search(path) or not run.done:
            raise BadRun(f"{path}: is no complete search: a run of {run.info.get('kind')!r}, done: {run.done}")
        frontiers = read_json(path / "frontier.json")
        found = cls(
            path,
            run.info,
            load(path / "plan.yaml"),
            run.summary,
            read_json(path / "closure.json") if (path / "closure.json").is_file() else None,
            frontiers,
            [np.load(path / f"null-{i}.npz", allow_pickle=False)["joint"] for i in range(len(frontiers))],
            [read_json(f) for i in range(len(frontiers)) if (f := path / f"spectrum-{i}.json").is_file()],
            read_json(path / "observed.json") if (path / "observed.json").is_file() else None,
            Ledger(Path(run.info["ledger"])),
        )
        found.require_as_recorded()
        return found

    def require_as_recorded(self) -> None:
        """Raise BadPlan or BadRun unless plan, closure and result are those that the ledger has."""
        require_unchanged(self.plan, str(self.info["plan_sha256"]), str(self.path / "plan.yaml"))
        frozen = str(self.info["frozen_sha256"])
        told = {"closure": self.closure and self.closure["p"], "result": self.observed and self.observed["p"]}
        told |= {"test": self.observed and self.observed["regions"][-1]["p"]["value"]}
        for kind, p in told.items():
            entry = self.ledger.find(kind, frozen)
            if (entry and entry.body["p"]) != p:
                raise BadRun(
                    f"{self.path}: says p = {p} of its {kind}, the ledger {self.ledger.path} says "
                    f"{entry.body['p'] if entry else 'nothing'}. The run was changed after the look; take it from a copy."
                )


def is_search(path: Path) -> bool:
    """Whether a run folder is one of search."""
    return (path / "run.json").is_file() and read_json(path / "run.json").get("kind") == "search"


def write_search_page(run: Path, out: Path, *, title: str = "", story: str = "", data: Cloud | None = None) -> Path:
    """Write the page `out` and the numbers of its figures into `<out stem>_data/`; returns `out`.

    data: the events of the table, or some of them: those most like what was found are shown. The ledger is checked from its
    first line to its last: BadLedger if it was tampered with. BadRun if the folder is no complete search.
    """
    found = _Search.of(run)
    searched = [_null(found), _frontier(found)] if found.frontiers else []  # not where closure failed
    sections = [*_result(found, data), *_background(found), *searched[:1], *_closure(found), *searched[1:], _ledger(found)]
    owed = [*found.info["citations"], *(data.schema.citation if data is not None else ())]
    return write_sections(
        out,
        "search",
        sections,
        title=title or _title(found),
        story=story,
        facts=_facts(found),
        origin=_ORIGIN[None if data is None else data.schema.simulated],
        info=found.info,
        plan=found.plan.to_yaml(),
        path=run,
        owed=dict.fromkeys(owed),
        environment=read_json(run / "environment.json"),
    )


def _title(found: _Search) -> str:
    if found.observed is None:
        return f"{found.plan.name}: a blind search"
    verdict = "below" if found.observed["discovery"] else "not below"
    return f"{found.plan.name}: p = {found.observed['p']:.2g}, {verdict} alpha = {found.plan.alpha:.3g}"


def _facts(found: _Search) -> list[Fact]:
    facts = []
    if found.observed is None:
        facts.append(Fact("Blind", "nothing of the signal region was looked at"))
    else:
        how = "beyond the reach of the toys: extrapolated" if found.observed["extrapolated"] else "measured by toys"
        between = f"between {found.observed['low']:.2g} and {found.observed['high']:.2g}"
        facts.append(Fact(f"p = {found.observed['p']:.2g}", f"global, of all tests and regions, {between} (68 %), {how}"))
        if before := found.observed["looks_before"]:
            facts.append(Fact(f"{before}", "other looks at the same table before: the p-value does not know of them"))
        facts.append(Fact(f"Z = {found.observed['z']:.2f}", f"one-sided; alpha is {found.plan.alpha:.3g}"))
    if found.closure is not None:
        told = "the background is described" if found.closure["closed"] else "the background is not described: it stays blind"
        facts.append(Fact(f"p = {found.closure['p']:.2g}", f"closure where there is no signal; {told}"))
    if found.frontiers:
        facts.append(
            Fact(f"{max(f['trials'] for f in found.frontiers):.1f}", "independent tests that the tests of a region are worth")
        )
    facts.append(Fact(f"{len(found.ledger.entries())}", "lines in the ledger, each bound to the one before"))
    return facts


def _result(found: _Search, data: Cloud | None) -> list[Section]:
    """Global and local p-values, and the events behind them; nothing while blind."""
    if found.observed is None:
        return []
    regions = found.observed["regions"]
    rows = [
        (r["region"], f"{r['events']:,}", _expected(r), _p(r["p"]), f"{r['p']['z']:.2f}", r["best"], f"{r['trials']:.1f}")
        for r in regions
    ]
    columns = ("Region", "Events", "Expected", "p", "Z", "Deviates most", "Trials")
    caption = (
        "p: of the whole search in a region, its methods and settings accounted for, and the interval (68 %) that its toys or "
        "the fit of their tail leave. Expected: without a signal; the tests compare what events look like, not their number. "
        "Trials: independent tests it is worth."
    )
    many = f" The global p-value is that of the best region times {len(regions)}." if len(regions) > 1 else ""
    local = Table(
        ("Test", *(f"p in {r['region']}" for r in regions)),
        tuple((name, *(_p(r["local"][name]) for r in regions)) for name in regions[0]["local"]),
        "Each test by itself: these are not corrected for one another.",
    )
    knob = Table(
        ("Generality", *(f"p in {r['region']}" for r in regions)),
        tuple((g, *(f"{r['generality'][g]:.2g}" for r in regions)) for g in regions[0]["generality"]),
        "Each setting of the knob by itself: 0 trusts the bank, 1 looks for anything.",
    )
    tables = [Table(columns, tuple(rows), caption + many), local, knob]
    if regions[0]["posterior"] is not None:
        posterior = tuple((name, *(f"{r['posterior'][name]:.3f}" for r in regions)) for name in regions[0]["posterior"])
        told = "How probable each signal of the bank is, given that one of them is there."
        tables.append(Table(("Signal", *(r["region"] for r in regions)), posterior, told))
    events = [(f"{e['event_id']}", f"{e['score']:.3g}") for e in regions[0]["like_signal"]]
    caption_events = f"The events in {regions[0]['region']} that look most like what was found."
    displays = _displays(regions[0]["like_signal"], data)
    return [
        Section("Result", tables=tuple(tables)),
        Section("Events", tables=(Table(("Event", "Score"), tuple(events), caption_events),), figures=displays),
    ]


def _displays(like_signal: Sequence[Mapping[str, Any]], data: Cloud | None) -> tuple[Figure, ...]:
    if data is None:
        return ()
    ids = event_ids(data)
    row_of = dict(zip(ids.tolist(), range(len(ids)), strict=True))
    rows = [row_of[e["event_id"]] for e in like_signal if e["event_id"] in row_of][:_DISPLAYS]
    if not rows:
        raise BadInput(
            "none of the events that look most like the signal is among the events given: are they those of the table?"
        )
    figure = event_displays(data[np.array(rows)], per_class=min(len(rows), 3))
    caption = "Events that look most like what was found, of those given. Marker area is proportional to transverse momentum."
    return (Figure(figure.name, caption, figure.svg, figure.data),)


def _background(found: _Search) -> list[Section]:
    """The spectrum of the mass and the curve through its sidebands; the regions are empty while blind."""
    if not found.spectra:
        return []
    with canvas(8, 3.4 * len(found.spectra), len(found.spectra), 1) as (drawing, axes):
        for axis, s in zip(axes[:, 0], found.spectra, strict=True):
            low, high, template = (np.array(s[name]) for name in ("low", "high", "template"))
            seen = np.array([np.nan if n is None else n for n in s["events"]])
            middle, width = (low + high) / 2, high - low
            axis.axvspan(*s["signal"], color=GREY, alpha=0.15, label="region of the signal")
            axis.errorbar(
                middle, seen / width, np.sqrt(seen) / width, fmt="o", markersize=3, color=style(0)["color"], label="events"
            )
            axis.plot(middle, template / width, label="template, from the sidebands", **style(1))
            axis.set_yscale("log")
            axis.set(xlabel=f"{found.plan.regions.mass} [GeV]", ylabel="events / GeV")
            axis.legend(loc="upper right")
        caption = "The mass spectrum and what the template expects of it; errors are those of counts."
        data = {f["region"]: dict(s) for f, s in zip(found.frontiers, found.spectra, strict=True)}
        return [Section("Background", figures=(finish(drawing, "spectrum", caption, data),))]


def _null(found: _Search) -> Section:
    """The joint statistic of pseudo-experiments without a signal, and what was observed."""
    regions = [f["region"] for f in found.frontiers]
    with canvas(8, 3.4 * len(regions), len(regions), 1) as (drawing, axes):
        for i, (axis, region, null_T) in enumerate(zip(axes[:, 0], regions, found.nulls, strict=True)):
            seen = None if found.observed is None else float(found.observed["regions"][i]["statistic"])
            top = max(float(null_T.max()), seen or -np.inf)
            edges = np.linspace(float(null_T.min()), top + 0.02 * (top - float(null_T.min())), _BINS + 1)
            axis.hist(null_T, edges, color=style(0)["color"], alpha=0.5, label=f"{len(null_T):,} toys without a signal")
            level = float(np.quantile(null_T, 1 - max(found.plan.alpha, 1 / len(null_T))))
            axis.axvline(
                level, color=GREY, linestyle=":", label=f"exceeded by {max(found.plan.alpha, 1 / len(null_T)):.2g} of them"
            )
            if seen is not None:
                axis.axvline(seen, color=style(4)["color"], linewidth=2, label="observed")
            axis.set_yscale("log")
            axis.set(xlabel=f"joint statistic in {region}", ylabel="toys", ylim=(0.5, None))
            axis.legend(loc="upper right")
        data = {r: {"null": np.sort(n)} for r, n in zip(regions, found.nulls, strict=True)}
        if found.observed is not None:
            for r in found.observed["regions"]:
                data[r["region"]]["observed"] = r["statistic"]
        caption = "Pseudo-experiments of the whole search, whatever trains trained anew in each, the template refitted."
        return Section("Null distribution", figures=(finish(drawing, "null", caption, data),))


def _closure(found: _Search) -> list[Section]:
    if found.closure is None:
        return []
    c = found.closure
    rows = tuple(
        (t["region"], f"{t['events']:,}", f"{t['expected']:,.1f}", _p(t["p"]), t["best"], f"{t['unexplained']:.2f}")
        for t in c["tests"]
    )
    caption = (
        f"The same search where there is no signal. The worst window has p = {c['p']:.2g} for their number, the search goes on "
        f"from {c['alpha']:g}. Variance: of data and template apart, over what toys say; the template's is multiplied by "
        f"{c['inflation']:.2f} for the signal region."
    )
    return [
        Section("Closure", tables=(Table(("Window", "Events", "Expected", "p", "Deviates most", "Variance"), rows, caption),))
    ]


def _frontier(found: _Search) -> Section:
    """Power in the bank and on unseen signals at every setting."""
    first = found.frontiers[0]
    rows = tuple(
        (f"{f['region']}, generality {g:g}", _power(f["known"], i, f["error"]), _power(f["unseen"], i, f["error"]))
        for f in found.frontiers
        for i, g in enumerate(f["generality"])
    )
    caption = (
        f"Probability to see a signal of {first['strength']:g} sigma (of the best possible test) at a false-alarm rate of "
        f"{first['alpha']:.2g}. Unseen: random smooth changes that no bank knows."
    )
    table = Table(("Setting", "Signals of the bank", "Unseen signals"), rows, caption)
    if len(first["generality"]) == 1:
        return Section("Knob", tables=(table,))
    with canvas(7, 3.8) as (drawing, axes):
        for i, (name, label) in enumerate((("known", "signals of the bank"), ("unseen", "unseen signals"))):
            if first[name] is not None:
                axes[0, 0].errorbar(
                    first["generality"], first[name], first["error"], label=label, marker="o", capsize=3, **style(i)
                )
        axes[0, 0].set(xlabel="generality", ylabel="power", ylim=(0, None), xlim=(-0.03, 1.03))
        axes[0, 0].legend()
        figure = finish(drawing, "frontier", f"The frontier in {first['region']}: what each setting would see.", dict(first))
    return Section("Knob", tables=(table,), figures=(figure,))


def _ledger(found: _Search) -> Section:
    rows = []
    for e in found.ledger.entries():
        body = {
            k: v for k, v in e.body.items() if k in ("name", "alpha", "region", "p", "closed", "windows", "discovery", "text")
        }
        told = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in body.items())
        own = "this search" if e.body.get("sha256") == found.info["frozen_sha256"] else str(e.body.get("sha256", ""))[:12]
        rows.append((str(e.number + 1), e.time[:16].replace("T", " "), e.kind, own, told, e.sha256[:12]))
    caption = f"{found.ledger.path}: every line holds the hash of the line before; checked when this page was written."
    return Section("Ledger", tables=(Table(("Line", "Time (UTC)", "What", "Search", "", "Hash"), tuple(rows), caption),))


def _p(p: Mapping[str, Any]) -> str:
    beyond = " extrapolated" if p["extrapolated"] else ""
    return f"{p['value']:.2g} [{p['low']:.2g}, {p['high']:.2g}]{beyond}"


def _expected(region: Mapping[str, Any]) -> str:
    return "not known" if region["expected"] is None else f"{region['expected']:,.1f} ± {region['expected_error']:.1f}"


def _power(values: Sequence[float] | None, i: int, error: Sequence[float]) -> str:
    return "no bank" if values is None else f"{values[i]:.2f} ± {error[i]:.2f}"
