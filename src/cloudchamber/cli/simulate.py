"""The verb simulate: classes of jets in, a store out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _list_classes(asked: bool) -> None:
    if not asked:
        return
    from rich.console import Console
    from rich.table import Table

    from cloudchamber.simulate.scenarios import CITATIONS, SCENARIOS

    table = Table("class", "what the jet is", "Pythia settings", show_lines=True)
    for one in SCENARIOS.values():
        table.add_row(one.name, one.description, "\n".join(one.process))
    console = Console()
    console.print(table)
    console.print("To cite:", *(f"  {what}: {identifier}" for what, identifier in CITATIONS.items()), sep="\n", highlight=False)
    raise typer.Exit


def simulate(  # noqa: PLR0917  (typer reads the options in this order)
    classes: Annotated[list[str], typer.Argument(metavar="CLASS", help="Classes of jets, such as QCD Hbb; see --list.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new store's folder.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Jets of each class.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same jets, whatever the number of workers.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core without it.")] = None,
    mpi: Annotated[bool, typer.Option(help="Multiparton interactions; three to four times faster without.")] = True,
    pt_min: Annotated[float, typer.Option(help="Lowest pT of a jet [GeV].")] = 500.0,
    pt_max: Annotated[float, typer.Option(help="Highest pT of a jet [GeV].")] = 1000.0,
    show_list: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--list", is_eager=True, callback=_list_classes, help="Show the classes and whom to cite.")
    ] = False,
) -> None:
    """Simulate jets of proton collisions in a CMS-like detector and write them to a store.

    Pythia 8 makes the collisions and FastJet the anti-kt R = 0.8 jets; the truth names their class.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from cloudchamber.data import store
    from cloudchamber.errors import BadStore
    from cloudchamber.simulate.production import stream

    if out.exists():  # said now rather than after hours of work
        raise BadStore(f"{out}: is there already. Give another folder with -o, or remove it yourself.")
    bar = Progress(
        *(TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")),
        *(TimeElapsedColumn(), TimeRemainingColumn()),
        console=Console(stderr=True),
    )
    task = bar.add_task("", total=n * len(classes), rate="")

    def advance(jets: int) -> None:
        bar.advance(task, jets)
        state = bar.tasks[0]
        bar.update(task, rate=f"{state.completed / max(state.elapsed or 0, 1e-3):.0f} jets/s")

    clouds = stream(classes, n, seed=seed, workers=workers, mpi=mpi, pt_range=(pt_min, pt_max), progress=advance)
    asked = {"classes": classes, "n": n, "seed": seed, "mpi": mpi, "pt_range": [pt_min, pt_max]}
    with bar:
        written = store.write(out, clouds, provenance={"verb": "simulate", **asked})
    typer.echo(f"{out}: {len(written):,} simulated jets of {', '.join(classes)}")
