"""Named features: a token is a sum over the features that an experiment has, each with its own normalisation."""

# B batch, P particle, F feature of the data, E embedding

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cloudchamber.errors import BadWeights, nearest

_CLIP = 5.0  # normalised values beyond it carry no more than "large"
_LOG_FLOOR = 1e-3  # GeV: below what any detector calls a deposit


Transform = Literal["none", "tanh", "log"]


@dataclass(frozen=True)
class Norm:
    """How one feature is brought to order 1: (transform(x) - centre) * scale, then clipped to +-5. log: of GeV, from 1 MeV."""

    centre: float = 0.0
    scale: float = 1.0
    transform: Transform = "none"


# The documented vocabulary: features that any experiment may have under these names, with what tames their tails.
# Centre and scale are measured where a network is made: impact parameters are far below 1 mm, and a tagger that sees
# them at a tenth of the size of the rest learns b jets late.
VOCABULARY: Mapping[str, Transform] = {
    **dict.fromkeys(("deta", "dphi", "dr", "log_pt", "log_energy", "log_pt_rel", "log_energy_rel"), "none"),
    **dict.fromkeys(("charge", "is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon"), "none"),
    "d0": "tanh",
    "d0_err": "none",
    "dz": "tanh",
    "dz_err": "none",  # as in arXiv:2202.03772, table 2
    **dict.fromkeys(("puppi", "jet", "log_sum_pt", "log_mass", "log_multiplicity"), "none"),
    # Further columns of the shipped readers, cards and simulations; tests hold this list against theirs.
    **dict.fromkeys(
        (
            *("is_tau", "is_jet", "is_neutrino", "is_nucleus", "is_primary_lepton", "is_missing_momentum", "btag"),
            *("identified", "isolation", "isolated", "passes_id", "x", "y", "z", "time", "vertex_x", "vertex_y", "vertex_z"),
            *("d0_significance", "z0_significance", "z0_sin_theta"),
            *("jet_pt", "jet_eta", "jet_mass", "soft_drop_mass", "tau1", "tau2", "tau3", "met", "met_phi"),
            *("volume_id", "layer_id", "module_id", "in_3d", "plane_dedx", "transverse", "view_x", "view_u", "view_v"),
            *("is_cluster", "is_blob", "is_blob_sum", "is_muon_prong", "is_proton_prong", "is_shower_prong", "is_prong_sum"),
            *("in_nuclear_targets", "in_tracker", "in_ecal", "in_hcal", "n_michel", "n_dead", "n_dropped", "muon_theta"),
            *("is_minos_track", "is_minos_stub", "minos_qp", "vertex_tracker_z", "has_muon", "n_hadron_prongs"),
        ),
        "none",
    ),
    **dict.fromkeys(
        (
            *("muon_fuzz_energy", "muon_iso_blobs_energy", "hadron_recoil_energy", "hadron_recoil_ccinc_energy"),
            *(f"recoil{kind}_energy" for kind in ("", "_passive", "_passive_id", "_passive_od")),
            *(f"blob_recoil_energy{place}" for place in ("", "_tracker", "_ecal", "_hcal", "_nucl", "_od")),
            *(f"energy_{kind}" for kind in ("blob", "blob_sum", "muon_prong", "proton_prong", "shower_prong", "prong_sum")),
            "photon_pair_mass",
        ),
        "log",
    ),
}


# What the transforms do; "none" does nothing.
_TRANSFORMS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "log": lambda x: torch.log(x.clamp(min=_LOG_FLOOR)),
}


def transform_of(name: str) -> Transform:
    """What tames the tails of a feature: as VOCABULARY has it; nothing for a name that it does not have."""
    return VOCABULARY.get(name, "none")


@dataclass(frozen=True)
class Match:
    """How the features of some data meet those of some weights."""

    matched: tuple[str, ...]
    missing: tuple[str, ...]  # known to the weights, not in the data: they contribute nothing
    new: tuple[str, ...]  # in the data, not known to the weights: a zero row each

    def __str__(self) -> str:
        parts = [
            f"{word} {len(names)}" + (f" ({', '.join(names)})" if names and word != "matched" else "")
            for word, names in (("matched", self.matched), ("missing", self.missing), ("new", self.new))
        ]
        return ", ".join(parts)


