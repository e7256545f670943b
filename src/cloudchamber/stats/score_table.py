"""Score table: the file (Parquet) where machine learning hands over to statistics. One row per event.

Columns: `event_id` (uint64), `fold` (int8), `weight` (float32), the truth under the target's own name (int64 class
index, -1 unknown; or float, NaN unknown), then `score_<class>` (float32 probabilities) or `pred_<target>` (float32),
the latter with `q<level>_<target>` (float32, such as q0.16_mass) for quantiles; and, if there are any, `spread_<class>` or
`spread_<target>` (float32: how uncertain that score is) and `embedding` (list of float32). The file metadata hold, under
`cloudchamber`, a JSON object {version, target, classes, unit, levels, folds, weights_sha256, run}; folds are the names of
0, 1, 2 and are not read. Further columns are allowed and not read.
"""

# N events, C classes, Q quantiles, E embedding

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cloudchamber.errors import BadFile, BadInput, MissingColumn, UnknownFormat, nearest
from cloudchamber.run import atomic

VERSION = 1
FOLDS = ("train", "val", "test")  # the names of the numbers in `fold`
_KEY = b"cloudchamber"
_RESERVED = ("event_id", "fold", "weight", "embedding")
_SUM_TOLERANCE = 1e-3  # float32 (and float16-trained) softmax outputs sum to 1 far better than this


@dataclass(frozen=True)
class ScoreTable:
    """Scores of events, checked when made; BadInput if anything is inconsistent.

    truth: (N,) class index or number. scores_NC: (N, C) probabilities in the order of `classes`; for a number
    (`classes` empty) (N, 1), the prediction in `unit`. spread_NC: half of the central 68.3 % of what it may be, if that
    is known: of a Gaussian, one standard deviation.
    quantiles_NQ: of the prediction, at the rising `levels`.
    """

    target: str
    classes: tuple[str, ...]
    event_id: NDArray[np.uint64]
    truth: NDArray[Any]
    scores_NC: NDArray[np.float32]
    fold: NDArray[np.int8]
    weight: NDArray[np.float32]
    embedding_NE: NDArray[np.float32] | None = None
    spread_NC: NDArray[np.float32] | None = None
    unit: str = "1"
    weights_sha256: str = ""
    run: str = ""
    levels: tuple[float, ...] = ()
    quantiles_NQ: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        _check(self)

    def __len__(self) -> int:
        return len(self.event_id)

    @property
    def columns(self) -> tuple[tuple[str, ...], ...]:
        """The names in the file of the columns of scores, of quantiles and of spreads."""
        return column_names(self.target, self.classes, self.levels)

    def known(self) -> ScoreTable:
        """The events whose truth is known."""
        return self.where(self.is_known)

    @property
    def is_known(self) -> NDArray[np.bool_]:
        """(N,) whether the truth is known."""
        return np.asarray(self.truth >= 0 if self.classes else np.isfinite(self.truth))

    def require_like(self, other: ScoreTable) -> None:
        """Raise BadInput unless the scores are of the same target and classes as those of another table."""
        own, expected = (f"{t.target!r} ({', '.join(t.classes) or t.unit})" for t in (self, other))
        if own != expected:
            raise BadInput(f"the score tables do not belong together: one has scores of {own}, the other of {expected}")

    def where(self, keep: NDArray[np.bool_]) -> ScoreTable:
        """Some of the events."""
        rows = {n: getattr(self, n)[keep] for n in ("event_id", "truth", "scores_NC", "fold", "weight")}
        rows |= {n: v[keep] for n in ("embedding_NE", "spread_NC", "quantiles_NQ") if (v := getattr(self, n)) is not None}
        return replace(self, **rows)

    def write(self, path: Path) -> None:
        """Write the table as Parquet, atomically."""
        columns: dict[str, Any] = {"event_id": self.event_id, "fold": self.fold, "weight": self.weight, self.target: self.truth}
        blocks = (self.scores_NC, self.quantiles_NQ, self.spread_NC)
        for names, values in zip(self.columns, blocks, strict=True):
            columns |= {} if values is None else dict(zip(names, values.T, strict=True))
        if self.embedding_NE is not None:
            width = self.embedding_NE.shape[1]
            offsets = np.arange(len(self) + 1, dtype=np.int64) * width
            columns["embedding"] = pa.LargeListArray.from_arrays(offsets, np.ravel(self.embedding_NE)).cast(
                pa.list_(pa.float32())
            )
        meta = {n: getattr(self, n) for n in ("target", "classes", "unit", "levels", "weights_sha256", "run")}
        table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps({"version": VERSION, "folds": FOLDS, **meta})})
        with atomic(path) as temporary:
            pq.write_table(table, temporary, compression="zstd")

    @classmethod
    def read(cls, path: Path) -> ScoreTable:
        """Read a table that any program wrote.

        Raises UnknownFormat if the file is no Parquet or has no `cloudchamber` metadata, MissingColumn, and BadFile if
        the values cannot be scores (NaN, probabilities that do not sum to 1, a truth that is no class).
        """
        table, meta = _open(path)
        target, classes = str(meta["target"]), tuple(meta.get("classes") or ())
        levels = tuple(float(level) for level in meta.get("levels") or ())
        scores, quantiles, spreads = column_names(target, classes, levels)

        def block(names: Sequence[str]) -> NDArray[np.float32]:
            return np.stack([_column(path, table, n, np.float32) for n in names], axis=1)

        try:
            return cls(
                target=target,
                classes=classes,
                event_id=_column(path, table, "event_id", np.uint64),
                truth=_column(path, table, target, np.int64 if classes else np.float64),
                scores_NC=block(scores),
                fold=_column(path, table, "fold", np.int8),
                weight=_column(path, table, "weight", np.float32),
                embedding_NE=_list_column(path, table) if "embedding" in table.column_names else None,
                levels=levels,
                quantiles_NQ=block(quantiles) if levels else None,
                spread_NC=block(spreads) if set(spreads) <= set(table.column_names) else None,
                **{n: str(meta.get(n, default)) for n, default in (("unit", "1"), ("weights_sha256", ""), ("run", ""))},
            )
        except BadInput as error:
            raise BadFile(f"{path}: {error}") from error


