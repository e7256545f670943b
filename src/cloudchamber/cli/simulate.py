"""The verb simulate: a scenario in, a store out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cloudchamber import neutrinos
from cloudchamber.cli.progress import counting_bar
from cloudchamber.data import build
from cloudchamber.data.store import Store
from cloudchamber.errors import BadInput, nearest
from cloudchamber.events import Cloud
from cloudchamber.neutrinos import TOKENS
from cloudchamber.simulate import production
from cloudchamber.simulate.card import DEFAULT, load, shipped
from cloudchamber.simulate.neutrino.generator import CITATIONS
from cloudchamber.simulate.pythia import pythia_module
from cloudchamber.simulate.scenario import JETCLASS, load_scenario, scenario_names
from cloudchamber.stats.figures import judge
from cloudchamber.workers import cores


def _list_scenarios(asked: bool) -> None:
    if not asked:
        return
    console = Console(highlight=False)
    for scenario in map(load_scenario, scenario_names()):
        beams = f"{scenario.ecm:g} GeV" if scenario.ecm else "{:g} x {:g} GeV".format(*scenario.energies or ())
        numbers = " ".join(f"{name}={value:g}" for name, value in scenario.numbers.items())
        kind = "jets" if scenario.output == "jets" else "whole events"
        table = Table("class", "what it is", "Pythia's settings", show_lines=True, title_justify="left")
        table.title = f"[bold]{scenario.name}[/]: {scenario.description}"
        table.caption = (
            f"{kind}; beams {scenario.beams[0]} and {scenario.beams[1]} at {beams}; MPI {'on' if scenario.mpi else 'off'}"
        )
        for name, one in scenario.classes.items():
            table.add_row(name, one.description, "\n".join((*one.process, *one.settings)))
        console.print(table, f"--set: {numbers}", _owed(scenario.licence, scenario.citation), sep="\n")
    table = Table("detector", "what it is", "to cite besides", title="[bold]detectors[/] for --detector", title_justify="left")
    for card in map(load, shipped()):
        table.add_row(card.name, card.notes, ", ".join(card.citation))
    console.print(table)
    table = Table("beam", "what it is", title="[bold]neutrinos[/] on carbon in a MINERvA-like tracker", title_justify="left")
    for name, (_, description) in neutrinos.BEAMS.items():
        table.add_row(name, description)
    console.print(table, _owed(neutrinos.LICENCE, CITATIONS), sep="\n")
    raise typer.Exit


def _owed(licence: str, citations: Mapping[str, str]) -> str:
    return "\n  ".join((f"Licence: {licence}\nTo cite:", *(f"{what}: {where}" for what, where in citations.items()))) + "\n"


EVENTS, VALIDATION = 1000, 20_000  # of each class; neutrino events at each energy
_OF_VALIDATE = "--validate; -o, -n and --workers do"
FILES = {".root": neutrinos.write_tuple, ".hepmc3": neutrinos.write_interactions}  # of a beam; all else is a store
_WHAT = (
    "A scenario or the path of one, then those of its classes that are wanted; classes alone are those of "
    f"{JETCLASS}, such as QCD Hbb. QCD:500 asks for 500 of it. Or a beam of neutrinos. See --list."
)


Out = Annotated[
    Path,
    typer.Option("-o", "--out", help="New store's folder; a .root or .hepmc3 file of neutrinos; the page of --validate."),
]
What = Annotated[list[str] | None, typer.Argument(metavar="SCENARIO [CLASS...]", help=_WHAT)]
Number = Annotated[
    int | None,
    typer.Option("-n", min=1, help="Jets or events of each class without a number of its own (1000); see --validate."),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same events, whoever does the work.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes; one for each core without it.")]
Cluster = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Work on this dask scheduler's cluster (tcp://host:8786) or a 'local' one."),
]
Detector = Annotated[str, typer.Option(metavar="CARD", help=f"{', '.join(shipped())}, or the path of a card.")]
Mpi = Annotated[bool | None, typer.Option(help="Multiparton interactions; three to four times faster without.")]
LowestPt = Annotated[float | None, typer.Option(help="Lowest pT of a jet [GeV].")]
HighestPt = Annotated[float | None, typer.Option(help="Highest pT of a jet [GeV].")]
Numbers = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Another ecm, tune, pileup, objects, or number of the scenario."),
]
Views = Annotated[
    list[str] | None,
    typer.Option("--view", metavar="NAME=VALUE...", help="Each hard process again: 'tune=21 detector=atlas' or 'same'."),
]
Tokens = Annotated[str | None, typer.Option(help=f"Particles of neutrino events: {', '.join(TOKENS)}.")]
Variant = Annotated[str | None, typer.Option(help=f"Neutrino events simulated as {', '.join(neutrinos.VARIANTS)}.")]
Validate = Annotated[
    bool,
    typer.Option(
        "--validate",
        help="Compare the simulation with published truth and write the page OUT, with -n (20,000) neutrino events at each "
        "energy and the rest in proportion. Real files are looked for in CLOUDCHAMBER_SAMPLES.",
    ),
]
Listed = Annotated[
    bool, typer.Option("--list", is_eager=True, callback=_list_scenarios, help="Explain the scenarios, and whom to cite.")
]


def simulate(  # typer reads the options in this order
    out: Out,
    what: What = None,
    n: Number = None,
    seed: Seed = 0,
    workers: Workers = None,
    cluster: Cluster = None,
    detector: Detector = DEFAULT,
    mpi: Mpi = None,
    pt_min: LowestPt = None,
    pt_max: HighestPt = None,
    numbers: Numbers = None,
    views: Views = None,
    tokens: Tokens = None,
    variant: Variant = None,
    validate: Validate = False,
    show_list: Listed = False,  # noqa: ARG001  (its callback does the work)
) -> None:
    """Simulate collisions, jets or whole events, as a detector sees them, and write them to a store.

    After a kill or Ctrl-C the same command goes on where it was stopped.
    """
    of_neutrinos: dict[str, Any] = {"--tokens": tokens, "--variant": variant}
    of_scenarios: dict[str, Any] = {"--mpi": mpi, "--pt-min": pt_min, "--pt-max": pt_max, "--set": numbers, "--view": views}
    of_scenarios["--detector"] = None if detector == DEFAULT else detector
    if validate:
        _refuse(what or (), {**of_scenarios, **of_neutrinos, "--seed": seed or None, "--cluster": cluster}, _OF_VALIDATE)
        _validate(out, n or VALIDATION, workers)
        return
    if not what:
        raise BadInput("name a scenario, a class or a beam; --list explains them")
    if what[0] in neutrinos.BEAMS:
        _refuse(what[1:], of_scenarios, f"the beam {what[0]!r}; -n, --seed, --tokens, --variant, --workers and --cluster do")
        _of_beam(out, what[0], n or EVENTS, seed, {"--workers": workers, "--cluster": cluster, **of_neutrinos})
        return
    _refuse((), of_neutrinos, f"{what[0]!r}, which is no beam. Beams: {', '.join(neutrinos.BEAMS)}")
    asked: dict[str, Any] = {"seed": seed, "detector": detector, "mpi": mpi, "pt_range": (pt_min, pt_max)}
    _of_scenario(out, what, n or EVENTS, numbers or (), views or (), workers=workers, cluster=cluster, **asked)


def _of_scenario(out: Path, what: list[str], n: int, numbers: Sequence[str], views: Sequence[str], **asked: Any) -> None:
    scenario, counts = _asked(what, n)
    written = simulate_into(out, scenario, counts, numbers=_numbers(numbers), views=[_view(view) for view in views], **asked)
    made = "jets" if written.schema.frame == "jet" else "events"
    typer.echo(f"{out}: {len(written):,} simulated {made} of {', '.join(counts)}")


def _validate(out: Path, n: int, workers: int | None) -> None:
    from cloudchamber.publish.validation_page import write_validation_page
    from cloudchamber.validation import compare

    production.need_packages()
    if out.suffix != ".html":
        raise BadInput(f"{out}: the page of --validate is an .html file, such as validation.html")
    folder, found = os.environ.get("CLOUDCHAMBER_SAMPLES"), []
    for part in compare(Path(folder) if folder else None, n, workers or cores()):
        for comparison in part:
            verdicts = [t["holds"] for t in judge(comparison.targets, comparison.figures)]
            typer.echo(f"{comparison.title}: {comparison.missing or f'{sum(verdicts)} of {len(verdicts)} targets hold'}")
        found += part
    typer.echo(write_validation_page(out, found, n=n))


def _refuse(classes: Sequence[str], options: Mapping[str, object], where: str) -> None:
    """BadInput for classes and options that do not go with something."""
    given = [*classes, *(name for name, value in options.items() if value not in (None, [], ()))]
    if given:
        raise BadInput(f"{given[0]!r} does not go with {where}")


def _of_beam(out: Path, beam: str, n: int, seed: int, options: Mapping[str, Any]) -> None:
    """A store, or one file made in one process: what the detector's tuples hold (.root), or the final states (.hepmc3)."""
    if out.suffix in FILES:
        _refuse(
            (), options, f"the file {out.name}: one process writes the nominal simulation, without tokens. A store has them"
        )
        if out.exists():
            raise BadInput(f"{out}: is there already. Give another name, or remove it yourself.")
        FILES[out.suffix](out, beam, n, seed=seed)
        typer.echo(f"{out}: {n:,} simulated interactions of {beam}")
        return
    workers, cluster = options["--workers"], options["--cluster"]
    chosen = {"tokens": options["--tokens"] or TOKENS[0], "variant": options["--variant"] or neutrinos.NOMINAL}
    written = neutrinos_into(out, beam, n, seed=seed, workers=workers, cluster=cluster, **chosen)
    made = ", ".join(f"{name} {value}" for name, value in chosen.items())
    typer.echo(f"{out}: {len(written):,} simulated interactions of {beam}, {made}")


