"""Neutrinos: simulated interactions in a MINERvA-like tracker, as the experiment's tuples would give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from cloudchamber.data import from_columns
from cloudchamber.errors import BadInput, nearest
from cloudchamber.events import Cloud, concatenate
from cloudchamber.simulate.neutrino import masteranadev
from cloudchamber.simulate.neutrino.cascade import cascade
from cloudchamber.simulate.neutrino.generator import CITATIONS, generate
from cloudchamber.simulate.neutrino.initial import read_flux
from cloudchamber.simulate.neutrino.interactions import write_nuhepmc
from cloudchamber.simulate.neutrino.tracker_card import MINERVA, TrackerCard
from cloudchamber.simulate.production import clouds
from cloudchamber.workers import check_stop

BEAMS = {
    "minerva_me": ("me", "muon neutrinos of NuMI's medium-energy beam, 6 GeV on average"),
    "minerva_le": ("le", "muon neutrinos of NuMI's low-energy beam"),
    "minerva_le_anti": ("le-anti", "muon anti-neutrinos of NuMI's low-energy beam, horns reversed"),
}
LICENCE = "CC0-1.0 (made by cloudchamber; cite the generators)"
TOKENS = ("minerva_clusters", "minerva_blobs", "minerva_published")
NOMINAL = "nominal"
CHUNK = 1000  # events that have a seed of their own


@dataclass(frozen=True)
class Variant:
    """Another simulation of the same events, to see what depends on it. cascade: whether hadrons collide in the nucleus."""

    description: str
    cascade: bool = True
    detector: TrackerCard = MINERVA


VARIANTS = {
    NOMINAL: Variant("as described"),
    "no_cascade": Variant("hadrons leave the nucleus as they were made: a generator without final-state interactions", False),
    "other_detector": Variant(
        "half as much seen of collisions, fewer tracks and decay electrons, twice the noise and errors of place and angle",
        detector=replace(
            MINERVA,
            light_noise=2 * MINERVA.light_noise,
            overlay_clusters=2 * MINERVA.overlay_clusters,
            position_resolution=2 * MINERVA.position_resolution,
            angle_resolution=2 * MINERVA.angle_resolution,
            track_efficiency=0.7 * MINERVA.track_efficiency,
            michel_efficiency=0.7 * MINERVA.michel_efficiency,
            rest_visible=(0.5 * MINERVA.rest_visible[0], MINERVA.rest_visible[1]),
        ),
    ),
}


@dataclass(frozen=True)
class Job:
    """A chunk: enough for any process to make the same events. The number of a chunk belongs to its seed."""

    beam: str
    tokens: str
    seed: int
    number: int
    rows: int
    variant: str = NOMINAL


def simulate_neutrinos(
    beam: str,
    n: int,
    *,
    seed: int = 0,
    tokens: str = TOKENS[0],
    variant: str = NOMINAL,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Cloud:
    """n simulated interactions of a beam with carbon in a scintillator tracker, with the truth as labels.

    beam: "minerva_me", "minerva_le" or "minerva_le_anti". tokens: which reader of MINERvA's tuples makes the particles.
    variant: one of VARIANTS, another generator or detector. The events depend on the seed and not on the workers; with a
    larger n more are appended. Charged and neutral currents; an event without a reconstructed vertex is replaced, as the files
    have none. What the models are and where they fail: benchmarks/README.md, `neutrino` and `minerva_response`.
    Raises BadInput for an unknown name, MissingExtra without Pythia.

    >>> import cloudchamber as cc
    >>> cc.simulate_neutrinos("minerva_me", 100, seed=1)  # doctest: +SKIP
    """
    return concatenate(list(clouds(jobs(beam, n, seed=seed, tokens=tokens, variant=variant), make, workers, progress)))


def jobs(beam: str, n: int, *, seed: int = 0, tokens: str = TOKENS[0], variant: str = NOMINAL) -> list[Job]:
    """The work for n events in the order of the events. Raises BadInput for what is not possible."""
    for kind, name, known in (("beam", beam, tuple(BEAMS)), ("tokens", tokens, TOKENS), ("variant", variant, tuple(VARIANTS))):
        if name not in known:
            raise BadInput(f"no {kind} {name!r}. Nearest: {nearest(name, known)}. Known: {', '.join(known)}.")
    if n < 1:
        raise BadInput(f"n must be at least 1, got {n}")
    return [Job(beam, tokens, seed, i, min(CHUNK, n - i * CHUNK), variant) for i in range(-(-n // CHUNK))]


def make(job: Job) -> Cloud:
    """The events of a job as a cloud."""
    columns = {f"{masteranadev.TREE}/{name}": values for name, values in branches(job).items()}
    cloud = from_columns(columns, job.tokens)
    owed = tuple(dict.fromkeys((*cloud.schema.citation, *CITATIONS.values())))
    named = cloud.schema.dataset + ("" if job.variant == NOMINAL else f", {job.variant}")
    schema = cloud.schema.model_copy(update={"citation": owed, "licence": LICENCE, "dataset": named})
    return Cloud(cloud.particles, cloud.events, schema)


def branches(job: Job) -> dict[str, Any]:
    """The events of a job as branches of a MasterAnaDev tuple."""
    flux, parts, found, turn, variant = read_flux(BEAMS[job.beam][0]), [], 0, 0, VARIANTS[job.variant]
    while found < job.rows:
        check_stop()
        # A chunk is always made whole: its first events are the same whatever is wanted of it.
        generated, detected = (np.random.SeedSequence([job.seed, job.number, turn, i]) for i in (0, 1))
        interactions = generate(CHUNK, flux, seed=int(generated.generate_state(1)[0]))
        parts.append(
            masteranadev.simulate(interactions, np.random.default_rng(detected), variant.detector, cascade=variant.cascade)
        )
        found, turn = found + len(parts[-1][masteranadev.MARK]), turn + 1
    return {name: _joined([p[name] for p in parts])[: job.rows] for name in parts[0]}


def write_tuple(path: Path, beam: str, n: int, *, seed: int = 0) -> None:
    """n events as a ROOT file with the branches of MINERvA's MasterAnaDev tuples that the readers ask for."""
    parts = [branches(job) for job in jobs(beam, n, seed=seed)]
    masteranadev.write(path, {name: _joined([p[name] for p in parts]) for name in parts[0]})


def write_interactions(path: Path, beam: str, n: int, *, seed: int = 0) -> None:
    """n interactions as NuHepMC text: the final state that leaves the nucleus, before any detector."""
    jobs(beam, n)
    interactions = generate(n, read_flux(BEAMS[beam][0]), seed=seed)
    write_nuhepmc(path, interactions, cascade(interactions, np.random.default_rng([seed, 1])))


def _joined(parts: list[Any]) -> Any:
    return (ak.concatenate if isinstance(parts[0], ak.Array) else np.concatenate)(parts)
