"""The neutrino generator against conservation laws, formulas, sum rules and published cross-sections."""

import numpy as np
import pytest
from scipy.integrate import quad

import cloudchamber as cc
from cloudchamber.errors import BadFile, BadInput
from cloudchamber.simulate.neutrino import coherent, hadrons, inelastic, initial, kinematics, quasielastic, resonance, tables
from cloudchamber.simulate.neutrino.generator import generate
from cloudchamber.simulate.neutrino.initial import read_flux, single_energy
from cloudchamber.simulate.neutrino.interactions import COH, DIS, MEC, QE, RES, write_nuhepmc

pytest.importorskip("pythia8mc")

# Charge and baryon number by positive PDG code, written down here from the Review of Particle Physics.
CHARGE = {16: 0, 14: 0, 13: -1, 11: -1, 12: 0, 22: 0, 111: 0, 211: 1, 2212: 1, 2112: 0, 130: 0, 310: 0, 311: 0, 321: 1}
CHARGE |= {3122: 0, 3112: -1, 3222: 1, 3212: 0, 3312: -1, 3322: 0, 1000060120: 6, 221: 0}
BARYON = {2212: 1, 2112: 1, 3122: 1, 3112: 1, 3222: 1, 3212: 1, 3312: 1, 3322: 1, 1000060120: 12}
STRUCK = {2212: (1, 1), 2112: (0, 1), 2000000200: (0, 2), 2000000201: (1, 2), 2000000202: (2, 2), 0: (6, 12)}


@pytest.fixture(scope="module")
def samples():
    return {pdg: generate(4000, read_flux("me" if pdg > 0 else "le-anti"), seed=3) for pdg in (14, -14)}


@pytest.fixture(scope="module")
def at_50_gev():
    return {pdg: generate(6000, single_energy(50.0, pdg), seed=8) for pdg in (14, -14)}


def per_event(events, values):
    return np.bincount(events.hadrons.event, values, minlength=len(events))


def number(table, codes):
    return np.array([table.get(abs(int(c)), 0) * np.sign(c) for c in codes])


def charged_current(events):
    return events.cross_section * events.charged_current.mean()


@pytest.mark.parametrize("pdg", [14, -14])
def test_every_channel_conserves_energy_and_momentum(samples, pdg):
    events = samples[pdg]
    balance = events.neutrino_N4 + events.nucleon_N4 - events.lepton_N4
    balance -= np.stack([per_event(events, events.hadrons.p4_T4[:, i]) for i in range(4)], axis=1)
    assert set(np.unique(events.kind)) == {QE, RES, DIS, COH, MEC}
    for kind in np.unique(events.kind):
        assert np.abs(balance[events.kind == kind]).max() < 1e-9 * events.neutrino_N4[:, 0].max()


@pytest.mark.parametrize("pdg", [14, -14])
def test_every_event_conserves_charge_and_baryon_number(samples, pdg):
    events = samples[pdg]
    codes = events.hadrons.pdg
    assert set(np.abs(codes).tolist()) <= set(CHARGE)
    before = np.array([STRUCK[int(n)] for n in events.nucleon])
    after = per_event(events, number(CHARGE, codes)) + number(CHARGE, events.lepton_pdg)
    assert np.array_equal(after, before[:, 0])
    assert np.array_equal(per_event(events, number(BARYON, codes)), before[:, 1])


def test_leptons_follow_the_current(samples):
    for pdg, events in samples.items():
        expected = np.where(events.charged_current, np.sign(pdg) * 13, pdg)
        assert np.array_equal(events.lepton_pdg, expected)
        mass = np.sqrt(np.maximum(kinematics.square(events.lepton_N4), 0))
        assert np.allclose(mass, np.where(events.charged_current, 0.1056583755, 0.0), atol=2e-4)


def test_the_same_seed_gives_the_same_events_and_another_one_others():
    flux = read_flux("me")
    first, again, other = (generate(200, flux, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.lepton_N4, again.lepton_N4)
    assert np.array_equal(first.hadrons.p4_T4, again.hadrons.p4_T4)
    assert not np.array_equal(first.lepton_N4, other.lepton_N4)


def test_quasielastic_forward_scattering_at_high_energy_is_the_couplings_alone():
    # At Q^2 = 0 and E >> M only F1(0) = 1 and g_A are left: G^2 cos^2(theta_C) (1 + g_A^2) / 2 pi.
    expected = 0.3893793721e-27 * (1.1663788e-5 * 0.97367) ** 2 * (1 + 1.2754**2) / (2 * np.pi)
    found = quasielastic.cross_section(np.array(1e4), np.array(0.0), lepton=0.0, anti=False, charged=True, nucleon=2112)
    assert found == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("energy", "pdg", "target"), [(1.0, 14, "n"), (3.0, -14, "p")])
