//! Every limit of the server, crossed by one: the right answer, nobody else affected, the counter moved. Those of a
//! session's state machine alone are in the protocol's own tests.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::program::Program;
use common::*;
use rustix::process::Signal;
use tagwire::CloseCode;
use tagwire::frame::encode;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1::{self, reason, status};
use tagwire::session::client::Event;

fn reached(server: &TestServer, limit: &str) -> f64 {
    server.metric(&format!("tagwire_limits_reached_total{{limit=\"{limit}\"}}"))
}

fn chat(text: &str) -> arena::Chat {
    arena::Chat { text: text.to_string() }
}

fn notice(player: &mut Player) -> v1::Notice {
    player.wait(|event| match event {
        Event::Notice(notice) => Some(notice),
        _ => None,
    })
}

/// Two who talk: they must not notice what befalls others.
fn still_talk(a: &mut Player, b: &mut Player) {
    a.send(&mouse(7, 7));
    assert_eq!(b.mouse().0, a.id());
}

#[test]
fn one_connection_more_than_allowed_is_told_that_the_server_is_full() {
    let server = TestServer::with(|config| config.limits.max_connections = 3);
    let (mut a, mut b, c) = (server.player("a"), server.player("b"), server.player("c"));
    let ended = Player::login(server.address, "d", "welcome").err().unwrap();
    assert_eq!((ended.code, ended.retry_after_ms), (Some(CloseCode::OVERLOAD), 5000));
    assert_eq!(ended.reason, "the server is full (3 connections)");
    assert_eq!(reached(&server, "max_connections"), 1.0);
    let mut classic = Classic::connect(server.address);
    classic.login("d", "welcome");
    assert_eq!(classic.rest(), [], "a classic client is told nothing");
    still_talk(&mut a, &mut b);
    assert_eq!(server.metric("tagwire_sessions"), 3.0);
    // One whose connection is lost may come back: it counts as before.
    drop((c, classic));
    server.wait_for("tagwire_connections", 2.0);
    let ended = Player::login(server.address, "d", "welcome").err().unwrap();
    assert_eq!(ended.code, Some(CloseCode::OVERLOAD));
    b.leave();
    server.wait_for("tagwire_connections", 1.0);
    server.player("d");
}

#[test]
fn one_connection_more_than_allowed_from_one_address() {
    let server = TestServer::with(|config| {
        config.limits.max_connections_per_address = 2;
        config.limits.trusted = vec![];
    });
    let login = |source, name| Player::login_over(connect_from(source, server.address), name, "welcome");
    let (mut a, mut b) = (login("127.0.0.2", "a").unwrap(), login("127.0.0.2", "b").unwrap());
    let ended = login("127.0.0.2", "c").err().unwrap();
    assert_eq!(ended.code, Some(CloseCode::OVERLOAD));
    assert_eq!(ended.reason, "as many connections as may come from your address (2)");
    assert_eq!(reached(&server, "max_connections_per_address"), 1.0);
    login("127.0.0.3", "c").unwrap();
    still_talk(&mut a, &mut b);
    a.leave();
    server.wait_for("tagwire_connections", 1.0);
    login("127.0.0.2", "a").unwrap();
}

#[test]
fn one_failed_login_more_than_allowed_from_one_address() {
    let server = TestServer::with(|config| {
        config.limits.max_failed_logins_per_address = 2;
        config.limits.trusted = vec![];
    });
    let login =
        |source, name, password| Player::login_over(connect_from(source, server.address), name, password);
    for name in ["a", "b"] {
        let ended = login("127.0.0.2", name, "wrong").err().unwrap();
        assert_eq!((ended.reason.as_str(), ended.retry_after_ms), ("wrong name or password", 0));
    }
    // Not even the right password is looked at.
    let ended = login("127.0.0.2", "c", "welcome").err().unwrap();
    assert_eq!(ended.code, Some(CloseCode::LOGIN_REFUSED));
    assert!(ended.reason.starts_with("too many logins failed; try again in "), "{}", ended.reason);
    assert!((1..=30_000).contains(&ended.retry_after_ms), "{}", ended.retry_after_ms);
    assert_eq!(reached(&server, "max_failed_logins_per_address"), 1.0);
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"credentials\"}"), 2.0);
    login("127.0.0.3", "a", "welcome").unwrap();
}

#[test]
fn one_failed_login_more_than_allowed_with_one_name() {
    let server = TestServer::with(|config| config.limits.max_failed_logins_per_name = 2);
    for name in ["Müller", "MÜLLER"] {
        Player::login(server.address, name, "wrong").err().unwrap();
    }
    // The same name, composed of other characters.
    let ended = Player::login(server.address, "mu\u{308}ller", "welcome").err().unwrap();
    assert_eq!(ended.code, Some(CloseCode::LOGIN_REFUSED));
    assert_eq!(reached(&server, "max_failed_logins_per_name"), 1.0);
    server.player("someone else");
}

