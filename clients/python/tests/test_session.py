"""The client's side of the conversation, rule by rule, on a virtual clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena
from conftest import frame_of, frames_in, member, relayed, welcome
from tagwire.close import CloseCode, Closed
from tagwire.events import (
    Member,
    MemberChange,
    MemberChanged,
    Noticed,
    NoticeReason,
    Opened,
    Pinged,
    Responded,
    RoomEnded,
)
from tagwire.frame import encode
from tagwire.gen._schema import SCHEMA as STACK
from tagwire.gen.v1 import (
    Batch,
    ClientInfo,
    Disconnect,
    JoinRoom,
    JoinRoomReply,
    Limits,
    Notice,
    Ping,
    PlayerLogin,
    Reason,
    Relayed,
    Request,
    Response,
    SchemaOffer,
    SchemaWanted,
    Status,
)
from tagwire.gen.v1 import Member as MemberMessage
from tagwire.gen.v1 import RoomEnded as RoomEndedMessage
from tagwire.gen.v1 import Verdict as VerdictTable
from tagwire.schema import Schema
from tagwire.session import ACK_BYTES, BATCH_BYTES, BATCH_ENTRY_BYTES, Now, Session, State
from tagwire.version import VERSION

PRESENT, JOINED, LEFT, AWAY, BACK = 1, 2, 3, 4, 5


class Clock:
    """A clock that moves only when told."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.unix_us = 1_700_000_000_000_000

    def __call__(self) -> Now:
        return Now(self.seconds, self.unix_us)

    def advance(self, seconds: float) -> Now:
        self.seconds += seconds
        self.unix_us += int(seconds * 1e6)
        return self()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def started(clock: Clock) -> Session:
    session = Session(arena.SCHEMA, username="player1", password="welcome")
    session.start(clock())
    session.data_to_send()
    return session


@pytest.fixture
def session(clock: Clock) -> Session:
    """One that is open."""
    session = started(clock)
    session.receive_data(frame_of(welcome()), clock())
    session.events()
    return session


def schema_of(descriptors: bytes) -> Schema:
    """A schema with these descriptors, which nobody looks into here."""
    return Schema(name="arena", fingerprint=b"", descriptors=descriptors, rules=())


def sent(session: Session) -> list[tuple[int, bytes]]:
    return [(frame.tag, frame.payload) for frame in frames_in(b"".join(session.data_to_send()))]


# Login


def test_login_is_the_first_frame_and_says_who_and_what_the_client_is(clock):
    session = Session(arena.SCHEMA, username="player1", password="welcome", token="t")
    assert session.data_to_send() == []
    session.start(clock())
    ((tag, payload),) = sent(session)
    assert tag == 1
    info = ClientInfo(protocol=1, fingerprint=arena.SCHEMA.fingerprint, sdk="tagwire-python", version=VERSION)
    assert PlayerLogin.FromString(payload) == PlayerLogin(
        username="player1", password="welcome", token="t", client=info
    )
    assert session.state is State.LOGIN


def test_the_login_begins_with_the_bytes_of_the_reference(clock):
    session = Session(arena.SCHEMA, username="player1", password="welcome")
    session.start(clock())
    ((_, payload),) = sent(session)
    assert payload.startswith(bytes.fromhex("0a07706c6179657231120777656c636f6d65"))


def test_a_login_over_8_kib_is_refused_here():
    with pytest.raises(ValueError, match="8192"):
        Session(arena.SCHEMA, username="p", token="x" * 9000)


def test_nothing_is_sent_between_login_and_welcome(clock):
    session = started(clock)
    with pytest.raises(RuntimeError, match="login"):
        session.send(2, b"")
    with pytest.raises(RuntimeError, match="login"):
        session.request(248, b"")
    session.receive_data(frame_of(Ping(sentEpoch=1)), clock())
    session.receive_data(frame_of(MemberMessage()) * 300, clock())
    session.close(0, "changed my mind", clock())
    assert session.data_to_send() == []
    assert session.state is State.CLOSED
    assert session.dropped.misplaced == 301


def test_welcome_opens_the_session(clock):
    session = started(clock)
    session.receive_data(frame_of(welcome(name="Player1", room="lobby")), clock())
    assert session.state is State.OPEN
    (opened,) = session.events()
    assert isinstance(opened, Opened)
    assert opened.welcome == session.welcome
    assert (session.session_id, session.player_id) == (7, 41)
    assert (session.name, session.room) == ("Player1", "lobby")
    assert session.data_to_send() == []


def test_a_second_welcome_is_dropped(session, clock):
    session.receive_data(frame_of(welcome(player_id=99)), clock())
    assert session.player_id == 41
    assert session.events() == []
    assert session.dropped.misplaced == 1


