"""The arena's page in Chromium, in one room with players in Python, from the server's own port."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chromium import Browser, Page

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "clients/python/gen"))

import arena  # noqa: E402
import tagwire  # noqa: E402

SECONDS = 30
HOSTILE = "<img src=x onerror=\"document.title='owned'\">"


def until(there: Callable[[], Any], what: str) -> Any:
    """Waits until it is there."""
    deadline = time.monotonic() + SECONDS
    while not (found := there()):
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.02)
    return found


@contextlib.contextmanager
def serving(root: pathlib.Path, address: str = "127.0.0.1:0") -> Iterator[str]:
    """The server with the page; gives its address."""
    program = os.environ["TAGWIRE_SERVER"]
    page = root / "examples/arena/web/dist"
    server = subprocess.Popen(
        [program, "--listen", address, "--web", page],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert server.stdout is not None
    said = []
    try:
        for line in server.stdout:
            said.append(line)
            if found := re.search(r"server up on (\S+)", line):
                yield found[1]
                break
        else:
            raise AssertionError("".join(said))
    finally:
        server.terminate()
        rest, _ = server.communicate(timeout=SECONDS)
    assert server.returncode == 0, "".join(said) + rest


@pytest.fixture(scope="module")
def page(root: pathlib.Path) -> None:
    """Builds it."""
    done = subprocess.run([root / "scripts/web"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def address(root: pathlib.Path, page: None) -> Iterator[str]:
    with serving(root) as address:
        yield address


@pytest.fixture
def browser(tmp_path: pathlib.Path) -> Iterator[Browser]:
    with contextlib.closing(Browser(tmp_path / "chromium")) as browser:
        yield browser


class Player:
    """A player in Python, who writes down what comes."""

    def __init__(self, address: str, name: str) -> None:
        self.client = tagwire.connect_sync(address, username=name, password="welcome", schema=arena.SCHEMA)
        self.places: dict[str, tuple[int, int]] = {}
        self.colours: dict[str, int] = {}
        self.moves = 0
        self.lines: list[str] = []
        self.client.on(arena.MouseEvent, self._moved)
        self.client.on(arena.PickColour, self._picked)
        self.client.on(arena.Chat, self._said)

    def _moved(self, message: arena.MouseEvent, sender: tagwire.Member | None) -> None:
        assert sender is not None
        self.moves += 1
        self.places[sender.name] = message.x, message.y

    def _picked(self, message: arena.PickColour, sender: tagwire.Member | None) -> None:
        assert sender is not None
        self.colours[sender.name] = message.colour

    def _said(self, message: arena.Chat, sender: tagwire.Member | None) -> None:
        assert sender is not None
        self.lines.append(f"{sender.name}: {message.text}")

    def until(self, there: Callable[[], Any], what: str) -> None:
        until(lambda: (self.client.sync(0.005), there())[1], what)

    def close(self) -> None:
        self.client.close()


@pytest.fixture
def ben(address: str) -> Iterator[Player]:
    with contextlib.closing(Player(address, "ben")) as player:
        yield player


def join(browser: Browser, address: str, name: str) -> Page:
    page = browser.open(f"http://{address}/?name={name}")
    page.waits_for(f"^in main as {re.escape(name)}$", "#state")
    return page


def point(page: Page, x: int, y: int) -> None:
    """Moves the mouse to a place of the stage."""
    box = page.evaluate(
        "(({x, y, width}) => [x, y, width])(document.querySelector('#stage').getBoundingClientRect())"
    )
    left, top, width = box
    page.move(left + x * width / 1280, top + y * width / 1280)


def shown(page: Page, name: str) -> Any:
    """Where the pointer of a player stands, in the stage's pixels; `None` where there is none."""
    find = (
        f"[...document.querySelectorAll('.pointer')].find((one) => one.dataset.player === {json.dumps(name)})"
    )
    return page.evaluate(
        f"(() => {{ const found = {find}; if (!found) return null;"
        " const stage = document.querySelector('#stage'), scale = 1280 / stage.clientWidth;"
        " const at = new DOMMatrix(getComputedStyle(found).transform);"
        " return [Math.round(at.e * scale), Math.round(at.f * scale)]; })()"
    )


def near(one: Any, x: int, y: int) -> bool:
    return one is not None and abs(one[0] - x) <= 3 and abs(one[1] - y) <= 3


def test_pages_and_python_players_see_each_other(address: str, ben: Player, browser: Browser) -> None:
    zoe, mia = join(browser, address, "zoe"), join(browser, address, "mia")
    zoe.waits_for("zoe.*ben.*mia", "#players")
    point(zoe, 640, 360)
    ben.until(lambda: near(ben.places.get("zoe"), 640, 360), "the mouse of zoe at ben")
    until(lambda: near(shown(mia, "zoe"), 640, 360), "the mouse of zoe at mia")
    ben.client.send(arena.MouseEvent(x=320, y=180))
    for page in zoe, mia:
        until(lambda: near(shown(page, "ben"), 320, 180), "the mouse of ben")  # noqa: B023

    zoe.evaluate("document.querySelector('[aria-label=green]').click()")
    ben.until(lambda: ben.colours.get("zoe") == arena.Colour.COLOUR_GREEN, "the colour of zoe")
    ben.client.send(arena.PickColour(colour=arena.Colour.COLOUR_RED))
    red = "[...document.querySelectorAll('.pointer')].some((one) => one.dataset.player === 'ben'"
    red += " && one.style.getPropertyValue('--shade') === '#ff5c6c')"
    until(lambda: mia.evaluate(red), "the colour of ben")

    ben.close()
    zoe.waits_for("ben has left", "#lines")
    until(lambda: shown(zoe, "ben") is None, "the end of ben's pointer")
    mia.evaluate("document.querySelector('#leave').click()")
    zoe.waits_for("mia has left", "#lines")
    mia.waits_for("^not connected$", "#state")


