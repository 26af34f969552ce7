//! What each side may send once it is inside.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::*;
use tagwire::bytes::Bytes;
use tagwire::close::CloseCode;
use tagwire::frame::encode;
use tagwire::pb::tagwire::v1::{self, reason::Value as Reason, status};
use tagwire::prost::Message as _;
use tagwire::session::client::{Event, SendError};
use tagwire::session::server::{Dropped, Incoming, Reply};
use tagwire::session::{Dialect, Fault};
use tagwire::{Access, Message, Tag};

fn bare(tag: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    encode(Tag(tag), payload, &mut out);
    out
}

fn notice(dropped: &Dropped) -> Option<&v1::Notice> {
    match &dropped.reply {
        Some(Reply::Notice(notice)) => Some(notice),
        _ => None,
    }
}

fn dropped(incoming: Result<Option<Incoming<'static>>, Fault>) -> Dropped {
    match incoming {
        Ok(Some(Incoming::Dropped(dropped))) => dropped,
        other => panic!("not dropped: {other:?}"),
    }
}

#[test]
fn test_server_sends_a_message_where_its_rules_say() {
    for dialect in [Dialect::Native, Dialect::Classic] {
        let mut side = ServerSide::open(dialect, Access::Player);
        let payload = ToRoom::new("hi").encode_to_vec();
        assert_eq!(
            side.take(&ToRoom::new("hi")),
            Ok(Some(Incoming::Relay {
                message: 0,
                tag: Tag(2),
                to_all: false,
                payload: payload.clone().leak()
            }))
        );
        assert!(matches!(side.take(&ToAll::new("hi")), Ok(Some(Incoming::Relay { to_all: true, .. }))));
        assert!(matches!(side.take(&ToCode::new("hi")), Ok(Some(Incoming::Push { tag: Tag(5), .. }))));
    }
}

#[test]
fn test_server_forwards_fields_it_does_not_know() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    let newer = [ToRoom::new("hi").encode_to_vec(), vec![0xa0, 6, 5]].concat();
    let Ok(Some(Incoming::Relay { payload, .. })) = side.take_bytes(&bare(2, &newer)) else { panic!() };
    assert_eq!(payload, newer);
}

#[test]
fn test_server_ends_who_sends_what_only_the_server_may() {
    let mut native = ServerSide::open(Dialect::Native, Access::Player);
    let fault = native.take(&FromServer::new("me")).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::VIOLATION);
    assert_eq!(fault.to_string(), "test.v1.FromServer (tag 6) is not for this side to send");
    for tag in [240, 243, 245, 246, 247, 253] {
        let fault =
            ServerSide::open(Dialect::Native, Access::Player).take_bytes(&bare(tag, &[])).unwrap_err();
        assert_eq!(CloseCode::from(&fault), CloseCode::VIOLATION, "tag {tag}");
    }
    let mut classic = ServerSide::open(Dialect::Classic, Access::Player);
    assert_eq!(dropped(classic.take(&FromServer::new("me"))).reply, None);
}

#[test]
fn test_server_ends_who_sends_what_it_has_no_right_to() {
    let mut player = ServerSide::open(Dialect::Native, Access::Player);
    let fault = player.take(&ForOperators::new("ban")).unwrap_err();
    assert_eq!(fault, Fault::Access { tag: Tag(7), name: "test.v1.ForOperators".into() });
    assert_eq!(CloseCode::from(&fault), CloseCode::VIOLATION);
    let mut operator = ServerSide::open(Dialect::Native, Access::Operator);
    assert!(matches!(operator.take(&ForOperators::new("ban")), Ok(Some(Incoming::Push { .. }))));
    let mut guest = ServerSide::open(Dialect::Native, Access::Guest);
    assert!(matches!(guest.take(&ForGuests::new("look")), Ok(Some(Incoming::Push { .. }))));
    assert!(matches!(guest.take(&ToRoom::new("hi")), Err(Fault::Access { .. })));
}

