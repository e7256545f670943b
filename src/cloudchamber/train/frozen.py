"""Frozen: a trained model as a function of plain arrays, written as ONNX, or as test vectors that any program can check."""

# B event, P particle, F particle column, G event column

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from torch import Tensor, nn

from cloudchamber.errors import BadWeights, MissingExtra
from cloudchamber.events.kinematics import GEOMETRY
from cloudchamber.nn.backbone import Inputs
from cloudchamber.run import atomic
from cloudchamber.tasks.base import Task
from cloudchamber.train.network import Network

INPUTS, OUTPUTS = ("particles", "columns", "mask"), ("scores", "embedding")
_OPSET = 18
_VECTORS, _LONGEST = 8, 20  # events and particles of the test vectors
_TOLERANCE = 1e-4  # float32 on another processor or thread count


class Frozen(nn.Module):
    """particles (B, P, F), columns (B, G), mask (B, P) -> scores (B, C), embedding (B, E); `interface` names the columns.

    NaN: a particle or event has no such feature. mask: True for real particles. F and G are the features of the training.
    """

    def __init__(self, network: Network, task: Task):
        super().__init__()
        particle, column = network.backbone.particle, network.backbone.column
        self.names = ((*GEOMETRY[:2], *particle.trained), column.trained)
        particle.bind(particle.trained)
        column.bind(column.trained)
        self.network = network.eval()
        self.task = task

    @property
    def interface(self) -> dict[str, Any]:
        """The columns of the inputs and the meaning of the scores, for JSON."""
        label, config = self.task.label, self.network.config
        assert label is not None
        known = {"target": label.name, "classes": list(label.classes), "unit": label.unit}
        return known | dict(zip(INPUTS, self.names, strict=False)) | {"weights_sha256": config.sha256 if config else ""}

    def forward(self, particles: Tensor, columns: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and embedding of a batch."""
        encoded = self.network(Inputs(particles, columns, mask))
        return self.task.predict(encoded), encoded.pooled_BE

    def example(self, events: int, particles: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Inputs that are no physics: normal numbers, a tenth of them missing, events of different lengths."""
        rng = np.random.default_rng(seed)
        x_BPF = rng.normal(0, 1, (events, particles, len(self.names[0]))).astype(np.float32)
        x_BPF[..., 3:][rng.random(x_BPF[..., 3:].shape) < 0.1] = np.nan
        columns_BG = rng.normal(0, 1, (events, len(self.names[1]))).astype(np.float32)
        mask_BP = np.arange(particles) < np.linspace(1, particles, events).astype(int)[:, None]
        x_BPF[~mask_BP] = 0
        return torch.from_numpy(x_BPF), torch.from_numpy(columns_BG), torch.from_numpy(mask_BP)


def export_onnx(model: Frozen, path: Path) -> None:
    """Write an ONNX file for any number of events and particles; its metadata hold `interface` under "cloudchamber".

    Raises MissingExtra without the packages of the extra [onnx].
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtra(f"writing ONNX needs the extra: pip install 'cloudchamber[onnx]' ({error})") from error
    event, particle = (torch.export.Dim(name, min=1) for name in ("event", "particle"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter about itself
        program = torch.onnx.export(
            model,
            model.example(3, 5),
            dynamo=True,
            # Its optimiser takes the 1e-8 that keeps the logarithms of pairs finite for 0.
            optimize=False,
            verbose=False,
            opset_version=_OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            dynamic_shapes=({0: event, 1: particle}, {0: event}, {0: event, 1: particle}),
        )
    assert program is not None
    program.model.metadata_props["cloudchamber"] = json.dumps(model.interface)
    with atomic(path) as temporary:
        program.save(temporary)


@torch.inference_mode()
def write_vectors(model: Frozen, path: Path) -> None:
    """Write made-up inputs and the model's outputs for them as safetensors, with `interface` in the metadata."""
    inputs = model.example(_VECTORS, _LONGEST)
    tensors = dict(zip((*INPUTS, *OUTPUTS), (t.numpy().copy() for t in (*inputs, *model(*inputs))), strict=True))
    with atomic(path) as temporary:
        save_file(tensors, temporary, metadata={"cloudchamber": json.dumps(model.interface)})


@torch.inference_mode()
def check_vectors(model: Frozen, path: Path) -> None:
    """Raise BadWeights unless the model gives the outputs of its test vectors."""
    from safetensors.torch import load_file

    stored = load_file(path)
    for name, got in zip(OUTPUTS, model(*(stored[n] for n in INPUTS)), strict=True):
        if not torch.allclose(got, stored[name], atol=_TOLERANCE):
            raise BadWeights(f"{path}: the model gives other {name}, by up to {float((got - stored[name]).abs().max()):.2g}")
