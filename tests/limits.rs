//! Every limit of a session, crossed by one.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::*;
use tagwire::close::CloseCode;
use tagwire::frame::encode;
use tagwire::pb::tagwire::v1::{self, reason::Value as Reason, status};
use tagwire::session::limits::{Limit, SessionLimits};
use tagwire::session::server::{Dropped, Incoming, Reply};
use tagwire::session::{Dialect, Fault};
use tagwire::{Access, Message, Tag};

type Taken = Result<Option<Incoming<'static>>, Fault>;

fn dropped(taken: Taken) -> Dropped {
    match taken {
        Ok(Some(Incoming::Dropped(dropped))) => dropped,
        other => panic!("not dropped: {other:?}"),
    }
}

fn notice(dropped: Dropped) -> Option<v1::Notice> {
    match dropped.reply {
        Some(Reply::Notice(notice)) => Some(notice),
        None => None,
        other => panic!("{other:?}"),
    }
}

fn relayed(taken: &Taken) -> bool {
    matches!(taken, Ok(Some(Incoming::Relay { .. })))
}

fn native() -> ServerSide {
    ServerSide::open(Dialect::Native, Access::Player)
}

#[test]
fn an_ordered_message_over_its_rate_is_dropped_with_a_notice() {
    let mut side = native();
    assert!(relayed(&side.take(&Slow::new("1"))) && relayed(&side.take(&Slow::new("2"))));
    let third = dropped(side.take(&Slow::new("3")));
    assert_eq!((third.reason, third.limit), (Reason::RateLimited, Some(Limit::Message { max_rate: 2 })));
    let notice = notice(third).unwrap();
    assert_eq!((notice.reason, notice.tag), (Reason::RateLimited.into(), 9));
    assert_eq!(notice.text, "test.v1.Slow dropped: max_rate is 2/s");
    // Nothing else is disturbed, and what comes in by the second is there again.
    assert!(relayed(&side.take(&ToRoom::new("other"))));
    side.now = side.now.after_us(499_999);
    dropped(side.take(&Slow::new("4")));
    side.now = side.now.after_us(1);
    assert!(relayed(&side.take(&Slow::new("5"))));
}

#[test]
fn a_hundred_ordered_messages_over_their_rate_are_forgiven_in_ten_seconds() {
    let mut side = native();
    let start = side.now;
    side.take(&Slow::new("")).unwrap();
    side.take(&Slow::new("")).unwrap();
    for _ in 0..100 {
        dropped(side.take(&Slow::new("")));
    }
    let fault = side.take(&Slow::new("")).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::RATE_LIMITED);
    assert_eq!(fault.to_string(), "more than 100 messages over a limit within 10 s; max_rate is 2/s");
    // A little less often, and it goes on for ever.
    let mut side = native();
    side.now = start;
    for _ in 0..1000 {
        side.take(&Slow::new("")).unwrap();
        side.now = side.now.after_us(90_000);
    }
}

#[test]
fn latest_messages_over_their_rate_are_dropped_and_nothing_else() {
    let mut side = native();
    assert!(relayed(&side.take(&SlowLatest::new("1"))) && relayed(&side.take(&SlowLatest::new("2"))));
    let first = dropped(side.take(&SlowLatest::new("3")));
    assert!(notice(first).is_some(), "once, so that the author of the game learns of it");
    for _ in 0..1000 {
        side.now = side.now.after_us(1000);
        match side.take(&SlowLatest::new("4")) {
            Ok(Some(Incoming::Dropped(dropped))) => assert_eq!(dropped.reply, None),
            taken => assert!(relayed(&taken), "{taken:?}"),
        }
    }
}

#[test]
fn a_request_over_its_rate_is_answered_with_when_to_ask_again() {
    let mut side = native();
    let ask = |key| v1::Request { key, tag: AsksSlowly::TAG.0.into(), ..Default::default() };
    for key in [1, 2] {
        assert!(matches!(side.take(&ask(key)), Ok(Some(Incoming::Request { .. }))));
    }
    let third = dropped(side.take(&ask(3)));
    assert_eq!((third.tag, third.reason), (AsksSlowly::TAG, Reason::RateLimited));
    let Some(Reply::Response(answer)) = third.reply else { panic!("a request is answered") };
    assert_eq!((answer.key, answer.status), (3, status::Value::Unavailable.into()));
    assert_eq!((answer.retry_after_ms, answer.may_have_run), (500, false));
    assert_eq!(answer.message, "too fast: max_rate is 2/s");
    side.now = side.now.after_us(500_000);
    assert!(matches!(side.take(&ask(4)), Ok(Some(Incoming::Request { .. }))));
}

