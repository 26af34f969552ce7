//! The peers go, python, nats and mosquitto: each is started as it is for a run, and does what its dialect says.
//!
//! They need programs that a build of tagwire does not: `TAGWIRE_BENCH_PEERS=1` says that they are there.

use std::env;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tagwire_bench::body;
use tagwire_bench::dialect::{Dialect, Heard, Say, Seat};
use tagwire_bench::peers::{Feature, Peer, Setup};
use tagwire_bench::peers::{go::Go, mosquitto::Mosquitto, nats::Nats, python::Python};
use tagwire_bench::process::free_port;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
struct Server {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    /// A connection, as soon as it listens.
    fn connect(&mut self) -> TcpStream {
        let began = Instant::now();
        loop {
            match TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)) {
                Ok(socket) => return socket,
                // Nothing tells when it listens.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused && began.elapsed() < PATIENCE => {
                    if let Some(end) = self.child.try_wait().expect("a child") {
                        panic!("the server ended: {end}");
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn start(peer: &dyn Peer, ping_ms: Option<u64>) -> Self {
        let port = free_port().expect("a free port");
        let folder = tempfile::tempdir().expect("a folder");
        let setup = Setup {
            port,
            folder: folder.path().to_owned(),
            threads: 1,
            connections: 10,
            ping_ms,
            body_bytes: 16384,
        };
        let mut command = peer.command(&setup).expect("settings are written");
        let child = command.stdin(Stdio::null()).spawn().expect("it starts");
        Server { child, port, _folder: folder }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended by itself has been told of.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that reads when it is told to.
struct Client {
    name: String,
    socket: TcpStream,
    dialect: Box<dyn Dialect>,
    /// What came and is not whole yet.
    waiting: Vec<u8>,
    /// Given to the dialect in pieces of so many bytes.
    piece: usize,
    ready: usize,
    pings: usize,
    bodies: Vec<Vec<u8>>,
}

impl Client {
    fn enter(peer: &dyn Peer, server: &mut Server, number: u32, room: &str, piece: usize) -> Self {
        let name = format!("player{number}");
        let seat = Seat { number, name: name.clone(), room: room.into(), sends: true, receives: true };
        Client::sit(peer, server, &seat, piece)
    }

    fn sit(peer: &dyn Peer, server: &mut Server, seat: &Seat, piece: usize) -> Self {
        let socket = server.connect();
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        let mut client = Client {
            name: seat.name.clone(),
            socket,
            dialect: peer.client(seat),
            waiting: Vec::new(),
            piece,
            ready: 0,
            pings: 0,
            bodies: Vec::new(),
        };
        let mut out = Vec::new();
        client.dialect.open(&mut out);
        client.socket.write_all(&out).expect("a socket");
        client.until("ready", |client| client.ready == 1);
        client
    }

    fn say(&mut self, what: Say, body: &[u8]) {
        let mut out = Vec::new();
        self.dialect.say(what, body, &mut out);
        self.socket.write_all(&out).expect("a socket");
    }

    /// Reads until it has come.
    fn until(&mut self, what: &str, come: impl Fn(&Client) -> bool) {
        while !come(self) {
            let mut read = [0; 65536];
            let bytes =
                self.socket.read(&mut read).unwrap_or_else(|error| panic!("{}: {what}: {error}", self.name));
            assert_ne!(bytes, 0, "{}: the server hung up before {what}", self.name);
            let Client { dialect, waiting, ready, pings, bodies, piece, .. } = self;
            let mut out = Vec::new();
            for part in read[..bytes].chunks(*piece) {
                waiting.extend_from_slice(part);
                let taken = dialect.take(waiting, &mut out, &mut |heard| match heard {
                    Heard::Ready => *ready += 1,
                    Heard::Ping => *pings += 1,
                    Heard::Body(body) => bodies.push(body.to_vec()),
                });
                waiting.drain(..taken.expect("good bytes"));
            }
            self.socket.write_all(&out).expect("a socket");
        }
    }

    /// Reads until exactly these have come, in this order.
    fn hears(&mut self, want: &[Vec<u8>]) {
        self.until("bodies", |client| client.bodies.len() >= want.len());
        let tell = |bodies: &[Vec<u8>]| -> Vec<_> {
            bodies.iter().map(|body| (body::number(body), body.len())).collect()
        };
        assert!(self.bodies == want, "{} heard {:?}, not {:?}", self.name, tell(&self.bodies), tell(want));
        self.bodies.clear();
    }
}

/// One of each size, with numbers that rise from 1: who decodes and encodes again leaves out a 0, as proto3 does.
fn bodies() -> Vec<Vec<u8>> {
    let sizes = [16, 1024, 16384, 16, 100, 255, 256, 16];
    (1..).zip(sizes).map(|(number, bytes)| body_of(number, bytes)).collect()
}

fn body_of(number: u32, bytes: usize) -> Vec<u8> {
    let mut made = Vec::new();
    body::body(1_000_000_007, number, bytes, &mut made);
    made
}

fn step() -> Vec<u8> {
    let mut made = Vec::new();
    body::step(1_000_000_007, &mut made);
    made
}

/// `None`: not here, and said so.
fn prepared<P: Peer>(mut peer: P) -> Option<P> {
    if env::var_os("TAGWIRE_BENCH_PEERS").is_none_or(|set| set != "1") {
        eprintln!("{} is not tried: TAGWIRE_BENCH_PEERS=1 says that its programs are here", peer.name());
        return None;
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    peer.prepare(home, target).unwrap_or_else(|error| panic!("{}: {error:#}", peer.name()));
    eprintln!("{}: {}", peer.name(), peer.about());
    Some(peer)
}

/// Who hears what, in rooms; the server is given its input, and gives its output, in pieces of all sizes.
fn relays(peer: &dyn Peer) {
    assert!(peer.can(Feature::All) && peer.can(Feature::Rooms));
    let mut server = Server::start(peer, None);
    let mut number = 0;
    let mut enter = |room: &str, piece| {
        number += 1;
        Client::enter(peer, &mut server, number, room, piece)
    };
    for piece in [1, 7, 65536] {
        // All: in a room of its own, as only there some peers let senders hear themselves.
        let room = format!("echo-{piece}");
        let mut clients: Vec<Client> = (0..3).map(|_| enter(&room, piece)).collect();
        let mut stranger = enter(&format!("echo-other-{piece}"), piece);
        for body in bodies() {
            clients[0].say(Say::All, &body);
        }
        for client in &mut clients {
            client.hears(&bodies());
        }
        stranger.say(Say::All, &body_of(99, 16));
        stranger.hears(&[body_of(99, 16)]);

        // The others.
        let room = format!("room-{piece}");
        let mut clients: Vec<Client> = (0..3).map(|_| enter(&room, piece)).collect();
        let mut strangers: Vec<Client> =
            (0..2).map(|_| enter(&format!("room-other-{piece}"), piece)).collect();
        for body in bodies() {
            clients[0].say(Say::Others, &body);
        }
        clients[0].say(Say::Step, &step());
        clients[0].say(Say::Latest, &body_of(98, 16));
        let want: Vec<_> = bodies().into_iter().chain([step(), body_of(98, 16)]).collect();
        clients[1].hears(&want);
        clients[2].hears(&want);
        // What was for others never came back before this does.
        clients[1].say(Say::Others, &body_of(97, 16));
        clients[0].hears(&[body_of(97, 16)]);
        clients[2].hears(&[body_of(97, 16)]);
        strangers[0].say(Say::Others, &body_of(99, 16));
        strangers[1].hears(&[body_of(99, 16)]);

        if peer.can(Feature::Request) {
            for body in bodies() {
                clients[0].say(Say::Request, &body);
            }
            clients[0].hears(&bodies());
            // Nobody else heard of it.
            clients[0].say(Say::Others, &body_of(96, 16));
            clients[1].hears(&[body_of(96, 16)]);
        }
        for client in clients.iter().chain(&strangers).chain([&stranger]) {
            assert_eq!(client.ready, 1, "{}", client.name);
        }
    }
}

/// Who only sends hears nothing, and is heard.
fn publishes(peer: &dyn Peer) {
    let mut server = Server::start(peer, None);
    let seat =
        Seat { number: 0, name: "publisher".into(), room: "news".into(), sends: true, receives: false };
    let mut publisher = Client::sit(peer, &mut server, &seat, 7);
    let seat = Seat { number: 1, name: "subscriber".into(), sends: false, receives: true, ..seat };
    let mut subscriber = Client::sit(peer, &mut server, &seat, 7);
    for body in bodies() {
        publisher.say(Say::Others, &body);
    }
    subscriber.hears(&bodies());
}

/// Pings come, and go on when they are answered.
fn pings(peer: &dyn Peer) {
    assert!(peer.can(Feature::Ping));
    let mut server = Server::start(peer, Some(100));
    let mut client = Client::enter(peer, &mut server, 0, "echo-ping", 7);
    client.until("pings", |client| client.pings >= 5);
    // It still listens.
    client.say(Say::All, &body_of(1, 16));
    client.hears(&[body_of(1, 16)]);
}

#[test]
fn go_does_what_its_dialect_says() {
    let Some(peer) = prepared(Go::default()) else { return };
    relays(&peer);
    pings(&peer);
}

#[test]
fn python_does_what_its_dialect_says() {
    let Some(peer) = prepared(Python::default()) else { return };
    relays(&peer);
    pings(&peer);
}

#[test]
fn nats_does_what_its_dialect_says() {
    let Some(peer) = prepared(Nats::default()) else { return };
    relays(&peer);
    publishes(&peer);
    pings(&peer);
}

#[test]
fn mosquitto_does_what_its_dialect_says() {
    let Some(peer) = prepared(Mosquitto::default()) else { return };
    relays(&peer);
    publishes(&peer);
}
