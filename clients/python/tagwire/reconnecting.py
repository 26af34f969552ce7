"""The connections of a client, one after the other: the first, and each that takes the place of a lost one.

`Connection` is one socket's life, `Session` what outlives it. Here is who opens the next: timers, and a task
only while a socket is opened. One more task waits for the end, to notice when the loop is being stopped,
which begins with cancelling all tasks: from then on nothing new is begun that the loop could not finish.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from .close import CloseCode, Closed
from .connection import Connection
from .credential import TokenSource, fresh
from .errors import ConnectError
from .events import Event, Lost, Opened, Received
from .gen.v1 import Response
from .reconnect import Delays, Reconnect, Reconnecting
from .session import Session, State
from .transport import Target

__all__ = ["Line"]

log = logging.getLogger("tagwire")

STABLE_SECONDS = 5.0
"""A connection that broke sooner counts as one more failed attempt: so nobody logs in again and again at
once."""


class Line:
    """What connects a session with its server, over all its connections."""

    def __init__(
        self,
        session: Session,
        policy: Reconnect | None,
        *,
        token: TokenSource | None = None,
        on_event: Callable[[Event | Reconnecting], None],
        on_received: Callable[[list[Received]], None],
        on_responded: Callable[[Response], None],
        on_writable: Callable[[bool], None],
    ) -> None:
        self.session = session
        self.attempts = 0
        """How many attempts were begun or planned since the connection was lost. 0: it stands."""
        self.failure: Exception | None = None
        """The fault of this library that ended the session. None: there was none."""
        self._token = token
        self._policy = policy or Reconnect()
        self._delays = Delays(self._policy, random.random)
        self._on_event = on_event
        self._on_received = on_received
        self._on_responded = on_responded
        self._on_writable = on_writable
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self._loop.create_future()
        """Done when all has ended and every socket is closed."""
        self._timer: asyncio.Handle | None = None
        self._opening: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._stopping = False
        self._opened_at = 0.0
        self._lost_at = 0.0
        self.connection = self._new_connection()

    async def open(self, target: Target, *, timeout: float) -> None:
        """Makes the first connection and sends the login. Raises `ConnectError`, and what the function for
        the token raises."""
        self._target, self._timeout = target, timeout
        deadline = self._loop.time() + timeout
        await self._renew_token()
        await self.connection.open(target, timeout=deadline - self._loop.time())

    async def _renew_token(self) -> None:
        if self._token is not None:
            token = await fresh(self._token, str(self._target.address), self._timeout)
            self.session.set_token(token)

    def close(self, code: int, reason: str) -> None:
        """Ends the session from this side: tells the server, where there is a connection, flushes, closes.
        Takes a second at most."""
        self.connection.close(code, reason)
        self._look_if_over()

    def abort(self) -> None:
        """Closes the socket without a word, and makes no other."""
        self._stop()
        self.connection.abort()

    def _new_connection(self) -> Connection:
        connection = Connection(
            self.session,
            on_event=self._handle_event,
            on_received=self._on_received,
            on_responded=self._on_responded,
            on_writable=self._on_writable,
        )
        connection.ended.add_done_callback(lambda _: self._look_if_over())
        return connection

    def _handle_event(self, event: Event) -> None:
        if isinstance(event, Lost) and not self.attempts:
            self._lost_at = self._loop.time()
            if self._lost_at - self._opened_at >= STABLE_SECONDS:
                self._delays.reset()
        self._on_event(event)
        if isinstance(event, Opened):
            self._opened_at = self._loop.time()
            self.attempts = 0
            self._set_timer(None)
            if self._watching is None and self.session.reconnect:
                self._watching = self._loop.create_task(self._watch())
        elif isinstance(event, Lost):
            self._plan(event.closed)
        elif isinstance(event, Closed):
            self._stop()

    # The way back

    def _plan(self, closed: Closed) -> None:
        """Sets the time of the next attempt, or gives up."""
        if self._stopping:
            self._set_timer(self._loop.call_soon(self._stopped))
            return
        left = self._lost_at + self._policy.give_up_after - self._loop.time()
        if closed.retry_after > left or (left <= 0 and self.attempts):
            # Not at once: a session tells what happens to it before it tells of its end.
            self._set_timer(self._loop.call_soon(self._give_up, closed))
            return
        self.attempts += 1
        # A server that has ended the session itself wants its rest.
        quick = closed.code == CloseCode.TIMEOUT
        delay = self._delays.next(quick=quick, retry_after=closed.retry_after)
        delay = min(delay, max(left, 0.0))  # the last one is made at the last moment
        self._set_timer(self._loop.call_later(delay, self._attempt))
        self._on_event(Reconnecting(self.attempts, delay, _why(closed)))

    def _attempt(self) -> None:
        self._timer = None
        if self._opening is not None:  # what it opened was lost again at once
            self._set_timer(self._loop.call_soon(self._attempt))
            return
        self._opening = self._loop.create_task(self._open_next())
        self._opening.add_done_callback(self._opening_done)

    async def _open_next(self) -> None:
        await asyncio.wait([self.connection.ended])  # the old socket is closed before there is a new one
        deadline = self._loop.time() + self._timeout
        try:
            await self._renew_token()
        except ConnectError:
            raise
        except Exception as error:  # not ours; the next attempt may have more luck
            log.warning("the function for the token failed", exc_info=error)
            why = f"the function for the token failed with {type(error).__name__}"
            raise ConnectError(str(self._target.address), why) from error
        connection = self.connection = self._new_connection()
        await connection.open(self._target, timeout=deadline - self._loop.time())
        if self.session.state is State.LOGIN:
            self._set_timer(self._loop.call_at(deadline, self._timed_out, connection))

    def _opening_done(self, opening: asyncio.Task[None]) -> None:
        self._opening = None
        error = None if opening.cancelled() else opening.exception()
        if isinstance(error, ConnectError):
            if self.session.state is State.AWAY:
                self._plan(Closed(CloseCode.TIMEOUT, error.reason, by_peer=True))
        elif isinstance(error, Exception):
            log.error("tagwire failed to reconnect and closes", exc_info=error)
            self.failure = error
            self.close(CloseCode.MALFORMED, f"the client failed on it: {error!r}")
        elif opening.cancelled():  # by `_stop`, or by who stops the loop
            self._stopped()
        self._look_if_over()

    def _timed_out(self, connection: Connection) -> None:
        self._timer = None
        if self.session.state is State.LOGIN:
            connection.lose(f"the login was not answered within {self._timeout:g} s")

    def _give_up(self, closed: Closed) -> None:
        self._timer = None
        seconds = self._loop.time() - self._lost_at
        tried = f"{self.attempts} attempt{'' if self.attempts == 1 else 's'}"
        reason = f"no connection came back in {tried} and {seconds:.3g} s: {_why(closed)}"
        if closed.retry_after:
            reason += f"; the server asks to wait {closed.retry_after:g} s"
        self._end(lambda: self.session.give_up(reason))

    # The end

    async def _watch(self) -> None:
        try:
            await asyncio.wait([self.over])
        except asyncio.CancelledError:
            self._stopping = True
            self._stop()
            if self.session.state is State.LOGIN:
                self.connection.abort()
            self._stopped()
            raise

    def _stopped(self) -> None:
        self._end(lambda: self.session.give_up("its event loop is being stopped"))

    def _end(self, change: Callable[[], None]) -> None:
        """Changes the session where no connection does it, and hands out what comes of that."""
        change()
        for event in self.session.events():
            self._handle_event(event)
        self._look_if_over()

    def _stop(self) -> None:
        self._set_timer(None)
        if self._opening is not None:
            self._opening.cancel()

    def _set_timer(self, timer: asyncio.Handle | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = timer

    def _look_if_over(self) -> None:
        ended = self.session.state is State.CLOSED and self._opening is None
        if ended and self.connection.ended.done() and not self.over.done():
            self.over.set_result(None)


def _why(closed: Closed) -> str:
    return closed.reason or closed.code.name
