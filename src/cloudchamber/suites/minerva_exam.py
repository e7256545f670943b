"""MINERvA's study: what the scores of its test events are judged by, and the figures that come of it."""

# N test event, V validation event

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cloudchamber.data.readers.minerva_cuts import Mask, calorimetric, cuts, muon_momentum
from cloudchamber.data.readers.minerva_truth import PION_CLASSES
from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud
from cloudchamber.stats import metrics, minerva, paired
from cloudchamber.stats.metrics import Estimate
from cloudchamber.suites.base import mean
from cloudchamber.suites.minerva_baselines import ENERGY, PION, Tables

Numbers = NDArray[np.float64]
# True variable -> which background a bin has, and its label: of the charged pion, or for CC1pi0 of the pi0.
VARIABLES: Mapping[str, Literal["in the bin", "all"]] = {
    "pion_energy": "all",
    "pion_theta": "all",
    "w": "in the bin",
    "q3": "in the bin",
}
# IQR/MPV of the published pre-trained model over that of its calorimetric baseline, in bins of q3 (arXiv:2604.12364).
PUBLISHED_RATIOS = (0.724 / 1.007, 0.545 / 0.791, 0.486 / 0.686, 0.450 / 0.616, 0.432 / 0.563)
_LEAST_MAT = 0.05  # GeV, as the study judges its own
_LEAST_SIGNAL = 100  # test events of a bin in which a margin over the cuts is more than chance
_NONE = Estimate(float("nan"), 0.0)
_GROUPS = 3  # of the predicted W, each with a threshold of its own
PAIRED = {**{f"auprc_{task}": 1 for task in minerva.SIGNAL}, "iqr_over_mpv": -1}  # figures compared; 1: more is better


@dataclass(frozen=True)
class Exam:
    """What the scores of the test events are compared with. variables: (N,) by task and name; edges: of their bins.

    judged, calibrating: (N,) test and (V,) validation events that the energy is judged and its spread calibrated on.
    energy, q3: true, in GeV.
    """

    pion: NDArray[np.int64]
    variables: Mapping[str, Mapping[str, Numbers]]
    edges: Mapping[str, Mapping[str, tuple[float, ...]]]
    cuts: Mapping[str, Mapping[str, Mask]]
    judged: Mask
    calibrating: Mask
    energy: Numbers
    q3: Numbers

    def signal(self, task: str) -> Mask:
        """(N,) the signal of a task."""
        return np.isin(self.pion, minerva.SIGNAL[task])

    def about(self) -> dict[str, Any]:
        """How many test events of each class there are, and how many the energy is judged on."""
        counts = np.bincount(self.pion, minlength=len(PION_CLASSES))
        return {"classes": dict(zip(PION_CLASSES, counts.tolist(), strict=True)), "judged": int(self.judged.sum())}


def prepare(cloud: Cloud, test: int, validation: int) -> Exam:
    """The exam of the first `test` events, and which of the `validation` events after them calibrate the energy's spread.

    Raises BadInput if none of the latter does.
    """
    calibrating = _judged(cloud[test : test + validation])
    if not calibrating.any():
        raise BadInput(f"none of {validation} validation events has a muon and an energy to calibrate with; set more")
    cloud = cloud[:test]
    labels = cloud.labels
    pions = {task: "pi0" if task == "cc1pi0" else "pion" for task in minerva.SIGNAL}
    variables = {
        task: {
            **{f"pion_{n}": np.asarray(labels[f"{pion}_{n}"]) for n in ("energy", "theta")},
            **{n: np.asarray(labels[n]) for n in ("w", "q3")},
        }
        for task, pion in pions.items()
    }
    pion_class, energy = np.asarray(labels[PION]), np.asarray(labels[ENERGY])
    fixed = {"w": minerva.W_EDGES, "q3": minerva.TAG_Q3_EDGES}
    edges = {
        task: fixed | {n: minerva.equal_bins(v[n], np.isin(pion_class, minerva.SIGNAL[task])) for n in v if n not in fixed}
        for task, v in variables.items()
    }
    return Exam(pion_class, variables, edges, cuts(cloud), _judged(cloud), calibrating, energy, np.asarray(labels["q3"]))


