"""Handlers of the asyncio client: when they are called, in what order, and what they may do wrong."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import hall
import pytest

import arena
import tagwire
from conftest import Peer, member, relayed, soon
from helpers import all_of, next_of, ping_answer, score, until
from tagwire import client as client_module
from tagwire import handlers as handlers_module
from tagwire import notice as notice_module
from tagwire.gen.v1 import Disconnect, JoinRoom, JoinRoomReply, Notice, Ping, Request, Response, RoomEnded
from test_pump import Stage, points, stage, waiting  # noqa: F401  `stage` is a fixture

PRESENT, JOINED, LEFT = 1, 2, 3


async def test_a_handler_gets_message_and_sender(peer: Peer):
    client, _ = await peer.connected(member(2, JOINED, "Zoe"), relayed(2, arena.Chat(text="hi")), score(3))
    seen = []

    @client.on(arena.Chat)
    def said(message: arena.Chat, sender: tagwire.Member | None) -> None:
        seen.append((message.text, sender))

    @client.on(arena.Score)
    async def scored(message: arena.Score, sender: tagwire.Member | None) -> None:
        await asyncio.sleep(0)
        seen.append((message.points, sender))

    running = asyncio.ensure_future(client.run())
    await until(lambda: len(seen) == 2)
    assert seen == [("hi", tagwire.Member(2, "Zoe")), (3, None)]
    await client.close()
    await soon(running)


async def test_what_has_no_handler_comes_out_of_iterating_and_all_of_it_in_order(peer: Peer):
    client, link = await peer.connected()
    seen: list[object] = []
    client.on(arena.Score, lambda message, sender: seen.append(message.points))
    client.on(tagwire.MemberChanged, lambda event: seen.append((event.member.name, event.change.name)))
    link.send(score(1), member(2, JOINED, "Zoe"), relayed(2, arena.Chat(text="a")), score(2))
    link.send(relayed(2, arena.Chat(text="b")), member(2, LEFT), Disconnect(code=0))
    async for message in client:
        seen.append(message.text)  # type: ignore[attr-defined]
    assert seen == [1, ("Zoe", "JOINED"), "a", 2, "b", ("Zoe", "LEFT")]


async def test_nothing_is_lost_that_came_before_the_handler(peer: Peer):
    client, _ = await peer.connected(
        member(2, PRESENT, "Zoe"), score(1), RoomEnded(room="main"), score(2), Disconnect(code=0)
    )
    await until(lambda: client.closed)
    seen: list[object] = []
    client.on(arena.Score, lambda message, sender: seen.append(message.points))
    client.on(tagwire.MemberChanged, lambda event: seen.append(event.member.name))
    client.on(tagwire.RoomEnded, lambda event: seen.append(event.room))
    await soon(client.run())
    assert seen == ["Zoe", 1, "main", 2]


async def test_a_client_that_only_sends_keeps_nothing_without_a_handler(peer: Peer, caplog):
    client, link = await peer.connected(receive=False)
    link.send(member(2, JOINED, "Zoe"), Ping(sentEpoch=1), RoomEnded(room="main"), score(1))
    await until(lambda: "the room main has ended" in caplog.text)
    assert len(client._inbox) == 0


async def test_run_counts_what_has_no_handler(peer: Peer):
    client, _ = await peer.connected(score(1), score(2), Disconnect(code=0))
    await soon(client.run())
    assert client.dropped.unhandled == 2


async def test_run_raises_why_the_session_ended_after_handling_what_came_before(peer: Peer):
    client, _ = await peer.connected(score(1), Disconnect(code=3508, reason="bye"))
    seen = []
    client.on(arena.Score, lambda message, sender: seen.append(message.points))
    with pytest.raises(tagwire.ConnectionClosed, match="KICKED"):
        await soon(client.run())
    assert seen == [1]


async def test_handlers_of_one_class_run_in_order_and_can_be_removed(peer: Peer):
    client, link = await peer.connected()
    seen = []

    @client.on(arena.Score)
    def first(message: arena.Score, sender: tagwire.Member | None) -> None:
        seen.append("first")
        client.off(arena.Score, first)  # the others of this message are called all the same

    client.on(arena.Score, lambda message, sender: seen.append("second"))
    link.send(score(1), score(2), relayed(2, arena.Chat()))
    await next_of(client)
    assert seen == ["first", "second", "second"]
    with pytest.raises(ValueError, match="is no handler of Score"):
        client.off(arena.Score, first)
    link.send(score(3), relayed(2, arena.Chat()))  # the other one is still there
    await next_of(client)
    assert seen == ["first", "second", "second", "second"]
    client.off(arena.Score)
    link.send(score(3))
    assert (await next_of(client)).points == 3


async def test_what_a_handler_raises_is_logged_and_ends_nothing(peer: Peer, caplog):
    client, _ = await peer.connected(score(1), score(2), Disconnect(code=0))
    seen = []

    @client.on(arena.Score)
    def broken(message: arena.Score, sender: tagwire.Member | None) -> None:
        raise KeyError(f"broken {message.points}")

    @client.on(arena.Score)
    async def broken_later(message: arena.Score, sender: tagwire.Member | None) -> None:
        raise KeyError(f"later {message.points}")

    client.on(arena.Score, lambda message, sender: seen.append(message.points))
    await soon(client.run())
    assert seen == [1, 2]
    for text in ("broken 1", "later 1", "broken 2", "later 2", "Traceback", "a handler failed: <function"):
        assert text in caplog.text


async def test_a_slow_handler_delays_neither_pings_nor_requests_and_keeps_the_order(peer: Peer):
    client, link = await peer.connected()
    seen, go = [], asyncio.Event()

    @client.on(arena.Score)
    async def slow(message: arena.Score, sender: tagwire.Member | None) -> None:
        seen.append(message.points)
        await go.wait()
        seen.append(-message.points)

    running = asyncio.ensure_future(client.run())
    link.send(score(1), score(2), Ping(sentEpoch=1))
    await soon(ping_answer(link))
    joining = asyncio.ensure_future(client.join("b"))
    request = await link.take(Request)
    link.send(Response(key=1, tag=request.tag, body=JoinRoomReply(room="b").SerializeToString()))
    assert await soon(joining) == "b"
    assert seen == [1]
    assert (len(client._inbox), client._inbox.bytes) == (1, len(score(2)))
    go.set()
    await until(lambda: len(seen) == 4)
    assert seen == [1, -1, 2, -2]
    await client.close()
    await soon(running)


@pytest.mark.parametrize("messages", [500, 2000])
async def test_many_handlers_leave_room_for_pings(peer: Peer, messages: int):
    client, link = await peer.connected()
    count = 0

    @client.on(arena.Score)
    def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        nonlocal count
        count += 1
        time.sleep(0.001)

    # Below 1024 they are queued together, above one by one.
    link.send(*(score(1) for _ in range(messages)))
    await until(lambda: len(client._inbox) == messages)
    running = asyncio.ensure_future(client.run())
    await until(lambda: count)
    link.send(Ping(sentEpoch=1))
    await soon(ping_answer(link))
    assert count < messages / 2
    running.cancel()


async def test_slow_handlers_behind_quick_ones_leave_the_loop_its_turns(peer: Peer):
    client, link = await peer.connected()
    slow = 0

    @client.on(arena.Score)
    def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        nonlocal slow
        if message.points >= 500:
            slow += 1
            time.sleep(0.002)

    link.send(*(score(number) for number in range(600)))
    await until(lambda: len(client._inbox) == 600)
    running = asyncio.ensure_future(client.run())
    seen = [0]
    while slow < 100:
        await asyncio.sleep(0)
        seen.append(slow)
    # At first also those that run unseen because the ones before were quick; then as many as fill 5 ms.
    most, *others = sorted((after - before for before, after in pairwise(seen)), reverse=True)
    assert most <= client_module.QUICK_HANDLERS + 3
    assert max(others) <= 3
    running.cancel()


async def test_what_was_replaced_while_it_waited_is_not_handled(peer: Peer, monkeypatch):
    monkeypatch.setattr(client_module, "INBOX_BEHIND", 4)
    client, link = await peer.connected()
    link.send(*(relayed(player, arena.MouseEvent(x=player)) for player in (2, 3, 4)))
    await until(lambda: len(client._inbox) == 3)
    link.send(*(relayed(player, arena.MouseEvent(x=10 + player)) for player in (2, 3, 4, 5)))
    await until(lambda: client.dropped.behind == 2)
    seen: list[int] = []
    client.on(arena.MouseEvent, lambda message, sender: seen.append(message.x))
    link.send(Disconnect(code=0))
    await soon(client.run())
    assert seen == [2, 12, 13, 14, 15]
    assert (len(client._inbox), client._inbox.bytes) == (0, 0)


async def test_a_handler_that_is_never_done_is_bounded_as_not_receiving_is(peer: Peer, monkeypatch):
    monkeypatch.setattr(client_module, "INBOX_MESSAGES", 10)
    client, link = await peer.connected()

    @client.on(tagwire.MemberChanged)
    async def stuck(event: tagwire.MemberChanged) -> None:
        await asyncio.Event().wait()

    running = asyncio.ensure_future(client.run())
    link.send(*(member(number, JOINED, "x") for number in range(2, 20)))
    await until(lambda: client.closed)
    assert client.closed.code == tagwire.CloseCode.SLOW
    assert "iterate or run the client" in client.closed.reason
    running.cancel()


async def test_pings_and_notices_that_wait_for_a_slow_handler_make_room(peer: Peer, monkeypatch):
    monkeypatch.setattr(client_module, "INBOX_MESSAGES", 10)
    monkeypatch.setattr(client_module, "INBOX_BEHIND", 4)
    client, link = await peer.connected()
    pings, notices = [], []
    client.on(tagwire.Pinged, pings.append)
    client.on(tagwire.Noticed, notices.append)
    for number in range(1, 50):
        link.send(Ping(sentEpoch=number * 1_000_000), Notice(tag=number))
    await until(lambda: client.dropped.behind >= 90)
    assert client.closed is None
    link.send(Disconnect(code=0))
    await soon(client.run())
    assert pings[-1].server_time == 49.0
    assert [notice.tag for notice in notices] == [1, 2]


async def test_a_handler_can_neither_iterate_nor_run_its_client(peer: Peer, caplog):
    client, _ = await peer.connected(score(1), Disconnect(code=0))

    @client.on(arena.Score)
    async def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        await client.run()

    await soon(client.run())
    assert "a handler can neither iterate nor run the client" in caplog.text


async def test_a_handler_may_send_ask_and_close(peer: Peer):
    client, link = await peer.connected(score(1))

    @client.on(arena.Score)
    async def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        await client.send(arena.Chat(text="thanks"))
        await client.join("b")
        await client.close()

    running = asyncio.ensure_future(client.run())
    assert (await link.take(arena.Chat)).text == "thanks"
    request = await link.take(Request)
    link.send(Response(key=1, tag=request.tag, body=JoinRoomReply(room="b").SerializeToString()))
    await link.take(Disconnect)
    await soon(running)


async def test_two_tasks_that_take_never_run_two_handlers_at_once(peer: Peer):
    client, _ = await peer.connected(*(score(number) for number in range(20)), Disconnect(code=0))
    seen = []

    @client.on(arena.Score)
    async def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        seen.append(message.points)
        await asyncio.sleep(0)
        seen.append(message.points)

    await soon(asyncio.gather(client.run(), all_of(client)))
    assert seen == [number for number in range(20) for _ in range(2)]


async def test_cancelling_run_loses_nothing_that_waits(peer: Peer):
    client, _ = await peer.connected(score(1), score(2), Disconnect(code=0))
    seen, stuck = [], asyncio.Event()

    @client.on(arena.Score)
    async def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        seen.append(message.points)
        if message.points == 1:
            await stuck.wait()

    running = asyncio.ensure_future(client.run())
    await until(lambda: seen)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await soon(client.run())
    assert seen == [1, 2]


async def test_a_handler_that_cancels_run_leaves_what_waits(peer: Peer):
    client, _ = await peer.connected(*(score(number) for number in range(5)), Disconnect(code=0))
    await until(lambda: len(client._inbox) == 5)
    seen = []

    @client.on(arena.Score)
    def handle(message: arena.Score, sender: tagwire.Member | None) -> None:
        seen.append(message.points)
        if message.points == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await soon(client.run())
    assert (seen, len(client._inbox), client._inbox.bytes) == ([0, 1, 2, 3], 1, len(score(4)))
    await soon(client.run())
    assert (seen, len(client._inbox), client._inbox.bytes) == ([0, 1, 2, 3, 4], 0, 0)


async def test_what_cannot_be_handled_is_refused(peer: Peer):
    client, _ = await peer.connected()
    with pytest.raises(TypeError, match="not in the schema"):
        client.on(Ping, lambda message, sender: None)
    with pytest.raises(TypeError, match="not a message"):
        client.on(tagwire.Closed, lambda event: None)  # type: ignore[type-var]
    with pytest.raises(TypeError, match="must be callable"):
        client.on(arena.Score, "print")  # type: ignore[call-overload]
    deaf, _ = await peer.connected(receive=False)
    with pytest.raises(ValueError, match="receive=False"):
        deaf.on(arena.Score, lambda message, sender: None)
    deaf.on(tagwire.Pinged, lambda ping: None)
    guest, _ = await peer.connected(schema=hall.SCHEMA)
    with pytest.raises(ValueError, match="RenameRequest is never sent to a client"):
        guest.on(hall.RenameRequest, lambda message, sender: None)


# Events


async def test_a_client_that_only_sends_handles_events(peer: Peer):
    client, link = await peer.connected(receive=False)
    seen: list[object] = []
    client.on(tagwire.Pinged, seen.append)
    client.on(tagwire.MemberChanged, seen.append)
    link.send(Ping(sentEpoch=5_000_000, rtt_us=1500, jitter_us=100), score(1), member(2, JOINED, "b"))
    link.send(Disconnect(code=0))
    await soon(client.run())
    joined = tagwire.MemberChanged(tagwire.Member(2, "b"), tagwire.MemberChange.JOINED)
    assert seen == [tagwire.Pinged(0.0015, 0.0001, 5.0), joined]
    assert client.dropped.behind == 1


async def test_a_notice_is_a_warning_that_says_what_to_do(peer: Peer):
    client, link = await peer.connected()
    link.send(Notice(reason=4, tag=4, text="5/s"), Notice(reason=99, tag=77), score(1))  # type: ignore[arg-type]
    with pytest.warns(tagwire.NoticeWarning) as shown:
        await soon(next_of(client))
    assert [str(one.message) for one in shown] == [
        "the server dropped arena.v1.Chat: RATE_LIMITED, 5/s; send it less often, or raise its `max_rate` or "
        "the server's limit",
        "the server dropped a message with tag 77: 99",
    ]
    warning = shown[0].message
    assert isinstance(warning, tagwire.NoticeWarning)
    assert warning.notice.reason == tagwire.NoticeReason.RATE_LIMITED


async def test_a_notice_with_a_handler_is_no_warning(peer: Peer):
    client, link = await peer.connected()
    seen: list[tagwire.Noticed] = []
    client.on(tagwire.Noticed, seen.append)
    link.send(Notice(reason=1, tag=99, text="what?"), score(1))  # type: ignore[arg-type]
    await soon(next_of(client))  # warnings are errors in these tests
    assert [(notice.reason.name, notice.tag, notice.text) for notice in seen] == [("UNKNOWN", 99, "what?")]
    link.send(Notice(tag=4), score(2))
    await until(lambda: len(client._inbox) == 2)
    client.off(tagwire.Noticed)
    with pytest.warns(tagwire.NoticeWarning):  # nobody would hear of it otherwise
        await soon(next_of(client))


async def test_a_notice_that_was_made_an_error_is_told_by_the_loop_and_ends_nothing(peer: Peer):
    client, link = await peer.connected()
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context["exception"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error", tagwire.NoticeWarning)
        link.send(Notice(tag=4), score(1))
        await soon(next_of(client))
    assert [type(error) for error in told] == [tagwire.NoticeWarning]
    assert client.closed is None


async def test_a_server_cannot_flood_a_developer(peer: Peer, monkeypatch, caplog):
    now = 1000.0
    monkeypatch.setattr(handlers_module.time, "monotonic", lambda: now)
    monkeypatch.setattr(notice_module, "MAX_SHOWN", 5)
    fallback = handlers_module.Fallback()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("default")  # also forgets what was shown
        for number in range(30):
            if number == 20:
                now += 3
            fallback(tagwire.Noticed(tagwire.NoticeReason.INVALID, number, "", "x" * 100_000))
            assert len(notice_module._shown) <= 6  # one is Python's own
    assert len(shown) == 10 + 3
    assert all(len(str(one.message)) < 400 for one in shown)
    fallback(tagwire.RoomEnded("main", ""))
    assert caplog.text == ""


async def test_without_set_up_a_developer_sees_each_notice_once():
    code = (
        "import tagwire\nfrom tagwire.notice import warn_of\n"
        "for tag in (4, 4, 5): warn_of(tagwire.Noticed(tagwire.NoticeReason.INVALID, tag, 'a.B', str(tag)))"
    )
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{code}"]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
    errors = (await soon(process.communicate()))[1].decode()
    assert errors.count("NoticeWarning: the server dropped a.B: INVALID, 4; it breaks a rule") == 1
    assert errors.count("NoticeWarning: the server dropped a.B: INVALID, 5; it breaks a rule") == 1


async def test_a_room_that_ends_leaves_the_player_in_none_until_it_joins_one(peer: Peer, caplog):
    client, link = await peer.connected(member(2, PRESENT, "old"), RoomEnded(room="main", reason="over"))
    await until(lambda: client.room == "")
    assert not client.members
    link.send(score(0))
    await soon(next_of(client))
    assert "the room main has ended: over; join another one" in caplog.text
    seen: list[object] = []
    client.on(tagwire.RoomEnded, seen.append)
    joining = asyncio.ensure_future(client.join("b"))
    request = await link.take(Request)
    assert JoinRoom.FromString(request.body).room == "b"
    link.send(Response(key=1, tag=248, body=JoinRoomReply(room="b").SerializeToString()))
    assert await soon(joining) == client.room == "b"
    link.send(member(3, PRESENT, "new"), RoomEnded(room="b", reason="again"), score(1))
    await soon(next_of(client))
    assert seen == [tagwire.RoomEnded("b", "again")]


# In a game loop


def test_sync_calls_the_handlers_of_one_class_in_order(stage: Stage):  # noqa: F811
    client, link = stage.connected()
    seen: list[str] = []

    @client.on(arena.Score)
    def first(message: arena.Score, sender: tagwire.Member | None) -> None:
        seen.append("first")

    client.on(arena.Score, lambda message, sender: seen.append("second"))

    def arrive() -> int:
        stage.send(link, score(1))
        waiting(client, 1)
        return client.sync(1)

    assert (arrive(), seen) == (2, ["first", "second"])
    client.off(arena.Score, first)
    assert (arrive(), seen) == (1, ["first", "second", "second"])
    client.off(arena.Score)
    assert client.dropped.unhandled == 0
    assert arrive() == 0
    assert client.dropped.unhandled == 1


def test_what_cannot_be_a_handler_of_sync_is_refused(stage: Stage):  # noqa: F811
    client, _ = stage.connected()

    async def later(message: arena.Score, sender: object) -> None: ...

    with pytest.raises(TypeError, match="not in the schema"):
        client.on(Ping, lambda message, sender: None)
    with pytest.raises(TypeError, match="must be callable"):
        client.on(arena.Score, "print")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="must be a plain function, for nothing awaits it"):
        client.on(arena.Score, later)


def test_of_several_handlers_that_raise_the_first_comes_out_and_the_rest_is_logged(stage: Stage, caplog):  # noqa: F811
    client, _ = stage.connected(points(range(2)))
    seen: list[int] = []

    @client.on(arena.Score)
    def first(message: arena.Score, sender: object) -> None:
        raise KeyError("first")

    @client.on(arena.Score)
    def second(message: arena.Score, sender: object) -> None:
        seen.append(message.points)
        raise KeyError("second")

    waiting(client, 2)
    with pytest.raises(KeyError, match="first"):
        client.sync(1)
    assert seen == [0]
    assert "KeyError: 'second'" in caplog.text
    client.off(arena.Score, first)
    with pytest.raises(KeyError, match="second"):
        client.sync(1)


def test_after_a_handler_has_closed_no_other_runs(stage: Stage):  # noqa: F811
    client, _ = stage.connected(score(1))
    seen: list[int] = []
    client.on(arena.Score, lambda message, sender: client.close())
    client.on(arena.Score, lambda message, sender: seen.append(1))
    waiting(client, 1)
    client.sync(1)
    assert seen == []


def test_a_notice_without_a_handler_is_a_warning_of_sync(stage: Stage):  # noqa: F811
    client, _ = stage.connected(Notice(reason=4, tag=4, text="5/s"), Notice(reason=4, tag=4, text="6/s"))
    waiting(client, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", tagwire.NoticeWarning)
        with pytest.raises(
            tagwire.NoticeWarning, match=r"dropped arena\.v1\.Chat: RATE_LIMITED, 5/s; send it"
        ):
            client.sync(1)
    with pytest.warns(tagwire.NoticeWarning, match="6/s"):
        assert client.sync(1) == 0


def test_a_room_that_ends_leaves_the_player_in_none_at_its_turn(stage: Stage, caplog):  # noqa: F811
    client, link = stage.connected(
        member(2, PRESENT, "Zoe"), score(1), RoomEnded(room="main", reason="over"), score(2)
    )
    seen: list[Any] = []
    client.on(arena.Score, lambda message, sender: seen.append((client.room, len(client.members))))
    waiting(client, 4)
    assert client.sync(1) == 2
    assert seen == [("main", 1), ("", 0)]
    assert "the room main has ended: over" in caplog.text
    caplog.clear()
    client.on(tagwire.RoomEnded, seen.append)
    client.join("attic", seen.append)
    request = stage.do(link.take(Request))
    reply = JoinRoomReply(room="attic").SerializeToString()
    stage.send(link, Response(key=1, tag=request.tag, body=reply), RoomEnded(room="attic"))
    waiting(client, 3)
    assert client.sync(1) == 2
    assert seen[2:] == ["attic", tagwire.RoomEnded("attic", "")]
    assert (client.room, caplog.text) == ("", "")


# Types


RIGHT = """
import arena, tagwire

