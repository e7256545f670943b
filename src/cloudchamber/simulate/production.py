"""Production: many jets of many classes in parallel, the same for the same seed whatever the number of workers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Feature, Label, Schema, concatenate
from cloudchamber.events.clustering import fastjet_module
from cloudchamber.events.kinematics import FLAGS
from cloudchamber.simulate.collider import BATCH, COLUMNS, MAX_ETA, PARTONS, RADIUS, JetBatch, generate, pythia_module
from cloudchamber.simulate.scenarios import CITATIONS, scenario
from cloudchamber.workers import check_stop, cores, executor, in_order

CHUNK = 500  # jets per job: fixed, since a chunk is what a seed belongs to
MPI = True
PT_RANGE = (500.0, 1000.0)  # GeV

_DESCRIPTIONS = {
    "charge": "electric charge",
    "d0": "transverse impact parameter",
    "d0_err": "resolution of d0",
    "dz": "longitudinal impact parameter",
    "dz_err": "resolution of dz",
}


def simulate(
    classes: Sequence[str],
    n: int | Mapping[str, int],
    *,
    seed: int = 0,
    workers: int | None = None,
    mpi: bool = MPI,
    pt_range: tuple[float, float] = PT_RANGE,
    progress: Callable[[int], None] | None = None,
) -> Cloud:
    """n jets of every class in `classes` (or n[class] of each), in blocks of CHUNK jets that alternate between them.

    workers: processes; None means one for each core at hand. The result does not depend on it, and the jets of one
    class do not depend on the other classes or on n (more jets are appended). pt_range: GeV, of the jet.
    mpi: multiparton interactions, three to four times slower with them. progress: called with the jets just done.
    Label `label` holds the index in `classes`; label `parton` is quark or gluon for QCD jets, else -1.
    Raises BadInput for an unknown class or an impossible number, MissingExtra without Pythia or FastJet.
    """
    clouds = stream(classes, n, seed=seed, workers=workers, mpi=mpi, pt_range=pt_range, progress=progress)
    return concatenate(list(clouds))


def stream(
    classes: Sequence[str],
    n: int | Mapping[str, int],
    *,
    seed: int = 0,
    workers: int | None = None,
    mpi: bool = MPI,
    pt_range: tuple[float, float] = PT_RANGE,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Cloud]:
    """What `simulate` gives, as clouds of at most CHUNK jets of one class, each as soon as it is there and in that order."""
    counts = dict(n) if isinstance(n, Mapping) else dict.fromkeys(classes, n)
    _check(classes, counts, workers, pt_range)
    pythia_module(), fastjet_module()  # a missing package is told here, not by a worker
    schema = describe(classes, seed=seed, mpi=mpi, pt_range=pt_range)
    jobs = [
        _Job(name, seed, chunk, min(CHUNK, counts[name] - chunk * CHUNK), mpi, pt_range)
        for chunk in range(-(-max(counts.values()) // CHUNK))
        for name in classes
        if chunk * CHUNK < counts[name]
    ]
    # A generator of its own, so that wrong arguments are told at the call and not at the first cloud.
    return _clouds(jobs, min(workers or cores(), len(jobs)), schema, progress)


def describe(classes: Sequence[str], *, seed: int, mpi: bool, pt_range: tuple[float, float]) -> Schema:
    """The schema of simulated jets."""
    return Schema(
        dataset="cloudchamber simulation",
        frame="jet",
        features=tuple(
            Feature(
                name=name,
                unit="mm" if name.startswith("d") else "1",
                kind="flag" if name in FLAGS else "number",
                description=_DESCRIPTIONS.get(name, ""),
            )
            for name in COLUMNS[4:]
        ),
        labels=(
            Label(name="label", classes=tuple(classes), description="what the jet was made from"),
            Label(name="parton", classes=PARTONS, description="hard parton next to a QCD jet"),
        ),
        simulated=True,
        licence="CC0-1.0 (made by cloudchamber; cite the generators)",
        citation=tuple(CITATIONS.values()),
        notes=(
            f"Pythia 8, pp at 13 TeV, tune 14, MPI {'on' if mpi else 'off'}, no pile-up; parametric CMS-like detector; "
            f"anti-kt R = {RADIUS:g} jets with pT {pt_range[0]:g}-{pt_range[1]:g} GeV and abs(eta) < {MAX_ETA:g}; "
            f"all visible decay products within R. Seed {seed}, {CHUNK} jets a chunk, {BATCH} events a batch."
        ),
    )


@dataclass(frozen=True)
class _Job:
    """One chunk of one class: enough for any process to make the same jets."""

    name: str
    seed: int
    chunk: int
    n: int
    mpi: bool
    pt_range: tuple[float, float]

    @property
    def seeds(self) -> tuple[int, int]:
        """Pythia's seed (1 to 900,000,000; 0 would mean the clock) and NumPy's."""
        digest = hashlib.sha256(f"{self.seed}/{self.name}/{self.chunk}".encode()).digest()
        return 1 + int.from_bytes(digest[:8], "big") % 899_999_999, int.from_bytes(digest[8:24], "big")


def run_job(job: _Job) -> JetBatch:
    """The jets of one chunk."""
    parts: list[JetBatch] = []
    done = 0
    for part in generate(scenario(job.name), job.seeds, mpi=job.mpi, pt_range=job.pt_range):
        check_stop()
        parts.append(part)
        done += len(part)
        if done >= job.n:
            break
    counts = np.concatenate([p.counts for p in parts])[: job.n]
    rows = int(counts.sum())
    particles = {name: np.concatenate([p.particles[name] for p in parts])[:rows] for name in COLUMNS}
    return JetBatch(counts, particles, np.concatenate([p.parton for p in parts])[: job.n])


def _clouds(jobs: Sequence[_Job], workers: int, schema: Schema, progress: Callable[[int], None] | None) -> Iterator[Cloud]:
    classes = schema.label("label").classes
    with executor(workers) as pool:
        for job, jets in zip(jobs, in_order(pool, run_job, jobs, ahead=2 * workers), strict=True):
            label = np.full(len(jets), classes.index(job.name), dtype=np.int64)
            if progress is not None:
                progress(len(jets))
            yield Cloud.from_flat(jets.counts, jets.particles, {"label": label, "parton": jets.parton}, schema)


def _check(classes: Sequence[str], counts: Mapping[str, int], workers: int | None, pt_range: tuple[float, float]) -> None:
    if isinstance(classes, str) or not classes:
        raise BadInput(f"classes must be a list of names such as ['QCD', 'Hbb'], got {classes!r}")
    for name in classes:
        scenario(name)
    if len(set(classes)) < len(classes):
        raise BadInput(f"a class is asked twice: {', '.join(classes)}")
    if set(counts) != set(classes):
        raise BadInput(f"n must give a number for each of {', '.join(classes)}, it names {', '.join(counts)}")
    if min(counts.values()) < 1 or (workers is not None and workers < 1):
        raise BadInput(f"n and workers must be at least 1, got n = {min(counts.values())}, workers = {workers}")
    if not 20 <= pt_range[0] < pt_range[1]:
        raise BadInput(f"pt_range must be (low, high) in GeV with 20 <= low < high, got {pt_range}")
