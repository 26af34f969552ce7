//! Members that do not read, or not fast enough: what they get, when they are cut, and that nobody else notices.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use tagwire::CloseCode;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;

/// A member that reads nothing is cut when its bounds are reached; the others get everything, in order.
#[test]
fn who_does_not_read_is_cut_and_nobody_else_notices() {
    for threads in [1, 2] {
        let server = TestServer::unlimited(|config| {
            config.threads = threads;
            config.limits.outbox_max_bytes = 256 * 1024;
        });
        let stalled = server.player("stalled");
        let (mut sender, mut reader) = (server.player("sender"), server.player("reader"));
        let text = "x".repeat(1000);
        let reading = std::thread::spawn(move || {
            for i in 0.. {
                let (_, _, payload) = reader.message();
                let chat = arena::Chat::decode(payload.as_slice()).unwrap().text;
                if chat == "last" {
                    reader.leave();
                    return i;
                }
                assert!(chat.starts_with(&format!("{i} ")), "{} is not the {i}th", &chat[..10]);
            }
            unreachable!()
        });
        let mut sent = 0;
        while server.metric("tagwire_disconnects_total{code=\"3001\"}") == 0.0 {
            assert!(sent < 100_000, "never cut");
            for _ in 0..20 {
                sender.send(&arena::Chat { text: format!("{sent} {}", &text[..1000 - 24]) });
                // What comes back must be read, or the sender is itself the one who does not read.
                sender.message();
                sent += 1;
            }
        }
        sender.send(&arena::Chat { text: "last".to_string() });
        assert_eq!(reading.join().unwrap(), sent);
        // It is reset: what it did not read is still in its socket.
        drop(stalled);
        server.wait_for("tagwire_sessions", 1.0);
        server.wait_for("tagwire_connections", 1.0);
    }
}

#[test]
fn a_slow_reader_of_latest_gets_only_newer_values_and_the_newest_in_the_end() {
    const SENT: i32 = 400;
    let server = TestServer::unlimited(|_| ());
    let mut reader = server.player("reader");
    let mut senders = [server.player("a"), server.player("b")];
    for x in 0..SENT {
        for sender in &mut senders {
            sender.send_bytes(&large_mouse(x));
        }
        // Each hears the other, and keeps up.
        for sender in &mut senders {
            assert_eq!(sender.mouse().1.x, x);
        }
    }
    assert!(server.metric("tagwire_messages_conflated_total") > 100.0, "the reader's socket was never full");
    let mut got: [Vec<i32>; 2] = [vec![], vec![]];
    while got.iter().any(|got| got.last() != Some(&(SENT - 1))) {
        let (sender, mouse) = reader.mouse();
        got[usize::from(sender == senders[1].id())].push(mouse.x);
    }
    for got in got {
        assert!(got.is_sorted_by(|a, b| a < b), "{got:?}");
        assert!(got.len() < SENT as usize, "nothing was replaced");
    }
    // It keeps up again, so all comes again.
    for x in SENT..SENT + 20 {
        senders[0].send_bytes(&large_mouse(x));
        assert_eq!(reader.mouse().1.x, x);
    }
    assert_eq!(server.metric("tagwire_sessions"), 3.0, "nobody was cut");
}

#[test]
fn a_full_socket_that_takes_nothing_is_given_up() {
    let server = TestServer::unlimited(|config| config.limits.outbox_max_stuck_ms = 1000);
    let stalled = server.player("stalled");
    let (mut sender, mut reader) = (server.player("sender"), server.player("reader"));
    let start = Instant::now();
    for x in 0.. {
        // LATEST never fills the outbox; only the time tells.
        sender.send_bytes(&large_mouse(x));
        assert_eq!(reader.mouse().1.x, x);
        if server.metric("tagwire_disconnects_total{code=\"3001\"}") == 1.0 {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "never cut");
    }
    assert!(start.elapsed() > Duration::from_millis(1000), "cut after {:?}", start.elapsed());
    server.wait_for("tagwire_sessions", 2.0);
    drop(stalled);
}

#[test]
fn who_acknowledges_what_it_was_not_sent_is_ended() {
    let server = TestServer::start();
    let mut player = server.player("player1");
    player.send_bytes(&frame(&v1::Ping { frames_received: 1, ..Default::default() }));
    let ended = player.ended();
    assert_eq!(ended.code, Some(CloseCode::VIOLATION));
    assert_eq!(ended.reason, "1 frames acknowledged, 0 sent");
}
