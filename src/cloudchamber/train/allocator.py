"""Allocator: where memory is bounded, the memory of a freed tensor goes back to the system at once."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM, _MAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES")  # of the environment: who sets one knows better
_BOUNDED = 1 << 20  # bytes: of a training's tensors all but small ones are larger
# Where glibc's own sliding thresholds end up as soon as one tensor of 32 MB was freed.
_USUAL = {_MAP: 32 << 20, _TRIM: 64 << 20}


@contextmanager
def freed_at_once(wanted: bool) -> Iterator[None]:
    """Within it, if `wanted`, a process holds little more than the tensors that are alive; it takes longer.

    glibc else keeps freed blocks of less than 32 MB for later ones, and torch's aligned blocks often do not fit in the place of
    one of their own size: a training held 1.2 to 2.8 times the tensors alive (glibc 2.36). Afterwards the thresholds are what
    they usually come to, and stay there. Does nothing with another C library, or where the environment sets its allocator.
    """
    chosen = any(name.startswith(_SETTINGS) for name in os.environ)
    wanted = wanted and not chosen and sys.platform == "linux"
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if wanted else None
    if mallopt is None:
        yield
        return
    mallopt(_MAP, _BOUNDED)
    try:
        yield
    finally:
        for threshold, number in _USUAL.items():
            mallopt(threshold, number)
