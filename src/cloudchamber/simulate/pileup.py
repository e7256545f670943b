"""Pile-up: further, soft proton collisions in the same bunch crossing, merged into each event."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from cloudchamber.simulate.pythia import BATCH, Array, Record, Run, pythia_seed, rows
from cloudchamber.simulate.scenario import Class, Scenario

POOL = 10 * BATCH  # soft collisions that are made for a chunk and drawn from
SPREAD = 53.0  # mm, width of the vertices along the beams: Delphes' pile-up cards, arXiv:1307.6346
# Non-diffractive alone: nearly all particles in a central detector are theirs, and Pythia starts ten times faster.
_SOFT = Class(description="pile-up", process=("SoftQCD:nonDiffractive = on",))


def overlaid(records: Iterator[Record], scenario: Scenario, seeds: tuple[int, int], view: int) -> Iterator[Record]:
    """The records with a Poisson number, of mean `scenario.pileup`, of soft collisions in each event.

    They come from a pool of POOL, each turned by a random angle around the beams and shifted along them; the hard collision
    stays at the origin. The further column `vertex` of the particles is 0 for the hard collision and counts the others.
    """
    rng = np.random.default_rng([seeds[1], view, 1])
    alone = scenario.model_copy(update={"settings": (), "jets": None, "mpi": True})
    pool = Run(alone, _SOFT, pythia_seed(seeds[0] + 1000 + view)).record(POOL)
    counts = np.bincount(pool.stable["event"], minlength=pool.n_events)
    first = np.cumsum(counts) - counts
    for record in records:
        n = rng.poisson(scenario.pileup, record.n_events)
        drawn = rng.integers(pool.n_events, size=n.sum())
        angle, shift = rng.uniform(-np.pi, np.pi, len(drawn)), rng.normal(0.0, SPREAD, len(drawn))
        collision = np.repeat(np.arange(len(drawn)), counts[drawn])
        within = np.arange(len(collision)) - np.searchsorted(collision, collision)
        soft = _turned(rows(pool.stable, first[drawn][collision] + within), angle[collision])
        soft["vz"] = soft["vz"] + shift[collision]
        soft["event"] = np.repeat(np.arange(record.n_events), n)[collision]
        soft["vertex"] = 1 + (np.arange(len(drawn)) - np.repeat(np.cumsum(n) - n, n))[collision]
        hard = record.stable | {"vertex": np.zeros(len(record.stable["event"]), dtype=np.int64)}
        both = {name: np.concatenate([hard[name], soft[name]]) for name in hard}
        order = np.argsort(both["event"], kind="stable")
        yield replace(record, stable=rows(both, order), truth=record.truth | {"n_pileup": n.astype(np.float64)})


def _turned(particles: dict[str, Array], angle: Array) -> dict[str, Array]:
    """The particles, each turned by its angle around the beams."""
    cos, sin = np.cos(angle), np.sin(angle)
    for x, y in (("px", "py"), ("vx", "vy")):
        old_x, old_y = particles[x], particles[y]
        particles[x], particles[y] = cos * old_x - sin * old_y, sin * old_x + cos * old_y
    return particles
