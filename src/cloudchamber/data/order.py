"""Order: in which order a training sees its events. A function of seed and position, never a list in memory.

A position counts the events that were drawn so far. Where an event of some position lies is computed, so an order of
10^10 events takes no memory, any rank can take its share of any step, and a killed training goes on where it was.
"""

# W position in a window

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.identity import mix
from cloudchamber.errors import BadInput

Selection = range | NDArray[np.int64]  # rows of a training set: a range where a list of 10^9 numbers would be a waste
_WINDOW = 1 << 16  # events whose order is computed at once
_ROUNDS = 4  # of the Feistel network; with four independent random rounds it is a pseudo-random permutation


def take(rows: Selection, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows at some positions.

    >>> take(range(10, 20), np.array([3, 0])).tolist()
    [13, 10]
    """
    return rows.start + positions * rows.step if isinstance(rows, range) else rows[positions]


def as_array(rows: Selection) -> NDArray[np.int64]:
    """The rows one by one.

    >>> as_array(range(3, 5)).tolist()
    [3, 4]
    """
    return take(rows, np.arange(len(rows))) if isinstance(rows, range) else rows


@dataclass(frozen=True)
class Shuffle:
    """Every whole number below `n` once an epoch, each epoch in another order.

    block: numbers that lie side by side and stay in one window of 65,536; 1 is a full shuffle. Blocks of some hundred
    events turn random reads into long ones, for sets larger than memory on disks that seek; the price is that events
    of a block come within one window of each other.
    """

    n: int
    seed: int
    block: int = 1

    def __post_init__(self) -> None:
        if self.n < 1 or not 1 <= self.block <= _WINDOW:
            raise BadInput(f"expected at least one event and a block of 1 to {_WINDOW}, got {self.n} and {self.block}")

    def at(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start,) the numbers at positions start to stop, over as many epochs as these span."""
        parts = []
        while start < stop:
            epoch, inside = divmod(start, self.n)
            window, offset = divmod(inside, self._window)
            found = _window(self, epoch, window)[offset : offset + stop - start]
            parts.append(found)
            start += len(found)
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    @property
    def _window(self) -> int:
        return _WINDOW // self.block * self.block


@dataclass(frozen=True)
class Mixture:
    """Which source an event comes from, where sources are drawn with given shares.

    Positions are cut into periods of 65,536; in each of them a source has its share to a whole event, at random
    places. shares: positive, summing to 1.
    """

    shares: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        if min(self.shares) <= 0 or abs(sum(self.shares) - 1) > 1e-9:
            raise BadInput(f"shares must be positive and add up to 1, got {self.shares}")
        if min(self.shares) * _WINDOW < 1:
            raise BadInput(f"a share of {min(self.shares):g} is less than one event in {_WINDOW}; leave that source out")

    def at(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(stop - start,) the source of each position, and the source's own position: how often it came before."""
        sources, own = [], []
        for period in range(start // _WINDOW, -(-stop // _WINDOW)):
            chosen_W, before_W, counts = _period(self, period)
            inside = slice(max(start - period * _WINDOW, 0), min(stop - period * _WINDOW, _WINDOW))
            sources.append(chosen_W[inside])
            own.append(period * counts[chosen_W[inside]] + before_W[inside])
        return np.concatenate(sources), np.concatenate(own)


def shares_of(sizes: Sequence[int], weights: Sequence[float] | None = None, temperature: float = 1.0) -> tuple[float, ...]:
    """Shares of sources: proportional to weight x size^(1 / temperature).

    temperature: 1 keeps the sizes' proportions, a high one evens them out.

    >>> [round(s, 3) for s in shares_of([100, 10_000], temperature=2.0)]
    [0.091, 0.909]
    """
    if temperature <= 0:
        raise BadInput(f"a temperature is positive, got {temperature}")
    weights = [1.0] * len(sizes) if weights is None else weights
    if len(weights) != len(sizes) or min(weights) <= 0:
        raise BadInput(f"{len(sizes)} sources need as many positive weights, got {tuple(weights)}")
    raw = np.asarray(weights, dtype=np.float64) * np.asarray(sizes, dtype=np.float64) ** (1 / temperature)
    return tuple((raw / raw.sum()).tolist())


@lru_cache(maxsize=16)
def _window(shuffle: Shuffle, epoch: int, window: int) -> NDArray[np.int64]:
    """The numbers of one window of an epoch: its blocks from all over the range, their events shuffled."""
    n, block, size = shuffle.n, shuffle.block, shuffle._window  # noqa: SLF001 (the same concept, outside for the cache)
    blocks = n // block
    first, last = window * (size // block), min((window + 1) * (size // block), blocks)
    if blocks <= size // block:  # all in one window: an exact permutation costs nothing
        chosen = np.random.default_rng([shuffle.seed, epoch]).permutation(blocks)
    else:
        chosen = permuted(np.arange(first, last), blocks, _key(shuffle.seed, epoch))
    numbers = (chosen[:, None] * block + np.arange(block)).reshape(-1)
    if block > 1:
        if window == (n - 1) // size:  # the events that fill no block join the last window
            numbers = np.concatenate([numbers, np.arange(blocks * block, n)])
        rng = np.random.default_rng([shuffle.seed, epoch, window])
        # Blocks begin at another event in each epoch, so that other events share one.
        numbers = (rng.permutation(numbers) + _key(shuffle.seed, epoch + 1) % block) % n
    return _frozen(numbers)


@lru_cache(maxsize=4)
def _period(mixture: Mixture, period: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Source of each position of a period, how often the source came before in it, and the sources' counts."""
    exact = np.array(mixture.shares) * _WINDOW
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: _WINDOW - counts.sum()]] += 1  # largest remainders
    chosen = np.random.default_rng([mixture.seed, period]).permutation(np.repeat(np.arange(len(counts)), counts))
    before = np.empty(_WINDOW, dtype=np.int64)
    for source in range(len(counts)):
        before[chosen == source] = np.arange(counts[source])
    return _frozen(chosen), _frozen(before), _frozen(counts)


def permuted(numbers: NDArray[np.int64], n: int, key: int) -> NDArray[np.int64]:
    """The images of some numbers below n under a pseudo-random permutation of 0 to n - 1.

    A Feistel network on the next power of two; an image beyond n is sent through again until it is below it.

    >>> sorted(permuted(np.arange(10), 10, key=1).tolist())
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    bits = max((n - 1).bit_length(), 2)
    images = _feistel(numbers.astype(np.uint64), bits, key)
    while (beyond := np.flatnonzero(images >= n)).size:
        images[beyond] = _feistel(images[beyond], bits, key)
    return images.astype(np.int64)


def _feistel(x: NDArray[np.uint64], bits: int, key: int) -> NDArray[np.uint64]:
    """A permutation of the numbers of `bits` bits: the two parts of a number take turns in being changed by the other."""
    low = bits // 2
    for turn in range(_ROUNDS):
        shift = np.uint64(low if turn % 2 == 0 else bits - low)
        left, right = x >> shift, x & ((np.uint64(1) << shift) - np.uint64(1))
        width = np.uint64(bits) - shift
        changed = (left ^ mix(right + np.uint64((key + turn * 0x9E3779B97F4A7C15) % 2**64))) & (
            (np.uint64(1) << width) - np.uint64(1)
        )
        x = (right << width) | changed
    return x


def _key(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0])


def _frozen(values: NDArray[np.int64]) -> NDArray[np.int64]:
    values.flags.writeable = False  # cached: a caller that changed it would change the order of others
    return values
