"""The detector against the public numbers of its cards, by a particle gun."""

import numpy as np
import pytest
from scipy.special import erf
from scipy.stats import norm

from cloudchamber.errors import BadInput
from cloudchamber.events import kinematics
from cloudchamber.simulate.card import load
from cloudchamber.simulate.detector import detect, find_tracks
from cloudchamber.simulate.objects import identify, neighbours
from cloudchamber.simulate.propagation import calorimeter_position, impact_parameters
from cloudchamber.simulate.puppi import puppi

N = 20_000
CMS, JETCLASS = load("cms"), load("jetclass")


def gun(pdg, charge, pt, eta, *, n=N, mass=0.0, vertex=(0.0, 0.0, 0.0), seed=1):
    """n events of one particle each, uniform in phi."""
    rng = np.random.default_rng(seed)
    eta = rng.uniform(*eta, n) * rng.choice([-1, 1], n)
    momentum = kinematics.momenta(np.full(n, pt), eta, rng.uniform(-np.pi, np.pi, n), mass)
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
    straight = CMS.model_copy(update={"field_t": 0.0})  # in the field, low momenta leave at another eta
    got = (reconstruct(pdg, -1, pt, eta, card=straight)["charge"] != 0).sum() / N
    assert got == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "constant", "slope"),
    [
        (211, 5.0, (0.0, 0.5), 0.01, 1.5e-4),
        (211, 100.0, (0.0, 0.5), 0.01, 1.5e-4),
        (211, 20.0, (0.5, 1.5), 0.015, 2.5e-4),
        (211, 20.0, (1.5, 2.5), 0.025, 5.5e-4),
        (11, 50.0, (0.0, 0.5), 0.03, 1.3e-3),
        (13, 200.0, (0.0, 0.5), 0.01, 1e-4),
        (13, 200.0, (1.5, 2.5), 0.025, 3.5e-4),
    ],
)
def test_track_momentum_is_unbiased_with_the_width_of_the_card(pdg, pt, eta, constant, slope):
    true = gun(pdg, 1, pt, eta)
    eta_at_face, _, turn = calorimeter_position(true, CMS)
    response = find_tracks(true, eta_at_face, turn, CMS, np.random.default_rng(2)).pt / pt
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


@pytest.mark.parametrize(("pdg", "energy", "numbers"), [(22, 0.4, (0.008, 0.11, 0.40)), (130, 0.9, (0.05, 1.5, 0.0))])
def test_a_faint_deposit_is_seen_as_often_as_its_log_normal_signal_exceeds_twice_its_resolution(pdg, energy, numbers):
    constant, stochastic, noise = np.square(numbers)
    border = max(np.roots([1 - 4 * constant, -4 * stochastic, -4 * noise]))  # where E = 2 sigma(E)
    width = np.sqrt(np.log1p(constant + stochastic / energy + noise / energy**2))
    expected = norm.sf((np.log(border / energy) + width**2 / 2) / width)
    got = len(reconstruct(pdg, 0, energy, (0.0, 1e-3))["energy"]) / N
    assert got == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


def test_neutrinos_leave_nothing_and_muons_only_a_track():
    assert len(reconstruct(14, 0, 100.0, (0.0, 2.0))["energy"]) == 0
    muons = reconstruct(13, -1, 100.0, (0.0, 2.0))
    assert np.all(muons["is_muon"] == 1)
    assert len(muons["energy"]) <= N


def blind():
    """A card without a tracker."""
    tables = {
        name: t.model_copy(update={"value": ((0.0,) * len(t.pt_gev),) * 2}) for name, t in CMS.tracking.efficiency.items()
    }
    return CMS.model_copy(update={"tracking": CMS.tracking.model_copy(update={"efficiency": tables})})


def test_a_lost_track_is_seen_as_a_neutral_hadron_by_its_calorimeter():
    seen = reconstruct(211, 1, 100.0, (0.0, 0.5), card=blind())
    assert np.all(seen["is_neutral_hadron"] == 1)
    assert len(seen["energy"]) == pytest.approx(N, rel=0.001)


