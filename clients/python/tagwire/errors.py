"""What can go wrong, as exceptions. Each has `code` and `reason`, and says what to do where that helps.

    TagwireError
    ├── ConnectError          no session came to be, and no server said why
    │   └── AddressError      the address is none, or of an unknown kind
    ├── LoginRefused          the server answered the login with a refusal
    │   └── SchemaMismatch    because the schemas of the two sides do not fit
    ├── ConnectionClosed      the session has ended
    ├── BufferFull            `send_soon` found no room
    ├── InvalidMessage        it breaks a constraint of the schema, and was not sent
    └── RequestFailed         the answer to a request is not OK
        └── RequestTimeout    the answer did not come in time

Mistakes of the caller, such as a message that only the server may send, are `TypeError` and `ValueError`.
"""

from __future__ import annotations

from .close import CloseCode, Closed, LoginPart
from .gen.v1 import Response
from .gen.v1 import Status as _StatusTable
from .named import Named

__all__ = [
    "AddressError",
    "BufferFull",
    "ConnectError",
    "ConnectionClosed",
    "InvalidMessage",
    "LoginRefused",
    "RequestFailed",
    "RequestTimeout",
    "SchemaMismatch",
    "Status",
    "TagwireError",
]

_PART_HINTS: dict[str | None, str] = {
    None: "the dev password is 'welcome' unless the server was told otherwise",
    "name": "log in with another name",
    "password": (
        "one of the two is wrong; the dev password is 'welcome' unless the server was told otherwise"
    ),
    "token": (
        "get a new one where this one came from; connect() takes a function as `token`, which gives one for "
        "each connection"
    ),
}
_HINTS = {
    CloseCode.SCHEMA_MISMATCH: (
        "run `scripts/gen` (`tagwire gen`) with the server's schema, or update the server"
    ),
    CloseCode.VERSION: "use a client and a server of the same protocol version",
    CloseCode.OVERLOAD: "the server is full; try again later",
    CloseCode.SHUTDOWN: "the server is stopping; try again later",
    CloseCode.REPLACED: "the same name logged in again elsewhere",
}


_REQUEST_HINTS: dict[int, str] = {
    _StatusTable.INVALID: "the request breaks a rule of the schema; correct it before asking again",
    _StatusTable.DENIED: "log in as a player with the access that its rules in the schema ask for",
    _StatusTable.UNKNOWN: "the server, or the player's room, has no service that takes it",
    _StatusTable.INTERNAL: "this is a fault of the server, whose log says more; it may have run in part",
}


def _hint(closed: Closed) -> str:
    """What to do about an end. Empty: nothing comes to mind."""
    if closed.code == CloseCode.LOGIN_REFUSED:
        # Without a part it may be anything, say a connection without TLS; older servers name it in words.
        if closed.part is None and closed.reason and "password" not in closed.reason:
            return ""
        return _PART_HINTS.get(closed.part, "")
    return _HINTS.get(closed.code, "")


class Status(Named):
    """How a request went. An `int`; the names are those of `tagwire.v1.Status`, for example
    `Status.ILLEGAL`."""

    _table = _StatusTable.Value


