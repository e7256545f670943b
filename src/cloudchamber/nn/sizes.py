"""Sizes: one dial, from which width, depth, heads and learning rate follow."""

from __future__ import annotations

from dataclasses import dataclass

from cloudchamber.errors import BadInput, nearest


@dataclass(frozen=True)
class Size:
    """Every number that the dial sets. hidden: width of the feed-forward layer; learning_rate: peak, for AdamW.

    look_layers: after the others, of the register alone, with look_heads each. Their weights are used once an event.
    """

    width: int
    layers: int
    heads: int
    hidden: int
    learning_rate: float
    look_layers: int = 0
    look_heads: int = 0


SIZES = {
    "xs": Size(width=96, layers=4, heads=6, hidden=192, learning_rate=2e-3),
    "s": Size(width=192, layers=4, heads=6, hidden=448, learning_rate=1e-3, look_layers=2, look_heads=2),
    "m": Size(width=768, layers=8, heads=16, hidden=1536, learning_rate=3e-4),
    "l": Size(width=1536, layers=20, heads=24, hidden=3072, learning_rate=1e-4),
}


def size(name: str) -> Size:
    """The numbers behind a size's name; BadInput for an unknown one.

    >>> size("xs").width
    96
    """
    if name not in SIZES:
        raise BadInput(f"unknown size {name!r}. Nearest: {nearest(name, SIZES)}. Known: {', '.join(SIZES)}.")
    return SIZES[name]
