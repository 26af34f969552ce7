"""The client over a real socket, against a server that does what each test says."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import gc
import logging
import socket
import threading
import time

import pytest

import arena
import tagwire
from conftest import Link, Peer, frame_of, member, relayed, soon, welcome
from tagwire import client as client_module
from tagwire import session as session_module
from tagwire.frame import encode
from tagwire.gen.v1 import (
    Disconnect,
    JoinRoom,
    JoinRoomReply,
    Limits,
    Ping,
    PlayerLogin,
    Request,
    Response,
    SchemaOffer,
    SchemaWanted,
    Status,
    Verdict,
)
from tagwire.schema import Schema

PRESENT, JOINED, LEFT = 1, 2, 3

# The arena with Chat as the request of a service.
ASKING = Schema(
    name="arena",
    fingerprint=b"",
    descriptors=arena.SCHEMA.descriptors,
    rules=tuple(dataclasses.replace(rules, request=rules.tag == 4) for rules in arena.SCHEMA.rules),
)
Ask = ASKING.message("arena.v1.Chat")
Answer = ASKING.message("arena.v1.Score")


def score(points: int) -> bytes:
    return encode(6, arena.Score(points=points).SerializeToString())


# Connecting


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
    with pytest.raises(tagwire.AddressError, match="TLS is not supported yet"):
        async with tagwire.connect("tagwires://localhost", schema=arena.SCHEMA):
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


# The schema exchange


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


# Sending


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
    with pytest.raises(ValueError, match="of 10 bytes, limit 8"):
        await client.send(
            ASKING.message("arena.v1.MouseEvent")(x=1 << 30, y=1, left_click=True, right_click=False)
        )


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


# Sending from elsewhere


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
    monkeypatch.setattr(client_module, "FOREIGN_CHECK_SECONDS", 0.01)

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


# Requests and rooms


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
    client, link = await peer.connected(schema=ASKING)
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


# Receiving


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
    client, link = await peer.connected()
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
    client, link = await peer.connected()
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
    client, link = await peer.connected(receive=False)
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


# Pings


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


# The end


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
    client, link = await peer.connected()
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
        client, link = await peer.connected(score(1))
        link.close()
        with pytest.raises(tagwire.ConnectionClosed):
            await all_of(client)
        await client.close()
        assert client._connection._timer is None
    assert asyncio.all_tasks() == before
    gc.collect()  # an unclosed socket would be a ResourceWarning, which fails the test


# Helpers


async def awaited(awaitable):
    return await awaitable


async def next_of(client: tagwire.Client):
    return await anext(aiter(client))


async def all_of(client: tagwire.Client):
    return [message async for message in client]


async def until(condition, seconds: float = 5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def ping_answer(link):
    """Reads until an answer to a ping, past acknowledgements."""
    while True:
        frame = await link.frame()
        if frame.tag == 3 and Ping.FromString(frame.payload).sentEpoch:
            return


def forget(client: tagwire.Client, link) -> None:
    """Closes the sockets of a loop that was closed before them."""
    for transport in (client._connection._transport._transport, link.writer.transport):  # type: ignore[union-attr]
        transport._sock.close()
        transport._sock, transport._closing = None, True


async def block(client: tagwire.Client, link) -> int:
    """Lets the server read nothing and fills the way to it; gives how many messages are on it."""
    link.writer.transport.pause_reading()
    count = 0
    while client._connection.writable:
        await client.send(arena.Chat(text=f"fill {count:01000}"))
        count += 1
        await asyncio.sleep(0)
    return count
