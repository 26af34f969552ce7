//! The naive server, as a process.

#![allow(missing_docs)]

mod common_grpc;

use std::path::Path;

use common_grpc::{answers, pings, relays, threads};
use tagwire_bench::peers::built::{self, Built};

fn naive() -> Built {
    built::naive(Path::new(env!("CARGO_BIN_EXE_naive")).parent().expect("a folder"))
}

#[test]
fn a_room_hears_what_is_said_in_it() {
    for threads in [1, 2] {
        for piece in [1, 7, usize::MAX] {
            relays(&mut naive(), threads, piece);
        }
    }
}

#[test]
fn requests_are_answered() {
    answers(&mut naive(), 1, usize::MAX);
    answers(&mut naive(), 2, 7);
}

#[test]
fn pings_come() {
    pings(&mut naive(), 1, usize::MAX);
    pings(&mut naive(), 2, 1);
}

#[test]
fn threads_are_chosen() {
    threads(&mut naive());
}
