"""TLS: who is trusted, who is not, and that it is told well."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

import arena
import tagwire
from conftest import Peer, soon, welcome
from doors import Authority, Issued, TlsPeer, answering, refusing, running
from helpers import awaited, score
from tagwire.gen.v1 import PlayerLogin
from tagwire.tls import digest_of

LOGIN: dict[str, Any] = {"schema": arena.SCHEMA, "username": "player1", "password": "a secret word"}


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    """Nobody trusts it."""
    return Authority(tmp_path / "stranger")


async def admitted(peer: Peer, **options: Any) -> tagwire.Client:
    """A client that was let in."""
    client, _ = await peer.connected(**options)
    return client


async def refused(peer: Peer, **options: Any) -> str:
    """Why a client does not come in; the server has read no byte of a login by then."""
    with pytest.raises(tagwire.ConnectError) as caught:
        await soon(awaited(peer.connect(timeout=5, **options)))
    while not peer.accepted.empty():
        link = peer.accepted.get_nowait()
        try:
            assert await link.eof(), "it got the login"
        except (ConnectionError, ssl.SSLError):
            pass
    assert "welcome" not in str(caught.value)
    return str(caught.value)


# Whom to trust


async def test_ones_own_authority(authority: Authority):
    async with running(TlsPeer(authority.issue().context(), tagwire.Tls(ca=authority.pem))) as peer:
        client = await admitted(peer)
        transport: Any = client._connection._transport._transport  # type: ignore[union-attr]
        assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        assert await admitted(peer, tls=tagwire.Tls(ca=str(authority.pem)))


async def test_an_address_needs_no_tls_argument_where_the_system_trusts_the_server(
    authority: Authority, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    async with running(TlsPeer(authority.issue().context(), None)) as peer:
        assert await admitted(peer)


async def test_an_unknown_authority(authority: Authority, stranger: Authority):
    async with running(TlsPeer(stranger.issue().context(), None)) as peer:
        for tls in (None, tagwire.Tls(), tagwire.Tls(ca=authority.pem)):
            why = await refused(peer, tls=tls)
            assert "nobody whom this client trusts has signed the server's certificate" in why
            assert "tls=tagwire.Tls(ca='ca.pem'), or pin=" in why


async def test_ones_own_authority_is_the_only_one(authority: Authority, stranger: Authority, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(stranger.pem))
    async with running(TlsPeer(stranger.issue().context(), None)) as peer:
        assert await admitted(peer)
        assert "nobody whom" in await refused(peer, tls=tagwire.Tls(ca=authority.pem))


async def test_a_certificate_that_has_expired(authority: Authority):
    async with running(TlsPeer(authority.expired().context(), tagwire.Tls(ca=authority.pem))) as peer:
        assert "has expired; the server needs a new one" in await refused(peer)


async def test_a_certificate_that_is_not_valid_yet(authority: Authority):
    async with running(TlsPeer(authority.not_yet_valid().context(), tagwire.Tls(ca=authority.pem))) as peer:
        assert "not valid yet; is the clock of this machine right?" in await refused(peer)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_a_certificate_for_another_host(authority: Authority, host):
    issued = authority.issue("game.example.com", "10.0.0.1")
    async with running(TlsPeer(issued.context(), tagwire.Tls(ca=authority.pem))) as peer:
        peer.address = f"tagwires://{host}:{peer.port}"
        why = await refused(peer)
        assert "the server's certificate is for another host" in why
        assert f"'{host}'" in why


# Pins


@pytest.mark.parametrize("kind", ["issue", "expired", "not_yet_valid"])
async def test_a_pinned_certificate_is_trusted_whatever_else_it_says(stranger: Authority, kind):
    issued: Issued = getattr(stranger, kind)() if kind != "issue" else stranger.issue("other.example")
    async with running(TlsPeer(issued.context(), tagwire.Tls(pin=issued.pin))) as peer:
        assert await admitted(peer)


async def test_pins_as_other_programs_write_them(stranger: Authority):
    issued = stranger.issue()
    digits = issued.pin.removeprefix("sha256:")
    colons = ":".join(digits[at : at + 2] for at in range(0, 64, 2))
    async with running(TlsPeer(issued.context(), None)) as peer:
        for pin in (f"SHA256:{digits.upper()}", f"sha256:{colons}", f" sha256:{colons.upper()}\n"):
            assert await admitted(peer, tls=tagwire.Tls(pin=pin))


async def test_another_certificate_than_the_pinned_one(authority: Authority):
    """Even where its authority is trusted otherwise. Nothing is sent to it."""
    issued, other = authority.issue(), authority.issue()
    async with running(TlsPeer(issued.context(), tagwire.Tls(pin=other.pin))) as peer:
        why = await refused(peer)
        assert f"the server's certificate is {issued.pin}, pinned is {other.pin}" in why
        assert not peer.accepted.qsize()


async def test_the_next_connection_has_the_pinned_certificate_as_well(authority: Authority):
    issued, other = authority.issue(), authority.issue()
    told: list[str] = []
    async with running(TlsPeer(issued.context(), tagwire.Tls(pin=issued.pin))) as peer:
        client, link = await peer.resumable()
        client.on(tagwire.Reconnecting, lambda event: told.append(event.reason))
        running_client = asyncio.ensure_future(client.run())
        assert peer.context is not None
        other.leaf.configure_cert(peer.context)  # somebody else answers from now on
        link.writer.transport.abort()
        while not any("pinned is" in reason for reason in told):
            await asyncio.sleep(0.01)
        assert other.pin in told[-1]
        issued.leaf.configure_cert(peer.context)
        while peer.accepted.qsize():  # of the imposter, which heard nothing
            assert await peer.accepted.get_nowait().eof()
        while True:
            link = await peer.accept()
            try:
                await link.take(PlayerLogin)
                break
            except AssertionError:
                continue
        link.send(welcome())
        await client.close()
        await soon(running_client)


@pytest.mark.parametrize(
    "pin", ["sha256:", "sha1:" + "0" * 40, "0" * 64, "sha256:" + "0" * 63, "sha256:" + "g" * 64, "md5"]
)
def test_what_is_no_pin(pin):
    with pytest.raises(ValueError, match="a pin is sha256: and 64 hexadecimal digits"):
        tagwire.Tls(pin=pin)


def test_a_pin_is_read_to_its_bytes():
    assert digest_of("sha256:" + "0Aff" * 16) == bytes.fromhex("0aff" * 16)


def test_what_contradicts_itself():
    with pytest.raises(ValueError, match="give ca or pin"):
        tagwire.Tls(ca="ca.pem", pin="sha256:" + "0" * 64)
    with pytest.raises(ValueError, match="key without certificate"):
        tagwire.Tls(key="me.key")


# This client's own certificate


@pytest.fixture
def asking(authority: Authority) -> ssl.SSLContext:
    """A server that wants certificates of its clients."""
    context = authority.issue().context()
    authority.ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("split", [False, True])
async def test_a_client_shows_its_certificate(authority: Authority, asking: ssl.SSLContext, split):
    mine = authority.issue("player1@example.com")
    own = {"certificate": mine.certificate, "key": mine.key} if split else {"certificate": mine.pem}
    async with running(TlsPeer(asking, tagwire.Tls(ca=authority.pem, **own))) as peer:
        client, link = await peer.connected(score(1))
        assert await soon(anext(aiter(client))) == arena.Score(points=1)
        shown = link.writer.get_extra_info("ssl_object").getpeercert()
        assert ("email", "player1@example.com") in shown["subjectAltName"]


@pytest.mark.parametrize("scheme", ["tagwires", "wss"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_server_that_asks_for_a_certificate_says_so(authority: Authority, asking, version, scheme):
    asking.maximum_version = version
    with refusing(asking) as port:
        tls = tagwire.Tls(ca=authority.pem)
        with pytest.raises(tagwire.ConnectError) as caught:
            await tagwire.connect(f"{scheme}://127.0.0.1:{port}", tls=tls, **LOGIN)
    if version == ssl.TLSVersion.TLSv1_3:
        want = "asks for a certificate of this client; give it with tls=tagwire.Tls(certificate=...)"
        assert want in str(caught.value)
    else:  # which has no word for it
        assert "no way of TLS in common" in str(caught.value)


@pytest.mark.parametrize("scheme", ["tagwires", "wss"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_of_a_client_that_the_server_does_not_know(
    authority: Authority, stranger: Authority, asking, version, scheme
):
    asking.maximum_version = version
    mine = stranger.issue("player1@example.com")
    with refusing(asking) as port:
        tls = tagwire.Tls(ca=authority.pem, certificate=mine.pem)
        with pytest.raises(tagwire.ConnectError, match="does not accept the certificate of this client"):
            await tagwire.connect(f"{scheme}://127.0.0.1:{port}", tls=tls, **LOGIN)


async def test_files_that_cannot_be_used_are_named(authority: Authority, stranger: Authority, tmp_path: Path):
    mine, other = authority.issue("me"), stranger.issue("me")
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    locked = tmp_path / "locked.pem"
    key = load_pem_private_key(mine.leaf.private_key_pem.bytes(), None)
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")))
    missing = tmp_path / "missing.pem"
    for tls, why in [
        (tagwire.Tls(ca=missing), f"Tls(ca={str(missing)!r}): No such file"),
        (tagwire.Tls(ca=garbage), f"Tls(ca={str(garbage)!r}): there is no such thing in it"),
        (tagwire.Tls(certificate=missing), f"Tls(certificate={str(missing)!r}): No such file"),
        (tagwire.Tls(certificate=garbage), "there is no such thing in it"),
        (tagwire.Tls(certificate=mine.certificate, key=missing), f"Tls(key={str(missing)!r}): No such file"),
        (tagwire.Tls(certificate=mine.certificate, key=garbage), "there is no such thing in it"),
        (tagwire.Tls(certificate=mine.certificate, key=other.key), "it does not fit"),
        (tagwire.Tls(certificate=mine.certificate, key=locked), "the key is encrypted"),
    ]:
        with pytest.raises(tagwire.ConnectError, match=re.escape(why)):
            await tagwire.connect("tagwires://localhost", tls=tls, **LOGIN)
        with pytest.raises(tagwire.ConnectError, match=re.escape(why)):
            tagwire.connect_sync("wss://localhost", tls=tls, **LOGIN)


# Servers of other kinds


async def test_an_address_without_tls_takes_no_tls_argument():
    for scheme in ("tagwire", "ws"):
        with pytest.raises(tagwire.AddressError, match=f"{scheme}:// is without TLS; use {scheme}s://"):
            await tagwire.connect(f"{scheme}://localhost", tls=tagwire.Tls(), **LOGIN)


@pytest.mark.parametrize("scheme", ["tagwires", "wss"])
async def test_a_server_without_tls_is_explained_and_gets_nothing_else(scheme):
    """It closes silently on what it does not know, as tagwire's do."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1 << 16))
        writer.close()

    plain = scheme.removesuffix("s")
    async with answering(answer) as port:
        with pytest.raises(
            tagwire.ConnectError,
            match=rf"closed the connection in the TLS handshake .* {plain}:// addresses instead of {scheme}://",
        ) as caught:
            await tagwire.connect(f"{scheme}://127.0.0.1:{port}", **LOGIN)
        await asyncio.sleep(0.05)
    assert caught.value.attempts[0][0] == f"127.0.0.1:{port}"
    assert len(heard) == 1, "it came again, without TLS"
    assert heard[0][:2] == b"\x16\x03"
    assert b"a secret word" not in heard[0]


