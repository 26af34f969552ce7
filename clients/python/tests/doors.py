"""Servers with TLS and WebSocket for tests, and their certificates."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from google.protobuf.message import Message
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

import tagwire
from conftest import Link, Peer, frame_of, soon

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc)


class Authority:
    """Who signs certificates in the tests."""

    def __init__(self, folder: Path) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.pem = folder / "ca.pem"
        self.ca.cert_pem.write_to_path(str(self.pem))

    def issue(self, *names: str, **options: Any) -> Issued:
        return Issued(self, self.ca.issue_cert(*(names or ("localhost", "127.0.0.1")), **options))

    def expired(self) -> Issued:
        return self.issue(not_before=NOW - 3 * DAY, not_after=NOW - DAY)

    def not_yet_valid(self) -> Issued:
        return self.issue(not_before=NOW + DAY, not_after=NOW + 3 * DAY)


class Issued:
    """A certificate with its key."""

    def __init__(self, authority: Authority, leaf: trustme.LeafCert) -> None:
        self.authority = authority
        self.leaf = leaf
        pem = leaf.cert_chain_pems[0].bytes().decode()
        der = ssl.PEM_cert_to_DER_cert(pem)
        self.pin = f"sha256:{hashlib.sha256(der).hexdigest()}"
        self.pem = authority.folder / f"{self.pin[7:15]}.pem"
        leaf.private_key_and_cert_chain_pem.write_to_path(str(self.pem))
        self.certificate = authority.folder / f"{self.pin[7:15]}.cert.pem"
        self.certificate.write_text(pem)
        self.key = authority.folder / f"{self.pin[7:15]}.key.pem"
        key = load_pem_private_key(leaf.private_key_pem.bytes(), None)
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    def context(self) -> ssl.SSLContext:
        """What a server with it needs."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.leaf.configure_cert(context)
        return context


class TlsPeer(Peer):
    """A server with TLS that leaves everything else to the test."""

    scheme = "tagwires"

    def __init__(self, context: ssl.SSLContext, tls: tagwire.Tls | None) -> None:
        super().__init__()
        self.context = context
        self.options = {"tls": tls}


class WsLink(Link):
    """The server's end of a WebSocket. Each `send` is one message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self.protocol = ServerProtocol(
            subprotocols=[Subprotocol("tagwire.v1")], max_size=None, state=_CONNECTING
        )
        self.messages: list[bytes] = []
        self.parts = b""
        self.pongs = 0

    async def upgrade(self) -> None:
        while not (events := self.protocol.events_received()):
            self.protocol.receive_data(await self.reader.read(1 << 16))
        self.request = events[0]
        self.protocol.send_response(self.protocol.accept(self.request))  # type: ignore[arg-type]
        self.write_out()

    def write_out(self) -> None:
        for data in self.protocol.data_to_send():
            if data:
                self.writer.write(data)

    async def read(self) -> bool:
        """Takes what comes next; False: nothing does."""
        data = await soon(self.reader.read(1 << 16))
        if data:
            self.protocol.receive_data(data)
        else:
            self.protocol.receive_eof()
        for event in self.protocol.events_received():
            assert isinstance(event, Frame)
            self.pongs += event.opcode is Opcode.PONG
            assert event.opcode is not Opcode.TEXT
            if event.opcode in (Opcode.BINARY, Opcode.CONT):
                self.parts += bytes(event.data)
                if event.fin:
                    self.messages.append(self.parts)
                    self.decoder.feed(self.parts)
                    self.parts = b""
        with contextlib.suppress(ConnectionError):
            self.write_out()
        return bool(data)

    async def frame(self) -> Any:
        while (frame := self.decoder.next()) is None:
            assert await self.read(), "the client has closed"
        return frame

    async def eof(self) -> bool:
        while await self.read():
            pass
        return self.decoder.next() is None

    def send(self, *data: bytes | Message) -> None:
        self.protocol.send_binary(
            b"".join(frame_of(one) if isinstance(one, Message) else one for one in data)
        )
        self.write_out()

    def raw(self, data: bytes) -> None:
        """Writes bytes as they are."""
        self.writer.write(data)


_CONNECTING = ServerProtocol().state


class WsPeer(Peer):
    """A server with WebSocket."""

    scheme = "ws"

    def __init__(self, context: ssl.SSLContext | None = None, tls: tagwire.Tls | None = None) -> None:
        super().__init__()
        self.context = context
        self.options = {"tls": tls}
        if context is not None:
            self.scheme = "wss"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = WsLink(reader, writer)
        await link.upgrade()
        self._accepted(link)


def peer_of(scheme: str, authority: Authority) -> Peer:
    """A server of any kind."""
    if scheme == "tagwire":
        return Peer()
    if scheme == "ws":
        return WsPeer()
    issued = authority.issue()
    kind = WsPeer if scheme == "wss" else TlsPeer
    return kind(issued.context(), tagwire.Tls(ca=authority.pem))


@contextlib.asynccontextmanager
async def running(peer: Peer) -> AsyncIterator[Peer]:
    await peer.start()
    try:
        yield peer
    finally:
        await peer.stop()


@contextlib.contextmanager
def refusing(context: ssl.SSLContext) -> Iterator[int]:
    """A server whose handshakes fail, and which says why, as asyncio's does not. Gives its port."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                with raw, context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as sock:
                    sock.settimeout(5)
                    with contextlib.suppress(ssl.SSLError):
                        sock.do_handshake()
                        failed.append("the handshake succeeded")
                    socket.socket.shutdown(sock, socket.SHUT_WR)
                    while socket.socket.recv(sock, 1 << 16):  # else what was sent is lost
                        pass

    failed: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()
    assert not failed


@contextlib.asynccontextmanager
async def answering(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[int]:
    """A server of bytes: gives its port."""
    writers = []
    tasks = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.append(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await answer(reader, writer)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)
