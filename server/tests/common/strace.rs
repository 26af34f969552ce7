//! System calls of threads, counted by strace.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Counts the calls of a running server's threads from now on.
pub struct Strace {
    child: Child,
    summary: tempfile::NamedTempFile,
    start: Instant,
}

impl Strace {
    /// `threads`: the system's numbers of those that run now.
    pub fn attach(threads: impl Fn() -> Vec<u32>) -> Self {
        loop {
            let threads: Vec<_> =
                threads().iter().flat_map(|id| ["-p".to_string(), id.to_string()]).collect();
            let summary = tempfile::NamedTempFile::new().unwrap();
            let mut child = Command::new("strace")
                .args(["-c", "-U", "name,calls", "-o"])
                .arg(summary.path())
                .args(threads)
                .stderr(Stdio::piped())
                .spawn()
                .expect("strace is needed: apt-get install strace");
            let mut said = String::new();
            BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
            if said.contains("No such process") {
                // A thread of the last test was just ending. Of the others some may be attached to.
                child.kill().unwrap();
                child.wait().unwrap();
                continue;
            }
            assert!(said.contains("attached"), "strace: {said}");
            // It says so thread by thread.
            std::thread::sleep(Duration::from_millis(300));
            return Strace { child, summary, start: Instant::now() };
        }
    }

    /// Stops counting: the calls by name, and the seconds.
    pub fn detach(mut self) -> (HashMap<String, u64>, f64) {
        let seconds = self.start.elapsed().as_secs_f64();
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap();
        let summary = std::fs::read_to_string(self.summary.path()).unwrap();
        let calls = summary
            .lines()
            .filter_map(|line| {
                let mut words = line.split_whitespace();
                Some((words.next()?.to_string(), words.next()?.parse().ok()?))
            })
            .collect();
        (calls, seconds)
    }
}

pub fn sum(calls: &HashMap<String, u64>, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| calls.get(*name)).sum()
}
