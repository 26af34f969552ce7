//! What was measured: the file from which tables and plots are made.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A whole run, as in the JSON file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// When it began: RFC 3339, UTC.
    pub began: String,
    /// What it ran on: a name and what was found, in the order of telling ("processor": "...", "cores": "2", "kernel", "rustc", "libc").
    pub machine: Vec<(String, String)>,
    /// The commit of tagwire.
    pub commit: String,
    /// Rounds, each with fresh processes of every peer.
    pub rounds: u32,
    /// Who took part, in the order of the tables; the limit first, tagwire second.
    pub peers: Vec<About>,
    /// Who did not, or not in everything: name and why.
    pub missing: Vec<(String, String)>,
    /// What was measured, in the order in which it was.
    pub samples: Vec<Sample>,
}

/// A peer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// As in the samples.
    pub name: String,
    /// One line: version and settings.
    pub about: String,
}

/// One peer, one workload, one round.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// "W1", ..., "W8", or a growth curve: "connections", "rooms", "size".
    pub workload: String,
    /// What of it: "window 16", "1 in flight"; of a growth curve the value: "1000".
    pub case: String,
    /// Who.
    pub peer: String,
    /// In which round, from 0.
    pub round: u32,
    /// What the cost is per: deliveries, answers, pings, logins.
    pub messages: u64,
    /// For how long was measured.
    pub seconds: f64,
    /// Processor time of all of the server's processes and threads, nanoseconds.
    pub cpu_ns: u64,
    /// From sending to receiving, nanoseconds; `None` where nothing was timed.
    pub latency: Option<Latency>,
    /// Memory of the server's processes at the end (RSS), bytes.
    pub rss_bytes: u64,
    /// The same before the first client came.
    pub rss_before_bytes: u64,
    /// Share of its core that the generator of load used, 0 to 1: near 1 it may have been the limit of a rate.
    pub generator: f64,
    /// Other things that were seen, by name: "conflated", "dropped".
    pub other: BTreeMap<String, f64>,
    /// Counted under strace, after what was timed: calls, and messages meanwhile.
    pub calls: Option<Calls>,
}

/// Of all that was timed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// Half took less.
    pub p50_ns: u64,
    /// All but one in a hundred took less.
    pub p99_ns: u64,
    /// All but one in a thousand took less.
    pub p999_ns: u64,
}

/// System calls of a server, without those that it makes unasked: for a Ping a second, say. Of idle clients: all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Messages while they were counted.
    pub messages: u64,
    /// By name.
    pub by_name: BTreeMap<String, u64>,
}
