"""Each program in the README runs, against the real server, and prints what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Server

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
EXPECTED = [
    r"player1: hello\n",
    r"lobby \[\]\n"
    r"round trip \d+\.\d ms, the server's clock says \d{10}\n"
    r"closed by this client: NORMAL \(0\)\n",
    r"login refused: .* the dev password is 'welcome' .*\nLOGIN_REFUSED False\n",
    r"SAME\n",
    r"player5: hello, lobby\n",
    r"",
]


def test_every_program_is_here():
    assert len(PROGRAMS) == len(EXPECTED)


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_a_program_of_the_readme_runs(server: Server, number):
    program = PROGRAMS[number].replace("localhost:7777", server.address)
    assert program != PROGRAMS[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[number], done.stdout), done.stdout


def test_the_program_of_the_project_readme_sees_a_player_move(server: Server):
    root = Path(__file__).parents[3]
    (program,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text("utf-8"), re.DOTALL)
    program = program.replace('"localhost"', f'"{server.address}"')
    assert server.address in program
    command = [sys.executable, "-u", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            mover = root / "examples" / "demo" / "mover.py"
            moving = [sys.executable, str(mover), "--connect", server.address, "--seconds", "2"]
            assert subprocess.run(moving, capture_output=True, timeout=30).returncode == 0
            assert watcher.stdout is not None
            assert re.fullmatch(r"mover \d+ \d+\n", watcher.stdout.readline())
        finally:
            watcher.kill()
