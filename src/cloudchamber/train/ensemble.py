"""Deep ensemble: several trainings that differ in their seed alone, as one run folder with their mean and spread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRun
from cloudchamber.recipe import Recipe, load
from cloudchamber.run import Run
from cloudchamber.stats import ScoreTable, combined, summarise
from cloudchamber.train import fit
from cloudchamber.train.loop import OnRecord
from cloudchamber.train.rows import split_rows
from cloudchamber.train.scoring import SCORES, VALIDATION


def fit_ensemble(
    recipe: Recipe,
    out: Path,
    *,
    kind: str = "pretrain",
    arm: str | None = None,
    data: TrainingSet | None = None,
    resume: bool = False,
    device: str = "cpu",
    on_record: OnRecord | None = None,
) -> tuple[Path, ...]:
    """Train `recipe.seeds` networks into OUT/seed<seed>, and leave OUT as the run of all; returns the members' folders.

    Every member trains, validates and tests on the same events. resume: go on with a killed one, finished members stay.
    Raises BadRun if OUT is there without `resume`, or belongs to another recipe.
    """
    data = fit.open_data(recipe) if data is None else data
    rows = split_rows(data, recipe)
    recipe = fit.resolve(recipe, data, rows.train)
    if resume:
        run = Run.open(out)
        if run.done or load(out / "recipe.yaml") != recipe:
            raise BadRun(f"{out}: is complete, or was started with another recipe; there is nothing to resume")
    else:
        run = fit.create_run(recipe, out, kind, arm, data.schema)
    members = tuple(out / f"seed{recipe.seed + i}" for i in range(recipe.seeds))
    for i, member in enumerate(members):
        own = recipe.model_copy(update={"seed": recipe.seed + i, "seeds": 1})
        if (member / "run.json").is_file():
            if not Run.open(member).done:
                fit.resume(member, own, data=data, device=device, on_record=on_record)
        else:
            fit.fit_run(own, member, kind=kind, arm=arm, data=data, rows=rows, device=device, on_record=on_record)
    run.finish(_summary(run, members))
    return members


def _summary(run: Run, members: tuple[Path, ...]) -> dict[str, Any]:
    of_members = [Run.open(m).summary for m in members]
    summed = {n: sum(s[n] for s in of_members) for n in ("parameters", "trained", "jets_seen", "wall_s")}
    summary = {**of_members[0], **summed, "arm": run.info["arm"], "members": [m.name for m in members]}
    for name in (SCORES, VALIDATION):
        if all((m / name).is_file() for m in members):
            table = combined([ScoreTable.read(m / name) for m in members], run=run.path.name)
            table.write(run.path / name)
            summary |= {"test": summarise(table)} if name == SCORES else {}
    return summary