def test_what_strangers_write_is_text(address: str, ben: Player, browser: Browser) -> None:
    zoe = join(browser, address, "zoe")
    ben.client.send(arena.Chat(text=HOSTILE))
    zoe.waits_for(f"ben: {re.escape(HOSTILE)}", "#lines")
    with contextlib.closing(Player(address, "<img src=x onerror=a()>")) as stranger:
        stranger.client.send(arena.MouseEvent(x=1, y=1))
        zoe.waits_for(re.escape("<img src=x onerror=a()>"), "#players")
        until(lambda: shown(zoe, "<img src=x onerror=a()>"), "the stranger's pointer")
    zoe.evaluate(f"document.querySelector('#say input').value = {json.dumps(HOSTILE)}")
    zoe.evaluate("document.querySelector('#say').requestSubmit()")
    ben.until(lambda: f"zoe: {HOSTILE}" in ben.lines, "what zoe said")
    assert zoe.evaluate("document.querySelectorAll('main img').length") == 0
    assert zoe.evaluate("document.title") == "tagwire arena"


def test_a_fast_mouse_stays_within_the_schemas_rate(address: str, ben: Player, browser: Browser) -> None:
    zoe = join(browser, address, "zoe")
    # 3,000 moves in a second: a mouse reports that often.
    zoe.evaluate(
        "(async () => { const stage = document.querySelector('#stage');"
        " const { left, top } = stage.getBoundingClientRect();"
        " for (let n = 0; n < 3000; n++) { stage.dispatchEvent(new PointerEvent('pointermove',"
        " { clientX: left + n % 300, clientY: top + 9, bubbles: true }));"
        " if (n % 30 === 0) await new Promise((done) => setTimeout(done, 10)); } })()"
    )
    point(zoe, 1000, 500)
    ben.until(lambda: near(ben.places.get("zoe"), 1000, 500), "the last move")
    assert 2 <= ben.moves <= 400, ben.moves
    assert "dropped" not in zoe.text("#lines")


def test_a_login_that_is_refused_says_why_and_can_be_tried_again(address: str, browser: Browser) -> None:
    page = browser.open(f"http://{address}/")
    page.waits_for("Play", "#login button:enabled")
    fill = "(password) => { const form = document.querySelector('#login'); form.elements.name.value = 'zoe';"
    fill += " form.elements.password.value = password; form.requestSubmit(); }"
    page.evaluate(f"({fill})('wrong')")
    page.waits_for("login refused: LOGIN_REFUSED", "#refused")
    page.evaluate(f"({fill})('welcome')")
    page.waits_for("^in main as zoe$", "#state")
    assert page.evaluate("document.querySelector('#login').hidden")


def test_the_page_comes_back_when_the_server_does(root: pathlib.Path, page: None, browser: Browser) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with serving(root, address):
        zoe = join(browser, address, "zoe")
        point(zoe, 100, 100)
    zoe.waits_for("connection lost", "#state")
    with serving(root, address), contextlib.closing(Player(address, "ben")) as ben:
        zoe.waits_for("^in main as zoe$", "#state")
        ben.until(lambda: near(ben.places.get("zoe"), 100, 100), "the mouse of zoe, told again")
        point(zoe, 200, 200)
        ben.until(lambda: near(ben.places.get("zoe"), 200, 200), "a move after that")


def test_the_picture_of_the_readme(
    root: pathlib.Path, tmp_path: pathlib.Path, address: str, ben: Player, browser: Browser
) -> None:
    """Writes it where TAGWIRE_PICTURES is set, and makes it always."""
    zoe, mia = join(browser, address, "zoe"), join(browser, address, "mia")
    zoe.resize(1200, 640)
    player = [
        sys.executable,
        root / "examples/demo/mover.py",
        "--connect",
        address,
        "--name",
        "anna",
        "--seconds",
        "30",
    ]
    anna = subprocess.Popen(player, stdout=subprocess.DEVNULL)
    try:
        zoe.waits_for("anna is here", "#lines")
        ben.client.send(arena.PickColour(colour=arena.Colour.COLOUR_RED))
        ben.client.send(arena.MouseEvent(x=330, y=150))
        point(mia, 860, 520)
        point(zoe, 560, 330)
        mia.evaluate("document.querySelector('[aria-label=yellow]').click()")
        zoe.evaluate("document.querySelector('[aria-label=blue]').click()")
        for player_said, text in (mia, "hi from another browser"), (zoe, "hello mia!"):
            player_said.evaluate(f"document.querySelector('#say input').value = {text!r}")
            player_said.evaluate("document.querySelector('#say').requestSubmit()")
            zoe.waits_for(text, "#lines")
        ben.client.send(arena.Chat(text="and one from Python"))
        zoe.waits_for("and one from Python", "#lines")
        zoe.waits_for(r"\d ms", "#ping")
        for name in "ben", "mia", "zoe", "anna":
            until(lambda: shown(zoe, name), name)  # noqa: B023
        until(lambda: near(shown(zoe, "mia"), 860, 520), "mia's place")
        until(lambda: 60 < shown(zoe, "anna")[1] < 640, "anna in the picture")
        picture = (
            root / "docs/arena-web.png" if os.environ.get("TAGWIRE_PICTURES") else tmp_path / "arena.png"
        )
        zoe.screenshot(picture)
    finally:
        anna.terminate()
        anna.wait(SECONDS)
    data = picture.read_bytes()
    assert data.startswith(b"\x89PNG\r\n")
    assert len(data) > 15_000, "an empty page has less"
