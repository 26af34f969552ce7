"""A conversation that is cut at every byte and resumed is, in the end, the one that was never cut.

Beside the session stands a small server after docs/PROTOCOL.md; between them a wire that carries so many
bytes one way and breaks. No sockets, no clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena
from conftest import frame_of, member, relayed, welcome
from tagwire.events import Event, Member, MemberChanged, Responded, RoomEnded
from tagwire.frame import Decoder, encode
from tagwire.gen.v1 import JoinRoom, JoinRoomReply, Ping, PlayerLogin, Request, Response
from tagwire.outbox import Outbox
from tagwire.session import UNCOUNTED, Session, State
from test_session import JOINED, PRESENT, Clock

TOKEN = b"0123456789abcdef"
MOUSE, CHAT, SCORE = 2, 4, 6


@dataclass
class Model:
    """A server: one session that outlives its connections."""

    resumes: int = 0
    handled: int = 0
    """Counted frames of the client."""
    got: list[tuple[int, bytes]] = field(default_factory=list)
    """What the client's messages and requests were, once each."""
    committed: list[bytes] = field(default_factory=list)
    begun: bool = False
    connected: bool = False
    out: bytes = b""
    decoder: Decoder = field(default_factory=lambda: Decoder(1 << 20))

    def connect(self) -> None:
        """A connection comes, and nothing is left of the one before."""
        self.decoder, self.out, self.connected = Decoder(1 << 20), b"", False

    def send(self, frame: bytes) -> None:
        """Commits a frame for the client, connected or not."""
        self.committed.append(frame)
        if self.connected:
            self.out += frame

    def receive(self, data: bytes) -> None:
        self.decoder.feed(data)
        while (frame := self.decoder.next()) is not None:
            if frame.tag == 1:
                self._login(PlayerLogin.FromString(frame.payload))
            elif frame.tag not in UNCOUNTED:
                assert self.connected, "a frame before Welcome"
                self.handled += 1
                self._handle(frame.tag, frame.payload)

    def _login(self, login: PlayerLogin) -> None:
        assert not self.connected
        self.connected = True
        if login.HasField("resume"):
            assert self.begun
            assert login.resume.token == TOKEN
            assert login.resume.frames_received <= len(self.committed)
            self.resumes += 1
            rest = self.committed[login.resume.frames_received :]
        else:
            # The Welcome may have been lost, and a session with it that nobody knew yet.
            self.begun, self.handled, self.got = True, 0, []
            self.committed = rest = [member(2, PRESENT, "Zoe")]
        answer = welcome(
            resume_token=TOKEN,
            resume_window_ms=60_000,
            resumed=login.HasField("resume"),
            frames_received=self.handled,
        )
        self.out += frame_of(answer) + b"".join(rest)

    def _handle(self, tag: int, payload: bytes) -> None:
        self.got.append((tag, payload))
        if tag == 242:
            request = Request.FromString(payload)
            room = JoinRoom.FromString(request.body).room
            reply = JoinRoomReply(room=room).SerializeToString()
            self.send(frame_of(Response(key=request.key, tag=request.tag, body=reply)))
            self.send(member(9, JOINED, f"in {room}"))


Step = tuple[str, int]
SCRIPT: list[Step] = [
    ("order", 1), ("latest", 1), ("serve", 1), ("ask", 1), ("order", 2), ("flush", 0), ("lossy", 1),
    ("latest", 2), ("ping", 1), ("serve", 2), ("ask", 2), ("flush", 0), ("order", 3), ("latest", 3),
    ("serve", 3), ("ack", 0), ("order", 4), ("flush", 0), ("ask", 3), ("serve", 4), ("latest", 4),
    ("flush", 0),
]  # fmt: skip


