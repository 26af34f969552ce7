"""How a session goes on after a lost connection, rule by rule, on a virtual clock."""

from __future__ import annotations

import pytest

import arena
from conftest import TOKEN, frame_of, member, relayed, resumable, welcome
from tagwire import outbox as outbox_module
from tagwire.close import CloseCode, Closed
from tagwire.events import Lost, Member, MemberChanged, Opened, Pinged, Responded
from tagwire.frame import encode
from tagwire.gen.v1 import (
    Disconnect,
    JoinRoomReply,
    Limits,
    Ping,
    PlayerLogin,
    Response,
    Resume,
    SchemaOffer,
    SchemaWanted,
    Welcome,
)
from tagwire.session import Session, State
from test_session import AWAY, BACK, JOINED, PRESENT, Clock, sent


@pytest.fixture
def clock() -> Clock:
    return Clock()


def opened(clock: Clock, answer: Welcome | None = None, **options: object) -> Session:
    options = {"username": "player1", "password": "welcome", "reconnect": True, **options}
    session = Session(arena.SCHEMA, **options)  # type: ignore[arg-type]
    session.start(clock())
    session.receive_data(frame_of(answer or resumable()), clock())
    session.data_to_send()
    session.events()
    return session


@pytest.fixture
def session(clock: Clock) -> Session:
    """One that is open and can be resumed."""
    return opened(clock)


def cut(session: Session) -> Lost:
    """Loses the connection."""
    session.receive_eof("the cable is out")
    *_, lost = session.events()
    assert isinstance(lost, Lost)
    return lost


def asked(session: Session, clock: Clock) -> PlayerLogin:
    """The login on the next connection."""
    session.start(clock())
    ((tag, payload),) = sent(session)
    assert tag == 1
    return PlayerLogin.FromString(payload)


def back(session: Session, clock: Clock, handled: int, *frames: bytes, **fields: object) -> list:
    """The next connection on which the server goes on; gives the events."""
    asked(session, clock)
    answer = resumable(resumed=True, frames_received=handled, **fields)
    session.receive_data(frame_of(answer) + b"".join(frames), clock())
    return session.events()


# Being away


def test_a_lost_connection_is_no_end_and_says_that_the_session_may_go_on(session):
    assert cut(session) == Lost(Closed(CloseCode.TIMEOUT, "the cable is out", by_peer=True), resumable=True)
    assert session.state is State.AWAY
    assert session.closed is None
    assert session.next_deadline() is None


def test_without_reconnecting_a_lost_connection_is_the_end(clock):
    session = opened(clock, reconnect=False)
    session.receive_eof()
    (closed,) = session.events()
    assert isinstance(closed, Closed)
    assert session.state is State.CLOSED


def test_ten_seconds_of_silence_lose_the_connection_without_a_disconnect(session, clock):
    session.handle_timer(clock.advance(10))
    (lost,) = session.events()
    assert (lost.closed.code, lost.resumable) == (CloseCode.TIMEOUT, True)
    assert session.data_to_send() == []
    assert session.state is State.AWAY


def test_a_disconnect_with_timeout_loses_the_connection_alone(session, clock):
    session.receive_data(frame_of(Disconnect(code=3002, reason="you are silent")), clock())
    assert session.events() == [Lost(Closed(CloseCode.TIMEOUT, "you are silent", by_peer=True), True)]
    assert asked(session, clock).HasField("resume")


@pytest.mark.parametrize("code", [3000, 3001, 3003, 3499, 4000, 4499])
def test_any_other_disconnect_that_advises_to_try_again_ends_the_session_on_the_server(session, clock, code):
    session.receive_data(frame_of(Disconnect(code=code, retry_after_ms=1500)), clock())
    (lost,) = session.events()
    assert (lost.closed.code, lost.closed.retry_after, lost.resumable) == (code, 1.5, False)
    assert not asked(session, clock).HasField("resume")


