"""Kinematics: four-vectors, axes and the derived features that the model reads. NumPy only, no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadSchema
from cloudchamber.events.cloud import Cloud

# Position of a particle relative to the axis of the whole event, and its log pT: what pair features are made of.
GEOMETRY = ("pair_eta", "pair_phi", "log_pt")
# Features of a particle that follow from its momentum and its jet; no file needs to have them.
DERIVED = ("deta", "dphi", "dr", "log_pt", "log_energy", "log_pt_rel", "log_energy_rel")
# Particle flags by absolute PDG code; every other charged or neutral particle is a hadron.
FLAGS = ("is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")

# Columns that the model does not read: a code is a name and no number, the flags say it; and what is truth is no input.
UNREAD = ("pdg", "true_track")

# ln of GeV over the unit in which the model looks at a frame. Few-GeV events leave deposits of MeV: in MeV they have the
# numbers that jets have in GeV, and one model can learn from both.
_LOG_UNIT = {"fixed-target": float(np.log(1e3))}

_FLOOR = 1e-8  # GeV: below it a momentum is numerically zero and its logarithm carries nothing


def momenta(
    pt: NDArray[Any], eta: NDArray[Any], phi: NDArray[Any], mass: NDArray[Any] | float = 0.0
) -> dict[str, NDArray[Any]]:
    """px, py, pz, energy [GeV] from pT [GeV], pseudorapidity, phi [rad] and mass [GeV].

    >>> momenta(np.array([3.0]), np.array([0.0]), np.array([0.0]), 4.0)["energy"]
    array([5.])
    """
    pz = pt * np.sinh(eta)
    return {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pz, "energy": np.sqrt(pt**2 + pz**2 + np.square(mass))}


def momenta_from_rapidity(
    pt: NDArray[Any], rapidity: NDArray[Any], phi: NDArray[Any], mass: NDArray[Any] | float = 0.0
) -> dict[str, NDArray[Any]]:
    """px, py, pz, energy [GeV] from pT [GeV], rapidity (not pseudorapidity), phi [rad] and mass [GeV].

    >>> momenta_from_rapidity(np.array([3.0]), np.array([0.0]), np.array([0.0]), 4.0)["energy"]
    array([5.])
    """
    transverse = np.sqrt(pt**2 + np.square(mass))
    return {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": transverse * np.sinh(rapidity),
        "energy": transverse * np.cosh(rapidity),
    }


def wrap(dphi: NDArray[Any]) -> NDArray[Any]:
    """An angle difference in [-pi, pi).

    >>> float(np.round(wrap(np.array(6.0)), 4))
    -0.2832
    """
    return (dphi + np.pi) % (2 * np.pi) - np.pi


def pt_eta_phi(px: NDArray[Any], py: NDArray[Any], pz: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """pT [GeV], pseudorapidity and phi [rad]; eta is 0 where pT is 0."""
    pt = np.hypot(px, py)
    eta = np.arcsinh(np.divide(pz, pt, out=np.zeros_like(pt), where=pt > _FLOOR))
    return pt, eta, np.arctan2(py, px)


def flags_from_pdg(pdg: NDArray[Any], charge: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """The five particle flags from PDG codes and charges, one array per name of FLAGS.

    >>> [k for k, v in flags_from_pdg(np.array([-211]), np.array([-1])).items() if v[0]]
    ['is_charged_hadron']
    """
    code = np.abs(pdg)
    photon, electron, muon = code == 22, code == 11, code == 13
    hadron = ~(photon | electron | muon)
    values = (hadron & (charge != 0), hadron & (charge == 0), photon, electron, muon)
    return {name: v.astype(np.float32) for name, v in zip(FLAGS, values, strict=True)}


def invariant_mass(cloud: Cloud) -> NDArray[np.float64]:
    """(N,) invariant mass of each event's particles in GeV; m^2 < 0 from rounding is clipped to 0."""
    px, py, pz, e = (_total(cloud, n) for n in ("px", "py", "pz", "energy"))
    return np.sqrt(np.maximum(e**2 - px**2 - py**2 - pz**2, 0.0))


def axes_of(cloud: Cloud) -> dict[str, NDArray[np.float64]]:
    """(N,) pt [GeV], eta, phi [rad] and energy [GeV] of the sum of each event's particles."""
    pt, eta, phi = pt_eta_phi(*(_total(cloud, n) for n in ("px", "py", "pz")))
    return {"pt": pt, "eta": eta, "phi": phi, "energy": _total(cloud, "energy")}


