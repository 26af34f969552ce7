"""Tokens, from functions too; and what of a login was refused."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import Any

import pytest

import arena
import tagwire
from conftest import QUICK, Peer, resumable, soon, welcome
from doors import answering
from helpers import awaited, until
from tagwire.gen.v1 import Disconnect, LoginPart, PlayerLogin

SECRET = "eyJhbGciOi.a secret word"


async def login_of(peer: Peer) -> tuple[PlayerLogin, Any]:
    link = await peer.accept()
    return await link.take(PlayerLogin), link


async def test_a_token_is_sent_and_shown_nowhere(peer: Peer, caplog):
    caplog.set_level(logging.DEBUG)
    connecting = peer.connect(token=SECRET, username="")
    task = asyncio.ensure_future(awaited(connecting))
    login, link = await login_of(peer)
    assert (login.username, login.password, login.token) == ("", "", SECRET)
    link.send(welcome(name="ann"))
    client = await soon(task)
    shown = repr(client) + repr(connecting) + repr(client._session) + repr(client._line) + caplog.text
    assert "secret" not in shown
    assert client.name == "ann"


@pytest.mark.parametrize("kind", ["function", "coroutine function"])
async def test_a_function_is_asked_before_each_connection(peer: Peer, kind):
    made: list[str] = []

    def plain() -> str:
        made.append(f"token {len(made)}")
        return made[-1]

    async def slow() -> str:
        await asyncio.sleep(0.01)
        return plain()

    task = asyncio.ensure_future(
        awaited(peer.connect(token=slow if kind != "function" else plain, reconnect=QUICK))
    )
    for number in range(3):
        login, link = await login_of(peer)
        assert login.token == f"token {number}"
        assert len(made) == number + 1
        assert login.HasField("resume") == (number > 0)
        link.send(resumable(resumed=number > 0))
        await until(lambda: task.done() and task.result().reconnecting is None)
        link.writer.transport.abort()
        await until(lambda: task.result().reconnecting is not None or len(made) > number + 1)  # noqa: B023


async def test_what_the_function_raises_comes_out_of_the_first_connect(peer: Peer):
    def broken() -> str:
        raise LookupError("no account")

    with pytest.raises(LookupError, match="no account"):
        await peer.connect(token=broken)
    assert not peer.accepted.qsize()


@pytest.mark.parametrize(
    ("given", "kind", "why"),
    [
        (None, TypeError, "must give a str, not NoneType"),
        (b"secret", TypeError, "must give a str, not bytes"),
        ("", ValueError, "gave an empty one"),
        ("secret" * 10_000, ValueError, "a login of 600"),
        ("secret\ud800", ValueError, "cannot be written as UTF-8"),
    ],
)
async def test_what_is_no_token(peer: Peer, given, kind, why):
    with pytest.raises(kind, match=why) as caught:
        await peer.connect(token=lambda: given)
    assert "secret" not in str(caught.value)
    if isinstance(given, str) and given:
        with pytest.raises(kind, match=why) as caught:
            peer.connect(token=given)
        assert "secret" not in str(caught.value)


async def test_a_function_that_takes_too_long(peer: Peer):
    stopped = asyncio.Event()

    async def slow() -> str:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        return ""

    began = time.monotonic()
    with pytest.raises(tagwire.ConnectError, match=r"give a token took longer than 0\.2 s"):
        await peer.connect(token=slow, timeout=0.2)
    assert time.monotonic() - began < 2
    assert stopped.is_set()


async def test_the_time_for_the_token_is_part_of_the_time_out(peer: Peer):
    async def slow() -> str:
        await asyncio.sleep(0.5)
        return "token"

    began = time.monotonic()
    with pytest.raises(tagwire.ConnectError, match="was not answered within 1 s"):
        await peer.connect(token=slow, timeout=1.0)
    assert time.monotonic() - began < 1.4


async def test_what_comes_behind_the_token_has_the_time_that_is_left():
    async def slow() -> str:
        await asyncio.sleep(0.5)
        return "token"

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with answering(stall) as port:
        with pytest.raises(tagwire.ConnectError, match=r"no TLS handshake within 0\.[34]"):
            await tagwire.connect(
                f"tagwires://127.0.0.1:{port}", token=slow, timeout=0.9, schema=arena.SCHEMA
            )


async def test_a_function_that_fails_later_is_asked_again(peer: Peer, caplog):
    calls = 0
    told: list[tagwire.Reconnecting] = []

    def sometimes() -> str:
        nonlocal calls
        calls += 1
        if calls in (2, 3):
            raise LookupError("the account server is down")
        return f"token {calls}"

    task = asyncio.ensure_future(awaited(peer.connect(token=sometimes, reconnect=QUICK)))
    _, link = await login_of(peer)
    link.send(resumable())
    client = await soon(task)
    client.on(tagwire.Reconnecting, told.append)
    playing = asyncio.ensure_future(client.run())
    link.writer.transport.abort()
    login, link = await login_of(peer)
    assert login.token == "token 4"
    link.send(resumable(resumed=True))
    await until(lambda: client.reconnecting is None)
    await until(lambda: len(told) == 3)
    assert [event.attempt for event in told] == [1, 2, 3]
    assert told[1].reason == told[2].reason == "the function for the token failed with LookupError"
    assert "the account server is down" in caplog.text  # with its traceback
    await client.close()
    await playing


async def test_closing_while_the_function_works(peer: Peer):
    waiting = asyncio.Event()
    calls = 0

    async def hanging() -> str:
        nonlocal calls
        calls += 1
        if calls > 1:
            waiting.set()
            await asyncio.sleep(60)
        return "token"

    task = asyncio.ensure_future(awaited(peer.connect(token=hanging, reconnect=QUICK)))
    _, link = await login_of(peer)
    link.send(resumable())
    client = await soon(task)
    link.writer.transport.abort()
    await soon(waiting.wait())
    await soon(client.close(), 2)
    assert client.closed == tagwire.Closed(tagwire.CloseCode.NORMAL)


async def test_a_token_that_is_refused_on_the_way_back_ends_it(peer: Peer):
    client, link = await peer.resumable(token=lambda: "old")
    link.writer.transport.abort()
    _, link = await login_of(peer)
    link.send(Disconnect(code=3501, reason="the token has expired", refused=LoginPart.TOKEN))
    with pytest.raises(tagwire.ConnectionClosed, match="expired; get a new one where this one") as caught:
        await soon(anext(aiter(client)))
    assert caught.value.closed.part == "token"


async def test_the_pump_asks_on_its_own_thread(peer: Peer):
    threads: list[str] = []

    def token() -> str:
        threads.append(threading.current_thread().name)
        return "token"

    def play() -> str:
        with tagwire.connect_sync(peer.address, schema=arena.SCHEMA, token=token, timeout=5) as client:
            return client.name

    game = asyncio.ensure_future(asyncio.to_thread(play))
    login, link = await login_of(peer)
    assert login.token == "token"
    link.send(welcome(name="ann"))
    await link.take(Disconnect)
    link.close()
    assert await soon(game) == "ann"
    assert threads == ["tagwire"]


def test_a_password_and_a_token_are_too_much():
    for token in ("token", lambda: "token"):
        with pytest.raises(ValueError, match="give password or token, not both"):
            tagwire.connect("localhost", schema=arena.SCHEMA, password="welcome", token=token)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="give password or token, not both"):
            tagwire.connect_sync("localhost", schema=arena.SCHEMA, password="welcome", token=token)  # type: ignore[arg-type]


def test_something_else_than_a_token():
    with pytest.raises(TypeError, match="a str or a function that gives one, not bytes") as caught:
        tagwire.connect("localhost", schema=arena.SCHEMA, token=b"secret")  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


# What was refused


@pytest.mark.parametrize(
    ("told", "part", "hint"),
    [
        (Disconnect(code=3501, refused=LoginPart.NAME), "name", "log in with another name"),
        (Disconnect(code=3501, refused=LoginPart.PASSWORD), "password", "one of the two is wrong; the dev"),
        (Disconnect(code=3501, refused=LoginPart.TOKEN), "token", "get a new one where this one came from"),
        (Disconnect(code=3501), None, "the dev password is 'welcome' unless"),
        (Disconnect(code=3501, refused=77), None, ""),  # type: ignore[arg-type]
        (Disconnect(code=3510, reason="1 to 3"), "version", "of the same protocol version"),
        (Disconnect(code=3502), "schema", "run `scripts/gen`"),
        (Disconnect(code=3003), None, "the server is full"),
    ],
)
async def test_what_of_the_login_was_refused(peer: Peer, told: Disconnect, part, hint):
    task = asyncio.ensure_future(awaited(peer.connect()))
    _, link = await login_of(peer)
    link.send(told)
    with pytest.raises(tagwire.LoginRefused) as caught:
        await soon(task)
    assert caught.value.part == part
    assert hint in str(caught.value)
    assert caught.value.closed.part == part


async def test_no_password_is_advised_where_it_was_something_else(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    _, link = await login_of(peer)
    link.send(Disconnect(code=3501, reason="this server asks for TLS: connect to tagwires://"))
    with pytest.raises(tagwire.LoginRefused, match=r"connect to tagwires://$"):
        await soon(task)