@pytest.mark.parametrize("code", [0, 3500, 3508, 3509, 4500, 4999])
def test_a_disconnect_that_does_not_advise_it_is_the_end(session, clock, code):
    session.receive_data(frame_of(Disconnect(code=code)), clock())
    assert session.events() == [Closed(CloseCode(code), by_peer=True)]
    assert session.state is State.CLOSED


@pytest.mark.parametrize("fields", [{"resume_token": b""}, {"resume_window_ms": 0}])
def test_a_server_that_does_not_resume_is_asked_for_a_new_session_and_nothing_is_kept(clock, fields):
    session = opened(clock, resumable(**fields))
    session.send(4, bytes(100))
    session.data_to_send()
    assert session.outbox.kept_bytes == 0
    assert not cut(session).resumable
    assert not asked(session, clock).HasField("resume")


def test_a_first_login_that_fails_is_the_end(clock):
    session = Session(arena.SCHEMA, username="player1", reconnect=True)
    session.start(clock())
    session.receive_eof()
    assert session.state is State.CLOSED


def test_nothing_is_sent_and_nothing_taken_while_away(session, clock):
    cut(session)
    with pytest.raises(RuntimeError, match="away"):
        session.send(4, b"")
    session.receive_data(encode(6, b""), clock())
    assert session.frames_received == 0
    assert (session.events(), session.data_to_send()) == ([], [])


# Asking for it


def test_the_login_is_the_same_beside_the_token_the_count_and_the_number_of_the_connection(clock):
    session = opened(clock, token="jwt")
    session.receive_data(member(2, JOINED, "b") * 3 + frame_of(Ping()), clock())
    first = PlayerLogin()
    first.CopyFrom(session._login)
    cut(session)
    login = asked(session, clock)
    assert login.resume == Resume(token=TOKEN, frames_received=3, connection=2)
    login.ClearField("resume")
    assert login == first
    assert (login.username, login.password, login.token) == ("player1", "welcome", "jwt")


def test_connections_are_numbered_within_a_session(session, clock):
    for number in range(2, 5):
        cut(session)
        assert asked(session, clock).resume.connection == number
    session.receive_data(frame_of(resumable(resume_token=b"of a new session")), clock())
    cut(session)
    assert asked(session, clock).resume.connection == 2


def test_a_login_that_took_too_long_is_one_more_connection_that_was_lost(session, clock):
    cut(session)
    asked(session, clock)
    session.receive_data(frame_of(Disconnect(code=CloseCode.LOGIN_TIMEOUT)), clock())
    assert [type(event) for event in session.events()] == [Lost]
    assert asked(session, clock).resume.token == TOKEN


def test_only_the_login_is_sent_before_welcome(session, clock):
    session.send(4, b"kept")
    session.receive_data(frame_of(Ping(sentEpoch=5)), clock())
    cut(session)
    assert asked(session, clock).HasField("resume")
    session.receive_data(frame_of(Ping(sentEpoch=6)) + encode(6, b""), clock())
    assert session.data_to_send() == []
    assert session.frames_received == 0  # it was none of the session


def test_the_schema_is_offered_again_where_it_is_wanted_again(session, clock):
    for _ in range(2):
        cut(session)
        asked(session, clock)
        session.receive_data(frame_of(SchemaWanted()), clock())
        ((tag, payload),) = sent(session)
        assert (tag, SchemaOffer.FromString(payload).descriptors) == (254, arena.SCHEMA.descriptors)


def test_a_login_that_the_token_would_make_too_large_goes_without(clock):
    session = opened(clock, token="x" * (8192 - 80))
    assert len(session._login.SerializeToString()) <= 8192
    cut(session)
    assert not asked(session, clock).HasField("resume")
    session.receive_data(frame_of(resumable()), clock())
    (event,) = session.events()
    assert not event.resumed


def test_an_attempt_that_fails_leaves_all_as_it_was(session, clock):
    session.send(4, b"1")
    session.data_to_send()
    cut(session)
    for _ in range(3):
        assert asked(session, clock).HasField("resume")
        assert cut(session).resumable
    assert asked(session, clock).HasField("resume")
    session.receive_data(frame_of(Disconnect(code=3003, retry_after_ms=500)), clock())
    assert session.events() == [Lost(Closed(CloseCode.OVERLOAD, by_peer=True, retry_after=0.5), True)]
    back(session, clock, 0)
    assert sent(session) == [(4, b"1")]