def wire(client: tagwire.Client, game: tagwire.SyncClient) -> None:
    @client.on(arena.Chat)
    async def said(message: arena.Chat, sender: tagwire.Member | None) -> None: ...

    @game.on(tagwire.RoomEnded)
    def ended(event: tagwire.RoomEnded) -> None: ...

    client.on(arena.Chat, lambda message, sender: print(message.text, sender and sender.name))
    game.on(tagwire.Pinged, lambda ping: print(ping.rtt))
    client.off(arena.Chat, said)
"""
WRONG = """
import arena, tagwire

def wire(client: tagwire.Client, game: tagwire.SyncClient) -> None:
    @client.on(arena.Chat)
    def said(message: arena.Score, sender: tagwire.Member | None) -> None: ...
    client.on(arena.Chat, lambda message: print(message))
    game.on(arena.Chat, lambda message, sender: print(message.points))
    game.on(tagwire.Closed, print)
"""


def test_the_types_of_handlers_are_checked(tmp_path: Path):
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG)
    config = Path(__file__).parents[1] / "pyproject.toml"
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file",
        config,
        "--cache-dir",
        tmp_path / "c",
    ]
    done = subprocess.run([*command, "right.py", "wrong.py"], capture_output=True, text=True, cwd=tmp_path)
    lines = sorted({line.split(": error")[0] for line in done.stdout.splitlines() if ": error" in line})
    assert lines == ["wrong.py:5", "wrong.py:7", "wrong.py:8", "wrong.py:9"], done.stdout