#[test]
fn test_server_drops_what_it_does_not_know_and_says_so_once_a_tag() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    let first = dropped(side.take_bytes(&bare(77, &[1, 2, 3])));
    let notice = notice(&first).unwrap();
    assert_eq!((notice.reason, notice.tag), (Reason::Unknown.into(), 77));
    assert_eq!(notice.text, "the server's schema has no message with tag 77");
    side.now = side.now.after_us(5_000_000);
    assert_eq!(dropped(side.take_bytes(&bare(77, &[]))).reply, None);
    assert!(dropped(side.take_bytes(&bare(78, &[]))).reply.is_some());
}

#[test]
fn test_server_sends_at_most_one_notice_a_second() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    assert!(dropped(side.take_bytes(&bare(2, &[0xff]))).reply.is_some());
    side.now = side.now.after_us(999_999);
    assert_eq!(dropped(side.take_bytes(&bare(2, &[0xff]))).reply, None);
    assert_eq!(dropped(side.take_bytes(&bare(79, &[]))).reply, None);
    side.now = side.now.after_us(1);
    // The tag that was passed over in silence is still told.
    assert!(dropped(side.take_bytes(&bare(79, &[]))).reply.is_some());
}

#[test]
fn test_server_drops_what_is_not_the_message_it_claims_to_be() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    let not_utf8 = dropped(side.take_bytes(&bare(2, &[0x0a, 2, 0xff, 0xfe])));
    assert_eq!(not_utf8.reason, Reason::Invalid);
    assert!(not_utf8.text.contains("test.v1.ToRoom") && not_utf8.text.contains("text"), "{}", not_utf8.text);
    assert_eq!(dropped(side.take_bytes(&bare(2, &[0x0a, 200]))).reason, Reason::Invalid);
    assert_eq!(dropped(side.take(&ToAll::new("123456789"))).reason, Reason::TooLarge, "11 bytes, 10 allowed");
    assert!(matches!(side.take(&ToAll::new("12345678")), Ok(Some(Incoming::Relay { .. }))));
}

#[test]
fn test_server_never_answers_a_classic_client() {
    let mut side = ServerSide::open(Dialect::Classic, Access::Player);
    for bytes in
        [bare(77, &[1]), bare(2, &[0xff]), bare(6, &[]), bare(241, &[]), bare(242, &[]), bare(3, &[0xff])]
    {
        let dropped = dropped(side.take_bytes(&bytes));
        assert_eq!(dropped.reply, None, "{bytes:02x?}");
    }
}

#[test]
fn tag_zero_ends_every_session() {
    for dialect in [Dialect::Native, Dialect::Classic] {
        let fault = ServerSide::open(dialect, Access::Player).take_bytes(&[0, 0]).unwrap_err();
        assert_eq!(CloseCode::from(&fault), CloseCode::MALFORMED);
    }
}

#[test]
fn test_server_takes_requests_only_as_requests() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    assert_eq!(dropped(side.take(&Asks::new("?"))).reason, Reason::Unhandled);
    assert_eq!(dropped(side.take(&v1::JoinRoom::default())).reason, Reason::Unhandled);
    let body = Asks::new("?").encode_to_vec();
    let request = v1::Request { key: 1, tag: 300, body: body.clone().into() };
    assert_eq!(side.take(&request), Ok(Some(Incoming::Request { key: 1, tag: Tag(300), body: body.into() })));
}

#[test]
fn test_server_runs_a_key_once() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    let ask = |side: &mut ServerSide, key, tag| side.take(&v1::Request { key, tag, ..Default::default() });
    assert!(matches!(ask(&mut side, 5, 300), Ok(Some(Incoming::Request { key: 5, .. }))));
    assert_eq!(ask(&mut side, 5, 300), Ok(Some(Incoming::Repeated)), "it runs");
    for key in [0, 4] {
        let Ok(Some(Incoming::Answered(answer))) = ask(&mut side, key, 300) else { panic!("key {key}") };
        assert_eq!((answer.key, answer.status), (key, status::Value::Unavailable.into()));
        assert!(answer.may_have_run);
    }
    let answer = v1::Response { key: 5, tag: 300, body: vec![7].into(), ..Default::default() };
    side.session.requests().finish(&answer, |_| {});
    assert_eq!(ask(&mut side, 5, 300), Ok(Some(Incoming::Answered(answer))), "it has run");
}

