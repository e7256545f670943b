"""What the peers read: our jets in each peer's standard columns, and the cut of sorted jets into micro-batches."""

# N jet, T particle of any jet

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from jets import Jets


def pet2_columns(jets: Jets) -> NDArray[np.float32]:
    """(T, 9) OmniLearned's columns: deta, dphi, log pT, log E, particle type 1-8, tanh d0, d0 error, tanh dz, dz error."""
    charge = jets.column("charge")
    kind = np.zeros(len(charge), dtype=np.float32)
    for code, (flag, sign) in enumerate(
        (
            *(("is_charged_hadron", 1), ("is_charged_hadron", -1), ("is_neutral_hadron", 0), ("is_photon", 0)),
            *(("is_electron", 1), ("is_electron", -1), ("is_muon", 1), ("is_muon", -1)),
        ),
        start=1,
    ):
        kind[(jets.column(flag) == 1) & (np.sign(charge) == sign)] = code
    assert kind.all()
    kinematics = [jets.column(n) for n in ("pair_eta", "pair_phi", "log_pt", "log_energy")]
    return np.stack([*kinematics, kind, *_impact(jets)], axis=1)


def part_columns(jets: Jets) -> NDArray[np.float32]:
    """(T, 4 + 17) four-vectors, then the features of the JetClass data card with its centres, scales and limits."""
    scaled = (
        ("log_pt", 1.7, 0.7),
        ("log_energy", 2.0, 0.7),
        ("log_pt_rel", -4.7, 0.7),
        ("log_energy_rel", -4.7, 0.7),
        ("dr", 0.2, 4.0),
    )
    columns = [((jets.column(n) - centre) * scale).clip(-5, 5) for n, centre, scale in scaled]
    kinds = ("charge", "is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")
    columns += [jets.column(n) for n in kinds]
    d0, d0_error, dz, dz_error = _impact(jets)
    columns += [d0, d0_error.clip(0, 1), dz, dz_error.clip(0, 1), jets.column("deta"), jets.column("dphi")]
    return np.concatenate([jets.momentum_T4, np.stack(columns, axis=1)], axis=1).astype(np.float32)


def sorted_cuts(
    offsets_N: NDArray[np.int64], rows: NDArray[np.int64], max_tokens: int, least: int = 1
) -> Iterator[NDArray[np.int64]]:
    """The jets `rows` by length, cut so that jets x longest of a cut stays within `max_tokens`; lengths count from `least`."""
    counts = np.maximum(np.diff(offsets_N)[rows], least)
    order = np.argsort(counts, kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        if end == len(order) or counts[order[end]] * (end + 1 - start) > max_tokens:
            yield rows[order[start:end]]
            start = end


def _impact(jets: Jets) -> list[NDArray[np.float32]]:
    """tanh d0, d0 error, tanh dz, dz error [mm]; 0 where a particle has no track."""
    return [
        np.nan_to_num(f(jets.column(n))) for n, f in (("d0", np.tanh), ("d0_err", np.abs), ("dz", np.tanh), ("dz_err", np.abs))
    ]
