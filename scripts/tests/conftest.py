"""Where things are."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "codegen/tests/golden/python"
sys.path[:0] = [str(GOLDEN), str(ROOT / "clients/python")]


@pytest.fixture(scope="session")
def root() -> pathlib.Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def golden() -> pathlib.Path:
    """The folder with the package `nasty`, printed from a schema of hard names and shapes."""
    return GOLDEN


@pytest.fixture(scope="session")
def typed() -> dict[str, str]:
    """The environment in which mypy finds the runtime and the stubs."""
    return os.environ | {"MYPYPATH": f"{GOLDEN}:{ROOT / 'clients/python'}"}


@pytest.fixture(scope="session")
def tagwire(root: pathlib.Path) -> pathlib.Path:
    """The command."""
    subprocess.run(["cargo", "build", "-q", "-p", "tagwire-cli"], cwd=root, check=True)
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or root / "target").resolve() / "debug/tagwire"


@pytest.fixture(scope="session")
def client(root: pathlib.Path) -> pathlib.Path:
    """The folder of the TypeScript client, built and with the packages that it is built with."""
    folder = root / "clients/typescript"
    steps = [] if (folder / "node_modules/.package-lock.json").exists() else [["npm", "ci", "--silent"]]
    for command in [*steps, ["node_modules/.bin/tsc", "-p", "."]]:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return folder
