"""What the neutrino generator and the tracker hand on: events as flat arrays."""

# N event, T particle of any event

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# GENIE's numbers of the interaction types, as in MINERvA's mc_intType and in gst.
QE, RES, DIS, COH, MEC = 1, 2, 3, 4, 8


@dataclass(frozen=True)
class Particles:
    """Particles of many events. event: (T,) row of the event, ascending. pdg: (T,). p4_T4: energy, px, py, pz [GeV]."""

    event: NDArray[np.int64]
    pdg: NDArray[np.int64]
    p4_T4: NDArray[np.float64]


@dataclass(frozen=True)
class Interactions:
    """Interactions of neutrinos on carbon, the neutrino along +z.

    neutrino, lepton: (N, 4) energy, px, py, pz [GeV]; neutrino_pdg, lepton_pdg: (N,). charged_current: (N,).
    kind: (N,) QE, RES, DIS, COH or MEC. nucleon: (N,) PDG code of the struck nucleon, 2000000200 + 0, 1, 2 for the pairs
    nn, np, pp (GENIE's codes), 0 for the whole nucleus. hadrons: what left the vertex, before the nucleus acts on it.
    radius: (N,) distance of the vertex from the nucleus' centre [fm]. weight: (N,), 1 for unweighted events.
    nucleon_N4: (N, 4) energy and momentum of what was struck, bound: neutrino + nucleon_N4 = lepton + hadrons.
    cross_section: mean over the flux [cm2 per nucleon]. Of a coherent event the recoiling nucleus is a hadron, too.
    """

    neutrino_pdg: NDArray[np.int64]
    neutrino_N4: NDArray[np.float64]
    lepton_pdg: NDArray[np.int64]
    lepton_N4: NDArray[np.float64]
    charged_current: NDArray[np.bool_]
    kind: NDArray[np.int64]
    nucleon: NDArray[np.int64]
    hadrons: Particles
    radius: NDArray[np.float64]
    weight: NDArray[np.float64]
    nucleon_N4: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    cross_section: float = float("nan")

    def __len__(self) -> int:
        return len(self.kind)
