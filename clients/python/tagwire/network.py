"""The thread in which a game's client lives, and what it hands over to the game: see `pump.py`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Hashable, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message

from .ask import Ask, Pending
from .backlog import Backlog
from .client import INBOX_BYTES, INBOX_MESSAGES, Client
from .close import CloseCode, Closed
from .connecting import Connecting
from .credential import TokenSource
from .errors import ConnectionClosed, RequestTimeout, TagwireError
from .events import Event, MemberChanged, Noticed, Opened, Pinged, Received, RoomEnded
from .gen.v1 import JoinRoomReply, Response, Status, Welcome
from .handlers import EVENT_BYTES, HandledEvent, delivery_of
from .reconnect import Reconnect, Reconnected, Reconnecting
from .session import JOIN_ROOM, Session
from .transport import Target
from .validate import Validator

__all__ = ["Answered", "Arrival", "Asked", "Measured", "Moved", "Network", "Returned", "Wire"]

STOP_SECONDS = 3.0
"""How long `close` waits for the network's thread at most. A session's own closing takes 1 at most."""
POLL_SECONDS = 0.1


class Asked(NamedTuple):
    """The same as the network's thread knows it."""

    number: int
    ask: Ask
    reply: type[Message]


class Measured(NamedTuple):
    """A ping, and what the server's clock is ahead of the monotonic one by then, in seconds."""

    ping: Pinged
    clock_offset: float


class Moved(NamedTuple):
    """The player is in another room from here on."""

    room: str


class Returned(NamedTuple):
    """The client is connected again, from here on."""

    event: Reconnected
    welcome: Welcome
    clock_offset: float


class Answered(NamedTuple):
    """How one of the game's requests went."""

    number: int
    outcome: Message | TagwireError


Arrival = (
    Received | MemberChanged | RoomEnded | Noticed | Reconnecting | Measured | Moved | Returned | Answered
)


class Arrivals(Backlog[Arrival]):
    """A backlog that one thread fills and another one empties."""

    def __init__(self) -> None:
        super().__init__(max_items=INBOX_MESSAGES, max_bytes=INBOX_BYTES)
        self._lock = threading.Lock()

    def push(self, item: Arrival, size: int, delivery: str, key: Hashable, *, behind: bool) -> bool:
        with self._lock:
            return super().push(item, size, delivery, key, behind=behind)

    def extend(self, items: Sequence[Received], *, at_most: int) -> bool:
        with self._lock:
            return super().extend(items, at_most=at_most)

    def pop(self) -> Arrival | None:
        with self._lock:
            return super().pop()

    def clear(self) -> None:
        with self._lock:
            super().clear()

    def __len__(self) -> int:
        with self._lock:
            return super().__len__()