def test_quasielastic_events_have_the_integrated_cross_section(energy, pdg, target):
    s, m, mu = 0.93891875**2 + 2 * 0.93891875 * energy, 0.93891875, 0.1056583755
    k, e = (s - m**2) / (2 * np.sqrt(s)), (s + mu**2 - m**2) / (2 * np.sqrt(s))
    limits = [2 * k * (e - sign * np.sqrt(e**2 - mu**2)) - mu**2 for sign in (1, -1)]

    def density(q2):
        value = quasielastic.cross_section(
            np.array(energy), np.array(q2), lepton=mu, anti=pdg < 0, charged=True, nucleon=2112 if pdg > 0 else 2212
        )
        return float(value) * 1e38

    events = generate(60_000, single_energy(energy, pdg), seed=5, neutral=False, target=target)
    found = events.cross_section * (events.kind == QE).mean() * 1e38
    assert found == pytest.approx(quad(density, *limits)[0], rel=0.01)


def test_deep_inelastic_events_have_the_integrated_cross_section():
    energy, m, mu = 8.0, 0.93891875, 0.1056583755
    s = m**2 + 2 * m * energy
    w, q2 = np.meshgrid(np.linspace(1.7, np.sqrt(s) - mu, 160), np.geomspace(1e-3, 2 * m * energy, 160), indexing="ij")
    f_3, _ = inelastic.structure(w.ravel(), q2.ravel(), nucleon=2212, anti=False, charged=True)
    density = inelastic.cross_section(np.array(energy), w.ravel(), q2.ravel(), f_3, anti=False, charged=True).reshape(w.shape)
    k, e = (s - m**2) / (2 * np.sqrt(s)), (s + mu**2 - w**2) / (2 * np.sqrt(s))
    p = np.sqrt(np.maximum(e**2 - mu**2, 0))
    inside = (q2 > 2 * k * (e - p) - mu**2) & (q2 < 2 * k * (e + p) - mu**2)
    expected = np.trapezoid(np.trapezoid(np.where(inside, density, 0.0), q2, axis=1), w[:, 0])
    events = generate(12_000, single_energy(energy), seed=5, neutral=False, target="p")
    q = events.neutrino_N4 - events.lepton_N4 + events.nucleon_N4
    chosen = (events.kind == DIS) & (kinematics.square(q) > 1.7**2)
    assert events.cross_section * chosen.mean() == pytest.approx(expected, rel=0.03)


def test_pair_strength_is_the_excess_of_enhanced_magnetic_scattering():
    # A narrow peak in W at the nucleon's mass would be quasielastic scattering; its F2 is nu tau G_M^2 (R_T - 1)/(1 + tau).
    q2, w = np.full(4001, 0.3), np.linspace(0.94, 1.6, 4001)
    nu, tau = (w**2 - 0.93891875**2 + q2) / (2 * 0.93891875), 0.3 / (4 * 0.93891875**2)
    magnetic = (1 + 0.3 / 0.71) ** -2 * (2.7928473 + 1.9130427)
    excess = 5.19 * 0.3 * np.exp(-0.3 / 0.376)
    f2 = quasielastic.pair_structure(w, q2)[1]
    inside = np.trapezoid(f2 / nu * w / 0.93891875, w)
    expected = 1.5 * 0.97367**2 * tau * magnetic**2 * excess / (1 + tau)
    assert inside == pytest.approx(expected * 0.84, rel=0.02)  # 16 % of the Gaussian lies below the nucleon's mass


