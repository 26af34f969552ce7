"""Receiving, and pings; against a server that does what each test says."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

import arena
import tagwire
from conftest import Peer, member, relayed, soon
from helpers import (
    JOINED,
    all_of,
    block,
    next_of,
    ping_answer,
    score,
    until,
)
from tagwire import client as client_module
from tagwire.frame import encode
from tagwire.gen.v1 import (
    Disconnect,
    Ping,
)


async def test_nothing_is_lost_by_leaving_a_loop_and_entering_another(peer: Peer):
    client, link = await peer.connected()
    link.send(*(score(number) for number in range(4)))
    async for message in client:
        assert message.points == 0
        break
    async for message, sender in client.with_senders():
        assert (message.points, sender) == (1, None)
        break
    assert [(await soon(anext(aiter(client)))).points for _ in range(2)] == [2, 3]


async def test_nothing_is_lost_by_cancelling_a_wait(peer: Peer):
    client, link = await peer.connected()
    for number in range(50):
        task = asyncio.ensure_future(next_of(client))
        await asyncio.sleep(0)
        link.send(score(number))
        await asyncio.sleep(0.0005 * (number % 4))
        task.cancel()
        try:
            message = await task
        except asyncio.CancelledError:
            message = await soon(anext(aiter(client)))
        assert message.points == number
    assert client._takers == []


async def test_two_consumers_share_the_messages(peer: Peer):
    client, link = await peer.connected()
    tasks = [asyncio.ensure_future(next_of(client)) for _ in range(2)]
    await asyncio.sleep(0)
    link.send(score(1), score(2))
    assert sorted([(await soon(task)).points for task in tasks]) == [1, 2]


async def test_iterating_ends_after_our_own_close(peer: Peer):
    client, link = await peer.connected(score(1))
    await until(lambda: len(client._inbox))
    task = asyncio.ensure_future(all_of(client))
    link.close()
    await client.close(4000, "enough")
    assert [message.points for message in await soon(task)] == [1]


async def test_iterating_ends_with_the_reason_when_the_server_closes(peer: Peer):
    client, link = await peer.connected(reconnect=False)
    link.send(score(1), Disconnect(code=3000, reason="restart", retry_after_ms=1000))
    messages = aiter(client)
    assert (await soon(anext(messages))).points == 1
    for _ in range(2):
        with pytest.raises(tagwire.ConnectionClosed, match="restart") as caught:
            await soon(anext(messages))
        assert (caught.value.code, caught.value.by_peer) == (tagwire.CloseCode.SHUTDOWN, True)
    with pytest.raises(tagwire.ConnectionClosed, match="restart"):
        await client.send(arena.MouseEvent())
    with pytest.raises(tagwire.ConnectionClosed):
        client.send_soon(arena.MouseEvent())
    with pytest.raises(tagwire.ConnectionClosed):
        await client.join("b")
    with pytest.raises(tagwire.ConnectionClosed):
        await client.next_ping()
    assert client.closed is not None
    assert client.closed.retry_after == 1.0
    assert await link.eof()


@pytest.mark.parametrize("how", ["eof", "reset"])
async def test_a_lost_connection_is_told_to_everyone_who_waits(peer: Peer, how):
    client, link = await peer.connected(reconnect=False)
    tasks = [
        asyncio.ensure_future(next_of(client)),
        asyncio.ensure_future(client.next_ping()),
        asyncio.ensure_future(client.join("b")),
    ]
    await link.frame()
    if how == "eof":
        link.close()
    else:
        link.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0"
        )
        link.writer.transport.abort()
    for task in tasks:
        with pytest.raises(tagwire.ConnectionClosed) as caught:
            await soon(task)
        assert (caught.value.code, caught.value.by_peer) == (tagwire.CloseCode.TIMEOUT, True)
        assert caught.value.retryable


async def test_a_sender_that_waits_hears_of_the_end(peer: Peer):
    client, link = await peer.connected()
    await block(client, link)
    tasks = [asyncio.ensure_future(client.send(arena.Chat(text="x"))) for _ in range(3)]
    await asyncio.sleep(0.02)
    link.send(Disconnect(code=3500))
    for task in tasks:
        with pytest.raises(tagwire.ConnectionClosed, match="REPLACED"):
            await soon(task)


async def test_pings_are_answered_while_the_application_reads_nothing(peer: Peer):
    client, link = await peer.connected()
    link.send(*(score(number) for number in range(200)))
    for number in range(1, 20):
        link.send(Ping(sentEpoch=number, rtt_us=1000 * number, jitter_us=7))
        answer = await link.take(Ping)
        assert answer.sentEpoch == number
        assert answer.frames_received == 200
        assert abs(answer.bounceEpoch - time.time() * 1e6) < 5e6
    assert (client.rtt, client.jitter) == (0.019, 7e-6)
    assert (await soon(anext(aiter(client)))).points == 0


async def test_an_application_that_reads_nothing_is_closed_with_slow(peer: Peer, monkeypatch):
    monkeypatch.setattr(client_module, "INBOX_MESSAGES", 100)
    client, link = await peer.connected()
    link.send(*(score(number) for number in range(101)))
    told = await link.take(Disconnect)
    assert told.code == tagwire.CloseCode.SLOW
    link.close()
    messages = aiter(client)
    assert [(await anext(messages)).points for _ in range(100)] == list(range(100))
    with pytest.raises(tagwire.ConnectionClosed, match="does not take what it receives, 100 messages wait"):
        await anext(messages)


async def test_nothing_is_queued_behind_what_found_no_room(peer: Peer, monkeypatch):
    monkeypatch.setattr(client_module, "INBOX_BYTES", 500)
    client, link = await peer.connected()
    changes: list[object] = []
    client.on(tagwire.MemberChanged, changes.append)
    # By one read: what comes behind would have room again.
    link.send(score(1) + relayed(2, arena.Chat(text="x" * 600)) + member(3, JOINED, "c") + score(2))
    assert (await link.take(Disconnect)).code == tagwire.CloseCode.SLOW
    link.close()
    messages = aiter(client)
    assert (await anext(messages)).points == 1
    with pytest.raises(tagwire.ConnectionClosed, match="1 messages wait"):
        await anext(messages)
    assert changes == []


async def test_an_application_that_is_behind_gets_the_latest_of_each_sender(peer: Peer, monkeypatch):
    monkeypatch.setattr(client_module, "INBOX_BEHIND", 10)
    client, link = await peer.connected()
    for number in range(10):
        link.send(score(number))
    for number in range(1000):
        link.send(relayed(number % 2, arena.MouseEvent(x=number)))
    link.send(score(10), Ping(sentEpoch=1))
    await ping_answer(link)
    messages = client.with_senders()
    taken = [await anext(messages) for _ in range(13)]
    assert [message.points for message, _ in taken[:10]] == list(range(10))
    latest = [(message.x, sender.id) for message, sender in taken[10:12] if sender is not None]
    assert latest == [(998, 0), (999, 1)]
    assert taken[12] == (arena.Score(points=10), None)
    assert client.dropped.behind == 998


async def test_a_client_that_only_sends_keeps_no_messages(peer: Peer):
    client, link = await peer.connected(receive=False, reconnect=False)
    link.send(*(score(number) for number in range(300)), member(2, JOINED, "b"), Ping(sentEpoch=1))
    await ping_answer(link)
    assert client.dropped.behind == 300
    assert client.members == {2: tagwire.Member(2, "b")}
    link.send(Disconnect(code=3000))
    with pytest.raises(tagwire.ConnectionClosed):
        await soon(anext(aiter(client)))


async def test_garbage_inside_of_frames_never_ends_a_client(peer: Peer):
    client, link = await peer.connected()
    link.send(encode(200, b"?"), encode(6, b"\xff\xff"), encode(60000, bytes(300)), score(1))
    assert (await soon(anext(aiter(client)))).points == 1
    assert (client.dropped.unknown, client.dropped.undecodable) == (2, 1)


async def test_garbage_between_frames_ends_it_and_says_so(peer: Peer):
    client, link = await peer.connected()
    link.send(score(1), b"\x07\x00")
    assert (await soon(anext(aiter(client)))).points == 1
    with pytest.raises(tagwire.ConnectionClosed, match="closed by this client: MALFORMED"):
        await soon(anext(aiter(client)))
    assert (await link.take(Disconnect)).code == 3503


async def test_pings_can_be_awaited(peer: Peer):
    client, link = await peer.connected()
    waiting = [asyncio.ensure_future(client.next_ping()) for _ in range(2)]
    cancelled = asyncio.ensure_future(client.next_ping())
    await asyncio.sleep(0)
    cancelled.cancel()
    link.send(Ping(sentEpoch=5_000_000, rtt_us=1500, jitter_us=100))
    expected = tagwire.Pinged(0.0015, 0.0001, 5.0)
    assert [await soon(task) for task in waiting] == [expected, expected]
    assert client._ping_waiters == []
    assert (client.rtt, client.jitter) == (0.0015, 0.0001)
