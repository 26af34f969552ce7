"""What a session tells: its events, and the values in them. No behaviour.

`Event` is what the state machine gives to the client; `MemberChanged`, `RoomEnded`, `Noticed` and `Pinged` go
on to the application.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from google.protobuf.message import Message

from .close import Closed
from .gen.v1 import Member as MemberMessage
from .gen.v1 import Reason, Response, Welcome
from .gen.v1 import Verdict as VerdictTable
from .named import Named

__all__ = [
    "Dropped",
    "Event",
    "Lost",
    "Member",
    "MemberChange",
    "MemberChanged",
    "Noticed",
    "NoticeReason",
    "Opened",
    "Pinged",
    "Received",
    "Responded",
    "RoomEnded",
    "Verdict",
]


class MemberChange(Named):
    """What happened to a member. An `int`; the names are those of `tagwire.v1.Member.Event`."""

    _table = MemberMessage.Event.Value


class NoticeReason(Named):
    """Why the server dropped a message. An `int`; the names are those of `tagwire.v1.Reason`."""

    _table = Reason.Value


class Verdict(Named):
    """How the client's schema compares to the server's. An `int`; the names are those of
    `tagwire.v1.Verdict`:

    - `SAME`: both are the same.
    - `COMPATIBLE`: they differ by additions; each side reads what the other sends.
    - `NOT_COMPARED`: nothing is known, because this client has no fingerprint or the server did not ask for
      its descriptors. What one side does not know is dropped and counted.
    - `BREAKING`: they contradict each other. A server that refuses such a client sends no verdict but
      SCHEMA_MISMATCH.
    """

    _table = VerdictTable.Value


@dataclass(frozen=True)
class Member:
    """A player in the room."""

    id: int
    """Number of the player, never reused by the server process."""

    name: str
    """The player's name. Empty when the server has not told it."""

    away: bool = False
    """True: the player's connection is lost; it may come back."""


@dataclass(frozen=True)
class Opened:
    """The login succeeded, on the first connection or on a later one."""

    welcome: Welcome
    """The server's answer, without the resume token."""

    resumed: bool = False
    """True: the session of the connection before goes on. False: this is a new one."""

    lost: int = 0
    """How many counted frames were sent in the session before and not acknowledged. 0 where it goes on."""


@dataclass(frozen=True)
class Lost:
    """The connection has ended, and another one is to be made."""

    closed: Closed
    """How it ended."""

    resumable: bool
    """True: the session may go on. False: it has ended; the next login begins another one."""


Received: TypeAlias = tuple[Message, Member | None, int, str, int]
"""A message of the game: itself, its sender (None: the server), the bytes of its frame on the wire, its
delivery and its tag. A bare tuple, which no other event is: one is made for each message, and one of a class
costs five times as much."""


@dataclass(frozen=True)
class Pinged:
    """The server asked for a sign of life, and was answered."""

    rtt: float | None
    """Seconds of the last round trip, as the server measured it. None: not measured yet."""

    jitter: float | None
    """Seconds that round trips vary, smoothed as in RFC 3550 section 6.4.1. None: not measured yet."""

    server_time: float
    """The server's clock when it asked, seconds since the Unix epoch."""


@dataclass(frozen=True)
class MemberChanged:
    """The members of the room changed."""

    member: Member
    change: MemberChange


@dataclass(frozen=True)
class RoomEnded:
    """The room that this player was in has ended. The player is in none until it joins one."""

    room: str
    """Name of the room."""

    reason: str
    """Why, for people."""


@dataclass(frozen=True)
class Noticed:
    """The server dropped something that this client sent."""

    reason: NoticeReason
    tag: int
    name: str
    """Full name of the message with this tag. Empty: the schema has none."""
    text: str


class Responded(NamedTuple):
    """A request was answered."""

    response: Response


Event = Opened | Received | Pinged | MemberChanged | RoomEnded | Noticed | Responded | Lost | Closed
"""What `Session.events` gives. `Closed` is always the last; after `Lost` comes nothing before
`Session.start`."""


@dataclass
class Dropped:
    """How many frames were counted and thrown away, by reason. None of them ends a session."""

    unknown: int = 0
    """Their tag is not in the schema."""
    undecodable: int = 0
    """Their payload is not such a message."""
    misplaced: int = 0
    """The schema lets the other side send them only, or they come at a time when they mean nothing."""
    behind: int = 0
    """LATEST and UNRELIABLE messages that a newer one replaced, or that had no place, because the application
    did not take messages fast enough; and all messages of a client that does not receive."""
    unhandled: int = 0
    """Messages that `run` or `sync` took and that have no handler."""
