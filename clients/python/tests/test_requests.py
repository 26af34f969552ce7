"""Requests and rooms; against a server that does what each test says."""

from __future__ import annotations

import asyncio
import time

import pytest

import tagwire
from conftest import Peer, member, soon
from helpers import (
    ASKING,
    PRESENT,
    Answer,
    Ask,
    block,
    score,
    until,
)
from tagwire.gen.v1 import (
    Disconnect,
    JoinRoom,
    JoinRoomReply,
    Request,
    Response,
    Status,
)


async def test_a_request_is_answered_by_its_key(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    tasks = [asyncio.ensure_future(client.request(Ask(text=str(n)), Answer)) for n in range(3)]
    requests = [await link.take(Request) for _ in range(3)]
    assert [(request.key, request.tag) for request in requests] == [(1, 4), (2, 4), (3, 4)]
    for request in reversed(requests):
        points = int(Ask.FromString(request.body).text)
        link.send(Response(key=request.key, tag=4, body=Answer(points=points).SerializeToString()))
    assert [(await soon(task)).points for task in tasks] == [0, 1, 2]


async def test_a_request_that_fails_says_status_message_and_code(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    task = asyncio.ensure_future(client.request(Ask(text="x"), Answer))
    await link.frame()
    link.send(Response(key=1, tag=4, status=Status.UNAVAILABLE, message="busy", code=9, retry_after_ms=250))
    with pytest.raises(
        tagwire.RequestFailed, match=r"arena\.v1\.Chat was answered with UNAVAILABLE, code 9: busy"
    ) as caught:
        await soon(task)
    error = caught.value
    assert (error.status, error.message, error.code) == (tagwire.Status.UNAVAILABLE, "busy", 9)
    assert (error.retry_after, error.may_have_run) == (0.25, False)


async def test_a_request_times_out_and_its_late_answer_is_dropped(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    began = time.monotonic()
    with pytest.raises(tagwire.RequestTimeout, match=r"not answered within 0\.05 s") as caught:
        await client.request(Ask(text="x"), Answer, timeout=0.05)
    assert time.monotonic() - began < 2
    assert caught.value.may_have_run
    link.send(Response(key=1, tag=4), score(1))
    assert (await soon(anext(aiter(client)))).points == 1
    assert client.dropped.misplaced == 1


async def test_each_request_has_its_own_time(peer: Peer):
    client, _ = await peer.connected(schema=ASKING)
    late: list[float] = []

    async def ask(timeout: float) -> None:
        with pytest.raises(tagwire.RequestTimeout, match=f"not answered within {timeout:g} s"):
            await client.request(Ask(text="x"), Answer, timeout=timeout)
        late.append(timeout)

    tasks = [asyncio.ensure_future(ask(timeout)) for timeout in (0.15, 0.05, 0.1, 0.05)]
    for task in tasks:
        await soon(task)
    assert late == [0.05, 0.05, 0.1, 0.15]
    # Nobody waits any more, so nothing is looked for; who asks then is late in its time as well.
    assert client._sender._timer is None
    await soon(ask(0.05))


async def test_an_answer_does_not_end_the_time_of_others(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    tasks = [asyncio.ensure_future(client.request(Ask(text="x"), Answer, timeout=0.1)) for _ in range(2)]
    await link.take(Request)
    link.send(Response(key=1, tag=4, body=Answer(points=1).SerializeToString()))
    assert (await soon(tasks[0])).points == 1
    with pytest.raises(tagwire.RequestTimeout):
        await soon(tasks[1])


async def test_who_is_late_is_looked_for_the_less_often_the_more_wait(peer: Peer, monkeypatch):
    client, _ = await peer.connected(schema=ASKING)
    monkeypatch.setattr("tagwire.sending.LOOK_SECONDS", 0.1)
    began = time.monotonic()
    tasks = [
        asyncio.ensure_future(client.request(Ask(text="x"), Answer, timeout=timeout))
        for timeout in (0.02, 0.03, 0.04)
    ]
    for task in tasks:
        with pytest.raises(tagwire.RequestTimeout):
            await soon(task)
    assert time.monotonic() - began >= 0.2


async def test_nothing_is_looked_for_after_the_end(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    task = asyncio.ensure_future(client.request(Ask(text="x"), Answer, timeout=60))
    await link.take(Request)
    timer = client._sender._timer
    await client.close()
    with pytest.raises(tagwire.ConnectionClosed):
        await soon(task)
    assert timer is not None
    assert timer.cancelled()


async def test_a_time_out_of_the_server_is_a_time_out(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    task = asyncio.ensure_future(client.request(Ask(text="x"), Answer))
    await link.frame()
    link.send(Response(key=1, tag=4, status=Status.TIMEOUT))
    with pytest.raises(tagwire.RequestTimeout):
        await soon(task)


async def test_a_request_that_cannot_be_sent_times_out_too(peer: Peer):
    client, link = await peer.connected()
    await block(client, link)
    with pytest.raises(tagwire.RequestTimeout, match="could not be sent") as caught:
        await client.join("b", timeout=0.05)
    assert not caught.value.may_have_run


async def test_an_answer_that_cannot_be_read_is_an_error_of_its_own(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    task = asyncio.ensure_future(client.request(Ask(text="x"), Answer))
    await link.frame()
    link.send(Response(key=1, tag=4, body=b"\xff"))
    with pytest.raises(tagwire.TagwireError, match=r"cannot be read as arena\.v1\.Score"):
        await soon(task)


async def test_the_end_fails_the_requests_that_wait(peer: Peer):
    client, link = await peer.connected(schema=ASKING, reconnect=False)
    tasks = [asyncio.ensure_future(client.request(Ask(text="x"), Answer)) for _ in range(2)]
    await link.frame()
    link.send(Disconnect(code=3000))
    for task in tasks:
        with pytest.raises(tagwire.ConnectionClosed):
            await soon(task)


async def test_joining_a_room_changes_room_and_members(peer: Peer):
    client, link = await peer.connected(member(2, PRESENT, "old"))
    task = asyncio.ensure_future(client.join("b"))
    request = await link.take(Request)
    assert (request.tag, JoinRoom.FromString(request.body).room) == (248, "b")
    reply = JoinRoomReply(room="b").SerializeToString()
    link.send(Response(key=request.key, tag=248, body=reply), member(3, PRESENT, "new"))
    assert await soon(task) == "b"
    assert client.room == "b"
    await until(lambda: 3 in client.members)
    assert client.members == {3: tagwire.Member(3, "new")}
