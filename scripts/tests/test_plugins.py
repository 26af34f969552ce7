"""`tagwire gen --plugin` with a plugin of others: what it makes of the schema is what protoc has it make."""

import os
import pathlib
import subprocess
import sys

import pytest

BIN = pathlib.Path(sys.executable).parent


@pytest.fixture(scope="module")
def tagwire(root: pathlib.Path) -> pathlib.Path:
    subprocess.run(["cargo", "build", "-q", "-p", "tagwire-cli"], cwd=root, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or root / "target").resolve()
    return target / "debug/tagwire"


def test_mypy_protobuf_makes_what_it_makes_with_protoc(
    root: pathlib.Path, tagwire: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    ours = tmp_path / "ours"
    command = [tagwire, "gen", "--plugin", BIN / "protoc-gen-mypy", "--options", "quiet", "--out", ours]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    names = sorted(str(path.relative_to(ours)) for path in ours.rglob("*.pyi"))
    assert names == [
        "arena/v1/arena_pb2.pyi",
        "buf/validate/validate_pb2.pyi",
        "tagwire/v1/options_pb2.pyi",
    ]

    theirs = tmp_path / "theirs"
    theirs.mkdir()
    sources = [name.replace("_pb2.pyi", ".proto") for name in names]
    subprocess.run(
        [
            BIN / "protoc",
            *(f"-I{root / folder}" for folder in ("proto", "codegen/proto")),
            f"--plugin=protoc-gen-mypy={BIN / 'protoc-gen-mypy'}",
            f"--mypy_out=quiet:{theirs}",
            *sources,
        ],
        check=True,
    )
    for name in names:
        assert (ours / name).read_text() == (theirs / name).read_text(), name
    assert "pixels from the left edge" in (ours / names[0]).read_text()


def test_a_plugin_in_the_environment_is_found_by_name(
    root: pathlib.Path, tagwire: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    command = [tagwire, "gen", "--schema", root / "proto", "--plugin", "protoc-gen-mypy", "--out", "out"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/.tagwire-protoc-gen-mypy").is_file()
    # What it says while it works is shown, and is no error.
    assert "Writing mypy to arena/v1/arena_pb2.pyi" in done.stderr