@pytest.mark.parametrize(
    "garbage",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",  # TLS: an alert, of an old version
        bytes(range(256)) * 300,
        b"\x16\x03\x03\xff\xff" + bytes(70_000),
        b"\x16\x03\x03\x00\x04\x02\x00\x00\x00",
    ],
)
@pytest.mark.parametrize("scheme", ["tagwires", "wss"])
async def test_garbage_instead_of_a_handshake(scheme, garbage):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.write(garbage)
        await reader.read()

    async with answering(answer) as port:
        began = time.monotonic()
        with pytest.raises(tagwire.ConnectError, match=r"speaks no TLS|handshake failed|no way of TLS"):
            await soon(awaited(tagwire.connect(f"{scheme}://127.0.0.1:{port}", timeout=5, **LOGIN)))
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x03\x00\x7a\x02"])
async def test_a_handshake_that_stalls_ends_with_the_time_out(sent):
    closed: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        closed.append(await reader.read())

    async with answering(answer) as port:
        began = time.monotonic()
        with pytest.raises(tagwire.ConnectError, match=r"no TLS handshake within 0\.3 s"):
            await tagwire.connect(f"tagwires://127.0.0.1:{port}", timeout=0.3, **LOGIN)
        assert 0.25 < time.monotonic() - began < 2
        deadline = time.monotonic() + 2
        while not closed:
            assert time.monotonic() < deadline, "the socket stays open"
            await asyncio.sleep(0.01)


