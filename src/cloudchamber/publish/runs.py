"""Runs as a report reads them: folders grouped into arms, the seeds of one arm side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cloudchamber.errors import BadRun
from cloudchamber.recipe import first_problem, plain_yaml
from cloudchamber.run import Run, read_json
from cloudchamber.stats import ScoreTable

_T = TypeVar("_T", bound=BaseModel)


class Info(BaseModel):
    """What a report needs of `run.json`; everything else in it is shown or left alone."""

    model_config = ConfigDict(extra="allow", frozen=True)

    kind: str
    created: str = ""
    arm: str = ""
    seed: int = 0
    data: Any = None
    simulated: bool | None = None
    citations: tuple[str, ...] = ()
    parents: tuple[dict[str, str], ...] = ()

    @property
    def data_names(self) -> list[str]:
        """The data sets, as they were named when the run was asked for."""
        return [self.data] if isinstance(self.data, str) else [str(name) for name in self.data or ()]


class Summary(BaseModel):
    """What a report needs of `summary.json`; None where a kind of run has no such figure."""

    model_config = ConfigDict(extra="allow", frozen=True)

    size: str | None = None
    adapt: str | None = None
    weights: str | None = None
    parameters: int | None = None
    trained: int | None = None
    steps: int | None = None
    best_step: int | None = None
    batch: int | None = None
    train_jets: int | None = None
    jets_seen: int | None = None
    wall_s: float | None = None


@dataclass(frozen=True)
class Curve:
    """One quantity of one run against the step."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]


@dataclass(frozen=True)
class RunRecord:
    """One complete run folder in memory. scores: of its first target; further: those of its other targets."""

    path: Path
    info: Info
    summary: Summary
    metrics: tuple[dict[str, Any], ...]
    scores: ScoreTable | None
    validation: ScoreTable | None
    further: tuple[ScoreTable, ...]
    recipe: str
    environment: dict[str, Any]

    @property
    def arm(self) -> str:
        """The name of the way in which the model was trained; the folder's own name if it has none."""
        return self.info.arm or self.path.name

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The recipe as `entry.of.entry` -> value, without what may differ between the seeds of one arm, and without None."""
        content = plain_yaml(self.path / "recipe.yaml", BadRun, "recipe") if self.recipe else {}
        flat = _flat({k: v for k, v in content.items() if k not in _NOT_SETTINGS})
        return {k: v for k, v in flat.items() if not k.endswith(_MEASURED)}

    @property
    def data_identity(self) -> tuple[str, ...]:
        """The SHA-256 of every data set of the run; the name of one that was no file."""
        known = {p["path"]: p["sha256"] for p in self.info.parents}
        return tuple(known.get(name, name) for name in self.info.data_names)

    def curve(self, split: str, quantity: str) -> Curve:
        """A quantity of `metrics.jsonl` against the step; empty if the run did not record it."""
        lines = [m for m in self.metrics if m.get("split") == split and m.get(quantity) is not None]
        return Curve(
            np.array([m["step"] for m in lines], dtype=np.int64), np.array([m[quantity] for m in lines], dtype=np.float64)
        )


@dataclass(frozen=True)
class Arm:
    """The runs of one arm, by rising seed."""

    name: str
    runs: tuple[RunRecord, ...]

    @property
    def is_scratch(self) -> bool:
        """Whether the arm was trained from random weights."""
        return all(r.summary.adapt == "scratch" for r in self.runs)

    @cached_property
    def tables(self) -> tuple[ScoreTable, ...]:
        """The score tables of the runs that have one, events of unknown truth left out."""
        return tuple(r.scores.known() for r in self.runs if r.scores is not None)

    @property
    def validations(self) -> tuple[ScoreTable, ...]:
        """The validation tables beside `tables`; none unless every run has both."""
        found = tuple(r.validation for r in self.runs if r.validation is not None and r.scores is not None)
        return found if len(found) == len(self.runs) else ()

    def judged_on(self, target: str) -> Arm:
        """The same arm with the scores of a further target that all its runs learned in place of the first."""
        tables = [next(t for t in run.further if t.target == target) for run in self.runs]
        return Arm(self.name, tuple(replace(r, scores=t, validation=None) for r, t in zip(self.runs, tables, strict=True)))


def read_arms(paths: Sequence[Path]) -> tuple[Arm, ...]:
    """The runs in `paths`, grouped into arms by name and settings, in the order of their first appearance.

    Arms of one name get it with the settings in which they differ. Raises BadRun if a folder is no complete run, two runs
    of an arm share a seed, or their targets or data differ: a page compares like with like.
    """
    if not paths:
        raise BadRun("a report needs at least one run folder")
    records = [read_run(path) for path in paths]
    _check_same_question([r for r in records if r.scores is not None])
    grouped: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        grouped.setdefault((record.arm, repr(sorted(record.settings.items()))), []).append(record)
    groups = list(grouped.values())
    arms = tuple(Arm(name, tuple(sorted(g, key=lambda r: r.info.seed))) for name, g in zip(_names(groups), groups, strict=True))
    for arm in arms:
        _check_seeds(arm)
    return arms


def read_run(path: Path) -> RunRecord:
    """One run folder; BadRun if it is none, is not complete, or a file in it is not what it should be."""
    run = Run.open(path)
    if not run.done:
        raise BadRun(f"{path}: the run is not complete (it has no done.json). Resume it first: run its command again.")
    if run.info.get("kind") == "benchmark":
        raise BadRun(f"{path}: is a study, of which no page is made; its figures and targets are in {path / 'summary.json'}")
    scores, validation = path / "scores.parquet", path / "validation.parquet"
    recipe = path / "recipe.yaml"
    environment = path / "environment.json"
    return RunRecord(
        path=path,
        info=_document(Info, path / "run.json", run.info),
        summary=_document(Summary, path / "summary.json", run.summary),
        metrics=tuple(run.metrics()),
        scores=ScoreTable.read(scores) if scores.is_file() else None,
        validation=ScoreTable.read(validation) if validation.is_file() else None,
        further=tuple(map(ScoreTable.read, sorted(path.glob("scores-*.parquet")))),
        recipe=recipe.read_text() if recipe.is_file() else "",
        environment=read_json(environment) if environment.is_file() else {},
    )


def reference(arms: Sequence[Arm]) -> Arm | None:
    """The arm that the others are compared with: the one from scratch, else the first; None if there is only one arm."""
    return next((a for a in arms if a.is_scratch), arms[0]) if len(arms) > 1 else None


def further_targets(arms: Sequence[Arm]) -> tuple[str, ...]:
    """What all runs learned besides their first target."""
    learned = [{t.target for t in run.further} for arm in arms for run in arm.runs]
    return tuple(sorted(set.intersection(*learned))) if learned else ()


def same_events(arms: Sequence[Arm]) -> bool:
    """Whether all runs were tested on the same events."""
    ids = [np.sort(t.event_id) for arm in arms for t in arm.tables]
    return all(np.array_equal(ids[0], other) for other in ids[1:])


def absent_classes(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Classes of which some run has no test event: no ROC curve or calibration exists for them."""
    tables = [t for arm in arms for t in arm.tables]
    return tuple(c for i, c in enumerate(tables[0].classes) if any(not (t.truth == i).any() for t in tables))


