"""A game of one's own, begun as examples/arena says: copied, built, its client printed, and played."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from test_new_message import seed, target


@pytest.fixture
def game(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """The folder of the game, beside one where tagwire is."""
    folder = target(root) / "own-game"
    shutil.rmtree(folder, ignore_errors=True)
    game = folder / "my_game"
    game.mkdir(parents=True)
    (folder / "tagwire").symlink_to(root)
    readme = (root / "examples/arena/README.md").read_text(encoding="utf-8")
    (manifest,) = re.findall(r"```toml\n(.*?)```", readme, re.DOTALL)
    # A workspace of its own, as it lies below ours; with our profiles, to find what is built already.
    _, profiles, rest = (root / "Cargo.toml").read_text(encoding="utf-8").partition("[profile.dev]")
    manifest = manifest.replace("\n   ", "\n") + "\n[workspace]\n\n" + profiles + rest
    (game / "Cargo.toml").write_text(manifest, encoding="utf-8")
    for name in "proto", "src":
        shutil.copytree(root / "examples/arena" / name, game / name)
    for name in "build.rs", "client.py":
        shutil.copy2(root / "examples/arena" / name, game / name)
    shutil.copy2(root / "Cargo.lock", game / "Cargo.lock")
    seed(root, target(root) / "debug", folder / "target/debug")
    yield game
    shutil.rmtree(folder)


def test_a_game_of_ones_own_begins_with_a_copy(root: pathlib.Path, game: pathlib.Path) -> None:
    env = os.environ | {"PROTOC": "/nonexistent", "CARGO_INCREMENTAL": "0"}

    def run(*command: str | pathlib.Path, **more: str) -> str:
        done = subprocess.run(command, cwd=game, env=env | more, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    built = game.parent / "target"
    run("cargo", "test", CARGO_TARGET_DIR=str(built))
    run("cargo", "build", CARGO_TARGET_DIR=str(built))
    manifest = "--manifest-path", root / "Cargo.toml"
    run("cargo", "run", *manifest, "-p", "tagwire-cli", "--", "gen", "--schema", "proto", "--out", "client")
    # Found by its imports alone, as in a game that is installed.
    path = f"{game / 'client'}:{root / 'clients/python'}"
    server = subprocess.Popen(
        [built / "debug/my_game", "--listen", "127.0.0.1:0"],
        cwd=game,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert server.stdout is not None
        address = next(
            found[1] for line in server.stdout if (found := re.search(r"server up on (\S+)", line))
        )
        player = [sys.executable, "client.py", "--connect", address, "--name", "zoe", "--seconds", "1"]
        assert run(*player, PYTHONPATH=path).startswith("plays in main as zoe\n")
    finally:
        server.terminate()
        server.communicate(timeout=20)
    assert server.returncode == 0