# Going on


def test_all_behind_the_servers_count_is_sent_again_in_order_and_before_anything_new(session, clock):
    for number in range(5):
        session.send(4, b"%d" % number)
    session.data_to_send()
    session.send(4, b"5")  # committed, not written
    cut(session)
    (event,) = back(session, clock, 2)
    session.send(4, b"6")
    assert [payload for _, payload in sent(session)] == [b"2", b"3", b"4", b"5", b"6"]
    assert isinstance(event, Opened)
    assert (event.resumed, event.lost) == (True, 0)
    assert session.outbox.committed == 7


def test_pings_are_not_sent_again(session, clock):
    session.send(4, b"1")
    session.receive_data(frame_of(Ping(sentEpoch=5)), clock())
    assert [tag for tag, _ in sent(session)] == [3, 4]
    session.receive_data(frame_of(Ping(sentEpoch=6)), clock())
    cut(session)
    back(session, clock, 0)
    assert [tag for tag, _ in sent(session)] == [4]


def test_the_count_of_what_was_handled_goes_on_over_connections(session, clock):
    session.receive_data(encode(6, b"") * 2, clock())
    cut(session)
    assert asked(session, clock).resume.frames_received == 2
    cut(session)
    back(session, clock, 0, encode(6, b"") * 3)
    assert session.frames_received == 5
    cut(session)
    assert asked(session, clock).resume.frames_received == 5
    session.receive_data(frame_of(resumable(resumed=True)) + frame_of(Ping(sentEpoch=9)), clock())
    ((_, ping),) = sent(session)
    assert Ping.FromString(ping).frames_received == 5


def test_half_a_frame_of_the_old_connection_is_thrown_away(session, clock):
    whole = relayed(2, arena.Chat(text="whole"))
    session.receive_data(whole[:-1], clock())
    cut(session)
    _, received = back(session, clock, 0, whole)
    assert received[0] == arena.Chat(text="whole")
    assert session.frames_received == 1


def test_room_members_name_clock_and_round_trip_go_on(session, clock):
    session.receive_data(
        member(2, PRESENT, "b") + frame_of(Ping(sentEpoch=10, rtt_us=2000, jitter_us=5)), clock()
    )
    key = session.request(248, b"")
    body = JoinRoomReply(room="main").SerializeToString()
    session.receive_data(frame_of(Response(key=key, tag=248, body=body)), clock())
    session.data_to_send()
    cut(session)
    events = back(session, clock, 1, member(2, AWAY), room="elsewhere")
    assert (session.room, session.rtt) == ("main", 0.002)
    assert session.members == {2: Member(2, "b", away=True)}
    assert [type(event) for event in events] == [Opened, MemberChanged]
    session.receive_data(member(2, BACK), clock())
    assert session.members == {2: Member(2, "b")}


def test_keys_rise_over_connections(session, clock):
    assert [session.request(248, b"") for _ in range(2)] == [1, 2]
    session.data_to_send()
    cut(session)
    back(session, clock, 2)
    assert session.request(248, b"") == 3


def test_a_request_is_answered_on_whatever_connection(session, clock):
    key = session.request(248, b"")
    session.data_to_send()
    cut(session)
    _, answer = back(session, clock, 1, frame_of(Response(key=key, tag=248)))
    assert isinstance(answer, Responded)
    assert answer.response.key == key
    assert sent(session) == []  # the server has it


def test_the_limits_are_those_of_the_new_connection(session, clock):
    cut(session)
    back(session, clock, 0, limits=Limits(max_frame_bytes=1000))
    assert session.max_frame_bytes == 1000


def test_any_number_of_connections_is_as_good_as_one(session, clock):
    for number in range(100):
        session.send(4, b"%d" % number)
        if number % 3:
            session.data_to_send()
        cut(session)
        back(session, clock, number)
        assert sent(session) == [(4, b"%d" % number)]


