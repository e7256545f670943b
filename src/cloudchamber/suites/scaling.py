"""Loss against compute: trainings of several sizes and lengths from scratch, and the law L = L0 + (C0 / C)^a that fits them."""

# N event

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import curve_fit

from cloudchamber import recipe as recipes
from cloudchamber.data.order import as_array
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud
from cloudchamber.recipe import SizeName
from cloudchamber.simulate import simulate
from cloudchamber.stats import metrics
from cloudchamber.stats.figures import Target
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites.base import Findings, Settings, Suite, Tell, mean
from cloudchamber.train.cost import operations
from cloudchamber.train.events import read_events
from cloudchamber.train.fit import citations, fit
from cloudchamber.train.rows import Rows, split_rows
from cloudchamber.train.scoring import score_table

_TARGET = "label"
_PETA = 1e15
_RESIDUAL = 0.02  # of the loss: what the law shall leave unexplained at most
Numbers = NDArray[np.float64]


class Options(Settings):
    """data: stores or files with the label `label`; `per_class` jets of each of `classes` are simulated without them.

    steps: lengths of the trainings, each with a schedule of its own. optimisation: further entries of a recipe's.
    """

    data: tuple[str, ...] = ()
    classes: tuple[str, ...] = ("QCD", "Hbb", "Hcc", "Hgg", "H4q", "Wqq", "Zqq", "Tbqq")
    per_class: int = 3000
    sizes: tuple[SizeName, ...] = ("xs", "s")
    steps: tuple[int, ...] = (25, 50, 100, 200, 400)
    batch: int = 64
    seeds: tuple[int, ...] = (0,)
    max_particles: int = 128
    optimisation: dict[str, Any] = Field(default_factory=dict)
    simulation_seed: int = 5
    workers: int | None = None
    device: str = "cpu"

    @classmethod
    def tiny(cls) -> Mapping[str, Any]:
        """One size, four short trainings."""
        return {"classes": ("QCD", "Tbqq"), "per_class": 100, "sizes": ("xs",), "steps": (1, 2, 4, 8), "batch": 16}


@dataclass(frozen=True)
class Law:
    """L = floor + (scale / C)^exponent. residual: root mean square of what it leaves, over the loss."""

    floor: Estimate
    scale: Estimate
    exponent: Estimate
    residual: float


def study(options: Options, tell: Tell) -> Findings:
    """The test loss of every size and length, and the law of each size and of the best ones at any compute."""
    cloud = events(options)
    data = TrainingSet.from_cloud(cloud, options.max_particles)
    rows = split_rows(data, _recipe(options, options.sizes[0], options.steps[0], 0))
    counts_N = data[as_array(rows.train)].counts
    found: dict[str, tuple[Estimate, ...]] = {}
    points: dict[str, list[tuple[float, Estimate]]] = {}
    for name in options.sizes:
        per_event = operations(name, counts_N)
        for steps in options.steps:
            losses = tuple(_loss(options, data, rows, name, steps, seed) for seed in options.seeds)
            compute = per_event * options.batch * steps / _PETA
            found |= {f"loss_{name}_{steps}": losses, f"compute_{name}_{steps}": (Estimate(compute, 0.0),)}
            points.setdefault(name, []).append((compute, mean(losses)))
            tell(f"{name}, {steps} steps: {compute:.3g} PFLOP, loss {mean(losses).value:.4f} +- {mean(losses).error:.4f}")
    points["best"] = frontier([point for group in points.values() for point in group])
    targets = []
    for group_name, group in points.items():
        if (law := fitted(group)) is not None:
            figures = {
                "floor": law.floor,
                "scale": law.scale,
                "exponent": law.exponent,
                "residual": Estimate(law.residual, 0.0),
            }
            found |= {f"{figure}_{group_name}": (value,) for figure, value in figures.items()}
            targets.append(Target(f"residual_{group_name}", "<=", _RESIDUAL))
    described = {"events": cloud.schema.dataset, "number": len(rows.train), "unit of compute": "PFLOP"}
    owed = citations(_recipe(options, options.sizes[0], options.steps[0], 0), cloud.schema)
    return Findings(found, tuple(targets), described, tuple(owed))


