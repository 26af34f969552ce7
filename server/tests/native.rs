//! Clients of this protocol, over real sockets: login, rooms, refusals, endings.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::via::each;
use common::*;
use tagwire::frame::encode;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1::{self, member::event, reason, status, verdict};
use tagwire::prost::Message as _;
use tagwire::session::client::Event;
use tagwire::{CloseCode, Message as _, Tag};

fn member_event(player: &mut Player) -> v1::Member {
    player.wait(|event| match event {
        Event::Member(member) => Some(member),
        _ => None,
    })
}

each! {
fn a_login_is_welcomed_with_what_the_client_needs_to_know() {
    let server = TestServer::start();
    let player = server.player("player1");
    let welcome = &player.welcome;
    assert_eq!((welcome.session_id, welcome.player_id, welcome.protocol), (1, 1, 1));
    assert_eq!((welcome.name.as_str(), welcome.room.as_str()), ("player1", "main"));
    assert_eq!(welcome.verdict, i32::from(verdict::Value::Same));
    assert_eq!(welcome.fingerprint, tagwire::pb::schema().fingerprint().0[..]);
    assert_eq!(welcome.ping_interval_ms, 1000);
    assert_eq!(welcome.limits.as_ref().unwrap().max_frame_bytes, 65536);
    assert_eq!((welcome.resume_token.len(), welcome.resume_window_ms), (32, 60_000));
    assert!(!welcome.resumed && welcome.frames_received == 0);
}

fn a_login_may_lead_to_no_room() {
    let server = TestServer::with(|config| (config.default_room, config.classic) = (String::new(), false));
    let (mut one, mut other) = (server.player("one"), server.player("other"));
    assert_eq!(one.welcome.room, "");
    one.send(&mouse(1, 1));
    let noticed = one.wait(|event| match event {
        Event::Notice(notice) => Some(notice.tag),
        Event::Member(member) => panic!("nobody is told of anybody: {member:?}"),
        _ => None,
    });
    assert_eq!(noticed, u32::from(arena::MouseEvent::TAG.0));
    assert_eq!(one.join("red").status(), status::Value::Ok);
    assert_eq!(other.join("red").status(), status::Value::Ok);
    one.send(&mouse(2, 2));
    assert_eq!(other.mouse(), (one.id(), mouse(2, 2)));
}

fn a_refused_login_says_why() {
    let server = TestServer::start();
    let refused = Player::login(server.address, "player1", "wrong").err().unwrap();
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (Some(CloseCode::LOGIN_REFUSED), "wrong name or password")
    );
    let refused = Player::login(server.address, &"x".repeat(33), "welcome").err().unwrap();
    assert_eq!(refused.code, Some(CloseCode::LOGIN_REFUSED));
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"credentials\"}"), 1.0);
    assert_eq!(server.metric("tagwire_logins_denied_total{reason=\"name\"}"), 1.0);
}

fn another_version_of_the_protocol_is_told_which_is_served() {
    let server = TestServer::start();
    let mut client = Classic::connect(server.address);
    let info = v1::ClientInfo { protocol: 9, ..Default::default() };
    client.send(&frame(&v1::PlayerLogin { client: Some(info), ..Default::default() }));
    let rest = client.rest();
    let [(241, payload)] = rest.as_slice() else { panic!("a Disconnect and the end: {rest:?}") };
    let disconnect = v1::Disconnect::decode(payload.as_slice()).unwrap();
    assert_eq!(disconnect.code, u32::from(CloseCode::VERSION.0));
    assert!(disconnect.reason.contains("version 1"), "{}", disconnect.reason);
}

fn round_trips_are_measured_and_told() {
    let server = TestServer::start();
    let mut player = server.player("player1");
    let rtt = player.wait(|event| match event {
        Event::Ping(ping) if ping.rtt_us > 0 => Some(ping.rtt_us),
        _ => None,
    });
    assert!((1..2_000_000).contains(&rtt), "{rtt} us");
}

