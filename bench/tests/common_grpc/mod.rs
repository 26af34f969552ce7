//! A server of our own as a process, and blocking clients of it.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses some of it")]

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::process::Child;
use std::time::Duration;

use tagwire_bench::body;
use tagwire_bench::dialect::{Dialect, Heard, Say, Seat};
use tagwire_bench::peers::{Peer, Setup};
use tagwire_bench::process::free_port;

/// A server, until it is dropped.
pub struct Running {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Running {
    pub fn start(peer: &mut dyn Peer, threads: usize, ping_ms: Option<u64>) -> Running {
        let folder = tempfile::tempdir().unwrap();
        peer.prepare(env!("CARGO_MANIFEST_DIR").as_ref(), folder.path()).unwrap();
        let port = free_port().unwrap();
        let setup = Setup {
            port,
            folder: folder.path().to_owned(),
            threads,
            connections: 4,
            ping_ms,
            body_bytes: 16384,
        };
        let child = peer.command(&setup).unwrap().spawn().unwrap();
        Running { child, port, folder }
    }

    fn connect(&mut self) -> TcpStream {
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(stream) => return stream,
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    assert_eq!(self.child.try_wait().unwrap(), None, "the server ended");
                    std::thread::yield_now();
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Threads of the process.
    pub fn threads(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// What a client heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Ready,
    Body(Vec<u8>),
    Ping,
}

/// A client that gives what it reads to its dialect in pieces.
pub struct Client {
    stream: TcpStream,
    dialect: Box<dyn Dialect>,
    piece: usize,
    input: Vec<u8>,
    heard: VecDeque<Event>,
}

impl Client {
    /// One that is ready.
    pub fn enter(server: &mut Running, peer: &dyn Peer, number: u32, room: &str, piece: usize) -> Client {
        let seat = Seat {
            number,
            name: format!("player{number}"),
            room: room.to_owned(),
            sends: true,
            receives: true,
        };
        let stream = server.connect();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client =
            Client { stream, dialect: peer.client(&seat), piece, input: Vec::new(), heard: VecDeque::new() };
        let mut out = Vec::new();
        client.dialect.open(&mut out);
        client.stream.write_all(&out).unwrap();
        assert_eq!(client.event(), Event::Ready);
        client
    }

    pub fn say(&mut self, what: Say, body: &[u8]) {
        let mut out = Vec::new();
        self.dialect.say(what, body, &mut out);
        self.stream.write_all(&out).unwrap();
    }

    /// The next thing, whatever it is.
    pub fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.heard.pop_front() {
                return event;
            }
            let mut buffer = [0; 65536];
            let bytes = self.stream.read(&mut buffer).unwrap();
            assert_ne!(bytes, 0, "the server closed the connection");
            let mut out = Vec::new();
            for piece in buffer[..bytes].chunks(self.piece) {
                self.input.extend_from_slice(piece);
                let taken = self
                    .dialect
                    .take(&self.input, &mut out, &mut |heard| {
                        self.heard.push_back(match heard {
                            Heard::Ready => Event::Ready,
                            Heard::Body(body) => Event::Body(body.to_vec()),
                            Heard::Ping => Event::Ping,
                        });
                    })
                    .unwrap();
                self.input.drain(..taken);
            }
            self.stream.write_all(&out).unwrap();
        }
    }

    pub fn body(&mut self) -> Vec<u8> {
        match self.event() {
            Event::Body(body) => body,
            event => panic!("{event:?}"),
        }
    }
}

pub fn body_of(number: u32, bytes: usize) -> Vec<u8> {
    let mut written = Vec::new();
    body::body(u64::from(number) << 33 | 5, number, bytes, &mut written);
    written
}

/// Three in a room and one in another: who hears what, in which order, byte for byte.
pub fn relays(peer: &mut dyn Peer, threads: usize, piece: usize) {
    let mut server = Running::start(peer, threads, None);
    let mut clients: Vec<Client> =
        (0..3).map(|number| Client::enter(&mut server, peer, number, "a room", piece)).collect();
    let mut other = Client::enter(&mut server, peer, 3, "another", piece);
    let [first, second, third] = &mut clients[..] else { unreachable!() };
    let mut number = 0;
    for bytes in [16, 1024, 16384] {
        let mut bodies = Vec::new();
        // More than one at once, so that they share reads and frames.
        for what in [Say::All, Say::Others, Say::All, Say::Latest, Say::Others] {
            number += 1;
            let body = body_of(number, bytes);
            first.say(what, &body);
            bodies.push((what, body));
        }
        let mut step = Vec::new();
        body::step(77, &mut step);
        first.say(Say::Step, &step);
        bodies.push((Say::Step, step));
        for (what, body) in &bodies {
            assert_eq!(&second.body(), body, "{what:?}");
            assert_eq!(&third.body(), body, "{what:?}");
            if *what == Say::All {
                assert_eq!(&first.body(), body);
            }
        }
        // Another sender, so that nobody is special.
        number += 1;
        let body = body_of(number, bytes);
        third.say(Say::Others, &body);
        assert_eq!(first.body(), body);
        assert_eq!(second.body(), body);
    }
    // What had come to the wrong one would be before this.
    let last = body_of(1000, 16);
    third.say(Say::All, &last);
    other.say(Say::All, &last);
    for client in clients.iter_mut().chain([&mut other]) {
        assert_eq!(client.body(), last);
    }
}

/// Requests are answered to who asked, and to nobody else.
pub fn answers(peer: &mut dyn Peer, threads: usize, piece: usize) {
    let mut server = Running::start(peer, threads, None);
    let mut asker = Client::enter(&mut server, peer, 0, "a room", piece);
    let mut other = Client::enter(&mut server, peer, 1, "a room", piece);
    for bytes in [16, 1024, 16384] {
        let bodies: Vec<_> = (1..=16).map(|number| body_of(number, bytes)).collect();
        let mut answers = Vec::new();
        for _ in 0..20 {
            for body in &bodies {
                asker.say(Say::Request, body);
            }
            for _ in &bodies {
                answers.push(asker.body());
            }
            // Those of one window may overtake each other.
            answers.sort();
            let mut expected = bodies.clone();
            expected.sort();
            assert_eq!(answers, expected);
            answers.clear();
        }
    }
    let last = body_of(1000, 16);
    asker.say(Say::All, &last);
    assert_eq!(other.body(), last);
    assert_eq!(asker.body(), last);
}

/// Pings come again and again, and who answers them stays.
pub fn pings(peer: &mut dyn Peer, threads: usize, piece: usize) {
    let mut server = Running::start(peer, threads, Some(20));
    let mut client = Client::enter(&mut server, peer, 0, "a room", piece);
    for _ in 0..5 {
        assert_eq!(client.event(), Event::Ping);
    }
    let body = body_of(1, 16);
    client.say(Say::All, &body);
    let heard = std::iter::from_fn(|| Some(client.event())).find(|event| *event != Event::Ping);
    assert_eq!(heard, Some(Event::Body(body)));
}

/// `threads` is what it runs on.
pub fn threads(peer: &mut dyn Peer) {
    for (threads, of_process) in [(1, 1), (2, 3)] {
        let mut server = Running::start(peer, threads, None);
        let _client = Client::enter(&mut server, peer, 0, "a room", usize::MAX);
        assert_eq!(server.threads(), of_process);
    }
}
