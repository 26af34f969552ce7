"""One socket behind a small interface: what all kinds of connections share, and finding an address that
answers. What a frame or a session is, is not known here.

    tcp          a stream of bytes
    websocket    messages of whole frames
    tls          what both are wrapped in

`Connection` is the `Owner`; it does not know which kind it has.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol

from .address import Address
from .deadline import within
from .errors import ConnectError
from .tls import Security, why_broken, why_no_handshake

__all__ = ["Owner", "Refused", "Target", "Transport", "open_transport"]

WRITE_BUFFER_BYTES = 64 * 1024
"""What may wait in the transport before `handle_writable(False)` is called."""
READ_BYTES = 64 * 1024
"""What is read at most at once, into memory of the transport; what is handed on is a copy."""
TLS_HANDSHAKE = "TLS handshake"


class Owner(Protocol):
    """Who a transport reports to. All calls come from the event loop's thread, none after `handle_lost`."""

    def handle_connected(self, transport: Transport) -> None:
        """The connection stands. The first call."""

    def handle_data(self, data: bytes) -> None:
        """Bytes of a stream have come, cut anyhow."""

    def handle_message(self, data: bytes) -> None:
        """A message has come, which is whole frames."""

    def handle_part(self) -> None:
        """Bytes of a message have come, and it is not whole."""

    def max_message_bytes(self) -> int:
        """How large a message may be by now."""

    def handle_broken(self, code: int, reason: str) -> None:
        """What came is against the rules of the transport. Nothing more comes."""

    def handle_close(self, code: int, reason: str) -> None:
        """The peer ends the connection, with a code of WebSocket or of ours."""

    def handle_eof(self) -> None:
        """The peer sends nothing more; writing may still be possible."""

    def handle_lost(self, error: str) -> None:
        """The socket is closed, by either side, or broken: `error` says how. The last call."""

    def handle_writable(self, writable: bool) -> None:
        """The socket takes no more for now, or again."""


class Refused(Exception):
    """The socket stands, but not the connection: its text says why."""


class Transport(asyncio.BufferedProtocol, ABC):
    """One socket. Its owner hears of it once the connection stands, and not at all where it never does."""

    def __init__(self, owner: Owner, security: Security | None) -> None:
        self._owner = owner
        self._security = security
        self._transport: asyncio.Transport | None = None
        self._connected = False
        self._read = memoryview(bytearray(READ_BYTES))
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the owner was told that it stands. Raises `Refused` and `OSError`."""

    @abstractmethod
    def write(self, frames: list[bytes]) -> None:
        """Writes frames, together. What the socket does not take waits and goes out by itself."""

    @abstractmethod
    def finish(self, code: int) -> None:
        """Ends the sending side once all is written, with a close code where the transport has one."""

    @abstractmethod
    def _start(self) -> None:
        """The socket stands, and TLS with it. Calls `_set_connected` now or later."""

    @abstractmethod
    def _received(self, data: bytes) -> None:
        """Bytes have come, cut anyhow."""

    def waiting_bytes(self) -> int:
        """How many bytes wait for the socket."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def abort(self) -> None:
        """Closes at once; what still waits to be written is lost."""
        if self._transport is not None:
            self._transport.abort()

    def _set_connected(self) -> None:
        self._connected = True
        if not self.opened.done():
            self.opened.set_result(None)
        self._owner.handle_connected(self)

    def _refuse(self, error: Exception) -> None:
        """The connection does not come to be."""
        if not self.opened.done():
            self.opened.set_exception(error)
        self.abort()

    # asyncio.BufferedProtocol. For a plain one asyncio allocates 256 KiB for each read, and the system hands
    # out their pages anew.

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        self._received(bytes(self._read[:nbytes]))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        # Before anything is sent: what comes first are credentials.
        if self._security is not None and (why := self._security.objection(transport)):
            self._refuse(Refused(why))
        else:
            self._start()

    def eof_received(self) -> bool:
        if self._connected:
            self._owner.handle_eof()
        return self._security is None  # the owner closes; asyncio does with TLS

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connected:
            why = "" if exc is None else str(exc) if self._security is None else why_broken(exc)
            self._owner.handle_lost(why)
        else:
            self._refuse(exc or ConnectionResetError("the server closed the connection"))
        self._transport = None

    def pause_writing(self) -> None:
        if self._connected:
            self._owner.handle_writable(False)

    def resume_writing(self) -> None:
        if self._connected:
            self._owner.handle_writable(True)


