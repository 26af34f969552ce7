//! Figures of a run: what is taken of each sample, and the median and the span of it over the rounds.

use std::collections::BTreeMap;

use crate::result::{Run, Sample};

/// The peer that all others are measured against: the raw epoll server.
pub const LIMIT: &str = "raw epoll";
/// The shipped server, one thread.
pub const OURS: &str = "tagwire";
/// The same, with a thread for each core.
pub const OURS_ALL_CORES: &str = "tagwire on all cores";

/// Workloads and their cases in the order in which they are told, with what each is.
pub const WORKLOADS: [(&str, &str, &[&str]); 8] = [
    ("W1", "echo, 100 connections", &["window 16", "window 1", "alone"]),
    ("W2", "one publisher to 1,000 subscribers", &["1 in flight", "16 in flight", "1 KiB"]),
    ("W3", "500 players in rooms of 10, 20 Hz each", &["at once", "20 ms tick", "with constraints"]),
    ("W4", "idle players, a ping each second", &["10000 idle", "19000 idle"]),
    ("W5", "requests and their answers", &["window 16", "window 1"]),
    ("W6", "5,000 at once", &["logins", "resumes"]),
    ("W7", "one room of 1,000, 2 Hz each, the newest counts", &["all fast", "a tenth slow"]),
    (
        "W8",
        "W1 (window 16) and W3 (at once) by other ways in",
        &["W1 websocket", "W1 tls", "W3 websocket", "W3 tls"],
    ),
];

/// Growth curves: what grows, in words.
pub const CURVES: [(&str, &str); 3] =
    [("connections", "connections"), ("rooms", "rooms"), ("size", "size of a message, bytes")];

/// What is taken of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantity {
    /// Processor time of the server per message, nanoseconds.
    Cost,
    /// Messages per second.
    Rate,
    /// Half took less, nanoseconds.
    P50,
    /// All but one in a hundred took less, nanoseconds.
    P99,
    /// All but one in a thousand took less, nanoseconds.
    P999,
    /// Memory at the end, bytes.
    Memory,
    /// What memory grew by since before the first client, per session of the case ("10000 idle"), bytes.
    MemoryPerSession,
    /// Memory at the end over memory when half of the time had passed, where the workload noted that ([`RSS_AT_HALF`]).
    MemoryGrowth,
    /// Share of its core that the generator used.
    Generator,
    /// System calls per message.
    Calls(Kind),
}

/// The key of [`Sample::other`] under which a workload notes memory when half of its time had passed, bytes.
pub const RSS_AT_HALF: &str = "rss_half_bytes";

/// Which system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Those that read from a descriptor.
    Reads,
    /// Those that write to one.
    Writes,
    /// All.
    All,
}

impl Kind {
    fn has(self, name: &str) -> bool {
        match self {
            Kind::Reads => matches!(name, "read" | "readv" | "recv" | "recvfrom" | "recvmsg" | "recvmmsg"),
            Kind::Writes => {
                matches!(name, "write" | "writev" | "send" | "sendto" | "sendmsg" | "sendmmsg" | "sendfile")
            }
            Kind::All => true,
        }
    }
}

impl Quantity {
    /// Of one sample; `None`: it was not measured there.
    #[must_use]
    pub fn of(self, sample: &Sample) -> Option<f64> {
        let latency = sample.latency;
        match self {
            Quantity::Cost => over(sample.cpu_ns as f64, sample.messages as f64),
            Quantity::Rate => over(sample.messages as f64, sample.seconds),
            Quantity::P50 => latency.map(|latency| latency.p50_ns as f64),
            Quantity::P99 => latency.map(|latency| latency.p99_ns as f64),
            Quantity::P999 => latency.map(|latency| latency.p999_ns as f64),
            Quantity::Memory => (sample.rss_bytes > 0).then_some(sample.rss_bytes as f64),
            Quantity::MemoryPerSession => {
                let sessions: u32 = sample.case.strip_suffix(" idle")?.parse().ok()?;
                let grown = Quantity::Memory.of(sample)? - sample.rss_before_bytes as f64;
                over(grown, f64::from(sessions))
            }
            Quantity::MemoryGrowth => {
                over(Quantity::Memory.of(sample)?, sample.other.get(RSS_AT_HALF).copied()?)
            }
            Quantity::Generator => Some(sample.generator),
            Quantity::Calls(kind) => {
                let calls = sample.calls.as_ref()?;
                let counted = calls.by_name.iter().filter(|(name, _)| kind.has(name)).map(|(_, times)| times);
                over(counted.sum::<u64>() as f64, calls.messages as f64)
            }
        }
    }
}

