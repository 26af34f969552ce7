//! A run that a signal ends leaves nothing behind.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tagwire_bench::result::Run;

/// Processes whose parent this is.
fn children(of: u32) -> Vec<u32> {
    let parent = |id: u32| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
    };
    let entries = fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    ids.filter(|id| parent(*id) == Some(of)).collect()
}

#[test]
fn a_signal_ends_the_servers_and_keeps_what_was_measured() {
    for (signal, code) in [(Signal::TERM, 143), (Signal::INT, 130)] {
        let folder = tempfile::tempdir().unwrap();
        let (temporary, out) = (folder.path().join("temporary"), folder.path().join("run.json"));
        fs::create_dir(&temporary).unwrap();
        let mut bench = Command::new(env!("CARGO_BIN_EXE_tagwire-bench"))
            .args(["--peers", "naive", "--workloads", "W3 with constraints", "--rounds", "500", "--out"])
            .arg(&out)
            .env("TMPDIR", &temporary)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(bench.stderr.take().unwrap()).lines().map(Result::unwrap);
        // The first sample is done; the next one's server is there at some time.
        let first = said.find(|line| line.starts_with("[1 of 500, ")).unwrap();
        assert!(first.contains("us a message"), "{first}");
        let servers = loop {
            let servers = children(bench.id());
            if !servers.is_empty() {
                break servers;
            }
        };
        kill_process(Pid::from_child(&bench), signal).unwrap();
        assert_eq!(bench.wait().unwrap().code(), Some(code));

        for server in servers {
            assert!(!Path::new(&format!("/proc/{server}")).exists(), "{server} is there");
        }
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "files are left behind");
        let error = said.last().unwrap();
        assert!(
            error.starts_with("error: ended by a signal in the middle of W3 with constraints"),
            "{error}"
        );
        let run: Run = serde_json::from_slice(&fs::read(&out).unwrap()).unwrap();
        assert!(run.samples.iter().all(|sample| sample.peer == "tagwire") && !run.samples.is_empty());
    }
}
