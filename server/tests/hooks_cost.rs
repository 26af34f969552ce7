//! Where there are no hooks they cost nothing: instructions counted by valgrind on the release profile.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::program::{Program, command};
use common::*;
use rustix::process::Signal;

/// Instructions executed: in all, and in lines of the hooks' file and of the cell that it looks at.
fn instructions(profile: &Path) -> (u64, u64) {
    let text = std::fs::read_to_string(profile).unwrap();
    let (mut names, mut file, mut is_call) = (HashMap::new(), String::new(), false);
    let (mut all, mut hooks) = (0, 0);
    for line in text.lines() {
        // The format of callgrind: "fl=(3) path", later "fl=(3)"; fi and fe for inlined code; "line cost" below.
        let said = ["fl=", "fi=", "fe=", "cfi=", "cfl="]
            .iter()
            .find_map(|key| Some((*key, line.strip_prefix(key)?)));
        if let Some((key, said)) = said {
            let (id, name) = said.split_once(' ').unwrap_or((said, ""));
            if !name.is_empty() {
                names.insert(id.to_string(), name.to_string());
            }
            if !key.starts_with('c') {
                file.clone_from(&names[id]);
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c)) {
            // The line behind a call holds what was spent in there, which is counted in there.
            let cost: u64 = line.rsplit(' ').next().unwrap().parse().unwrap();
            if !std::mem::take(&mut is_call) {
                all += cost;
                if file.ends_with("server/src/hook.rs") || file.ends_with("/sync/once_lock.rs") {
                    hooks += cost;
                }
            }
        }
    }
    (all, hooks)
}

/// Instructions of a server that relayed so many bursts of a hundred messages to one receiver.
fn relayed(bursts: usize) -> (u64, u64) {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("profile");
    let server = command(&["--listen", "127.0.0.1:0", "--set", "threads=1", "--log", "info"]);
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", profile.display()));
    valgrind.arg(server.get_program()).args(server.get_args());
    valgrind.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let server = Program::spawn(valgrind);
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
