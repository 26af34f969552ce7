//! A player who is inside and silent costs little: live bytes of the heap, which no allocator and no other load changes.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::io::{ErrorKind, Read as _};
use std::time::Instant;

use common::via::End;
use common::*;
use peak_alloc::PeakAlloc;
use tagwire::session::client::Event;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Before those that are measured: the tables of the server, the buffers of its threads.
const FIRST: usize = 100;
const PLAYERS: usize = 400;
const ROOM: usize = 10;
/// Of one player, its share of a room of ten and of the tables: 1,600 were measured with rustc 1.95, and this is a twentieth more.
const MAX_BYTES: usize = 1680;

/// Lets players in, who join rooms of their own. Of each its socket is left, all that came was acknowledged, and a second
/// has passed since.
fn let_in(server: &TestServer, numbers: std::ops::Range<usize>, sockets: &mut Vec<End>) {
    let mut players: Vec<_> = numbers
        .map(|number| {
            let mut player = server.player(&format!("player{number}"));
            player.join(&format!("room{}", number / ROOM));
            player
        })
        .collect();
    for _ in 0..2 {
        for player in &mut players {
            player.wait(|event| matches!(event, Event::Ping(_)).then_some(()));
        }
    }
    let first = sockets.len();
    sockets.extend(players.into_iter().map(|player| player.stream));
    for socket in &mut sockets[first..] {
        let start = Instant::now();
        while let Err(error) = socket.read(&mut [0; 256]) {
            assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
            assert!(start.elapsed() < PATIENCE, "no Ping came");
        }
    }
}

#[test]
fn an_idle_player_costs_two_kilobytes() {
    let server = TestServer::with(|config| config.threads = 1);
    let mut sockets = Vec::with_capacity(FIRST + PLAYERS);
    let_in(&server, 0..FIRST, &mut sockets);
    let before = MEMORY.current_usage();
    let_in(&server, FIRST..FIRST + PLAYERS, &mut sockets);
    let each = (MEMORY.current_usage() - before) / PLAYERS;
    println!("{each} bytes for an idle player");
    assert!(each <= MAX_BYTES, "{each} bytes for an idle player, {MAX_BYTES} may be");
}
