"""The numbers of a MINERvA-like scintillator tracker, each with its source; and its planes."""

# K plane

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cloudchamber.simulate.neutrino.kinematics import PROTON

NUCLEAR, TRACKER, ECAL, HCAL = 1, 2, 3, 4  # cluster_subdet
VIEW_AXES = np.array([np.nan, 0.0, -np.pi / 3, np.pi / 3])  # rad, the axis that X, U, V measure (arXiv:1305.5199, section 2.1)
# Protons in polystyrene: kinetic energy [GeV] and range [g/cm2], NIST PSTAR; above 10 GeV what muons of 5, 20 and 100 GeV have
# there, over their mass (PUMAS, github.com/niess/pumas-materials). Other particles by their mass.
_T = (0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 44.4, 177.6, 888.0)
_R: tuple[float, ...] = (0, 0.00244, 0.0366, 0.1245, 0.4324, 0.9001, 2.268, 4.706, 7.87, 16.1, 26.5, 52.55, 119.6, 333, 827.2)
_R += (2366, 4842, 20350, 74800, 334600)


@dataclass(frozen=True)
class Planes:
    """(K,) z [mm], view, subdet, calorimetric constant. (K + 1,) borders: edge [mm], depth [g/cm2], radiation lengths."""

    z: NDArray[np.float64]
    view: NDArray[np.int64]
    subdet: NDArray[np.int64]
    constant: NDArray[np.float64]
    edge: NDArray[np.float64]
    depth: NDArray[np.float64]
    radiation: NDArray[np.float64]


