"""TCP for asyncio: addresses, connecting, and one socket behind a small interface.

What a frame or a session is, is not known here. WebSocket and TLS will be further transports with the same
interface.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import NamedTuple, Protocol

from .deadline import within
from .errors import AddressError, ConnectError

__all__ = ["DEFAULT_PORT", "Address", "Owner", "TcpTransport", "open_tcp", "parse_address"]

DEFAULT_PORT = 7777
WRITE_BUFFER_BYTES = 64 * 1024
"""What may wait in the transport before `handle_writable(False)` is called."""

_LATER = {
    "tagwires": "TLS",
    "ws": "WebSocket",
    "wss": "WebSocket over TLS",
    "mem": "the transport in memory",
}


class Address(NamedTuple):
    """Where a server listens for TCP without TLS."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Reads `tagwire://host:port`, `host:port`, `host` (port 7777), `[::1]:7777` or `::1`.

    Raises `AddressError` for anything else. The kinds that come later are named as such; an address that asks
    for TLS is never served without it.
    """
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        rest, scheme = text.strip(), "tagwire"
        if rest.startswith("mem:"):
            scheme = "mem"
    scheme = scheme.lower()
    if scheme in _LATER:
        raise AddressError(
            text, f"{_LATER[scheme]} is not supported yet by this version; use tagwire://host:port"
        )
    if scheme != "tagwire":
        raise AddressError(text, f"{scheme}:// is not known; use tagwire://host:port")
    rest = rest.removesuffix("/")
    if rest.startswith("["):
        host, bracket, port = rest[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            raise AddressError(text, "an IPv6 address is written [address]:port")
        port = port[1:] if port else str(DEFAULT_PORT)
    elif rest.count(":") > 1:
        host, port = rest, str(DEFAULT_PORT)
    else:
        host, colon, port = rest.partition(":")
        port = port if colon else str(DEFAULT_PORT)
    if not host or any(mark in host for mark in "/?#@ \t") or any(mark in host for mark in "[]"):
        raise AddressError(
            text, "there is no host in it; use host:port" if not host else "that is not a host name"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise AddressError(text, f"the port is {port!r}; it must be a number from 1 to 65535")
    return Address(host, int(port))


class Owner(Protocol):
    """Who a transport reports to. All calls come from the event loop's thread, none after `handle_lost`."""

    def handle_connected(self, transport: TcpTransport) -> None:
        """The connection stands. The first call."""

    def handle_data(self, data: bytes) -> None:
        """Bytes have come."""

    def handle_eof(self) -> None:
        """The peer sends nothing more; writing is still possible."""

    def handle_lost(self, error: Exception | None) -> None:
        """The socket is closed, by either side, or broken: `error`. The last call."""

    def handle_writable(self, writable: bool) -> None:
        """The socket takes no more for now, or again."""


class TcpTransport(asyncio.Protocol):
    """One TCP socket."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None

    def write(self, frames: list[bytes]) -> None:
        """Writes frames, together. What the socket does not take waits and goes out by itself."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def waiting_bytes(self) -> int:
        """How many bytes wait for the socket."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def write_eof(self) -> None:
        """Ends the sending side once all is written. What comes is still read."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def abort(self) -> None:
        """Closes at once; what still waits to be written is lost."""
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._owner.handle_connected(self)

    def data_received(self, data: bytes) -> None:
        self._owner.handle_data(data)

    def eof_received(self) -> bool:
        self._owner.handle_eof()
        return True  # the owner closes

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.handle_lost(exc)

    def pause_writing(self) -> None:
        self._owner.handle_writable(False)

    def resume_writing(self) -> None:
        self._owner.handle_writable(True)


async def open_tcp(address: Address, owner: Owner, *, timeout: float) -> None:
    """Connects to the first of the host's addresses that answers, trying them in the resolver's order.

    The socket sends small writes at once: asyncio sets TCP_NODELAY, which `tests/test_transport.py` watches.

    `timeout` is in seconds and for all together; each address gets an equal share of what is left. Raises
    `ConnectError` with every address tried and what went wrong. When cancelled, nothing stays open.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
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
    for index, (family, kind, proto, where) in enumerate(candidates):
        name = str(Address(str(where[0]), int(where[1])))
        left = (deadline - loop.time()) / (len(candidates) - index)
        if left <= 0:
            attempts.append((name, "not tried, no time was left"))
            continue
        try:
            sock = socket.socket(family, kind, proto)
        except OSError as error:
            attempts.append((name, _why(error)))
            continue
        try:
            sock.setblocking(False)
            await within(left, loop.sock_connect(sock, where))
            await loop.create_connection(lambda: TcpTransport(owner), sock=sock)
            return
        except asyncio.TimeoutError:
            sock.close()
            attempts.append((name, f"no answer within {left:.2g} s"))
        except OSError as error:
            sock.close()
            attempts.append((name, _why(error)))
        except BaseException:
            sock.close()
            raise
    reason = "; ".join(f"{name}: {why}" for name, why in attempts) or "the host name has no address"
    raise ConnectError(str(address), f"{reason}. Is the server running?", tuple(attempts))


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)  # asyncio's own text repeats the address
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
