"""The client for asyncio.

    async with tagwire.connect("localhost", username="p1", password="welcome", schema=arena.SCHEMA) as client:
        await client.send(arena.MouseEvent(x=1, y=1))
        async for message in client:
            ...

`Connection` does the work, one after the other (`Line`); what is sent goes through a `Sender`. Here is what
is received and not yet taken, and what the application sees.

The receive queue. The socket is always read, whatever the application does: so pings are answered in time,
and members, room and clock are right. What the application has not taken waits in a queue. From 1024 waiting
messages on, a LATEST message replaces an older one of the same sender and UNRELIABLE ones are dropped; at
16384 messages or 16 MiB the client closes with SLOW. One that only sends says `receive=False`, and has no
such queue.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from asyncio import get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Hashable
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from .address import Address
from .ask import Ask, join_of
from .backlog import Backlog, key_of
from .batch import Batch
from .clock import Steady
from .close import CloseCode, Closed
from .connection import Connection
from .credential import TokenSource
from .elsewhere import run_on
from .errors import (
    ConnectError,
    ConnectionClosed,
    LoginRefused,
    RequestFailed,
    RequestTimeout,
    SchemaMismatch,
    TagwireError,
)
from .events import (
    Dropped,
    Event,
    Lost,
    Member,
    MemberChanged,
    Opened,
    Pinged,
    Received,
    Responded,
    RoomEnded,
    Verdict,
)
from .frame import SHORT_HEADERS
from .gen.v1 import JoinRoomReply, Response, Welcome
from .gen.v1 import Status as StatusTable
from .handlers import EVENT_BYTES, HandledEvent, Handling, arguments_of, delivery_of
from .reconnect import Reconnect, Reconnected, Reconnecting
from .reconnecting import Line
from .schema import Rules, Schema
from .sending import Sender, fail
from .session import WRAPPER_BYTES, Session, State
from .transport import Target
from .validate import Validator

__all__ = ["Client"]

log = logging.getLogger("tagwire")

INBOX_BEHIND = 1024
INBOX_MESSAGES = 16384
INBOX_BYTES = 16 * 1024 * 1024
HANDLER_SLICE = 0.005
"""Seconds for which handlers may run on without the loop having a turn."""
QUICK_HANDLERS = 7
"""How many handlers run without a look at the clock, which costs a third of a short one, when those since the
last look took less than `QUICK_SECONDS`."""
QUICK_SECONDS = 50e-6
TAKEN_TOGETHER = 64
"""How many messages with handlers are taken at once. What is behind one without goes back."""
MAX_REASON = 1000
STATUS_OK = StatusTable.OK

_M = TypeVar("_M", bound=Message)
_T = TypeVar("_T")


class Client(Handling):
    """One player's session with a server. Made by `connect`.

    Everything is for the event loop that it was connected on, except `send`, `request`, `join` and `close`,
    which may be awaited on any loop of any thread, and `send_soon`, which may be called anywhere.

    When the connection is lost it makes another one by itself, as the argument `reconnect` of `connect` has
    it, and everything here goes on: who iterates or runs it, handlers, requests that wait for their answers.
    `closed` and `ConnectionClosed` tell of the end that is final.

    Handlers (`on`) may be plain functions or coroutine functions. They are called while the client is
    iterated or `run`, in the task that does it, one at a time and in the order in which things came. What
    they raise is logged, with its traceback, and ends nothing. What has a handler does not come out of
    iterating.
    """

    _how_to_take = "iterate or run the client, or connect with receive=False if it only sends"

    def __init__(
        self,
        session: Session,
        *,
        receive: bool = True,
        validator: Validator | None = None,
        reconnect: Reconnect | None = None,
        token: TokenSource | None = None,
    ) -> None:
        """For `connect` only."""
        super().__init__()
        self._session = session
        self._receive = receive
        self._validator = validator
        self._loop = get_running_loop()
        self._line = Line(
            session,
            reconnect,
            token=token,
            on_event=self._handle_event,
            on_received=self._handle_received,
            on_responded=self._handle_response,
            on_writable=self._handle_writable,
        )
        self._sender = Sender(self._line, self._closed_error)
        self._waiting = self._sender.waiting.entries
        # The rules of the classes whose messages may be sent, or asked, as far as they were, and their limits
        # by what the server takes now.
        self._sendable: dict[type[Message], tuple[Rules, int]] = {}
        self._requests: dict[type[Message], tuple[Rules, int]] = {}
        # Of those that may be sent with nothing else to be looked at: tag, limit, and the headers of the
        # short form by length, none where the tag has no such; of requests, which are here by their replies
        # as well, tag, limit and name.
        self._ready: dict[type[Message], tuple[int, int, tuple[bytes, ...]]] = {}
        self._ready_to_ask: dict[tuple[type[Message], type[Message]], tuple[int, int, str]] = {}
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._reconnecting: Reconnecting | None = None
        self._closed_by_user = False
        self._inbox: Backlog[Received | HandledEvent]
        self._inbox = Backlog(max_items=INBOX_MESSAGES, max_bytes=INBOX_BYTES)
        self._handling: asyncio.Task[Any] | None = None
        self._handled = asyncio.Event()
        self._slice_began = 0.0
        self._overflowed = False
        # Those who wait for something to take. No `asyncio.Event`: each wait for one asks the system for the
        # number of this process.
        self._takers: list[asyncio.Future[None]] = []
        self._ping_waiters: list[asyncio.Future[Pinged]] = []
        self._steady = Steady()

    def __repr__(self) -> str:
        state = str(self.closed) if self.closed is not None else self._session.state.value
        return f"<Client {self.name!r} player {self.player_id} in {self.room!r}, {state}>"

    # Who and where

    @property
    def player_id(self) -> int:
        """Number of this player, the one that others see."""
        return self._session.player_id

    @property
    def session_id(self) -> int:
        """Number of this session in the server process."""
        return self._session.session_id

    @property
    def name(self) -> str:
        """The name that this player has on the server."""
        return self._session.name

    @property
    def room(self) -> str:
        """Name of the room this player is in. Empty: in none: it ended, or none was joined yet."""
        return self._session.room

    @property
    def members(self) -> MappingProxyType[int, Member]:
        """The others in the room, by number of the player. A live view."""
        return MappingProxyType(self._session.members)

    @property
    def welcome(self) -> Welcome:
        """The server's answer to the last login: limits, verdict on the schema, and more. Without the resume
        token, which is a secret and stays inside."""
        assert self._session.welcome is not None
        return self._session.welcome

    @property
    def verdict(self) -> Verdict:
        """How the schema of this client compares to the server's, as told at the login: `Verdict.SAME`,
        `COMPATIBLE` (they differ by additions) or `NOT_COMPARED`. One that does not fit is a
        `SchemaMismatch` when connecting."""
        return Verdict(self.welcome.verdict)

    @property
    def schema(self) -> Schema:
        """The schema it was connected with."""
        return self._session.schema

    @property
    def closed(self) -> Closed | None:
        """How it ended for good: code, reason, and by whom. None while it has not, also while it is
        reconnecting."""
        return self._sender.ended

    @property
    def reconnecting(self) -> Reconnecting | None:
        """The attempt to reconnect that goes on or comes next. None: connected, or ended."""
        return self._reconnecting

    @property
    def dropped(self) -> Dropped:
        """What was received and thrown away, by reason."""
        return self._session.dropped

    # Time

    @property
    def rtt(self) -> float | None:
        """Seconds of the last round trip, as the server measured it. None: not measured yet."""
        return self._session.rtt

    @property
    def jitter(self) -> float | None:
        """Seconds that round trips vary, smoothed as in RFC 3550 section 6.4.1. None: not measured yet."""
        return self._session.jitter

    def server_time(self) -> float:
        """The server's clock now, seconds since the Unix epoch. Estimated, to about half a round trip.

        It does not go back when the estimate is corrected; only a server's clock that was set back by more
        than a second takes it along.
        """
        return self._steady((self._session.server_time_us(self._connection.now()) or 0.0) / 1e6)

    async def next_ping(self) -> Pinged:
        """Waits for the next time the server measures the connection, about a second.

        Raises `ConnectionClosed` when the session ends before.
        """
        self._require_own_loop("next_ping")
        self._require_open()
        waiter: asyncio.Future[Pinged] = self._loop.create_future()
        self._ping_waiters.append(waiter)
        try:
            return await waiter
        finally:
            if waiter in self._ping_waiters:
                self._ping_waiters.remove(waiter)

    # Sending

    async def send(self, message: Message) -> None:
        """Sends a message of the game. Waits while the server takes no more.

        Returns when the message is in the hands of the operating system's socket or next to it, or waits for
        the next connection, with room for 1024 messages and 1 MiB; there a LATEST message replaces the one of
        the same kind that waits, and an UNRELIABLE one is dropped. Whatever happens to connections, it
        arrives once, as long as the session is resumed. Messages of one task arrive in their order. A
        cancelled `send` has sent nothing. May be awaited on any event loop.

        Raises `TypeError` for a message that is not in the schema, has no rules or is a request; `ValueError`
        for one that only the server may send, or that is too large; `ConnectionClosed` after the end.
        """
        # What can be sent at once takes one call from here, for each costs as much as the rest of it.
        try:
            tag, limit, headers = self._ready[type(message)]
            payload = message.SerializeToString()
        except (KeyError, EncodeError):
            pass
        else:
            connection, length = self._line.connection, len(payload)
            # `Sender.clear` of this moment.
            clear = connection.clear and not self._waiting and not self._sender.before
            if clear and length <= limit and get_running_loop() is self._loop:
                if length < len(headers):
                    connection.put(headers[length] + payload)
                else:
                    connection.send(tag, payload)
                return
        rules, payload = self._encode(message)
        if get_running_loop() is not self._loop:
            await self._from_elsewhere(lambda: self._sender.send(rules.tag, payload, rules.delivery))
        else:
            await self._sender.send(rules.tag, payload, rules.delivery)

    def send_soon(self, message: Message) -> None:
        """Sends a message of the game without waiting. May be called in any thread, also outside of event
        loops.

        What the socket does not take at once is queued, up to 1024 messages and 1 MiB. While the socket is
        behind, or there is none, a LATEST message replaces the one of the same kind that waits, and an
        UNRELIABLE one is dropped.

        Raises like `send`, and `BufferFull` when there is no room.
        """
        rules, payload = self._encode(message)
        self._sender.send_soon(rules.tag, payload, rules.delivery)

    async def request(self, message: Message, reply: type[_M], *, timeout: float = 2.0) -> _M:
        """Sends a message that a service answers, and gives its reply, an instance of the class `reply`.

        `timeout` is in seconds, and runs on while there is no connection. When it is cancelled, times out or
        the session ends, the server may have done what was asked all the same. A session that is resumed
        brings the answer; one that is not is a `ConnectionClosed` here, while the client may go on. May be
        awaited on any event loop.

        Raises `RequestFailed` (the server said no), `RequestTimeout`, `ConnectionClosed`; `TypeError` and
        `ValueError` like `send`.
        """
        ask = self._ask_of(message, reply, timeout)
        if get_running_loop() is self._loop and (pending := self._sender.post_now(ask)):
            # `Sender.answer`, without a coroutine of its own for each request.
            try:
                response = await pending.answer
            finally:
                self._sender.forget(pending.key)
            return self._reply_in(response, ask.name, reply)
        return await self._request(ask, reply)

    def batch(self, *, stop_on_error: bool = False) -> Batch:
        """Requests in one frame, which the server runs one after the other:

            async with client.batch() as batch:
                first = batch.request(RenameRequest(name="zoe"), RenameReply)
                second = Lobby(batch).rename(RenameRequest(name="ann"))
            print((await first).name, (await second).name)

        They are sent when the block is left, at most 64 and what fits into one frame. Each is answered, or
        fails, for itself. `stop_on_error`: those behind the first that is not answered with OK are not run,
        and fail with UNAVAILABLE.
        """
        self._require_own_loop("batch")
        return Batch(self, stop_on_error=stop_on_error)

    async def join(self, room: str, *, timeout: float = 2.0) -> str:
        """Moves this player to another room, which is made if it is not there; gives its name.

        What was received before is of the old room, what comes after of the new one; `room` and `members`
        change in between. Raises like `request`.
        """
        return (await self._request(join_of(room, timeout), JoinRoomReply)).room

    # Receiving

    def __aiter__(self) -> AsyncIterator[Message]:
        """Gives the messages of the game that have no handler, in the order they came, and calls the handlers
        of the others in between.

        Ends after `close` or a normal end by the server, once all that was received before is taken. Raises
        `ConnectionClosed` after any other end. Goes on over lost connections, and gives nothing twice.
        Nothing is lost by leaving a loop and entering another.
        """
        return _Messages(self)

    def with_senders(self) -> AsyncIterator[tuple[Message, Member | None]]:
        """Like iterating the client, and gives each message with its sender. None: the server."""
        return _MessagesWithSenders(self)

    async def run(self) -> None:
        """Calls handlers for what arrives, until the session ends: for a client that is not iterated.

        Returns after `close` or a normal end by the server, once all that was received before is handled;
        raises `ConnectionClosed` after any other end. Messages without a handler are thrown away and counted
        in `dropped.unhandled`. A handler is let finish before the next one begins; pings, requests and
        members go on meanwhile. When it is cancelled, the handler that runs is cancelled with it, and the
        rest waits for the next `run`.
        """
        while await self._take() is not None:
            self.dropped.unhandled += 1

    # The end

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Ends the session: tells the server, sends what waits, closes the socket. Takes a second at most.
        While there is no connection, what waits is lost, and the server learns of the end when it stops
        waiting for another one.

        `code` is 0 or one of the application's, 4000 to 4999. Does nothing but wait when the session has
        ended or is about to. Any number of tasks may call it, on any event loop; a cancelled one does not
        stop the closing.
        """
        code = close_code(code)
        if get_running_loop() is not self._loop:
            await self._from_elsewhere(lambda: self._close(code, reason), unless_ended=True)
            return
        await self._close(code, reason)

    # Opening and closing

    async def _open(self, target: Target, timeout: float) -> None:
        deadline = self._loop.time() + timeout
        timer = None
        opened = False
        try:
            await self._line.open(target, timeout=timeout)
            timer = self._loop.call_later(max(0.0, deadline - self._loop.time()), self._login_timed_out)
            await self._opened
            opened = True  # and maybe lost again already, which is the line's to see to
        except ConnectionClosed as error:
            closed = error.closed
            if closed.by_peer and closed.code != CloseCode.TIMEOUT:
                mismatch = closed.code == CloseCode.SCHEMA_MISMATCH
                raise (SchemaMismatch if mismatch else LoginRefused)(closed) from None
            raise self._no_session(target.address, closed.reason) from error.__cause__
        except asyncio.TimeoutError:
            why = f"the login was not answered within {timeout:g} s"
            if self._session.schema_wanted:
                why += "; the server asked for the schema of this client and may still be comparing it"
            raise self._no_session(target.address, why) from None
        finally:
            if timer is not None:
                timer.cancel()
            if not opened:
                if not self._opened.cancel() and not self._opened.cancelled():
                    self._opened.exception()  # known to us, so not to be logged
                if self._session.welcome is None:
                    self._line.abort()
                else:  # cancelled in the moment in which it came
                    self._line.close(CloseCode.NORMAL, "")

    def _no_session(self, address: Address, why: str) -> ConnectError:
        # Only a tagwire server asks for a schema.
        doubt = "" if self._session.schema_wanted else ". Is it a tagwire server?"
        if doubt and not address.secure:
            doubt += f" It may want TLS: {address.scheme}s://"
        return ConnectError(str(address), f"connected, but {why}{doubt}")

    def _login_timed_out(self) -> None:
        if not self._opened.done():
            self._opened.set_exception(asyncio.TimeoutError())

    async def _close(self, code: int, reason: str) -> None:
        if self.closed is None and not self._closed_by_user:
            self._closed_by_user = True
            if self._session.state is State.OPEN:
                self._sender.flush()
            self._line.close(code, reason[:MAX_REASON])
        await asyncio.wait([self._line.over])

    def _closed_error(self, closed: Closed | None = None, *, may_have_run: bool = False) -> ConnectionClosed:
        closed = closed or self.closed or Closed(CloseCode.TIMEOUT, "its event loop was stopped")
        error = ConnectionClosed(closed, may_have_run=may_have_run)
        error.__cause__ = self._line.failure or self._connection.failure
        return error

    @property
    def _connection(self) -> Connection:
        return self._line.connection

    def _require_open(self) -> None:
        if self.closed is not None:
            raise self._closed_error()

    def _require_own_loop(self, what: str) -> None:
        if get_running_loop() is not self._loop:
            raise RuntimeError(f"{what} works only on the event loop that the client was connected on")

    # Sending

    def _encode(self, message: Message, *, request: bool = False) -> tuple[Rules, bytes]:
        known = (self._requests if request else self._sendable).get(type(message))
        rules, limit = known or self._sendable_rules(message, request=request)
        if self._validator is not None:
            self._validator.check(message)
        try:
            payload = message.SerializeToString()
        except EncodeError as error:
            raise ValueError(f"{rules.name} cannot be encoded: {error}") from None
        if len(payload) > limit:
            raise ValueError(f"{rules.name} of {len(payload)} bytes, limit {limit}")
        return rules, payload

    def _sendable_rules(self, message: Message, *, request: bool) -> tuple[Rules, int]:
        """The rules of a message that may be sent so, and how large it may be. Looked at once for each class
        and connection."""
        rules = self.schema.rules_of(message)
        if rules.sender == "SERVER":
            raise ValueError(f"{rules.name} is sent by the server only (from: SERVER)")
        if rules.request and not request:
            raise TypeError(
                f"{rules.name} is a request of a service; use client.request() or the service's class"
            )
        if request and not rules.request:
            raise TypeError(f"{rules.name} is not a request of a service; use client.send()")
        limit = self._session.max_frame_bytes - (WRAPPER_BYTES if request else 0)
        limit = min(limit, rules.max_bytes or limit)
        if not isinstance(message, type):
            (self._requests if request else self._sendable)[type(message)] = rules, limit
            if not request and self._validator is None:
                headers = SHORT_HEADERS[rules.tag] if rules.tag <= 255 else ()
                self._ready[type(message)] = rules.tag, limit, headers
        return rules, limit

    def _handle_writable(self, writable: bool) -> None:
        if writable:
            self._sender.pump()

    def _ask_of(self, message: Message, reply: type[Message], timeout: float) -> Ask:
        try:
            tag, limit, name = self._ready_to_ask[type(message), reply]
            body = message.SerializeToString()
        except (KeyError, TypeError, EncodeError):  # TypeError: not even a class is asked for
            pass
        else:
            if len(body) <= limit:
                return tuple.__new__(Ask, (tag, body, name, timeout))
        rules, body = self._encode(message, request=True)
        if not (isinstance(reply, type) and issubclass(reply, Message)):
            raise TypeError(f"reply must be the class of the reply, not {reply!r}")
        if self._validator is None and (known := self._requests.get(type(message))):
            self._ready_to_ask[type(message), reply] = rules.tag, known[1], rules.name
        return Ask(rules.tag, body, rules.name, timeout)

    async def _request(self, ask: Ask, reply: type[_M]) -> _M:
        if get_running_loop() is not self._loop:
            answer: _M = await self._from_elsewhere(lambda: self._exchange(ask, reply), asks=True)
            return answer
        return await self._exchange(ask, reply)

    async def _exchange(self, ask: Ask, reply: type[_M]) -> _M:
        try:
            (pending,) = await self._sender.post([ask])
        except asyncio.TimeoutError:
            raise self._sender.not_sent(ask, ask.timeout) from None
        return self._reply_in(await self._sender.answer(pending), ask.name, reply)

    def _reply_in(self, response: Response, name: str, reply: type[_M]) -> _M:
        if response.status != STATUS_OK:
            failure = RequestTimeout if response.status == StatusTable.TIMEOUT else RequestFailed
            raise failure(name, response)
        try:
            return reply.FromString(response.body)
        except (DecodeError, ValueError):
            self.dropped.undecodable += 1
            expected = reply.DESCRIPTOR.full_name
            raise TagwireError(
                f"the answer to {name} cannot be read as {expected}; generate the stubs again from the "
                "server's schema"
            ) from None

    async def _from_elsewhere(
        self, call: Callable[[], Coroutine[Any, Any, _T]], *, unless_ended: bool = False, asks: bool = False
    ) -> Any:
        """Runs a coroutine of this client on its own loop, awaited on another one. `asks`: a request."""

        def stopped() -> Any:
            if not unless_ended:
                raise self._closed_error(may_have_run=asks) from None

        return await run_on(self._loop, call, stopped)

    # Receiving

    def _require_receivable(self, kind: type[Any]) -> None:
        super()._require_receivable(kind)
        if not self._receive and issubclass(kind, Message):
            raise ValueError(
                f"a client with receive=False gets no {kind.__name__}, so no handler would be called"
            )

    async def _take(self) -> Received | None:
        """The next message without a handler, or None after a normal end. Runs the handlers of what is before
        it."""
        self._require_own_loop("iterating a client")
        inbox, alone, clock = self._inbox, self._handlers.alone.get, time.monotonic
        entries = inbox.entries
        while True:
            if self._handling is not None:
                await self._until_handled(self._handling)
                continue
            if (
                entries
                and inbox.latest is None
                and type(first := entries[0]) is tuple
                and type(first[0]) in self._handlers.alone
            ):
                # Most that comes: messages with one handler, a plain function, while nobody is behind. The
                # same as below, without a call for each.
                begun, unseen = None, 0
                looked, stop_at = self._slice_began, self._slice_began + HANDLER_SLICE
                rest = iter(inbox.take(TAKEN_TOGETHER))
                try:
                    for first in rest:
                        if type(first) is not tuple or (handler := alone(type(first[0]))) is None:
                            inbox.give_back([first, *rest])
                            break
                        try:
                            result = handler(first[0], first[1])
                        except Exception:
                            log.exception("a handler failed: %r", handler)
                        else:
                            if result is not None and inspect.isawaitable(result):
                                begun = handler, first, result
                                break
                        if unseen:
                            unseen -= 1
                            continue
                        before, looked = looked, clock()
                        if looked >= stop_at:
                            break
                        if looked - before < QUICK_SECONDS:
                            unseen = QUICK_HANDLERS
                finally:
                    inbox.give_back([*rest])
                if begun is not None:
                    called, received, awaited = begun
                    await self._run_handlers((called,), received, begun=awaited)
                elif clock() >= stop_at:
                    await self._give_way()
                continue
            if entries and (event := inbox.pop()) is not None:
                if handlers := self._handlers.of(event):
                    await self._run_handlers(handlers, event)
                elif isinstance(event, tuple):
                    return event
                else:
                    self._fallback(event)
            elif self.closed is None:
                taker = self._loop.create_future()
                self._takers.append(taker)
                try:
                    await taker
                finally:
                    self._takers.remove(taker)
                self._slice_began = clock()
            elif self._closed_by_user or self.closed.code == CloseCode.NORMAL:
                return None
            else:
                raise self._closed_error()

    def _wake_takers(self) -> None:
        for taker in self._takers:
            if not taker.done():
                taker.set_result(None)

    async def _until_handled(self, handling: asyncio.Task[Any]) -> None:
        if handling is asyncio.current_task():
            raise RuntimeError("a handler can neither iterate nor run the client that calls it")
        self._handled.clear()
        await self._handled.wait()

    async def _run_handlers(
        self,
        handlers: tuple[Callable[..., object], ...],
        event: Received | HandledEvent,
        *,
        begun: Awaitable[object] | None = None,
    ) -> None:
        """Runs the handlers of one event. `begun`: there is one, which was called and gave this."""
        self._handling = asyncio.current_task()
        try:
            if begun is not None:
                await _finish(handlers[0], begun)
            else:
                for handler in handlers:
                    await _run_handler(handler, event)
            if time.monotonic() - self._slice_began >= HANDLER_SLICE:
                await self._give_way()
        finally:
            self._handling = None
            self._handled.set()

    async def _give_way(self) -> None:
        """Lets the loop have a turn: many short handlers must not hold up pings either."""
        await asyncio.sleep(0)
        self._slice_began = time.monotonic()

    def _handle_event(self, event: Event | Reconnecting) -> None:
        if isinstance(event, Opened):
            self._handle_opened(event)
        elif isinstance(event, Lost):
            if not event.resumable:
                why = f"{event.closed.reason or event.closed.code.name}; the session cannot be resumed"
                self._fail_requests(replace(event.closed, reason=why), unsent=False)
            self._sender.wake()
        elif isinstance(event, Closed):
            self._handle_closed(event)
        elif isinstance(event, Responded):
            self._handle_response(event.response)
        elif isinstance(event, tuple):
            self._handle_received([event])
        else:
            self._handle_handled(event)

    def _handle_response(self, response: Response) -> None:
        if not self._sender.answered(response):
            self.dropped.misplaced += 1  # too late, twice, or nobody asked

    def _handle_opened(self, event: Opened) -> None:
        self._ready.clear()
        self._ready_to_ask.clear()
        self._sendable.clear()
        self._requests.clear()
        if not event.resumed and event.welcome.verdict == Verdict.COMPATIBLE:
            log.info("the server's schema differs by additions; each side reads what the other sends")
        elif not event.resumed and event.welcome.verdict == Verdict.BREAKING:
            log.warning("the server's schema contradicts the stubs of this client; generate them again")
        if not self._opened.done():
            self._opened.set_result(None)
            return
        lost = event.lost
        if not event.resumed:
            why = "the session could not be resumed, and another one has begun"
            self._fail_requests(Closed(CloseCode.TIMEOUT, why, by_peer=True), unsent=True)
            lost += self._sender.reset()
        self._handle_handled(Reconnected(event.resumed, self._line.attempts, lost))

    def _fail_requests(self, closed: Closed, *, unsent: bool) -> None:
        self._sender.fail_requests(closed, unsent=unsent)

    def _handle_received(self, events: list[Received]) -> None:
        if self._receive:
            self._queue_received(self._inbox, events)
        else:
            self.dropped.behind += len(events)

    def _queue_received(self, inbox: Backlog[Any], events: list[Received]) -> None:
        # As long as nothing is behind, all together.
        if not self._overflowed and inbox.extend(events, at_most=INBOX_BEHIND):
            self._wake_takers()
            return
        for event in events:
            _, _, size, delivery, _ = event
            self._queue(inbox, event, size, delivery, key_of(event))

    def _handle_handled(self, event: HandledEvent) -> None:
        if isinstance(event, Pinged):
            waiters, self._ping_waiters = self._ping_waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(event)
        elif isinstance(event, Reconnecting | Reconnected):
            self._reconnecting = event if isinstance(event, Reconnecting) else None
        # A handler may be set until its turn comes. But warnings do not wait for it, and pings grow old.
        kept = self._receive and isinstance(event, MemberChanged | RoomEnded)
        if kept or self._handlers.of(event):
            self._queue(self._inbox, event, EVENT_BYTES, delivery_of(event), type(event).__name__)
        else:
            # Where warnings are made errors, the loop tells of it, and the session goes on.
            self._loop.call_soon(self._fallback, event)

    def _queue(self, inbox: Backlog[_T], item: _T, size: int, delivery: str, key: Hashable) -> None:
        """Queues what was received. What finds no room ends the session, and nothing is queued behind it."""
        if self._overflowed:
            return
        before = inbox.dropped
        pushed = inbox.push(item, size, delivery, key, behind=len(inbox) >= INBOX_BEHIND)
        self.dropped.behind += inbox.dropped - before
        if pushed:
            self._wake_takers()
        else:
            self._overflowed = True
            reason = f"the application does not take what it receives, {len(inbox)} messages wait; "
            self._line.close(CloseCode.SLOW, reason + self._how_to_take)

    def _handle_closed(self, closed: Closed) -> None:
        self._reconnecting = None
        self._sender.end(closed)
        fail(self._opened, self._closed_error())
        for waiter in self._ping_waiters:
            fail(waiter, self._closed_error())
        self._wake_takers()


