"""The command line as a shell: help that is right and fast, errors without tracebacks, exit codes."""

from __future__ import annotations

import importlib
import inspect
import json
import shutil
import subprocess
import sys
import types

import pytest
from typer.testing import CliRunner

from cloudchamber.cli import main as shell
from cloudchamber.errors import BadFile
from cloudchamber.run import Run, read_json, write_json

HEAVY = ("torch", "numpy", "awkward", "pyarrow", "pydantic", "matplotlib", "sklearn")


def call(*arguments):
    return CliRunner().invoke(shell.app, list(arguments), catch_exceptions=False)


@pytest.fixture
def verb(monkeypatch):
    """A verb `toy` that does what the test says."""

    def install(function):
        module = types.ModuleType("toy_verb")
        module.toy = function
        monkeypatch.setitem(sys.modules, "toy_verb", module)
        monkeypatch.setitem(shell.VERBS, "toy", "toy_verb:toy")

    return install


def raising(error):
    def toy() -> None:
        raise error

    return toy


def test_help_imports_nothing_heavy_and_lists_the_verbs_in_the_order_of_the_work():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "importtime", "-m", "cloudchamber", "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"TERMINAL_WIDTH": "160", "NO_COLOR": "1", "PATH": ""},
    )
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & set(HEAVY)
    listed = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("│ ") and line.split()[1] in shell.VERBS]
    assert listed == list(shell.VERBS)


@pytest.mark.parametrize("name", shell.VERBS)
def test_the_help_of_a_verb_is_the_docstring_of_its_function(name):
    module, function = shell.VERBS[name].split(":")
    docstring = inspect.getdoc(getattr(importlib.import_module(module), function))
    assert docstring
    assert shell._docstring(shell.VERBS[name]) == docstring
    done = call(name, "--help")
    assert done.exit_code == 0
    assert docstring.split()[0] in done.output


@pytest.mark.parametrize("module", ["cloudchamber", "cloudchamber.cli.main"])
def test_the_package_and_its_entry_point_run_as_modules(module):
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cloudchamber ")


def test_an_error_of_the_user_is_one_line_and_exit_code_2(verb):
    verb(raising(BadFile("jets.root: has [no] tree 'events'. Nearest: 'Events'.")))
    done = call("toy")
    assert done.exit_code == 2
    assert done.stderr == "error: jets.root: has [no] tree 'events'. Nearest: 'Events'.\n"
    assert done.stdout == ""


def test_debug_lets_the_traceback_through(verb):
    verb(raising(BadFile("bad")))
    with pytest.raises(BadFile):
        call("--debug", "toy")


def test_an_error_of_ours_is_not_hidden(verb):
    verb(raising(ZeroDivisionError("ours")))
    with pytest.raises(ZeroDivisionError):
        call("toy")


def test_an_interrupt_exits_with_130(verb):
    verb(raising(KeyboardInterrupt()))
    assert call("toy").exit_code == 130


def test_an_unknown_verb_is_told_the_nearest():
    done = call("finetuen")
    assert done.exit_code == 2
    assert "Nearest: 'finetune'" in done.stderr


def test_report_of_a_folder_that_is_no_run_is_one_error_and_leaves_nothing(tmp_path):
    done = call("report", str(tmp_path), "-o", str(tmp_path / "page.html"))
    assert done.exit_code == 2
    assert "is not a run folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_report_does_not_replace_a_page_unasked(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    done = call("report", str(tmp_path), "-o", str(page))
    assert done.exit_code == 2
    assert "--replace" in done.stderr
    assert page.read_text() == "mine"


def test_report_writes_the_page_of_a_run(tmp_path):
    run = Run.create(tmp_path / "run", "pretrain", arm="toy", seed=1, citations=["arXiv:2203.11601"])
    for step in (1, 2):
        run.log({"step": step, "split": "val", "loss": 1 / step, "jets": step, "seconds": 1.0, "lr": 0.1})
    run.finish({"adapt": "scratch", "steps": 2})
    done = call("report", str(run.path), "-o", str(tmp_path / "page.html"), "--title", "Toy")
    assert done.exit_code == 0, done.output
    assert "<h1>Toy</h1>" in (tmp_path / "page.html").read_text()


