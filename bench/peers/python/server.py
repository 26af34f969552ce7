"""A server of the plain wire (bench/src/dialect/plain.rs) as one writes it in Python when speed matters.

An asyncio Protocol on uvloop, messages by protobuf's C runtime (upb), a write per message and receiver.
uvloop gathers the writes of a turn by itself.
"""

import argparse
import asyncio
import resource
import socket
import struct
import sys
import time
from typing import Final, cast

import uvloop
from gen.bench_pb2 import AskReply, AskRequest, Cast, Echo, Latest, Step
from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError

ENTER: Final = 1
PING: Final = 3
REQUEST: Final = 8
# What is relayed; the first comes back to its sender, too.
TO_ALL: Final = 2
RELAYED: Final[dict[int, type[Echo | Cast | Step | Latest]]] = {TO_ALL: Echo, 4: Cast, 5: Step, 7: Latest}

# Larger ones end the connection: who sends must not choose our memory.
MAX_PAYLOAD_BYTES: Final = 1 << 20
LONG: Final = struct.Struct(">BBHI")

rooms: dict[str, set["Player"]] = {}


def frame(tag: int, payload: bytes) -> bytes:
    if len(payload) <= 0xFF:
        return bytes((len(payload), tag)) + payload
    return LONG.pack(0xFF, 0, tag, len(payload)) + payload


class Player(asyncio.Protocol):
    """One connection."""

    def __init__(self, ping_s: float) -> None:
        self.ping_s = ping_s
        self.rest = b""
        self.name = ""
        self.room: set[Player] | None = None
        self.timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's derives from no class of asyncio's.
        self.transport = cast(asyncio.Transport, transport)
        self.write = self.transport.write

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if self.room is not None:
            self.room.discard(self)
            if not self.room:
                del rooms[self.name]

    def data_received(self, data: bytes) -> None:
        if self.rest:
            data = self.rest + data
        at, end = 0, len(data)
        while end - at >= 2:
            length, tag, start = data[at], data[at + 1], at + 2
            if length == 0xFF and tag == 0:
                if end - at < LONG.size:
                    break
                _, _, tag, length = LONG.unpack_from(data, at)
                start = at + LONG.size
                if length > MAX_PAYLOAD_BYTES:
                    self.fail(f"a frame of {length} bytes, limit {MAX_PAYLOAD_BYTES}")
                    return
            stop = start + length
            if stop > end:
                break
            self.message(tag, data[start:stop])
            at = stop
        self.rest = data[at:]

    def message(self, tag: int, payload: bytes) -> None:
        room = self.room
        if room is None:
            self.enter(tag, payload)
            return
        try:
            if (kind := RELAYED.get(tag)) is not None:
                made = frame(tag, kind.FromString(payload).SerializeToString())
                for player in room:
                    if player is not self or tag == TO_ALL:
                        player.write(made)
            elif tag == REQUEST:
                ask = AskRequest.FromString(payload)
                reply = AskReply(sent_ns=ask.sent_ns, number=ask.number, kind=ask.kind, padding=ask.padding)
                self.write(frame(tag, reply.SerializeToString()))
            elif tag != PING:
                self.fail(f"a frame with the tag {tag}")
        except DecodeError as error:
            self.fail(str(error))

    def enter(self, tag: int, payload: bytes) -> None:
        if tag != ENTER:
            self.fail(f"a frame with the tag {tag} before the room")
            return
        self.name = payload.decode()
        self.room = rooms.setdefault(self.name, set())
        self.room.add(self)
        self.write(frame(ENTER, payload))
        if self.ping_s:
            self.timer = asyncio.get_running_loop().call_later(self.ping_s, self.ping)

    def ping(self) -> None:
        self.write(frame(PING, struct.pack(">Q", time.monotonic_ns())))
        self.timer = asyncio.get_running_loop().call_later(self.ping_s, self.ping)

    def fail(self, why: str) -> None:
        print(f"{self.transport.get_extra_info('peername')}: {why}", file=sys.stderr)
        self.transport.abort()


async def serve(port: int, ping_s: float) -> None:
    # uvloop sets TCP_NODELAY by itself.
    server = await asyncio.get_running_loop().create_server(
        lambda: Player(ping_s), "127.0.0.1", port, family=socket.AF_INET, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="port of 127.0.0.1 to listen on")
    parser.add_argument("--ping-ms", type=int, default=0, help="ping each client so often; 0: never")
    args = parser.parse_args()

    # The runtime in pure Python would be another peer, and a much slower one.
    if api_implementation.Type() != "upb":
        sys.exit(f"protobuf runs on {api_implementation.Type()} here, not on upb")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(args.port, args.ping_ms / 1000))


if __name__ == "__main__":
    main()
