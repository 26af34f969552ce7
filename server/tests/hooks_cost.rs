//! Where there are no hooks they cost nothing: instructions counted by valgrind on the release profile.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::time::Duration;

use common::callgrind;
use common::program::{Program, command};
use common::*;
use rustix::process::Signal;

/// Instructions executed: in all, and in lines of the hooks' file and of the cell that it looks at.
fn instructions(profile: &Path) -> (u64, u64) {
    let counted = callgrind::read(profile);
    let of_hooks = |file: &str| file.ends_with("server/src/hook.rs") || file.ends_with("/sync/once_lock.rs");
    let hooks = counted.iter().filter(|((file, _), _)| of_hooks(file)).map(|(_, cost)| cost).sum();
    (counted.values().sum(), hooks)
}

/// Instructions of a server that relayed so many bursts of a hundred messages to one receiver.
fn relayed(bursts: usize) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile");
    let server = command(&["--listen", "127.0.0.1:0", "--set", "threads=1", "--log", "info"]);
    let server = Program::spawn(callgrind::command(&server, &profile));
    let (mut from, mut to) = (Classic::connect(server.address), Classic::connect(server.address));
    from.login("from", "welcome");
    to.login("to", "welcome");
    to.wait_for_ping();
    from.wait_for_ping();
    for _ in 0..bursts {
        from.send(&(0..100).flat_map(|i| frame(&mouse(i, i))).collect::<Vec<u8>>());
        for _ in 0..100 {
            to.next_message().unwrap();
        }
        // As many as its rate admits.
        std::thread::sleep(Duration::from_secs(1));
    }
    server.signal(Signal::TERM);
    let (status, log) = server.wait();
    assert!(status.success(), "{log}");
    instructions(&profile)
}

#[test]
#[cfg_attr(debug_assertions, ignore = "of the release profile")]
fn no_hooks_cost_a_few_instructions_a_message() {
    let (few, many) = (relayed(1), relayed(6));
    let a_message = |instructions: u64| instructions as f64 / 500.0;
    let (all, hooks) = (a_message(many.0 - few.0), a_message(many.1 - few.1));
    println!("a relayed message: {all:.0} instructions, of which {hooks:.1} look whether there are hooks");
    assert!(hooks > 0.0, "nothing was counted");
    // Two places, each a load, a comparison and what hands over the result.
    assert!(hooks <= 40.0 && hooks <= 0.02 * all, "{hooks} of {all}");
}
