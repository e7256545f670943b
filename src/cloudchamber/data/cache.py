"""Training cache: the training sets of stores as raw memory-mapped arrays, split by split. May be deleted at any time."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from cloudchamber.data.identity import SPLITS, split_of
from cloudchamber.data.store import Store
from cloudchamber.data.training_set import Part, TrainingSet, record_type
from cloudchamber.events import Cloud, Schema
from cloudchamber.run import file_hash, write_json

CACHE_VERSION = 2


def cached(stores: Sequence[Store], max_particles: int) -> TrainingSet:
    """The training set of some stores, memory-mapped: all training events first, then validation, then test.

    Each store is written once per content under CLOUDCHAMBER_CACHE, or `cloudchamber` in the user's cache folder.
    Raises BadInput if the stores have no events.
    """
    parts = [part for store in stores for part in _parts(_folder(store, max_particles))]
    return TrainingSet([p for split in SPLITS for p in parts if p.split == split])


def _folder(store: Store, max_particles: int) -> Path:
    root = Path(os.environ.get("CLOUDCHAMBER_CACHE") or Path.home() / ".cache" / "cloudchamber")
    key = f"{CACHE_VERSION} {max_particles} {file_hash(store.path)}"
    folder = root / hashlib.sha256(key.encode()).hexdigest()[:24]
    if not (folder / "set.json").is_file():
        with suppress(FileExistsError):  # another process was faster with the same content
            write(folder, store.iter_shards(), max_particles)
    return folder


def write(folder: Path, clouds: Iterator[Cloud], max_particles: int) -> None:
    """Write the clouds of a store as the parts of its splits; one cloud is in memory at a time.

    The folder appears whole or not at all.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        write_json(temporary / "set.json", _append_all(temporary, clouds, max_particles))
        try:
            temporary.rename(folder)
        except OSError as error:
            raise FileExistsError(folder) if (folder / "set.json").is_file() else error from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _append_all(folder: Path, clouds: Iterator[Cloud], max_particles: int) -> dict[str, Any]:
    events, particles = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    last: Part | None = None
    with ExitStack() as stack:
        streams = {
            (split, kind): stack.enter_context((folder / f"{split}.{kind}").open("wb"))
            for split in SPLITS
            for kind in ("particles", "events")
        }
        for cloud in clouds:
            last = Part.from_cloud(cloud, max_particles)
            fold_N = split_of(last.events_N["event_id"])
            for number, split in enumerate(SPLITS):
                chosen = fold_N == number
                records = last.events_N[chosen]
                rows = np.repeat(chosen, last.events_N["count"])
                records["start"] = particles[split] + np.cumsum(records["count"]) - records["count"]
                _append(streams[split, "particles"], last.particles_TF[rows])
                _append(streams[split, "events"], records)
                events[split] += len(records)
                particles[split] += int(rows.sum())
    assert last is not None, "a store has events"
    return {
        "schema": last.schema.model_dump(mode="json"),
        "particle_names": list(last.particle_names),
        "column_names": list(last.column_names),
        "targets": [last.events_N.dtype[f"target-{i}"].str for i in range(len(last.schema.labels))],
        "events": events,
        "particles": particles,
    }


def _append(stream: BinaryIO, values: np.ndarray[Any, Any]) -> None:
    stream.write(np.ascontiguousarray(values).data)


def _parts(folder: Path) -> list[Part]:
    meta = json.loads((folder / "set.json").read_text())
    schema = Schema.model_validate(meta["schema"])
    records = record_type(len(meta["column_names"]), [np.dtype(t) for t in meta["targets"]])
    columns = len(meta["particle_names"]) + len(schema.particle_labels)
    parts = []
    for split in SPLITS:
        n, particles = meta["events"][split], meta["particles"][split]
        if n:
            particles_TF = _mapped(folder / f"{split}.particles", np.dtype("<f4"), (particles, columns))
            events_N = _mapped(folder / f"{split}.events", records, (n,))
            names = (tuple(meta["particle_names"]), tuple(meta["column_names"]))
            parts.append(Part(schema, *names, particles_TF, events_N, split, f"{folder.name} {split}"))
    return parts


def _mapped(path: Path, kind: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    if 0 in shape:
        return np.empty(shape, kind)
    # The same pages as a plain array, whose slicing is several times faster than that of a memmap.
    return np.asarray(np.memmap(path, dtype=kind, mode="r", shape=shape))
