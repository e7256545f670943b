"""Small files: one good file per container, of a few kilobytes, the same bytes at every call. What fuzz.py damages."""

# N jet, P particle slot, T particle of any jet

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import awkward as ak
import h5py
import numpy as np
import uproot
from numpy.typing import NDArray

from cloudchamber.data import store
from cloudchamber.events import Cloud, Feature, Label, Schema

_COUNTS = np.array([3, 0, 5, 2, 4, 1, 6, 3])
_SLOTS = 6


def root(folder: Path) -> Path:
    """JetClass jets, as uproot writes them: 24 jagged and flat branches, compressed."""
    names = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
    track = ("charge", "d0val", "d0err", "dzval", "dzerr")
    flags = ("isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
    values = _momenta() | dict.fromkeys((*track, *flags), np.ones(_COUNTS.sum(), np.float32))
    jagged = {f"part_{n}": ak.unflatten(v, _COUNTS) for n, v in values.items()}
    flat = {f"label_{n}": (np.arange(len(_COUNTS)) % 2 == i).astype(np.float32) for i, n in enumerate(names)}
    types = dict.fromkeys(jagged, "var * float32") | dict.fromkeys(flat, "float32")
    path = folder / "jets.root"
    # A file of the same bytes needs the same date and identifier.
    with (
        mock.patch("uproot._util.datetime_to_code", return_value=1761345536),
        uproot.recreate(path, uuid_function=lambda: UUID(int=1)) as file,
    ):
        file.mktree("tree", types).extend(jagged | flat)
    return path


def hdf5(folder: Path) -> Path:
    """OmniLearned jets: one compressed and shuffled dataset, two plain ones."""
    p = {n: _pad(v) for n, v in _momenta().items()}
    pt = np.hypot(p["px"], p["py"])
    real = pt > 0
    log_pt, log_energy = (np.log(v, out=np.zeros_like(v), where=real) for v in (pt, p["energy"]))
    eta = np.arcsinh(np.divide(p["pz"], pt, out=np.zeros_like(pt), where=real))
    path = folder / "small" / "train" / "jets.h5"  # the reader names the classes after the folder
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        values = np.stack([eta, np.arctan2(p["py"], p["px"]), log_pt, log_energy], axis=2)
        file.create_dataset("data", data=values, chunks=(4, _SLOTS, 4), compression="gzip", shuffle=True)
        file["pid"] = np.arange(len(_COUNTS)) % 3
        file["global"] = np.ones((len(_COUNTS), 2), np.float32)
    return path


def npz(folder: Path) -> Path:
    """Quark and gluon jets, padded, not compressed."""
    p = {n: _pad(v) for n, v in _momenta().items()}
    path = folder / "jets.npz"
    np.savez(path, **{"E" if n == "energy" else n: v for n, v in p.items()}, n=_COUNTS, y=np.arange(len(_COUNTS)) % 2)
    return path


def parquet(folder: Path) -> Path:
    """A shard of a store: jagged lists, flat columns, the schema in the metadata."""
    particles = _momenta() | {"d0": np.where(np.arange(_COUNTS.sum()) % 3, 0.1, np.nan).astype(np.float32)}
    schema = Schema(
        dataset="small",
        frame="jet",
        features=(Feature(name="d0", unit="mm"),),
        labels=(Label(name="label", classes=("gluon", "quark")), Label(name="mass", unit="GeV")),
        weight="weight",
    )
    n = len(_COUNTS)
    events = {"label": np.arange(n) % 2, "mass": np.linspace(1, 9, n), "weight": np.ones(n)}
    written = store.write(folder / "store", [Cloud.from_flat(_COUNTS, particles, events, schema)])
    return (written.path / written.manifest.shards[0].file).rename(folder / "jets.parquet")


# Container -> the function that writes its small file into a folder. A new container is a function and a line here.
CONTAINERS: dict[str, Callable[[Path], Path]] = {"root": root, "hdf5": hdf5, "npz": npz, "parquet": parquet}


def _momenta() -> dict[str, NDArray[Any]]:
    """(T,) px, py, pz, energy [GeV] of pions."""
    rng = np.random.default_rng(11)
    px, py, pz = rng.normal(0, 10, (3, int(_COUNTS.sum()))).astype(np.float32)
    return {"px": px, "py": py, "pz": pz, "energy": np.sqrt(px**2 + py**2 + pz**2 + np.float32(0.0195))}


def _pad(values_T: NDArray[Any]) -> NDArray[Any]:
    """(N, P) with zeros after the last particle."""
    values_NP = np.zeros((len(_COUNTS), _SLOTS), np.float32)
    values_NP[np.arange(_SLOTS) < _COUNTS[:, None]] = values_T
    return values_NP
