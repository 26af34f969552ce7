"""Addresses of servers: text to its parts. No I/O.

tagwire://host:7777         TCP; what `host:port` and `host` alone mean
tagwires://host:7777        TCP with TLS
ws://host:7777/packets      WebSocket
wss://host:7777/packets     WebSocket with TLS
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .errors import AddressError

__all__ = ["DEFAULT_PORT", "Address", "parse_address"]

DEFAULT_PORT = 7777
"""Of every kind, as a server has all of them on one port."""

_SECURE = {"tagwire": False, "tagwires": True, "ws": False, "wss": True}
_PATH = re.compile(r"/[!-~]*")
_KINDS = "use tagwire://, tagwires://, ws:// or wss://, then host:port"


class Address(NamedTuple):
    """Where a server listens, and how to talk to it."""

    host: str
    port: int
    scheme: str = "tagwire"
    """`tagwire`, `tagwires`, `ws` or `wss`."""
    path: str = "/"
    """For WebSocket: what is asked for, with its query."""

    def __str__(self) -> str:
        where = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
        if self.scheme == "tagwire":
            return where
        return f"{self.scheme}://{where}" + (self.path if self.path != "/" else "")

    @property
    def secure(self) -> bool:
        """Whether it is TLS. Then it is nothing else."""
        return _SECURE[self.scheme]

    @property
    def websocket(self) -> bool:
        """Whether it is WebSocket, with TLS or without."""
        return self.scheme.startswith("ws")


def parse_address(text: str) -> Address:
    """Reads `scheme://host:port`, `host:port`, `host` (port 7777), `[::1]:7777` or `::1`, and a path where
    it is WebSocket. Raises `AddressError` for anything else."""
    scheme, separator, rest = text.strip().partition("://")
    if not separator:
        rest, scheme = text.strip(), "tagwire"
        if rest.startswith("mem:"):
            scheme = "mem"
    scheme = scheme.lower()
    if scheme == "mem":
        raise AddressError(text, f"mem: is for clients inside of the server's own process; {_KINDS}")
    if scheme not in _SECURE:
        raise AddressError(text, f"{scheme}:// is not known; {_KINDS}")
    path = "/"
    if scheme.startswith("ws"):
        cut = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
        rest, path = rest[:cut], rest[cut:]
        path = path if path.startswith("/") else f"/{path}"
        if not _PATH.fullmatch(path) or "#" in path:
            raise AddressError(
                text, "the path is printable ASCII, without #; write the rest as %20 and so on"
            )
    else:
        rest = rest.removesuffix("/")
    _, at, behind = rest.rpartition("@")
    if at:  # what stands before it may be a secret, and is not repeated
        raise AddressError(
            f"...@{behind}", "that is not a host name; name, password and token go to connect() beside it"
        )
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
    if not host or any(mark in host for mark in "/?#[] \t\r\n"):
        raise AddressError(
            text, "there is no host in it; use host:port" if not host else "that is not a host name"
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise AddressError(text, f"the port is {port!r}; it must be a number from 1 to 65535")
    return Address(host, int(port), scheme, path)
