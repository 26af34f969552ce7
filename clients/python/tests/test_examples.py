"""The examples of the pump, as players start them: a loop, and a window on a virtual screen."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageGrab

import arena
import tagwire
from conftest import LONG, START_SECONDS, Server, soon
from test_server import names, next_of, until

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
PICTURE = ROOT / "docs" / "pointers.png"
UPDATE = "TAGWIRE_UPDATE_PICTURES"
"""Environment: set to write the picture of the docs instead of comparing with it."""
SHOWN_SECONDS = 20.0
"""What it may take until something shows."""


async def start(example: str, server: Server, *arguments: str, **env: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        str(EXAMPLES / example),
        "--connect",
        server.address,
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | env,
    )


@contextlib.asynccontextmanager
async def running(example: str, server: Server, *arguments: str, **env: str) -> Any:
    """An example that plays; ended the hard way should the test fail."""
    process = await start(example, server, *arguments, **env)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ended(process: asyncio.subprocess.Process) -> str:
    """What an example has printed, once it has ended well by itself."""
    out, err = await soon(process.communicate(), 60)
    assert (process.returncode, err.decode()) == (0, "")
    return out.decode()


# The loop


async def test_the_loop_shows_what_each_frame_handled(server: Server):
    seconds = 2
    async with server.connect("friend") as friend:
        async with running("loop/loop.py", server, "--name", "zoe", "--seconds", str(seconds)) as process:
            await soon(until(lambda: names(friend) == {"zoe"}, START_SECONDS), START_SECONDS)
            async with server.connect("guest") as guest:
                await friend.send(arena.MouseEvent(x=77, y=88))
                await guest.send(arena.MouseEvent(x=5, y=6))
                message, sender = await next_of(friend)
                while sender.name != "zoe":
                    message, sender = await next_of(friend)
                assert 0 <= message.x <= 1280
                assert 0 <= message.y <= 720
                await asyncio.sleep(seconds / 4)
            lines = (await ended(process)).splitlines()
        await until(lambda: not friend.members)

    assert lines[0] == "in room main as zoe"
    assert [line for line in lines if not line.startswith("frame ")] == [
        lines[0],
        "friend: PRESENT",
        "guest: JOINED",
        "guest: LEFT",
    ]
    frames = [
        re.fullmatch(r"frame (\d+): handled (\d+), pointers (.*)", line)
        for line in lines
        if line.startswith("frame ")
    ]
    assert all(frames)
    assert [int(frame[1]) for frame in frames] == list(range(len(frames)))
    if LONG:  # a busy machine draws fewer
        assert len(frames) >= 0.8 * 60 * seconds
    assert len(frames) <= 60 * seconds + 1  # and never more than it sends moves, 60 a second
    # Each callback counts: three of members, two of moves.
    assert sum(int(frame[2]) for frame in frames) == 5
    pointers = [ast.literal_eval(frame[3]) for frame in frames]
    assert {"friend": (77, 88), "guest": (5, 6)} in pointers
    assert pointers[-1] == {"friend": (77, 88)}


async def test_a_loop_without_a_server_says_so_in_one_line(server: Server):
    server.stop()
    async with running("loop/loop.py", server) as process:
        out, err = await soon(process.communicate(), 60)
    assert (process.returncode, out) == (1, b"")
    assert re.fullmatch(rf"error: .*{re.escape(server.address)}.*\n", err.decode())


# The window


@pytest.fixture(scope="module")
def pointers() -> ModuleType:
    """The example as a module, for its colours and sizes."""
    if importlib.util.find_spec("_tkinter") is None:
        pytest.fail("this Python has no tkinter (Debian: apt-get install python3-tk)", pytrace=False)
    path = sys.path[:]
    spec = importlib.util.spec_from_file_location("pointers", EXAMPLES / "pointers/pointers.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["pointers"] = module  # where its dataclasses look
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


OPTIONS = "-nolisten", "tcp", "-noreset"


class Screen:
    """A virtual screen, just as large as the window that it shows."""

    def __init__(self, width: int, height: int) -> None:
        program = shutil.which("Xvfb")
        if program is None:
            pytest.fail("there is no Xvfb (Debian: apt-get install xvfb)", pytrace=False)
        # It picks a free number and says it. -noreset: it does not start anew when its last window closes.
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [program, "-displayfd", str(writing), "-screen", "0", f"{width}x{height}x24", *OPTIONS],
            pass_fds=[writing],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        os.close(writing)
        with open(reading) as said:
            number = said.readline().strip()
        if not number:
            pytest.fail(f"Xvfb did not start: {self.process.communicate()[1].decode()}", pytrace=False)
        self.display = f":{number}"

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate(timeout=10)

    def picture(self) -> Image.Image:
        return ImageGrab.grab(xdisplay=self.display).convert("RGB")

    async def shows(self, condition: Callable[[Image.Image], bool]) -> Image.Image:
        """The first picture with which the condition holds, or the last one."""
        deadline = time.monotonic() + SHOWN_SECONDS
        while not condition(picture := await asyncio.to_thread(self.picture)):
            if time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.05)
        return picture

    def move_mouse(self, x: int, y: int) -> None:
        """Moves the real mouse: another program on the same screen may do that."""
        import tkinter

        root = tkinter.Tk(screenName=self.display)
        root.overrideredirect(True)
        root.geometry("1x1+0+0")
        root.update()
        root.event_generate("<Motion>", warp=True, x=x, y=y)
        root.update()
        root.destroy()


@pytest.fixture(autouse=True)
def _windows_are_collected_here() -> Iterator[None]:
    """Tcl ends the process when another thread than its own collects what is left of a window."""
    gc.disable()
    try:
        yield
    finally:
        gc.collect()
        gc.enable()
    if "tkinter" in sys.modules:
        windows = [one for one in gc.get_objects() if isinstance(one, sys.modules["tkinter"].Tk)]
        assert not windows


@pytest.fixture(scope="module")
def screen(pointers: ModuleType) -> Iterator[Screen]:
    """One for all tests: Tk keeps its connection, and ends this process when it finds the screen gone."""
    screen = Screen(pointers.WIDTH, pointers.HEIGHT + pointers.STATUS)
    try:
        yield screen
    finally:
        screen.stop()


def rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue


def area(picture: Image.Image, colour: str) -> tuple[int, int, int, int] | None:
    """The smallest box around all that has just this colour."""
    same = ImageChops.difference(picture, Image.new("RGB", picture.size, rgb(colour)))
    red, green, blue = same.split()
    different = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    return different.point(lambda value: 255 * (value == 0)).getbbox()


def width_of(text: str, font: tuple[str, int], screen: Screen) -> int:
    """Pixels of a text, as the window draws it."""
    import tkinter
    import tkinter.font

    root = tkinter.Tk(screenName=screen.display)
    root.withdraw()
    width = tkinter.font.Font(root, font=font).measure(text)
    root.destroy()
    return width


COLOURS = {
    "anna": arena.Colour.COLOUR_RED,
    "benedict": arena.Colour.COLOUR_YELLOW,
    "cleo": arena.Colour.COLOUR_GREEN,
    "zoe": arena.Colour.COLOUR_BLUE,  # whose window it is, the second player of the server
}
PLACES = {"anna": (140, 70), "benedict": (570, 90), "cleo": (230, 290), "zoe": (420, 190)}


async def test_the_window_shows_the_pointer_of_each_player(
    server: Server, screen: Screen, pointers: ModuleType
):
    colours = {name: pointers.COLOURS[colour] for name, colour in COLOURS.items()}

    def pointer_of(name: str, picture: Image.Image) -> tuple[int, int, int]:
        x, y = PLACES[name]
        return picture.getpixel((x + 6, y + 13))

    async with contextlib.AsyncExitStack() as stack:
        clients = {"anna": await stack.enter_async_context(server.connect("anna"))}
        process = await stack.enter_async_context(
            running("pointers/pointers.py", server, "--name", "zoe", DISPLAY=screen.display)
        )
        await until(lambda: names(clients["anna"]) == {"zoe"}, START_SECONDS)
        for name in "benedict", "cleo":
            clients[name] = await stack.enter_async_context(server.connect(name))
        for name, client in clients.items():
            x, y = PLACES[name]
            await client.send(arena.PickColour(colour=COLOURS[name]))
            await client.send(arena.MouseEvent(x=x, y=y))
        screen.move_mouse(*PLACES["zoe"])

        def all_there(picture: Image.Image) -> bool:
            return all(pointer_of(name, picture) == rgb(colours[name]) for name in COLOURS)

        await screen.shows(all_there)
        await told_to_who_comes_late(server)
        await until(lambda: clients["cleo"].rtt is not None)  # zoe's was measured before, and is shown
        picture = await screen.shows(all_there)
        for name in COLOURS:
            assert pointer_of(name, picture) == rgb(colours[name]), name
        for name, colour in colours.items():
            label = f"{name} (you)" if name == "zoe" else name
            check_pointer(picture, PLACES[name], colour, label, pointers.FONT, screen)
            # Our own has a ring around it, of which this is the left.
            x, y = PLACES[name]
            ring = area(picture.crop((x - 18, y, x - 6, y + 40)), pointers.LIGHT)
            assert (ring is not None) == (name == "zoe"), name
        compare_with_docs(picture)

        # Who leaves takes the pointer along, and nothing else.
        await clients["anna"].close()
        left = await screen.shows(lambda picture: area(picture, colours["anna"]) is None)
        assert area(left, colours["anna"]) is None
        x, y = PLACES["anna"]
        around = left.crop((x - 20, y - 20, x + 150, y + 60))
        assert {colour for _, colour in around.getcolors()} == {rgb(pointers.BACK), rgb(pointers.GRID)}
        for name in "benedict", "cleo", "zoe":
            assert area(left, colours[name]) == area(picture, colours[name])

        # Without a server it says so, and goes on trying.
        def says_lost(shown: Image.Image) -> bool:
            return area(shown, pointers.LOST) is not None

        assert not says_lost(await screen.shows(lambda _: True))
        server.terminate()
        assert says_lost(await screen.shows(says_lost))
        assert process.returncode is None
        process.terminate()
        await soon(process.communicate(), 60)


async def told_to_who_comes_late(server: Server) -> None:
    """Who comes later does not know where zoe is and what colour she has, until told again."""
    told: dict[str, Any] = {}
    async with server.connect("late") as late:
        while len(told) < 2:
            message, sender = await next_of(late)
            if sender.name == "zoe":
                told[type(message).__name__] = message
    x, y = PLACES["zoe"]
    assert told == {
        "MouseEvent": arena.MouseEvent(x=x, y=y),
        "PickColour": arena.PickColour(colour=COLOURS["zoe"]),
    }


def check_pointer(
    picture: Image.Image, place: tuple[int, int], colour: str, name: str, font: Any, screen: Screen
) -> None:
    """The tip of the pointer is at its place, and a label as wide as this name is beside it."""
    found = area(picture, colour)
    assert found is not None, name
    left, top, right, _ = found
    x, y = place
    assert abs(left - x) <= 3, (name, found)
    assert 0 <= top - y <= 5, (name, found)
    label = x + 30, right - 6
    assert abs(label[1] - label[0] - width_of(name, font, screen)) <= 3, (name, found)
    text = picture.crop((label[0], y + 20, label[1], y + 40)).convert("L")
    ink = sum(text.histogram()[:40])
    assert ink > 10 * len(name), (name, ink)


def compare_with_docs(picture: Image.Image) -> None:
    """The picture in the docs shows the window of today, but for fonts and numbers. Written when asked."""
    if os.environ.get(UPDATE):
        picture.quantize(64, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    with Image.open(PICTURE) as file:
        shown = file.convert("RGB")
    again = f"it is made anew with {UPDATE}=1 scripts/test python"
    assert shown.size == picture.size, f"{PICTURE} has another size; {again}"
    different = ImageChops.difference(shown, picture).convert("L").point(lambda value: 255 * (value > 48))
    share = different.histogram()[255] / (picture.width * picture.height)
    assert share < 0.01, f"{share:.1%} of {PICTURE} are different; {again}"


async def test_clicks_change_the_colour_and_stay_below_the_rate(
    server: Server, screen: Screen, pointers: ModuleType
):
    import tkinter

    async with server.connect("anna") as anna:
        root = tkinter.Tk(screenName=screen.display)
        with tagwire.connect_sync(
            server.address, username="zoe", password="welcome", schema=arena.SCHEMA
        ) as client:
            window = pointers.Window(root, client)
            began = time.monotonic()
            clicks = 0
            while time.monotonic() < began + 1.5:
                if time.monotonic() < began + 1:
                    window.canvas.event_generate("<Button-1>", x=9, y=9)
                    clicks += 1
                root.update()
                await asyncio.sleep(0.005)
            colour = window.me.colour
            root.destroy()
            assert window.failure is None
        await until(lambda: not anna.members)
        await anna.close()
        picked = [message.colour async for message in anna if isinstance(message, arena.PickColour)]
    assert clicks > 6
    assert picked[-1] == colour  # the last one is not lost
    assert 2 <= len(picked) <= 7  # within 1.5 s, at most one in 0.25 s


async def test_a_window_ends_well_after_its_time(server: Server, screen: Screen):
    arguments = "--name", "zoe", "--seconds", "0.5"
    async with running("pointers/pointers.py", server, *arguments, DISPLAY=screen.display) as process:
        assert await ended(process) == ""


async def test_a_window_without_a_screen_says_so_in_one_line(server: Server):
    async with running("pointers/pointers.py", server, DISPLAY="") as process:
        out, err = await soon(process.communicate(), 60)
    assert (process.returncode, out) == (1, b"")
    assert re.fullmatch(r"error: no window can be opened: .*\n", err.decode())
