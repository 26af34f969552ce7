//! The goals: what each compares, its bound, and whether a run meets it.

use super::figures::{Figures, Key, LIMIT, OURS, OURS_ALL_CORES, Quantity, Spread};

/// A goal. Smaller is better in all of them.
#[derive(Debug, Clone, Copy)]
pub struct Goal {
    /// "W1, window 16".
    pub workload: &'static str,
    /// What is measured, in words.
    pub what: &'static str,
    rule: Rule,
    /// Up to where it is met.
    pub bound: Bound,
}

/// Up to where a goal is met.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// By this too.
    AtMost(f64),
    /// Not by this itself.
    Below(f64),
}

#[derive(Debug, Clone, Copy)]
enum Rule {
    /// The median of the ratios of each round.
    Ratio(Quantity, Key<'static>, Key<'static>),
    /// The median of the figure itself.
    Figure(Quantity, Key<'static>),
}

/// What became of a goal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Outcome {
    /// Within its bound.
    Met(Spread),
    /// Beyond it.
    Over(Spread),
    /// What it compares was not in this run.
    NotMeasured,
}

impl Goal {
    /// Judged by the median.
    #[must_use]
    pub fn judge(&self, figures: &Figures<'_>) -> Outcome {
        let measured = match self.rule {
            Rule::Ratio(what, of, to) => figures.ratio(what, of, to),
            Rule::Figure(what, of) => figures.spread(what, of),
        };
        match measured {
            None => Outcome::NotMeasured,
            Some(seen) if self.bound.holds(seen.median) => Outcome::Met(seen),
            Some(seen) => Outcome::Over(seen),
        }
    }

    /// What is judged where it is no ratio: tells the unit.
    #[must_use]
    pub fn figure(&self) -> Option<Quantity> {
        match self.rule {
            Rule::Ratio(..) => None,
            Rule::Figure(Quantity::MemoryGrowth, _) => None,
            Rule::Figure(what, _) => Some(what),
        }
    }
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Bound::AtMost(bound) => value <= bound,
            Bound::Below(bound) => value < bound,
        }
    }
}

const fn ours(workload: &'static str, case: &'static str) -> Key<'static> {
    Key { workload, case, peer: OURS }
}

const fn limit(workload: &'static str, case: &'static str) -> Key<'static> {
    Key { workload, case, peer: LIMIT }
}

/// A goal for the cost of a message.
const fn cost(
    workload: &'static str,
    what: &'static str,
    of: Key<'static>,
    to: Key<'static>,
    at_most: f64,
) -> Goal {
    Goal { workload, what, rule: Rule::Ratio(Quantity::Cost, of, to), bound: Bound::AtMost(at_most) }
}

/// One for all cores instead of one thread.
const fn cores(name: &'static str, workload: &'static str, case: &'static str) -> Goal {
    let of = Key { workload, case, peer: OURS_ALL_CORES };
    cost(name, "CPU per message, all cores over one thread", of, ours(workload, case), 1.05)
}

const OVER_LIMIT: &str = "CPU per message over the limit's";
const TICK_NS: f64 = 20e6;

/// All of them, in the order in which they are told.
#[rustfmt::skip]
pub const GOALS: [Goal; 28] = [
    cost("W1, window 16", OVER_LIMIT, ours("W1", "window 16"), limit("W1", "window 16"), 1.20),
    cost("W1, window 1", OVER_LIMIT, ours("W1", "window 1"), limit("W1", "window 1"), 1.05),
    cost("W2, 1 in flight", OVER_LIMIT, ours("W2", "1 in flight"), limit("W2", "1 in flight"), 1.05),
    cost("W2, 16 in flight", OVER_LIMIT, ours("W2", "16 in flight"), limit("W2", "16 in flight"), 0.90),
    cost("W3, at once", OVER_LIMIT, ours("W3", "at once"), limit("W3", "at once"), 1.05),
    Goal {
        workload: "W3, at once", what: "p50 over the limit's",
        rule: Rule::Ratio(Quantity::P50, ours("W3", "at once"), limit("W3", "at once")), bound: Bound::AtMost(1.3),
    },
    cost("W3, 20 ms tick", "CPU per message over the limit's at once", ours("W3", "20 ms tick"), limit("W3", "at once"), 0.55),
    Goal {
        workload: "W3, 20 ms tick", what: "p99 (tick + 15 %)",
        rule: Rule::Figure(Quantity::P99, ours("W3", "20 ms tick")), bound: Bound::AtMost(TICK_NS * 1.15),
    },
    cost("W3, with constraints", "CPU per message over that without", ours("W3", "with constraints"), ours("W3", "at once"), 1.15),
    cost("W4, 10,000 idle", "CPU per ping over the limit's", ours("W4", "10000 idle"), limit("W4", "10000 idle"), 1.10),
    cost("W4, 19,000 idle", "CPU per ping over the limit's", ours("W4", "19000 idle"), limit("W4", "19000 idle"), 1.10),
    Goal {
        workload: "W4, 10,000 idle", what: "memory per session",
        rule: Rule::Figure(Quantity::MemoryPerSession, ours("W4", "10000 idle")), bound: Bound::AtMost(2000.0),
    },
    Goal {
        workload: "W4, 19,000 idle", what: "memory per session",
        rule: Rule::Figure(Quantity::MemoryPerSession, ours("W4", "19000 idle")), bound: Bound::AtMost(2000.0),
    },
    cost("W5, window 16", "CPU per request over our W1 window 16", ours("W5", "window 16"), ours("W1", "window 16"), 1.5),
    Goal {
        workload: "W5, window 16", what: "CPU per request over tonic's",
        rule: Rule::Ratio(
            Quantity::Cost, ours("W5", "window 16"), Key { workload: "W5", case: "window 16", peer: "tonic" },
        ),
        bound: Bound::Below(0.5),
    },
    cost("W6, logins", "CPU per login over the limit's accept and one echo", ours("W6", "logins"), limit("W6", "logins"), 1.5),
    cost("W6, resumes", "CPU per resume over the limit's accept and one echo", ours("W6", "resumes"), limit("W6", "logins"), 1.5),
    Goal {
        workload: "W7, a tenth slow", what: "p99 of the fast over that without slow ones",
        rule: Rule::Ratio(Quantity::P99, ours("W7", "a tenth slow"), ours("W7", "all fast")), bound: Bound::AtMost(1.3),
    },
    Goal {
        workload: "W7, a tenth slow", what: "memory at the end over that at half time",
        rule: Rule::Figure(Quantity::MemoryGrowth, ours("W7", "a tenth slow")), bound: Bound::AtMost(1.05),
    },
    cost("W8, W1 by WebSocket", "CPU per message over plain TCP", ours("W8", "W1 websocket"), ours("W1", "window 16"), 1.3),
    cost("W8, W3 by WebSocket", "CPU per message over plain TCP", ours("W8", "W3 websocket"), ours("W3", "at once"), 1.3),
    cost("W8, W1 by TLS", "CPU per message over plain TCP", ours("W8", "W1 tls"), ours("W1", "window 16"), 2.0),
    cores("W1, window 16", "W1", "window 16"),
    cores("W1, window 1", "W1", "window 1"),
    cores("W2, 1 in flight", "W2", "1 in flight"),
    cores("W2, 16 in flight", "W2", "16 in flight"),
    cores("W3, at once", "W3", "at once"),
    cores("W3, 20 ms tick", "W3", "20 ms tick"),
];
