//! WebSockets that mean harm: frames that the RFC forbids, messages that we do not take, floods that carry nothing. Each is
//! closed at once with the code that says why, before a login and after it, and nobody honest notices.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::raw::*;
use common::siege::{extended, login};
use common::*;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1;
use tagwire::session::login::MAX_LOGIN_BYTES;

/// Longer than a test waits: what is closed is not closed by the deadline.
const LATE_MS: u64 = 60_000;

const MALFORMED: u16 = 3503;
const TOO_LARGE: u16 = 3505;
const RATE_LIMITED: u16 = 3506;

/// What is wrong with it, what is sent, the code it is closed with.
type Case = (String, Vec<u8>, u16);

/// What is wrong whenever it comes. `frame`: one that would be good by itself.
fn cases(frame: &[u8]) -> Vec<Case> {
    let half = frame.len() / 2;
    let mut cases: Vec<(String, Vec<u8>, u16)> = [
        ("no mask", [&[FIN | BINARY, frame.len() as u8], frame].concat(), MALFORMED),
        ("a continuation of nothing", ws_frame(FIN | CONTINUATION, frame), MALFORMED),
        (
            "a message within another's fragments",
            [ws_frame(BINARY, &frame[..half]), ws_message(frame)].concat(),
            MALFORMED,
        ),
        ("a ping in fragments", ws_frame(PING, b"x"), MALFORMED),
        ("a ping of 126 bytes", ws_frame(FIN | PING, &[7; 126]), MALFORMED),
        ("a pong of 126 bytes", ws_frame(FIN | PONG, &[7; 126]), MALFORMED),
        ("a close of 126 bytes", ws_frame(FIN | CLOSE, &[&[3, 232][..], &[b'x'; 124]].concat()), MALFORMED),
        ("a close of one byte", ws_frame(FIN | CLOSE, &[3]), MALFORMED),
        ("a close whose reason is no text", ws_frame(FIN | CLOSE, &[3, 232, 0xff, 0xfe]), MALFORMED),
        ("text", ws_frame(FIN | TEXT, b"hello"), MALFORMED),
        ("text that is none", ws_frame(FIN | TEXT, &[0xff; 4]), MALFORMED),
        ("an empty message", ws_message(&[]), MALFORMED),
        ("an empty message in fragments", [ws_frame(BINARY, &[]), ws_frame(FIN, &[])].concat(), MALFORMED),
        ("half a frame", ws_message(&frame[..half]), MALFORMED),
        ("one byte", ws_message(&frame[..1]), MALFORMED),
        (
            "a frame over two messages",
            [ws_message(&frame[..half]), ws_message(&frame[half..])].concat(),
            MALFORMED,
        ),
        ("a header of 64 KiB and more", ws_header(FIN | BINARY, (64 << 10) + 9), TOO_LARGE),
        ("a header of 4 GiB", ws_header(FIN | BINARY, 1 << 32), TOO_LARGE),
        ("a header of all bits", ws_header(FIN | BINARY, u64::MAX), TOO_LARGE),
        ("a ping of 1 GiB", ws_header(FIN | PING, 1 << 30), TOO_LARGE),
        (
            "fragments of too much",
            (0..9)
                .flat_map(|i| ws_frame(if i == 0 { BINARY } else { CONTINUATION }, &vec![7; 8000]))
                .collect(),
            TOO_LARGE,
        ),
    ]
    .map(|(name, bytes, code)| (name.to_string(), bytes, code))
    .into();
    for bit in [0x40, 0x20, 0x10] {
        cases.push((format!("bit {bit:02x}"), ws_frame(FIN | bit | BINARY, frame), MALFORMED));
        cases.push((format!("a ping with bit {bit:02x}"), ws_frame(FIN | bit | PING, b"x"), MALFORMED));
    }
    for opcode in (3..=7).chain(11..=15) {
        cases.push((format!("opcode {opcode}"), ws_frame(FIN | opcode, frame), MALFORMED));
    }
    cases
}

