"""Writes frames.json and messages.json beside it, the same bytes each time.

Frames follow from the rules in docs/PROTOCOL.md, "Frames". Messages are put together here byte by byte, and
what they mean is what Google's own library (upb) says: it is the oracle, and where a vector claims otherwise
this script fails. Run it with .venv/bin/python. `--check` writes nothing, and fails unless the files are what
would be written.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "gen" / "python"))

from google.protobuf import json_format  # noqa: E402
from google.protobuf.internal import api_implementation  # noqa: E402
from google.protobuf.message import DecodeError, Message  # noqa: E402

import conformance  # noqa: E402

# Frames


def frame(tag: int, payload: bytes = b"") -> bytes:
    if 0 < tag <= 255 and len(payload) <= 255:
        return bytes((len(payload), tag)) + payload
    return extended(tag, payload)


def extended(tag: int, payload: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack(">BBHI", 0xFF, 0, tag, len(payload) if length is None else length) + payload


def frames() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []

    def add(
        name: str,
        meaning: str,
        data: bytes,
        found: list[tuple[int, bytes]],
        *,
        error: str | None = None,
        rest: int = 0,
        limit: int = 65536,
        login: bool = False,
    ) -> None:
        written = b"".join(frame(tag, payload) for tag, payload in found)
        entry: dict[str, Any] = {"name": name, "meaning": meaning, "hex": data.hex(), "limit": limit}
        if login:
            entry["login"] = True
        entry["frames"] = [{"tag": tag, "payload": payload.hex()} for tag, payload in found]
        entry["error"] = error
        entry["rest"] = rest
        entry["shortest"] = written == data
        made.append(entry)

    def good(name: str, meaning: str, data: bytes, *found: tuple[int, bytes], limit: int = 65536) -> None:
        add(name, meaning, data, list(found), limit=limit)

    def bad(
        name: str, meaning: str, data: bytes, error: str, *found: tuple[int, bytes], limit: int = 65536
    ) -> None:
        add(name, meaning, data, list(found), error=error, limit=limit)

    mouse = b"\x08\x01\x10\x01"
    half = bytes(range(255))
    good("nothing", "no bytes, no frame", b"")
    good("short", "a short frame", frame(2, mouse), (2, mouse))
    good("short_empty", "an empty payload is a message with all defaults", frame(2), (2, b""))
    good(
        "short_largest",
        "255 bytes of payload and tag 255 still fit the short form",
        frame(255, half),
        (255, half),
    )
    good("short_tag_1", "the smallest tag", frame(1), (1, b""))
    good(
        "short_like_an_extended",
        "FF and a tag that is not 0: a short frame of 255 bytes",
        frame(1, half),
        (1, half),
    )
    good("extended_payload", "256 bytes do not fit the short form", frame(2, half + b"!"), (2, half + b"!"))
    good("extended_tag", "tag 256 does not fit the short form", frame(256), (256, b""))
    good("extended_largest_tag", "the largest tag", frame(65535, b"x"), (65535, b"x"))
    good("extended_both", "neither tag nor payload fits", frame(300, half * 2), (300, half * 2))
    good(
        "extended_needless",
        "extended where the short form fits is taken all the same",
        extended(2, mouse),
        (2, mouse),
    )
    good("extended_needless_empty", "and so without a payload", extended(2), (2, b""))
    good("extended_needless_largest", "and with the largest short payload", extended(255, half), (255, half))
    good("two", "two frames in one read", frame(2, mouse) + frame(4), (2, mouse), (4, b""))
    three = [(2, mouse), (300, b"abc"), (3, b"\x08\x01")]
    good("both_forms", "short, extended, short", b"".join(frame(*one) for one in three), *three)
    many = [(1 + at % 255, bytes(at % 7)) for at in range(200)]
    good("many", "200 frames in one read", b"".join(frame(*one) for one in many), *many)
    good(
        "payload_of_headers",
        "what a payload looks like is nobody's business",
        frame(2, b"\x00\x00\xff\x00" * 4),
        (2, b"\x00\x00\xff\x00" * 4),
    )
    good(
        "at_the_limit", "as long as is allowed", frame(2, half + b"!" * 45), (2, half + b"!" * 45), limit=300
    )
    good(
        "at_a_small_limit",
        "a limit below 255 counts for the short form too",
        frame(2, b"ab"),
        (2, b"ab"),
        limit=2,
    )

    for at in range(1, 6):
        add(f"short_cut_at_{at}", "cut: more is needed", frame(2, mouse)[:at], [], rest=at)
    for at in range(1, 12):
        add(f"extended_cut_at_{at}", "cut: more is needed", frame(300, mouse)[:at], [], rest=at)
    add(
        "cut_behind_a_frame",
        "one frame, and half of the next",
        frame(2, mouse) + b"\x04\x02\x08",
        [(2, mouse)],
        rest=3,
    )

    for length in (0, 1, 2, 127, 254):
        bad(
            f"tag_0_length_{length}",
            "a short header with tag 0 opens no frame",
            bytes((length, 0)),
            "malformed",
        )
    bad("extended_tag_0", "an extended header with tag 0", extended(0, mouse), "malformed")
    bad("extended_tag_0_by_its_tag", "is refused when its tag has come", b"\xff\x00\x00\x00", "malformed")
    bad(
        "tag_0_behind_a_frame",
        "what came before is good",
        frame(2, mouse) + b"\x03\x00",
        "malformed",
        (2, mouse),
    )
    bad("nothing_after_an_error", "what follows is never read", b"\x03\x00" + frame(2, mouse), "malformed")
    header = extended(2, length=65537)
    bad("over_the_limit", "refused by its header alone", header, "too_large")
    bad(
        "over_the_limit_by_far",
        "the largest that a header can say",
        extended(2, length=0xFFFFFFFF),
        "too_large",
    )
    bad("over_a_small_limit", "a short header is refused too", b"\x03\x02", "too_large", limit=2)
    bad("over_the_limit_by_one", "one byte over", extended(2, length=301), "too_large", limit=300)
    bad("over_behind_a_frame", "what came before is good", frame(2, mouse) + header, "too_large", (2, mouse))
    bad(
        "over_and_no_tag",
        "which of the two it is told is the tag",
        extended(0, length=0xFFFFFFFF),
        "malformed",
    )

    # Before a login a server takes nothing but PlayerLogin, of at most 8 KiB.
    login = b"\x0a\x07player1\x12\x07welcome"
    add("login", "a login", frame(1, login), [(1, login)], limit=8192, login=True)
    add("login_extended", "a login, extended", extended(1, login), [(1, login)], limit=8192, login=True)
    add(
        "login_too_large",
        "over 8 KiB",
        extended(1, length=8193),
        [],
        error="too_large",
        limit=8192,
        login=True,
    )
    add(
        "no_login", "another frame before the login", b"\x04\x02", [], error="not_now", limit=8192, login=True
    )
    add(
        "no_login_extended",
        "and so extended",
        extended(300, length=1),
        [],
        error="not_now",
        limit=8192,
        login=True,
    )
    add(
        "no_login_and_large",
        "told as what comes first",
        extended(2, length=9999),
        [],
        error="not_now",
        limit=8192,
        login=True,
    )
    return made


# Messages

VARINT, FIXED64, BYTES, BEGIN, END, FIXED32 = range(6)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def zigzag(value: int) -> int:
    return (value << 1) ^ (value >> 63)


def key(field: int, wire: int) -> bytes:
    return varint(field << 3 | wire)


def number(field: int, value: int) -> bytes:
    return key(field, VARINT) + varint(value)


def data(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return key(field, BYTES) + varint(len(value)) + value


def fixed32(field: int, value: bytes) -> bytes:
    return key(field, FIXED32) + value


def fixed64(field: int, value: bytes) -> bytes:
    return key(field, FIXED64) + value


def nested(depth: int) -> bytes:
    payload = number(2, depth)
    for _ in range(depth):
        payload = data(1, payload)
    return payload


def _read_back(found: Any, message: Message) -> bytes:
    """What is written by who has read this JSON."""
    again = type(message)()
    json_format.ParseDict(found, again)
    return again.SerializeToString(deterministic=True)


def messages() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []

    def add(
        kind: str,
        name: str,
        meaning: str,
        payload: bytes,
        *,
        client: str = "reads",
        server: str | None = None,
    ) -> None:
        """`client`: `reads`, `drops` or `either`; `server`: `accepts` or `refuses`."""
        entry: dict[str, Any] = {
            "name": name,
            "meaning": meaning,
            "type": f"conformance.v1.{kind}",
            "hex": payload.hex(),
            "client": client,
            "server": server or ("refuses" if client == "drops" else "accepts"),
        }
        try:
            message = conformance.SCHEMA.message(entry["type"]).FromString(payload)
        except DecodeError:
            assert client != "reads", f"{name}: the oracle does not read it"
            message = None
        else:
            assert client != "drops", f"{name}: the oracle reads it as {message}"
        if client == "reads":
            assert message is not None
            entry["json"] = found = json_format.MessageToDict(message)
            if isinstance(found.get("float"), float):
                # In full: the shortest text for the largest float is, as a double, too large for one.
                found["float"] = message.float
            if not any(
                isinstance(value, dict) and len(value) > 1 and kind == "Maps" for value in found.values()
            ):
                # The entries of a map have no order.
                entry["again"] = message.SerializeToString(deterministic=True).hex()
            message.DiscardUnknownFields()  # which JSON does not say
            assert _read_back(found, message) == message.SerializeToString(deterministic=True), name
        made.append(entry)

    def scalar(name: str, meaning: str, payload: bytes, **sides: str) -> None:
        add("Scalars", name, meaning, payload, **sides)

    def bad(kind: str, name: str, meaning: str, payload: bytes) -> None:
        add(kind, name, meaning, payload, client="drops")

    # Each scalar type at its edges.
    scalar("nothing", "no bytes: all defaults", b"")
    for name, value in {
        "one": 1.0, "tenth": 0.1, "minus_zero": -0.0, "largest": 1.7976931348623157e308, "smallest": 5e-324,
        "infinity": float("inf"), "minus_infinity": float("-inf"), "nan": float("nan"),
    }.items():  # fmt: skip
        scalar(f"double_{name}", f"double {value}", fixed64(1, struct.pack("<d", value)))
    for name, bits in {
        "one": 0x3F800000, "tenth": 0x3DCCCCCD, "minus_zero": 0x80000000, "largest": 0x7F7FFFFF,
        "smallest": 1, "infinity": 0x7F800000, "minus_infinity": 0xFF800000, "nan": 0x7FC00000,
    }.items():  # fmt: skip
        (value,) = struct.unpack("<f", struct.pack("<I", bits))
        scalar(f"float_{name}", f"float {value}", fixed32(2, struct.pack("<I", bits)))
    i32, u32, i64, u64 = 1 << 31, 1 << 32, 1 << 63, 1 << 64
    edges = {
        "int32": (3, [1, -1, i32 - 1, -i32]),
        "int64": (4, [1, -1, (1 << 53) + 1, i64 - 1, -i64]),
        "uint32": (5, [1, u32 - 1]),
        "uint64": (6, [1, (1 << 53) + 1, u64 - 1]),
    }
    for kind, (field, values) in edges.items():
        for value in values:
            scalar(f"{kind}_{value}", f"{kind} {value}", number(field, value))
    for kind, field, bits in (("sint32", 7, 31), ("sint64", 8, 63)):
        for value in (1, -1, (1 << bits) - 1, -(1 << bits)):
            scalar(f"{kind}_{value}", f"{kind} {value}, zigzag", number(field, zigzag(value)))
    for kind, field, form, fixed_values in (
        ("fixed32", 9, "<I", [1, u32 - 1]),
        ("fixed64", 10, "<Q", [1, u64 - 1]),
        ("sfixed32", 11, "<i", [-1, -i32]),
        ("sfixed64", 12, "<q", [-1, -i64]),
    ):
        for value in fixed_values:
            put = fixed32 if kind.endswith("32") else fixed64
            scalar(f"{kind}_{value}", f"{kind} {value}", put(field, struct.pack(form, value)))
    scalar("bool_true", "true", number(13, 1))
    scalar("bool_2", "any number but 0 is true", number(13, 2))
    scalar("bool_large", "and so is a large one", number(13, 1 << 40))
    scalar("string_ascii", "a text", data(14, "hello"))
    scalar("string_all_lengths", "characters of one to four bytes", data(14, "aé水🎮"))
    scalar("string_nul", "a text with the character 0", data(14, "a\0b"))
    scalar("string_last_character", "the last code point", data(14, "\U0010ffff"))
    scalar("string_escapes", "what JSON must escape", data(14, '"\\\n\t\u2028'))
    scalar("bytes_any", "bytes that are no text", data(15, bytes((0, 255, 128, 10))))
    scalar("bytes_300", "a length of two bytes", data(15, bytes(300)))
    scalar("enum_known", "a value by its name", number(16, 2))
    scalar("enum_negative", "a negative value", number(16, -1))
    scalar("enum_unknown", "a value of a newer schema is kept, as its number", number(16, 77))
    scalar("all", "all at once", b"".join((
        fixed64(1, struct.pack("<d", 1.5)), fixed32(2, struct.pack("<f", -2.5)), number(3, -3), number(4, -4),
        number(5, 5), number(6, 6), number(7, zigzag(-7)), number(8, zigzag(-8)),
        fixed32(9, struct.pack("<I", 9)), fixed64(10, struct.pack("<Q", 10)),
        fixed32(11, struct.pack("<i", -11)), fixed64(12, struct.pack("<q", -12)),
        number(13, 1), data(14, "14"), data(15, b"15"), number(16, 1),
    )))  # fmt: skip
    scalar("other_order", "fields may come in any order", number(5, 2) + number(3, 1))
    scalar("zeroes_written", "defaults may be written", number(3, 0) + number(13, 0) + data(14, ""))
    scalar("int32_of_64_bits", "int32 takes the lower 32 bits", number(3, (1 << 40) + 7))
    scalar("uint32_of_64_bits", "uint32 takes the lower 32 bits", number(5, (1 << 63) + 7))
    scalar("twice", "of a field that comes twice the last counts", number(3, 1) + number(5, 9) + number(3, 2))
    scalar("long_varint", "a number in more bytes than it needs", key(3, VARINT) + b"\x87\x80\x80\x80\x00")
    scalar("long_key", "a key in more bytes than it needs", b"\x98\x80\x00\x07")
    scalar("varint_of_10_bytes", "the longest number", key(6, VARINT) + b"\xff" * 9 + b"\x01")

    # Fields that know whether they were set.
    add("Maybes", "maybes_unset", "nothing was set", b"")
    add(
        "Maybes",
        "maybes_zero",
        "set to their defaults",
        number(1, 0) + data(2, "") + number(3, 0) + number(4, 0),
    )
    add("Maybes", "maybes_empty_message", "a message that is there and empty", data(5, b""))
    add("Maybes", "maybes_set", "set", number(1, 1) + data(2, "x") + data(5, number(1, zigzag(-1))))
    add("Maybes", "message_in_two_parts", "a message that comes twice is merged",
        data(5, number(1, zigzag(1)) + number(2, zigzag(1))) + data(5, number(2, zigzag(5))))  # fmt: skip

    # Lists.
    several = b"".join(map(varint, (1, -1, 300)))
    add("Lists", "packed", "a packed list", data(1, several))
    add("Lists", "packed_empty", "an empty packed list", data(1, b""))
    add("Lists", "packed_as_unpacked", "what is packed may come one by one", number(1, 1) + number(1, 2))
    add("Lists", "packed_in_parts", "or in parts", data(1, b"\x01\x02") + number(1, 3) + data(1, b"\x04"))
    add("Lists", "unpacked", "a list that is not packed", number(2, 1) + number(2, -1))
    add("Lists", "unpacked_as_packed", "may come packed", data(2, several))
    add("Lists", "fixed", "a packed list of fixed64", data(3, struct.pack("<QQ", 1, u64 - 1)))
    add("Lists", "fixed_as_unpacked", "one by one", fixed64(3, struct.pack("<Q", 7)))
    add("Lists", "texts", "texts, one of them empty", data(4, "a") + data(4, "") + data(4, "b"))
    add("Lists", "points", "messages, one of them empty", data(5, number(1, 2)) + data(5, b""))
    add("Lists", "kinds", "enums, one of them unknown", data(6, varint(1) + varint(77) + varint(-1)))
    add("Lists", "flags", "booleans", data(7, b"\x01\x00\x01"))
    add(
        "Lists",
        "among_others",
        "a list with something in between",
        data(4, "a") + number(2, 1) + data(4, "b"),
    )
    bad("Lists", "packed_cut", "a packed list that ends in a number", data(1, b"\x01\x80"))
    bad("Lists", "packed_fixed_cut", "a packed list that ends in a fixed64", data(3, bytes(12)))
    bad("Lists", "text_in_list_not_utf8", "one of the texts is not UTF-8", data(4, "a") + data(4, b"\xff"))

    # Maps.
    add("Maps", "map_empty_entry", "an entry without key and value has their defaults", data(1, b""))
    add("Maps", "map_entry", "an entry", data(1, data(1, "a") + number(2, 5)))
    add("Maps", "map_value_first", "its value may come first", data(1, number(2, 5) + data(1, "a")))
    add("Maps", "map_key_alone", "a key without value", data(2, number(1, -5)))
    add("Maps", "map_value_alone", "a value without key", data(2, data(2, number(1, 2))))
    add("Maps", "map_twice", "of a key that comes twice the last counts",
        data(1, data(1, "a") + number(2, 1)) + data(1, data(1, "a") + number(2, 2)))  # fmt: skip
    add("Maps", "map_bool_keys", "keys that are booleans",
        data(3, number(1, 0) + data(2, "no")) + data(3, number(1, 1) + data(2, "yes")))  # fmt: skip
    add("Maps", "map_largest_key", "int64 as a key", data(2, number(1, i64 - 1) + data(2, b"")))
    add("Maps", "map_enum", "enums as values", data(4, number(1, 1) + number(2, 2)))
    bad("Maps", "map_key_not_utf8", "a key that is not UTF-8", data(1, data(1, b"\xc3\x28")))
    bad("Maps", "map_entry_cut", "an entry that is cut", data(1, b"\x0a\x05a"))

    # One of several.
    add("Choice", "choice_none", "none of them", number(4, 1))
    add("Choice", "choice_default", "one of them, with its default", number(1, 0))
    add("Choice", "choice_text", "the text", data(2, "x"))
    add("Choice", "choice_last", "of two the last counts", number(1, 1) + data(2, "x"))
    add("Choice", "choice_merged", "the same message twice is merged",
        data(3, number(1, zigzag(1))) + data(3, number(2, zigzag(2))))  # fmt: skip
    add("Choice", "choice_not_merged", "unless another came in between",
        data(3, number(1, zigzag(1))) + number(1, 1) + data(3, number(2, zigzag(2))))  # fmt: skip

    # What a newer sender adds.
    add(
        "Note",
        "unknown_varint",
        "a field of a newer schema is skipped, and kept",
        number(1, 5) + number(100, 7),
    )
    add("Note", "unknown_fixed64", "fixed64", number(1, 5) + fixed64(100, bytes(8)))
    add("Note", "unknown_fixed32", "fixed32", number(1, 5) + fixed32(100, bytes(4)))
    add("Note", "unknown_bytes", "bytes", number(1, 5) + data(100, b"\xff\xfe"))
    group = key(100, BEGIN) + number(1, 1) + data(2, "x") + key(100, END)
    add("Note", "unknown_group", "a group", number(1, 5) + group)
    add("Note", "unknown_groups_nested", "groups in a group", key(100, BEGIN) + group + group + key(100, END))
    add("Note", "unknown_first", "before the known ones", number(100, 7) + number(1, 5))
    add("Note", "unknown_largest_field", "the largest number of a field", number((1 << 29) - 1, 1))
    add("Choice", "unknown_inside", "inside of another message", data(3, number(100, 7)))
    bad("Note", "unknown_cut", "cut within it", number(1, 5) + key(100, BYTES) + b"\x05ab")
    bad(
        "Note",
        "unknown_group_open",
        "a group that does not end",
        number(1, 5) + key(100, BEGIN) + number(1, 1),
    )
    bad("Note", "unknown_group_crossed", "a group that ends as another",
        key(100, BEGIN) + key(101, END))  # fmt: skip

    # What is no message.
    text = number(1, 5) + data(2, "hello")
    for at in range(1, len(text)):
        if at != 2:  # where a message ends, too
            bad("Note", f"cut_at_{at}", "cut", text[:at])
    bad("Note", "field_0", "no field has the number 0", b"\x00\x01")
    bad("Note", "wire_type_6", "no such wire type", b"\x0e\x01")
    bad("Note", "wire_type_7", "no such wire type", b"\x0f\x01")
    bad("Note", "group_end_alone", "the end of a group that did not begin", b"\x0c")
    bad("Note", "length_over", "longer than there is", b"\x12\x7fabc")
    bad("Note", "length_huge", "far longer than there is", key(2, BYTES) + varint((1 << 31) - 1) + b"abc")
    bad("Note", "length_of_64_bits", "a length that overflows", key(2, BYTES) + varint(u64 - 1) + b"abc")
    bad(
        "Scalars", "varint_of_11_bytes", "a number that does not end", key(6, VARINT) + b"\xff" * 10 + b"\x01"
    )
    bad("Scalars", "varint_cut", "a number that is cut", key(6, VARINT) + b"\xff" * 4)
    bad("Scalars", "fixed64_cut", "a fixed64 that is cut", key(10, FIXED64) + bytes(7))
    bad("Scalars", "fixed32_cut", "a fixed32 that is cut", key(9, FIXED32) + bytes(3))
    bad("Choice", "inner_cut", "a message within that is cut", data(3, b"\x08"))
    bad("Choice", "inner_over", "a message within that is longer than it", data(3, key(100, BYTES) + b"\x05"))
    for name, text_bytes in {
        "lone_continuation": b"\x80", "cut": b"a\xe6\xb0", "overlong": b"\xc0\xaf",
        "surrogate": b"\xed\xa0\x80",
        "over_the_last": b"\xf4\x90\x80\x80", "latin_1": b"caf\xe9",
    }.items():  # fmt: skip
        bad("Note", f"utf8_{name}", "a text that is not UTF-8", data(2, text_bytes))

    # Nesting. Libraries draw the line at 100, and count differently.
    add("Nest", "nested_1", "a message in a message", nested(1))
    add("Nest", "nested_90", "ninety deep", nested(90))
    add("Nest", "nested_99", "as deep as all read", nested(99))
    add("Nest", "nested_100", "a hundred deep: the first that some refuse", nested(100), client="either")
    bad("Nest", "nested_101", "over a hundred deep", nested(101))
    bad("Nest", "nested_150", "a hundred and fifty deep: nobody reads so deep", nested(150))

    # Where libraries differ: either is right for a client, the server refuses.
    add("Note", "other_wire_type", "a number where a text should be: skipped as unknown, or refused",
        number(1, 5) + number(2, 7), client="either", server="refuses")  # fmt: skip
    add("Note", "other_wire_type_bytes", "bytes where a number should be",
        data(1, "abc"), client="either", server="refuses")  # fmt: skip
    add("Note", "other_wire_type_fixed", "a fixed32 where a number should be",
        fixed32(1, bytes(4)), client="either", server="refuses")  # fmt: skip
    add("Choice", "other_wire_type_message", "a number where a message should be",
        number(3, 7), client="either", server="refuses")  # fmt: skip
    add("Choice", "inner_over_into_the_next", "a message within whose last field ends in what follows",
        data(3, key(100, BYTES) + b"\x02") + number(4, 1), client="either", server="refuses")  # fmt: skip
    add("Scalars", "varint_over_64_bits", "ten bytes, and more bits than 64",
        key(6, VARINT) + b"\xff" * 9 + b"\x7f", client="either", server="refuses")  # fmt: skip
    return made


def text_of(vectors: list[dict[str, Any]]) -> str:
    names = [vector["name"] for vector in vectors]
    assert len(set(names)) == len(names), "two vectors have one name"
    lines = (json.dumps(vector, ensure_ascii=True, allow_nan=False) for vector in vectors)
    return "[\n" + ",\n".join(lines) + "\n]\n"


def main() -> int:
    assert api_implementation.Type() == "upb", "the oracle is upb"
    stale = []
    for name, vectors in (("frames.json", frames()), ("messages.json", messages())):
        path, text = HERE / name, text_of(vectors)
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv[1:]:
            path.write_text(text, "utf-8")
            sys.stdout.write(f"{name}: {len(vectors)} written\n")
    if stale and "--check" in sys.argv[1:]:
        sys.stdout.write(f"stale: {', '.join(stale)}; run python conformance/vectors/make.py\n")
        return 1
    return 0


sys.exit(main())
