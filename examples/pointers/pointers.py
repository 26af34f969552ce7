"""Everyone's mouse in one window. Start it twice, with two names, and move the mouse over both windows."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

try:
    import tkinter
except ImportError:
    sys.exit("error: this Python has no tkinter; install it (Debian: apt-get install python3-tk)")

# So that it runs from a checkout; an installed game has its stubs in its own package.
_PYTHON = Path(__file__).resolve().parents[2] / "clients" / "python"
sys.path[:0] = [str(_PYTHON), str(_PYTHON / "gen")]

import arena  # noqa: E402  (found by the path above)
import tagwire  # noqa: E402

FRAME_MS = 16
BUDGET = 0.005  # seconds of each frame that messages may take
PAUSE = 0.25  # seconds between two colours of ours; the schema allows 5 a second
WIDTH, HEIGHT, STATUS = 800, 400, 28
FONT = "DejaVu Sans", -14
BACK, GRID, DARK, LIGHT, LOST = "#1b2130", "#252d40", "#10141e", "#e8ecf4", "#ff8f5a"
SHADES = "#8f9bb3", "#ff5c6c", "#3ecf7a", "#5aa2ff", "#ffd34d"
COLOURS = dict(zip(arena.Colour.values(), SHADES, strict=True))
OURS = arena.Colour.values()[1:]  # the colours that we pick from
ARROW = (0, 0), (0, 26), (6, 20), (11, 30), (16, 27), (11, 18), (19, 18)  # the mouse is at its tip


@dataclass
class Player:
    name: str
    colour: arena.Colour.ValueType = arena.Colour.COLOUR_UNSPECIFIED
    mouse: arena.MouseEvent | None = None


class Window:
    """The window and what is drawn in it. Everything runs in its own thread, that of tkinter."""

    def __init__(self, root: tkinter.Tk, client: tagwire.SyncClient) -> None:
        self.root, self.client = root, client
        self.failure: tagwire.TagwireError | None = None
        self.me = Player(f"{client.name} (you)", OURS[client.player_id % len(OURS)])
        self.players = {client.player_id: self.me}
        self.moved = self.coloured = True  # what the others are to be told
        self.coloured_at = 0.0
        root.title(f"{client.name} in {client.room}")
        self.canvas = tkinter.Canvas(root, width=WIDTH, height=HEIGHT + STATUS, background=BACK)
        self.canvas.configure(highlightthickness=0, cursor="none")
        self.canvas.pack()
        for at in range(0, WIDTH, 40):
            self.canvas.create_line(at, 0, at, HEIGHT, fill=GRID)
            self.canvas.create_line(0, at, WIDTH, at, fill=GRID)
        self.canvas.create_rectangle(0, HEIGHT, WIDTH, HEIGHT + STATUS, fill=DARK, width=0)
        self.status = self.canvas.create_text(12, HEIGHT + STATUS // 2, anchor="w", font=FONT, fill=LIGHT)
        self.canvas.bind("<Enter>", self.mouse_moved)
        self.canvas.bind("<Motion>", self.mouse_moved)
        self.canvas.bind("<Button-1>", self.clicked)
        client.on(arena.MouseEvent, self.pointer_moved)
        client.on(arena.PickColour, self.colour_picked)
        client.on(tagwire.MemberChanged, self.member_changed)
        self.frame()

    def frame(self) -> None:
        """Once a frame: sends at most one move (a mouse may report 1000 a second), runs what has arrived."""
        try:
            if self.moved and self.me.mouse is not None:
                self.client.send(self.me.mouse)
                self.moved = False
            if self.coloured and time.monotonic() >= self.coloured_at + PAUSE:
                self.client.send(arena.PickColour(colour=self.me.colour))
                self.coloured, self.coloured_at = False, time.monotonic()
            self.client.sync(BUDGET)
        except tagwire.TagwireError as error:
            self.failure = error
            self.root.destroy()
            return
        rtt = "..." if self.client.rtt is None else f"{self.client.rtt * 1000:.1f} ms"
        where = f"{len(self.client.members) + 1} players in {self.client.room}"
        text = f"{where}   |   rtt {rtt}   |   click for another colour"
        if (again := self.client.reconnecting) is not None:
            text = f"{where}   |   connection lost: {again.reason}   |   attempt {again.attempt}"
        self.canvas.itemconfigure(self.status, text=text, fill=LOST if again else LIGHT)
        self.root.after(FRAME_MS, self.frame)

    def mouse_moved(self, event: tkinter.Event[tkinter.Canvas]) -> None:
        self.me.mouse = arena.MouseEvent(x=event.x, y=event.y)
        self.moved = True
        self.draw(self.client.player_id)

    def clicked(self, event: tkinter.Event[tkinter.Canvas]) -> None:
        self.me.colour = OURS[self.me.colour % len(OURS)]
        self.coloured = True
        self.draw(self.client.player_id)

    def member_changed(self, event: tagwire.MemberChanged) -> None:
        if event.change == tagwire.MemberChange.LEFT:
            self.players.pop(event.member.id, None)
            self.canvas.delete(f"player{event.member.id}")
        elif event.change == tagwire.MemberChange.JOINED:  # who comes has not seen what was sent before
            self.moved = self.coloured = True

    def pointer_moved(self, message: arena.MouseEvent, sender: tagwire.Member | None) -> None:
        if sender is not None:
            self.players.setdefault(sender.id, Player(sender.name)).mouse = message
            self.draw(sender.id)

    def colour_picked(self, message: arena.PickColour, sender: tagwire.Member | None) -> None:
        if sender is not None and sender.id != self.client.player_id:  # ours comes back, too
            self.players.setdefault(sender.id, Player(sender.name)).colour = message.colour
            self.draw(sender.id)

    def draw(self, number: int) -> None:
        player, tag = self.players[number], f"player{number}"
        self.canvas.delete(tag)
        if player.mouse is None:
            return
        x, y, colour = player.mouse.x, player.mouse.y, COLOURS.get(player.colour, LIGHT)
        if player is self.me:
            self.canvas.create_oval(x - 16, y - 4, x + 32, y + 44, outline=LIGHT, dash=(4, 4), tags=tag)
        arrow = [(x + right, y + down) for right, down in ARROW]
        self.canvas.create_polygon(arrow, fill=colour, outline="white", width=2, tags=tag)
        name = self.canvas.create_text(x + 30, y + 30, text=player.name, anchor="w", font=FONT, tags=tag)
        left, top, right, bottom = self.canvas.bbox(name)
        self.canvas.create_rectangle(left - 6, top - 2, right + 6, bottom + 2, fill=colour, width=0, tags=tag)
        self.canvas.tag_raise(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Shows the mouse pointers of all players in one window.",
        epilog="example:\n  python examples/pointers/pointers.py --connect localhost:7777 --name zoe",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--connect", default="localhost:7777", metavar="HOST:PORT", help="the server (default: %(default)s)")
    add("--name", default="pointer", help="name of the player (default: %(default)s)")
    add("--password", default="welcome", help="the player's (default: the one for development)")
    add("--seconds", type=float, help="how long to play (default: until it is closed)")
    arguments = parser.parse_args()
    try:
        root = tkinter.Tk()
    except tkinter.TclError as error:
        sys.exit(f"error: no window can be opened: {error}")
    try:
        with tagwire.connect_sync(
            arguments.connect, username=arguments.name, password=arguments.password, schema=arena.SCHEMA
        ) as client:
            window = Window(root, client)
            if arguments.seconds is not None:
                root.after(round(arguments.seconds * 1000), root.destroy)
            root.mainloop()
            if window.failure is not None:
                raise window.failure
    except tagwire.TagwireError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
