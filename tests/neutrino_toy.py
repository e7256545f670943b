"""Toy neutrino interactions: quasi-elastic, Delta and many-pion events on a nucleon at rest, momentum conserved in each."""

import numpy as np

from cloudchamber.simulate.neutrino import kinematics as two
from cloudchamber.simulate.neutrino.interactions import DIS, QE, RES, Interactions, Particles
from cloudchamber.simulate.neutrino.kinematics import MUON, NEUTRON, PROTON


def interactions(n: int, seed: int = 0, energy: float = 6.0) -> Interactions:
    """n events: 15 % QE, 25 % Delta, the rest with two or three pions; 10 % neutral current."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([QE, RES, DIS], n, p=[0.15, 0.25, 0.6])
    e_nu = np.clip(rng.normal(energy, 1.0, n), 4.0, 20.0)
    charged_current = rng.random(n) < 0.9
    mass_l = np.where(charged_current, MUON, 0.0)
    w = np.select([kind == QE, kind == RES], [np.where(charged_current, PROTON, NEUTRON), 1.232], rng.uniform(1.7, 2.6, n))
    target = np.column_stack([np.full(n, NEUTRON), np.zeros((n, 3))])
    neutrino = np.column_stack([e_nu, np.zeros((n, 2)), e_nu])
    total = neutrino + target
    sqrt_s = np.sqrt(total[:, 0] ** 2 - (total[:, 1:] ** 2).sum(axis=1))
    scale = 2 * two.momentum(sqrt_s, mass_l, w) ** 2 / 0.5  # forward: exp(-Q2 / 0.5 GeV2)
    cos = np.clip(1 - rng.exponential(size=n) / scale, -1, 1)
    pair = two.boost(two.two_body(sqrt_s, mass_l, w, cos, rng), total[:, None])
    event, pdg, p4 = [], [], []
    for i in range(n):
        codes, vectors = _hadrons(pair[i, 1], kind[i], bool(charged_current[i]), rng)
        event += [i] * len(codes)
        pdg += codes
        p4 += vectors
    lepton = np.where(charged_current, 13, 14)
    hadrons = Particles(np.array(event), np.array(pdg), np.array(p4))
    radius = 2.4 * np.cbrt(rng.random(n))
    struck, weight = np.full(n, 2112), np.ones(n)
    return Interactions(np.full(n, 14), neutrino, lepton, pair[:, 0], charged_current, kind, struck, hadrons, radius, weight)


def _hadrons(system, kind, charged_current, rng):
    """Final state of charge 1 (CC on a neutron) or 0."""
    if kind == QE:
        return [2212 if charged_current else 2112], [system]
    options = {True: [(2212, 111), (2112, 211)], False: [(2212, -211), (2112, 111)]}
    codes = list(options[charged_current][rng.integers(2)])
    if kind == DIS:
        codes += [[111], [211, -211]][rng.integers(2)]
    masses = two.mass_of(np.array([codes]))
    return codes, list(two.boost(two.phase_space(np.sqrt(two.square(system[None])), masses, rng), system[None, None])[0])
