"""The way to a client: `connect`."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any

from .address import Address, parse_address
from .client import Client
from .credential import Token, TokenSource, source_of
from .errors import AddressError, ConnectError
from .reconnect import Reconnect, policy_of
from .schema import Schema
from .session import Session
from .tcp import TcpTransport
from .tls import Security, Tls, security_of
from .transport import Target
from .validate import Validator
from .websocket import websocket_maker

__all__ = ["Connecting", "connect", "target_of"]


def connect(
    address: str,
    *,
    schema: Schema,
    username: str = "",
    password: str = "",
    token: Token = "",
    tls: Tls | None = None,
    timeout: float = 5.0,
    receive: bool = True,
    validate: bool = False,
    reconnect: bool | Reconnect = True,
) -> Connecting:
    """Connects and logs in. Use it with `async with`, which closes at the end, or with `await`.

    - `address`: `host:port` or `tagwire://host:port`; `tagwires://` with TLS; `ws://` and `wss://` over
      WebSocket, with a path where the server is behind one, which need `pip install 'tagwire[websocket]'`
      and raise `ImportError` without it. The port is 7777 unless given. Every address of the host is tried.
      An address with TLS is never served without it.
    - `schema`: the game's, `SCHEMA` of its generated stubs.
    - `username`: at most 32 characters. Empty: the server makes up a guest name, where it admits guests.
    - `password`: what proves the name; or `token`, a JWT or another credential, whose subject is then the
      name. A function or coroutine function as `token` is called before each connection, on the event loop,
      and gives one that is fresh; what it raises for the first connection comes out of here.
    - `tls`: whom to trust with `tagwires://` and `wss://` other than the system does, and this client's own
      certificate.
    - `timeout`: seconds for everything together: token, resolving, TCP, TLS, upgrade, login.
    - `receive`: False for a client that only sends. Messages of the game are then counted and dropped, and
      iterating gives none; requests, pings, members and room work all the same.
    - `validate`: True to check the constraints of the schema before sending, with `InvalidMessage` where one
      is broken. Needs `pip install 'tagwire[validate]'`, and raises `ImportError` without it.
    - `reconnect`: whether a connection that is lost later on is made again; a `Reconnect` says how often and
      how long. False: its loss ends the client. The first connection is tried once, whatever this says. Each
      later attempt has `timeout` seconds.

    Raises, when awaited or entered: `AddressError`, `ConnectError` (no session came to be), `LoginRefused`
    (the server said why, and of which `part` of the login) and of it `SchemaMismatch` (the schemas do not
    fit). `ValueError` when the credentials are too large or too many. When cancelled, nothing stays open.
    """
    if not isinstance(schema, Schema):
        raise TypeError(f"schema must be the SCHEMA of generated stubs, not {schema!r}")
    policy = policy_of(reconnect)
    source = source_of(token, password)
    session = Session(
        schema,
        username=username,
        password=password,
        token=token if isinstance(token, str) else "",
        reconnect=policy is not None,
    )
    validator = Validator() if validate else None
    return Connecting(address, session, timeout, receive, validator, policy, source, tls)


class Connecting:
    """A client to be: `async with` it or `await` it, once."""

    def __init__(
        self,
        address: str,
        session: Session,
        timeout: float,
        receive: bool,
        validator: Validator | None,
        policy: Reconnect | None,
        token: TokenSource | None,
        tls: Tls | None,
    ) -> None:
        self._address = address
        self._session = session
        self._timeout = timeout
        self._receive = receive
        self._validator = validator
        self._policy = policy
        self._token = token
        self._tls = tls
        self._client: Client | None = None

    def __await__(self) -> Generator[Any, None, Client]:
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._client is not None
        await self._client.close()

    async def _open(self) -> Client:
        if self._client is not None:
            raise RuntimeError("this connect() was used already; call connect() again for another client")
        target = self._target()
        self._client = client = Client(
            self._session,
            receive=self._receive,
            validator=self._validator,
            reconnect=self._policy,
            token=self._token,
        )
        await client._open(target, self._timeout)
        return client

    def _target(self) -> Target:
        """Raises `AddressError`, `ConnectError`, `ImportError`."""
        return target_of(parse_address(self._address), self._tls)


def target_of(address: Address, tls: Tls | None = None) -> Target:
    """Everything that is needed to connect to an address, read from files once."""
    security: Security | None = None
    if address.secure:
        try:
            security = security_of(tls or Tls(), address.host, http=address.websocket)
        except ValueError as error:
            raise ConnectError(str(address), str(error)) from error
    elif tls is not None:
        raise AddressError(
            str(address), f"tls was given, and {address.scheme}:// is without TLS; use {address.scheme}s://"
        )
    if address.websocket:
        return Target(address, websocket_maker(address, security), security)
    return Target(address, lambda owner: TcpTransport(owner, security), security)