def test_track_and_calorimeter_give_the_better_of_both():
    # 1 TeV at eta = 0: tracker sqrt(0.01^2 + (1.5e-4 1000)^2) = 0.1503, HCAL sqrt(0.05^2 + 1.5^2 / 1000) = 0.0689.
    seen = reconstruct(211, 1, 1000.0, (0.0, 1e-3))
    alone = [e for e in np.split(seen["energy"], np.flatnonzero(np.diff(seen["event"])) + 1) if len(e) == 1]
    response = np.concatenate(alone) / 1000
    assert np.median(response) == pytest.approx(1.0, abs=0.01)
    assert np.diff(np.quantile(response, (0.1587, 0.8413)))[0] / 2 == pytest.approx((0.1503**-2 + 0.0689**-2) ** -0.5, rel=0.1)


def test_tracks_keep_the_mass_of_their_particle_and_neutrals_have_none():
    for pdg, charge, mass in ((321, 1, 0.4937), (13, -1, 0.1057), (22, 0, 0.0)):
        seen = reconstruct(pdg, charge, 5.0, (0.0, 1.0), mass=mass)
        squared = seen["energy"] ** 2 - seen["px"] ** 2 - seen["py"] ** 2 - seen["pz"] ** 2
        flag = "is_photon" if pdg == 22 else "is_muon" if pdg == 13 else "is_charged_hadron"
        assert squared[seen[flag] == 1] == pytest.approx(mass**2, abs=1e-6)


def test_the_detector_of_version_0_1_loses_what_curls_up_and_keeps_tracks_as_measured():
    first = load("v0_1")  # 0.735 GeV reach R = 1.29 m; at eta = 0.2 no endcap comes first
    assert not np.any(reconstruct(211, 1, 0.7, (0.0, 0.2), card=first)["charge"] != 0)
    assert np.mean(reconstruct(211, 1, 0.8, (0.0, 0.2), card=first)["charge"] != 0) > 0.9
    tracks = reconstruct(211, 1, 20.0, (0.0, 0.5), card=first, mass=0.13957)
    tracks = {name: c[tracks["charge"] != 0] for name, c in tracks.items()}
    assert tracks["pt"].std() / 20 == pytest.approx(np.hypot(0.06, 1.3e-3 * 20), rel=0.05)
    assert tracks["energy"] == pytest.approx(np.sqrt(sum(tracks[name] ** 2 for name in ("px", "py", "pz"))))


def test_jetclass_has_no_lone_charged_hadron_below_its_calorimeters_noise():
    # Seen in the files: the border is where sqrt((0.05 E)^2 + 1.5^2 E) = E, at 2.25 / (1 - 0.0025) GeV.
    seen = reconstruct(211, 1, 2.0, (0.0, 1.2), card=JETCLASS, mass=0.13957)
    lone = seen["energy"][np.bincount(seen["event"])[seen["event"]] == 1]
    assert 0.1 * N < len(lone) < 0.7 * N
    assert lone.min() == pytest.approx(2.2556, abs=0.01)


@pytest.mark.parametrize(
    ("pt", "eta", "d0", "dz"),
    [(1.0, 0.3, 0.0753, 0.1113), (10.0, 0.3, 0.0191, 0.0382), (100.0, 0.3, 0.0104, 0.0283), (1.0, 2.0, 0.1557, 0.6695)],
)
def test_impact_parameters_have_the_resolution_of_the_tables_and_say_so(pt, eta, d0, dz):
    seen = reconstruct(211, 1, pt, (eta, eta))
    track = seen["charge"] != 0
    assert seen["d0_err"][track] == pytest.approx(d0)
    assert (seen["d0"] / seen["d0_err"])[track].std() == pytest.approx(1.0, rel=0.04)
    assert (seen["dz"] / seen["dz_err"])[track].std() == pytest.approx(1.0, rel=0.04)
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
    _, phi, turn = calorimeter_position(one, CMS)
    bend = kinematics.wrap(phi - np.arctan2(one["py"], one["px"]))
    assert bend == pytest.approx(-np.arcsin(1.29 / (2 * radius)))
    assert turn == pytest.approx(2 * np.arcsin(1.29 / (2 * radius)))


