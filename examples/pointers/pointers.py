"""Everyone's mouse in one window. Start it twice, with two names, and move the mouse over both windows."""

from __future__ import annotations

import argparse
import sys
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
WIDTH, HEIGHT = 800, 600
RADIUS = 8
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#469990")


class Window:
    """The window and what is drawn in it. Everything runs in its own thread, that of tkinter."""

    def __init__(self, root: tkinter.Tk, client: tagwire.SyncClient) -> None:
        self.root = root
        self.client = client
        self.failure: tagwire.TagwireError | None = None
        self.mouse: arena.MouseEvent | None = None
        """Where our mouse is, if that was not sent yet."""
        self.canvas = tkinter.Canvas(root, width=WIDTH, height=HEIGHT, background="white")
        self.canvas.pack()
        self.canvas.bind("<Motion>", self.mouse_moved)
        self.show_title()
        client.on(arena.MouseEvent, self.pointer_moved)
        client.on_member = self.member_changed
        self.frame()

    def frame(self) -> None:
        """Once a frame: sends at most one move (a mouse may report 1000 a second), runs what has arrived."""
        try:
            if self.mouse is not None:
                self.client.send(self.mouse)
                self.mouse = None
            self.client.sync(BUDGET)
        except tagwire.TagwireError as error:
            self.failure = error
            self.root.destroy()
        else:
            self.root.after(FRAME_MS, self.frame)

    def mouse_moved(self, event: tkinter.Event[tkinter.Canvas]) -> None:
        self.mouse = arena.MouseEvent(x=event.x, y=event.y)

    def pointer_moved(self, message: arena.MouseEvent, sender: tagwire.Member | None) -> None:
        if sender is None:
            return
        tag, x, y = f"player{sender.id}", message.x, message.y
        self.canvas.delete(tag)
        colour = COLOURS[sender.id % len(COLOURS)]
        self.canvas.create_oval(
            x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS, fill=colour, width=0, tags=tag
        )
        self.canvas.create_text(x + 2 * RADIUS, y, text=sender.name, anchor="w", fill=colour, tags=tag)

    def member_changed(self, who: tagwire.Member, change: tagwire.MemberChange) -> None:
        if change == tagwire.MemberChange.LEFT:
            self.canvas.delete(f"player{who.id}")
        self.show_title()

    def show_title(self) -> None:
        names = ", ".join(member.name for member in self.client.members.values()) or "nobody"
        self.root.title(f"{self.client.name} in {self.client.room}, with {names}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Shows the mouse pointers of all players in one window.",
        epilog="example:\n  python examples/pointers/pointers.py --connect localhost:7777 --name zoe",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--connect",
        default="localhost:7777",
        metavar="HOST:PORT",
        help="where the server listens (default: %(default)s)",
    )
    parser.add_argument("--name", default="pointer", help="name of the player (default: %(default)s)")
    parser.add_argument(
        "--password", default="welcome", help="password of the player (default: the one for development)"
    )
    parser.add_argument("--seconds", type=float, help="how long to play (default: until it is closed)")
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
