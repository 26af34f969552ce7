//! Connections that mean harm before there is a login: handshakes that stop anywhere, heads of HTTP that are none, TLS that is
//! none, PROXY headers of strangers. Each is refused in bounded time and memory, and nobody honest notices. `TAGWIRE_LONG`:
//! every byte at which a handshake can stop, and thousands that do.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::program::Program;
use common::raw::*;
use common::siege::login;
use common::via::{IDENTITY, client_config};
use common::*;
use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tagwire::CloseCode;
use tagwire_server::{Plaintext, raise_descriptor_limit};

/// A deadline that a test waits for.
const DEADLINE: Duration = Duration::from_secs(1);
/// Longer than a test waits: what is closed is not closed by the deadline.
const LATE_MS: u64 = 60_000;
/// Of a proxy, in tests.
const PROXY: &str = "127.0.0.9";
const PROXY_V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 7777\r\n";

/// A header of version 2 for a client from 192.0.2.7.
fn proxy_v2() -> Vec<u8> {
    [
        &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
        &[192, 0, 2, 7, 192, 0, 2, 1],
        &4711u16.to_be_bytes(),
        &7777u16.to_be_bytes(),
    ]
    .concat()
}

/// A client's side of TLS without a socket: what it begins with is returned beside it.
fn client_hello() -> (ClientConnection, Vec<u8>) {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(client_config(None), name).unwrap();
    let hello = records(&mut client);
    (client, hello)
}

/// The records that it wants to send.
fn records(client: &mut ClientConnection) -> Vec<u8> {
    let mut records = vec![];
    while client.wants_write() {
        client.write_tls(&mut records).unwrap();
    }
    records
}

/// Says the first part of what opens a connection, and no more; with the code that a WebSocket is closed with.
struct Stalled {
    what: &'static str,
    /// Bytes of it that were sent.
    sent: usize,
    stream: TcpStream,
    code: Option<u16>,
}

/// Everything up to `end`, which is in steps.
fn prefixes(bytes: usize, step: usize) -> impl Iterator<Item = usize> {
    let step = if is_long() { 1 } else { step };
    (0..bytes).step_by(step).chain(std::iter::once(bytes - 1))
}

