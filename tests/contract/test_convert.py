"""Converting: one plan whoever does the work, nothing lost by a kill, no half of a bad file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cloudchamber import data
from cloudchamber.cli.main import app
from cloudchamber.data.convert import plan
from cloudchamber.data.store import Store, write
from cloudchamber.errors import BadFile, BadInput, BadStore

module = sys.modules["cloudchamber.data.convert"]  # the package's attribute of this name is the function
ROWS = (25, 7, 3, 40)  # events of the four files of `files`
SHARD = 20


def padded(path: Path, n: int, seed: int = 0) -> Path:
    """n quark or gluon jets of up to five particles, in the layout of the shipped card quark_gluon_padded."""
    rng = np.random.default_rng(seed)
    px, py, pz = rng.normal(0, 30, (3, n, 5)).astype(np.float32)
    energy = np.sqrt(px**2 + py**2 + pz**2 + 0.02)
    np.savez(path, px=px, py=py, pz=pz, E=energy, n=rng.integers(0, 6, n), y=rng.integers(0, 2, n))
    return path


def spoil(path: Path) -> Path:
    """Make the last event of such a file impossible."""
    arrays = dict(np.load(path))
    arrays["n"][-1], arrays["E"][-1] = 5, np.nan
    np.savez(path, **arrays)
    return path


@pytest.fixture
def files(tmp_path, monkeypatch) -> list[Path]:
    monkeypatch.setattr(module, "SHARD_EVENTS", SHARD)
    return [padded(tmp_path / f"{i}.npz", n, seed=i) for i, n in enumerate(ROWS)]


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def hidden(out: Path) -> Path:
    return out.with_name(f".{out.name}.partial")


def test_a_plan_takes_every_event_once_in_order_in_units_of_one_size():
    counts = [3, 0, 11, 1, 1, 1, 29]
    units = plan(counts, shard_events=10)
    assert [sum(stop - start for _, start, stop in unit) for unit in units] == [10, 10, 10, 10, 6]
    events = [(file, i) for unit in units for file, start, stop in unit for i in range(start, stop)]
    assert events == [(file, i) for file, count in enumerate(counts) for i in range(count)]
    assert plan(counts, 15, 10) == [((0, 0, 3), (2, 0, 7)), ((2, 7, 11), (3, 0, 1))]


def test_a_conversion_writes_what_a_store_of_the_same_events_holds(files, tmp_path):
    converted = data.convert(files, tmp_path / "a")
    written = write(tmp_path / "b", [data.read(files)], shard_events=SHARD)
    assert [s.rows for s in converted.manifest.shards] == [20, 20, 20, 15]
    assert converted.manifest.model_copy(update={"provenance": {}}) == written.manifest.model_copy(update={"provenance": {}})
    assert [p["name"] for p in converted.manifest.provenance["parents"]] == ["0.npz", "1.npz", "2.npz", "3.npz"]
    assert not hidden(tmp_path / "a").exists()


def test_a_parent_is_recorded_with_its_hash_if_it_gave_events(files, tmp_path):
    store = data.convert(files, tmp_path / "a", max_events=30)
    sums = [subprocess.run(["sha256sum", f], capture_output=True, text=True, check=True).stdout.split()[0] for f in files[:2]]
    parents = [{"name": name, "sha256": value} for name, value in zip(("0.npz", "1.npz"), sums, strict=True)]
    assert len(store) == 30
    assert store.manifest.provenance["parents"] == parents


def test_two_processes_give_the_bytes_of_one(files, tmp_path):
    data.convert(files, tmp_path / "one")
    steps = []
    data.convert(files, tmp_path / "two", workers=2, progress=lambda *step: steps.append(step))
    assert content(tmp_path / "one") == content(tmp_path / "two")
    assert steps == [(20, 75), (40, 75), (60, 75), (75, 75)]


@pytest.mark.filterwarnings("default")  # dask's own
def test_a_dask_cluster_gives_the_bytes_of_one_process(files, tmp_path):
    pytest.importorskip("distributed")
    bad = spoil(padded(tmp_path / "bad.npz", 9))
    data.convert([*files, bad], tmp_path / "one", quarantine=True)
    data.convert([*files, bad], tmp_path / "cluster", cluster="local", quarantine=True)
    assert content(tmp_path / "one") == content(tmp_path / "cluster")
    with pytest.raises(BadInput, match="no dask scheduler answers at 'tcp"):
        data.convert(files, tmp_path / "none", cluster="tcp:/nowhere")


def test_a_cluster_without_dask_names_the_extra(files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"cloudchamber\[cluster\]"):
        data.convert(files, tmp_path / "out", cluster="local")


CHILD = f"""
import os, signal, sys
from pathlib import Path
from cloudchamber.data import convert
convert.__globals__["SHARD_EVENTS"] = {SHARD}
def progress(done, total):
    if done >= 40:
        os.kill(os.getpid(), signal.SIGKILL)