fn chat_goes_to_all_and_mouse_to_the_others() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    let chat = arena::Chat { text: "hello".to_string() };
    a.send(&mouse(1, 2));
    a.send(&chat);
    assert_eq!(b.mouse(), (a.id(), mouse(1, 2)));
    for player in [&mut a, &mut b] {
        assert_eq!(player.message(), (Some(1), Tag(4), chat.encode_to_vec()));
    }
}

fn what_comes_in_one_read_keeps_its_order() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    let chat = |text: &str| frame(&arena::Chat { text: text.to_string() });
    // To all, to the others, one that nobody knows.
    let sent = [chat("1"), chat("2"), frame(&mouse(3, 3)), chat("4"), hex("01c800"), chat("5")];
    a.send_bytes(&sent.concat());
    let told = |player: &mut Player, count| -> Vec<String> {
        let told = |event| match event {
            Event::Message { tag, payload, .. } if tag == arena::Chat::TAG => {
                Some(arena::Chat::decode(&*payload).unwrap().text)
            }
            Event::Message { .. } => Some("mouse".to_string()),
            Event::Notice(notice) => Some(format!("notice of {}", notice.tag)),
            _ => None,
        };
        (0..count).map(|_| player.wait(told)).collect()
    };
    assert_eq!(told(&mut a, 5), ["1", "2", "4", "notice of 200", "5"]);
    assert_eq!(told(&mut b, 5), ["1", "2", "mouse", "4", "5"]);
}

fn the_largest_frame_arrives() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    // A MouseEvent with a field of a newer schema: number 100, 65536 bytes in all.
    let payload = [hex("a206fbff03"), vec![7; 65531]].concat();
    let mut out = vec![];
    encode(Tag(2), &payload, &mut out);
    a.send_bytes(&out);
    assert_eq!(b.message(), (Some(a.id()), Tag(2), payload));
}

fn unknown_fields_of_a_newer_client_survive_the_relay() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    let newer = [mouse(1, 2).encode_to_vec(), hex("a00605")].concat();
    let mut out = vec![];
    encode(Tag(2), &newer, &mut out);
    a.send_bytes(&out);
    assert_eq!(b.message(), (Some(a.id()), Tag(2), newer));
}

fn members_hear_who_is_there_and_who_comes_and_goes() {
    let server = TestServer::start();
    let mut a = server.player("a");
    let mut b = server.player("b");
    let named = |player: u32, event: event::Value, name: &str| v1::Member {
        player,
        event: event.into(),
        name: name.to_string(),
    };
    assert_eq!(member_event(&mut b), named(a.id(), event::Value::Present, "a"));
    assert_eq!(member_event(&mut a), named(b.id(), event::Value::Joined, "b"));
    let id = b.id();
    b.leave();
    assert_eq!(member_event(&mut a), named(id, event::Value::Left, ""));
}

fn rooms_are_apart_and_the_response_is_the_boundary() {
    let server = TestServer::start();
    let (mut a, mut b, mut c) = (server.player("a"), server.player("b"), server.player("c"));
    for _ in 0..2 {
        member_event(&mut c);
    }
    assert_eq!(b.join("arena 7").status, i32::from(status::Value::Ok));
    assert_eq!(server.metric("tagwire_rooms"), 2.0);
    assert_eq!(
        member_event(&mut c),
        v1::Member { player: b.id(), event: event::Value::Left.into(), ..Default::default() }
    );
    a.send(&mouse(1, 1));
    assert_eq!(c.mouse(), (a.id(), mouse(1, 1)));

    // What a says before it goes is heard in the old room, what it says after the Response in the new one.
    let joined = a.join("arena 7");
    assert_eq!(v1::JoinRoomReply::decode(joined.body).unwrap().room, "arena 7");
    assert_eq!(member_event(&mut a).player, b.id());
    a.send(&mouse(2, 2));
    assert_eq!(b.mouse(), (a.id(), mouse(2, 2)));
    c.send(&mouse(3, 3));
    assert_eq!(c.join("arena 7").status, i32::from(status::Value::Ok));
    c.send(&mouse(4, 4));
    assert_eq!(b.mouse(), (c.id(), mouse(4, 4)), "what c said elsewhere is not heard here");
    server.wait_for("tagwire_rooms", 1.0);
}

