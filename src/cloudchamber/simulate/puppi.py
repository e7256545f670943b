"""PUPPI: weights that take pile-up out of reconstructed events, particle by particle (arXiv:1407.6013)."""

# S reconstructed particle, N event

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

from cloudchamber.events import kinematics
from cloudchamber.simulate.card import Card
from cloudchamber.simulate.objects import neighbours

Array = NDArray[Any]

CITATION = "arXiv:1407.6013"
_SHELL = (0.02, 0.3)  # Delta R from and to which neighbours count; arXiv:1407.6013 section 2
_LEAST_WEIGHT = 0.1  # arXiv:1407.6013 section 2: smaller ones become 0, and so do momenta below the next two numbers
_LEAST_PT = (0.1, 0.007)  # GeV, GeV per pile-up vertex


def puppi(seen: Mapping[str, Array], n_vertices: Array, card: Card) -> NDArray[np.float64]:
    """(S,) weights in [0, 1] of the particles that `detect` returns of events with pile-up.

    Tracks have 1 from the hard vertex and 0 from others. A neutral particle has the probability that chi^2 with one degree
    of freedom is below that of its alpha = ln sum(pT / Delta R) over the hard vertex's tracks near it, compared with the
    median and left width of alpha among the event's pile-up tracks; 0 below the median. Beyond the tracker the sum goes
    over all particles, and the comparison is with all particles there. n_vertices: (N,) pile-up vertices of each event; one
    without any keeps everything.
    """
    pt, eta, _ = kinematics.pt_eta_phi(seen["px"], seen["py"], seen["pz"])
    charged, hard = seen["charge"] != 0, seen["vertex"] == 0
    forward = np.abs(eta) > card.tracking.efficiency["hadron"].eta[-1]
    weight = np.where(charged & hard, 1.0, 0.0)
    for asked, around, reference in ((~forward, charged & hard, charged & ~hard), (forward, np.full(len(pt), True), forward)):
        alpha = _alpha(seen, pt, asked, around)
        middle, width = _pileup_like(seen["event"], alpha, asked & reference, len(n_vertices))
        neutral = np.flatnonzero(asked & ~charged & np.isfinite(alpha))
        distance = (alpha[neutral] - middle[seen["event"][neutral]]) / width[seen["event"][neutral]]
        weight[neutral] = erf(np.maximum(distance, 0.0) / np.sqrt(2))
    n_S = np.asarray(n_vertices)[seen["event"]]
    kept = charged | ((weight > _LEAST_WEIGHT) & (weight * pt > _LEAST_PT[0] + _LEAST_PT[1] * n_S))
    return np.where(n_S == 0, 1.0, np.where(kept, weight, 0.0))


def _alpha(seen: Mapping[str, Array], pt: Array, asked: Array, around: Array) -> NDArray[np.float64]:
    """alpha of the asked particles; minus infinity without a neighbour."""
    one, other, distance = neighbours(seen, np.flatnonzero(asked), np.flatnonzero(around), _SHELL[1])
    near = distance > _SHELL[0]
    total = np.bincount(one[near], (pt[other] / np.maximum(distance, _SHELL[0]))[near], minlength=len(pt))
    return np.log(total, out=np.full(len(pt), -np.inf), where=total > 0)


def _pileup_like(event: Array, alpha: Array, reference: Array, n_events: int) -> tuple[Array, Array]:
    """(N,) median of alpha among the reference particles and its rms below the median; (0, 0.1) without any."""
    rows = np.flatnonzero(reference & np.isfinite(alpha))
    rows = rows[np.lexsort((alpha[rows], event[rows]))]
    count = np.bincount(event[rows], minlength=n_events)
    first, some = np.cumsum(count) - count, np.flatnonzero(count)
    middle, width = np.zeros(n_events), np.full(n_events, 0.1)
    values = alpha[rows]
    middle[some] = (values[(first + (count - 1) // 2)[some]] + values[(first + count // 2)[some]]) / 2
    below = values < middle[event[rows]]
    squares = np.bincount(event[rows], below * (values - middle[event[rows]]) ** 2, minlength=n_events)
    number = np.bincount(event[rows], below, minlength=n_events)
    return middle, np.where(number > 0, np.sqrt(squares / np.maximum(number, 1)), width)
