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
