"""Recipe: what to train, as a YAML file. Read once, validated, frozen, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cloudchamber.errors import BadRecipe, CloudchamberError, nearest

Adapt = Literal["full", "lora", "probe", "scratch"]
SizeName = Literal["xs", "s", "m", "l"]
MAX_BYTES = 1 << 20  # a recipe or a card is a page of text


class PlainLoader(yaml.SafeLoader):
    """YAML of plain values. Aliases are refused: nested ones make a few lines into terabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose as PyYAML does, but for aliases."""
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed here", event.start_mark)
        return super().compose_node(parent, index)


class Document(BaseModel):
    """A page of YAML or a part of one: read once, validated, frozen, hashed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @property
    def sha256(self) -> str:
        """Hash of the content, independent of its layout as text."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    def to_yaml(self) -> str:
        """The content as YAML that can be read back, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


class TaskSpec(Document):
    """One objective: which task, on which target, with which weight in the sum of losses.

    kept: start from the head that the weights have for it. With pre-training data in the mixture, that is replay: the
    model goes on doing what it could do.
    """

    task: str
    target: str | None = None
    weight: float = Field(1.0, ge=0)
    options: dict[str, Any] = Field(default_factory=dict)
    kept: bool = False


class Optimisation(Document):
    """How the loss is brought down. Defaults that depend on the size are None here and printed when resolved.

    batch: events per step. learning_rate: of new parameters; `backbone_factor` scales it for pre-trained ones, and
    `layer_decay` once more for each block between them and the heads (arXiv:2003.10555; 1: all alike).
    warmup: fraction of the steps; then the rate falls as a cosine to `final_rate` of its peak.
    ema: decay of the averaged weights that are validated and kept. patience: validations without a better loss.
    max_tokens: padded tokens per micro-batch; gradients of a step's micro-batches are accumulated. recompute: keep only the
    inputs of each block and compute it again in the backward pass; less memory, more time, the same numbers.
    Where one of both is given, a training on a CPU puts memory before speed. precision: of the matrix products of the backbone
    while it trains; bfloat16 is for GPUs. Weights, residual sums, heads, losses and validation stay in float32. optimiser:
    "muon" is for the backbone's hidden matrices, at the rates of AdamW, by which all else goes; not for LoRA, whose matrices
    are no layers, nor a probe, nor with --parallel fsdp, which cuts matrices into shards.
    """

    optimiser: Literal["adamw", "muon"] = "adamw"
    steps: int | None = Field(None, ge=1)
    batch: int = Field(128, ge=1)
    learning_rate: float | None = Field(None, gt=0)
    backbone_factor: float | None = Field(None, gt=0, le=1)
    layer_decay: float = Field(1.0, gt=0, le=1)
    weight_decay: float = Field(0.01, ge=0)
    warmup: float = Field(0.1, ge=0, le=1)
    final_rate: float = Field(0.02, ge=0, le=1)
    clip: float = Field(1.0, gt=0)
    ema: float = Field(0.99, ge=0, lt=1)
    validations: int = Field(20, ge=1)
    patience: int | None = Field(None, ge=1)
    checkpoints: int = Field(10, ge=0)
    max_tokens: int | None = Field(None, ge=1)
    recompute: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"


class Mixing(Document):
    """How stores are mixed: drawn in proportion to weight x size^(1 / temperature). weights: one per store; 1 without."""

    weights: tuple[float, ...] | None = None
    temperature: float = Field(1.0, gt=0)


