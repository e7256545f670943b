"""PDG codes: mass and charge of the particles that live long enough to reach a detector."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput

# Mass in GeV and charge in e by positive code; Review of Particle Physics 2024 (doi:10.1103/PhysRevD.110.030001).
_PARTICLES: dict[int, tuple[float, int]] = {
    11: (0.00051099895, -1),  # e-
    12: (0.0, 0),  # nu_e
    13: (0.1056583755, -1),  # mu-
    14: (0.0, 0),  # nu_mu
    15: (1.77693, -1),  # tau-
    16: (0.0, 0),  # nu_tau
    22: (0.0, 0),  # photon
    111: (0.1349768, 0),  # pi0
    130: (0.497611, 0),  # K0L
    211: (0.13957039, 1),  # pi+
    310: (0.497611, 0),  # K0S
    311: (0.497611, 0),  # K0
    321: (0.493677, 1),  # K+
    2112: (0.9395654205, 0),  # n
    2212: (0.9382720894, 1),  # p
    3112: (1.197449, -1),  # Sigma-
    3122: (1.115683, 0),  # Lambda
    3222: (1.18937, 1),  # Sigma+
    3312: (1.32171, -1),  # Xi-
    3322: (1.31486, 0),  # Xi0
    3334: (1.67245, -1),  # Omega-
}
_CODES = np.array(sorted(_PARTICLES))
_MASSES = np.array([_PARTICLES[c][0] for c in sorted(_PARTICLES)])
_CHARGES = np.array([_PARTICLES[c][1] for c in sorted(_PARTICLES)])


def mass_and_charge(codes: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mass [GeV] and charge [e] of each PDG code.

    Raises BadInput that names the first code that is not in the table.

    >>> mass_and_charge(np.array([-211, 22]))
    (array([0.13957039, 0.        ]), array([-1.,  0.]))
    """
    absolute = np.abs(codes)
    at = np.minimum(np.searchsorted(_CODES, absolute), len(_CODES) - 1)
    unknown = _CODES[at] != absolute
    if unknown.any():
        raise BadInput(f"{np.asarray(codes)[unknown][0]:g} is not the PDG code of a particle that reaches a detector")
    return _MASSES[at], _CHARGES[at] * np.sign(codes).astype(np.float64)
