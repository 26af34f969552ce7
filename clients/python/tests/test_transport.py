"""Finding an address that answers, and TCP."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from conftest import Peer
from tagwire.address import Address
from tagwire.connecting import target_of
from tagwire.errors import ConnectError
from tagwire.transport import Transport, open_transport


async def open_tcp(address: Address, owner: Recorder, *, timeout: float) -> None:
    await open_transport(target_of(address), owner, timeout=timeout)


class Recorder:
    """An owner that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.transport: Transport | None = None

    def handle_connected(self, transport: Transport) -> None:
        self.calls.append("connected")
        self.transport = transport

    def handle_data(self, data: bytes) -> None:
        self.calls.append(f"data {data!r}")

    def handle_message(self, data: bytes) -> None:
        self.calls.append(f"message {data!r}")

    def handle_part(self) -> None:
        self.calls.append("part")

    def max_message_bytes(self) -> int:
        return 65536

    def handle_broken(self, code: int, reason: str) -> None:
        self.calls.append(f"broken {code} {reason}")

    def handle_close(self, code: int, reason: str) -> None:
        self.calls.append(f"close {code} {reason}")

    def handle_eof(self) -> None:
        self.calls.append("eof")

    def handle_lost(self, error: str) -> None:
        self.calls.append("lost")

    def handle_writable(self, writable: bool) -> None:
        self.calls.append(f"writable {writable}")


async def test_the_socket_sends_small_writes_at_once(peer):
    owner = Recorder()
    await open_tcp(Address("127.0.0.1", peer.port), owner, timeout=5)
    assert owner.transport is not None
    sock = owner.transport._transport.get_extra_info("socket")
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    owner.transport.abort()


async def test_the_owner_hears_of_data_eof_and_the_end(peer: Peer):
    owner = Recorder()
    await open_tcp(Address("127.0.0.1", peer.port), owner, timeout=5)
    link = await peer.accept()
    link.send(b"abc")
    link.writer.write_eof()
    assert owner.transport is not None
    while "eof" not in owner.calls:
        await asyncio.sleep(0.001)
    owner.transport.write([b"still ", b"here"])
    owner.transport.finish(0)
    assert await link.reader.read() == b"still here"
    owner.transport.abort()
    while "lost" not in owner.calls:
        await asyncio.sleep(0.001)
    assert owner.calls == ["connected", "data b'abc'", "eof", "lost"]


def answer(*addresses: tuple[str, int]):
    async def getaddrinfo(host, port, **options):
        found = []
        for address in addresses:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            found.append((family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address))
        return found

    return getaddrinfo


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def test_every_address_is_tried_until_one_answers(peer, monkeypatch):
    closed = free_port()
    found = answer(("127.0.0.2", closed), ("127.0.0.3", closed), ("127.0.0.1", peer.port))
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    owner = Recorder()
    await open_tcp(Address("game.example.com", 7777), owner, timeout=5)
    assert owner.calls == ["connected"]
    assert owner.transport is not None
    owner.transport.abort()


async def test_when_none_answers_the_error_lists_each_and_why(monkeypatch):
    closed = free_port()
    found = answer(("127.0.0.2", closed), ("127.0.0.3", closed))
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)
    with pytest.raises(ConnectError) as caught:
        await open_tcp(Address("game.example.com", 7777), Recorder(), timeout=5)
    assert [address for address, _ in caught.value.attempts] == [f"127.0.0.2:{closed}", f"127.0.0.3:{closed}"]
    assert all("refused" in why for _, why in caught.value.attempts)
    assert f"game.example.com:7777: 127.0.0.2:{closed}: Connection refused; 127.0.0.3" in str(caught.value)
    assert "Is the server running?" in str(caught.value)


async def test_an_address_that_never_answers_leaves_time_for_the_next(peer, monkeypatch):
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answer(("127.0.0.9", 9), ("127.0.0.1", peer.port)))
    real = loop.sock_connect

    async def sock_connect(sock, where):
        await (asyncio.sleep(60) if where[0] == "127.0.0.9" else real(sock, where))

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    began = time.monotonic()
    owner = Recorder()
    await open_tcp(Address("game.example.com", 7777), owner, timeout=0.4)
    assert 0.15 <= time.monotonic() - began < 0.4
    assert owner.transport is not None
    owner.transport.abort()


async def test_all_addresses_together_have_one_time_out(monkeypatch):
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answer(("127.0.0.8", 9), ("127.0.0.9", 9)))
    monkeypatch.setattr(loop, "sock_connect", lambda sock, where: asyncio.sleep(60))
    began = time.monotonic()
    with pytest.raises(
        ConnectError, match=r"127\.0\.0\.8:9: no answer within 0\.1 s; 127\.0\.0\.9:9: no answer"
    ):
        await open_tcp(Address("game.example.com", 7777), Recorder(), timeout=0.2)
    assert time.monotonic() - began < 2


async def test_a_connection_that_stands_in_the_last_moment_is_kept(peer, monkeypatch):
    """Its owner was told of it, so that no other may follow."""
    loop = asyncio.get_running_loop()
    found = answer(("127.0.0.1", peer.port), ("127.0.0.2", peer.port))
    monkeypatch.setattr(loop, "getaddrinfo", found)
    real = loop.create_connection

    async def create_connection(*arguments, **options):
        await real(*arguments, **options)
        await asyncio.sleep(60)  # the time-out comes before its answer

    monkeypatch.setattr(loop, "create_connection", create_connection)
    owner = Recorder()
    await open_tcp(Address("game.example.com", 7777), owner, timeout=0.4)
    assert owner.calls == ["connected"]
    assert owner.transport is not None
    owner.transport.abort()


async def test_a_host_that_is_not_found(monkeypatch):
    async def getaddrinfo(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(ConnectError, match="nowhere:7777: the host name was not found"):
        await open_tcp(Address("nowhere", 7777), Recorder(), timeout=5)


async def test_a_resolver_that_hangs(monkeypatch):
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", lambda *a, **o: asyncio.sleep(60))
    with pytest.raises(ConnectError, match=r"not resolved within 0\.05 s"):
        await open_tcp(Address("nowhere", 7777), Recorder(), timeout=0.05)


async def test_a_host_name_that_cannot_be_one():
    with pytest.raises(ConnectError, match="the host name was not found"):
        await open_tcp(Address("x" * 64 + ".example", 7777), Recorder(), timeout=5)


async def test_cancelling_leaves_no_socket_open(monkeypatch):
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answer(("127.0.0.9", 9)))
    opened = []

    async def sock_connect(sock, where):
        opened.append(sock)
        await asyncio.sleep(60)

    monkeypatch.setattr(loop, "sock_connect", sock_connect)
    task = asyncio.ensure_future(open_tcp(Address("game.example.com", 7777), Recorder(), timeout=5))
    while not opened:
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert opened[0].fileno() == -1