fn a_room_may_be_full_and_a_name_may_be_none() {
    let server =
        TestServer::with(|config| (config.limits.max_room_members, config.limits.max_rooms) = (2, 2));
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    let full = Player::login(server.address, "c", "welcome").err().unwrap();
    assert_eq!((full.code, full.code.unwrap().retryable()), (Some(CloseCode::OVERLOAD), true));
    for name in ["", "a\tb", &"x".repeat(65)] {
        assert_eq!(a.join(name).status, i32::from(status::Value::Invalid), "{name:?}");
    }
    assert_eq!(a.join("second").status, i32::from(status::Value::Ok));
    let refused = b.join("third");
    assert_eq!(refused.status, i32::from(status::Value::Unavailable));
    assert!(refused.message.contains("as many rooms"), "{}", refused.message);
    assert_eq!(b.join("main").status, i32::from(status::Value::Ok), "to be where one is is no change");
    let mut d = server.player("d");
    b.send(&mouse(1, 1));
    assert_eq!(d.mouse().0, b.id());
    // Nobody who was refused has left a trace.
    server.wait_for("tagwire_sessions", 3.0);
}

fn what_is_dropped_is_told() {
    let server = TestServer::start();
    let mut player = server.player("player1");
    player.send_bytes(&hex("01c800"));
    let notice = player.wait(|event| match event {
        Event::Notice(notice) => Some(notice),
        _ => None,
    });
    assert_eq!((notice.reason, notice.tag), (reason::Value::Unknown.into(), 200));
    let answer = player.request(&mouse(1, 1));
    assert_eq!(answer.status, i32::from(status::Value::Unknown));
    assert!(answer.message.contains("arena.v1.MouseEvent"), "{}", answer.message);
}

fn offences_end_a_session_with_their_code() {
    let server = TestServer::start();
    for (what, bytes, code) in [
        ("tag 0", hex("0000"), CloseCode::MALFORMED),
        ("too large", hex("ff00 0002 00010001"), CloseCode::TOO_LARGE),
        ("a score", hex("0006"), CloseCode::VIOLATION),
        ("a Welcome", hex("00f0"), CloseCode::VIOLATION),
        ("a second login", hex("0001"), CloseCode::VIOLATION),
        ("a Ping that cannot be read", hex("0103ff"), CloseCode::MALFORMED),
    ] {
        let mut player = server.player("player1");
        player.send_bytes(&bytes);
        let ended = player.ended();
        assert_eq!(ended.code, Some(code), "{what}: {}", ended.reason);
        assert!(!ended.reason.is_empty());
    }
    server.wait_for("tagwire_sessions", 0.0);
}

fn a_replaced_player_is_told_and_hears_nothing_more() {
    let server = TestServer::start();
    let mut first = server.player("player1");
    let second = server.player("player1");
    let ended = first.ended();
    assert_eq!(ended.code, Some(CloseCode::REPLACED));
    assert!(!CloseCode::REPLACED.retryable(), "two clients must not replace each other for ever");
    assert_ne!(second.id(), first.id());
    server.wait_for("tagwire_sessions", 1.0);
}

fn a_stop_tells_players_to_come_back() {
    let mut server = TestServer::start();
    let mut players: Vec<_> = (0..10).map(|i| server.player(&format!("player{i}"))).collect();
    server.begin_stop();
    for player in &mut players {
        let ended = player.ended();
        assert_eq!((ended.code, ended.retry_after_ms), (Some(CloseCode::SHUTDOWN), 1000));
        assert_eq!(player.ended().code, None, "then a clean end");
    }
    server.stop();
}

