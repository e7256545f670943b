"""Jet clustering: FastJet's anti-kt on whole events. FastJet is optional and imported here alone."""

# T particle, J jet

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput, missing_extra
from cloudchamber.events.cloud import Cloud
from cloudchamber.events.schema import MOMENTUM, Feature

CITATIONS = {"FastJet": "arXiv:1111.6097", "anti-kt": "arXiv:0802.1189"}


@dataclass(frozen=True)
class Jets:
    """Jets of many events, in event order and by falling pT inside an event.

    event_J: the event of each jet; rank_J: 0 for the event's leading jet. momentum: px, py, pz, energy [GeV], (J,) each.
    jet_T: for each particle the index of its jet, -1 where it is in none.
    """

    event_J: NDArray[np.int64]
    rank_J: NDArray[np.int64]
    momentum: dict[str, NDArray[np.float64]]
    jet_T: NDArray[np.int64]


def cluster(
    counts: NDArray[np.int64], momentum: Mapping[str, NDArray[Any]], *, radius: float = 0.8, min_pt: float = 0.0
) -> Jets:
    """Anti-kt jets of every event, E scheme.

    counts: (N,) particles per event. momentum: flat px, py, pz, energy [GeV]. min_pt: GeV.
    Raises BadInput for radius <= 0 and MissingExtra without FastJet.
    """
    if radius <= 0:
        raise BadInput(f"a jet radius must be positive, got {radius}")
    fastjet = fastjet_module()
    names = dict(zip(("px", "py", "pz", "E"), MOMENTUM, strict=True))
    flat = {short: np.asarray(momentum[name], dtype=np.float64) for short, name in names.items()}
    events = ak.unflatten(ak.zip(flat, with_name="Momentum4D"), counts)
    sequence = fastjet.ClusterSequence(events, fastjet.JetDefinition(fastjet.antikt_algorithm, radius))
    jets, members = sequence.inclusive_jets(min_pt=min_pt), sequence.constituent_index(min_pt=min_pt)
    order = ak.argsort(np.hypot(jets.px, jets.py), axis=1, ascending=False, stable=True)
    jets, members = jets[order], members[order]
    n_jets = np.asarray(ak.num(jets, axis=1))
    event_J = np.repeat(np.arange(len(counts)), n_jets)
    size_J = np.asarray(ak.flatten(ak.num(members, axis=2)))
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]) if len(counts) else np.zeros(0, np.int64)
    jet_T = np.full(int(np.sum(counts)), -1, dtype=np.int64)
    row = np.asarray(ak.flatten(members, axis=None), dtype=np.int64) + np.repeat(first[event_J], size_J)
    jet_T[row] = np.repeat(np.arange(len(event_J)), size_J)
    return Jets(
        event_J=event_J,
        rank_J=np.arange(len(event_J)) - np.repeat(np.cumsum(n_jets) - n_jets, n_jets),
        momentum={name: np.asarray(ak.flatten(jets[short])) for short, name in names.items()},
        jet_T=jet_T,
    )


def leading_jets(cloud: Cloud, n: int = 2, *, radius: float = 1.0, min_pt: float = 0.0) -> Cloud:
    """The constituents of each event's n leading jets, with the feature `jet` (0 = leading) and by falling pT.

    cloud: whole events (frame "collider"). min_pt: GeV. An event with fewer jets keeps those it has.
    Raises BadInput if the cloud holds jets already, or n < 1; MissingExtra without FastJet.
    """
    if cloud.schema.frame != "collider" or "jet" in cloud.schema.feature_names:
        raise BadInput(f"{cloud.schema.dataset!r} cannot be clustered: its particles are not those of a whole collider event")
    if n < 1:
        raise BadInput(f"at least one jet must be kept, got n = {n}")
    columns = {name: cloud.flat(name) for name in cloud.particles.fields}
    jets = cluster(cloud.counts, columns, radius=radius, min_pt=min_pt)
    rank = np.append(jets.rank_J, n)[jets.jet_T]  # index -1, no jet, takes the appended rank
    event = np.repeat(np.arange(len(cloud)), cloud.counts)
    order = np.lexsort((-np.hypot(columns["px"], columns["py"]), rank, event))
    order = order[rank[order] < n]
    jet = Feature(name="jet", kind="integer", description=f"rank of the particle's anti-kt jet, R = {radius:g}")
    return Cloud.from_flat(
        np.bincount(event[order], minlength=len(cloud)),
        {name: c[order] for name, c in columns.items()} | {"jet": rank[order].astype(np.float32)},
        cloud.events,
        cloud.schema.model_copy(update={"features": (*cloud.schema.features, jet), "citation": _with(cloud.schema.citation)}),
    )


def fastjet_module() -> Any:
    """The package fastjet without its banner; MissingExtra if it is not installed."""
    try:
        import fastjet
    except ImportError as error:
        raise missing_extra("fastjet", "sim", "clustering jets") from error
    # The banner goes to the C++ standard output, past any capture; its citation is in the schema instead.
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)  # noqa: SLF001
    return fastjet


def _with(citation: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*citation, *CITATIONS.values())))