def test_a_welcome_in_another_protocol_version_ends_it(clock):
    session = started(clock)
    session.receive_data(frame_of(welcome(protocol=2)), clock())
    assert session.state is State.CLOSED
    assert session.closed is not None
    assert session.closed.code == CloseCode.VERSION
    assert session.data_to_send() == []


def test_a_welcome_that_cannot_be_read_ends_it(clock):
    session = started(clock)
    session.receive_data(encode(240, b"\x0a"), clock())
    assert session.closed is not None
    assert session.closed.code == CloseCode.MALFORMED
    assert session.state is State.CLOSED


def test_a_disconnect_before_welcome_tells_code_reason_findings_and_delay(clock):
    session = started(clock)
    told = Disconnect(code=3502, reason="no", retry_after_ms=1500, findings=["a", "b"])
    session.receive_data(frame_of(told), clock())
    assert session.events() == [
        Closed(CloseCode.SCHEMA_MISMATCH, "no", by_peer=True, retry_after=1.5, findings=("a", "b"))
    ]
    assert session.state is State.CLOSED


# The schema exchange


def test_the_descriptors_are_offered_when_wanted(clock):
    session = started(clock)
    session.receive_data(bytes.fromhex("00fd"), clock())
    descriptors = arena.SCHEMA.descriptors
    length = len(descriptors)
    assert 255 < length < 1 << 14
    # Field 1 of the payload: its key, its length as a varint of two bytes, itself.
    field = bytes((0x0A, length & 0x7F | 0x80, length >> 7)) + descriptors
    header = bytes.fromhex("ff0000fe") + len(field).to_bytes(4, "big")
    assert session.data_to_send() == [header + field]
    assert session.state is State.LOGIN
    assert session.events() == []
    assert session.schema_wanted


def test_few_descriptors_are_offered_in_the_short_form(clock):
    session = Session(schema_of(b"\x0a\x00"), username="player1")
    session.start(clock())
    session.data_to_send()
    session.receive_data(bytes.fromhex("00fd"), clock())
    assert session.data_to_send() == [bytes.fromhex("04fe0a020a00")]


def test_after_the_offer_welcome_opens_the_session(clock):
    session = started(clock)
    session.receive_data(frame_of(SchemaWanted()), clock())
    session.receive_data(frame_of(welcome(verdict=VerdictTable.COMPATIBLE)), clock.advance(3))
    (opened,) = session.events()
    assert isinstance(opened, Opened)
    assert opened.welcome.verdict == VerdictTable.COMPATIBLE
    assert session.state is State.OPEN


def test_after_the_offer_a_disconnect_ends_the_session(clock):
    session = started(clock)
    session.receive_data(frame_of(SchemaWanted()), clock())
    session.receive_data(frame_of(Disconnect(code=3502, findings=["a", "b"])), clock())
    assert session.events() == [Closed(CloseCode.SCHEMA_MISMATCH, by_peer=True, findings=("a", "b"))]
    assert session.state is State.CLOSED


def test_a_server_that_knows_the_schema_is_offered_nothing(session):
    assert session.data_to_send() == []
    assert not session.schema_wanted


def test_the_frames_of_the_exchange_are_not_counted(clock):
    session = started(clock)
    session.receive_data(frame_of(SchemaWanted()) * 2, clock())
    assert (session.frames_received, session.outbox.committed) == (0, 0)
    session.receive_data(frame_of(welcome()) + frame_of(SchemaWanted()), clock())
    assert (session.frames_received, session.outbox.committed) == (0, 0)


def test_a_schema_that_is_wanted_twice_is_offered_once(clock):
    session = started(clock)
    session.receive_data(frame_of(SchemaWanted()), clock())
    assert [tag for tag, _ in sent(session)] == [254]
    session.receive_data(frame_of(SchemaWanted()), clock())
    assert session.data_to_send() == []
    assert session.dropped.misplaced == 1
    session.receive_data(frame_of(welcome()), clock())
    assert session.state is State.OPEN


def test_a_schema_that_is_wanted_after_welcome_is_not_offered(session, clock):
    session.receive_data(frame_of(SchemaWanted()), clock())
    assert session.data_to_send() == []
    assert session.dropped.misplaced == 1
    assert session.state is State.OPEN
    assert not session.schema_wanted


def test_a_schema_that_nobody_wants_before_the_login_is_not_offered(clock):
    session = Session(arena.SCHEMA, username="player1")
    session.receive_data(frame_of(SchemaWanted()), clock())
    session.start(clock())
    assert [tag for tag, _ in sent(session)] == [1]


