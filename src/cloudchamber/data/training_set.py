"""Training set: events as flat float32 columns with offsets, in memory or memory-mapped from a cache folder."""

# N event, T particle of any event, F particle column, G event column

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.store import Store, event_ids
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Schema
from cloudchamber.events.kinematics import event_features, leading, particle_features
from cloudchamber.run import file_hash

CACHE_VERSION = 1
_ARRAYS = ("particles_TF", "counts_N", "columns_NG", "weight_N", "event_id_N")


@dataclass(frozen=True)
class TrainingSet:
    """What a model reads, for every event at once.

    particles_TF: float32 (T, F), columns `particle_names`, first kinematics.GEOMETRY. offsets_N: int64 (N + 1,).
    columns_NG: float32 (N, G), columns `column_names`. weight_N: float32, as in the file. event_id_N: uint64.
    targets: (N,) per label of the schema.
    """

    schema: Schema
    particle_names: tuple[str, ...]
    column_names: tuple[str, ...]
    particles_TF: NDArray[np.float32]
    offsets_N: NDArray[np.int64]
    columns_NG: NDArray[np.float32]
    weight_N: NDArray[np.float32]
    event_id_N: NDArray[np.uint64]
    targets: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.offsets_N) - 1

    @property
    def counts_N(self) -> NDArray[np.int64]:
        """(N,) particles per event."""
        return np.diff(self.offsets_N)

    @classmethod
    def from_cloud(cls, cloud: Cloud, max_particles: int = 128) -> TrainingSet:
        """The training set of a cloud, in memory; each event keeps its `max_particles` leading particles.

        Derived features are those of the whole event: the cut removes tokens, it does not move the axis.
        Raises BadInput for a cloud without events.
        """
        if len(cloud) == 0:
            raise BadInput(f"{cloud.schema.dataset!r} has no events")
        features = particle_features(cloud)
        extra = Schema.model_validate({**cloud.schema.model_dump(), "features": [{"name": n} for n in features]})
        everything = {"px": cloud.flat("px"), "py": cloud.flat("py"), "pz": cloud.flat("pz"), "energy": cloud.flat("energy")}
        kept = leading(Cloud.from_flat(cloud.counts, everything | features, cloud.events, extra), max_particles)
        columns = event_features(cloud)
        return cls(
            schema=cloud.schema,
            particle_names=tuple(features),
            column_names=tuple(columns),
            particles_TF=np.stack([kept.flat(n) for n in features], axis=1),
            offsets_N=np.concatenate([[0], np.cumsum(kept.counts)]),
            columns_NG=np.stack(list(columns.values()), axis=1),
            weight_N=cloud.weights.astype(np.float32),
            event_id_N=event_ids(cloud),
            targets={name: cloud.events[name] for name in cloud.schema.label_names},
        )

    @classmethod
    def open(cls, folder: Path) -> TrainingSet:
        """A training set written by `write`; the particles stay on disk until they are read."""
        meta = json.loads((folder / "set.json").read_text())
        schema = Schema.model_validate(meta["schema"])
        targets = {n: _open_array(folder, f"target-{i}", meta["arrays"]) for i, n in enumerate(schema.label_names)}
        arrays = {name: _open_array(folder, name, meta["arrays"]) for name in _ARRAYS}
        counts = np.asarray(arrays.pop("counts_N"))
        return cls(
            schema,
            tuple(meta["particle_names"]),
            tuple(meta["column_names"]),
            targets=targets,
            offsets_N=np.concatenate([[0], np.cumsum(counts)]),
            **arrays,
        )


def write(folder: Path, parts: Iterable[TrainingSet]) -> None:
    """Write training sets, one after the other, as one; only one part is in memory at a time.

    The folder appears whole or not at all. Raises BadInput if the parts have different columns or labels.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        meta = _append_all(temporary, parts)
        (temporary / "set.json").write_text(json.dumps(meta))
        if folder.exists():
            raise FileExistsError(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def cached(stores: Sequence[Store], max_particles: int) -> TrainingSet:
    """The training set of some stores, memory-mapped; built once per content under the user's cache folder.

    The folder is CLOUDCHAMBER_CACHE, or `cloudchamber` in the user's cache; it can be deleted at any time.
    """
    root = Path(os.environ.get("CLOUDCHAMBER_CACHE") or Path.home() / ".cache" / "cloudchamber")
    content = "".join(file_hash(s.path) for s in stores)
    folder = root / hashlib.sha256(f"{CACHE_VERSION} {max_particles} {content}".encode()).hexdigest()[:24]
    if not (folder / "set.json").is_file():
        clouds = (cloud for store in stores for cloud in store.iter_shards())
        with suppress(FileExistsError):  # another process was faster with the same content
            write(folder, (TrainingSet.from_cloud(cloud, max_particles) for cloud in clouds))
    return TrainingSet.open(folder)


def _append_all(folder: Path, parts: Iterable[TrainingSet]) -> dict[str, Any]:
    meta: dict[str, Any] = {}
    arrays: dict[str, dict[str, Any]] = {}
    for part in parts:
        names = {
            "particle_names": list(part.particle_names),
            "column_names": list(part.column_names),
            "labels": [label.model_dump(mode="json") for label in part.schema.labels],
            "frame": part.schema.frame,
            "simulated": part.schema.simulated,
        }
        meta = meta or {**names, "schema": part.schema.model_dump(mode="json"), "notes": []}
        if part.schema.notes not in meta["notes"]:
            meta["notes"].append(part.schema.notes)
        owed = meta["schema"]["citation"]
        meta["schema"]["citation"] = list(dict.fromkeys([*owed, *part.schema.citation]))
        if different := [k for k, v in names.items() if meta[k] != v]:
            raise BadInput(f"{part.schema.dataset!r} has other {different[0]} than the data before it: {names[different[0]]}")
        for name, values in _named_arrays(part).items():
            entry = arrays.setdefault(name, {"dtype": values.dtype.str, "shape": [0, *values.shape[1:]]})
            entry["shape"][0] += len(values)
            with (folder / f"{name}.bin").open("ab") as stream:
                stream.write(np.ascontiguousarray(values).astype(entry["dtype"]).data)
    meta["schema"]["notes"] = " | ".join(meta.pop("notes"))
    return {**meta, "arrays": arrays}


def _named_arrays(part: TrainingSet) -> dict[str, NDArray[Any]]:
    targets = {f"target-{i}": part.targets[n] for i, n in enumerate(part.schema.label_names)}
    return {name: getattr(part, name) for name in _ARRAYS} | targets


def _open_array(folder: Path, name: str, arrays: Mapping[str, Any]) -> NDArray[Any]:
    entry = arrays[name]
    mapped = np.memmap(folder / f"{name}.bin", dtype=np.dtype(entry["dtype"]), mode="r", shape=tuple(entry["shape"]))
    return np.asarray(mapped)  # the same pages; slicing a plain array is several times faster than slicing a memmap
