"""Printed Python stubs do with the real protobuf library and the real mypy what they promise."""

import ast
import asyncio
import importlib
import os
import pathlib
import pkgutil
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import hall
import hall_usage
import nasty
import nasty_usage
import pytest
from google.protobuf import descriptor, descriptor_pb2, timestamp_pb2
from google.protobuf.message import Message

FieldDescriptor = descriptor.FieldDescriptor
LONG = bool(os.environ.get("TAGWIRE_LONG"))


def modules() -> list[Any]:
    """The packages and all in them."""
    found = [
        one
        for package in (nasty, hall)
        for one in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    ]
    return [nasty, hall] + [importlib.import_module(one.name) for one in found]


def message_classes() -> Iterator[type[Message]]:
    """All message classes at the top of a module, each once."""
    seen = set()
    for module in modules():
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Message) and value not in seen:
                seen.add(value)
                yield value


@pytest.mark.parametrize("package", ["nasty", "hall"])
def test_stubs_and_their_use_pass_mypy(
    golden: pathlib.Path, root: pathlib.Path, typed: dict[str, str], package: str
) -> None:
    usage = root / f"scripts/tests/{package}_usage.py"
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", golden / package, usage],
        env=typed,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_typed_use_works() -> None:
    nasty_usage.right()
    asyncio.run(hall_usage.right(hall_usage.Client()))
    hall_usage.right_in_a_loop(hall_usage.SyncClient())