def test_the_delta_gives_its_pions_as_nine_to_two_to_one():
    n, rng = 60_000, np.random.default_rng(4)
    w, charge = np.full(n, 1.232), np.ones(n, dtype=np.int64)
    decayed = hadrons.join(hadrons.resonance_decays(w, charge, np.zeros(n, dtype=np.int64), np.full(n, 0.5), rng))
    p_pi0, n_pip = (decayed.pdg == 111).sum() / n, (decayed.pdg == 211).sum() / n
    strength = resonance.isospin_factors(True)[0] / resonance.isospin_factors(False)[0]
    assert (strength * 9 / 9, p_pi0, n_pip) == pytest.approx((3, 2 / 3, 1 / 3), abs=0.01)


def test_every_line_shape_holds_one_resonance():
    w = np.linspace(1.07, 3.5, 60_000)
    for r in resonance.RESONANCES:
        assert np.trapezoid(resonance.breit_wigner(r, w), w) == pytest.approx(1, abs=0.01)


def test_single_pions_meet_the_bubble_chambers_but_on_neutrons_near_threshold():
    # BNL with its flux corrected, P. Rodrigues et al., arXiv:1601.01888 [1e-38 cm2]; all bins: benchmarks/neutrino.py.
    table = {
        ("p", 1.4, 2.2): {(2212, 211): (0.661, 0.035)},
        ("p", 2.2, 3.0): {(2212, 211): (0.828, 0.073)},
        ("n", 0.6, 0.8): {(2212, 111): (0.138, 0.021), (2112, 211): (0.088, 0.016)},
        ("n", 2.0, 2.4): {(2212, 111): (0.381, 0.044), (2112, 211): (0.373, 0.044)},
    }
    off = []
    for (target, low, high), channels in table.items():
        events = generate(6000, initial.Flux(np.array([low, high]), np.ones(1)), seed=2, neutral=False, target=target)
        for codes, (value, error) in channels.items():
            counts = [per_event(events, np.isin(events.hadrons.pdg, c)) for c in (events.hadrons.pdg, *codes)]
            found = events.cross_section * np.all(np.transpose(counts) == (2, 1, 1), axis=1).mean() * 1e38
            if abs(found - value) > 2 * error:
                off.append((low, codes))
    assert off == [(0.6, (2212, 111)), (0.6, (2112, 211))]


@pytest.mark.parametrize(("pdg", "value", "error"), [(14, 0.677, 0.014), (-14, 0.334, 0.008)])
def test_the_cross_section_rises_with_energy_as_measured(at_50_gev, pdg, value, error):
    # World means of sigma/E per nucleon of isoscalar targets, 30-200 GeV [1e-38 cm2/GeV]: PDG 2024, figure 52.1.
    assert charged_current(at_50_gev[pdg]) / 50 * 1e38 == pytest.approx(value, abs=2 * error)


def test_neutral_over_charged_currents_are_the_weak_mixing_angle(at_50_gev):
    # C. Llewellyn Smith, Nucl. Phys. B 228 (1983) 205: light quarks, isoscalar target. Charm and strange quarks are worth 6 %.
    r = charged_current(at_50_gev[-14]) / charged_current(at_50_gev[14])
    expected = 0.5 - 0.2313 + 5 / 9 * 0.2313**2 * (1 + r)
    events = at_50_gev[14]
    assert (~events.charged_current).sum() / events.charged_current.sum() == pytest.approx(expected, rel=0.06)


def test_no_nucleon_leaves_into_a_state_that_is_taken(samples):
    for events in samples.values():
        nucleon = np.isin(events.hadrons.pdg, (2212, 2112)) & (events.kind != COH)[events.hadrons.event]
        assert np.linalg.norm(events.hadrons.p4_T4[nucleon, 1:], axis=1).min() >= 0.221


def test_pauli_blocking_and_correlations_take_low_momentum_transfers_from_quasielastic_scattering():
    def spectrum(target, factor):
        events = generate(20_000, single_energy(1.0), seed=6, neutral=False, target=target)
        q = events.neutrino_N4 - events.lepton_N4
        q2 = -kinematics.square(q[events.kind == QE])
        return np.histogram(q2, (0, 0.05, 0.4, 1.0))[0] * events.cross_section / len(events) * factor

    ratio = spectrum("C", 2) / spectrum("n", 1)
    assert ratio[0] < 0.4
    assert 0.65 < ratio[1] < 0.95
    assert ratio[2] == pytest.approx(1, abs=0.2)


