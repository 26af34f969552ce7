"""Clients and real servers whose schemas differ: what is added does no harm, what contradicts is refused."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

import arena
import tagwire
from conftest import ROOT, Server, running
from tagwire.schema import Rules, Schema
from test_server import next_of, until

WHEEL = """
  // Set by the client: notches of the wheel. Default 0.
  int32 wheel = 5;
"""
EMOTE = """
// The sender makes a gesture.
message Emote {
  option (tagwire.v1.rules) = { tag: 200, from: CLIENT, to: ROOM };

  // Set by the client: which.
  string gesture = 1;
}
"""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Starts servers, and ends them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(running(Server(*arguments)))


def edited(tmp_path: Path, *changes: tuple[str, str], more: str = "") -> str:
    """A folder with the arena's schema after these changes of its text, each at one place."""
    folder = tmp_path / "proto"
    shutil.copytree(ROOT / "proto" / "arena", folder / "arena")
    path = folder / "arena" / "v1" / "arena.proto"
    text = path.read_text("utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path.write_text(text + more, "utf-8")
    return str(folder)


@pytest.fixture
def with_additions(tmp_path: Path) -> str:
    """The schema after it was added to: a field, `MouseEvent.wheel`, and a message, `Emote`."""
    last = "  bool right_click = 4;\n"
    return edited(tmp_path, (last, last + WHEEL), more=EMOTE)


@pytest.fixture
def with_contradictions(tmp_path: Path) -> str:
    """The schema after two fields of `MouseEvent` got another type."""
    return edited(
        tmp_path, ("int32 x = 1;", "string x = 1;"), ("bool left_click = 3;", "float left_click = 3;")
    )


async def stubs_of_additions(server: Server) -> Schema:
    """What `scripts/gen` prints for `with_additions`, which this server serves: it knows the fingerprint."""
    files = descriptor_pb2.FileDescriptorSet.FromString(arena.SCHEMA.descriptors)
    (file,) = files.file
    (mouse,) = (message for message in file.message_type if message.name == "MouseEvent")
    mouse.field.add(name="wheel", number=5, label=1, type=5, json_name="wheel")
    emote = file.message_type.add(name="Emote")
    emote.field.add(name="gesture", number=1, label=1, type=9, json_name="gesture")
    # Rules are an extension that is not built here: tag = 200, from = CLIENT, to = ROOM.
    emote.options.MergeFromString(bytes.fromhex("e2e01807 08c801 1001 1801"))
    additions = Schema(
        name="arena",
        fingerprint=b"",
        descriptors=files.SerializeToString(),
        rules=(*arena.SCHEMA.rules, Rules(tag=200, name="arena.v1.Emote", sender="CLIENT", target="ROOM")),
    )
    async with server.connect(schema=additions) as client:
        assert client.verdict == tagwire.Verdict.NOT_COMPARED
        return with_fingerprint(additions, client.welcome.fingerprint)


def with_fingerprint(schema: Schema, fingerprint: bytes) -> Schema:
    return Schema(
        name=schema.name, fingerprint=fingerprint, descriptors=schema.descriptors, rules=schema.rules
    )


async def test_an_older_client_plays_on_a_newer_server_and_is_told(serve, with_additions):
    server = serve("--schema", with_additions)
    newer = await stubs_of_additions(server)
    MouseEvent, Emote = newer.message("arena.v1.MouseEvent"), newer.message("arena.v1.Emote")
    async with server.connect("old") as old, server.connect("new", schema=newer) as new:
        assert old.verdict == tagwire.Verdict.COMPATIBLE
        assert new.verdict == tagwire.Verdict.SAME
        assert old._session.schema_wanted
        assert not new._session.schema_wanted

        await old.send(arena.MouseEvent(x=1, y=2))
        message, sender = await next_of(new)
        assert message == MouseEvent(x=1, y=2)
        assert sender == tagwire.Member(old.player_id, "old")

        await new.send(Emote(gesture="wave"))  # which the old one has never heard of
        sent = MouseEvent(x=3, wheel=-1)
        await new.send(sent)
        message, sender = await next_of(old)
        assert isinstance(message, arena.MouseEvent)
        assert message.x == 3
        assert message.SerializeToString() == sent.SerializeToString()  # what it does not know is kept
        assert sender == tagwire.Member(new.player_id, "new")
        assert old.dropped == tagwire.Dropped(unknown=1)


async def test_a_newer_client_plays_on_an_older_server_and_is_told(serve, with_additions):
    newer = await stubs_of_additions(serve("--schema", with_additions))
    MouseEvent, Emote = newer.message("arena.v1.MouseEvent"), newer.message("arena.v1.Emote")
    server = serve()
    async with server.connect("one", schema=newer) as one, server.connect("two", schema=newer) as two:
        assert one.verdict == two.verdict == tagwire.Verdict.COMPATIBLE
        await one.send(MouseEvent(x=3, wheel=-1))
        assert (await next_of(two))[0] == MouseEvent(x=3, wheel=-1)
        async with server.connect("old") as old:
            assert old.verdict == tagwire.Verdict.SAME
            await old.send(arena.Chat(text="hello"))
            for client in (one, two):
                assert (await next_of(client))[0] == newer.message("arena.v1.Chat")(text="hello")

        seen: list[tagwire.Noticed] = []
        one.on(tagwire.Noticed, seen.append)
        running = asyncio.ensure_future(one.run())
        await one.send(Emote(gesture="wave"))
        await until(lambda: seen)
        running.cancel()
        assert (seen[0].reason, seen[0].name) == (tagwire.NoticeReason.UNKNOWN, "arena.v1.Emote")
        assert one.closed is None


async def test_a_schema_that_was_compared_once_is_not_asked_for_again(serve, with_additions):
    server = serve("--schema", with_additions)
    for wanted in (True, False):
        async with server.connect() as client:
            assert client.verdict == tagwire.Verdict.COMPATIBLE
            assert client._session.schema_wanted is wanted


async def test_a_contradiction_is_refused_field_by_field(serve, with_contradictions):
    server = serve("--schema", with_contradictions)
    for _ in range(2):  # the second time from what the server remembers
        with pytest.raises(tagwire.SchemaMismatch) as caught:
            await server.connect()
        error = caught.value
        assert error.code == tagwire.CloseCode.SCHEMA_MISMATCH
        (x,) = (finding for finding in error.findings if finding.startswith("arena.v1.MouseEvent.x:"))
        assert "int32" in x
        assert "string" in x
        (left,) = (
            finding for finding in error.findings if finding.startswith("arena.v1.MouseEvent.left_click:")
        )
        assert "bool" in left
        assert "float" in left
        assert len(error.findings) == 2
        assert "(`tagwire gen`) with the server's schema, or update the server" in str(error).splitlines()[0]
        assert [line.strip() for line in str(error).splitlines()[1:]] == error.findings


def test_a_game_loop_is_refused_field_by_field(serve, with_contradictions):
    server = serve("--schema", with_contradictions)
    with pytest.raises(tagwire.SchemaMismatch, match=r"\n  arena\.v1\.MouseEvent\.x: .*string"):
        tagwire.connect_sync(server.address, username="loop", password="welcome", schema=arena.SCHEMA)


async def test_the_password_is_asked_for_before_the_schema(serve, with_contradictions):
    server = serve("--schema", with_contradictions)
    with pytest.raises(tagwire.LoginRefused) as caught:
        await server.connect(password="wrong")
    assert caught.value.code == tagwire.CloseCode.LOGIN_REFUSED
    assert not isinstance(caught.value, tagwire.SchemaMismatch)


async def test_under_the_policy_exact_additions_are_refused_too(serve, with_additions):
    server = serve("--schema", with_additions, "--set", "schema_policy=exact")
    with pytest.raises(tagwire.SchemaMismatch) as caught:
        await server.connect()
    findings = "\n".join(caught.value.findings)
    assert "arena.v1.MouseEvent.wheel" in findings
    assert "arena.v1.Emote" in findings


async def test_under_the_policy_exact_the_same_schema_is_let_in(serve):
    server = serve("--set", "schema_policy=exact")
    async with server.connect() as client:
        assert client.verdict == tagwire.Verdict.SAME


async def test_a_fingerprint_that_is_not_that_of_the_descriptors_is_refused(server: Server):
    lying = with_fingerprint(arena.SCHEMA, bytes(range(16)))
    with pytest.raises(tagwire.LoginRefused) as caught:
        await server.connect(schema=lying)
    assert caught.value.code == tagwire.CloseCode.VIOLATION
