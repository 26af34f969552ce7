"""The client against the real server. `scripts/test` builds it and says where it is."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time

import pytest

import arena
import tagwire
from conftest import soon
from tagwire.ask import join_of


async def next_of(client: tagwire.Client):
    return await soon(anext(client.with_senders()))


async def until(condition, seconds: float = 5.0) -> None:
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.002)


def names(client: tagwire.Client) -> set[str]:
    return {member.name for member in client.members.values()}


async def test_a_login_is_welcomed(server):
    async with server.connect() as client:
        assert client.name == "player1"
        assert client.room == "main"
        assert client.player_id > 0
        assert client.session_id > 0
        assert client.welcome.protocol == 1
        assert client.welcome.verdict == tagwire.gen.v1.Verdict.SAME
        assert client.welcome.fingerprint == arena.SCHEMA.fingerprint
        assert client.server_time() == pytest.approx(time.time(), abs=2)
    assert client.closed == tagwire.Closed(tagwire.CloseCode.NORMAL)


async def test_a_wrong_password_is_refused_with_a_text_that_helps(server):
    with pytest.raises(tagwire.LoginRefused) as caught:
        await server.connect(password="wrong")
    assert caught.value.code == tagwire.CloseCode.LOGIN_REFUSED
    assert "the dev password is 'welcome' unless the server was told otherwise" in str(caught.value)
    assert "wrong" not in "".join(line for line in server.lines if "wrong name or password" not in line)


async def test_the_mouse_is_relayed_to_the_others_with_the_senders_name(server):
    async with server.connect("anna") as anna, server.connect("ben") as ben:
        for number in range(5):
            await anna.send(arena.MouseEvent(x=number, y=-number, left_click=True))
            message, sender = await next_of(ben)
            assert message == arena.MouseEvent(x=number, y=-number, left_click=True)
            assert sender == tagwire.Member(anna.player_id, "anna")
        await ben.send(arena.Chat(text="to all"))
        # Nothing of her own mouse came back to anna.
        assert await next_of(anna) == (arena.Chat(text="to all"), tagwire.Member(ben.player_id, "ben"))


async def test_chat_goes_to_all_the_sender_too(server):
    async with server.connect("anna") as anna, server.connect("ben") as ben, server.connect("cleo") as cleo:
        await until(lambda: names(ben) == {"anna", "cleo"})
        await ben.send(arena.Chat(text="hällo"))
        for client in (anna, ben, cleo):
            message, sender = await next_of(client)
            assert message == arena.Chat(text="hällo")
            assert (sender.id, sender.name) == (ben.player_id, "ben")


async def test_joining_the_room_one_is_in_forgets_nobody(server):
    with tagwire.connect_sync(
        server.address, username="sync", password="welcome", schema=arena.SCHEMA
    ) as client:
        async with server.connect("anna") as anna:
            await until(lambda: names(anna) == {"sync"})
            assert await anna.join("main") == "main"
            assert names(anna) == {"sync"}
            joined = []
            client.join("main", joined.append)
            await until(lambda: client.sync(0.005) >= 0 and joined == ["main"])
            assert [member.name for member in client.members.values()] == ["anna"]


async def test_rooms_are_worlds_of_their_own(server):
    async with server.connect("anna") as anna, server.connect("ben") as ben, server.connect("cleo") as cleo:
        await until(lambda: names(cleo) == {"anna", "ben"})
        assert await cleo.join("attic") == "attic"
        assert cleo.room == "attic"
        assert names(cleo) == set()
        await until(lambda: names(anna) == {"ben"})
        await anna.send(arena.Chat(text="below"))
        assert (await next_of(ben))[0] == arena.Chat(text="below")
        assert (await next_of(anna))[0] == arena.Chat(text="below")
        await cleo.send(arena.Chat(text="above"))
        assert (await next_of(cleo))[0] == arena.Chat(text="above")
        await ben.join("attic")
        await until(lambda: names(ben) == {"cleo"} and names(cleo) == {"ben"} and names(anna) == set())
        await ben.send(arena.Chat(text="here"))
        assert (await next_of(cleo))[0] == arena.Chat(text="here")
        heard = [anna._inbox.pop() for _ in range(len(anna._inbox))]
        assert [type(event) for event in heard] == [tagwire.MemberChanged]  # that ben has left


async def test_members_come_and_go(server):
    async with server.connect("anna") as anna:
        seen = []
        anna.on(tagwire.MemberChanged, lambda event: seen.append((event.member.name, event.change.name)))
        running = asyncio.ensure_future(anna.run())
        async with server.connect("ben") as ben:
            await until(lambda: names(anna) == {"ben"} and names(ben) == {"anna"})
        await until(lambda: names(anna) == set())
    await soon(running)
    assert seen == [("ben", "JOINED"), ("ben", "LEFT")]


async def test_a_room_without_a_name_is_refused(server):
    async with server.connect() as client:
        with pytest.raises(tagwire.RequestFailed) as caught:
            await client.join("")
        assert caught.value.status == tagwire.Status.INVALID
        assert client.room == "main"


async def test_pings_measure_the_round_trip(server):
    async with server.connect() as client:
        seen = []
        client.on(tagwire.Pinged, seen.append)
        running = asyncio.ensure_future(client.run())
        first = await soon(client.next_ping())
        second = await soon(client.next_ping())
        assert second.rtt is not None
        assert 0 < second.rtt < 1
        assert client.rtt == second.rtt
        assert client.jitter == second.jitter
        assert client.server_time() == pytest.approx(time.time(), abs=1)
    await soon(running)
    assert seen[:2] == [first, second]


async def test_pings_are_answered_while_the_application_takes_nothing(server):
    async with server.connect("anna") as anna, server.connect("ben") as ben:
        for number in range(60):
            await ben.send(arena.MouseEvent(x=number))
        pings = [await soon(anna.next_ping()) for _ in range(3)]
        assert pings[-1].rtt is not None
        assert (await next_of(anna))[0] == arena.MouseEvent(x=0)


async def test_close_is_idempotent_and_the_others_hear_of_it(server):
    async with server.connect("anna") as anna:
        ben = await server.connect("ben")
        await until(lambda: names(anna) == {"ben"})
        await asyncio.gather(*(ben.close(4000, "bye") for _ in range(5)))
        await ben.close()
        assert ben.closed == tagwire.Closed(tagwire.CloseCode(4000), "bye")
        await until(lambda: names(anna) == set())
        assert [message async for message in ben] == []
        with pytest.raises(tagwire.ConnectionClosed):
            await ben.send(arena.MouseEvent())


async def test_a_stopping_server_says_so(server):
    async with server.connect("anna", reconnect=False) as anna, server.connect("ben", reconnect=False) as ben:
        server.terminate()
        for client in (anna, ben):
            with pytest.raises(tagwire.ConnectionClosed) as caught:
                await next_of(client)
            assert caught.value.code == tagwire.CloseCode.SHUTDOWN
            assert caught.value.by_peer
            assert caught.value.retryable
            assert caught.value.retry_after > 0
    assert server.stop() == 0


async def test_the_newest_of_one_name_replaces_the_older(server):
    older = await server.connect("anna")
    with pytest.raises(tagwire.LoginRefused):
        await server.connect("anna", password="wrong")
    assert older.closed is None
    async with server.connect("anna") as newer:
        with pytest.raises(tagwire.ConnectionClosed, match="elsewhere") as caught:
            await next_of(older)
        assert caught.value.code == tagwire.CloseCode.REPLACED
        assert not caught.value.retryable
        assert newer.player_id != older.player_id
        await newer.send(arena.Chat(text="here"))
        assert (await next_of(newer))[0] == arena.Chat(text="here")
    await older.close()


async def test_threads_send_through_one_client(server):
    async with server.connect("anna") as anna, server.connect("ben") as ben:
        await until(lambda: names(anna) == {"ben"})

        def elsewhere(name: int) -> None:
            for number in range(10):
                anna.send_soon(arena.MouseEvent(x=name, y=number))

        threads = [threading.Thread(target=elsewhere, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        seen: dict[int, list[int]] = {name: [] for name in range(4)}
        for _ in range(40):
            message, sender = await next_of(ben)
            assert sender == tagwire.Member(anna.player_id, "anna")
            seen[message.x].append(message.y)
        assert all(numbers == list(range(10)) for numbers in seen.values())

        def loop_elsewhere() -> None:
            async def play():
                await anna.send(arena.Chat(text="from a thread"))

            asyncio.run(play())

        await asyncio.to_thread(loop_elsewhere)
        assert (await next_of(ben))[0] == arena.Chat(text="from a thread")


async def test_what_the_server_does_not_know_is_dropped_with_a_notice(server):
    rules = tuple(dataclasses.replace(rules, tag=rules.tag + 1000) for rules in arena.SCHEMA.rules)
    newer = tagwire.Schema(name="arena", fingerprint=b"", descriptors=arena.SCHEMA.descriptors, rules=rules)
    async with server.connect(schema=newer) as client:
        await client.send(newer.message("arena.v1.Chat")(text="what?"))
        with pytest.warns(tagwire.NoticeWarning, match=r"Chat: UNKNOWN, .*generate the stubs") as shown:
            await until(lambda: len(shown))
    async with server.connect(schema=newer) as client:
        seen = []
        client.on(tagwire.Noticed, seen.append)
        running = asyncio.ensure_future(client.run())
        await client.send(newer.message("arena.v1.Chat")(text="what?"))
        await until(lambda: seen)
        assert (seen[0].reason, seen[0].tag) == (tagwire.NoticeReason.UNKNOWN, 1004)
        assert seen[0].name == "arena.v1.Chat"
        assert client.closed is None
    await soon(running)


@pytest.mark.parametrize("stop", [False, True])
async def test_what_a_batch_asks_is_answered_one_by_one(server, stop):
    # The only requests that a server without services answers are changes of rooms.
    async with server.connect() as client:
        asks = [join_of(room, 2.0) for room in ("first", "", "last")]
        answers = [
            client._sender.answer(pending) for pending in await client._sender.post(asks, stop_on_error=stop)
        ]
        statuses = [tagwire.Status(response.status).name for response in await soon(asyncio.gather(*answers))]
        assert statuses == ["OK", "INVALID", "UNAVAILABLE" if stop else "OK"]
        assert client.room == ("first" if stop else "last")
        assert await client.join("after") == "after"


async def test_10000_messages_arrive_in_order(unlimited):
    async with unlimited.connect("anna") as anna, unlimited.connect("ben") as ben:
        await until(lambda: names(anna) == {"ben"})

        async def send_all() -> None:
            for number in range(10_000):
                await anna.send(arena.Chat(text=str(number)))

        async def take_all(client: tagwire.Client) -> list[int]:
            messages = aiter(client)
            return [int((await anext(messages)).text) for _ in range(10_000)]

        _, *taken = await soon(asyncio.gather(send_all(), take_all(anna), take_all(ben)), 60)
        assert taken == [list(range(10_000))] * 2


async def test_10000_requests_in_a_row_are_answered_in_order(unlimited):
    async with unlimited.connect() as client:
        for start in range(0, 10_000, 8):
            rooms = [str(number) for number in range(start, start + 8)]
            assert await asyncio.gather(*(client.join(room, timeout=10) for room in rooms)) == rooms
        assert client.room == "9999"
        assert client._session.outbox.committed == 10_000


async def test_many_clients_come_and_go_at_once(server):
    async def play(number: int) -> None:
        async with server.connect(f"player{number}") as client:
            await client.send(arena.MouseEvent(x=number))
            await soon(client.next_ping())

    await asyncio.gather(*(play(number) for number in range(50)))