def test_256_kib_is_the_most_that_is_offered(clock):
    for size, fits in ((262_144, True), (262_145, False)):
        session = Session(schema_of(bytes(size - 4)), username="player1")  # 4: key and length of the field
        session.start(clock())
        session.data_to_send()
        session.receive_data(frame_of(SchemaWanted()), clock())
        if fits:
            ((tag, payload),) = sent(session)
            assert (tag, len(payload)) == (254, size)
            assert session.state is State.LOGIN
        else:
            assert session.data_to_send() == []
            (closed,) = session.events()
            assert (closed.code, closed.by_peer) == (CloseCode.TOO_LARGE, False)
            assert "offering it takes 262145 bytes, limit 262144" in closed.reason
            assert session.state is State.CLOSED
            session.receive_data(frame_of(welcome()), clock())
            assert session.state is State.CLOSED


def test_the_login_waits_while_the_server_compares(clock):
    session = started(clock)
    session.receive_data(frame_of(SchemaWanted()), clock.advance(1))
    session.handle_timer(clock.advance(9.999))
    assert session.state is State.LOGIN
    session.handle_timer(clock.advance(0.001))
    (closed,) = session.events()
    assert (closed.code, closed.by_peer) == (CloseCode.TIMEOUT, True)


# Pings, clock, liveness


def test_a_ping_is_answered_with_its_time_ours_and_the_count(session, clock):
    session.receive_data(member(2, JOINED, "b") * 3, clock())
    now = clock.advance(0.5)
    session.receive_data(frame_of(Ping(sentEpoch=123456)), now)
    ((tag, payload),) = sent(session)
    assert tag == 3
    assert Ping.FromString(payload) == Ping(sentEpoch=123456, bounceEpoch=now.unix_us, frames_received=3)


def test_a_ping_that_asks_nothing_is_not_answered(session, clock):
    session.receive_data(frame_of(Ping(frames_received=0)), clock())
    session.receive_data(frame_of(Ping(sentEpoch=5, bounceEpoch=6)), clock())
    assert session.data_to_send() == []
    assert session.events() == []


def test_rtt_and_jitter_are_the_servers_in_seconds(session, clock):
    assert session.rtt is None
    assert session.jitter is None
    session.receive_data(frame_of(Ping(sentEpoch=1_000_000)), clock())
    assert session.events() == [Pinged(None, None, 1.0)]
    session.receive_data(frame_of(Ping(sentEpoch=2_000_000, rtt_us=2500, jitter_us=300)), clock())
    assert session.events() == [Pinged(0.0025, 0.0003, 2.0)]
    assert (session.rtt, session.jitter) == (0.0025, 0.0003)


def test_the_servers_clock_is_known_from_welcome_on(clock):
    session = started(clock)
    assert session.server_time_us(clock()) is None
    session.receive_data(frame_of(welcome(server_time_us=5_000_000)), clock())
    assert session.server_time_us(clock.advance(2)) == pytest.approx(7_000_000)


def test_the_servers_clock_is_taken_from_the_least_delayed_of_the_last_pings(session, clock):
    ahead = 3_600_000_000  # the server's clock is an hour ahead of ours
    for one_way in (0.080, 0.010, 0.200, 0.050):
        asked = clock.unix_us + ahead
        clock.advance(one_way)
        session.receive_data(frame_of(Ping(sentEpoch=asked, rtt_us=20_000)), clock())
        clock.advance(1 - one_way)
    assert session.server_time_us(clock()) == pytest.approx(clock.unix_us + ahead, abs=1)


def test_a_clock_of_the_server_that_was_set_back_is_believed_after_16_pings(session, clock):
    for _ in range(16):
        session.receive_data(frame_of(Ping(sentEpoch=clock.unix_us - 60_000_000)), clock.advance(1))
    assert session.server_time_us(clock()) == pytest.approx(clock.unix_us - 61_000_000, abs=1)


def test_the_server_is_gone_after_10_seconds_without_a_byte(session, clock):
    session.handle_timer(clock.advance(9.999))
    assert session.state is State.OPEN
    assert session.next_deadline() == pytest.approx(clock.seconds + 0.001)
    session.handle_timer(clock.advance(0.001))
    assert session.state is State.CLOSED
    (closed,) = session.events()
    assert (closed.code, closed.by_peer) == (CloseCode.TIMEOUT, True)
    assert session.data_to_send() == []  # a Disconnect would end the session on the server, too
    assert session.next_deadline() is None


def test_any_byte_is_a_sign_of_life(session, clock):
    for byte in encode(200, b"abc"):
        session.receive_data(bytes((byte,)), clock.advance(9))
        session.handle_timer(clock())
        assert session.state is State.OPEN


