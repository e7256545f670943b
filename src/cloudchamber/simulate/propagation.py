"""Where particles go in a solenoid's field: the calorimeter's face, and the point closest to the beam line. NumPy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.events import kinematics
from cloudchamber.simulate.card import Card

Array = NDArray[Any]


def calorimeter_position(true: Mapping[str, Array], card: Card) -> tuple[Array, Array, Array]:
    """eta and phi, seen from the origin, where particles meet the calorimeter's face, and by how much they turned [rad].

    A particle that does not reach the barrel (in 3.8 T: pT below 0.74 GeV) turns on until it reaches an endcap. One that is
    made behind the face has eta infinite: no part of the detector sees it.
    """
    pt = np.maximum(np.sqrt(true["px"] ** 2 + true["py"] ** 2), 1e-9)
    u, v, slope = true["px"] / pt, true["py"] / pt, true["pz"] / pt
    x, y, z = (true[name] * 1e-3 for name in ("vx", "vy", "vz"))  # m
    along, squared = x * u + y * v, x**2 + y**2
    arc = np.sqrt(np.maximum(card.radius_m**2 - squared + along**2, 0.0)) - along  # m, in the transverse plane, to the barrel
    bent = np.flatnonzero(true["charge"] * card.field_t)
    phi = np.arctan2(v[bent], u[bent])
    radius, x_c, y_c = _circle({name: true[name][bent] for name in ("px", "py", "vx", "vy", "charge")}, card)
    distance, start = np.sqrt(x_c**2 + y_c**2), phi - np.arctan2(y_c, x_c)
    sine = (distance**2 + radius**2 - card.radius_m**2) / (2 * radius * distance)
    first = np.arcsin(np.clip(sine, -1, 1))  # direction at the barrel, counted from the centre's; the other is pi - first
    turns = [(np.sign(radius) * (start - there)) % (2 * np.pi) for there in (first, np.pi - first)]
    arc[bent] = np.where(np.abs(sine) < 1, np.abs(radius) * np.minimum(*turns), np.inf)
    endcap = np.maximum(card.half_length_m - np.sign(slope) * z, 0.0) / np.maximum(np.abs(slope), 1e-9)
    arc = np.minimum(arc, endcap)
    outside = (squared > card.radius_m**2) | (np.abs(z) > card.half_length_m)
    x, y, z = x + arc * u, y + arc * v, z + arc * slope
    turned = np.zeros(len(pt))
    turned[bent] = arc[bent] / radius
    there = phi - turned[bent]
    x[bent], y[bent] = x_c - radius * np.sin(there), y_c + radius * np.cos(there)
    eta = np.arcsinh(z / np.maximum(np.sqrt(x**2 + y**2), 1e-9))
    eta[outside] = np.inf
    return eta, np.arctan2(y, x), np.abs(turned)


def impact_parameters(true: Mapping[str, Array], card: Card) -> tuple[Array, Array, Array]:
    """d0 and dz [mm] of charged particles, and their phi, where their helices come closest to the beam line.

    d0 = (x py - y px) / pT there, dz = z there.
    """
    pt, _, phi = kinematics.pt_eta_phi(true["px"], true["py"], true["pz"])
    slope = true["pz"] / pt
    if card.field_t == 0:
        arc = (true["vx"] * true["px"] + true["vy"] * true["py"]) / pt
        return (true["vx"] * true["py"] - true["vy"] * true["px"]) / pt, true["vz"] - arc * slope, phi
    radius, x, y = _circle(true, card)
    closest = np.arctan2(np.sign(radius) * x, -np.sign(radius) * y)
    arc = radius * kinematics.wrap(closest - phi)
    return np.sign(radius) * (np.hypot(x, y) - np.abs(radius)) * 1e3, true["vz"] - arc * slope * 1e3, closest


def _circle(true: Mapping[str, Array], card: Card) -> tuple[Array, Array, Array]:
    """Radius [m], with the sign of the charge, and centre x, y [m] of the circle that a charged particle goes in."""
    pt = np.maximum(np.sqrt(true["px"] ** 2 + true["py"] ** 2), 1e-9)
    radius = pt / (0.299792458 * card.field_t * true["charge"])  # c in m/ns turns T into GeV/m
    return radius, true["vx"] * 1e-3 + radius * true["py"] / pt, true["vy"] * 1e-3 - radius * true["px"] / pt
