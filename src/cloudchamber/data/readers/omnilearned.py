"""OmniLearned: jets as particles relative to an unknown jet axis, as HDF5."""

# N event, P particle slot, F feature

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Events, Reader, class_index, indices_among, need_exactly, standard
from cloudchamber.data.readers.jetclass import CLASSES
from cloudchamber.errors import BadFile, BadInput
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.events.batch import pad
from cloudchamber.events.kinematics import FLAGS, log_unit, momenta, particle_features, pt_eta_phi
from cloudchamber.run import atomic

_CITATION = ("arXiv:2510.24066",)
# Files of the shared pre-training set hold labels in one numbering of 210 classes: data set -> its first label there.
_SHIFTS = {"jetclass": 2, "jetclass2": 12, "aspen": 200, "cms_qcd": 201, "cms_bsm": 202}
_CLASSES: dict[str, tuple[str, ...]] = {
    "jetclass": CLASSES,
    "jetclass2": tuple(f"jetclass2_{i}" for i in range(188)),
    "aspen": ("aspen",),
    "cms_qcd": ("cms_qcd",),
    "cms_bsm": tuple(f"cms_bsm_{i}" for i in range(8)),  # 202 to 209, the last of the 210
}
_DATASET = "OmniLearned"  # what the data sets of this format are called in a schema begins with it
_COLUMNS = ("deta", "dphi", "log_pt", "log_energy", "omnilearned_pid", "d0", "d0_err", "dz", "dz_err")
_MOST_CLASSES = 10_000  # JetClass-II, the data set with the most, has 188
_WIDTHS = (4, 5, 9)  # kinematics; with particle code; with impact parameters
_TRACK = ("d0", "d0_err", "dz", "dz_err")
# Kinds of particles as (flag, sign of the charge), in the order of their PDG codes; code 0 is padding, so they begin at 1.
_KINDS = (
    *(("is_charged_hadron", -1), ("is_muon", 1), ("is_electron", 1), ("is_electron", -1), ("is_muon", -1)),
    *(("is_photon", 0), ("is_neutral_hadron", 0), ("is_charged_hadron", 1)),
)
_JUST_ABOVE_ONE = np.log(np.nextafter(np.float32(1), np.float32(2)))  # of pT [GeV]; its own logarithm 0 means padding
_NEARLY_ONE = np.float32(1 - 2**-24)  # the largest float32 below 1: tanh of 8.7 mm
_PID = Feature(name="omnilearned_pid", kind="integer", description="particle code in the data set's own vocabulary")


def _recognises(container: Container) -> bool:
    return container.kind == "HDF5" and {"data", "pid"} <= set(container.keys) and len(container.shape("data")) == 3


def _read(container: Container, start: int, stop: int) -> Cloud:
    width = container.shape("data")[2]
    if width not in _WIDTHS:
        raise BadFile(
            f"{container.path}: data has {width} features, this reader knows {' (+ '.join(map(str, _WIDTHS))} "
            f"({', '.join(_COLUMNS)}). Name the columns in a card."
        )
    has_global = "global" in container.keys
    columns = container.read(("data", "pid", *(("global",) if has_global else ())), start, stop, "omnilearned")
    data_NPF = np.asarray(columns["data"])
    real = (data_NPF != 0).any(axis=2)  # a particle of pT = 1 GeV has log pT = 0 and stays
    particles = _particles({name: data_NPF[..., i][real] for i, name in enumerate(_COLUMNS[:width])})
    event_columns = _globals(np.asarray(columns["global"])) if has_global else {}
    classes, shift = _numbering(container)
    pid = np.asarray(columns["pid"])
    pid = pid if pid.dtype.kind == "f" else pid.astype(np.int64)
    label = class_index(container, "pid", pid - shift, len(classes), np.arange(start, stop))
    schema = Schema(
        dataset=f"{_DATASET} {_data_set(container.path)}",
        frame="jet",
        features=((_PID,) if width > 4 else ()) + (standard(*_COLUMNS[5:]) if width > 5 else ()),
        columns=tuple(Feature(name=name, description="no name or unit in the file") for name in event_columns),
        labels=(Label(name="pid", classes=classes, description=f"label in the file minus {shift}"),),
        citation=_CITATION,
        notes=(
            "The jet axis is not in the file: momenta are those of massless particles around an axis at eta = 0, phi = 0, "
            "so log E is not used. d0 and dz come from their tanh and end at 8.7 mm. data_pid is not read."
        ),
    )
    return Cloud.from_flat(real.sum(axis=1), particles, {**event_columns, "pid": label}, schema)


