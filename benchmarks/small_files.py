"""Small files: one good file per container, of a few kilobytes, the same bytes at every call. What fuzz.py damages."""

# N jet, P particle slot, T particle of any jet

from __future__ import annotations

import gzip
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


def hepmc3(folder: Path) -> Path:
    """Events of HepMC 3: particles without a vertex."""
    text = ["HepMC::Version 3.02.05", "HepMC::Asciiv3-START_EVENT_LISTING", "W Weight"]
    for number, rows in enumerate(_events()):
        text += [f"E {number} 0 {len(rows)}", "U GEV MM", f"W {1 + number / 8}"]
        text += [f"P {i} 0 211 {_four(row)} 0.13957 1" for i, row in enumerate(rows, 1)]
    return _written(folder / "events.hepmc", [*text, "HepMC::Asciiv3-END_EVENT_LISTING"])


def hepmc2(folder: Path) -> Path:
    """Events of HepMC 2: one vertex each, and one weight."""
    text = ["HepMC::Version 2.06.09", "HepMC::IO_GenEvent-START_EVENT_LISTING"]
    for number, rows in enumerate(_events()):
        text += [f"E {number} -1 -1.0 -1.0 -1.0 211 -1 1 1 2 0 1 {1 + number / 8}", "U GEV MM"]
        text += [f"V -1 0 0.1 0.2 0.3 0.4 0 {len(rows)} 0"]
        text += [f"P {i} 211 {_four(row)} 0.13957 1 0 0 0 0" for i, row in enumerate(rows, 1)]
    return _written(folder / "events.hepmc2", [*text, "HepMC::IO_GenEvent-END_EVENT_LISTING"])


def lhe(folder: Path) -> Path:
    """Les Houches events."""
    text = ['<LesHouchesEvents version="3.0">', "<init>", "2212 2212 6500 6500 0 0 1 1 3 1", "1.0 0.1 1.0 1", "</init>"]
    for number, rows in enumerate(_events()):
        text += ["<event>", f"{len(rows)} 661 {1 + number / 8} 91.2 0.0078 0.118"]
        text += [f"211 1 0 0 0 0 {_four(row)} 0.13957 0 9" for row in rows]
        text += ["</event>"]
    return _written(folder / "events.lhe", [*text, "</LesHouchesEvents>"])


def gzip_of_lhe(folder: Path) -> Path:
    """The same, gzipped."""
    path = folder / "events.lhe.gz"
    path.write_bytes(gzip.compress(lhe(folder).read_bytes(), mtime=0))
    return path


def trackml(folder: Path) -> Path:
    """The hits of a TrackML event, which are damaged; their truth beside them stays."""
    rows = np.concatenate(_events())
    hits = ["hit_id,x,y,z,volume_id,layer_id,module_id", *(f"{i},{r[0]},{r[1]},{r[2]},8,2,{i}" for i, r in enumerate(rows, 1))]
    truth = ["hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight", *(f"{i},{i % 5},0,0,0,0,0,0,0" for i in range(1, len(rows) + 1))]
    _written(folder / "event000000001-truth.csv", truth)
    return _written(folder / "event000000001-hits.csv", hits)


# Container -> the function that writes its small file into a folder. A new container is a function and a line here.
CONTAINERS: dict[str, Callable[[Path], Path]] = {
    f.__name__: f for f in (root, hdf5, npz, parquet, hepmc3, hepmc2, lhe, gzip_of_lhe, trackml)
}


def _momenta() -> dict[str, NDArray[Any]]:
    """(T,) px, py, pz, energy [GeV] of pions."""
    rng = np.random.default_rng(11)
    px, py, pz = rng.normal(0, 10, (3, int(_COUNTS.sum()))).astype(np.float32)
    return {"px": px, "py": py, "pz": pz, "energy": np.sqrt(px**2 + py**2 + pz**2 + np.float32(0.0195))}


def _events() -> list[NDArray[Any]]:
    """(particles, 4) px, py, pz, energy of each event."""
    return np.split(np.stack(list(_momenta().values()), axis=1), np.cumsum(_COUNTS)[:-1])


def _four(row: NDArray[Any]) -> str:
    return " ".join(f"{x:.9e}" for x in row)


def _written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def _pad(values_T: NDArray[Any]) -> NDArray[Any]:
    """(N, P) with zeros after the last particle."""
    values_NP = np.zeros((len(_COUNTS), _SLOTS), np.float32)
    values_NP[np.arange(_SLOTS) < _COUNTS[:, None]] = values_T
    return values_NP