def _judged(cloud: Cloud) -> Mask:
    theta, recoil = cloud.events["muon_theta"], cloud.events["hadron_recoil_ccinc_energy"]
    return minerva.has_energy_figures(theta, muon_momentum(cloud), recoil, cloud.labels[ENERGY])


def judge(tables: Tables, exam: Exam, *, bins: bool) -> dict[str, Estimate]:
    """The figures of one model by name. bins: whether also those in bins of the truth.

    `tpr_<place>`: one threshold for all events, as in the study; `tpr_by_w_<place>`: one for each third of the predicted W.
    """
    found: dict[str, Estimate] = {}
    w = tables["w"].scores_NC[:, 0] if "w" in tables else None
    thirds = None if w is None else np.digitize(w, np.quantile(w, np.arange(1, _GROUPS) / _GROUPS))
    for task in minerva.SIGNAL:
        score, signal = tables[task].scores_NC[:, 1].astype(np.float64), exam.signal(task)
        found[f"auprc_{task}"] = minerva.average_precision(signal, score)
        found[f"auroc_{task}"] = metrics.auc(signal, score)
        for name, passes in exam.cuts.items():
            threshold = minerva.threshold_at(signal, score, float(passes[task][~signal].mean()))
            found[f"tpr_at_{name}_{task}"] = minerva.efficiency(score[signal] > threshold)
        chosen = exam.cuts["evaluated"][task]
        passed = None if thirds is None else minerva.passes_as_often(signal, score, chosen, thirds)
        for variable, background in VARIABLES.items() if bins else ():
            edges, values = exam.edges[task][variable], exam.variables[task][variable]
            binned = minerva.tag_bins(signal, score, values, edges, passes_cuts=chosen, background=background)
            for i, one in enumerate(binned):
                place = f"{task}_{variable}_{i}"
                found |= {f"auprc_{place}": one.auprc, f"auroc_{place}": one.auroc, f"tpr_{place}": one.tpr}
            if passed is not None:
                each = minerva.efficiencies(passed[signal], values[signal], edges)
                found |= {f"tpr_by_w_{task}_{variable}_{i}": one for i, one in enumerate(each)}
    if ENERGY not in tables:
        return found
    energy = tables[ENERGY].where(exam.judged)
    learned, spread = energy.scores_NC[:, 0].astype(np.float64), energy.spread_NC
    pulls = None if spread is None else energy_pulls(learned, spread[:, 0], energy.truth)
    return found | _energy_figures(exam.energy[exam.judged], learned, exam.q3[exam.judged], pulls)


def _energy_figures(true: Numbers, reco: Numbers, q3: Numbers, pull: Numbers | None = None) -> dict[str, Estimate]:
    """In bins of q3; the mean of IQR/MPV over them; the width of all pulls."""
    binned = minerva.energy_bins(true, reco, q3, pull=pull)
    names = ("iqr_over_mpv", "mpv", "bias", "pull")
    found = {f"{n}_{i}": getattr(one, n) for i, one in enumerate(binned) for n in names}
    widths = [one.iqr_over_mpv for one in binned]
    error = float(np.sqrt(np.sum(np.square([w.error for w in widths])))) / len(widths)
    found["iqr_over_mpv"] = Estimate(float(np.mean([w.value for w in widths])), error)
    return found if pull is None else found | {"pull": minerva.bootstrapped(minerva.pull_width, pull)}