#[test]
fn a_client_joins_so_many_rooms_a_second() {
    let limits = SessionLimits { max_joins_per_second: 10, ..NO_RATES };
    let mut side = ServerSide::open_with(limits, Dialect::Native, Access::Player);
    let join = |key| v1::Request { key, tag: v1::JoinRoom::TAG.0.into(), ..Default::default() };
    for key in 1..11 {
        assert!(matches!(side.take(&join(key)), Ok(Some(Incoming::Request { .. }))), "{key}");
    }
    let dropped = dropped(side.take(&join(11)));
    assert_eq!(dropped.limit, Some(Limit::Joins(10)));
    assert!(matches!(
        dropped.reply,
        Some(Reply::Response(v1::Response { key: 11, retry_after_ms: 100, .. }))
    ));
}

fn limited(frames: u32, bytes: u32) -> SessionLimits {
    SessionLimits { max_frames_per_second: frames, max_bytes_per_second: bytes, ..NO_RATES }
}

#[test]
fn a_client_sends_so_many_frames_a_second() {
    let mut side = ServerSide::open_with(limited(3, 0), Dialect::Native, Access::Player);
    for _ in 0..3 {
        assert!(relayed(&side.take(&ToRoom::new(""))));
    }
    let fourth = dropped(side.take(&ToRoom::new("")));
    assert_eq!(fourth.limit, Some(Limit::Frames(3)));
    assert_eq!(notice(fourth).unwrap().text, "test.v1.ToRoom dropped: a client may send 3 frames a second");
    // Whatever it is, known or not, it counts; and a request is answered.
    dropped(side.take_bytes(&[0, 99]));
    let answer = dropped(side.take(&v1::Request { key: 7, tag: 300, ..Default::default() })).reply;
    assert!(matches!(answer, Some(Reply::Response(v1::Response { key: 7, retry_after_ms: 334, .. }))));
    // Who leaves is let go.
    assert!(matches!(side.take(&v1::Disconnect::default()), Ok(Some(Incoming::Leave { .. }))));
}

#[test]
fn a_client_sends_so_many_bytes_a_second() {
    let mut side = ServerSide::open_with(limited(0, 1000), Dialect::Native, Access::Player);
    // Two bytes of header, two of the field's key and length (three from 128 on).
    for _ in 0..4 {
        assert!(relayed(&side.take(&ToRoom::new(&"x".repeat(245)))));
    }
    assert_eq!(dropped(side.take(&ToRoom::new(""))).limit, Some(Limit::Bytes(1000)));
    side.now = side.now.after_us(1_000_000);
    // As large as what a second holds: its header must not keep it out for ever.
    assert!(relayed(&side.take(&ToRoom::new(&"x".repeat(997)))));
    dropped(side.take(&ToRoom::new("")));
}

#[test]
fn every_request_of_a_batch_costs_what_it_would_alone() {
    let mut side = ServerSide::open_with(limited(10, 0), Dialect::Native, Access::Player);
    let requests = (1..=20).map(|key| v1::Request { key, tag: 300, ..Default::default() }).collect();
    let Ok(Some(Incoming::Batch { requests, .. })) = side.take(&v1::Batch { requests, stop_on_error: false })
    else {
        panic!("a batch")
    };
    let run = requests.iter().filter(|request| matches!(request, Incoming::Request { .. })).count();
    assert_eq!(run, 9, "the batch itself is a frame");
    assert!(matches!(&requests[9], Incoming::Dropped(Dropped { reply: Some(Reply::Response(_)), .. })));
}

#[test]
fn who_floods_the_connection_is_ended_whatever_it_sends() {
    let floods: [Vec<u8>; 3] = [frame(&SlowLatest::new("x")), vec![0, 99], frame(&v1::Ping::default())];
    for flood in floods {
        let mut side = ServerSide::open_with(limited(1000, 0), Dialect::Native, Access::Player);
        let taken = (0..).find_map(|i| Some((i, side.take_bytes(&flood).err()?))).unwrap();
        assert_eq!((taken.0, CloseCode::from(&taken.1)), (1100, CloseCode::RATE_LIMITED));
    }
    // A request that was passed is no way around it.
    let mut side = ServerSide::open_with(limited(1000, 0), Dialect::Native, Access::Player);
    let request = v1::Request { key: 0, tag: 300, ..Default::default() };
    assert_eq!((0..).find(|_| side.take(&request).is_err()), Some(1100));
}

