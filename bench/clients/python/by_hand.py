"""The client to write by hand for this game: an `asyncio.Protocol`, protobuf's classes, dictionaries.

It does the work that a game needs and no more: frames are cut, messages are made of them and handed to the
functions set for them, pings are answered, requests have a time-out, what is sent in one turn goes
out by one write, and sending waits while the socket takes no more. It neither comes back when the connection
breaks nor checks anything.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message
from tagwire.gen.v1 import (
    ClientInfo,
    Disconnect,
    Member,
    Ping,
    PlayerLogin,
    Relayed,
    Request,
    Response,
    Status,
    Welcome,
)

from bench import v1

PLAYER_LOGIN, PING, WELCOME, DISCONNECT, REQUEST, RESPONSE, RELAYED, MEMBER = (
    1,
    3,
    240,
    241,
    242,
    243,
    246,
    247,
)
TAGS: dict[type[Message], int] = {v1.Cast: 4, v1.AskRequest: 8}
CLASSES = {tag: kind for kind, tag in TAGS.items()}
SHORT = {tag: [struct.pack(">BB", length, tag) for length in range(256)] for tag in range(1, 256)}
EXTENDED = struct.Struct(">BBHI")

_M = TypeVar("_M", bound=Message)


class Client(asyncio.Protocol):
    """One connection, logged in."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[bytes] = []
        self._flush_planned = False
        self._room = asyncio.Event()
        self._room.set()
        self._handlers: dict[int, Callable[[Any, str], object]] = {}
        self._names: dict[int, str] = {}
        self._answers: dict[int, asyncio.Future[Response]] = {}
        self._key = 0
        self.opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = asyncio.Event()

    def on(self, kind: type[_M], handler: Callable[[_M, str], object]) -> None:
        """Sets what is called with each message of a class, and the name of its sender."""
        self._handlers[TAGS[kind]] = handler

    async def run(self) -> None:
        """Waits for the end."""
        await self._ended.wait()

    async def send(self, message: Message) -> None:
        """Sends a message. Waits while the socket takes no more."""
        if not self._room.is_set():
            await self._room.wait()
        self._put(TAGS[type(message)], message.SerializeToString())

    async def request(self, message: Message, reply: type[_M], *, timeout: float = 2.0) -> _M:
        """Asks, and waits for the answer."""
        if not self._room.is_set():
            await self._room.wait()
        self._key += 1
        key = self._key
        answer = self._answers[key] = self._loop.create_future()
        asked = Request(key=key, tag=TAGS[type(message)], body=message.SerializeToString())
        self._put(REQUEST, asked.SerializeToString())
        timer = self._loop.call_later(timeout, self._time_out, answer)
        try:
            response = await answer
        finally:
            timer.cancel()
            del self._answers[key]
        if response.status != Status.OK:
            raise RuntimeError(response.message)
        return reply.FromString(response.body)

    async def close(self) -> None:
        """Leaves."""
        self._put(DISCONNECT, Disconnect().SerializeToString())
        self._flush()
        self._transport.close()
        await self._ended.wait()

    def _time_out(self, answer: asyncio.Future[Response]) -> None:
        if not answer.done():
            answer.set_exception(asyncio.TimeoutError())

    def _put(self, tag: int, payload: bytes) -> None:
        length = len(payload)
        header = SHORT[tag][length] if length <= 255 else EXTENDED.pack(255, 0, tag, length)
        self._out.append(header + payload)
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if self._out:
            self._transport.write(b"".join(self._out))
            self._out.clear()

    def _handle(self, tag: int, payload: bytes) -> None:
        if tag == RELAYED:
            relayed = Relayed.FromString(payload)
            handler = self._handlers.get(relayed.tag)
            if handler is not None:
                handler(CLASSES[relayed.tag].FromString(relayed.body), self._names.get(relayed.player, ""))
        elif tag == RESPONSE:
            response = Response.FromString(payload)
            answer = self._answers.get(response.key)
            if answer is not None and not answer.done():
                answer.set_result(response)
        elif tag == PING:
            ping = Ping.FromString(payload)
            if ping.sentEpoch:
                pong = Ping(sentEpoch=ping.sentEpoch, bounceEpoch=time.time_ns() // 1000)
                self._put(PING, pong.SerializeToString())
        elif tag == WELCOME:
            Welcome.FromString(payload)
            self.opened.set_result(None)
        elif tag == MEMBER:
            member = Member.FromString(payload)
            self._names[member.player] = member.name
        elif tag in self._handlers:
            self._handlers[tag](CLASSES[tag].FromString(payload), "")

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        login = PlayerLogin(username="p1", password="welcome", client=ClientInfo(protocol=1, sdk="by hand"))
        self._put(PLAYER_LOGIN, login.SerializeToString())

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        start, end = 0, len(data)
        while end - start >= 2:
            length, tag = data[start], data[start + 1]
            body = start + 2
            if tag == 0:
                if end - start < EXTENDED.size:
                    break
                _, _, tag, length = EXTENDED.unpack_from(data, start)
                body = start + EXTENDED.size
            if body + length > end:
                break
            start = body + length
            self._handle(tag, data[body:start])
        self._rest = data[start:]

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended.set()

    def pause_writing(self) -> None:
        self._room.clear()

    def resume_writing(self) -> None:
        self._room.set()


async def connect(port: int) -> Client:
    """Connects to a port of this machine, and logs in."""
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", port)
    await client.opened
    return client
