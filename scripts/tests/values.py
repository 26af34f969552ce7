"""Seeded random values for all fields of a message, and the JSON that they have by the rules of protobuf."""

import json
import random
import struct
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message

TEXTS = [
    "",
    "a",
    "Zürich \U0001f3ae",
    "\u202e\u2028\u0000\\\"'</script>{{ }}",
    "x" * 300,
    "\ufeff\ufffd",
    "*/",
]
# Not the largest float: Python writes it so that it is too large to be read.
FLOATS = [
    0.0,
    -0.5,
    1024.25,
    1e-45,
    3.4e38,
    float("inf"),
    float("-inf"),
    float("nan"),
    0.1,
    1 / 3,
]
DOUBLES = [*FLOATS, 5e-324, 1.7976931348623157e308, 2.0**53 + 1, 1e21, 123456789.123456789]


def value_of(field: FieldDescriptor, rng: random.Random) -> Any:
    """Some value for a field that holds no message, often one at the edge."""
    bits = 64 if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64) else 32
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_INT32 | FieldDescriptor.CPPTYPE_INT64:
            anything = rng.randrange(-(2 ** (bits - 1)), 2 ** (bits - 1))
            return rng.choice(
                [0, -1, 1, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, rng.randrange(1000), anything]
            )
        case FieldDescriptor.CPPTYPE_UINT32 | FieldDescriptor.CPPTYPE_UINT64:
            return rng.choice([0, 1, 127, 128, 2**bits - 1, 2 ** (bits - 1), rng.randrange(2**bits)])
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice([*DOUBLES, rng.uniform(-1e6, 1e6)])
        case FieldDescriptor.CPPTYPE_FLOAT:
            (single,) = struct.unpack("<f", struct.pack("<f", rng.uniform(-1e6, 1e6)))
            return rng.choice([*FLOATS, single])
        case FieldDescriptor.CPPTYPE_BOOL:
            return rng.random() < 0.5
        case FieldDescriptor.CPPTYPE_ENUM:
            # A number that no value has is kept, where the enum is open.
            known = rng.choice(field.enum_type.values).number
            return known if field.enum_type.is_closed else rng.choice([known, known, known, 77])
        case _ if field.type == FieldDescriptor.TYPE_BYTES:
            return rng.choice([b"", b"\x00\xff", rng.randbytes(rng.randrange(40))])
        case _:
            return rng.choice(TEXTS)


def newer(field: FieldDescriptor) -> bool:
    """True where prost's copy of Google's types is older than the field, so that Rust drops it as unknown."""
    return bool(field.name == "edition" and field.file.name.startswith("google/protobuf/"))


class Filler:
    """Sets fields of messages of one pool."""

    def __init__(self, rng: random.Random, kinds: list[type[Message]]) -> None:
        self.rng = rng
        # What an `Any` may hold: everybody knows the types of the schema.
        self.kinds = kinds

    def fill(self, message: Message, share: float, depth: int = 3) -> None:
        """Sets about this share of the fields."""
        rng = self.rng
        if self.known(message, share, depth):
            return
        for field in message.DESCRIPTOR.fields:
            if rng.random() >= share or newer(field):
                continue
            entry = field.message_type
            held = getattr(message, field.name)
            count = rng.choice([1, 1, 2, 5])
            if entry and entry.GetOptions().map_entry:
                value = entry.fields_by_name["value"]
                for _ in range(count):
                    key = value_of(entry.fields_by_name["key"], rng)
                    if not value.message_type:
                        held[key] = value_of(value, rng)
                    elif depth:
                        self.fill(held[key], share, depth - 1)
            elif entry and depth <= 0:
                continue
            elif entry and field.is_repeated:
                for _ in range(count):
                    self.fill(held.add(), share, depth - 1)
            elif entry:
                held.SetInParent()
                self.fill(held, share, depth - 1)
            elif field.is_repeated:
                held.extend(value_of(field, rng) for _ in range(count))
            else:
                setattr(message, field.name, value_of(field, rng))

    def known(self, message: Any, share: float, depth: int) -> bool:
        """Fills Google's types whose JSON is another than their fields; True where it was one."""
        rng = self.rng
        match message.DESCRIPTOR.full_name:
            case "google.protobuf.Timestamp":
                message.seconds = rng.choice([0, -1, -62135596800, 253402300799, rng.randrange(2**31)])
                message.nanos = rng.choice([0, 1, 999999999, 5_000_000, 5_000])
            case "google.protobuf.Duration":
                sign = rng.choice([-1, 1])
                message.seconds = sign * rng.choice([0, 1, 315576000000, rng.randrange(2**31)])
                message.nanos = sign * rng.choice([0, 1, 999999999, 5_000_000, 5_000])
            case "google.protobuf.FieldMask":
                message.paths.extend(
                    rng.sample(["a", "b_c", "d_e.f", "long_name_of.some_field"], rng.randrange(4))
                )
            case "google.protobuf.Any":
                # One of it cannot be read as JSON without its type, so it always has one.
                inner = rng.choice(self.kinds)()
                if depth > 0:
                    self.fill(inner, share / 4, 0)
                message.Pack(inner)
            case "google.protobuf.Value":
                self.value(message, depth)
            case "google.protobuf.Struct":
                for key in rng.sample(TEXTS, rng.randrange(4)):
                    self.value(message.fields[key], depth - 1)
            case "google.protobuf.ListValue":
                for _ in range(rng.randrange(4)):
                    self.value(message.values.add(), depth - 1)
            case _:
                return False
        return True

    def value(self, value: Any, depth: int) -> None:
        """One of JSON. It must be something: unset, it has no JSON."""
        rng = self.rng
        match rng.randrange(6 if depth > 0 else 4):
            case 0:
                value.null_value = 0
            case 1:
                value.number_value = rng.choice([0.0, -1.5, 1e300, 2.0**53])
            case 2:
                value.string_value = rng.choice(TEXTS)
            case 3:
                value.bool_value = rng.random() < 0.5
            case 4:
                value.struct_value.SetInParent()
                self.known(value.struct_value, 1, depth)
            case _:
                value.list_value.SetInParent()
                self.known(value.list_value, 1, depth)


def canonical(message: Message, pool: DescriptorPool) -> str:
    """The JSON of a message by the library that we take for right, with sorted keys."""
    found = json_format.MessageToDict(message, descriptor_pool=pool)
    return json.dumps(found, sort_keys=True, ensure_ascii=True)


def from_json(text: str, kind: type[Message], pool: DescriptorPool) -> Message:
    """The message of a JSON text."""
    return json_format.Parse(text, kind(), descriptor_pool=pool, max_recursion_depth=200)