#[test]
fn one_message_more_than_its_rate() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    for i in 0..6 {
        a.send(&chat(&i.to_string()));
    }
    let told = notice(&mut a);
    assert_eq!((told.reason, told.tag), (reason::Value::RateLimited.into(), 4));
    assert_eq!(told.text, "arena.v1.Chat dropped: max_rate is 5/s");
    assert_eq!(reached(&server, "max_rate"), 1.0);
    assert_eq!(server.metric("tagwire_messages_dropped_total{reason=\"RATE_LIMITED\"}"), 1.0);
    assert_eq!(server.metric("tagwire_messages_received_total{message=\"arena.v1.Chat\"}"), 5.0);
    still_talk(&mut b, &mut a);
    // A hundred are forgiven; the next ends the session.
    for i in 0..100 {
        a.send(&chat(&i.to_string()));
    }
    let ended = a.ended();
    assert_eq!(ended.code, Some(CloseCode::RATE_LIMITED), "{}", ended.reason);
    server.wait_for("tagwire_sessions", 1.0);
}

#[test]
fn one_room_more_than_may_be_joined_in_a_second() {
    let server = TestServer::start();
    let mut player = server.player("a");
    for _ in 0..11 {
        player.session.request(&v1::JoinRoom { room: "red".to_string() }).unwrap();
    }
    player.flush();
    let mut answers = vec![];
    while answers.len() < 11 {
        answers.push(player.wait(|event| match event {
            Event::Response(response) => Some(response),
            _ => None,
        }));
    }
    let last = answers.pop().unwrap();
    assert!(answers.iter().all(|answer| answer.status == i32::from(status::Value::Ok)));
    assert_eq!((last.key, last.status), (11, status::Value::Unavailable.into()));
    assert!((1..=100).contains(&last.retry_after_ms) && !last.may_have_run, "{last:?}");
    assert_eq!(reached(&server, "max_joins_per_second"), 1.0);
}

#[test]
fn one_frame_more_than_a_connection_may_send_in_a_second() {
    let server = TestServer::with(|config| config.limits.max_frames_per_second = 20);
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    // In one write, so that no time passes between them.
    let frames: Vec<u8> = (0..21).flat_map(|x| frame(&mouse(x, 0))).collect();
    a.send_bytes(&frames);
    assert_eq!(notice(&mut a).text, "arena.v1.MouseEvent dropped: a client may send 20 frames a second");
    for x in 0..20 {
        assert_eq!(b.mouse().1.x, x);
    }
    assert_eq!(reached(&server, "max_frames_per_second"), 1.0);
    assert_eq!(a.welcome.limits.as_ref().unwrap().max_frames_per_second, 20);
    still_talk(&mut b, &mut a);
}

#[test]
fn one_byte_more_than_a_connection_may_send_in_a_second() {
    let server = TestServer::with(|config| {
        config.limits.max_frame_bytes = 8192;
        config.limits.max_bytes_per_second = 10_000;
    });
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    let filled = |length: usize| {
        let mut out = vec![];
        // A field that the schema does not know.
        let mut payload = vec![0xa2, 6];
        tagwire::prost::encoding::encode_varint(length as u64 - 4, &mut payload);
        payload.resize(length, 7);
        encode(tagwire::Tag(2), &payload, &mut out);
        out
    };
    a.send_bytes(&[filled(8000), filled(1990)].concat());
    b.mouse();
    b.mouse();
    a.send_bytes(&filled(1990));
    assert_eq!(notice(&mut a).text, "arena.v1.MouseEvent dropped: a client may send 10000 bytes a second");
    assert_eq!(reached(&server, "max_bytes_per_second"), 1.0);
    still_talk(&mut b, &mut a);
}

#[test]
fn one_byte_more_than_a_frame_or_a_message_may_have() {
    let server = TestServer::with(|config| config.limits.max_frame_bytes = 8192);
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    let sized = |tag, length| {
        let mut out = vec![];
        encode(tagwire::Tag(tag), &vec![0; length], &mut out);
        out
    };
    a.send_bytes(&frame(&chat(&"x".repeat(1024 - 3))));
    b.message();
    a.send_bytes(&frame(&chat(&"x".repeat(1024 - 2))));
    let told = notice(&mut a);
    assert_eq!((told.reason, told.tag), (reason::Value::TooLarge.into(), 4));
    a.send_bytes(&sized(200, 8192));
    a.send_bytes(&sized(200, 8193));
    assert_eq!(a.ended().code, Some(CloseCode::TOO_LARGE));
    server.wait_for("tagwire_disconnects_total{code=\"3505\"}", 1.0);
    assert_eq!(server.metric("tagwire_messages_dropped_total{reason=\"UNKNOWN\"}"), 1.0, "8192 bytes passed");
    server.wait_for("tagwire_sessions", 1.0);
}

