"""Network: backbone and task heads together, new, adapted from weights, saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from cloudchamber import registry
from cloudchamber.data.order import Selection
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe, BadWeights, nearest
from cloudchamber.events import Batch, Schema
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.nn.features import FeaturesConfig, Match, NamedFeatures, Norm, fit_norm
from cloudchamber.nn.sizes import size
from cloudchamber.recipe import TaskSpec
from cloudchamber.run import atomic, file_hash, write_json
from cloudchamber.tasks.base import Task, TaskKind
from cloudchamber.train.weights import WeightsConfig, read_weights, weights_folder

_Task = TypeVar("_Task", bound=Task)
_AND = " + "  # between the frames of a model that knows several
_NORM_EVENTS = 4096  # events from which features are normalised: means to a per cent


@dataclass(frozen=True)
class LoadReport:
    """What loading did: how the features met, and which heads are new."""

    particle: Match
    column: Match
    heads: tuple[str, ...]
    origin: str
    frames: tuple[str, str]  # of the weights' training and of the data; "" if the weights do not say
    renormalised: tuple[str, ...] = ()  # features whose norm is that of the data, not of the weights

    def __str__(self) -> str:
        lines = [f"weights: {self.origin}", f"particle features: {self.particle}", f"event features: {self.column}"]
        lines.append(f"heads at random start: {', '.join(self.heads) or 'none'}")
        trained, given = self.frames
        if differ(self.frames):
            hint = "; whole events can be read as jets: leading_jets" if (trained, given) == ("jet", "collider") else ""
            lines.append(f"frame: the weights were trained in {trained!r}, the data are in {given!r}{hint}")
        if self.renormalised:
            lines.append(f"normalised by the data: {', '.join(self.renormalised)}")
        return "\n".join(lines)


class Network(nn.Module):
    """A backbone and the heads of its tasks."""

    def __init__(self, size_name: str, backbone: Backbone, tasks: Sequence[Task], max_particles: int):
        super().__init__()
        self.size_name = size_name
        self.backbone = backbone
        self.heads = nn.ModuleDict({t.key: t for t in tasks})
        self.max_particles = max_particles
        self.config: WeightsConfig | None = None
        self.frame = ""  # of the events that it was trained on; "jet + fixed-target" of events in both

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The objectives, in the recipe's order."""
        return tuple(cast("Task", t) for t in self.heads.values())

    def only(self, kind: type[_Task]) -> _Task:
        """The task of a class; BadWeights unless there is exactly one."""
        found = [t for t in self.tasks if isinstance(t, kind)]
        if len(found) != 1:
            names = ", ".join(self.heads) or "none"
            raise BadWeights(
                f"expected one task {kind.__name__.lower()!r}, the weights have {len(found)}. Their tasks: {names}."
            )
        return found[0]

    @property
    def parameters_count(self) -> int:
        """Number of trainable and frozen parameters."""
        return sum(p.numel() for p in self.parameters())

    def bind(self, data: TrainingSet) -> None:
        """Connect the columns of a training set with the features of the model.

        Raises BadWeights unless the data have the features and the frame that the model was trained with.
        """
        given = _AND.join(data.frames)
        if differ((self.frame, given)):
            raise BadWeights(
                f"the model was trained on events in frame {self.frame!r}, {data.schema.dataset!r} is in frame "
                f"{given!r}. Read the events as those of the training, such as whole events as their leading_jets."
            )
        self.backbone.particle.require(data.particle_names[2:], given)
        self.backbone.column.require(data.column_names, given)
        self.backbone.particle.bind(data.particle_names[2:])
        self.backbone.column.bind(data.column_names)

    def __repr__(self) -> str:
        tasks = ", ".join(t.key for t in self.tasks) or "none"
        known = ", ".join(self.backbone.particle.names)
        return f"<Network {self.size_name}: {self.parameters_count:,} parameters; tasks: {tasks}; particle features: {known}>"

    def forward(self, inputs: Inputs) -> Encoded:
        """Encode a batch."""
        encoded: Encoded = self.backbone(inputs)
        return encoded

    def losses(self, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:
        """(B,) loss of every task, unweighted, from one pass of the backbone."""
        encoded = self(inputs)
        return {t.key: t.loss(encoded, inputs, batch) for t in self.tasks}


def new_network(
    size_name: str,
    data: TrainingSet,
    tasks: Sequence[TaskSpec],
    max_particles: int,
    generator: torch.Generator,
    rows: Selection | None = None,
) -> Network:
    """A network with random weights for the features and labels of a training set.

    rows: the events from which features are normalised, all without it.
    """
    norms, columns = _norms(data, rows, data.particle_names[2:], data.column_names)
    with _seeded(generator):
        width = 2 * size(size_name).width
        backbone = Backbone(size(size_name), NamedFeatures(norms, width), NamedFeatures(columns, width))
        return _assembled(size_name, backbone, tasks, data, rows, max_particles)


def frames_of(config: WeightsConfig, data: TrainingSet) -> tuple[str, str]:
    """The frame that some weights were trained in, "" if they do not say, and that of the data; leading jets are jets."""
    both = ((config.particle.trained, str(config.data.get("frame", ""))), (data.particle_names, _AND.join(data.frames)))
    trained, given = ("jet" if "jet" in names else frame for names, frame in both)
    return trained, given


def differ(frames: tuple[str, str]) -> bool:
    """Whether some of the data are known to be in another frame than all that the weights have seen."""
    return bool(frames[0]) and not set(frames[1].split(_AND)) <= set(frames[0].split(_AND))


def adapt_network(
    folder: Path,
    data: TrainingSet,
    tasks: Sequence[TaskSpec],
    max_particles: int,
    allowed: Sequence[str],
    generator: torch.Generator,
    rows: Selection | None = None,
) -> tuple[Network, LoadReport]:
    """The backbone of some weights with new heads for the tasks, ready for a training set.

    Features that the weights have not seen get zero embeddings; rows: the events from which they are normalised. In
    another frame than that of the weights so are the numbers that both know: GeV and angles to a jet's axis say nothing
    of how MeV deposits are spread. Raises BadWeights for an unexplained feature.
    """
    config, backbone = load_backbone(folder)
    particle = backbone.particle.match(data.particle_names[2:], allowed)
    column = backbone.column.match(data.column_names, allowed)
    frames = frames_of(config, data)
    again = (_numbers(data, particle.matched), _numbers(data, column.matched)) if differ(frames) else ((), ())
    norms = _norms(data, rows, (*particle.new, *again[0]), (*column.new, *again[1]))
    for features, match, found in zip((backbone.particle, backbone.column), (particle, column), norms, strict=True):
        features.renormalise(found)
        features.add({n: found[n] for n in match.new})
    with _seeded(generator):
        network = _assembled(config.size, backbone, tasks, data, rows, max_particles)
    heads = tuple(t.key for t in network.tasks if not t.spec.kept)
    report = LoadReport(particle, column, heads, f"{folder} ({config.size})", frames, (*again[0], *again[1]))
    return network, report


def make_tasks(specs: Sequence[TaskSpec], schema: Schema, backbone: Backbone) -> list[Task]:
    """The tasks of a recipe with their heads; BadRecipe if a target does not suit its task."""
    made = [_make_task(spec, schema, backbone) for spec in specs]
    keys = [t.key for t in made]
    for key in keys:
        if keys.count(key) > 1 or "." in key:
            raise BadRecipe(f"tasks {key!r}: every task needs its own target, without a dot in its name")
    return made


def save(
    network: Network, folder: Path, *, data: Mapping[str, Any], citation: Sequence[str] = (), licence: str = "not stated"
) -> str:
    """Write `model.safetensors` and `config.json`; returns the SHA-256 of the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {n: t.detach().cpu().contiguous() for n, t in network.state_dict().items()}
    with atomic(folder / "model.safetensors") as temporary:
        save_file(tensors, temporary)
    digest = file_hash(folder / "model.safetensors")
    config = WeightsConfig(
        size=network.size_name,
        particle=network.backbone.particle.config(),
        column=network.backbone.column.config(),
        tasks=tuple(t.spec for t in network.tasks),
        labels=tuple(t.label for t in network.tasks if t.label is not None),
        max_particles=network.max_particles,
        data={**data, "frame": network.frame},
        citation=tuple(citation),
        licence=licence,
        sha256=digest,
    )
    write_json(folder / "config.json", config.model_dump(mode="json"))
    return digest


def load(name: str | Path) -> Network:
    """A network with its heads, as it was saved: shipped weights ("xs"), a run folder, or a weights folder.

    `network.config` says what it was trained on, what it owes and under which licence it stands. Nothing is
    unpickled. Raises BadWeights if there are no such weights, or if file and configuration disagree.
    """
    folder = weights_folder(name)
    config, tensors = read_weights(folder)
    backbone = _backbone(config.size, config.particle, config.column)
    labels = {label.name: label for label in config.labels}
    with torch.random.fork_rng(devices=[]):
        tasks = [_kind(spec).make(spec, labels.get(spec.target or ""), backbone) for spec in config.tasks]
    network = Network(config.size, backbone, tasks, config.max_particles)
    fill(network, tensors, folder)
    network.config = config
    network.frame = str(config.data.get("frame", ""))
    return network.eval()


def load_backbone(folder: Path) -> tuple[WeightsConfig, Backbone]:
    """The backbone of a weights folder, without heads."""
    config, tensors = read_weights(folder)
    backbone = _backbone(config.size, config.particle, config.column)
    prefix = "backbone."
    fill(backbone, {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}, folder)
    return config, backbone


def fill(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Give a module the tensors of a weights folder; BadWeights unless they are exactly those that it has."""
    expected = {n: t.shape for n, t in module.state_dict().items()}
    for name, shape in expected.items():
        if name not in tensors:
            raise BadWeights(f"{folder}: has no tensor {name!r}. Nearest: {nearest(name, tensors)}.")
        if tensors[name].shape != shape:
            raise BadWeights(f"{folder}: tensor {name!r} has shape {tuple(tensors[name].shape)}, expected {tuple(shape)}")
    if unknown := sorted(set(tensors) - set(expected)):
        raise BadWeights(f"{folder}: tensor {unknown[0]!r} is not part of the model. Nearest: {nearest(unknown[0], expected)}.")
    module.load_state_dict(dict(tensors))


def _backbone(size_name: str, particle: FeaturesConfig, column: FeaturesConfig) -> Backbone:
    numbers = size(size_name)
    with torch.random.fork_rng(devices=[]):  # loading weights must not move the user's random numbers
        return Backbone(numbers, *(NamedFeatures.of(features, 2 * numbers.width) for features in (particle, column)))


def _make_task(spec: TaskSpec, schema: Schema, backbone: Backbone) -> Task:
    kind = _kind(spec)
    if kind.classes is None or (kind.optional and spec.target is None):
        return kind.make(spec, None, backbone)
    known = schema.particle_label_names if kind.per_particle else schema.label_names
    if spec.target is None:
        raise BadRecipe(f"task {spec.task!r} needs a target. Labels of the data: {', '.join(known) or 'none'}.")
    label = schema.label(schema.resolve(spec.target))
    per_particle = label.name in schema.particle_label_names
    if bool(label.classes) != kind.classes or per_particle != kind.per_particle:
        what = f"{'classes' if label.classes else 'a number'} of {'particles' if per_particle else 'events'}"
        raise BadRecipe(
            f"task {spec.task!r} cannot learn {label.name!r}, which is {what}. Use classify for classes, regress for numbers, "
            "segment for classes of particles."
        )
    return kind.make(spec.model_copy(update={"target": label.name}), label, backbone)


def _assembled(
    name: str, backbone: Backbone, specs: Sequence[TaskSpec], data: TrainingSet, rows: Selection | None, max_particles: int
) -> Network:
    """A backbone with its tasks, bound to what they will be trained on and have looked at."""
    backbone.particle.trained, backbone.column.trained = data.particle_names[2:], data.column_names
    of_frames = data.names_of_frames if len(data.frames) > 1 else {}
    backbone.particle.trained_in = {frame: names[2:] for frame, (names, _) in of_frames.items()}
    backbone.column.trained_in = {frame: names for frame, (_, names) in of_frames.items()}
    network = Network(name, backbone, make_tasks(specs, data.schema, backbone), max_particles)
    network.frame = _AND.join(data.frames)
    network.bind(data)
    for task in network.tasks:
        task.prepare(data, data.everything if rows is None else rows, load)
    return network


def _norms(
    data: TrainingSet, rows: Selection | None, particle: Sequence[str], column: Sequence[str]
) -> tuple[dict[str, Norm], dict[str, Norm]]:
    """Normalisation of some particle features and event columns, from a sample of the events `rows`."""
    chosen = data[data.sample(data.everything if rows is None else rows, _NORM_EVENTS)]
    particles_BPF, columns_BG = chosen.particles(), chosen.columns
    mask_BP = np.arange(particles_BPF.shape[1]) < chosen.counts[:, None]
    return (
        {n: fit_norm(n, particles_BPF[..., data.particle_names.index(n)][mask_BP]) for n in particle},
        {n: fit_norm(n, columns_BG[:, data.column_names.index(n)]) for n in column},
    )


def _numbers(data: TrainingSet, names: Sequence[str]) -> tuple[str, ...]:
    """Those of the features that measure something; a flag or a charge means the same everywhere."""
    no_numbers = {f.name for f in (*data.schema.features, *data.schema.columns) if f.kind != "number"}
    return tuple(n for n in names if n not in no_numbers)


def _kind(spec: TaskSpec) -> TaskKind:
    known = registry.entries("tasks")
    if spec.task not in known:
        raise BadRecipe(f"unknown task {spec.task!r}. Nearest: {nearest(spec.task, known)}. Known: {', '.join(known)}.")
    return cast("TaskKind", known[spec.task])


@contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """Initialise modules from a generator without touching the global random state."""
    seed = int(torch.randint(2**62, (1,), generator=generator).item())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
