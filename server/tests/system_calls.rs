//! Speed is the number of system calls per message: counted with strace on the server's threads.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::*;
use rustix::process::{Pid, Signal, kill_process};

const MEMBERS: usize = 10;

/// Counts the calls of a running server's threads from now on.
struct Strace {
    child: Child,
    summary: tempfile::NamedTempFile,
    start: Instant,
}

impl Strace {
    fn attach(server: &TestServer) -> Self {
        let threads: Vec<_> =
            server.threads().iter().flat_map(|id| ["-p".to_string(), id.to_string()]).collect();
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
        assert!(said.contains("attached"), "strace: {said}");
        // It says so thread by thread.
        std::thread::sleep(Duration::from_millis(300));
        Strace { child, summary, start: Instant::now() }
    }

    /// Stops counting: the calls by name, and the seconds.
    fn detach(mut self) -> (HashMap<String, u64>, f64) {
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

fn sum(calls: &HashMap<String, u64>, names: &[&str]) -> u64 {
    names.iter().filter_map(|name| calls.get(*name)).sum()
}

/// All that read or write, the wake-ups of threads too.
fn reads_and_writes(calls: &HashMap<String, u64>) -> (u64, u64) {
    let reads = sum(calls, &["read", "readv", "recvfrom", "recvmsg", "recvmmsg"]);
    let writes = sum(calls, &["write", "writev", "sendto", "sendmsg", "sendmmsg"]);
    (reads, writes)
}

#[test]
fn a_hundred_pipelined_frames_cost_three_reads_and_writes_a_connection_at_most() {
    const BURSTS: u64 = 20;
    for threads in [1, 2] {
        let server = TestServer::unlimited(|config| config.threads = threads);
        let mut members: Vec<_> = (0..MEMBERS).map(|i| server.classic(&format!("member{i}"))).collect();
        let mut sender = server.classic("sender");
        sender.wait_for_ping();
        let burst: Vec<u8> = (0..100).flat_map(|i| frame(&mouse(i, i))).collect();

        let strace = Strace::attach(&server);
        for _ in 0..BURSTS {
            sender.send(&burst);
            for member in &mut members {
                for _ in 0..100 {
                    member.next_message().unwrap();
                }
            }
        }
        let (calls, seconds) = strace.detach();
        let (reads, writes) = reads_and_writes(&calls);
        let connections = MEMBERS as u64 + 1;
        println!(
            "{threads} threads, {BURSTS} bursts in {seconds:.1} s: {reads} reads, {writes} writes; {calls:?}"
        );
        assert!(sum(&calls, &["sendto"]) >= BURSTS * MEMBERS as u64, "strace saw no writes: {calls:?}");
        assert!(reads <= 3 * BURSTS * connections, "{reads} reads");
        assert!(writes <= 3 * BURSTS * connections, "{writes} writes");
    }
}

#[test]
fn an_idle_session_costs_one_write_a_second_and_no_read_but_its_answers() {
    let server = TestServer::with(|config| config.threads = 1);
    let classic: Vec<_> = (0..MEMBERS).map(|i| server.classic(&format!("classic{i}"))).collect();
    let players: Vec<_> = (0..MEMBERS)
        .map(|i| {
            let mut player = server.player(&format!("player{i}"));
            // Each answers its Pings for as long as the server is there.
            std::thread::spawn(move || player.ended())
        })
        .collect();
    std::thread::sleep(Duration::from_millis(1500));

    let strace = Strace::attach(&server);
    std::thread::sleep(Duration::from_secs(4));
    let (calls, seconds) = strace.detach();
    let (reads, writes) = reads_and_writes(&calls);
    println!("{seconds:.1} s: {reads} reads, {writes} writes; {calls:?}");
    // A window cuts the seconds of a session somewhere: one Ping more or less for each.
    let (least, most) = ((seconds - 1.0).floor() as u64, (seconds + 1.0).ceil() as u64);
    let sessions = (classic.len() + players.len()) as u64;
    let wakes = sum(&calls, &["write"]);
    let sent = writes - wakes;
    assert!((sessions * least..=sessions * most).contains(&sent), "{sent} writes to sockets");
    // The timer wheel's own, for the whole process: one for each of its twenty slots a second.
    assert!(wakes <= 20 * most, "{wakes} wake-ups");
    let answering = players.len() as u64;
    assert!((answering * least..=answering * most).contains(&reads), "{reads} reads");
    server.stop();
    players.into_iter().for_each(|p| drop(p.join().unwrap()));
}
