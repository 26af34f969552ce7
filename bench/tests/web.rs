//! The peers on Node, really started: what is said comes to whom it should, in order and unchanged.
//!
//! Runs where `TAGWIRE_BENCH_PEERS=1` is set; needs Node and npm.

#![allow(missing_docs, clippy::unwrap_used)]

mod common_web;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;
use std::time::Instant;

use common_web::{Client, PATIENCE, seat};
use tagwire_bench::body::{body, step};
use tagwire_bench::dialect::Say;
use tagwire_bench::peers::colyseus::Colyseus;
use tagwire_bench::peers::ws::Ws;
use tagwire_bench::peers::{Feature, Peer, Setup};
use tagwire_bench::process::free_port;

struct Running {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// `None`: this is not the time for it.
fn start(peer: &mut dyn Peer, ping_ms: Option<u64>) -> Option<Running> {
    if std::env::var_os("TAGWIRE_BENCH_PEERS").is_none_or(|value| value != "1") {
        eprintln!("{} was not started: TAGWIRE_BENCH_PEERS=1 is not set", peer.name());
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    // One after another: tests of one peer have a folder of packages in common.
    static PREPARING: Mutex<()> = Mutex::new(());
    let guard = PREPARING.lock().unwrap();
    peer.prepare(Path::new(env!("CARGO_MANIFEST_DIR")), folder.path()).unwrap();
    drop(guard);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port().unwrap()));
    let setup = Setup {
        port: address.port(),
        folder: folder.path().to_path_buf(),
        threads: 1,
        connections: 4,
        ping_ms,
        body_bytes: 16 * 1024,
    };
    let child = peer.command(&setup).unwrap().spawn().unwrap();
    let mut running = Running { child, address, _folder: folder };
    let start = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert_eq!(running.child.try_wait().unwrap(), None, "it ended");
        assert!(start.elapsed() < PATIENCE, "it does not listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    Some(running)
}

fn written(number: u32, bytes: usize) -> Vec<u8> {
    let mut into = vec![];
    body(7_000_000_007, number, bytes, &mut into);
    into
}

fn talk(peer: &mut dyn Peer) {
    let Some(running) = start(peer, None) else { return };
    // Two workloads one after another have no room in common.
    for (round, piece) in [1, 7, 65536].into_iter().enumerate() {
        let room = format!("echo-{round}");
        let enter =
            |number, room: &str| Client::enter(running.address, peer.client(&seat(number, room)), piece);
        let mut three = [0, 1, 2].map(|number| enter(number, &room));
        let mut elsewhere = enter(3, "other");

        let bodies: Vec<_> =
            [16, 1024, 16384, 20, 300].iter().zip(1..).map(|(bytes, i)| written(i, *bytes)).collect();
        three[0].say_all(Say::All, &bodies);
        for client in &mut three {
            client.hear(&bodies);
        }
        three[1].say_all(Say::Others, &bodies);
        for client in [0, 2] {
            three[client].hear(&bodies);
        }
        let mut a_step = vec![];
        step(9, &mut a_step);
        three[2].say(Say::Step, &a_step);
        three[2].say(Say::Latest, &bodies[0]);
        for client in [0, 1] {
            three[client].hear(&[a_step.clone(), bodies[0].clone()]);
        }
        assert!(peer.can(Feature::Request));
        three[1].say_all(Say::Request, &bodies);
        three[1].hear(&bodies);

        // What each hears next is this, so nothing else came to anybody.
        let last = written(99, 16);
        three[0].say(Say::All, &last);
        elsewhere.say(Say::All, &last);
        for client in three.iter_mut().chain([&mut elsewhere]) {
            client.hear(std::slice::from_ref(&last));
            assert!(client.bodies.is_empty());
        }
    }
}

/// A ping comes again and again, and who answers stays.
fn ping(peer: &mut dyn Peer) {
    let Some(running) = start(peer, Some(100)) else { return };
    assert!(peer.can(Feature::Ping));
    let mut client = Client::enter(running.address, peer.client(&seat(0, "r")), 65536);
    client.read_until(|client| client.pings >= 10);
    let last = written(1, 16);
    client.say(Say::All, &last);
    client.hear(&[last]);
}

/// Who comes at the same time is in the same room.
fn crowd(peer: &mut dyn Peer) {
    let Some(running) = start(peer, None) else { return };
    let begin = |number| Client::connect(running.address, peer.client(&seat(number, "r")), 65536);
    let mut all: Vec<_> = (0..200).map(begin).collect();
    for client in &mut all {
        client.read_until(|client| client.is_ready);
    }
    let sent = written(1, 16);
    all[0].say(Say::All, &sent);
    for client in &mut all {
        client.hear(std::slice::from_ref(&sent));
    }
}

#[test]
fn what_is_said_to_ws_comes_to_whom_it_should() {
    talk(&mut Ws::default());
}

#[test]
fn ws_pings() {
    ping(&mut Ws::default());
}

#[test]
fn a_crowd_of_ws_is_one_room() {
    crowd(&mut Ws::default());
}

#[test]
fn what_is_said_to_colyseus_comes_to_whom_it_should() {
    talk(&mut Colyseus::default());
}

#[test]
fn colyseus_pings() {
    ping(&mut Colyseus::default());
}

#[test]
fn a_crowd_of_colyseus_is_one_room() {
    crowd(&mut Colyseus::default());
}

#[test]
fn what_they_are_is_told() {
    assert!(Ws::default().about().contains("ws 8.23.0"), "{}", Ws::default().about());
    assert!(Colyseus::default().about().contains("@colyseus/core 0.18.17"));
}
