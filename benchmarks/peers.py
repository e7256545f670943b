"""The peers: OmniLearned's PET-2 and Particle Transformer, imported from their packages, fed with the same jets.

omnilearned 0.2.0 (MIT, arXiv:2510.24066), weaver-core 0.5.3 (MIT, arXiv:2202.03772). Each gets its own standard
features, optimiser and batch; nothing of their code is copied here.
"""

# B batch, P particle, F feature, T particle of any jet, C class

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from cloudchamber.events.batch import pad
from cloudchamber.recipe import Optimisation
from cloudchamber.train.optimiser import rate
from cloudchamber.train.scoring import MAX_TOKENS
from inputs import part_columns, pet2_columns, sorted_cuts
from jets import Jets

BATCH = 64  # jets per optimiser step of both, as their command lines are documented
SORTED_TOKENS = 1536  # padded tokens per micro-batch where a peer is fed with sorted batches
EVALUATED = 128  # jets per batch of `omnilearned evaluate`
SCORED_TOKENS = MAX_TOKENS  # padded tokens per sorted batch where nothing is trained: as ours
CLIP = 1.0
PET2_NEIGHBOURS = 10
# OmniLearned's input: columns 0-3 kinematics, 4 particle type (0 is padding), 5-8 further features.
PET2_KINEMATICS, PET2_TYPES, PET2_ADDED = 4, 9, 4
_WARM = 6  # forward passes until Particle Transformer's trimming of the longest jets sets in


@dataclass(frozen=True)
class Schedule:
    """Length and peak of a learning-rate schedule: our own linear warm-up and cosine."""

    steps: int
    peak: float
    optimisation: Optimisation = field(default_factory=Optimisation)

    def at(self, step: int) -> float:
        """Learning rate of step 0, 1, ..."""
        return self.peak * rate(step, self.steps, self.optimisation)

    def with_optimiser(self, optimiser: Literal["adamw", "muon"]) -> Schedule:
        """The same with another optimiser; only ours looks at it."""
        return replace(self, optimisation=self.optimisation.model_copy(update={"optimiser": optimiser}))


# The rate that `omnilearned train` starts with; AdamW at 1e-3 for Particle Transformer, as in its paper.
PET2_RATE = 5e-5  # kept constant here
PART_SCHEDULE = Schedule(10_000, 1e-3)