def neutrinos_into(
    out: Path,
    beam: str,
    n: int,
    *,
    seed: int,
    tokens: str,
    variant: str = neutrinos.NOMINAL,
    workers: int | None = None,
    cluster: str | None = None,
) -> Store:
    """Simulate interactions of a beam into a new store behind a progress bar."""
    jobs = neutrinos.jobs(beam, n, seed=seed, tokens=tokens, variant=variant)
    pythia_module()  # a missing package is told here, not by a worker
    asked = {"beam": beam, "n": n, "seed": seed, "tokens": tokens, "variant": variant}
    return _built(out, jobs, neutrinos.make, asked, "events", workers, cluster)


def simulate_into(
    out: Path,
    what: str | Sequence[str],
    n: int | Mapping[str, int],
    *,
    workers: int | None = None,
    cluster: str | None = None,
    **options: Any,
) -> Store:
    """Simulate into a new store behind a progress bar; what, n and options are those of `cloudchamber.simulate`."""
    production.need_packages()
    planned = production.production(what, n, **options)
    unit = "jets" if planned.schema.frame == "jet" else "events"
    return _built(out, planned.jobs(), production.make, planned.asked(), unit, workers, cluster)


def _built(
    out: Path,
    jobs: Sequence[Any],
    make: Callable[[Any], Cloud],
    asked: dict[str, Any],
    unit: str,
    workers: int | None,
    cluster: str | None,
) -> Store:
    count, asked = min(workers or cores(), len(jobs)), {"verb": "simulate", **asked}
    with counting_bar("simulating", unit) as show:
        return build(out, jobs, make, asked=asked, workers=count, cluster=cluster, progress=show)


