"""Top-tagging landscape: top and QCD jets of 200 four-vectors, as a pandas table in HDF5."""

from __future__ import annotations

import numpy as np

from cloudchamber.data.containers import Container
from cloudchamber.data.reader import Reader, class_index
from cloudchamber.errors import BadFile
from cloudchamber.events import Cloud, Label, Schema

SLOTS = 200
_CITATION = ("arXiv:1902.09914", "doi:10.5281/zenodo.2603256")  # A. Butter et al.; G. Kasieczka et al.
# pandas stores the column names pickled, so they are given here: E_0, PX_0, PY_0, PZ_0, E_1, ..., truthE, truthPX, ...
_FLOATS, _INTEGERS = "table/table/values_block_0", "table/table/values_block_1"
_SLOT_COLUMNS = ("energy", "px", "py", "pz")
_SIGNAL = 1  # columns of the integer block: ttv, is_signal_new
_SCHEMA = Schema(
    dataset="top-tagging landscape",
    frame="jet",
    labels=(Label(name="is_signal_new", classes=("QCD", "top")),),
    simulated=True,
    licence="CC-BY-4.0",
    citation=_CITATION,
    notes="The true top momentum (truth*) and the authors' train/validation/test flag (ttv) are not read.",
)


def _recognises(container: Container) -> bool:
    return container.kind == "HDF5" and {_FLOATS, _INTEGERS} <= set(container.keys)


def _read(container: Container, start: int, stop: int) -> Cloud:
    columns = container.read((_FLOATS, _INTEGERS), start, stop, "landscape")
    numbers, integers = np.asarray(columns[_FLOATS]), np.asarray(columns[_INTEGERS])
    if numbers.shape[1:] != (4 * SLOTS + 4,) or integers.shape[1:] != (2,):
        raise BadFile(
            f"{container.path}: the table has {numbers.shape[1:]} float and {integers.shape[1:]} integer columns, expected "
            f"({4 * SLOTS + 4},) and (2,): E, PX, PY, PZ of {SLOTS} slots, the true top; ttv, is_signal_new. Use a card."
        )
    slots = numbers[:, : 4 * SLOTS].reshape(-1, SLOTS, 4)
    real = slots[..., 0] != 0  # an energy below 0 or NaN is not padding: the border check refuses it
    particles = {name: slots[..., i][real].astype(np.float32) for i, name in enumerate(_SLOT_COLUMNS)}
    label = class_index(container, "is_signal_new", integers[:, _SIGNAL], 2, np.arange(start, stop))
    return Cloud.from_flat(real.sum(axis=1), particles, {"is_signal_new": label}, _SCHEMA)


READER = Reader(
    name="landscape",
    description="top-tagging landscape HDF5 files (pandas table `table`, 200 slots of E, PX, PY, PZ)",
    citation=_CITATION,
    recognises=_recognises,
    count=lambda container: container.rows(_FLOATS),
    read=_read,
    sources={"energy": "E_i", "px": "PX_i", "py": "PY_i", "pz": "PZ_i"},
)
