"""Measures one client once, in a process of its own: `tagwire` or the one by hand, beside the far end whose
port is given. Prints one line of JSON: messages, seconds, and the CPU time of this process in nanoseconds.

    measured.py WHO MEASURE PORT MESSAGES WARM_UP

With `tagwire` as with the other the same lines below are what the game does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

import bench
from bench import v1

BURST = 64
"""How many messages a game sends in one turn of the loop; the far end sends as many by one write."""


class Meter:
    """The time and the CPU time between two moments."""

    def begin(self) -> None:
        """From here on it counts."""
        self._seconds, self._cpu_ns = time.perf_counter(), time.process_time_ns()

    def end(self, messages: int) -> None:
        """Prints what came of it."""
        cpu_ns = time.process_time_ns() - self._cpu_ns
        seconds = time.perf_counter() - self._seconds
        print(json.dumps({"messages": messages, "seconds": seconds, "cpu_ns": cpu_ns}))


async def send(client: Any, messages: int) -> None:
    """Sends 64 messages in each turn of the loop."""
    for number in range(0, messages, BURST):
        for _ in range(BURST):
            await client.send(v1.Cast(sent_ns=123456789, number=number, kind=1))
        await asyncio.sleep(0)


async def measure_send(client: Any, messages: int, warm_up: int) -> None:
    """Sending."""
    meter = Meter()
    await send(client, warm_up)
    meter.begin()
    await send(client, messages)
    meter.end(messages)


async def measure_receive(client: Any, messages: int, warm_up: int) -> None:
    """Receiving with a handler."""
    meter = Meter()
    received = total = 0
    done = asyncio.get_running_loop().create_future()

    def on_cast(message: v1.Cast, sender: object) -> None:
        nonlocal received, total
        received += 1
        total += message.kind
        if received == warm_up:
            meter.begin()
        elif received == warm_up + messages:
            meter.end(messages)
            done.set_result(None)

    client.on(v1.Cast, on_cast)
    running = asyncio.ensure_future(client.run())
    await client.send(v1.Cast())  # the far end begins
    await done
    if total != received:
        raise RuntimeError(f"of {received} messages only {total} were read right")
    running.cancel()


async def ask(client: Any, messages: int) -> None:
    """Asks one time after the other."""
    for number in range(messages):
        reply = await client.request(v1.AskRequest(sent_ns=123456789, number=number, kind=1), v1.AskReply)
        if reply.number != number:
            raise RuntimeError(f"{number} was answered with {reply.number}")


async def measure_request(client: Any, messages: int, warm_up: int, window: int) -> None:
    """Asking, by so many tasks at once."""
    meter = Meter()
    await asyncio.gather(*(ask(client, warm_up // window) for _ in range(window)))
    meter.begin()
    await asyncio.gather(*(ask(client, messages // window) for _ in range(window)))
    meter.end(messages // window * window)


async def main() -> None:
    """Connects and measures."""
    who, measure, port, messages, warm_up = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
    client: Any
    if who == "tagwire":
        import tagwire

        client = await tagwire.connect(
            f"127.0.0.1:{port}", username="p1", password="welcome", schema=bench.SCHEMA
        )
    else:
        import by_hand

        client = await by_hand.connect(port)
    if measure == "send":
        await measure_send(client, messages, warm_up)
    elif measure.startswith("receive"):  # where the far end cuts it, too
        await measure_receive(client, messages, warm_up)
    else:
        await measure_request(client, messages, warm_up, int(measure.removeprefix("request, window ")))
    await client.close()


asyncio.run(main())