def test_the_density_holds_twelve_nucleons_and_vertices_follow_it():
    r = np.linspace(0, 12, 4000)
    weight = 4 * np.pi * r**2 * initial.density(r)
    assert np.trapezoid(weight, r) == pytest.approx(12, rel=1e-4)
    found = initial.radii(100_000, np.random.default_rng(1))
    assert (found**2).mean() == pytest.approx(np.trapezoid(weight * r**2, r) / 12, rel=0.01)


def test_bound_nucleons_lack_the_energy_that_removes_them():
    p4 = initial.nucleons(100_000, np.random.default_rng(2))
    size = np.linalg.norm(p4[:, 1:], axis=1)
    gas = size < 0.221
    assert gas.mean() == pytest.approx(0.88, abs=0.005)
    assert (size[gas] ** 2).mean() == pytest.approx(0.6 * 0.221**2, rel=0.01)  # a filled sphere
    assert np.allclose(p4[gas, 0], np.hypot(0.93891875, size[gas]) - 0.025)
    assert size.max() <= 0.5
    assert (p4[~gas, 0] < 0.93891875 - 0.025).all()


def test_three_massless_bodies_share_the_energy_as_phase_space_does():
    # dN/dx = 2x with x = 2E/M: Dalitz's plot is flat.
    n = 100_000
    p4 = kinematics.phase_space(np.full(n, 3.0), np.zeros((n, 3)), np.random.default_rng(3))
    x = 2 * p4[:, :, 0] / 3.0
    for body in range(3):
        found = np.histogram(x[:, body], 10, (0, 1))[0] / n
        assert np.allclose(found, np.diff(np.linspace(0, 1, 11) ** 2), atol=0.006)


def test_small_systems_have_the_multiplicity_of_kno_scaling():
    n, rng = 40_000, np.random.default_rng(5)
    w, charge = np.full(n, 2.6), np.full(n, 2, dtype=np.int64)
    found = hadrons.multiplicities(w, charge, False, rng).mean()
    assert found == pytest.approx(1.5 * (0.40 + 1.42 * np.log(2.6**2)), rel=0.05)


def test_small_systems_have_the_charged_multiplicity_of_the_bubble_chambers_but_on_protons_below_2_gev():
    # AGKY, arXiv:0904.4043, within 10 %: a + b ln W^2 of nu p and nu n.
    rng, off = np.random.default_rng(5), []
    for w, q, a in ((1.8, 2, 0.40), (1.8, 1, -0.20), (2.3, 2, 0.40), (2.3, 1, -0.20)):
        rows, mass, charge = np.arange(10_000), np.full(10_000, w), np.full(10_000, q)
        particles = hadrons.join(hadrons.cluster(rows, mass, charge, hadrons.multiplicities(mass, charge, False, rng), rng))
        charged = np.isin(particles.pdg, (2212, 211, -211)).sum() / len(rows)
        if charged != pytest.approx(a + 1.42 * np.log(w**2), rel=0.1):
            off.append((w, q))
    assert off == [(1.8, 2)]


def test_strings_have_about_the_charged_multiplicity_of_the_bubble_chambers():
    n, rng = 1000, np.random.default_rng(5)
    w, charge = np.full(n, 4.0), np.full(n, 2, dtype=np.int64)
    ends = hadrons.string_ends(charge, np.ones(n, dtype=bool), np.zeros(n, dtype=bool), rng)
    particles = hadrons.join(hadrons.strings(hadrons.start_pythia(1), np.arange(n), w, ends))
    charged = np.array([CHARGE[abs(int(c))] != 0 for c in particles.pdg]).sum() / n
    assert charged == pytest.approx(0.40 + 1.42 * np.log(16), rel=0.1)  # AGKY, arXiv:0904.4043


def test_coherent_pions_go_forward_with_little_momentum_for_the_nucleus():
    _, products = coherent.sample(np.full(4000, 4.0), charged=True, rng=np.random.default_rng(6))
    t = -kinematics.square(products[:, 1] - np.array([kinematics.CARBON, 0, 0, 0]))
    assert t.mean() < 0.05
    assert np.median(products[:, 0, 3] / np.linalg.norm(products[:, 0, 1:], axis=1)) > 0.95


