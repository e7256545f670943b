"""The validation page: what holds, what fails and what could not be compared is said; chi2 and densities by hand."""

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.neutrino_toy import interactions
from typer.testing import CliRunner

from cloudchamber import validation
from cloudchamber.cli import main as shell
from cloudchamber.publish.validation_page import write_validation_page
from cloudchamber.simulate.neutrino.interactions import Particles
from cloudchamber.stats.figures import Target, exact, measured
from cloudchamber.validation import jets, minerva, vertex
from cloudchamber.validation.comparison import Comparison, Panel, Series, histogram, merged

DATA = Series.of("data", "truth", (0, 1, 2), (3, 4), (1, 1))
PANEL = Panel("Toy", "x [GeV]", "y", (DATA, Series.of("simulated", "ours", (0, 1, 2), (3, 5))), "")
BOTH = (
    Comparison("a", "Good", "Text.", (PANEL,), {"pull": exact(1.0)}, (Target("pull", "<=", 2.0),)),
    Comparison("b", "Bad", "Text.", (PANEL,), {"chi2": measured(7, 1), "bound": exact(2)}, (Target("chi2", "<=", "bound"),)),
    Comparison("c", "Absent", "", missing="not compared: no samples."),
)


def test_the_page_says_what_fails_and_what_was_not_compared_and_needs_no_other_file(tmp_path):
    text = write_validation_page(tmp_path / "page.html", BOTH, n=20).read_text()
    assert re.search(r'class="serious">FAILS</td><td class="text">chi2</td><td>7</td><td>&lt;=</td><td>2</td>', text)
    assert re.search(r"<td>holds</td><td class=\"text\">pull", text)
    assert "<b>1 of 2</b><span>targets hold</span>" in text
    assert "<b>1 not compared</b><span>Absent</span>" in text
    assert '<p class="warning">not compared: no samples.</p>' in text
    assert text.count("<svg ") == 2
    assert not re.search(r'(src|href)="(?!#)', text)


