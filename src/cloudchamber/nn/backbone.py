"""Backbone: a pre-norm transformer on particle clouds with a cheap pair bias and a register token for the event."""

# B batch, P particle, T token (register + particles), E width, H head, F feature, G event column

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from cloudchamber.events.batch import Batch
from cloudchamber.nn.features import NamedFeatures
from cloudchamber.nn.sizes import Size

_PAIR_HIDDEN = 16
# Rough centre and width of ln dR, ln kT, ln z, ln m^2 of particle pairs in a jet: the pair features enter at order 1.
_PAIR_CENTRE = (-1.5, -1.0, -2.0, -1.5)
_PAIR_SCALE = (1.0, 0.5, 0.7, 0.35)
# Mean ln pT [GeV] that the pair features above are made for. Other events are looked at in units of their own typical pT:
# the radiation pattern hardly knows a scale, and MeV deposits would lie far outside of what the weights have seen.
_USUAL_LOG_PT = 1.7
# What a particle may still show when it is masked: where it is, not what it is.
POSITION = ("deta", "dphi", "dr")
_MASKED_LOG_PT = 0.0
_NEVER = -1e9  # attention logit of padding; finite, so that an empty event gives numbers and not NaN


@dataclass(frozen=True)
class Inputs:
    """A batch on the model's device. masked_BP: particles hidden by the masked objective, or None.

    condition_BE: added to every token of an event, or None. seed: of what a loss draws at random.
    """

    particles_BPF: Tensor
    columns_BG: Tensor
    mask_BP: Tensor
    masked_BP: Tensor | None = None
    condition_BE: Tensor | None = None
    seed: int = 0

    @classmethod
    def of(cls, batch: Batch, device: torch.device | str = "cpu") -> Inputs:
        """Move a batch to a device."""
        arrays = (batch.particles_BPF, batch.columns_BG, batch.mask_BP)
        particles_BPF, columns_BG, mask_BP = (torch.from_numpy(a).to(device, non_blocking=True) for a in arrays)
        return cls(particles_BPF, columns_BG, mask_BP)


@dataclass(frozen=True)
class Encoded:
    """What the backbone makes of a batch. pooled_BE: (B, 2 width), register token and mean over particles."""

    tokens_BPE: Tensor
    pooled_BE: Tensor


