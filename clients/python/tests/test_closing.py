"""The end of a session, whoever wants it; against a server that does what each test says."""

from __future__ import annotations

import asyncio
import gc
import logging
import time

import pytest

import arena
import tagwire
from conftest import Peer, frame_of, soon
from helpers import (
    all_of,
    block,
    score,
)
from tagwire import session as session_module
from tagwire.gen.v1 import (
    Disconnect,
    Ping,
)


async def test_close_is_idempotent_and_may_be_called_by_many(peer: Peer):
    client, link = await peer.connected()
    tasks = [asyncio.ensure_future(client.close(4000 + number, str(number))) for number in range(5)]
    assert await link.take(Disconnect) == Disconnect(code=4000, reason="0")
    assert await link.eof()
    link.close()
    await soon(asyncio.gather(*tasks))
    await client.close()
    await client.close(4999)
    assert client.closed == tagwire.Closed(tagwire.CloseCode(4000), "0")


async def test_cancelling_one_close_does_not_stop_the_closing(peer: Peer):
    client, link = await peer.connected()
    task = asyncio.ensure_future(client.close())
    await link.take(Disconnect)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    other = asyncio.ensure_future(client.close())
    link.close()
    await soon(other)


async def test_close_sends_what_was_sent_before(peer: Peer):
    client, link = await peer.connected()

    async def serve():
        texts = [(await link.take(arena.Chat)).text for _ in range(2)]
        await link.take(Disconnect)
        link.close()
        return texts

    task = asyncio.ensure_future(serve())
    await client.send(arena.Chat(text="1"))
    client.send_soon(arena.Chat(text="2"))
    await client.close()  # in the same turn of the loop
    assert await soon(task) == ["1", "2"]


async def test_close_ends_the_sending_side_at_once(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "CLOSE_SECONDS", 60.0)
    client, link = await peer.connected()
    task = asyncio.ensure_future(client.close())
    await link.take(Disconnect)
    assert await link.eof()
    link.close()
    await soon(task)


async def test_close_does_not_wait_for_a_server_that_never_closes(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "CLOSE_SECONDS", 0.1)
    client, link = await peer.connected()
    began = time.monotonic()
    await soon(client.close())
    assert 0.05 < time.monotonic() - began < 2
    await link.take(Disconnect)


async def test_close_does_not_wait_for_a_server_that_takes_nothing(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "CLOSE_SECONDS", 0.1)
    client, link = await peer.connected()
    await block(client, link)
    began = time.monotonic()
    await soon(client.close())
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("code", [1, 3000, 3999, 5000, -1])
async def test_codes_of_the_stack_are_not_for_applications(peer: Peer, code):
    client, _ = await peer.connected()
    with pytest.raises(ValueError, match="4000 to 4999"):
        await client.close(code)
    assert client.closed is None


async def test_a_silent_server_is_given_up(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "SILENCE_SECONDS", 0.1)
    client, link = await peer.connected(reconnect=False)
    with pytest.raises(tagwire.ConnectionClosed, match=r"from the server for 0\.1 seconds"):
        await soon(anext(aiter(client)))
    assert await link.eof()  # and no Disconnect


async def test_a_server_that_pings_is_not_given_up(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "SILENCE_SECONDS", 0.2)
    client, link = await peer.connected()
    for _ in range(6):
        link.send(Ping(frames_received=0))
        await asyncio.sleep(0.08)
    assert client.closed is None


async def test_a_fault_of_the_client_itself_is_told_and_logged(peer: Peer, monkeypatch, caplog):
    client, link = await peer.connected()

    def broken(*arguments: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(client._session, "_message", broken)
    link.send(score(1))
    with pytest.raises(tagwire.ConnectionClosed, match="a bug") as caught:
        await soon(anext(aiter(client)))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert (await link.take(Disconnect)).code == tagwire.CloseCode.MALFORMED


async def test_a_server_that_floods_with_pings_and_reads_nothing_is_given_up(peer: Peer, monkeypatch):
    client, link = await peer.connected()
    link.writer.transport.pause_reading()
    ping = frame_of(Ping(sentEpoch=(1 << 63) + 1)) * 1000
    for _ in range(2000):
        link.send(ping)
        await asyncio.sleep(0)
        if client.closed is not None:
            break
    assert client.closed is not None
    assert client.closed.code == tagwire.CloseCode.SLOW


async def test_nothing_is_left_behind(peer: Peer):
    before = asyncio.all_tasks()
    for _ in range(3):
        client, link = await peer.connected(score(1), reconnect=False)
        link.close()
        with pytest.raises(tagwire.ConnectionClosed):
            await all_of(client)
        await client.close()
        assert client._connection._timer is None
    assert asyncio.all_tasks() == before
    gc.collect()  # an unclosed socket would be a ResourceWarning, which fails the test
