"""A player who watches: prints each move of the others, with the name of who made it."""

from __future__ import annotations

import argparse
import asyncio

import _demo  # first: it finds the two below
import arena
import tagwire


async def watch(client: tagwire.Client) -> None:
    async for message, sender in client.with_senders():
        match message:
            case arena.MouseEvent(x=x, y=y) if sender is not None:
                print(f"{sender.name} moved to {x}, {y}", flush=True)


async def play(arguments: argparse.Namespace) -> None:
    connecting = tagwire.connect(
        arguments.connect,
        username=arguments.name,
        password=arguments.password,
        schema=arena.SCHEMA,
    )
    async with connecting as client:
        print(f"in room {client.room} as {client.name}", flush=True)
        client.on_ping = _demo.print_ping
        watching = asyncio.create_task(watch(client))
        await asyncio.wait([watching], timeout=arguments.seconds)
    await watching  # closing has ended it; or it failed before, and says why


if __name__ == "__main__":
    _demo.main("Watches the others move.", "watcher.py", play)