async def test_cancelling_a_handshake_closes_the_socket():
    began, closed = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        began.set()
        await reader.read()
        closed.set()

    async with answering(answer) as port:
        task = asyncio.ensure_future(awaited(tagwire.connect(f"tagwires://127.0.0.1:{port}", **LOGIN)))
        await soon(began.wait())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await soon(closed.wait())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_tls_of_old_versions_is_refused(authority: Authority):
    context = authority.issue().context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    tls = tagwire.Tls(ca=authority.pem)
    with refusing(context) as port, pytest.raises(tagwire.ConnectError, match="no way of TLS in common"):
        await tagwire.connect(f"tagwires://127.0.0.1:{port}", tls=tls, **LOGIN)


async def test_tls_1_2_is_taken(authority: Authority):
    context = authority.issue().context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with running(TlsPeer(context, tagwire.Tls(ca=authority.pem))) as peer:
        client, link = await peer.connected(score(5))
        assert await soon(anext(aiter(client))) == arena.Score(points=5)
        await client.send(arena.Chat(text="hi"))
        assert (await link.take(arena.Chat)).text == "hi"


async def test_a_client_without_tls_is_told_that_the_server_may_want_it(authority: Authority):
    """Two servers: one that knows TLS only, and one that closes on all else, as tagwire's may."""
    async with running(TlsPeer(authority.issue().context(), None)) as peer:
        with pytest.raises(tagwire.ConnectError, match=r"It may want TLS: tagwires://"):
            await tagwire.connect(f"127.0.0.1:{peer.port}", **LOGIN)
        with pytest.raises(tagwire.ConnectError, match=r"wss://"):
            await tagwire.connect(f"ws://127.0.0.1:{peer.port}", **LOGIN)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        writer.close()

    async with answering(answer) as port:
        with pytest.raises(tagwire.ConnectError, match=r"It may want TLS: tagwires://"):
            await tagwire.connect(f"127.0.0.1:{port}", **LOGIN)
        with pytest.raises(tagwire.ConnectError, match=r"does it want TLS \(wss://\)"):
            await tagwire.connect(f"ws://127.0.0.1:{port}", **LOGIN)


async def test_every_address_is_tried_with_tls(authority: Authority, stranger: Authority, monkeypatch):
    """One is closed, at one is somebody else, one is the server."""
    async with (
        running(TlsPeer(stranger.issue().context(), None)) as wrong,
        running(TlsPeer(authority.issue("game.example.com").context(), None)) as right,
    ):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            closed = sock.getsockname()[1]

        async def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
            assert host == "game.example.com"
            places = [("127.0.0.1", place) for place in (closed, wrong.port, right.port)]
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", place) for place in places]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
        right.address = "tagwires://game.example.com"
        client = await admitted(right, tls=tagwire.Tls(ca=authority.pem))
        assert client.player_id == 41
        right.server.close()
        await client.close()
        with pytest.raises(tagwire.ConnectError) as caught:
            await tagwire.connect(right.address, tls=tagwire.Tls(ca=authority.pem), **LOGIN)
        reasons = [why for _, why in caught.value.attempts]
        assert reasons[0] == reasons[2] == os.strerror(111)
        assert reasons[1].startswith("nobody whom this client trusts")
        assert "Is the server running?" not in str(caught.value)
