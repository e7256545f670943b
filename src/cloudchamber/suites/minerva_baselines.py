"""MINERvA's baselines that learn: scikit-learn's models without particles."""

# N event, G number of an event, C class

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from cloudchamber.data.readers.minerva_cuts import photon_mass, sum_of_objects
from cloudchamber.data.readers.minerva_truth import PION_CLASSES
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import Cloud
from cloudchamber.stats import ScoreTable
from cloudchamber.stats.minerva import SIGNAL

Tables = Mapping[str, ScoreTable]  # of PION, of each task in SIGNAL, of ENERGY; of the networks also of w
PION, ENERGY = "pion_class", "available_energy"
_UNIT_ENERGY = 0.1  # GeV: what is learned here is ln(1 + E / 0.1 GeV), near the logarithm where reco/true is judged
_SMALL = 500  # events; with fewer a tenth of them tells nothing about when to stop


@dataclass(frozen=True)
class Sample:
    """Events with their labels, as a cloud and as a training set, in the same order."""

    cloud: Cloud
    data: TrainingSet


@dataclass(frozen=True)
class Draw:
    """Rows of a sample that train, choose the best step, and test, in one training."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    seed: int


Contestant = Callable[[Sample, Draw], Tables]


def boosted_trees(sample: Sample, draw: Draw) -> Tables:
    """scikit-learn's histogram gradient boosting with its defaults on `_summary`."""
    models = [kind(random_state=draw.seed) for kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor)]
    return _fitted(sample, draw, *models)


def mlp(sample: Sample, draw: Draw) -> Tables:
    """Two hidden layers of 64 on `_summary`, compressed and standardised."""
    options = {"alpha": 1e-2, "early_stopping": len(draw.train) >= _SMALL, "random_state": draw.seed}
    models = [
        make_pipeline(
            FunctionTransformer(_compressed),
            SimpleImputer(add_indicator=True, keep_empty_features=True),
            StandardScaler(),
            kind(hidden_layer_sizes=(64, 64), **options),
        )
        for kind in (MLPClassifier, MLPRegressor)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of few events it stops at the 200th epoch
        return _fitted(sample, draw, *models)


def tables(
    sample: Sample, draw: Draw, pion_NC: NDArray[Any], energy_N: NDArray[Any], spread_N: NDArray[Any] | None = None
) -> dict[str, ScoreTable]:
    """The score tables of the test events from the probabilities of the pion classes and the available energy [GeV].

    A task's score is the sum over its signal's classes, as in the study.
    """
    found = {PION: table(sample, draw, PION, pion_NC)}
    for name, classes in SIGNAL.items():
        signal_N = np.clip(pion_NC[:, list(classes)].sum(axis=1), 0, 1)
        found[name] = table(sample, draw, name, np.column_stack([1 - signal_N, signal_N]))
    spread_N1 = None if spread_N is None else spread_N[:, None]
    return found | {ENERGY: table(sample, draw, ENERGY, energy_N[:, None], spread_N1)}


def table(
    sample: Sample, draw: Draw, target: str, scores_NC: NDArray[Any], spread_NC: NDArray[Any] | None = None
) -> ScoreTable:
    """The score table of one target of the test events."""
    label, chosen = sample.cloud.schema.label(target), sample.data[draw.test]
    return ScoreTable(
        target=target,
        classes=label.classes,
        event_id=chosen.ids,
        truth=np.asarray(sample.cloud.events[target])[draw.test],
        scores_NC=np.asarray(scores_NC, dtype=np.float32),
        fold=np.full(len(draw.test), 2, dtype=np.int8),
        weight=np.ones(len(draw.test), dtype=np.float32),
        spread_NC=None if spread_NC is None else np.asarray(spread_NC, dtype=np.float32),
    )


def _fitted(sample: Sample, draw: Draw, classifier: Any, regressor: Any) -> Tables:
    x_NG = _summary(sample.cloud)
    pion, energy = (np.asarray(sample.cloud.events[n]) for n in (PION, ENERGY))
    known = draw.train[np.isfinite(energy[draw.train])]
    classifier.fit(x_NG[draw.train], pion[draw.train])
    pion_NC = np.zeros((len(draw.test), len(PION_CLASSES)))
    pion_NC[:, classifier.classes_] = classifier.predict_proba(x_NG[draw.test])  # few labels may lack a class
    regressor.fit(x_NG[known], np.log1p(energy[known] / _UNIT_ENERGY))
    return tables(sample, draw, pion_NC, _UNIT_ENERGY * np.expm1(regressor.predict(x_NG[draw.test])))


def _summary(cloud: Cloud) -> NDArray[np.float64]:
    """(N, G) event columns, number and energy of each kind of object, mass of the photons: what the cuts see, and more."""
    columns = [np.asarray(cloud.events[c.name], dtype=np.float64) for c in cloud.schema.columns]
    kinds = [cloud.flat(f.name) for f in cloud.schema.features if f.name.startswith("is_")]
    energy = cloud.flat("energy")
    sums = [sum_of_objects(cloud, values) for kind in kinds for values in (kind, kind * energy)]
    return np.column_stack([*columns, *sums, photon_mass(cloud)])


def _compressed(x_NG: NDArray[Any]) -> NDArray[Any]:
    """Energies over orders of magnitude, positions and counts to a few units, with their sign."""
    return np.asarray(np.sign(x_NG) * np.log1p(np.abs(x_NG) * 100))