class Pet2:
    """PET-2 small, classifier with pair, particle-type and further features, Lion: what `omnilearned train` builds.

    feeding: "shipped" is the package's own collate (every batch padded to the width of the file) and its own loss;
    "longest" the same with each batch padded to its longest jet; "sorted" sorted micro-batches, gradients
    accumulated over the jets given, one optimiser step, plain cross-entropy (its class weights depend on the batch).
    columns: its nine, of jets by default; `jets` then needs no more than `label`, `label_N` and `offsets_N`. width: of its
    tokens, 128 as it ships. schedule: of the rate, which stays that of its command line without one.
    """

    def __init__(
        self,
        jets: Any,
        feeding: Literal["shipped", "longest", "sorted"],
        seed: int = 0,
        *,
        columns: Callable[[Any], NDArray[np.float32]] = pet2_columns,
        width: int = 128,
        schedule: Schedule | None = None,
    ):
        from omnilearned.network import PET2
        from omnilearned.utils import get_model_parameters, get_param_groups
        from pytorch_optimizer import Lion

        torch.manual_seed(seed)
        self.model = PET2(
            input_dim=PET2_KINEMATICS,
            use_int=True,
            local_int=False,
            pid=True,
            pid_dim=PET2_TYPES,
            add_info=True,
            add_dim=PET2_ADDED,
            mode="classifier",
            num_classes=len(jets.label.classes),
            K=PET2_NEIGHBOURS,
            num_coord=2,
            **get_model_parameters("small") | {"base_dim": width},
        )
        # Weight decay 0 and these moments are the defaults of the command line.
        groups = get_param_groups(self.model, 0.0, schedule.peak if schedule else PET2_RATE)
        self.optimiser = Lion(groups, betas=(0.95, 0.98))
        self.schedule, self.rates = schedule, [group["lr"] for group in self.optimiser.param_groups]
        self.feeding, self.classes = feeding, len(jets.label.classes)
        self.offsets_N, self.label_N = jets.offsets_N, jets.label_N
        self.input_T9 = columns(jets)
        self.items = _pet2_items(self) if feeding == "shipped" else []

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def train_step(self, rows: NDArray[np.int64], step: int) -> float:
        """Train once on the jets `rows`; mean loss."""
        self.model.train()
        if self.schedule:
            for group, peak in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = peak * self.schedule.at(step) / self.schedule.peak
        if self.feeding == "sorted":
            return self._sorted_step(rows)
        total = 0.0
        for start in range(0, len(rows), BATCH):
            chosen = rows[start : start + BATCH]
            batch = self._collated(chosen) if self.feeding == "shipped" else self._padded(chosen)
            self.optimiser.zero_grad()
            loss = _pet2_loss(self._outputs(batch), batch["y"])
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
            self.optimiser.step()
            total += float(loss.detach()) * len(chosen)
        return total / len(rows)

    @torch.no_grad()
    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, C) class probabilities of the jets `rows`."""
        self.model.eval()
        assert self.feeding != "longest"
        if self.feeding == "shipped":
            batches = (self._collated(rows[i : i + EVALUATED]) for i in range(0, len(rows), EVALUATED))
            return np.concatenate([self._outputs(batch)["y_pred"].softmax(1).numpy() for batch in batches])
        found, position = np.empty((len(rows), self.classes), np.float32), {row: i for i, row in enumerate(rows.tolist())}
        for chosen in sorted_cuts(self.offsets_N, rows, SCORED_TOKENS, least=PET2_NEIGHBOURS + 1):
            logits = self._outputs(self._padded(chosen))["y_pred"]
            found[[position[row] for row in chosen.tolist()]] = logits.softmax(1).numpy()
        return found

    def _sorted_step(self, rows: NDArray[np.int64]) -> float:
        self.optimiser.zero_grad()
        total = 0.0
        # Its neighbour search needs one particle more than neighbours in every batch: shorter ones are padded.
        for chosen in sorted_cuts(self.offsets_N, rows, SORTED_TOKENS, least=PET2_NEIGHBOURS + 1):
            batch = self._padded(chosen)
            loss = cross_entropy(self._outputs(batch)["y_pred"], batch["y"], reduction="sum") / len(rows)
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimiser.step()
        return total

    def _outputs(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        outputs: dict[str, Any] = self.model(batch["X"], batch["y"], pid=batch["pid"], add_info=batch["add_info"])
        return outputs

    def _collated(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        from omnilearned.dataloader import collate_point_cloud

        batch: dict[str, Tensor] = collate_point_cloud([self.items[row] for row in rows])
        return batch

    def _padded(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        x_BPF = torch.from_numpy(self.padded(rows))
        k = PET2_KINEMATICS
        return {
            "X": x_BPF[..., :k].contiguous(),
            "pid": x_BPF[..., k].int(),
            "add_info": x_BPF[..., k + 1 :].contiguous(),
            "y": torch.from_numpy(self.label_N[rows]),
        }

    def padded(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(B, P, 9) its input, zero-padded to the longest of these jets, at least to neighbours + 1."""
        starts_B = self.offsets_N[rows]
        x_BPF, _ = pad(self.input_T9, starts_B, self.offsets_N[rows + 1] - starts_B)
        lacking = PET2_NEIGHBOURS + 1 - x_BPF.shape[1]
        return np.pad(x_BPF, ((0, 0), (0, lacking), (0, 0))) if lacking > 0 else x_BPF


@dataclass(frozen=True)
class PartSize:
    """What Particle Transformer's size consists of."""

    embed_dims: tuple[int, int, int] = (128, 512, 128)
    pair_embed_dims: tuple[int, ...] = (64, 64, 64)
    heads: int = 8
    layers: int = 8
    class_layers: int = 2


PART_V1 = PartSize()
# About 0.4 M parameters: half the width, 6 + 1 layers; the pair network of the same shape at half the width.
PART_SMALL = PartSize((64, 256, 64), (32, 32, 32), 8, 6, 1)
PET2_SMALL = 48  # width of tokens: 0.4 M parameters with PET-2 small's ten layers