def leading(cloud: Cloud, limit: int) -> Cloud:
    """Every event's particles by falling pT, at most `limit` of them."""
    order = ak.argsort(np.hypot(cloud.particles.px, cloud.particles.py), axis=1, ascending=False, stable=True)
    return Cloud(cloud.particles[order][:, :limit], cloud.events, cloud.schema)


def particle_features(cloud: Cloud) -> dict[str, NDArray[np.float32]]:
    """Every model feature of the particles, flat (sum of counts,): GEOMETRY, DERIVED, then the schema's own but UNREAD.

    In the frame "jet" the axis is the sum of the event's particles and deta carries the sign of the jet's eta
    (JetClass convention). With a particle feature `jet` the axis is that of the particle's own jet. log_pt and log_energy
    are of GeV, in the frame "fixed-target" of MeV.
    """
    p = {n: cloud.flat(n).astype(np.float64) for n in ("px", "py", "pz", "energy")}
    event = np.repeat(np.arange(len(cloud)), cloud.counts)
    group = event
    if "jet" in cloud.schema.feature_names:
        group = np.unique(np.stack([event, cloud.flat("jet").astype(np.int64)]), axis=1, return_inverse=True)[1].reshape(-1)
    pt, eta, phi = pt_eta_phi(p["px"], p["py"], p["pz"])
    axis_pt, axis_eta, axis_phi, axis_energy = _axes(p, group)
    _, event_eta, event_phi, _ = _axes(p, event)
    deta = np.where(axis_eta < 0, -1.0, 1.0) * (eta - axis_eta)
    dphi = wrap(phi - axis_phi)
    log_pt, log_energy = np.log(np.maximum(pt, _FLOOR)), np.log(np.maximum(p["energy"], _FLOOR))
    unit = log_unit(cloud)
    features = {
        "pair_eta": eta - event_eta,
        "pair_phi": wrap(phi - event_phi),
        "log_pt": log_pt + unit,
        "deta": deta,
        "dphi": dphi,
        "dr": np.hypot(deta, dphi),
        "log_energy": log_energy + unit,
        "log_pt_rel": log_pt - np.log(np.maximum(axis_pt, _FLOOR)),
        "log_energy_rel": log_energy - np.log(np.maximum(axis_energy, _FLOOR)),
    }
    _refuse_reserved(cloud, cloud.schema.feature_names, features)
    features |= {name: cloud.flat(name) for name in cloud.schema.feature_names if name not in UNREAD}
    return {name: np.asarray(v, dtype=np.float32) for name, v in features.items()}


def log_unit(cloud: Cloud) -> float:
    """ln of GeV over the unit of pT and energy in the model's features of a cloud."""
    return _LOG_UNIT.get(cloud.schema.frame, 0.0)


def event_features(cloud: Cloud) -> dict[str, NDArray[np.float32]]:
    """Every model feature of the events, (N,): those of the sum of its particles, then the schema's event columns.

    log_sum_pt and log_mass, ln(1 + m), in the unit of log_pt.
    """
    unit = log_unit(cloud)
    sum_pt = np.hypot(_total(cloud, "px"), _total(cloud, "py"))
    features: dict[str, NDArray[Any]] = {
        "log_sum_pt": np.log(np.maximum(sum_pt, _FLOOR)) + unit,
        "log_mass": np.log1p(invariant_mass(cloud) * np.exp(unit)),
        "log_multiplicity": np.log1p(cloud.counts),
    }
    own = {c.name: cloud.events[c.name] for c in cloud.schema.columns}
    _refuse_reserved(cloud, own, features)
    return {name: np.asarray(v, dtype=np.float32) for name, v in (features | own).items()}


def _refuse_reserved(cloud: Cloud, own: Iterable[str], derived: Mapping[str, NDArray[Any]]) -> None:
    for name in own:
        if name in derived:
            raise BadSchema(
                f"{cloud.schema.dataset!r} has a column {name!r}, which cloudchamber derives itself; rename or drop it"
            )


def _axes(p: Mapping[str, NDArray[Any]], group: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """pT, eta, phi and energy of each particle's group, repeated for every particle."""
    total = {n: np.bincount(group, weights=v) for n, v in p.items()} if len(group) else p
    pt, eta, phi = pt_eta_phi(total["px"], total["py"], total["pz"])
    return pt[group], eta[group], phi[group], total["energy"][group]


def _total(cloud: Cloud, name: str) -> NDArray[np.float64]:
    return np.asarray(ak.sum(ak.values_astype(cloud.particles[name], np.float64), axis=1))