#[test]
fn a_hundred_invalid_messages_are_forgiven_in_a_minute() {
    let mut invalid = vec![];
    encode(Tag(2), &[0xff], &mut invalid);
    let too_large = frame(&ToAll::new("123456789"));
    let mut side = native();
    for i in 0..100 {
        side.now = side.now.after_us(599_999);
        let reason = dropped(side.take_bytes(if i % 2 == 0 { &invalid } else { &too_large })).reason;
        assert_eq!(reason, if i % 2 == 0 { Reason::Invalid } else { Reason::TooLarge });
    }
    let mut later = native();
    let fault = side.take_bytes(&invalid).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::VIOLATION);
    assert_eq!(fault.to_string(), "more than 100 invalid messages within 60 s");
    for _ in 0..1000 {
        later.now = later.now.after_us(600_001);
        dropped(later.take_bytes(&invalid));
    }
}

#[test]
fn from_a_classic_client_too_much_is_dropped_and_never_answered() {
    let mut side = ServerSide::open_with(limited(5, 0), Dialect::Classic, Access::Player);
    assert!(relayed(&side.take(&Slow::new(""))) && relayed(&side.take(&Slow::new(""))));
    assert_eq!(dropped(side.take(&Slow::new(""))).limit, Some(Limit::Message { max_rate: 2 }));
    let mut invalid = vec![];
    encode(Tag(2), &[0xff], &mut invalid);
    for i in 0..1000 {
        if i % 3 == 0 {
            side.now = side.now.after_us(200_000);
        }
        let bytes = if i % 2 == 0 { frame(&Slow::new("")) } else { invalid.clone() };
        match side.take_bytes(&bytes) {
            Ok(Some(Incoming::Dropped(dropped))) => assert_eq!(dropped.reply, None),
            other => assert!(relayed(&other), "{other:?}"),
        }
    }
}

#[test]
fn a_room_that_is_too_busy_is_no_offence_of_who_sends() {
    let mut side = native();
    let first = side.session.undelivered(side.now, Tag(2), 7);
    assert_eq!(first.limit, Some(Limit::Room(7)));
    assert_eq!(notice(first).unwrap().text, "test.v1.ToRoom dropped: the room takes 7 deliveries a second");
    for _ in 0..1000 {
        side.session.undelivered(side.now, Tag(2), 7);
    }
    assert!(relayed(&side.take(&ToRoom::new("on it goes"))));
}

#[test]
fn a_welcome_tells_the_limits() {
    let limits = SessionLimits { max_frame_bytes: 9000, ..limited(7, 10_000) };
    let mut side = ServerSide::with(limits);
    let client = Some(v1::ClientInfo { protocol: 1, ..Default::default() });
    let Ok(Some(Incoming::Login(login))) = side.take(&v1::PlayerLogin { client, ..Default::default() })
    else {
        panic!()
    };
    let told = side.admit(&login, Access::Player).unwrap().limits.unwrap();
    assert_eq!(
        told,
        v1::Limits { max_frame_bytes: 9000, max_frames_per_second: 7, max_bytes_per_second: 10_000 }
    );
}

/// What a client had to keep while it had no connection comes all at once, and is not too fast.
#[test]
fn who_comes_back_may_send_what_it_could_not() {
    let mut side = native();
    assert!(relayed(&side.take(&Slow::new(""))));
    side.now = side.now.after_us(10_000_000);
    let welcome = side.session.resume(side.now, admission("player1", Access::Player));
    assert!(welcome.resumed && welcome.frames_received == 1);
    // Two a second, for ten seconds, and what the bucket held after the first.
    let taken = (0..40).filter(|_| relayed(&side.take(&Slow::new("")))).count();
    assert_eq!(taken, 21);
    // Then as ever.
    side.now = side.now.after_us(1_000_000);
    let taken = (0..10).filter(|_| relayed(&side.take(&Slow::new("")))).count();
    assert_eq!(taken, 2);
    // However often one comes back, a time in which nothing was sent is made up for once.
    side.now = side.now.after_us(1_000_000);
    for _ in 0..10 {
        side.session.resume(side.now, admission("player1", Access::Player));
    }
    let taken = (0..10).filter(|_| relayed(&side.take(&Slow::new("")))).count();
    assert_eq!(taken, 2);
}