@dataclass(frozen=True)
class TrackerCard:
    """Lengths in mm, energies in GeV, times in ns.

    "Tuned": chosen so that published means of real simulated files come out. "Unverified": not checked against a second source.
    """

    # Geometry: arXiv:1305.5199; z of modules from MINERvA's analysis package (tracker 27-80 in reference tuples).
    regions: tuple[tuple[float, float, int, float, float], ...] = (
        # z from, z to, subdetector, calorimetric constant (PRD 94 (2016) 112007; unverified), radiation lengths of a plane
        (4293.0, 5991.29, NUCLEAR, 1.22, 0.048),  # passive targets left out: as if it were tracker
        (5991.29, 8587.9, TRACKER, 1.22, 0.048),
        (8587.9, 9030.0, ECAL, 2.013, 0.40),  # 2 mm of lead
        (9030.0, 9970.0, HCAL, 10.31, 1.49),  # 25.4 mm of steel
    )
    pitch: float = 22.4  # of planes (arXiv:1305.5199: two planes a module of 45 mm)
    hcal_pitch: float = 47.0  # one plane a module there
    areal_density: float = 2.02  # g/cm2 of a scintillator plane (arXiv:1305.5199; unverified)
    density: float = 1.04  # g/cm3 of scintillator
    neighbours: float = 50.0  # width of strips that make one cluster; three strips
    apothem: float = 1070.0  # of the inner detector's hexagon (arXiv:1305.5199)
    fiducial: tuple[float, float, float] = (5991.29, 8408.91, 850.0)  # z from, z to, apothem (MINERvA-101)
    beam_tilt: float = -0.05887  # rad about x (MAT-MINERvA)
    # Light
    birks: float = 0.0905  # mm/MeV (arXiv:1501.06431, test beam; unverified)
    mip_density: float = 0.2  # MeV/mm
    light_noise: float = 0.08  # share of a cluster's energy; photo-electrons (unverified)
    threshold: float = 0.001  # of a cluster (arXiv:1305.5199)
    position_resolution: float = 3.0  # arXiv:1305.5199
    time_resolution: float = 3.5  # unverified
    spill: tuple[float, float] = (300.0, 9900.0)  # within the gate of NuMI's spill (unverified)
    # Muon
    minos_z: float = 12_000.0  # 2 m behind the HCAL (arXiv:1305.5199; unverified)
    minos_radius: float = 1650.0  # of the part of its face where tracks are accepted (unverified)
    minos_energy: float = 0.45  # that a muon needs there; the smallest reconstructed one of a real file has 0.978 in all
    minos_efficiency: float = 0.94  # tuned
    range_limit: float = 5.0  # by range below, by curvature above
    range_resolution: float = 0.05  # arXiv:1305.5199
    curvature_resolution: float = 0.11  # unverified
    angle_resolution: float = 0.003  # rad, 2 to 5 mrad (unverified)
    fuzz_per_plane: float = 0.07  # delta rays and cross-talk beside the muon: clusters in each plane; tuned
    fuzz_energy: float = 0.004
    # Hadrons
    pion_length: float = 75.0  # g/cm2 between collisions: C and H cross-sections of 300 to 430 mb (JINR P2-90-158)
    nucleon_length: float = 82.0  # g/cm2 (PDG, polystyrene; unverified)
    rest_visible: tuple[float, float] = (0.6, 0.38)  # share seen at a collision, its spread; after arXiv:1501.06431, tuned
    rest_quantum: float = 0.05  # mean energy of a deposit of debris (tuned)
    shower_quantum: float = 0.012  # and of a shower (tuned)
    rest_reach: float = 150.0  # mean length of that debris (tuned)
    neutron_length: float = 900.0  # between visible scatters (tuned)
    neutron_visible: float = 0.35  # mean share of its kinetic energy seen, quenched (tuned)
    # Reconstruction
    track_planes: int = 4  # protons above 110 MeV, pions above 80 MeV
    vertex_planes: int = 8  # of a track that begins a vertex; without, an event is not in a file (tuned)
    no_muon_efficiency: float = 0.31  # of events without a muon in MINOS to be in a file (tuned to 70.5 % with one)
    track_efficiency: float = 0.29  # tuned to the mean number of prongs
    proton_call: tuple[float, float] = (0.95, 0.80)  # tracks of protons and of others that are called proton (tuned)
    proton_dedx: float = 0.27  # share of pid 8 with prong_dEdXMean (real file)
    shower_efficiency: float = 0.24  # of a shower above shower_energy to become a prong of pid 13 (tuned)
    shower_energy: float = 0.08
    track_angle: float = 0.02  # rad (unverified)
    proton_resolution: float = 0.04  # of kinetic energy by range, energy loss straggling (unverified)
    prong_dedx: float = 5.7  # median of prong_dEdXMean, MeV per plane (real file)
    conversion: float = 540.0  # 9/7 radiation lengths of scintillator
    photon_angle: float = 0.06  # rad (unverified)
    photon_swap: float = 0.096  # share of pairs whose first photon is not the harder (real file)
    michel_after: float = 0.25  # of pi+ that collide: another pi+ stops (tuned)
    photon_efficiency: float = 0.40  # of two candidates to be fitted as a pi0 (tuned)
    photon_seen: float = 0.55  # of photons above photon_energy that are candidates (tuned)
    photon_fake: float = 0.70  # of collisions of hadrons that look like a photon (tuned)
    photon_energy: float = 0.03
    photon_resolution: tuple[float, float] = (0.06, 0.055)  # constant and 1/sqrt(E) (unverified)
    michel_efficiency: float = 0.60  # tuned
    michel_noise: float = 0.06  # mean number of false ones (tuned)
    blob_share: float = 0.52  # clusters off tracks that become a neutron candidate (tuned to 12.45 an event)
    blob_3d: float = 0.30  # real file
    overlay_clusters: float = 4.0  # of other interactions in time (tuned)
    overlay_energy: float = 0.004
    window: tuple[float, float] = (-20.0, 35.0)  # of time around an event (PRD 94 (2016) 112007)
    outer_share: float = 0.5  # of energy leaving sideways that the outer detector sees (tuned)
    recoil_scale: float = 1.568  # hadronic energy over passive-corrected energy (PRD 94 (2016) 112007; unverified)

    @cached_property
    def planes(self) -> Planes:
        """Its planes, from upstream to downstream."""
        edges, columns = [np.array([self.regions[0][0]])], []
        for start, stop, subdetector, constant, radiation in self.regions:
            n = round((stop - start) / (self.hcal_pitch if subdetector == HCAL else self.pitch))
            edges.append(np.linspace(start, stop, n + 1)[1:])
            columns.append(np.tile([subdetector, constant, radiation], (n, 1)))
        edge, (subdetector_K, constant_K, radiation_K) = np.concatenate(edges), np.concatenate(columns).T
        view = np.array([1, 2, 1, 3])[np.arange(len(constant_K)) % 4]  # modules XU and XV in turn
        depth = np.concatenate([[0], np.cumsum(self.areal_density * constant_K / self.regions[1][3])])
        radiation_edge = np.concatenate([[0], np.cumsum(radiation_K)])
        return Planes((edge[1:] + edge[:-1]) / 2, view, subdetector_K.astype(np.int64), constant_K, edge, depth, radiation_edge)


def range_of(kinetic: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Range [g/cm2] of charged particles of kinetic energy and mass [GeV] in plastic scintillator."""
    return np.asarray(np.interp(kinetic / mass * PROTON, _T, _R) * mass / PROTON)


def energy_of(length: NDArray[np.float64], mass: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kinetic energy [GeV] of particles with this range [g/cm2]; 0 for none."""
    return np.asarray(np.interp(length / mass * PROTON, _R, _T) * mass / PROTON)


MINERVA = TrackerCard()
