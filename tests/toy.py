"""Toy clouds for tests: two classes that differ in width, with the features of real jets."""

from __future__ import annotations

import numpy as np

from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.nn.features import VOCABULARY

FEATURES = ("charge", "is_charged_hadron", "is_photon", "d0", "d0_err")


def toy_cloud(n: int = 200, seed: int = 0, features: tuple[str, ...] = FEATURES, mean: float = 12.0) -> Cloud:
    """n events; class 1 is wider than class 0, and `width` is the number that says how wide.

    Flags say on which side of the axis a particle is, so that they can be told from its position.
    """
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.poisson(mean, n), 1, None)
    label = rng.integers(0, 2, n)
    width = np.where(label == 1, 0.3, 0.1)
    event = np.repeat(np.arange(n), counts)
    total = int(counts.sum())
    pt = rng.lognormal(1.5, 1.0, total)
    eta, phi = (rng.normal(0, 1, total) * width[event] for _ in range(2))
    eta = eta + rng.uniform(-1, 1, n)[event]
    particles = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
    particles["energy"] = np.sqrt(sum(v**2 for v in particles.values()) + 0.0194)
    for name in features:
        particles[name] = phi > 0 if name.startswith("is_") else rng.normal(0, 1, total)
    if "d0" in features:
        particles["d0"][::3] = np.nan
    schema = Schema(
        dataset="toy",
        frame="jet",
        features=tuple(Feature(name=n) for n in features),
        labels=(Label(name="label", classes=("narrow", "wide")), Label(name="width", unit="rad")),
        simulated=True,
        citation=("arXiv:2202.03772",),
    )
    return Cloud.from_flat(
        counts, {k: v.astype(np.float32) for k, v in particles.items()}, {"label": label, "width": width}, schema
    )


def outside_vocabulary(cloud: Cloud) -> set[str]:
    """The features that weights would not take without a word from the user; a shipped reader gives none."""
    data = TrainingSet.from_cloud(cloud)
    return {*data.particle_names[2:], *data.column_names} - set(VOCABULARY)


JET_FEATURES = (
    *("charge", "is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon"),
    *("d0", "d0_err", "dz", "dz_err"),
)


def frozen_cloud() -> Cloud:
    """Twelve toy jets with every feature of the shipped weights; the same on every machine."""
    return toy_cloud(12, seed=42, features=JET_FEATURES, mean=30.0)


def labelled_cloud(n: int = 200, seed: int = 0) -> Cloud:
    """Toy jets whose particles have a label `origin`: in the core of the jet or in its halo, unknown for every fifth.

    `pair` is a number that events 2k and 2k + 1 share: the second is the first, measured again.
    """
    first = toy_cloud(-(-n // 2), seed)
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(first)), 2)[:n]
    cloud = first[row]
    particles = {name: cloud.flat(name) for name in cloud.particles.fields}
    second = np.repeat(np.arange(n) % 2 == 1, cloud.counts)
    for name in ("px", "py", "pz", "energy"):
        smeared = particles[name] * np.exp(rng.normal(0, 0.02, len(second)))
        particles[name] = np.where(second, smeared, particles[name]).astype(np.float32)
    momentum = np.sqrt(sum(particles[name] ** 2 for name in ("px", "py", "pz")))
    particles["energy"] = np.maximum(particles["energy"], momentum * 1.001)
    phi = np.arctan2(particles["py"], particles["px"])
    particles["origin"] = np.where(np.abs(phi) > 0.12, 1, 0).astype(np.float32)
    particles["origin"][::5] = np.nan
    schema = cloud.schema.model_copy(
        update={
            "labels": (*cloud.schema.labels, Label(name="pair")),
            "particle_labels": (Label(name="origin", classes=("core", "halo")),),
        }
    )
    return Cloud.from_flat(cloud.counts, particles, {**cloud.events, "pair": row.astype(np.float64)}, schema)
