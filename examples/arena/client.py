"""A player who plays by itself: runs for the coin, dashes if it is far, plays again when somebody has won."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

# So that it runs from a checkout; an installed game has its stubs in its own package.
_ARENA = Path(__file__).resolve().parent
sys.path[:0] = [str(_ARENA / "gen"), str(_ARENA.parents[1] / "clients" / "python")]

import coins  # noqa: E402  (found by the path above)
import tagwire  # noqa: E402

DASH_STEPS = 8


def set_up(client: tagwire.Client, room: str) -> None:
    """Says what is done with what comes."""
    clock = asyncio.get_running_loop()
    rested_at = 0.0

    def name_of(player: int) -> str:
        if player == client.player_id:
            return client.name
        member = client.members.get(player)
        return member.name if member else f"player {player}"  # has left meanwhile

    @client.on(coins.World)
    async def seen(world: coins.World, _: tagwire.Member | None) -> None:
        nonlocal rested_at
        me = next((pawn.place for pawn in world.pawns if pawn.player == client.player_id), None)
        if me is None:
            return
        ways = world.coin.east - me.east, world.coin.south - me.south
        east, south = ((way > 0) - (way < 0) for way in ways)
        await client.send(coins.Steer(east=east, south=south))
        far = all(way == 0 or abs(way) >= DASH_STEPS for way in ways) and ways != (0, 0)
        if far and clock.time() >= rested_at:
            try:
                place = (await coins.Arena(client).dash(coins.DashRequest())).place
                print(f"dashed to {place.east}, {place.south}", flush=True)
            except tagwire.RequestFailed as error:
                rested_at = clock.time() + error.retry_after

    @client.on(coins.Collected)
    def collected(event: coins.Collected, _: tagwire.Member | None) -> None:
        print(f"{name_of(event.player)} has {event.coins} of the coins", flush=True)

    @client.on(coins.Chat)
    def said(line: coins.Chat, sender: tagwire.Member | None) -> None:
        print(f"{sender.name if sender else 'the server'}: {line.text}", flush=True)

    @client.on(tagwire.RoomEnded)
    async def ended(event: tagwire.RoomEnded) -> None:
        best = await coins.Scores(client).best(coins.BestRequest())
        print(f"{event.reason}; the best so far is {best.name} with {best.coins}", flush=True)
        await client.join(room)
        print(f"plays again in {room}", flush=True)


async def play(address: str, name: str, password: str, room: str, seconds: float) -> None:
    async with tagwire.connect(address, username=name, password=password, schema=coins.SCHEMA) as client:
        set_up(client, room)
        await client.join(room)
        print(f"plays in {room} as {client.name}", flush=True)
        await client.send(coins.Chat(text="hello"))
        try:
            await asyncio.wait_for(client.run(), seconds)
        except asyncio.TimeoutError:
            pass  # has played enough


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Plays the arena by itself, and prints what happens.",
        epilog="examples:\n"
        "  python examples/arena/client.py --name zoe\n"
        "  python examples/arena/client.py --connect localhost:7777 --name kit --room forest --seconds 60",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--connect",
        default="localhost:7777",
        metavar="HOST:PORT",
        help="where the server listens (default: %(default)s)",
    )
    parser.add_argument("--name", default="player", help="name of the player (default: %(default)s)")
    parser.add_argument(
        "--password", default="welcome", help="password of the player (default: the one for development)"
    )
    parser.add_argument("--room", default="main", help="which arena to play in (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long to play (default: %(default)g)")
    given = parser.parse_args()
    try:
        asyncio.run(play(given.connect, given.name, given.password, given.room, given.seconds))
    except tagwire.TagwireError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
