//! The client's side of a session that has lost its connection, rule by rule.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::*;
use tagwire::bytes::Bytes;
use tagwire::frame::Decoder;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::session::Fault;
use tagwire::session::client::{ClientSession, Credentials, Event, SendError};
use tagwire::session::outbox::{AckError, OutboxLimits, ResumeError};
use tagwire::{CloseCode, Message, Tag};

const SMALL: OutboxLimits =
    OutboxLimits { max_frames: 3, max_bytes: 1000, max_kept_bytes: 1000, max_stuck_us: 10_000_000 };

fn welcome(token: &'static [u8]) -> v1::Welcome {
    v1::Welcome {
        resume_token: Bytes::from_static(token),
        resume_window_ms: 60_000,
        limits: Some(v1::Limits { max_frame_bytes: MAX_FRAME_BYTES as u32, ..Default::default() }),
        ..Default::default()
    }
}

/// One that is inside, and has been told a token.
fn inside() -> ClientSide {
    let credentials = Credentials {
        username: "player1".to_string(),
        password: "welcome".to_string(),
        ..Credentials::default()
    };
    let mut session = ClientSession::new(schema(), credentials, SMALL);
    session.connect(START);
    let mut side = ClientSide { session, decoder: Decoder::default(), now: START };
    side.sent();
    side.take(&welcome(b"token")).unwrap();
    side
}

/// Its connection is lost and another one stands; the login that it sends there.
fn again(side: &mut ClientSide) -> v1::PlayerLogin {
    side.session.disconnect();
    connect(side)
}

fn connect(side: &mut ClientSide) -> v1::PlayerLogin {
    side.session.connect(side.now);
    side.decoder = Decoder::default();
    let sent = side.sent();
    assert_eq!(sent.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [v1::PlayerLogin::TAG]);
    v1::PlayerLogin::decode(sent[0].1.as_slice()).unwrap()
}

fn resumed(frames_received: u64) -> v1::Welcome {
    v1::Welcome { resumed: true, frames_received, ..welcome(b"token") }
}

fn texts(side: &mut ClientSide) -> Vec<(Tag, String)> {
    let text = |payload: Vec<u8>| ToRoom::decode(payload.as_slice()).unwrap().text;
    side.sent().into_iter().map(|(tag, payload)| (tag, text(payload))).collect()
}

#[test]
fn it_asks_for_its_session_with_its_count_and_the_number_of_the_connection() {
    let mut side = inside();
    side.take(&FromServer::new("one")).unwrap();
    side.take(&v1::Ping::default()).unwrap();
    side.take_bytes(&[1, 77, 0]).unwrap();
    let login = again(&mut side);
    assert_eq!((login.username.as_str(), login.password.as_str()), ("player1", "welcome"));
    let resume = login.resume.unwrap();
    assert_eq!((&resume.token[..], resume.frames_received, resume.connection), (&b"token"[..], 2, 2));
    // Before the answer nothing else is sent; and it may be lost as well.
    side.session.send(&ToRoom::new("waits")).unwrap();
    assert_eq!(side.sent(), []);
    assert_eq!(again(&mut side).resume.unwrap().connection, 3);
}

#[test]
fn what_the_server_has_not_handled_is_sent_again_before_anything_new() {
    let mut side = inside();
    for text in ["1", "2", "3"] {
        side.session.send(&ToRoom::new(text)).unwrap();
    }
    assert_eq!(side.sent().len(), 3);
    side.session.disconnect();
    side.session.send(&ToRoom::new("4")).unwrap();
    connect(&mut side);
    assert!(matches!(side.take(&resumed(1)), Ok(Event::Welcome(_))));
    side.session.send(&ToRoom::new("5")).unwrap();
    let expected = ["2", "3", "4", "5"].map(|text| (ToRoom::TAG, text.to_string()));
    assert_eq!(texts(&mut side), expected);
    // Acknowledged once more, it goes on behind that.
    side.take(&v1::Ping { frames_received: 4, ..Default::default() }).unwrap();
    again(&mut side);
    side.take(&resumed(5)).unwrap();
    assert_eq!(side.sent(), []);
}

#[test]
fn a_count_that_cannot_be_ends_it() {
    let mut side = inside();
    side.session.send(&ToRoom::new("1")).unwrap();
    side.sent();
    side.take(&v1::Ping { frames_received: 1, ..Default::default() }).unwrap();
    again(&mut side);
    let ahead = Fault::Resume(ResumeError::Ahead(AckError { acknowledged: 2, committed: 1 }));
    assert_eq!(side.take(&resumed(2)), Err(ahead));
    again(&mut side);
    let behind = Fault::Resume(ResumeError::Forgotten { received: 0, forgotten: 1 });
    assert_eq!(CloseCode::from(&behind), CloseCode::VIOLATION);
    assert_eq!(side.take(&resumed(0)), Err(behind));
}