# Acknowledgements


@pytest.mark.parametrize("asks", [0, 7])
def test_any_ping_acknowledges(session, clock, asks):
    for _ in range(3):
        session.send(4, b"12345")
    session.data_to_send()
    kept = session.outbox.kept_bytes
    session.receive_data(frame_of(Ping(sentEpoch=asks, frames_received=2)), clock())
    assert session.outbox.kept_bytes == kept // 3
    assert [isinstance(event, Pinged) for event in session.events()] == ([True] if asks else [])


def test_what_was_acknowledged_is_not_sent_again(session, clock):
    for number in range(3):
        session.send(4, b"%d" % number)
    session.data_to_send()
    session.receive_data(frame_of(Ping(frames_received=2)), clock())
    cut(session)
    back(session, clock, 2)
    assert [payload for _, payload in sent(session)] == [b"2"]


def test_an_acknowledgement_of_what_was_never_sent_is_a_violation(session, clock):
    session.send(4, b"")
    session.data_to_send()
    session.receive_data(frame_of(Ping(frames_received=1)), clock())
    assert session.state is State.OPEN
    session.receive_data(frame_of(Ping(frames_received=2)), clock())
    (closed,) = session.events()
    assert (closed.code, closed.by_peer) == (CloseCode.VIOLATION, False)
    assert "acknowledged 2 frames, 1 were sent" in closed.reason
    ((tag, payload),) = sent(session)
    assert (tag, Disconnect.FromString(payload).code) == (241, 3504)


@pytest.mark.parametrize("handled", [1, 4])
def test_a_count_that_nothing_can_go_on_from_is_a_violation_and_then_a_new_session(session, clock, handled):
    for number in range(3):
        session.send(4, b"%d" % number)
    session.data_to_send()
    session.receive_data(frame_of(Ping(frames_received=2)), clock())
    cut(session)
    assert back(session, clock, handled) == []
    assert session.state is State.CLOSING
    ((tag, payload),) = sent(session)
    assert (tag, Disconnect.FromString(payload).code) == (241, 3504)
    session.handle_timer(clock.advance(1))
    (lost,) = session.events()
    assert (lost.closed.code, lost.closed.by_peer, lost.resumable) == (CloseCode.VIOLATION, False, False)
    assert f"handled {handled} frames of this client, which can go on behind 2 to 3" in lost.closed.reason
    assert not asked(session, clock).HasField("resume")
    session.receive_data(frame_of(resumable()), clock())
    (event,) = session.events()
    assert (event.resumed, event.lost) == (False, 1)


