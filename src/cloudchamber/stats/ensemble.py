"""Ensemble: the score tables of several networks on the same events as one, with mean and spread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cloudchamber.errors import BadInput
from cloudchamber.stats.score_table import ScoreTable


def combined(tables: Sequence[ScoreTable], run: str = "") -> ScoreTable:
    """The mean score of deep ensembles (arXiv:1612.01474), and how far the members are apart.

    spread: for classes the standard deviation over the members; for a number that of the mixture of the members' Gaussians,
    or over the members if they give no spread themselves. The embedding is the first member's. Raises BadInput
    for fewer than two tables, or if they hold other events or other scores than the first.
    """
    first = tables[0]
    if len(tables) < 2:
        raise BadInput("an ensemble needs at least two score tables")
    for table in tables[1:]:
        table.require_like(first)
        if not np.array_equal(table.event_id, first.event_id):
            raise BadInput("the score tables of an ensemble must hold the same events in the same order")
    scores_SNC = np.stack([t.scores_NC for t in tables]).astype(np.float64)
    own = [t.spread_NC for t in tables if t.spread_NC is not None]
    if first.classes or len(own) < len(tables):
        spread_NC = scores_SNC.std(axis=0, ddof=1)
    else:
        spread_NC = np.sqrt(np.square(np.stack(own)).mean(axis=0) + scores_SNC.var(axis=0))
    mean_NC = scores_SNC.mean(axis=0).astype(np.float32)
    return replace(first, scores_NC=mean_NC, spread_NC=spread_NC.astype(np.float32), weights_sha256="", run=run)
