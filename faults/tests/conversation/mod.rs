//! Two ends that say so many bytes each to the other, in turns, as a protocol does.

use tagwire_faults::ends::Side;
use tagwire_faults::sim::Link;

/// Bytes `from` and on of an endless text, no part of which looks like its neighbours.
pub fn pattern(from: usize, size: usize) -> Vec<u8> {
    (from..from + size).map(|at| (at ^ (at >> 8).wrapping_mul(31)) as u8).collect()
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Both ends have heard all.
    pub complete: bool,
    /// Who saw the link end; client, server.
    pub told: [bool; 2],
    /// When nothing happened any more.
    pub ended_us: u64,
}

pub struct Conversation {
    total: usize,
    sent: [usize; 2],
    heard: [usize; 2],
}

impl Conversation {
    /// Each side says so many bytes, and never more than 50 ahead of what it has heard.
    pub fn new(total: usize) -> Self {
        Conversation { total, sent: [0; 2], heard: [0; 2] }
    }

    /// To the end, or until nothing happens any more.
    pub fn run(&mut self, link: &mut Link) -> Outcome {
        self.run_with(link, |_, _, _| {})
    }

    /// The same; returns when how many bytes were read by whom.
    pub fn trace(&mut self, link: &mut Link) -> Vec<(u64, Side, usize)> {
        let mut trace = Vec::new();
        self.run_with(link, |now_us, side, size| trace.push((now_us, side, size)));
        trace
    }

    fn run_with(&mut self, link: &mut Link, mut on_read: impl FnMut(u64, Side, usize)) -> Outcome {
        let mut now_us = 0;
        let mut told = [false; 2];
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 1_000_000, "something is always there to be done: {link:?}");
            for side in Side::BOTH {
                let own = side as usize;
                while let Some(bytes) = link.read(side, now_us) {
                    assert_eq!(bytes, &pattern(self.heard[own], bytes.len())[..]);
                    self.heard[own] += bytes.len();
                    on_read(now_us, side, bytes.len());
                }
                told[own] = link.is_ended(side, now_us);
                let until = self.total.min(self.heard[own] + 50);
                while !told[own] && self.sent[own] < until {
                    let accepted = link.write(side, now_us, &pattern(self.sent[own], until - self.sent[own]));
                    self.sent[own] += accepted;
                    if accepted == 0 {
                        break;
                    }
                }
            }
            match link.next_event_us() {
                Some(next_us) => now_us = now_us.max(next_us),
                None => break,
            }
        }
        Outcome { complete: self.heard == [self.total; 2], told, ended_us: now_us }
    }
}
