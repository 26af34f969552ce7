"""What both demo players share: the command line, pings on the screen, one line for an error."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

# So that the demo runs from a checkout; an installed game has its stubs in its own package.
_PYTHON = Path(__file__).resolve().parents[2] / "clients" / "python"
sys.path[:0] = [str(_PYTHON), str(_PYTHON / "gen")]

import tagwire  # noqa: E402  (found by the path above)


def main(
    description: str,
    script: str,
    play: Callable[[argparse.Namespace], Coroutine[Any, Any, None]],
) -> None:
    """Reads the command line and plays. Ends the program with 1 and one line when that fails."""
    parser = argparse.ArgumentParser(
        description=description,
        epilog=f"example:\n  python examples/demo/{script} --connect localhost:7777 --name zoe --seconds 5",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--connect",
        default="localhost:7777",
        metavar="HOST:PORT",
        help="where the server listens (default: %(default)s)",
    )
    parser.add_argument(
        "--name",
        default=Path(script).stem,
        help="name of the player (default: %(default)s)",
    )
    parser.add_argument(
        "--password",
        default="welcome",
        help="password of the player (default: the one for development)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        help="how long to play (default: %(default)g)",
    )
    arguments = parser.parse_args()
    try:
        asyncio.run(play(arguments))
    except tagwire.TagwireError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


def print_ping(ping: tagwire.Pinged) -> None:
    """Shows what the server measured; the first ping has no result yet."""
    if ping.rtt is None:
        print("ping: not measured yet", flush=True)
    else:
        print(f"ping: rtt {ping.rtt * 1000:.2f} ms", flush=True)