def without_training(cloud: Cloud, exam: Exam) -> dict[str, Estimate]:
    """The cuts' rates in all events and in every bin, and the calorimetric energy's figures."""
    found: dict[str, Estimate] = {}
    for name, passes in exam.cuts.items():
        for task, passed in passes.items():
            signal = exam.signal(task)
            found[f"fpr_cuts_{name}_{task}"] = minerva.efficiency(passed[~signal])
            found[f"tpr_cuts_{name}_{task}"] = minerva.efficiency(passed[signal])
    for task, variables in exam.variables.items():
        signal, passed = exam.signal(task), exam.cuts["evaluated"][task]
        for variable, values in variables.items():
            edges = exam.edges[task][variable]
            binned = minerva.tag_bins(signal, passed, values, edges, passes_cuts=passed)
            found |= {f"tpr_{task}_{variable}_{i}_cuts": one.tpr_cuts for i, one in enumerate(binned)}
            found |= {f"signal_{task}_{variable}_{i}": Estimate(one.n_signal, 0.0) for i, one in enumerate(binned)}
            found |= {f"edge_{task}_{variable}_{i}": Estimate(edge, 0.0) for i, edge in enumerate(edges)}
    energies, mat = calorimetric(cloud), np.asarray(cloud.labels["available_energy_mat"])
    for name, kept, true, reco in (
        ("calorimetric", exam.judged, exam.energy, energies["study"]),
        ("calorimetric_mat", exam.judged & (mat >= _LEAST_MAT), mat, energies["mat"]),  # its own convention of the truth
    ):
        found |= {f"{n}_{name}": e for n, e in _energy_figures(true[kept], reco[kept], exam.q3[kept]).items()}
    return found


def energy_pulls(energy: Numbers, spread: NDArray[np.floating], true: NDArray[np.floating]) -> Numbers:
    """(predicted - true) / spread, of ln(1 + E / GeV), which is what is learned."""
    return np.asarray((np.log1p(energy) - np.log1p(true)) * (1 + energy) / spread)


def compared(full: Mapping[str, list[Estimate]], scratch: Mapping[str, list[Estimate]]) -> dict[str, Estimate]:
    """The figures of PAIRED: the first less the second over the seeds, positive where it is better, as `gain_<figure>`, and
    `p_<figure>` of a paired t test; 1 where the first is not better.
    """
    result = {}
    for name, sign in PAIRED.items():
        test = paired(*([sign * e.value for e in values[name]] for values in (full, scratch)))
        result[f"gain_{name}"] = Estimate(test.mean, test.error)
        result[f"p_{name}"] = Estimate(1.0 if test.mean <= 0 else test.p_t, 0.0)
    return result


def worst(found: Mapping[str, list[Estimate]], exam: Exam, number: int) -> dict[str, Estimate]:
    """Extremes over bins: the least margin over the cuts (with at least 100 signal events) and the largest bias; how far the
    width of all pulls is from 1; and IQR/MPV over that of the calorimetric energy in every bin.
    """
    model = f"full_{number}"
    result = {}
    for task in minerva.SIGNAL:
        for variable in VARIABLES:
            margins, place = [], f"{task}_{variable}"
            for i in range(len(exam.edges[task][variable]) - 1):
                if found[f"signal_{place}_{i}"][0].value < _LEAST_SIGNAL:
                    continue
                ours, cuts = mean(found[f"tpr_by_w_{place}_{i}_{model}"]), found[f"tpr_{place}_{i}_cuts"][0]
                margins.append(Estimate(ours.value - cuts.value, float(np.hypot(ours.error, cuts.error))))
            result[f"margin_over_cuts_{place}"] = min(margins, key=lambda m: m.value, default=_NONE)
    pull, biases = mean(found[f"pull_{model}"]), [mean(found[f"bias_{i}_{model}"]) for i in range(len(PUBLISHED_RATIOS))]
    result["pull_off"] = Estimate(abs(pull.value - 1), pull.error)
    off = [abs(e.value) for e in biases]
    result["largest_bias"] = Estimate(max(off), biases[off.index(max(off))].error) if np.isfinite(off).all() else _NONE
    for i in range(len(PUBLISHED_RATIOS)):
        ours, theirs = mean(found[f"iqr_over_mpv_{i}_{model}"]), found[f"iqr_over_mpv_{i}_calorimetric"][0]
        ratio = ours.value / theirs.value
        error = ratio * float(np.hypot(ours.error / ours.value, theirs.error / theirs.value))
        result[f"energy_ratio_{i}"] = Estimate(ratio, error)
    return result
