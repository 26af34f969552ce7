//! The reference's own clients work unchanged (its golden bytes), and its defects are not ours.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::net::Shutdown;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::*;
use tagwire::frame::encode;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;

const LOGIN: &str = "12010a07706c6179657231120777656c636f6d65";
const WRONG_PASSWORD: &str = "10010a07706c6179657231120577726f6e67";
const MOUSE: &str = "0702087810d4021801";

/// Closed, and not one byte came.
fn assert_silent_close(server: &TestServer, bytes: &[u8], what: &str) {
    let mut client = Classic::connect(server.address);
    client.send(bytes);
    let start = Instant::now();
    assert_eq!(client.rest(), [], "{what}");
    assert!(start.elapsed() < Duration::from_secs(3), "{what}: closed after {:?}", start.elapsed());
}

#[test]
fn what_is_no_good_login_is_closed_without_a_byte() {
    let server = TestServer::start();
    for (what, bytes) in [
        ("wrong password", hex(WRONG_PASSWORD)),
        ("another user's wrong password", hex("0e010a0448616e731206666f6f626172")),
        ("empty login", hex("0001")),
        ("a mouse event first", hex("040208011001")),
        ("an empty mouse event first", hex("0002")),
        ("a ping first", hex("090308c0aabbba9e8dfd02")),
        ("type 0", hex("0000")),
        ("garbage", b"\x17\x22hello\x00\xff".to_vec()),
        ("text", b"hello\r\n".to_vec()),
        ("TLS", hex("160301020001")),
        ("a login that cannot be read", hex("0101ff")),
        ("an extended login over 8 KiB", hex("ff00000100002001")),
        ("another extended frame", hex("ff00000200000000")),
    ] {
        assert_silent_close(&server, &bytes, what);
    }
    assert_eq!(server.metric("tagwire_logins_granted_total"), 0.0);
    server.wait_for("tagwire_connections", 0.0);
}

#[test]
fn half_a_login_and_then_an_end_is_closed() {
    let server = TestServer::start();
    let mut client = Classic::connect(server.address);
    client.send(&hex(LOGIN)[..10]);
    client.stream.tcp().unwrap().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), []);
}

#[test]
fn who_never_logs_in_is_closed_at_the_deadline() {
    let server = TestServer::with(|config| config.limits.login_timeout_ms = 200);
    for first in [&b""[..], &hex(LOGIN)[..1], &hex(LOGIN)[..19]] {
        let mut client = Classic::connect(server.address);
        client.send(first);
        let start = Instant::now();
        assert_eq!(client.rest(), []);
        assert!(start.elapsed() >= Duration::from_millis(100), "{first:?}: {:?}", start.elapsed());
    }
}

#[test]
fn pings_come_each_second_with_nine_bytes_of_unix_microseconds() {
    let server = TestServer::start();
    let mut client = Classic::connect(server.address);
    client.send(&hex(LOGIN));
    let start = Instant::now();
    let mut arrivals = vec![];
    for _ in 0..4 {
        let payload = client.wait_for_ping();
        arrivals.push(start.elapsed());
        assert_eq!(payload.len(), 9, "{payload:02x?}");
        let ping = v1::Ping::decode(payload.as_slice()).unwrap();
        assert_eq!(ping, v1::Ping { sent_epoch: ping.sent_epoch, ..Default::default() });
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        assert!(now.abs_diff(ping.sent_epoch) < 2_000_000, "{} is not now ({now})", ping.sent_epoch);
    }
    assert!(arrivals[0] < Duration::from_millis(1100), "the first after {:?}", arrivals[0]);
    for pair in arrivals.windows(2) {
        let gap = (pair[1] - pair[0]).as_millis();
        assert!((700..1300).contains(&gap), "{gap} ms between two pings");
    }
}

