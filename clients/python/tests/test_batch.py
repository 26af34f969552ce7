"""Several requests in one frame, against a server that does what each test says."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import hall
import pytest

import tagwire
from conftest import Link, Peer, soon, welcome
from tagwire.gen.v1 import Batch, Disconnect, Limits, PlayerLogin, Request, Response, Status
from test_pump import Stage, stage, until, waiting  # noqa: F401  `stage` is a fixture

RENAME = 300


def rename(name: str) -> hall.RenameRequest:
    return hall.RenameRequest(name=name)


def renamed(key: int, name: str) -> Response:
    return Response(key=key, tag=RENAME, body=hall.RenameReply(name=name).SerializeToString())


async def asked(
    peer: Peer, count: int = 3, *, stop_on_error: bool = False, **options: Any
) -> tuple[list[tagwire.Answer[hall.RenameReply]], tagwire.Client, Link]:
    """A batch that the server has got and not answered."""
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch(stop_on_error=stop_on_error) as batch:
        answers = [batch.request(rename(str(n)), hall.RenameReply, **options) for n in range(count)]
    got = await link.take(Batch)
    assert [(one.key, one.tag) for one in got.requests] == [(n + 1, RENAME) for n in range(count)]
    assert [hall.RenameRequest.FromString(one.body).name for one in got.requests] == list(
        map(str, range(count))
    )
    assert got.stop_on_error == stop_on_error
    return answers, client, link


async def test_each_request_of_a_batch_has_its_own_answer_when_it_comes(peer: Peer):
    answers, client, link = await asked(peer)
    link.send(renamed(1, "a"))
    assert (await soon(answers[0])).name == "a"
    assert not answers[1].done()
    link.send(Response(key=2, tag=RENAME, status=Status.ILLEGAL, code=17), renamed(3, "c"))
    with pytest.raises(tagwire.RequestFailed) as caught:
        await soon(answers[1])
    assert (caught.value.status, caught.value.code) == (tagwire.Status.ILLEGAL, 17)
    assert (await soon(answers[2])).name == "c"
    assert client._sender._answers == {}


async def test_the_order_of_the_answers_makes_no_difference(peer: Peer):
    answers, _, link = await asked(peer, stop_on_error=True)
    for key in (3, 1, 2):
        link.send(renamed(key, str(key)))
    assert [(await soon(answer)).name for answer in answers] == ["1", "2", "3"]


async def test_services_take_part_as_they_are(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch() as batch:
        lobby = hall.Lobby(batch)
        first, second = lobby.rename(rename("a")), lobby.get_url(hall.UrlRequest(of="x"))
        with pytest.raises(TypeError, match=r"takes hall\.v1\.RenameRequest, not hall\.v1\.Sync"):
            lobby.rename(hall.Sync())
    assert [one.tag for one in (await link.take(Batch)).requests] == [300, 307]
    link.send(renamed(1, "A"))
    link.send(Response(key=2, tag=307, body=hall.Url(name=hall.Name(name="y")).SerializeToString()))
    assert (await soon(first)).name == "A"
    assert (await soon(second)).name.name == "y"


async def test_nothing_is_sent_before_the_end_of_the_block_or_after_an_exception_in_it(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    batch = client.batch()
    with pytest.raises(KeyError):  # noqa: PT012  what is raised inside is what is tested
        async with batch:
            answer = batch.request(rename("a"), hall.RenameReply)
            raise KeyError
    with pytest.raises(asyncio.CancelledError):
        await soon(answer)
    async with client.batch() as empty:
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="inside of its `with` block"):
        empty.request(rename("a"), hall.RenameReply)
    with pytest.raises(RuntimeError, match="was used already"):
        async with empty:
            pass
    asking = asyncio.ensure_future(client.request(rename("alone"), hall.RenameReply))
    assert (await link.take(Request)).key == 1
    asking.cancel()


async def test_an_answer_cannot_be_awaited_before_the_batch_is_sent(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch() as batch:
        answer = batch.request(rename("a"), hall.RenameReply)
        for early in (answer, asyncio.wait_for(answer, 5), asyncio.gather(answer)):
            with pytest.raises(RuntimeError, match="sent when its `with` block is left"):
                await early
    await link.take(Batch)
    link.send(renamed(1, "a"))
    for _ in range(2):
        assert (await soon(answer)).name == "a"


async def test_a_batch_holds_64_requests(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch() as batch:
        answers = [batch.request(rename("a"), hall.RenameReply) for _ in range(64)]
        with pytest.raises(ValueError, match="at most 64 requests; make another one"):
            batch.request(rename("a"), hall.RenameReply)
    assert [one.key for one in (await link.take(Batch)).requests] == list(range(1, 65))
    link.send(*(renamed(key, "a") for key in range(1, 65)))
    await soon(asyncio.gather(*answers))


async def test_a_batch_is_no_larger_than_a_frame_may_be(peer: Peer):
    connecting = asyncio.ensure_future(_awaited(peer.connect(schema=hall.SCHEMA)))
    link = await peer.accept()
    await link.take(PlayerLogin)
    link.send(welcome(limits=Limits(max_frame_bytes=1000)))
    client = await soon(connecting)
    async with client.batch() as batch:
        for _ in range(2):
            batch.request(rename("x" * 470), hall.RenameReply).cancel()
        with pytest.raises(ValueError, match=r"hall\.v1\.RenameRequest takes 1023 bytes, limit 1000"):
            batch.request(rename(""), hall.RenameReply)
    frame = await link.frame()
    assert frame.tag == 244
    assert len(frame.payload) <= 1000


async def test_what_cannot_be_sent_is_refused_and_the_others_go(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch() as batch:
        with pytest.raises(TypeError, match="class of the reply"):
            batch.request(rename("a"), "RenameReply")  # type: ignore[type-var]
        with pytest.raises(TypeError, match="is not a message"):
            batch.request("rename", hall.RenameReply)  # type: ignore[arg-type]
        answer = batch.request(rename("a"), hall.RenameReply)
    assert len((await link.take(Batch)).requests) == 1
    link.send(renamed(1, "a"))
    await soon(answer)


# Time-outs and the end


async def test_each_has_its_own_time_and_late_answers_are_ignored(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch() as batch:
        short = batch.request(rename("a"), hall.RenameReply, timeout=0.05)
        long = batch.request(rename("b"), hall.RenameReply, timeout=30)
    with pytest.raises(tagwire.RequestTimeout, match=r"not answered within 0\.05 s; it may") as caught:
        await soon(short)
    assert (caught.value.may_have_run, caught.value.by_peer) == (True, False)
    link.send(renamed(1, "late"), renamed(2, "b"), renamed(2, "twice"), renamed(9, "never asked"))
    assert (await soon(long)).name == "b"
    await soon_dropped(client, 3)
    assert client._sender._answers == {}


async def test_one_that_is_cancelled_leaves_the_others_alone(peer: Peer):
    answers, client, link = await asked(peer)
    answers[0].cancel()
    link.send(*(renamed(key, "a") for key in (1, 2, 3)))
    await soon(asyncio.gather(*answers[1:]))
    with pytest.raises(asyncio.CancelledError):
        await answers[0]
    assert client.dropped.misplaced == 1
    assert client._sender._answers == {}


async def test_one_that_is_cancelled_at_once_is_forgotten(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    async with client.batch() as batch:
        answer = batch.request(rename("a"), hall.RenameReply)
        answer.cancel()
    await link.take(Batch)
    with pytest.raises(asyncio.CancelledError):
        await answer
    await asyncio.sleep(0)
    assert client._sender._answers == {}


async def test_a_batch_that_finds_no_room_has_not_run(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    link.writer.transport.pause_reading()
    while client._connection.writable:  # requests are all that clients of this schema send
        client._connection.send(RENAME, bytes(60_000))
        await asyncio.sleep(0)
    async with client.batch() as batch:
        answers = [batch.request(rename("a"), hall.RenameReply, timeout=timeout) for timeout in (30, 0.05)]
    for answer in answers:
        with pytest.raises(tagwire.RequestTimeout, match=r"could not be sent within 0\.05 s") as caught:
            await soon(answer)
        assert not caught.value.may_have_run


async def test_the_end_fails_all_and_says_that_they_may_have_run(peer: Peer):
    answers, client, link = await asked(peer)
    link.send(renamed(1, "a"), Disconnect(code=3508))
    assert (await soon(answers[0])).name == "a"
    for answer in answers[1:]:
        with pytest.raises(tagwire.ConnectionClosed, match="may have run all the same") as caught:
            await soon(answer)
        assert caught.value.may_have_run
    async with client.batch() as batch:
        late = batch.request(rename("a"), hall.RenameReply)
    with pytest.raises(tagwire.ConnectionClosed) as after:
        await soon(late)
    assert not after.value.may_have_run


async def test_of_failures_that_nobody_looks_at_asyncio_logs_one(peer: Peer, caplog):
    answers, _, link = await asked(peer)
    link.send(*(Response(key=key, tag=RENAME, status=Status.DENIED) for key in (1, 2, 3)))
    while not all(answer.done() for answer in answers):
        await asyncio.sleep(0.001)
    del answers
    await asyncio.sleep(0)
    gc.collect()
    assert caplog.text.count("exception was never retrieved") == 1


# For a game loop


def test_a_sync_batch_is_answered_in_sync(stage: Stage):  # noqa: F811
    client, link = stage.connected(schema=hall.SCHEMA)
    seen: list[Any] = []
    with client.batch(stop_on_error=True) as batch:
        batch.request(rename("a"), hall.RenameReply, lambda reply: seen.append(reply.name))
        hall.Lobby.Sync(batch).rename(rename("b"), seen.append, on_error=seen.append)
        batch.request(rename("c"), hall.RenameReply, seen.append, on_error=seen.append, timeout=0.05)
    got = stage.do(link.take(Batch))
    assert [(one.key, one.tag) for one in got.requests] == [(1, 300), (2, 300), (3, 300)]
    assert got.stop_on_error
    stage.send(link, renamed(1, "A"), Response(key=2, tag=RENAME, status=Status.ILLEGAL, code=17))
    waiting(client, 3)
    assert seen == []
    assert client.sync(1) == 3
    assert (seen[0], seen[1].code) == ("A", 17)
    assert isinstance(seen[2], tagwire.RequestTimeout)
    stage.send(link, renamed(3, "late"))
    until(lambda: client._wire.dropped.misplaced == 1)
    assert client.sync(1) == 0


def test_a_sync_batch_is_sent_at_the_end_of_its_block_only(stage: Stage):  # noqa: F811
    client, link = stage.connected(schema=hall.SCHEMA)
    with pytest.raises(KeyError), client.batch() as batch:  # noqa: PT012  as above
        batch.request(rename("a"), hall.RenameReply, print)
        raise KeyError
    with client.batch() as batch:
        pass
    with pytest.raises(RuntimeError, match="inside of its `with` block"):
        batch.request(rename("a"), hall.RenameReply, print)
    with client.batch() as batch:
        for _ in range(64):
            batch.request(rename("a"), hall.RenameReply, print)
        with pytest.raises(ValueError, match="at most 64"):
            batch.request(rename("a"), hall.RenameReply, print)
    assert [one.key for one in stage.do(link.take(Batch)).requests] == list(range(1, 65))


def test_the_end_fails_what_a_sync_batch_asked(stage: Stage):  # noqa: F811
    client, link = stage.connected(schema=hall.SCHEMA, reconnect=False)
    seen: list[Any] = []
    with client.batch() as batch:
        for _ in range(3):
            batch.request(rename("a"), hall.RenameReply, seen.append, on_error=seen.append)
    stage.do(link.take(Batch))
    stage.send(link, Disconnect(code=3000))
    until(lambda: client._wire.closed)
    assert client.sync(1) == 3
    assert [(type(one), one.may_have_run) for one in seen] == [(tagwire.ConnectionClosed, True)] * 3
    with pytest.raises(tagwire.ConnectionClosed):
        client.sync()


async def test_each_class_of_a_service_says_which_batch_it_is_for(peer: Peer, stage: Stage):  # noqa: F811
    client, _ = await peer.connected(schema=hall.SCHEMA)
    with pytest.raises(TypeError, match=r"Lobby\.Sync is for a client of connect_sync"):
        hall.Lobby.Sync(client.batch())  # type: ignore[arg-type]
    game, _ = await asyncio.to_thread(stage.connected, schema=hall.SCHEMA)
    with pytest.raises(TypeError, match=r"Lobby is for a client of connect\(\)"):
        hall.Lobby(game.batch())  # type: ignore[arg-type]


async def _awaited(connecting: tagwire.Connecting) -> tagwire.Client:
    return await connecting


async def soon_dropped(client: tagwire.Client, count: int) -> None:
    for _ in range(1000):
        if client.dropped.misplaced == count:
            return
        await asyncio.sleep(0.001)
    raise AssertionError(client.dropped)
