"""A request on its way: what is asked, what was sent, and what it fails with when its time is over."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from .errors import RequestTimeout
from .gen.v1 import Response, Status

__all__ = ["Ask", "Pending", "not_answered", "not_sent"]


class Ask(NamedTuple):
    """A request to be sent."""

    tag: int
    body: bytes
    name: str
    """How its failures call it."""
    timeout: float
    """Seconds, from when it is handed over to be sent."""


class Pending(NamedTuple):
    """A request that was sent."""

    key: int
    ask: Ask
    deadline: float
    """When its time is over, on the clock of the loop."""
    answer: asyncio.Future[Response]
    """Done when it was answered, when its time is over, and when the session has ended."""


def not_sent(ask: Ask, waited: float) -> RequestTimeout:
    """What a request fails with that found no room on the way to the server within some seconds."""
    text = (
        f"{ask.name} could not be sent within {waited:g} s, so it has not run; the server takes messages "
        "slower than they are sent"
    )
    return RequestTimeout(ask.name, Response(tag=ask.tag, status=Status.TIMEOUT, message=text), text)


def not_answered(ask: Ask) -> RequestTimeout:
    """What a request fails with that was sent and not answered within its time."""
    why = f"no answer within {ask.timeout:g} s"
    response = Response(tag=ask.tag, status=Status.TIMEOUT, message=why, may_have_run=True)
    text = (
        f"{ask.name} was not answered within {ask.timeout:g} s; it may have run, or still run, all the same"
    )
    return RequestTimeout(ask.name, response, text)
