"""Events: how a recipe's files become what a model reads; the same for training and for scoring."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cloudchamber.data import read
from cloudchamber.events import Cloud
from cloudchamber.events.clustering import leading_jets as cluster_leading


def read_events(paths: Sequence[Path], *, card: str | None = None, leading_jets: int | None = None) -> Cloud:
    """The events of some files or stores, read with `card` if given, as their `leading_jets` anti-kt jets if given."""
    cloud = read(list(paths), card=card)
    return cloud if leading_jets is None else cluster_leading(cloud, leading_jets)
