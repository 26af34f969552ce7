"""Sessions that are resumed by the real server, after the socket was killed under the client."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import Any

import pytest

import arena
import tagwire
from conftest import QUICK, Server, running, soon
from helpers import next_of, until
from tagwire.ask import join_of

ORDERS = 300
NOTICED = tagwire.Reconnect(first_delay=0.2, jitter=0)
"""Slow enough for the server to see that the connection is lost, before the next one takes its place."""


def kill(client: tagwire.Client, how: str) -> None:
    """Breaks the socket of a client."""
    transport: Any = client._connection._transport._transport  # type: ignore[union-attr]
    sock = transport.get_extra_info("socket")
    if how == "reset":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        transport.abort()
    elif how == "close":
        transport.abort()
    else:
        with contextlib.suppress(OSError):  # the other side has closed it already
            sock.shutdown(socket.SHUT_WR if how == "half" else socket.SHUT_RDWR)


WAYS = ["reset", "close", "half", "both"]


def told(client: tagwire.Client) -> list[tagwire.Reconnected]:
    """Where the returns of a client are noted. It must be `run`."""
    returns: list[tagwire.Reconnected] = []
    client.on(tagwire.Reconnected, returns.append)
    return returns


async def back(client: tagwire.Client, returns: list[tagwire.Reconnected], count: int = 1) -> None:
    await until(lambda: len(returns) == count and client.reconnecting is None)


@pytest.mark.parametrize("how", WAYS)
async def test_room_and_members_stay_and_the_others_see_away_and_back(server: Server, how):
    async with server.connect("anna", reconnect=NOTICED) as anna, server.connect("ben") as ben:
        changes: list[str] = []
        returns = told(anna)
        ben.on(
            tagwire.MemberChanged, lambda event: changes.append(f"{event.member.name} {event.change.name}")
        )
        tasks = [asyncio.create_task(client.run()) for client in (anna, ben)]
        await anna.join("attic")
        await ben.join("attic")
        await until(lambda: anna.members and len(changes) == 3)
        assert changes == ["anna PRESENT", "anna LEFT", "anna PRESENT"]
        who, session = anna.player_id, anna.session_id
        changes.clear()
        kill(anna, how)
        await back(anna, returns)
        await until(lambda: len(changes) == 2)
        assert changes == ["anna AWAY", "anna BACK"]
        assert returns == [tagwire.Reconnected(resumed=True, attempts=1, lost=0)]
        assert (anna.player_id, anna.session_id, anna.room) == (who, session, "attic")
        assert [member.name for member in anna.members.values()] == ["ben"]
        assert anna.members == {ben.player_id: tagwire.Member(ben.player_id, "ben")}
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("how", WAYS)
async def test_messages_come_once_and_in_order_over_many_cuts(unlimited: Server, how):
    async with (
        unlimited.connect("anna", reconnect=QUICK) as anna,
        unlimited.connect("ben", reconnect=QUICK) as ben,
    ):
        got: dict[str, list[int]] = {"anna": [], "ben": []}
        mouse: list[int] = []
        for client in (anna, ben):
            name = client.name

            def heard(message: arena.Chat, sender: tagwire.Member | None, name: str = name) -> None:
                assert sender is not None
                if sender.name != name:
                    got[name].append(int(message.text))

            client.on(arena.Chat, heard)
        ben.on(arena.MouseEvent, lambda message, sender: mouse.append(message.x))
        returns = {client.name: told(client) for client in (anna, ben)}
        tasks = [asyncio.create_task(client.run()) for client in (anna, ben)]
        await until(lambda: anna.members and ben.members)

        async def play(client: tagwire.Client) -> None:
            for number in range(ORDERS):
                await client.send(arena.Chat(text=str(number)))
                await client.send(arena.MouseEvent(x=number))
                if number % 20 == 10:
                    await asyncio.sleep(0.01)
                    if client.reconnecting is None:
                        kill(client, how)
                        await asyncio.sleep(0)

        await soon(asyncio.gather(play(anna), play(ben)), 30)
        await until(lambda: all(len(one) == ORDERS for one in got.values()), 10)
        await until(lambda: mouse and mouse[-1] == ORDERS - 1)
        assert got == {"anna": list(range(ORDERS)), "ben": list(range(ORDERS))}
        assert mouse == sorted(set(mouse))
        cuts = {name: len(one) for name, one in returns.items()}
        assert min(cuts.values()) >= 3
        assert all(one.resumed for each in returns.values() for one in each)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("how", WAYS)
async def test_requests_over_cuts_are_answered_once(unlimited: Server, how):
    async with unlimited.connect("anna", reconnect=QUICK) as anna:
        returns = told(anna)
        task = asyncio.create_task(anna.run())
        for number in range(40):
            joining = asyncio.create_task(anna.join(f"room {number}", timeout=10))
            if number % 4 != 3:
                await asyncio.sleep(0 if number % 2 else 0.0005)
            if anna.reconnecting is None:
                kill(anna, how)
            assert await soon(joining) == f"room {number}"
            assert anna.room == f"room {number}"
        await until(lambda: anna.reconnecting is None)
        assert len(returns) >= 20
        assert all(one.resumed for one in returns)
        assert anna.dropped.misplaced == 0
    await task


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_batch_over_a_cut_is_answered(server: Server, when):
    async with server.connect("anna", reconnect=QUICK) as anna:
        if when == "before":
            kill(anna, "reset")
        asks = [join_of(room, 5.0) for room in ("attic", "cellar")]
        pending = await anna._sender.post(asks, stop_on_error=False)
        if when == "after":
            await asyncio.sleep(0)
            kill(anna, "reset")
        responses = [await soon(anna._sender.answer(one)) for one in pending]
        assert [one.key for one in responses] == [1, 2]
        assert anna.room == "cellar"


async def test_what_came_while_away_comes_afterwards(server: Server):
    async with server.connect("anna", reconnect=NOTICED) as anna, server.connect("ben") as ben:
        await until(lambda: anna.members)
        kill(anna, "reset")
        await until(lambda: anna.reconnecting is not None)
        for number in range(4):
            await ben.send(arena.Chat(text=str(number)))
        assert [(await soon(next_of(anna))).text for _ in range(4)] == ["0", "1", "2", "3"]


async def test_a_game_loop_is_resumed(server: Server):
    def play() -> list[str]:
        heard: list[str] = []
        with tagwire.connect_sync(
            server.address, username="anna", password="welcome", schema=arena.SCHEMA, reconnect=QUICK
        ) as client:
            client.on(arena.Chat, lambda message, sender: heard.append(message.text))
            client.on(tagwire.Reconnected, lambda event: heard.append(f"resumed {event.resumed}"))
            for number in range(3):
                client.send(arena.Chat(text=str(number)))
                client._network.call_soon(kill, client._wire, "reset")
                deadline = time.monotonic() + 5
                while len(heard) < 2 * (number + 1) and time.monotonic() < deadline:
                    client.sync()
                    time.sleep(0.005)
        return heard

    heard = await asyncio.to_thread(play)
    assert sorted(heard) == ["0", "1", "2", "resumed True", "resumed True", "resumed True"]
    assert [one for one in heard if one.isdigit()] == ["0", "1", "2"]


async def test_a_client_that_went_away_and_closes_is_gone_after_its_window():
    with running(Server("--set", "limits.resume_window_ms=500")) as server:
        async with server.connect("ben") as ben:
            anna = await server.connect("anna", reconnect=tagwire.Reconnect(first_delay=60, jitter=0))
            await until(lambda: ben.members)
            kill(anna, "reset")
            await until(lambda: anna.reconnecting is not None)
            await anna.close()
            await until(lambda: not ben.members, 10)


async def test_a_session_that_is_over_by_then_is_followed_by_a_new_one(monkeypatch):
    monkeypatch.setattr("tagwire.reconnect.QUICK_SECONDS", 2.5)
    with running(Server("--set", "limits.resume_window_ms=50")) as server:
        late = tagwire.Reconnect(first_delay=2.5, jitter=0)
        async with server.connect("anna", reconnect=late) as anna:
            returns = told(anna)
            task = asyncio.create_task(anna.run())
            await anna.join("attic")
            kill(anna, "reset")
            await asyncio.sleep(0)
            await anna.send(arena.Chat(text="lost"))
            await back(anna, returns)
            assert (returns[0].resumed, returns[0].lost > 0) == (False, True)
            assert (anna.room, anna.members) == ("main", {})
            await anna.join("attic")
        await task


async def test_a_server_that_restarts_is_joined_again():
    first = Server()
    port = int(first.address.rpartition(":")[2])
    client = await first.connect("anna", reconnect=tagwire.Reconnect(first_delay=0.05, max_delay=0.1))
    returns = told(client)
    task = asyncio.create_task(client.run())
    await client.join("attic")
    assert await asyncio.to_thread(first.stop) == 0
    await until(lambda: client.reconnecting is not None)
    second = Server("--listen", f"127.0.0.1:{port}")
    with running(second):
        await back(client, returns)
        assert not returns[0].resumed
        assert client.room == "main"
        await client.send(arena.Chat(text="here"))
        await client.close()
    await task
