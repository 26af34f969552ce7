"""A player who moves the mouse along a Lissajous curve, twenty times a second."""

from __future__ import annotations

import argparse
import asyncio
import math

import _demo  # first: it finds the two below
import arena
import tagwire

HERTZ = 20
WIDTH, HEIGHT = 1280, 720


async def play(arguments: argparse.Namespace) -> None:
    connecting = tagwire.connect(
        arguments.connect,
        username=arguments.name,
        password=arguments.password,
        schema=arena.SCHEMA,
        receive=False,  # this player only sends
    )
    async with connecting as client:
        print(f"in room {client.room} as {client.name}", flush=True)
        client.on(tagwire.Pinged, _demo.print_ping)
        running = asyncio.create_task(client.run())
        loop = asyncio.get_running_loop()
        start = loop.time()
        moves = 0
        while (elapsed := loop.time() - start) < arguments.seconds:
            x = WIDTH / 2 * (1 + math.sin(3 * elapsed))
            y = HEIGHT / 2 * (1 + math.sin(2 * elapsed))
            await client.send(arena.MouseEvent(x=round(x), y=round(y)))
            moves += 1
            await asyncio.sleep(start + moves / HERTZ - loop.time())
    await running  # closing has ended it
    print(f"moved {moves} times", flush=True)


if __name__ == "__main__":
    _demo.main("Moves the mouse along a curve.", "mover.py", play)
