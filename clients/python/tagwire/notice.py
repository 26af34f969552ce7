"""A notice of the server as a warning: something that this client sent was dropped."""

from __future__ import annotations

import warnings
from typing import Any

from .events import Noticed
from .gen.v1 import Reason

__all__ = ["NoticeWarning", "warn_of"]

MAX_TEXT = 200
"""Characters of the server's text that are shown."""
MAX_SHOWN = 256

_shown: dict[Any, Any] = {}
_HINTS: dict[int, str] = {
    Reason.UNKNOWN: "generate the stubs again from the server's schema, or update the server",
    Reason.UNHANDLED: "give the server code that takes it, or its rules another `to`",
    Reason.INVALID: "it breaks a rule of the schema; correct it before sending",
    Reason.RATE_LIMITED: "send it less often, or raise its `max_rate` or the server's limit",
    Reason.TOO_LARGE: "make it smaller, or raise its `max_bytes`",
    Reason.ROOMLESS: "join a room first, and again after RoomEnded",
}


class NoticeWarning(UserWarning):
    """The server dropped something that this client sent. The text names the message and what to do.

    Shown where no handler is set for `Noticed`. Python shows each text once; `warnings.simplefilter("always",
    tagwire.NoticeWarning)` shows all of them, at most one a second, and "ignore" none.
    """

    def __init__(self, notice: Noticed) -> None:
        what = notice.name or f"a message with tag {notice.tag}"
        text = f"the server dropped {what}: {notice.reason.name}"
        text += f", {notice.text[:MAX_TEXT]}" if notice.text else ""
        hint = _HINTS.get(notice.reason)
        super().__init__(f"{text}; {hint}" if hint else text)
        self.notice = notice
        """What the server said."""


def warn_of(notice: Noticed) -> None:
    """Warns of a notice that the application does not handle."""
    # Python remembers each text that it has shown, in a table that a server must not make grow.
    if len(_shown) >= MAX_SHOWN:
        _shown.clear()
    warnings.warn_explicit(NoticeWarning(notice), None, "tagwire", 0, "tagwire", _shown)
