"""Runs as a report reads them: folders grouped into arms, the seeds of one arm side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cloudchamber.errors import BadRun
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
    """One complete run folder in memory."""

    path: Path
    info: Info
    summary: Summary
    metrics: tuple[dict[str, Any], ...]
    scores: ScoreTable | None
    validation: ScoreTable | None
    recipe: str
    environment: dict[str, Any]

    @property
    def arm(self) -> str:
        """The name under which runs with other seeds are the same experiment; the folder's own name if it has none."""
        return self.info.arm or self.path.name

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

    @property
    def tables(self) -> tuple[ScoreTable, ...]:
        """The score tables of the runs that have one, events of unknown truth left out."""
        return tuple(r.scores.known() for r in self.runs if r.scores is not None)

    @property
    def validations(self) -> tuple[ScoreTable, ...]:
        """The validation tables beside `tables`; none unless every run has both."""
        found = tuple(r.validation for r in self.runs if r.validation is not None and r.scores is not None)
        return found if len(found) == len(self.runs) else ()


def read_arms(paths: Sequence[Path]) -> tuple[Arm, ...]:
    """The runs in `paths`, grouped by arm in the order of their first appearance.

    Raises BadRun if a folder is no complete run, two runs of an arm share a seed, or their targets differ: a page compares
    like with like.
    """
    if not paths:
        raise BadRun("a report needs at least one run folder")
    grouped: dict[str, list[RunRecord]] = {}
    for record in map(read_run, paths):
        grouped.setdefault(record.arm, []).append(record)
    arms = tuple(Arm(name, tuple(sorted(runs, key=lambda r: r.info.seed))) for name, runs in grouped.items())
    for arm in arms:
        _check_seeds(arm)
    _check_targets([r for arm in arms for r in arm.runs])
    return arms


def read_run(path: Path) -> RunRecord:
    """One run folder; BadRun if it is none, is not complete, or a file in it is not what it should be."""
    run = Run.open(path)
    if not run.done:
        raise BadRun(f"{path}: the run is not complete (it has no done.json). Resume it first: run its command again.")
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
        recipe=recipe.read_text() if recipe.is_file() else "",
        environment=read_json(environment) if environment.is_file() else {},
    )


def reference(arms: Sequence[Arm]) -> Arm | None:
    """The arm that the others are compared with: the one from scratch, else the first; None if there is only one arm."""
    return next((a for a in arms if a.is_scratch), arms[0]) if len(arms) > 1 else None


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
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise BadRun(f"{path}: {place}: {first['msg']}, got {str(first['input'])[:80]!r}") from error


def _check_seeds(arm: Arm) -> None:
    seen: dict[int, Path] = {}
    for run in arm.runs:
        if run.info.seed in seen:
            raise BadRun(
                f"{run.path} and {seen[run.info.seed]} are both arm {arm.name!r} with seed {run.info.seed}. "
                "Leave one out: the same run twice would narrow the bands."
            )
        seen[run.info.seed] = run.path


def _check_targets(runs: Sequence[RunRecord]) -> None:
    with_scores = [r for r in runs if r.scores is not None]
    for run in with_scores[1:]:
        first = with_scores[0]
        assert run.scores is not None
        assert first.scores is not None
        got, expected = ((s.target, s.classes) for s in (run.scores, first.scores))
        if got != expected:
            raise BadRun(f"{run.path} has target {_named(got)}, {first.path} has {_named(expected)}: make one report for each")


def _named(target: tuple[str, tuple[str, ...]]) -> str:
    return f"{target[0]!r} ({', '.join(target[1]) or 'a number'})"
