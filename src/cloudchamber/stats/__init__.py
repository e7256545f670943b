"""Statistics of the score table: metrics with errors, calibration, coverage, comparisons over seeds. Never imports torch."""

from cloudchamber.stats.calibration import Calibration, calibration
from cloudchamber.stats.compare import Paired, paired, steps_to_reach
from cloudchamber.stats.conformal import LEVELS, Coverage, coverage, prediction_intervals, prediction_sets
from cloudchamber.stats.ensemble import combined
from cloudchamber.stats.metrics import Estimate, Regression, Rejection, Roc
from cloudchamber.stats.recalibration import Isotonic, Temperature, recalibrated
from cloudchamber.stats.score_table import ScoreTable
from cloudchamber.stats.shift import Ratio, density_ratio, domain_p_values
from cloudchamber.stats.summary import summarise, summarise_uncertainty

__all__ = [
    "LEVELS",
    "Calibration",
    "Coverage",
    "Estimate",
    "Isotonic",
    "Paired",
    "Ratio",
    "Regression",
    "Rejection",
    "Roc",
    "ScoreTable",
    "Temperature",
    "calibration",
    "combined",
    "coverage",
    "density_ratio",
    "domain_p_values",
    "paired",
    "prediction_intervals",
    "prediction_sets",
    "recalibrated",
    "steps_to_reach",
    "summarise",
    "summarise_uncertainty",
]
