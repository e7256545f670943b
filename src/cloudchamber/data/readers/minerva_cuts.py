"""MINERvA without training: the study's cuts and calorimetric energies (arXiv:2604.12364), from the clouds of its readers."""

# N event, T particle of any event

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.events import MOMENTUM, Cloud

Mask = NDArray[np.bool_]
_PI0 = 0.134977  # GeV, as in the study's cut
_CALORIMETRIC = 1.17  # the study's factor; also MAT-MINERvA's


def cuts(cloud: Cloud) -> dict[str, dict[str, Mask]]:
    """(N,) events that pass the cuts for each task.

    "evaluated": the study's. Its "pion prongs" have pid 8 or 9, which mean proton and neutron. "michel": the same without the
    prongs, so that decay electrons alone tell pions. The cuts on MasterAnaDev_pion_* need branches that no reader has.
    """
    muon, michel = np.isfinite(muon_momentum(cloud)), cloud.events["n_michel"]
    own = cloud.events.get("n_hadron_prongs")  # minerva_published counts also what is no object
    prongs = sum_of_objects(cloud, cloud.flat("is_proton_prong")) if own is None else own
    pair = sum_of_objects(cloud, cloud.flat("is_photon")) == 2
    pi0 = muon & pair & (np.abs(photon_mass(cloud) - _PI0) < _PI0) & (michel == 0)
    one, many = muon & (michel == 1), muon & (michel >= 1)
    return {
        "evaluated": {"cc1pi": one & (prongs == 1), "ccnpi": many & (prongs >= 1), "cc1pi0": pi0 & (prongs == 0)},
        "michel": {"cc1pi": one, "ccnpi": many, "cc1pi0": pi0},
    }


def muon_momentum(cloud: Cloud) -> NDArray[np.float64]:
    """(N,) momentum [GeV] of the muon matched to MINOS; NaN without one."""
    muon = cloud.flat("is_muon") == 1
    squares = [sum_of_objects(cloud, np.where(muon, cloud.flat(n), 0.0)) ** 2 for n in ("px", "py", "pz")]
    return np.where(sum_of_objects(cloud, muon) > 0, np.sqrt(sum(squares)), np.nan)


def calorimetric(cloud: Cloud) -> dict[str, NDArray[np.float64]]:
    """(N,) available energies [GeV]: "study" for its convention, "mat" for MAT-MINERvA's.

    "study": 1.17 x blob_recoil_E. "mat": 1.17 x (tracker + ECAL), each at least 0, as MAT-MINERvA's older function; the newer
    one takes off the muon's fuzz by plane, for which the readers have no column.
    """
    whole, tracker, ecal = (np.nan_to_num(cloud.events[f"blob_recoil_energy{n}"]) for n in ("", "_tracker", "_ecal"))
    return {"study": _CALORIMETRIC * whole, "mat": _CALORIMETRIC * (np.maximum(tracker, 0) + np.maximum(ecal, 0))}


def photon_mass(cloud: Cloud) -> NDArray[np.float64]:
    """(N,) invariant mass [GeV] of all photons."""
    photon = cloud.flat("is_photon") == 1
    px, py, pz, energy = (sum_of_objects(cloud, np.where(photon, cloud.flat(n), 0.0)) for n in MOMENTUM)
    return np.asarray(np.sqrt(np.maximum(energy**2 - px**2 - py**2 - pz**2, 0.0)))


def sum_of_objects(cloud: Cloud, values_T: NDArray[Any]) -> NDArray[np.float64]:
    """(N,) the sum of the values of each event's objects."""
    event = np.repeat(np.arange(len(cloud)), cloud.counts)
    return np.bincount(event, weights=values_T, minlength=len(cloud)).astype(np.float64)
