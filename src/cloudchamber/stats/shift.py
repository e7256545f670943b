"""Shift: how other events differ from those that a model was validated on, seen in its embedding."""

# M validation event, N event, E embedding

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cloudchamber.errors import BadInput
from cloudchamber.stats.event_p import event_p
from cloudchamber.stats.metrics import effective_number
from cloudchamber.stats.score_table import ScoreTable

_FOLDS = 5


@dataclass(frozen=True)
class Ratio:
    """How much more often events like each one occur in a table than among the validation events."""

    validation_M: NDArray[np.float64]
    table_N: NDArray[np.float64]

    @property
    def effective(self) -> float:
        """The number of validation events that the weights leave: if it is small, the samples hardly overlap."""
        return effective_number(self.validation_M)


def density_ratio(validation: ScoreTable, table: ScoreTable) -> Ratio:
    """The ratio from the odds of a logistic regression between the embeddings (arXiv:1904.06019).

    Each event's odds come from a fit that has not seen it. No truth of `table` is used. Raises BadInput without embeddings.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x = np.concatenate(_embeddings(validation, table)).astype(np.float64)
    if min(len(validation), len(table)) < _FOLDS:
        raise BadInput(f"a density ratio needs at least {_FOLDS} events on either side, got {len(validation)} and {len(table)}")
    is_table = np.arange(len(x)) >= len(validation)
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    p = cross_val_predict(model, x, is_table, cv=folds, method="predict_proba")[:, 1]
    odds = p / np.maximum(1 - p, 1 / len(x)) * (len(validation) / len(table))
    return Ratio(odds[: len(validation)], odds[len(validation) :])


def domain_p_values(validation: ScoreTable, table: ScoreTable) -> NDArray[np.float64]:
    """(N,) the share of validation events that lie at least as far out as each event: small means out of domain.

    Distance: Mahalanobis, to the nearest class mean, with the covariance within classes (arXiv:1807.03888), shrunk. Means and
    covariance are from one half of the validation events, the share from the other: for events like them the values are
    uniform. Raises BadInput without embeddings, or with fewer than four validation events.
    """
    from sklearn.covariance import LedoitWolf

    known = validation.known()
    x_ME, x_NE = _embeddings(known, table)
    if len(known) < 4:
        raise BadInput(f"{len(known)} validation events are too few to say what is far from them")
    fitted, ranked = slice(0, None, 2), slice(1, None, 2)
    group = known.truth if known.classes else np.zeros(len(known), dtype=np.int64)
    names, group_M = np.unique(group[fitted], return_inverse=True)
    means_CE = np.stack([x_ME[fitted][group_M == c].mean(axis=0) for c in range(len(names))])
    precision_EE = LedoitWolf().fit(x_ME[fitted] - means_CE[group_M]).precision_

    def distance(x: NDArray[Any]) -> NDArray[np.float64]:
        apart = [x.astype(np.float64) - mean for mean in means_CE]
        return np.asarray(np.min([((d @ precision_EE) * d).sum(axis=1) for d in apart], axis=0))

    return event_p(distance(x_ME[ranked]), distance(x_NE))


def _embeddings(validation: ScoreTable, table: ScoreTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if validation.embedding_NE is None or table.embedding_NE is None:
        raise BadInput("both score tables need embeddings: predict with --embed")
    table.require_like(validation)
    return validation.embedding_NE, table.embedding_NE