#[test]
fn without_a_connection_it_takes_what_there_is_room_for() {
    let mut side = inside();
    side.session.disconnect();
    for text in ["1", "2", "3", "4"] {
        assert_eq!(side.session.send(&ToRoom::new(text)), Ok(()), "{text}");
    }
    assert_eq!(side.session.send(&ToRoom::new("5")), Err(SendError::Full));
    assert_eq!(side.session.request(&Asks::new("?")), Err(SendError::Full));
    connect(&mut side);
    side.take(&resumed(0)).unwrap();
    assert_eq!(side.session.send(&ToRoom::new("5")), Err(SendError::Full), "nothing is written yet");
    assert_eq!(texts(&mut side).len(), 4);
    assert_eq!(side.session.send(&ToRoom::new("5")), Ok(()));
    assert_eq!(side.session.request(&Asks::new("?")), Ok(1), "no key was used");
}

#[test]
fn of_latest_messages_the_newest_waits() {
    let mut side = inside();
    side.session.disconnect();
    for text in ["1", "2", "3"] {
        side.session.send(&SlowLatest::new(text)).unwrap();
    }
    side.session.send(&ToRoom::new("first")).unwrap();
    connect(&mut side);
    side.take(&resumed(0)).unwrap();
    let expected = [(ToRoom::TAG, "first".to_string()), (SlowLatest::TAG, "3".to_string())];
    assert_eq!(texts(&mut side), expected);
}

#[test]
fn a_new_session_begins_with_nothing_but_higher_keys() {
    let mut side = inside();
    assert_eq!(side.session.request(&Asks::new("?")), Ok(1));
    side.sent();
    side.session.send(&ToRoom::new("lost")).unwrap();
    side.take(&FromServer::new("one")).unwrap();
    again(&mut side);
    side.take(&welcome(b"other")).unwrap();
    assert_eq!(side.sent(), []);
    assert_eq!(side.session.frames_received(), 0);
    assert_eq!(side.session.request(&Asks::new("?")), Ok(2));
    let resume = again(&mut side).resume.unwrap();
    assert_eq!((&resume.token[..], resume.frames_received, resume.connection), (&b"other"[..], 0, 2));
}

#[test]
fn only_time_out_leaves_a_session_to_come_back_to() {
    for code in [CloseCode::SHUTDOWN, CloseCode::REPLACED, CloseCode::KICKED, CloseCode(4000)] {
        let mut side = inside();
        side.take(&v1::Disconnect { code: code.0.into(), ..Default::default() }).unwrap();
        assert!(side.session.is_closed() && !side.session.is_resumable(), "{code}");
        side.session.connect(side.now);
        assert_eq!(side.sent(), [], "{code}");
    }
    let mut side = inside();
    side.take(&v1::Disconnect { code: CloseCode::TIMEOUT.0.into(), ..Default::default() }).unwrap();
    assert!(side.session.is_resumable() && !side.session.is_open());
    assert!(connect(&mut side).resume.is_some());
}

#[test]
fn who_is_not_let_in_now_may_come_again() {
    for code in [CloseCode::OVERLOAD, CloseCode::SHUTDOWN, CloseCode::LOGIN_TIMEOUT] {
        let mut side = inside();
        again(&mut side);
        side.take(&v1::Disconnect { code: code.0.into(), ..Default::default() }).unwrap();
        assert_eq!(connect(&mut side).resume.unwrap().connection, 3, "{code}");
    }
    for code in [CloseCode::LOGIN_REFUSED, CloseCode::RESUME_REFUSED, CloseCode::VERSION] {
        let mut side = inside();
        again(&mut side);
        side.take(&v1::Disconnect { code: code.0.into(), ..Default::default() }).unwrap();
        assert!(side.session.is_closed(), "{code}");
    }
}

/// A server that gives no token: as before there was any.
#[test]
fn without_a_token_it_logs_in_anew() {
    let mut side = ClientSide::open();
    assert!(!side.session.is_resumable());
    side.session.disconnect();
    assert_eq!(side.session.send(&ToRoom::new("?")), Err(SendError::NotOpen));
    assert_eq!(connect(&mut side).resume, None);
}

#[test]
fn printing_it_shows_no_secret() {
    let side = inside();
    let printed = format!("{:?}", side.session);
    assert!(
        printed.contains("player1") && !printed.contains("welcome") && !printed.contains("token"),
        "{printed}"
    );
}
