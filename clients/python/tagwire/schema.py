"""What generated stubs say of a game: its messages, the rules beside them, and its fingerprint.

`Schema` is a value. Each has a descriptor pool of its own, so several live in one process, even with messages
of the same name. This module imports nothing else of the package, because generated stubs import it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any, Literal

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import Descriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import Message

__all__ = ["Rules", "Schema"]


@dataclass(frozen=True)
class Rules:
    """What one message may do, as `(tagwire.v1.rules)` says it in the `.proto` file."""

    tag: int
    """Number of the message on the wire, 1 to 65535."""

    name: str
    """Full name, for example `arena.v1.MouseEvent`."""

    sender: Literal["CLIENT", "SERVER", "BOTH"]
    """Who may send it."""

    target: Literal["HANDLER", "ROOM", "ROOM_ALL"] = "HANDLER"
    """Where the server takes it: to code, to the others in the room, or to everyone in it."""

    access: Literal["PLAYER", "GUEST", "OPERATOR"] = "PLAYER"
    """What the session that sends it must be."""

    delivery: Literal["ORDERED", "LATEST", "UNRELIABLE"] = "ORDERED"
    """What may happen to it on a slow connection."""

    max_bytes: int = 0
    """Largest payload in bytes. 0: the server's limit."""

    max_rate: int = 0
    """How many a session may send per second. 0: the server's limit."""

    request: bool = False
    """True: it is the input of a service's method, and only `Client.request` sends it."""


class Schema:
    """The messages of one game. Generated stubs hold one and name it `SCHEMA`."""

    def __init__(
        self, *, name: str, fingerprint: bytes, descriptors: bytes, rules: tuple[Rules, ...]
    ) -> None:
        """Made by generated code only.

        `descriptors` is an encoded `google.protobuf.FileDescriptorSet` in order of dependency, without
        `descriptor.proto`, `tagwire/v1/*.proto` and `buf/validate/validate.proto`, which are added here where
        they are imported.
        """
        self.name = name
        """First part of the package's name, for example `arena`."""
        self.fingerprint = fingerprint
        """16 bytes that are the same for schemas that are. Empty: none."""
        self.descriptors = descriptors
        """What is offered to a server that does not know the fingerprint."""
        self.rules = rules
        """The rules of each message that travels alone, by rising tag."""
        self._rules_by_tag = {rule.tag: rule for rule in rules}
        self._lock = threading.Lock()
        self._pool: descriptor_pool.DescriptorPool | None = None
        self._by_class: dict[type[Message], Rules] = {}
        self._by_tag: dict[int, tuple[Rules, type[Message]]] = {}

    def __repr__(self) -> str:
        return f"<Schema {self.name!r} {self.fingerprint.hex() or 'without fingerprint'}>"

    def message(self, name: str) -> Any:
        """Gives the class of a message by its full name. Raises `KeyError` when there is none."""
        return _class_of(self.pool.FindMessageTypeByName(name))

    def enum(self, name: str) -> EnumTypeWrapper:
        """Gives an enum by its full name, as protobuf's generated code does. Raises `KeyError` when there is
        none."""
        return EnumTypeWrapper(self.pool.FindEnumTypeByName(name))

    def by_tag(self, tag: int) -> tuple[Rules, type[Message]] | None:
        """Gives rules and class of the message with this tag, or `None`."""
        self._build()
        return self._by_tag.get(tag)

    def rules_of(self, message: Message | type[Message]) -> Rules:
        """Gives the rules of a message or of its class.

        Raises `TypeError`, with what to do, when the message is not of this schema or has no rules.
        """
        kind = message if isinstance(message, type) else type(message)
        self._build()
        rules = self._by_class.get(kind)
        if rules is None:
            raise TypeError(self._why_not(kind))
        return rules

    @property
    def pool(self) -> descriptor_pool.DescriptorPool:
        """The descriptors of these messages, built at the first use."""
        return self._build()

    def _why_not(self, kind: type) -> str:
        descriptor = getattr(kind, "DESCRIPTOR", None)
        if descriptor is None or not issubclass(kind, Message):
            return f"a {kind.__name__} is not a message; make one of the classes generated for {self.name!r}"
        name = descriptor.full_name
        if any(rules.name == name for rules in self.rules):
            return f"this {name} comes from other stubs than the schema {self.name!r} of this client"
        try:
            own = self.message(name) is kind
        except KeyError:
            own = False
        if own:
            return f"{name} has no (tagwire.v1.rules), so it never travels alone, only inside of others"
        return f"{name} is not in the schema {self.name!r} of this client"

    def _build(self) -> descriptor_pool.DescriptorPool:
        if self._pool is not None:
            return self._pool
        with self._lock:
            if self._pool is not None:
                return self._pool
            files = descriptor_pb2.FileDescriptorSet.FromString(self.descriptors).file
            pool = descriptor_pool.DescriptorPool()
            for file in _supplied(files):
                pool.AddSerializedFile(file)
            for one in files:
                pool.AddSerializedFile(one.SerializeToString())
            for rules in self.rules:
                kind = _class_of(pool.FindMessageTypeByName(rules.name))
                self._by_class[kind] = rules
                self._by_tag[rules.tag] = (rules, kind)
            self._pool = pool
            return pool


def _class_of(descriptor: Descriptor) -> type[Message]:
    """The class of a message, with those nested in it as attributes (pure-Python protobuf forgets them)."""
    kind = message_factory.GetMessageClass(descriptor)
    for nested in descriptor.nested_types:
        if not hasattr(kind, nested.name):
            setattr(kind, nested.name, _class_of(nested))
    return kind


_VALIDATE = "buf/validate/validate.proto"


def _supplied(files: Any) -> list[bytes]:
    """The files that are imported and not there: protobuf's own descriptor.proto, and the stack's."""
    present = {file.name for file in files}
    missing = {name for file in files for name in file.dependency} - present
    supplied = [descriptor_pb2.DESCRIPTOR.serialized_pb]
    if any(name.startswith("tagwire/v1/") for name in missing):
        from .gen._schema import SCHEMA as STACK  # late: it imports this module

        stack = descriptor_pb2.FileDescriptorSet.FromString(STACK.descriptors).file
        supplied += [file.SerializeToString() for file in stack]
    if _VALIDATE in missing:
        # Its types are no message's here, and what reads constraints, as protovalidate does, brings them
        # along: an empty file is all that the import needs.
        empty = descriptor_pb2.FileDescriptorProto(name=_VALIDATE, package="buf.validate")
        supplied.append(empty.SerializeToString())
    return supplied
