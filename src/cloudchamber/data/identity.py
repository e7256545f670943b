"""Identity: what an event is called and on which side of a split it falls. Both follow from its particles alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")
FRACTIONS = (0.8, 0.1, 0.1)

VIEWS = ("pair", "view")  # the labels of events that are views of one hard process

# Increment and multipliers of the splitmix64 generator (Steele, Lea, Flood, OOPSLA 2014, doi:10.1145/2660193.2660195).
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_INVERSES = tuple(np.uint64(pow(int(m), -1, 1 << 64)) for m in _MULTIPLIERS)
_LOW = np.uint64(0xFFFFFFFF)


def event_ids(cloud: Cloud) -> NDArray[np.uint64]:
    """(N,) content hash of each event: of the float32 px, py, pz, energy of its particles in their order.

    Equal particles give equal ids in any file, at any position; labels, features and weights do not enter. So a
    duplicated event lies on one side of every split. Empty events share one id. One exception: of the views of one hard
    process (labels `pair` and `view`) half the bits come from the pair, those that `split_of` looks at: they lie together.
    """
    key = _particle_keys(cloud)
    starts = np.cumsum(cloud.counts) - cloud.counts
    position = np.arange(len(key), dtype=np.uint64) - np.repeat(starts, cloud.counts).astype(np.uint64)
    key *= position * np.uint64(2) + np.uint64(1)  # odd, so that no bit of the key is lost, and the order counts
    ids = mix(_sums(key, cloud.counts) + cloud.counts.astype(np.uint64) * _STEP)
    if not set(VIEWS) <= {label.name for label in cloud.schema.labels}:
        return ids
    pair = np.asarray(cloud.events[VIEWS[0]]).astype(np.int64).view(np.uint64)
    return _unmix((mix(pair) & ~_LOW) | (ids & _LOW)) - _STEP  # `split_of` mixes again, and takes the upper bits


def unordered_ids(cloud: Cloud) -> NDArray[np.uint64]:
    """(N,) content hash of each event like `event_ids`, but the same in whatever order the particles are listed."""
    return mix(_sums(_particle_keys(cloud), cloud.counts) + cloud.counts.astype(np.uint64) * _STEP)


def split_of(ids: NDArray[np.uint64], fractions: Sequence[float] = FRACTIONS) -> NDArray[np.int8]:
    """(N,) split of each event id: 0 train, 1 val, 2 test, with these fractions.

    A function of the id alone: adding data never moves an event.
    Raises BadInput if the fractions are negative or do not add up to 1.

    >>> split_of(np.array([3, 4, 5], dtype=np.uint64), (0, 0, 1)).tolist()
    [2, 2, 2]
    """
    if min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise BadInput(f"split fractions must be at least 0 and add up to 1, got {tuple(fractions)}")
    uniform = (mix(np.asarray(ids, dtype=np.uint64) + _STEP) >> np.uint64(11)) * 2.0**-53  # 53 bits, in [0, 1)
    return np.searchsorted(np.cumsum(fractions)[:-1], uniform, side="right").astype(np.int8)


def _particle_keys(cloud: Cloud) -> NDArray[np.uint64]:
    px, py, pz, energy = (_bits(cloud.flat(name)) for name in ("px", "py", "pz", "energy"))
    return mix(mix((px << np.uint64(32)) | py) ^ ((pz << np.uint64(32)) | energy))


def _sums(key: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.uint64]:
    """(N,) sum of each event's keys, modulo 2^64."""
    total = np.zeros(len(counts), dtype=np.uint64)
    filled = counts > 0
    if filled.any():
        total[filled] = np.add.reduceat(key, (np.cumsum(counts) - counts)[filled])
    return total


def _bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    return (values.astype(np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)  # -0.0 + 0.0 is 0.0


def mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A permutation of the 64-bit numbers that spreads every bit over all others (SplitMix64's finaliser)."""
    x = x + _STEP
    x = (x ^ (x >> np.uint64(30))) * _MULTIPLIERS[0]
    x = (x ^ (x >> np.uint64(27))) * _MULTIPLIERS[1]
    return x ^ (x >> np.uint64(31))


def _unmix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The inverse of `mix`."""
    x = (x ^ (x >> np.uint64(31)) ^ (x >> np.uint64(62))) * _INVERSES[1]
    x = (x ^ (x >> np.uint64(27)) ^ (x >> np.uint64(54))) * _INVERSES[0]
    return np.asarray((x ^ (x >> np.uint64(30)) ^ (x >> np.uint64(60))) - _STEP)
