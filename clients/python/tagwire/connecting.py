"""The way to a client: `connect`."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Any

from .client import Client
from .reconnect import Reconnect, policy_of
from .schema import Schema
from .session import Session
from .transport import parse_address
from .validate import Validator

__all__ = ["Connecting", "connect"]


def connect(
    address: str,
    *,
    schema: Schema,
    username: str = "",
    password: str = "",
    token: str = "",
    timeout: float = 5.0,
    receive: bool = True,
    validate: bool = False,
    reconnect: bool | Reconnect = True,
) -> Connecting:
    """Connects and logs in. Use it with `async with`, which closes at the end, or with `await`.

    - `address`: `tagwire://host:port`, `host:port`, or `host` for port 7777. Every address of the host is
      tried.
    - `schema`: the game's, `SCHEMA` of its generated stubs.
    - `username`: at most 32 characters. Empty: the server makes up a guest name, where it admits guests.
    - `password`: what proves the name; or `token`, a JWT or another credential, whose subject is then the
      name.
    - `timeout`: seconds for everything together: resolving, connecting, login.
    - `receive`: False for a client that only sends. Messages of the game are then counted and dropped, and
      iterating gives none; requests, pings, members and room work all the same.
    - `validate`: True to check the constraints of the schema before sending, with `InvalidMessage` where one
      is broken. Needs `pip install 'tagwire[validate]'`, and raises `ImportError` without it.
    - `reconnect`: whether a connection that is lost later on is made again; a `Reconnect` says how often and
      how long. False: its loss ends the client. The first connection is tried once, whatever this says. Each
      later attempt has `timeout` seconds.

    Raises, when awaited or entered: `AddressError`, `ConnectError` (no session came to be), `LoginRefused`
    (the server said why) and of it `SchemaMismatch` (the schemas do not fit). `ValueError` when the
    credentials are too large. When cancelled, nothing stays open.
    """
    if not isinstance(schema, Schema):
        raise TypeError(f"schema must be the SCHEMA of generated stubs, not {schema!r}")
    policy = policy_of(reconnect)
    session = Session(schema, username=username, password=password, token=token, reconnect=policy is not None)
    return Connecting(address, session, timeout, receive, Validator() if validate else None, policy)


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
    ) -> None:
        self._address = address
        self._session = session
        self._timeout = timeout
        self._receive = receive
        self._validator = validator
        self._policy = policy
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
        address = parse_address(self._address)
        self._client = client = Client(
            self._session, receive=self._receive, validator=self._validator, reconnect=self._policy
        )
        await client._open(address, self._timeout)
        return client
