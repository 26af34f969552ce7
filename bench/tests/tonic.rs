//! The server of tonic, as a process: `cargo test -p tagwire-bench --features tonic --test tonic`.

#![cfg(feature = "tonic")]
#![allow(missing_docs)]

mod common_grpc;

use std::path::Path;

use common_grpc::{answers, pings, relays, threads};
use tagwire_bench::peers::tonic::Tonic;

fn tonic() -> Tonic {
    Tonic::new(Path::new(env!("CARGO_BIN_EXE_tonic-server")).parent().expect("a folder"))
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