fn who_is_silent_for_too_long_is_told_and_away_and_then_gone() {
    let server = TestServer::with(|config| {
        config.limits.peer_timeout_ms = 2000;
        config.limits.resume_window_ms = 1000;
    });
    let mut answering = server.player("answering");
    // Neither reads nor answers; what it is told waits in its socket.
    let mut silent = server.player("silent");
    let mut classic = server.classic("classic");
    for expected in [event::Value::Away, event::Value::Left] {
        answering.wait(|event| match event {
            Event::Member(member) if member.event() == expected => Some(()),
            Event::Member(member) => {
                assert_eq!(member.event(), event::Value::Joined, "in that order");
                None
            }
            _ => None,
        });
    }
    assert_eq!(silent.ended().code, Some(CloseCode::TIMEOUT));
    classic.wait_for_ping();
    // A classic client owes no answer.
    server.wait_for("tagwire_sessions", 2.0);
}

fn a_client_that_goes_is_gone_at_once() {
    let server = TestServer::start();
    let (mut a, mut b) = (server.player("a"), server.player("b"));
    member_event(&mut a);
    b.session.close(CloseCode::NORMAL, "bye");
    b.flush();
    assert_eq!(member_event(&mut a).event, i32::from(event::Value::Left));
    assert_eq!(b.ended().reason, "EOF");
}

fn order_holds_over_ten_thousand_messages_and_several_senders() {
    for threads in [1, 2] {
        let server = TestServer::unlimited(|config| config.threads = threads);
        let mut reader = server.player("reader");
        let senders: Vec<_> = (0..4)
            .map(|s| {
                let mut sender = server.classic(&format!("sender{s}"));
                std::thread::spawn(move || {
                    for chunk in 0..25 {
                        let frames: Vec<u8> =
                            (0..100).flat_map(|i| frame(&mouse(s, chunk * 100 + i))).collect();
                        sender.send(&frames);
                        // The others' events come back and must be read; bounded by a short pause.
                        std::thread::sleep(Duration::from_millis(2));
                        while sender.has_more() {
                            sender.next();
                        }
                    }
                    sender
                })
            })
            .collect();
        let mut next = [0; 4];
        for _ in 0..10_000 {
            let (_, mouse) = reader.mouse();
            assert_eq!(mouse.y, next[mouse.x as usize], "sender {}", mouse.x);
            next[mouse.x as usize] += 1;
        }
        assert_eq!(next, [2500; 4]);
        senders.into_iter().for_each(|s| drop(s.join().unwrap()));
    }
}

fn what_happens_is_counted() {
    let server = TestServer::start();
    let (mut a, mut b, c) = (server.player("a"), server.player("b"), server.classic("c"));
    a.send(&arena::Chat { text: "hi".to_string() });
    a.send(&mouse(1, 1));
    b.message();
    b.mouse();
    a.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
    a.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
    for (name, value) in [
        ("tagwire_connections_accepted_total", 3.0),
        ("tagwire_logins_granted_total", 3.0),
        ("tagwire_messages_received_total{message=\"arena.v1.Chat\"}", 1.0),
        ("tagwire_message_bytes_received_total{message=\"arena.v1.Chat\"}", 4.0),
        ("tagwire_messages_delivered_total{message=\"arena.v1.Chat\"}", 3.0),
        ("tagwire_message_bytes_delivered_total{message=\"arena.v1.Chat\"}", 12.0),
        ("tagwire_messages_delivered_total{message=\"arena.v1.MouseEvent\"}", 2.0),
        ("tagwire_sessions", 3.0),
        ("tagwire_rooms", 1.0),
    ] {
        assert_eq!(server.metric(name), value, "{name}");
    }
    for name in ["tagwire_rtt_seconds_count", "tagwire_rtt_seconds_sum", "tagwire_tasks"] {
        assert!(server.metric(name) > 0.0, "{name}");
    }
    drop((a, b, c));
    server.wait_for("tagwire_connections", 0.0);
    let metrics = server.stop();
    let line = metrics.line();
    assert!(line.contains("tagwire_sessions=0 ") && line.contains("tagwire_tasks=0"), "{line}");
    assert!(!line.contains("_bucket") && !line.contains("tagwire_messages_shed_total"), "{line}");
}
}