@pytest.mark.parametrize("pt", [0.3, 1.3, 20.0])  # 0.3 GeV curls up: 0.735 GeV reach R = 1.29 m
def test_helices_agree_with_stepping_along_the_field(pt):
    one = gun(211, -1, pt, (0.1, 2.2), n=50, vertex=(80.0, -150.0, 200.0))
    one["charge"][:25] = 1
    eta, phi, _ = calorimeter_position(one, CMS)
    x, y, z = (one[name] * 1e-3 for name in ("vx", "vy", "vz"))
    px, py, pz, total = one["px"], one["py"], one["pz"], one["energy"]
    step = 2e-3  # m
    turn = -0.299792458 * CMS.field_t * one["charge"] / total * step  # a positive charge turns clockwise around +z
    while (inside := (np.hypot(x, y) < CMS.radius_m) & (np.abs(z) < CMS.half_length_m)).any():
        middle = turn / 2
        qx, qy = px * np.cos(middle) - py * np.sin(middle), px * np.sin(middle) + py * np.cos(middle)
        x, y, z = (v + inside * step * p / total for v, p in ((x, qx), (y, qy), (z, pz)))
        px, py = px * np.cos(turn) - py * np.sin(turn), px * np.sin(turn) + py * np.cos(turn)
    fine = np.abs(eta) < 4  # nearer to the beam a step of 2 mm is coarse
    assert fine.sum() > 40
    assert np.arcsinh(z / np.hypot(x, y))[fine] == pytest.approx(eta[fine], abs=1e-2)
    assert kinematics.wrap(np.arctan2(y, x) - phi)[fine] == pytest.approx(0.0, abs=2e-2)


def test_impact_parameters_of_curved_tracks_agree_with_stepping_back():
    one = gun(211, 1, 2.0, (0.5, 0.5), n=40, vertex=(120.0, 50.0, -30.0))
    d0, dz, direction = impact_parameters(one, CMS)
    x, y, z, phi = one["vx"], one["vy"], one["vz"], np.arctan2(one["py"], one["px"])
    radius = 2.0 / (0.299792458 * 3.8) * 1e3  # mm
    s = np.linspace(-200, 200, 400_001)  # mm along the transverse arc
    for i in range(len(phi)):
        angle = phi[i] - s / radius
        along = np.hypot(x[i] - radius * (np.sin(angle) - np.sin(phi[i])), y[i] + radius * (np.cos(angle) - np.cos(phi[i])))
        closest = along.argmin()
        assert abs(d0[i]) == pytest.approx(along[closest], abs=1e-3)
        assert dz[i] == pytest.approx(z[i] + s[closest] * one["pz"][i] / 2.0, abs=2e-2)
        assert kinematics.wrap(direction[i] - angle[closest]) == pytest.approx(0.0, abs=1e-5)


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


def event(*particles):
    """One event of particles (pT, eta, phi, charge, flag, vertex) as the detector returns them."""
    pt, eta, phi, charge = (np.array([p[i] for p in particles], dtype=float) for i in range(4))
    flags = {name: np.array([float(p[4] == name) for p in particles]) for name in kinematics.FLAGS}
    place = {"event": np.zeros(len(pt), dtype=int), "vertex": np.array([p[5] for p in particles])}
    return kinematics.momenta(pt, eta, phi) | place | flags | {"charge": charge}


def test_identification_has_the_efficiency_of_the_card_and_a_threshold():
    for flag, eta, pt, expected in (
        ("is_photon", 1.0, 30.0, 0.95),
        ("is_electron", 2.0, 30.0, 0.85),
        ("is_muon", 2.0, 30.0, 0.95),
        ("is_muon", 2.45, 30.0, 0.0),
        ("is_muon", 0.1, 2000.0, 0.95 * np.exp(-0.5)),
        ("is_photon", 0.1, 9.0, 0.0),
        ("is_charged_hadron", 0.1, 30.0, 0.0),
    ):
        seen = event(*[(pt, eta, 0.0, 0, flag, 0)] * N) | {"event": np.arange(N)}
        got = identify(seen, CMS, np.random.default_rng(5))["identified"].mean()
        assert got == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / N))


