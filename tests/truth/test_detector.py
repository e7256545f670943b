"""The detector against the public numbers of its cards, by a particle gun."""

from dataclasses import replace

import numpy as np
import pytest

from cloudchamber.errors import BadInput
from cloudchamber.events import kinematics
from cloudchamber.simulate.card import CMS
from cloudchamber.simulate.detector import calorimeter_position, detect

N = 20_000


def gun(pdg, charge, pt, eta, *, n=N, vertex=(0.0, 0.0, 0.0), seed=1):
    """n events of one particle each, uniform in phi."""
    rng = np.random.default_rng(seed)
    eta = rng.uniform(*eta, n) * rng.choice([-1, 1], n)
    momentum = kinematics.momenta(np.full(n, pt), eta, rng.uniform(-np.pi, np.pi, n))
    place = {name: np.full(n, v) for name, v in zip(("vx", "vy", "vz"), vertex, strict=True)}
    return {"event": np.arange(n), **momentum, "pdg": np.full(n, pdg), "charge": np.full(n, charge), **place}


def reconstruct(*args, card=CMS, **kwargs):
    seen = detect(gun(*args, **kwargs), card, np.random.default_rng(2))
    return seen | {"pt": np.hypot(seen["px"], seen["py"])}


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "expected"),
    [
        (211, 0.5, (0.0, 1.5), 0.70),
        (211, 10.0, (0.0, 1.5), 0.95),
        (211, 0.5, (1.5, 2.5), 0.60),
        (211, 10.0, (1.5, 2.5), 0.85),
        (11, 0.5, (0.0, 1.5), 0.73),
        (11, 50.0, (0.0, 1.5), 0.95),
        (11, 200.0, (0.0, 1.5), 0.99),
        (11, 0.5, (1.5, 2.5), 0.50),
        (11, 50.0, (1.5, 2.5), 0.83),
        (11, 200.0, (1.5, 2.5), 0.90),
        (13, 0.5, (0.0, 1.5), 0.75),
        (13, 10.0, (0.0, 1.5), 0.99),
        (13, 0.5, (1.5, 2.5), 0.70),
        (13, 10.0, (1.5, 2.5), 0.98),
        (211, 0.05, (0.0, 1.5), 0.0),
        (13, 10.0, (2.5, 3.0), 0.0),
    ],
)
def test_tracking_efficiency_is_that_of_the_card(pdg, pt, eta, expected):
    straight = replace(CMS, field=1e-6)  # in the field, pions of 0.5 GeV curl up before the calorimeter
    got = (reconstruct(pdg, -1, pt, eta, card=straight)["charge"] != 0).sum() / N
    assert got == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "constant", "slope"),
    [
        (211, 5.0, (0.0, 0.5), 0.06, 1.3e-3),
        (211, 100.0, (0.0, 0.5), 0.06, 1.3e-3),
        (211, 20.0, (0.5, 1.5), 0.10, 1.7e-3),
        (211, 20.0, (1.5, 2.5), 0.25, 3.1e-3),
        (11, 50.0, (0.0, 0.5), 0.03, 1.3e-3),
        (13, 200.0, (0.0, 0.5), 0.01, 1e-4),
        (13, 200.0, (1.5, 2.5), 0.025, 3.5e-4),
    ],
)
def test_track_momentum_is_unbiased_with_the_width_of_the_card(pdg, pt, eta, constant, slope):
    seen = reconstruct(pdg, 1, pt, eta)
    response = seen["pt"][seen["charge"] != 0] / pt
    width = np.hypot(constant, slope * pt)
    assert response.mean() == pytest.approx(1.0, abs=4 * width / np.sqrt(len(response)))
    assert response.std() == pytest.approx(width, rel=0.05)


@pytest.mark.parametrize(
    ("pdg", "energy", "flag", "sigma"),
    [
        (22, 10.0, "is_photon", np.sqrt((0.008 * 10) ** 2 + 0.11**2 * 10 + 0.40**2)),
        (22, 100.0, "is_photon", np.sqrt((0.008 * 100) ** 2 + 0.11**2 * 100 + 0.40**2)),
        (130, 100.0, "is_neutral_hadron", np.sqrt((0.05 * 100) ** 2 + 1.5**2 * 100)),
        (2112, 400.0, "is_neutral_hadron", np.sqrt((0.05 * 400) ** 2 + 1.5**2 * 400)),
    ],
)
def test_calorimeter_response_is_unbiased_with_the_resolution_of_the_card(pdg, energy, flag, sigma):
    seen = reconstruct(pdg, 0, energy, (0.0, 1e-3))  # central: E = pT, and the ECAL's factor 1 + 0.64 eta^2 is 1
    assert np.all(seen[flag] == 1)
    assert seen["energy"].mean() == pytest.approx(energy, abs=4 * sigma / np.sqrt(N))
    assert seen["energy"].std() == pytest.approx(sigma, rel=0.05)


def test_kaons_and_lambdas_share_their_energy_between_the_calorimeters():
    seen = reconstruct(310, 0, 200.0, (0.0, 0.5))
    em, hadronic = (seen["energy"][seen[f] == 1].sum() for f in ("is_photon", "is_neutral_hadron"))
    assert em / (em + hadronic) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize(("pdg", "energy"), [(22, 0.4), (130, 0.9)])
def test_deposits_below_threshold_leave_little(pdg, energy):
    # 0.4 GeV in the ECAL and 0.9 GeV in the HCAL are about one sigma of noise: two sigma are asked for.
    assert len(reconstruct(pdg, 0, energy, (0.0, 0.5))["energy"]) < 0.2 * N


