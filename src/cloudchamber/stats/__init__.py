"""Statistics of the score table: metrics with errors, calibration, coverage, comparisons over seeds. Never imports torch."""

from cloudchamber.stats.calibration import Calibration, calibration
from cloudchamber.stats.compare import Paired, paired, steps_to_reach
from cloudchamber.stats.conformal import LEVELS, Coverage, coverage, prediction_intervals, prediction_sets
from cloudchamber.stats.ensemble import combined
from cloudchamber.stats.event_p import event_p
from cloudchamber.stats.metrics import Estimate, Regression, Rejection, Roc
from cloudchamber.stats.pvalues import PValue, Tail, p_of, p_value, rank_p, significance
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
    "PValue",
    "Paired",
    "Ratio",
    "Regression",
    "Rejection",
    "Roc",
    "ScoreTable",
    "Tail",
    "Temperature",
    "calibration",
    "combined",
    "coverage",
    "density_ratio",
    "domain_p_values",
    "event_p",
    "p_of",
    "p_value",
    "paired",
    "prediction_intervals",
    "prediction_sets",
    "rank_p",
    "recalibrated",
    "significance",
    "steps_to_reach",
    "summarise",
    "summarise_uncertainty",
]