#[test]
fn whoever_stops_on_the_way_in_is_closed_at_the_deadline() {
    raise_descriptor_limit().unwrap();
    let server = open_server(|config| {
        config.trusted_proxies = vec![format!("{PROXY}/32").parse().unwrap()];
        config.limits.login_timeout_ms = DEADLINE.as_millis() as u64;
    });
    let honest = Honest::start(&server);
    let mut stalled = vec![];
    let mut stall = |what, bytes: &[u8], step, connect: &dyn Fn() -> TcpStream, code| {
        for sent in prefixes(bytes.len(), step) {
            let mut stream = connect();
            stream.write_all(&bytes[..sent]).unwrap();
            stalled.push(Stalled { what, sent, stream, code });
        }
    };
    let direct = || plain(&server);
    let proxied = || {
        let stream = connect_from(PROXY, server.address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let hello = client_hello().1;
    stall("a ClientHello", &hello, 41, &direct, None);
    stall("an upgrade", UPGRADE.as_bytes(), 23, &direct, None);
    let message = ws_message(&login("a player", true));
    stall("a login in a WebSocket", &message, 5, &|| upgrade(plain(&server)), Some(3507));
    let dust = ws_dust(&login("a player", true));
    stall("a login in fragments", &dust, 61, &|| upgrade(plain(&server)), Some(3507));
    stall("a login", &login("a player", true), 5, &direct, None);
    stall("a PROXY header", PROXY_V1, 7, &proxied, None);
    stall("a PROXY header of version 2", &proxy_v2(), 5, &proxied, None);
    stall("a login of a proxy", &[PROXY_V1, &login("a player", true)].concat(), 11, &proxied, None);
    // The second half of a handshake, of which each is another.
    for part in [0, 1, 7] {
        let (mut client, hello) = client_hello();
        let mut stream = plain(&server);
        stream.write_all(&hello).unwrap();
        while client.is_handshaking() {
            client.read_tls(&mut stream).unwrap();
            client.process_new_packets().unwrap();
        }
        let finished = records(&mut client);
        stream.write_all(&finished[..finished.len() * part / 8]).unwrap();
        stalled.push(Stalled { what: "the end of a handshake", sent: part, stream, code: None });
    }
    let inside_tls: Vec<_> = [&b""[..], b"\x20", b"GET / HT"]
        .map(|bytes| {
            let mut stream = encrypted(&server);
            stream.write_all(bytes).unwrap();
            stream
        })
        .into();
    let upgraded = upgrade(encrypted(&server));
    println!("{} connections stop on their way in", stalled.len() + inside_tls.len() + 1);
    let start = Instant::now();
    for Stalled { what, sent, mut stream, code } in stalled {
        if code.is_some() {
            assert_eq!(closed_with(&mut stream), code, "{what}, {sent} bytes");
            continue;
        }
        let said = rest(&mut stream);
        // Of TLS: the server's half of the handshake, an alert, one that is encrypted.
        assert!(said.is_empty() || (0x15..=0x17).contains(&said[0]), "{what}, {sent} bytes: {said:02x?}");
    }
    for mut stream in inside_tls {
        assert!(rest(&mut stream).is_empty());
    }
    assert_eq!(closed_with(&mut { upgraded }), Some(3507));
    let late = Duration::from_secs(if is_long() { 2 } else { 5 });
    assert!(start.elapsed() < DEADLINE + late, "{:?}", start.elapsed());
    honest.end(server);
}

/// Sends it and nothing more; what is answered until the end.
fn ask(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

#[test]
fn heads_that_are_no_request_are_answered_with_a_page_or_not_at_all() {
    let server = open_server(|config| config.limits.login_timeout_ms = LATE_MS);
    let honest = Honest::start(&server);
    let with = |line: &str| UPGRADE.replacen("Host: localhost", &format!("Host: localhost\r\n{line}"), 1);
    let replaced = |from: &str, to: &str| {
        assert!(UPGRADE.contains(from));
        UPGRADE.replacen(from, to, 1)
    };
    for (what, request, status) in [
        ("a page", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), Some("200")),
        // RFC 9112, section 2.2, lets a server take these.
        ("lines without CR", "GET / HTTP/1.1\nHost: localhost\n\n".to_string(), Some("200")),
        ("another path", replaced("GET /", "GET /admin"), Some("404")),
        ("a head of 8 KiB", with(&format!("Cookie: {}", "x".repeat(8 * 1024))), Some("431")),
        ("a head without end", format!("GET / HTTP/1.1\r\nCookie: {}", "x".repeat(9 * 1024)), Some("431")),
        ("a path without end", format!("GET /{}", "x".repeat(9 * 1024)), Some("431")),
        ("a thousand headers", with(&"A: b\r\n".repeat(1000)), Some("431")),
        ("200 headers", with(&"A: b\r\n".repeat(200)), Some("431")),
        ("HTTP 1.0", replaced("HTTP/1.1", "HTTP/1.0"), Some("400")),
        ("HTTP 2", replaced("HTTP/1.1", "HTTP/2.0"), Some("400")),
        ("no version", "GET /\r\n\r\n".to_string(), Some("400")),
        ("a header without colon", with("Cookie"), Some("400")),
        ("a header with NUL", with("Cookie: \0"), Some("400")),
        ("a folded header", with("Cookie: a\r\n b"), Some("400")),
        ("no key", replaced("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), Some("400")),
        ("another version of WebSockets", replaced("Version: 13", "Version: 8"), Some("400")),
        ("another subprotocol", replaced("tagwire.v1", "graphql-ws"), Some("400")),
        ("a page of a stranger", with("Origin: https://evil.example"), Some("403")),
        ("another method", replaced("GET", "POST"), None),
        ("a method like HEAD", "HEADS / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), None),
        ("a method without body", "OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), None),
        ("HTTP 2 from the start", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_string(), None),
        ("a small get", "get / HTTP/1.1\r\n\r\n".to_string(), None),
        ("a line before", "\r\nGET / HTTP/1.1\r\n\r\n".to_string(), None),
    ] {
        let answer = String::from_utf8(ask(plain(&server), request.as_bytes())).unwrap();
        let (head, page) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert_eq!(head.get(9..12), status, "{what}: {answer:?}");
        if status.is_some() {
            let length = head.split_once("Content-Length: ").unwrap().1.lines().next().unwrap();
            assert_eq!(length.parse(), Ok(page.len()), "{what}: {answer:?}");
        }
    }
    // HEAD is told what GET would be, and no more.
    for (request, status) in [
        ("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_string(), "200"),
        (replaced("GET", "HEAD"), "400"),
        (format!("HEAD / HTTP/1.1\r\nCookie: {}", "x".repeat(9 * 1024)), "431"),
    ] {
        let answer = String::from_utf8(ask(plain(&server), request.as_bytes())).unwrap();
        assert_eq!((answer.get(9..12), answer.ends_with("\r\n\r\n")), (Some(status), true), "{answer:?}");
    }
    // What comes behind an upgrade is WebSocket, whether it waits for the answer or not.
    let mut stream = plain(&server);
    stream.write_all(&[UPGRADE.as_bytes(), &ws_message(&login("hasty", true))].concat()).unwrap();
    assert!(head_of_answer(&mut stream).starts_with("HTTP/1.1 101 "));
    welcomed(&mut stream);
    drop(stream);
    let mut stream = plain(&server);
    stream.write_all(&[UPGRADE.as_bytes(), b"name=value&other=value"].concat()).unwrap();
    assert!(head_of_answer(&mut stream).starts_with("HTTP/1.1 101 "));
    assert_eq!(closed_with(&mut stream), Some(3503));
    // A request inside a WebSocket, inside TLS, behind a page: none is looked at.
    let two = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
    let answer = String::from_utf8(ask(plain(&server), two.as_bytes())).unwrap();
    assert_eq!(answer.matches("HTTP/1.1").count(), 1);
    honest.end(server);
}

/// A record of TLS.
fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 3][..], &(payload.len() as u16).to_be_bytes(), payload].concat()
}

/// A ClientHello by hand, of a client that speaks nothing newer than `version` (RFC 5246, section 7.4.1.2).
fn old_hello(version: [u8; 2]) -> Vec<u8> {
    let ciphers = [0xc0, 0x2f, 0xc0, 0x2b, 0xc0, 0x13, 0, 0x2f];
    // The groups and the signatures that the server knows, so that it is the version alone that it does not.
    let extensions = [0, 18, 0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 6, 0, 4, 4, 3, 8, 4];
    let body =
        [&version[..], &[7; 32], &[0], &(ciphers.len() as u16).to_be_bytes(), &ciphers, &[1, 0], &extensions]
            .concat();
    let length = (body.len() as u32).to_be_bytes();
    let mut hello = record(0x16, &[&[1][..], &length[1..], &body].concat());
    hello[2] = 1;
    hello
}

#[test]
fn what_is_no_tls_is_closed_at_once() {
    let server = open_server(|config| config.limits.login_timeout_ms = LATE_MS);
    let honest = Honest::start(&server);
    let hello = client_hello().1;
    let mut bent = hello.clone();
    bent[5] = 77;
    let endless: Vec<u8> = std::iter::once(record(0x16, &[&[1, 0xff, 0xff, 0xff][..], &[7; 16000]].concat()))
        .chain((0..20).map(|_| record(0x16, &[7; 16000])))
        .collect::<Vec<_>>()
        .concat();
    let half = record(0x16, &hello[5..60]);
    let changes = record(0x14, &[1]).repeat(20_000);
    // The alerts: RFC 8446, section 6.2.
    for (what, bytes, alert) in [
        ("garbage", [&[0x16, 3, 1, 0, 200][..], &[0x99; 200]].concat(), 0),
        ("zeros", [&[0x16, 3][..], &[0; 300]].concat(), 50),
        ("a record of 64 KiB", [&[0x16, 3, 1, 0xff, 0xff][..], &[1; 20000]].concat(), 50),
        ("an empty record", record(0x16, &[]).repeat(100), 0),
        ("another message first", bent, 0),
        ("data first", record(0x17, &[1; 100]), 0),
        ("TLS 1.0", old_hello([3, 1]), 70),
        ("TLS 1.1", old_hello([3, 2]), 70),
        ("a message without end", endless, 0),
        ("half a hello, then alerts", [half.clone(), record(0x15, &[1, 100]).repeat(100)].concat(), 0),
        ("half a hello, then data", [half, record(0x17, &[1; 100])].concat(), 0),
        ("a hello, then alerts", [hello.clone(), record(0x15, &[1, 100]).repeat(100)].concat(), 0),
        ("a hello, then a change of ciphers without end", [hello.clone(), changes].concat(), 0),
        ("a hello, then garbage", [&hello[..], &[0x99; 5000]].concat(), 0),
        ("a hello, then a login", [&hello[..], &login("a player", true)].concat(), 0),
        ("two hellos", hello.repeat(2), 0),
    ] {
        // What begins as no TLS at all is nothing of ours.
        let is_tls = bytes.starts_with(&[0x16, 3]);
        let start = Instant::now();
        let answer = ask(plain(&server), &bytes);
        assert!(start.elapsed() < PATIENCE / 2, "{what}: {:?}", start.elapsed());
        match answer.as_slice() {
            [] => assert!(!is_tls, "{what}: no alert"),
            [0x15, 3, _, 0, 2, _, code] => {
                assert!(alert == 0 || *code == alert, "{what}: alert {code}")
            }
            // The server's half of a handshake comes before.
            _ => assert!(bytes.starts_with(&hello), "{what}: {:02x?}", &answer[..answer.len().min(20)]),
        }
    }
    // After the handshake.
    for (what, bytes) in [
        ("garbage", vec![0x99; 100]),
        ("a record that nobody encrypted", record(0x17, &[7; 100])),
        ("a login that nobody encrypted", login("a player", true)),
        ("a hello", hello.clone()),
        ("a close", record(0x15, &[1, 0])),
    ] {
        let mut stream = encrypted(&server);
        stream.sock.write_all(&bytes).unwrap();
        let answer = rest(&mut stream.sock);
        assert!(answer.len() < 2000, "{what}: {} bytes", answer.len());
    }
    for (what, bytes) in [
        ("TLS in TLS", hello),
        ("a PROXY header in TLS", PROXY_V1.to_vec()),
        ("another frame in TLS", frame(&mouse(1, 1))),
    ] {
        let mut stream = encrypted(&server);
        stream.write_all(&bytes).unwrap();
        assert!(rest(&mut stream).is_empty(), "{what}");
    }
    honest.end(server);
}

#[test]
fn records_of_one_byte_are_taken_until_they_are_too_many() {
    let server = open_server(|config| config.limits.login_timeout_ms = LATE_MS);
    let honest = Honest::start(&server);
    let mut stream = encrypted(&server);
    for byte in login("dust", true) {
        stream.write_all(&[byte]).unwrap();
    }
    let mut first = [0; 2];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first[1], 240, "a login may come so");
    // A message that is as large as may be, byte by byte.
    stream.write_all(&[0xff, 0, 0, 4, 0, 1, 0, 0]).unwrap();
    let mut sent = 0;
    let told = loop {
        // Many in one write, so that the test is not what takes long.
        (0..500).for_each(|_| stream.conn.writer().write_all(b"x").unwrap());
        let records = records(&mut stream.conn);
        sent += records.len();
        assert!(sent < 4 << 20, "{sent} bytes were taken");
        if stream.sock.write_all(&records).is_err() {
            break None;
        }
        stream.sock.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer);
        stream.sock.set_nonblocking(false).unwrap();
        match read {
            Ok(0) => break None,
            Ok(count) => {
                let mut decoder = tagwire::frame::Decoder::default();
                let mut input = &buffer[..count];
                let mut told = None;
                while let Ok(Some(frame)) = decoder.next(&mut input) {
                    told = told.or(siege::close_code(&(frame.tag.0, frame.payload.to_vec())));
                }
                if told.is_some() {
                    break told;
                }
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    };
    println!("{sent} bytes until {told:?}");
    assert_eq!(told, Some(CloseCode::RATE_LIMITED));
    drop(stream);
    honest.end(server);
}

#[test]
fn headers_of_proxies_are_heard_from_proxies_alone() {
    let server = open_server(|config| {
        config.trusted_proxies = vec![format!("{PROXY}/32").parse().unwrap()];
        config.limits.login_timeout_ms = LATE_MS;
        // Who is behind a proxy is not on this machine.
        config.plaintext = Plaintext::Allow;
    });
    let honest = Honest::start(&server);
    let login = login("behind a proxy", true);
    let v2 = proxy_v2();
    let huge = [&v2[..14], &[0xff, 0xff], &[0; 3000]].concat();
    let with = |header: &[u8]| [header, &login].concat();
    let by_proxy = |bytes: &[u8]| {
        let stream = connect_from(PROXY, server.address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut stream = stream;
        let _ = stream.write_all(bytes);
        stream
    };
    for (what, bytes) in [("version 1", with(PROXY_V1)), ("version 2", with(&v2))] {
        assert!(ask(plain(&server), &bytes).is_empty(), "{what} of a stranger");
        let mut first = [0; 2];
        by_proxy(&bytes).read_exact(&mut first).unwrap();
        assert_eq!(first[1], 240, "{what} of a proxy");
    }
    for (what, bytes) in [
        ("no header", login.clone()),
        ("TLS without a header", client_hello().1),
        ("HTTP without a header", UPGRADE.as_bytes().to_vec()),
        ("a header of 64 KiB", huge),
        ("a line without end", [b"PROXY TCP4 ", &[b'1'; 3000][..]].concat()),
        ("an unknown line without end", [b"PROXY UNKNOWN ", &[b'1'; 3000][..]].concat()),
        ("half a header, then a login", with(&PROXY_V1[..20])),
        ("half a header of version 2, then a login", [&v2[..13], &login].concat()),
        ("two headers", with(&[PROXY_V1, PROXY_V1].concat())),
        ("a header of each version", with(&[PROXY_V1, &v2].concat())),
        ("a header of each version the other way", with(&[&v2[..], PROXY_V1].concat())),
        ("small letters", with(&PROXY_V1.to_ascii_lowercase())),
    ] {
        let start = Instant::now();
        assert!(rest(&mut by_proxy(&bytes)).is_empty(), "{what}");
        assert!(start.elapsed() < PATIENCE / 2, "{what}: {:?}", start.elapsed());
    }
    // What is behind a header may be anything that is served.
    let mut stream = by_proxy(&[PROXY_V1, UPGRADE.as_bytes()].concat());
    assert!(head_of_answer(&mut stream).starts_with("HTTP/1.1 101 "));
    drop(stream);
    honest.end(server);
}

#[test]
fn where_plaintext_is_denied_a_login_is_told_so_and_a_classic_one_nothing() {
    let server = open_server(|config| config.plaintext = Plaintext::Deny);
    let refused = Player::login(server.address, "a player", "welcome").err().expect("refused");
    assert_eq!(refused.code, Some(CloseCode::LOGIN_REFUSED));
    assert!(refused.reason.contains("tagwires://"), "{refused:?}");
    assert!(ask(plain(&server), &login("a classic one", false)).is_empty());
    let mut stream = upgrade(plain(&server));
    stream.write_all(&ws_message(&login("a player", true))).unwrap();
    let (_, frames) = next_ws_frame(&mut stream).unwrap();
    assert_eq!(frames[1], 241, "Disconnect");
    assert_eq!(closed_with(&mut stream), Some(3501));
    let mut stream = upgrade(plain(&server));
    stream.write_all(&ws_message(&login("a classic one", false))).unwrap();
    assert_eq!(next_ws_frame(&mut stream).unwrap().0, FIN | CLOSE, "nothing before it");
    assert_eq!(server.metric("tagwire_logins_granted_total"), 0.0);
    drop(inside(encrypted(&server), "a player"));
    server.wait_for("tagwire_connections", 0.0);
    server.stop();
}

/// What a connection begins with.
type Begin = Box<dyn Fn(&mut TcpStream)>;

/// So many stop in the middle of a handshake and stay; what one holds of the memory of a server that had nobody before, bytes.
fn memory_of(what: &str, count: usize, begin: &Begin) -> u64 {
    let pem = IDENTITY.pem.to_str().unwrap();
    let server = Program::start(&["--tls", pem, "--set", "limits.login_timeout_ms=60000"]);
    let (before_kib, _) = server.memory();
    let stalled: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address).unwrap();
            begin(&mut stream);
            stream
        })
        .collect();
    server.wait_for_counts(&[("tagwire_connections", count as f64)]);
    let (after_kib, _) = server.memory();
    let each = (after_kib.saturating_sub(before_kib) << 10) / count as u64;
    println!("{what}: {count} connections, {before_kib} to {after_kib} KiB: {each} bytes each");
    for stream in stalled {
        let _ = stream.shutdown(Shutdown::Both);
    }
    server.wait_for_counts(&[("tagwire_connections", 0.0)]);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0));
    assert!(!log.contains("panicked"), "{log}");
    each
}

