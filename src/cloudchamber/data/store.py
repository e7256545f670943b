"""Store: a folder of Parquet shards and a manifest of their counts, hashes, schema and provenance."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cloudchamber.data.containers.parquet import Parquet
from cloudchamber.data.identity import SPLITS, Split, event_ids, split_of
from cloudchamber.data.shard import read_chosen, read_ids, read_rows, write_shard
from cloudchamber.errors import BadInput, BadSchema, BadStore, nearest
from cloudchamber.events import Cloud, Schema, concatenate
from cloudchamber.recipe import first_problem
from cloudchamber.run import atomic, file_hash, write_json

__all__ = ["SPLITS", "Manifest", "Part", "Split", "Store", "event_ids", "split_of", "write", "write_manifest", "write_part"]

STORE_VERSION = 1
SHARD_EVENTS = 50_000  # bounds the memory of writing: about 100 MB for jets of 50 particles with 20 features


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Document):
    """One Parquet file of a store: events per split, size in bytes, SHA-256."""

    file: str
    rows: int
    splits: dict[str, int]
    bytes: int
    sha256: str


Classes = dict[str, dict[str, dict[str, int]]]


class Part(_Document):
    """What a manifest needs to know of some events: their shard (None without an event), counts and schema."""

    shard: Shard | None
    particles: int
    classes: Classes
    events: Schema


class Manifest(_Document):
    """What a store holds. classes: events per class label, class and split; -1 (unknown) counts as "unknown".

    It has no date and no path, so that equal events make an equal manifest.
    """

    version: int = STORE_VERSION
    rows: int
    particles: int
    splits: dict[str, int]
    classes: Classes
    shards: tuple[Shard, ...]
    events: Schema
    provenance: dict[str, Any]


class Store:
    """A store folder, opened for reading. Use `Store.open`."""

    def __init__(self, path: Path, manifest: Manifest):
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: Path) -> Store:
        """The store at `path`.

        Raises BadStore if there is none, or if a shard that the manifest names is missing or has another size.
        """
        path = Path(path)
        try:
            manifest = Manifest.model_validate_json((path / "manifest.json").read_bytes())
        except OSError as error:
            raise BadStore(f"{path}: is not a store (no manifest.json can be read there: {error.strerror})") from error
        except ValidationError as error:
            problem = first_problem(error, Manifest, Shard, Schema)
            raise BadStore(f"{path / 'manifest.json'}: {problem}. Write the store again.") from error
        if manifest.version != STORE_VERSION:
            raise BadStore(f"{path}: store version {manifest.version}, this program reads version {STORE_VERSION}")
        for shard in manifest.shards:
            _check_size(path / shard.file, shard)
        return cls(path, manifest)

    @property
    def schema(self) -> Schema:
        """What the columns mean."""
        return self.manifest.events

    def __len__(self) -> int:
        return self.manifest.rows

    def count(self, split: Split | None = None) -> int:
        """Number of events, of one split or of all."""
        return len(self) if split is None else self.manifest.splits[_known(split)]

    def read(self, split: Split | None = None, limit: int | None = None) -> Cloud:
        """The first `limit` events (all without it) of one split, or of the whole store, in stored order.

        Only the row groups that are needed are read. Events keep the order of writing: a store written class by
        class begins with one class.
        """
        clouds = list(self._clouds(split, limit))
        return concatenate(clouds) if clouds else self.read_rows(0, 0)

    def read_rows(self, start: int, stop: int) -> Cloud:
        """Events start to stop in stored order, whatever their split."""
        clouds: list[Cloud] = []
        first = 0
        for shard in self.manifest.shards:
            a, b = max(start - first, 0), min(stop - first, shard.rows)
            if a < b or (not clouds and shard is self.manifest.shards[-1]):
                with Parquet(self.path / shard.file) as file:
                    clouds.append(read_rows(file, a, max(a, b), self.schema))
            first += shard.rows
        return concatenate(clouds)

    def event_ids(self, split: Split | None = None, limit: int | None = None) -> NDArray[np.uint64]:
        """(N,) the ids of the events that `read` gives for the same arguments."""
        parts = []
        for shard in self.manifest.shards:
            with Parquet(self.path / shard.file) as file:
                ids = read_ids(file, 0, shard.rows)
            parts.append(ids[_of_split(ids, split)])
        return np.concatenate(parts)[:limit]

    def iter_shards(self, split: Split | None = None) -> Iterator[Cloud]:
        """The store's events, one shard in memory at a time; shards without an event of the split are passed over."""
        for shard in self.by_shard():
            part = shard.read(split)
            if len(part):
                yield part

    def by_shard(self) -> Iterator[Store]:
        """Every shard as a store of its own."""
        for shard in self.manifest.shards:
            yield Store(self.path, self.manifest.model_copy(update={"shards": (shard,), "rows": shard.rows}))

    def verify(self) -> None:
        """Compare every shard with its SHA-256; BadStore names the first that was altered."""
        for shard in self.manifest.shards:
            if (got := file_hash(self.path / shard.file)) != shard.sha256:
                raise BadStore(
                    f"{self.path / shard.file}: SHA-256 is {got}, the manifest says {shard.sha256}: the file was altered"
                )

    def _clouds(self, split: Split | None, limit: int | None) -> Iterator[Cloud]:
        left = len(self) if limit is None else limit
        if left < 0:
            raise BadInput(f"limit must be at least 0, got {limit}")
        for shard in self.manifest.shards:
            if left == 0 or (split is not None and shard.splits[_known(split)] == 0):
                continue
            with Parquet(self.path / shard.file) as file:
                for cloud in read_chosen(file, lambda ids: _of_split(ids, split), self.schema):
                    yield cloud[:left]
                    left -= min(left, len(cloud))
                    if left == 0:
                        break