async def _run_handler(handler: Callable[..., object], event: Received | HandledEvent) -> None:
    try:
        result = handler(*arguments_of(event))
    except Exception:
        log.exception("a handler failed: %r", handler)
        return
    if inspect.isawaitable(result):
        await _finish(handler, result)


async def _finish(handler: Callable[..., object], result: Awaitable[object]) -> None:
    try:
        await result
    except Exception:
        log.exception("a handler failed: %r", handler)


def close_code(code: int) -> int:
    """The code, if an application may close with it; raises `ValueError` if not."""
    code = int(code)
    if code != CloseCode.NORMAL and not 4000 <= code <= 4999:
        raise ValueError(f"close code {code}; it must be 0, or 4000 to 4999 for an application's own")
    return code


class _Messages(AsyncIterator[Message]):
    def __init__(self, client: Client) -> None:
        self._client = client

    async def __anext__(self) -> Message:
        item = await self._client._take()
        if item is None:
            raise StopAsyncIteration
        return item[0]


class _MessagesWithSenders(AsyncIterator["tuple[Message, Member | None]"]):
    def __init__(self, client: Client) -> None:
        self._client = client

    async def __anext__(self) -> tuple[Message, Member | None]:
        item = await self._client._take()
        if item is None:
            raise StopAsyncIteration
        return item[:2]
