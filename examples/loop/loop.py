"""A game loop of 60 frames a second: moves the mouse, runs what has arrived, says how much that was."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

# So that it runs from a checkout; an installed game has its stubs in its own package.
_PYTHON = Path(__file__).resolve().parents[2] / "clients" / "python"
sys.path[:0] = [str(_PYTHON), str(_PYTHON / "gen")]

import arena  # noqa: E402  (found by the path above)
import tagwire  # noqa: E402

HERTZ = 60
BUDGET = 0.005  # seconds of each frame that messages may take
WIDTH, HEIGHT = 1280, 720


def play(client: tagwire.SyncClient, seconds: float) -> None:
    pointers: dict[str, tuple[int, int]] = {}

    @client.on(arena.MouseEvent)
    def moved(message: arena.MouseEvent, sender: tagwire.Member | None) -> None:
        if sender is not None:
            pointers[sender.name] = message.x, message.y

    @client.on(tagwire.MemberChanged)
    def changed(event: tagwire.MemberChanged) -> None:
        print(f"{event.member.name}: {event.change.name}", flush=True)
        if event.change == tagwire.MemberChange.LEFT:
            pointers.pop(event.member.name, None)

    start = due = time.monotonic()
    frame = 0
    while (elapsed := time.monotonic() - start) < seconds:
        x = WIDTH / 2 * (1 + math.sin(2 * elapsed))
        y = HEIGHT / 2 * (1 + math.sin(3 * elapsed))
        client.send(arena.MouseEvent(x=round(x), y=round(y)))
        handled = client.sync(BUDGET)
        print(f"frame {frame}: handled {handled}, pointers {pointers}", flush=True)
        frame += 1
        # A late frame is not made up for: many moves at once are more than the schema's max_rate allows.
        now = time.monotonic()
        due = max(due + 1 / HERTZ, now)
        time.sleep(due - now)


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Plays 60 frames a second and prints how many messages each one handled.",
        epilog="example:\n  python examples/loop/loop.py --connect localhost:7777 --name zoe --seconds 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--connect",
        default="localhost:7777",
        metavar="HOST:PORT",
        help="where the server listens (default: %(default)s)",
    )
    parser.add_argument("--name", default="loop", help="name of the player (default: %(default)s)")
    parser.add_argument(
        "--password", default="welcome", help="password of the player (default: the one for development)"
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long to play (default: %(default)g)")
    arguments = parser.parse_args()
    try:
        with tagwire.connect_sync(
            arguments.connect, username=arguments.name, password=arguments.password, schema=arena.SCHEMA
        ) as client:
            print(f"in room {client.room} as {client.name}", flush=True)
            play(client, arguments.seconds)
    except tagwire.TagwireError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