def test_neutrinos_leave_nothing_and_muons_only_a_track():
    assert len(reconstruct(14, 0, 100.0, (0.0, 2.0))["energy"]) == 0
    muons = reconstruct(13, -1, 100.0, (0.0, 2.0))
    assert np.all(muons["is_muon"] == 1)
    assert len(muons["energy"]) <= N


def test_a_lost_track_is_seen_as_a_neutral_hadron_by_its_calorimeter():
    blind = replace(CMS, efficiency=tuple(tuple(tuple(0.0 for _ in row) for row in s) for s in CMS.efficiency))
    seen = reconstruct(211, 1, 100.0, (0.0, 0.5), card=blind)
    assert np.all(seen["is_neutral_hadron"] == 1)
    assert len(seen["energy"]) == pytest.approx(N, rel=0.001)


@pytest.mark.parametrize(
    ("pt", "eta", "d0", "dz"),
    [(1.0, 0.3, 0.0753, 0.1113), (10.0, 0.3, 0.0191, 0.0382), (100.0, 0.3, 0.0105, 0.0283), (1.0, 2.0, 0.1557, None)],
)
def test_impact_parameters_have_the_resolution_of_the_tables_and_say_so(pt, eta, d0, dz):
    seen = reconstruct(211, 1, pt, (eta, eta))
    track = seen["charge"] != 0
    assert seen["d0_err"][track] == pytest.approx(d0)
    assert (seen["d0"] / seen["d0_err"])[track].std() == pytest.approx(1.0, rel=0.04)
    assert (seen["dz"] / seen["dz_err"])[track].std() == pytest.approx(1.0, rel=0.04)
    if dz is not None:
        assert seen["dz_err"][track] == pytest.approx(dz)


def test_impact_parameters_are_those_of_a_line_through_the_production_vertex():
    # A particle along +x made at (3, 2, 5) mm passes the beam line at distance 2 mm, at z = 5 mm for eta = 0.
    one = {name: np.full(N, v) for name, v in {"px": 1e3, "py": 0.0, "pz": 0.0, "energy": 1e3, "vx": 3.0}.items()}
    one |= {"vy": np.full(N, 2.0), "vz": np.full(N, 5.0), "event": np.arange(N)}
    seen = detect(one | {"pdg": np.full(N, 13), "charge": np.ones(N)}, CMS, np.random.default_rng(3))
    assert np.abs(seen["d0"]).mean() == pytest.approx(2.0, abs=0.001)
    assert seen["dz"].mean() == pytest.approx(5.0, abs=0.002)
    assert np.all(seen["d0"] < 0)  # (vx py - vy px) / pT


def test_charged_particles_bend_as_a_helix_in_the_field():
    pt, radius = 2.0, 2.0 / (0.299792458 * 3.8)  # GeV, m
    one = gun(211, 1, pt, (0.0, 0.0), n=4)
    _, phi, curls = calorimeter_position(one, CMS)
    bend = kinematics.wrap(phi - np.arctan2(one["py"], one["px"]))
    assert bend == pytest.approx(-np.arcsin(1.29 / (2 * radius)))
    assert not curls.any()
    assert calorimeter_position(gun(211, 1, 0.7, (0.0, 0.0), n=4), CMS)[2].all()  # 0.735 GeV reach R = 1.29 m


def test_helices_agree_with_stepping_along_the_field():
    one = gun(211, -1, 1.3, (0.1, 2.2), n=50)
    eta, phi, _ = calorimeter_position(one, CMS)
    x, y, z = np.zeros((3, 50))
    px, py, pz, total = one["px"], one["py"], one["pz"], one["energy"]
    step = 5e-4  # m
    turn = 0.299792458 * CMS.field / total * step  # a negative charge turns anticlockwise around +z
    while (inside := (np.hypot(x, y) < CMS.radius) & (np.abs(z) < CMS.half_length)).any():
        x, y, z = (v + inside * step * p / total for v, p in ((x, px), (y, py), (z, pz)))
        px, py = px * np.cos(turn) - py * np.sin(turn), px * np.sin(turn) + py * np.cos(turn)
    assert np.arcsinh(z / np.hypot(x, y)) == pytest.approx(eta, abs=2e-3)
    assert kinematics.wrap(np.arctan2(y, x) - phi) == pytest.approx(0.0, abs=2e-3)


def test_neutrals_point_to_where_they_went():
    true = gun(22, 0, 50.0, (0.0, 2.4))
    seen = detect(true, CMS, np.random.default_rng(4))
    _, eta, phi = kinematics.pt_eta_phi(seen["px"], seen["py"], seen["pz"])
    _, eta_true, phi_true = kinematics.pt_eta_phi(true["px"], true["py"], true["pz"])
    assert np.abs(eta - eta_true[seen["event"]]).max() < 0.0174
    assert np.abs(kinematics.wrap(phi - phi_true[seen["event"]])).max() < np.radians(1.0)


def test_an_event_without_particles_gives_none():
    nothing = {name: c[:0] for name, c in gun(22, 0, 1.0, (0.0, 1.0), n=1).items()}
    assert len(detect(nothing, CMS, np.random.default_rng(0))["energy"]) == 0


def test_a_missing_column_is_named():
    with pytest.raises(BadInput, match="'vz'"):
        detect({n: c for n, c in gun(22, 0, 1.0, (0.0, 1.0), n=1).items() if n != "vz"}, CMS, np.random.default_rng(0))
