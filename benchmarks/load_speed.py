"""Loading speed against OmniLearned's and weaver's loaders: shuffled jets as the same padded batches.

    python benchmarks/load_speed.py

Ours reads its memory-mapped training cache; OmniLearned's an uncompressed HDF5 file in its own layout, with no worker and
with two; weaver's a Parquet file of lists, with no worker, as it comes (a hundredth of the file at a time, read by a thread)
and all at once. All hand out torch tensors of 64 jets padded to the width of the longest. Warm page cache for all.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

import jets as sample
import peers
import record
import timing
from cloudchamber.data.cache import cached
from cloudchamber.data.loader import make_batch
from cloudchamber.data.order import Shuffle
from cloudchamber.data.store import Store
from cloudchamber.data.store import write as write_store
from cloudchamber.data.training_set import TrainingSet
from inputs import pet2_columns

TARGETS = {"omnilearned_0_workers": 300.0, "weaver": 10.0}
BATCH = 64
SEED = 0
_OURS_EPOCHS = 20  # per repetition: a single one is over too soon to be timed
COLUMNS = ("deta", "dphi", "log_pt", "log_energy", "kind", "d0", "d0_err", "dz", "dz_err")  # those of OmniLearned's file


def main() -> None:
    parser = record.arguments(__doc__)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--jets", type=int, default=20_000)
    args = parser.parse_args()
    timing.settle(args.threads)
    torch.set_num_threads(args.threads)
    n, repetitions = (256, 2) if args.tiny else (args.jets, args.repetitions)
    jets = sample.Jets.of(sample.toy(n, seed=SEED))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        width = write_omnilearned(folder, jets)
        write_weaver(folder, jets, width)
        data = our_cache(folder, jets)
        theirs = {f"omnilearned_{w}_workers": _epoch(partial(omnilearned, folder, w)) for w in (0, 2)}
        theirs |= {"weaver": _epoch(partial(weaver, folder, 0.01)), "weaver_whole_file": _epoch(partial(weaver, folder, 1))}
        mine = _epoch(partial(ours, data, width), _OURS_EPOCHS)
        _check_same_jets(ours(data, width), omnilearned(folder, 0))
        _check_same_jets(ours(data, width), weaver(folder, 1))
        rates = timing.interleaved({"ours": mine, **theirs}, repetitions)
    figures = {f"jets_per_second_{name}": record.median(r, "jets/s") for name, r in rates.items()}
    figures |= {f"ratio_to_{name}": record.median(timing.ratios(rates["ours"], rates[name])) for name in theirs}
    settings = {
        "jets": jets.describe(),
        "batch": BATCH,
        "width": width,
        "repetitions": repetitions,
        "ours_epochs": _OURS_EPOCHS,
    }
    targets = [record.Target(f"ratio_to_{name}", ">=", bound) for name, bound in TARGETS.items()]
    path = record.write(
        "load_speed",
        figures,
        targets,
        settings={
            **settings,
            "particle_columns": {"ours": len(data.particle_names), "peers": len(COLUMNS)},
            "environment": timing.ENVIRONMENT,
        },
        seeds=[SEED],
        tiny=args.tiny,
        folder=args.output,
    )
    record.show(path)


def write_omnilearned(folder: Path, jets: sample.Jets) -> int:
    """The jets as an uncompressed file in OmniLearned's layout; returns its width, the longest jet."""
    counts, width = jets.counts_N, int(jets.counts_N.max())
    data_NPF = np.zeros((len(jets), width, 9), dtype=np.float32)
    data_NPF[np.arange(width) < counts[:, None]] = pet2_columns(jets)
    place = folder / "custom" / "train"
    place.mkdir(parents=True)
    with h5py.File(place / "jets.h5", "w") as file:
        file["data"], file["pid"] = data_NPF, jets.label_N
    with h5py.File(place / "jets.h5") as file:  # its first call only builds the list of jets
        np.save(place / "file_index.npy", np.array([(0, i) for i in range(len(file["data"]))], dtype=np.int32))
    return width


