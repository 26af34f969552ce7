"""Typed messages for multiplayer games: the client for Python.

    import tagwire, arena

    async with tagwire.connect("localhost", username="p1", password="welcome", schema=arena.SCHEMA) as client:
        await client.send(arena.MouseEvent(x=1, y=1))
        async for message in client:
            match message:
                case arena.MouseEvent(): ...

One concept a file:

    frame        bytes to frames and back
    schema       what generated stubs say of a game
    session      the conversation as a state machine, without I/O and clock
    events       what it tells
    outbox       what was sent and not yet acknowledged, to be sent again
    address      what a server is called
    transport    one socket, and finding an address that answers
    tcp, websocket   the kinds of it
    tls          whom to trust, and what went wrong
    credential   tokens
    connection   one socket's life
    reconnect    when to connect again: the policy
    reconnecting one connection after the other
    connecting   the way to a client
    client       what an application uses
    sending      what waits to be sent; requests that wait for answers
    elsewhere    calls from other event loops
    handlers     functions that are called for what arrives
    ask, batch   a request on its way; several in one frame
    notice       what the server dropped, as a warning
    clock        the server's clock
    pump         what a game loop uses: the client in a thread of its own
    network      that thread
    service      what the printed classes of services are made of
    close, errors    why a connection ended; what can go wrong
    validate     constraints, checked before sending
    backlog      the bounded queue on both ways
    gen          generated: the stack's own messages
"""

from .batch import Answer, Batch, SyncBatch
from .client import Client
from .close import CloseCode, Closed
from .connecting import Connecting, connect
from .errors import (
    AddressError,
    BufferFull,
    ConnectError,
    ConnectionClosed,
    InvalidMessage,
    LoginRefused,
    RequestFailed,
    RequestTimeout,
    SchemaMismatch,
    Status,
    TagwireError,
)
from .events import (
    Dropped,
    Member,
    MemberChange,
    MemberChanged,
    Noticed,
    NoticeReason,
    Pinged,
    RoomEnded,
    Verdict,
)
from .notice import NoticeWarning
from .pump import SyncClient, connect_sync
from .reconnect import Reconnect, Reconnected, Reconnecting
from .schema import Rules, Schema
from .service import Service, SyncService
from .tls import Tls
from .version import VERSION as __version__

__all__ = [
    "AddressError",
    "Answer",
    "Batch",
    "BufferFull",
    "Client",
    "CloseCode",
    "Closed",
    "ConnectError",
    "Connecting",
    "ConnectionClosed",
    "Dropped",
    "InvalidMessage",
    "LoginRefused",
    "Member",
    "MemberChange",
    "MemberChanged",
    "NoticeReason",
    "NoticeWarning",
    "Noticed",
    "Pinged",
    "Reconnect",
    "Reconnected",
    "Reconnecting",
    "RequestFailed",
    "RequestTimeout",
    "RoomEnded",
    "Rules",
    "Schema",
    "SchemaMismatch",
    "Service",
    "Status",
    "SyncBatch",
    "SyncClient",
    "SyncService",
    "TagwireError",
    "Tls",
    "Verdict",
    "__version__",
    "connect",
    "connect_sync",
]
