"""FastJet through our wrapper against anti-kt written from its definition (arXiv:0802.1189, eq. 1)."""

import numpy as np
import pytest

from cloudchamber.errors import BadInput
from cloudchamber.events import Cloud, Feature, Label, Schema, kinematics
from cloudchamber.events.clustering import cluster, leading_jets

pytest.importorskip("fastjet")

COUNTS = np.array([25, 0, 1, 40, 12])
SCHEMA = Schema(
    dataset="toy events", frame="collider", features=(Feature(name="charge"),), labels=(Label(name="y", classes=("a", "b")),)
)


@pytest.fixture(scope="module")
def momentum():
    rng = np.random.default_rng(8)
    n = COUNTS.sum()
    return kinematics.momenta(rng.exponential(20.0, n), rng.normal(0, 1.2, n), rng.uniform(-np.pi, np.pi, n), 0.14)


def anti_kt(p, radius):
    """Jets as (four-momentum, members): merge or finish whatever has the smallest distance, until nothing is left."""
    left, done = [(row, {i}) for i, row in enumerate(p)], []
    while left:
        best = (np.inf, 0, None)
        for i, (a, _) in enumerate(left):
            weight = 1 / (a[0] ** 2 + a[1] ** 2)
            best = min(best, (weight, i, None), key=lambda b: b[0])
            for j, (b, _) in enumerate(left[:i]):
                dy = np.arctanh(a[2] / a[3]) - np.arctanh(b[2] / b[3])
                dphi = kinematics.wrap(np.arctan2(a[1], a[0]) - np.arctan2(b[1], b[0]))
                d = min(weight, 1 / (b[0] ** 2 + b[1] ** 2)) * (dy**2 + dphi**2) / radius**2
                best = min(best, (d, i, j), key=lambda c: c[0])
        _, i, j = best
        a = left.pop(i)
        if j is None:
            done.append(a)
        else:
            b = left.pop(j)
            left.append((a[0] + b[0], a[1] | b[1]))
    return sorted(done, key=lambda jet: -np.hypot(jet[0][0], jet[0][1]))


@pytest.mark.parametrize("radius", [0.4, 0.8, 1.0])
def test_jets_and_their_members_are_those_of_the_definition(momentum, radius):
    min_pt = 15.0
    jets = cluster(COUNTS, momentum, radius=radius, min_pt=min_pt)
    got = np.stack(list(jets.momentum.values()), axis=1)
    first = np.cumsum(COUNTS) - COUNTS
    for event, (start, count) in enumerate(zip(first, COUNTS, strict=True)):
        rows = np.stack([momentum[n][start : start + count] for n in ("px", "py", "pz", "energy")], axis=1)
        expected = [j for j in anti_kt(rows, radius) if np.hypot(*j[0][:2]) >= min_pt]
        mine = np.flatnonzero(jets.event_J == event)
        assert jets.rank_J[mine].tolist() == list(range(len(expected)))
        for jet, (p4, members) in zip(mine, expected, strict=True):
            assert got[jet] == pytest.approx(p4)
            assert set(np.flatnonzero(jets.jet_T == jet) - start) == members


def test_the_leading_jets_of_an_event_keep_their_constituents_labels_and_rank(momentum):
    y = np.array([0, 1, 1, 0, -1])
    cloud = Cloud.from_flat(COUNTS, {**momentum, "charge": np.arange(COUNTS.sum())}, {"y": y}, SCHEMA)
    two = leading_jets(cloud, 2, radius=1.0)
    assert two.labels["y"].tolist() == y.tolist()
    assert two.counts[1:3].tolist() == [0, 1]
    jets = cluster(COUNTS, momentum, radius=1.0)
    for event in (0, 3, 4):
        one = two[event]
        rank, number = one.flat("jet").astype(int), one.flat("charge").astype(int)
        assert np.all(np.diff(rank) >= 0)
        assert set(rank) == {0, 1}
        assert np.array_equal(jets.rank_J[jets.jet_T[number]], rank)
        assert np.all(jets.event_J[jets.jet_T[number]] == event)
    assert "arXiv:1111.6097" in two.schema.citation


def test_no_event_gives_no_jet():
    jets = cluster(np.zeros(0, np.int64), dict.fromkeys(("px", "py", "pz", "energy"), np.zeros(0)))
    assert len(jets.event_J) == len(jets.jet_T) == 0


def test_impossible_requests_are_told(momentum):
    cloud = Cloud.from_flat(COUNTS, {**momentum, "charge": np.zeros(COUNTS.sum())}, {"y": np.zeros(5, np.int64)}, SCHEMA)
    with pytest.raises(BadInput, match="radius"):
        cluster(COUNTS, momentum, radius=0.0)
    with pytest.raises(BadInput, match="n = 0"):
        leading_jets(cloud, 0)
    with pytest.raises(BadInput, match="whole collider event"):
        leading_jets(leading_jets(cloud))
