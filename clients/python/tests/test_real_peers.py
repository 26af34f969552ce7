"""Programs that others wrote, at the doors of the real server: openssl, sslscan, websockets, Chromium.

`scripts/test` installs them. Each logs in and exchanges a message.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import queue
import re
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websocket
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

import arena
from conftest import Server, frame_of, running, soon
from helpers import until
from tagwire.frame import Decoder, Frame, encode
from tagwire.gen.v1 import ClientInfo, Disconnect, PlayerLogin, Relayed, Welcome

SECONDS = 20.0
"""Nothing on loopback takes longer, unless it never comes."""
CHAT, WELCOME, DISCONNECT, RELAYED = 4, 240, 241, 246


def login(name: str, *, classic: bool = False) -> bytes:
    client = None if classic else ClientInfo(protocol=1)
    return frame_of(PlayerLogin(username=name, password="welcome", client=client))


def chat(text: str) -> bytes:
    return encode(CHAT, arena.Chat(text=text).SerializeToString())


def said(frame: Frame) -> str | None:
    """The line of chat in a frame, as new clients and classic ones hear it."""
    if frame.tag == CHAT:
        return arena.Chat.FromString(frame.payload).text
    if frame.tag == RELAYED and (relayed := Relayed.FromString(frame.payload)).tag == CHAT:
        return arena.Chat.FromString(relayed.body).text
    return None


class Ears:
    """What comes to a peer."""

    def __init__(self) -> None:
        self._decoder = Decoder(1 << 20)
        self._frames: list[Frame] = []
        self._more = threading.Condition()
        self._ended = False

    def feed(self, data: bytes) -> None:
        with self._more:
            self._decoder.feed(data)
            while (frame := self._decoder.next()) is not None:
                self._frames.append(frame)
            self._more.notify_all()

    def end(self) -> None:
        with self._more:
            self._ended = True
            self._more.notify_all()

    def read_all(self, read: Callable[[], bytes]) -> None:
        """Hears everything that `read` gives, in a thread."""

        def run() -> None:
            with contextlib.suppress(OSError):
                while data := read():
                    self.feed(data)
            self.end()

        threading.Thread(target=run, daemon=True).start()

    def frame(self, tag: int) -> Frame:
        """The first frame with this tag, when it has come."""
        return self._wait(lambda: next((frame for frame in self._frames if frame.tag == tag), None))

    def hears(self, text: str) -> None:
        """Waits for a line of chat."""
        self._wait(lambda: True if text in map(said, self._frames) else None)

    def ends(self) -> None:
        self._wait(lambda: True if self._ended else None)

    def _wait(self, look: Callable[[], Any]) -> Any:
        with self._more:
            self._more.wait_for(lambda: look() is not None or self._ended, SECONDS)
            found = look()
            assert found is not None, f"not in {self._frames}, ended: {self._ended}"
            return found


class Classic(Ears):
    """A client as simple as one of the reference: a socket."""

    def __init__(self, server: Server, name: str) -> None:
        super().__init__()
        host, port = server.address.split(":")
        self._socket = socket.create_connection((host, int(port)), SECONDS)
        self.read_all(lambda: self._socket.recv(1 << 16))
        self.send(login(name, classic=True))

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class OpenSsl(Ears):
    """`openssl s_client`, whose standard input and output are the connection."""

    def __init__(self, server: Server, *options: str, quiet: bool = True) -> None:
        super().__init__()
        command = ["openssl", "s_client", "-connect", server.address, "-servername", "localhost", *options]
        self.process = subprocess.Popen(
            command + ["-quiet"] * quiet,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        output = self.process.stdout
        assert output is not None
        if quiet:
            self.read_all(lambda: os.read(output.fileno(), 1 << 16))

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)
        self.ends()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


PAGE = """<!doctype html><meta charset="utf-8"><title>a page</title><script>
// Does what the test asks for, and tells it what happens, in order.
const {id, url} = JSON.parse(decodeURIComponent(location.hash.slice(1)));
let telling = Promise.resolve();
const post = (what) => fetch(`/told?${id}`, {method: "POST", body: JSON.stringify(what)});
const tell = (what) => { telling = telling.then(() => post(what)); };
const hex = (data) => Array.from(new Uint8Array(data), (byte) => byte.toString(16).padStart(2, "0")).join("");
const socket = new WebSocket(url, "tagwire.v1");
socket.binaryType = "arraybuffer";
const opened = new Promise((resolve) => { socket.onopen = resolve; });
socket.onmessage = (event) => tell({came: typeof event.data === "string" ? "text" : hex(event.data)});
socket.onclose = (event) => tell({closed: event.code, reason: event.reason});
(async () => {
  await opened;
  tell({open: socket.protocol, extensions: socket.extensions});
  for (;;) {
    const {send, close, done} = await (await fetch(`/next?${id}`)).json();
    if (done) break;
    if (send) socket.send(Uint8Array.from(send.match(/../g), (byte) => parseInt(byte, 16)));
    if (close) socket.close(close);
  }
})();
</script>"""


class Page(Ears):
    """A page that has opened a WebSocket, as the test sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: queue.Queue[dict[str, Any]] = queue.Queue()
        self.opened: queue.Queue[dict[str, Any]] = queue.Queue()
        self.closed: queue.Queue[dict[str, Any]] = queue.Queue()

    def told(self, what: dict[str, Any]) -> None:
        if "open" in what:
            self.opened.put(what)
        elif "came" in what:
            self.feed(bytes.fromhex(what["came"]))
        else:
            self.closed.put(what)
            # A browser asks for six things of one host at a time.
            self.tasks.put({"done": True})
            self.end()

    def send(self, data: bytes) -> None:
        self.tasks.put({"send": data.hex()})

    def close(self, code: int = 1000) -> None:
        self.tasks.put({"close": code})


