"""Suite: a study that anyone can run again by its name, with its figures and targets. One file each, found by the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from pydantic import ValidationError

from cloudchamber.errors import BadInput
from cloudchamber.recipe import Document, first_problem
from cloudchamber.stats.figures import Target, exact, judge
from cloudchamber.stats.metrics import Estimate

Tell = Callable[[str], None]  # what a study says while it runs


class Settings(Document):
    """Base of a suite's settings."""

    @classmethod
    def tiny(cls) -> Mapping[str, Any]:
        """The entries that differ in a tiny run."""
        return {}


@dataclass(frozen=True)
class Findings:
    """What a suite found. figures: by name, one estimate per seed (or a single one), its error that of the test events.

    targets: of figures that are there. data: which events these were. citation: what they and the methods are owed.
    """

    figures: Mapping[str, tuple[Estimate, ...]]
    targets: tuple[Target, ...]
    data: Mapping[str, Any]
    citation: tuple[str, ...]

    def holds(self, target: Target) -> bool:
        """Whether the mean over the seeds is as the target says."""
        named = [name for name in (target.figure, target.bound) if isinstance(name, str)]
        return bool(judge([target], {name: exact(mean(self.figures[name]).value) for name in named})[0]["holds"])


@dataclass(frozen=True)
class Suite:
    """Entry of the registry. run: the study with some settings."""

    name: str
    description: str
    settings: type[Settings]
    run: Callable[[Any, Tell], Findings]


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The mean over seeds; its error joins their scatter with the error of the test events that they share.

    >>> round(mean([Estimate(1.0, 0.3), Estimate(2.0, 0.3)]).error, 3)
    0.583
    """
    values, errors = (np.array([getattr(e, n) for e in estimates]) for n in ("value", "error"))
    scatter = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return Estimate(float(values.mean()), float(np.hypot(scatter, errors.mean())))


def settings(suite: Suite, numbers: Sequence[str], others: Mapping[str, Any], *, tiny: bool = False) -> Settings:
    """The settings of a suite from texts NAME=VALUE (plain YAML) and other entries; BadInput tells what is wrong."""
    given = dict(suite.settings.tiny()) if tiny else {}
    for text in numbers:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"--set takes NAME=VALUE, got {text!r}")
        try:
            given[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise BadInput(f"--set {text}: the value is not YAML") from error
    try:
        return suite.settings.model_validate(given | dict(others))
    except ValidationError as error:
        raise BadInput(f"suite {suite.name!r}: {first_problem(error, suite.settings)}") from error