class TagwireError(Exception):
    """What all failures of this library have in common."""

    code: int
    """A number for programs; each subclass says which. 0: none."""

    reason: str
    """The bare reason, without the advice that the text of the exception adds."""

    def __init__(self, text: str, *, code: int = 0, reason: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason or text


class ConnectError(TagwireError):
    """No session came to be, and no server said why. `code` is 0."""

    def __init__(self, address: str, reason: str, attempts: tuple[tuple[str, str], ...] = ()) -> None:
        """`attempts` are the resolved addresses that were tried, each with what went wrong."""
        super().__init__(f"cannot connect to {address}: {reason}", reason=reason)
        self.address = address
        self.attempts = attempts


class AddressError(ConnectError):
    """The address cannot be understood, is of an unknown kind, or does not go with `tls`."""


class LoginRefused(TagwireError):
    """The server answered the login with a refusal. `code` is a `CloseCode`.

    `part` says what of the login it was, for programs: `"name"`, `"password"` (or the name; which of the
    two, servers tell nobody), `"token"`, `"version"` of the protocol, `"schema"`; `None` where it was none of
    these or is not told.
    """

    code: CloseCode
    _default_reason = ""

    def __init__(self, closed: Closed) -> None:
        hint = _hint(closed)
        reason = closed.reason or self._default_reason
        text = f"login refused: {closed.code}"
        text += f", {reason}" if reason else ""
        text += f"; {hint}" if hint else ""
        text += "".join(f"\n  {finding}" for finding in closed.findings)
        super().__init__(text, code=closed.code, reason=reason or closed.code.name)
        self.closed = closed
        self.part: LoginPart | None = closed.part
        """What of the login was refused."""
        self.findings = list(closed.findings)
        """What differs between the two schemas, a line each. Empty unless it is a `SchemaMismatch`."""
        self.retry_after = closed.retry_after
        """Seconds that the server asks to wait before trying again. 0: the usual back-off."""

    @property
    def retryable(self) -> bool:
        """Whether trying again may help."""
        return self.code.retryable


class SchemaMismatch(LoginRefused):
    """The server compared this client's schema with its own, and they do not fit: `findings` says field by
    field what differs. `code` is `CloseCode.SCHEMA_MISMATCH`.

    Its text begins with what to do; the findings follow, one a line.
    """

    _default_reason = "the schema of this client and the server's contradict each other"


class ConnectionClosed(TagwireError):
    """The session has ended. `code` is a `CloseCode`."""

    code: CloseCode

    def __init__(self, closed: Closed, *, may_have_run: bool = False) -> None:
        hint = _hint(closed) if closed.by_peer else ""
        text = f"the connection was {closed}" + (f"; {hint}" if hint else "")
        text += "; what was asked for may have run all the same" if may_have_run else ""
        super().__init__(
            text,
            code=closed.code,
            reason=closed.reason or closed.code.name,
        )
        self.closed = closed
        self.by_peer = closed.by_peer
        """True: the server ended it, or the network. False: this side did."""
        self.retry_after = closed.retry_after
        """Seconds that the server asks to wait before trying again. 0: the usual back-off."""
        self.may_have_run = may_have_run
        """True: it was raised for a request that was sent, and the server may have done what was asked."""

    @property
    def retryable(self) -> bool:
        """Whether connecting again may help."""
        return self.code.retryable


class BufferFull(TagwireError):
    """`send_soon` found no room: the server takes messages slower than they are sent. `code` is 0."""


class InvalidMessage(TagwireError, ValueError):
    """A message breaks a constraint of the schema, and was not sent: with `connect(..., validate=True)` only.
    `code` is 0."""

    def __init__(self, name: str, field: str, rule: str, reason: str) -> None:
        where = f"{name}: {field}: {rule}" if field else f"{name}: {rule}"
        super().__init__(f"{where}: {reason}" if reason else where, reason=reason or rule)
        self.name = name
        """Full name of the message, for example `arena.v1.Chat`."""
        self.field = field
        """Where in it: `text`, `players[2].name`. Empty: the message as a whole."""
        self.rule = rule
        """The rule's id, for example `string.max_len`."""


class RequestFailed(TagwireError):
    """The answer to a request is not OK. `code` is the application's own number, 0 where it gave none.

    `status` says how it went:

    - `INVALID`: the request breaks a rule of the schema; `message` names field and rule.
    - `ILLEGAL`: the game's rules say no; `code` and `message` are the game's.
    - `DENIED`: this session may not ask it.
    - `UNKNOWN`: nothing there answers it.
    - `UNAVAILABLE`: over a limit; may be asked again after `retry_after`. See `may_have_run`.
    - `TIMEOUT`: a `RequestTimeout`.
    - `INTERNAL`: a fault of the server.
    """

    def __init__(self, name: str, response: Response, text: str = "") -> None:
        """`text` is that of a time-out on this side, whose `response` never came."""
        self.status = Status(response.status)
        """How it went; never OK."""
        self.message = response.message
        """Why, for people."""
        self.retry_after = response.retry_after_ms / 1000
        """With UNAVAILABLE: seconds to wait before asking again. 0: not said."""
        # A method that was cut short or failed has begun, whatever the server says of it.
        self.may_have_run = response.may_have_run or (
            not text and response.status in (_StatusTable.TIMEOUT, _StatusTable.INTERNAL)
        )
        """True: the server may have done what was asked all the same."""
        number = f", code {response.code}" if response.code else ""
        why = f": {self.message}" if self.message else ""
        hint = self._hint()
        hint = f"; {hint}" if hint else ""
        super().__init__(
            text or f"{name} was answered with {self.status.name}{number}{why}{hint}",
            code=response.code,
            reason=self.message or self.status.name,
        )

    def _hint(self) -> str:
        if self.status != Status.UNAVAILABLE:
            return _REQUEST_HINTS.get(self.status, "")
        again = f"ask again in {self.retry_after:g} s" if self.retry_after else "ask again later"
        if self.may_have_run:
            again += ", but only if twice does no harm: it may have run"
        return again


class RequestTimeout(RequestFailed):
    """No answer came in time: within the `timeout` of the call, or within the server's own. `status` is
    `TIMEOUT`; `may_have_run` is False only if it could not be sent at all."""

    def __init__(self, name: str, response: Response, text: str = "") -> None:
        super().__init__(name, response, text)
        self.by_peer = not text
        """True: the server gave up on it. False: this side did."""

    def _hint(self) -> str:
        return "the server has stopped it, maybe halfway; a longer `timeout` does not help"
