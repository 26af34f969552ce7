"""A request on its way: what is asked, what was sent, and what it fails with when its time is over."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from .errors import RequestTimeout
from .gen.v1 import JoinRoom, Response, Status
from .session import JOIN_ROOM

__all__ = ["Ask", "Pending", "join_of", "not_answered", "not_sent"]


class Ask(NamedTuple):
    """A request to be sent."""

    tag: int
    body: bytes
    name: str
    """How its failures call it."""
    timeout: float
    """Seconds, from when it is handed over to be sent."""


class Pending(NamedTuple):
    """A request that was sent, or waits for a connection."""

    key: int
    ask: Ask
    deadline: float
    """When its time is over, on the clock of the loop."""
    answer: asyncio.Future[Response]
    """Done when it was answered, when its time is over, and when the session has ended."""


def join_of(room: str, timeout: float) -> Ask:
    """The request to be moved to another room."""
    return Ask(JOIN_ROOM, JoinRoom(room=room).SerializeToString(), f"join({room!r})", timeout)


def not_sent(ask: Ask, waited: float, *, away: bool) -> RequestTimeout:
    """What a request fails with that found no way to the server within some seconds. `away`: for want of a
    connection."""
    why = "the connection is lost" if away else "the server takes messages slower than they are sent"
    text = f"{ask.name} could not be sent within {waited:g} s, so it has not run; {why}"
    return RequestTimeout(ask.name, Response(tag=ask.tag, status=Status.TIMEOUT, message=text), text)


def not_answered(ask: Ask) -> RequestTimeout:
    """What a request fails with that was sent and not answered within its time."""
    why = f"no answer within {ask.timeout:g} s"
    response = Response(tag=ask.tag, status=Status.TIMEOUT, message=why, may_have_run=True)
    text = (
        f"{ask.name} was not answered within {ask.timeout:g} s; it may have run, or still run, all the same"
    )
    return RequestTimeout(ask.name, response, text)
