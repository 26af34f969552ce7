"""Two clients and the real server through a network that cuts, resets, splits and goes silent.

`TAGWIRE_FAULTS` says where the program is that stands in between (`tagwire-faults`); without it these are
skipped. 20 cuts in a quick run, 200 in a long one. What it did is printed with `pytest -s`; the seed is in
`TAGWIRE_SEED`.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import arena
import tagwire
from conftest import LONG, Server
from helpers import until

CUTS = 200 if LONG else 20
BATCH_OF = 20
"""Messages between two pauses."""
PATIENT = tagwire.Reconnect(first_delay=0.02, max_delay=0.1, give_up_after=60.0)
"""Comes back soon, however often it is cut."""


class Faults:
    """The program that stands between clients and the server."""

    def __init__(self, upstream: str, *flags: str) -> None:
        binary = os.environ.get("TAGWIRE_FAULTS", "")
        if not binary:
            pytest.fail(
                "TAGWIRE_FAULTS does not say where tagwire-faults is; run scripts/test", pytrace=False
            )
        if not Path(binary).is_file():
            pytest.fail(f"there is no {binary} (TAGWIRE_FAULTS)", pytrace=False)
        self.seed = os.environ.get("TAGWIRE_SEED", str(random.randrange(1 << 32)))
        self.process = subprocess.Popen(
            [binary, "--upstream", upstream, "--seed", self.seed, *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().removeprefix("listening on ").strip()
        assert self.address, "it did not come up"

    def __call__(self, command: str) -> str:
        """Says a command; gives the answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def cuts(self) -> dict[str, int]:
        """How many there were, by kind."""
        cuts: dict[str, int] = json.loads(self("status"))["cuts"]
        return cuts

    def stop(self) -> int:
        self.process.stdin.close()  # type: ignore[union-attr]
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.stdout.close()  # type: ignore[union-attr]


@pytest.fixture
def bad(unlimited: Server, request: pytest.FixtureRequest) -> Iterator[Faults]:
    """A network with the faults of the test's parameters, turned off at first."""
    faults = Faults(unlimited.address, *request.param)
    faults("faults off")
    yield faults
    assert faults.stop() == 0


NETWORKS = {
    "closed": ["--cut-after", "0..6000"],
    "reset": ["--cut-after", "0..6000", "--reset", "100", "--split", "5"],
    "slow": ["--cut-after", "0..6000", "--reset", "50", "--delay-ms", "0..4", "--split", "9"],
    "half-open": ["--cut-after", "0..6000", "--reset", "30", "--half-open", "30", "--half-open-ms", "300"],
}


class Player:
    """A client that sends numbers, and notes what it gets."""

    def __init__(self, client: tagwire.Client) -> None:
        self.client = client
        self.sent = self.rooms = 0
        self.texts: list[int] = []
        self.mice: list[int] = []
        self.returns: list[tagwire.Reconnected] = []
        client.on(tagwire.Reconnected, self.returns.append)
        client.on(arena.Chat, self._heard)
        client.on(arena.MouseEvent, lambda message, sender: self.mice.append(message.x))
        self.running = asyncio.create_task(client.run())

    def _heard(self, message: arena.Chat, sender: tagwire.Member | None) -> None:
        assert sender is not None
        if sender.id != self.client.player_id:
            self.texts.append(int(message.text))

    async def play(self) -> None:
        """Sends some messages, and asks something in the middle of them."""
        asking = None
        for number in range(BATCH_OF):
            await self.client.send(arena.Chat(text=str(self.sent)))
            await self.client.send(arena.MouseEvent(x=self.sent))
            self.sent += 1
            if number == BATCH_OF // 2:
                asking = asyncio.create_task(self.client.join("main", timeout=60))
        assert asking is not None
        assert await asking == "main"
        self.rooms += 1


def connect(address: str, name: str) -> tagwire.Connecting:
    return tagwire.connect(
        address, username=name, password="welcome", schema=arena.SCHEMA, reconnect=PATIENT, timeout=2.0
    )


@pytest.mark.parametrize("bad", NETWORKS.values(), ids=NETWORKS.keys(), indirect=True)
async def test_nothing_is_lost_and_nothing_comes_twice_whatever_the_network_does(
    bad: Faults, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
):
    await endure(bad, lambda name: connect(bad.address, name), monkeypatch, request.node.name)


async def endure(
    bad: Faults, join: Callable[[str], tagwire.Connecting], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Two players send each other numbers through a network with faults; neither misses any."""
    # A connection that is dead and does not say so is to be noticed soon; pings come each second.
    monkeypatch.setattr("tagwire.session.SILENCE_SECONDS", 1.5)
    async with join("anna") as anna, join("ben") as ben:
        players = [Player(anna), Player(ben)]
        await until(lambda: anna.members and ben.members)
        bad("faults on")
        began, count = time.monotonic(), 0
        while count < CUTS:
            await asyncio.gather(*(player.play() for player in players))
            count = sum(bad.cuts().values())
        cuts = bad.cuts()
        bad("faults off")
        for player, other in (players, players[::-1]):
            await until(lambda: len(player.texts) == other.sent, 30)  # noqa: B023
            await until(lambda: player.mice[-1:] == [other.sent - 1], 30)  # noqa: B023
            assert player.texts == list(range(other.sent))
            assert player.mice == sorted(set(player.mice))
            assert all(one.resumed and one.lost == 0 for one in player.returns)
            assert player.client.dropped.misplaced == 0
            assert player.client._session.outbox.committed >= player.sent + player.rooms
            assert player.client.room == "main"
        resumes = sum(len(player.returns) for player in players)
        assert resumes > 0
        told: dict[str, Any] = {
            "network": name,
            "seed": bad.seed,
            "seconds": round(time.monotonic() - began, 1),
            "cuts": {kind: number for kind, number in cuts.items() if number},
            "resumes": resumes,
            "messages": sum(player.sent for player in players),
            "requests": sum(player.rooms for player in players),
            "mouse events": sum(len(player.mice) for player in players),
        }
        sys.stdout.write(f"\n{told}\n")
    await asyncio.gather(*(player.running for player in players))
