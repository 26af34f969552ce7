"""What several tests of the client share: small messages, and waiting for things."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import arena
import tagwire
from tagwire.frame import encode
from tagwire.gen.v1 import (
    Ping,
)
from tagwire.schema import Schema

PRESENT, JOINED, LEFT = 1, 2, 3

# The arena with Chat as the request of a service.
ASKING = Schema(
    name="arena",
    fingerprint=b"",
    descriptors=arena.SCHEMA.descriptors,
    rules=tuple(dataclasses.replace(rules, request=rules.tag == 4) for rules in arena.SCHEMA.rules),
)
Ask = ASKING.message("arena.v1.Chat")
Answer = ASKING.message("arena.v1.Score")


def score(points: int) -> bytes:
    return encode(6, arena.Score(points=points).SerializeToString())


async def awaited(awaitable):
    return await awaitable


async def next_of(client: tagwire.Client):
    return await anext(aiter(client))


async def all_of(client: tagwire.Client):
    return [message async for message in client]


async def until(condition, seconds: float = 5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def ping_answer(link):
    """Reads until an answer to a ping, past acknowledgements."""
    while True:
        frame = await link.frame()
        if frame.tag == 3 and Ping.FromString(frame.payload).sentEpoch:
            return


def forget(client: tagwire.Client, link) -> None:
    """Closes the sockets of a loop that was closed before them."""
    for transport in (client._connection._transport._transport, link.writer.transport):  # type: ignore[union-attr]
        transport._sock.close()
        transport._sock, transport._closing = None, True


async def block(client: tagwire.Client, link) -> int:
    """Lets the server read nothing and fills the way to it; gives how many messages are on it."""
    link.writer.transport.pause_reading()
    count = 0
    while client._connection.writable:
        await client.send(arena.Chat(text=f"fill {count:01000}"))
        count += 1
        await asyncio.sleep(0)
    return count
