"""One socket's life: a session, its transport and its timer, on one event loop.

There are no tasks in here. Everything runs in callbacks of the loop, so nothing can die unseen: a fault of
our own ends the session with its text and is logged. A client that reconnects has one of these after the
other, for the same session; the next one begins when the socket of the one before is closed.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from .close import CloseCode
from .events import Event, Received, Responded
from .frame import SHORT_HEADERS, encode
from .gen.v1 import Response
from .session import Now, Session, State
from .transport import Target, Transport, open_transport

__all__ = ["Connection"]

log = logging.getLogger("tagwire")

BURST_SHARES = 256
SHARE_BYTES = 256
"""What is sent at most in one turn of the loop, so that a busy sender leaves room for pings: 256 frames of
the short form, or 64 KiB of larger ones."""
MAX_WAITING_BYTES = 1024 * 1024
"""What may wait for the socket, or two of the largest frames if that is more. Senders wait long before;
only answers to the server come so far."""


_OPEN = State.OPEN
"""To look it up in the enum costs more than what it is compared for."""
_new = tuple.__new__
"""Makes a `Now` without the call of its own `__new__`."""


class Connection:
    """Feeds a session from a socket and writes what it says."""

    def __init__(
        self,
        session: Session,
        on_event: Callable[[Event], None],
        on_received: Callable[[list[Received]], None],
        on_responded: Callable[[Response], None],
        on_writable: Callable[[bool], None],
    ) -> None:
        """`on_received` is told of messages of the game, those that came together at once; `on_responded` of
        answers; `on_event` of all else."""
        self.session = session
        self.writable = False
        """Whether messages may be sent now: the session is open, and the socket takes more."""
        self.clear = False
        """Whether they may be sent in this turn of the loop: it is writable and not busy."""
        self.busy = False
        """Whether this turn of the loop has sent its share. Give way to the loop before sending more."""
        self.failure: Exception | None = None
        """The fault of this library that ended the session. None: there was none."""
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Done when the socket is closed."""
        self._on_event = on_event
        self._on_received = on_received
        self._on_responded = on_responded
        self._on_writable = on_writable
        self._transport: Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._flush_planned = False
        self._append = session.outbox.append
        self._shares = 0
        self._stepping = False
        self._finished = False
        self._socket_takes_more = False

    async def open(self, target: Target, *, timeout: float) -> None:
        """Connects and sends the login. Raises `ConnectError`."""
        try:
            await open_transport(target, self, timeout=timeout)
        except (Exception, asyncio.CancelledError):
            if self._transport is None:
                self._set_ended()
            raise

    def send(self, tag: int, payload: bytes) -> None:
        """Sends a message in this turn of the loop. The session must be open."""
        if self.session.state is not _OPEN:
            raise RuntimeError(f"the session is {self.session.state.value}, not open")
        length = len(payload)
        if length <= 255 and 0 < tag <= 255:
            self.put(SHORT_HEADERS[tag][length] + payload)
        else:
            self.put(encode(tag, payload), max(1, -(-length // SHARE_BYTES)))

    def put(self, frame: bytes, shares: int = 1) -> None:
        """`send` of a frame that is written already, of the short form unless `shares` says more. Only while
        it is `clear`."""
        self._append(frame)
        shares = self._shares = self._shares + shares
        if shares >= BURST_SHARES:
            self.busy, self.clear = True, False
        if not self._flush_planned:
            self._plan_flush()

    def close(self, code: int, reason: str) -> None:
        """Ends the session from this side: tells the server, flushes, closes. Takes a second at most."""
        self._step(lambda now: self.session.close(code, reason, now))

    def abort(self) -> None:
        """Closes the socket without a word."""
        if self._transport is not None:
            self._transport.abort()

    def lose(self, why: str) -> None:
        """Takes the connection for lost: closes the socket without a word, and tells the session."""
        self._step(lambda now: self.session.receive_eof(why))
        self.abort()

    def now(self) -> Now:
        """Reads both clocks."""
        return _new(Now, (self._loop.time(), time.time_ns() // 1000))

    # Owner of the transport

    def handle_connected(self, transport: Transport) -> None:
        self._transport = transport
        self._socket_takes_more = True
        self._step(self.session.start)

    def handle_data(self, data: bytes) -> None:
        self._step(self.session.receive_data, data)

    def handle_message(self, data: bytes) -> None:
        self._step(self.session.receive_message, data)

    def handle_part(self) -> None:
        self.session.hear(self.now())

    def max_message_bytes(self) -> int:
        return self.session.max_receive_bytes

    def handle_broken(self, code: int, reason: str) -> None:
        self._step(lambda now: self.session.close(code, reason, now))

    def handle_close(self, code: int, reason: str) -> None:
        self._step(lambda now: self.session.receive_close(code, reason))

    def handle_eof(self) -> None:
        self._step(lambda now: self.session.receive_eof())

    def handle_lost(self, error: str) -> None:
        why = f"the connection broke: {error}" if error else ""
        self._transport = None
        self._socket_takes_more = self.writable = self.clear = False
        self._step(lambda now: self.session.receive_eof(why))
        self._set_ended()

    def handle_writable(self, writable: bool) -> None:
        self._socket_takes_more = writable
        self._look_if_writable()

    # One step

    def _step(self, change: Callable[..., None], *arguments: object) -> None:
        """Changes the session, by `change(*arguments, now)`, then does what it says: hands out events,
        writes, closes, sets the timer."""
        now, session = self.now(), self.session
        if self._stepping:  # an event's receiver acts on the session; the step around it does the rest
            change(*arguments, now)
            return
        self._stepping = True
        try:
            try:
                change(*arguments, now)
            except Exception as error:
                self._fail(error, now)
            while session.happened:
                only_received = session.only_received
                events = session.events()
                if session.state is not _OPEN:
                    self.writable = self.clear = False
                if only_received:
                    self._guarded(now, self._on_received, events)
                else:
                    self._hand_out(events, now)
        finally:
            self._stepping = False
        if session.has_data:
            self._flush()
        if session.state is _OPEN:
            # Its deadline moves on by what comes; a timer that is too early is harmless.
            if self._timer is None:
                self._set_timer()
            if self.writable is not self._socket_takes_more:
                self._look_if_writable()
            return
        if session.state in (State.AWAY, State.CLOSED):
            self.abort()
        elif session.state is State.CLOSING and not self._finished and self._transport is not None:
            self._finished = True
            self._transport.finish(self.session.farewell_code)
        self._set_timer()
        self._look_if_writable()

    def _hand_out(self, events: list[Event], now: Now) -> None:
        together: list[Received] = []
        answers = False
        for event in events:
            if isinstance(event, tuple) and not isinstance(event, Responded):
                together.append(event)
                continue
            if together:
                self._guarded(now, self._on_received, together)
                together = []
            try:
                if isinstance(event, Responded):
                    answers = True
                    self._on_responded(event.response)
                else:
                    self._on_event(event)
            except Exception as error:
                self._fail(error, now)
        if together:
            self._guarded(now, self._on_received, together)
        if answers and not self._flush_planned:
            # Who was answered has the loop's next turn and may ask again: that goes out at the end of it and
            # not in one more.
            self._plan_flush()

    def _look_if_writable(self) -> None:
        writable = self._socket_takes_more and self.session.state is _OPEN
        if writable != self.writable:
            self.writable = writable
            self.clear = writable and not self.busy
            self._on_writable(writable)

    def _guarded(self, now: Now, change: Callable[..., None], *arguments: object) -> None:
        try:
            change(*arguments)
        except Exception as error:
            self._fail(error, now)

    def _fail(self, error: Exception, now: Now) -> None:
        log.exception("tagwire failed and closes the connection")
        self.failure = self.failure or error
        self.session.close(CloseCode.MALFORMED, f"the client failed on it: {error!r}", now)

    def _plan_flush(self) -> None:
        self._flush_planned = True
        self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        self._shares = 0
        self.busy, self.clear = False, self.writable
        if self._transport is None:
            return  # what is counted goes out on the next connection
        frames = self.session.data_to_send()
        if not frames:
            return
        self._transport.write(frames)
        if self._socket_takes_more:
            return  # so less waits than would pause it, which is less than the limit
        limit = max(MAX_WAITING_BYTES, 2 * self.session.max_frame_bytes)
        if self._transport.waiting_bytes() > limit and self.session.state is State.OPEN:
            self._loop.call_soon(self.close, CloseCode.SLOW, "the server takes nothing from its socket")

    def _set_timer(self) -> None:
        deadline = self.session.next_deadline()
        if self._transport is None or deadline is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        elif self._timer is None or deadline < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._timer_fired)

    def _set_ended(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)

    def _timer_fired(self) -> None:
        self._timer = None
        self._step(self.session.handle_timer)
