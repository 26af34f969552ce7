"""A stream of bytes over TCP, with TLS or without."""

from __future__ import annotations

from .transport import Transport

__all__ = ["TcpTransport"]


class TcpTransport(Transport):
    """One socket that carries frames one after the other."""

    def write(self, frames: list[bytes]) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def finish(self, code: int) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._security is None:
            self._transport.write_eof()
        else:
            # asyncio's TLS cannot end one side alone. This writes what waits, says that it is all, and waits
            # for the other side to say so.
            self._transport.close()

    def _start(self) -> None:
        self._set_connected()

    def _received(self, data: bytes) -> None:
        if self._connected:
            self._owner.handle_data(data)
