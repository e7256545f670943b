"""Generate: flow matching on the particles of jets, given the jet's columns (multiplicity, pT, mass) and its class.

The velocity field of arXiv:2210.02747 with straight paths from noise to particles, read from the one backbone: it sees
noisy particles, all tokens of a jet shifted by an embedding of time and class. With a teacher, the paths go to what the teacher
makes of the same noise: they no longer cross, so that a step or two do for many (reflow, arXiv:2209.03003).
"""

# B batch, P particle, D generated coordinate, E width, F particle column, G event column, K observable

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from cloudchamber.data.order import Selection
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.errors import BadRecipe
from cloudchamber.events import Batch, Label
from cloudchamber.events.kinematics import GEOMETRY
from cloudchamber.nn.backbone import Backbone, Encoded, Inputs
from cloudchamber.recipe import TaskSpec
from cloudchamber.stats.objectives import distance
from cloudchamber.tasks.base import Task, TaskKind, TaskOptions, frozen_teacher, options, random_of, target

KINEMATIC = ("deta", "dphi", "log_pt")
OBSERVABLES = ("log_pt", "mass", "width", "leading")
_TIMES = 8  # frequencies of the embedding of time: half a period of it, a whole one, two, ... 64


class Options(TaskOptions):
    """steps: of the solver (two passes each) when the quality is measured. conditions: training jets whose event columns and
    class are kept with the weights, to be given to new jets. teacher: name or folder of weights that generate with many
    steps, `teacher_steps`, what these shall with few.
    """

    steps: int = Field(8, ge=1)
    conditions: int = Field(1024, ge=1)
    teacher: str | None = None
    teacher_steps: int = Field(8, ge=1)


