"""H -> bb jets as JetClass makes them: its detector, decays, range and matching; a store that is made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from cloudchamber.data import store
from cloudchamber.events import Cloud, Schema
from cloudchamber.simulate import describe, scenario
from cloudchamber.simulate.card import load
from cloudchamber.simulate.collider import JetBatch, generate
from cloudchamber.simulate.production import PT_RANGE
from cloudchamber.workers import cores, executor, in_order
from jets import CACHE

# JetClass lets K0S and hyperons decay; and radiation lifts Higgs bosons of 350 GeV above 500 GeV.
SETTINGS = ("ParticleDecays:limitTau0 = off", "PhaseSpace:pTHatMin = 350.")
_CHUNK = 250  # jets of a seed


def simulated(n: int, seed: int, cache: Path = CACHE) -> Cloud:
    """n jets with JetClass's detector, range and matching; made on the first call, then read from a store in `cache`."""
    path = cache / f"jetclass-Hbb_{n}_seed{seed}"
    if not path.exists():
        schema = describe(["Hbb"], seed=seed, mpi=True, pt_range=PT_RANGE)
        cache.mkdir(parents=True, exist_ok=True)
        store.write(path, _clouds(n, seed, schema), provenance={"benchmark": path.name})
    return store.Store.open(path).read()


def _clouds(n: int, seed: int, schema: Schema) -> Iterator[Cloud]:
    jobs = range(-(-n // _CHUNK))
    with executor(cores()) as pool:
        for job, jets in zip(jobs, in_order(pool, partial(_chunk, seed), jobs, ahead=4), strict=True):
            kept = min(_CHUNK, n - job * _CHUNK)
            rows = int(jets.counts[:kept].sum())
            particles = {name: c[:rows] for name, c in jets.particles.items()}
            yield Cloud.from_flat(
                jets.counts[:kept], particles, {"label": np.zeros(kept, np.int64), "parton": jets.parton[:kept]}, schema
            )


def _chunk(seed: int, job: int) -> JetBatch:
    kind = scenario("Hbb")
    kind = replace(kind, process=(*kind.process, *SETTINGS))
    batches, found = [], 0
    for batch in generate(kind, (1 + 1000 * seed + job, 1000 * seed + job), mpi=True, pt_range=PT_RANGE, card=load("jetclass")):
        batches.append(batch)
        found += len(batch)
        if found >= _CHUNK:
            break
    particles = {name: np.concatenate([b.particles[name] for b in batches]) for name in batches[0].particles}
    return JetBatch(np.concatenate([b.counts for b in batches]), particles, np.concatenate([b.parton for b in batches]))
