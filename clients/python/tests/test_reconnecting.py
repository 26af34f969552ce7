"""Coming back after a lost connection; against a server that does what each test says."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
from typing import Any

import pytest

import arena
import tagwire
from conftest import QUICK, TOKEN, Link, Peer, member, relayed, resumable, soon, welcome
from helpers import ASKING, JOINED, PRESENT, Answer, Ask, all_of, awaited, block, next_of, score, until
from tagwire import connection as connection_module
from tagwire import reconnecting as reconnecting_module
from tagwire import session as session_module
from tagwire.frame import encode
from tagwire.gen.v1 import (
    Batch,
    Disconnect,
    JoinRoom,
    JoinRoomReply,
    Limits,
    Ping,
    PlayerLogin,
    Request,
    Response,
)

SLOW = tagwire.Reconnect(first_delay=60.0, jitter=0)


def reset(link: Link) -> None:
    """Ends a connection as a broken network does."""
    sock = link.writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    link.writer.transport.abort()


def answer(request: Request, points: int) -> Response:
    return Response(key=request.key, tag=request.tag, body=Answer(points=points).SerializeToString())


async def away(client: tagwire.Client) -> None:
    await until(lambda: client.reconnecting is not None)


async def new_session(peer: Peer, *data: object, **fields: object) -> Link:
    """The next connection, on which another session begins."""
    link = await peer.accept()
    await link.take(PlayerLogin)
    link.send(resumable(**fields), *data)
    return link


# Going on


@pytest.mark.parametrize("how", ["eof", "reset", "silence", "timeout"])
async def test_a_lost_connection_is_made_again_and_the_session_goes_on(peer: Peer, monkeypatch, how):
    if how == "silence":
        monkeypatch.setattr(session_module, "SILENCE_SECONDS", 0.1)
    client, link = await peer.resumable(member(2, PRESENT, "Zoe"), score(1))
    assert (await next_of(client)).points == 1
    await client.send(arena.Chat(text="1"))
    await client.send(arena.Chat(text="2"))
    for _ in range(2):
        await link.take(arena.Chat)
    if how == "eof":
        link.close()
    elif how == "reset":
        reset(link)
    elif how == "timeout":
        link.send(Disconnect(code=3002))
    else:
        await away(client)
        monkeypatch.undo()
    again = await peer.accept()
    login = await again.take(PlayerLogin)
    assert (login.username, login.password) == ("player1", "welcome")
    assert (login.resume.token, login.resume.frames_received) == (TOKEN, 2)
    again.send(resumable(resumed=True, frames_received=1), relayed(2, arena.Chat(text="hi")))
    assert (await again.take(arena.Chat)).text == "2"
    message, sender = await soon(anext(client.with_senders()))
    assert (message.text, sender) == ("hi", tagwire.Member(2, "Zoe"))
    await client.send(arena.Chat(text="3"))
    assert (await again.take(arena.Chat)).text == "3"
    assert (client.closed, client.reconnecting) == (None, None)
    assert client.room == "main"


async def test_the_old_socket_is_closed_before_there_is_a_new_one(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "SILENCE_SECONDS", 0.1)
    client, link = await peer.resumable(reconnect=tagwire.Reconnect(first_delay=0.0))
    sock = client._connection._transport._transport.get_extra_info("socket")  # type: ignore[union-attr]
    await block(client, link)
    closed: list[bool] = []
    real = connection_module.open_transport

    async def open_transport(*arguments: Any, **options: Any) -> None:
        closed.append(sock.fileno() == -1)
        await real(*arguments, **options)

    monkeypatch.setattr(connection_module, "open_transport", open_transport)
    await peer.accept()
    assert closed == [True]


async def test_iterating_and_handlers_go_on_and_nothing_comes_twice(peer: Peer):
    client, link = await peer.resumable()
    heard: list[int] = []
    texts: list[str] = []
    client.on(arena.Score, lambda message, sender: heard.append(message.points))

    async def iterate():
        async for message in client:
            texts.append(message.text)

    task = asyncio.ensure_future(iterate())
    frames = [part for n in range(30) for part in (score(n), relayed(2, arena.Chat(text=str(n))))]
    link.send(*frames[:7])
    for cut in range(7, 60, 7):
        await until(lambda: client._session.frames_received == cut)  # noqa: B023
        link.send(frames[cut][:-1])  # begun, and lost
        link.close()
        link = await peer.accept()
        login = await link.take(PlayerLogin)
        assert login.resume.frames_received == cut
        link.send(resumable(resumed=True), *frames[cut : cut + 7])
    await until(lambda: len(texts) == 30)
    link.send(Disconnect())
    await soon(task)
    assert (heard, texts) == (list(range(30)), [str(n) for n in range(30)])


async def test_what_was_received_and_not_taken_stays(peer: Peer):
    client, link = await peer.resumable(score(1), score(2))
    await until(lambda: len(client._inbox) == 2)
    link.close()
    await peer.back(0, score(3))
    assert [(await soon(next_of(client))).points for _ in range(3)] == [1, 2, 3]


async def test_pending_requests_are_answered_once_after_a_resume(peer: Peer):
    client, link = await peer.resumable(schema=ASKING)
    tasks = [asyncio.ensure_future(client.request(Ask(text=str(n)), Answer)) for n in range(3)]
    asked = [await link.take(Request) for _ in range(3)]
    link.send(answer(asked[0], 0))
    assert (await soon(tasks[0])).points == 0
    link.close()
    again = await peer.back(2, answer(asked[1], 1))
    resent = await again.take(Request)
    assert resent == asked[2]
    again.send(answer(resent, 2), answer(resent, 3))
    assert [(await soon(task)).points for task in tasks] == [0, 1, 2]
    await until(lambda: client.dropped.misplaced == 1)


async def test_a_join_over_a_cut_moves_the_player(peer: Peer):
    client, link = await peer.resumable(member(2, PRESENT, "old"))
    task = asyncio.ensure_future(client.join("b"))
    request = await link.take(Request)
    link.close()
    reply = JoinRoomReply(room="b").SerializeToString()
    await peer.back(
        1, Response(key=request.key, tag=248, body=reply), member(3, PRESENT, "new"), room="not this"
    )
    assert await soon(task) == "b"
    await until(lambda: client.members == {3: tagwire.Member(3, "new")})
    assert client.room == "b"


async def test_a_batch_over_a_cut_is_answered(peer: Peer):
    client, link = await peer.resumable(schema=ASKING)
    async with client.batch() as batch:
        answers = [batch.request(Ask(text=str(n)), Answer) for n in range(3)]
    got = await link.take(Batch)
    link.send(answer(got.requests[0], 0))
    assert (await soon(answers[0])).points == 0
    link.close()
    again = await peer.back(0)
    assert await again.take(Batch) == got
    again.send(*(answer(one, one.key) for one in got.requests[1:]))
    assert [(await soon(one)).points for one in answers] == [0, 2, 3]


async def test_who_waits_for_a_ping_gets_the_next_one(peer: Peer):
    client, link = await peer.resumable()
    task = asyncio.ensure_future(client.next_ping())
    await asyncio.sleep(0)
    link.close()
    await peer.back(0, Ping(sentEpoch=5_000_000, rtt_us=1000))
    assert (await soon(task)).rtt == 0.001


async def test_members_who_are_away_and_back_are_told(peer: Peer):
    client, _ = await peer.resumable(member(2, PRESENT, "Zoe"), member(2, 4), member(2, 5))
    changes: list[str] = []
    client.on(tagwire.MemberChanged, lambda event: changes.append(event.change.name))
    task = asyncio.ensure_future(client.run())
    await until(lambda: len(changes) == 3)
    assert changes == ["PRESENT", "AWAY", "BACK"]
    await client.close()
    await soon(task)


async def test_a_client_that_only_sends_comes_back_too(peer: Peer):
    client, link = await peer.resumable(receive=False)
    await client.send(arena.Chat(text="1"))
    await link.take(arena.Chat)
    link.close()
    again = await peer.back(0)
    assert (await again.take(arena.Chat)).text == "1"


# Sending while there is no connection


async def test_what_is_sent_while_away_waits_in_order_and_the_latest_replaces(peer: Peer):
    client, link = await peer.resumable()
    link.close()
    await away(client)
    for number in range(50):
        await client.send(arena.Chat(text=str(number)))
        await client.send(arena.MouseEvent(x=number))
        client.send_soon(arena.MouseEvent(y=number))
    again = await peer.back(0)
    assert [(await again.take(arena.Chat)).text for _ in range(50)] == [str(n) for n in range(50)]
    assert (await again.take(arena.MouseEvent)).y == 49
    await client.send(arena.Chat(text="next"))
    assert (await again.take(arena.Chat)).text == "next"
    assert client._session.outbox.committed == 52


async def test_what_may_be_lost_is_dropped_while_away(peer: Peer):
    client, link = await peer.resumable()
    link.close()
    await away(client)
    await client._sender.send(4, b"", "UNRELIABLE")
    client._sender.send_soon(4, b"", "UNRELIABLE")
    await client.send(arena.Chat(text="kept"))
    again = await peer.back(0)
    assert (await again.take(arena.Chat)).text == "kept"


async def test_send_waits_when_the_buffer_is_full_and_send_soon_raises(peer: Peer):
    client, link = await peer.resumable()
    link.close()
    await away(client)
    for number in range(1024):
        await asyncio.wait_for(client.send(arena.Chat(text=str(number))), 1)
    with pytest.raises(tagwire.BufferFull, match=r"1024 messages.*; there is no connection"):
        client.send_soon(arena.Chat(text="too many"))
    waiting = asyncio.ensure_future(client.send(arena.Chat(text="1024")))
    cancelled = asyncio.ensure_future(client.send(arena.Chat(text="never")))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    cancelled.cancel()
    again = await peer.back(0)
    assert [int((await again.take(arena.Chat)).text) for _ in range(1025)] == list(range(1025))
    await soon(waiting)


async def test_a_mebibyte_is_all_that_waits(peer: Peer):
    client, link = await peer.resumable()
    link.close()
    await away(client)
    for _ in range(17):
        client._sender.send_soon(4, bytes(60_000), "ORDERED")
    with pytest.raises(tagwire.BufferFull, match="17 messages, 1020000 bytes"):
        client._sender.send_soon(4, bytes(60_000), "ORDERED")


async def test_who_waits_for_the_socket_when_it_breaks_has_sent_all_the_same(peer: Peer):
    client, link = await peer.resumable(reconnect=QUICK)
    count = await block(client, link)
    tasks = [asyncio.ensure_future(client.send(arena.Chat(text=f"behind {n}"))) for n in range(3)]
    await asyncio.sleep(0.01)
    assert not any(task.done() for task in tasks)
    link.writer.transport.abort()
    again = await peer.accept()
    await again.take(PlayerLogin)
    await soon(asyncio.gather(*tasks))  # they wait for the next connection now, and nobody for them
    forgotten = client._session.outbox.forgotten
    assert count > forgotten > 0
    again.send(resumable(resumed=True, frames_received=forgotten))
    texts = [(await again.take(arena.Chat)).text for _ in range(count - forgotten + 3)]
    assert texts[-3:] == ["behind 0", "behind 1", "behind 2"]
    assert all(text.startswith("fill") for text in texts[:-3])


async def test_requests_while_away_wait_in_their_place(peer: Peer):
    client, link = await peer.resumable(schema=ASKING)
    link.close()
    await away(client)
    tasks = [asyncio.ensure_future(client.request(Ask(text=str(n)), Answer)) for n in range(2)]
    await asyncio.sleep(0)
    async with client.batch() as batch:
        batched = batch.request(Ask(text="2"), Answer)
    joining = asyncio.ensure_future(client.join("b"))
    await asyncio.sleep(0)
    await client.send(ASKING.message("arena.v1.MouseEvent")(x=5))
    again = await peer.back(0)
    asked = [await again.take(Request), await again.take(Request)]
    (inside,) = (await again.take(Batch)).requests
    join = await again.take(Request)
    assert [one.key for one in (*asked, inside, join)] == [1, 2, 3, 4]
    assert JoinRoom.FromString(join.body).room == "b"
    await again.take(arena.MouseEvent)
    again.send(*(answer(one, one.key) for one in (*asked, inside)))
    again.send(Response(key=4, tag=248, body=JoinRoomReply(room="b").SerializeToString()))
    assert [(await soon(one)).points for one in (*tasks, batched)] == [1, 2, 3]
    assert await soon(joining) == "b"


async def test_the_time_of_a_request_runs_on_while_away_and_it_is_then_not_sent(peer: Peer):
    client, link = await peer.resumable(schema=ASKING)
    pending = asyncio.ensure_future(client.request(Ask(text="sent"), Answer, timeout=0.2))
    await link.take(Request)
    link.close()
    await away(client)
    with pytest.raises(
        tagwire.RequestTimeout, match=r"could not be sent within 0\.05 s, .*connection is lost"
    ) as no:
        await client.request(Ask(text="never"), Answer, timeout=0.05)
    assert not no.value.may_have_run
    cancelled = asyncio.ensure_future(client.request(Ask(text="cancelled"), Answer))
    await asyncio.sleep(0)
    cancelled.cancel()
    async with client.batch() as batch:
        early = batch.request(Ask(text="early"), Answer, timeout=0.02)
        late = batch.request(Ask(text="late"), Answer)
    with pytest.raises(tagwire.RequestTimeout, match="may have run") as maybe:
        await soon(early)  # for it will go with the other one
    assert maybe.value.may_have_run
    with pytest.raises(tagwire.RequestTimeout, match="was not answered") as sent:
        await soon(pending)
    assert sent.value.may_have_run
    assert len(client._sender.waiting) == 1
    again = await peer.back(1)
    got = await again.take(Batch)
    assert [Ask.FromString(one.body).text for one in got.requests] == ["early", "late"]
    again.send(answer(got.requests[1], 7))
    assert (await soon(late)).points == 7
    assert (client._sender._answers, client._sender._unsent) == ({}, {})


async def test_threads_send_on_while_connections_come_and_go(peer: Peer):
    client, link = await peer.resumable()
    failures: list[BaseException] = []

    def play(name: int) -> None:
        number = 0
        try:
            while number < 300:
                try:
                    client.send_soon(arena.Chat(text=f"{name} {number}"))
                    number += 1
                except tagwire.BufferFull:
                    pass
                time.sleep(0.0005)
        except BaseException as error:
            failures.append(error)

    def wait(name: int) -> None:
        async def send():
            for number in range(300):
                await client.send(arena.Chat(text=f"{name} {number}"))
                await asyncio.sleep(0.0005)

        try:
            asyncio.run(send())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=play if name < 2 else wait, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    got: list[str] = []
    cuts = 0
    while len(got) < 1200:
        for _ in range(min(100, 1200 - len(got))):
            got.append((await link.take(arena.Chat)).text)
        if len(got) < 1200:
            cuts += 1
            reset(link)
            link = await peer.back(len(got))
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert (failures, cuts) == ([], 11)
    for name in range(4):
        assert [text for text in got if text.startswith(f"{name} ")] == [f"{name} {n}" for n in range(300)]


# What is told


async def test_each_attempt_and_the_return_are_told_and_to_be_seen(peer: Peer):
    client, link = await peer.resumable(reconnect=tagwire.Reconnect(first_delay=0.02, jitter=0))
    told: list[object] = []
    for kind in (tagwire.Reconnecting, tagwire.Reconnected):
        client.on(kind, told.append)
    client.on(arena.Score, lambda message, sender: told.append(message.points))
    task = asyncio.ensure_future(client.run())
    assert client.reconnecting is None
    link.send(score(1))
    await until(lambda: told == [1])
    link.close()
    failing = await peer.accept()
    await failing.take(PlayerLogin)
    assert client.reconnecting == tagwire.Reconnecting(1, 0.02, "the connection ended without a Disconnect")
    failing.send(Disconnect(code=3003, reason="full", retry_after_ms=30))
    await until(lambda: client.reconnecting.attempt == 2)
    await peer.back(0, score(2))
    await until(lambda: len(told) == 5)
    assert client.reconnecting is None
    assert told == [
        1,
        tagwire.Reconnecting(1, 0.02, "the connection ended without a Disconnect"),
        tagwire.Reconnecting(2, pytest.approx(0.05), "full"),
        tagwire.Reconnected(resumed=True, attempts=2, lost=0),
        2,
    ]
    await client.close()
    await soon(task)


async def test_the_limit_of_a_new_session_holds_for_messages_that_were_sent_before(peer: Peer):
    client, link = await peer.resumable()
    await client.send(arena.Chat(text="a long line"))
    link.close()
    await new_session(peer, limits=Limits(max_frame_bytes=8))
    await until(lambda: client.reconnecting is None)
    with pytest.raises(ValueError, match="of 13 bytes, limit 8"):
        await client.send(arena.Chat(text="a long line"))


async def test_the_limit_of_a_new_session_holds_for_requests_that_were_asked_before(peer: Peer):
    client, link = await peer.resumable(schema=ASKING)
    for _ in range(2):
        with pytest.raises(tagwire.RequestTimeout):
            await client.request(Ask(text="a long line"), Answer, timeout=0.01)
    link.close()
    await new_session(peer, limits=Limits(max_frame_bytes=72))  # of which 64 are for what wraps it
    await until(lambda: client.reconnecting is None)
    with pytest.raises(ValueError, match="of 13 bytes, limit 8"):
        await client.request(Ask(text="a long line"), Answer)


async def test_without_handlers_it_is_logged_and_a_new_session_is_a_warning(peer: Peer, caplog):
    caplog.set_level(logging.INFO, "tagwire")
    client, link = await peer.resumable()
    link.close()
    link = await peer.back(0)
    await until(lambda: client.reconnecting is None and len(caplog.records) == 2)
    await client.send(arena.Chat(text="1"))
    link.close()
    await new_session(peer)
    await until(lambda: len(caplog.records) == 4)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    why = (
        "the connection is lost: the connection ended without a Disconnect; attempt 1 to reconnect comes in "
    )
    assert [level for level, _ in told] == ["INFO", "INFO", "INFO", "WARNING"]
    assert told[0][1].startswith(why)
    assert told[1][1] == "reconnected, attempt 1; the session goes on"
    assert told[3][1] == "reconnected, attempt 1, but to a new session; messages that may be lost: 1"
    assert "secret" not in caplog.text


async def test_the_token_is_not_shown(peer: Peer, caplog):
    caplog.set_level(logging.DEBUG)
    client, link = await peer.resumable()
    shown = [repr(client), repr(client.welcome), str(client.welcome)]
    link.close()
    await away(client)
    shown += [repr(client), repr(client.reconnecting)]
    again = await peer.accept()
    await again.take(PlayerLogin)
    again.send(resumable(protocol=2, resumed=True))
    with pytest.raises(tagwire.ConnectionClosed, match="protocol 2") as caught:
        await soon(next_of(client))
    shown += [str(caught.value), repr(caught.value.closed), repr(client), caplog.text]
    assert not any("secret" in text for text in shown)


# Right behind the first login


async def test_a_connection_that_is_lost_right_behind_welcome_is_made_again(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect(reconnect=QUICK)))
    link = await peer.accept()
    await link.take(PlayerLogin)
    link.send(resumable(), Disconnect(code=3002))
    client = await soon(task)
    again = await peer.back(0)
    await client.send(arena.Chat(text="1"))
    assert (await again.take(arena.Chat)).text == "1"


async def test_a_connect_that_is_cancelled_as_welcome_comes_leaves_nothing_open(peer: Peer, monkeypatch):
    task = asyncio.ensure_future(awaited(peer.connect(reconnect=QUICK)))
    link = await peer.accept()
    await link.take(PlayerLogin)
    real = tagwire.Client._handle_opened

    def cancel(self: tagwire.Client, event: Any) -> None:
        real(self, event)
        task.cancel()

    monkeypatch.setattr(tagwire.Client, "_handle_opened", cancel)
    link.send(resumable())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await link.take(Disconnect) == Disconnect()
    assert await link.eof()
    link.close()
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    assert peer.accepted.empty()


# Not at all, or not any more


async def test_it_can_be_turned_off(peer: Peer):
    client, link = await peer.resumable(reconnect=False)
    link.close()
    with pytest.raises(tagwire.ConnectionClosed) as caught:
        await soon(next_of(client))
    assert caught.value.code == tagwire.CloseCode.TIMEOUT
    assert client.reconnecting is None
    await asyncio.sleep(0.05)
    assert peer.accepted.empty()


async def test_the_first_connection_is_tried_once(peer: Peer):
    task = asyncio.ensure_future(awaited(peer.connect(reconnect=QUICK)))
    (await peer.accept()).close()
    with pytest.raises(tagwire.ConnectError):
        await soon(task)
    await asyncio.sleep(0.05)
    assert peer.accepted.empty()


@pytest.mark.parametrize("code", [3500, 3508, 4500])
async def test_an_end_that_advises_against_it_is_final(peer: Peer, code):
    client, link = await peer.resumable()
    link.send(Disconnect(code=code))
    with pytest.raises(tagwire.ConnectionClosed) as caught:
        await soon(next_of(client))
    assert caught.value.code == code
    assert client.closed is not None
    await asyncio.sleep(0.05)
    assert peer.accepted.empty()


async def test_a_login_that_is_refused_on_the_way_back_is_final(peer: Peer):
    client, link = await peer.resumable()
    link.close()
    again = await peer.accept()
    await again.take(PlayerLogin)
    again.send(Disconnect(code=3501, reason="the password was changed"))
    with pytest.raises(tagwire.ConnectionClosed, match="the password was changed"):
        await soon(next_of(client))
    assert await again.eof()


async def test_it_gives_up_after_a_while_and_says_how_often_it_tried(peer: Peer):
    policy = tagwire.Reconnect(first_delay=0.01, max_delay=0.05, give_up_after=0.3, jitter=0)
    client, link = await peer.resumable(reconnect=policy)
    waiting = asyncio.ensure_future(client.join("b", timeout=60))
    await link.take(Request)
    peer.server.close()
    began = time.monotonic()
    link.close()
    with pytest.raises(
        tagwire.ConnectionClosed, match=r"no connection came back in \d+ attempts and 0\.\d+ s: "
    ) as no:
        await soon(next_of(client))
    assert 0.25 < time.monotonic() - began < 2
    assert (no.value.code, no.value.retryable) == (tagwire.CloseCode.TIMEOUT, True)
    assert "Connection refused" in str(no.value)
    with pytest.raises(tagwire.ConnectionClosed) as caught:
        await soon(waiting)
    assert caught.value.may_have_run
    with pytest.raises(tagwire.ConnectionClosed):
        await client.send(arena.Chat(text="x"))
    assert client.reconnecting is None
    await soon(client.close())


async def test_it_gives_up_at_once_where_the_server_asks_for_more_time_than_there_is(peer: Peer):
    client, link = await peer.resumable(reconnect=tagwire.Reconnect(give_up_after=1.0))
    link.send(Disconnect(code=3000, reason="maintenance", retry_after_ms=60_000))
    with pytest.raises(tagwire.ConnectionClosed, match="maintenance; the server asks to wait 60 s"):
        await soon(next_of(client), 0.5)


async def test_a_login_that_is_not_answered_is_given_up_and_tried_again(peer: Peer):
    client, link = await peer.resumable(timeout=0.1)
    link.close()
    silent = await peer.accept()
    await silent.take(PlayerLogin)
    assert await silent.eof()
    await peer.back(0)
    await until(lambda: client.reconnecting is None)


async def test_an_attempt_does_not_follow_at_once_on_a_connection_that_broke_at_once(peer: Peer, monkeypatch):
    policy = tagwire.Reconnect(first_delay=0.05, jitter=0)
    client, link = await peer.resumable(reconnect=policy)
    delays = []
    client.on(tagwire.Reconnecting, lambda event: delays.append(event.delay))
    task = asyncio.ensure_future(client.run())
    for _ in range(3):
        link.close()
        link = await peer.back(0)
        await until(lambda: client.reconnecting is None)
    monkeypatch.setattr(reconnecting_module, "STABLE_SECONDS", 0.0)
    link.close()
    await peer.back(0)
    await until(lambda: len(delays) == 4)
    assert delays == [0.05, 0.05, 0.1, 0.05]
    await client.close()
    await soon(task)


# A new session


async def test_a_session_that_is_not_resumed_is_followed_by_a_new_one(peer: Peer):
    client, link = await peer.resumable(member(2, PRESENT, "Zoe"), schema=ASKING)
    told: list[object] = []
    client.on(tagwire.Reconnected, told.append)
    client.on(tagwire.MemberChanged, lambda event: told.append(event.member.name))
    task = asyncio.ensure_future(client.run())
    asking = asyncio.ensure_future(client.request(Ask(text="1"), Answer))
    await link.take(Request)
    link.close()
    await away(client)
    unsent = asyncio.ensure_future(client.request(Ask(text="2"), Answer))
    await asyncio.sleep(0)
    await client.send(ASKING.message("arena.v1.MouseEvent")(x=5))
    again = await new_session(peer, member(3, PRESENT, "Ann"), player_id=42, session_id=8, room="lobby")
    with pytest.raises(
        tagwire.ConnectionClosed, match=r"the session could not be resumed, .*may have run"
    ) as no:
        await soon(asking)
    assert no.value.may_have_run
    with pytest.raises(tagwire.ConnectionClosed, match="the session could not be resumed") as no:
        await soon(unsent)
    assert not no.value.may_have_run  # it was never sent
    await until(lambda: len(told) == 3)
    assert told == ["Zoe", tagwire.Reconnected(resumed=False, attempts=1, lost=3), "Ann"]
    assert (client.player_id, client.session_id, client.room) == (42, 8, "lobby")
    assert client.members == {3: tagwire.Member(3, "Ann")}
    assert client.closed is None
    third = asyncio.ensure_future(client.request(Ask(text="3"), Answer))
    request = await again.take(Request)  # the first that comes: nothing was left
    assert request.key == 3
    again.send(answer(request, 3))
    assert (await soon(third)).points == 3
    assert len(client._sender._answers) == len(client._sender._unsent) == 0
    await client.close()
    await soon(task)


async def test_a_server_that_stops_and_is_back_is_joined_after_the_time_it_asked_for(peer: Peer):
    client, link = await peer.resumable(schema=ASKING)
    asking = asyncio.ensure_future(client.request(Ask(text="1"), Answer))
    await link.take(Request)
    began = time.monotonic()
    link.send(Disconnect(code=3000, reason="restart", retry_after_ms=200))
    with pytest.raises(tagwire.ConnectionClosed, match="restart; the session cannot be resumed") as no:
        await soon(asking)
    assert (no.value.code, no.value.may_have_run) == (tagwire.CloseCode.SHUTDOWN, True)
    assert client.closed is None
    again = await peer.accept()
    assert time.monotonic() - began >= 0.2
    assert not (await again.take(PlayerLogin)).HasField("resume")
    again.send(resumable(session_id=9))
    await until(lambda: client.session_id == 9)


async def test_a_server_that_does_not_resume_is_joined_anew(peer: Peer):
    client, link = await peer.connected(reconnect=QUICK)
    await client.send(arena.Chat(text="1"))
    await link.take(arena.Chat)
    link.close()
    again = await peer.accept()
    assert not (await again.take(PlayerLogin)).HasField("resume")
    again.send(welcome(session_id=9))
    await until(lambda: client.session_id == 9)


async def test_a_guest_whose_session_is_gone_logs_in_anew(peer: Peer):
    client, link = await peer.resumable(username="", password="")
    link.close()
    refusing = await peer.accept()
    assert (await refusing.take(PlayerLogin)).resume.token == TOKEN
    refusing.send(Disconnect(code=3509, reason="no such session"))
    again = await peer.accept()
    assert not (await again.take(PlayerLogin)).HasField("resume")
    again.send(resumable(name="guest-7", session_id=9))
    await until(lambda: client.name == "guest-7")
    assert client.closed is None


async def test_a_server_that_wants_the_impossible_gets_a_violation_and_then_a_new_login(peer: Peer):
    client, link = await peer.resumable()
    link.close()
    again = await peer.back(5)
    assert (await again.take(Disconnect)).code == tagwire.CloseCode.VIOLATION
    again.close()
    last = await peer.accept()
    assert not (await last.take(PlayerLogin)).HasField("resume")
    last.send(resumable(session_id=9))
    await until(lambda: client.session_id == 9)
    assert client.closed is None


# Our own end


async def test_closing_while_away_returns_at_once(peer: Peer):
    client, link = await peer.resumable(reconnect=SLOW)
    link.close()
    await away(client)
    took = asyncio.ensure_future(all_of(client))
    sending = [asyncio.ensure_future(client.send(arena.Chat(text="x" * 1000))) for _ in range(1100)]
    await asyncio.sleep(0.01)
    began = time.monotonic()
    await client.close(4000, "bye")
    assert time.monotonic() - began < 0.5
    assert client.closed == tagwire.Closed(tagwire.CloseCode(4000), "bye")
    assert client.reconnecting is None
    assert await soon(took) == []
    results = await asyncio.gather(*sending, return_exceptions=True)
    assert {type(one) for one in results} == {type(None), tagwire.ConnectionClosed}
    await client.close()


@pytest.mark.parametrize("when", ["connecting", "login"])
async def test_closing_during_an_attempt_leaves_nothing_open(peer: Peer, when, monkeypatch):
    client, link = await peer.resumable()
    if when == "connecting":
        begun = asyncio.Event()

        async def never(*arguments: object, **options: object) -> None:
            begun.set()
            await asyncio.sleep(3600)

        monkeypatch.setattr("tagwire.connection.open_transport", never)
        link.close()
        await soon(begun.wait())
    else:
        link.close()
        again = await peer.accept()
        await again.take(PlayerLogin)
    began = time.monotonic()
    await client.close()
    assert time.monotonic() - began < 0.5
    assert asyncio.all_tasks() == {asyncio.current_task()}
    if when == "login":
        assert await again.eof()  # and no Disconnect, which would not be allowed there
    gc.collect()


async def test_a_handler_may_close_while_away(peer: Peer):
    client, link = await peer.resumable(reconnect=SLOW)

    @client.on(tagwire.Reconnecting)
    async def lost(event: tagwire.Reconnecting) -> None:
        await client.close()

    link.close()
    await soon(client.run())


async def test_a_cancelled_attempt_ends_the_client_instead_of_hanging_it(peer: Peer):
    client, link = await peer.resumable(timeout=60)
    waiting = asyncio.ensure_future(next_of(client))
    hang = asyncio.get_running_loop().create_future()

    async def never(*arguments: object, **options: object) -> None:
        await hang

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tagwire.connection.open_transport", never)
        link.close()
        await until(lambda: client._line._opening is not None)
        await asyncio.sleep(0.01)
        client._line._opening.cancel()
        with pytest.raises(tagwire.ConnectionClosed, match="its event loop is being stopped"):
            await soon(waiting)
    await soon(client.close())


async def test_a_fault_on_the_way_back_is_told_and_logged(peer: Peer, caplog):
    client, link = await peer.resumable()

    async def broken(*arguments: object, **options: object) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tagwire.connection.open_transport", broken)
        link.close()
        with pytest.raises(tagwire.ConnectionClosed, match="a bug") as caught:
            await soon(next_of(client))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_a_program_that_ends_while_away_leaves_nothing_behind():
    async def main(away_for: float):
        peer = Peer()
        await peer.start()
        client, link = await peer.resumable(reconnect=QUICK if away_for else SLOW)
        peer.server.close()
        link.close()
        await away(client)
        await asyncio.sleep(away_for)

    for seconds in (0.0, 0.05):
        asyncio.run(main(seconds))
        gc.collect()


async def test_a_client_that_is_behind_with_taking_is_closed_for_good(peer: Peer, monkeypatch):
    monkeypatch.setattr("tagwire.client.INBOX_MESSAGES", 10)
    client, link = await peer.resumable()
    link.send(*(score(n) for n in range(20)))
    await until(lambda: client.closed is not None)
    assert client.closed.code == tagwire.CloseCode.SLOW
    with pytest.raises(tagwire.ConnectionClosed, match="does not take"):
        await soon(all_of(client))
    await asyncio.sleep(0.05)
    assert peer.accepted.empty()


async def test_an_unknown_frame_counts_over_a_cut_as_well(peer: Peer):
    client, link = await peer.resumable(encode(200, b"?"), member(2, JOINED, "b"))
    await until(lambda: client.members)
    link.close()
    again = await peer.accept()
    assert (await again.take(PlayerLogin)).resume.frames_received == 2