def column_names(target: str, classes: Sequence[str], levels: Sequence[float]) -> tuple[tuple[str, ...], ...]:
    """The names in the file of the columns of scores, of quantiles and of spreads."""
    return (
        tuple(f"score_{c}" for c in classes) or (f"pred_{target}",),
        tuple(f"q{level:g}_{target}" for level in levels),
        tuple(f"spread_{c}" for c in classes or (target,)),
    )


def _check(table: ScoreTable) -> None:
    n, expected = len(table.event_id), (len(table.event_id), max(len(table.classes), 1))
    if table.target in _RESERVED:
        raise BadInput(f"a target cannot be called {table.target!r}: a score table has its own column of that name")
    if table.scores_NC.shape != expected:
        raise BadInput(f"the score table needs scores of shape {expected} (events, classes), got {table.scores_NC.shape}")
    if table.spread_NC is not None and (table.spread_NC.shape != expected or not (table.spread_NC >= 0).all()):
        raise BadInput(f"spreads must be numbers >= 0 of shape {expected}, one for each score")
    for name in ("truth", "fold", "weight", "embedding_NE", "quantiles_NQ"):
        column = getattr(table, name)
        if column is not None and len(column) != n:
            raise BadInput(f"{name} has {len(column)} rows, event_id has {n}")
    quantiles_NQ = np.empty((n, 0)) if table.quantiles_NQ is None else table.quantiles_NQ
    if quantiles_NQ.shape[1] != len(table.levels) or (np.diff(quantiles_NQ, axis=1) < 0).any():
        raise BadInput(f"quantiles must be one column for each of the levels {table.levels}, rising in every row")
    names = ("weight", *table.columns[0], *table.columns[1])
    for name, column in zip(names, (table.weight, *table.scores_NC.T, *quantiles_NQ.T), strict=True):
        bad = np.flatnonzero(~np.isfinite(column))
        if len(bad):
            raise BadInput(f"column {name!r} has {len(bad)} values that are not finite, the first in row {bad[0]}")
    if len(set(table.classes)) != len(table.classes):
        raise BadInput(f"two classes have the same name: {', '.join(table.classes)}")
    if table.classes and n:
        _check_probabilities(table)


def _check_probabilities(table: ScoreTable) -> None:
    p, c = table.scores_NC, len(table.classes)
    if not np.issubdtype(np.asarray(table.truth).dtype, np.integer) or table.truth.min() < -1 or table.truth.max() >= c:
        raise BadInput(
            f"column {table.target!r} must hold class indices -1 (unknown) to {c - 1}, got {table.truth.dtype} values"
        )
    total = p.sum(axis=1, dtype=np.float64)
    bad = np.flatnonzero((np.abs(total - 1) > _SUM_TOLERANCE) | (p.min(axis=1) < 0))
    if len(bad):
        raise BadInput(
            f"{len(bad)} of {len(p)} rows are no probabilities: row {bad[0]} has {p[bad[0]].tolist()}, "
            f"which sums to {total[bad[0]]:.4f} (expected: all >= 0, sum 1). Write probabilities, not logits."
        )


def _open(path: Path) -> tuple[Any, dict[str, Any]]:
    if not path.is_file():
        raise BadFile(f"{path}: there is no such file")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise UnknownFormat(f"{path}: is not a Parquet file that can be read ({str(error).splitlines()[0]})") from error
    try:
        meta = json.loads((table.schema.metadata or {})[_KEY])
    except (KeyError, ValueError) as error:
        raise UnknownFormat(
            f"{path}: is Parquet, but no score table: its metadata have no JSON under 'cloudchamber'"
        ) from error
    if not isinstance(meta, dict) or "target" not in meta or meta.get("version") != VERSION:
        raise UnknownFormat(f"{path}: its metadata name no target of a score table of version {VERSION}, got {str(meta)[:200]}")
    return table, meta


def _column(path: Path, table: Any, name: str, dtype: type[np.generic]) -> NDArray[Any]:
    if name not in table.column_names:
        raise MissingColumn(f"{path}: the score table has no column {name!r}. Nearest: {nearest(name, table.column_names)}.")
    column = table[name]
    if column.null_count:
        raise BadFile(f"{path}: column {name!r} has {column.null_count} empty values")
    values = column.to_numpy()
    if not np.issubdtype(values.dtype, np.number):
        raise BadFile(f"{path}: column {name!r} holds {column.type}, expected numbers")
    if np.issubdtype(dtype, np.integer) and not np.issubdtype(values.dtype, np.integer):
        raise BadFile(f"{path}: column {name!r} holds {column.type}, expected whole numbers")
    return np.asarray(values, dtype=dtype)


def _list_column(path: Path, table: Any) -> NDArray[np.float32]:
    column = table["embedding"].combine_chunks()
    lengths = np.unique(column.value_lengths().to_numpy(zero_copy_only=False)) if len(column) else np.array([0])
    if column.null_count or len(lengths) != 1:
        raise BadFile(f"{path}: column 'embedding' must hold lists of one length, got lengths {lengths[:5].tolist()}")
    return np.asarray(column.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(len(column), int(lengths[0]))
