"""Nulls: a calibration for every member of the template's ensemble. Any may be the truth: the least significant counts."""

# T toy, K sub-test, E member of the ensemble

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cloudchamber.search.calibrate import Calibration, Toys, Verdict, calibrate, null_statistics
from cloudchamber.search.frontier import Frontier, frontier
from cloudchamber.search.knob import Knob
from cloudchamber.search.sample import FloatArray
from cloudchamber.search.suite import Suite
from cloudchamber.search.template import TemplateToys


@dataclass(frozen=True)
class Nulls:
    """Calibrations of one search, and the (T, K) toys that each was made from."""

    calibrations: tuple[Calibration, ...]
    toys: tuple[FloatArray, ...]

    def judge(self, statistics_K: FloatArray) -> tuple[Verdict, Calibration]:
        """The verdict of the member that makes the data least surprising, and its calibration."""
        verdicts = [c.judge(statistics_K) for c in self.calibrations]
        worst = int(np.argmax([v.global_p.value for v in verdicts]))
        return verdicts[worst], self.calibrations[worst]

    def frontier(self, known_TK: FloatArray, unseen_TK: FloatArray, alpha: float) -> Frontier:
        """What is seen whichever member is the truth, as in `judge`."""
        of = [
            frontier(c.knob, toys_TK, known_TK, unseen_TK, alpha)
            for c, toys_TK in zip(self.calibrations, self.toys, strict=True)
        ]
        known_TL, unseen_TL = (np.all([getattr(f, name) for f in of], axis=0) for name in ("known_TL", "unseen_TL"))
        return Frontier(of[0].settings, known_TL, unseen_TL, of[0].alpha)


def measure(
    suite: Suite, knob: Knob, toys: Toys, number: int, *, folder: Path | None = None, fingerprint: str = "", workers: int = 1
) -> Nulls:
    """Nulls from `number` toys of every member. folder, fingerprint: as of `null_statistics`."""
    members: tuple[Toys, ...] = toys.members if isinstance(toys, TemplateToys) else (toys,)
    made = []
    for e, member in enumerate(members):
        place = None if folder is None else folder / str(e)
        made.append(null_statistics(suite, member, number, folder=place, fingerprint=fingerprint, workers=workers))
    return Nulls(tuple(calibrate(knob, toys_TK, suite.names) for toys_TK in made), tuple(made))