class Wire(Client):
    """The client on the network's thread. Queues for the game what happens, instead of telling it at once."""

    _how_to_take = "call sync() in each frame"

    def __init__(
        self,
        session: Session,
        validator: Validator | None,
        reconnect: Reconnect | None,
        token: TokenSource | None,
    ) -> None:
        super().__init__(session, validator=validator, reconnect=reconnect, token=token)
        self.arrivals = Arrivals()
        self.first_welcome = Welcome()
        """The answer to the first login."""
        self.opened_offset = 0.0
        """What the server's clock was ahead of the monotonic one at that login, in seconds."""
        self._asked: dict[int, Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, asked: Sequence[Asked], stop_on_error: bool | None) -> None:
        """Begins a request, which the game knows by its number, or a batch where `stop_on_error` is said."""
        self._keep(self._ask_for(asked, stop_on_error))

    def leave(self, code: int, reason: str) -> None:
        """Begins to close."""
        self._keep(self._close(code, reason))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        if self._line.over.done():
            work.close()  # the loop is being stopped, and would not run it
            return
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask_for(self, asked: Sequence[Asked], stop_on_error: bool | None) -> None:
        asks = [one.ask for one in asked]
        try:
            posted = await self._sender.post(asks, stop_on_error=stop_on_error)
        except asyncio.TimeoutError:
            waited = min(ask.timeout for ask in asks)
            for one in asked:
                self._arrive(Answered(one.number, self._sender.not_sent(one.ask, waited)))
            return
        except ConnectionClosed:
            return  # the game learns it from the end
        self._asked.update((pending.key, one) for pending, one in zip(posted, asked, strict=True))
        await asyncio.gather(*map(self._wait_for, posted))

    async def _wait_for(self, pending: Pending) -> None:
        failure: TagwireError | None = None
        try:
            await self._sender.answer(pending)  # which was queued when it came
        except (RequestTimeout, ConnectionClosed) as error:
            failure = error
        asked = self._asked.pop(pending.key, None)
        # The end itself is told by `sync`.
        if failure is not None and asked is not None and self.closed is None:
            self._arrive(Answered(asked.number, failure))

    def _handle_event(self, event: Event | Reconnecting) -> None:
        if isinstance(event, Pinged):
            self._arrive(Measured(event, self._clock_offset()), "LATEST", "ping")
        elif isinstance(event, MemberChanged | RoomEnded | Noticed | Reconnecting):
            self._arrive(event, delivery_of(event), type(event).__name__)
        else:
            if isinstance(event, Opened) and not self._opened.done():
                self.first_welcome, self.opened_offset = event.welcome, self._clock_offset()
            super()._handle_event(event)

    def _handle_received(self, events: list[Received]) -> None:
        self._queue_received(self.arrivals, events)

    def _handle_handled(self, event: HandledEvent) -> None:
        assert isinstance(event, Reconnected)  # all others were queued above
        self._arrive(Returned(event, self.welcome, self._clock_offset()))

    def _fail_requests(self, closed: Closed, *, unsent: bool) -> None:
        super()._fail_requests(closed, unsent=unsent)
        for key, asked in list(self._asked.items()):  # here, so that they keep their place as well
            if (failure := self._sender.failure_of(key)) is not None:
                del self._asked[key]
                self._arrive(Answered(asked.number, failure))

    def _handle_response(self, response: Response) -> None:
        """Queues the answer here, so that it keeps its place among the messages around it."""
        if response.tag == JOIN_ROOM and response.status == Status.OK:
            try:
                room = JoinRoomReply.FromString(response.body).room
            except (DecodeError, ValueError):
                room = self._session.room
            self._arrive(Moved(room))
        asked = self._asked.pop(response.key, None)
        if asked is not None:
            outcome: Message | TagwireError
            try:
                outcome = self._reply_in(response, asked.ask.name, asked.reply)
            except TagwireError as error:
                outcome = error
            self._arrive(Answered(asked.number, outcome), size=len(response.body))
        super()._handle_response(response)

    def _arrive(
        self, arrival: Arrival, delivery: str = "ORDERED", key: Hashable = None, *, size: int = 0
    ) -> None:
        self._queue(self.arrivals, arrival, EVENT_BYTES + size, delivery, key)

    def _clock_offset(self) -> float:
        now = self._connection.now()
        return (self._session.server_time_us(now) or 0.0) / 1e6 - now.monotonic


class Network:
    """The thread that a client lives in, from its login to its end, whatever connections come and go in
    between. It never keeps the program running."""

    def __init__(self, target: Target, connecting: Connecting, timeout: float) -> None:
        self._target = target
        self._connecting = connecting
        self._timeout = timeout
        self._thread = threading.Thread(target=self._run, name="tagwire", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._living: asyncio.Task[None] | None = None
        self._wire: Wire | None = None
        self._failure: BaseException | None = None
        self._known = threading.Event()
        """Set when the login has succeeded or failed."""

    def open(self) -> Wire:
        """Starts the thread and waits for the login. Raises what `connect` raises."""
        self._thread.start()
        try:
            while not self._known.wait(POLL_SECONDS):  # in pieces: else Windows does not take a Ctrl-C
                pass
        except BaseException:
            if self._living is not None:
                self.call_soon(self._living.cancel)
            raise
        if self._failure is not None:
            self._thread.join(POLL_SECONDS)  # it ends by itself; a hanging resolver may hold it
            raise self._failure
        assert self._wire is not None
        return self._wire

    def call_soon(self, call: Callable[..., object], *arguments: object) -> None:
        """Has something done on the thread. Does nothing when that has ended."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, *arguments)
        except RuntimeError:
            pass

    def leave(self, code: int, reason: str) -> Closed:
        """Closes the session and ends the thread. Gives how the session ended."""
        assert self._wire is not None
        self.call_soon(self._wire.leave, code, reason)
        self._thread.join(STOP_SECONDS)
        return self._wire.closed or Closed(CloseCode(code), reason)

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except asyncio.CancelledError:
            pass

    async def _live(self) -> None:
        self._loop, self._living = asyncio.get_running_loop(), asyncio.current_task()
        connecting = self._connecting
        wire = Wire(connecting._session, connecting._validator, connecting._policy, connecting._token)
        try:
            await wire._open(self._target, self._timeout)
        except BaseException as error:
            self._failure = error
            return
        else:
            self._wire = wire
        finally:
            self._known.set()
        try:
            await asyncio.wait([wire._line.over])
        finally:
            wire._line.abort()