def test_coherent_pions_are_as_many_as_measured_but_below_3_gev():
    # MINERvA, arXiv:1409.3835, table 5 (copied in github.com/NUISANCEMC/nuisance): energy, 1e-39 cm2 per C12, its two errors.
    table = (
        *((1.5, 2.0, 3.952, 0.914, 0.454), (2.0, 3.0, 2.485, 0.214, 0.335), (3.0, 4.0, 2.736, 0.183, 0.349)),
        *((4.0, 5.0, 3.096, 0.276, 0.559), (5.0, 7.0, 5.037, 0.478, 0.798), (7.0, 9.0, 6.540, 0.791, 0.844)),
        *((9.0, 11.0, 6.321, 1.033, 0.932), (11.0, 15.0, 8.205, 1.115, 1.149), (15.0, 20.0, 12.330, 1.686, 1.622)),
    )
    low, high, value, *errors = np.array(table).T
    pull = (coherent.cross_section((low + high) / 2, charged=True) * 1e39 - value) / np.hypot(*errors)
    assert low[np.abs(pull) > 2].tolist() == [1.5, 2.0]
    assert (pull < 0).all()  # the model is low everywhere


@pytest.mark.parametrize("anti", [False, True])
def test_no_cross_section_exceeds_its_bound(anti):
    table, rng = tables.tables(anti, True, 0, 40.0), np.random.default_rng(7)
    energy = np.exp(rng.uniform(np.log(0.3), np.log(40), 100_000))
    k = np.searchsorted(table.energies_K, energy)
    cell, w, q2 = table.draw(k, rng)
    assert (0.5 * table.values(energy, cell, w, q2) / table.bound_KC[k, cell]).max() < 1


def test_a_nuhepmc_file_is_read_back_as_the_same_events(tmp_path, samples):
    events = samples[14]
    path = tmp_path / "events.hepmc3"
    write_nuhepmc(path, events, events.hadrons)
    cloud = cc.read(path)
    assert cloud.schema.dataset == "NuHepMC"
    assert len(cloud) == len(events)
    assert np.allclose(cloud.labels["beam_energy"], events.neutrino_N4[:, 0])
    # In the reader's words: 0 other, 2 QE, 3 MEC, 4 RES, 6 DIS.
    expected = np.select([events.kind == k for k in (QE, MEC, RES, DIS)], [2, 3, 4, 6], 0)
    assert np.array_equal(cloud.labels["interaction"], expected)
    assert np.array_equal(cloud.labels["current"] == 0, events.charged_current)
    # With nucleus, nucleon and remnant, all energy that came in goes out.
    total = np.add.reduceat(cloud.flat("energy"), np.cumsum(cloud.counts) - cloud.counts)
    assert np.allclose(total, events.neutrino_N4[:, 0] + 11.1748642, rtol=1e-5)


def test_the_shipped_fluxes_have_the_published_means():
    def mean(flux, low, high):
        centre = (flux.edges[1:] + flux.edges[:-1]) / 2
        return np.average(centre, weights=flux.contents_B * (centre > low) * (centre < high))

    assert mean(read_flux("me"), 0, 100) == pytest.approx(5.96, abs=0.1)
    assert mean(read_flux("le"), 1.5, 20) == pytest.approx(4.11, abs=0.1)  # of table 6 of MINERvA, arXiv:1409.3835
    assert read_flux("le-anti").pdg == -14


def test_a_flux_of_ones_own_is_followed(tmp_path):
    path = tmp_path / "flux.csv"
    path.write_text("# two bins\n1.0,3.0\n2.0,1.0\n4.0,0\n")
    flux = read_flux(path)
    events = generate(2000, flux, seed=1)
    assert events.neutrino_N4[:, 0].min() >= 1
    assert events.neutrino_N4[:, 0].max() <= 4
    path.write_text("1.0,3.0\n2.0,x\n")
    with pytest.raises(BadFile, match="numbers"):
        read_flux(path)
    path.write_text("2.0,3.0\n1.0,1.0\n")
    with pytest.raises(BadFile, match="rising"):
        read_flux(path)


def test_impossible_requests_say_what_is_possible():
    with pytest.raises(BadInput, match="'me'"):
        read_flux("mee")
    with pytest.raises(BadInput, match="100 GeV"):
        generate(1, single_energy(300.0))
    with pytest.raises(BadInput, match="'C'"):
        generate(1, single_energy(3.0), target="Fe")
    with pytest.raises(BadInput, match="muon"):
        generate(1, single_energy(3.0, 12))
    with pytest.raises(BadInput, match="at least 1"):
        generate(0, single_energy(3.0))
