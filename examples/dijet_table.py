"""Whole events in, a table for `cloudchamber search` out: what the weights `xs` say of the two leading jets, and their masses.

    python examples/dijet_table.py EVENTS... -o TABLE.parquet

EVENTS: stores or files of any known format that hold whole collider events. One row per event with two jets: `event_id`;
`mjj`, the mass of both jets [GeV]; `mass`, that of the lighter one and the difference [TeV]; `classes`, logarithms of the
probabilities of the eight classes of the pre-training for both jets, the lighter one first; and the class label, if known.
"""

# N event, J jet (two per event)

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

import cloudchamber as cc
from cloudchamber.data.identity import event_ids
from cloudchamber.data.training_set import TrainingSet
from cloudchamber.events import MOMENTUM, Cloud
from cloudchamber.train.scoring import predicting_task, scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("events", nargs="+", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    cloud = cc.read([str(p) for p in args.events])
    table = dijet_table(cloud)
    pq.write_table(table, args.out, compression="zstd")
    print(f"{args.out}: {len(table):,} of {len(cloud):,} events have two jets")


def dijet_table(cloud: Cloud) -> pa.Table:
    """The table of whole events."""
    clustered = cc.leading_jets(cloud, 2)
    jets, kept_N = two_jets(clustered)
    p4_J4 = four_momenta(jets)
    mass_N2 = mass(p4_J4).reshape(-1, 2)
    order_N2 = np.argsort(mass_N2, axis=1)
    light_N, heavy_N = np.take_along_axis(mass_N2, order_N2, axis=1).T
    classes_N2C = np.take_along_axis(log_probabilities(jets).reshape(len(mass_N2), 2, -1), order_N2[..., None], axis=1)
    columns = {
        "event_id": event_ids(cloud)[kept_N],
        "mjj": mass(p4_J4.reshape(-1, 2, 4).sum(axis=1)),
        "mass": list_column(np.stack([light_N, heavy_N - light_N], axis=1) / 1000),
        "classes": list_column(classes_N2C.reshape(len(mass_N2), -1)),
    }
    labels = [label.name for label in cloud.schema.labels if label.classes]
    return pa.table(columns | {name: cloud.labels[name][kept_N] for name in labels})


def two_jets(clustered: Cloud) -> tuple[Cloud, NDArray[np.bool_]]:
    """The two jets of every event that has two, one after the other, as jets of their own; and which events have two."""
    event_T, rank_T = np.repeat(np.arange(len(clustered)), clustered.counts), clustered.flat("jet").astype(np.int64)
    counts_J = np.bincount(2 * event_T + rank_T, minlength=2 * len(clustered))
    kept_N = (counts_J.reshape(-1, 2) > 0).all(axis=1)
    features = tuple(f for f in clustered.schema.features if f.name != "jet")
    schema = clustered.schema.model_copy(update={"features": features, "columns": (), "labels": (), "frame": "jet"})
    particles = {n: clustered.flat(n)[kept_N[event_T]] for n in (*MOMENTUM, *(f.name for f in features))}
    return Cloud.from_flat(counts_J[np.repeat(kept_N, 2)], particles, {}, schema), kept_N


def four_momenta(jets: Cloud) -> NDArray[np.float64]:
    """(J, 4) energy, px, py, pz [GeV]."""
    jet_T = np.repeat(np.arange(len(jets)), jets.counts)
    names = ("energy", "px", "py", "pz")
    return np.stack([np.bincount(jet_T, weights=jets.flat(n), minlength=len(jets)) for n in names], axis=1)


def mass(p4: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invariant mass [GeV]."""
    return np.asarray(np.sqrt(np.maximum(p4[..., 0] ** 2 - np.square(p4[..., 1:]).sum(axis=-1), 0)))


def log_probabilities(jets: Cloud) -> NDArray[np.float64]:
    """(J, 8) of the classes that `xs` was trained on."""
    network = cc.load("xs")
    data = TrainingSet.from_cloud(jets, network.max_particles)
    network.backbone.particle.bind(data.particle_names[2:])
    network.backbone.column.bind(data.column_names)
    p_JC = scores(network, data, np.arange(len(data)), predicting_task(network, "label"))
    return np.log(np.maximum(p_JC.astype(np.float64), 1e-6))


def list_column(values: NDArray[np.float64]) -> pa.Array:
    """Rows as lists of one length."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.astype(np.float32).ravel()), values.shape[1]).cast(
        pa.list_(pa.float32())
    )


if __name__ == "__main__":
    main()