def test_silence_during_the_login_is_noticed_too(clock):
    session = started(clock)
    session.handle_timer(clock.advance(10))
    assert session.state is State.CLOSED


# Counting


def test_all_frames_count_but_those_of_the_conversation_itself(session, clock):
    uncounted = [PlayerLogin(), Ping(), welcome(), SchemaWanted(), SchemaOffer()]
    session.receive_data(b"".join(map(frame_of, uncounted)), clock())
    assert session.frames_received == 0
    counted = [Request(), Response(), Batch(), Notice(), Relayed(), MemberMessage(), JoinRoom()]
    session.receive_data(b"".join(map(frame_of, counted)), clock())
    assert session.frames_received == len(counted)
    session.receive_data(encode(255, b""), clock())
    assert session.frames_received == len(counted) + 1


def test_unknown_tags_and_undecodable_payloads_count_and_never_end_it(session, clock):
    session.receive_data(encode(200, b"?") + encode(40000, b"") + encode(6, b"\xff"), clock())
    session.receive_data(frame_of(Relayed(player=2, tag=4, body=b"\x0a\x02\xff\xff")), clock())
    assert session.state is State.OPEN
    assert session.frames_received == 4
    assert (session.dropped.unknown, session.dropped.undecodable) == (2, 2)
    assert session.events() == []


@pytest.mark.parametrize("tag", [3, 243, 245, 246, 247])
def test_a_stack_message_that_cannot_be_read_is_dropped(session, clock, tag):
    session.receive_data(encode(tag, b"\xff"), clock())
    assert session.state is State.OPEN
    assert session.dropped.undecodable == 1
    assert session.events() == []


def test_an_acknowledgement_goes_out_after_256_counted_frames(session, clock):
    one = encode(6, b"")
    session.receive_data(one * 255, clock())
    assert session.data_to_send() == []
    session.receive_data(one * 257, clock())
    acks = [Ping.FromString(payload) for _, payload in sent(session)]
    assert acks == [Ping(frames_received=256), Ping(frames_received=512)]


def test_an_acknowledgement_goes_out_after_64_kib_of_counted_frames(session, clock):
    one = encode(200, bytes(1016))  # 1024 bytes with its header
    session.receive_data(one * 63, clock())
    assert session.data_to_send() == []
    session.receive_data(one, clock())
    assert [Ping.FromString(payload) for _, payload in sent(session)] == [Ping(frames_received=64)]


@pytest.mark.parametrize("what", ["relayed", "answers", "both"])
def test_what_comes_together_is_acknowledged_where_it_would_be_alone(session, clock, what):
    frames = {
        "relayed": relayed(2, arena.MouseEvent(x=1)),
        "answers": frame_of(Response(key=1, tag=248, status=Status.DENIED)),
    }
    frames["both"] = frames["relayed"] + frames["answers"]
    count = 600 // (2 if what == "both" else 1)
    session.receive_data(frames[what] * count, clock())
    assert session.frames_received == 600
    acks = [Ping.FromString(payload) for tag, payload in sent(session) if tag == 3]
    assert acks == [Ping(frames_received=256), Ping(frames_received=512)]


def test_large_frames_from_others_are_acknowledged_after_64_kib(session, clock):
    frame = relayed(2, arena.Chat(text="x" * 200))
    session.receive_data(frame * 255, clock())
    assert sent(session) == []
    session.receive_data(frame * 60, clock())
    assert len(sent(session)) == 1


MIXED = (
    member(2, JOINED, "anna")
    + relayed(2, arena.MouseEvent(x=1))
    + relayed(7, arena.Chat(text="x" * 300))  # long
    + relayed(41, arena.Chat(text="mine"))
    + frame_of(Response(key=1, tag=248, status=Status.DENIED))
    + encode(246, Relayed(player=2, tag=6, body=b"").SerializeToString())  # only the server's
    + encode(246, Relayed(player=2, tag=99, body=b"").SerializeToString())  # unknown
    + encode(246, Relayed(player=2, tag=2, body=b"\xff").SerializeToString())
    + encode(246, b"\xff")
    + encode(243, b"\xff")
    + frame_of(Ping(sentEpoch=5))
    + encode(6, arena.Score(player=1, points=2).SerializeToString())
    + member(2, LEFT)
    + relayed(2, arena.MouseEvent(x=2))
    + frame_of(Disconnect(code=3508))
    + relayed(2, arena.MouseEvent(x=3))
)


