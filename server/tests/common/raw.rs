//! What hostile clients send, byte by byte, at the doors of a server; and two honest players who must not notice.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tagwire_server::Config;

use super::siege::login;
use super::via::{IDENTITY, TlsStream, client_config, tls_over};
use super::{PATIENCE, TestServer, is_long, mouse};

/// An upgrade as a browser asks for it.
pub const UPGRADE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\n\
                           Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                           Sec-WebSocket-Protocol: tagwire.v1\r\n\r\n";

/// Opcodes of WebSocket frames (RFC 6455, section 5.2); the last frame of a message has [`FIN`] besides.
pub const CONTINUATION: u8 = 0;
pub const TEXT: u8 = 1;
pub const BINARY: u8 = 2;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;
pub const FIN: u8 = 0x80;

const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

/// A server with all its doors open.
pub fn open_server(change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::with(|config| {
        config.tls.certificate = IDENTITY.pem.to_str().unwrap().to_string();
        // Who is cut off is gone, so that nobody is counted as away.
        config.limits.resume_window_ms = 0;
        change(config);
    })
}

/// The header of a frame of a client that announces so many bytes, and its mask.
pub fn ws_header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xffff => {
            header.push(0x80 | 126);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 127);
            header.extend(length.to_be_bytes());
        }
    }
    [&header[..], &MASK].concat()
}

/// A frame of a client.
pub fn ws_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    ws_header(first, payload.len() as u64).into_iter().chain(masked).collect()
}

/// A message of one frame.
pub fn ws_message(payload: &[u8]) -> Vec<u8> {
    ws_frame(FIN | BINARY, payload)
}

/// The same in fragments of one byte.
pub fn ws_dust(payload: &[u8]) -> Vec<u8> {
    let last = payload.len() - 1;
    let fragment = |(i, byte): (usize, &u8)| {
        let opcode = if i == 0 { BINARY } else { CONTINUATION };
        ws_frame(if i == last { FIN | opcode } else { opcode }, &[*byte])
    };
    payload.iter().enumerate().flat_map(fragment).collect()
}

/// The next frame of the server; `None` at the end.
pub fn next_ws_frame(stream: &mut impl Read) -> Option<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    if let Err(error) = stream.read_exact(&mut start) {
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
        return None;
    }
    let length = match start[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            u16::from_be_bytes(length).into()
        }
        127 => panic!("the server sends at most 64 KiB"),
        masked @ 128.. => panic!("the server masks nothing: {masked}"),
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    stream.read_exact(&mut payload).unwrap();
    Some((start[0], payload))
}

/// Reads to the end: with which code the WebSocket was closed.
pub fn closed_with(stream: &mut impl Read) -> Option<u16> {
    let mut code = None;
    while let Some((first, payload)) = next_ws_frame(stream) {
        assert_eq!(code, None, "nothing comes after a Close");
        if first == FIN | CLOSE {
            code = Some(payload.first_chunk().map_or(0, |code| u16::from_be_bytes(*code)));
        }
    }
    code
}

/// A connection; reads fail where nothing comes for long.
pub fn plain(server: &TestServer) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// One with TLS, that has shaken hands.
pub fn encrypted(server: &TestServer) -> TlsStream {
    let mut stream = tls_over(plain(server), client_config(None));
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock).unwrap();
    }
    stream
}

/// Asks for a WebSocket, and has it.
pub fn upgrade<S: Read + Write>(mut stream: S) -> S {
    stream.write_all(UPGRADE.as_bytes()).unwrap();
    let head = head_of_answer(&mut stream);
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    stream
}

/// The head of an answer of HTTP, and nothing behind it.
pub fn head_of_answer(stream: &mut impl Read) -> String {
    let mut head = vec![];
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A WebSocket with a player of that name inside, who has been told so.
pub fn inside<S: Read + Write>(stream: S, name: &str) -> S {
    let mut stream = upgrade(stream);
    stream.write_all(&ws_message(&login(name, true))).unwrap();
    welcomed(&mut stream);
    stream
}

/// Waits for Welcome.
pub fn welcomed(stream: &mut impl Read) {
    let (first, frames) = next_ws_frame(stream).expect("a Welcome");
    assert_eq!((first, frames.get(1)), (FIN | BINARY, Some(&240)));
}

/// Everything until the end, which must be a clean one.
pub fn rest(stream: &mut impl Read) -> Vec<u8> {
    let mut rest = vec![];
    stream.read_to_end(&mut rest).unwrap();
    rest
}

/// Two players in a room of their own who answer each other all along.
pub struct Honest {
    leave: Arc<AtomicBool>,
    players: JoinHandle<Duration>,
}

impl Honest {
    pub const PLAYERS: f64 = 2.0;

    pub fn start(server: &TestServer) -> Self {
        let (mut one, mut other) = (server.player("one"), server.player("other"));
        one.join("honest");
        other.join("honest");
        let leave = Arc::new(AtomicBool::new(false));
        let leaving = Arc::clone(&leave);
        let players = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            for x in 0.. {
                if leaving.load(Ordering::Relaxed) {
                    break;
                }
                let start = Instant::now();
                one.send(&mouse(x, 0));
                assert_eq!(other.mouse().1, mouse(x, 0));
                other.send(&mouse(x, 1));
                assert_eq!(one.mouse().1, mouse(x, 1));
                longest = longest.max(start.elapsed());
                // Less often than `max_rate` lets them.
                std::thread::sleep(Duration::from_millis(20));
            }
            longest
        });
        Honest { leave, players }
    }

    /// When the others have gone: nothing of them is left, and these two have heard of nothing.
    pub fn end(self, server: TestServer) {
        for (name, of_players) in [("tagwire_connections", 1.0), ("tagwire_sessions", 1.0)] {
            server.wait_for(name, of_players * Self::PLAYERS);
        }
        self.leave.store(true, Ordering::Relaxed);
        let longest = self.players.join().expect("nobody disturbs honest players");
        println!("honest players had their answers within {longest:.2?}");
        // On a busy machine, only a server that stands still is noticed.
        let most = Duration::from_millis(if is_long() { 500 } else { 3000 });
        assert!(longest <= most, "an answer took {longest:?}");
        assert_eq!(server.metric("tagwire_panics_total"), 0.0);
        server.wait_for("tagwire_connections", 0.0);
        server.wait_for("tagwire_outbox_bytes", 0.0);
        server.stop();
    }
}
