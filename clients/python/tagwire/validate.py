"""Checking the constraints of a schema before sending, with protovalidate: the extra `tagwire[validate]`.

The server checks them in any case; this tells a program of its mistake where it makes it.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from .errors import InvalidMessage

__all__ = ["Validator"]


class Validator:
    """Checks messages against the `buf.validate` rules that their descriptors carry. For one client each."""

    def __init__(self) -> None:
        """Raises `ImportError`, with what to install, where protovalidate is missing."""
        try:
            import protovalidate  # late: it is an extra
        except ImportError as error:
            raise ImportError(
                "validate=True needs the package protovalidate (Python 3.11 or newer); "
                "run `pip install 'tagwire[validate]'`"
            ) from error
        self._validator = protovalidate.Validator()

    def check(self, message: Message) -> None:
        """Raises `InvalidMessage` for the first rule that is broken."""
        for broken in self._validator.collect_violations(message, fail_fast=True):
            rule, text = broken.proto.rule_id or "", broken.proto.message or ""
            raise InvalidMessage(message.DESCRIPTOR.full_name, _path(broken.proto.field), rule, text)


def _path(field: Any) -> str:
    """Where, as the server writes it: `players[2].name`, `scores["red"]`."""
    path = ""
    for element in field.elements if field is not None else ():
        path += f".{element.field_name}" if path else element.field_name
        if element.subscript is not None:
            key = element.subscript.value
            path += f'["{key}"]' if isinstance(key, str) else f"[{str(key).lower()}]"
    return path
