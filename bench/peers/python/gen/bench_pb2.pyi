from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class Echo(_message.Message):
    __slots__ = ("sent_ns", "number", "kind", "padding")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    number: int
    kind: int
    padding: bytes
    def __init__(self, sent_ns: _Optional[int] = ..., number: _Optional[int] = ..., kind: _Optional[int] = ..., padding: _Optional[bytes] = ...) -> None: ...

class Cast(_message.Message):
    __slots__ = ("sent_ns", "number", "kind", "padding")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    number: int
    kind: int
    padding: bytes
    def __init__(self, sent_ns: _Optional[int] = ..., number: _Optional[int] = ..., kind: _Optional[int] = ..., padding: _Optional[bytes] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("sent_ns", "x", "y", "z", "heading")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    HEADING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    x: int
    y: int
    z: int
    heading: int
    def __init__(self, sent_ns: _Optional[int] = ..., x: _Optional[int] = ..., y: _Optional[int] = ..., z: _Optional[int] = ..., heading: _Optional[int] = ...) -> None: ...

class CheckedStep(_message.Message):
    __slots__ = ("sent_ns", "x", "y", "z", "heading")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    HEADING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    x: int
    y: int
    z: int
    heading: int
    def __init__(self, sent_ns: _Optional[int] = ..., x: _Optional[int] = ..., y: _Optional[int] = ..., z: _Optional[int] = ..., heading: _Optional[int] = ...) -> None: ...

class Latest(_message.Message):
    __slots__ = ("sent_ns", "number", "kind", "padding")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    number: int
    kind: int
    padding: bytes
    def __init__(self, sent_ns: _Optional[int] = ..., number: _Optional[int] = ..., kind: _Optional[int] = ..., padding: _Optional[bytes] = ...) -> None: ...

class AskRequest(_message.Message):
    __slots__ = ("sent_ns", "number", "kind", "padding")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    number: int
    kind: int
    padding: bytes
    def __init__(self, sent_ns: _Optional[int] = ..., number: _Optional[int] = ..., kind: _Optional[int] = ..., padding: _Optional[bytes] = ...) -> None: ...

class AskReply(_message.Message):
    __slots__ = ("sent_ns", "number", "kind", "padding")
    SENT_NS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PADDING_FIELD_NUMBER: _ClassVar[int]
    sent_ns: int
    number: int
    kind: int
    padding: bytes
    def __init__(self, sent_ns: _Optional[int] = ..., number: _Optional[int] = ..., kind: _Optional[int] = ..., padding: _Optional[bytes] = ...) -> None: ...
