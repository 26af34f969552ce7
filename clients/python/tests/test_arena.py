"""The example with an authoritative server, as a program: its players, and what room and services answer."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys

import coins
import pytest

import tagwire
from conftest import ROOT, Server, running, soon
from tagwire import CloseCode, Status
from test_server import next_of, until

ARENA = ROOT / "examples" / "arena"
PLAYER = ARENA / "client.py"
GAME_SECONDS = 50.0
"""What a player may take to win: ten coins, each at most 64 ticks away, at 20 ticks a second."""


@pytest.fixture
def server(arena_server: Server) -> Server:
    return arena_server


def connect(server: Server, name: str) -> tagwire.Connecting:
    return server.connect(name, schema=coins.SCHEMA)


async def next_message(client: tagwire.Client, kind: type):
    """The next message of this class, and its sender."""
    while True:
        message, sender = await next_of(client)
        if isinstance(message, kind):
            return message, sender


def towards_the_coin(world: coins.World, player: int) -> coins.Steer | None:
    """How this player should walk; None before it is there."""
    for pawn in world.pawns:
        if pawn.player == player:
            return coins.Steer(
                east=world.coin.east - pawn.place.east, south=world.coin.south - pawn.place.south
            )
    return None


# The players


def player(server: Server, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(PLAYER), "--connect", server.address, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_players_play_and_end_well(server: Server):
    # Nobody is further from the coin than 3.2 s.
    seconds = "--seconds", "6"
    with player(server, "--name", "zoe", *seconds) as zoe, player(server, "--name", "kit", *seconds) as kit:
        out = {}
        for name, process in ("zoe", zoe), ("kit", kit):
            out[name], err = process.communicate(timeout=40)
            assert (process.returncode, err) == (0, "")
    for name, text in out.items():
        assert text.startswith(f"plays in main as {name}\n")
        assert re.search(r"^(zoe|kit) has 1 of the coins$", text, re.MULTILINE), text
        assert f"\n{name}: hello\n" in text


def test_players_in_another_room_are_in_another_arena(server: Server):
    with player(server, "--name", "zoe", "--room", "forest", "--seconds", "1") as zoe:
        out, err = zoe.communicate(timeout=40)
        assert (zoe.returncode, err) == (0, "")
    assert out.startswith("plays in forest as zoe\n")


def test_a_player_without_a_server_says_so_in_one_line(server: Server):
    server.stop()
    with player(server) as process:
        out, err = process.communicate(timeout=40)
    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(rf"error: .*{re.escape(server.address)}.*\n", err)


def test_the_help_of_the_player_has_examples():
    done = subprocess.run([sys.executable, str(PLAYER), "--help"], capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stderr) == (0, "")
    assert "examples:\n  python examples/arena/client.py --name zoe\n" in done.stdout


# What the room and the server answer


async def test_the_room_and_the_server_answer_each_for_itself(server: Server):
    async with connect(server, "zoe") as zoe:
        best = await coins.Scores(zoe).best(coins.BestRequest())
        assert best == coins.BestReply()
        await zoe.send(coins.Steer(east=1, south=1))
        # The room takes both in the order in which they were sent.
        place = (await coins.Arena(zoe).dash(coins.DashRequest())).place
        assert min(place.east, place.south) >= 8
        world, sender = await next_message(zoe, coins.World)
        assert sender is None
        assert [pawn.player for pawn in world.pawns] == [zoe.player_id]


async def test_the_rules_of_the_game_say_no(server: Server):
    async with connect(server, "zoe") as zoe:
        with pytest.raises(tagwire.RequestFailed) as caught:
            await coins.Arena(zoe).dash(coins.DashRequest())
        assert caught.value.status == Status.ILLEGAL
        assert str(caught.value) == "coins.v1.DashRequest was answered with ILLEGAL: you stand still"
        assert not caught.value.may_have_run


async def test_who_is_out_of_breath_is_told_how_long(server: Server):
    async with connect(server, "zoe") as zoe:
        await zoe.send(coins.Steer(east=1))
        arena = coins.Arena(zoe)
        await arena.dash(coins.DashRequest())
        with pytest.raises(tagwire.RequestFailed) as caught:
            await arena.dash(coins.DashRequest())
        assert caught.value.status == Status.UNAVAILABLE
        assert caught.value.message == "you are out of breath"
        assert 0 < caught.value.retry_after <= 1
        ticks = round(caught.value.retry_after * 20)
        world, _ = await next_message(zoe, coins.World)
        rested = world.tick + ticks
        while world.tick < rested:
            world, _ = await next_message(zoe, coins.World)
        await arena.dash(coins.DashRequest())


async def test_a_batch_asks_the_room_and_the_server_in_order(server: Server):
    async with connect(server, "zoe") as zoe:
        await zoe.send(coins.Steer(east=1))
        async with zoe.batch() as batch:
            dashed = coins.Arena(batch).dash(coins.DashRequest())
            best = coins.Scores(batch).best(coins.BestRequest())
            again = coins.Arena(batch).dash(coins.DashRequest())
            last = coins.Scores(batch).best(coins.BestRequest())
        assert isinstance(await dashed, coins.DashReply)
        assert isinstance(await best, coins.BestReply)
        with pytest.raises(tagwire.RequestFailed) as caught:
            await again
        assert caught.value.message == "you are out of breath"  # the first was before it
        assert isinstance(await last, coins.BestReply)


async def test_a_batch_stops_at_the_first_error_where_it_is_told_to(server: Server):
    async with connect(server, "zoe") as zoe:
        async with zoe.batch(stop_on_error=True) as batch:
            best = coins.Scores(batch).best(coins.BestRequest())
            dashed = coins.Arena(batch).dash(coins.DashRequest())
            last = coins.Scores(batch).best(coins.BestRequest())
        assert isinstance(await best, coins.BestReply)
        with pytest.raises(tagwire.RequestFailed) as caught:
            await dashed
        assert caught.value.status == Status.ILLEGAL
        with pytest.raises(tagwire.RequestFailed) as caught:
            await last
        assert caught.value.status == Status.UNAVAILABLE
        assert not caught.value.may_have_run


# What the room lets pass, and what nobody takes


async def test_the_room_lets_a_line_pass_and_keeps_an_empty_one(server: Server):
    async with connect(server, "zoe") as zoe, connect(server, "kit") as kit:
        await zoe.send(coins.Chat(text="  "))
        await zoe.send(coins.Chat(text="hello"))
        for client in zoe, kit:
            line, sender = await next_message(client, coins.Chat)
            assert (line.text, sender.name) == ("hello", "zoe")


async def test_what_no_code_takes_is_noticed():
    # The same schema in a server without a game.
    with running(Server("--schema", str(ARENA / "proto"))) as server:
        async with connect(server, "zoe") as zoe:
            noticed: asyncio.Queue[tagwire.Noticed] = asyncio.Queue()
            zoe.on(tagwire.Noticed, noticed.put_nowait)
            task = asyncio.create_task(zoe.run())
            await zoe.send(coins.Steer(east=1))
            notice = await soon(noticed.get())
            assert (notice.reason.name, notice.name) == ("UNHANDLED", "coins.v1.Steer")
            for answer in (
                coins.Arena(zoe).dash(coins.DashRequest()),
                coins.Scores(zoe).best(coins.BestRequest()),
            ):
                with pytest.raises(tagwire.RequestFailed) as caught:
                    await answer
                assert caught.value.status == Status.UNKNOWN
        await soon(task)


# A whole game


async def test_a_game_of_a_sync_client_ends_its_room_for_all(server: Server):
    async with connect(server, "anna") as anna:
        ended: asyncio.Queue[tagwire.RoomEnded] = asyncio.Queue()
        anna.on(tagwire.RoomEnded, ended.put_nowait)
        task = asyncio.create_task(anna.run())
        with tagwire.connect_sync(
            server.address, username="zoe", password="welcome", schema=coins.SCHEMA
        ) as zoe:
            dashed, refused, over, best = [], [], [], []
            collected = []

            @zoe.on(coins.World)
            def seen(world: coins.World, _: tagwire.Member | None) -> None:
                steer = towards_the_coin(world, zoe.player_id)
                if steer is not None and not over:
                    zoe.send(steer)
                    if abs(steer.east) >= 8 and abs(steer.south) >= 8:
                        coins.Arena.Sync(zoe).dash(
                            coins.DashRequest(), dashed.append, on_error=refused.append
                        )

            @zoe.on(coins.Collected)
            def counted(event: coins.Collected, _: tagwire.Member | None) -> None:
                if event.player == zoe.player_id:  # a coin may fall at anna's feet
                    collected.append(event.coins)

            zoe.on(tagwire.RoomEnded, over.append)
            zoe.on(tagwire.Noticed, lambda _: None)  # a step that came after the end
            await until(lambda: zoe.sync(0.005) >= 0 and over, GAME_SECONDS)
            assert (over[0].room, over[0].reason) == ("main", "zoe has won")
            assert collected == list(range(1, 11))
            assert {error.status for error in refused} == {Status.UNAVAILABLE}
            assert (await soon(ended.get())) == over[0]
            assert (zoe.room, dict(zoe.members), anna.room, dict(anna.members)) == ("", {}, "", {})

            with pytest.raises(tagwire.RequestFailed) as caught:
                await coins.Arena(anna).dash(coins.DashRequest())
            assert caught.value.status == Status.UNAVAILABLE  # in no room
            coins.Scores.Sync(zoe).best(coins.BestRequest(), best.append)
            zoe.join("main", over.append)
            await until(lambda: zoe.sync(0.005) >= 0 and len(over) == 2)
            assert best == [coins.BestReply(name="zoe", coins=10)]
            assert await anna.join("main") == "main"
            # A new arena: nobody has coins.
            worlds: asyncio.Queue[coins.World] = asyncio.Queue()
            anna.on(coins.World, lambda world, _: worlds.put_nowait(world))
            while len((world := await soon(worlds.get())).pawns) < 2:
                pass
            assert sum(pawn.coins for pawn in world.pawns) <= 1
    await soon(task)
    assert anna.closed.code == CloseCode.NORMAL
