"""The client for game loops: plain calls, no asyncio, no waiting.

    client = tagwire.connect_sync("localhost", username="p1", password="welcome", schema=arena.SCHEMA)
    client.on(arena.MouseEvent, lambda message, sender: ...)
    while playing:
        client.send(arena.MouseEvent(x=1, y=1))
        client.sync(0.005)
    client.close()

    the network's thread                          the game's thread
    `Wire`, a `Client` on its own event loop     `SyncClient`
        everything that happens  -->  arrivals  -->  sync(): view and handlers change
        sends                    <--  send_soon <--  send()

What happens is queued in order, and `sync` alone takes it out: it brings the view that the game has of the
session (room, members, clock, the end) up to date, one step at a time, and calls the handlers. So between two
calls nothing that the game can see changes. Neither thread holds a lock while it does anything that may take
long.

The queue has the limits and the rule of `Client`: from 1024 waiting on, LATEST messages replace older ones of
the same sender and UNRELIABLE ones are dropped; at 16384 or 16 MiB the session ends with SLOW.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeVar

from google.protobuf.message import Message

from .ask import Ask, join_of
from .batch import SyncBatch
from .client import close_code
from .clock import Steady
from .close import CloseCode, Closed
from .connecting import connect
from .credential import Token
from .errors import ConnectionClosed, TagwireError
from .events import (
    Dropped,
    Member,
    MemberChange,
    MemberChanged,
    Received,
    RoomEnded,
    Verdict,
)
from .gen.v1 import JoinRoomReply, Welcome
from .handlers import AnyHandler, HandledEvent, Handling, arguments_of
from .network import Answered, Arrival, Asked, Measured, Moved, Network, Returned, Wire
from .reconnect import Reconnect, Reconnected, Reconnecting
from .schema import Schema
from .tls import Tls

__all__ = ["SyncClient", "connect_sync"]

log = logging.getLogger("tagwire")

_M = TypeVar("_M", bound=Message)


def connect_sync(
    address: str,
    *,
    schema: Schema,
    username: str = "",
    password: str = "",
    token: Token = "",
    tls: Tls | None = None,
    timeout: float = 5.0,
    validate: bool = False,
    reconnect: bool | Reconnect = True,
) -> SyncClient:
    """Connects, logs in, and gives a client for a game loop. Waits for it, `timeout` seconds at most.

    Arguments and exceptions are those of `connect`. A function given as `token` is called on the network's
    thread. Use the client with `with`, or call its `close`.
    """
    connecting = connect(
        address,
        schema=schema,
        username=username,
        password=password,
        token=token,
        tls=tls,
        timeout=timeout,
        validate=validate,
        reconnect=reconnect,
    )
    network = Network(connecting._target(), connecting, timeout)
    return SyncClient(network, network.open())


class SyncClient(Handling):
    """One player's session with a server, for a game loop. Made by `connect_sync`.

    Everything is for one thread, the game's; only `send` may be called in any. Nothing waits for the network,
    except `close`. What the properties give changes in `sync` and `close` only.

    Handlers (`on`) are plain functions, called by `sync` and nowhere else. What they raise comes out of it.

    When the connection is lost it makes another one by itself, as the argument `reconnect` of `connect_sync`
    has it, and everything here goes on.
    """

    def __init__(self, network: Network, wire: Wire) -> None:
        """For `connect_sync` only."""
        super().__init__()
        self._network = network
        self._wire = wire
        self._calls: dict[int, _Call] = {}
        self._last_call = 0
        self._syncing = False
        # What the game sees:
        self._welcome = wire.first_welcome
        self._reconnecting: Reconnecting | None = None
        self._room = self.welcome.room
        self._members: dict[int, Member] = {}
        self._rtt: float | None = None
        self._jitter: float | None = None
        self._clock_offset = wire.opened_offset
        self._steady = Steady()
        self._dropped = Dropped()
        self._closed: Closed | None = None
        self._closed_by_user = False

    def __repr__(self) -> str:
        state = str(self._closed) if self._closed is not None else "open"
        return f"<SyncClient {self.name!r} player {self.player_id} in {self.room!r}, {state}>"

    def __enter__(self) -> SyncClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Who and where

    @property
    def player_id(self) -> int:
        """Number of this player, the one that others see."""
        return self.welcome.player_id

    @property
    def session_id(self) -> int:
        """Number of this session in the server process."""
        return self.welcome.session_id

    @property
    def name(self) -> str:
        """The name that this player has on the server."""
        return self.welcome.name

    @property
    def room(self) -> str:
        """Name of the room this player is in. Empty: in none: it ended, or none was joined yet."""
        return self._room

    @property
    def members(self) -> MappingProxyType[int, Member]:
        """The others in the room, by number of the player. Empty before the first `sync`."""
        return MappingProxyType(self._members)

    @property
    def welcome(self) -> Welcome:
        """The server's answer to the last login: limits, verdict on the schema, and more. Without the resume
        token, which is a secret and stays inside."""
        return self._welcome

    @property
    def verdict(self) -> Verdict:
        """How the schema of this client compares to the server's, as told at the login: `Verdict.SAME`,
        `COMPATIBLE` (they differ by additions) or `NOT_COMPARED`. One that does not fit is a
        `SchemaMismatch` when connecting."""
        return Verdict(self.welcome.verdict)

    @property
    def schema(self) -> Schema:
        """The schema it was connected with."""
        return self._wire.schema

    @property
    def closed(self) -> Closed | None:
        """How it ended for good: code, reason, and by whom. None until `sync` has told, or `close`."""
        return self._closed

    @property
    def reconnecting(self) -> Reconnecting | None:
        """The attempt to reconnect that goes on or comes next, as of the last `sync`. None: connected, or
        ended."""
        return self._reconnecting

    @property
    def dropped(self) -> Dropped:
        """What was received and thrown away, by reason, as of the last `sync`."""
        return self._dropped

    # Time

    @property
    def rtt(self) -> float | None:
        """Seconds of the last round trip, as the server measured it. None: not measured yet."""
        return self._rtt

    @property
    def jitter(self) -> float | None:
        """Seconds that round trips vary, smoothed as in RFC 3550 section 6.4.1. None: not measured yet."""
        return self._jitter

    def server_time(self) -> float:
        """The server's clock now, seconds since the Unix epoch. Estimated, to about half a round trip.

        It does not go back when the estimate is corrected; only a server's clock that was set back by more
        than a second takes it along.
        """
        return self._steady(time.monotonic() + self._clock_offset)

    # Sending

    def send(self, message: Message) -> None:
        """Sends a message of the game. Never waits, and may be called in any thread.

        What the socket does not take at once is queued, up to 1024 messages and 1 MiB. While the socket is
        behind, or there is none, a LATEST message replaces the one of the same kind that waits, and an
        UNRELIABLE one is dropped.

        Raises `TypeError` and `ValueError` like `Client.send`, `BufferFull` when there is no room, and
        `ConnectionClosed` after the end. Until `sync` has told of an end, what is sent is lost in silence.
        """
        self._require_open()
        try:
            self._wire.send_soon(message)
        except ConnectionClosed:
            pass

    def request(
        self,
        message: Message,
        reply: type[_M],
        on_reply: Callable[[_M], object],
        *,
        on_error: Callable[[TagwireError], object] | None = None,
        timeout: float = 2.0,
    ) -> None:
        """Sends a message that a service answers. Does not wait: `sync` calls one of the two, once.

        - `on_reply`: with the reply, an instance of the class `reply`.
        - `on_error`: with what `Client.request` would raise: `RequestFailed`, `RequestTimeout`,
          `ConnectionClosed`. Without it, `sync` raises that.
        - `timeout`: seconds, from when the network's thread takes it.

        Neither is called after `close`. Raises `TypeError` and `ValueError` for what cannot be sent.
        """
        self._call([self._call_of(message, reply, on_reply, on_error, timeout)])

    def batch(self, *, stop_on_error: bool = False) -> SyncBatch:
        """Requests in one frame, which the server runs one after the other:

            with client.batch() as batch:
                batch.request(RenameRequest(name="zoe"), RenameReply, on_reply)
                Lobby.Sync(batch).rename(RenameRequest(name="ann"), on_reply)

        They are sent when the block is left, at most 64 and what fits into one frame. Each is answered, or
        fails, for itself. `stop_on_error`: those behind the first that is not answered with OK are not run,
        and fail with UNAVAILABLE.
        """
        return SyncBatch(self, stop_on_error=stop_on_error)

    def join(
        self,
        room: str,
        on_joined: Callable[[str], object] | None = None,
        *,
        on_error: Callable[[TagwireError], object] | None = None,
        timeout: float = 2.0,
    ) -> None:
        """Moves this player to another room, which is made if it is not there. Does not wait.

        `sync` calls `on_joined` with the name of the room, after the last message of the old one and before
        the first of the new; `room` and `members` change just there. Errors are as with `request`.
        """
        on_reply = None if on_joined is None else lambda reply: on_joined(reply.room)
        self._call([_Call(join_of(room, timeout), JoinRoomReply, on_reply, on_error)])

    # Receiving

    def sync(self, budget: float = 0.005) -> int:
        """Runs what had arrived when it was called, in order, in this thread; gives how many callbacks ran.

        `budget` is in seconds: once they are over, the rest waits for the next call. One thing is run all the
        same, and a handler that takes longer is let finish. With nothing to run it returns at once.

        What a handler raises comes out of here; its message counts as handled, and the rest waits for the
        next call. Where a message has several handlers all are called, and what later ones raise is logged.
        Messages without one are thrown away and counted in `dropped.unhandled`.

        Raises `ConnectionClosed` once the session has ended and all that was received before has been run;
        never after our own `close`, when nothing runs any more and this gives 0.
        """
        if self._syncing:
            raise RuntimeError("sync() was called by a handler that sync() runs")
        if self._closed_by_user:
            return 0
        self._syncing = True
        try:
            return self._sync(time.perf_counter() + budget)
        finally:
            self._syncing = False

    # The end

    def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Ends the session: tells the server, sends what waits, closes the socket, stops the thread.

        Takes a second at most, three when the network's thread hangs. `code` is 0 or one of the
        application's, 4000 to 4999. What was received and not yet run is thrown away. Does nothing when it
        was called before. A handler may call it.
        """
        code = close_code(code)
        if self._closed_by_user:
            return
        self._closed_by_user = True
        ended = self._network.leave(code, reason)
        if self._closed is None:
            self._closed = ended
        self._reconnecting = None
        self._wire.arrivals.clear()
        self._calls.clear()

    # Inside

    def _add_handler(self, kind: type[Any], handler: AnyHandler) -> AnyHandler:
        if inspect.iscoroutinefunction(handler):
            raise TypeError(f"the handler of {kind.__name__} must be a plain function, for nothing awaits it")
        return super()._add_handler(kind, handler)

    def _require_open(self) -> None:
        if self._closed is not None:
            raise self._end(self._closed)

    def _end(self, closed: Closed, *, may_have_run: bool = False) -> ConnectionClosed:
        error = ConnectionClosed(closed, may_have_run=may_have_run)
        error.__cause__ = self._wire._connection.failure
        return error

    def _call_of(
        self,
        message: Message,
        reply: type[_M],
        on_reply: Callable[[_M], object],
        on_error: Callable[[TagwireError], object] | None,
        timeout: float,
    ) -> _Call:
        return _Call(self._wire._ask_of(message, reply, timeout), reply, on_reply, on_error)

    def _call(self, calls: Sequence[_Call], *, stop_on_error: bool | None = None) -> None:
        self._require_open()
        numbered = []
        for call in calls:
            self._last_call += 1
            self._calls[self._last_call] = call
            numbered.append(Asked(self._last_call, call.ask, call.reply))
        self._network.call_soon(self._wire.ask, numbered, stop_on_error)

    def _sync(self, stop_at: float) -> int:
        wire = self._wire
        ended = wire.closed  # read first: nothing is queued after the end
        self._dropped = replace(wire.dropped, unhandled=self._dropped.unhandled)
        ran = 0
        for _ in range(len(wire.arrivals)):
            arrival = wire.arrivals.pop()
            if arrival is None:  # a newer one took the place of two, or a handler has closed
                break
            ran += self._run(arrival)
            if time.perf_counter() >= stop_at:
                return ran
        if ran or ended is None or wire.arrivals or self._closed_by_user:
            return ran
        self._closed, self._reconnecting = ended, None
        while self._calls:  # nobody will answer these
            failure = self._end(ended, may_have_run=True)
            ran += self._settle(Answered(next(iter(self._calls)), failure))
            if ran and time.perf_counter() >= stop_at:
                return ran
        if ran or self._closed_by_user:
            return ran
        raise self._end(ended)

    def _run(self, arrival: Arrival) -> int:
        """Does one thing that has arrived; gives how many callbacks ran."""
        if isinstance(arrival, Answered):
            return self._settle(arrival)
        if isinstance(arrival, Moved):
            if arrival.room != self._room:
                self._room = arrival.room
                self._members.clear()
            return 0
        event: Received | HandledEvent
        if isinstance(arrival, Measured):
            event, self._clock_offset = arrival
            self._rtt, self._jitter = event.rtt, event.jitter
        elif isinstance(arrival, Returned):
            event = self._return(arrival)
        else:
            event = arrival
        if isinstance(event, MemberChanged):
            if event.change == MemberChange.LEFT:
                self._members.pop(event.member.id, None)
            else:
                self._members[event.member.id] = event.member
        elif isinstance(event, RoomEnded):
            self._room = ""
            self._members.clear()
        elif isinstance(event, Reconnecting):
            self._reconnecting = event
        return self._run_handlers(event)

    def _return(self, returned: Returned) -> Reconnected:
        self._reconnecting = None
        self._welcome, self._clock_offset = returned.welcome, returned.clock_offset
        if not returned.event.resumed:
            self._room = returned.welcome.room
            self._members.clear()
            self._rtt = self._jitter = None
        return returned.event

    def _run_handlers(self, event: Received | HandledEvent) -> int:
        handlers = self._handlers.of(event)
        failure: Exception | None = None
        for handler in handlers:
            if self._closed_by_user:
                break
            try:
                handler(*arguments_of(event))
            except Exception as error:
                if failure is None:
                    failure = error
                else:
                    log.exception("a handler failed: %r", handler)
        if failure is not None:
            raise failure
        if isinstance(event, tuple):
            self._dropped.unhandled += not handlers
        elif not handlers:
            self._fallback(event)
        return len(handlers)

    def _settle(self, answered: Answered) -> int:
        call = self._calls.pop(answered.number, None)
        if call is None:
            return 0
        if isinstance(answered.outcome, TagwireError):
            if call.on_error is not None:
                return _called(call.on_error, answered.outcome)
            if isinstance(answered.outcome, ConnectionClosed) and self._closed is not None:
                return 0  # sync() raises it itself
            raise answered.outcome
        return _called(call.on_reply, answered.outcome)


class _Call(NamedTuple):
    """A request of the game, and what it wants done with the answer."""

    ask: Ask
    reply: type[Message]
    on_reply: Callable[[Any], object] | None
    on_error: Callable[[TagwireError], object] | None


def _called(handler: Callable[..., object] | None, *arguments: object) -> int:
    if handler is None:
        return 0
    handler(*arguments)
    return 1
