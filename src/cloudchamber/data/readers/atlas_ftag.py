"""ATLAS flavour tagging: jets as clouds of their tracks, as HDF5 with structured arrays `jets` and `tracks`."""

# N jet, M track slot

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Reader, class_index, standard
from cloudchamber.errors import BadFile
from cloudchamber.events import Cloud, Feature, Label, Schema
from cloudchamber.events.kinematics import momenta

# Fields of https://github.com/umami-hep/atlas-ftag-tools and of the training-dataset dumper that writes the files.
_CITATION = ("https://github.com/umami-hep/atlas-ftag-tools",)
_TRACK = ("valid", "qOverP", "deta", "dphi", "d0", "z0SinTheta")
_OPTIONAL = {"IP3D_signed_d0_significance": "d0_significance", "IP3D_signed_z0_significance": "z0_significance"}
_CONE, _INDEX = "HadronConeExclTruthLabelID", "flavour_label"
_FLAVOURS = {0: "light", 4: "charm", 5: "bottom", 15: "tau"}
_PER_MEV = 1e3  # 1/GeV


def _schema(optional: tuple[str, ...], label: Label | None) -> Schema:
    signed = "signed by the jet's direction: above 0 where the track crosses the axis in front of the vertex"
    return Schema(
        dataset="ATLAS flavour tagging",
        frame="jet",
        features=(
            *standard("charge", "d0"),
            Feature(name="z0_sin_theta", unit="mm", description="longitudinal impact parameter times the track's sin(theta)"),
            *(Feature(name=_OPTIONAL[n], description=signed) for n in optional),
        ),
        columns=(Feature(name="jet_pt", unit="GeV"), Feature(name="jet_eta")),
        labels=(label,) if label else (),
        simulated=True if label else None,
        citation=_CITATION,
        notes=(
            "Particles are the jet's tracks, massless: p = 1 / |qOverP|, eta = jet eta + deta, phi = dphi, so the jet lies at "
            "phi = 0. deta and dphi are track minus jet, without a sign of the jet's eta. d0 has the sign of the track fit."
        ),
    )


def _recognises(container: Container) -> bool:
    wanted = {f"tracks/{n}" for n in _TRACK} | {"jets/pt", "jets/eta"}
    return container.kind == "HDF5" and wanted <= set(container.keys)


def _read(container: Container, start: int, stop: int) -> Cloud:
    optional = tuple(n for n in _OPTIONAL if f"tracks/{n}" in container.keys)
    label = next((n for n in (_CONE, _INDEX) if f"jets/{n}" in container.keys), None)
    keys = [f"tracks/{n}" for n in (*_TRACK, *optional)] + ["jets/pt", "jets/eta"] + ([f"jets/{label}"] if label else [])
    columns = {key: np.asarray(c) for key, c in container.read(keys, start, stop, "atlas_ftag").items()}
    real = columns["tracks/valid"].astype(bool)
    if real.ndim != 2:
        raise BadFile(f"{container.path}: dataset 'tracks' has shape {real.shape}, expected jets x tracks")
    tracks = {n: columns[f"tracks/{n}"][real].astype(np.float64) for n in (*_TRACK, *optional)}
    jet_eta = np.repeat(columns["jets/eta"].astype(np.float64), real.sum(axis=1))
    eta = jet_eta + tracks["deta"]
    with np.errstate(
        over="ignore", invalid="ignore", divide="ignore"
    ):  # qOverP = 0 becomes infinite: the border check names it
        particles = momenta(1 / np.abs(tracks["qOverP"] * _PER_MEV) / np.cosh(eta), eta, tracks["dphi"])
    particles |= {"charge": np.sign(tracks["qOverP"]), "d0": tracks["d0"], "z0_sin_theta": tracks["z0SinTheta"]}
    particles |= {_OPTIONAL[n]: tracks[n] for n in optional}
    events: dict[str, NDArray[Any]] = {"jet_pt": columns["jets/pt"] / _PER_MEV, "jet_eta": columns["jets/eta"]}
    described = None
    if label:
        described, events[label] = _label(container, label, columns[f"jets/{label}"], np.arange(start, stop))
    flat = {name: values.astype(np.float32) for name, values in particles.items()}
    return Cloud.from_flat(real.sum(axis=1), flat, events, _schema(optional, described))


def _label(container: Container, name: str, values: NDArray[Any], events: NDArray[Any]) -> tuple[Label, NDArray[np.int64]]:
    """The hadron in the jet's cone, -1 for a code without a name; or an index whose classes only the maker knows."""
    if name == _CONE:
        codes = np.array(list(_FLAVOURS))
        index = np.where(np.isin(values, codes), np.searchsorted(codes, values), -1)
        return Label(name=name, classes=tuple(_FLAVOURS.values())), index.astype(np.int64)
    everything = np.asarray(container.read((f"jets/{name}",), 0, container.rows(f"jets/{name}"), "atlas_ftag")[f"jets/{name}"])
    classes = tuple(f"flavour_{i}" for i in range(int(everything.max(initial=0)) + 1))
    return Label(name=name, classes=classes), class_index(container, f"jets/{name}", values, len(classes), events)


READER = Reader(
    name="atlas_ftag",
    description="ATLAS flavour-tagging HDF5 files (structured arrays `jets` and `tracks` with `valid`)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows("jets/pt"),
    read=_read,
    sources={"energy": "tracks/qOverP", "d0": "tracks/d0", "z0_sin_theta": "tracks/z0SinTheta", "jet_pt": "jets/pt"},
)