convert([Path(p) for p in sys.argv[3:]], Path(sys.argv[1]), workers=int(sys.argv[2]), progress=progress)
"""


def killed(out: Path, files: list[Path], workers: int) -> Path:
    """The hidden folder of a conversion that is killed when its second shard is there."""
    command = [sys.executable, "-c", CHILD, out, str(workers), *files]
    assert subprocess.run(command, check=False, stderr=subprocess.DEVNULL).returncode == -signal.SIGKILL
    assert not out.exists()
    return hidden(out)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_resumed_is_the_uninterrupted_store(workers, files, tmp_path):
    data.convert(files, tmp_path / "whole")
    folder = killed(tmp_path / "out", files, workers)
    kept = {n: (folder / "store" / n).stat().st_ino for n in ("shard-00000.parquet", "shard-00001.parquet")}
    assert workers > 1 or sorted(p.name for p in (folder / "store").iterdir()) == sorted(kept)
    (folder / "store" / ".shard-00002.parquet.1.tmp").write_bytes(b"half")  # what a kill may leave
    data.convert(files, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert {n: (tmp_path / "out" / n).stat().st_ino for n in kept} == kept  # these were not made again
    assert not folder.exists()


def interrupted(out: Path, files: list[Path]) -> Path:
    """The hidden folder of a conversion that is interrupted, in this process, when its second shard is there."""

    def progress(done, _):
        if done >= 2 * SHARD:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.convert(files, out, progress=progress)
    return hidden(out)


def test_a_finished_shard_that_was_damaged_is_made_again(files, tmp_path):
    data.convert(files, tmp_path / "whole")
    folder = interrupted(tmp_path / "out", files)
    shard = folder / "store" / "shard-00001.parquet"
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    (folder / "store" / "shard-00000.parquet").unlink()
    data.convert(files, tmp_path / "out")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_other_options_or_files_do_not_go_on_with_an_unfinished_conversion(files, tmp_path):
    folder = interrupted(tmp_path / "out", files)
    with pytest.raises(BadStore, match=r"\.out\.partial.*'max_events' was None; now it is 50.*remove that folder"):
        data.convert(files, tmp_path / "out", max_events=50)
    os.utime(files[2], ns=(0, 1))
    with pytest.raises(BadStore, match=r"'file 2' was \[.*2\.npz"):
        data.convert(files, tmp_path / "out")
    shutil.rmtree(folder)
    assert len(data.convert(files, tmp_path / "out", max_events=50)) == 50


def test_a_second_conversion_of_the_same_name_is_refused_while_the_first_runs(files, tmp_path):
    def again(*_):
        with pytest.raises(BadStore, match="being written by another process"):
            data.convert(files, tmp_path / "out")

    assert len(data.convert(files, tmp_path / "out", progress=again)) == sum(ROWS)


def test_an_error_or_an_early_interrupt_leaves_nothing(files, tmp_path):
    before = sorted(tmp_path.iterdir())

    def raising(error):
        def progress(*_):
            raise error

        return progress

    with pytest.raises(BadFile, match=r"bad\.npz: 'energy'"):
        data.convert([*files, spoil(padded(tmp_path / "bad.npz", 9))], tmp_path / "out")
    with pytest.raises(MemoryError):
        data.convert(files, tmp_path / "out", progress=raising(MemoryError()))
    (tmp_path / "bad.npz").unlink()
    assert sorted(tmp_path.iterdir()) == before
    with pytest.raises(KeyboardInterrupt):
        data.convert(files, tmp_path / "out", progress=raising(KeyboardInterrupt()))
    assert hidden(tmp_path / "out").exists()  # one shard was finished


def test_a_file_that_changes_meanwhile_is_noticed(files, tmp_path):
    def grow(done, total):
        with files[3].open("ab") as stream:
            stream.write(b"x")

    with pytest.raises(BadFile, match=r"3\.npz: was changed while it was converted"):
        data.convert(files, tmp_path / "out", progress=grow)


def test_a_bad_file_can_be_set_aside_as_a_whole_and_is_named(files, tmp_path):
    pointer = tmp_path / "pointer.npz"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\n")
    spoil(files[1])
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["convert", *map(str, files), str(pointer), "-o", str(out), "--quarantine"])
    assert result.exit_code == 0, result.output
    assert "left out 2 of 5 files" in result.output
    quarantined = Store.open(out).manifest.provenance["quarantined"]
    assert [q["name"] for q in quarantined] == ["1.npz", "pointer.npz"]
    assert quarantined[0]["error"].startswith("1.npz: 'energy' (from 'E') is nan for particle 0 of event 6")
    assert all(q["error"] in result.output for q in quarantined)
    good = data.convert([files[0], *files[2:]], tmp_path / "good")
    assert Store.open(out).manifest.shards == good.manifest.shards
    with pytest.raises(BadFile, match=r"none of the 2 files can be read. The first: 1\.npz"):
        data.convert([files[1], pointer], tmp_path / "none", quarantine=True)
    assert not (tmp_path / "none").exists()


def test_a_unit_without_an_event_makes_no_shard(files, tmp_path):
    for i, path in enumerate(files):  # events 20 to 39 of all are gluons, the rest are quarks
        first = sum(ROWS[:i])
        rows = np.arange(first, first + ROWS[i])
        np.savez(path, **{**np.load(path), "y": ((rows < 20) | (rows >= 40)).astype(int)})
    card = tmp_path / "card.yaml"
    shipped = Path(module.__file__).parent / "cards" / "quark_gluon_padded.yaml"
    card.write_text(shipped.read_text() + "\nselection: [{column: y, equals: 1}]\n")
    store = data.convert(files, tmp_path / "out", card=card)
    assert [s.file for s in store.manifest.shards] == [f"shard-0000{i}.parquet" for i in (0, 2, 3)]
    assert len(store) == 55 == store.read().labels["y"].sum()
    assert store.event_ids().tolist() == data.store.event_ids(data.read(files, card)).tolist()
    card.write_text(shipped.read_text() + "\nselection: [{column: y, min: 5}]\n")
    with pytest.raises(BadStore, match="no event to write"):
        data.convert(files, tmp_path / "none", card=card)


def test_files_that_are_none_are_one_error_and_no_wait(tmp_path):
    good = padded(tmp_path / "good.npz", 5)
    loop, pipe = tmp_path / "loop.root", tmp_path / "pipe.root"
    loop.symlink_to(loop)
    os.mkfifo(pipe)
    words = {
        loop: r"loop\.root: cannot be opened \(Too many levels",
        pipe: r"pipe\.root: is a pipe",
        Path("/dev/zero"): "zero: is a pipe, socket or device",
        tmp_path / "gone.root": r"gone\.root: cannot be opened \(No such file",
        tmp_path: r"is not a store \(no manifest",
    }
    for path, says in words.items():
        for quarantine in (False, True):
            with pytest.raises((BadFile, BadStore), match=says):
                data.convert([path] if quarantine else [good, path], tmp_path / "out", quarantine=quarantine)