class Run:
    """One conversation. `cut` says after how many bytes, in all, which direction breaks."""

    def __init__(self, cuts: list[tuple[str, int]]) -> None:
        self.clock = Clock()
        self.model = Model()
        self.cuts = list(cuts)
        self.left = self.cuts[0][1] if self.cuts else 0
        self.carried = {"up": 0, "down": 0}
        self.lost = 0
        self.waiting: list[tuple[str, int, bytes]] = []
        self.events: list[Event] = []
        self.keys: dict[int, int] = {}
        self.session = Session(arena.SCHEMA, username="player1", password="welcome", reconnect=True)
        self.connect()

    def connect(self) -> None:
        if self.session.state is State.CLOSED:  # the first login was cut: as if the program began anew
            self.session = Session(arena.SCHEMA, username="player1", password="welcome", reconnect=True)
        self.model.connect()
        self.session.start(self.clock())
        self.turn()

    def carry(self, way: str, data: bytes) -> tuple[bytes, bool]:
        """What of some bytes arrives, and whether the connection broke by then."""
        if self.cuts and self.cuts[0][0] == way:
            passed, self.left = data[: self.left], self.left - len(data[: self.left])
            if self.left == 0 and len(passed) < len(data):
                self.cuts.pop(0)
                self.left = self.cuts[0][1] if self.cuts else 0
                self.carried[way] += len(passed)
                return passed, True
            data = passed
        self.carried[way] += len(data)
        return data, False

    def turn(self) -> None:
        """Lets all flow until there is nothing more to carry."""
        while True:
            up = b"".join(self.session.data_to_send())
            passed, broken = self.carry("up", up)
            self.model.receive(passed)
            if not broken:
                down, self.model.out = self.model.out, b""
                passed, broken = self.carry("down", down)
                self.session.receive_data(passed, self.clock())
                self.events += self.session.events()
                if not up and not down:
                    break
            if broken:
                self.lost += 1
                self.model.connected = False
                self.session.receive_eof()
                self.events += self.session.events()
                self.connect()
                return
        self.drain()

    def drain(self) -> None:
        """Hands the session what waits, as `Sender` does once there is a connection."""
        if self.session.state is State.OPEN and self.waiting:
            waiting, self.waiting = self.waiting, []
            for _, tag, payload in waiting:
                self.session.send(tag, payload)
            self.turn()

    def send(self, delivery: str, tag: int, payload: bytes) -> None:
        if self.session.state is State.OPEN:
            self.session.send(tag, payload)
        else:
            self.waiting.append((delivery, tag, payload))

    def play(self) -> Run:
        for what, number in SCRIPT:
            if what == "order":
                self.send("ORDERED", CHAT, arena.Chat(text=f"chat {number}").SerializeToString())
            elif what == "latest":
                self.send("LATEST", MOUSE, arena.MouseEvent(x=number).SerializeToString())
            elif what == "lossy":
                self.send("UNRELIABLE", 5, b"")
            elif what == "ask":
                body = JoinRoom(room=f"room {number}").SerializeToString()
                tag, payload, (key,) = self.session.draft([(248, body)])
                self.keys[key] = number
                self.send("ORDERED", tag, payload)
            elif what == "serve":
                self.model.send(encode(SCORE, arena.Score(points=number).SerializeToString()))
                self.model.send(relayed(2, arena.Chat(text=f"from Zoe {number}")))
            elif what == "ping":
                self.model.out += frame_of(Ping(sentEpoch=1000, frames_received=self.model.handled))
            elif what == "ack":
                self.model.out += frame_of(Ping(frames_received=self.model.handled))
            else:
                self.turn()
        self.turn()
        assert self.session.state is State.OPEN
        return self

    # What came of it

    def server_got(self) -> dict[str, list[Any]]:
        mice = [arena.MouseEvent.FromString(payload).x for tag, payload in self.model.got if tag == MOUSE]
        return {
            "ordered": [item for item in self.model.got if item[0] in (CHAT, 242)],
            "latest": mice[-1:],
        }

    def client_got(self) -> dict[str, Any]:
        told = [
            event
            for event in self.events
            if isinstance(event, tuple | MemberChanged | RoomEnded)  # a message, or `Responded`
        ]
        return {"told": told, "room": self.session.room, "members": self.session.members}


WHOLE = Run([]).play()


def agrees(run: Run) -> None:
    assert run.server_got() == WHOLE.server_got()
    assert run.client_got() == WHOLE.client_got()
    assert run.session.outbox.committed == run.model.handled
    assert run.session.frames_received == len(run.model.committed)


def test_the_conversation_that_is_never_cut_is_what_it_should_be():
    assert WHOLE.lost == 0
    got = WHOLE.server_got()
    assert [tag for tag, _ in got["ordered"]] == [CHAT, 242, CHAT, 242, CHAT, CHAT, 242]
    assert got["latest"] == [4]
    told = WHOLE.client_got()["told"]
    assert [event.response.key for event in told if isinstance(event, Responded)] == [1, 2, 3]
    assert len([event for event in told if type(event) is tuple]) == 8
    assert WHOLE.session.room == "room 3"
    assert WHOLE.session.members == {9: Member(9, "in room 3")}


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_cut_at_every_byte_changes_nothing(way):
    resumed = 0
    for at in range(WHOLE.carried[way]):
        run = Run([(way, at)]).play()
        assert run.lost == 1, at
        agrees(run)
        resumed += run.model.resumes
    # All but those that cut the first login, or its answer.
    assert resumed > WHOLE.carried[way] * 0.6


@pytest.mark.parametrize("way", ["up", "down"])
def test_a_second_cut_at_every_byte_of_the_resume_changes_nothing(way):
    for first in range(WHOLE.carried["down"] // 2, WHOLE.carried["down"], 23):
        once = Run([("down", first)]).play()
        for second in range(once.carried[way] - (first if way == "down" else 0)):
            run = Run([("down", first), (way, second)]).play()
            agrees(run)


@given(st.lists(st.tuples(st.sampled_from(["up", "down"]), st.integers(0, 400)), max_size=8))
def test_any_cuts_change_nothing(cuts):
    agrees(Run(cuts).play())


def test_what_was_never_cut_is_never_resumed():
    assert WHOLE.model.resumes == 0


@pytest.mark.parametrize("broken", ["resend", "trim", "count"])
def test_a_client_that_keeps_the_rules_less_well_is_found_out(monkeypatch, broken):
    """The guard of this file itself: each rule that is broken shows."""
    if broken == "resend":

        def resume(self: Outbox, count: int) -> bool:
            self._kept.clear()
            return True
    elif broken == "trim":

        def resume(self: Outbox, count: int) -> bool:
            self.fresh[:0] = self._kept
            self.written -= len(self._kept)
            self._kept.clear()
            return True
    else:
        real = Session._frame

        def frame(self, tag, payload, size, now):
            real(self, tag, payload, size, now)
            self.frames_received -= tag == 247

        monkeypatch.setattr(Session, "_frame", frame)
        resume = Outbox.resume
    monkeypatch.setattr(Outbox, "resume", resume)
    with pytest.raises(AssertionError):
        every_cut()


def every_cut() -> None:
    for way, count in WHOLE.carried.items():
        for at in range(count):
            agrees(Run([(way, at)]).play())