def _asked(what: Sequence[str], n: int) -> tuple[str, dict[str, int]]:
    """The scenario, and jets or events by class: `QCD` stands for n of them, `QCD:500` for 500."""
    first, names = what[0], scenario_names()
    named = first in names or Path(first).suffix in (".yaml", ".yml")
    scenario, classes = (first, what[1:]) if named else (JETCLASS, what)
    own = load_scenario(scenario).classes
    if not named and first.partition(":")[0] not in own:
        known = [*names, *own, *neutrinos.BEAMS]
        raise BadInput(f"no scenario, class or beam is called {first!r}. Nearest: {nearest(first, known)}. See --list.")
    counts: dict[str, int] = {}
    for one in classes or list(own):
        name, colon, number = one.partition(":")
        if colon and not number.isdigit():
            raise BadInput(f"{one!r}: expected CLASS or CLASS:NUMBER, such as QCD:500")
        if name in counts:
            raise BadInput(f"a class is asked twice: {name}")
        counts[name] = int(number) if colon else n
    return scenario, counts


def _view(given: str) -> dict[str, float | str]:
    """What differs in a view: numbers, and the detector's name."""
    parts = [] if given == "same" else given.split()
    detectors = [p for p in parts if p.startswith("detector=")]
    named = {"detector": detectors[-1].partition("=")[2]} if detectors else {}
    return _numbers([p for p in parts if p not in detectors]) | named


def _numbers(given: Sequence[str]) -> dict[str, float]:
    """NAME=VALUE by name."""
    numbers: dict[str, float] = {}
    for one in given:
        name, _, value = one.partition("=")
        try:
            numbers[name] = float(value)
        except ValueError as error:
            raise BadInput(f"{one!r}: expected NAME=NUMBER, such as tune=21") from error
    return numbers
