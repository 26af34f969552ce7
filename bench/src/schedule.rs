//! What is measured in which order, for how long, and how much of it is left.

use std::time::Duration;

use crate::cases::{Case, Plan};
use crate::measure::{ENOUGH, IDLE, Times};
use crate::roster::{ALL_CORES, Entry, is_needed};

/// Growth curves are measured in so many rounds at most: each of their points stands between others that say the same.
pub const CURVE_ROUNDS: u32 = 3;

/// One sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// From 0.
    pub round: u32,
    /// The place of its case.
    pub case: usize,
    /// The place of who is measured.
    pub entry: usize,
}

/// All samples: in each round all take turns in each case, and another is first, so that none always runs on a machine that is warmer.
pub fn items(cases: &[Case], entries: &[Entry], rounds: u32) -> Vec<Item> {
    let mut items = vec![];
    for round in 0..rounds {
        for (case, what) in cases.iter().enumerate().filter(|(_, case)| round < rounds_of(case, rounds)) {
            let turns = (0..entries.len()).map(|place| (place + round as usize) % entries.len());
            items.extend(turns.filter(|entry| entries[*entry].peer(what).is_some()).map(|entry| Item {
                round,
                case,
                entry,
            }));
        }
    }
    items
}

/// In how many of `rounds` a case is measured.
pub fn rounds_of(case: &Case, rounds: u32) -> u32 {
    if case.workload.starts_with('W') { rounds } else { rounds.min(CURVE_ROUNDS) }
}

/// How long each part of a sample takes. Calls are counted in the first round; at a first look only those of who is needed.
pub fn times(is_quick: bool, round: u32, plan: &Plan, peer: &str) -> Times {
    let ms = Duration::from_millis;
    let is_traced = round == 0
        && !matches!(plan, Plan::Storm { .. })
        && (!is_quick || is_needed(peer) && peer != ALL_CORES);
    let traced = if is_traced { ms(700) } else { ms(0) };
    if plan.watches_memory() {
        // Until the sockets of the slow are full, and then long enough for what is not bounded to grow.
        let times = Times { warm_up: ms(8000), measured: ms(4000), traced };
        return if is_quick { Times { warm_up: ms(2500), measured: ms(2000), ..times } } else { times };
    }
    if is_quick {
        return Times { warm_up: ms(200), measured: ms(500), traced: traced / 3 };
    }
    Times { warm_up: ms(400), measured: ms(2000), traced }
}

/// How long a sample takes in all, roughly: as seen on two cores of 2023, of the peers that take part in the case their mean.
pub fn expected(times: Times, plan: &Plan) -> Duration {
    let start = Duration::from_millis(300);
    let trace =
        if times.traced.is_zero() { times.traced } else { 2 * times.traced + Duration::from_millis(700) };
    let measured = match *plan {
        Plan::Storm { .. } => Duration::ZERO,
        Plan::Idle { .. } => times.measured.max(IDLE),
        Plan::Echo { clients: 1, .. } | Plan::SteadyEcho { .. } => times.measured,
        _ if plan.watches_memory() => times.measured,
        Plan::Rooms { players, members, hz, .. } => {
            let a_second = players as f64 * (members - 1) as f64 * hz;
            let is_enough = a_second * times.measured.as_secs_f64() / 2.0 >= ENOUGH as f64;
            if is_enough { times.measured / 2 } else { times.measured }
        }
        // So many come from most.
        Plan::Echo { .. } | Plan::Fan { .. } => times.measured / 2,
    };
    start + Duration::from_micros(300) * plan.clients() as u32 + times.warm_up + measured + trace
}

/// How far a run is.
#[derive(Debug)]
pub struct Progress {
    total: usize,
    done: usize,
    expected: Duration,
    expected_done: Duration,
}

impl Progress {
    /// Nothing is done yet of samples that are expected to take so long.
    pub fn new(expected: impl IntoIterator<Item = Duration>) -> Self {
        let all: Vec<Duration> = expected.into_iter().collect();
        Progress { total: all.len(), done: 0, expected: all.iter().sum(), expected_done: Duration::ZERO }
    }

    /// How long all is expected to take.
    pub fn expected(&self) -> Duration {
        self.expected
    }

    /// Another is done, which was expected to take so long.
    pub fn done(&mut self, expected: Duration) {
        self.done += 1;
        self.expected_done += expected;
    }

    /// "17 of 800, 31 min left", with what was done so far in `elapsed` as the measure of what is left.
    pub fn tell(&self, elapsed: Duration) -> String {
        let pace =
            if self.done == 0 { 1.0 } else { elapsed.as_secs_f64() / self.expected_done.as_secs_f64() };
        let left_s = self.expected.saturating_sub(self.expected_done).as_secs_f64() * pace;
        let left = if left_s < 90.0 { format!("{left_s:.0} s") } else { format!("{:.0} min", left_s / 60.0) };
        format!("{} of {}, {left} left", self.done, self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cases, roster};

    fn minutes(is_quick: bool, rounds: u32) -> f64 {
        let cases = cases::chosen(None, is_quick).expect("cases");
        let entries = roster::everyone().expect("all");
        let all = items(&cases, &entries, rounds).into_iter().map(|item| {
            let plan = &cases[item.case].plan;
            expected(times(is_quick, item.round, plan, entries[item.entry].name()), plan)
        });
        all.sum::<Duration>().as_secs_f64() / 60.0
    }

    #[test]
    fn all_of_it_takes_at_most_45_minutes_and_a_first_look_two() {
        let (whole, quick) = (minutes(false, 5), minutes(true, 1));
        assert!(whole <= 45.0, "{whole:.1} minutes");
        assert!(quick <= 2.0, "{quick:.1} minutes");
    }

    #[test]
    fn all_take_turns_and_another_is_first_in_each_round() {
        let cases: Vec<Case> =
            cases::all().into_iter().filter(|case| ["W1", "size"].contains(&case.workload)).collect();
        let entries = roster::everyone().expect("all");
        let items = items(&cases, &entries, 5);
        for (place, case) in cases.iter().enumerate() {
            for round in 0..5 {
                let of: Vec<usize> = items
                    .iter()
                    .filter(|item| item.case == place && item.round == round)
                    .map(|item| item.entry)
                    .collect();
                if case.workload == "W1" {
                    assert_eq!(of.len(), entries.len(), "{}", case.name);
                    assert_eq!(of[0], round as usize);
                } else {
                    // The limit and tagwire.
                    assert_eq!(of.len(), if round < 3 { 2 } else { 0 }, "{}", case.name);
                }
            }
        }
    }

    #[test]
    fn what_is_left_goes_by_the_pace_so_far() {
        let seconds = Duration::from_secs;
        let mut progress = Progress::new([seconds(10), seconds(10), seconds(220)]);
        assert_eq!(progress.tell(seconds(0)), "0 of 3, 4 min left");
        progress.done(seconds(10));
        progress.done(seconds(10));
        // Half as long as expected.
        assert_eq!(progress.tell(seconds(10)), "2 of 3, 2 min left");
        progress.done(seconds(220));
        assert_eq!(progress.tell(seconds(100)), "3 of 3, 0 s left");
    }
}
