"""Sending, from any loop and thread; against a server that does what each test says."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import threading
import time

import pytest

import arena
import tagwire
from conftest import Peer, soon, welcome
from helpers import (
    ASKING,
    Answer,
    Ask,
    awaited,
    block,
    forget,
    score,
)
from tagwire import elsewhere as elsewhere_module
from tagwire.frame import encode
from tagwire.gen.v1 import (
    Disconnect,
    Limits,
    Ping,
    Request,
    Response,
)
from tagwire.schema import Schema
from tagwire.session import RESPONSE


async def test_10000_messages_arrive_in_order_both_ways(peer: Peer):
    client, link = await peer.connected()
    count = 10_000

    async def send_all():
        for number in range(count):
            await client.send(arena.Chat(text=str(number)))

    task = asyncio.ensure_future(send_all())
    for number in range(count):
        assert (await link.take(arena.Chat)).text == str(number)
    await task
    link.send(b"".join(score(number) for number in range(count)))
    messages = aiter(client)
    for number in range(count):
        assert (await soon(anext(messages))).points == number


async def test_send_waits_while_the_server_takes_nothing_and_keeps_the_order(peer: Peer):
    client, link = await peer.connected()
    link.writer.transport.pause_reading()
    sent = 0

    async def send_all():
        nonlocal sent
        for number in range(20_000):
            await client.send(arena.Chat(text=f"{number:01000}"))
            sent += 1

    task = asyncio.ensure_future(send_all())
    before = -1
    while sent != before:
        before = sent
        await asyncio.sleep(0.05)
    assert not task.done()
    assert client._connection._transport.waiting_bytes() < 256 * 1024
    link.writer.transport.resume_reading()
    for number in range(20_000):
        assert int((await link.take(arena.Chat)).text) == number
    await soon(task)


async def test_a_cancelled_send_has_sent_nothing(peer: Peer):
    client, link = await peer.connected()
    blocked = await block(client, link)
    task = asyncio.ensure_future(client.send(arena.Chat(text="cancelled")))
    behind = asyncio.ensure_future(client.send(arena.Chat(text="next")))
    await asyncio.sleep(0.05)
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    link.writer.transport.resume_reading()
    for _ in range(blocked):
        assert (await link.take(arena.Chat)).text.startswith("fill")
    assert (await link.take(arena.Chat)).text == "next"
    await soon(behind)


async def test_who_waits_to_send_is_not_overtaken(peer: Peer):
    client, link = await peer.connected()
    blocked = await block(client, link)
    waiting = asyncio.ensure_future(client.send(arena.Chat(text="first")))
    await asyncio.sleep(0.01)
    client._connection.handle_writable(True)
    await client.send(arena.Chat(text="second"))
    link.writer.transport.resume_reading()
    for _ in range(blocked):
        await link.take(arena.Chat)
    assert [(await link.take(arena.Chat)).text for _ in range(2)] == ["first", "second"]
    await waiting


async def test_a_busy_sender_leaves_room_for_pings(peer: Peer):
    client, link = await peer.connected()
    stop = False

    async def flood():
        while not stop:
            await client.send(arena.MouseEvent(x=1))

    task = asyncio.ensure_future(flood())
    link.send(Ping(sentEpoch=77))
    for _ in range(100_000):
        frame = await link.frame()
        if frame.tag == 3:
            break
    assert Ping.FromString(frame.payload).sentEpoch == 77
    stop = True
    while not task.done():
        await asyncio.wait([task], timeout=0.01)
        await link.reader.read(1 << 20)


async def test_several_sends_in_one_turn_are_one_write(peer: Peer, monkeypatch):
    client, link = await peer.connected()
    writes: list[list[bytes]] = []
    real = client._connection._transport.write
    monkeypatch.setattr(
        client._connection._transport, "write", lambda frames: (writes.append(frames), real(frames))
    )
    for number in range(10):
        await client.send(arena.MouseEvent(x=number))
    for number in range(10):
        assert (await link.take(arena.MouseEvent)).x == number
    assert [len(frames) for frames in writes] == [10]


async def test_what_may_not_be_sent_is_refused_here(peer: Peer):
    client, link = await peer.connected()
    with pytest.raises(ValueError, match=r"arena\.v1\.Score is sent by the server only"):
        await client.send(arena.Score())
    with pytest.raises(TypeError, match=r"tagwire\.v1\.Ping is not in the schema 'arena'"):
        await client.send(Ping())
    with pytest.raises(TypeError, match="not a message"):
        await client.send({"x": 1})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"arena\.v1\.Chat of 1025 bytes, limit 1024"):
        await client.send(arena.Chat(text="x" * 1022))
    with pytest.raises(TypeError, match=r"is not a request of a service; use client\.send"):
        await client.request(arena.Chat(text="x"), arena.Score)
    with pytest.raises(ValueError, match="by the server only"):
        client.send_soon(arena.Score())
    await client.send(arena.Chat(text="x" * 1021))
    assert len((await link.take(arena.Chat)).text) == 1021


async def test_the_servers_limit_holds_for_messages_without_one(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect(schema=ASKING)))
    link = await peer.accept()
    await link.frame()
    link.send(welcome(limits=Limits(max_frame_bytes=8)))
    client = await soon(task)
    for _ in range(2):  # the second time, one of its class was sent
        with pytest.raises(ValueError, match="of 10 bytes, limit 8"):
            await client.send(Mouse(x=1 << 30, y=1, left_click=True, right_click=False))
        await client.send(Mouse(x=1))


async def test_a_large_message_is_no_reason_to_close(peer: Peer):
    unlimited = tuple(dataclasses.replace(rules, max_bytes=0) for rules in arena.SCHEMA.rules)
    schema = Schema(name="arena", fingerprint=b"", descriptors=arena.SCHEMA.descriptors, rules=unlimited)
    task = asyncio.ensure_future(awaited(peer.connect(schema=schema)))
    link = await peer.accept()
    await link.frame()
    link.send(welcome(limits=Limits(max_frame_bytes=8 << 20)))
    client = await soon(task)
    link.writer.transport.pause_reading()
    await client.send(schema.message("arena.v1.Chat")(text="x" * (7 << 20)))
    link.send(Ping(sentEpoch=1))
    await asyncio.sleep(0.1)
    assert client.closed is None
    link.writer.transport.resume_reading()
    assert len((await link.take(arena.Chat)).text) == 7 << 20
    await link.take(Ping)


async def test_a_request_cannot_be_sent_with_send(peer: Peer):
    client, _ = await peer.connected(schema=ASKING)
    with pytest.raises(TypeError, match=r"arena\.v1\.Chat is a request of a service; use client\.request"):
        await client.send(Ask(text="x"))


async def test_send_works_on_other_loops_in_other_threads(peer: Peer):
    client, link = await peer.connected()
    failures: list[BaseException] = []

    def elsewhere(name: int) -> None:
        async def play():
            for number in range(50):
                await client.send(arena.Chat(text=f"{name} {number}"))

        try:
            asyncio.run(play())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=elsewhere, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = {name: [] for name in range(4)}
    for _ in range(200):
        name, number = map(int, (await link.take(arena.Chat)).text.split())
        seen[name].append(number)
    assert all(numbers == list(range(50)) for numbers in seen.values())
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert failures == []


async def test_send_soon_works_in_any_thread_and_keeps_each_ones_order(peer: Peer):
    client, link = await peer.connected()

    def elsewhere(name: int) -> None:
        for number in range(200):
            client.send_soon(arena.Chat(text=f"{name} {number}"))

    threads = [threading.Thread(target=elsewhere, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    seen: dict[int, list[int]] = {name: [] for name in range(4)}
    for _ in range(800):
        name, number = map(int, (await link.take(arena.Chat)).text.split())
        seen[name].append(number)
    assert all(numbers == list(range(200)) for numbers in seen.values())
    for thread in threads:
        thread.join()


async def test_send_does_not_overtake_send_soon(peer: Peer):
    client, link = await peer.connected()
    for number in range(0, 100, 2):
        client.send_soon(arena.Chat(text=str(number)))
        await client.send(arena.Chat(text=str(number + 1)))
    assert [int((await link.take(arena.Chat)).text) for _ in range(100)] == list(range(100))


async def test_send_soon_raises_when_the_buffer_is_full_and_loses_nothing_before(peer: Peer):
    client, link = await peer.connected()
    blocked = await block(client, link)
    for number in range(1024):
        client.send_soon(arena.Chat(text=str(number)))
    with pytest.raises(tagwire.BufferFull, match="1024 messages"):
        client.send_soon(arena.Chat(text="too many"))
    link.writer.transport.resume_reading()
    for _ in range(blocked):
        await link.take(arena.Chat)
    assert [int((await link.take(arena.Chat)).text) for _ in range(1024)] == list(range(1024))


async def test_while_the_socket_is_behind_only_the_latest_waits(peer: Peer):
    client, link = await peer.connected()
    blocked = await block(client, link)
    for number in range(5000):
        client.send_soon(arena.MouseEvent(x=number))
    client.send_soon(arena.Chat(text="after"))
    link.writer.transport.resume_reading()
    for _ in range(blocked):
        await link.take(arena.Chat)
    assert (await link.take(arena.MouseEvent)).x == 4999
    assert (await link.take(arena.Chat)).text == "after"


async def test_request_and_close_work_from_another_loop(peer: Peer):
    client, link = await peer.connected(schema=ASKING)

    async def play():
        answer = await client.request(Ask(text="x"), Answer)
        await client.close(4000, "done")
        return answer.points

    task = asyncio.ensure_future(asyncio.to_thread(asyncio.run, play()))
    request = await link.take(Request)
    link.send(Response(key=request.key, tag=4, body=Answer(points=5).SerializeToString()))
    assert await link.take(Disconnect) == Disconnect(code=4000, reason="done")
    link.close()
    assert await soon(task) == 5
    assert client.closed is not None
    assert client.closed.code == 4000


async def test_cancelling_a_send_on_another_loop_withdraws_it(peer: Peer):
    client, link = await peer.connected()
    blocked = await block(client, link)

    async def play():
        try:
            await asyncio.wait_for(client.send(arena.Chat(text="cancelled")), 0.1)
        except asyncio.TimeoutError:
            return "timed out"

    assert await asyncio.to_thread(asyncio.run, play()) == "timed out"
    link.writer.transport.resume_reading()
    for _ in range(blocked):
        await link.take(arena.Chat)
    await client.send(arena.Chat(text="next"))
    assert (await link.take(arena.Chat)).text == "next"


async def test_receiving_elsewhere_is_refused(peer: Peer):
    client, _ = await peer.connected()

    async def play():
        await anext(aiter(client))

    with pytest.raises(RuntimeError, match="only on the event loop"):
        await asyncio.to_thread(asyncio.run, play())


def test_a_client_whose_loop_was_closed_says_so_in_other_threads():
    async def abandon():
        peer = Peer()
        await peer.start()
        client, link = await peer.connected()
        peer.server.close()
        return client, link

    client, link = asyncio.run(abandon())
    with pytest.raises(tagwire.ConnectionClosed, match="its event loop was stopped"):
        client.send_soon(arena.MouseEvent())
    with pytest.raises(tagwire.ConnectionClosed, match="its event loop was stopped"):
        asyncio.run(awaited(client.send(arena.MouseEvent())))
    asyncio.run(awaited(client.close()))
    forget(client, link)


def test_a_send_on_another_loop_does_not_outlive_the_clients_loop():
    ready: list[tagwire.Client] = []
    outcome: list[BaseException] = []

    async def abandon():
        peer = Peer()
        await peer.start()
        client, link = await peer.connected()
        await block(client, link)
        ready.append(client)
        await asyncio.sleep(0.1)
        peer.server.close()
        return client, link

    def elsewhere() -> None:
        while not ready:
            time.sleep(0.001)
        try:
            asyncio.run(awaited(ready[0].send(arena.Chat(text="x"))))
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    client, link = asyncio.run(abandon())
    thread.join(10)
    assert isinstance(outcome[0], tagwire.ConnectionClosed)
    forget(client, link)


@pytest.mark.parametrize("asks", [False, True])
async def test_a_call_that_a_stopped_loop_took_but_never_ran_does_not_hang(peer: Peer, monkeypatch, asks):
    client, _ = await peer.connected()
    call = (lambda: client.join("b")) if asks else (lambda: client.send(arena.MouseEvent()))
    monkeypatch.setattr(elsewhere_module, "CHECK_SECONDS", 0.01)

    def never_run(work, loop):
        work.close()
        return concurrent.futures.Future()

    async def play():
        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", never_run)
        monkeypatch.setattr(client._loop, "is_closed", lambda: True)
        try:
            await call()
        finally:
            monkeypatch.undo()

    with pytest.raises(tagwire.ConnectionClosed, match="its event loop was stopped") as caught:
        await asyncio.to_thread(asyncio.run, play())
    assert caught.value.may_have_run == asks


# What takes the short way, and what must not

Mouse = ASKING.message("arena.v1.MouseEvent")


@pytest.fixture
def writes(monkeypatch):
    """How many frames went out by each write of a client."""
    told: list[int] = []

    def watch(client: tagwire.Client) -> list[int]:
        transport = client._connection._transport
        assert transport is not None
        real = transport.write
        monkeypatch.setattr(transport, "write", lambda frames: (told.append(len(frames)), real(frames)))
        return told

    return watch


async def test_a_turn_sends_256_frames_and_then_gives_way(peer: Peer, writes):
    client, link = await peer.connected()
    told = writes(client)
    for number in range(600):
        await client.send(arena.MouseEvent(x=number))
    for number in range(600):
        assert (await link.take(arena.MouseEvent)).x == number
    assert told == [256, 256, 88]


async def test_who_asks_again_when_answered_is_written_in_that_turn(peer: Peer, writes):
    client, link = await peer.connected(schema=ASKING)

    async def ask_twice() -> None:
        for text in ("1", "2"):
            await client.request(Ask(text=text), Answer)

    asking = asyncio.ensure_future(ask_twice())
    await link.take(Request)
    told = writes(client)
    answer = Response(key=1, tag=4, body=Answer(points=1).SerializeToString())
    client._connection.handle_data(encode(RESPONSE, answer.SerializeToString()))
    assert told == []
    await asyncio.sleep(0)  # one turn: of who was answered, and then the write
    assert told == [1]
    await link.take(Request)
    link.send(Response(key=2, tag=4))
    await soon(asking)


async def test_a_turn_sends_64_kib_and_then_gives_way(peer: Peer, writes):
    client, link = await peer.connected()
    told = writes(client)
    for _ in range(80):
        await client.send(arena.Chat(text="x" * 1021))
    for _ in range(80):
        await link.take(arena.Chat)
    assert told == [64, 16]


async def test_a_turn_that_has_sent_its_share_sends_no_more_when_the_socket_has_room_again(
    peer: Peer, writes
):
    client, link = await peer.connected(schema=ASKING)
    told = writes(client)
    for number in range(256):
        await client.send(Mouse(x=number))
    assert client._connection.busy
    client._connection.handle_writable(False)
    client._connection.handle_writable(True)
    asking = asyncio.ensure_future(client.request(Ask(text="x"), Answer, timeout=0.2))
    await client.send(Mouse(x=256))
    for number in range(257):
        assert (await link.take(arena.MouseEvent)).x == number
    await link.take(Request)
    assert told[0] == 256
    with pytest.raises(tagwire.RequestTimeout):
        await asking


async def test_nothing_is_sent_to_a_socket_that_is_full_not_even_after_a_write(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    await client.send(Mouse(x=1))
    client._connection.handle_writable(False)
    await asyncio.sleep(0)  # the write of the first
    waiting = asyncio.ensure_future(client.send(Mouse(x=2)))
    with pytest.raises(tagwire.RequestTimeout, match="could not be sent"):
        await client.request(Ask(text="x"), Answer, timeout=0.05)
    assert not waiting.done()
    assert (await link.take(arena.MouseEvent)).x == 1
    client._connection.handle_writable(True)
    assert (await link.take(arena.MouseEvent)).x == 2
    await soon(waiting)


async def test_nobody_overtakes_what_send_soon_was_given(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    # Sent by these once, so that the short way would be open.
    await client.send(Mouse(x=0))
    first = asyncio.ensure_future(client.request(Ask(text="0"), Answer))
    await link.take(arena.MouseEvent)
    await link.take(Request)
    link.send(Response(key=1, tag=4, body=Answer(points=1).SerializeToString()))
    await soon(first)

    client.send_soon(Mouse(x=1))
    tasks = [asyncio.ensure_future(client.send(Mouse(x=2)))]
    tasks.append(asyncio.ensure_future(client.request(Ask(text="3"), Answer)))
    assert [(await link.take(arena.MouseEvent)).x for _ in range(2)] == [1, 2]
    assert Ask.FromString((await link.take(Request)).body).text == "3"
    client.send_soon(Mouse(x=4))
    tasks.append(asyncio.ensure_future(client.request(Ask(text="5"), Answer)))
    assert (await link.take(arena.MouseEvent)).x == 4
    assert Ask.FromString((await link.take(Request)).body).text == "5"
    for key in (2, 3):
        link.send(Response(key=key, tag=4, body=Answer(points=1).SerializeToString()))
    for task in tasks:
        await soon(task)


async def test_a_request_does_not_overtake_who_waits_to_send(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    client._connection.handle_writable(False)
    waiting = asyncio.ensure_future(client.send(Mouse(x=1)))
    await asyncio.sleep(0)
    asked = [asyncio.ensure_future(client.request(Ask(text="2"), Answer))]
    await asyncio.sleep(0)
    client._connection.handle_writable(True)
    # There is room again, and nobody who waits has had a turn yet.
    asked.append(asyncio.ensure_future(client.request(Ask(text="3"), Answer)))
    assert (await link.take(arena.MouseEvent)).x == 1
    for key, text in ((1, "2"), (2, "3")):
        told = await link.take(Request)
        assert (told.key, Ask.FromString(told.body).text) == (key, text)
        link.send(Response(key=key, tag=4, body=Answer(points=1).SerializeToString()))
    for task in (waiting, *asked):
        await soon(task)


async def test_who_asks_in_the_turn_in_which_there_is_room_again_waits_for_those_before(peer: Peer):
    client, link = await peer.connected(schema=ASKING)
    client._connection.handle_writable(False)
    waiting = asyncio.ensure_future(client.send(Mouse(x=1)))
    await asyncio.sleep(0)
    client._connection.handle_writable(True)
    assert client._connection.clear
    assert client._sender.post_now(client._ask_of(Ask(text="2"), Answer, 1.0)) is None
    assert (await link.take(arena.MouseEvent)).x == 1
    await soon(waiting)
    client.send_soon(Mouse(x=2))
    assert client._sender.post_now(client._ask_of(Ask(text="2"), Answer, 1.0)) is None
    assert (await link.take(arena.MouseEvent)).x == 2
    assert client._sender.post_now(client._ask_of(Ask(text="2"), Answer, 1.0)) is not None


@pytest.mark.parametrize("timeout", [None, "2"])
async def test_a_time_limit_that_is_none_fails_before_anything_is_sent(peer: Peer, timeout):
    client, link = await peer.connected(schema=ASKING)
    with pytest.raises(TypeError):
        await client.request(Ask(text="x"), Answer, timeout=timeout)
    await client.send(Mouse(x=1))
    assert (await link.take(arena.MouseEvent)).x == 1
    assert client._sender._answers == {}