/// `a` over `b`, where that is a number.
fn over(a: f64, b: f64) -> Option<f64> {
    (b > 0.0).then_some(a / b)
}

/// Who did what: whose samples are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key<'a> {
    /// "W1".
    pub workload: &'a str,
    /// "window 16".
    pub case: &'a str,
    /// "tagwire".
    pub peer: &'a str,
}

/// A figure over the rounds in which it was measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The one in the middle; of two in the middle their mean.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many.
    pub rounds: usize,
}

impl Spread {
    /// Of at least one value.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Spread { median, min, max, rounds: values.len() })
    }
}

/// A case, what it is compared with, whose of that (`None`: the peer's own), and that in words for the head of a column.
type Base = ((&'static str, &'static str), (&'static str, &'static str), Option<&'static str>, &'static str);

/// Where the limit has no such case: what the goals compare the cost with instead.
#[rustfmt::skip]
const BASES: [Base; 10] = [
    (("W3", "20 ms tick"),       ("W3", "at once"),   Some(LIMIT), "the limit's at once"),
    (("W3", "with constraints"), ("W3", "at once"),   None,        "its own at once"),
    (("W5", "window 16"),        ("W1", "window 16"), None,        "its own W1"),
    (("W5", "window 1"),         ("W1", "window 1"),  None,        "its own W1"),
    (("W6", "resumes"),          ("W6", "logins"),    Some(LIMIT), "the limit's logins"),
    (("W7", "a tenth slow"),     ("W7", "all fast"),  None,        "its own all fast"),
    (("W8", "W1 websocket"),     ("W1", "window 16"), None,        "its own plain TCP"),
    (("W8", "W1 tls"),           ("W1", "window 16"), None,        "its own plain TCP"),
    (("W8", "W3 websocket"),     ("W3", "at once"),   None,        "its own plain TCP"),
    (("W8", "W3 tls"),           ("W3", "at once"),   None,        "its own plain TCP"),
];

/// The samples of a run by who did what.
#[derive(Debug)]
pub struct Figures<'a> {
    /// The run.
    pub run: &'a Run,
    samples: BTreeMap<Key<'a>, BTreeMap<u32, &'a Sample>>,
}

impl<'a> Figures<'a> {
    /// Where something was measured twice in a round, the later one counts.
    #[must_use]
    pub fn new(run: &'a Run) -> Self {
        let mut samples: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for sample in &run.samples {
            let key = Key { workload: &sample.workload, case: &sample.case, peer: &sample.peer };
            samples.entry(key).or_default().insert(sample.round, sample);
        }
        Figures { run, samples }
    }

    /// Whose samples there are.
    #[must_use]
    pub fn has(&self, key: Key<'_>) -> bool {
        self.rounds(key).next().is_some()
    }

