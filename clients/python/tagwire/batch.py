"""Several requests in one frame, which the server runs one after the other.

    async with client.batch(stop_on_error=True) as batch:       # of `connect`
        renamed = batch.request(hall.RenameRequest(name="zoe"), hall.RenameReply)
        found = hall.Lobby(batch).get_url(hall.UrlRequest(of="zoe"))
    print((await renamed).name, (await found).name)

    with client.batch() as batch:                               # of `connect_sync`
        batch.request(hall.RenameRequest(name="zoe"), hall.RenameReply, on_reply)

A block and not a list: each request keeps the type of its own reply, each is answered or fails for itself,
and the methods of services take part as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from google.protobuf.message import Message

from .ask import Ask, Pending
from .errors import TagwireError
from .session import BATCH_BYTES, BATCH_ENTRY_BYTES, MAX_BATCH_REQUESTS

if TYPE_CHECKING:
    from .client import Client
    from .pump import SyncClient

__all__ = ["Answer", "Batch", "SyncBatch"]

_M = TypeVar("_M", bound=Message)


class _Block:
    """What both batches have: a `with` block in which they are filled once, within the limits of a frame."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._count = 0
        self._bytes = BATCH_BYTES
        self._entered = self._open = False

    def _begin(self) -> None:
        if self._entered:
            raise RuntimeError("this batch was used already; call batch() again for another one")
        self._entered = self._open = True

    def _admit(self, ask: Ask) -> None:
        if not self._open:
            raise RuntimeError("requests of a batch are made inside of its `with` block")
        if self._count == MAX_BATCH_REQUESTS:
            raise ValueError(f"a batch holds at most {MAX_BATCH_REQUESTS} requests; make another one")
        size = self._bytes + BATCH_ENTRY_BYTES + len(ask.body)
        if size > self._max_bytes:
            raise ValueError(
                f"a batch with this {ask.name} takes {size} bytes, limit {self._max_bytes}; make another one"
            )
        self._count += 1
        self._bytes = size


class Answer(Generic[_M]):
    """The answer to a request of a `Batch`. Awaited after the block, as often as you like, it gives the reply
    or raises what `Client.request` raises."""

    def __init__(self, batch: Batch, task: asyncio.Task[_M]) -> None:
        """For `Batch.request` only."""
        self._batch = batch
        self._task = task

    def __await__(self) -> Generator[Any, None, _M]:
        if self._batch._open:
            raise RuntimeError("a batch is sent when its `with` block is left; await its answers after it")
        return self._task.__await__()

    def done(self) -> bool:
        """Whether it was answered, has failed or was cancelled."""
        return self._task.done()

    def cancel(self) -> None:
        """Waits for it no more. The request may run all the same, and its answer is ignored."""
        self._task.cancel()


class _Entry(NamedTuple):
    ask: Ask
    posted: asyncio.Future[Pending | TagwireError]
    task: asyncio.Task[Any]


class Batch(_Block):
    """Requests that go out together when the `async with` block is left. Made by `Client.batch`.

    Leaving the block waits until they can be sent, not for their answers. When the block raises or is
    cancelled, nothing is sent and the answers are cancelled. A request that fails raises where its answer is
    awaited; of those that fail and are never awaited, asyncio logs the first.
    """

    def __init__(self, client: Client, *, stop_on_error: bool) -> None:
        """For `Client.batch` only."""
        super().__init__(client._session.max_frame_bytes)
        self._client = client
        self._stop_on_error = stop_on_error
        self._entries: list[_Entry] = []
        self._failed = False

    async def __aenter__(self) -> Batch:
        self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        try:
            if error is None:
                await self._send()
        finally:
            for entry in self._entries:
                if not entry.posted.done():
                    entry.task.cancel()

    def request(self, message: Message, reply: type[_M], *, timeout: float = 2.0) -> Answer[_M]:
        """Adds a request; gives what is awaited after the block for its reply, an instance of `reply`.

        `timeout` is in seconds from the end of the block: those before it in the batch count. Raises
        `TypeError` and `ValueError` like `Client.request`, and `ValueError` for more than 64 requests or than
        the server takes in one frame.
        """
        ask = self._client._ask_of(message, reply, timeout)
        self._admit(ask)
        loop = asyncio.get_running_loop()
        posted: asyncio.Future[Pending | TagwireError] = loop.create_future()
        task = loop.create_task(self._answer(posted, ask, reply))
        self._entries.append(_Entry(ask, posted, task))
        return Answer(self, task)

    async def _send(self) -> None:
        client, asks = self._client, [entry.ask for entry in self._entries]
        outcomes: list[Any]
        try:
            outcomes = [*await client._sender.post(asks, stop_on_error=self._stop_on_error)] if asks else []
        except asyncio.TimeoutError:
            outcomes = [client._sender.not_sent(ask, min(ask.timeout for ask in asks)) for ask in asks]
        except TagwireError as error:
            outcomes = [error] * len(asks)
        for entry, outcome in zip(self._entries, outcomes, strict=True):
            if isinstance(outcome, Pending):
                entry.task.add_done_callback(partial(_forget, client, outcome.key))
            if not entry.posted.done():  # else it was cancelled
                entry.posted.set_result(outcome)

    async def _answer(self, posted: asyncio.Future[Pending | TagwireError], ask: Ask, reply: type[_M]) -> _M:
        outcome = await posted
        try:
            if isinstance(outcome, TagwireError):
                raise outcome
            return self._client._reply_in(await self._client._sender.answer(outcome), ask.name, reply)
        except TagwireError:
            if self._failed:
                task = asyncio.current_task()
                assert task is not None
                task.add_done_callback(_looked_at)
            self._failed = True
            raise


def _forget(client: Client, key: int, _: object) -> None:
    client._sender.forget(key)


def _looked_at(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


class SyncBatch(_Block):
    """The same for a `SyncClient`: sent when the `with` block is left, answered in `sync`. Made by
    `SyncClient.batch`. When the block raises, nothing is sent and nothing is called."""

    def __init__(self, client: SyncClient, *, stop_on_error: bool) -> None:
        """For `SyncClient.batch` only."""
        super().__init__(client._wire._session.max_frame_bytes)
        self._client = client
        self._stop_on_error = stop_on_error
        self._calls: list[Any] = []

    def __enter__(self) -> SyncBatch:
        self._begin()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if error is None and self._calls:
            self._client._call(self._calls, stop_on_error=self._stop_on_error)

    def request(
        self,
        message: Message,
        reply: type[_M],
        on_reply: Callable[[_M], object],
        *,
        on_error: Callable[[TagwireError], object] | None = None,
        timeout: float = 2.0,
    ) -> None:
        """Adds a request: `sync` calls one of the two, once, as with `SyncClient.request`.

        `timeout` is in seconds from when the network's thread takes the batch: those before it in the batch
        count. Raises `TypeError` and `ValueError` for what cannot be sent, and `ValueError` for more than 64
        requests or than the server takes in one frame.
        """
        call = self._client._call_of(message, reply, on_reply, on_error, timeout)
        self._admit(call.ask)
        self._calls.append(call)