def handled(pieces: list[bytes]) -> tuple[object, ...]:
    """What comes of bytes that arrive so, at an open session."""
    clock = Clock()
    session = started(clock)
    session.receive_data(frame_of(welcome()), clock())
    told = session.events()
    for piece in pieces:
        session.receive_data(piece, clock())
        told += session.events()
    unacked = session._unacked_frames, session._unacked_bytes
    return (
        told,
        session.dropped,
        session.members,
        session.state,
        session.frames_received,
        unacked,
        sent(session),
        session._decoder.pending_bytes,
    )


@given(st.lists(st.integers(0, len(MIXED)), max_size=8).map(sorted))
def test_however_the_bytes_are_cut_the_same_comes_of_them(cuts):
    alone = handled([MIXED[at : at + 1] for at in range(len(MIXED))])
    cut = handled([MIXED[start:end] for start, end in zip([0, *cuts], [*cuts, len(MIXED)], strict=True)])
    # What comes behind the end is kept or not.
    assert cut[:-1] == alone[:-1]


# All that a read may end within: short frames and large ones, and the way in and out of the
# loop that takes the short ones.
STREAM = (
    member(2, JOINED, "b")
    + b"".join(relayed(2, arena.Chat(text=str(number))) for number in range(4))
    + encode(
        246, Relayed(player=2, tag=4, body=arena.Chat(text="x" * 300).SerializeToString()).SerializeToString()
    )
    + encode(243, Response(key=1).SerializeToString())
    + relayed(2, arena.MouseEvent(x=1)) * 3
    + encode(6, arena.Score(points=2).SerializeToString())
    + bytes.fromhex("ff0000f600000000")  # of no bytes, in the extended form
    + relayed(2, arena.Chat(text="last"))
)


def test_a_read_may_end_anywhere_and_the_next_one_too():
    whole = handled([STREAM])
    events = whole[0]
    assert [event[0].text[:4] for event in events if type(event) is tuple and event[4] == 4] == [
        *"0123",
        "xxxx",
        "last",
    ]
    assert whole[4:] == (13, (13, len(STREAM)), [], 0)
    for first in range(len(STREAM) + 1):
        assert handled([STREAM[:first], STREAM[first:]]) == whole, first
        for second in range(first, min(first + 12, len(STREAM)) + 1):
            assert handled([STREAM[:first], STREAM[first:second], STREAM[second:]]) == whole, (first, second)


