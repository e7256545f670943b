"""The dijet events of a benchmark: simulated, embedded with the shipped weights, kept as arrays. Made once, chunk by chunk."""

# N event, E embedding, F high-level feature, J jet (two per event, the lighter one first)

from __future__ import annotations

import warnings
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.events import MOMENTUM, Cloud
from cloudchamber.events.clustering import fastjet_module
from cloudchamber.run import atomic

CACHE = Path(__file__).parent / "jets" / "dijets"
WINDOW = (3300.0, 3700.0)  # GeV, of the dijet mass: the signal region of the LHC Olympics studies
FEATURES = ("m_lighter", "m_heavier - m_lighter", "tau21_lighter", "tau21_heavier")
CHUNK = 1000
_BACKGROUND = str(Path(__file__).with_name("dijet_window.yaml"))
_WEIGHTS = "xs"
_PARTICLES = 64  # leading in pT, of each jet
_SEED = 7001


@dataclass(frozen=True)
class Dijets:
    """Events in the window. mass_N: of both jets [GeV]. features_NF: FEATURES [GeV, 1]; embedding_NE: of both jets."""

    mass_N: NDArray[np.float32]
    features_NF: NDArray[np.float32]
    embedding_NE: NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.mass_N)

    def __getitem__(self, rows: Any) -> Dijets:
        return Dijets(*(getattr(self, f.name)[rows] for f in fields(self)))

    @classmethod
    def joined(cls, parts: list[Dijets]) -> Dijets:
        """The events of several parts, one after the other."""
        return cls(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)))


def background(n: int, workers: int = 1) -> Dijets:
    """The first n QCD events of the window."""
    return _collected("qcd", _BACKGROUND, "qcd", {}, n, workers)


def signal(n: int, kind: str = "two_prong", workers: int = 1, **numbers: float) -> Dijets:
    """The first n events of a class of dijet_search in the window; numbers: m_x, m_y [GeV]."""
    name = "_".join([kind, *(f"{k}{v:g}" for k, v in numbers.items())])
    return _collected(name, "dijet_search", kind, numbers, n, workers)