#[test]
fn one_invalid_message_more_than_is_forgiven_in_a_minute() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    a.send_bytes(&hex("0102ff").repeat(100));
    assert_eq!(notice(&mut a).reason, i32::from(reason::Value::Invalid));
    still_talk(&mut a, &mut b);
    a.send_bytes(&hex("0102ff"));
    assert_eq!(a.ended().code, Some(CloseCode::VIOLATION));
    assert_eq!(server.metric("tagwire_messages_dropped_total{reason=\"INVALID\"}"), 100.0);
}

#[test]
fn one_member_and_one_room_more_than_allowed() {
    let server =
        TestServer::with(|config| (config.limits.max_room_members, config.limits.max_rooms) = (2, 2));
    let (mut a, _b) = (server.player("a"), server.player("b"));
    let full = Player::login(server.address, "c", "welcome").err().unwrap();
    assert_eq!(full.code, Some(CloseCode::OVERLOAD));
    assert_eq!(reached(&server, "max_room_members"), 1.0);
    assert_eq!(a.join("red").status, i32::from(status::Value::Ok));
    let mut c = server.player("c");
    let refused = c.join("blue");
    assert_eq!(refused.status, i32::from(status::Value::Unavailable), "{}", refused.message);
    assert_eq!(reached(&server, "max_rooms"), 1.0);
    assert_eq!(c.join("red").status, i32::from(status::Value::Ok));
    assert_eq!(server.player("d").join("red").status, i32::from(status::Value::Unavailable));
    assert_eq!(reached(&server, "max_room_members"), 2.0);
}

#[test]
fn one_delivery_more_than_a_room_may_have_in_a_second() {
    // Two members: three messages are six deliveries.
    let server = TestServer::with(|config| config.limits.max_room_deliveries_per_second = 6);
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    a.send_bytes(&(0..4).flat_map(|i| frame(&chat(&i.to_string()))).collect::<Vec<u8>>());
    assert_eq!(notice(&mut a).text, "arena.v1.Chat dropped: the room takes 6 deliveries a second");
    for _ in 0..3 {
        b.message();
    }
    assert_eq!(reached(&server, "max_room_deliveries_per_second"), 1.0);
    let (mut c, mut d) = (server.player("c"), server.player("d"));
    assert!([&mut c, &mut d].into_iter().all(|p| p.join("other").status == i32::from(status::Value::Ok)));
    still_talk(&mut c, &mut d);
}

#[test]
fn classic_clients_are_admitted_or_not() {
    let server = TestServer::with(|config| config.classic = false);
    let mut classic = Classic::connect(server.address);
    classic.login("player1", "welcome");
    assert_eq!(classic.rest(), []);
    server.player("player1");
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"classic\"}"), 1.0);
}

#[test]
fn names_have_one_form_and_capitals_make_no_other_player() {
    let server = TestServer::start();
    let mut first = server.player("Mu\u{308}ller");
    assert_eq!(first.welcome.name, "Müller");
    let mut second = server.player("MÜLLER");
    assert_eq!(first.ended().code, Some(CloseCode::REPLACED));
    let answer = second.join("Cafe\u{301}");
    assert_eq!(answer.status, i32::from(status::Value::Ok));
    let mut third = server.player("third");
    third.join("Café");
    second.send(&mouse(1, 1));
    assert_eq!(third.mouse().0, second.id());
}

/// A server that stood still finds nobody silent.
#[test]
fn the_clock_of_silence_stands_while_the_server_does() {
    let timeout_ms = 2000;
    let server = Program::start(&["--set", &format!("limits.peer_timeout_ms={timeout_ms}")]);
    let mut player = Player::login(server.address, "player1", "welcome").unwrap();
    player.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
    server.signal(Signal::STOP);
    std::thread::sleep(Duration::from_millis(2 * timeout_ms));
    // The time that a client takes to be heard again once all go on: its answer to the next Ping.
    let start = Instant::now();
    server.signal(Signal::CONT);
    for _ in 0..2 {
        player.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
    }
    assert!(start.elapsed() < PATIENCE);
    let (status, log) = server.stop();
    assert!(status.success());
    assert!(!log.contains("3002 TIMEOUT"), "{log}");
}