class Web(http.server.ThreadingHTTPServer):
    """Serves the page, and is how the test and its pages speak with each other."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), WebHandler)
        self.pages: dict[str, Page] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()


class WebHandler(http.server.BaseHTTPRequestHandler):
    server: Web
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path, _, page = self.path.partition("?")
        if path == "/next":
            task = self.server.pages[page].tasks.get()
            self.answer(json.dumps(task).encode(), "application/json")
        else:
            self.answer(PAGE.encode(), "text/html")

    def do_POST(self) -> None:
        _, _, page = self.path.partition("?")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.pages[page].told(json.loads(body))
        self.answer(b"{}", "application/json")

    def answer(self, body: bytes, kind: str) -> None:
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Browser:
    """Chromium without a screen."""

    def __init__(self, profile: Path) -> None:
        self.web = Web()
        program = shutil.which("chromium")
        assert program is not None, "chromium is missing; run scripts/test"
        self.process = subprocess.Popen(
            [
                program,
                "--headless",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-dev-shm-usage",
                # Root may not have its sandbox.
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                "--remote-debugging-port=0",
                "--host-resolver-rules=MAP evil.example 127.0.0.1",
                "--ignore-certificate-errors",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(profile)},
        )
        self.lines: list[str] = []
        self._port: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.port = self._port.get(timeout=60)
        assert self.port is not None, "".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if found := re.search(r"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line):
                self._port.put(found[1])
        self._port.put(None)

    def open(self, url: str, host: str = "127.0.0.1") -> Page:
        """A page of that host, which opens a WebSocket there."""
        name = str(len(self.web.pages))
        page = self.web.pages[name] = Page()
        options = urllib.parse.quote(json.dumps({"id": name, "url": url}))
        address = f"http://{host}:{self.web.server_port}/#{options}"
        # Its own door, by which programs steer it.
        tab = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/json/new?{urllib.parse.quote(address, safe='')}", method="PUT"
        )
        urllib.request.urlopen(tab, timeout=SECONDS).close()
        return page

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            assert self.process.stderr is not None
            self.process.stderr.close()
        self.web.shutdown()
        self.web.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with contextlib.closing(Browser(tmp_path_factory.mktemp("chromium"))) as browser:
        yield browser


@pytest.fixture
def server() -> Iterator[Server]:
    """With all its doors open; nobody is away, and nobody has to answer pings."""
    settings = ["--set", "limits.resume_window_ms=0", "--set", "limits.peer_timeout_ms=60000"]
    with running(Server("--tls", "self-signed", *settings)) as server:
        yield server


def trusting() -> ssl.SSLContext:
    """Takes whatever certificate is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_logs_in_and_talks(server, version):
    with (
        contextlib.closing(OpenSsl(server, version)) as player,
        contextlib.closing(Classic(server, "b")) as b,
    ):
        player.send(login("a"))
        assert Welcome.FromString(player.frame(WELCOME).payload).name == "a"
        player.send(chat("by TLS"))
        b.hears("by TLS")
        b.send(chat("by TCP"))
        player.hears("by TCP")


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_openssl_gets_no_older_version(server, version):
    # Its own rules would keep it from even asking.
    peer = OpenSsl(server, version, "-cipher", "DEFAULT@SECLEVEL=0", quiet=False)
    output, errors = peer.process.communicate(timeout=SECONDS)
    assert peer.process.returncode == 1
    # It is the server that ends it: with 70 (protocol_version), or 40 before it comes to that.
    assert re.search(rb"SSL alert number (40|70)\n", errors), errors
    assert b"New, (NONE), Cipher is (NONE)" in output