def _particles(values: dict[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd log pT becomes infinite, and the border check names it
        pt = np.exp(values["log_pt"].astype(np.float64))
        particles = momenta(pt, values["deta"].astype(np.float64), values["dphi"].astype(np.float64))
    if "omnilearned_pid" in values:
        particles["omnilearned_pid"] = values["omnilearned_pid"]
    for name in ("d0", "dz") if "d0" in values else ():
        tanh, error = values[name], values[f"{name}_err"]
        track = (tanh != 0) | (error != 0)
        particles[name] = np.where(track, np.arctanh(np.clip(tanh, -_NEARLY_ONE, _NEARLY_ONE)), np.nan)
        particles[f"{name}_err"] = np.where(track, error, np.nan)
    return {name: p.astype(np.float32) for name, p in particles.items()}


def _globals(values: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """The event columns by position; the last of them is the multiplicity over 100."""
    return {f"global_{i}": values[:, i] for i in range(values.shape[1])}


def _numbering(container: Container) -> tuple[tuple[str, ...], int]:
    """The classes and the first label of the data set that the file or one of its folders is called after."""
    name = _data_set(container.path)
    if name in _CLASSES:
        return _CLASSES[name], _SHIFTS[name]
    labels = np.asarray(container.read(("pid",), 0, container.rows("pid"), "omnilearned")["pid"])
    last = labels.max(initial=0)
    if not last < _MOST_CLASSES:
        raise BadFile(f"{container.path}: label 'pid' goes up to {last}, expected a class below {_MOST_CLASSES}")
    return tuple(f"{name}_{i}" for i in range(int(last) + 1)), 0


def _data_set(path: Path) -> str:
    """`jetclass` for jetclass/train/x.h5 and for jetclass.h5; the file's own name where no folder is a known data set."""
    parts = path.absolute().parts
    known = [p for p in (path.stem, *reversed(parts[-3:-1])) if p in _SHIFTS]
    if known:
        return known[0]
    return parts[-3] if len(parts) > 2 and parts[-2] in ("train", "val", "test") else path.stem


def _write(events: Events, path: Path) -> None:
    """The layout that OmniLearned's loader reads: data, pid and, if there are columns, global.

    Directions are relative to the sum of the particles; those of events that came from such a file are so already.
    Without omnilearned_pid, charge and flags give the code, 1 to 8. A pT of 1 GeV becomes the next float32 above, and
    impact parameters end at 8.7 mm, where tanh is 1 in float32. Labels get the first number of the data set that the
    file or its folder is called after.
    """
    import h5py

    schema = events.schema
    index = path.parent / "file_index.npy"
    if index.exists():
        raise BadInput(f"{index}: lists the events of this folder without {path.name}; remove it, the loader makes it again")
    own = set(schema.feature_names) & {_PID.name}
    tracks = _TRACK if set(schema.feature_names) & set(_TRACK) else ()
    code = ((_PID.name,) if own else ("charge", *FLAGS)) if tracks or schema.features else ()
    columns = tuple(f"global_{i}" for i in range(len(schema.columns)))
    need_exactly(schema, "omnilearned", (*code, *tracks), columns)
    width = max(int(cloud.counts.max(initial=0)) for cloud in events.clouds())
    with atomic(path) as temporary, h5py.File(temporary, "w") as file:
        data = file.create_dataset("data", (events.count, width, 4 + bool(code) + len(tracks)), np.float32)
        pid = file.create_dataset("pid", (events.count,), np.int64)
        glob = file.create_dataset("global", (events.count, len(columns)), np.float32) if columns else None
        first = 0
        for cloud in events.clouds():
            rows = slice(first, first + len(cloud))
            first += len(cloud)
            starts = np.cumsum(cloud.counts) - cloud.counts
            slots, _ = pad(_slots(cloud, code, tracks), starts, cloud.counts)
            data[rows, : slots.shape[1]] = slots
            pid[rows] = _labels(cloud, path)
            if glob is not None:
                glob[rows] = np.stack([cloud.events[name] for name in columns], axis=1)


def _slots(cloud: Cloud, code: tuple[str, ...], tracks: tuple[str, ...]) -> NDArray[np.float32]:
    """(T, F) the particles' columns as they stand in the file."""
    derived = particle_features(cloud)
    eta, phi, log_pt, log_energy = (derived[n] for n in ("pair_eta", "pair_phi", "log_pt", "log_energy"))
    log_pt, log_energy = (v - np.float32(log_unit(cloud)) for v in (log_pt, log_energy))  # the format is in GeV
    if cloud.schema.dataset.startswith(_DATASET):
        _, eta, phi = pt_eta_phi(*(cloud.flat(n).astype(np.float64) for n in ("px", "py", "pz")))
    values = [eta, phi, np.where(log_pt == 0, _JUST_ABOVE_ONE, log_pt), log_energy]
    if code:
        values.append(cloud.flat(_PID.name) if code == (_PID.name,) else _codes(cloud))
    for name in ("d0", "dz") if tracks else ():
        value, error = cloud.flat(name), cloud.flat(f"{name}_err")
        if (np.isnan(value) != np.isnan(error)).any() or ((value == 0) & (error == 0)).any():
            raise BadInput(f"a particle has {name!r} without its error, or both are 0: OmniLearned files read that as no track")
        values += [np.nan_to_num(np.tanh(value.astype(np.float64))), np.nan_to_num(error)]
    return np.stack(values, axis=1).astype(np.float32)


def _codes(cloud: Cloud) -> NDArray[np.float32]:
    code = np.zeros(int(cloud.counts.sum()), dtype=np.float32)
    sign = np.sign(cloud.flat("charge"))
    for number, (flag, charge) in enumerate(_KINDS, start=1):
        code[(cloud.flat(flag) == 1) & (sign == charge)] = number
    if (code == 0).any():
        raise BadInput("a particle's charge and flags are those of no hadron, photon, electron or muon: it has no code")
    return code


def _labels(cloud: Cloud, path: Path) -> NDArray[np.int64]:
    """The labels in the numbering that the loader expects at this path."""
    name = _data_set(path)
    classes = cloud.schema.label(cloud.schema.resolve("label")).classes
    return indices_among(cloud, _CLASSES.get(name, classes)) + _SHIFTS.get(name, 0)


READER = Reader(
    name="omnilearned",
    description="OmniLearned HDF5 files (data, pid, global)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows("data"),
    read=_read,
    write=_write,
)
