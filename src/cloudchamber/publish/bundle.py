"""Bundle: a trained run as a folder that can be published: weights, configuration, card, recipe, test vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from cloudchamber.errors import BadRun
from cloudchamber.publish.card import model_card
from cloudchamber.publish.runs import RunRecord, read_run
from cloudchamber.run import read_json
from cloudchamber.train.frozen import Frozen, check_vectors, write_vectors
from cloudchamber.train.network import Network, load
from cloudchamber.train.scoring import predicting_task

VECTORS = "test_vectors.safetensors"


def write_bundle(run: Path, out: Path, *, intended_use: str, limits: Sequence[str]) -> None:
    """Write `out` in the layout of files that the Hugging Face hub expects; nothing is uploaded.

    The folder is an ordinary weights folder. Its test vectors are checked with the copy before this returns. Raises BadRun
    if the run is not complete or `out` is there already.
    """
    if out.exists():
        raise BadRun(f"{out}: is there already. Give another folder with -o, or remove it yourself.")
    record, network = read_run(run), load(run)
    target = None if record.scores is None else record.scores.target
    card = copy_weights(record, network, out, intended_use=intended_use, limits=limits)
    (out / "recipe.yaml").write_text(record.recipe)
    assert network.config is not None
    head = ["---", "library_name: cloudchamber", "license: other", f"license_name: {json.dumps(network.config.licence)}"]
    (out / "README.md").write_text("\n".join([*head, "tags: [particle-physics]", "---", "", card]))
    write_vectors(Frozen(network, predicting_task(network, target)), out / VECTORS)
    again = load(out)
    check_vectors(Frozen(again, predicting_task(again, target)), out / VECTORS)


def copy_weights(
    record: RunRecord, network: Network, out: Path, *, intended_use: str, limits: Sequence[str], left_out: Sequence[str] = ()
) -> str:
    """Copy the weights of a run, which are those of `network`, to the folder `out`; returns their card.

    The card shows the figures of the run's test events, with their errors where they have one.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "config.json"):
        shutil.copyfile(record.path / "model" / name, out / name)
    test = read_json(record.path / "summary.json").get("test", {})
    errors = {name: f" ± {test[f'{name}_error']:.2g}" for name in test if test.get(f"{name}_error") is not None}
    return model_card(
        out.name,
        read_json(out / "config.json"),
        record.recipe,
        {
            name: f"{value:.4g}{errors.get(name, '')} ({test['n']:,} test events)"
            for name, value in test.items()
            if isinstance(value, float) and not name.endswith("_error")
        },
        parameters=network.parameters_count,
        left_out=left_out,
        intended_use=intended_use,
        limits=limits,
        environment=record.environment,
    )
