"""What several tests use: the bytes of messages, a server that does what a test says, and the real one."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import re
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import settings

import arena
import tagwire
from tagwire.frame import Decoder, Frame, encode
from tagwire.gen._schema import SCHEMA as STACK
from tagwire.gen.v1 import Limits, PlayerLogin, Relayed, Welcome
from tagwire.gen.v1 import Member as MemberMessage

LONG = bool(os.environ.get("TAGWIRE_LONG"))
# No deadline: how fast an example runs says nothing of the code on a busy machine.
settings.register_profile("tagwire", deadline=None, max_examples=10_000 if LONG else 100)
settings.load_profile("tagwire")

ROOT = Path(__file__).parents[3]
HANG_SECONDS = 600.0 if LONG else 60.0
START_SECONDS = 10.0
STOP_SECONDS = 10.0


@pytest.fixture(autouse=True)
def _no_hang() -> Iterator[None]:
    """A test that hangs ends the run and shows where it stands."""
    faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def frame_of(message: Message) -> bytes:
    """One of the stack's messages as a frame."""
    return encode(STACK.rules_of(message).tag, message.SerializeToString())


def frames_in(data: bytes) -> list[Frame]:
    """The frames in some bytes, which must end with a frame."""
    decoder = Decoder(1 << 24)
    decoder.feed(data)
    frames = []
    while (frame := decoder.next()) is not None:
        frames.append(frame)
    assert decoder.pending_bytes == 0
    return frames


def welcome(**fields: object) -> Welcome:
    values: dict[str, Any] = {
        "session_id": 7,
        "player_id": 41,
        "name": "player1",
        "protocol": 1,
        "fingerprint": arena.SCHEMA.fingerprint,
        "limits": Limits(max_frame_bytes=65536),
        "server_time_us": 1_700_000_000_000_000,
        "room": "main",
    }
    return Welcome(**{**values, **fields})


TOKEN = b"a secret of 16 b"
QUICK = tagwire.Reconnect(first_delay=0.01, max_delay=0.02)
"""For tests that wait for it."""


def resumable(**fields: object) -> Welcome:
    """A Welcome of a server that resumes sessions."""
    return welcome(**{"resume_token": TOKEN, "resume_window_ms": 60_000, **fields})


def relayed(player: int, message: Message) -> bytes:
    """What the server sends when a player has sent a message of the arena."""
    tag = arena.SCHEMA.rules_of(message).tag
    return frame_of(Relayed(player=player, tag=tag, body=message.SerializeToString()))


def member(player: int, event: int, name: str = "") -> bytes:
    """What the server tells of a member of the room."""
    return frame_of(MemberMessage(player=player, event=event, name=name))  # type: ignore[arg-type]


async def soon(awaitable: Any, seconds: float = 10.0) -> Any:
    """Awaits what must come within some seconds."""
    return await asyncio.wait_for(awaitable, seconds)


class Link:
    """The server's end of one connection, in the hands of a test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.decoder = Decoder(1 << 24)

    async def frame(self) -> Frame:
        """The next frame of the client."""
        while (frame := self.decoder.next()) is None:
            data = await soon(self.reader.read(1 << 16))
            assert data, "the client has closed"
            self.decoder.feed(data)
        return frame

    async def eof(self) -> bool:
        """Reads to the end; whether there were no frames before it."""
        rest = await soon(self.reader.read())
        return not rest and self.decoder.next() is None

    async def take(self, kind: type[Any]) -> Any:
        """The next frame of the client, which must be this message of the stack or the arena."""
        frame = await self.frame()
        schema = STACK if kind.DESCRIPTOR.full_name.startswith("tagwire.") else arena.SCHEMA
        assert frame.tag == schema.rules_of(kind).tag, frame
        return kind.FromString(frame.payload)

    def send(self, *data: bytes | Message) -> None:
        """Sends bytes, or the stack's messages as frames."""
        for one in data:
            self.writer.write(frame_of(one) if isinstance(one, Message) else one)

    def close(self) -> None:
        self.writer.close()


