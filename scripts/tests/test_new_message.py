"""A new message without writing Rust: edit the schema, run `scripts/gen`, start the server, built again or
with `--schema`.

All of it happens in a copy of the project below the target folder, with two clients that exchange it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

EMOTE = """
// The sender makes a gesture.
message Emote {
  option (tagwire.v1.rules) = { tag: 200, from: CLIENT, to: ROOM };

  // Set by the client: which.
  string gesture = 1;
}
"""

TWO_CLIENTS = """
import asyncio, sys
import arena, tagwire

async def main() -> None:
    def connect(name):
        return tagwire.connect(sys.argv[1], username=name, password="welcome", schema=arena.SCHEMA)

    async with connect("one") as one, connect("two") as two:
        for sender, receiver in [(one, two), (two, one)]:
            await sender.send(arena.Emote(gesture=f"wave of {sender.name}"))
            message = await anext(aiter(receiver))
            assert isinstance(message, arena.Emote), message
            print(f"{receiver.name} sees: {message.gesture}")

asyncio.run(asyncio.wait_for(main(), 30))
"""


def project_files(root: pathlib.Path) -> list[str]:
    """What belongs to the project, as it lies in the working tree."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return sorted(name for name in set(names.split("\0")) if name and (root / name).is_file())


def target(root: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or root / "target").resolve()


@pytest.fixture
def copy(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """A copy of the project, with a target folder of its own."""
    folder = target(root) / "new-message"
    shutil.rmtree(folder, ignore_errors=True)
    for name in project_files(root):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, folder / name)
    seed(root, target(root) / "debug", folder / "target/debug")
    yield folder
    shutil.rmtree(folder)


def seed(root: pathlib.Path, built: pathlib.Path, into: pathlib.Path) -> None:
    """Lends the copy what cargo has built of other people's crates: seconds instead of minutes.

    Only theirs: cargo cannot tell the copy's own crates from ours, and each would get the other's programs.
    That is also why the target folder itself cannot be shared. Without anything to lend, all is built.
    """
    lock = registry_packages((root / "Cargo.lock").read_text())
    for kind in (".fingerprint", "build", "deps"):
        (into / kind).mkdir(parents=True)
        for path in built.joinpath(kind).glob("*"):
            name = path.name.partition(".")[0].rpartition("-")[0]
            if kind == "deps" and not {name, name.removeprefix("lib")}.isdisjoint(lock):
                os.link(path, into / kind / path.name)
            elif kind != "deps" and name.replace("-", "_") in lock:
                shutil.copytree(path, into / kind / path.name)


def registry_packages(lock: str) -> set[str]:
    """Names, as in Rust, of the packages in a Cargo.lock that come from a registry."""
    blocks = lock.split("[[package]]")
    return {
        re.search(r'name = "(.*)"', block)[1].replace("-", "_") for block in blocks if "\nsource = " in block
    }


def test_a_new_message_needs_no_rust(root: pathlib.Path, copy: pathlib.Path, tmp_path: pathlib.Path) -> None:
    env = os.environ | {
        "PROTOC": "/nonexistent",
        "CARGO_INCREMENTAL": "0",
        "CARGO_TARGET_DIR": str(copy / "target"),
    }

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True)

    before = {name: (copy / name).read_bytes() for name in project_files(root) if (copy / name).exists()}
    schema = copy / "proto/arena/v1/arena.proto"
    schema.write_text(schema.read_text() + EMOTE)
    stale = run("scripts/gen", "--check")
    assert stale.returncode == 1, stale.stderr
    assert "stale: clients/python/gen/arena/_schema.py" in stale.stdout
    done = run("scripts/gen")
    assert done.returncode == 0, done.stderr
    built = run("cargo", "build", "-p", "tagwire-server")
    assert built.returncode == 0, built.stderr

    changed = {name for name, text in before.items() if (copy / name).read_bytes() != text}
    assert changed == {
        "proto/arena/v1/arena.proto",
        "clients/python/gen/arena/.tagwire-python",
        *(f"clients/python/gen/arena/{name}" for name in ("__init__.py", "__init__.pyi", "_schema.py")),
        *(f"clients/python/gen/arena/v1/{name}" for name in ("__init__.py", "__init__.pyi")),
        "clients/typescript/gen/arena/.tagwire-typescript",
        *(
            f"clients/typescript/gen/arena/{name}"
            for name in ("index.ts", "v1/index.ts", "arena/v1/arena_pb.ts")
        ),
    }

    exchange(copy, tmp_path, copy / "target/debug/tagwire-server")
    # The server that knows nothing of it, and reads the schema when it starts.
    exchange(copy, tmp_path, target(root) / "debug/tagwire-server", "--schema", copy / "proto")


def exchange(copy: pathlib.Path, tmp_path: pathlib.Path, *server_command: str | pathlib.Path) -> None:
    """Two clients exchange the new message through this server."""
    log = tmp_path / "server.log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [*server_command, "--listen", "127.0.0.1:0"],
            stdout=out,
            stderr=out,
            cwd=tmp_path,
        )
    try:
        address = None
        deadline = time.monotonic() + 30
        while address is None:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
            address = re.search(r"server up on ([0-9.]+:[0-9]+)", log.read_text())
        clients = subprocess.run(
            [sys.executable, "-c", TWO_CLIENTS, address[1]],
            env=os.environ | {"PYTHONPATH": f"{copy}/clients/python:{copy}/clients/python/gen"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    finally:
        server.terminate()
        code = server.wait(timeout=20)
    assert clients.stdout == "two sees: wave of one\none sees: wave of two\n", (
        clients.stderr + log.read_text()
    )
    assert code == 0, log.read_text()