class Generate(Task):
    """Velocity of each particle's coordinates, in normalised units. conditions_NG: class, multiplicity, event columns."""

    def __init__(self, spec: TaskSpec, label: Label | None, backbone: Backbone):
        super().__init__(spec, label)
        self.options = options(spec, Options)
        norms = backbone.particle.norms | backbone.particle.added
        usual = (n for n in backbone.particle.trained if n.startswith("is_") or n == "charge")
        self.names = (*KINEMATIC, *usual)
        self.register_buffer("centre", torch.tensor([norms[n].centre for n in self.names]), persistent=False)
        self.register_buffer("scale", torch.tensor([norms[n].scale for n in self.names]), persistent=False)
        width, size = backbone.size.width, len(self.names)
        self.moment = nn.Sequential(nn.Linear(2 * _TIMES, width), nn.GELU(), nn.Linear(width, width))
        self.kind = nn.Embedding(1 + len(label.classes if label else ()), width)  # the first for an unknown class
        self.head = nn.Sequential(nn.Linear(width + size, width), nn.GELU(), nn.Linear(width, size))
        for parameter in self.head[2].parameters():
            nn.init.zeros_(parameter)
        self.register_buffer("conditions_NG", torch.zeros(self.options.conditions, 2 + len(backbone.column.trained)))
        self._backbone = [backbone]  # in a list: it is not a part of this head
        self._teacher: list[Any] = []  # its network

    def prepare(self, data: TrainingSet, rows: Selection, load: Callable[[str], Any]) -> None:
        """Keep the conditions of some training jets; load the teacher."""
        if data.schema.frame != "jet" or "jet" in data.particle_names:
            raise BadRecipe(f"task 'generate' makes jets; {data.schema.dataset!r} has the frame {data.schema.frame!r}")
        chosen = data[np.resize(data.sample(rows, self.options.conditions), self.options.conditions)]
        classes_N = chosen.target(self.label.name) if self.label else np.full(chosen.size, -1)
        self.conditions_NG = torch.from_numpy(np.column_stack([classes_N, chosen.counts, chosen.columns]).astype(np.float32))
        if self.options.teacher is not None:
            self._teacher = [self._able(frozen_teacher(self.options.teacher, data, load))]

    def applies(self, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) bool: the jets with particles."""
        return inputs.mask_BP.any(dim=1)

    def loss(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> Tensor:  # noqa: ARG002
        """(B,) mean squared error of the velocity at a random time of each jet; features that a jet lacks do not count."""
        random, device = random_of(self, inputs, batch), inputs.mask_BP.device
        data_BPD, present_BPD = self._coordinates(inputs)
        classes_B = self._classes(batch, device)
        noise_BPD = torch.randn(data_BPD.shape, generator=random).to(device)
        if self._teacher:
            data_BPD, present_BPD = self._taught(noise_BPD, inputs, classes_B), inputs.mask_BP[..., None].expand(data_BPD.shape)
        time_B = torch.rand(len(data_BPD), generator=random).to(device)
        now_BPD = torch.lerp(noise_BPD, data_BPD, time_B[:, None, None])
        guess_BPD = self._velocity(now_BPD, present_BPD, time_B, inputs, classes_B)
        errors_BPD = (guess_BPD - (data_BPD - noise_BPD)).square() * present_BPD
        return errors_BPD.sum(dim=(1, 2)) / present_BPD.sum(dim=(1, 2)).clamp(min=1)

    @torch.no_grad()
    def flow(self, noise_BPD: Tensor, inputs: Inputs, classes_B: Tensor, steps: int) -> Tensor:
        """(B, P, D) where noise comes to in `steps` midpoint steps, `names` in normalised units.

        inputs: only event columns and mask are read. classes_B: -1 for any class.
        """
        now_BPD, present_BPD = noise_BPD, inputs.mask_BP[..., None].expand(noise_BPD.shape)
        for step in range(steps):
            time_B = torch.full((len(now_BPD),), step / steps, device=now_BPD.device)
            half_BPD = now_BPD + self._velocity(now_BPD, present_BPD, time_B, inputs, classes_B) / (2 * steps)
            now_BPD = now_BPD + self._velocity(half_BPD, present_BPD, time_B + 0.5 / steps, inputs, classes_B) / steps
        return now_BPD

    def sample(self, inputs: Inputs, classes_B: Tensor, steps: int, random: torch.Generator) -> Tensor:
        """(B, P, D) `names` in their own units for every slot of the mask, whole numbers for types and charges; see `flow`."""
        noise_BPD = torch.randn((*inputs.mask_BP.shape, len(self.names)), generator=random).to(inputs.mask_BP.device)
        made_BPD = self.in_units(self.flow(noise_BPD, inputs, classes_B, steps))
        kinematic, low_D = len(KINEMATIC), [-1.0 if n == "charge" else 0.0 for n in self.names[len(KINEMATIC) :]]
        whole_BPD = made_BPD[..., kinematic:].round().clamp(max=1).maximum(torch.tensor(low_D, device=made_BPD.device))
        return torch.cat([made_BPD[..., :kinematic], whole_BPD], dim=-1)

    def answers(self, encoded: Encoded, inputs: Inputs, batch: Batch) -> dict[str, Tensor]:  # noqa: ARG002
        """Observables of jets and of new ones made for the same conditions."""
        classes_B, random = self._classes(batch, inputs.mask_BP.device), random_of(self, inputs, batch)
        made_BPD = self.sample(inputs, classes_B, self.options.steps, random)
        true_BP3 = inputs.particles_BPF[..., [2 + self._backbone[0].particle.bound.index(n) for n in KINEMATIC]]
        return {"true": observables(true_BP3, inputs.mask_BP), "made": observables(made_BPD, inputs.mask_BP)}

    def figures(self, answers: Mapping[str, NDArray[Any]]) -> dict[str, float]:
        """Wasserstein distance of each observable, in standard deviations of the true one."""
        pairs = zip(OBSERVABLES, answers["true"].T, answers["made"].T, strict=True)
        return {f"distance_{name}": distance(true, made) for name, true, made in pairs}

    def _able(self, teacher: Any) -> Any:
        """The teacher; BadWeights if it does not generate, BadRecipe if it makes other jets."""
        task = teacher.only(Generate)
        own, other = ((*t.names, *(t.label.classes if t.label else ())) for t in (self, task))
        if own != other:
            raise BadRecipe(f"teacher {self.options.teacher!r} makes jets of {', '.join(other)}; these are of {', '.join(own)}")
        return teacher

    def _taught(self, noise_BPD: Tensor, inputs: Inputs, classes_B: Tensor) -> Tensor:
        """Where the teacher's flow takes the noise, in this head's normalised units."""
        task = self._teacher[0].to(noise_BPD.device).only(Generate)
        made_BPD = task.in_units(task.flow(noise_BPD, inputs, classes_B, self.options.teacher_steps))
        return torch.where(inputs.mask_BP[..., None], self._normalised(made_BPD), 0.0)

    def _normalised(self, made_BPD: Tensor) -> Tensor:
        return (made_BPD - self.get_buffer("centre")) * self.get_buffer("scale")

    def in_units(self, normalised_BPD: Tensor) -> Tensor:
        """Coordinates in their own units."""
        return normalised_BPD / self.get_buffer("scale") + self.get_buffer("centre")

    def _classes(self, batch: Batch, device: torch.device) -> Tensor:
        if self.label is None:
            return torch.full((len(batch),), -1, device=device)
        return target(batch, self.spec, device).long()

    def _coordinates(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        """(B, P, D) normalised coordinates, 0 where the jet has none, and which are there."""
        bound = self._backbone[0].particle.bound
        raw_BPD = inputs.particles_BPF[..., [2 + bound.index(n) for n in self.names]]
        present_BPD = torch.isfinite(raw_BPD) & inputs.mask_BP[..., None]
        return torch.where(present_BPD, self._normalised(raw_BPD), 0.0), present_BPD

    def _velocity(self, now_BPD: Tensor, present_BPD: Tensor, time_B: Tensor, inputs: Inputs, classes_B: Tensor) -> Tensor:
        backbone = self._backbone[0]
        raw_BPD = self.in_units(now_BPD)
        values = dict(zip(self.names, torch.where(present_BPD, raw_BPD, torch.nan).unbind(dim=-1), strict=True))
        for name, source in zip(GEOMETRY, KINEMATIC, strict=True):
            values[name] = raw_BPD[..., KINEMATIC.index(source)]  # positions of pairs are never missing
        values["dr"] = torch.hypot(raw_BPD[..., 0], raw_BPD[..., 1])
        # What else the data have would tell of the particles as they are; a feature that is missing says nothing.
        nothing_BP = torch.full_like(values["dr"], torch.nan)
        noisy_BPF = torch.stack([values.get(n, nothing_BP) for n in (*GEOMETRY[:2], *backbone.particle.bound)], dim=-1)
        angle_BT = time_B[:, None] * math.pi * 2.0 ** torch.arange(_TIMES, device=time_B.device)
        moment_BE = self.moment(torch.cat([angle_BT.sin(), angle_BT.cos()], dim=1)) + self.kind(classes_B + 1)
        encoded = backbone(Inputs(noisy_BPF, inputs.columns_BG, inputs.mask_BP, condition_BE=moment_BE))
        velocity_BPD: Tensor = self.head(torch.cat([encoded.tokens_BPE, now_BPD], dim=-1))
        return velocity_BPD


def observables(coordinates_BPD: Tensor, mask_BP: Tensor) -> Tensor:
    """(B, 4) OBSERVABLES of jets of massless particles: log of the sum of pT and mass in GeV, pT-weighted mean distance
    from the axis, share of pT of the leading particle. coordinates: first KINEMATIC; axis at eta = phi = 0.
    """
    deta_BP, dphi_BP = coordinates_BPD[..., 0], coordinates_BPD[..., 1]
    pt_BP = coordinates_BPD[..., 2].clamp(max=12).exp() * mask_BP
    parts = (pt_BP * deta_BP.cosh(), pt_BP * dphi_BP.cos(), pt_BP * dphi_BP.sin(), pt_BP * deta_BP.sinh())
    energy_B, px_B, py_B, pz_B = (p.sum(dim=1) for p in parts)
    mass_B = (energy_B**2 - px_B**2 - py_B**2 - pz_B**2).clamp(min=0).sqrt()
    total_B = pt_BP.sum(dim=1).clamp(min=1e-8)
    width_B = (pt_BP * torch.hypot(deta_BP, dphi_BP)).sum(dim=1) / total_B
    return torch.stack([total_B.log(), mass_B, width_B, pt_BP.amax(dim=1) / total_B], dim=1)


TASK = TaskKind("generate", Generate, classes=True, optional=True)
