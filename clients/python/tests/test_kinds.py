"""What holds for every kind of connection: TCP and WebSocket, with TLS and without."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

import arena
import tagwire
from conftest import QUICK, Peer, frame_of, relayed, resumable, soon, welcome
from doors import Authority, peer_of, running
from helpers import awaited, ping_answer, score, until
from tagwire.gen.v1 import Disconnect, Limits, Ping, PlayerLogin

KINDS = ["tagwire", "tagwires", "ws", "wss"]


@pytest.fixture(params=KINDS)
async def peer(request: pytest.FixtureRequest, authority: Authority) -> AsyncIterator[Peer]:
    async with running(peer_of(request.param, authority)) as peer:
        yield peer


async def test_a_client_logs_in_sends_receives_and_says_goodbye(peer: Peer):
    async def play():
        async with peer.connect() as client:
            await client.send(arena.MouseEvent(x=1, y=1))
            return client, await anext(aiter(client))

    task = asyncio.ensure_future(play())
    link = await peer.accept()
    login = await link.take(PlayerLogin)
    assert (login.username, login.password) == ("player1", "welcome")
    link.send(welcome())
    assert await link.take(arena.MouseEvent) == arena.MouseEvent(x=1, y=1)
    link.send(score(3))
    assert await link.take(Disconnect) == Disconnect()
    assert await link.eof()
    link.close()
    client, message = await soon(task)
    assert message == arena.Score(points=3)
    assert client.closed == tagwire.Closed(tagwire.CloseCode.NORMAL)


async def test_small_writes_go_out_at_once(peer: Peer):
    client, _ = await peer.connected()
    transport: Any = client._connection._transport._transport  # type: ignore[union-attr]
    sock = transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_messages_right_behind_welcome_are_not_lost(peer: Peer):
    client, _ = await peer.connected(score(1), score(2))
    messages = aiter(client)
    assert [(await soon(anext(messages))).points for _ in range(2)] == [1, 2]


async def test_large_messages_arrive_both_ways(peer: Peer):
    limits = welcome(limits=Limits(max_frame_bytes=1_000_000))
    client, link = await peer.connected(answer=limits)
    text = "x" * 900_000
    received = asyncio.ensure_future(soon(anext(aiter(client))))
    link.send(relayed(2, arena.Chat(text=text)))
    assert (await received).text == text
    client._connection.send(4, arena.Chat(text=text).SerializeToString())  # more than its rules allow
    assert (await link.frame()).tag == 3  # so much is acknowledged
    assert (await link.take(arena.Chat)).text == text


async def test_many_messages_arrive_in_order(peer: Peer):
    client, link = await peer.connected()

    async def send():
        for n in range(3000):
            await client.send(arena.Chat(text=f"{n:0100}"))

    sending = asyncio.ensure_future(send())
    for n in range(3000):
        assert (await link.take(arena.Chat)).text == f"{n:0100}"
    await soon(sending)


async def test_pings_are_answered(peer: Peer):
    client, link = await peer.connected(Ping(sentEpoch=7, rtt_us=2000))
    await soon(ping_answer(link))
    assert client.rtt == 0.002


@pytest.mark.parametrize("how", ["reset", "closed"])
async def test_a_session_is_resumed_and_nothing_is_lost(peer: Peer, how: str):
    client, link = await peer.resumable()
    await client.send(arena.Chat(text="one"))
    await link.take(arena.Chat)
    await client.send(arena.Chat(text="two"))
    if how == "reset":
        link.writer.transport.abort()
    else:
        link.close()
    link = await peer.back(1, score(1))
    assert (await link.take(arena.Chat)).text == "two"
    assert await soon(anext(aiter(client))) == arena.Score(points=1)
    await client.send(arena.Chat(text="three"))
    assert (await link.take(arena.Chat)).text == "three"
    await until(lambda: client.reconnecting is None)


async def test_a_disconnect_ends_it_with_its_reason(peer: Peer):
    client, link = await peer.resumable()
    link.send(Disconnect(code=3508, reason="cheating"))
    with pytest.raises(tagwire.ConnectionClosed, match=r"by the server: KICKED \(3508\), cheating"):
        await soon(anext(aiter(client)))
    assert await link.eof()


async def test_a_refused_login_is_told(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect(token="t" * 100)))
    link = await peer.accept()
    assert (await link.take(PlayerLogin)).token == "t" * 100
    link.send(Disconnect(code=3501, reason="the token has expired", refused=3))
    with pytest.raises(tagwire.LoginRefused, match="the token has expired; get a new one") as caught:
        await soon(task)
    assert caught.value.part == "token"
    assert await link.eof()


async def test_a_server_that_says_nothing_is_given_up_after_the_time_out(peer: Peer):
    began = time.monotonic()
    task = asyncio.ensure_future(awaited(peer.connect(timeout=0.4)))
    link = await peer.accept()
    await link.frame()
    with pytest.raises(tagwire.ConnectError, match=r"not answered within 0\.4 s"):
        await soon(task)
    assert time.monotonic() - began < 2
    assert await link.eof()


async def test_cancelling_a_login_closes_the_socket(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.frame()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await link.eof()


async def test_closing_while_the_server_reads_nothing_takes_a_second(peer: Peer):
    client, link = await peer.connected(answer=resumable())
    link.writer.transport.pause_reading()
    while client._connection.writable:
        await client.send(arena.Chat(text="x" * 1000))
        await asyncio.sleep(0)
    began = time.monotonic()
    await soon(client.close())
    assert 0.8 < time.monotonic() - began < 3
    assert client.closed == tagwire.Closed(tagwire.CloseCode.NORMAL)


async def test_closing_sends_what_waits_first(peer: Peer):
    client, link = await peer.connected()
    for n in range(200):
        client.send_soon(arena.Chat(text=f"{n:0500}"))
    began = time.monotonic()
    closing = asyncio.ensure_future(client.close())
    for n in range(200):
        assert (await link.take(arena.Chat)).text == f"{n:0500}"
    await link.take(Disconnect)
    assert await link.eof()
    link.close()
    await soon(closing)
    assert time.monotonic() - began < 0.9, "it waited, though the server has closed as well"


async def test_nothing_is_left_behind(peer: Peer, caplog):
    """No task, no socket, nothing that asyncio tells of, now or later."""
    told: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
    for _ in range(3):
        client, link = await peer.connected()
        link.writer.transport.abort()
        await soon(client._line.connection.ended)
        await client.close()
    client, link = await peer.connected(reconnect=False)
    link.close()
    await soon(client._line.over)
    client, link = await peer.connected()
    closing = asyncio.ensure_future(client.close())
    await link.eof()
    link.close()
    await soon(closing)
    del client, closing
    await asyncio.sleep(0.05)
    gc.collect()
    assert told == []
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_the_pump_plays_and_comes_back(peer: Peer):
    """A game loop in a thread, as games have it."""
    heard: list[int] = []
    told: list[str] = []

    def play() -> None:
        options = {"schema": arena.SCHEMA, "username": "player1", "password": "welcome", "reconnect": QUICK}
        with tagwire.connect_sync(peer.address, **options, **peer.options) as client:
            client.on(arena.Score, lambda message, sender: heard.append(message.points))
            client.on(tagwire.Reconnected, lambda event: told.append(str(event.resumed)))
            client.send(arena.Chat(text="hello"))
            while len(heard) < 2:
                client.sync(0.005)
                time.sleep(0.001)

    game = threading.Thread(target=play)
    game.start()
    link = await peer.accept()
    await link.take(PlayerLogin)
    link.send(resumable(), score(1))
    assert (await link.take(arena.Chat)).text == "hello"
    link.writer.transport.abort()
    link = await peer.back(1, score(2))
    assert await link.take(Disconnect) == Disconnect()
    link.close()
    await soon(asyncio.to_thread(game.join))
    assert (heard, told) == ([1, 2], ["True"])


async def test_welcome_in_pieces(peer: Peer):
    """Whatever the pieces in which the bytes of the socket come."""
    task = asyncio.ensure_future(awaited(peer.connect()))
    link = await peer.accept()
    await link.take(PlayerLogin)
    if peer.scheme.startswith("ws"):
        link.protocol.send_binary(frame_of(welcome()) + score(4))  # type: ignore[attr-defined]
        data = b"".join(link.protocol.data_to_send())  # type: ignore[attr-defined]
    else:
        data = frame_of(welcome()) + score(4)
    for at in range(len(data)):
        link.writer.write(data[at : at + 1])
        await asyncio.sleep(0.001)
    client = await soon(task)
    assert await soon(anext(aiter(client))) == arena.Score(points=4)
