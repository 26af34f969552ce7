"""Coming back after a lost connection, in a game loop: everything is told by `sync`, in its order."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from typing import Any

import pytest

import arena
import tagwire
from conftest import QUICK, TOKEN, Link, member, relayed, resumable
from helpers import ASKING, PRESENT, Answer, Ask, score
from tagwire.gen.v1 import (
    Batch,
    Disconnect,
    JoinRoomReply,
    Ping,
    PlayerLogin,
    Request,
    Response,
    Welcome,
)
from test_pump import Stage, network_threads, points, stage, until, waiting

__all__ = ["stage"]


def connected(stage: Stage, *data: Any, **options: Any) -> tuple[tagwire.SyncClient, Link]:
    async def admit() -> Link:
        link = await stage.peer.accept()
        await link.take(PlayerLogin)
        link.send(resumable(), *data)
        return link

    admitting = asyncio.run_coroutine_threadsafe(admit(), stage.loop)
    client = stage.connect(**{"reconnect": QUICK, **options})
    return client, admitting.result(10)


def back(stage: Stage, *data: Any, answer: Welcome | None = None) -> tuple[Link, PlayerLogin]:
    async def admit() -> tuple[Link, PlayerLogin]:
        link = await stage.peer.accept()
        login = await link.take(PlayerLogin)
        link.send(answer or resumable(resumed=True), *data)
        return link, login

    return stage.do(admit())


def close(stage: Stage, link: Link) -> None:
    stage.loop.call_soon_threadsafe(link.close)


def synced(client: tagwire.SyncClient, condition: Callable[[], object]) -> None:
    until(lambda: (client.sync(), condition())[1])


def test_a_game_goes_on_over_lost_connections(stage: Stage):
    client, link = connected(stage, points(range(3)))
    seen: list[int] = []
    client.on(arena.Score, lambda message, sender: seen.append(message.points))
    for cut in range(1, 6):
        synced(client, lambda: len(seen) == cut * 3 and client.reconnecting is None)  # noqa: B023
        close(stage, link)
        link, login = back(stage, points(range(cut * 3, cut * 3 + 3)))
        assert (login.resume.token, login.resume.frames_received) == (TOKEN, cut * 3)
        assert len(network_threads()) == 1
    synced(client, lambda: len(seen) == 18)
    assert seen == list(range(18))
    assert client.closed is None


def test_what_happens_is_told_by_sync_alone_and_in_order(stage: Stage):
    client, link = connected(stage, score(1))
    told: list[Any] = []

    def note(what: Any) -> None:
        told.append((what, client.reconnecting))

    client.on(arena.Score, lambda message, sender: note(message.points))
    client.on(tagwire.Reconnecting, note)
    client.on(tagwire.Reconnected, note)
    waiting(client, 1)
    close(stage, link)
    waiting(client, 2)
    back(stage, score(2))
    waiting(client, 4)
    assert (told, client.reconnecting) == ([], None)
    assert client.sync(1) == 4
    (one, nothing), (lost, shown), (returned, gone), (two, none) = told
    assert (one, two, nothing, gone, none) == (1, 2, None, None, None)
    assert isinstance(lost, tagwire.Reconnecting)
    assert lost.attempt == 1
    assert shown == lost
    assert returned == tagwire.Reconnected(resumed=True, attempts=1, lost=0)


def test_while_away_sending_never_waits_and_says_when_there_is_no_room(stage: Stage):
    client, link = connected(stage, reconnect=tagwire.Reconnect(first_delay=0.2, jitter=0))
    close(stage, link)
    synced(client, lambda: client.reconnecting)
    for number in range(1023):
        client.send(arena.Chat(text=str(number)))
        client.send(arena.MouseEvent(x=number))
    with pytest.raises(tagwire.BufferFull, match="there is no connection"):
        client.send(arena.Chat(text="too many"))
    again, _ = back(stage)
    for number in range(1023):
        assert stage.do(again.take(arena.Chat)).text == str(number)
    assert stage.do(again.take(arena.MouseEvent)).x == 1022


def test_pending_requests_and_joins_are_answered_once_after_a_resume(stage: Stage):
    client, link = connected(stage, member(2, PRESENT, "old"), schema=ASKING)
    seen: list[Any] = []
    client.request(Ask(text="?"), Answer, lambda reply: seen.append(reply.points))
    client.join("b", seen.append)
    asked, joining = stage.do(link.take(Request)), stage.do(link.take(Request))
    with client.batch() as batch:
        batch.request(Ask(text="!"), Answer, lambda reply: seen.append(reply.points))
    (inside,) = stage.do(link.take(Batch)).requests
    close(stage, link)
    synced(client, lambda: client.reconnecting)
    assert client.members  # as it was
    body = Answer(points=3).SerializeToString()
    reply = JoinRoomReply(room="b").SerializeToString()
    again, login = back(
        stage,
        Response(key=asked.key, tag=4, body=body),
        Response(key=asked.key, tag=4, body=body),
        answer=resumable(resumed=True, frames_received=1),
    )
    assert login.resume.frames_received == 1
    assert stage.do(again.take(Request)) == joining
    assert stage.do(again.take(Batch)).requests[0] == inside
    stage.send(again, Response(key=joining.key, tag=248, body=reply), member(3, PRESENT, "new"))
    stage.send(again, Response(key=inside.key, tag=4, body=body))
    synced(client, lambda: len(seen) == 3)
    assert seen == [3, "b", 3]
    assert (client.room, sorted(client.members)) == ("b", [3])


def test_a_request_of_a_game_that_is_away_is_not_sent_after_its_time(stage: Stage):
    client, link = connected(stage, schema=ASKING, reconnect=tagwire.Reconnect(first_delay=0.2, jitter=0))
    close(stage, link)
    synced(client, lambda: client.reconnecting)
    seen: list[Any] = []
    client.request(Ask(text="late"), Answer, seen.append, on_error=seen.append, timeout=0.05)
    client.request(Ask(text="in time"), Answer, lambda reply: seen.append(reply.points))
    synced(client, lambda: seen)
    assert isinstance(seen[0], tagwire.RequestTimeout)
    assert not seen[0].may_have_run
    again, _ = back(stage)
    request = stage.do(again.take(Request))
    assert Ask.FromString(request.body).text == "in time"
    stage.send(again, Response(key=request.key, tag=4, body=Answer(points=5).SerializeToString()))
    synced(client, lambda: len(seen) == 2)
    assert seen[1] == 5


def test_a_new_session_changes_what_the_game_sees_in_its_place(stage: Stage):
    client, link = connected(stage, member(2, PRESENT, "Zoe"))
    seen: list[Any] = []

    def note(what: Any) -> None:
        seen.append((what, client.room, sorted(client.members), client.player_id, client.name))

    client.on(tagwire.Reconnected, lambda event: note(event.resumed))
    client.on(arena.Score, lambda message, sender: note(message.points))
    client.join("b", note, on_error=lambda error: note((type(error), error.may_have_run)), timeout=60)
    client.join("c", timeout=60)
    for _ in range(2):
        stage.do(link.take(Request))
    stage.send(link, score(1), Ping(sentEpoch=1_800_000_000_000_000, rtt_us=20_000))
    waiting(client, 3)
    close(stage, link)
    answer = resumable(player_id=42, session_id=8, name="Ann", room="lobby")
    back(stage, member(3, PRESENT, "Bob"), score(2), answer=answer)
    waiting(client, 9)
    before = (client.room, client.player_id, client.session_id, client.name, client.rtt)
    assert before == ("main", 41, 7, "player1", None)
    with pytest.raises(tagwire.ConnectionClosed, match="the session could not be resumed"):
        client.sync(1)  # of the join that has no `on_error`; the client goes on
    assert client.closed is None
    client.sync(1)
    assert seen == [
        (1, "main", [2], 41, "player1"),
        ((tagwire.ConnectionClosed, True), "main", [2], 41, "player1"),
        (False, "lobby", [], 42, "Ann"),
        (2, "lobby", [3], 42, "Ann"),
    ]
    assert (client.session_id, client.rtt, client.welcome.room) == (8, None, "lobby")
    assert "secret" not in repr(client.welcome) + repr(client)


def test_a_server_that_stops_and_is_back_is_joined_again(stage: Stage):
    client, link = connected(stage)
    stage.send(link, Disconnect(code=3000, reason="restart", retry_after_ms=100))
    began = time.monotonic()
    _, login = back(stage, answer=resumable(session_id=9))
    assert time.monotonic() - began > 0.05
    assert not login.HasField("resume")
    synced(client, lambda: client.session_id == 9)


def test_it_can_be_turned_off_in_a_game_too(stage: Stage):
    client, link = connected(stage, reconnect=False)
    close(stage, link)
    with pytest.raises(tagwire.ConnectionClosed):
        synced(client, lambda: False)
    until(lambda: not network_threads())


def test_giving_up_ends_the_game_and_the_thread(stage: Stage):
    client, link = connected(stage, reconnect=tagwire.Reconnect(first_delay=0.01, give_up_after=0.1))
    seen: list[Any] = []
    client.join("b", on_error=seen.append, timeout=60)
    stage.do(link.take(Request))
    stage.loop.call_soon_threadsafe(stage.peer.server.close)
    close(stage, link)
    with pytest.raises(tagwire.ConnectionClosed, match="no connection came back in"):
        synced(client, lambda: False)
    assert [type(one) for one in seen] == [tagwire.ConnectionClosed]
    assert client.closed is not None
    assert client.reconnecting is None
    until(lambda: not network_threads())


def test_closing_while_away_returns_at_once_and_ends_the_thread(stage: Stage):
    client, link = connected(stage, reconnect=tagwire.Reconnect(first_delay=60, jitter=0))
    client.join("b")
    close(stage, link)
    synced(client, lambda: client.reconnecting)
    began = time.monotonic()
    client.close(4000, "bye")
    assert time.monotonic() - began < 0.5
    assert client.closed == tagwire.Closed(tagwire.CloseCode(4000), "bye")
    assert client.reconnecting is None
    assert client.sync() == 0
    assert not network_threads()
    gc.collect()


def test_members_of_the_room_are_told_as_the_stream_tells_them(stage: Stage):
    client, link = connected(stage, member(2, PRESENT, "Zoe"))
    seen: list[str] = []
    client.on(arena.Chat, lambda message, sender: seen.append(f"{sender.name}: {message.text}"))
    synced(client, lambda: client.members)
    close(stage, link)
    back(stage, relayed(2, arena.Chat(text="hi")), member(2, 3))
    synced(client, lambda: not client.members)
    assert seen == ["Zoe: hi"]
