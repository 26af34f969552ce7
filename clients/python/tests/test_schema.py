"""Schemas as values: classes, rules, several in one process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from google.protobuf import descriptor_pb2

import arena
import tagwire.gen
import tagwire.schema
from tagwire.schema import Rules, Schema


def copy_of(schema: Schema) -> Schema:
    return Schema(
        name=schema.name,
        fingerprint=schema.fingerprint,
        descriptors=schema.descriptors,
        rules=schema.rules,
    )


def test_the_rules_of_the_file_are_beside_the_class():
    expected = Rules(
        tag=2,
        name="arena.v1.MouseEvent",
        sender="CLIENT",
        target="ROOM",
        delivery="LATEST",
        max_rate=120,
    )
    assert arena.SCHEMA.rules_of(arena.MouseEvent) == expected
    assert arena.SCHEMA.rules_of(arena.MouseEvent(x=1)) == expected
    assert arena.SCHEMA.by_tag(2) == (expected, arena.MouseEvent)
    assert arena.SCHEMA.by_tag(3) is None


def test_a_fingerprint_is_16_bytes():
    assert len(arena.SCHEMA.fingerprint) == 16


def test_descriptors_leave_out_what_every_client_has():
    files = descriptor_pb2.FileDescriptorSet.FromString(arena.SCHEMA.descriptors).file
    assert [file.name for file in files] == ["arena/v1/arena.proto"]


def test_messages_match_by_their_class():
    match arena.SCHEMA.message("arena.v1.Chat")(text="hi"):
        case arena.MouseEvent():
            pytest.fail("a Chat is no MouseEvent")
        case arena.Chat(text=text):
            assert text == "hi"


def test_enums_are_protobufs_own():
    assert arena.Colour.COLOUR_RED == 1
    assert arena.Colour.Name(2) == "COLOUR_GREEN"


def test_two_schemas_with_the_same_names_live_side_by_side():
    other = copy_of(arena.SCHEMA)
    theirs = other.message("arena.v1.MouseEvent")
    assert theirs is not arena.MouseEvent
    assert other.rules_of(theirs(x=1)).tag == 2
    assert theirs(x=1).SerializeToString() == arena.MouseEvent(x=1).SerializeToString()
    with pytest.raises(
        TypeError, match=r"arena\.v1\.MouseEvent comes from other stubs than the schema 'arena'"
    ):
        arena.SCHEMA.rules_of(theirs(x=1))


def test_two_schemas_may_contradict_each_other():
    file = descriptor_pb2.FileDescriptorSet.FromString(arena.SCHEMA.descriptors).file[0]
    del file.message_type[0].field[1]
    changed = descriptor_pb2.FileDescriptorSet(file=[file]).SerializeToString()
    other = Schema(name="arena", fingerprint=b"", descriptors=changed, rules=arena.SCHEMA.rules)
    assert not hasattr(other.message("arena.v1.MouseEvent")(), "y")
    assert arena.MouseEvent(y=1).y == 1


def test_a_message_of_nowhere_is_explained():
    with pytest.raises(TypeError, match=r"tagwire\.v1\.Ping is not in the schema 'arena'"):
        arena.SCHEMA.rules_of(tagwire.gen.Ping())
    with pytest.raises(TypeError, match="a str is not a message"):
        arena.SCHEMA.rules_of("MouseEvent")  # type: ignore[arg-type]


def test_a_message_without_rules_is_explained():
    with pytest.raises(TypeError, match=r"tagwire\.v1\.Limits has no \(tagwire\.v1\.rules\)"):
        tagwire.gen.SCHEMA.rules_of(tagwire.gen.Limits())


def test_an_unknown_name_is_a_key_error():
    with pytest.raises(KeyError):
        arena.SCHEMA.message("arena.v1.Nothing")


def test_the_pool_is_built_once_by_many_threads(monkeypatch):
    real = tagwire.schema._supplied

    def slow(files):
        time.sleep(0.02)
        return real(files)

    monkeypatch.setattr(tagwire.schema, "_supplied", slow)
    schema = copy_of(arena.SCHEMA)
    found = []
    start = threading.Barrier(8)

    def build() -> None:
        start.wait()
        found.append(schema.message("arena.v1.Chat"))

    threads = [threading.Thread(target=build) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "statement", ["import arena", "import tagwire.gen", "import tagwire.schema", "import tagwire"]
)
def test_stubs_and_runtime_can_be_imported_in_any_order(statement):
    subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {statement}"],
        check=True,
    )