def test_openssl_may_not_renegotiate_and_ends_nobody_else(server):
    with contextlib.closing(Classic(server, "b")) as b:
        peer = OpenSsl(server, "-tls1_2", quiet=False)
        output, errors = peer.process.communicate(b"R\n", timeout=SECONDS)
        assert b"RENEGOTIATING" in output + errors
        assert peer.process.returncode == 1, errors
        assert b"no renegotiation" in errors, errors
        b.send(chat("still here"))
        b.hears("still here")


def test_sslscan_finds_new_versions_and_strong_ciphers_alone(server):
    command = ["sslscan", "--xml=-", "--no-colour", server.address]
    scan = subprocess.run(command, capture_output=True, check=True, timeout=3 * SECONDS)
    found = ElementTree.fromstring(scan.stdout).find("ssltest")
    assert found is not None, scan.stdout
    protocols = {
        f"{protocol.get('type')} {protocol.get('version')}": protocol.get("enabled")
        for protocol in found.iter("protocol")
    }
    assert protocols == {
        "ssl 2": "0",
        "ssl 3": "0",
        "tls 1.0": "0",
        "tls 1.1": "0",
        "tls 1.2": "1",
        "tls 1.3": "1",
    }
    ciphers = list(found.iter("cipher"))
    assert {cipher.get("sslversion") for cipher in ciphers} == {"TLSv1.2", "TLSv1.3"}
    for cipher in ciphers:
        assert cipher.get("strength") in ("strong", "acceptable"), cipher.attrib
        assert re.search("GCM|CHACHA20", cipher.get("cipher", "")), cipher.attrib
        assert int(cipher.get("bits", "0")) >= 128, cipher.attrib
    assert [one.get("supported") for one in found.iter("compression")] in ([], ["0"])
    assert [one.get("supported") for one in found.iter("renegotiation")] == ["0"]
    assert {one.get("vulnerable") for one in found.iter("heartbleed")} <= {"0"}


@contextlib.asynccontextmanager
async def joined(server: Server, scheme: str, name: str) -> AsyncIterator[tuple[ClientConnection, Ears]]:
    """A client made of the library `websockets`, inside.

    Not of its `sync` half: that one reads from a TLS connection in one thread and writes in another, which
    OpenSSL does not allow, and loses bytes once in a hundred times.
    """
    ears = Ears()
    async with websocket(
        f"{scheme}://{server.address}/",
        subprotocols=[Subprotocol("tagwire.v1")],
        ssl=trusting() if scheme == "wss" else None,
    ) as client:
        hearing = asyncio.create_task(hear(client, ears))
        await client.send(login(name))
        frame = await asyncio.to_thread(ears.frame, WELCOME)
        assert Welcome.FromString(frame.payload).name == name
        yield client, ears
    await soon(hearing)


