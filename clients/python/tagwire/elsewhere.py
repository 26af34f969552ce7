"""Calls of a client from other event loops than its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["run_on"]

CHECK_SECONDS = 1.0
"""How often it is looked whether the other loop still lives."""

_T = TypeVar("_T")


async def run_on(
    loop: asyncio.AbstractEventLoop, call: Callable[[], Coroutine[Any, Any, _T]], stopped: Callable[[], _T]
) -> _T:
    """Runs a coroutine on its own loop, awaited on another one. Where that loop was stopped, gives what
    `stopped` gives, or raises what it raises. A cancellation goes over."""
    future: concurrent.futures.Future[_T]

    async def run() -> _T:
        try:
            return await call()
        except asyncio.CancelledError:
            if future.cancelled():  # by who awaits it
                raise
            return stopped()

    work = run()
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:  # the loop is closed
        work.close()
        return stopped()
    waiting = asyncio.wrap_future(future)
    try:
        while not waiting.done():
            # A loop that was stopped between taking the call and running it never answers.
            await asyncio.wait([waiting], timeout=CHECK_SECONDS)
            if loop.is_closed() and not waiting.done():
                return stopped()
        return waiting.result()
    finally:
        waiting.cancel()
