"""WebSocket: messages of whole frames, close codes, and servers that are none or break its rules."""

from __future__ import annotations

import asyncio
import base64
import builtins
import hashlib
import logging
import re
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

import arena
import tagwire
from conftest import Peer, frame_of, frames_in, soon, welcome
from doors import WsLink, WsPeer, answering, running
from helpers import awaited, score, until
from tagwire import session as session_module
from tagwire import websocket as websocket_module
from tagwire.close import CloseCode
from tagwire.gen.v1 import Disconnect, Limits, PlayerLogin
from tagwire.websocket import _messages_of

LOGIN: dict[str, Any] = {"schema": arena.SCHEMA, "username": "player1", "password": "a secret word"}


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with running(WsPeer()) as peer:
        yield peer


async def connected(peer: Peer, *data: bytes, **options: Any) -> tuple[tagwire.Client, WsLink]:
    client, link = await peer.connected(*data, **options)
    assert isinstance(link, WsLink)
    return client, link


async def ended(client: tagwire.Client) -> tagwire.Closed:
    while client.closed is None:
        await asyncio.sleep(0.001)
    return client.closed


# A server that others have written


async def test_a_server_of_the_package_websockets():
    """With its defaults: it offers compression, and takes messages of at most 1 MiB."""
    said: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def handle(connection: ServerConnection) -> None:
        assert connection.subprotocol == "tagwire.v1"
        data = await connection.recv()
        assert isinstance(data, bytes)
        (login,) = frames_in(data)
        assert PlayerLogin.FromString(login.payload).username == "player1"
        await connection.send(frame_of(welcome()) + score(1))
        await connection.ping()
        tags = [frame.tag async for data in connection for frame in frames_in(data)]  # type: ignore[arg-type]
        assert tags == [4, 4, 241]
        said.append((connection.close_code or 0, connection.close_reason or ""))
        done.set()

    async with serve(handle, "127.0.0.1", 0, subprotocols=["tagwire.v1"]) as server:  # type: ignore[list-item]
        port = server.sockets[0].getsockname()[1]
        async with tagwire.connect(f"ws://127.0.0.1:{port}/packets", **LOGIN) as client:
            assert await soon(anext(aiter(client))) == arena.Score(points=1)
            client.send_soon(arena.Chat(text="one"))
            client.send_soon(arena.Chat(text="two"))
        await soon(done.wait())
    assert said == [(1000, "")]


