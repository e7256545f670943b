"""Summary of a score table: the figures that go into `summary.json` and at the top of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cloudchamber.errors import BadInput
from cloudchamber.stats import metrics, objectives
from cloudchamber.stats.calibration import calibration
from cloudchamber.stats.conformal import coverage
from cloudchamber.stats.score_table import ScoreTable
from cloudchamber.stats.shift import density_ratio, domain_p_values

_FAR = 0.01  # share of the validation events that are called out of domain


def summarise(table: ScoreTable) -> dict[str, Any]:
    """The figures of a score table, ready for JSON; events of unknown truth are left out.

    Classes: n, accuracy, cross_entropy and, where every class has events, auc (macro one-vs-rest; for two classes the
    AUC of the second), each with `<name>_error`; for two classes also `rejection` at 30 % and 50 % signal efficiency
    (a lower limit, at 95 % confidence level, has no error) and the calibration error `ece`. Numbers: n, bias, resolution,
    mse, each with its error, median and correlation; with quantiles their pinball loss, and for each level the fraction of
    events below (`below_<level>`, with its error).
    A figure that so few events do not define is None. Raises BadInput if no truth is known.
    """
    known = table.known()
    if len(known) == 0:
        raise BadInput(f"no event of the score table has a known {table.target!r}: there is nothing to compare the scores with")
    return _finite(_classes(known) if table.classes else _number(known))


def summarise_uncertainty(
    validation: ScoreTable, table: ScoreTable, levels: Sequence[float], *, reweight: bool = False, domain: bool = False
) -> dict[str, Any]:
    """Coverage and mean size of the conformal sets or intervals at every level, each with its error.

    reweight: once more with the weights of the density ratio, and how many validation events these leave. domain: the share
    of events further out than 99 % of the validation events. Both need embeddings. Raises BadInput as the parts do.
    """
    if reweight and not levels:
        raise BadInput("to reweight is to correct a coverage: give a level with --conformal as well")
    figures: dict[str, Any] = {}
    ratio = density_ratio(validation, table) if reweight else None
    for suffix, chosen in (("", None), ("_reweighted", ratio))[: 1 + reweight]:
        for level in levels:
            measured = coverage(validation, table, level, chosen)
            figures |= _with_error(f"coverage_{level:g}{suffix}", metrics.Estimate(measured.value, measured.error))
            figures[f"size_{level:g}{suffix}"] = measured.size
    if ratio is not None:
        figures["effective_validation"] = ratio.effective
    if domain:
        far = float((domain_p_values(validation, table) <= _FAR).mean())
        figures |= _with_error("out_of_domain", metrics.Estimate(far, float(np.sqrt(far * (1 - far) / len(table)))))
    return _finite(figures)


def _finite(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in figures.items()}


def _classes(table: ScoreTable) -> dict[str, Any]:
    t, p, w = table.truth, table.scores_NC, table.weight
    figures = {"n": len(table)} | _with_error("accuracy", metrics.accuracy(t, p, w))
    figures |= _with_error("cross_entropy", metrics.cross_entropy(t, p, w))
    if len(np.unique(t)) < len(table.classes):
        return figures
    if len(table.classes) > 2:
        return figures | {"auc": metrics.macro_auc(t, p, w)}
    points = {
        f"{r.signal_efficiency:g}": {
            "value": r.value,
            "error": None if r.lower_limit else r.error,
            "lower_limit": r.lower_limit,
        }
        for r in metrics.rejection(metrics.roc(t, p[:, 1], w))
    }
    ece = calibration(t, p[:, 1].clip(0, 1), w).error
    return figures | _with_error("auc", metrics.auc(t, p[:, 1], w)) | {"rejection": points, "ece": ece}


def _number(table: ScoreTable) -> dict[str, Any]:
    r = metrics.regression(table.truth, table.scores_NC[:, 0], table.weight)
    figures: dict[str, Any] = {"n": r.n, "median": r.median, "correlation": r.correlation}
    for name in ("bias", "resolution", "mse"):
        figures |= _with_error(name, getattr(r, name))
    if table.quantiles_NQ is not None:
        pinball, below = objectives.quantile_figures(table.truth, table.quantiles_NQ, table.levels, table.weight)
        figures["pinball"] = pinball
        for level, estimate in zip(table.levels, below, strict=True):
            figures |= _with_error(f"below_{level:g}", estimate)
    return figures


def _with_error(name: str, estimate: metrics.Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_error": estimate.error}
