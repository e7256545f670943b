"""Objects of reconstructed events: identified and isolated photons, electrons and muons; missing transverse momentum."""

# S reconstructed particle, I one of the particles that are asked about, N event

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cloudchamber.events import kinematics
from cloudchamber.simulate.card import Card

Array = NDArray[Any]

_APART = 100.0  # between events on the axis that keeps them apart; larger than any radius


def identify(seen: Mapping[str, Array], card: Card, rng: np.random.Generator) -> dict[str, Array]:
    """Identification and isolation of the photons, electrons and muons among the particles that `detect` returns.

    Returns identified (S,), 1 where one of them passes the card's identification, isolation, the summed pT of the other
    particles around it over its own (NaN where not identified), and isolated, 1 where that is at most the card's maximum.
    """
    pt, eta, _ = kinematics.pt_eta_phi(seen["px"], seen["py"], seen["pz"])
    identified, limit = np.zeros(len(pt)), np.zeros(len(pt))
    chance = rng.random(len(pt))
    kinds = (
        ("is_photon", card.identification.photon, card.isolation.max_photon),
        ("is_electron", card.identification.electron, card.isolation.max_electron),
        ("is_muon", card.identification.muon, card.isolation.max_muon),
    )
    for flag, table, maximum in kinds:
        mine = np.flatnonzero(seen[flag] == 1)
        identified[mine] = chance[mine] < table.at(pt[mine], eta[mine])
        limit[mine] = maximum
    found = np.flatnonzero(identified)
    others = pt > card.isolation.min_pt_gev
    if not card.isolation.leptons:
        others &= (seen["is_electron"] == 0) & (seen["is_muon"] == 0)
    near, other, _ = neighbours(seen, found, np.flatnonzero(others), card.isolation.radius)
    isolation = np.full(len(pt), np.nan)
    isolation[found] = np.bincount(near, pt[other], minlength=len(pt))[found] / pt[found]
    return {"identified": identified, "isolation": isolation, "isolated": (isolation <= limit).astype(np.float64)}


def missing_momentum(seen: Mapping[str, Array], n_events: int) -> dict[str, NDArray[np.float64]]:
    """Missing transverse momentum of each event (N,): met [GeV] and met_phi, minus the sum of all particles."""
    x, y = (-np.bincount(seen["event"], seen[p], minlength=n_events) for p in ("px", "py"))
    return {"met": np.hypot(x, y), "met_phi": np.arctan2(y, x)}


def neighbours(
    seen: Mapping[str, Array], asked: NDArray[np.int64], others: NDArray[np.int64], radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """All pairs of an asked and another particle of the same event within Delta R < radius: rows, rows, Delta R."""
    _, eta, phi = kinematics.pt_eta_phi(seen["px"], seen["py"], seen["pz"])
    place = np.stack([eta, phi % (2 * np.pi) % (2 * np.pi), seen["event"] * _APART], axis=1)
    box = (0.0, 2 * np.pi, 0.0)  # phi is periodic
    if not len(asked) or not len(others):
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    pairs = cKDTree(place[asked], boxsize=box).sparse_distance_matrix(
        cKDTree(place[others], boxsize=box), radius, output_type="ndarray"
    )
    one, other = asked[pairs["i"]], others[pairs["j"]]
    apart = one != other
    return one[apart], other[apart], pairs["v"][apart]
