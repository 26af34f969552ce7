//! Pings, acknowledgements and the silence that ends a session, on a virtual clock.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::*;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::session::client::Event;
use tagwire::session::ping::Pinger;
use tagwire::session::server::Incoming;
use tagwire::session::{ACK_EVERY_FRAMES, Dialect, Fault, PEER_TIMEOUT_US};
use tagwire::{Access, Message};

fn ping_of(frame: &(tagwire::Tag, Vec<u8>)) -> v1::Ping {
    assert_eq!(frame.0, v1::Ping::TAG);
    v1::Ping::decode(frame.1.as_slice()).unwrap()
}

#[test]
fn a_round_trip_is_measured_across_both_sides() {
    let mut pinger = Pinger::default();
    let mut server = ServerSide::open(Dialect::Native, Access::Player);
    let mut client = ClientSide::open();

    let ping = pinger.next_ping(server.now, Dialect::Native, server.session.frames_received());
    client.now = client.now.after_us(20_000);
    assert_eq!(client.take(&ping), Ok(Event::Ping(ping)));
    let answer = ping_of(&client.sent()[0]);
    assert_eq!(answer.sent_epoch, ping.sent_epoch);
    assert_eq!(answer.bounce_epoch, client.now.unix_us);

    server.now = server.now.after_us(45_000);
    let Ok(Some(Incoming::Ping(pong))) = server.take(&answer) else { panic!() };
    assert_eq!(pinger.handle_pong(server.now, &pong), Some(45_000));
    assert_eq!(pinger.next_ping(server.now, Dialect::Native, 0).rtt_us, 45_000);
}

#[test]
fn test_client_answers_questions_and_no_acknowledgements() {
    let mut client = ClientSide::open();
    client.session.send(&ToRoom::new("hi")).unwrap();
    assert_eq!(client.sent().len(), 1);
    client.take(&v1::Ping { frames_received: 1, ..Default::default() }).unwrap();
    assert_eq!(client.sent(), []);
    let more = client.take(&v1::Ping { frames_received: 2, ..Default::default() });
    assert!(matches!(more, Err(Fault::Acknowledged(_))), "{more:?}");
}

#[test]
fn frames_of_the_connection_itself_are_not_counted_and_all_others_are() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    side.take(&v1::Ping::default()).unwrap();
    assert_eq!(side.session.frames_received(), 0);
    side.take(&ToRoom::new("hi")).unwrap();
    side.take_bytes(&[1, 77, 0]).unwrap();
    side.take(&v1::Request { key: 1, ..Default::default() }).unwrap();
    assert_eq!(side.session.frames_received(), 3, "known or not, counting needs no schema");
}

#[test]
fn test_server_acknowledges_after_256_frames_or_64_kib() {
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    for i in 0..2 * ACK_EVERY_FRAMES {
        let acknowledgement = side.session.acknowledgement();
        let due = i == ACK_EVERY_FRAMES;
        assert_eq!(acknowledgement.map(|ping| ping.frames_received), due.then_some(i), "after {i} frames");
        side.take(&ToRoom::new("")).unwrap();
    }
    let mut side = ServerSide::open(Dialect::Native, Access::Player);
    side.take(&ToRoom::new(&"x".repeat(40_000))).unwrap();
    assert_eq!(side.session.acknowledgement(), None);
    side.take(&ToRoom::new(&"x".repeat(40_000))).unwrap();
    let ping = side.session.acknowledgement().unwrap();
    assert_eq!((ping.frames_received, ping.sent_epoch), (2, 0), "it asks nothing");
    assert_eq!(side.session.acknowledgement(), None);
}

#[test]
fn test_server_never_acknowledges_to_a_classic_client() {
    let mut side = ServerSide::open(Dialect::Classic, Access::Player);
    (0..1000).for_each(|_| drop(side.take(&ToRoom::new("")).unwrap()));
    assert_eq!(side.session.acknowledgement(), None);
}

#[test]
fn test_client_acknowledges_after_256_frames() {
    let mut client = ClientSide::open();
    for _ in 0..ACK_EVERY_FRAMES - 1 {
        client.take(&FromServer::new("")).unwrap();
    }
    assert_eq!(client.sent(), []);
    client.take(&FromServer::new("")).unwrap();
    let ping = ping_of(&client.sent()[0]);
    assert_eq!((ping.frames_received, ping.sent_epoch), (ACK_EVERY_FRAMES, 0));
}

#[test]
fn test_client_gives_a_silent_server_up_after_ten_seconds() {
    let mut client = ClientSide::open();
    assert_eq!(client.session.deadline_us(), START.monotonic_us + PEER_TIMEOUT_US);
    client.now = client.now.after_us(9_000_000);
    client.take(&v1::Ping::default()).unwrap();
    assert_eq!(client.session.deadline_us(), client.now.monotonic_us + 10_000_000);
}