@dataclass(frozen=True)
class FeaturesConfig:
    """A NamedFeatures as data. Sequences, since the order of the names is that of the rows.

    trained: the features of the data that it was last trained on; trained_in: those of each frame, where there were several.
    """

    norms: tuple[tuple[str, Norm], ...]
    added: tuple[tuple[str, Norm], ...] = ()
    trained: tuple[str, ...] = ()
    trained_in: tuple[tuple[str, tuple[str, ...]], ...] = ()


class NamedFeatures(nn.Module):
    """Sum over named features of (normalised value) x (the name's own embedding).

    Features that the module learned first share one matrix; those added later have a second one, zero at the start,
    multiplied separately: the sum before and after adding is then the same to the last bit.
    """

    def __init__(self, norms: Mapping[str, Norm], width: int, added: Mapping[str, Norm] | None = None):
        super().__init__()
        self.norms = dict(norms)
        self.added = dict(added or {})
        self.width = width
        self.weight = nn.Parameter(torch.randn(len(self.norms), width) / max(len(self.norms), 1) ** 0.5)
        self.added_weight = nn.Parameter(torch.zeros(len(self.added), width))
        self.bound: tuple[str, ...] = ()  # the data columns that are read, in their order
        # By group and transform; asked of the tensor it would be no constant of an exported graph.
        self._has: dict[tuple[str, str], bool] = {}
        self.trained: tuple[str, ...] = ()  # the features of the data that the module was last trained on
        self.trained_in: dict[str, tuple[str, ...]] = {}  # and of each frame, where there were several

    @property
    def names(self) -> tuple[str, ...]:
        """Every feature that the module knows."""
        return (*self.norms, *self.added)

    def match(self, data_names: Sequence[str], allowed: Sequence[str] = ()) -> Match:
        """Compare with the features of some data.

        A new feature is explained if it is in VOCABULARY or in `allowed`. Raises BadWeights naming the first that is
        neither, with the nearest name that the weights know: a renamed feature must not train from zero unnoticed.
        """
        new = tuple(n for n in data_names if n not in self.names)
        missing = tuple(n for n in self.names if n not in data_names)
        for name in new:
            if name not in VOCABULARY and name not in allowed:
                raise BadWeights(
                    f"the data have feature {name!r}, the weights do not know it. Nearest known: {nearest(name, self.names)}. "
                    "If one of these is the same quantity, give it that name in the card; if it is new, name it in "
                    f"new_features (--new-feature {name}): it then starts with an embedding of zero."
                )
        return Match(tuple(n for n in data_names if n in self.names), missing, new)

    def require(self, data_names: Sequence[str], frame: str) -> None:
        """Raise BadWeights unless the data have exactly the features that the module was trained with in their frame."""
        trained = self.trained_in.get(frame, self.trained)
        pairs = ((trained, data_names), (data_names, trained))
        lacking, unknown = ([n for n in a if n not in b] for a, b in pairs)
        if lacking or unknown:
            what = [f"lack {', '.join(lacking)}"] * bool(lacking) + [f"have {', '.join(unknown)} besides"] * bool(unknown)
            raise BadWeights(
                f"the model was trained with {', '.join(trained)}; the data {' and '.join(what)}. A trained model reads "
                "the features of its training: read the data with a card that gives these, or adapt the weights to data "
                "like these."
            )

    def add(self, norms: Mapping[str, Norm]) -> None:
        """Add features with zero embeddings."""
        self.added |= norms
        grown = torch.zeros(len(self.added), self.width)
        grown[: len(self.added_weight)] = self.added_weight.detach()
        self.added_weight = nn.Parameter(grown)

    def renormalise(self, norms: Mapping[str, Norm]) -> None:
        """Give known features other norms; their embeddings stay."""
        for group in (self.norms, self.added):
            group |= {n: norm for n, norm in norms.items() if n in group}

    def bind(self, data_names: Sequence[str]) -> None:
        """Fix which data columns are read, in which order; every one must be known by now."""
        self.bound = tuple(data_names)
        for group, norms in (("first", self.norms), ("later", self.added)):
            columns = [i for i, n in enumerate(data_names) if n in norms]
            rows = [list(norms).index(data_names[i]) for i in columns]
            chosen = [norms[data_names[i]] for i in columns]
            self.register_buffer(f"_{group}_columns", torch.tensor(columns, dtype=torch.long), persistent=False)
            self.register_buffer(f"_{group}_rows", torch.tensor(rows, dtype=torch.long), persistent=False)
            for key in ("centre", "scale"):
                values = torch.tensor([getattr(n, key) for n in chosen], dtype=torch.float32)
                self.register_buffer(f"_{group}_{key}", values, persistent=False)
            for transform in _TRANSFORMS:
                flags = torch.tensor([n.transform == transform for n in chosen], dtype=torch.bool)
                self.register_buffer(f"_{group}_{transform}", flags, persistent=False)
                self._has[group, transform] = any(n.transform == transform for n in chosen)

    def normalised(self, x_BPF: Tensor, group: str = "first") -> tuple[Tensor, Tensor]:
        """The bound columns of one group at order 1 with NaN as 0, and which of them were there (not NaN)."""
        x = x_BPF[..., self._of(group, "columns")] if self._of(group, "columns").numel() != x_BPF.shape[-1] else x_BPF
        for transform, function in _TRANSFORMS.items():
            if self._has[group, transform]:
                x = torch.where(self._of(group, transform), function(x), x)
        x = (x - self._of(group, "centre")) * self._of(group, "scale")
        present = ~torch.isnan(x)
        return torch.nan_to_num(x, nan=0.0).clamp(-_CLIP, _CLIP), present

    def forward(self, x_BPF: Tensor, keep_F: Tensor | None = None, masked_BP: Tensor | None = None) -> Tensor:
        """(B, P, E) sum over the features. In masked particles only the features flagged in `keep_F` are shown."""
        values, _ = self.normalised(x_BPF)
        if masked_BP is not None and keep_F is not None:
            values = values * torch.where(masked_BP[..., None], keep_F.to(values.dtype), 1.0)
        total = values @ self.weight[self._of("first", "rows")]
        if self._of("later", "columns").numel():
            later, _ = self.normalised(x_BPF, "later")
            if masked_BP is not None:
                later = later * (~masked_BP)[..., None]
            total = total + later @ self.added_weight[self._of("later", "rows")]
        return total

    def names_of(self) -> tuple[str, ...]:
        """Names of the bound columns of the first group, in the order of `normalised`."""
        return tuple(self.bound[i] for i in self._of("first", "columns").tolist())

    def config(self) -> FeaturesConfig:
        """What is needed to build the module again."""
        return FeaturesConfig(
            tuple(self.norms.items()), tuple(self.added.items()), self.trained, tuple(self.trained_in.items())
        )

    @classmethod
    def of(cls, config: FeaturesConfig, width: int) -> NamedFeatures:
        """The module of a configuration, its embeddings still to be filled."""
        module = cls(dict(config.norms), width, dict(config.added))
        module.trained = config.trained or module.names
        module.trained_in = dict(config.trained_in)
        return module

    def _of(self, group: str, key: str) -> Tensor:
        return self.get_buffer(f"_{group}_{key}")


def fit_norm(name: str, values: NDArray[np.float32]) -> Norm:
    """Mean and inverse standard deviation of the finite values, after the transform that belongs to the name.

    >>> fit_norm("my_feature", np.array([1.0, 3.0, np.nan], np.float32))
    Norm(centre=2.0, scale=1.0, transform='none')
    """
    transform = transform_of(name)
    finite = values[np.isfinite(values)].astype(np.float64)
    if transform != "none":
        finite = _TRANSFORMS[transform](torch.from_numpy(finite)).numpy()
    spread = float(finite.std()) if len(finite) else 0.0
    return Norm(float(finite.mean()) if len(finite) else 0.0, 1.0 / spread if spread > 0 else 1.0, transform)