def omnilearned(folder: Path, workers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of its own loader: kinematics (B, P, 4) and class (B,)."""
    from omnilearned.dataloader import load_data

    loader = load_data(
        "custom",
        str(folder),
        batch=BATCH,
        dataset_type="train",
        use_pid=True,
        pid_idx=peers.PET2_KINEMATICS,
        use_add=True,
        num_add=peers.PET2_ADDED,
        num_workers=workers,
        shuffle=True,
    )
    for batch in loader:
        yield batch["X"], batch["y"]


def write_weaver(folder: Path, jets: sample.Jets, width: int) -> None:
    """The same columns as a Parquet file of lists, and the card that weaver reads it with."""
    offsets, columns = jets.offsets_N.astype(np.int32), pet2_columns(jets)
    table = {n: pa.ListArray.from_arrays(pa.array(offsets), pa.array(columns[:, i])) for i, n in enumerate(COLUMNS)}
    pq.write_table(pa.table({**table, "label": pa.array(jets.label_N)}), folder / "jets.parquet")
    lines = [f"      - [{n}, null]" for n in COLUMNS]
    card = ["inputs:", "  particles:", f"    length: {width}", "    vars:", *lines, "labels:", "  type: custom"]
    (folder / "card.yaml").write_text("\n".join([*card, "  value:", "    jet_class: label", ""]))


def weaver(folder: Path, fetch_step: float) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of its own loader; fetch_step: the share of the file that it reads at a time (its default is 0.01)."""
    from torch.utils.data import DataLoader
    from weaver.utils.dataset import SimpleIterDataset

    files, card = {"_": [str(folder / "jets.parquet")]}, str(folder / "card.yaml")
    events = SimpleIterDataset(files, card, batch_size=BATCH, load_range_and_fraction=((0, 1), 1, 1), fetch_step=fetch_step)
    for inputs, labels, _ in DataLoader(events, batch_size=BATCH):
        yield inputs["particles"].transpose(1, 2), labels["jet_class"]


def our_cache(folder: Path, jets: sample.Jets) -> TrainingSet:
    """Our training set of the jets, memory-mapped."""
    write_store(folder / "store", [jets.cloud])
    os.environ["CLOUDCHAMBER_CACHE"] = str(folder / "cache")
    return cached([Store.open(folder / "store")], 128)


def ours(data: TrainingSet, width: int, seed: int = SEED) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of our loader, every batch padded to `width`: all particle columns (B, P, F) and class (B,)."""
    shuffle = Shuffle(len(data), seed)
    for start in range(0, len(data), BATCH):
        batch = make_batch(data, shuffle.at(start, min(start + BATCH, len(data))), width)
        yield torch.from_numpy(batch.particles_BPF), torch.from_numpy(batch.targets[sample.LABEL])


def _epoch(make: Callable[[], Iterable[tuple[Tensor, Tensor]]], times: int = 1) -> Callable[[int], int]:
    def work(_: int) -> int:
        return sum(len(x) for _ in range(times) for x, _ in make())

    return work


def _check_same_jets(first: Iterator[tuple[Tensor, Tensor]], second: Iterator[tuple[Tensor, Tensor]]) -> None:
    """AssertionError unless both give every jet once, with the same first three columns, padding, and class."""
    mine, theirs = _content(first), _content(second)
    assert mine.shape == theirs.shape
    assert np.allclose(mine, theirs, rtol=1e-5, atol=1e-4), "the two loaders give different jets"


def _content(batches: Iterator[tuple[Tensor, Tensor]]) -> NDArray[np.float64]:
    """(N, ...) class, width and per-column sums of each jet, in an order that depends on the content alone."""
    rows = [
        np.column_stack([y.numpy(), np.full(len(x), x.shape[1]), x[..., :3].double().sum(1).numpy(), (x[..., 2] != 0).sum(1)])
        for x, y in batches
    ]
    content = np.concatenate(rows)
    return content[np.lexsort(content.T[[2, 3, 4]])]


if __name__ == "__main__":
    main()
