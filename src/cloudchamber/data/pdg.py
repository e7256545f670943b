"""PDG codes: mass and charge of the particles that live long enough to reach a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.events.kinematics import FLAGS, flags_from_pdg

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
# What `identity` says of a particle of a generator.
IDENTITY = ("pdg", "charge", *FLAGS, "is_neutrino", "is_nucleus")
_NUCLEI = 1_000_000_000  # a nucleus is 10LZZZAAAI: L strange quarks, charge Z, A nucleons (PDG, Monte Carlo numbering scheme)
_GENERATORS = 2_000_000_000
_THIRDS = np.array([0, -1, 2, -1, 2, -1, 2, -1, 2, 0])  # charge in e/3 by quark digit: d u s c b t b' t'
_ELEMENTARY = np.zeros(100)  # charge in e/3 below code 100: quarks, leptons, W, W', H+; all other bosons have none
_ELEMENTARY[:10], _ELEMENTARY[11:19:2], _ELEMENTARY[[24, 34, 37]] = _THIRDS, -3, 3
_CODES = np.array(sorted(_PARTICLES))
_MASSES = np.array([_PARTICLES[c][0] for c in sorted(_PARTICLES)])
_CHARGES = np.array([_PARTICLES[c][1] for c in sorted(_PARTICLES)])
PDG_FEATURES = ("charge", *FLAGS)  # what `charge_and_flags` gives
_NO_DETECTOR = (12, 14, 15, 16)  # in the table, but neither hadron nor seen: neutrinos; a tau decays before it is seen


def mass_and_charge(codes: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mass [GeV] and charge [e] of each PDG code.

    Raises BadInput that names the first code that is not in the table.

    >>> mass_and_charge(np.array([-211, 22]))
    (array([0.13957039, 0.        ]), array([-1.,  0.]))
    """
    at, known = _rows(codes)
    if not known.all():
        raise BadInput(f"{np.asarray(codes)[~known][0]:g} is not the PDG code of a particle that reaches a detector")
    return _MASSES[at], _CHARGES[at] * np.sign(codes).astype(np.float64)


def identity(codes: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
    """The features of IDENTITY of any PDG codes, by the numbering scheme's digits. NaN: a nucleus' code, an unknown charge.

    >>> {name: values.tolist() for name, values in identity(np.array([2212, -14])).items() if name in ("charge", "is_neutrino")}
    {'charge': [1.0, 0.0], 'is_neutrino': [0.0, 1.0]}
    """
    codes = codes.astype(np.int64)
    size = np.abs(codes)
    nucleus, elementary = size >= _NUCLEI, size % 10_000 < 100
    neutrino = np.isin(size, (12, 14, 16))
    charge = np.where(np.isnan(_thirds(size)), np.nan, _thirds(size) / 3 * np.sign(codes) + 0.0)  # no -0.0
    found = {"pdg": np.where(nucleus, np.nan, codes), "charge": charge, **flags_from_pdg(codes, charge)}
    for name in FLAGS[:2]:
        found[name] = found[name] * ~(nucleus | elementary)
    found |= {"is_neutrino": neutrino, "is_nucleus": nucleus}
    return {name: np.asarray(values, dtype=np.float32) for name, values in found.items()}


def _thirds(size: NDArray[np.int64]) -> NDArray[np.float64]:
    """Charge in e/3 of positive codes: of a meson the heavier quark, or if that is down-type the other, is the quark."""
    core = size % 10_000
    q1, q2, q3 = (_THIRDS[core // place % 10] for place in (1000, 100, 10))
    meson = np.where(core // 100 % 2 == 0, q2 - q3, q3 - q2)
    charge = np.where(core < 100, _ELEMENTARY[np.minimum(core, 99)], np.where(core < 1000, meson, q1 + q2 + q3))
    charge = np.where(size >= _NUCLEI, size // 10_000 % 1000 * 3, charge)
    return np.where(size >= _GENERATORS, np.nan, charge)


def charge_and_flags(codes: NDArray[Any], own: Mapping[int, int] | None = None) -> dict[str, NDArray[np.float64]]:
    """`charge` [e] and the five particle flags of each PDG code, as features.

    own: an experiment's own codes and the PDG codes that they stand for. Nuclei and hypernuclei are hadrons of charge Z.
    Neutrinos and taus have all flags 0. NaN in all six for any other code that is not in the table (0, a parton): what such
    a particle is, the code does not say.

    >>> found = charge_and_flags(np.array([-211, 1000020040, 0]))
    >>> found["charge"].tolist(), found["is_charged_hadron"].tolist()
    ([-1.0, 2.0, nan], [1.0, 1.0, nan])
    """
    codes = np.nan_to_num(codes)
    for code, meaning in (own or {}).items():
        codes = np.where(codes == code, meaning, codes)
    at, known = _rows(codes)
    absolute = np.abs(codes).astype(np.int64)
    nucleus = absolute >= _NUCLEI
    charge = np.where(nucleus, absolute // 10_000 % 1000, _CHARGES[at]) * np.sign(codes)
    flags = {n: f * ~np.isin(absolute, _NO_DETECTOR) for n, f in flags_from_pdg(codes, charge).items()}
    return {n: np.where(known | nucleus, v, np.nan) for n, v in {"charge": charge, **flags}.items()}


def _rows(codes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The table's row of each code, and whether the code is there."""
    at = np.minimum(np.searchsorted(_CODES, np.abs(codes)), len(_CODES) - 1)
    return at, np.asarray(_CODES[at] == np.abs(codes))
