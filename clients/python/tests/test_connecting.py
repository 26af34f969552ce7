"""Connecting: login, refusals, the schema exchange; against a server that does what each test says."""

from __future__ import annotations

import asyncio
import logging
import socket
import time

import pytest

import arena
import tagwire
from conftest import Link, Peer, frame_of, member, relayed, soon, welcome
from helpers import (
    ASKING,
    PRESENT,
    Answer,
    awaited,
    score,
    until,
)
from tagwire.gen.v1 import (
    Disconnect,
    Ping,
    PlayerLogin,
    SchemaOffer,
    SchemaWanted,
    Verdict,
)
from tagwire.schema import Schema


async def test_a_client_logs_in_sends_receives_and_says_goodbye(peer: Peer):
    connecting = peer.connect()

    async def play():
        async with connecting as client:
            await client.send(arena.MouseEvent(x=1, y=1))
            message = await anext(aiter(client))
            return client, message

    task = asyncio.ensure_future(play())
    link = await peer.accept()
    login = await link.take(PlayerLogin)
    assert (login.username, login.password, login.client.protocol) == ("player1", "welcome", 1)
    link.send(welcome())
    assert await link.take(arena.MouseEvent) == arena.MouseEvent(x=1, y=1)
    link.send(score(3))
    assert await link.take(Disconnect) == Disconnect()
    assert await link.eof()
    link.close()
    client, message = await soon(task)
    assert message == arena.Score(points=3)
    assert client.closed == tagwire.Closed(tagwire.CloseCode.NORMAL)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_what_welcome_says_is_known(peer: Peer):
    client, _ = await peer.connected(member(2, PRESENT, "Zoe"))
    await until(lambda: client.members)
    assert (client.player_id, client.session_id, client.name, client.room) == (41, 7, "player1", "main")
    assert client.members == {2: tagwire.Member(2, "Zoe")}
    assert client.welcome.limits.max_frame_bytes == 65536
    assert client.closed is None
    assert client.rtt is None
    assert client.server_time() == pytest.approx(1_700_000_000, abs=5)


async def test_messages_right_behind_welcome_are_not_lost(peer: Peer):
    client, _ = await peer.connected(score(1), score(2))
    messages = aiter(client)
    assert [(await soon(anext(messages))).points for _ in range(2)] == [1, 2]


async def test_one_byte_at_a_time_is_as_good(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.frame()
    stream = frame_of(welcome()) + member(2, PRESENT, "Zoe") + relayed(2, arena.Chat(text="hi"))
    for byte in stream:
        link.send(bytes((byte,)))
        await asyncio.sleep(0.0005)
    client = await soon(task)
    message, sender = await soon(anext(client.with_senders()))
    assert (message, sender) == (arena.Chat(text="hi"), tagwire.Member(2, "Zoe"))


async def test_a_refused_login_says_why_and_what_to_do(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect(password="wrong")))
    link = await peer.accept()
    await link.frame()
    link.send(Disconnect(code=3501, reason="wrong name or password", retry_after_ms=1000))
    with pytest.raises(tagwire.LoginRefused) as caught:
        await soon(task)
    assert caught.value.code == tagwire.CloseCode.LOGIN_REFUSED
    assert caught.value.reason == "wrong name or password"
    assert caught.value.retry_after == 1.0
    assert "the dev password is 'welcome'" in str(caught.value)
    assert await link.eof()


