"""The client's side of the conversation as a state machine: no I/O, no clock, no tasks.

    bytes, EOF and the time go in         events, bytes to send and a deadline come out

    receive_data, receive_eof,            events, data_to_send,
    handle_timer, start, send, ...  -->   next_deadline

It lasts over any number of connections, one after the other, each begun with `start`:

    NEW -> LOGIN -> OPEN -> CLOSING -> CLOSED
             ^        |
             +- AWAY <+      the connection was lost; the session goes on if the server has kept it

The time is a `Now`, read by the caller. Everything here is for one thread. `docs/PROTOCOL.md` says what is
sent when; `tests/test_session.py` and `tests/test_resume.py` hold this file to it, rule by rule.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from .clock import ServerClock
from .close import CloseCode, Closed, LoginPart
from .events import (
    Dropped,
    Event,
    Lost,
    Member,
    MemberChange,
    MemberChanged,
    Noticed,
    NoticeReason,
    Opened,
    Pinged,
    Responded,
    RoomEnded,
)
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
    Relayed,
    Request,
    Response,
    Resume,
    SchemaOffer,
    SchemaWanted,
    Status,
    Welcome,
)
from .gen.v1 import LoginPart as LoginPartTable
from .gen.v1 import Member as MemberMessage
from .gen.v1 import RoomEnded as RoomEndedMessage
from .outbox import Outbox
from .schema import Schema
from .version import VERSION

__all__ = ["Now", "Session", "State"]

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

_PARTS: dict[int, LoginPart] = {
    LoginPartTable.NAME: "name",
    LoginPartTable.PASSWORD: "password",
    LoginPartTable.TOKEN: "token",
}

_T = TypeVar("_T", bound=Message)


def _tag(kind: type[Message]) -> int:
    return STACK.rules_of(kind).tag


PING = _tag(Ping)
WELCOME = _tag(Welcome)
DISCONNECT = _tag(Disconnect)
REQUEST = _tag(Request)
RESPONSE = _tag(Response)
RELAYED = _tag(Relayed)
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
    AWAY = "away"
    """The connection has ended; `start` is awaited on another one."""
    CLOSING = "closing"
    """Our Disconnect was sent; what still comes is ignored."""
    CLOSED = "closed"
    """Nothing is sent any more, on no connection."""


_OPEN = State.OPEN
"""To look it up in the enum costs more than what it is compared for."""
_decode_relayed = Relayed.FromString
"""To look it up in the class makes a new function each time."""


class Session:
    """What a client and its server say to each other, from login to the end.

    With `reconnect` it is `AWAY` after a connection that was lost, and after an end by the server that
    advises to try again. Without, it ends there.
    """

    def __init__(
        self,
        schema: Schema,
        *,
        username: str = "",
        password: str = "",
        token: str = "",
        reconnect: bool = False,
    ) -> None:
        """Raises `ValueError` when the credentials do not fit into a login."""
        self.reconnect = reconnect
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
        """Counted frames of the server that were handled, over all connections of this session."""
        self.outbox = Outbox()
        """The counted frames of this side."""
        self.max_frame_bytes = DEFAULT_FRAME_BYTES
        """Largest payload that the server takes."""
        self.farewell_code = 0
        """What our Disconnect says."""
        self.schema_wanted = False
        """Whether the server has asked for the descriptors, which it does once a connection at most."""
        self.dropped = Dropped()
        self.happened: list[Event] = []
        """What `events` gives next."""
        self.only_received = True
        """Whether what `events` gives next are messages of other players, and nothing else."""

        self._login = PlayerLogin(
            username=username,
            password=password,
            client=ClientInfo(protocol=PROTOCOL, fingerprint=schema.fingerprint, sdk=SDK, version=VERSION),
        )
        self.set_token(token)

        self._decoder = Decoder(DEFAULT_FRAME_BYTES)
        self._resume_token = b""  # a secret, never shown
        self._connections = 0  # of this session
        self._resuming = False
        self._again: Closed | None = None
        # Uncounted frames: these go before the counted ones, and the farewell behind them. None is sent
        # again.
        self._urgent: list[bytes] = []
        self._farewell: list[bytes] = []
        self._key = 0
        self._heard = 0.0
        self._close_by = 0.0
        self._unacked_frames = 0
        self._unacked_bytes = 0
        self._clock = ServerClock()
        # By the tag of a message that others may send: what decodes it, and its delivery.
        self._relayable: dict[int, tuple[Callable[[bytes], Message], str]] = {}
        self._handlers: dict[int, Callable[[bytes, int, Now], None]] = {
            PING: self._on_ping,
            WELCOME: self._on_welcome,
            DISCONNECT: self._on_disconnect,
            SCHEMA_WANTED: self._on_schema_wanted,
            RESPONSE: self._on_response,
            _tag(Notice): self._on_notice,
            RELAYED: self._on_relayed,
            _tag(MemberMessage): self._on_member,
            _tag(RoomEndedMessage): self._on_room_ended,
        }

    # Input

    def set_token(self, token: str) -> None:
        """Logs in with this token from the next `start` on. Raises `ValueError` for one that does not fit."""
        try:
            self._login.token = token
        except ValueError:  # surrogates; its text may have the token in it
            raise ValueError("the token cannot be written as UTF-8") from None
        self._require_login_fits()

    def start(self, now: Now) -> None:
        """A connection stands: logs in, and asks for the session that was lost with the one before."""
        if self.state not in (State.NEW, State.AWAY):
            return
        self.state = State.LOGIN
        self.schema_wanted = False
        self._decoder = Decoder(DEFAULT_FRAME_BYTES)
        self._heard = now.monotonic
        self._unacked_frames = self._unacked_bytes = 0
        self._connections += 1
        login = PlayerLogin()
        login.CopyFrom(self._login)
        if self._resume_token:
            resume = Resume(
                token=self._resume_token,
                frames_received=self.frames_received,
                connection=self._connections,
            )
            login.resume.CopyFrom(resume)
            if login.ByteSize() > MAX_LOGIN_BYTES:  # with credentials that alone are almost as large
                login.ClearField("resume")
        self._resuming = login.HasField("resume")
        self._urgent = [encode(_tag(PlayerLogin), login.SerializeToString())]
        self._farewell = []

    def receive_data(self, data: bytes, now: Now) -> None:
        """Takes bytes from the server, cut anyhow. After the end of the connection they are ignored."""
        if self.state is not _OPEN and self.state is not State.LOGIN:
            return
        self._heard = now.monotonic
        decoder = self._decoder
        decoder.feed(data)
        try:
            while True:
                if self.state is _OPEN and not decoder.begun:
                    self._take_short(decoder, now)
                    if decoder.at == len(decoder.chunk):
                        return
                if self.state is not _OPEN and self.state is not State.LOGIN:
                    return
                if (frame := decoder.next()) is None:
                    return
                self._frame(frame.tag, frame.payload, frame.size, now)
        except FrameError as error:
            code = CloseCode.TOO_LARGE if isinstance(error, FrameTooLarge) else CloseCode.MALFORMED
            self.close(code, f"the server sent {error}", now)

    def hear(self, now: Now) -> None:
        """Something has come from the server that is no message yet."""
        self._heard = now.monotonic

    def receive_message(self, data: bytes, now: Now) -> None:
        """Takes a message from the server, where the transport has such: whole frames, so that none spans
        two."""
        self.receive_data(data, now)
        if self.state in (State.LOGIN, State.OPEN) and self._decoder.pending_bytes:
            reason = f"the server sent a message that ends {self._decoder.pending_bytes} bytes into a frame"
            self.close(CloseCode.MALFORMED, reason, now)

    def receive_close(self, code: int, reason: str) -> None:
        """The server ends the connection with a code, where the transport has such: one of ours is like a
        Disconnect."""
        if self.state in (State.LOGIN, State.OPEN) and code >= CloseCode.SHUTDOWN:
            self._dismissed(Closed(CloseCode(code), reason, by_peer=True))
            return
        told = f", {reason}" if reason else ""
        self.receive_eof(
            f"the connection was closed with code {code} of WebSocket{told}, without a Disconnect"
        )

    def receive_eof(self, why: str = "") -> None:
        """The server sends nothing more, or the connection broke: `why`."""
        if self.state is State.CLOSING:
            self._closing_done()
        elif self.state in (State.NEW, State.LOGIN, State.OPEN):
            if not why:
                why = "the connection ended without a Disconnect"
                if self._decoder.pending_bytes:
                    why += f", {self._decoder.pending_bytes} bytes into a frame"
            self._lose(Closed(CloseCode.TIMEOUT, why, by_peer=True))

    def handle_timer(self, now: Now) -> None:
        """Does what is due at `next_deadline`. Harmless when called early."""
        if self.state in (State.LOGIN, State.OPEN) and now.monotonic >= self._heard + SILENCE_SECONDS:
            # No Disconnect: it would end the session, which may outlive a silent connection.
            reason = f"nothing was heard from the server for {SILENCE_SECONDS:g} seconds"
            self._lose(Closed(CloseCode.TIMEOUT, reason, by_peer=True))
        elif self.state is State.CLOSING and now.monotonic >= self._close_by:
            self._closing_done()

    def close(self, code: int, reason: str, now: Now) -> None:
        """Ends it from this side, for good. Does nothing when it has ended already."""
        closed = Closed(CloseCode(code), reason)
        if self.state is State.OPEN:
            self._bid_farewell(code, reason, now)
            self._end(closed, State.CLOSING)
        elif self.state is State.CLOSING and self._again is not None:
            self._again = None  # it is told VIOLATION already
            self._end(closed, State.CLOSING)
        elif self.state in (State.NEW, State.LOGIN, State.AWAY):
            # Before Welcome nothing is sent but the login.
            self._end(closed, State.CLOSED)

    def give_up(self, reason: str) -> None:
        """No further connection is to be made: ends it, with TIMEOUT. Does nothing unless it is away."""
        if self.state is State.AWAY:
            self._end(Closed(CloseCode.TIMEOUT, reason, by_peer=True), State.CLOSED)

    def send(self, tag: int, payload: bytes) -> None:
        """Commits one frame: a message of the game, or what `draft` gave. The state must be OPEN."""
        if self.state is not _OPEN:
            raise RuntimeError(f"the session is {self.state.value}, not open")
        self.outbox.append(encode(tag, payload))

    def draft_one(self, tag: int, body: bytes) -> tuple[bytes, int]:
        """Writes one request; gives the payload of a REQUEST to `send`, in the order of the drafts, and the
        key that its `Responded` will carry."""
        self._key += 1
        return Request(key=self._key, tag=tag, body=body).SerializeToString(), self._key

    def draft(
        self, requests: Iterable[tuple[int, bytes]], *, stop_on_error: bool | None = None
    ) -> tuple[int, bytes, list[int]]:
        """Writes one request, a tag and a body, or a Batch of several where `stop_on_error` is said. Gives
        what to `send`, in the order of the drafts, and the keys that their `Responded` will carry."""
        if stop_on_error is None:
            ((tag, body),) = requests
            payload, key = self.draft_one(tag, body)
            return REQUEST, payload, [key]
        entries = []
        for tag, body in requests:
            self._key += 1
            entries.append(Request(key=self._key, tag=tag, body=body))
        keys = [entry.key for entry in entries]
        return BATCH, Batch(requests=entries, stop_on_error=stop_on_error).SerializeToString(), keys

    def request(self, tag: int, body: bytes) -> int:
        """Asks for something; gives the key that its `Responded` will carry. The state must be OPEN."""
        frame, payload, keys = self.draft([(tag, body)])
        self.send(frame, payload)
        return keys[0]

    def batch(self, requests: Iterable[tuple[int, bytes]], *, stop_on_error: bool) -> list[int]:
        """Asks for several things, each a tag and a body, in one frame; gives their keys. At most
        `MAX_BATCH_REQUESTS`. The state must be OPEN."""
        frame, payload, keys = self.draft(requests, stop_on_error=stop_on_error)
        self.send(frame, payload)
        return keys

    # Output

    def events(self) -> list[Event]:
        """Gives what has happened since the last call, oldest first."""
        events, self.happened, self.only_received = self.happened, [], True
        return events

    def data_to_send(self) -> list[bytes]:
        """Gives the frames to write since the last call, in order."""
        # Before Welcome nothing is sent but the login, and afterwards nothing new before what is sent again.
        frames = self.outbox.take() if self.state is _OPEN or self.state is State.CLOSING else []
        if self._urgent:
            frames, self._urgent = self._urgent + frames, []
        if self._farewell:
            frames, self._farewell = frames + self._farewell, []
        return frames

    @property
    def has_data(self) -> bool:
        """Whether `data_to_send` may give any."""
        return bool(self.outbox.fresh or self._urgent or self._farewell)

    def next_deadline(self) -> float | None:
        """When to call `handle_timer`, on the monotonic clock; received bytes move it on. None: never."""
        if self.state is _OPEN or self.state is State.LOGIN:
            return self._heard + SILENCE_SECONDS
        if self.state is State.CLOSING:
            return self._close_by
        return None

    def server_time_us(self, now: Now) -> float | None:
        """The server's clock, microseconds since the Unix epoch. None before Welcome."""
        return self._clock.at(now.monotonic)

    @property
    def max_receive_bytes(self) -> int:
        """Largest payload that is taken from the server by now."""
        return self._decoder.max_bytes

    @property
    def me(self) -> Member:
        """This player."""
        return Member(self.player_id, self.name)

    # Frames

    def _take_short(self, decoder: Decoder, now: Now) -> None:
        """Handles the whole frames of the short form that come next, with the session open and no frame
        begun. Leaves what is large or not whole to the decoder's `next`.

        What other players send is most of what comes, so it is decoded here: a call for each would cost more
        than the work.
        """
        member_of, relayable, received = self.members.get, self._relayable, self.happened.append
        data, start = decoder.chunk, decoder.at
        end = len(data)
        last = end - 1  # what begins there has no whole header
        frames, counted_to = 0, start  # what is counted by `_count` at the end of a run begins there
        try:
            while start < last:
                # A run of what may come before the next acknowledgement, without a look at it for each.
                due = ACK_FRAMES - self._unacked_frames
                pause = start + ACK_BYTES - self._unacked_bytes
                if pause > last:
                    pause = last
                tag = RELAYED
                for frames in range(due):  # noqa: B007  by its end as many were handled
                    if start >= pause:
                        break
                    body = start + 2
                    stop = body + data[start]
                    if stop > end:
                        return
                    tag = data[start + 1]
                    if tag == RELAYED:
                        try:
                            relayed = _decode_relayed(data[body:stop])
                            inner, player = relayed.tag, relayed.player
                            decode, delivery = relayable[inner]
                            message = decode(relayed.body)
                        except KeyError:
                            # It counts why there is none.
                            sender = member_of(player) or self._stranger(player)
                            self._message(inner, relayed.body, stop - start, sender)
                        except (DecodeError, ValueError):
                            self.dropped.undecodable += 1
                        else:
                            sender = member_of(player) or self._stranger(player)
                            received((message, sender, stop - start, delivery, inner))
                    elif tag == RESPONSE:
                        self._on_response(data[body:stop], stop - start, now)
                    else:
                        break
                    start = stop
                else:
                    frames = due
                self._count(frames, start - counted_to)
                frames, counted_to = 0, start
                if tag in (RELAYED, RESPONSE):
                    self._acknowledge()
                elif tag == 0:
                    return
                else:
                    start = counted_to = stop
                    self._frame(tag, data[body:stop], stop - body + 2, now)
                    if self.state is not _OPEN:
                        return
        finally:
            decoder.at = start
            if frames:
                self._count(frames, start - counted_to)

    def _count(self, frames: int, size: int) -> None:
        self.frames_received += frames
        self._unacked_frames += frames
        self._unacked_bytes += size

    def _acknowledge(self) -> None:
        """Tells the server what was handled, when that is due."""
        due = self._unacked_frames >= ACK_FRAMES or self._unacked_bytes >= ACK_BYTES
        if due and self.state is _OPEN:
            self._put_ping(Ping())

    def _frame(self, tag: int, payload: bytes, size: int, now: Now) -> None:
        if self.state is State.LOGIN and tag not in (WELCOME, DISCONNECT, SCHEMA_WANTED):
            self.dropped.misplaced += 1
            return
        if tag not in UNCOUNTED:
            self._count(1, size)
        handler = self._handlers.get(tag)
        if handler is not None:
            handler(payload, size, now)
        else:
            self._on_bare(tag, payload, size)
        self._acknowledge()

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
        resumed = welcome.resumed and self._resuming
        if resumed and not self.outbox.resume(welcome.frames_received):
            out = self.outbox
            reason = (
                f"the server handled {welcome.frames_received} frames of this client, which can go on behind "
                f"{out.forgotten} to {out.written}"
            )
            self._again = Closed(CloseCode.VIOLATION, reason)
            self._resume_token = b""
            self._bid_farewell(CloseCode.VIOLATION, reason, now)
            self.state = State.CLOSING
            return
        self.state = State.OPEN
        if not self._relayable:
            self._relayable = {
                rules.tag: (entry[1].FromString, rules.delivery)
                for rules in self.schema.rules
                if rules.sender != "SERVER" and (entry := self.schema.by_tag(rules.tag))
            }
        if welcome.resume_window_ms and welcome.resume_token:
            self._resume_token = welcome.resume_token if self.reconnect else b""
        elif not resumed:
            self._resume_token = b""
        welcome.ClearField("resume_token")  # which nobody else needs, and nothing can print then
        self.welcome = welcome
        self.session_id, self.player_id, self.name = welcome.session_id, welcome.player_id, welcome.name
        # A frame that the server takes may come back to us in a wrapper.
        self.max_frame_bytes = welcome.limits.max_frame_bytes or DEFAULT_FRAME_BYTES
        largest = max(self.max_frame_bytes, DEFAULT_FRAME_BYTES) + WRAPPER_BYTES
        self._decoder.max_bytes = min(largest, MAX_FRAME_BYTES)
        lost = 0
        if not resumed:
            # Where it is resumed, the frames that are sent again tell what has changed.
            lost = self.outbox.reset()
            self.room = welcome.room
            self.members.clear()
            self.frames_received = 0
            self._connections = 1
            self.rtt = self.jitter = None
            self._clock = ServerClock()
        self.outbox.keeping = bool(self._resume_token)
        self._unacked_frames = self._unacked_bytes = 0
        self._clock.sample(welcome.server_time_us, 0.0, now.monotonic)
        self._tell(Opened(welcome, resumed, lost))

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
                part=_PARTS.get(told.refused),
            )
        self._dismissed(closed)

    def _dismissed(self, closed: Closed) -> None:
        """The server ends the connection, and says why."""
        refused = closed.code == CloseCode.RESUME_REFUSED and self._resuming
        if refused or (self.state is State.OPEN and closed.code != CloseCode.TIMEOUT):
            self._resume_token = b""  # that session is no more
        # The network was too slow for a login that was let in before; it may be better the next time.
        late = closed.code == CloseCode.LOGIN_TIMEOUT and self.state is State.LOGIN
        if refused or late or closed.code.retryable:
            self._lose(closed)
        else:
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
        if not self.outbox.acknowledge(ping.frames_received):
            told, written = ping.frames_received, self.outbox.written
            self.close(
                CloseCode.VIOLATION, f"the server acknowledged {told} frames, {written} were sent", now
            )
            return
        if ping.rtt_us:
            self.rtt = ping.rtt_us / 1e6
            self.jitter = ping.jitter_us / 1e6
        if ping.sentEpoch and not ping.bounceEpoch:
            self._clock.sample(ping.sentEpoch, ping.rtt_us, now.monotonic)
            self._put_ping(Ping(sentEpoch=ping.sentEpoch, bounceEpoch=now.unix_us))
            self._tell(Pinged(self.rtt, self.jitter, ping.sentEpoch / 1e6))

    def _on_response(self, payload: bytes, size: int, now: Now) -> None:
        try:
            response = Response.FromString(payload)
        except (DecodeError, ValueError):
            self.dropped.undecodable += 1
            return
        if response.tag == JOIN_ROOM and response.status == Status.OK:
            reply = self._decode(JoinRoomReply, response.body)
            # What comes after this frame belongs to the new room. In the room that it was in already nothing
            # changes, and nobody is told again.
            if reply is None or reply.room != self.room:
                self.members.clear()
            if reply is not None:
                self.room = reply.room
        # `_tell`, and a `Responded`, without two calls for each answer.
        self.happened.append(tuple.__new__(Responded, (response,)))
        self.only_received = False

    def _on_notice(self, payload: bytes, size: int, now: Now) -> None:
        notice = self._decode(Notice, payload)
        if notice is not None:
            entry = self.schema.by_tag(notice.tag)
            name = entry[0].name if entry else ""
            self._tell(Noticed(NoticeReason(notice.reason), notice.tag, name, notice.text))

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
        self._tell(MemberChanged(member, change))

    def _on_room_ended(self, payload: bytes, size: int, now: Now) -> None:
        told = self._decode(RoomEndedMessage, payload)
        if told is not None:
            self.room = ""
            self.members.clear()
            self._tell(RoomEnded(told.room, told.reason))

    def _on_relayed(self, payload: bytes, size: int, now: Now) -> None:
        relayed = self._decode(Relayed, payload)
        if relayed is None:
            return
        player = relayed.player
        self._message(relayed.tag, relayed.body, size, self.members.get(player) or self._stranger(player))

    def _stranger(self, player: int) -> Member:
        """A player who is not among the members: this one, or one that the server has not told of."""
        return self.me if player == self.player_id else Member(player, "")

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
            self._tell((message, sender, size, rules.delivery, tag))

    # Helpers

    def _tell(self, event: Event) -> None:
        self.happened.append(event)
        self.only_received = False

    def _require_login_fits(self) -> None:
        size = self._login.ByteSize()
        if size > MAX_LOGIN_BYTES:
            raise ValueError(f"a login of {size} bytes, limit {MAX_LOGIN_BYTES}")

    def _decode(self, kind: type[_T], payload: bytes) -> _T | None:
        try:
            return kind.FromString(payload)
        except (DecodeError, ValueError):  # protobuf without its C part raises UnicodeDecodeError
            self.dropped.undecodable += 1
            return None

    def _put(self, message: Message, tag: int) -> None:
        self._urgent.append(encode(tag, message.SerializeToString()))

    def _put_ping(self, ping: Ping) -> None:
        ping.frames_received = self.frames_received
        self._unacked_frames = self._unacked_bytes = 0
        self._put(ping, PING)

    def _bid_farewell(self, code: int, reason: str, now: Now) -> None:
        disconnect = Disconnect(code=code, reason=reason)
        self._farewell.append(encode(DISCONNECT, disconnect.SerializeToString()))
        self._close_by = now.monotonic + CLOSE_SECONDS
        self.farewell_code = code

    def _lose(self, closed: Closed) -> None:
        """This connection is over. Where nobody makes another one, so is all."""
        if not self.reconnect or self.welcome is None:
            self._end(closed, State.CLOSED)
            return
        self.state = State.AWAY
        self._urgent, self._farewell = [], []
        self._tell(Lost(closed, resumable=bool(self._resume_token)))

    def _closing_done(self) -> None:
        if self._again is None:
            self.state = State.CLOSED
        else:
            closed, self._again = self._again, None
            self._lose(closed)

    def _end(self, closed: Closed, state: State) -> None:
        self.state = state
        self.closed = closed
        self._resume_token = b""
        self._tell(closed)