class Recipe(Document):
    """One training.

    size: the dial that width, depth, heads and learning rate follow. weights: a shipped size ("xs"), a folder, or None for
    a random start. adapt: train everything ("full"), low-rank changes of the given rank ("lora"), the heads alone
    ("probe"), or from a random start ("scratch"). data: stores or files, read with `card` if given; with `leading_jets`
    whole events become the particles of their leading anti-kt R = 1 jets. mixture: how often each store is drawn;
    without it every event of all of them comes once an epoch. shuffle_block: see data.order.Shuffle. train_events: use
    only so many of the training events. max_particles: tokens per event, leading in pT. feature_drop: probability that
    an event is shown without the features beyond its kinematics, so that the model also serves data that lack them.
    new_features: features unknown to the weights that may be added. seeds: networks to train, with seeds from `seed`
    on; several are an ensemble.
    """

    name: str = "unnamed"
    size: SizeName = "xs"
    weights: str | None = None
    adapt: Adapt = "scratch"
    rank: int | None = Field(None, ge=1)
    data: tuple[str, ...] = ()
    card: str | None = None
    leading_jets: int | None = Field(None, ge=1)
    mixture: Mixing | None = None
    shuffle_block: int = Field(1, ge=1, le=1 << 16)
    train_events: int | None = Field(None, ge=1)
    tasks: tuple[TaskSpec, ...] = Field(min_length=1)
    optimisation: Optimisation = Optimisation()
    max_particles: int = Field(128, ge=1)
    feature_drop: float = Field(0.0, ge=0, le=1)
    new_features: tuple[str, ...] = ()
    seed: int = Field(0, ge=0)
    seeds: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _start_is_clear(self) -> Self:
        if (self.adapt == "scratch") != (self.weights is None):
            raise ValueError(f"adapt {self.adapt!r} with weights {self.weights!r}: weights are for all but 'scratch'")
        if self.rank is not None and self.adapt != "lora":
            raise ValueError(f"adapt {self.adapt!r} with rank {self.rank}: a rank is for 'lora' alone")
        if self.adapt == "probe" and self.optimisation.layer_decay != 1:
            raise ValueError("adapt 'probe' with a layer_decay: a probe trains no layer")
        if self.adapt in ("lora", "probe") and self.optimisation.optimiser == "muon":
            raise ValueError(
                f"adapt {self.adapt!r} with optimiser 'muon': it is for the matrices of layers, none of which is trained"
            )
        if self.adapt == "scratch" and (kept := [t.task for t in self.tasks if t.kept]):
            raise ValueError(f"adapt 'scratch' with the head of {kept[0]!r} kept: there are no weights to keep it from")
        return self


def load(path: Path) -> Recipe:
    """Read a recipe file.

    Raises BadRecipe that names the file, the entry, what was found, and the nearest known name.
    """
    return make(plain_yaml(path, BadRecipe, "recipe"), str(path))


def plain_yaml(path: Path, bad: type[CloudchamberError], what: str) -> dict[str, Any]:
    """The entries of a page of YAML; raises `bad`, naming the file, if it is none. what: "recipe", "card"."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise bad(f"{path}: larger than {MAX_BYTES} bytes; a {what} is a page of YAML")
        content = yaml.load(path.read_text(), Loader=PlainLoader)  # noqa: S506  (a SafeLoader without aliases)
    except FileNotFoundError as error:
        raise bad(f"{path}: no such {what} file") from error
    except OSError as error:
        raise bad(f"{path}: cannot be opened ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise bad(f"{path}: is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise bad(f"{path}: expected a mapping at the top, found {type(content).__name__}")
    return content


def make(content: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """A recipe from its entries; BadRecipe as for `load`. origin: what an error names as the place."""
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        problem = first_problem(error, Recipe, Mixing, Optimisation, TaskSpec)
        raise BadRecipe(f"{origin}: {problem}") from error


def first_problem(error: ValidationError, *models: type[BaseModel]) -> str:
    """The first entry that is wrong; an unknown one with the nearest names among the fields of the models."""
    # An unknown entry is told before a missing one: most likely it is that one, misspelt.
    detail = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")
    place = ".".join(str(p) for p in detail["loc"])
    if detail["type"] == "extra_forbidden":
        known = dict.fromkeys(name for model in models for name in model.model_fields)
        return f"unknown entry {place!r}. Nearest: {nearest(str(detail['loc'][-1]), known)}."
    message = detail["msg"].removeprefix("Value error, ")
    return f"entry {place!r}: {message}, found {detail.get('input')!r:.80}" if place else message