/// Sends it, and sees the end; how long that took.
fn judge(mut stream: impl Read + Write, when: &str, (name, bytes, code): &Case) -> Duration {
    let start = Instant::now();
    // A server that has seen enough closes without reading on.
    let _ = stream.write_all(bytes);
    let _ = stream.flush();
    assert_eq!(closed_with(&mut stream), Some(*code), "{name}, {when} a login");
    start.elapsed()
}

#[test]
fn what_the_rules_forbid_is_closed_at_once_and_with_its_code() {
    let server = open_server(|config| config.limits.login_timeout_ms = LATE_MS);
    let honest = Honest::start(&server);
    let mut before = cases(&login("a player", true));
    before.extend([
        ("a header over a login's".to_string(), ws_header(FIN | BINARY, 8 * 1024 + 9), TOO_LARGE),
        ("another frame".to_string(), ws_message(&frame(&mouse(1, 2))), MALFORMED),
        ("a frame of HTTP".to_string(), ws_message(b"GET / HTTP/1.1\r\n\r\n"), MALFORMED),
        ("a frame of TLS".to_string(), ws_message(&[0x16, 3, 1, 0, 5]), MALFORMED),
    ]);
    let mut after = cases(&frame(&arena::Chat { text: "some text".to_string() }));
    after.extend([
        ("a frame over the limit".to_string(), ws_message(&extended(2, (64 << 10) + 1, b"x")), TOO_LARGE),
        ("tag 0".to_string(), ws_message(&[3, 0, 1, 2, 3]), MALFORMED),
        ("a second login".to_string(), ws_message(&login("a second", true)), 3504),
    ]);
    let mut longest = Duration::ZERO;
    for (i, case) in before.iter().enumerate() {
        longest = longest.max(judge(upgrade(plain(&server)), "before", case));
        // What is below is not looked into, so a few are enough.
        if i % 5 == 0 {
            longest = longest.max(judge(upgrade(encrypted(&server)), "through TLS, before", case));
        }
    }
    for (i, case) in after.iter().enumerate() {
        let name = format!("player {i}");
        longest = longest.max(judge(inside(plain(&server), &name), "after", case));
        if i % 5 == 0 {
            longest = longest.max(judge(inside(encrypted(&server), &name), "through TLS, after", case));
        }
    }
    println!("{} cases, each closed within {longest:.2?}", before.len() + after.len());
    assert!(longest < PATIENCE / 2, "{longest:?}");
    honest.end(server);
}

#[test]
fn good_messages_may_come_in_fragments_of_one_byte_with_pings_between() {
    let server = open_server(|_| ());
    let honest = Honest::start(&server);
    let mut hearing = server.player("hearing");
    let mut stream = upgrade(plain(&server));
    let dust: Vec<_> = login("dust", true).iter().enumerate().fold(vec![], |mut out, (i, _)| {
        let login = login("dust", true);
        let opcode = if i == 0 { BINARY } else { CONTINUATION };
        let fin = if i + 1 == login.len() { FIN } else { 0 };
        out.extend(ws_frame(fin | opcode, &login[i..=i]));
        out.extend(ws_frame(FIN | PING, &[i as u8]));
        out
    });
    stream.write_all(&dust).unwrap();
    // Pongs first, each for its ping, or for the last of several that came at once.
    let mut pongs = vec![];
    loop {
        match next_ws_frame(&mut stream).expect("it stays open") {
            (first, payload) if first == FIN | PONG => pongs.push(payload[0]),
            (_, frames) => {
                assert_eq!(frames[1], 240);
                break;
            }
        }
    }
    assert!(pongs.is_sorted(), "{pongs:?}");
    stream.write_all(&ws_dust(&frame(&arena::Chat { text: "hello".to_string() }))).unwrap();
    let (_, _, payload) = hearing.message();
    assert_eq!(payload, frame(&arena::Chat { text: "hello".to_string() })[2..]);
    // Two frames in one message, and the other form of a header.
    let both = [extended(4, 3, &[10, 1, b'1']), frame(&arena::Chat { text: "2".to_string() })].concat();
    stream.write_all(&ws_message(&both)).unwrap();
    assert_eq!(hearing.message().2, [10, 1, b'1']);
    assert_eq!(hearing.message().2, [10, 1, b'2']);
    stream.write_all(&ws_frame(FIN | CLOSE, &1000u16.to_be_bytes())).unwrap();
    assert_eq!(closed_with(&mut stream), Some(1000));
    hearing.leave();
    honest.end(server);
}

