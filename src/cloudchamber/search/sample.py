"""Sample: events as a search sees them, frozen features and what is known beside them; Bank: signals that one can name."""

# N event, F feature, S signal of the bank, P parameter of a signal

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cloudchamber.errors import BadFile, BadInput, MissingColumn, nearest

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """Events with frozen features; checked when made, BadInput if anything is inconsistent.

    features_NF: (N, F) finite numbers, an embedding or named columns. mass_N: the variable in which a signal would peak
    [GeV]. weight_N: 1 for recorded events. event_id_N: as in the score table. label_N: 1 for a known signal, 0 for known
    background; for studies, no method reads it.
    """

    features_NF: FloatArray
    mass_N: FloatArray | None = None
    weight_N: FloatArray | None = None
    event_id_N: NDArray[np.uint64] | None = None
    label_N: NDArray[np.int64] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.features_NF.ndim != 2 or 0 in self.features_NF.shape:
            raise BadInput(f"a sample needs events with features, (N, F); got the shape {self.features_NF.shape}")
        for name in ("features_NF", "mass_N", "weight_N"):
            values = getattr(self, name)
            if values is not None and not np.isfinite(values).all():
                raise BadInput(f"a sample's {name} holds values that are not finite")
        for name in ("mass_N", "weight_N", "event_id_N", "label_N"):
            values = getattr(self, name)
            if values is not None and values.shape != (len(self),):
                raise BadInput(f"a sample of {len(self)} events has {name} of shape {values.shape}")

    def __len__(self) -> int:
        return len(self.features_NF)

    @property
    def weights_N(self) -> FloatArray:
        """(N,) the weights, 1 where none were given."""
        return np.ones(len(self)) if self.weight_N is None else self.weight_N

    def where(self, keep: NDArray[Any]) -> Sample:
        """Some of the events: a mask or row numbers."""
        rows: dict[str, Any] = {n: None if (v := getattr(self, n)) is None else v[keep] for n in _COLUMNS}
        return Sample(**rows, names=self.names)

    @classmethod
    def read(
        cls, path: Path, features: Sequence[str] = ("embedding",), mass: str | None = None, label: str | None = None
    ) -> Sample:
        """Events of a score table, or of any Parquet file with such columns.

        features: columns of numbers or of lists of one length, side by side. Raises MissingColumn, and BadFile if the
        file is no Parquet or its lists differ in length.
        """
        try:
            table = pq.read_table(path)
        except (OSError, ValueError) as error:
            raise BadFile(f"{path}: cannot be read as Parquet ({error})") from error
        wanted = [*features, *(n for n in (mass, label) if n is not None)]
        for name in wanted:
            if name not in table.column_names:
                raise MissingColumn(f"{path}: no column {name!r}. Nearest: {nearest(name, table.column_names)}.")
        has = set(table.column_names)
        return cls(
            features_NF=np.concatenate([_matrix(path, name, table[name]) for name in features], axis=1),
            mass_N=None if mass is None else table[mass].to_numpy().astype(np.float64),
            weight_N=table["weight"].to_numpy().astype(np.float64) if "weight" in has else None,
            event_id_N=table["event_id"].to_numpy().astype(np.uint64) if "event_id" in has else None,
            label_N=None if label is None else table[label].to_numpy().astype(np.int64),
            names=tuple(features),
        )


@dataclass(frozen=True)
class Bank:
    """Signals that one can simulate: the events of all of them, and which signal each event is of.

    signal_N: (N,) index into `names`. prior_S: how likely each signal is thought to be; equal without. theta_SP: the
    parameters of each signal, for methods that interpolate between signals.
    """

    sample: Sample
    signal_N: NDArray[np.int64]
    names: tuple[str, ...]
    prior_S: FloatArray = field(default_factory=lambda: np.empty(0))
    theta_SP: FloatArray | None = None

    def __post_init__(self) -> None:
        if len(self.prior_S) == 0:
            object.__setattr__(self, "prior_S", np.full(len(self.names), 1 / max(len(self.names), 1)))
        counts = np.bincount(self.signal_N, minlength=len(self.names))
        if len(counts) != len(self.names) or len(self.signal_N) != len(self.sample):
            raise BadInput(
                f"a bank of {len(self.names)} signals has events of signal {len(counts) - 1}, or not one signal each"
            )
        if (counts < 2).any():
            raise BadInput(f"the signal {self.names[int(counts.argmin())]!r} of the bank has fewer than two events")
        if len(self.prior_S) != len(self.names) or (self.prior_S < 0).any() or not np.isclose(self.prior_S.sum(), 1):
            raise BadInput("the prior of a bank is one probability for each signal, which sum to 1")

    def of(self, index: int) -> Sample:
        """The events of one signal."""
        return self.sample.where(self.signal_N == index)


def concatenate(samples: Sequence[Sample]) -> Sample:
    """The events of several samples, one after the other; what not all of them know is left out, weights excepted."""
    if len({s.features_NF.shape[1] for s in samples}) != 1:
        raise BadInput(f"samples with different features: {[s.features_NF.shape[1] for s in samples]} columns")
    rows: dict[str, Any] = {}
    for name in _COLUMNS:
        parts = [s.weights_N if name == "weight_N" else getattr(s, name) for s in samples]
        rows[name] = np.concatenate(parts) if all(p is not None for p in parts) else None
    return Sample(**rows, names=samples[0].names)


_COLUMNS = ("features_NF", "mass_N", "weight_N", "event_id_N", "label_N")


def _matrix(path: Path, name: str, column: Any) -> FloatArray:
    """A column of numbers (N, 1), or of lists of one length (N, length)."""
    values = column.combine_chunks()
    if not hasattr(values, "flatten") or not str(values.type).startswith(("list", "large_list", "fixed_size_list")):
        return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)[:, None]
    flat = np.asarray(values.flatten().to_numpy(zero_copy_only=False), dtype=np.float64)
    lengths = np.unique(np.asarray(values.value_lengths().to_numpy(zero_copy_only=False)))
    if len(lengths) != 1:
        raise BadFile(f"{path}: the lists of column {name!r} differ in length ({lengths.min()} to {lengths.max()})")
    return flat.reshape(len(values), int(lengths[0]))
