"""Estimators: scikit-learn's habits for clouds. Classifier and Regressor, and embeddings as plain arrays."""

# N event, C class, E embedding

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import NotFittedError

from cloudchamber import recipe as recipes
from cloudchamber.data import read
from cloudchamber.data.check import Origin, check
from cloudchamber.data.order import as_array
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput, BadWeights
from cloudchamber.events import Cloud, Label
from cloudchamber.nn.features import Norm
from cloudchamber.nn.sizes import SIZES
from cloudchamber.recipe import Adapt, Recipe
from cloudchamber.stats import ScoreTable, prediction_intervals, prediction_sets
from cloudchamber.train.fit import citations, fit
from cloudchamber.train.network import Network, load_backbone, save
from cloudchamber.train.network import load as load_network
from cloudchamber.train.rows import Rows
from cloudchamber.train.scoring import VALIDATION, embeddings, in_classes, predicting_task, score_table, scores, segmented
from cloudchamber.train.weights import weights_folder

Events = Cloud | str | Path | Sequence[str | Path]
_TARGET = "target"  # name of the label column made from an array y
_FEWEST_VALIDATION = 10  # events; below it the best step would be chosen by noise


class _Estimator(BaseEstimator):
    """Parameters and fitting common to both estimators.

    weights: shipped weights ("xs"), a run or weights folder; with adapt="scratch" a size. adapt: "full" trains all, "lora"
    low-rank changes (of `rank`, 8 without it) and the head, "probe" the head alone, "scratch" starts at random. steps,
    learning_rate: by themselves from the number of events and the size if None. validation_fraction: of the events, to
    choose the best step. new_features: features unknown to the weights that may be added with zero embeddings. keep_head: start
    from the head that the weights have for the target, where they learned the same of other events. options: of the task, such
    as {"transform": "log1p"} for energies that spread over decades, or {"loss": "quantile"}.
    """

    def __init__(
        self,
        weights: str | Path = "xs",
        *,
        adapt: Adapt = "full",
        rank: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        learning_rate: float | None = None,
        batch: int = 64,
        validation_fraction: float = 0.15,
        max_particles: int = 128,
        new_features: tuple[str, ...] = (),
        keep_head: bool = False,
        options: Mapping[str, Any] | None = None,
        device: str = "cpu",
    ):
        self.weights = weights
        self.adapt = adapt
        self.rank = rank
        self.seed = seed
        self.steps = steps
        self.learning_rate = learning_rate
        self.batch = batch
        self.validation_fraction = validation_fraction
        self.max_particles = max_particles
        self.new_features = new_features
        self.keep_head = keep_head
        self.options = options
        self.device = device

    _classes: bool  # whether the target has classes

    @abstractmethod
    def _target(self, cloud: Cloud, y: ArrayLike | str) -> tuple[Label, NDArray[Any]]:
        """The label to learn and its (N,) values."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False  # events are sets of particles
        return tags

    def fit(self, X: Events, y: ArrayLike | str = "label") -> Self:
        """Adapt to events X with target y: (N,) values, or the name of a label of X ("label": its only class label).

        Raises BadInput if the target cannot be learned, BadWeights if the weights do not suit the events.
        """
        cloud = _events(X)
        label, values = self._target(cloud, y)
        schema = cloud.schema.model_copy(update={"labels": (label,)})
        columns = {c.name: cloud.events[c.name] for c in schema.columns}
        if label.name in columns:
            raise BadInput(f"the events have a column {label.name!r} that would tell the model its target; rename it")
        columns |= {schema.weight: cloud.events[schema.weight]} if schema.weight else {}
        data = TrainingSet.from_cloud(Cloud(cloud.particles, {**columns, label.name: values}, schema), self.max_particles)
        rows = self._rows(data, label)
        fitted = fit(self._recipe(label), data, rows, device=self.device)
        self.network_: Network = fitted.network
        self.recipe_ = fitted.recipe
        self.progress_ = fitted.progress
        self.trained_ = fitted.trained
        self.load_report_ = fitted.report
        self.origin_ = {"dataset": schema.dataset, "events": len(rows.train)}
        self.citation_, self.licence_ = tuple(citations(fitted.recipe, schema)), schema.licence
        task = predicting_task(self.network_)
        self.validation_: ScoreTable | None = score_table(
            self.network_, data, as_array(rows.val), task, embed=True, fold="val", device=self.device
        )
        return self

    def save(self, folder: str | Path) -> None:
        """Write the fitted model as a weights folder: for `load`, and for `predict` and `evaluate` on the command line.

        Raises BadInput if the folder is there already.
        """
        network = self._fitted()
        if Path(folder).exists():
            raise BadInput(f"{folder}: is there already. Give another folder, or remove it yourself.")
        save(
            network,
            Path(folder),
            data=self.origin_ | {"values": self._values()},
            citation=self.citation_,
            licence=self.licence_,
        )
        if self.validation_ is not None:
            self.validation_.write(Path(folder) / VALIDATION)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A fitted model from what `save` or a run of finetune left. BadWeights if it predicts another kind of target."""
        network = load_network(folder)
        label = predicting_task(network).label
        assert label is not None
        assert network.config is not None
        if bool(label.classes) != cls._classes:
            raise BadWeights(f"{folder}: predicts {label.name!r}, which is {'a class' if label.classes else 'a number'}")
        model = cls(folder, max_particles=network.max_particles)
        model.network_ = network
        model.citation_, model.licence_ = network.config.citation, network.config.licence
        model.origin_ = {n: v for n, v in network.config.data.items() if n != "values"}
        kept = Path(folder) / VALIDATION
        model.validation_ = ScoreTable.read(kept) if kept.is_file() else None
        model._restore(label, network.config.data.get("values"))
        return model

    def score_table(self, X: Events) -> ScoreTable:
        """The score table of the events X with their embeddings: with `validation_`, what cloudchamber.stats calibrates."""
        data = self._bound(X)
        task = predicting_task(self.network_)
        return score_table(self.network_, data, np.arange(len(data)), task, embed=True, device=self.device)

    def embed(self, X: Events) -> NDArray[np.float32]:
        """(N, E) vectors of the events from the adapted backbone."""
        data = self._bound(X)
        return embeddings(self.network_.backbone, data, np.arange(len(data)), self.device)

    def _scores(self, X: Events) -> NDArray[np.float32]:
        data = self._bound(X)
        return scores(self.network_, data, np.arange(len(data)), predicting_task(self.network_), self.device)

    def _bound(self, X: Events) -> TrainingSet:
        network = self._fitted()
        data = TrainingSet.from_cloud(_events(X), self.max_particles)
        network.bind(data)
        return data

    def _fitted(self) -> Network:
        if not hasattr(self, "network_"):
            raise NotFittedError(f"this {type(self).__name__} is not fitted yet; call fit or load first")
        return self.network_

    def _validation(self) -> ScoreTable:
        self._fitted()
        if self.validation_ is None:
            raise BadInput(f"{self.weights}: has no {VALIDATION}, so nothing says how often its scores are right; fit it again")
        return self.validation_

    def _values(self) -> list[Any] | None:
        """The values of y that the classes stand for."""
        return None

    def _restore(self, label: Label, values: list[Any] | None) -> None:
        """Set what `fit` learned from y."""

    def _recipe(self, label: Label) -> Recipe:
        numbers = {"steps": self.steps, "learning_rate": self.learning_rate, "batch": self.batch, "checkpoints": 0}
        scratch, options = self.adapt == "scratch", dict(self.options or {})
        if scratch and str(self.weights) not in SIZES:
            raise BadInput(f"adapt='scratch' takes a size ({', '.join(SIZES)}) in place of weights, got {self.weights!r}")
        task = {"task": "classify" if label.classes else "regress", "target": label.name, "kept": self.keep_head}
        return recipes.make(
            {
                "name": type(self).__name__,
                "size": str(self.weights) if scratch else "xs",
                "weights": None if scratch else str(self.weights),
                "adapt": self.adapt,
                "rank": self.rank,
                "tasks": ({**task, "options": options},),
                "optimisation": numbers,
                "max_particles": self.max_particles,
                "new_features": self.new_features,
                "seed": self.seed,
            }
        )

    def _rows(self, data: TrainingSet, label: Label) -> Rows:
        """Training and validation events, every class in both in proportion."""
        values = data[data.everything].target(label.name)
        known = np.flatnonzero(values >= 0 if label.classes else np.isfinite(values))
        order = known[np.random.default_rng(self.seed).permutation(len(known))]
        groups = [order[values[order] == c] for c in range(len(label.classes))] if label.classes else [order]
        fewest = -(-_FEWEST_VALIDATION // len(groups))
        cuts = [max(round(self.validation_fraction * len(g)), min(fewest, len(g) // 2)) for g in groups]
        val = np.concatenate([g[:cut] for g, cut in zip(groups, cuts, strict=True)])
        train = np.concatenate([g[cut:] for g, cut in zip(groups, cuts, strict=True)])
        if len(val) < _FEWEST_VALIDATION or len(train) < len(groups):
            raise BadInput(
                f"{len(known)} events with a known target leave {len(train)} to train and {len(val)} to validate; "
                f"at least {_FEWEST_VALIDATION} are needed to validate. Give more events or a larger validation_fraction."
            )
        return Rows(np.sort(train), np.sort(val), np.empty(0, dtype=np.int64))


class Classifier(ClassifierMixin, _Estimator):
    """A classifier of events, adapted from pre-trained weights.

    After fit: classes_ holds the values of y in rising order (the class indices for a label's name), class_names_
    their names; network_, recipe_ (every number resolved), progress_, load_report_, trained_ (number of parameters),
    validation_ (score table of the events that chose the best step).

    >>> Classifier("xs", seed=1).get_params()["seed"]
    1
    """

    _classes = True

    def _target(self, cloud: Cloud, y: ArrayLike | str) -> tuple[Label, NDArray[Any]]:
        if isinstance(y, str):
            known = cloud.schema.label(cloud.schema.resolve(y))
            if not known.classes:
                raise BadInput(f"label {known.name!r} is a number in {known.unit!r}; use Regressor for it")
            values = np.asarray(cloud.events[known.name])
            present = np.unique(values[values >= 0])
            names = [known.classes[i] for i in present]
            name = known.name
        else:
            values = _one_per_event(cloud, y)
            present = np.unique(values)
            names, name = [str(v) for v in present], _TARGET
        if len(present) < 2:
            raise BadInput(f"{cloud.schema.dataset!r} has only one class ({', '.join(names) or 'none'}); two are needed")
        self.classes_ = present
        self.class_names_ = tuple(names)
        index = np.searchsorted(present, values).astype(np.int64)
        known_class = np.isin(values, present)
        return Label(name=name, classes=self.class_names_), np.where(known_class, index, -1)

    def _values(self) -> list[Any]:
        return list(self.classes_.tolist())

    def _restore(self, label: Label, values: list[Any] | None) -> None:
        self.class_names_ = label.classes
        self.classes_ = np.arange(len(label.classes)) if values is None else np.array(values)

    def predict_proba(self, X: Events) -> NDArray[np.float32]:
        """(N, C) probabilities of the classes in the order of classes_."""
        return self._scores(X)

    def predict_set(self, X: Events, level: float = 0.9) -> NDArray[np.bool_]:
        """(N, C): classes in the conformal set of each event, which holds the true one as often as `level` (per class)."""
        return prediction_sets(self._validation(), self.score_table(X), level)

    def predict(self, X: Events) -> NDArray[Any]:
        """(N,) most probable class, a value of classes_."""
        best = self.predict_proba(X).argmax(axis=1)
        chosen: NDArray[Any] = self.classes_[best]
        return chosen

    def score(self, X: Events, y: ArrayLike | str = "label", sample_weight: ArrayLike | None = None) -> float:
        """Accuracy on events X whose class is known; y as in fit."""
        cloud = _events(X)
        predicted = self.predict_proba(cloud).argmax(axis=1)
        if isinstance(y, str):
            # By name: other events may list the same classes in another order.
            names = cloud.schema.label(cloud.schema.resolve(y)).classes
            truth = in_classes(np.asarray(cloud.labels[y]), names, self.class_names_)
        else:
            values = _one_per_event(cloud, y)
            truth = np.where(np.isin(values, self.classes_), np.searchsorted(self.classes_, values), -1)
        known = truth >= 0
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return float(np.average(predicted[known] == truth[known], weights=weight))


class Regressor(RegressorMixin, _Estimator):
    """A regressor of a number per event, adapted from pre-trained weights; it also gives the spread of each value."""

    _classes = False

    def _target(self, cloud: Cloud, y: ArrayLike | str) -> tuple[Label, NDArray[Any]]:
        if isinstance(y, str):
            known = cloud.schema.label(cloud.schema.resolve(y))
            if known.classes:
                raise BadInput(f"label {known.name!r} has classes; use Classifier for it")
            return known, np.asarray(cloud.events[known.name], dtype=np.float64)
        values = _one_per_event(cloud, y).astype(np.float64)
        return Label(name=_TARGET), values

    def predict(self, X: Events) -> NDArray[np.float32]:
        """(N,) values in the unit of y."""
        return self._scores(X)[:, 0]

    def predict_spread(self, X: Events) -> NDArray[np.float32]:
        """(N,) standard deviation of each value in the unit of y."""
        return self._scores(X)[:, 1]

    def predict_interval(self, X: Events, level: float = 0.9) -> NDArray[np.float64]:
        """(N, 2): ends of the conformal interval of each event, which holds the truth as often as `level`."""
        return prediction_intervals(self._validation(), self.score_table(X), level)

    def score(self, X: Events, y: ArrayLike | str, sample_weight: ArrayLike | None = None) -> float:
        """Coefficient of determination on events X; y as in fit."""
        from sklearn.metrics import r2_score

        cloud = _events(X)
        truth = np.asarray(cloud.labels[y]) if isinstance(y, str) else _one_per_event(cloud, y)
        return float(r2_score(truth, self.predict(cloud), sample_weight=sample_weight))


def embed(
    weights: str | Path,
    X: Events,
    *,
    new_features: Sequence[str] = (),
    max_particles: int = 128,
    device: str = "cpu",
) -> NDArray[np.float32]:
    """(N, E) vectors of events from pre-trained weights as they are; E is twice the width of their size.

    new_features: features that the weights do not know and that may be there all the same; they contribute nothing.
    """
    _, backbone = load_backbone(weights_folder(weights))
    data = TrainingSet.from_cloud(_events(X), max_particles)
    for features, names in ((backbone.particle, data.particle_names[2:]), (backbone.column, data.column_names)):
        features.add(dict.fromkeys(features.match(names, new_features).new, Norm()))
        features.bind(names)
    return embeddings(backbone, data, np.arange(len(data)), device)


def segment(weights: str | Path, X: Events, *, device: str = "cpu") -> Cloud:
    """Events with the class probabilities of each particle; see train.scoring.segmented."""
    return segmented(load_network(weights), _events(X), device)


def _events(X: Events) -> Cloud:
    if isinstance(X, Cloud):
        return check(X, Origin(Path("the cloud given")))
    if isinstance(X, (str, Path)) or (isinstance(X, Sequence) and X and all(isinstance(p, (str, Path)) for p in X)):
        return read(X if isinstance(X, (str, Path)) else list(X))
    raise BadInput(f"expected a Cloud or the path of a file, got {type(X).__name__}. cloudchamber.read(path) gives a Cloud.")


def _one_per_event(cloud: Cloud, y: ArrayLike) -> NDArray[Any]:
    values = np.asarray(y)
    if values.shape != (len(cloud),):
        raise BadInput(f"y must have one value per event, shape ({len(cloud)},), got {values.shape}")
    return values