#[test]
fn mouse_frames_are_relayed_bare_to_classic_and_with_their_sender_to_new_members() {
    let server = TestServer::start();
    let (mut sender, mut classic) = (server.classic("sender"), server.classic("classic"));
    let mut new = server.player("new");
    for golden in [MOUSE, "040208011001", "0002", "120208ac0210fbffffffffffffffff0118012001"] {
        let bytes = hex(golden);
        sender.send(&bytes);
        assert_eq!(classic.next_message(), Some((2, bytes[2..].to_vec())), "{golden}");
        let (from, tag, payload) = new.message();
        assert_eq!((from, tag.0, payload), (Some(1), 2, bytes[2..].to_vec()), "{golden}");
    }
    // And the other way round.
    new.send(&mouse(120, 340));
    assert_eq!(classic.next_message(), Some((2, hex("087810d402"))));
    assert_eq!(
        sender.next_message(),
        Some((2, hex("087810d402"))),
        "`to: ROOM` never came back to its sender"
    );
}

#[test]
fn bytes_may_come_one_by_one() {
    let server = TestServer::start();
    let mut watcher = server.classic("watcher");
    let mut client = Classic::connect(server.address);
    for byte in [hex(LOGIN), hex(MOUSE), hex(MOUSE)].concat() {
        client.send(&[byte]);
        std::thread::sleep(Duration::from_millis(2));
    }
    for _ in 0..2 {
        assert_eq!(watcher.next_message(), Some((2, hex(MOUSE)[2..].to_vec())));
    }
}

#[test]
fn login_and_a_hundred_frames_may_come_in_one_write() {
    let server = TestServer::start();
    let mut watcher = server.classic("watcher");
    let mut client = Classic::connect(server.address);
    let frames: Vec<Vec<u8>> = (0..100).map(|i| frame(&mouse(i, -i))).collect();
    client.send(&[hex(LOGIN), frames.concat()].concat());
    for frame in &frames {
        assert_eq!(watcher.next_message(), Some((2, frame[2..].to_vec())));
    }
}

#[test]
fn payloads_of_0_and_255_bytes_pass() {
    let server = TestServer::start();
    let (mut sender, mut watcher) = (server.classic("sender"), server.classic("watcher"));
    // 255 bytes that are a MouseEvent with a field of a newer schema: number 100, 251 bytes.
    let long = [hex("a206fb01"), vec![7; 251]].concat();
    assert_eq!(long.len(), 255);
    for payload in [vec![], long] {
        let mut out = vec![];
        encode(tagwire::Tag(2), &payload, &mut out);
        assert_eq!(out.len(), payload.len() + 2);
        sender.send(&out);
        assert_eq!(watcher.next_message(), Some((2, payload)));
    }
}

#[test]
fn what_does_not_fit_the_classic_wire_is_left_out_and_the_rest_arrives() {
    let server = TestServer::start();
    let mut classic = server.classic("classic");
    let (mut sender, mut new) = (server.player("sender"), server.player("new"));
    let chat = |text: String| tagwire::pb::arena::v1::Chat { text };
    sender.send(&chat("x".repeat(300)));
    sender.send(&chat("short".to_string()));
    assert_eq!(classic.next_message(), Some((4, chat("short".to_string()).encode_to_vec())));
    assert_eq!(server.metric("tagwire_messages_unfit_total"), 1.0);
    assert_eq!(new.message().2.len(), 303);
    assert_eq!(new.message().2.len(), 7);
}

#[test]
fn after_the_login_an_unknown_type_is_dropped_and_type_0_closes() {
    let server = TestServer::start();
    let (mut client, mut watcher) = (server.classic("client"), server.classic("watcher"));
    // Unknown, invalid, only the server's, a second login, tags of the stack, a Ping with all three times.
    client.send(&hex("03c8010203"));
    client.send(&hex("0302ffffff"));
    client.send(&hex("0006"));
    client.send(&hex(LOGIN));
    client.send(&hex("00f1 00f2 02ff0102 00f0"));
    client.send(&hex("1b0308c0aabbba9e8dfd0210b4aebbba9e8dfd0218a8b2bbba9e8dfd02"));
    client.send(&hex(MOUSE));
    assert_eq!(watcher.next_message(), Some((2, hex(MOUSE)[2..].to_vec())), "it is still inside");
    assert_eq!(server.metric("tagwire_messages_dropped_total{reason=\"UNKNOWN\"}"), 6.0);
    client.send(&hex("0000"));
    let rest = client.rest();
    assert!(rest.iter().all(|(tag, _)| *tag == 3), "a classic client is told nothing: {rest:?}");
    watcher.wait_for_ping();
    server.wait_for("tagwire_sessions", 1.0);
}

