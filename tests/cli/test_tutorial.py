"""The tutorial: its lines run one after the other and print what they say they print."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "neutrinos.md"
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
PRINTS = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)


def test_the_lines_of_the_neutrino_tutorial_run_and_print_what_they_say(capsys):
    pytest.importorskip("pythia8mc")
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == 3
    namespace: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), namespace)  # our own page
    printed = capsys.readouterr().out.splitlines()
    said = [line for block in blocks for line in PRINTS.findall(block)]
    assert len(said) >= 3
    assert [line for line in said if line not in printed] == []
    inside = int(re.search(r"(\d+)% of the true energies", "\n".join(printed))[1])
    assert 50 <= inside <= 86  # 68 within three standard errors: 60 events calibrate the intervals
