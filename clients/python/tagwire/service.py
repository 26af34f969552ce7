"""What the printed classes of services are made of.

    lobby = arena.Lobby(client)                  # of `connect`: awaits
    reply = await lobby.rename(arena.RenameRequest(name="zoe"), timeout=2.0)

    lobby = arena.Lobby.Sync(client)             # of `connect_sync`: calls back, in `sync`
    lobby.rename(arena.RenameRequest(name="zoe"), on_reply)

In place of the client a batch of it will do: then the request is one of the batch.

Two classes and not one for both: what a method takes and gives differs in all but the request, and a class
that has both signatures is explained badly by type checkers and editors alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from .batch import Batch, SyncBatch
from .client import Client
from .errors import TagwireError
from .pump import SyncClient

__all__ = ["Service", "SyncService"]

_M = TypeVar("_M", bound=Message)


class Service:
    """A service as a `Client` sees it. The printed classes derive from this one; their methods give what
    `Client.request` gives and raise what it raises.

    It keeps nothing but the client: make one anywhere, at any time, as often as you like.
    """

    __slots__ = ("_client",)

    def __init__(self, client: Client | Batch) -> None:
        """`client`: of `connect`, or a batch of it. Raises `TypeError` for one of `connect_sync`, which the
        inner class `Sync` takes."""
        if isinstance(client, SyncClient | SyncBatch):
            name = type(self).__qualname__
            raise TypeError(f"{name} is for a client of connect(); use {name}.Sync(client) with this one")
        self._client = client

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} of {self._client!r}>"

    def _ask(self, method: tuple[type[Message], type[_M]], request: Message, timeout: float) -> Awaitable[_M]:
        # No coroutine: in a batch, the request is made by the call and not when it is awaited.
        _require(self, method[0], request)
        return self._client.request(request, method[1], timeout=timeout)


class SyncService:
    """The same for a `SyncClient`: methods do not wait, and take what `SyncClient.request` takes."""

    __slots__ = ("_client",)

    def __init__(self, client: SyncClient | SyncBatch) -> None:
        """`client`: of `connect_sync`, or a batch of it. Raises `TypeError` for one of `connect`, which the
        outer class takes."""
        if isinstance(client, Client | Batch):
            name = type(self).__qualname__
            outer = name.removesuffix(".Sync")
            raise TypeError(f"{name} is for a client of connect_sync(); use {outer}(client) with this one")
        self._client = client

    def __repr__(self) -> str:
        return f"<{type(self).__qualname__} of {self._client!r}>"

    def _ask(
        self,
        method: tuple[type[Message], type[_M]],
        request: Message,
        on_reply: Callable[[_M], object],
        on_error: Callable[[TagwireError], object] | None,
        timeout: float,
    ) -> None:
        _require(self, method[0], request)
        self._client.request(request, method[1], on_reply, on_error=on_error, timeout=timeout)


def _require(service: Service | SyncService, kind: type[Message], request: Any) -> None:
    """Another request of the schema would be sent, and its answer read as another reply."""
    if not isinstance(request, kind):
        descriptor = getattr(request, "DESCRIPTOR", None)
        given = getattr(descriptor, "full_name", None) or type(request).__name__
        name = kind.DESCRIPTOR.full_name
        if given == name:
            given = f"a {given} of other stubs"
        raise TypeError(f"this method of {type(service).__qualname__} takes {name}, not {given}")
