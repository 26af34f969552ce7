"""Functions that are called for what arrives, by its class.

    @client.on(arena.MouseEvent)
    def moved(message: arena.MouseEvent, sender: tagwire.Member | None) -> None: ...

    @client.on(tagwire.MemberChanged)
    def changed(event: tagwire.MemberChanged) -> None: ...

Here is who is called for what; when, and what becomes of an exception, is each client's own.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar, overload

from google.protobuf.message import Message

from .events import Member, MemberChanged, Noticed, Pinged, Received, RoomEnded
from .notice import warn_of
from .reconnect import Reconnected, Reconnecting
from .schema import Schema

__all__ = ["HandledEvent", "Handlers", "Handling"]

log = logging.getLogger("tagwire")

EVENT_BYTES = 64
"""What counts as the size of something that is queued and is no message of the game."""
BURST = 10
SECONDS_EACH = 1.0

HandledEvent = MemberChanged | RoomEnded | Noticed | Pinged | Reconnecting | Reconnected
"""What handlers can be set for besides messages of the game."""
_EVENTS = (MemberChanged, RoomEnded, Noticed, Pinged, Reconnecting, Reconnected)

_M = TypeVar("_M", bound=Message)
_E = TypeVar("_E", MemberChanged, RoomEnded, Noticed, Pinged, Reconnecting, Reconnected)

MessageHandler = Callable[[_M, Member | None], object]
EventHandler = Callable[[_E], object]
AnyHandler = Callable[..., object]


class Handlers:
    """The handlers of one client, in the order in which they were set."""

    def __init__(self) -> None:
        # Values are replaced, never changed: a handler may set and remove handlers while they are called.
        self.by_kind: dict[type, tuple[AnyHandler, ...]] = {}
        """Those of each class. For reading only."""
        self.alone: dict[type, AnyHandler] = {}
        """The one of each class that has no more. For reading only."""

    def add(self, kind: type, handler: AnyHandler) -> None:
        """Sets one more handler."""
        self.by_kind[kind] = (*self.by_kind.get(kind, ()), handler)
        self._look_who_is_alone(kind)

    def remove(self, kind: type, handler: AnyHandler | None) -> None:
        """Removes one, or all of this class. Raises `ValueError` when it is not there."""
        rest = list(self.by_kind.get(kind, ())) if handler is not None else []
        if handler is not None:
            if handler not in rest:
                raise ValueError(f"{handler!r} is no handler of {kind.__name__}")
            rest.remove(handler)
        if rest:
            self.by_kind[kind] = tuple(rest)
        else:
            self.by_kind.pop(kind, None)
        self._look_who_is_alone(kind)

    def _look_who_is_alone(self, kind: type) -> None:
        handlers = self.by_kind.get(kind, ())
        if len(handlers) == 1:
            self.alone[kind] = handlers[0]
        else:
            self.alone.pop(kind, None)

    def of(self, event: Received | HandledEvent) -> tuple[AnyHandler, ...]:
        """Those to be called for what has arrived."""
        return self.by_kind.get(type(event[0] if isinstance(event, tuple) else event), ())


def arguments_of(event: Received | HandledEvent) -> tuple[Any, ...]:
    """What a handler is called with."""
    return event[:2] if isinstance(event, tuple) else (event,)


def delivery_of(event: HandledEvent) -> str:
    """What may happen to an event that waits for its handler."""
    if isinstance(event, Pinged | Reconnecting):
        return "LATEST"
    return "UNRELIABLE" if isinstance(event, Noticed) else "ORDERED"


class Fallback:
    """What is done with an event that has no handler: ten at once, one a second, whatever a server sends."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def __call__(self, event: HandledEvent) -> None:
        """Warns of what a developer should know."""
        if isinstance(event, Noticed) and self._may():
            warn_of(event)
        elif isinstance(event, RoomEnded) and self._may():
            log.warning("the room %s has ended: %s; join another one", event.room, event.reason)
        elif isinstance(event, Reconnecting) and self._may():
            text = "the connection is lost: %s; attempt %d to reconnect comes in %.3g s"
            log.info(text, event.reason, event.attempt, event.delay)
        elif isinstance(event, Reconnected) and self._may():
            if event.resumed:
                log.info("reconnected, attempt %d; the session goes on", event.attempts)
            else:
                text = "reconnected, attempt %d, but to a new session; messages that may be lost: %d"
                log.warning(text, event.attempts, event.lost)

    def _may(self) -> bool:
        now = time.monotonic()
        free_at = max(self._free_at, now) + SECONDS_EACH
        if free_at > now + BURST * SECONDS_EACH:
            return False
        self._free_at = free_at
        return True


class Handling:
    """What both clients have: setting and removing handlers."""

    def __init__(self) -> None:
        self._handlers = Handlers()
        self._fallback = Fallback()

    @property
    def schema(self) -> Schema:
        """The schema it was connected with."""
        raise NotImplementedError

    @overload
    def on(self, kind: type[_M]) -> Callable[[MessageHandler[_M]], MessageHandler[_M]]: ...
    @overload
    def on(self, kind: type[_M], handler: MessageHandler[_M]) -> MessageHandler[_M]: ...
    @overload
    def on(self, kind: type[_E]) -> Callable[[EventHandler[_E]], EventHandler[_E]]: ...
    @overload
    def on(self, kind: type[_E], handler: EventHandler[_E]) -> EventHandler[_E]: ...
    def on(self, kind: type[Any], handler: AnyHandler | None = None) -> Any:
        """Sets what is called for each message or event of a class. Decorates the handler, or takes it as the
        second argument; gives the handler.

        - `kind` a class of the game: called with the message and its sender, a `Member`. None: the server.
        - `kind` one of `MemberChanged`, `RoomEnded`, `Noticed`, `Pinged`, `Reconnecting`, `Reconnected`:
          called with the event.

        A class may have several handlers, called in the order in which they were set. Raises `TypeError` for
        a class that is not in the schema or has no rules, and for a handler that cannot be called;
        `ValueError` for a message that no client is ever sent.
        """
        self._require_receivable(kind)
        if handler is None:
            return lambda handler: self._add_handler(kind, handler)
        return self._add_handler(kind, handler)

    def off(self, kind: type[Message] | type[HandledEvent], handler: AnyHandler | None = None) -> None:
        """Removes a handler, or all of this class. Raises `ValueError` when it was not set."""
        self._handlers.remove(kind, handler)

    def _require_receivable(self, kind: type[Any]) -> None:
        if kind in _EVENTS:
            return
        rules = self.schema.rules_of(kind)
        if rules.sender == "CLIENT" and rules.target == "HANDLER":
            raise ValueError(
                f"{rules.name} is never sent to a client (from: CLIENT, to: HANDLER), so no handler would be "
                "called"
            )

    def _add_handler(self, kind: type[Any], handler: AnyHandler) -> AnyHandler:
        if not callable(handler):
            raise TypeError(f"the handler of {kind.__name__} must be callable, not {handler!r}")
        self._handlers.add(kind, handler)
        return handler