class Part:
    """Particle Transformer version 1 of weaver-core with the 17 JetClass features, AdamW.

    feeding: "shipped" is random batches, padding wrapped around as in the JetClass data card, the longest jets
    trimmed by the model itself; "sorted" sorted micro-batches with accumulated gradients: its batch norm then sees
    jets of one length at a time, so that mode measures speed only.
    """

    def __init__(
        self,
        jets: Jets,
        feeding: Literal["shipped", "sorted"],
        seed: int = 0,
        *,
        dropout: float = 0.1,
        size: PartSize = PART_V1,
        schedule: Schedule = PART_SCHEDULE,
    ):
        from weaver.nn.model.ParticleTransformer import ParticleTransformer

        torch.manual_seed(seed)
        drops = dict.fromkeys(("dropout", "attn_dropout", "activation_dropout"), dropout)
        self.input_TF = part_columns(jets)
        self.model = ParticleTransformer(
            input_dim=self.input_TF.shape[1] - 4,
            num_classes=len(jets.label.classes),
            embed_dims=size.embed_dims,
            pair_embed_dims=size.pair_embed_dims,
            num_heads=size.heads,
            num_layers=size.layers,
            num_cls_layers=size.class_layers,
            block_params=drops,
        )
        self.schedule = schedule
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=schedule.peak, weight_decay=schedule.optimisation.weight_decay, fused=True
        )
        self.feeding = feeding
        self.offsets_N, self.label_N = jets.offsets_N, jets.label_N
        # The running averages of batch norm must not remember these passes.
        state = {n: t.clone() for n, t in self.model.state_dict().items()}
        self.model.train()
        with torch.no_grad():
            for _ in range(_WARM):
                self._logits(np.arange(2))
        self.model.load_state_dict(state)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return sum(p.numel() for p in self.model.parameters())

    def train_step(self, rows: NDArray[np.int64], step: int) -> float:
        """Train once on the jets `rows`; mean loss."""
        self.model.train()
        for group in self.optimiser.param_groups:
            group["lr"] = self.schedule.at(step)
        if self.feeding == "sorted":
            return self._update(sorted_cuts(self.offsets_N, rows, SORTED_TOKENS), len(rows))
        shares = [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]
        return sum(self._update(iter([share]), len(share)) * len(share) for share in shares) / len(rows)

    @torch.no_grad()
    def probabilities(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(N, C) class probabilities of the jets `rows`."""
        self.model.eval()
        return np.concatenate([self._logits(rows[i : i + 256]).softmax(1).numpy() for i in range(0, len(rows), 256)])

    def _update(self, micro_batches: Iterator[NDArray[np.int64]], jets: int) -> float:
        self.optimiser.zero_grad()
        total = 0.0
        for chosen in micro_batches:
            loss = cross_entropy(self._logits(chosen), torch.from_numpy(self.label_N[chosen]), reduction="sum") / jets
            loss.backward()
            total += float(loss.detach())
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimiser.step()
        return total

    def _logits(self, rows: NDArray[np.int64]) -> Tensor:
        starts_B, counts_B = self.offsets_N[rows], np.diff(self.offsets_N)[rows]
        positions_P = np.arange(counts_B.max())
        # Padding repeats the jet from its start, as in its data card: batch norm then sees no zeros.
        wrapped_BFP = self.input_TF[starts_B[:, None] + positions_P % counts_B[:, None]].transpose(0, 2, 1)
        x_BFP = torch.from_numpy(np.ascontiguousarray(wrapped_BFP))
        mask_B1P = torch.from_numpy((positions_P < counts_B[:, None])[:, None])
        logits: Tensor = self.model(x_BFP[:, 4:], v=x_BFP[:, :4], mask=mask_B1P)
        return logits


def _pet2_items(peer: Pet2) -> list[dict[str, Tensor]]:
    """Every jet as the package's data set hands it to its collate: padded to the longest jet of the file."""
    x_NPF = torch.from_numpy(peer.padded(np.arange(len(peer.label_N))))
    k = PET2_KINEMATICS
    return [
        {"X": x[:, :k].contiguous(), "pid": x[:, k].int(), "add_info": x[:, k + 1 :].contiguous(), "y": torch.tensor(y)}
        for x, y in zip(x_NPF, peer.label_N.tolist(), strict=True)
    ]


def _pet2_loss(outputs: dict[str, Any], y_B: Tensor) -> Tensor:
    """The package's own loss of a classifier: cross-entropy with the inverse class frequencies of the batch."""
    from omnilearned.utils import CLIPLoss, get_loss

    logs = {key: torch.zeros(1) for key in ("loss", "loss_class", "loss_gen", "loss_clip", "loss_class_event")}
    cost, other = nn.CrossEntropyLoss(reduction="none"), nn.MSELoss(reduction="none")
    loss: Tensor = get_loss(outputs, y_B, "classifier", cost, other, False, False, CLIPLoss(), logs)
    return loss
