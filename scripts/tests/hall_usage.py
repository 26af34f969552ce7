"""How a game uses printed services, as `nasty_usage.py` shows it of messages.

The functions `right` and `right_in_a_loop` are run, too, with clients that answer by themselves.
"""

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import hall
import tagwire
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

_M = TypeVar("_M", bound=Message)


class Client(tagwire.Client):
    """Answers each request with an empty reply."""

    def __init__(self) -> None:
        pass

    async def request(self, message: Message, reply: type[_M], *, timeout: float = 2.0) -> _M:
        return reply()


class SyncClient(tagwire.SyncClient):
    """Answers each request with an empty reply, at once."""

    def __init__(self) -> None:
        pass

    def request(
        self,
        message: Message,
        reply: type[_M],
        on_reply: Callable[[_M], object],
        *,
        on_error: Callable[[tagwire.TagwireError], object] | None = None,
        timeout: float = 2.0,
    ) -> None:
        on_reply(reply())


async def right(client: tagwire.Client) -> None:
    lobby = hall.Lobby(client)
    base: tagwire.Service = lobby
    assert isinstance(base, tagwire.Service)
    reply: hall.RenameReply = await lobby.rename(hall.RenameRequest(name="zoe"))
    name: str = (await lobby.rename(request=hall.RenameRequest(name=reply.name), timeout=1)).name
    assert name == ""
    empty: Empty = await lobby.import_(hall.ImportRequest())
    assert not empty.ByteSize()
    url: hall.common.Url = await lobby.get_url(hall.UrlRequest(of="x"))
    assert url.name.name == ""
    n: int = (await lobby.sync(hall.Sync(n=1))).n + (await lobby.client(hall.Wave())).n
    assert n == 0
    answer: hall.Client = await lobby.ask(hall.ask())
    assert isinstance(answer, hall.Client)
    call: Coroutine[Any, Any, hall.PlayReply] = hall.v1.None_(client).play(hall.PlayRequest(card=1))
    assert (await call).left == 0
    assert isinstance(await hall.common.None_(client).find(hall.FindRequest()), hall.Url)


def right_in_a_loop(client: tagwire.SyncClient) -> None:
    names: list[str] = []

    def renamed(reply: hall.RenameReply) -> None:
        names.append(reply.name)

    def failed(error: tagwire.TagwireError) -> None:
        names.append(error.reason)

    lobby = hall.Lobby.Sync(client)
    base: tagwire.SyncService = lobby
    assert isinstance(base, tagwire.SyncService)
    lobby.rename(hall.RenameRequest(name="zoe"), renamed)
    lobby.rename(hall.RenameRequest(name="zoe"), renamed, on_error=failed, timeout=1)
    lobby.rpc_2(hall.Two(), on_reply=lambda reply: names.append(reply.name))
    assert names == ["", "", ""]
    found: list[hall.Url] = []
    hall.common.None_.Sync(client).find(hall.FindRequest(), found.append)
    assert len(found) == 1


async def wrong(client: tagwire.Client, sync_client: tagwire.SyncClient) -> None:
    lobby = hall.Lobby(client)
    await lobby.rename(hall.ImportRequest())  # type: ignore[arg-type]
    await lobby.rename("zoe")  # type: ignore[arg-type]
    await lobby.rename()  # type: ignore[call-arg]
    await lobby.rename(hall.RenameRequest(), 2.0)  # type: ignore[call-arg]
    await lobby.rename(hall.RenameRequest(), timeout="2")  # type: ignore[arg-type]
    await lobby.rename(hall.RenameRequest(), print)  # type: ignore[call-arg, arg-type]
    (await lobby.rename(hall.RenameRequest())).points  # type: ignore[attr-defined]  # noqa: B018
    lobby.rename(hall.RenameRequest()).name  # type: ignore[attr-defined]  # noqa: B018
    await lobby.Rename(hall.RenameRequest())  # type: ignore[attr-defined]
    await lobby.nowhere(hall.RenameRequest())  # type: ignore[attr-defined]
    hall.Lobby(sync_client)  # type: ignore[arg-type]
    hall.Lobby.Sync(client)  # type: ignore[arg-type]
    hall.Lobby()  # type: ignore[call-arg]
    loop = hall.Lobby.Sync(sync_client)
    loop.rename(hall.RenameRequest())  # type: ignore[call-arg]
    loop.rename(hall.ImportRequest(), print)  # type: ignore[arg-type]
    points: list[hall.Url] = []
    loop.rename(hall.RenameRequest(), points.append)  # type: ignore[arg-type]
    loop.rename(hall.RenameRequest(), print, on_error=points.append)  # type: ignore[arg-type]
    hall.None_  # type: ignore[attr-defined]  # noqa: B018
