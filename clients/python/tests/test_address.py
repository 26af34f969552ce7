"""Addresses: text to its parts."""

from __future__ import annotations

import pytest

from tagwire.address import Address, parse_address
from tagwire.errors import AddressError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 7777),
        ("localhost:1", "localhost", 1),
        (" localhost:65535 ", "localhost", 65535),
        ("tagwire://game.example.com", "game.example.com", 7777),
        ("tagwire://game.example.com:80/", "game.example.com", 80),
        ("TAGWIRE://game.example.com", "game.example.com", 7777),
        ("127.0.0.1:7778", "127.0.0.1", 7778),
        ("[::1]:7778", "::1", 7778),
        ("[::1]", "::1", 7777),
        ("::1", "::1", 7777),
        ("tagwire://[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_addresses_of_tcp(text, host, port):
    assert parse_address(text) == Address(host, port, "tagwire", "/")


@pytest.mark.parametrize(
    ("text", "host", "port", "scheme", "path"),
    [
        ("tagwires://localhost", "localhost", 7777, "tagwires", "/"),
        ("TagWires://localhost:1/", "localhost", 1, "tagwires", "/"),
        ("ws://localhost", "localhost", 7777, "ws", "/"),
        ("ws://localhost/", "localhost", 7777, "ws", "/"),
        ("wss://localhost", "localhost", 7777, "wss", "/"),
        ("WSS://game.example.com:443/packets", "game.example.com", 443, "wss", "/packets"),
        ("ws://[::1]:80/a/b/", "::1", 80, "ws", "/a/b/"),
        ("ws://[::1]/a", "::1", 7777, "ws", "/a"),
        ("ws://localhost?room=1", "localhost", 7777, "ws", "/?room=1"),
        ("ws://localhost:80/a?b=c/d%20e", "localhost", 80, "ws", "/a?b=c/d%20e"),
    ],
)
def test_addresses_of_other_kinds(text, host, port, scheme, path):
    address = parse_address(text)
    assert address == Address(host, port, scheme, path)
    assert address.secure == (scheme in ("tagwires", "wss"))
    assert address.websocket == (scheme in ("ws", "wss"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no host"),
        (":7777", "no host"),
        ("tagwire://", "no host"),
        ("wss:///packets", "no host"),
        ("localhost:", "port is ''"),
        ("localhost:0", "port is '0'"),
        ("localhost:65536", "port is '65536'"),
        ("localhost:http", "port is 'http'"),
        ("localhost:+1", r"port is '\+1'"),
        ("localhost:\u0661", "port is"),
        ("ws://localhost:x/packets", "port is 'x'"),
        ("[::1", "written"),
        ("[::1]7777", "written"),
        ("local host", "not a host name"),
        ("user@localhost", "not a host name"),
        ("tagwire://localhost/packets", "not a host name"),
        ("tagwires://localhost/packets", "not a host name"),
        ("ws://localhost/a b", "printable ASCII"),
        ("ws://localhost/\u00e4", "printable ASCII"),
        ("ws://localhost/a\r\nX-Evil: 1", "printable ASCII"),
        ("ws://localhost/#a", "printable ASCII"),
        ("http://localhost", "http:// is not known"),
        ("mem:", "mem: is for clients inside"),
        ("mem:name", "mem: is for clients inside"),
    ],
)
def test_what_is_no_address_is_explained(text, why):
    with pytest.raises(AddressError, match=why):
        parse_address(text)


@pytest.mark.parametrize(
    "text", ["me:secret1@localhost", "wss://me:secret1@localhost:1/x", "secret1@[::1]:2"]
)
def test_credentials_in_an_address_are_refused_and_not_repeated(text):
    with pytest.raises(AddressError, match=r"\.\.\.@.*go to connect\(\) beside it") as caught:
        parse_address(text)
    assert "secret1" not in str(caught.value) + repr(caught.value.address)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (Address("localhost", 7777), "localhost:7777"),
        (Address("::1", 7777), "[::1]:7777"),
        (Address("::1", 7777, "tagwires"), "tagwires://[::1]:7777"),
        (Address("a.b", 443, "wss", "/packets"), "wss://a.b:443/packets"),
        (Address("a.b", 443, "ws"), "ws://a.b:443"),
    ],
)
def test_an_address_prints_as_it_is_written(address, text):
    assert str(address) == text
    assert parse_address(text) == address
