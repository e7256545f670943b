"""LHC Olympics, high-level files: the two leading jets of an event as its particles, as a pandas frame in HDF5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.containers import Container
from cloudchamber.data.containers.hdf5 import Hdf5
from cloudchamber.data.reader import Reader, class_index
from cloudchamber.errors import BadFile
from cloudchamber.events import Cloud, Feature, Label, Schema

_CITATION = ("arXiv:2101.08320", "doi:10.5281/zenodo.4536377")  # G. Kasieczka et al.
_JET = ("px", "py", "pz", "m", "tau1", "tau2", "tau3")
_ORDER = (*(f"{n}j{jet}" for jet in (1, 2) for n in _JET), "label")  # of the columns, as the data set's page lists them
_TABLE = "df/table/values_block_0"


def _schema(labelled: bool) -> Schema:
    return Schema(
        dataset="LHC Olympics jets",
        frame="collider",
        features=tuple(Feature(name=f"tau{i}", description=f"{i}-subjettiness") for i in (1, 2, 3)),
        labels=(Label(name="label", classes=("background", "signal")),) if labelled else (),
        simulated=True,
        licence="CC-BY-4.0",
        citation=_CITATION,
        notes="Particles are jets: the two of highest pT in an event. tau1 to tau3 as in the file.",
    )


def _places(container: Container) -> dict[str, tuple[str, int]]:
    """Dataset and column in it of every quantity; empty if this is another file.

    A frame in pandas' fixed layout lists its column names; a table keeps them pickled, and has to have the known order.
    """
    if not isinstance(container, Hdf5):
        return {}
    found: dict[str, tuple[str, int]] = {}
    for key in container.keys:
        if key.startswith("df/block") and key.endswith("_values"):
            found |= {name: (key, i) for i, name in enumerate(container.text(key.replace("_values", "_items")))}
    if _TABLE in container.keys and container.shape(_TABLE)[1:] in ((len(_ORDER),), (len(_ORDER) - 1,)):
        found = {name: (_TABLE, i) for i, name in enumerate(_ORDER[: container.shape(_TABLE)[1]])}
        if "df/table/values_block_1" in container.keys:
            found["label"] = ("df/table/values_block_1", 0)
    return found if set(_ORDER[:-1]) <= set(found) else {}


def _read(container: Container, start: int, stop: int) -> Cloud:
    places = {name: place for name, place in _places(container).items() if name in _ORDER}
    datasets = container.read(dict.fromkeys(key for key, _ in places.values()), start, stop, "lhco_features")
    values: dict[str, NDArray[np.float64]] = {}
    for name, (key, at) in places.items():
        block = np.asarray(datasets[key])
        if block.ndim != 2 or at >= block.shape[1]:
            raise BadFile(f"{container.path}: {key!r} has shape {block.shape}, expected a column {at} for {name!r}")
        values[name] = block[:, at].astype(np.float64)
    jets = {n: np.stack([values[f"{n}j1"], values[f"{n}j2"]], axis=1).reshape(-1) for n in _JET}
    energy = np.sqrt(jets["px"] ** 2 + jets["py"] ** 2 + jets["pz"] ** 2 + jets["m"] ** 2)
    particles = {**{n: v for n, v in jets.items() if n != "m"}, "energy": energy}
    labelled = "label" in values
    events = {"label": class_index(container, "label", values["label"], 2, np.arange(start, stop))} if labelled else {}
    flat = {name: v.astype(np.float32) for name, v in particles.items()}
    return Cloud.from_flat(np.full(stop - start, 2), flat, events, _schema(labelled))


READER = Reader(
    name="lhco_features",
    description="LHC Olympics high-level HDF5 files (pandas frame `df`: pxj1, pyj1, pzj1, mj1, tau1j1 ... label)",
    citation=_CITATION,
    recognises=lambda container: bool(_places(container)),
    count=lambda container: container.rows(_places(container)["pxj1"][0]),
    read=_read,
)
