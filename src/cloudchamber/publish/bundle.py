"""Bundle: a trained run as a folder that can be published: weights, configuration, card, recipe, test vectors."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from cloudchamber.errors import BadRun
from cloudchamber.publish.card import model_card
from cloudchamber.publish.runs import read_run
from cloudchamber.run import read_json
from cloudchamber.train.frozen import Frozen, check_vectors, write_vectors
from cloudchamber.train.network import load
from cloudchamber.train.scoring import predicting_task
from cloudchamber.train.weights import read_config

VECTORS = "test_vectors.safetensors"


def write_bundle(run: Path, out: Path, *, intended_use: str, limits: Sequence[str], left_out: Sequence[str] = ()) -> None:
    """Write `out` in the layout of files that the Hugging Face hub expects; nothing is uploaded.

    The folder is an ordinary weights folder. Its test vectors are checked with the copy before this returns. Raises BadRun
    if the run is not complete or `out` is there already.
    """
    if out.exists():
        raise BadRun(f"{out}: is there already. Give another folder with -o, or remove it yourself.")
    record, config = read_run(run), read_config(run / "model")
    network = load(run)
    target = None if record.scores is None else record.scores.target
    out.mkdir(parents=True)
    for name in ("model.safetensors", "config.json"):
        shutil.copyfile(run / "model" / name, out / name)
    (out / "recipe.yaml").write_text(record.recipe)
    test = read_json(run / "summary.json").get("test", {})
    figures = {n: f"{v:.4g} ± {test[f'{n}_error']:.2g}" for n, v in test.items() if test.get(f"{n}_error") is not None}
    card = model_card(
        out.name,
        config.model_dump(mode="json"),
        record.recipe,
        figures,
        parameters=network.parameters_count,
        left_out=left_out,
        intended_use=intended_use,
        limits=limits,
        environment=record.environment,
    )
    head = ["---", "library_name: cloudchamber", "license: other", f"license_name: {json.dumps(config.licence)}"]
    (out / "README.md").write_text("\n".join([*head, "tags: [particle-physics]", "---", "", card]))
    write_vectors(Frozen(network, predicting_task(network, target)), out / VECTORS)
    again = load(out)
    check_vectors(Frozen(again, predicting_task(again, target)), out / VECTORS)