def write(
    path: Path,
    clouds: Iterable[Cloud],
    *,
    parents: Iterable[Path] = (),
    provenance: Mapping[str, Any] | None = None,
    shard_events: int = SHARD_EVENTS,
) -> Store:
    """Write a new store from clouds of one schema; memory is bounded by one shard and one cloud.

    parents: the files or runs that the events come from, recorded by name and SHA-256. provenance: anything else
    that JSON can hold (command, seed, card). The store appears at `path` only when it is complete; a failed or
    interrupted write leaves nothing. The same events give the same files.
    Raises BadStore if `path` is there already or no event comes, BadSchema if the schemas differ.
    """
    path = Path(path)
    if path.exists():
        raise BadStore(f"{path}: is there already. Give another name, or remove it yourself.")
    record = {"parents": [{"name": p.name, "sha256": file_hash(p)} for p in map(Path, parents)], **(provenance or {})}
    with _folder(path) as temporary:
        parts = [write_part(temporary, number, cloud) for number, cloud in enumerate(_rechunk(clouds, shard_events))]
        if not parts:
            raise BadStore(f"{path}: no event to write")
        write_manifest(temporary, parts, record)
    return Store.open(path)


def write_part(folder: Path, number: int, cloud: Cloud) -> Part:
    """Write a cloud as the shard of this number, which appears whole or not at all; no shard for a cloud without events."""
    ids = event_ids(cloud)
    splits = split_of(ids)
    classes = _classes(cloud, splits)
    if len(cloud) == 0:
        return Part(shard=None, particles=0, classes=classes, events=cloud.schema)
    file = folder / f"shard-{number:05d}.parquet"
    with atomic(file) as temporary:
        write_shard(temporary, [(cloud, ids)])
    return Part(shard=_shard(file, splits), particles=int(cloud.counts.sum()), classes=classes, events=cloud.schema)


def write_manifest(folder: Path, parts: Iterable[Part], provenance: Mapping[str, Any]) -> None:
    """Write the manifest of a folder whose shards are those of the parts, in their order."""
    parts = list(parts)
    shards = tuple(p.shard for p in parts if p.shard is not None)
    classes: Classes = {}
    for label, rows in ((label, rows) for p in parts for label, rows in p.classes.items()):
        for name, counts in rows.items():
            old = classes.setdefault(label, {}).setdefault(name, dict.fromkeys(SPLITS, 0))
            old.update({split: old[split] + n for split, n in counts.items()})
    manifest = Manifest(
        rows=sum(s.rows for s in shards),
        particles=sum(p.particles for p in parts),
        splits={name: sum(s.splits[name] for s in shards) for name in SPLITS},
        classes=classes,
        shards=shards,
        events=parts[0].events,
        provenance=dict(provenance),
    )
    write_json(folder / "manifest.json", manifest.model_dump(mode="json"))


def _classes(cloud: Cloud, splits: NDArray[np.int8]) -> Classes:
    """Events per class label, class and split; "unknown" only if there are any."""
    table: Classes = {}
    for label in (lb for lb in cloud.schema.labels if lb.classes):
        values, size = cloud.labels[label.name], len(label.classes)
        if len(values) and not (values.min() >= -1 and values.max() < size):
            raise BadSchema(f"label {label.name!r} has values {values.min()} to {values.max()}, expected -1 to {size - 1}")
        cells = np.bincount((values + 1) * len(SPLITS) + splits, minlength=(size + 1) * len(SPLITS)).reshape(size + 1, -1)
        rows = zip(("unknown", *label.classes), cells.tolist(), strict=True)
        table[label.name] = {n: dict(zip(SPLITS, cell, strict=True)) for n, cell in rows if n != "unknown" or any(cell)}
    return table


@contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path`, renamed to it on success and removed on any failure, an interrupt included."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(path)
    except OSError as error:
        raise BadStore(f"{path}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _rechunk(clouds: Iterable[Cloud], size: int) -> Iterator[Cloud]:
    pending: list[Cloud] = []
    for cloud in clouds:
        pending += [cloud] if len(cloud) else []
        while sum(map(len, pending)) >= size:
            whole = concatenate(pending)
            pending = [whole[size:]] if len(whole) > size else []
            yield whole[:size]
    if pending:
        yield concatenate(pending)


def _shard(file: Path, splits: NDArray[np.int8]) -> Shard:
    per_split = np.bincount(splits, minlength=len(SPLITS)).tolist()
    return Shard(
        file=file.name,
        rows=len(splits),
        splits=dict(zip(SPLITS, per_split, strict=True)),
        bytes=file.stat().st_size,
        sha256=file_hash(file),
    )


def _check_size(file: Path, shard: Shard) -> None:
    if not file.is_file():
        raise BadStore(f"{file}: the manifest names this shard, but it is not there")
    if (got := file.stat().st_size) != shard.bytes:
        raise BadStore(f"{file}: has {got:,} bytes, the manifest says {shard.bytes:,}: the copy is incomplete or altered")


def _known(split: Split) -> Split:
    if split not in SPLITS:
        raise BadInput(f"no split is called {split!r}. Nearest: {nearest(split, SPLITS)}.")
    return split


def _of_split(ids: NDArray[np.uint64], split: Split | None) -> NDArray[np.bool_]:
    if split is None:
        return np.ones(len(ids), dtype=np.bool_)
    return np.asarray(split_of(ids) == SPLITS.index(_known(split)))
