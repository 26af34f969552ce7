"""Why a connection ended: the code, what it advises, and the record that is kept of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .gen.v1 import CloseCode as _Table
from .named import Named

__all__ = ["CloseCode", "Closed", "LoginPart"]

LoginPart = Literal["name", "password", "token", "version", "schema"]
"""What of a login was refused."""


class CloseCode(Named):
    """Why a connection ended. An `int`; the names are those of `tagwire.v1.CloseCode`, for example
    `CloseCode.SHUTDOWN`. Codes from 4000 on are the application's.
    """

    _table = _Table.Value

    @property
    def retryable(self) -> bool:
        """Whether to try again, with back-off: 3000 to 3499 and 4000 to 4499."""
        return 3000 <= self < 3500 or 4000 <= self < 4500


@dataclass(frozen=True)
class Closed:
    """How a connection ended."""

    code: CloseCode
    """Why. TIMEOUT also when the connection broke without a word."""

    reason: str = ""
    """For people."""

    by_peer: bool = False
    """True: the server ended it, or the network. False: this side did."""

    retry_after: float = 0.0
    """Seconds that the server asks to wait before trying again. 0: the usual back-off."""

    findings: tuple[str, ...] = ()
    """With SCHEMA_MISMATCH: what differs between the two schemas."""

    part: LoginPart | None = None
    """With LOGIN_REFUSED, VERSION and SCHEMA_MISMATCH: what of the login was refused. None: not told."""

    def __post_init__(self) -> None:
        if self.part is None and (part := _PARTS.get(self.code)):
            object.__setattr__(self, "part", part)

    def __str__(self) -> str:
        who = "the server" if self.by_peer else "this client"
        return f"closed by {who}: {self.code}" + (f", {self.reason}" if self.reason else "")


_PARTS: dict[int, LoginPart] = {CloseCode.VERSION: "version", CloseCode.SCHEMA_MISMATCH: "schema"}