def test_the_verb_writes_the_page_and_refuses_what_does_not_go_with_it(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(validation, "compare", lambda *given: asked.append(given) or iter([BOTH[:1], BOTH[1:]]))
    monkeypatch.setenv("CLOUDCHAMBER_SAMPLES", str(tmp_path))
    page, wrong = str(tmp_path / "page.html"), (["QCD"], ["--seed", "3"], ["--tokens", "minerva_blobs"], ["--cluster", "local"])
    for extra in wrong:
        refused = CliRunner().invoke(shell.app, ["simulate", "--validate", "-o", page, *extra])
        assert "does not go with --validate" in " ".join(refused.output.split())
    assert "is an .html file" in CliRunner().invoke(shell.app, ["simulate", "--validate", "-o", str(tmp_path / "x")]).output
    done = CliRunner().invoke(shell.app, ["simulate", "--validate", "-n", "30", "--workers", "1", "-o", page])
    assert done.exit_code == 0, done.output
    assert asked == [(tmp_path, 30, 1)]
    assert "Bad: 0 of 1 targets hold" in done.output
    assert "Absent: not compared: no samples." in done.output
    assert "FAILS" in (tmp_path / "page.html").read_text()


def test_what_needs_samples_and_has_none_is_told():
    told = [c for part in (jets.comparisons(None, 10), minerva.comparisons(None, 10)) for c in part]
    assert [c.name for c in told] == ["jets", *(f"minerva_{x}" for x in ("inclusive", "no_pion", "one_pion", "low_recoil"))]
    assert all(c.missing.startswith("not compared: no samples") for c in told)


def test_figures_of_all_comparisons_are_told_apart():
    figures, targets = merged(BOTH)
    assert list(figures) == ["pull", "chi2", "bound"]
    assert len(targets) == 2
    with pytest.raises(AssertionError):
        merged([BOTH[0], BOTH[0]])


def test_a_histogram_is_a_density_with_poisson_errors():
    found = histogram("x", "ours", [0.1, 0.2, 0.3, 1.5], (0, 0.5, 2.0), error=True)
    assert found.y == pytest.approx([3 / 4 / 0.5, 1 / 4 / 1.5])
    assert found.error == pytest.approx([3**0.5 / 4 / 0.5, 1 / 4 / 1.5])


def test_chi2_is_that_of_correlated_normal_variables():
    covariance = np.array([[2.0, 0.6], [0.6, 1.0]])
    whole, cut, modes = minerva.chi2(np.array([1.0, -1.0]), covariance)
    assert whole == pytest.approx((1 * 1.0 + 2 * 0.6 + 1 * 2.0) / (2 - 0.36))  # x^T C^-1 x by hand
    assert (cut, modes) == (pytest.approx(whole), 2)
    assert minerva.chi2(np.ones(2), np.diag([1.0, 1e-8]))[1:] == (pytest.approx(1.0), 1)


def test_a_table_counts_weighted_events_in_its_bins_and_leaves_out_what_is_not_reported(tmp_path):
    (tmp_path / "toy.csv").write_text(
        "# header\nbin,a_low,a_high,b_low,b_high,xsec,unc,reported\n0,0,1,0,2,5,1,1\n1,1,3,0,2,6,2,1\n2,1,3,2,9,0,0,0\n"
    )
    table = minerva.Table.read(tmp_path, "toy", {"a": "pt", "b": "pl"}, scale=10.0)
    assert table.value.tolist() == [50, 60]
    assert table.column("unc").tolist() == [10, 20]
    seen = minerva._observed(replace(interactions(4), cross_section=2.0), None, 0.5)
    seen = replace(seen, pt=np.array([0.5, 0.5, 2.0, 4.0]), pl=np.array([1.0, 3.0, 0.0, 1.0]))
    assert seen.weight == pytest.approx(0.5 * 2.0 / 4)  # share of the nucleons, cross-section, events
    assert table.predicted([seen, seen], lambda e: e.pt > 0) == pytest.approx([2 * 0.25 / 2, 2 * 0.25 / 4])
    assert table.predicted([seen], lambda e: e.pt > 1) == pytest.approx([0, 0.25 / 4])
    drawn = table.panel("pt", "", {"simulated": table.value}).series[1]
    assert drawn.x.tolist() == [0, 1, 3]
    assert drawn.y == pytest.approx([100e39, 120e39])  # summed over the other axis


def test_what_is_measured_of_a_final_state_is_as_by_hand():
    codes = np.array([2212, 211, 111, 2112, 22, -211, 1000060120])
    kinetic = np.array([0.1, 0.2, 0.3, 0.4, 0.005, 0.0, 0.0])
    mass = np.array([0.9382720894, 0.13957039, 0.1349768, 0.9395654205, 0.0, 0.13957039, 11.1748642])
    p4 = np.zeros((7, 4))
    p4[:, 0] = mass + kinetic
    p4[:, 1] = np.sqrt(p4[:, 0] ** 2 - mass**2)  # across the beam
    given = replace(interactions(2), cross_section=1.0)
    found = minerva._observed(given, Particles(np.array([0, 0, 0, 0, 0, 1, 1]), codes, p4), 1.0)
    assert found.available == pytest.approx([0.1 + 0.2 + 0.3 + 0.1349768 + 0.005, 0.0])
    assert (found.mesons.tolist(), found.pi_plus.tolist(), found.pi_charged.tolist()) == ([2, 1], [1, 0], [1, 1])
    assert found.pion_kinetic == pytest.approx([0.2, 0.0])
    assert found.pion_theta[0] == pytest.approx(90)
    assert not found.odd.any()  # a photon of 5 MeV and a nucleus are none of the event's
    strange = Particles(np.array([0, 1]), np.array([3122, 22]), np.array([[1.2, 0, 0, 0.4], [0.02, 0, 0, 0.02]]))
    assert minerva._observed(given, strange, 1.0).odd.all()
    q0 = given.neutrino_N4[:, 0] - given.lepton_N4[:, 0]
    assert found.q3 == pytest.approx(np.linalg.norm((given.neutrino_N4 - given.lepton_N4)[:, 1:], axis=1))
    assert found.w == pytest.approx(np.sqrt(0.93891875**2 + 2 * 0.93891875 * q0 - found.q3**2 + q0**2))


def test_the_share_of_a_flux_between_two_energies_is_its_integral():
    flux = vertex.initial.Flux(np.array([0.0, 1.0, 3.0]), np.array([2.0, 1.0]))
    assert minerva._flux_share(flux, 0.5, 2.0) == pytest.approx((1.0 + 1.0) / 4)
