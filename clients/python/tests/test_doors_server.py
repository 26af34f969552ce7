"""Every kind of connection with the real server, all on one port."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import arena
import conftest
import tagwire
from conftest import QUICK, Server, soon
from doors import Authority
from helpers import next_of, until
from tagwire.tls import security_of
from test_cuts import PATIENT, Faults, endure
from test_resume_server import kill

KINDS = ["tagwire", "tagwires", "ws", "wss"]
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


class Doors:
    """A server with TLS, and how to get in."""

    def __init__(self, server: Server, tls: tagwire.Tls) -> None:
        self.server = server
        self.tls = tls

    def options(self, kind: str, name: str, path: str = "", **options: Any) -> dict[str, Any]:
        port = self.server.address.rpartition(":")[2]
        tls = self.tls if kind in ("tagwires", "wss") else None
        address = f"{kind}://localhost:{port}{path}"
        options = {"password": "welcome", "schema": arena.SCHEMA, "tls": tls, **options}
        return {"address": address, "username": name, **options}

    def connect(self, kind: str, name: str, path: str = "", **options: Any) -> tagwire.Connecting:
        return tagwire.connect(**self.options(kind, name, path, **options))


@pytest.fixture
def start(authority: Authority) -> Iterator[Callable[..., Doors]]:
    """Starts a server with a certificate of our authority, and flags."""
    issued = authority.issue("localhost")
    files = ["--tls", str(issued.certificate), "--tls-key", str(issued.key)]
    started: list[Any] = []

    def start(*flags: str) -> Doors:
        context = conftest.running(Server(*files, *flags))
        started.append(context)
        return Doors(context.__enter__(), tagwire.Tls(ca=authority.pem))

    yield start
    for context in started:
        context.__exit__(None, None, None)


@pytest.fixture
def doors(start: Callable[..., Doors]) -> Doors:
    return start()


@pytest.fixture
def self_signed() -> Iterator[tuple[Doors, str]]:
    """A server with a certificate of its own making, and the fingerprint that it prints."""
    with conftest.running(Server("--tls", "self-signed")) as server:
        deadline = time.monotonic() + 5
        while not (found := re.search(r"sha256:[0-9a-f]{64}\b", "".join(server.lines))):
            assert time.monotonic() < deadline, "no fingerprint:\n" + "".join(server.lines)
            time.sleep(0.01)
        yield Doors(server, tagwire.Tls(pin=found[0])), found[0]


async def test_all_kinds_meet_in_one_room(doors: Doors):
    clients = [await doors.connect(kind, kind) for kind in KINDS]
    try:
        heard: dict[str, list[str]] = {kind: [] for kind in KINDS}
        for client in clients:

            def said(message: arena.Chat, sender: tagwire.Member | None, own: str = client.name) -> None:
                assert sender is not None
                heard[own].append(f"{sender.name}: {message.text}")

            client.on(arena.Chat, said)
        tasks = [asyncio.create_task(client.run()) for client in clients]
        for client in clients:
            await client.send(arena.Chat(text="hello"))
            everyone = f"{client.name}: hello"
            await until(lambda: all(everyone in said for said in heard.values()))  # noqa: B023
        assert all(said == [f"{kind}: hello" for kind in KINDS] for said in heard.values())
        for client in clients:
            assert {member.name for member in client.members.values()} == set(KINDS) - {client.name}
    finally:
        for client in clients:
            await client.close()
    await asyncio.gather(*tasks)


@EVERY_KIND
@pytest.mark.parametrize("how", ["reset", "close"])
async def test_a_session_goes_on_after_its_socket_was_killed(doors: Doors, kind: str, how: str):
    returns: list[tagwire.Reconnected] = []
    async with doors.connect(kind, "anna", reconnect=QUICK) as anna:
        anna.on(tagwire.Reconnected, returns.append)
        heard: list[str] = []
        anna.on(arena.Chat, lambda message, sender: heard.append(message.text))
        playing = asyncio.create_task(anna.run())
        for n in range(3):
            await anna.send(arena.Chat(text=str(n)))
            kill(anna, how)
            await until(lambda: len(returns) == n + 1 and anna.reconnecting is None)  # noqa: B023
            await until(lambda: len(heard) == n + 1)  # noqa: B023
    await playing
    assert heard == ["0", "1", "2"]
    assert [event.resumed for event in returns] == [True] * 3


@pytest.fixture
def unlimited_doors(start: Callable[..., Doors], unlimited_schema: Path) -> Doors:
    """For tests that send as fast as they can."""
    rates = ["max_frames_per_second", "max_bytes_per_second", "max_joins_per_second"]
    flags = [part for rate in rates for part in ("--set", f"limits.{rate}=0")]
    return start("--schema", str(unlimited_schema), *flags)


@pytest.mark.parametrize("kind", KINDS[1:])  # the first is what test_cuts.py is about
async def test_nothing_is_lost_and_nothing_comes_twice_in_a_bad_network(
    unlimited_doors: Doors, kind: str, monkeypatch: pytest.MonkeyPatch
):
    """Which cuts everywhere: in handshakes, in upgrades, in frames."""
    faults = Faults(
        unlimited_doors.server.address, "--cut-after", "0..12000", "--reset", "50", "--split", "5"
    )
    faults("faults off")

    def join(name: str) -> tagwire.Connecting:
        options = unlimited_doors.options(kind, name, reconnect=PATIENT, timeout=2.0)
        port = faults.address.rpartition(":")[2]
        return tagwire.connect(**{**options, "address": f"{kind}://localhost:{port}"})

    try:
        await endure(faults, join, monkeypatch, kind)
    finally:
        assert faults.stop() == 0


@EVERY_KIND
async def test_much_arrives_once_and_in_order(unlimited_doors: Doors, kind: str):
    doors = unlimited_doors
    count = 2000
    async with (
        doors.connect(kind, "anna", reconnect=False) as anna,
        doors.connect("tagwire", "ben", receive=False, reconnect=False) as ben,
    ):
        await until(lambda: anna.members)
        under_way = asyncio.Semaphore(500)  # more than 1024 would be SLOW, on a machine with much else to do

        async def send() -> None:
            for n in range(count):
                await under_way.acquire()
                await ben.send(arena.Chat(text=f"{n} {'x' * (n % 900)}"))

        sending = asyncio.create_task(send())
        messages = aiter(anna)
        for n in range(count):
            assert (await soon(anext(messages))).text == f"{n} {'x' * (n % 900)}"
            under_way.release()
        await sending


@EVERY_KIND
async def test_a_wrong_password_is_told(doors: Doors, kind: str):
    with pytest.raises(tagwire.LoginRefused) as caught:
        await doors.connect(kind, "anna", password="wrong")
    assert (caught.value.code.name, caught.value.part) == ("LOGIN_REFUSED", "password")


@EVERY_KIND
async def test_a_server_that_stops_says_so(doors: Doors, kind: str):
    async with doors.connect(kind, "anna", reconnect=False) as anna:
        doors.server.terminate()
        with pytest.raises(tagwire.ConnectionClosed, match=r"SHUTDOWN \(3000\)"):
            await soon(next_of(anna))


@EVERY_KIND
async def test_leaving_is_seen_at_once(doors: Doors, kind: str):
    async with doors.connect("tagwire", "ben") as ben:
        anna = await doors.connect(kind, "anna")
        await until(lambda: ben.members)
        began = time.monotonic()
        await anna.close()
        assert time.monotonic() - began < 0.9, "the server let it wait"
        await until(lambda: not ben.members, 2)


async def test_the_same_name_over_another_kind_takes_its_place(doors: Doors):
    first = await doors.connect("ws", "anna")
    async with doors.connect("tagwires", "anna"):
        with pytest.raises(tagwire.ConnectionClosed, match="REPLACED"):
            await soon(next_of(first))


@EVERY_KIND
def test_the_pump_plays_over_each(doors: Doors, kind: str):
    heard: list[str] = []
    with tagwire.connect_sync(**doors.options(kind, "anna")) as client:
        client.on(arena.Chat, lambda message, sender: heard.append(message.text))
        client.send(arena.Chat(text="hello"))
        deadline = time.monotonic() + 5
        while not heard:
            assert time.monotonic() < deadline
            client.sync(0.005)
            time.sleep(0.005)
    assert not [thread for thread in threading.enumerate() if thread.name == "tagwire"]


# TLS


async def test_the_printed_fingerprint_of_a_self_signed_certificate_is_its_pin(
    self_signed: tuple[Doors, str],
):
    doors, pin = self_signed
    for kind in ("tagwires", "wss"):
        async with doors.connect(kind, kind) as client:
            assert client.name == kind
            transport: Any = client._connection._transport._transport  # type: ignore[union-attr]
            assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        with pytest.raises(tagwire.ConnectError, match=f"certificate is {pin}, pinned is sha256:0000"):
            await doors.connect(kind, kind, tls=tagwire.Tls(pin="sha256:" + "0" * 64))
        with pytest.raises(tagwire.ConnectError, match="nobody whom this client trusts"):
            await doors.connect(kind, kind, tls=None)


async def test_tls_1_2_is_spoken(doors: Doors, monkeypatch):
    def older(*arguments: Any, **options: Any) -> Any:
        security = security_of(*arguments, **options)
        security.context.maximum_version = ssl.TLSVersion.TLSv1_2
        return security

    monkeypatch.setattr("tagwire.connecting.security_of", older)
    for kind in ("tagwires", "wss"):
        async with doors.connect(kind, "anna") as client:
            transport: Any = client._connection._transport._transport  # type: ignore[union-attr]
            assert transport.get_extra_info("ssl_object").version() == "TLSv1.2"


async def test_a_server_without_tls_is_explained(server: Server):
    doors = Doors(server, tagwire.Tls())
    for kind, plain in (("tagwires", "tagwire"), ("wss", "ws")):
        began = time.monotonic()
        with pytest.raises(tagwire.ConnectError, match=rf"TLS handshake .* {plain}:// addresses instead"):
            await doors.connect(kind, "anna")
        assert time.monotonic() - began < 4, "it let the handshake wait"
        async with doors.connect(plain, "anna") as client:
            assert client.name == "anna"


async def test_a_server_that_wants_tls_lets_nobody_in_without(start: Callable[..., Doors]):
    doors = start("--set", "plaintext=deny")
    for kind in ("tagwire", "ws"):
        with pytest.raises(tagwire.TagwireError, match=r"asks for TLS.*tagwires:// or wss://$"):
            await doors.connect(kind, "anna")
    for kind in ("tagwires", "wss"):
        async with doors.connect(kind, "anna") as client:
            assert client.name == "anna"


# WebSocket


@pytest.mark.parametrize("kind", ["ws", "wss"])
async def test_paths(doors: Doors, kind: str):
    for path in ("", "/", "/packets"):
        async with doors.connect(kind, "anna", path) as client:
            assert client.name == "anna"
    with pytest.raises(tagwire.ConnectError, match=r"answered the request for WebSocket with 4\d\d"):
        await doors.connect(kind, "anna", "/elsewhere")