#[test]
fn handshakes_that_stop_hold_little_memory() {
    raise_descriptor_limit().unwrap();
    let count = if is_long() { 5000 } else { 500 };
    let hello = Arc::new(client_hello().1);
    let mut announced = ws_header(FIN | BINARY, 8000);
    announced.extend([1, 2, 3]);
    let kinds: [(&str, Begin); 4] = [
        ("nothing sent", Box::new(|_| ())),
        ("half a ClientHello", {
            let hello = Arc::clone(&hello);
            Box::new(move |stream| stream.write_all(&hello[..hello.len() / 2]).unwrap())
        }),
        (
            "a ClientHello, and no answer to the server's",
            Box::new(move |stream| {
                stream.write_all(&hello).unwrap();
                stream.read_exact(&mut [0; 5]).unwrap();
            }),
        ),
        (
            "a WebSocket, and a message that is announced",
            Box::new(move |stream| {
                stream.write_all(&[UPGRADE.as_bytes(), &announced].concat()).unwrap();
                head_of_answer(stream);
            }),
        ),
    ];
    for (what, begin) in kinds {
        let each = memory_of(what, count, &begin);
        // 12 KiB measured: a session of TLS, or what a WebSocket reads into (4 KiB) and its task, in a debug build.
        assert!(each < 20 << 10, "{what}: {each} bytes each");
    }
}