def stub_classes(body: list[ast.stmt], holder: Any) -> Iterator[tuple[ast.ClassDef, Any]]:
    """Each class of a stub with the object that it is at run time."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            if isinstance(holder, type) and not hasattr(holder, node.name):
                continue  # one that the stub says to look up
            value = getattr(holder, node.name)
            if not callable(value) or isinstance(value, type):
                yield node, value
                yield from stub_classes(node.body, value)


def test_what_a_stub_says_is_there() -> None:
    attributes = 0
    for module in modules():
        if module.__file__.endswith("_schema.py") or "google" in module.__name__:
            continue
        tree = ast.parse(pathlib.Path(module.__file__ + "i").read_text())
        for node, value in stub_classes(tree.body, module):
            # A field is there in a message, a method of a service in its class.
            one = value() if isinstance(value, type) and issubclass(value, Message) else value
            for inner in node.body:
                if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name):
                    assert hasattr(one, inner.target.id), f"{node.name}.{inner.target.id}"
                    attributes += 1
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    assert hasattr(one, inner.name), f"{node.name}.{inner.name}"
                    attributes += 1
        declared = {node.name for node in tree.body if isinstance(node, ast.ClassDef)} - {"_"}
        assert {name for name in declared if not name.startswith("_")} <= set(module.__all__)
        assert all(hasattr(module, name) for name in module.__all__)
    assert attributes > 200


def value_of(field: FieldDescriptor, rng: random.Random) -> Any:
    """Some value for a field that holds no message, often one at the edge."""
    bits = 64 if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64) else 32
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_INT64:
            return rng.choice([0, -1, 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, rng.randrange(1000)])
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return rng.choice([0, 1, 2**bits - 1, rng.randrange(1000)])
        case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
            return rng.choice([0.0, -0.5, 1024.25, float("inf")])
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            return rng.choice(field.enum_type.values).number
        case _:
            text = rng.choice(["", "a", "Zürich \U0001f3ae", "x" * 300])
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text


def fill(message: Message, rng: random.Random, depth: int) -> None:
    """Sets about half of the fields."""
    for field in type(message).DESCRIPTOR.fields:  # one has a field of that name
        if rng.random() < 0.5 and not (field.is_required or depth == 0):
            continue
        entry = field.message_type
        held = getattr(message, field.name)
        if entry and entry.GetOptions().map_entry:
            key = value_of(entry.fields_by_name["key"], rng)
            if entry.fields_by_name["value"].message_type:
                fill(held[key], rng, depth - 1) if depth else held[key].SetInParent()
            else:
                held[key] = value_of(entry.fields_by_name["value"], rng)
        elif entry and depth <= 0:
            continue
        elif entry and field.is_repeated:
            fill(held.add(), rng, depth - 1)
        elif entry:
            held.SetInParent()
            fill(held, rng, depth - 1)
        elif field.is_repeated:
            held.extend(value_of(field, rng) for _ in range(rng.randrange(4)))
        else:
            setattr(message, field.name, value_of(field, rng))


def test_messages_survive_the_wire() -> None:
    kinds = list(message_classes())
    assert len(kinds) > 25
    seed = random.randrange(2**32)
    rng = random.Random(seed)
    for kind in kinds:
        for _ in range(500 if LONG else 20):
            message = kind()
            fill(message, rng, 3)
            wire = message.SerializePartialToString(deterministic=True)
            again = kind()
            again.MergeFromString(wire)
            assert again == message, f"seed {seed}, {kind.DESCRIPTOR.full_name}"
            assert again.SerializePartialToString(deterministic=True) == wire, f"seed {seed}"


def test_the_rules_are_those_of_the_descriptors() -> None:
    from tagwire.gen._schema import SCHEMA as STACK

    options = STACK.message("tagwire.v1.Rules")
    enums = STACK.message("tagwire.v1.Sender"), STACK.message("tagwire.v1.Target")
    for rules in nasty.SCHEMA.rules:
        kind = nasty.SCHEMA.message(rules.name)
        assert nasty.SCHEMA.rules_of(kind) == rules
        raw = kind.DESCRIPTOR.GetOptions().SerializeToString()
        # Field 50700 of the options, length-delimited: its key is e2 e0 18.
        assert raw.startswith(b"\xe2\xe0\x18")
        written = options.FromString(raw[4:])
        assert written.tag == rules.tag
        assert enums[0].Value.Name(getattr(written, "from")) == rules.sender
        assert enums[1].Value.Name(written.to) == rules.target
        assert written.max_bytes == rules.max_bytes
        assert int(written.max_rate.removesuffix("/s") or 0) == rules.max_rate
    assert [rules.tag for rules in nasty.SCHEMA.rules] == [2, 4, 5, 6, 7, 8, 9, 10, 256]
    assert [rules.tag for rules in nasty.SCHEMA.rules if rules.request] == [6]


def test_what_travels_is_without_what_everyone_has() -> None:
    files = descriptor_pb2.FileDescriptorSet.FromString(nasty.SCHEMA.descriptors).file
    names = [file.name for file in files]
    assert "google/protobuf/timestamp.proto" in names
    assert "google/protobuf/descriptor.proto" not in names
    assert not any(name.startswith("tagwire/") for name in names)
    known = {"google/protobuf/descriptor.proto"}
    for file in files:
        assert all(needed in known or needed.startswith("tagwire/") for needed in file.dependency), "in order"
        known.add(file.name)
        assert not file.HasField("source_code_info")


def test_well_known_types_come_from_the_package() -> None:
    own = nasty.google.protobuf.Timestamp
    assert nasty.Everything(at=own(seconds=5)).at.seconds == 5
    with pytest.raises(TypeError):
        nasty.Everything(at=timestamp_pb2.Timestamp(seconds=5))


def test_the_folder_may_lie_anywhere(
    golden: pathlib.Path, tmp_path: pathlib.Path, root: pathlib.Path
) -> None:
    shutil.copytree(golden / "nasty", tmp_path / "mine/vendor/nasty")
    (tmp_path / "mine/__init__.py").touch()
    code = "import mine.vendor.nasty as n; print(n.v1.Everything(an_int32=1).an_int32)"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(root / "clients/python")},
        capture_output=True,
        text=True,
    )
    assert (run.stdout, run.stderr) == ("1\n", "")


def test_two_schemas_with_the_same_names_live_in_one_process() -> None:
    from tagwire import Schema

    one = nasty.SCHEMA
    other = Schema(name=one.name, fingerprint=one.fingerprint, descriptors=one.descriptors, rules=one.rules)
    assert other.message("nasty.Root") is not one.message("nasty.Root")
