"""Damage: the seeded ways in which fuzz.py spoils the bytes of a file."""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
_EDGE = 256  # bytes at either end of a file that count as its header and footer


def damaged(content: bytes, container: str, number: int) -> tuple[str, bytes]:
    """Mutation `number` of a file: the name of its kind, and the spoilt bytes, always other than `content`.

    A function of the arguments alone. Kinds take turns.
    """
    rng = np.random.default_rng([zlib.crc32(container.encode()), number])
    name = kind_of(number)
    spoilt = content
    while spoilt == content:
        spoilt = KINDS[name](content, rng)
    return name, spoilt


def kind_of(number: int) -> str:
    """The name of the kind of mutation `number`."""
    return list(KINDS)[number % len(KINDS)]


def flip_bits(content: bytes, rng: Rng, start: int = 0, stop: int | None = None) -> bytes:
    """One to eight bits, anywhere between two places."""
    values = np.frombuffer(content, np.uint8).copy()
    places = rng.integers(start, stop or len(values), rng.integers(1, 9))
    values[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
    return values.tobytes()


def overwrite(content: bytes, rng: Rng) -> bytes:
    """A run of up to 64 bytes becomes noise, zeros or ones."""
    start, stop = _block(content, rng, 64)
    noise = rng.bytes(stop - start)
    fill = (noise, bytes(stop - start), b"\xff" * (stop - start))[rng.integers(3)]
    return content[:start] + fill + content[stop:]


def truncate(content: bytes, rng: Rng) -> bytes:
    """The file ends early."""
    return content[: rng.integers(0, len(content))]


def insert(content: bytes, rng: Rng) -> bytes:
    """Up to 64 bytes of noise somewhere; sometimes at the end."""
    at = len(content) if rng.random() < 0.1 else int(rng.integers(len(content)))
    return content[:at] + rng.bytes(int(rng.integers(1, 65))) + content[at:]


def delete(content: bytes, rng: Rng) -> bytes:
    """A block of up to 512 bytes is missing."""
    start, stop = _block(content, rng, 512)
    return content[:start] + content[stop:]


def duplicate(content: bytes, rng: Rng) -> bytes:
    """A block of up to 512 bytes is there twice."""
    start, stop = _block(content, rng, 512)
    return content[:stop] + content[start:]


def swap(content: bytes, rng: Rng) -> bytes:
    """Two blocks of equal length change places."""
    size = int(rng.integers(1, min(512, len(content) // 2) + 1))
    a, b = sorted(rng.integers(0, len(content) - size + 1, 2).tolist())
    b = max(b, min(a + size, len(content) - size))
    return content[:a] + content[b : b + size] + content[a + size : b] + content[a : a + size] + content[b + size :]


def flip_header(content: bytes, rng: Rng) -> bytes:
    """Bits of the header."""
    return flip_bits(content, rng, 0, _EDGE)


def flip_footer(content: bytes, rng: Rng) -> bytes:
    """Bits of the footer."""
    return flip_bits(content, rng, len(content) - _EDGE)


KINDS: dict[str, Callable[[bytes, Rng], bytes]] = {
    f.__name__: f for f in (flip_bits, overwrite, truncate, insert, delete, duplicate, swap, flip_header, flip_footer)
}


def _block(content: bytes, rng: Rng, longest: int) -> tuple[int, int]:
    """First and last byte of a random block."""
    start = int(rng.integers(len(content)))
    return start, min(start + int(rng.integers(1, longest + 1)), len(content))
