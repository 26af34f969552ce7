"""The client's side of the conversation as a state machine: no I/O, no clock, no tasks.

    bytes, EOF and the time go in         events, bytes to send and a deadline come out

    receive_data, receive_eof,            events, data_to_send,
    handle_timer, start, send, ...  -->   next_deadline

The time is a `Now`, read by the caller. Everything here is for one thread. `docs/PROTOCOL.md` says what is
sent when; `tests/test_session.py` holds this file to it, rule by rule.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from .clock import ServerClock
from .close import CloseCode, Closed
from .frame import Decoder, FrameError, FrameTooLarge, encode
from .gen._schema import SCHEMA as STACK
from .gen.v1 import (
    Batch,
    ClientInfo,
    Disconnect,
    JoinRoom,
    JoinRoomReply,
    Notice,
    Ping,
    PlayerLogin,
    Reason,
    Relayed,
    Request,
    Response,
    SchemaOffer,
    SchemaWanted,
    Status,
    Welcome,
)
from .gen.v1 import Member as MemberMessage
from .gen.v1 import RoomEnded as RoomEndedMessage
from .gen.v1 import Verdict as VerdictTable
from .named import Named
from .schema import Schema
from .version import VERSION

__all__ = [
    "Dropped",
    "Event",
    "Member",
    "MemberChange",
    "MemberChanged",
    "Noticed",
    "NoticeReason",
    "Now",
    "Opened",
    "Pinged",
    "Received",
    "Responded",
    "RoomEnded",
    "Session",
    "State",
    "Verdict",
]

PROTOCOL = 1
SDK = "tagwire-python"

ACK_FRAMES = 256
ACK_BYTES = 64 * 1024
SILENCE_SECONDS = 10.0
CLOSE_SECONDS = 1.0
MAX_LOGIN_BYTES = 8 * 1024
DEFAULT_FRAME_BYTES = 64 * 1024
MAX_FRAME_BYTES = 16 * 1024 * 1024
WRAPPER_BYTES = 64
"""What Relayed and Response add to a message of the largest size: at most 22 bytes, rounded up."""
MAX_BATCH_REQUESTS = 64
BATCH_BYTES = 2
"""What a Batch adds to its entries, at most: `stop_on_error`."""
BATCH_ENTRY_BYTES = 25
"""What a Batch adds to the body of each entry, at most: two lengths, the tag, the largest key."""

_T = TypeVar("_T", bound=Message)


def _tag(kind: type[Message]) -> int:
    return STACK.rules_of(kind).tag


PING = _tag(Ping)
WELCOME = _tag(Welcome)
DISCONNECT = _tag(Disconnect)
REQUEST = _tag(Request)
BATCH = _tag(Batch)
JOIN_ROOM = _tag(JoinRoom)
SCHEMA_WANTED = _tag(SchemaWanted)
SCHEMA_OFFER = _tag(SchemaOffer)
MAX_OFFER_BYTES = STACK.rules_of(SchemaOffer).max_bytes
UNCOUNTED = frozenset(map(_tag, (PlayerLogin, Ping, Welcome, Disconnect))) | {SCHEMA_WANTED, SCHEMA_OFFER}
"""Tags of the frames that have no place in the count; all others have one, known or not."""


class Now(NamedTuple):
    """The time, read once by the caller for everything that happens at it."""

    monotonic: float
    """Seconds on a clock that never jumps."""

    unix_us: int
    """Microseconds since the Unix epoch, on a clock that may jump."""


class State(enum.Enum):
    """Where a session is."""

    NEW = "new"
    """Nothing was sent."""
    LOGIN = "login"
    """PlayerLogin was sent, Welcome has not come."""
    OPEN = "open"
    """Messages go both ways."""
    CLOSING = "closing"
    """Our Disconnect was sent; what still comes is ignored."""
    CLOSED = "closed"
    """Nothing is sent any more; the socket is to be closed."""


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
    """The login succeeded."""

    welcome: Welcome


class Received(NamedTuple):
    """A message of the game."""

    message: Message
    sender: Member | None
    """Who sent it. None: the server."""
    tag: int
    size: int
    """Bytes of its frame on the wire."""
    delivery: str


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


@dataclass(frozen=True)
class Responded:
    """A request was answered."""

    response: Response


Event = Opened | Received | Pinged | MemberChanged | RoomEnded | Noticed | Responded | Closed
"""What `Session.events` gives. `Closed` is always the last."""


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


class Session:
    """One session of a client, from login to its end."""

    def __init__(self, schema: Schema, *, username: str = "", password: str = "", token: str = "") -> None:
        """Raises `ValueError` when the credentials do not fit into a login."""
        self.schema = schema
        self.state = State.NEW
        self.closed: Closed | None = None
        """How it ended. None while it has not."""
        self.welcome: Welcome | None = None
        self.player_id = 0
        self.session_id = 0
        self.name = username
        self.room = ""
        """Name of the room the player is in. Empty: in none."""
        self.members: dict[int, Member] = {}
        """The others in the room, by number of the player."""
        self.rtt: float | None = None
        self.jitter: float | None = None
        self.frames_received = 0
        """Counted frames of the server that were handled."""
        self.frames_sent = 0
        """Counted frames that were given to `data_to_send`."""
        self.max_frame_bytes = DEFAULT_FRAME_BYTES
        """Largest payload that the server takes."""
        self.schema_wanted = False
        """Whether the server has asked for the descriptors, which it does once at most."""
        self.dropped = Dropped()

        login = PlayerLogin(
            username=username,
            password=password,
            token=token,
            client=ClientInfo(protocol=PROTOCOL, fingerprint=schema.fingerprint, sdk=SDK, version=VERSION),
        )
        self._login = login.SerializeToString()
        if len(self._login) > MAX_LOGIN_BYTES:
            raise ValueError(f"a login of {len(self._login)} bytes, limit {MAX_LOGIN_BYTES}")

        self._decoder = Decoder(DEFAULT_FRAME_BYTES)
        self._out: list[bytes] = []
        self._events: list[Event] = []
        self._key = 0
        self._heard = 0.0
        self._close_by = 0.0
        self._unacked_frames = 0
        self._unacked_bytes = 0
        self._clock = ServerClock()
        self._handlers: dict[int, Callable[[bytes, int, Now], None]] = {
            PING: self._on_ping,
            WELCOME: self._on_welcome,
            DISCONNECT: self._on_disconnect,
            SCHEMA_WANTED: self._on_schema_wanted,
            _tag(Response): self._on_response,
            _tag(Notice): self._on_notice,
            _tag(Relayed): self._on_relayed,
            _tag(MemberMessage): self._on_member,
            _tag(RoomEndedMessage): self._on_room_ended,
        }

    # Input

    def start(self, now: Now) -> None:
        """The connection stands: logs in."""
        if self.state is State.NEW:
            self.state = State.LOGIN
            self._heard = now.monotonic
            self._out.append(encode(_tag(PlayerLogin), self._login))
            self._login = b""

    def receive_data(self, data: bytes, now: Now) -> None:
        """Takes bytes from the server, cut anyhow. After the end of the session they are ignored."""
        if self.state not in (State.LOGIN, State.OPEN):
            return
        self._heard = now.monotonic
        decoder = self._decoder
        decoder.feed(data)
        try:
            while (frame := decoder.next()) is not None:
                self._frame(frame.tag, frame.payload, frame.size, now)
                if self.state not in (State.LOGIN, State.OPEN):
                    return
        except FrameError as error:
            code = CloseCode.TOO_LARGE if isinstance(error, FrameTooLarge) else CloseCode.MALFORMED
            self.close(code, f"the server sent {error}", now)

    def receive_eof(self, why: str = "") -> None:
        """The server sends nothing more, or the connection broke: `why`."""
        if self.state is State.CLOSING:
            self.state = State.CLOSED
        elif self.state is not State.CLOSED:
            if not why:
                why = "the connection ended without a Disconnect"
                if self._decoder.pending_bytes:
                    why += f", {self._decoder.pending_bytes} bytes into a frame"
            self._end(Closed(CloseCode.TIMEOUT, why, by_peer=True), State.CLOSED)

    def handle_timer(self, now: Now) -> None:
        """Does what is due at `next_deadline`. Harmless when called early."""
        if self.state in (State.LOGIN, State.OPEN) and now.monotonic >= self._heard + SILENCE_SECONDS:
            # No Disconnect: it would end the session, which may outlive a silent connection.
            reason = f"nothing was heard from the server for {SILENCE_SECONDS:g} seconds"
            self._end(Closed(CloseCode.TIMEOUT, reason, by_peer=True), State.CLOSED)
        elif self.state is State.CLOSING and now.monotonic >= self._close_by:
            self.state = State.CLOSED

    def close(self, code: int, reason: str, now: Now) -> None:
        """Ends the session from this side. Does nothing when it has ended already."""
        closed = Closed(CloseCode(code), reason)
        if self.state is State.OPEN:
            self._put(Disconnect(code=code, reason=reason), DISCONNECT)
            self._close_by = now.monotonic + CLOSE_SECONDS
            self._end(closed, State.CLOSING)
        elif self.state in (State.NEW, State.LOGIN):
            # Before Welcome nothing is sent but the login.
            self._end(closed, State.CLOSED)

    def send(self, tag: int, payload: bytes) -> None:
        """Sends one message of the game. The state must be OPEN."""
        self._require_open()
        self.frames_sent += 1
        self._out.append(encode(tag, payload))

    def request(self, tag: int, body: bytes) -> int:
        """Asks for something; gives the key that its `Responded` will carry. The state must be OPEN."""
        self._require_open()
        self.frames_sent += 1
        request = self._keyed(tag, body)
        self._put(request, REQUEST)
        return request.key

    def batch(self, requests: Iterable[tuple[int, bytes]], *, stop_on_error: bool) -> list[int]:
        """Asks for several things, each a tag and a body, in one frame; gives their keys. At most
        `MAX_BATCH_REQUESTS`. The state must be OPEN."""
        self._require_open()
        self.frames_sent += 1
        entries = [self._keyed(tag, body) for tag, body in requests]
        self._put(Batch(requests=entries, stop_on_error=stop_on_error), BATCH)
        return [entry.key for entry in entries]

    # Output

    def events(self) -> list[Event]:
        """Gives what has happened since the last call, oldest first."""
        events, self._events = self._events, []
        return events

    def data_to_send(self) -> list[bytes]:
        """Gives the frames to write since the last call, in order."""
        data, self._out = self._out, []
        return data

    def next_deadline(self) -> float | None:
        """When to call `handle_timer`, on the monotonic clock; received bytes move it on. None: never."""
        if self.state in (State.LOGIN, State.OPEN):
            return self._heard + SILENCE_SECONDS
        if self.state is State.CLOSING:
            return self._close_by
        return None

    def server_time_us(self, now: Now) -> float | None:
        """The server's clock, microseconds since the Unix epoch. None before Welcome."""
        return self._clock.at(now.monotonic)

    @property
    def me(self) -> Member:
        """This player."""
        return Member(self.player_id, self.name)

    # Frames

    def _frame(self, tag: int, payload: bytes, size: int, now: Now) -> None:
        if tag not in UNCOUNTED:
            self.frames_received += 1
            self._unacked_frames += 1
            self._unacked_bytes += size
        if self.state is State.LOGIN and tag not in (WELCOME, DISCONNECT, SCHEMA_WANTED):
            self.dropped.misplaced += 1
            return
        handler = self._handlers.get(tag)
        if handler is not None:
            handler(payload, size, now)
        else:
            self._on_bare(tag, payload, size)
        due = self._unacked_frames >= ACK_FRAMES or self._unacked_bytes >= ACK_BYTES
        if due and self.state is State.OPEN:
            self._put_ping(Ping())

    def _on_welcome(self, payload: bytes, size: int, now: Now) -> None:
        if self.state is not State.LOGIN:
            self.dropped.misplaced += 1
            return
        welcome = self._decode(Welcome, payload)
        if welcome is None:
            self.close(CloseCode.MALFORMED, "the server's Welcome cannot be read", now)
            return
        if welcome.protocol != PROTOCOL:
            reason = f"the server speaks protocol {welcome.protocol}, this client {PROTOCOL}"
            self.close(CloseCode.VERSION, reason, now)
            return
        self.state = State.OPEN
        self.welcome = welcome
        self.session_id, self.player_id = welcome.session_id, welcome.player_id
        self.name, self.room = welcome.name, welcome.room
        self.members.clear()
        self.frames_received = self._unacked_frames = self._unacked_bytes = 0
        # A frame that the server takes may come back to us in a wrapper.
        self.max_frame_bytes = welcome.limits.max_frame_bytes or DEFAULT_FRAME_BYTES
        largest = max(self.max_frame_bytes, DEFAULT_FRAME_BYTES) + WRAPPER_BYTES
        self._decoder.max_bytes = min(largest, MAX_FRAME_BYTES)
        self._clock.sample(welcome.server_time_us, 0.0, now.monotonic)
        self._events.append(Opened(welcome))

    def _on_disconnect(self, payload: bytes, size: int, now: Now) -> None:
        told = self._decode(Disconnect, payload)
        if told is None:
            closed = Closed(CloseCode.MALFORMED, "the server's Disconnect cannot be read", by_peer=True)
        else:
            closed = Closed(
                CloseCode(told.code),
                told.reason,
                by_peer=True,
                retry_after=told.retry_after_ms / 1000,
                findings=tuple(told.findings),
            )
        self._end(closed, State.CLOSED)

    def _on_schema_wanted(self, payload: bytes, size: int, now: Now) -> None:
        if self.state is not State.LOGIN or self.schema_wanted:
            self.dropped.misplaced += 1
            return
        self.schema_wanted = True
        offer = SchemaOffer(descriptors=self.schema.descriptors)
        if offer.ByteSize() > MAX_OFFER_BYTES:
            reason = (
                f"the server does not know the schema {self.schema.name!r} of this client and wants to "
                f"compare it, but offering it takes {offer.ByteSize()} bytes, limit {MAX_OFFER_BYTES}; "
                "run `scripts/gen` (`tagwire gen`) with the server's schema, which needs no offer"
            )
            self.close(CloseCode.TOO_LARGE, reason, now)
            return
        self._put(offer, SCHEMA_OFFER)

    def _on_ping(self, payload: bytes, size: int, now: Now) -> None:
        ping = self._decode(Ping, payload)
        if ping is None:
            return
        if ping.rtt_us:
            self.rtt = ping.rtt_us / 1e6
            self.jitter = ping.jitter_us / 1e6
        if ping.sentEpoch and not ping.bounceEpoch:
            self._clock.sample(ping.sentEpoch, ping.rtt_us, now.monotonic)
            self._put_ping(Ping(sentEpoch=ping.sentEpoch, bounceEpoch=now.unix_us))
            self._events.append(Pinged(self.rtt, self.jitter, ping.sentEpoch / 1e6))

    def _on_response(self, payload: bytes, size: int, now: Now) -> None:
        response = self._decode(Response, payload)
        if response is None:
            return
        if response.tag == JOIN_ROOM and response.status == Status.OK:
            reply = self._decode(JoinRoomReply, response.body)
            # What comes after this frame belongs to the new room. In the room that it was in already nothing
            # changes, and nobody is told again.
            if reply is None or reply.room != self.room:
                self.members.clear()
            if reply is not None:
                self.room = reply.room
        self._events.append(Responded(response))

    def _on_notice(self, payload: bytes, size: int, now: Now) -> None:
        notice = self._decode(Notice, payload)
        if notice is not None:
            entry = self.schema.by_tag(notice.tag)
            name = entry[0].name if entry else ""
            self._events.append(Noticed(NoticeReason(notice.reason), notice.tag, name, notice.text))

    def _on_member(self, payload: bytes, size: int, now: Now) -> None:
        told = self._decode(MemberMessage, payload)
        if told is None:
            return
        change = MemberChange(told.event)
        known = self.members.get(told.player)
        name = told.name or (known.name if known else "")
        member = Member(told.player, name, away=known.away if known else False)
        if told.event == MemberMessage.Event.LEFT:
            self.members.pop(told.player, None)
        elif told.event == MemberMessage.Event.AWAY:
            member = self.members[told.player] = replace(member, away=True)
        elif told.event in (
            MemberMessage.Event.PRESENT,
            MemberMessage.Event.JOINED,
            MemberMessage.Event.BACK,
        ):
            member = self.members[told.player] = replace(member, away=False)
        else:
            self.dropped.unknown += 1
            return
        self._events.append(MemberChanged(member, change))

    def _on_room_ended(self, payload: bytes, size: int, now: Now) -> None:
        told = self._decode(RoomEndedMessage, payload)
        if told is not None:
            self.room = ""
            self.members.clear()
            self._events.append(RoomEnded(told.room, told.reason))

    def _on_relayed(self, payload: bytes, size: int, now: Now) -> None:
        relayed = self._decode(Relayed, payload)
        if relayed is None:
            return
        player = relayed.player
        sender = self.members.get(player)
        if sender is None:
            sender = self.me if player == self.player_id else Member(player, "")
        self._message(relayed.tag, relayed.body, size, sender)

    def _on_bare(self, tag: int, payload: bytes, size: int) -> None:
        self._message(tag, payload, size, None)

    def _message(self, tag: int, body: bytes, size: int, sender: Member | None) -> None:
        entry = self.schema.by_tag(tag)
        if entry is None:
            self.dropped.unknown += 1
            return
        rules, kind = entry
        if rules.sender == ("CLIENT" if sender is None else "SERVER"):
            self.dropped.misplaced += 1
            return
        message = self._decode(kind, body)
        if message is not None:
            self._events.append(Received(message, sender, tag, size, rules.delivery))

    # Helpers

    def _decode(self, kind: type[_T], payload: bytes) -> _T | None:
        try:
            return kind.FromString(payload)
        except (DecodeError, ValueError):  # protobuf without its C part raises UnicodeDecodeError
            self.dropped.undecodable += 1
            return None

    def _put(self, message: Message, tag: int) -> None:
        self._out.append(encode(tag, message.SerializeToString()))

    def _put_ping(self, ping: Ping) -> None:
        ping.frames_received = self.frames_received
        self._unacked_frames = self._unacked_bytes = 0
        self._put(ping, PING)

    def _keyed(self, tag: int, body: bytes) -> Request:
        self._key += 1
        return Request(key=self._key, tag=tag, body=body)

    def _end(self, closed: Closed, state: State) -> None:
        self.state = state
        self.closed = closed
        self._events.append(closed)

    def _require_open(self) -> None:
        if self.state is not State.OPEN:
            raise RuntimeError(f"the session is {self.state.value}, not open")