async def test_a_server_that_closes_without_a_word_is_explained(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.frame()
    link.close()
    with pytest.raises(tagwire.ConnectError, match=r"ended without a Disconnect\. Is it a tagwire server"):
        await soon(task)


async def test_a_server_that_says_nothing_is_given_up_after_the_time_out(peer: Peer):
    began = time.monotonic()
    task = asyncio.ensure_future(awaited(peer.connect(timeout=0.2)))
    link = await peer.accept()
    await link.frame()
    link.send(Ping(sentEpoch=1))  # the reference's server does just this
    with pytest.raises(tagwire.ConnectError, match=r"not answered within 0\.2 s"):
        await soon(task)
    assert time.monotonic() - began < 2
    assert await link.eof()


async def test_a_server_of_another_kind_is_explained(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    link.send(b"\x01\x00SSH?")
    with pytest.raises(
        tagwire.ConnectError, match=r"a frame with tag 0 and length 1.* Is it a tagwire server"
    ):
        await soon(task)


async def test_nobody_there_is_one_clear_error():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(tagwire.ConnectError, match=r"Connection refused\. Is the server running"):
            await tagwire.connect(address, schema=arena.SCHEMA)


async def test_an_address_of_another_kind_is_refused_when_used():
    with pytest.raises(tagwire.AddressError, match="http:// is not known"):
        async with tagwire.connect("http://localhost", schema=arena.SCHEMA):
            pass


async def test_a_connect_is_used_once(peer: Peer):
    connecting = peer.connect(timeout=0.05)
    with pytest.raises(tagwire.ConnectError):
        await connecting
    with pytest.raises(RuntimeError, match="connect\\(\\) again"):
        await connecting


def test_something_else_than_a_schema_is_refused():
    with pytest.raises(TypeError, match="SCHEMA of generated stubs"):
        tagwire.connect("localhost", schema=arena)  # type: ignore[arg-type]


async def test_cancelling_a_login_closes_the_socket(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.frame()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await link.eof()


async def asked_for_the_schema(peer: Peer, **options) -> tuple[asyncio.Task, Link]:
    """A client that is logging in and was asked for its schema, and the server's end of it."""
    task = asyncio.ensure_future(awaited(peer.connect(**options)))
    link = await peer.accept()
    await link.take(PlayerLogin)
    link.send(SchemaWanted())
    return task, link


async def test_a_client_that_is_asked_for_its_schema_offers_it_and_is_let_in(peer: Peer):
    task, link = await asked_for_the_schema(peer)
    assert (await link.take(SchemaOffer)).descriptors == arena.SCHEMA.descriptors
    assert not task.done()
    link.send(welcome(verdict=Verdict.COMPATIBLE), score(3))
    client = await soon(task)
    assert await soon(anext(aiter(client))) == arena.Score(points=3)
    await client.send(arena.Chat(text="in"))
    assert await link.take(arena.Chat) == arena.Chat(text="in")
    assert client.dropped == tagwire.Dropped()


@pytest.mark.parametrize("name", ["SAME", "COMPATIBLE", "NOT_COMPARED"])
async def test_the_verdict_is_told_and_only_additions_are_logged(peer: Peer, caplog, name):
    caplog.set_level(logging.DEBUG, "tagwire")
    task, link = await asked_for_the_schema(peer)
    await link.take(SchemaOffer)
    link.send(welcome(verdict=Verdict.Value.Value(name)), score(1))
    client = await soon(task)
    await soon(anext(aiter(client)))
    assert client.verdict == getattr(tagwire.Verdict, name)
    assert isinstance(client.verdict, tagwire.Verdict)
    assert client.verdict.name == name
    link.send(welcome(verdict=Verdict.COMPATIBLE), score(2))  # a second one is dropped
    await soon(anext(aiter(client)))
    told = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "tagwire"]
    if name == "COMPATIBLE":
        text = "the server's schema differs by additions; each side reads what the other sends"
        assert told == [("INFO", text)]
    else:
        assert told == []


async def test_a_schema_that_does_not_fit_is_refused_with_all_that_differs(peer: Peer):
    findings = [
        "arena.v1.MouseEvent.x: int32 became string: what the other side sends in it is lost",
        "arena.v1.Chat: tag 4 became 7",
    ]
    task, link = await asked_for_the_schema(peer)
    await link.take(SchemaOffer)
    link.send(Disconnect(code=3502, findings=findings))
    with pytest.raises(tagwire.SchemaMismatch) as caught:
        await soon(task)
    error = caught.value
    assert (error.code, error.findings) == (tagwire.CloseCode.SCHEMA_MISMATCH, findings)
    first, *rest = str(error).splitlines()
    assert "contradict each other; run `scripts/gen` (`tagwire gen`) with the server's schema, or" in first
    assert [line.strip() for line in rest] == findings
    assert not error.retryable
    assert await link.eof()


async def test_another_refusal_is_no_schema_mismatch(peer: Peer):
    task, link = await asked_for_the_schema(peer)
    await link.take(SchemaOffer)
    link.send(Disconnect(code=3507, reason="no complete login within 5 s"))
    with pytest.raises(tagwire.LoginRefused, match="LOGIN_TIMEOUT") as caught:
        await soon(task)
    assert type(caught.value) is tagwire.LoginRefused
    assert caught.value.findings == []


async def test_a_server_that_asks_twice_is_answered_once(peer: Peer):
    task, link = await asked_for_the_schema(peer)
    await link.take(SchemaOffer)
    link.send(SchemaWanted(), welcome())
    client = await soon(task)
    assert client.dropped.misplaced == 1
    await client.send(arena.Chat(text="next"))
    assert await link.take(arena.Chat) == arena.Chat(text="next")


async def test_a_server_that_asks_after_welcome_is_not_answered(peer: Peer):
    client, link = await peer.connected(SchemaWanted(), score(1))
    await soon(anext(aiter(client)))
    assert client.dropped.misplaced == 1
    await client.send(arena.Chat(text="next"))
    assert await link.take(arena.Chat) == arena.Chat(text="next")
    assert client.closed is None


async def test_a_schema_that_is_too_large_to_be_offered_is_explained(peer: Peer):
    large = Schema(name="arena", fingerprint=b"", descriptors=bytes(300_000), rules=())
    task, link = await asked_for_the_schema(peer, schema=large)
    with pytest.raises(tagwire.ConnectError, match=r"takes 300004 bytes, limit 262144; run ") as caught:
        await soon(task)
    assert "the server does not know the schema 'arena' of this client" in str(caught.value)
    assert "Is it a tagwire server" not in str(caught.value)
    assert await link.eof()


async def test_a_server_that_thinks_about_the_schema_for_too_long_is_given_up(peer: Peer):
    began = time.monotonic()
    task, link = await asked_for_the_schema(peer, timeout=0.3)
    await link.take(SchemaOffer)
    with pytest.raises(tagwire.ConnectError, match=r"within 0\.3 s; .*still be comparing it$") as caught:
        await soon(task)
    assert 0.25 < time.monotonic() - began < 2
    assert "Is it a tagwire server" not in str(caught.value)
    assert await link.eof()


async def test_being_asked_does_not_prolong_the_login(peer: Peer):
    began = time.monotonic()
    task = asyncio.ensure_future(awaited(peer.connect(timeout=1.0)))
    link = await peer.accept()
    await link.take(PlayerLogin)
    await asyncio.sleep(0.7)
    link.send(SchemaWanted())
    await link.take(SchemaOffer)
    with pytest.raises(tagwire.ConnectError, match=r"within 1 s"):
        await soon(task)
    assert time.monotonic() - began < 1.5


async def test_breaking_schemas_are_warned_of(peer: Peer, caplog):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.frame()
    link.send(welcome(verdict=Verdict.BREAKING))
    await soon(task)
    assert "contradicts the stubs" in caplog.text


async def test_clients_of_different_schemas_live_in_one_loop(peer: Peer):
    one, link_one = await peer.connected()
    other, link_other = await peer.connected(schema=ASKING)
    link_one.send(score(1))
    link_other.send(score(2))
    assert isinstance(await soon(anext(aiter(one))), arena.Score)
    message = await soon(anext(aiter(other)))
    assert isinstance(message, Answer)
    assert not isinstance(message, arena.Score)


async def test_the_resume_token_is_not_shown(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.frame()
    link.send(welcome(resume_token=b"secret"))
    client = await soon(task)
    assert repr(client) == "<Client 'player1' player 41 in 'main', open>"
