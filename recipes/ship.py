"""Make the weights of a complete run into shipped weights: model, configuration, card, and frozen outputs for the tests.

    python recipes/ship.py runs/xs src/cloudchamber/weights/xs

Run again after a new pre-training; it replaces the folder's files and tests/frozen/<name>.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import cloudchamber as cc
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.publish.bundle import copy_weights
from cloudchamber.publish.runs import read_run
from cloudchamber.run import write_json

ROOT = Path(__file__).parent.parent
_JETS = "Jets: Pythia 8 with one tune, parametric CMS-like detectors, no pile-up, pT 450-1100 GeV, R = 0.8."
_ELSEWHERE = "Other energies, radii, detectors and generators are extrapolations that need adaptation."
_SPREAD = "No uncertainty beyond softmax and spread is given, and these are calibrated on simulation only."


@dataclass(frozen=True)
class About:
    """What a card says of some weights that no program knows."""

    left_out: tuple[str, ...]
    intended_use: str
    limits: tuple[str, ...]


ABOUT = {
    "xs": About(
        ("top quarks (Tbqq, Tbl)", "any real event"),
        "Adaptation to jets and events of any collider experiment, from a few hundred labels on.",
        (f"All simulated. {_JETS}", _ELSEWHERE, _SPREAD),
    ),
    "xs-nu": About(
        ("top quarks (Tbqq, Tbl)", "NuMI's medium-energy beam, that of `cloudchamber demo`", "any real event"),
        "Adaptation to events of neutrino detectors and to jets of colliders, from a few hundred labels on.",
        (
            f"All simulated. {_JETS}",
            "Neutrinos: cloudchamber's own compact generator on carbon and its MINERvA-like tracker, NuMI's low-energy beam.",
            _ELSEWHERE,
            _SPREAD,
        ),
    ),
}


def main(run_folder: Path, target: Path) -> None:
    """Write the folder of shipped weights."""
    about = ABOUT[target.name]
    card = copy_weights(
        read_run(run_folder),
        cc.load(run_folder),
        target,
        left_out=about.left_out,
        intended_use=about.intended_use,
        limits=about.limits,
    )
    (target / "card.md").write_text(card)
    write_json(ROOT / "tests" / "frozen" / f"{target.name}.json", frozen_outputs(target))


def frozen_outputs(weights: Path) -> dict[str, list[list[float]]]:
    """Embedding (first numbers) and class probabilities of the toy jets that the frozen test makes again."""
    from tests.toy import frozen_cloud

    from cloudchamber.train.scoring import predicting_task, scores

    cloud = frozen_cloud()
    network = cc.load(weights)
    data = TrainingSet.from_cloud(cloud)
    network.bind(data)
    probabilities = scores(network, data, np.arange(len(data)), predicting_task(network, "label"))
    embedding = cc.embed(weights, cloud)[:, :8]
    return {"probabilities": probabilities.tolist(), "embedding": embedding.tolist()}


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