def test_the_acknowledgement_says_the_same_wherever_a_read_ends(clock):
    large = encode(246, Relayed(player=2, tag=99, body=bytes(60_000)).SerializeToString())
    stream = encode(246, b"") + large + encode(246, Relayed(tag=99, body=bytes(240)).SerializeToString()) * 64
    *_, ((_, ping),), pending = handled([stream])
    assert Ping.FromString(ping).frames_received == 2 + -(-(ACK_BYTES - 2 - len(large)) // 248)
    assert pending == 0
    for size in (97, 250, 997, 60_003, 61_001, 65_000):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert handled(pieces) == handled([stream]), size


def test_a_read_that_ends_within_a_frame_costs_no_short_frame_its_short_way(session, clock, monkeypatch):
    calls = []
    real = session._frame
    monkeypatch.setattr(session, "_frame", lambda tag, *rest: (calls.append(tag), real(tag, *rest)))
    one = relayed(2, arena.MouseEvent(x=1))
    large = encode(246, Relayed(player=2, tag=4, body=bytes(300)).SerializeToString())
    stream = one * 20 + large + one * 20
    for size in (1, 2, 7, len(one), len(one) + 1, 97, 331):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        for piece in pieces:
            session.receive_data(piece, clock())
        assert len(session.events()) == 40
        assert calls == [246], size  # the large one alone
        calls.clear()


def test_an_answer_to_a_ping_acknowledges_as_well(session, clock):
    one = encode(6, b"")
    session.receive_data(one * 200 + frame_of(Ping(sentEpoch=1)) + one * 200, clock())
    ((_, payload),) = sent(session)
    assert Ping.FromString(payload).frames_received == 200


def test_uncounted_frames_bring_no_acknowledgement(session, clock):
    session.receive_data(frame_of(Ping(rtt_us=1)) * 1000, clock())
    assert session.data_to_send() == []


def test_messages_and_requests_are_counted_and_pings_which_go_first_are_not(session, clock):
    session.send(2, b"")
    session.request(248, b"")
    session.receive_data(frame_of(Ping(sentEpoch=1)), clock())
    assert session.outbox.committed == 2
    assert [tag for tag, _ in sent(session)] == [3, 2, 242]


# Messages, members, rooms


def test_a_bare_message_is_the_servers(session, clock):
    session.receive_data(encode(6, arena.Score(player=3, points=-5).SerializeToString()), clock())
    score = arena.Score(player=3, points=-5)
    (received,) = session.events()
    assert received == (score, None, 2 + score.ByteSize(), "ORDERED", 6)


def test_a_relayed_message_comes_with_its_sender(session, clock):
    session.receive_data(member(2, PRESENT, "Zoe") + relayed(2, arena.MouseEvent(x=5)), clock())
    _, received = session.events()
    size = len(relayed(2, arena.MouseEvent(x=5)))
    assert received == (arena.MouseEvent(x=5), Member(2, "Zoe"), size, "LATEST", 2)


def test_a_message_relayed_to_its_sender_names_this_player(session, clock):
    session.receive_data(relayed(41, arena.Chat(text="me")), clock())
    ((_, sender, *_),) = session.events()
    assert sender == Member(41, "player1")


def test_a_sender_nobody_told_of_has_no_name(session, clock):
    session.receive_data(relayed(9, arena.Chat(text="hi")), clock())
    ((_, sender, *_),) = session.events()
    assert sender == Member(9, "")


def test_what_only_clients_send_is_not_taken_from_the_server(session, clock):
    session.receive_data(encode(2, b""), clock())
    assert session.events() == []
    assert session.dropped.misplaced == 1


def test_what_only_the_server_sends_is_not_taken_from_a_player(session, clock):
    session.receive_data(relayed(2, arena.Score(points=1000)), clock())
    assert session.events() == []
    assert session.dropped.misplaced == 1


def test_fields_of_a_newer_schema_survive(session, clock):
    newer = arena.Chat(text="x").SerializeToString() + bytes.fromhex("9a0603616263")
    session.receive_data(frame_of(Relayed(player=2, tag=4, body=newer)), clock())
    ((message, *_),) = session.events()
    assert message.SerializeToString() == newer


def test_members_come_go_are_away_and_back(session, clock):
    steps = [
        (member(2, PRESENT, "b"), Member(2, "b"), "PRESENT", {2: Member(2, "b")}),
        (member(3, JOINED, "c"), Member(3, "c"), "JOINED", {2: Member(2, "b"), 3: Member(3, "c")}),
        (member(2, AWAY), Member(2, "b", away=True), "AWAY", {2: Member(2, "b", True), 3: Member(3, "c")}),
        (member(2, BACK), Member(2, "b"), "BACK", {2: Member(2, "b"), 3: Member(3, "c")}),
        (member(3, LEFT), Member(3, "c"), "LEFT", {2: Member(2, "b")}),
    ]
    for data, who, change, members in steps:
        session.receive_data(data, clock())
        assert session.events() == [MemberChanged(who, MemberChange(getattr(MemberChange, change)))]
        assert session.members == members


def test_a_change_of_members_that_this_version_does_not_know_is_dropped(session, clock):
    session.receive_data(member(2, 77, "b"), clock())
    assert session.members == {}
    assert session.events() == []
    assert session.dropped.unknown == 1


def test_members_are_forgotten_at_welcome(clock):
    session = started(clock)
    session.members[1] = Member(1, "old")
    session.receive_data(frame_of(welcome()), clock())
    assert session.members == {}


def test_the_response_of_a_join_is_the_boundary_between_two_rooms(session, clock):
    key = session.request(248, JoinRoom(room="b").SerializeToString())
    reply = JoinRoomReply(room="b").SerializeToString()
    session.receive_data(
        member(2, PRESENT, "old")
        + relayed(2, arena.Chat(text="before"))
        + frame_of(Response(key=key, tag=248, body=reply))
        + member(3, PRESENT, "new")
        + relayed(2, arena.Chat(text="after")),
        clock(),
    )
    events = session.events()
    assert [type(event) for event in events] == [
        MemberChanged,
        tuple,
        Responded,
        MemberChanged,
        tuple,
    ]
    assert events[1][1] == Member(2, "old")
    assert events[4][1] == Member(2, "")  # not a member of the new room
    assert session.members == {3: Member(3, "new")}
    assert session.room == "b"


def test_joining_the_room_one_is_in_changes_nothing(session, clock):
    # The server tells nobody again, as nobody has come or gone.
    session.receive_data(member(2, PRESENT, "b"), clock())
    key = session.request(248, b"")
    reply = JoinRoomReply(room="main").SerializeToString()
    session.receive_data(frame_of(Response(key=key, tag=248, body=reply)), clock())
    assert (session.room, session.members) == ("main", {2: Member(2, "b")})


def test_a_join_that_failed_changes_nothing(session, clock):
    session.receive_data(member(2, PRESENT, "b"), clock())
    session.request(248, b"")
    session.receive_data(frame_of(Response(key=1, tag=248, status=Status.DENIED)), clock())
    assert session.members == {2: Member(2, "b")}
    assert session.room == "main"


def test_a_room_that_ends_leaves_the_player_in_none(session, clock):
    session.receive_data(
        member(2, PRESENT, "old")
        + relayed(2, arena.Chat(text="before"))
        + frame_of(RoomEndedMessage(room="main", reason="over"))
        + frame_of(Response(key=1, tag=999))
        + relayed(2, arena.Chat(text="after")),
        clock(),
    )
    _, before, ended, _, after = session.events()
    assert before[1] == Member(2, "old")
    assert ended == RoomEnded("main", "over")
    assert after[1] == Member(2, "")
    assert (session.room, session.members, session.frames_received) == ("", {}, 5)
    key = session.request(248, b"")
    reply = JoinRoomReply(room="b").SerializeToString()
    session.receive_data(
        frame_of(Response(key=key, tag=248, body=reply)) + member(3, PRESENT, "new"), clock()
    )
    assert (session.room, session.members) == ("b", {3: Member(3, "new")})


def test_a_room_end_that_cannot_be_read_changes_nothing(session, clock):
    session.receive_data(encode(249, b"\xff"), clock())
    assert (session.events(), session.room, session.dropped.undecodable) == ([], "main", 1)


def test_a_batch_is_one_frame_whose_keys_rise_with_those_of_requests(session):
    assert session.request(300, b"a") == 1
    assert session.batch([(300, b"b"), (301, b"")], stop_on_error=True) == [2, 3]
    assert session.batch([(300, b"c")], stop_on_error=False) == [4]
    assert session.request(300, b"d") == 5
    frames = sent(session)
    assert [tag for tag, _ in frames] == [242, 244, 244, 242]
    assert session.outbox.committed == 4
    first, second = (Batch.FromString(payload) for _, payload in frames[1:3])
    assert [(one.key, one.tag, one.body) for one in first.requests] == [(2, 300, b"b"), (3, 301, b"")]
    assert (first.stop_on_error, second.stop_on_error) == (True, False)


@given(st.lists(st.binary(max_size=300), max_size=64), st.booleans())
def test_a_batch_takes_no_more_than_was_counted_for_it(bodies, stop_on_error):
    entries = [Request(key=2**64 - 1, tag=65535, body=body) for body in bodies]
    size = Batch(requests=entries, stop_on_error=stop_on_error).ByteSize()
    assert size <= BATCH_BYTES + sum(BATCH_ENTRY_BYTES + len(body) for body in bodies)


def test_request_keys_rise_strictly_from_1(session):
    assert [session.request(248, b"") for _ in range(3)] == [1, 2, 3]
    requests = [Request.FromString(payload) for tag, payload in sent(session) if tag == 242]
    assert [(request.key, request.tag) for request in requests] == [(1, 248), (2, 248), (3, 248)]


def test_a_notice_names_the_message_that_was_dropped(session, clock):
    notice = Notice(reason=Reason.RATE_LIMITED, tag=4, text="too fast")
    session.receive_data(frame_of(notice) + frame_of(Notice(tag=77)), clock())
    assert session.events() == [
        Noticed(NoticeReason(Reason.RATE_LIMITED), 4, "arena.v1.Chat", "too fast"),
        Noticed(NoticeReason(0), 77, "", ""),
    ]


# The end


def test_closing_sends_a_disconnect_and_waits_a_second_for_the_end(session, clock):
    session.send(4, b"last")
    session.close(4001, "bye", clock())
    assert session.state is State.CLOSING
    (first, second) = sent(session)
    assert first == (4, b"last")
    assert second[0] == 241
    assert Disconnect.FromString(second[1]) == Disconnect(code=4001, reason="bye")
    assert session.events() == [Closed(CloseCode(4001), "bye")]
    assert session.next_deadline() == clock.seconds + 1
    session.receive_data(encode(6, b"") + frame_of(Disconnect(code=3000)), clock())
    session.handle_timer(clock.advance(0.9))
    assert session.state is State.CLOSING
    session.handle_timer(clock.advance(0.1))
    assert session.state is State.CLOSED
    assert session.events() == []
    assert session.closed == Closed(CloseCode(4001), "bye")


def test_closing_twice_keeps_the_first_reason(session, clock):
    session.close(0, "first", clock())
    session.close(4000, "second", clock())
    assert len(sent(session)) == 1
    assert session.closed == Closed(CloseCode.NORMAL, "first")


def test_the_peers_eof_ends_the_closing(session, clock):
    session.close(0, "", clock())
    session.receive_eof()
    assert session.state is State.CLOSED
    assert session.closed == Closed(CloseCode.NORMAL)


def test_nothing_can_be_sent_after_the_end(session, clock):
    session.close(0, "", clock())
    with pytest.raises(RuntimeError, match="closing"):
        session.send(2, b"")


def test_a_disconnect_ends_it_after_everything_before(session, clock):
    told = frame_of(Disconnect(code=3000, reason="restart", retry_after_ms=500))
    session.receive_data(encode(6, b"") + told + encode(6, b""), clock())
    received, closed = session.events()
    assert type(received) is tuple
    assert closed == Closed(CloseCode.SHUTDOWN, "restart", by_peer=True, retry_after=0.5)
    assert session.state is State.CLOSED
    assert session.data_to_send() == []


def test_a_code_this_version_does_not_know_passes_through(session, clock):
    session.receive_data(frame_of(Disconnect(code=4321)), clock())
    assert session.closed is not None
    assert session.closed.code == 4321
    assert session.closed.code.retryable


def test_eof_without_a_disconnect_is_a_lost_connection(session):
    session.receive_eof()
    (closed,) = session.events()
    assert (closed.code, closed.by_peer) == (CloseCode.TIMEOUT, True)
    assert "without a Disconnect" in closed.reason
    assert closed.code.retryable


def test_eof_inside_of_a_frame_delivers_nothing_of_it(session, clock):
    session.receive_data(encode(6, bytes(100))[:-1], clock())
    session.receive_eof()
    (closed,) = session.events()
    assert "101 bytes into a frame" in closed.reason


def test_a_malformed_frame_ends_it_and_tells_the_server(session, clock):
    session.receive_data(encode(6, b"") + b"\x00\x00", clock())
    received, closed = session.events()
    assert type(received) is tuple
    assert (closed.code, closed.by_peer) == (CloseCode.MALFORMED, False)
    ((tag, payload),) = sent(session)
    assert (tag, Disconnect.FromString(payload).code) == (241, 3503)


def test_a_frame_over_the_limit_ends_it_by_its_header_alone(session, clock):
    session.receive_data(bytes.fromhex("ff00000601000000"), clock())
    assert session.closed is not None
    assert session.closed.code == CloseCode.TOO_LARGE


def test_the_largest_message_of_another_player_fits_with_its_wrapper(clock):
    for limit in (65536, 1 << 20):
        session = started(clock)
        session.receive_data(frame_of(welcome(limits=Limits(max_frame_bytes=limit))), clock())
        chat = arena.Chat(text="x" * (limit - 5))
        chat.text += "x" * (limit - chat.ByteSize())
        assert chat.ByteSize() == limit
        session.receive_data(relayed((1 << 32) - 1, chat), clock())
        assert session.state is State.OPEN
        assert session.max_frame_bytes == limit


def test_no_server_can_raise_the_limit_over_16_mib(clock):
    session = started(clock)
    session.receive_data(frame_of(welcome(limits=Limits(max_frame_bytes=0xFFFFFFFF))), clock())
    session.receive_data(bytes.fromhex("ff000006") + ((16 << 20) + 1).to_bytes(4, "big"), clock())
    assert session.closed is not None
    assert session.closed.code == CloseCode.TOO_LARGE


@given(st.binary(max_size=400), st.booleans())
def test_no_input_raises(data, opened):
    clock = Clock()
    session = started(clock)
    if opened:
        session.receive_data(frame_of(welcome()), clock())
    session.receive_data(data, clock())
    session.receive_eof()
    assert session.state is State.CLOSED or session.state is State.CLOSING or session.closed is not None


@given(
    st.lists(
        st.tuples(
            st.sampled_from([*(rules.tag for rules in STACK.rules), 2, 4, 5, 6]), st.binary(max_size=40)
        )
    )
)
def test_no_payload_raises(frames):
    clock = Clock()
    session = started(clock)
    session.receive_data(frame_of(welcome()), clock())
    session.receive_data(b"".join(encode(tag, payload) for tag, payload in frames), clock())
    assert session.state in (State.OPEN, State.CLOSED)


@given(st.lists(st.integers(1, 200), max_size=20))
def test_any_cutting_gives_the_same_events(sizes):
    stream = (
        frame_of(welcome())
        + member(2, JOINED, "b")
        + relayed(2, arena.Chat(text="hello")) * 3
        + frame_of(Ping(sentEpoch=9, rtt_us=5))
        + encode(6, b"")
        + frame_of(Disconnect(code=3000))
    )
    clock = Clock()
    whole, cut = started(clock), started(clock)
    whole.receive_data(stream, clock())
    rest = stream
    for size in sizes:
        cut.receive_data(rest[:size], clock())
        rest = rest[size:]
    cut.receive_data(rest, clock())
    assert cut.events() == whole.events()
    assert cut.data_to_send() == whole.data_to_send()