class Peer:
    """A server on a free port that leaves everything to the test."""

    address: str
    scheme = "tagwire"
    context: ssl.SSLContext | None = None
    options: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self) -> None:
        self.accepted: asyncio.Queue[Link] = asyncio.Queue()
        self.links: list[Link] = []

    async def start(self) -> None:
        # A small buffer, so that a client's writes block soon.
        self.server = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=1 << 16, ssl=self.context
        )
        self.port = self.server.sockets[0].getsockname()[1]
        scheme = "" if self.scheme == "tagwire" else f"{self.scheme}://"
        self.address = f"{scheme}127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self.server.close()
        for link in self.links:
            link.writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        self._accepted(Link(reader, writer))

    def _accepted(self, link: Link) -> None:
        self.links.append(link)
        self.accepted.put_nowait(link)

    async def accept(self) -> Link:
        """The next connection."""
        link: Link = await soon(self.accepted.get())
        return link

    def connect(self, **options: Any) -> tagwire.Connecting:
        options = {"schema": arena.SCHEMA, "username": "player1", **self.options, **options}
        if not options.get("token"):
            options = {"password": "welcome", **options}
        return tagwire.connect(self.address, **options)

    async def connected(
        self, *data: bytes | Message, answer: Welcome | None = None, **options: Any
    ) -> tuple[tagwire.Client, Link]:
        """A client that has logged in, and the server's end of it. `data` goes out right behind Welcome."""
        task = asyncio.ensure_future(_awaited(self.connect(**options)))
        link = await self.accept()
        assert (await link.frame()).tag == 1
        link.send(answer or welcome(), *data)
        return await soon(task), link

    async def resumable(self, *data: bytes | Message, **options: Any) -> tuple[tagwire.Client, Link]:
        """A client that has logged in, and may resume its session."""
        return await self.connected(*data, answer=resumable(), **{"reconnect": QUICK, **options})

    async def back(self, handled: int, *data: bytes | Message, **fields: Any) -> Link:
        """The next connection, on which the session goes on: the server has handled so many frames."""
        link = await self.accept()
        login = await link.take(PlayerLogin)
        assert login.resume.token == TOKEN
        link.send(resumable(resumed=True, frames_received=handled, **fields), *data)
        return link


async def _awaited(connecting: tagwire.Connecting) -> tagwire.Client:
    return await connecting


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    peer = Peer()
    await peer.start()
    yield peer
    await peer.stop()


class Server:
    """A server of its own for one test, on a free port."""

    def __init__(self, *arguments: str, program: str = "TAGWIRE_SERVER") -> None:
        """`program` is the variable that says where its binary is."""
        binary = os.environ.get(program, "")
        if not binary:
            pytest.fail(f"{program} does not say where the program is; run scripts/test", pytrace=False)
        if not Path(binary).is_file():
            pytest.fail(f"there is no {binary} ({program}); run scripts/test", pytrace=False)
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [binary, "--listen", "127.0.0.1:0", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # The caller's settings are not the test's.
            env={name: value for name, value in os.environ.items() if not name.startswith("TAGWIRE_")},
            text=True,
        )
        self._up = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._up.wait(START_SECONDS), "the server did not come up:\n" + "".join(self.lines)
        found = re.search(r"server up on (127\.0\.0\.1:\d+)", "".join(self.lines))
        assert found, "the server ended:\n" + "".join(self.lines)
        self.address = found[1]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if "server up on" in line:
                self._up.set()
        self._up.set()

    def connect(self, name: str = "player1", **options) -> tagwire.Connecting:
        options = {"password": "welcome", "schema": arena.SCHEMA, **options}
        return tagwire.connect(self.address, username=name, **options)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Ends it as an operator does; gives the exit code."""
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            self.process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture(scope="session")
def unlimited_schema(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The schema without the rates of its messages."""
    folder = tmp_path_factory.mktemp("schema") / "proto"
    shutil.copytree(ROOT / "proto" / "arena", folder / "arena")
    cuts = 0
    for path in folder.rglob("*.proto"):
        text, count = re.subn(r',\s*max_rate:\s*"[^"]*"', "", path.read_text("utf-8"))
        path.write_text(text, "utf-8")
        cuts += count
    assert cuts > 0, "no rate is left to be cut"
    return folder


@pytest.fixture
def unlimited(unlimited_schema: Path) -> Iterator[Server]:
    """A server for tests that send as fast as they can."""
    rates = ["max_frames_per_second", "max_bytes_per_second", "max_joins_per_second"]
    settings = [part for rate in rates for part in ("--set", f"limits.{rate}=0")]
    with running(Server("--schema", str(unlimited_schema), *settings)) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as server:
        yield server


@pytest.fixture
def arena_server() -> Iterator[Server]:
    """The example with an authoritative server."""
    with running(Server(program="TAGWIRE_ARENA_EXAMPLE")) as server:
        yield server


@contextlib.contextmanager
def running(server: Server) -> Iterator[Server]:
    """Ends it, and looks whether it came through well."""
    try:
        yield server
    finally:
        code = server.stop()
    assert code == 0, "".join(server.lines)
    assert "panicked" not in "".join(server.lines)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Signs certificates."""
    from doors import Authority  # it needs what is here

    return Authority(tmp_path_factory.mktemp("authority"))
