"""Batch: a few events as padded arrays. Padding is a mask, never a value."""

# B batch, P particle, F particle column, G event column

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Padded events, ready for a model.

    particles_BPF: float32, columns named by the training set; the first three are kinematics.GEOMETRY. NaN where a
    particle lacks a feature. columns_BG: float32 event columns, NaN where unknown. mask_BP: True for real particles;
    particles_BPF is 0 elsewhere. targets: one (B,) array per target; of particles (B, P) class indices, -1 where
    unknown or padding. index_B: row in the training set. partner: for each event another one that is a view of the
    same, or itself if it has none; None where no task asks for it.
    """

    particles_BPF: NDArray[np.float32]
    columns_BG: NDArray[np.float32]
    mask_BP: NDArray[np.bool_]
    weight_B: NDArray[np.float32]
    targets: Mapping[str, NDArray[Any]]
    index_B: NDArray[np.int64]
    partner: Batch | None = None

    def __len__(self) -> int:
        return len(self.mask_BP)


def pad(
    flat_TF: NDArray[np.float32], starts_B: NDArray[np.int64], counts_B: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Padded (B, P, F) copy of the rows starts[b] : starts[b] + counts[b], and its mask (B, P).

    P is the largest count, at least 1 so that a batch of empty events keeps its shape.

    >>> x, m = pad(np.ones((3, 1), np.float32), np.array([0, 1]), np.array([1, 2]))
    >>> x[..., 0].tolist(), m.tolist()
    ([[1.0, 0.0], [1.0, 1.0]], [[True, False], [True, True]])
    """
    width = max(int(counts_B.max(initial=0)), 1)
    padded = np.zeros((len(counts_B), width, flat_TF.shape[1]), dtype=np.float32)
    # One contiguous copy per event beats one gather of rows: the rows of an event lie side by side.
    for row, (start, count) in enumerate(zip(starts_B.tolist(), counts_B.tolist(), strict=True)):
        padded[row, :count] = flat_TF[start : start + count]
    return padded, np.arange(width) < counts_B[:, None]