#[test]
fn a_killed_client_disturbs_nobodys_ping() {
    let server = TestServer::start();
    let mut survivors: Vec<_> = (0..3).map(|i| server.classic(&format!("survivor{i}"))).collect();
    for i in 0..5 {
        let victim = server.classic(&format!("victim{i}"));
        // A reset instead of an orderly end, as when a process is killed with data unread.
        socket2::SockRef::from(victim.stream.tcp().unwrap()).set_linger(Some(Duration::ZERO)).unwrap();
        drop(victim);
    }
    server.wait_for("tagwire_sessions", 3.0);
    for survivor in &mut survivors {
        let mut last = None;
        for _ in 0..3 {
            survivor.wait_for_ping();
            let gap = last.replace(Instant::now()).map(|last: Instant| last.elapsed());
            assert!(gap.is_none_or(|gap| gap < Duration::from_millis(1500)), "{gap:?} between pings");
        }
    }
}

#[test]
fn the_newest_login_of_a_name_wins_but_only_with_the_right_password() {
    let server = TestServer::start();
    let mut first = server.classic("player1");
    let mut wrong = Classic::connect(server.address);
    wrong.send(&hex(WRONG_PASSWORD));
    assert_eq!(wrong.rest(), []);
    first.wait_for_ping();
    first.wait_for_ping();
    server.wait_for("tagwire_sessions", 1.0);

    let mut second = server.classic("player1");
    let rest = first.rest();
    assert!(rest.iter().all(|(tag, _)| *tag == 3), "{rest:?}");
    second.wait_for_ping();
    server.wait_for("tagwire_sessions", 1.0);
    server.wait_for("tagwire_disconnects_total{code=\"3500\"}", 1.0);
    // The one that was replaced is out of the room: nothing is sent to it, and it is sent nothing.
    let mut watcher = server.player("watcher");
    second.send(&hex(MOUSE));
    assert_eq!(watcher.mouse().1.x, 120);
}

#[test]
fn players_without_a_name_are_told_apart() {
    let server = TestServer::start();
    let mut watcher = server.player("watcher");
    let (mut a, mut b) = (server.classic(""), server.classic(""));
    server.wait_for("tagwire_sessions", 3.0);
    let mut names = vec![];
    while names.len() < 2 {
        watcher.wait(|event| match event {
            tagwire::session::client::Event::Member(member) => {
                names.push(member.name);
                Some(())
            }
            _ => None,
        });
    }
    assert_eq!(names, ["guest-2", "guest-3"]);
    a.wait_for_ping();
    b.wait_for_ping();
}

#[test]
fn a_stop_is_a_clean_end_for_all() {
    let mut server = TestServer::start();
    let mut classic: Vec<_> = (0..20).map(|i| server.classic(&format!("classic{i}"))).collect();
    let mut half = Classic::connect(server.address);
    half.send(&hex(LOGIN)[..5]);
    server.begin_stop();
    for client in &mut classic {
        client.rest();
    }
    assert_eq!(half.rest(), []);
    let metrics = server.stop().snapshot();
    for gauge in ["tagwire_connections", "tagwire_sessions", "tagwire_rooms", "tagwire_outbox_bytes"] {
        assert_eq!(metrics[gauge], 0.0, "{gauge}");
    }
    assert_eq!(metrics["tagwire_disconnects_total{code=\"3000\"}"], 20.0);
}
