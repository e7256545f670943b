"""Production: many jets or events of many classes in parallel, the same for the same seed whoever does the work."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from cloudchamber.errors import BadInput, nearest
from cloudchamber.events import Cloud, Feature, Label, Schema, concatenate
from cloudchamber.events.clustering import fastjet_module
from cloudchamber.recipe import plain_yaml
from cloudchamber.simulate.card import DEFAULT
from cloudchamber.simulate.card import load as load_card
from cloudchamber.simulate.collider import View, generate
from cloudchamber.simulate.puppi import CITATION as PUPPI
from cloudchamber.simulate.pythia import BATCH, pythia_module, pythia_seed
from cloudchamber.simulate.scenario import JETCLASS, Range, Scenario, load_scenario
from cloudchamber.workers import check_stop, cores, executor, in_order

CHUNK = 500  # jets or events that have a seed of their own
JOBS = 64  # of a production: its end finds every worker busy, and little is lost with one
MAX_CHUNKS = 20  # of a job: bounds its memory, and the size of its shard in a store
What = str | Path | Sequence[str]
Numbers = int | Mapping[str, int]


@dataclass(frozen=True)
class Production:
    """What is to be made: n[i] jets or events of classes[i], from each hard process one for every view."""

    views: tuple[View, ...]
    classes: tuple[str, ...]
    n: tuple[int, ...]
    seed: int

    @cached_property
    def schema(self) -> Schema:
        """The schema of what is made."""
        view = self.views[0]
        scenario, jets = view.scenario, view.scenario.jets
        columns = plain_yaml(Path(__file__).with_name("columns.yaml"), BadInput, "listing of columns")
        known, is_jets = columns["labels"], scenario.output == "jets"
        label = {"name": "label", "classes": self.classes, "description": "what was simulated"}
        groups = [*(["jets"] if is_jets else []), "collision", *(["views"] if len(self.views) > 1 else [])]
        features = [*columns["features"], *(columns["objects"] if scenario.objects else [])]
        what = f" {scenario.name}" if scenario.name != JETCLASS else ""
        energy = f"{scenario.ecm:g} GeV" if scenario.ecm else f"{scenario.energies} GeV"
        size = (
            f"anti-kt R = {jets.radius:g}, pT {jets.pt[0]:g}-{jets.pt[1]:g} GeV, abs(eta) < {jets.max_eta:g}; " if jets else ""
        )
        detectors = [cited for v in self.views for cited in v.card.citation]
        return Schema(
            dataset=f"cloudchamber simulation{what}",
            frame="jet" if is_jets else "collider",
            features=tuple(Feature(**feature) for feature in features),
            columns=() if is_jets else tuple(Feature(**column) for column in columns["columns"]),
            labels=tuple(Label(**one) for one in (label, *(one for group in groups for one in known[group]))),
            simulated=True,
            licence=scenario.licence,
            citation=tuple(dict.fromkeys((*scenario.citation.values(), *detectors, *([PUPPI] if scenario.objects else [])))),
            notes=(
                f"{scenario.description}. Pythia 8, beams {scenario.beams[0]} and {scenario.beams[1]}, {energy}, tune "
                f"{scenario.tune or 'default'}, MPI {'on' if scenario.mpi else 'off'}, pile-up {scenario.pileup:g}; parametric "
                f"{view.card.name} detector; {size}seed {self.seed}, {CHUNK} a chunk, {BATCH} a batch. {scenario.notes}"
            ).rstrip(),
        )

    def jobs(self, most: int = MAX_CHUNKS) -> list[Job]:
        """The work, in the order of the events: chunks that alternate between the classes, at most so many for each job."""
        rounds = range(-(-max(self.n) // CHUNK))
        chunks = [(c, i, min(CHUNK, n - i * CHUNK)) for i in rounds for c, n in enumerate(self.n) if i * CHUNK < n]
        size = min(max(len(chunks) // JOBS, 1), most)
        return [Job(self, tuple(chunks[i : i + size])) for i in range(0, len(chunks), size)]

    def asked(self) -> dict[str, Any]:
        """What was asked for, as JSON can hold it."""
        views = [
            {
                "scenario": view.scenario.model_dump(mode="json"),
                "detector": view.card.name,
                "card_sha256": hashlib.sha256(view.card.model_dump_json().encode()).hexdigest(),
            }
            for view in self.views
        ]
        return {"n": dict(zip(self.classes, self.n, strict=True)), "seed": self.seed, "views": views}


@dataclass(frozen=True)
class Job:
    """Chunks, each the number of its class, its number in it, and how many: enough for any process to make the same events."""

    production: Production
    chunks: tuple[tuple[int, int, int], ...]

    @property
    def rows(self) -> int:
        """Jets or events of the job."""
        return sum(n for _, _, n in self.chunks) * len(self.production.views)


def production(
    what: What,
    n: Numbers,
    *,
    seed: int = 0,
    mpi: bool | None = None,
    pt_range: Range | None = None,
    numbers: Mapping[str, float] | None = None,
    detector: str | Path = DEFAULT,
    views: Sequence[Mapping[str, Any]] = (),
) -> Production:
    """What `simulate` would make. Raises BadInput for unknown names and impossible numbers, BadScenario for a bad file."""
    scenario, classes = _resolved(what, n)
    counts = tuple(n[c] if isinstance(n, Mapping) else n for c in classes)
    if min(counts) < 1:
        raise BadInput(f"n must be at least 1, got n = {min(counts)}")
    scenario = scenario.changed(numbers or {}, mpi=mpi, pt_range=pt_range)
    first = View(scenario, load_card(detector))
    return Production((first, *(_view(first, v) for v in views)), classes, counts, seed)


def simulate(what: What, n: Numbers, **options: Any) -> Cloud:
    """n jets of each of some JetClass classes, or n jets or events of each class of a scenario.

    what: a list of classes such as ["QCD", "Hbb"], a shipped scenario's name, or the path of a scenario's YAML file.
    n: a number, or one for each class that is wanted. Chunks of 500 alternate between the classes.
    seed=0: the events depend on it, not on the workers, the other classes or n (more are appended).
    mpi: multiparton interactions, three to four times slower with them. pt_range: GeV, of the jets, as (600, None).
    numbers: the scenario's with other values, as {"ecm": 8000, "tune": 21, "pileup": 50, "objects": 1}. detector: the
    card's name ("cms", "atlas", "jetclass") or path; "v0_1" is that of the shipped weights' jets.
    views: what differs in each further view of the same hard processes, as [{}, {"tune": 21}, {"detector": "atlas"}]:
    other random numbers alone, or `tune`, `pileup`, `mpi`, `detector` too. Label `pair` is equal in the views of a jet
    or event.
    workers: processes; None means one for each core at hand. progress: called with the jets or events just done.
    Raises what `production` raises, and MissingExtra without Pythia or FastJet.
    """
    return concatenate(list(stream(what, n, **options)))


def stream(
    what: What, n: Numbers, *, workers: int | None = None, progress: Callable[[int], None] | None = None, **options: Any
) -> Iterator[Cloud]:
    """What `simulate` gives, as clouds of one chunk of one class, each as soon as it is there."""
    jobs = production(what, n, **options).jobs(most=1)
    need_packages()
    return clouds(jobs, make, workers, progress)


def clouds(
    jobs: Sequence[Any], make: Callable[[Any], Cloud], workers: int | None, progress: Callable[[int], None] | None
) -> Iterator[Cloud]:
    """The cloud of every job in their order, each as soon as it is there; workers and progress as of `simulate`."""
    if workers is not None and workers < 1:
        raise BadInput(f"workers must be at least 1, got workers = {workers}")
    count = min(workers or cores(), len(jobs))

    def made() -> Iterator[Cloud]:  # so that wrong arguments are told at the call and not at the first cloud
        with executor(count) as pool:
            for cloud in in_order(pool, make, jobs, ahead=2 * count):
                if progress is not None:
                    progress(len(cloud))
                yield cloud

    return made()


def make(job: Job) -> Cloud:
    """The jets or events of a job."""
    return concatenate([_chunk(job.production, *chunk) for chunk in job.chunks])


def need_packages() -> None:
    """Raise MissingExtra if Pythia or FastJet is missing: before the work, not by a worker."""
    pythia_module(), fastjet_module()


def _resolved(what: What, n: Numbers) -> tuple[Scenario, tuple[str, ...]]:
    """The scenario that is meant, and the classes that are wanted of it."""
    if isinstance(what, (str, Path)):
        scenario = load_scenario(what)
        classes = tuple(n) if isinstance(n, Mapping) else tuple(scenario.classes)
    else:
        scenario, classes = load_scenario(JETCLASS), tuple(what)
    if not classes:
        raise BadInput(f"classes must be a list of names such as ['QCD', 'Hbb'], got {what!r}")
    for name in classes:
        if name not in scenario.classes:
            known = f"Nearest: {nearest(name, scenario.classes)}. Known: {', '.join(scenario.classes)}."
            raise BadInput(f"no class of the scenario {scenario.name!r} is called {name!r}. {known}")
    if len(set(classes)) < len(classes):
        raise BadInput(f"a class is asked twice: {', '.join(classes)}")
    if isinstance(n, Mapping) and set(n) != set(classes):
        raise BadInput(f"n must give a number for each of {', '.join(classes)}, it names {', '.join(n)}")
    return scenario, classes


def _view(first: View, different: Mapping[str, Any]) -> View:
    numbers = {name: value for name, value in different.items() if name not in ("detector", "mpi")}
    if fixed := set(numbers) - {"tune", "pileup"}:
        raise BadInput(f"views share the hard process: {fixed.pop()!r} cannot differ; tune, pileup, mpi and detector can")
    card = load_card(different["detector"]) if "detector" in different else first.card
    return View(first.scenario.changed(numbers, mpi=different.get("mpi")), card)


def _chunk(production: Production, number: int, chunk: int, n: int) -> Cloud:
    """A chunk of the class of this number."""
    name, schema, n_views = production.classes[number], production.schema, len(production.views)
    bare = schema.model_copy(update={"labels": tuple(lb for lb in schema.labels if lb.name not in ("label", "pair", "view"))})
    digest = hashlib.sha256(f"{production.seed}/{name}/{chunk}".encode()).digest()
    seeds = pythia_seed(int.from_bytes(digest[:8], "big")), int.from_bytes(digest[8:24], "big")
    parts: list[Cloud] = []
    rows = n * n_views
    for part in generate(production.views, name, seeds, bare):
        check_stop()
        parts.append(part)
        if sum(map(len, parts)) >= rows:
            break
    own: dict[str, Any] = {"label": np.full(rows, number, dtype=np.int64)}
    if n_views > 1:
        row = np.arange(rows, dtype=np.float64)
        own |= {"pair": (chunk * CHUNK + row // n_views) * len(production.classes) + number, "view": row % n_views}
    return concatenate(parts)[:rows].with_columns(schema, **own)
