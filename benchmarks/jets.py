"""The jets of a benchmark: the same ones for every contestant, simulated or toy."""

# N jet, T particle of any jet, F particle column

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data import store
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import MOMENTUM, Cloud, Feature, Label, Schema, kinematics

CACHE = Path(__file__).parent / "jets"
CLASSES_10 = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
LABEL = "label"
_IMPACT = ("d0", "d0_err", "dz", "dz_err")
_TOY_SIGMA = 0.41  # of ln multiplicity: 64 jets of mean multiplicity 45 then have a longest one of about 110


@dataclass(frozen=True)
class Jets:
    """A training set and the four-vectors of its particles, in its order: momentum_T4 is px, py, pz, energy [GeV]."""

    cloud: Cloud
    data: TrainingSet
    momentum_T4: NDArray[np.float32]

    @classmethod
    def of(cls, cloud: Cloud, max_particles: int = 128) -> Jets:
        """The `max_particles` leading particles of each jet."""
        kept = kinematics.leading(cloud, max_particles)
        momentum_T4 = np.stack([kept.flat(n) for n in MOMENTUM], axis=1).astype(np.float32)
        return cls(cloud, TrainingSet.from_cloud(cloud, max_particles), momentum_T4)

    def __len__(self) -> int:
        return len(self.data)

    @property
    def counts_N(self) -> NDArray[np.int64]:
        """(N,) particles of each jet."""
        return self.data[self.data.everything].counts

    @property
    def offsets_N(self) -> NDArray[np.int64]:
        """(N + 1,) first particle of each jet, and the end."""
        return np.concatenate([[0], np.cumsum(self.counts_N)])

    @property
    def label_N(self) -> NDArray[np.int64]:
        """(N,) class of each jet."""
        return np.asarray(self.data[self.data.everything].target(LABEL), dtype=np.int64)

    @property
    def label(self) -> Label:
        """The class label."""
        return self.data.schema.label(LABEL)

    def column(self, name: str) -> NDArray[np.float32]:
        """(T,) one particle column of the training set."""
        return np.asarray(self.data.parts[0].particles_TF[:, self.data.particle_names.index(name)])

    def describe(self) -> dict[str, Any]:
        """What a result says about the jets it was measured on."""
        counts = self.counts_N
        return {
            "dataset": self.data.schema.dataset,
            "jets": len(self),
            "classes": list(self.label.classes),
            "particles": {"mean": round(float(counts.mean()), 2), "largest": int(counts.max())},
        }


def simulated(classes: Sequence[str], per_class: int, *, seed: int, mpi: bool = True, cache: Path = CACHE) -> Cloud:
    """Simulated jets, shuffled; simulated on the first call, then read from a store in `cache`."""
    from cloudchamber import simulate

    path = cache / f"{'-'.join(classes)}_{per_class}_seed{seed}{'' if mpi else '_no-mpi'}"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        store.write(path, simulate.stream(classes, per_class, seed=seed, mpi=mpi), provenance={"benchmark": path.name})
    cloud = store.Store.open(path).read()
    return cloud[np.random.default_rng(seed).permutation(len(cloud))]


def toy(n: int, *, classes: Sequence[str] = CLASSES_10, seed: int = 0, counts_N: NDArray[np.int64] | None = None) -> Cloud:
    """Jets without physics: multiplicity as given or log-normal, mean 45, in 10-128; falling pT, random features, classes."""
    rng = np.random.default_rng(seed)
    drawn = np.exp(rng.normal(np.log(45) - _TOY_SIGMA**2 / 2, _TOY_SIGMA, n)).round().clip(10, 128).astype(np.int64)
    counts = drawn if counts_N is None else counts_N
    total = int(counts.sum())
    axis = {"eta": rng.uniform(-2, 2, n).repeat(counts), "phi": rng.uniform(-np.pi, np.pi, n).repeat(counts)}
    pt = np.exp(rng.normal(1.5, 1.3, total)).clip(0.1, 400.0)
    where = {name: value + rng.normal(0, 0.2, total) for name, value in axis.items()}
    kind = rng.choice(5, total, p=(0.58, 0.12, 0.28, 0.01, 0.01))
    charge = np.where(np.isin(kind, (0, 3, 4)), rng.choice((-1.0, 1.0), total), 0.0)
    flags = {name: (kind == i).astype(float) for i, name in enumerate(kinematics.FLAGS)}
    impact = {name: np.where(charge != 0, np.abs(rng.normal(0, 0.05, total)), np.nan) for name in _IMPACT}
    particles = {**kinematics.momenta(pt, where["eta"], where["phi"]), "charge": charge, **flags, **impact}
    schema = Schema(
        dataset="toy jets",
        frame="jet",
        features=(
            Feature(name="charge", kind="integer"),
            *(Feature(name=name, kind="flag") for name in kinematics.FLAGS),
            *(Feature(name=name, unit="mm") for name in _IMPACT),
        ),
        labels=(Label(name=LABEL, classes=tuple(classes)),),
        simulated=True,
    )
    columns = {name: value.astype(np.float32) for name, value in particles.items()}
    return Cloud.from_flat(counts, columns, {LABEL: rng.integers(len(classes), size=n)}, schema)