async def test_a_server_without_our_subprotocol_is_no_tagwire_server():
    async def handle(connection: ServerConnection) -> None:
        pytest.fail(f"it sent {await connection.recv()!r}")

    async with serve(handle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(tagwire.ConnectError, match=r"did not agree to tagwire\.v1; is it a tagwire"):
            await tagwire.connect(f"ws://127.0.0.1:{port}", **LOGIN)


# What is asked for


@pytest.mark.parametrize("path", ["", "/packets", "/a/b?c=d"])
async def test_the_request(peer: Peer, path: str):
    peer.address += path
    _, link = await connected(peer)
    headers = dict(link.request.headers.raw_items())
    assert link.request.path == (path or "/")
    assert headers.pop("Sec-WebSocket-Key")
    assert headers == {
        "Host": f"127.0.0.1:{peer.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "tagwire.v1",
    }


def test_the_package_is_asked_for_where_it_is_missing(monkeypatch):
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("websockets"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    for name in [name for name in sys.modules if name.startswith("websockets")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    for scheme in ("ws", "wss"):
        with pytest.raises(ImportError, match=r"pip install 'tagwire\[websocket\]'"):
            tagwire.connect_sync(f"{scheme}://localhost", **LOGIN)


async def test_credentials_are_not_logged(peer: Peer, caplog):
    caplog.set_level(logging.DEBUG)
    client, _ = await connected(peer, token="a secret word")
    await client.close()
    assert caplog.records == [] or "a secret word" not in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("websockets.client")]


# Messages


def test_a_flush_is_cut_into_messages_of_whole_frames():
    small, large = bytes(1000), bytes(100_000)
    assert list(_messages_of([small])) == [small]
    assert list(_messages_of([large])) == [large]
    assert [len(message) for message in _messages_of([small] * 200)] == [65_000, 65_000, 65_000, 5_000]
    assert list(_messages_of([small, large, small, small])) == [small, large, small * 2]
    assert [len(message) for message in _messages_of([bytes(65_535), b"1", b"2"])] == [65_536, 1]
    assert list(_messages_of([])) == []


async def test_what_is_sent_together_is_one_message(peer: Peer):
    client, link = await connected(peer)
    link.messages.clear()
    for n in range(100):
        client.send_soon(arena.Chat(text=str(n)))
    while sum(len(frames_in(message)) for message in link.messages) < 100:
        await link.read()
    assert [len(frames_in(message)) for message in link.messages] == [100]


async def test_a_message_may_come_in_fragments(peer: Peer):
    client, link = await connected(peer)
    data = score(1) + score(2)
    link.protocol.send_binary(data[:1], fin=False)
    for at in range(1, len(data)):
        link.protocol.send_continuation(data[at : at + 1], fin=False)
        link.protocol.send_ping(b"in between")
    link.protocol.send_continuation(b"", fin=True)
    link.send(score(3))
    messages = aiter(client)
    assert [(await soon(anext(messages))).points for _ in range(3)] == [1, 2, 3]


async def test_pings_of_the_server_are_answered(peer: Peer):
    _, link = await connected(peer)
    link.protocol.send_ping(b"?")
    link.write_out()
    while not link.pongs:
        assert await link.read()


def head(first: int, length: int, masked: bool = False) -> bytes:
    """The head of a frame of WebSocket."""
    mask = 0x80 if masked else 0
    if length < 126:
        return bytes((first, mask | length))
    if length < 65536:
        return struct.pack(">BBH", first, mask | 126, length)
    return struct.pack(">BBQ", first, mask | 127, length)


@pytest.mark.parametrize(
    ("data", "code", "why"),
    [
        (head(0x81, 2) + b"hi", "MALFORMED", "the server sent a text message"),
        (head(0x01, 2) + b"hi", "MALFORMED", "the server sent a text message"),
        (head(0x82, 3) + score(1)[:3], "MALFORMED", r"a message that ends 3 bytes into a frame"),
        (head(0x82, 5) + score(1) + b"\x01", "MALFORMED", r"a message that ends 1 bytes into a frame"),
        (head(0x82, 2) + b"\x00\x00", "MALFORMED", "a frame with tag 0"),
        (head(0xC2, 4) + score(1), "MALFORMED", "broke the rules of WebSocket: reserved bits"),
        (head(0x92, 4) + score(1), "MALFORMED", "broke the rules of WebSocket: reserved bits"),
        (head(0x82, 4, masked=True) + bytes(4) + score(1), "MALFORMED", "broke the rules .* masking"),
        (head(0x83, 1) + b"x", "MALFORMED", "broke the rules of WebSocket: invalid opcode"),
        (head(0x80, 1) + b"x", "MALFORMED", "broke the rules .* unexpected continuation"),
        (head(0x02, 1) + b"x" + head(0x82, 1) + b"x", "MALFORMED", "broke the rules .* expected a contin"),
        (head(0x89, 200) + bytes(200), "MALFORMED", "broke the rules of WebSocket: control frame too long"),
        (head(0x88, 2) + struct.pack(">H", 999), "MALFORMED", "broke the rules .* invalid"),
        (head(0x82, 1 << 40), "TOO_LARGE", "broke the rules of WebSocket"),
        (head(0x82, 1 << 24) + bytes(200_000), "TOO_LARGE", r"a message of over 65616 bytes"),
        (
            head(0x02, 40_000) + bytes(40_000) + head(0x80, 40_000) + bytes(39_999),
            "TOO_LARGE",
            "of over 65616",
        ),
    ],
)
async def test_what_is_against_the_rules_ends_it(peer: Peer, data: bytes, code: str, why: str):
    client, link = await connected(peer, answer=welcome(resume_token=b"x" * 16, resume_window_ms=60_000))
    link.raw(data)
    closed = await soon(ended(client))
    assert (closed.code.name, closed.by_peer) == (code, False)
    assert re.search(why, closed.reason), closed.reason
    await link.eof()
    sent = link.protocol.close_rcvd
    if "WebSocket" not in closed.reason:  # the server is told our code, twice
        last = [frame for message in link.messages for frame in frames_in(message)][-1]
        assert Disconnect.FromString(last.payload).code == closed.code
        assert sent is not None
        assert sent.code == closed.code
    else:
        assert sent is not None
        assert sent.code in (1002, 1009)


async def test_a_larger_message_is_taken_where_welcome_says_so(peer: Peer):
    """Also right behind it."""
    text = "x" * 300_000
    large = bytes((0xFF, 0, 0, 4)) + struct.pack(">I", 300_004) + arena.Chat(text=text).SerializeToString()
    task = asyncio.ensure_future(awaited(peer.connect()))
    link: Any = await peer.accept()
    await link.frame()
    link.protocol.send_binary(frame_of(welcome(limits=Limits(max_frame_bytes=400_000))))
    link.protocol.send_binary(large)
    link.write_out()
    client = await soon(task)
    await until(lambda: client.dropped.misplaced == 1)  # as it is not for the server to send
    assert client.closed is None


async def test_a_message_that_comes_slowly_is_a_sign_of_life(peer: Peer, monkeypatch):
    monkeypatch.setattr(session_module, "SILENCE_SECONDS", 0.5)
    client, link = await connected(peer, reconnect=False)
    data = head(0x82, 4) + score(1)
    for at in range(len(data)):
        link.raw(data[at : at + 1])
        await asyncio.sleep(0.2)
    assert client.closed is None
    assert await soon(anext(aiter(client))) == arena.Score(points=1)
    closed = await soon(ended(client))
    assert "nothing was heard" in closed.reason


async def test_a_server_that_pings_and_reads_nothing_costs_no_memory(peer: Peer):
    client, link = await connected(peer)
    transport: Any = client._connection._transport
    link.writer.transport.pause_reading()  # type: ignore[attr-defined]
    ping = head(0x89, 125) + bytes(125)
    for _ in range(200):
        link.raw(ping * 1000)
        await link.writer.drain()
        assert transport.waiting_bytes() < 1_000_000
    assert transport.waiting_bytes() > 0
    assert client.closed is None


# Close codes


@pytest.mark.parametrize(
    ("code", "reason", "told"),
    [
        (3508, "cheating", tagwire.Closed(CloseCode(3508), "cheating", by_peer=True)),
        (3510, "1 to 3", tagwire.Closed(CloseCode(3510), "1 to 3", by_peer=True)),
        (3999, "", tagwire.Closed(CloseCode(3999), "", by_peer=True)),
        (4500, "game over", tagwire.Closed(CloseCode(4500), "game over", by_peer=True)),
    ],
)
async def test_a_close_code_of_ours_is_told_without_a_disconnect(peer: Peer, code, reason, told):
    client, link = await connected(peer, reconnect=True)
    link.protocol.send_close(code, reason)
    link.write_out()
    assert await soon(ended(client)) == told


@pytest.mark.parametrize("code", [1000, 1001, 1011, None])
async def test_a_close_code_of_websocket_alone_is_a_lost_connection(peer: Peer, code):
    """A proxy that restarts, say: the session goes on."""
    client, link = await peer.resumable()
    assert isinstance(link, WsLink)
    link.protocol.send_close(code)
    link.write_out()
    link = await peer.back(0, score(1))
    assert await soon(anext(aiter(client))) == arena.Score(points=1)


async def test_a_retryable_close_code_is_tried_again_and_begins_a_new_session(peer: Peer):
    client, link = await peer.resumable()
    assert isinstance(link, WsLink)
    link.protocol.send_close(3001, "too slow")
    link.write_out()
    link = await peer.accept()  # type: ignore[assignment]
    assert not (await link.take(PlayerLogin)).HasField("resume")
    link.send(welcome())
    await until(lambda: client.reconnecting is None)


async def test_a_login_that_is_refused_by_a_close_code_alone(peer: Peer):
    for code, kind, part in [
        (3501, tagwire.LoginRefused, None),
        (3502, tagwire.SchemaMismatch, "schema"),
        (3510, tagwire.LoginRefused, "version"),
    ]:
        task = asyncio.ensure_future(awaited(peer.connect()))
        link: Any = await peer.accept()
        await link.frame()
        link.protocol.send_close(code, "no")
        link.write_out()
        with pytest.raises(kind) as caught:
            await soon(task)
        assert (caught.value.code, caught.value.reason, caught.value.part) == (code, "no", part)


async def test_a_disconnect_counts_more_than_the_close_behind_it(peer: Peer):
    client, link = await connected(peer)
    link.protocol.send_binary(frame_of(Disconnect(code=3508, reason="cheating")))
    link.protocol.send_close(1000, "bye")
    link.write_out()
    assert await soon(ended(client)) == tagwire.Closed(CloseCode(3508), "cheating", by_peer=True)


@pytest.mark.parametrize(("code", "sent"), [(0, 1000), (4001, 4001), (4999, 4999)])
async def test_our_own_close_says_disconnect_then_close(peer: Peer, code, sent):
    client, link = await connected(peer)
    closing = asyncio.ensure_future(client.close(code, "bye"))
    told = await link.take(Disconnect)
    assert (told.code, told.reason) == (code, "bye")
    assert await link.eof()
    assert link.protocol.close_rcvd is not None
    assert link.protocol.close_rcvd.code == sent
    await soon(closing, 0.9)  # the server has answered, so that nothing is waited for


async def test_a_server_that_does_not_answer_our_close_is_waited_for_a_second(peer: Peer):
    client, link = await connected(peer)
    link.protocol.receive_data = lambda data: None  # type: ignore[method-assign]
    began = time.monotonic()
    await soon(client.close())
    assert 0.8 < time.monotonic() - began < 3


# Servers that are none


def upgraded(request: bytes, *lines: str, accept: str = "") -> bytes:
    """The answer of a server that agrees."""
    key = re.search(rb"Sec-WebSocket-Key: (\S+)", request)
    assert key is not None
    digest = hashlib.sha1(key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    accept = accept or base64.b64encode(digest).decode()
    head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    return "\r\n".join([*head, f"Sec-WebSocket-Accept: {accept}", *lines, "", ""]).encode()


async def no_upgrade(answer: bytes | Callable[[bytes], bytes], *, close: bool, timeout: float = 5.0) -> str:
    """Why it fails with a server that gives this answer; it never hears of credentials."""
    heard: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(answer if isinstance(answer, bytes) else answer(request))
        if close:
            writer.close()
        try:
            heard.append(await reader.read())
        finally:
            heard.append(b"")

    async with answering(handle) as port:
        with pytest.raises(tagwire.ConnectError) as caught:
            await soon(awaited(tagwire.connect(f"ws://127.0.0.1:{port}/x", timeout=timeout, **LOGIN)))
        if not close:
            await until(lambda: heard)  # the socket is closed
    assert b"a secret word" not in b"".join(heard)
    assert len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize("close", [False, True])
async def test_a_refused_upgrade_is_told_with_status_and_body(close):
    body = "this origin\nmay  not\x00come in"
    length = f"Content-Length: {len(body)}\r\n" if not close else ""
    why = await no_upgrade(f"HTTP/1.1 403 Forbidden\r\n{length}\r\n{body}".encode(), close=close)
    assert "with 403 Forbidden: this origin may not come in; is the path right" in why


async def test_a_page_instead_of_an_upgrade():
    page = b"<html>" + b"x" * 5000
    why = await no_upgrade(b"HTTP/1.1 200 OK\r\nContent-Length: 5006\r\n\r\n" + page, close=False)
    assert "with 200 OK; is the path right, and a tagwire server behind it?" in why


async def test_a_redirect_is_told_and_not_followed():
    answer = b"HTTP/1.1 301 Moved\r\nLocation: wss://elsewhere.example/\r\nContent-Length: 0\r\n\r\n"
    why = await no_upgrade(answer, close=False)
    assert "with 301 Moved; it says to go to wss://elsewhere.example/, which has to be given" in why


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "closed the connection instead of answering the request for WebSocket"),
        (b"HTTP/1.1 101", "closed the connection instead of answering"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "speaks no WebSocket"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "closed the connection .* does it want TLS"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "speaks no WebSocket"),
    ],
)
async def test_what_is_no_answer(answer, why):
    assert re.search(why, await no_upgrade(answer, close=True))


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 " + b"x" * 100_000,
        b"HTTP/1.1 101 Switching Protocols\r\nX: " + b"y" * 100_000,
        b"HTTP/1.1 101 Switching Protocols\r\n" + b"X: y\r\n" * 100_000,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9999999999\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n" + b"x" * 2_000_000,
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
    ],
)
async def test_an_oversized_answer_is_given_up_soon(answer):
    began = time.monotonic()
    assert "speaks no WebSocket" in await no_upgrade(answer, close=False)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 101 Sw", b"HTTP/1.1 403 No\r\nContent-Length: 9\r\n\r\nno"]
)
async def test_an_answer_that_stalls_ends_with_the_time_out(answer):
    began = time.monotonic()
    why = await no_upgrade(answer, close=False, timeout=0.3)
    assert re.search(r"no answer to the request for WebSocket within 0\.3 s", why)
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(
    ("lines", "accept", "why"),
    [
        (["Sec-WebSocket-Protocol: tagwire.v1"], "bm9uZQ==", "Sec-WebSocket-Accept"),
        (["Sec-WebSocket-Protocol: chat"], "", "unsupported subprotocol: chat"),
        (
            ["Sec-WebSocket-Protocol: tagwire.v1", "Sec-WebSocket-Extensions: x"],
            "",
            "no extensions supported",
        ),
    ],
)
async def test_an_upgrade_that_was_not_asked_for(lines, accept, why):
    assert why in await no_upgrade(lambda request: upgraded(request, *lines, accept=accept), close=False)


async def test_what_comes_with_the_upgrade_is_read():
    """A server that does not wait: what it says in the same packet is not lost."""
    sent: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        told = frame_of(Disconnect(code=3003, reason="full", retry_after_ms=2000))
        writer.write(upgraded(request, "Sec-WebSocket-Protocol: tagwire.v1") + head(0x82, len(told)) + told)
        sent.append(await reader.read())

    async with answering(handle) as port:
        with pytest.raises(tagwire.LoginRefused, match=r"OVERLOAD \(3003\), full; the server is full"):
            await tagwire.connect(f"ws://127.0.0.1:{port}", **LOGIN)


def test_the_largest_message_is_larger_than_any_frame():
    assert websocket_module.LARGEST_BYTES > session_module.MAX_FRAME_BYTES + 16
