"""Weak supervision: data against a template of the background, a linear discriminant in random features per toy, then a cut."""

# T toy, N event, M event to score, K cut

from __future__ import annotations

from dataclasses import dataclass

from cloudchamber.search import crossfit
from cloudchamber.search.methods.base import Counts, Method
from cloudchamber.search.sample import Bank, FloatArray, Sample


@dataclass(frozen=True)
class Weak:
    """Cross-fitted discriminants of a pool, and the shares of events to keep."""

    discriminants: crossfit.Discriminants
    names: tuple[str, ...] = tuple(f"best {cut:g}" for cut in crossfit.CUTS)

    def statistics(self, data_TN: Counts, reference_TN: Counts) -> FloatArray:
        """(T, K) excess of data after each cut, in standard deviations."""
        score_TN = self.discriminants.scores(data_TN, reference_TN)
        return crossfit.cut_significances(score_TN, self.discriminants.folds, data_TN, reference_TN)

    def scores(self, features_MF: FloatArray, data_N: Counts, reference_N: Counts) -> FloatArray:
        """(M,) the discriminants of this labelling."""
        return self.discriminants.scores_of(features_MF, data_N, reference_N)


def prepare(pool: Sample, bank: Bank | None, seed: int) -> Weak:  # noqa: ARG001  (data and template are all it needs)
    """What the toys share."""
    return Weak(crossfit.discriminants(pool, seed))


METHOD = Method(
    name="weak",
    role="weak",
    needs_bank=False,
    log_ratio=False,
    citation="arXiv:1708.02949, arXiv:1902.02634, arXiv:2109.00546",
    prepare=prepare,
)
