"""Tokens: one that stays, or a function that gives a fresh one for each connection."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from .deadline import within
from .errors import ConnectError

__all__ = ["Token", "TokenSource", "fresh", "source_of"]

TokenSource = Callable[[], str | Awaitable[str]]
"""A function or a coroutine function."""
Token = str | TokenSource


def source_of(token: Token, password: str) -> TokenSource | None:
    """The function in the argument `token` of `connect`; None: it is none. Raises `TypeError` and
    `ValueError` for what cannot be a credential; never with the token in it."""
    if token and password:
        raise ValueError("give password or token, not both; the server would judge one of them only")
    if isinstance(token, str):
        return None
    if not callable(token):
        raise TypeError(f"token must be a str or a function that gives one, not {type(token).__name__}")
    return token


async def fresh(source: TokenSource, address: str, timeout: float) -> str:
    """Asks for a token. Raises what the function raises, `ConnectError` when it takes too long, `TypeError`
    and `ValueError` when it gives none."""
    try:
        token = await within(timeout, _ask(source))
    except asyncio.TimeoutError:
        raise ConnectError(
            address, f"the function that is to give a token took longer than {timeout:g} s"
        ) from None
    if not isinstance(token, str):
        raise TypeError(f"the function for the token must give a str, not {type(token).__name__}")
    if not token:
        raise ValueError("the function for the token gave an empty one")
    return token


async def _ask(source: TokenSource) -> str:
    token = source()
    return await token if inspect.isawaitable(token) else token
