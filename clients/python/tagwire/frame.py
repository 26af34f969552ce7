"""Frames: bytes to `(tag, payload)` and back. No I/O, and no idea of what a payload means.

    short       length u8 | tag u8 | payload              payload of at most 255 bytes and tag of at most 255
    extended    FF 00 | tag u16 | length u32 | payload    everything else; big-endian

The length counts the payload only. `docs/PROTOCOL.md`, "Frames".
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["Decoder", "Frame", "FrameError", "FrameTooLarge", "MalformedFrame", "encode"]

_EXTENDED = struct.Struct(">BBHI")
_SHORT_MAX = 0xFF


class Frame(NamedTuple):
    """One frame."""

    tag: int
    """Number of the message, 1 to 65535."""

    payload: bytes
    """The encoded message."""

    size: int
    """Bytes of the whole frame on the wire, header included."""


class FrameError(ValueError):
    """The bytes cannot be cut into frames any further; nothing after them has a meaning."""


class MalformedFrame(FrameError):
    """A header that no frame has."""


class FrameTooLarge(FrameError):
    """A header that announces more than the limit. Its payload was neither awaited nor stored."""


class _ShortHeaders(dict[int, tuple[bytes, ...]]):
    """The headers of the short form, by tag and length. Kept, because to make one costs more than all else
    that is done for a frame."""

    def __missing__(self, tag: int) -> tuple[bytes, ...]:
        self[tag] = tuple(bytes((length, tag)) for length in range(_SHORT_MAX + 1))
        return self[tag]


SHORT_HEADERS = _ShortHeaders()


def encode(tag: int, payload: bytes) -> bytes:
    """Gives the bytes of one frame, in the short form wherever it fits.

    Raises `ValueError` for a tag outside 1 to 65535 and for a payload of 4 GiB or more.
    """
    length = len(payload)
    if length <= _SHORT_MAX and 0 < tag <= _SHORT_MAX:
        return SHORT_HEADERS[tag][length] + payload
    if not 0 < tag <= 0xFFFF:
        raise ValueError(f"tag {tag} is outside 1 to 65535")
    if length > 0xFFFFFFFF:
        raise ValueError(f"a payload of {length} bytes does not fit into a frame")
    return _EXTENDED.pack(0xFF, 0, tag, length) + payload


class Decoder:
    """Cuts a byte stream into frames, however it arrives.

    Feed it bytes, then call `next` until it gives `None`:

        decoder.feed(data)
        while (frame := decoder.next()) is not None: ...

    `max_bytes` bounds a payload; it may be changed between two frames. What is kept are the bytes fed and not
    yet given out: never more than the last chunk and one frame.

    Only a large frame that a chunk ends within is put together from copies; of a short one what is there goes
    before the next chunk. All others are cut out of the chunk: by `next`, or by who reads `chunk` from `at`
    on and moves `at` over the whole frames that it has taken, which is allowed while `begun` is empty.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.chunk = b""
        """The bytes that were fed last."""
        self.at = 0
        """Where in `chunk` begins what was not given out."""
        self.begun = bytearray()
        """A large frame that an earlier chunk has ended within; what is missing comes next in `chunk`."""
        self._error: FrameError | None = None

    def feed(self, data: bytes) -> None:
        """Adds bytes. After an error they are ignored."""
        if self._error is not None:
            return
        if self.at < len(self.chunk):  # nobody has asked for all that was there
            data = self.chunk[self.at :] + data
        self.chunk, self.at = data, 0

    def next(self) -> Frame | None:
        """Gives the next whole frame, or `None` when more bytes are needed.

        Raises `MalformedFrame` or `FrameTooLarge` as soon as a header shows it, and then on every further
        call.
        """
        if self._error is not None:
            raise self._error
        if self.begun:
            return self._next_begun()
        chunk, start = self.chunk, self.at
        tag, header, size = self._header(chunk, start)
        end = start + size
        if end <= len(chunk):
            self.at = end
            return Frame(tag, chunk[start + header : end], size)
        if size <= _SHORT_MAX + 2:
            # `feed` puts the next chunk behind it: a copy, but less than what a frame from two chunks costs.
            self.chunk, self.at = chunk[start:], 0
            return None
        self.begun += chunk[start:]
        self.chunk, self.at = b"", 0
        return None

    @property
    def pending_bytes(self) -> int:
        """How many bytes of an unfinished frame are waiting for the rest."""
        return len(self.begun) + len(self.chunk) - self.at

    def _next_begun(self) -> Frame | None:
        begun = self.begun
        while True:
            tag, header, size = self._header(begun, 0)
            missing = size - len(begun)
            if not missing:
                self.begun = bytearray()
                return Frame(tag, bytes(memoryview(begun)[header:]), size)
            more = self.chunk[self.at : self.at + missing]
            if not more:
                return None
            begun += more
            self.at += len(more)

    def _header(self, buffer: bytes | bytearray, start: int) -> tuple[int, int, int]:
        """What the header there says: tag, bytes of the header, bytes of the frame. Of one that is not whole,
        how much of it is needed to know more takes the place of the last."""
        available = len(buffer) - start
        if available < 2:
            return 0, 0, 2
        length, tag = buffer[start], buffer[start + 1]
        header = 2
        if tag == 0:
            if length != 0xFF:
                raise self._refuse(MalformedFrame(f"a frame with tag 0 and length {length}"))
            if available >= 4 and buffer[start + 2] == 0 == buffer[start + 3]:
                raise self._refuse(MalformedFrame("an extended frame with tag 0"))
            header = _EXTENDED.size
            if available < header:
                return 0, 0, header
            _, _, tag, length = _EXTENDED.unpack_from(buffer, start)
        if length > self.max_bytes:
            raise self._refuse(
                FrameTooLarge(f"a frame of {length} bytes with tag {tag}, limit {self.max_bytes}")
            )
        return tag, header, header + length

    def _refuse(self, error: FrameError) -> FrameError:
        self._error = error
        self.chunk, self.at, self.begun = b"", 0, bytearray()
        return error