def test_a_server_that_wants_what_was_forgotten_gets_a_new_session(session, clock, monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_KEPT_BYTES", 100)
    for _ in range(3):
        session.send(4, bytes(48))  # 50 bytes with the header
    session.data_to_send()
    cut(session)
    assert back(session, clock, 0) == []
    session.receive_eof()
    (lost,) = session.events()
    assert not lost.resumable


def test_256_frames_after_a_resume_are_acknowledged_as_ever(session, clock):
    session.receive_data(encode(6, b"") * 200, clock())
    cut(session)
    back(session, clock, 0, encode(6, b"") * 255)
    assert session.data_to_send() == []  # the login told the first 200
    session.receive_data(encode(6, b""), clock())
    ((_, payload),) = sent(session)
    assert Ping.FromString(payload) == Ping(frames_received=456)


# A new session


def test_a_new_session_begins_with_nothing_but_the_keys(session, clock):
    session.receive_data(member(2, PRESENT, "b") + frame_of(Ping(sentEpoch=1, rtt_us=5)), clock())
    session.request(248, b"")
    session.send(4, b"2")
    session.data_to_send()
    session.send(4, b"3")
    cut(session)
    asked(session, clock)
    session.receive_data(frame_of(resumable(session_id=8, player_id=42, name="Guest", room="lobby")), clock())
    (event,) = session.events()
    assert (event.resumed, event.lost) == (False, 3)
    assert (session.session_id, session.player_id, session.name) == (8, 42, "Guest")
    assert (session.room, session.members, session.rtt) == ("lobby", {}, None)
    assert (session.frames_received, session.outbox.committed) == (0, 0)
    assert session.data_to_send() == []
    assert session.request(248, b"") == 2


def test_a_server_that_says_resumed_and_was_not_asked_is_not_believed(clock):
    session = opened(clock, resumable(resumed=True, frames_received=9))
    assert session.state is State.OPEN
    assert session.outbox.written == 0
    session.receive_data(frame_of(Disconnect(code=3000)), clock())
    asked(session, clock)
    session.events()
    session.receive_data(frame_of(resumable(resumed=True, frames_received=9)), clock())
    (event,) = session.events()
    assert not event.resumed


def test_a_new_session_is_resumed_by_its_own_token(session, clock):
    cut(session)
    asked(session, clock)
    session.receive_data(frame_of(resumable(resume_token=b"another")), clock())
    cut(session)
    assert asked(session, clock).resume.token == b"another"
    session.receive_data(frame_of(welcome(resumed=True)), clock())  # which tells the token no more
    cut(session)
    assert asked(session, clock).resume.token == b"another"


def test_a_refused_resume_is_followed_by_a_login_without_it(clock):
    session = opened(clock, username="", password="")
    cut(session)
    assert asked(session, clock).HasField("resume")
    session.receive_data(frame_of(Disconnect(code=3509)), clock())
    assert session.events() == [Lost(Closed(CloseCode.RESUME_REFUSED, by_peer=True), False)]
    assert not asked(session, clock).HasField("resume")
    session.receive_data(frame_of(Disconnect(code=3509)), clock())  # and not twice
    assert session.state is State.CLOSED


@pytest.mark.parametrize("code", [3501, 3502, 3510])
def test_a_login_that_is_refused_for_good_is_the_end(session, clock, code):
    cut(session)
    asked(session, clock)
    session.receive_data(frame_of(Disconnect(code=code, reason="no")), clock())
    assert session.events() == [Closed(CloseCode(code), "no", by_peer=True)]


# Our own end


def test_closing_while_away_just_ends(session, clock):
    cut(session)
    session.close(4000, "bye", clock())
    assert session.events() == [Closed(CloseCode(4000), "bye")]
    assert (session.state, session.data_to_send()) == (State.CLOSED, [])
    session.start(clock())
    assert session.data_to_send() == []


def test_closing_during_the_next_login_just_ends(session, clock):
    cut(session)
    asked(session, clock)
    session.close(0, "", clock())
    assert (session.state, session.data_to_send()) == (State.CLOSED, [])


def test_closing_during_the_farewell_of_a_failed_resume_ends_for_good(session, clock):
    cut(session)
    back(session, clock, 5)
    assert session.state is State.CLOSING
    session.close(0, "bye", clock())
    session.receive_eof()
    assert session.state is State.CLOSED
    assert session.events() == [Closed(CloseCode.NORMAL, "bye")]


def test_giving_up_is_a_time_out(session):
    session.give_up("not while it is open")
    assert session.state is State.OPEN
    cut(session)
    session.give_up("enough")
    assert session.events() == [Closed(CloseCode.TIMEOUT, "enough", by_peer=True)]
    assert session.state is State.CLOSED


# The secret


def test_the_token_is_in_the_login_and_nowhere_else(session, clock):
    session.receive_data(encode(6, b""), clock())
    events = session.events()
    assert type(events[0]) is tuple
    again = opened(clock)
    cut(again)
    back_events = back(again, clock, 0)
    texts = [repr(session), repr(session.welcome), repr(vars(session)["welcome"]), repr(back_events)]
    texts += [repr(again.outbox), str(again.welcome)]
    for text in texts:
        assert "secret" not in text
    assert again.welcome is not None
    assert again.welcome.resume_token == b""
    again.close(0, "", clock())
    assert again._resume_token == b""
