"""A small file of each format that a reader of columns knows, with its keys and types, and the numbers that go into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import awkward as ak
import h5py
import numpy as np
import uproot

from cloudchamber import data
from cloudchamber.events import Cloud, Label, Schema

N = 30
MASS = {211: 0.13957, 22: 0.0, 2112: 0.93957, 11: 0.000511, 13: 0.10566, 130: 0.49761}


@dataclass
class Truth:
    """What goes into a file. Particle arrays are flat; everything is float64."""

    counts: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    code: np.ndarray
    label: np.ndarray
    mass: np.ndarray = field(init=False)

    def __post_init__(self):
        self.mass = np.array([MASS[c] for c in self.code.tolist()])

    def momentum(self, *, massless: bool) -> dict[str, np.ndarray]:
        p = self.pt * np.cosh(self.eta)
        energy = np.sqrt(p**2 + (0 if massless else self.mass**2))
        return {
            "px": self.pt * np.cos(self.phi),
            "py": self.pt * np.sin(self.phi),
            "pz": self.pt * np.sinh(self.eta),
            "energy": energy,
        }

    def pad(self, values: np.ndarray, width: int, fill: float = 0.0) -> np.ndarray:
        padded = np.full((N, width), fill)
        first = 0
        for event, count in enumerate(self.counts):
            padded[event, :count] = values[first : first + count]
            first += count
        return padded


def toy_truth() -> Truth:
    rng = np.random.default_rng(7)
    counts = rng.integers(1, 12, N)
    counts[3] = 0  # an empty event is an event
    size = int(counts.sum())
    pt = rng.exponential(20, size) + 0.1
    pt[5] = 1.0  # its logarithm is 0, which is no padding
    return Truth(
        counts, pt, rng.normal(0, 1, size), rng.uniform(-3, 3, size), rng.choice(list(MASS), size), rng.integers(0, 2, N)
    )


def jetclass(path: Path, t: Truth, label_type: str = "float32") -> dict:
    ten = t.label * 7 + 1  # classes Hbb and Tbqq
    names = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Hqql", "Zqq", "Wqq", "Tbqq", "Tbl")
    charge = np.isin(t.code, (211, 11, 13)).astype(float)
    flags = {"ChargedHadron": t.code == 211, "NeutralHadron": np.isin(t.code, (2112, 130)), "Photon": t.code == 22}
    flags |= {"Electron": t.code == 11, "Muon": t.code == 13}
    values = {f"part_{n}": v for n, v in t.momentum(massless=False).items()} | {"part_charge": charge}
    values |= {
        "part_d0val": 0.1 * charge,
        "part_d0err": 0.01 * charge,
        "part_dzval": -0.3 * charge,
        "part_dzerr": 0.02 * charge,
    }
    values |= {"part_deta": t.eta, "part_dphi": t.phi}
    jagged = {n: ak.unflatten(v.astype(np.float32), t.counts) for n, v in values.items()}
    jagged |= {f"part_is{n}": ak.unflatten(v.astype(np.int32), t.counts) for n, v in flags.items()}
    flat = {f"label_{n}": (ten == i).astype(label_type) for i, n in enumerate(names)}
    with uproot.recreate(path) as file:
        types = {n: f"var * {'int32' if 'is' in n else 'float32'}" for n in jagged}
        tree = file.mktree("tree", types | dict.fromkeys(flat, label_type))
        tree.extend(jagged | flat)
    return {
        **t.momentum(massless=False),
        "charge": charge,
        "is_muon": (t.code == 13).astype(float),
        "is_neutral_hadron": flags["NeutralHadron"].astype(float),
        "d0": np.where(charge > 0, 0.1, np.nan),
        "dz_err": np.where(charge > 0, 0.02, np.nan),
        "labels": {"label": ten},
    }


def landscape(path: Path, t: Truth) -> dict:
    p = t.momentum(massless=False)
    slots = np.stack([t.pad(p[n], 200) for n in ("energy", "px", "py", "pz")], axis=2).reshape(N, 800)
    table = np.zeros(N, dtype=[("index", "i8"), ("values_block_0", "f4", (804,)), ("values_block_1", "i8", (2,))])
    table["values_block_0"][:, :800] = slots
    table["values_block_1"][:, 1] = t.label
    with h5py.File(path, "w") as file:
        file.create_dataset("table/table", data=table)
    return {**p, "labels": {"is_signal_new": t.label}}


def energyflow(path: Path, t: Truth) -> dict:
    p = t.momentum(massless=False)
    rapidity = 0.5 * np.log((p["energy"] + p["pz"]) / (p["energy"] - p["pz"]))
    X = np.stack([t.pad(v, 14) for v in (t.pt, rapidity, t.phi % (2 * np.pi), t.code.astype(float))], axis=2)
    np.savez(path, X=X, y=t.label.astype(np.float64))
    charge = np.select([t.code == 211, np.isin(t.code, (11, 13))], [1.0, -1.0], 0.0)
    return {**p, "charge": charge, "is_electron": (t.code == 11).astype(float), "labels": {"y": t.label}}


def lhco(path: Path, t: Truth) -> dict:
    slots = np.stack([t.pad(v, 700) for v in (t.pt, t.eta, t.phi)], axis=2).reshape(N, 2100)
    with h5py.File(path, "w") as file:
        file.create_dataset("df/block0_values", data=np.column_stack([slots, t.label]), compression="gzip")
        file.create_dataset("df/axis0", data=np.arange(2101))
        file.create_dataset("df/axis1", data=np.arange(N))
    return {**t.momentum(massless=True), "labels": {"label": t.label}}


def lhco_black_box(path: Path, t: Truth) -> None:
    slots = np.stack([t.pad(v, 700) for v in (t.pt, t.eta, t.phi)], axis=2).reshape(N, 2100)
    with h5py.File(path, "w") as file:
        file["df/block0_values"] = slots


def omnilearned(path: Path, t: Truth) -> dict:
    p = t.momentum(massless=True)
    charged = np.isin(t.code, (211, 11, 13))
    d0, d0_err = np.where(charged, 0.25, 0.0), np.where(charged, 0.05, 0.0)
    values = (t.eta, t.phi, np.log(t.pt), np.log(p["energy"]), np.ones_like(t.pt), np.tanh(d0), d0_err, np.tanh(2 * d0), d0_err)
    path = path.parent / "jetclass" / "train" / path.name
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["data"] = np.stack([t.pad(v, 20) for v in values], axis=2).astype(np.float32)
        file["pid"] = t.label + 3  # the shared numbering: jetclass begins at 2
        file["global"] = np.column_stack([np.full(N, 2.5), t.counts / 100])
    return {
        **p,
        "d0": np.where(charged, 0.25, np.nan),
        "dz": np.where(charged, 0.5, np.nan),
        "d0_err": np.where(charged, 0.05, np.nan),
        "labels": {"pid": t.label + 1},
        "columns": {"global_0": np.full(N, 2.5), "global_1": t.counts / 100},
        "path": path,
    }


def store(path: Path, t: Truth) -> dict:
    schema = Schema(dataset="toy", frame="jet", labels=(Label(name="kind", classes=("a", "b")),))
    p = {n: v.astype(np.float32) for n, v in t.momentum(massless=False).items()}
    cloud = Cloud.from_flat(t.counts, p, {"kind": t.label}, schema)
    folder = path.with_suffix("")
    data.store.write(folder, [cloud])
    return {**p, "labels": {"kind": t.label}, "path": folder / "shard-00000.parquet"}


def pfnano(path: Path, t: Truth) -> dict:
    """One fat jet per event; candidates of no jet before and after its own."""
    first = np.repeat(np.cumsum(t.counts) - t.counts, t.counts)
    own = np.arange(len(t.pt)) - first
    charge = np.where(np.isin(t.code, (211, 11, 13)), 1, 0)

    def column(values: np.ndarray, outside: float, kind: str) -> ak.Array:
        pad = ak.Array([[outside]] * N)
        whole = ak.concatenate([pad, ak.unflatten(values.astype(float), t.counts), pad], axis=1)
        return ak.values_astype(whole, kind)

    track = charge != 0
    values = {"pt": t.pt, "eta": t.eta, "phi": t.phi, "mass": t.mass, "puppiWeight": np.full(len(t.pt), 0.5)}
    values |= {n: np.where(track, v, -1.0) for n, v in (("d0", 0.01), ("d0Err", 0.002), ("dz", -0.3), ("dzErr", 0.004))}
    cands = {n: column(v, 7.0, "float32") for n, v in values.items()}
    cands |= {"charge": column(charge, 0, "int32"), "pdgId": column(t.code, 1, "int32")}
    links = {"jetIdx": np.zeros(len(t.pt), dtype=np.int32), "pFCandsIdx": (own + 1).astype(np.int32)}
    jets = {"msoftdrop": np.full(N, 80.0, dtype=np.float32), "hadronFlavour": np.where(t.label, 5, 0).astype(np.int32)}
    columns = {
        "PFCands": ak.zip(cands),
        "FatJetPFCands": ak.zip({n: ak.unflatten(v, t.counts) for n, v in links.items()}),
        "FatJet": ak.zip({n: ak.unflatten(v, np.ones(N, dtype=int)) for n, v in jets.items()}),
        "genWeight": np.full(N, -2.0, dtype=np.float32),
    }
    with uproot.recreate(path) as file:
        types = {n: c.dtype if isinstance(c, np.ndarray) else c.type.content for n, c in columns.items()}
        file.mktree("Events", types).extend(columns)
    return {
        **t.momentum(massless=False),
        "charge": charge,
        "is_neutral_hadron": np.isin(t.code, (2112, 130)),
        "is_electron": t.code == 11,
        "d0": np.where(track, 0.1, np.nan),
        "d0_err": np.where(track, 0.02, np.nan),
        "dz": np.where(track, -3.0, np.nan),
        "dz_err": np.where(track, 0.04, np.nan),
        "puppi": np.full(len(t.pt), 0.5),
        "labels": {"hadron_flavour": t.label * 2},
        "columns": {"soft_drop_mass": np.full(N, 80.0), "weight": np.full(N, -2.0)},
    }


def jetnet(path: Path, t: Truth) -> dict:
    jet_pt, jet_eta = np.linspace(900, 1100, N), np.linspace(-1, 1, N)
    values = (t.eta - np.repeat(jet_eta, t.counts), t.phi, t.pt / np.repeat(jet_pt, t.counts), np.ones(len(t.pt)))
    path = path.with_name("t150.hdf5")
    with h5py.File(path, "w") as file:
        file["particle_features"] = np.stack([t.pad(v, 30) for v in values], axis=2).astype(np.float32)
        file["jet_features"] = np.stack([jet_pt, jet_eta, np.full(N, 172.5), t.counts], axis=1).astype(np.float32)
    return {
        **t.momentum(massless=True),
        "labels": {"jet_type": np.full(N, 2)},
        "columns": {"jet_mass": np.full(N, 172.5)},
        "path": path,
    }


def atlas_ftag(path: Path, t: Truth) -> dict:
    charge = np.where(np.arange(len(t.pt)) % 2, -1.0, 1.0)
    jet_eta = np.linspace(-2, 2, N).astype(np.float32)
    names = ("qOverP", "deta", "dphi", "d0", "z0SinTheta", "IP3D_signed_d0_significance")
    tracks = np.zeros((N, 14), dtype=[*((n, "f4") for n in names), ("valid", "?"), ("numberOfPixelHits", "u1")])
    tracks["qOverP"] = t.pad(charge / (1e3 * t.pt * np.cosh(t.eta)), 14)
    tracks["deta"], tracks["dphi"] = t.pad(t.eta - np.repeat(jet_eta, t.counts), 14), t.pad(t.phi, 14)
    tracks["d0"], tracks["z0SinTheta"] = t.pad(0.05 * charge, 14), t.pad(-0.2 * charge, 14)
    tracks["IP3D_signed_d0_significance"] = t.pad(3 * charge, 14)
    tracks["valid"] = t.pad(np.ones(len(t.pt)), 14)
    jets = np.zeros(N, dtype=[("pt", "f4"), ("eta", "f4"), ("HadronConeExclTruthLabelID", "i4")])
    jets["pt"], jets["eta"], jets["HadronConeExclTruthLabelID"] = 45e3, jet_eta, np.where(t.label, 15, 4)
    jets["HadronConeExclTruthLabelID"][2] = 44  # two bottom hadrons: a code that the label does not name
    with h5py.File(path, "w") as file:
        file["jets"], file["tracks"] = jets, tracks
    label = np.where(t.label, 3, 1)
    label[2] = -1
    return {
        **t.momentum(massless=True),
        "charge": charge,
        "d0": 0.05 * charge,
        "z0_sin_theta": -0.2 * charge,
        "d0_significance": 3 * charge,
        "labels": {"HadronConeExclTruthLabelID": label},
        "columns": {"jet_pt": np.full(N, 45.0), "jet_eta": jet_eta},
    }


LHCO_COLUMNS = [f"{n}j{j}" for j in "12" for n in ("px", "py", "pz", "m", "tau1", "tau2", "tau3")]


def lhco_features(path: Path, t: Truth) -> dict:
    """pandas' fixed layout, with the columns in another order than usual."""
    values = np.random.default_rng(2).normal(0, 500, (N, 14))
    values[:, [3, 10]] = np.abs(values[:, [3, 10]])
    order = np.random.default_rng(3).permutation(14)
    with h5py.File(path, "w") as file:
        file["df/block0_values"] = values[:, order]
        file["df/block0_items"] = np.array([LHCO_COLUMNS[i] for i in order], dtype="S7")
        file["df/block1_values"], file["df/block1_items"] = t.label[:, None], np.array(["label"], dtype="S5")
    jets = values.reshape(N * 2, 7)
    return {
        "px": jets[:, 0],
        "py": jets[:, 1],
        "pz": jets[:, 2],
        "energy": np.sqrt((jets[:, :4] ** 2).sum(axis=1)),
        "tau1": jets[:, 4],
        "tau3": jets[:, 6],
        "labels": {"label": t.label},
        "counts": np.full(N, 2),
    }


FORMATS: dict[str, tuple[str, Callable[[Path, Truth], dict]]] = {
    "jetclass": ("x.root", jetclass),
    "landscape": ("x.h5", landscape),
    "energyflow": ("x.npz", energyflow),
    "lhco": ("x.h5", lhco),
    "omnilearned": ("x.h5", omnilearned),
    "store": ("x.parquet", store),
    "pfnano": ("x.root", pfnano),
    "jetnet": ("x.hdf5", jetnet),
    "atlas_ftag": ("x.h5", atlas_ftag),
    "lhco_features": ("x.h5", lhco_features),
}