#[test]
fn test_server_answers_what_it_does_not_run() {
    let mut side = ServerSide::open(Dialect::Native, Access::Guest);
    let body = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
    for (key, (tag, body, expected, says)) in [
        (0, body(&[]), status::Value::Unknown, "tags are 1 to 65535"),
        (65536, body(&[]), status::Value::Unknown, "tags are 1 to 65535"),
        (77, body(&[]), status::Value::Unknown, "the server's schema has no message with tag 77"),
        (2, body(&[]), status::Value::Unknown, "test.v1.ToRoom is no request of a service: send it alone"),
        (300, body(&[]), status::Value::Denied, "test.v1.Asks is not for this session to ask"),
        (302, body(&[0x0a, 1, 0xff]), status::Value::Invalid, "text"),
        (302, body(&[0; 11]), status::Value::Invalid, "test.v1.GuestAsks of 11 bytes, max_bytes 10"),
    ]
    .into_iter()
    .enumerate()
    {
        let key = key as u64 + 1;
        let taken = side.take(&v1::Request { key, tag, body });
        let Ok(Some(Incoming::Answered(answer))) = taken else { panic!("tag {tag}: {taken:?}") };
        assert_eq!(
            (answer.key, answer.tag, answer.status),
            (key, tag, expected.into()),
            "{}",
            answer.message
        );
        assert!(answer.message.contains(says) && !answer.may_have_run, "{}", answer.message);
        // A repeat of it gets the same.
        let again = side.take(&v1::Request { key, tag, ..Default::default() });
        assert_eq!(again, Ok(Some(Incoming::Answered(answer))));
    }
}

#[test]
fn test_server_takes_a_batch_as_its_requests() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    let ask = |key, tag| v1::Request { key, tag, ..Default::default() };
    let requests = vec![ask(1, 300), ask(2, 77), ask(1, 300), ask(3, 244)];
    let Ok(Some(Incoming::Batch { requests, stop_on_error })) =
        side.take(&v1::Batch { requests, stop_on_error: true })
    else {
        panic!("a batch")
    };
    assert!(stop_on_error);
    let [first, second, third, fourth] = <[_; 4]>::try_from(requests).unwrap();
    assert!(matches!(first, Incoming::Request { key: 1, tag: Tag(300), .. }));
    assert!(matches!(second, Incoming::Answered(v1::Response { key: 2, .. })));
    assert_eq!(third, Incoming::Repeated);
    assert!(matches!(fourth, Incoming::Answered(v1::Response { key: 3, .. })), "no batch in a batch");
    let many = |count: u64| v1::Batch {
        requests: (10..10 + count).map(|key| ask(key, 77)).collect(),
        stop_on_error: false,
    };
    assert!(matches!(side.take(&many(64)), Ok(Some(Incoming::Batch { .. }))));
    assert_eq!(side.take(&many(65)), Err(Fault::Batch(65)));
    assert_eq!(CloseCode::from(&Fault::Batch(65)), CloseCode::VIOLATION);
}

#[test]
fn test_server_lets_a_client_go() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    let bye = v1::Disconnect { code: 4711, reason: "bye".to_string(), ..Default::default() };
    let left = Incoming::Leave { code: CloseCode(4711), reason: "bye".to_string() };
    assert_eq!(side.take(&bye), Ok(Some(left)));
}

#[test]
fn test_client_sends_what_the_schema_lets_it() {
    let mut client = ClientSide::open();
    client.session.send(&ToRoom::new("hi")).unwrap();
    assert_eq!(client.sent(), [(Tag(2), ToRoom::new("hi").encode_to_vec())]);
    assert_eq!(
        client.session.send(&FromServer::new("")),
        Err(SendError::Direction("test.v1.FromServer".into()))
    );
    assert_eq!(client.session.send(&Asks::new("")), Err(SendError::Request("test.v1.Asks".into())));
    assert_eq!(client.session.send(&v1::Ping::default()), Err(SendError::Unknown(Tag(3))));
    assert_eq!(
        client.session.send(&ToAll::new("123456789")),
        Err(SendError::TooLarge { name: "test.v1.ToAll", length: 11, limit: 10 })
    );
    assert_eq!(
        client.session.send(&ToRoom::new(&"x".repeat(MAX_FRAME_BYTES))),
        Err(SendError::TooLarge {
            name: "test.v1.ToRoom",
            length: MAX_FRAME_BYTES + 4,
            limit: MAX_FRAME_BYTES
        })
    );
    assert!(client.sent().is_empty());
}

