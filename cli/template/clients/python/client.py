"""A player without a screen: its pointer goes round and round, and it prints what the others do."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys

import tagwire

import my_game  # printed by scripts/gen, beside this file

TURN = 4.0  # seconds for one round
STEP = 0.05  # seconds between two points


def set_up(client: tagwire.Client) -> None:
    """Says what is done with what comes."""

    def name_of(player: int) -> str:
        if player == client.player_id:
            return client.name
        member = client.members.get(player)
        return member.name if member else f"player {player}"  # has left meanwhile

    @client.on(my_game.Chat)
    def said(line: my_game.Chat, sender: tagwire.Member | None) -> None:
        print(f"{sender.name if sender else 'the server'}: {line.text}", flush=True)

    @client.on(my_game.Point)
    def pointed(point: my_game.Point, sender: tagwire.Member | None) -> None:
        if sender is not None:
            print(f"{sender.name} points to {point.x}, {point.y}", flush=True)

    @client.on(my_game.Rolled)
    def rolled(roll: my_game.Rolled, _: tagwire.Member | None) -> None:
        print(f"{name_of(roll.player)} rolled {roll.eyes}", flush=True)

    @client.on(tagwire.MemberChanged)
    def changed(event: tagwire.MemberChanged) -> None:
        print(f"{event.member.name}: {event.change.name.lower()}", flush=True)


async def circle(client: tagwire.Client) -> None:
    """Moves the pointer for ever."""
    clock = asyncio.get_running_loop()
    while True:
        # By the player's number, so that no two are at one place.
        angle = clock.time() / TURN * math.tau + client.player_id
        x, y = 500 + 300 * math.cos(angle), 500 + 300 * math.sin(angle)
        await client.send(my_game.Point(x=round(x), y=round(y)))
        await asyncio.sleep(STEP)


async def play(address: str, name: str, password: str, room: str, seconds: float | None) -> None:
    async with tagwire.connect(address, username=name, password=password, schema=my_game.SCHEMA) as client:
        set_up(client)
        await client.join(room)
        print(f"in {client.room} as {client.name}", flush=True)
        await client.send(my_game.Chat(text=f"hello from {client.name}"))
        try:
            await my_game.Dice(client).roll(my_game.RollRequest())
        except tagwire.RequestFailed as error:
            print(f"no roll: {error.message}", flush=True)
        moving = asyncio.create_task(circle(client))
        try:
            await asyncio.wait_for(client.run(), seconds)
        except asyncio.TimeoutError:
            pass  # has played enough
        finally:
            moving.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Plays by itself, and prints what the others do.",
        epilog="examples:\n  scripts/play --name kit\n  scripts/play --name kit --seconds 10",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--connect", default="localhost:7777", metavar="ADDRESS", help="the server (default: %(default)s)")
    add("--name", default="python", help="name of the player (default: %(default)s)")
    add("--password", default="welcome", help="the player's (default: the one for development)")
    add("--room", default="main", help="which room to play in (default: %(default)s)")
    add("--seconds", type=float, help="how long to play (default: until it is stopped)")
    given = parser.parse_args()
    try:
        asyncio.run(play(given.connect, given.name, given.password, given.room, given.seconds))
    except tagwire.TagwireError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
