"""The verb benchmark: a suite by its name in, its figures and whether its targets hold out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def benchmark(
    suite: Annotated[str, typer.Argument(help="Which suite, such as minerva.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new run folder for figures and verdicts.")],
    numbers: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Another setting of the suite; several values as [1, 2]."),
    ] = None,
    tuples: Annotated[list[Path] | None, typer.Option(help="Real files in place of simulated events; may be repeated.")] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="Show in a minute that it works; figures mean nothing.")] = False,
) -> None:
    """Run a study again: models against each other and against published numbers, several seeds, with targets.

    The folder's summary.json holds every figure with its error, and which targets hold.
    """
    from rich.console import Console
    from rich.table import Table

    from cloudchamber import registry
    from cloudchamber.run import Run
    from cloudchamber.suites.base import mean, settings

    chosen = registry.get("suites", suite)
    asked = settings(chosen, numbers or (), {"tuples": tuple(map(str, tuples))} if tuples else {}, tiny=tiny)
    run = Run.create(
        out, "benchmark", parents=tuple(tuples or ()), suite=suite, tiny=tiny, settings=asked.model_dump(mode="json")
    )
    found = chosen.run(asked, typer.echo)
    figures = {name: {"value": (m := mean(v)).value, "error": m.error, "seeds": len(v)} for name, v in found.figures.items()}
    verdicts = [{"figure": t.figure, "relation": t.relation, "bound": t.bound, "holds": found.holds(t)} for t in found.targets]
    shown = Table("target", "measured", "error", "holds", title=", ".join(f"{n}: {v}" for n, v in found.data.items()))
    for target, verdict in zip(found.targets, verdicts, strict=True):
        figure = figures[target.figure]
        holds = "yes" if verdict["holds"] else "NO"
        bound = target.bound if isinstance(target.bound, str) else f"{target.bound:.3g}"
        told = f"{target.figure} {target.relation} {bound}"
        shown.add_row(told, f"{figure['value']:.3g}", f"{figure['error']:.2g}", holds)
    run.finish({"data": dict(found.data), "figures": figures, "targets": verdicts, "citations": list(found.citation)})
    Console().print(shown)