#[test]
fn test_client_tells_who_sent_what() {
    let mut client = ClientSide::open();
    let body = ToRoom::new("hi").encode_to_vec();
    let relayed = v1::Relayed { player: 9, tag: 2, body: body.clone().into() };
    assert_eq!(
        client.take(&relayed),
        Ok(Event::Message { sender: Some(9), tag: Tag(2), payload: body.clone().into() })
    );
    assert_eq!(
        client.take(&FromServer { text: "hi".to_string() }),
        Ok(Event::Message { sender: None, tag: Tag(6), payload: body.into() })
    );
}

#[test]
fn test_client_takes_the_largest_frame_of_another_in_its_wrapper() {
    let mut client = ClientSide::open();
    let body = ToRoom::new(&"x".repeat(MAX_FRAME_BYTES - 4)).encode_to_vec();
    assert_eq!(body.len(), MAX_FRAME_BYTES);
    let relayed = v1::Relayed { player: u32::MAX, tag: 2, body: body.into() };
    assert!(matches!(client.take(&relayed), Ok(Event::Message { sender: Some(u32::MAX), .. })));
    let fault = client.take_bytes(&[0xff, 0, 0, 2, 0, 1, 0, 65]).unwrap_err();
    assert_eq!(CloseCode::from(&fault), CloseCode::TOO_LARGE);
}

#[test]
fn test_client_survives_what_it_cannot_read() {
    let mut client = ClientSide::open();
    assert_eq!(client.take_bytes(&bare(77, &[1])), Ok(Event::Dropped(Tag(77))));
    assert_eq!(client.take_bytes(&bare(246, &[0xff])), Ok(Event::Dropped(Tag(246))));
    assert_eq!(client.take(&v1::Relayed { tag: 99, ..Default::default() }), Ok(Event::Dropped(Tag(99))));
    assert!(client.session.is_open());
}

#[test]
fn test_client_gives_requests_rising_keys() {
    let mut client = ClientSide::open();
    let keys: Vec<_> = (0..3).map(|_| client.session.request(&Asks::new("?")).unwrap()).collect();
    assert_eq!(keys, [1, 2, 3]);
    let mut server = ServerSide::open(Dialect::Native, Access::Player);
    for (tag, payload) in client.sent() {
        assert_eq!(tag, v1::Request::TAG);
        assert!(matches!(server.take_bytes(&bare(tag.0, &payload)), Ok(Some(Incoming::Request { .. }))));
    }
}

#[test]
fn test_client_asks_nothing_that_is_too_large() {
    let mut client = ClientSide::open();
    for length in [MAX_FRAME_BYTES, MAX_FRAME_BYTES - 4, 17 << 20] {
        let refused = client.session.request(&Asks::new(&"x".repeat(length)));
        assert!(matches!(refused, Err(SendError::TooLarge { .. })), "{length}: {refused:?}");
    }
    assert!(client.sent().is_empty());
    assert_eq!(client.session.request(&Asks::new("?")), Ok(1), "no key was used");
}

#[test]
fn test_client_trusts_no_limit_beyond_what_a_frame_can_be() {
    let mut client = ClientSide::new("player1", "welcome");
    let limits = Some(v1::Limits { max_frame_bytes: u32::MAX, ..Default::default() });
    client.take(&v1::Welcome { limits, ..Default::default() }).unwrap();
    let refused = client.session.send(&ToRoom::new(&"x".repeat(17 << 20)));
    assert!(matches!(refused, Err(SendError::TooLarge { .. })));
}

#[test]
fn test_client_is_closed_by_a_disconnect_it_cannot_read() {
    let mut client = ClientSide::open();
    assert!(matches!(client.take_bytes(&[1, 241, 0xff]), Err(Fault::Malformed { .. })));
    assert!(!client.session.is_open());
}

#[test]
fn test_client_says_goodbye_once() {
    let mut client = ClientSide::open();
    client.session.close(CloseCode::NORMAL, "bye");
    client.session.close(CloseCode::NORMAL, "bye");
    let sent = client.sent();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, v1::Disconnect::TAG);
    assert_eq!(client.session.send(&ToRoom::new("hi")), Err(SendError::NotOpen));
}
