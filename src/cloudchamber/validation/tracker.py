"""The tracker's response against MINERvA's real simulation as published: fractions, multiplicities, baseline, cuts.

Simulated events of the medium-energy beam on carbon in the tracker go through the readers and are judged as arXiv:2604.12364
judges its public sample. Two things differ by construction: the public sample holds every material of the detector, and
this simulation has no vertices outside the tracker's fiducial volume. So agreement is for orientation, not a target.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from cloudchamber import data
from cloudchamber.data.readers.minerva_cuts import calorimetric, cuts, muon_momentum
from cloudchamber.data.readers.minerva_truth import momentum_transfer
from cloudchamber.events import Cloud
from cloudchamber.simulate.neutrino.generator import generate
from cloudchamber.simulate.neutrino.initial import read_flux
from cloudchamber.simulate.neutrino.masteranadev import TREE, simulate
from cloudchamber.stats import minerva
from cloudchamber.stats.figures import Figure, Target, average, measured, median, share
from cloudchamber.stats.metrics import Estimate
from cloudchamber.validation.comparison import Comparison, Panel, Series, histogram

SEED = 11
CHUNK = 5000  # events at a time
RATE_TARGET = 1000.0  # neutrino events per second and core through cascade and tracker to the branches of a file
READER = "minerva_published"
MPV_BINS = 50  # of the study's baseline
# Published values (arXiv:2604.12364 and counts in its public files): pion classes of all test events with corrected labels;
# mean multiplicities and shares; the calorimetric baseline in bins of q3; the cuts of three selections.
PUBLISHED = {
    "class_cc1pi": 0.330,
    "class_ccnpi": 0.246,
    "class_cc1pi0": 0.082,
    "class_cc_other": 0.243,
    "class_nc": 0.098,
    "kind_qe": 0.123,
    "kind_res": 0.214,
    "kind_dis": 0.617,
    "kind_coh": 0.0105,
    "kind_mec": 0.036,
    "final_state_particles": 8.2,
    "prongs": 1.75,
    "blobs": 12.45,
    "share_without_blobs": 0.317,
    "share_with_muon": 0.705,
    "share_with_photon_pair": 0.18,
    "share_muon_and_photon_pair": 0.112,
    "tokens": 13.0,
    **{f"baseline_iqr_over_mpv_{i}": v for i, v in enumerate((1.007, 0.791, 0.686, 0.616, 0.563))},
    **{f"baseline_mpv_{i}": v for i, v in enumerate((1.14, 0.90, 0.86, 0.86, 0.86))},
    "fpr_cc1pi": 0.028,
    "fpr_ccnpi": 0.017,
    "fpr_cc1pi0": 0.029,
    "tpr_cc1pi": 0.058,
    "tpr_cc1pi0": 0.056,
}


def comparisons(_: Path | None, n: int) -> list[Comparison]:
    """Of 2 n events."""
    return [comparison(2 * n)]


def comparison(n: int) -> Comparison:
    """The response to n events; their rate is that of one core."""
    parts, rates, flux = [], [], read_flux("me")
    for i, start in enumerate(range(0, n, CHUNK)):
        interactions = generate(min(CHUNK, n - start), flux, seed=SEED + i)
        begin = time.process_time()
        parts.append(simulate(interactions, np.random.default_rng(SEED + i)))
        rates.append(len(interactions) / (time.process_time() - begin))
    response = _joined(parts)
    cloud = data.from_columns({f"{TREE}/{name}": b for name, b in response.items()}, READER)
    figures = {"tracker_events_per_second": median(rates, "events/s"), **_figures(response, cloud)}
    text = (
        "Against the published figures of MINERvA's public simulation (arXiv:2604.12364), without a target: that sample has "
        "all materials, vertices everywhere, and several numbers of the tracker were chosen by these means."
    )
    target = Target("tracker_events_per_second", ">=", RATE_TARGET)
    return Comparison("tracker", "Tokens of the neutrino tracker", text, _panels(figures, cloud), figures, (target,))


def _panels(figures: Mapping[str, Figure], cloud: Cloud) -> tuple[Panel, ...]:
    groups = {
        "Pion classes": ("class_cc1pi", "class_ccnpi", "class_cc1pi0", "class_cc_other", "class_nc"),
        "Per event": ("final_state_particles", "prongs", "blobs", "tokens"),
        "Shares": ("share_without_blobs", "share_with_muon", "share_with_photon_pair", "share_muon_and_photon_pair"),
        "Baseline: width / peak in bins of q3": tuple(f"baseline_iqr_over_mpv_{i}" for i in range(5)),
        "Rates of the cuts": ("fpr_cc1pi", "fpr_ccnpi", "fpr_cc1pi0", "tpr_cc1pi", "tpr_cc1pi0"),
    }
    panels = []
    for title, names in groups.items():
        x, found = np.arange(len(names)), [figures[name] for name in names]
        published = Series.of("published", "other", x, [PUBLISHED[name] for name in names])
        ours = Series.of("simulated", "ours", x, [f.value for f in found], [f.high - f.value for f in found])
        short = ", ".join(name.removeprefix("class_").removeprefix("share_").replace("_", " ") for name in names)
        panels.append(Panel(title, short if len(short) < 70 else "in this order as in the table", "", (published, ours)))
    available = cloud.labels["available_energy"]
    panels.append(
        Panel(
            "Available energy (the study's), all events",
            "E_avail [GeV]",
            "density",
            (histogram("simulated", "ours", available, np.linspace(0, 10, 51)),),
        )
    )
    return tuple(panels)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """The branches of several chunks, one after the other."""
    return {
        n: (ak.concatenate if isinstance(b, ak.Array) else np.concatenate)([p[n] for p in parts]) for n, b in parts[0].items()
    }


def _figures(response: Mapping[str, Any], cloud: Cloud) -> dict[str, Figure]:
    """Fractions, multiplicities, the calorimetric baseline and the cuts, with statistical errors."""
    events, labels = cloud.events, cloud.labels
    pion, kind = labels["pion_class"], labels["interaction"]
    names = ("cc1pi", "ccnpi", "cc1pi0", "cc_other", "nc")
    found = {f"class_{name}": share(pion == i) for i, name in enumerate(names)}
    found |= {f"kind_{name}": share(kind == i) for i, name in enumerate(("qe", "res", "dis", "coh", "mec"))}
    blobs = np.asarray(ak.num(response["MasterAnaDev_BlobX"]))
    muon, pair = events["has_muon"] == 1, response["gamma1_E"] > 0
    found |= {
        "final_state_particles": average(np.asarray(ak.num(response["mc_FSPartPDG"]))),
        "prongs": average(np.asarray(ak.num(response["prong_part_pid"]))),
        "blobs": average(blobs),
        "share_without_blobs": share(blobs == 0),
        "share_with_muon": share(muon),
        "share_with_photon_pair": share(pair),
        "share_muon_and_photon_pair": share(pair & muon),
        "tokens": average(cloud.counts),
        "clusters": average(np.asarray(ak.num(response["cluster_energy"]))),
        "share_with_michel": share(events["n_michel"] > 0),
    }
    return found | _baseline(response, cloud) | _cuts(cloud)


def _baseline(response: Mapping[str, Any], cloud: Cloud) -> dict[str, Figure]:
    """The study's calorimetric estimate over the true available energy, with its bins of the most probable value.

    In bins of the study's q3, which has the reconstructed muon in place of the true one, and of the true q3.
    """
    events, labels = cloud.events, cloud.labels
    truth, estimate = labels["available_energy"], calorimetric(cloud)["study"]
    seen = minerva.has_energy_figures(events["muon_theta"], muon_momentum(cloud), events["hadron_recoil_ccinc_energy"], truth)
    muon, neutrino = (response[name] * 1e-3 for name in ("muon_corrected_p", "mc_incomingPartVec"))
    mixed, _ = momentum_transfer(labels["neutrino_energy"], neutrino, muon)
    found = {}
    for prefix, q3 in (("baseline", mixed), ("baseline_true_q3", labels["q3"])):
        binned = minerva.energy_bins(truth[seen], estimate[seen], q3[seen], bins=MPV_BINS)
        for i, one in enumerate(binned):
            found[f"{prefix}_iqr_over_mpv_{i}"] = _figure(one.iqr_over_mpv)
            found[f"{prefix}_mpv_{i}"] = _figure(one.mpv)
    return found


def _cuts(cloud: Cloud) -> dict[str, Figure]:
    """False and true positive rates of the study's cuts."""
    found: dict[str, Figure] = {}
    for name, chosen in cuts(cloud)["evaluated"].items():
        signal = np.isin(cloud.labels["pion_class"], minerva.SIGNAL[name])
        found |= {f"fpr_{name}": share(chosen[~signal]), f"tpr_{name}": share(chosen[signal])}
    return found


def _figure(estimate: Estimate) -> Figure:
    return measured(estimate.value, estimate.error, "bootstrap of the events")
