"""Shards: a checkpoint that every process writes its part of, by torch.distributed.checkpoint.

That format keeps its table of contents as a pickle. Only the classes of such a table are built from it, nothing is run.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint import state_dict_loader, state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta

from cloudchamber.errors import BadRun
from cloudchamber.run import write_json

_CONTENTS = ".metadata"
_METADATA = "torch.distributed.checkpoint.metadata"
_ALLOWED = {
    *((_METADATA, name) for name in ("Metadata", "TensorStorageMetadata", "TensorProperties", "ChunkStorageMetadata")),
    *((_METADATA, name) for name in ("MetadataIndex", "StorageMeta", "_MEM_FORMAT_ENCODING")),
    *(("torch", name) for name in ("Size", "float32", "int64", "float64", "bfloat16", "float16")),
    *((module, "PosixPath") for module in ("pathlib", "pathlib._local")),  # of Python 3.13
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("collections", "OrderedDict"),
}


def write(index: Path, tensors: Mapping[str, Tensor], step: int, note: Mapping[str, str]) -> None:
    """Write the tensors, of which each process holds a shard; all call it. The index is replaced when they are there."""
    name = f"shards-{step}"
    state_dict_saver.save(dict(tensors), storage_writer=FileSystemWriter(index.parent / name))
    if dist.get_rank() == 0:
        write_json(index, {**note, "folder": name})
        for old in index.parent.glob("shards-*"):
            if old.name != name:
                shutil.rmtree(old)


def read(index: Path, like: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """This process's shards of what was written, and the note. like: by name, tensors that are sharded as wanted.

    What is not in the checkpoint is left out. Raises BadRun if it is damaged or holds more than tensors.
    """
    try:
        note = json.loads(index.read_text())
        reader = _Reader(index.parent / Path(note["folder"]).name)
        tensors = {n: torch.zeros_like(like[n]) for n in reader.read_metadata().state_dict_metadata if n in like}
        state_dict_loader.load(tensors, storage_reader=reader)
    except (OSError, KeyError, ValueError, EOFError, pickle.UnpicklingError, CheckpointException) as error:
        raise BadRun(f"{index}: checkpoint cannot be read ({error})") from error
    return tensors, note


class _Contents(pickle.Unpickler):
    """Reads the table of contents; anything in it that is not one is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} has no place in a table of tensors")
        return super().find_class(module, name)


class _Reader(FileSystemReader):
    def read_metadata(self, *_: Any, **__: Any) -> Metadata:
        with (Path(self.path) / _CONTENTS).open("rb") as stream:
            contents: Metadata = _Contents(stream).load()
        contents.storage_meta = contents.storage_meta or StorageMeta()
        contents.storage_meta.load_id = self.load_id
        return contents