/// A login of so many bytes of payload.
fn large_login(payload_bytes: usize) -> Vec<u8> {
    let mut login = v1::PlayerLogin {
        username: "large".to_string(),
        password: "welcome".to_string(),
        client: Some(v1::ClientInfo { protocol: tagwire::PROTOCOL_VERSION, ..Default::default() }),
        ..Default::default()
    };
    let sdk = |login: &mut v1::PlayerLogin, bytes| login.client.as_mut().unwrap().sdk = "x".repeat(bytes);
    // So large that all lengths have two bytes from here on.
    sdk(&mut login, 1000);
    let rest = tagwire::prost::Message::encoded_len(&login) - 1000;
    sdk(&mut login, payload_bytes - rest);
    assert_eq!(tagwire::prost::Message::encoded_len(&login), payload_bytes);
    frame(&login)
}

#[test]
fn the_largest_login_comes_in_by_websocket_as_by_tcp() {
    let server = open_server(|_| ());
    let login = large_login(MAX_LOGIN_BYTES);
    let mut stream = plain(&server);
    stream.write_all(&login).unwrap();
    let mut first = [0; 2];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first[1], 240, "by TCP");
    drop(stream);
    let mut stream = upgrade(plain(&server));
    stream.write_all(&ws_message(&login)).unwrap();
    welcomed(&mut stream);
    drop(stream);
    let mut stream = upgrade(plain(&server));
    stream.write_all(&ws_message(&large_login(MAX_LOGIN_BYTES + 1))).unwrap();
    assert_eq!(closed_with(&mut stream), Some(TOO_LARGE));
    server.wait_for("tagwire_connections", 0.0);
    server.stop();
}

#[test]
fn a_close_is_answered_whatever_its_code_and_nothing_after_it_counts() {
    let server = open_server(|config| config.limits.login_timeout_ms = LATE_MS);
    let honest = Honest::start(&server);
    let mut hearing = server.player("hearing");
    // Codes that nobody may send (RFC 6455, section 7.4) are answered with the one that says so.
    for (sent, answered) in [
        (Some(1000), 1000),
        (Some(1001), 1001),
        (Some(1011), 1011),
        (Some(3000), 3000),
        (Some(4999), 4999),
        (None, 0),
        (Some(0), 1002),
        (Some(999), 1002),
        (Some(1005), 1002),
        (Some(1006), 1002),
        (Some(1015), 1002),
        (Some(5000), 1002),
        (Some(65535), 1002),
    ] {
        let code = sent.map_or_else(Vec::new, |sent: u16| sent.to_be_bytes().to_vec());
        let chat = frame(&arena::Chat { text: "too late".to_string() });
        let bytes = [ws_frame(FIN | CLOSE, &code), ws_message(&chat)].concat();
        for inside_of in [upgrade(plain(&server)), inside(plain(&server), "a player")] {
            let mut stream = inside_of;
            stream.write_all(&bytes).unwrap();
            assert_eq!(closed_with(&mut stream), Some(answered), "{sent:?}");
        }
    }
    hearing.send(&arena::Chat { text: "done".to_string() });
    server.wait_for("tagwire_sessions", Honest::PLAYERS + 1.0);
    let (_, _, payload) = hearing.message();
    assert_eq!(payload[2..], *b"done", "what comes after a Close is nothing");
    hearing.leave();
    honest.end(server);
}

