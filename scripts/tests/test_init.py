"""A project of one's own, begun with `tagwire init` as the README says: built, tested, changed, and played by
a page in Chromium and by players in Python.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from chromium import Browser
from stranger import Stranger
from test_new_message import target


@pytest.fixture(scope="module")
def stranger(root: pathlib.Path) -> Iterator[Stranger]:
    """A project below the target folder. It builds there, too: cargo keeps its crates from ours, which are
    of another workspace, and those of other people are built only once.
    """
    folder = target(root) / "init"
    shutil.rmtree(folder, ignore_errors=True)
    env = os.environ | {
        "PROTOC": "/nonexistent",
        "CARGO_INCREMENTAL": "0",
        "CARGO_TARGET_DIR": str(target(root)),
    }
    env.pop("PYTHONPATH", None)
    # It may lie in ours, whose lines are longer.
    folder.mkdir()
    (folder / "rustfmt.toml").touch()
    stranger = Stranger(root, folder / "my_game", env)
    stranger.begin()
    # What scripts/play would install first.
    (stranger.project / ".venv").symlink_to(sys.prefix)
    yield stranger
    shutil.rmtree(folder)


@pytest.fixture
def browser(tmp_path: pathlib.Path) -> Iterator[Browser]:
    with contextlib.closing(Browser(tmp_path / "chromium")) as browser:
        yield browser


def fails(stranger: Stranger, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=stranger.project, env=stranger.env, capture_output=True, text=True, timeout=600
    )


def test_the_readme_begins_as_the_tests_do(root: pathlib.Path, stranger: Stranger) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert "\ncargo run -p tagwire-cli -- init ../my_game\n" in readme
    own = (stranger.project / "README.md").read_text(encoding="utf-8")
    for script in "test", "web", "run", "play":
        assert f"\nscripts/{script} " in own
        assert f"\n  scripts/{script} " in stranger.told


def test_a_new_project_builds_passes_its_test_and_is_fresh(stranger: Stranger) -> None:
    done = stranger.run("scripts/test")
    assert "test result: ok. 2 passed" in done
    assert "clients/python/my_game: fresh" in done
    assert "clients/web/gen/my_game: fresh" in done
    assert "proto/schema.lock: not there" in done
    stranger.run("cargo", "clippy", "--all-targets", "--", "-D", "warnings")
    stranger.run("cargo", "fmt", "--check")


def test_its_python_is_as_clean_as_ours(root: pathlib.Path, stranger: Stranger) -> None:
    config = root / "clients/python/pyproject.toml"
    client = stranger.project / "clients/python/client.py"
    ruff = f"{sys.prefix}/bin/ruff"
    # It may print; and where its import stands among the others would depend on the name of the game.
    stranger.run(ruff, "check", "--no-cache", "--config", config, "--ignore", "T20,I001", client)
    stranger.run(ruff, "format", "--no-cache", "--check", "--config", config, client)


def test_a_message_is_added_as_its_readme_says_and_exchanged_with_a_page(
    root: pathlib.Path, stranger: Stranger, browser: Browser
) -> None:
    stranger.add_a_message()
    stale = fails(stranger, "scripts/gen", "--check")
    assert stale.returncode == 1, stale.stderr
    assert "_schema.py" in stale.stdout
    assert "index.ts" in stale.stdout
    stranger.run("scripts/gen")
    stranger.run("scripts/test")
    stranger.run("scripts/web")
    types = sys.executable, "-m", "mypy", "--strict", "--cache-dir=/dev/null"
    python = stranger.project / "clients/python"
    path = stranger.env | {"MYPYPATH": f"{root / 'clients/python'}"}
    checked = subprocess.run(
        [*types, "client.py", "my_game"], cwd=python, env=path, capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    stranger.sees_it(browser)


def test_types_that_do_not_fit_keep_a_page_from_being_built(stranger: Stranger) -> None:
    page = stranger.project / "clients/web/main.ts"
    text = page.read_text(encoding="utf-8")
    page.write_text(text.replace("{ text: input.value }", "{ txt: input.value }"), encoding="utf-8")
    done = fails(stranger, "scripts/web")
    page.write_text(text, encoding="utf-8")
    assert done.returncode != 0
    assert "'txt' does not exist" in done.stdout


@pytest.mark.parametrize("script", ["check", "gen", "run", "test", "web", "play"])
def test_scripts_say_when_tagwire_is_not_where_it_was(stranger: Stranger, script: str) -> None:
    manifest = stranger.project / "Cargo.toml"
    text = manifest.read_text(encoding="utf-8")
    manifest.write_text(
        text.replace('tagwire = { path = "', 'tagwire = { path = "../lost/'), encoding="utf-8"
    )
    done = fails(stranger, f"scripts/{script}")
    manifest.write_text(text, encoding="utf-8")
    assert done.returncode == 2, done.stdout
    assert done.stderr.startswith("error: there is no tagwire in '../lost/"), done.stderr
    assert "clients/web/package.json" in done.stderr
