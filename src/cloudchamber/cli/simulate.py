"""The verb simulate: classes of jets in, a store out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from cloudchamber.cli.progress import counting_bar
from cloudchamber.data import store
from cloudchamber.data.store import Store
from cloudchamber.errors import BadInput, BadStore
from cloudchamber.simulate.production import MPI, PT_RANGE, stream


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


def simulate(  # typer reads the options in this order
    classes: Annotated[
        list[str],
        typer.Argument(metavar="CLASS", help="Classes of jets, such as QCD Hbb; QCD:500 asks for 500 of it. See --list."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The new store's folder.")],
    n: Annotated[int, typer.Option("-n", min=1, help="Jets of each class without a number of its own.")] = 1000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same jets, whatever the number of workers.")] = 0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one for each core without it.")] = None,
    mpi: Annotated[bool, typer.Option(help="Multiparton interactions; three to four times faster without.")] = MPI,
    pt_min: Annotated[float, typer.Option(help="Lowest pT of a jet [GeV].")] = PT_RANGE[0],
    pt_max: Annotated[float, typer.Option(help="Highest pT of a jet [GeV].")] = PT_RANGE[1],
    show_list: Annotated[  # noqa: ARG001  (its callback does the work)
        bool, typer.Option("--list", is_eager=True, callback=_list_classes, help="Show the classes and whom to cite.")
    ] = False,
) -> None:
    """Simulate jets of proton collisions in a CMS-like detector and write them to a store.

    Pythia 8 makes the collisions and FastJet the anti-kt R = 0.8 jets; the truth names their class.
    """
    counts = _counts(classes, n)
    written = simulate_into(out, list(counts), counts, seed=seed, workers=workers, mpi=mpi, pt_range=(pt_min, pt_max))
    typer.echo(f"{out}: {len(written):,} simulated jets of {', '.join(counts)}")


def simulate_into(
    out: Path,
    classes: Sequence[str],
    n: int | Mapping[str, int],
    *,
    seed: int,
    workers: int | None = None,
    mpi: bool = MPI,
    pt_range: tuple[float, float] = PT_RANGE,
) -> Store:
    """Simulate into a new store behind a progress bar; the arguments are those of `cloudchamber.simulate`."""
    if out.exists():  # said now rather than after hours of work
        raise BadStore(f"{out}: is there already. Give another folder with -o, or remove it yourself.")
    total = sum(n.values()) if isinstance(n, Mapping) else n * len(classes)
    asked = {"classes": list(classes), "n": n, "seed": seed, "mpi": mpi, "pt_range": list(pt_range)}
    done = 0
    with counting_bar("simulating", "jets") as show:

        def advance(jets: int) -> None:
            nonlocal done
            done += jets
            show(done, total)

        clouds = stream(classes, n, seed=seed, workers=workers, mpi=mpi, pt_range=pt_range, progress=advance)
        return store.write(out, clouds, provenance={"verb": "simulate", **asked})


def _counts(asked: Sequence[str], n: int) -> dict[str, int]:
    """Jets by class: `QCD` stands for n of them, `QCD:500` for 500."""
    counts: dict[str, int] = {}
    for one in asked:
        name, colon, number = one.partition(":")
        if colon and not number.isdigit():
            raise BadInput(f"{one!r}: expected CLASS or CLASS:NUMBER, such as QCD:500")
        if name in counts:
            raise BadInput(f"a class is asked twice: {name}")
        counts[name] = int(number) if colon else n
    return counts
