"""Messages of whole frames over WebSocket (RFC 6455), with TLS or without: the extra `tagwire[websocket]`.

The rules of WebSocket are those of the package `websockets`, used without its I/O. A flush is one binary
message, of at most 64 KiB unless a single frame is larger; no compression, no text. `docs/PROTOCOL.md`,
"Ways in".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .address import Address
from .close import CloseCode
from .tls import Security
from .transport import Owner, Refused, Transport

if TYPE_CHECKING:
    from websockets.client import ClientProtocol
    from websockets.http11 import Response

__all__ = ["SUBPROTOCOL", "WebSocketTransport", "websocket_maker"]

SUBPROTOCOL = "tagwire.v1"
MAX_MESSAGE_BYTES = 64 * 1024
"""The largest message that holds more than one frame."""
LARGEST_BYTES = 16 * 1024 * 1024 + 1024
"""More than any frame of the protocol has. By what is agreed on, less may be taken: the owner says."""
MAX_WRITE_BEHIND_BYTES = 64 * 1024
"""With more than this waiting for the socket, no further ping of the server is answered."""
NORMAL, TOO_BIG = 1000, 1009

# At level DEBUG `websockets` logs what is sent, and the first of that are credentials.
_SILENT = logging.Logger("tagwire.websocket")
_SILENT.disabled = True


def websocket_maker(address: Address, security: Security | None) -> Callable[[Owner], Transport]:
    """What makes transports to an address. Raises `ImportError`, with what to install, where `websockets` is
    missing."""
    try:
        from websockets.client import ClientProtocol  # late: it is an extra
        from websockets.typing import Subprotocol
        from websockets.uri import WebSocketURI
    except ImportError as error:
        raise ImportError(
            f"{address.scheme}:// needs the package websockets, 16 or newer; "
            "run `pip install 'tagwire[websocket]'`"
        ) from error
    path, mark, query = address.path.partition("?")
    if mark and not query:
        path += mark
    host = address.host.encode("idna").decode() if not address.host.isascii() else address.host
    uri = WebSocketURI(address.secure, host.partition("%")[0], address.port, path, query)

    def make(owner: Owner) -> Transport:
        protocol = ClientProtocol(
            uri, subprotocols=[Subprotocol(SUBPROTOCOL)], max_size=LARGEST_BYTES, logger=_SILENT
        )
        return WebSocketTransport(owner, security, protocol)

    return make


class WebSocketTransport(Transport):
    """One socket that carries messages, after an upgrade from HTTP."""

    def __init__(self, owner: Owner, security: Security | None, protocol: ClientProtocol) -> None:
        super().__init__(owner, security)
        self._protocol = protocol
        self._parts = bytearray()  # of a message that has come in part
        self._over = False  # nothing is handed out any more

    def write(self, frames: list[bytes]) -> None:
        if self._transport is None or self._transport.is_closing() or self._protocol.state.name != "OPEN":
            return
        for message in _messages_of(frames):
            self._protocol.send_binary(message)
        self._write_out()

    def finish(self, code: int) -> None:
        if self._transport is None or self._transport.is_closing() or self._protocol.state.name != "OPEN":
            return
        self._protocol.send_close(code if 3000 <= code < 5000 else NORMAL)
        self._write_out()

    def abort(self) -> None:
        self._over = True
        super().abort()

    def _start(self) -> None:
        self._protocol.send_request(self._protocol.connect())
        self._write_out()

    def _write_out(self) -> None:
        # An empty one asks to end the sending side, which its owner does.
        data = b"".join(self._protocol.data_to_send())
        if data and self._transport is not None:
            self._transport.write(data)

    def _received(self, data: bytes) -> None:
        if self._over:
            return
        self._protocol.receive_data(data)
        if self.waiting_bytes() <= MAX_WRITE_BEHIND_BYTES:
            self._write_out()
        else:  # who reads nothing is answered nothing
            self._protocol.data_to_send()
        if self._connected:
            self._owner.handle_part()
        for event in self._protocol.events_received():
            self._handle_event(event)
            if self._over:
                return
        self._look_if_broken()

    def eof_received(self) -> bool:
        if not self._connected and not self._over:
            self._protocol.receive_eof()
            for event in self._protocol.events_received():
                self._handle_event(event)  # an answer without a length ends here
            self._look_if_broken()
        return super().eof_received()

    # What has come

    def _handle_event(self, event: Any) -> None:
        if not self._connected:
            self._handle_response(event)
            return
        kind = event.opcode.name
        if kind == "CLOSE":
            told = self._protocol.close_rcvd
            self._over = True
            self._owner.handle_close(told.code if told else 0, told.reason if told else "")
        elif kind == "TEXT":
            self._break(CloseCode.MALFORMED, "the server sent a text message; tagwire's are binary")
        elif kind in ("BINARY", "CONT"):
            if event.fin and not self._parts:
                self._owner.handle_message(bytes(event.data))
                return
            self._parts += event.data
            if event.fin:
                message, self._parts = bytes(self._parts), bytearray()
                self._owner.handle_message(message)

    def _handle_response(self, response: Response) -> None:
        if self._protocol.handshake_exc is not None:
            if response.status_code != 101:
                self._end(Refused(_why_refused(response)))
        elif self._protocol.subprotocol != SUBPROTOCOL:
            self._end(
                Refused(
                    f"a WebSocket server is there, but it did not agree to {SUBPROTOCOL}; is it a tagwire "
                    "server, and the path right?"
                )
            )
        else:
            self._set_connected()

    def _look_if_broken(self) -> None:
        """Looks for what `websockets` found wrong, and for what is too large."""
        if not self._connected:
            failure = self._protocol.handshake_exc
            if failure is not None and not self._over:
                self._end(Refused(_why_no_upgrade(failure)))
            return
        failure = self._protocol.parser_exc
        waiting = len(self._parts) + len(self._protocol.reader.buffer)
        if failure is not None and not isinstance(failure, EOFError):
            sent = self._protocol.close_sent
            large = sent is not None and sent.code == TOO_BIG
            code = CloseCode.TOO_LARGE if large else CloseCode.MALFORMED
            self._break(code, f"the server broke the rules of WebSocket: {failure}")
        elif waiting > (limit := max(self._owner.max_message_bytes(), MAX_MESSAGE_BYTES) + 16):
            self._break(CloseCode.TOO_LARGE, f"the server sent a message of over {limit} bytes")

    def _break(self, code: int, reason: str) -> None:
        self._over = True
        self._owner.handle_broken(code, reason)

    def _end(self, error: Refused) -> None:
        self._over = True
        self._refuse(error)


def _messages_of(frames: list[bytes]) -> Iterator[bytes]:
    """Cuts a flush into messages."""
    if len(frames) == 1:
        yield frames[0]
        return
    message: list[bytes] = []
    size = 0
    for frame in frames:
        if message and size + len(frame) > MAX_MESSAGE_BYTES:
            yield b"".join(message)
            message, size = [], 0
        message.append(frame)
        size += len(frame)
    if message:
        yield b"".join(message)


def _why_refused(response: Response) -> str:
    text = bytes(response.body[:1000]).decode("utf-8", "replace")
    text = " ".join("".join(mark if mark.isprintable() else " " for mark in text).split())
    where = response.headers.get_all("Location")
    why = f"the server answered the request for WebSocket with {response.status_code}"
    why += f" {response.reason_phrase}" if response.reason_phrase else ""
    why += f": {text[:200]}" if text and "<" not in text[:200] else ""
    if 300 <= response.status_code < 400 and where:
        return f"{why}; it says to go to {where[0][:200]}, which has to be given as the address"
    return f"{why}; is the path right, and a tagwire server behind it?"


def _why_no_upgrade(failure: Exception) -> str:
    cause: BaseException = failure.__cause__ or failure
    if isinstance(cause, EOFError):
        return (
            "the server closed the connection instead of answering the request for WebSocket; does it want "
            "TLS (wss://), or speak no WebSocket at all?"
        )
    return f"what answers there speaks no WebSocket: {str(cause)[:200] or type(cause).__name__}"
