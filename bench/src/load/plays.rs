//! What clients do in the workloads.

use std::collections::VecDeque;

use hdrhistogram::Histogram;

use super::crowd::{Crowd, Play};
use crate::body;
use crate::dialect::Say;
use crate::result::Latency;

/// The longest delay that is told apart from longer ones, nanoseconds.
const LONGEST_NS: u64 = 60_000_000_000;

/// What was heard.
#[derive(Debug)]
pub struct Tally {
    /// Bodies, or pings.
    pub messages: u64,
    /// Bodies that slow clients heard, besides.
    pub slow: u64,
    delays: Histogram<u64>,
}

impl Default for Tally {
    fn default() -> Self {
        let delays = Histogram::new_with_max(LONGEST_NS, 3).expect("the bounds are constants");
        Tally { messages: 0, slow: 0, delays }
    }
}

impl Tally {
    fn take(&mut self, body: &[u8], now_ns: u64) {
        self.messages += 1;
        if let Some(sent) = body::sent_ns(body) {
            self.delays.saturating_record(now_ns.saturating_sub(sent).max(1));
        }
    }

    /// Forgets everything: the warm-up is over.
    pub fn reset(&mut self) {
        (self.messages, self.slow) = (0, 0);
        self.delays.reset();
    }

    /// `None`: nothing was timed.
    pub fn latency(&self) -> Option<Latency> {
        let at = |quantile| self.delays.value_at_quantile(quantile);
        (!self.delays.is_empty()).then(|| Latency { p50_ns: at(0.5), p99_ns: at(0.99), p999_ns: at(0.999) })
    }
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As much as the workload has.
    Full,
    /// What is said by the clock so many times more slowly: a server whose system calls are counted does less.
    Slower(u32),
    /// Nothing new: what is on its way arrives.
    Silent,
}

/// A play whose result is a tally.
pub trait Workload: Play {
    /// What was heard since it was reset.
    fn tally(&mut self) -> &mut Tally;

    /// From the next play on.
    fn set_pace(&mut self, pace: Pace);

    /// What else was seen, for the result.
    fn other(&self) -> Vec<(&'static str, f64)> {
        vec![]
    }
}

/// Everyone has so many messages on their way and sends another for each that comes back.
#[derive(Debug)]
pub struct Closed {
    say: Say,
    bytes: usize,
    /// What may be said again, by client: at first the whole window.
    arrived: Vec<u32>,
    scratch: Vec<u8>,
    pace: Pace,
    tally: Tally,
}

impl Closed {
    /// `say` is one that comes back.
    pub fn new(clients: usize, say: Say, window: u32, bytes: usize) -> Self {
        let (scratch, tally) = (Vec::new(), Tally::default());
        Closed { say, bytes, arrived: vec![window; clients], scratch, pace: Pace::Full, tally }
    }
}

impl Play for Closed {
    fn heard(&mut self, who: usize, body: &[u8], now_ns: u64) {
        self.arrived[who] += 1;
        self.tally.take(body, now_ns);
    }

    fn turn(&mut self, who: usize, crowd: &mut Crowd) {
        if self.pace == Pace::Silent {
            return;
        }
        let count = std::mem::take(&mut self.arrived[who]);
        if count == 0 {
            return;
        }
        self.scratch.clear();
        body::body(super::cpu::now_ns(), 1, self.bytes, &mut self.scratch);
        for _ in 0..count {
            crowd.say(who, self.say, &self.scratch);
        }
    }

    fn due(&mut self, _: u64, crowd: &mut Crowd) -> Option<u64> {
        for who in 0..self.arrived.len() {
            self.turn(who, crowd);
        }
        None
    }
}

impl Workload for Closed {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }
}

/// The first client has so many messages on their way to all others, and sends another for each that everyone has.
#[derive(Debug)]
pub struct Fan {
    flight: u32,
    bytes: usize,
    subscribers: u32,
    next: u32,
    /// How many have heard of it, by number, from the oldest that is not with everyone.
    heard: VecDeque<u32>,
    oldest: u32,
    scratch: Vec<u8>,
    pace: Pace,
    tally: Tally,
}

impl Fan {
    /// To all others of a crowd of `clients`.
    pub fn new(clients: usize, flight: u32, bytes: usize) -> Self {
        Fan {
            flight,
            bytes,
            subscribers: clients as u32 - 1,
            // proto3 leaves a zero out, and the body would be another.
            next: 1,
            heard: VecDeque::new(),
            oldest: 1,
            scratch: Vec::new(),
            pace: Pace::Full,
            tally: Tally::default(),
        }
    }

    fn fill(&mut self, crowd: &mut Crowd) {
        while self.pace != Pace::Silent && (self.heard.len() as u32) < self.flight {
            self.scratch.clear();
            body::body(super::cpu::now_ns(), self.next, self.bytes, &mut self.scratch);
            crowd.say(0, Say::Others, &self.scratch);
            self.next = self.next.wrapping_add(1);
            self.heard.push_back(0);
        }
    }
}