    fn rounds<'b>(&'b self, key: Key<'b>) -> impl Iterator<Item = (u32, &'b Sample)> {
        self.samples.get(&key).into_iter().flatten().map(|(round, sample)| (*round, *sample))
    }

    /// Over the rounds in which it was measured.
    #[must_use]
    pub fn spread(&self, what: Quantity, of: Key<'_>) -> Option<Spread> {
        Spread::of(self.rounds(of).filter_map(|(_, sample)| what.of(sample)))
    }

    /// One over the other in the same round; a round in which one of them is missing does not count.
    #[must_use]
    pub fn ratio(&self, what: Quantity, of: Key<'_>, to: Key<'_>) -> Option<Spread> {
        let theirs: BTreeMap<u32, f64> =
            self.rounds(to).filter_map(|(round, sample)| Some((round, what.of(sample)?))).collect();
        Spread::of(
            self.rounds(of)
                .filter_map(|(round, sample)| over(what.of(sample)?, theirs.get(&round).copied()?)),
        )
    }

    /// What a cost is compared with, and that in words: the limit in the same case, else what the goals say.
    #[must_use]
    pub fn base<'b>(&self, of: Key<'b>) -> Option<(Key<'b>, &'static str)> {
        let limit = Key { peer: LIMIT, ..of };
        if self.has(limit) {
            return Some((limit, "the limit's"));
        }
        let (_, (workload, case), peer, words) =
            BASES.iter().find(|(case, ..)| *case == (of.workload, of.case)).copied()?;
        Some((Key { workload, case, peer: peer.unwrap_or(of.peer) }, words))
    }

    /// The cost over that of the case's [`Figures::base`].
    #[must_use]
    pub fn to_base(&self, of: Key<'_>) -> Option<Spread> {
        let (to, _) = self.base(of)?;
        self.ratio(Quantity::Cost, of, to)
    }

    /// Workloads with samples: the known ones in their order, without growth curves, then others as they came.
    #[must_use]
    pub fn workloads(&self) -> Vec<&'a str> {
        let known = WORKLOADS.iter().map(|(workload, _, _)| *workload);
        let mut here = in_order(known, self.run.samples.iter().map(|sample| sample.workload.as_str()));
        here.retain(|workload| CURVES.iter().all(|(curve, _)| curve != workload));
        here
    }

    /// Cases of a workload with samples, likewise.
    #[must_use]
    pub fn cases(&self, workload: &str) -> Vec<&'a str> {
        let known = WORKLOADS.iter().filter(|(name, _, _)| *name == workload);
        let of_it = self.run.samples.iter().filter(|sample| sample.workload == workload);
        in_order(
            known.flat_map(|(_, _, cases)| cases.iter().copied()),
            of_it.map(|sample| sample.case.as_str()),
        )
    }

    /// The values of a growth curve, smallest first; what is no number is left out.
    #[must_use]
    pub fn values(&self, curve: &str) -> Vec<(f64, &'a str)> {
        let mut values: Vec<(f64, &str)> =
            self.cases(curve).into_iter().filter_map(|case| Some((case.parse().ok()?, case))).collect();
        values.retain(|(value, _)| value.is_finite() && *value > 0.0);
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        values
    }

    /// All who have samples: in the order of the run's peers, then others as they came.
    #[must_use]
    pub fn peers(&self) -> Vec<&'a str> {
        let known = self.run.peers.iter().map(|peer| peer.name.as_str());
        in_order(known, self.run.samples.iter().map(|sample| sample.peer.as_str()))
    }

    /// Those of them who have samples of a case.
    #[must_use]
    pub fn peers_of<'b>(&self, workload: &'b str, case: &'b str) -> Vec<&'a str>
    where
        'a: 'b,
    {
        self.peers().into_iter().filter(|&peer| self.has(Key { workload, case, peer })).collect()
    }

    /// What else was seen, by name: medians.
    #[must_use]
    pub fn others(&self, of: Key<'_>) -> BTreeMap<&'a str, f64> {
        let Some(rounds) = self.samples.get(&of) else { return BTreeMap::new() };
        let names = rounds.values().flat_map(|sample| sample.other.keys());
        names
            .filter_map(|name| {
                let seen = Spread::of(rounds.values().filter_map(|sample| sample.other.get(name).copied()))?;
                Some((name.as_str(), seen.median))
            })
            .collect()
    }
}

/// What of `here` is known, in the order of the known, then the rest as it comes; each once.
fn in_order<'a>(
    known: impl Iterator<Item = &'a str>,
    here: impl Iterator<Item = &'a str> + Clone,
) -> Vec<&'a str> {
    let mut all: Vec<&str> = Vec::new();
    let known = known.filter(|name| here.clone().any(|other| other == *name)).collect::<Vec<_>>();
    for name in known.into_iter().chain(here) {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}
