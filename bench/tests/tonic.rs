//! The server of tonic, as a process: `cargo test -p tagwire-bench --features tonic --test tonic`.

#![cfg(feature = "tonic")]
#![allow(missing_docs)]

mod common_grpc;

use std::path::Path;

use common_grpc::{Client, Running, answers, body_of, pings, relays, threads};
use tagwire_bench::dialect::Say;
use tagwire_bench::peers::built::{self, Built};

fn tonic() -> Built {
    built::tonic(Path::new(env!("CARGO_BIN_EXE_tonic-server")).parent().expect("a folder"))
}

#[test]
fn a_room_hears_what_is_said_in_it() {
    for threads in [1, 2] {
        for piece in [1, 7, usize::MAX] {
            relays(&mut tonic(), threads, piece);
        }
    }
}

#[test]
fn requests_are_answered() {
    answers(&mut tonic(), 1, usize::MAX);
    answers(&mut tonic(), 2, 7);
}

#[test]
fn pings_come() {
    pings(&mut tonic(), 1, usize::MAX);
    pings(&mut tonic(), 2, 1);
}

#[test]
fn threads_are_chosen() {
    threads(&mut tonic());
}

#[test]
fn the_windows_of_both_sides_are_given_back() {
    let mut peer = tonic();
    let mut server = Running::start(&mut peer, 1, None);
    let mut client = Client::enter(&mut server, &peer, 0, "a room", usize::MAX);
    let body = body_of(1, 16384);
    // Twice the window of 16 MiB, on the stream; then once more, for the connection alone.
    for (what, times) in [(Say::All, 2 * 1024), (Say::Request, 1024)] {
        for _ in 0..times / 16 {
            for _ in 0..16 {
                client.say(what, &body);
            }
            for _ in 0..16 {
                assert_eq!(client.body(), body);
            }
        }
    }
}