def events(options: Options) -> Cloud:
    """The events of the study; BadInput if they have no classes."""
    if not options.data:
        return simulate(options.classes, options.per_class, seed=options.simulation_seed, workers=options.workers)
    cloud = read_events([*map(Path, options.data)])
    if not cloud.schema.label(cloud.schema.resolve(_TARGET)).classes:
        raise BadInput(f"{cloud.schema.dataset!r}: the label {_TARGET!r} has no classes to tell apart")
    return cloud


def frontier(points: Sequence[tuple[float, Estimate]]) -> list[tuple[float, Estimate]]:
    """The points that no other beats with at most their compute.

    >>> [c for c, _ in frontier([(1.0, Estimate(3.0, 0.0)), (3.0, Estimate(2.0, 0.0)), (2.0, Estimate(3.5, 0.0))])]
    [1.0, 3.0]
    """
    kept: list[tuple[float, Estimate]] = []
    for compute, loss in sorted(points, key=lambda point: point[0]):
        if not kept or loss.value < kept[-1][1].value:
            kept.append((compute, loss))
    return kept


def fitted(points: Sequence[tuple[float, Estimate]]) -> Law | None:
    """The law through (compute, loss), by least squares; None for fewer than four points or where it does not converge.

    The errors are those of the points' scatter about the law: what differs between two trainings is more than what the
    test events say. A floor below 0 is none.
    """
    if len(points) < 4:
        return None
    compute, loss = np.array([c for c, _ in points]), np.array([e.value for _, e in points])
    centre = float(np.exp(np.log(compute).mean()))

    def law(c: Numbers, floor: float, size: float, exponent: float) -> Numbers:
        return np.asarray(floor + size * (c / centre) ** -exponent)

    start = (0.5 * loss.min(), loss.mean() - 0.5 * loss.min(), 0.3)
    try:
        best, covariance = curve_fit(law, compute, loss, start, bounds=((0, 0, 0.01), (np.inf, np.inf, 5)), max_nfev=10_000)
    except RuntimeError:
        return None
    floor, size, exponent = best
    errors = np.sqrt(np.diag(covariance))
    scale = centre * size ** (1 / exponent)
    # ln C0 = ln centre + ln(size) / exponent
    slope = np.array([0.0, 1 / (size * exponent), -np.log(size) / exponent**2])
    spread = scale * np.sqrt(slope @ covariance @ slope)
    residual = float(np.sqrt(np.mean((law(compute, *best) / loss - 1) ** 2)))
    return Law(Estimate(floor, errors[0]), Estimate(scale, spread), Estimate(exponent, errors[2]), residual)


def _recipe(options: Options, size: SizeName, steps: int, seed: int) -> recipes.Recipe:
    # Validated once, at the end: a choice among several would be one on chance.
    optimisation = {"validations": 1, "checkpoints": 0, "batch": options.batch, **options.optimisation, "steps": steps}
    return recipes.make(
        {
            "name": f"scaling {size} {steps}",
            "size": size,
            "tasks": ({"task": "classify", "target": _TARGET},),
            "optimisation": optimisation,
            "max_particles": options.max_particles,
            "seed": seed,
        }
    )


def _loss(options: Options, data: TrainingSet, rows: Rows, size: SizeName, steps: int, seed: int) -> Estimate:
    """Cross-entropy of the test events after a training."""
    network = fit(_recipe(options, size, steps, seed), data, rows, device=options.device).network
    table = score_table(network, data, as_array(rows.test), network.tasks[0], fold="test", device=options.device).known()
    return metrics.cross_entropy(table.truth, table.scores_NC, table.weight)


SUITE = Suite("scaling", "loss against compute of several sizes, and the law that it follows", Options, study)
