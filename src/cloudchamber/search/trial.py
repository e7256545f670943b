"""Trial: the data of one region against the estimate of its background, and what pseudo-experiments make of the difference.

A null is measured for every member of the template's ensemble. Any may be the truth: the least significant counts.
"""

# T toy, N event of the pool, K sub-test

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloudchamber.search import template
from cloudchamber.search.calibrate import Calibration, Permutations, Toys, Verdict, calibrate, null_statistics
from cloudchamber.search.frontier import Frontier, frontier
from cloudchamber.search.knob import Knob
from cloudchamber.search.methods.base import Counts
from cloudchamber.search.sample import FloatArray, Sample
from cloudchamber.search.suite import Suite
from cloudchamber.search.template import Estimate, TemplateToys

_BOOTSTRAP = 50  # resampled outsides behind the error of the expected number of events


@dataclass(frozen=True)
class Trial:
    """Data and estimate as counts on a pool of events, and toys without a signal. data_N: all 0 while blind."""

    data_N: Counts
    reference_N: Counts
    toys: Toys
    expected: float | None = None  # events of the data without a signal; None where a reference says nothing of their number
    expected_error: float | None = None

    @classmethod
    def of_template(
        cls, pool: Sample, ensemble: tuple[Estimate, ...], seed: int, inflation: float = 1.0, *, blind: bool = False
    ) -> Trial:
        """A region described by templates, as of `template.toys`. blind: its own events are not in the pool."""
        data_N = ensemble[0].inside_N.astype(np.float32)
        expected = float(ensemble[0].expected(np.ones((1, len(pool))))[0])
        again_TN = np.random.default_rng((seed, 4)).poisson(ensemble[0].outside_N, (_BOOTSTRAP, len(pool))).astype(np.float64)
        made = template.toys(pool, ensemble, expected if blind else float(data_N.sum()), seed, inflation)
        return cls(data_N, made.reference_N, made, expected, float(ensemble[0].expected(again_TN).std(ddof=1)))

    @classmethod
    def of_sample(cls, data: int, reference: int, seed: int, *, blind: bool = False) -> Trial:
        """Data followed by a reference in the pool. blind: the pool is the reference, divided in the same proportion."""
        if blind:
            data_N, drawn = np.zeros(reference, np.float32), max(1, reference * data // (data + reference))
        else:
            data_N, drawn = (np.arange(data + reference) < data).astype(np.float32), data
        return cls(data_N, 1 - data_N, Permutations(len(data_N), drawn, seed))

    @property
    def truths(self) -> tuple[Toys, ...]:
        """Toys of each member of the ensemble as the truth."""
        return self.toys.members if isinstance(self.toys, TemplateToys) else (self.toys,)

    def look(self, suite: Suite, nulls: Nulls) -> Look:
        """What the data are among the toys."""
        return nulls.judge(suite.statistics(self.data_N[None], self.reference_N[None])[0])


@dataclass(frozen=True)
class Look:
    """The verdict on the data, the calibration that gave it, and the joint statistic among `calibration.joint_T`."""

    verdict: Verdict
    calibration: Calibration
    statistic: float


@dataclass(frozen=True)
class Nulls:
    """Calibrations of one search, one for each truth, and the (T, K) toys that each was made from."""

    calibrations: tuple[Calibration, ...]
    toys: tuple[FloatArray, ...]

    def judge(self, statistics_K: FloatArray) -> Look:
        """The verdict of the truth that makes the data least surprising."""
        verdicts = [c.judge(statistics_K) for c in self.calibrations]
        worst = int(np.argmax([v.global_p.value for v in verdicts]))
        calibration = self.calibrations[worst]
        return Look(verdicts[worst], calibration, float(calibration.joint(statistics_K[None])[0]))

    def frontier(self, known_TK: FloatArray, unseen_TK: FloatArray, alpha: float) -> Frontier:
        """What is seen whichever is the truth, as in `judge`."""
        of = [
            frontier(c.knob, toys_TK, known_TK, unseen_TK, alpha)
            for c, toys_TK in zip(self.calibrations, self.toys, strict=True)
        ]
        known_TL, unseen_TL = (np.all([getattr(f, name) for f in of], axis=0) for name in ("known_TL", "unseen_TL"))
        return Frontier(of[0].settings, known_TL, unseen_TL, of[0].alpha)


def measure(
    suite: Suite,
    knob: Knob,
    truths: Sequence[Toys],
    number: int,
    *,
    folder: Path | None = None,
    fingerprint: str = "",
    workers: int = 1,
) -> Nulls:
    """Nulls from `number` toys of every truth. folder, fingerprint: as of `null_statistics`."""
    made = []
    for e, toys in enumerate(truths):
        place = None if folder is None else folder / str(e)
        made.append(null_statistics(suite, toys, number, folder=place, fingerprint=fingerprint, workers=workers))
    return Nulls(tuple(calibrate(knob, toys_TK, suite.names) for toys_TK in made), tuple(made))