class Backbone(nn.Module):
    """Particles -> encoded particles and one vector per event.

    Invariant under the order of the particles and under padding. The attention of every block and head is biased by
    one shared function of the pair (ln dR, ln kT, ln z, ln m^2) and by c ln pT of the particle looked at.
    mixed_precision: matrix products are made in bfloat16 while it trains, residual sums and what comes out in float32.
    """

    mixed_precision = False

    def __init__(self, size: Size, particle: NamedFeatures, column: NamedFeatures):
        super().__init__()
        self.size = size
        self.particle = particle
        self.column = column
        self.token_bias = nn.Parameter(torch.zeros(particle.width))
        self.token_out = nn.Linear(particle.width, size.width)
        self.column_bias = nn.Parameter(torch.zeros(column.width))
        self.column_out = nn.Linear(column.width, size.width)
        self.masked_token = nn.Parameter(torch.zeros(particle.width))
        self.pair = PairBias(size.heads)
        self.blocks = nn.ModuleList(Block(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width)
        self.looks = Looks(size) if size.look_layers else None

    @property
    def out_width(self) -> int:
        """Width of the pooled vector."""
        return 2 * self.size.width

    def forward(self, inputs: Inputs) -> Encoded:
        """Encode a batch whose columns were bound with `particle.bind` and `column.bind`."""
        if not (self.mixed_precision and self.training):
            return self._encode(inputs)
        with torch.autocast(inputs.mask_BP.device.type, torch.bfloat16):
            encoded = self._encode(inputs)
        return Encoded(encoded.tokens_BPE.float(), encoded.pooled_BE.float())

    def recompute(self, wanted: bool) -> None:
        """Whether the blocks keep nothing but their inputs for the backward pass, and are computed again in it."""
        for block in self.blocks:
            assert isinstance(block, Block)
            block.recompute = wanted

    def _encode(self, inputs: Inputs) -> Encoded:
        x_BPE, log_pt_BP = self._tokens(inputs)
        register_BE = self.column_out(F.gelu(self.column(inputs.columns_BG) + self.column_bias))
        x_BTE = torch.cat([register_BE[:, None], x_BPE], dim=1)
        if inputs.condition_BE is not None:
            x_BTE = x_BTE + inputs.condition_BE[:, None]
        pair_HBTT = self.pair(inputs.particles_BPF[..., :2], log_pt_BP, inputs.mask_BP)
        log_pt_BT = F.pad(log_pt_BP * inputs.mask_BP, (1, 0))
        x_BTE = x_BTE.float()  # what the layers add to it is added in float32, also in mixed precision
        for block in self.blocks:
            x_BTE = block(x_BTE, pair_HBTT, log_pt_BT)
        normed_BTE = self.norm(x_BTE)
        register_BE = normed_BTE[:, 0]
        if self.looks is not None:
            register_BE = self.looks(x_BTE[:, 0], normed_BTE, log_pt_BT, inputs.mask_BP)
        return Encoded(normed_BTE[:, 1:], torch.cat([register_BE, _mean(normed_BTE[:, 1:], inputs.mask_BP)], dim=-1))

    @property
    def _log_pt_shift(self) -> float:
        usual = self.particle.norms.get("log_pt")
        return 0.0 if usual is None else _USUAL_LOG_PT - usual.centre

    def _tokens(self, inputs: Inputs) -> tuple[Tensor, Tensor]:
        features_BPF, log_pt_BP = inputs.particles_BPF[..., 2:], inputs.particles_BPF[..., 2] + self._log_pt_shift
        masked = inputs.masked_BP
        if masked is None:
            embedded = self.particle(features_BPF) + self.token_bias
        else:
            names = self.particle.names_of()
            keep_F = torch.tensor([n in POSITION for n in names], device=log_pt_BP.device)
            embedded = self.particle(features_BPF, keep_F, masked) + self.token_bias
            embedded = embedded + masked[..., None] * self.masked_token
            log_pt_BP = torch.where(masked, _MASKED_LOG_PT, log_pt_BP)
        return self.token_out(F.gelu(embedded)), log_pt_BP


class PairBias(nn.Module):
    """Shared attention bias from pairs of massless particles: a 4 -> 16 -> heads network on N^2 pairs."""

    def __init__(self, heads: int):
        super().__init__()
        self.inner = nn.Parameter(torch.randn(_PAIR_HIDDEN, 4) / 2)
        self.inner_bias = nn.Parameter(torch.randn(_PAIR_HIDDEN, 1) / 2)
        # O(1) at the start: with a bias that starts at zero the early learning of Particle Transformer is not reached.
        self.outer = nn.Parameter(torch.randn(heads, _PAIR_HIDDEN) / math.sqrt(_PAIR_HIDDEN))
        self.register_buffer("centre", torch.tensor(_PAIR_CENTRE)[:, None], persistent=False)
        self.register_buffer("scale", torch.tensor(_PAIR_SCALE)[:, None], persistent=False)

    def forward(self, position_BP2: Tensor, log_pt_BP: Tensor, mask_BP: Tensor) -> Tensor:
        """(H, B, T, T) bias, register first; the register sees and is seen with bias 0, padding with -1e9."""
        batch, width = log_pt_BP.shape
        with torch.no_grad():
            x_4Q = pair_features(position_BP2, log_pt_BP).flatten(1)  # Q pairs of all events: plain products, no copies
            x_4Q = (x_4Q - self.get_buffer("centre")) * self.get_buffer("scale")
        bias = self.outer @ F.relu(self.inner @ x_4Q + self.inner_bias)  # N^2 pairs: GELU costs a tenth of a step
        bias = F.pad(bias.view(-1, batch, width, width), (1, 0, 1, 0))
        unseen_BT = F.pad(~mask_BP, (1, 0), value=False)
        return bias.masked_fill(unseen_BT[:, None, :], _NEVER)


class Block(nn.Module):
    """One pre-norm transformer layer. recompute: keep nothing but its inputs for the backward pass."""

    recompute = False

    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.heads
        self.norm_attention = nn.LayerNorm(size.width)
        self.qkv = nn.Linear(size.width, 3 * size.width)
        self.out = nn.Linear(size.width, size.width)
        # From blind to pT to proportional to pT: heads start as different pT-weighted means.
        self.pt_slope = nn.Parameter(torch.linspace(0, 1, size.heads))
        self.norm_forward = nn.LayerNorm(size.width)
        self.inner = nn.Linear(size.width, size.hidden)
        self.outer = nn.Linear(size.hidden, size.width)

    def forward(self, x_BTE: Tensor, pair_HBTT: Tensor, log_pt_BT: Tensor) -> Tensor:
        """One round of attention and feed-forward, both residual."""
        if self.recompute and torch.is_grad_enabled():
            again: Tensor = checkpoint(self._layer, x_BTE, pair_HBTT, log_pt_BT, use_reentrant=False, preserve_rng_state=False)
            return again
        return self._layer(x_BTE, pair_HBTT, log_pt_BT)

    def _layer(self, x_BTE: Tensor, pair_HBTT: Tensor, log_pt_BT: Tensor) -> Tensor:
        x_BTE = x_BTE + self.out(self._attend(self.norm_attention(x_BTE), pair_HBTT, log_pt_BT))
        return _fed_forward(self, x_BTE)

    def _attend(self, x_BTE: Tensor, pair_HBTT: Tensor, log_pt_BT: Tensor) -> Tensor:
        batch, tokens, width = x_BTE.shape
        q, k, v = self.qkv(x_BTE).view(batch, tokens, 3, self.heads, -1).permute(2, 3, 0, 1, 4).unbind()
        # c ln pT as one more column of queries and keys: the bias on T^2 pairs needs no pass of its own in any layer.
        slope_HBT1 = self.pt_slope[:, None, None, None].expand(-1, batch, tokens, 1)
        query = torch.cat([q * q.shape[-1] ** -0.5, slope_HBT1], dim=-1).flatten(0, 1)
        key = torch.cat([k, log_pt_BT[..., None].expand(self.heads, -1, -1, 1)], dim=-1).flatten(0, 1)
        # Bias and product in one pass; torch's own attention with a trained bias takes a slower path on the CPU.
        logits = torch.baddbmm(pair_HBTT.flatten(0, 1), query, key.transpose(1, 2))
        mixed = torch.bmm(logits.softmax(dim=-1), v.flatten(0, 1)).view(self.heads, batch, tokens, -1)
        return mixed.permute(1, 2, 0, 3).reshape(batch, tokens, width)


class Looks(nn.Module):
    """Layers in which the register alone looks at all tokens: their weights are used once an event, not once a particle.

    An objective of the particles alone (mask, generate) does not train them.
    """

    def __init__(self, size: Size):
        super().__init__()
        self.layers = nn.ModuleList(Look(size) for _ in range(size.look_layers))
        self.norm = nn.LayerNorm(size.width)

    def forward(self, register_BE: Tensor, normed_BTE: Tensor, log_pt_BT: Tensor, mask_BP: Tensor) -> Tensor:
        """(B, E) the register after them. normed_BTE: tokens of the last block, normalised, the register's first."""
        padding_BT = F.pad(~mask_BP, (1, 0), value=False)
        for layer in self.layers:
            register_BE = layer(register_BE, normed_BTE, log_pt_BT, padding_BT)
        last_BE: Tensor = self.norm(register_BE)
        return last_BE


class Look(nn.Module):
    """Attention of the register to all tokens, biased by c ln pT, and feed-forward, both residual.

    After class attention (arXiv:2103.17239). There, a head multiplies every token by matrices for keys and values. Here its
    query is as wide as a token and takes tokens whole, `query` and `out` stand for the products with these matrices, so that
    no particle is multiplied by one; and the register among the tokens stays what it was after the last block.
    """

    def __init__(self, size: Size):
        super().__init__()
        self.heads = size.look_heads
        self.norm_attention = nn.LayerNorm(size.width)
        self.query = nn.Linear(size.width, size.look_heads * size.width)
        self.out = nn.Linear(size.look_heads * size.width, size.width)
        self.pt_slope = nn.Parameter(torch.linspace(0, 1, size.look_heads))
        self.norm_forward = nn.LayerNorm(size.width)
        self.inner = nn.Linear(size.width, size.hidden)
        self.outer = nn.Linear(size.hidden, size.width)

    def forward(self, register_BE: Tensor, normed_BTE: Tensor, log_pt_BT: Tensor, padding_BT: Tensor) -> Tensor:
        """One look."""
        width = normed_BTE.shape[-1]
        query_BHE = self.query(self.norm_attention(register_BE)).view(-1, self.heads, width) * width**-0.5
        logits_BHT = torch.bmm(query_BHE, normed_BTE.transpose(1, 2)) + self.pt_slope[:, None] * log_pt_BT[:, None]
        share_BHT = logits_BHT.masked_fill(padding_BT[:, None], _NEVER).softmax(dim=-1)
        return _fed_forward(self, register_BE + self.out(torch.bmm(share_BHT, normed_BTE).flatten(1)))


def pair_features(position_BP2: Tensor, log_pt_BP: Tensor) -> Tensor:
    """(4, B, P, P): ln dR, ln kT, ln z, ln m^2 of every pair, particles taken as massless.

    position_BP2: eta and phi [rad]. kT = min(pT) dR, z = min(pT) / (pT_i + pT_j),
    m^2 = 2 pT_i pT_j (cosh d eta - cos d phi), in GeV (arXiv:2202.03772, eq. 3-4). Floors keep collinear pairs finite.
    """
    deta = position_BP2[:, :, None, 0] - position_BP2[:, None, :, 0]
    dphi = position_BP2[:, :, None, 1] - position_BP2[:, None, :, 1]
    dphi = dphi - (2 * math.pi) * torch.round(dphi / (2 * math.pi))
    ln_dr = 0.5 * torch.log(deta.square() + dphi.square() + 1e-8)
    larger = torch.maximum(log_pt_BP[:, :, None], log_pt_BP[:, None, :])
    smaller = torch.minimum(log_pt_BP[:, :, None], log_pt_BP[:, None, :])
    ln_z = smaller - larger - torch.log1p(torch.exp(smaller - larger))
    # cosh x - 1 = 2 sinh^2(x/2) and 1 - cos x = 2 sin^2(x/2): no cancellation for close pairs.
    opening = torch.sinh(0.5 * deta.clamp(-20, 20)).square() + torch.sin(0.5 * dphi).square()
    ln_m2 = larger + smaller + torch.log(4 * opening + 1e-8)
    return torch.stack([ln_dr, smaller + ln_dr, ln_z, ln_m2])


def _fed_forward(layer: Block | Look, x: Tensor) -> Tensor:
    """(..., E) x and what the layer's feed-forward network makes of it."""
    change: Tensor = layer.outer(F.gelu(layer.inner(layer.norm_forward(x))))
    return x + change


def _mean(x_BPE: Tensor, mask_BP: Tensor) -> Tensor:
    weight_BP1 = mask_BP[..., None].to(x_BPE.dtype)
    return (x_BPE * weight_BP1).sum(dim=1) / weight_BP1.sum(dim=1).clamp(min=1)