def _collected(name: str, scenario: str, kind: str, numbers: Mapping[str, float], n: int, workers: int) -> Dijets:
    """Chunks from the cache, or made, until there are n events."""
    make = partial(_chunk, CACHE / name, scenario, kind, dict(numbers))
    parts: list[Dijets] = []
    with ProcessPoolExecutor(workers) as pool:
        while (have := sum(map(len, parts))) < n:
            wanted = max(workers, -(-(n - have) // CHUNK)) if have else workers
            parts += pool.map(make, range(len(parts), len(parts) + wanted))
    return Dijets.joined(parts)[:n]


def _chunk(folder: Path, scenario: str, kind: str, numbers: dict[str, float], number: int) -> Dijets:
    """What CHUNK simulated events leave in the window; one seed for each chunk."""
    path = folder / f"{number:04d}.npz"
    if not path.is_file():
        from cloudchamber import simulate

        cloud = simulate(scenario, {kind: CHUNK}, seed=_SEED + number, numbers=numbers, workers=1)
        made = measured(cloud)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary, temporary.open("wb") as stream:
            np.savez(stream, **{f.name: getattr(made, f.name) for f in fields(made)})
    with np.load(path) as stored:
        return Dijets(*(stored[f.name] for f in fields(Dijets)))


def measured(cloud: Cloud, window: tuple[float, float] = WINDOW) -> Dijets:
    """Masses, subjettiness and embeddings of the two leading jets of events in the window."""
    import torch

    from cloudchamber import embed, leading_jets

    torch.set_num_threads(1)
    jets = two_jets(leading_jets(cloud, 2))
    p4_J4 = four_momenta(jets)
    mass_N = _mass(p4_J4.reshape(-1, 2, 4).sum(axis=1))
    inside_N = (mass_N > window[0]) & (mass_N < window[1])
    jets, m_N2 = jets[np.repeat(inside_N, 2)], _mass(p4_J4).reshape(-1, 2)[inside_N]
    order_N2 = np.argsort(m_N2, axis=1)
    light, heavy = np.take_along_axis(m_N2, order_N2, axis=1).T
    tau_N2 = np.take_along_axis(tau21(jets).reshape(-1, 2), order_N2, axis=1)
    vectors = embed(_WEIGHTS, jets, max_particles=_PARTICLES).reshape(len(m_N2), 2, -1)
    sorted_N2E = np.take_along_axis(vectors, order_N2[..., None], axis=1).reshape(len(m_N2), -1)
    high = np.column_stack([light, heavy - light, tau_N2])
    return Dijets(mass_N[inside_N].astype(np.float32), high.astype(np.float32), sorted_N2E.astype(np.float16))


def two_jets(cloud: Cloud) -> Cloud:
    """The two leading jets of every event that has two, one after the other, as jets of their own."""
    event_T, rank_T = np.repeat(np.arange(len(cloud)), cloud.counts), cloud.flat("jet").astype(np.int64)
    counts_J = np.bincount(2 * event_T + rank_T, minlength=2 * len(cloud))
    both_N = (counts_J.reshape(-1, 2) > 0).all(axis=1)
    keep_T, keep_J = both_N[event_T], np.repeat(both_N, 2)
    known = tuple(f for f in cloud.schema.features if f.name != "jet")
    schema = cloud.schema.model_copy(update={"features": known, "columns": (), "labels": (), "frame": "jet"})
    names = (*MOMENTUM, *(f.name for f in known))
    return Cloud.from_flat(counts_J[keep_J], {n: cloud.flat(n)[keep_T] for n in names}, {}, schema)


def four_momenta(jets: Cloud) -> NDArray[np.float64]:
    """(J, 4) energy, px, py, pz of each jet [GeV]."""
    jet_T = np.repeat(np.arange(len(jets)), jets.counts)
    names = ("energy", "px", "py", "pz")
    return np.stack([np.bincount(jet_T, weights=jets.flat(n), minlength=len(jets)) for n in names], axis=1)


def tau21(jets: Cloud) -> NDArray[np.float64]:
    """(J,) tau2 / tau1 (arXiv:1011.2268, beta = 1) about the axes of exclusive kt subjets; 0 for a jet of one particle."""
    fastjet = fastjet_module()
    columns = {short: jets.flat(n).astype(np.float64) for short, n in zip(("px", "py", "pz", "E"), MOMENTUM, strict=True)}
    particles = ak.unflatten(ak.zip(columns, with_name="Momentum4D"), jets.counts)
    taus = []
    for n in (1, 2):
        sequence = fastjet.ClusterSequence(particles, fastjet.JetDefinition(fastjet.kt_algorithm, 1.0))
        with warnings.catch_warnings():  # its test for the algorithm does not know kt
            warnings.simplefilter("ignore", UserWarning)
            axes = sequence.exclusive_jets_up_to(n_jets=n)
        pair = ak.cartesian({"p": particles, "a": axes}, nested=True)
        (px, py, pz), (ax, ay, az) = ((pair[k].px, pair[k].py, pair[k].pz) for k in ("p", "a"))
        deta = np.arcsinh(pz / np.hypot(px, py)) - np.arcsinh(az / np.hypot(ax, ay))
        dphi = np.arctan2(px * ay - py * ax, px * ax + py * ay)
        pt = np.hypot(particles.px, particles.py)
        taus.append(ak.to_numpy(ak.sum(pt * ak.min(np.hypot(deta, dphi), axis=2), axis=1)))
    return np.asarray(np.divide(taus[1], taus[0], out=np.zeros(len(jets)), where=taus[0] > 0))


def _mass(p4: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.maximum(p4[..., 0] ** 2 - np.square(p4[..., 1:]).sum(axis=-1), 0)))
