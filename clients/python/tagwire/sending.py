"""What a client sends, and the requests that wait for their answers.

    send, post   -- if nothing waits and the socket takes it --+
    send_soon    --> waiting --> pump -------------------------+--> Connection

`waiting` is what has no place in the count of the session yet: up to 1024 frames and 1 MiB, in which a LATEST
message replaces the one before. While there is no connection, all that is sent waits there; over that `send`
waits and `send_soon` raises. Everything is for the client's event loop but `send_soon`, which any thread may
call.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from .ask import Ask, Pending, not_answered, not_sent
from .backlog import Backlog
from .close import Closed
from .connection import Connection
from .deadline import within
from .errors import BufferFull, ConnectionClosed, RequestTimeout, TagwireError
from .gen.v1 import Response
from .reconnecting import Line
from .session import REQUEST, State

__all__ = ["Sender"]

OUTBOX_MESSAGES = 1024
OUTBOX_BYTES = 1024 * 1024
LOOK_SECONDS = 1e-6
"""How long nobody looks, for each request that waits, who of them is late: so that looking takes a small part
of the time. Of 10,000 each may be 10 ms late."""


class ClosedError(Protocol):
    """Makes what is raised once the session has ended, or for one that has ended."""

    def __call__(self, closed: Closed | None = None, *, may_have_run: bool = False) -> ConnectionClosed: ...


_new = tuple.__new__
"""Makes a `Pending` without the call of its own `__new__`."""

Waiting = tuple[int, bytes, tuple[int, ...]]
"""A frame that waits: its tag, its payload, and the keys of the requests in it. A bare tuple: one is made for
each message."""


class Sender:
    """The way of messages and requests to the connection, in their order."""

    def __init__(self, line: Line, closed_error: ClosedError) -> None:
        self.ended: Closed | None = None
        """How it ended for good. Changed by `end`."""
        self._line = line
        self._session = line.session
        self._closed_error = closed_error
        self._loop = asyncio.get_running_loop()
        self._answers: dict[int, Pending] = {}
        # One timer for all: it is for the earliest deadline there was, and an answer leaves it as it is. A
        # timer for each costs as much as all else that is done to ask.
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._unsent: dict[int, Waiting] = {}
        self._turn = asyncio.Lock()
        self.before = 0
        """How many have their turn or wait for it."""
        self._progress = asyncio.Event()
        # Shared with other threads, under the lock:
        self._lock = threading.Lock()
        self.waiting: Backlog[Waiting] = Backlog(max_items=OUTBOX_MESSAGES, max_bytes=OUTBOX_BYTES)
        self._pump_planned = False

    # Messages

    @asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        """Waits until all who waited before have sent."""
        self.before += 1
        try:
            async with self._turn:
                yield
        finally:
            self.before -= 1

    def post_now(self, ask: Ask) -> Pending | None:
        """Sends a request if nobody is before it and there is room. None: `post` does it."""
        # `_clear`, without a call for each message. Nobody can write once it has ended.
        connection = self._line.connection
        if not connection.clear or self.waiting.entries or self.before:
            return None
        deadline = self._loop.time() + ask.timeout  # what fails does so before anything is sent
        payload, key = self._session.draft_one(ask.tag, ask.body)
        connection.send(REQUEST, payload)
        pending = self._answers[key] = _new(Pending, (key, ask, deadline, self._loop.create_future()))
        if deadline < self._timer_at:
            self._set_timer(deadline)
        return pending

    async def send(self, tag: int, payload: bytes, delivery: str) -> None:
        """Sends a message, in its turn. Waits while there is no room."""
        if not self.before and self._clear():
            self._line.connection.send(tag, payload)
            return
        async with self._in_turn():
            while not self._clear():
                if self._queue((tag, payload, ()), delivery):
                    return
                await self._next_change()
            self._line.connection.send(tag, payload)

    def send_soon(self, tag: int, payload: bytes, delivery: str) -> None:
        """Sends a message soon. Raises `BufferFull` when there is no room, `ConnectionClosed` after the
        end."""
        with self._lock:
            self._require_open()
            behind = not self._line.connection.writable
            if not self.waiting.push((tag, payload, ()), len(payload), delivery, tag, behind=behind):
                why = (
                    "there is no connection"
                    if self.away
                    else "the server takes them slower than they are sent"
                )
                text = f"{len(self.waiting)} messages, {self.waiting.bytes} bytes wait for the socket already"
                raise BufferFull(f"{text}; {why}")
            plan, self._pump_planned = not self._pump_planned, True
        if plan:
            try:
                self._loop.call_soon_threadsafe(self.pump)
            except RuntimeError:
                raise self._closed_error() from None

    # Requests

    async def post(self, asks: Sequence[Ask], *, stop_on_error: bool | None = None) -> list[Pending]:
        """Sends one request, or a Batch where `stop_on_error` is said. Raises `asyncio.TimeoutError` when
        there is no room for it within the shortest of their times: nothing was sent then, which `not_sent`
        tells."""
        began = self._loop.time()
        if not self.before and (posted := self._post_many(asks, stop_on_error, began)):
            return posted
        late: list[Pending] = []
        try:
            await within(
                min(ask.timeout for ask in asks), self._post_in_turn(asks, stop_on_error, began, late)
            )
        except asyncio.CancelledError:
            for one in late:  # posted in the last moment
                self.forget(one.key)
            raise
        return late

    def not_sent(self, ask: Ask, waited: float) -> RequestTimeout:
        """What a request fails with that found no room within some seconds."""
        return not_sent(ask, waited, away=self.away)

    async def answer(self, pending: Pending) -> Response:
        """The answer to a request. Raises `RequestTimeout`, `ConnectionClosed`."""
        try:
            return await pending.answer
        finally:
            self.forget(pending.key)

    def answered(self, response: Response) -> bool:
        """Takes an answer. False: nobody waits for it."""
        pending = self._answers.get(response.key)
        if pending is None or pending.answer.done():
            return False
        pending.answer.set_result(response)
        return True

    def forget(self, key: int) -> bool:
        """Nobody waits for the answer any more. What was not sent yet will not be, unless it is in a Batch
        with others; gives whether that is so."""
        self._answers.pop(key, None)
        frame = self._unsent.pop(key, None)
        if frame is None or any(other in self._unsent for other in frame[2]):
            return False
        with self._lock:
            self.waiting.remove(frame)
        self._progress.set()
        return True

    def failure_of(self, key: int) -> TagwireError | None:
        """What a request has failed with that somebody waits for. None: it has not."""
        pending = self._answers.get(key)
        failure = pending.answer.exception() if pending is not None and pending.answer.done() else None
        return failure if isinstance(failure, TagwireError) else None

    def fail_requests(self, closed: Closed, *, unsent: bool) -> None:
        """The session ended in which they were asked. `unsent`: those that wait to be sent fail, too."""
        for key, pending in list(self._answers.items()):
            if unsent or key not in self._unsent:
                fail(pending.answer, self._closed_error(closed, may_have_run=key not in self._unsent))

    def _post_many(
        self, asks: Sequence[Ask], stop_on_error: bool | None, began: float
    ) -> list[Pending] | None:
        """Sends or queues requests. None: there is no room."""
        clear = self._clear()
        if not clear and not self.away:
            return None
        # Drafted only now: keys rise on the wire.
        requests = [(ask.tag, ask.body) for ask in asks]
        tag, payload, keys = self._session.draft(requests, stop_on_error=stop_on_error)
        if clear:
            self._line.connection.send(tag, payload)
        else:
            frame = (tag, payload, tuple(keys))
            if not self._queue(frame, "ORDERED"):
                return None
            self._unsent.update((key, frame) for key in keys)
        pending = [
            Pending(key, ask, began + ask.timeout, self._loop.create_future())
            for key, ask in zip(keys, asks, strict=True)
        ]
        self._answers.update((one.key, one) for one in pending)
        deadline = min(one.deadline for one in pending)
        if deadline < self._timer_at:
            self._set_timer(deadline)
        return pending

    async def _post_in_turn(
        self, asks: Sequence[Ask], stop_on_error: bool | None, began: float, posted: list[Pending]
    ) -> None:
        async with self._in_turn():
            while (pending := self._post_many(asks, stop_on_error, began)) is None:
                await self._next_change()
            posted += pending

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self._loop.call_at(when, self._look_who_is_late), when

    def _look_who_is_late(self) -> None:
        now = max(self._loop.time(), self._timer_at)  # a loop may be early by what its clock cannot tell
        self._timer, self._timer_at = None, math.inf
        for pending in list(self._answers.values()):
            if pending.deadline <= now:
                self._time_out(pending)
        if self._answers:
            earliest = min(pending.deadline for pending in self._answers.values())
            self._set_timer(max(earliest, now + LOOK_SECONDS * len(self._answers)))

    def _time_out(self, pending: Pending) -> None:
        if not pending.answer.done():
            ask = pending.ask
            unsent = self.forget(pending.key)
            pending.answer.set_exception(self.not_sent(ask, ask.timeout) if unsent else not_answered(ask))

    # The connection

    @property
    def away(self) -> bool:
        """Whether there is no connection now, and another one is to come."""
        return self._session.state is not State.OPEN and self.ended is None

    def pump(self) -> None:
        """Hands what waits to the connection, as far as the socket takes it, and wakes who waits."""
        connection = self._line.connection
        with self._lock:
            self._pump_planned = False
            while connection.writable and self._session.state is State.OPEN and self.waiting:
                if connection.busy:
                    self._pump_planned = True
                    self._loop.call_soon(self.pump)
                    return
                self._send_waiting(connection)
        self._progress.set()

    def flush(self) -> None:
        """Hands everything that waits to the connection, whatever the socket takes: before the end."""
        with self._lock:
            while self.waiting:
                self._send_waiting(self._line.connection)

    def reset(self) -> int:
        """Forgets what waits, for a session that is no more; gives how much that was."""
        with self._lock:
            count = len(self.waiting)
            self.waiting.clear()
        self._unsent.clear()
        return count

    def wake(self) -> None:
        """The connection is there, or no more: who waits looks again."""
        self._progress.set()

    def end(self, closed: Closed) -> None:
        """It has ended for good."""
        with self._lock:
            self.ended = closed
        if self._timer is not None:
            self._timer.cancel()
        self.fail_requests(closed, unsent=True)
        self.reset()
        self._progress.set()

    def _clear(self) -> bool:
        """Whether a message may be sent now without passing another one by."""
        if self.ended is not None:
            raise self._closed_error()
        connection = self._line.connection
        return connection.writable and not connection.busy and not self.waiting

    def _require_open(self) -> None:
        if self.ended is not None:
            raise self._closed_error()

    def _queue(self, frame: Waiting, delivery: str) -> bool:
        """Queues a frame where there is no connection. False: there is one, or no room."""
        if not self.away:
            return False
        with self._lock:
            return self.waiting.push(frame, len(frame[1]), delivery, frame[0], behind=True)

    async def _next_change(self) -> None:
        if self._line.connection.busy:
            await asyncio.sleep(0)  # the flush is planned
        else:
            self._progress.clear()
            await self._progress.wait()

    def _send_waiting(self, connection: Connection) -> None:
        frame = self.waiting.pop()
        assert frame is not None
        tag, payload, keys = frame
        connection.send(tag, payload)
        for key in keys:
            self._unsent.pop(key, None)


def fail(future: asyncio.Future[Any], error: Exception) -> None:
    """Fails what is not done yet."""
    if not future.done():
        future.set_exception(error)
