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
    transport    addresses and TCP
    connection   one socket's life
    connecting   the way to a client
    client       what an application uses
    handlers     functions that are called for what arrives
    ask, batch   a request on its way; several in one frame
    notice       what the server dropped, as a warning
    clock        the server's clock
    pump         what a game loop uses: the client in a thread of its own
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
from .notice import NoticeWarning
from .pump import SyncClient, connect_sync
from .schema import Rules, Schema
from .service import Service, SyncService
from .session import (
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
    "Verdict",
    "__version__",
    "connect",
    "connect_sync",
]