def test_isolation_counts_the_neighbours_in_the_cone_across_the_seam_in_phi():
    seen = event(
        (50.0, 0.0, 3.1, -1, "is_muon", 0),
        (6.0, 0.3, 3.1, 0, "is_photon", 0),
        (5.0, 0.0, -3.1, 1, "is_charged_hadron", 0),  # Delta phi = 0.083
        (0.4, 0.0, 3.0, 1, "is_charged_hadron", 0),  # below 0.5 GeV
        (40.0, 0.6, 3.1, 0, "is_neutral_hadron", 0),  # outside
        (9.0, 0.1, 3.1, 1, "is_electron", 0),
    )
    sure = CMS.identification.model_copy(update={"muon": CMS.identification.muon.model_copy(update={"value": ((1.0,),)})})
    found = identify(seen, CMS.model_copy(update={"identification": sure}), np.random.default_rng(0))
    assert found["isolation"][0] == pytest.approx(20 / 50)
    assert found["isolated"][0] == 0  # 0.4 is above 0.25
    without = CMS.isolation.model_copy(update={"leptons": False})
    found = identify(seen, CMS.model_copy(update={"identification": sure, "isolation": without}), np.random.default_rng(0))
    assert found["isolation"][0] == pytest.approx(11 / 50)
    assert found["isolated"][0] == 1
    assert np.isnan(found["isolation"][2])
    assert found["isolated"][2] == 0


def test_neighbours_are_all_pairs_of_an_event_and_none_of_two():
    rng = np.random.default_rng(8)
    seen = kinematics.momenta(rng.uniform(1, 9, 300), rng.normal(0, 1, 300), rng.uniform(-np.pi, np.pi, 300))
    seen["event"] = np.sort(rng.integers(5, size=300))
    asked, others = np.arange(0, 300, 3), np.arange(0, 300, 2)
    got = set(zip(*(a.tolist() for a in neighbours(seen, asked, others, 0.5)[:2]), strict=True))
    _, eta, phi = kinematics.pt_eta_phi(seen["px"], seen["py"], seen["pz"])
    near = np.hypot(eta[:, None] - eta, kinematics.wrap(phi[:, None] - phi)) < 0.5
    near &= (seen["event"][:, None] == seen["event"]) & ~np.eye(300, dtype=bool)
    assert got == {(i, j) for i in asked for j in others if near[i, j]}


def test_the_detector_says_which_vertex_a_particle_is_from():
    true = gun(22, 0, 20.0, (0.0, 2.0), n=400) | {"vertex": np.arange(400) % 2}
    seen = detect(true, CMS, np.random.default_rng(1))
    assert np.all(seen["vertex"] == -1)
    true |= {"pdg": np.full(400, 13), "charge": np.ones(400)}
    seen = detect(true, CMS, np.random.default_rng(1))
    assert np.all(seen["vertex"] == seen["event"] % 2)


def test_puppi_weights_follow_the_formula_by_hand():
    particles = [(10.0, 0.0, 0.0, 1, "is_charged_hadron", 0), (6.0, 0.15, 0.0, 0, "is_photon", -1)]
    # Pile-up tracks with one hard track in their shell each: alpha = ln(pT / Delta R), and ones without any.
    particles += [(1.0, 0.0, 0.1, 1, "is_charged_hadron", 1), (1.0, 0.0, 0.2, 1, "is_charged_hadron", 1)]
    particles += [(1.0, 0.0, -0.25, -1, "is_charged_hadron", 2), (9.0, 2.0, 1.0, 0, "is_photon", -1)]
    particles += [(1.0, 0.2, 0.2, 0, "is_neutral_hadron", -1)]
    alpha = np.log(10 / np.array([0.1, 0.2, 0.25]))
    middle, width = np.median(alpha), np.median(alpha) - alpha.min()
    expected = erf((np.log(10 / 0.15) - middle) / width / np.sqrt(2))
    got = puppi(event(*particles), np.array([2]), CMS)
    assert got == pytest.approx([1, expected, 0, 0, 0, 0, 0])
    assert np.all(puppi(event(*particles), np.array([0]), CMS) == 1)