/// Sends the same again and again until it is closed; the code, and how much the kernel took.
fn flood(mut stream: TcpStream, bytes: &[u8]) -> (Option<u16>, usize) {
    let closed = AtomicBool::new(false);
    let mut writer = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            let (start, mut taken) = (Instant::now(), 0);
            while !closed.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
                let Ok(count) = writer.write(bytes) else { break };
                taken += count;
            }
            let _ = writer.shutdown(Shutdown::Write);
            taken
        });
        let mut code = None;
        while let Some((first, payload)) = next_ws_frame(&mut stream) {
            if first == FIN | CLOSE {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                break;
            }
        }
        closed.store(true, Ordering::Relaxed);
        (code, sending.join().unwrap())
    })
}

/// So many of the same.
fn many(frame: &[u8]) -> Vec<u8> {
    frame.repeat((64 << 10) / frame.len())
}

/// What carries nothing: it may be sent for ever, as far as the rules of WebSockets go.
fn floods() -> [(&'static str, Vec<u8>); 4] {
    [
        ("empty continuations", many(&ws_frame(CONTINUATION, &[]))),
        ("pings", many(&ws_frame(FIN | PING, &[]))),
        ("large pings", many(&ws_frame(FIN | PING, &[7; 125]))),
        ("pongs", many(&ws_frame(FIN | PONG, b"x"))),
    ]
}

#[test]
fn floods_of_what_carries_nothing_are_closed_before_a_login_and_after_it() {
    let server = open_server(|config| config.limits.login_timeout_ms = LATE_MS);
    let honest = Honest::start(&server);
    for (name, bytes) in floods() {
        let begin = if name == "empty continuations" { ws_frame(BINARY, &[]) } else { vec![] };
        for is_inside in [false, true] {
            let mut stream = match is_inside {
                true => inside(plain(&server), "a flooder"),
                false => upgrade(plain(&server)),
            };
            stream.write_all(&begin).unwrap();
            let (before, start) = (server.cpu_ticks(), Instant::now());
            let (code, taken) = flood(stream, &bytes);
            let cpu_ms = (server.cpu_ticks() - before) * 10;
            println!(
                "{name}, inside {is_inside}: {code:?} after {taken} bytes, {:.2?}, {cpu_ms} ms of CPU",
                start.elapsed()
            );
            assert_eq!(code, Some(RATE_LIMITED), "{name}, inside {is_inside}");
        }
    }
    // One that reads no answer: it is told all the same, and what waits for it is bounded.
    let mut stream = inside(plain(&server), "a deaf flooder");
    let _ = stream.write_all(&many(&ws_frame(FIN | PING, &[7; 125])).repeat(16));
    assert_eq!(closed_with(&mut stream), Some(RATE_LIMITED));
    honest.end(server);
}

#[test]
fn a_close_through_tls_is_answered_and_then_tls_is_closed_as_it_should_be() {
    // Some of these codes do not mean that the session ends.
    let server = open_server(|config| config.limits.resume_window_ms = 60_000);
    for code in [1000u16, 1001, 3000, 5000] {
        for mut stream in [upgrade(encrypted(&server)), inside(encrypted(&server), "a player")] {
            stream.write_all(&ws_frame(FIN | CLOSE, &code.to_be_bytes())).unwrap();
            let (first, payload) = next_ws_frame(&mut stream).expect("an answer");
            let answer = if code == 5000 { 1002 } else { code };
            assert_eq!((first, &payload[..2]), (FIN | CLOSE, &answer.to_be_bytes()[..]));
            // Otherwise an end that somebody else made could not be told from this one.
            assert_eq!(stream.read(&mut [0; 1]).map_err(|error| error.to_string()), Ok(0), "close_notify");
        }
    }
    server.wait_for("tagwire_connections", 0.0);
    server.stop();
}