class Target(NamedTuple):
    """Where to connect to, and how."""

    address: Address
    make: Callable[[Owner], Transport]
    security: Security | None = None


async def open_transport(target: Target, owner: Owner, *, timeout: float) -> None:
    """Connects to the first of the host's addresses that answers, trying them in the resolver's order.

    The socket sends small writes at once: asyncio sets TCP_NODELAY, which `tests/test_transport.py` watches.

    `timeout` is in seconds and for all together: resolving, TCP, TLS, upgrade; each address gets an equal
    share of what is left. Raises `ConnectError` with every address tried and what went wrong. When cancelled,
    nothing stays open.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    address = target.address
    try:
        found = await within(
            timeout,
            loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP),
        )
    except asyncio.TimeoutError:
        raise ConnectError(str(address), f"the host name was not resolved within {timeout:g} s") from None
    except (OSError, UnicodeError) as error:
        raise ConnectError(str(address), f"the host name was not found ({_why(error)})") from error
    except RuntimeError as error:  # asyncio's resolver has ended
        raise ConnectError(str(address), "its event loop is being stopped") from error
    candidates = list(dict.fromkeys((family, kind, proto, where) for family, kind, proto, _, where in found))
    attempts: list[tuple[str, str]] = []
    nobody = True
    for index, (family, kind, proto, where) in enumerate(candidates):
        name = str(Address(str(where[0]), int(where[1])))
        left = (deadline - loop.time()) / (len(candidates) - index)
        if left <= 0:
            attempts.append((name, "not tried, no time was left"))
            continue
        opening = _Opening(target, owner)
        try:
            await within(left, opening.run(family, kind, proto, where))
            return
        except asyncio.TimeoutError:
            if opening.connected:  # in the last moment
                return
            attempts.append((name, f"no {opening.awaited} within {max(left, 0.1):.1f} s"))
        except Refused as error:
            attempts.append((name, str(error)))
        except (OSError, ValueError) as error:  # ValueError: no name that TLS could ask for
            attempts.append((name, opening.why(error)))
        nobody = nobody and not opening.tcp_stands
    reason = "; ".join(f"{name}: {why}" for name, why in attempts) or "the host name has no address"
    raise ConnectError(str(address), reason + (". Is the server running?" if nobody else ""), tuple(attempts))


class _Opening:
    """One attempt."""

    def __init__(self, target: Target, owner: Owner) -> None:
        self._target = target
        self._owner = owner
        self.tcp_stands = False
        self.connected = False
        """Whether the owner was told. From then on the transport is its own."""
        self.awaited = "answer"
        """What it waits for."""

    async def run(self, family: int, kind: int, proto: int, where: tuple[object, ...]) -> None:
        """Raises `OSError` and `Refused`. Leaves nothing open when it fails or is cancelled."""
        loop = asyncio.get_running_loop()
        sock = socket.socket(family, kind, proto)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, where)
        except BaseException:
            sock.close()
            raise
        self.tcp_stands = True
        transport = self._target.make(self._owner)
        security = self._target.security
        try:
            if security is None:
                await loop.create_connection(lambda: transport, sock=sock)
            else:
                self.awaited = TLS_HANDSHAKE
                await loop.create_connection(
                    lambda: transport,
                    sock=sock,
                    ssl=security.context,
                    server_hostname=security.host_name,
                    ssl_handshake_timeout=60.0,  # ours is shorter
                )
            self.awaited = "answer to the request for WebSocket"
            await transport.opened
        except BaseException:
            opened = transport.opened
            opened.cancel()
            # What it raises is known to us, and not to be logged.
            self.connected = not opened.cancelled() and opened.exception() is None
            if not self.connected:
                transport.abort()
            raise

    def why(self, error: Exception) -> str:
        """What a failure means, and what to do."""
        if not self.tcp_stands:
            return _why(error)
        if self.awaited == TLS_HANDSHAKE:
            scheme = self._target.address.scheme
            return why_no_handshake(error, secure=scheme, plain=scheme.removesuffix("s"))
        return f"the connection broke before the {self.awaited}: {why_broken(error)}"


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