async def hear(client: ClientConnection, ears: Ears) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for message in client:
            assert isinstance(message, bytes)
            ears.feed(message)
    ears.end()


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_websockets_logs_in_and_talks(server, scheme):
    with contextlib.closing(Classic(server, "b")) as b:
        async with joined(server, scheme, "a") as (a, ears):
            assert a.subprotocol == "tagwire.v1"
            # It has asked for compression, as it does by itself.
            assert a.request is not None
            assert "permessage-deflate" in a.request.headers["Sec-WebSocket-Extensions"]
            assert a.response is not None
            assert "Sec-WebSocket-Extensions" not in a.response.headers
            assert a.protocol.extensions == []
            await soon(await a.ping("any bytes"))
            await a.send(chat("by WebSocket"))
            await asyncio.to_thread(b.hears, "by WebSocket")
            b.send(chat("by TCP"))
            await asyncio.to_thread(ears.hears, "by TCP")
            await a.close(1000)
            assert (a.close_code, a.close_reason) == (1000, "")


async def test_websockets_hears_why_it_is_closed(server):
    async with joined(server, "ws", "a") as (a, of_a), joined(server, "wss", "b") as (b, of_b):
        await a.send("text")
        await soon(a.wait_closed())
        assert a.close_code == 3503
        assert a.close_reason == "messages of a WebSocket are binary here, not text"
        assert Disconnect.FromString(of_a.frame(DISCONNECT).payload).code == 3503
        server.terminate()
        await soon(b.wait_closed())
        assert b.close_code == 3000
        assert Disconnect.FromString(of_b.frame(DISCONNECT).payload).code == 3000


async def test_websockets_of_another_origin_are_refused(server):
    with pytest.raises(InvalidStatus) as caught:
        await websocket(f"ws://{server.address}/", origin=Origin("https://evil.example"))
    assert caught.value.response.status_code == 403
    assert b"websocket_origins" in caught.value.response.body


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_a_page_logs_in_and_talks(server, browser, scheme):
    page = browser.open(f"{scheme}://{server.address}/")
    assert page.opened.get(timeout=SECONDS) == {"open": "tagwire.v1", "extensions": ""}
    with contextlib.closing(Classic(server, "b")) as b:
        page.send(login("a"))
        assert Welcome.FromString(page.frame(WELCOME).payload).name == "a"
        page.send(chat("by a page"))
        b.hears("by a page")
        b.send(chat("by TCP"))
        page.hears("by TCP")
        page.close()
        assert page.closed.get(timeout=SECONDS) == {"closed": 1000, "reason": ""}


def test_a_page_hears_why_it_is_closed(server, browser):
    page = browser.open(f"ws://{server.address}/packets")
    page.send(login("a")[:-1])
    closed = page.closed.get(timeout=SECONDS)
    assert closed == {"closed": 3503, "reason": "a message of a WebSocket holds whole frames"}


async def test_a_page_of_a_stranger_is_refused(server, browser):
    page = browser.open(f"ws://{server.address}/", host="evil.example")
    # A page is told nothing more than that.
    assert page.closed.get(timeout=SECONDS) == {"closed": 1006, "reason": ""}
    origin = f"http://evil.example:{browser.web.server_port}"
    refused = (
        f"Pages of {origin} may not connect. The server's setting websocket_origins says whose pages may."
    )
    await until(lambda: any(refused in line for line in server.lines))


async def test_all_kinds_of_clients_are_in_one_room(server, browser):
    page = browser.open(f"ws://{server.address}/")
    page.send(login("page"))
    page.frame(WELCOME)
    with (
        contextlib.closing(Classic(server, "classic")) as classic,
        contextlib.closing(OpenSsl(server)) as openssl,
    ):
        openssl.send(login("openssl"))
        openssl.frame(WELCOME)
        async with server.connect("python") as python:
            # A classic one is told nothing of its login.
            classic.frame(3)
            others = {"page", "classic", "openssl"}
            await until(lambda: {member.name for member in python.members.values()} == others)
            peers: dict[str, Ears] = {"page": page, "classic": classic, "openssl": openssl}
            for name, peer in peers.items():
                peer.send(chat(f"{name} here"))  # type: ignore[attr-defined]
            await python.send(arena.Chat(text="python here"))
            heard = set()
            async for message, sender in python.with_senders():
                assert sender is not None
                assert message.text == f"{sender.name} here"
                heard.add(sender.name)
                if heard == {"python", *peers}:
                    break
            for peer in peers.values():
                for name in ("python", *peers):
                    peer.hears(f"{name} here")
    page.close()
    page.ends()
