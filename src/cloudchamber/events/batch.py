"""Batch: a few events as padded arrays. Padding is a mask, never a value."""

# B batch, P particle, F feature, G event feature

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Batch:
    """Padded events, ready for a model.

    geometry_BP3: pair_eta, pair_phi, log_pt. features_BPF and columns_BG: float32, NaN where a particle or event
    lacks the feature; names in the training set. mask_BP: True for real particles; values elsewhere are 0.
    targets: one (B,) or (B, P) array per target. index_B: row in the training set.
    """

    geometry_BP3: NDArray[np.float32]
    features_BPF: NDArray[np.float32]
    columns_BG: NDArray[np.float32]
    mask_BP: NDArray[np.bool_]
    weight_B: NDArray[np.float32]
    targets: Mapping[str, NDArray[Any]]
    index_B: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.mask_BP)


def pad(
    flat_TF: NDArray[np.float32], starts_B: NDArray[np.int64], counts_B: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Padded (B, P, F) copy of the rows starts[b] : starts[b] + counts[b], and its mask (B, P).

    P is the largest count, at least 1 so that a batch of empty events keeps its shape.

    >>> x, m = pad(np.ones((3, 1), np.float32), np.array([0, 1]), np.array([1, 2]))
    >>> x[..., 0].tolist(), m.tolist()
    ([[1.0, 0.0], [1.0, 1.0]], [[True, False], [True, True]])
    """
    width = max(int(counts_B.max(initial=0)), 1)
    mask_BP = np.arange(width) < counts_B[:, None]
    rows = (starts_B[:, None] + np.arange(width))[mask_BP]
    padded = np.zeros((len(counts_B), width, flat_TF.shape[1]), dtype=np.float32)
    padded[mask_BP] = flat_TF[rows]
    return padded, mask_BP
