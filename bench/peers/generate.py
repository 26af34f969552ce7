"""Prints the messages of ../proto for the peers in Go and Python, as those languages' own generators do.

The options of the schema stay out: each language would want code for them, and no peer reads them.
Run it after a change of ../proto, with what scripts/requirements.txt pins:
    .venv/bin/python bench/peers/generate.py
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2

PEERS = Path(__file__).resolve().parent
ROOT = PEERS.parent.parent
PROTOC = Path(sys.executable).with_name("protoc")
SCHEMA = "bench/v1/bench.proto"


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True)


def plain(described: bytes) -> bytes:
    """The one file of a descriptor set that matters, without options and what they need."""
    files = descriptor_pb2.FileDescriptorSet.FromString(described)
    file = next(file for file in files.file if file.name == SCHEMA)
    file.name = Path(SCHEMA).name
    file.options.go_package = "tagwire.bench/gen"
    del file.dependency[:]
    del file.service[:]
    # Comments are found by places, of which some are gone.
    kept = [place for place in file.source_code_info.location if list(place.path[:1]) == [4]]
    del file.source_code_info.location[:]
    file.source_code_info.location.extend(kept)
    for message in file.message_type:
        message.ClearField("options")
        for field in message.field:
            field.ClearField("options")
    return descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        described = Path(folder, "described")
        includes = [f"-I{ROOT / path}" for path in ("bench/proto", "proto", "codegen/proto")]
        run(
            PROTOC,
            *includes,
            "--include_source_info",
            "--include_imports",
            f"--descriptor_set_out={described}",
            SCHEMA,
        )
        described.write_bytes(plain(described.read_bytes()))
        plugin = Path(folder, "protoc-gen-go")
        # The version in go.mod: that of the library which the code is for.
        subprocess.run(
            ["go", "build", "-o", plugin, "google.golang.org/protobuf/cmd/protoc-gen-go"],
            check=True,
            cwd=PEERS / "go",
        )
        for language in ("go", "python"):
            (PEERS / language / "gen").mkdir(exist_ok=True)
        run(
            PROTOC,
            f"--descriptor_set_in={described}",
            f"--plugin={plugin}",
            f"--go_out={PEERS / 'go/gen'}",
            "--go_opt=paths=source_relative",
            f"--python_out={PEERS / 'python/gen'}",
            f"--pyi_out={PEERS / 'python/gen'}",
            "bench.proto",
        )


if __name__ == "__main__":
    main()
