"""A player who watches: prints each move of the others, with the name of who made it."""

from __future__ import annotations

import argparse
import asyncio

import _demo  # first: it finds the two below
import arena
import tagwire


async def play(arguments: argparse.Namespace) -> None:
    connecting = tagwire.connect(
        arguments.connect,
        username=arguments.name,
        password=arguments.password,
        schema=arena.SCHEMA,
    )
    async with connecting as client:
        print(f"in room {client.room} as {client.name}", flush=True)
        client.on(tagwire.Pinged, _demo.print_ping)

        @client.on(arena.MouseEvent)
        def moved(message: arena.MouseEvent, sender: tagwire.Member | None) -> None:
            if sender is not None:
                print(f"{sender.name} moved to {message.x}, {message.y}", flush=True)

        running = asyncio.create_task(client.run())
        await asyncio.wait([running], timeout=arguments.seconds)
    await running  # closing has ended it; or it failed before, and says why


if __name__ == "__main__":
    _demo.main("Watches the others move.", "watcher.py", play)