impl Play for Fan {
    fn heard(&mut self, _: usize, body: &[u8], now_ns: u64) {
        self.tally.take(body, now_ns);
        let number = body::number(body).unwrap_or(self.next).wrapping_sub(self.oldest);
        if let Some(count) = self.heard.get_mut(number as usize) {
            *count += 1;
        }
        while self.heard.front() == Some(&self.subscribers) {
            self.heard.pop_front();
            self.oldest = self.oldest.wrapping_add(1);
        }
    }

    fn turn(&mut self, _: usize, crowd: &mut Crowd) {
        self.fill(crowd);
    }

    fn due(&mut self, _: u64, crowd: &mut Crowd) -> Option<u64> {
        self.fill(crowd);
        None
    }
}

impl Workload for Fan {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
    }
}

/// Clients that read little at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slow {
    /// Every how manieth client is one.
    pub every: usize,
    /// What it reads, bytes, ten times a second.
    pub bytes: usize,
}

impl Slow {
    /// Whether a client is one.
    pub fn has(self, who: usize) -> bool {
        who % self.every == self.every - 1
    }
}

const SLOW_NS: u64 = 100_000_000;

/// Everyone sends so often, one after the other, evenly, whatever comes. A delay counts from when it was due.
#[derive(Debug)]
pub struct Paced {
    say: Say,
    bytes: usize,
    every_ns: f64,
    /// The next to send, counted from the beginning.
    next: u64,
    start_ns: u64,
    slow: Option<Slow>,
    next_slow_ns: u64,
    scratch: Vec<u8>,
    pace: Pace,
    tally: Tally,
}

impl Paced {
    /// Each of `clients` sends `hz` times a second.
    pub fn new(clients: usize, say: Say, hz: f64, bytes: usize, slow: Option<Slow>) -> Self {
        Paced {
            say,
            bytes,
            every_ns: 1e9 / (clients as f64 * hz),
            next: 0,
            start_ns: 0,
            slow,
            next_slow_ns: 0,
            scratch: Vec::new(),
            pace: Pace::Full,
            tally: Tally::default(),
        }
    }

    fn is_slow(&self, who: usize) -> bool {
        self.slow.is_some_and(|slow| slow.has(who))
    }
}

impl Play for Paced {
    fn heard(&mut self, who: usize, body: &[u8], now_ns: u64) {
        if self.is_slow(who) {
            self.tally.slow += 1;
        } else {
            self.tally.take(body, now_ns);
        }
    }

    fn due(&mut self, now_ns: u64, crowd: &mut Crowd) -> Option<u64> {
        if self.start_ns == 0 {
            self.start_ns = now_ns;
            for who in (0..crowd.len()).filter(|who| self.is_slow(*who)) {
                if let Err(error) = crowd.slow_down(who) {
                    crowd.fail(error);
                }
            }
        }
        if let Some(slow) = self.slow
            && now_ns >= self.next_slow_ns
        {
            self.next_slow_ns = now_ns + SLOW_NS;
            for who in (slow.every - 1..crowd.len()).step_by(slow.every) {
                if let Err(error) = crowd.read_slowly(who, slow.bytes, self) {
                    crowd.fail(error);
                }
            }
        }
        let slower = match self.pace {
            Pace::Full => 1.0,
            Pace::Slower(times) => f64::from(times),
            Pace::Silent => return None,
        };
        loop {
            let at = self.start_ns + (self.next as f64 * self.every_ns * slower) as u64;
            if at > now_ns {
                return Some(if self.slow.is_some() { at.min(self.next_slow_ns) } else { at });
            }
            self.scratch.clear();
            match self.say {
                Say::Step | Say::CheckedStep => body::step(at, &mut self.scratch),
                _ => body::body(at, self.next as u32 + 1, self.bytes, &mut self.scratch),
            }
            let who = self.next as usize % crowd.len();
            crowd.say(who, self.say, &self.scratch);
            self.next += 1;
        }
    }
}

impl Workload for Paced {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn set_pace(&mut self, pace: Pace) {
        self.pace = pace;
        (self.start_ns, self.next) = (0, 0);
    }

    fn other(&self) -> Vec<(&'static str, f64)> {
        let slow = self.slow.map(|_| ("slow_heard", self.tally.slow as f64));
        slow.into_iter().collect()
    }
}

/// Nobody says anything; pings are answered and counted.
#[derive(Debug, Default)]
pub struct Idle {
    tally: Tally,
}

impl Play for Idle {
    fn heard(&mut self, _: usize, _: &[u8], _: u64) {}

    fn pinged(&mut self, _: usize) {
        self.tally.messages += 1;
    }
}

impl Workload for Idle {
    fn tally(&mut self) -> &mut Tally {
        &mut self.tally
    }

    fn set_pace(&mut self, _: Pace) {}
}