def _document(model: type[_T], path: Path, content: Any) -> _T:
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise BadRun(f"{path}: {first_problem(error, model)}") from error


# Entries of a recipe in which the seeds of one arm may differ; the data have a check of their own.
_NOT_SETTINGS = ("seed", "name", "data")
_MEASURED = (".options.centre", ".options.scale")  # measured from the training events (regress)


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    """Nested entries as `outer.inner` -> value; None and what is empty are left out: they are no settings."""
    if isinstance(content, list):
        nested = any(isinstance(entry, dict) for entry in content)
        content = dict(enumerate(content)) if nested else ", ".join(map(str, content)) or None
    if not isinstance(content, dict):
        return {} if content is None else {prefix: content}
    found: dict[str, Any] = {}
    for name, value in content.items():
        found |= _flat(value, f"{prefix}.{name}" if prefix else str(name))
    return found


def _names(groups: Sequence[Sequence[RunRecord]]) -> list[str]:
    """Each group's arm, where several have one name with the settings in which they differ: "scratch (steps 15)"."""
    names = []
    for first, *_ in groups:
        of_name = [g[0].settings for g in groups if g[0].arm == first.arm]
        entries = dict.fromkeys(k for s in of_name for k in s)
        differing = [k for k in entries if len({repr(s.get(k)) for s in of_name}) > 1]
        short = {k: k.rpartition(".")[2] for k in differing}
        if len(set(short.values())) < len(short):
            short = {k: k for k in differing}
        told = ", ".join(f"{short[k]} {first.settings[k]}" for k in differing if k in first.settings)
        names.append(f"{first.arm} ({told})" if told else first.arm)
    return names


def _check_seeds(arm: Arm) -> None:
    seen: dict[int, Path] = {}
    for run in arm.runs:
        if run.info.seed in seen:
            raise BadRun(
                f"{run.path} and {seen[run.info.seed]} are both arm {arm.name!r} with seed {run.info.seed}. "
                "Leave one out: the same run twice would narrow the bands."
            )
        seen[run.info.seed] = run.path


def _check_same_question(scored: Sequence[RunRecord]) -> None:
    for run in scored[1:]:
        first = scored[0]
        assert run.scores is not None
        assert first.scores is not None
        got, expected = ((s.target, s.classes) for s in (run.scores, first.scores))
        if got != expected:
            raise BadRun(f"{run.path} has target {_named(got)}, {first.path} has {_named(expected)}: make one report for each")
        shared = np.array_equal(np.sort(run.scores.event_id), np.sort(first.scores.event_id))
        if run.data_identity != first.data_identity and not shared:
            here, there = (", ".join(r.info.data_names) for r in (run, first))
            raise BadRun(
                f"{run.path} has other data ({here}) and test events than {first.path} ({there}): make one report for each"
            )


def _named(target: tuple[str, tuple[str, ...]]) -> str:
    return f"{target[0]!r} ({', '.join(target[1]) or 'a number'})"
