"""Statistics: the score table, the metrics of scores with their errors, and comparisons over seeds. Never imports torch."""

from cloudchamber.stats.calibration import Calibration, calibration
from cloudchamber.stats.compare import Paired, paired, steps_to_reach
from cloudchamber.stats.metrics import Estimate, Regression, Rejection, Roc
from cloudchamber.stats.score_table import ScoreTable
from cloudchamber.stats.summary import summarise

__all__ = [
    "Calibration",
    "Estimate",
    "Paired",
    "Regression",
    "Rejection",
    "Roc",
    "ScoreTable",
    "calibration",
    "paired",
    "steps_to_reach",
    "summarise",
]