def test_cite_prints_what_a_run_owes(tmp_path):
    run = Run.create(tmp_path / "run", "pretrain", citations=["arXiv:2203.11601", "arXiv:9999.12345"])
    done = call("cite", str(run.path))
    assert done.exit_code == 0
    assert done.stdout.count("@") == 3
    assert "Bierlich" in done.stdout
    assert "9999.12345" in done.stdout


def test_cite_prints_what_weights_owe(weights):
    content = read_json(weights / "config.json")
    write_json(weights / "config.json", content | {"citation": ["arXiv:1111.6097"]})
    assert "FastJet User Manual" in call("cite", str(weights)).stdout


def test_cite_of_nothing_known_is_an_error():
    done = call("cite", "no-such-thing")
    assert done.exit_code == 2
    assert "neither shipped weights nor a folder" in done.stderr


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A copy of the shipped weights that doctor takes for the package's own."""
    from cloudchamber.train import weights

    shutil.copytree(weights.SHIPPED, tmp_path / "weights")
    monkeypatch.setattr(weights, "SHIPPED", tmp_path / "weights")
    return tmp_path / "weights" / "xs"


def test_doctor_is_content_with_whole_weights(weights):
    done = call("doctor")
    assert done.exit_code == 0, done.output
    assert "verified" in done.output
    assert call("doctor", "--quiet").output == ""


def test_doctor_finds_altered_weights(weights):
    (weights / "model.safetensors").write_bytes(b"weighty")
    done = call("doctor", "--quiet")
    assert done.exit_code == 1
    assert "broken" in done.output


def test_doctor_finds_missing_weights(weights):
    (weights / "model.safetensors").unlink()
    assert call("doctor").exit_code == 1


def test_doctor_names_a_missing_extra_and_how_to_get_it(weights, monkeypatch):
    from cloudchamber.cli import doctor

    monkeypatch.setattr(doctor, "_version", lambda package: "" if package == "fastjet" else "1.0")
    monkeypatch.setenv("COLUMNS", "200")
    done = call("doctor")
    assert done.exit_code == 0
    assert "no fastjet: pip install 'cloudchamber[sim]'" in done.output


def test_doctor_finds_a_missing_package(weights, monkeypatch):
    from cloudchamber.cli import doctor

    monkeypatch.setattr(doctor, "_version", lambda package: "" if package == "uproot" else "1.0")
    assert call("doctor").exit_code == 1


def test_doctor_says_what_batch_fits_and_that_none_does(monkeypatch):
    from cloudchamber.train import cost

    monkeypatch.setenv("COLUMNS", "300")
    found = []
    for free in (2 << 30, 1 << 20):
        monkeypatch.setattr(cost, "free_memory", lambda _, free=free: free)
        done = call("doctor", "--fit", "xs", "--particles", "40")
        assert done.exit_code == 0, done.output
        found.append(done.output)
    needed = cost.need("xs", 40)
    assert f"{needed.events(2 << 30):,} events of 40 particles at once" in found[0]
    assert "does not fit" in found[1]
    assert call("doctor", "--fit", "xxl").exit_code == 2


def test_the_numbers_beside_a_page_are_json(tmp_path):
    run = Run.create(tmp_path / "run", "pretrain", arm="toy", seed=1)
    run.log({"step": 1, "split": "val", "loss": 1.0, "jets": 1, "seconds": 1.0, "lr": 0.1})
    run.finish({})
    call("report", str(run.path), "-o", str(tmp_path / "page.html"))
    data = json.loads((tmp_path / "page_data" / "learning_curves.json").read_text())
    assert data["data"]["loss"]["toy"]["mean"] == [1.0]
