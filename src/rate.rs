//! How often something may happen: token buckets and counts of offences, on the caller's clock.

use std::collections::VecDeque;

use crate::time::Now;

/// So many in so long. The bucket holds as many: they may come all at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period_us: u64,
}

impl Rate {
    /// `count` a second.
    pub const fn per_second(count: u32) -> Self {
        Rate { count, period_us: 1_000_000 }
    }

    /// `count` a minute.
    pub const fn per_minute(count: u32) -> Self {
        Rate { count, period_us: 60_000_000 }
    }
}

/// What is left of a [`Rate`], for one of those it is counted for. The rate is given with every call, so that it may
/// change and takes no memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    /// Tokens times the period, so that refilling by the microsecond loses nothing to integers.
    level: u64,
    at_us: u64,
}

/// One that is full whenever it is first taken from.
impl Default for TokenBucket {
    fn default() -> Self {
        TokenBucket { level: u64::MAX, at_us: 0 }
    }
}

impl TokenBucket {
    /// A full one.
    pub fn full(now: Now) -> Self {
        TokenBucket { level: u64::MAX, at_us: now.monotonic_us }
    }

    fn refill(&mut self, now: Now, rate: Rate) {
        let Rate { count, period_us } = rate;
        let passed_us = now.monotonic_us.saturating_sub(self.at_us).min(period_us);
        let most = u64::from(count) * period_us;
        self.level = self.level.saturating_add(passed_us * u64::from(count)).min(most);
        self.at_us = now.monotonic_us;
    }

    /// Takes `tokens`, or none.
    ///
    /// # Errors
    /// There are not so many: after how many microseconds there will be. More than the rate's count never are.
    pub fn take(&mut self, now: Now, rate: Rate, tokens: u32) -> Result<(), u64> {
        self.refill(now, rate);
        let cost = u64::from(tokens) * rate.period_us;
        match self.level.checked_sub(cost) {
            Some(rest) => {
                self.level = rest;
                Ok(())
            }
            None => Err((cost - self.level).div_ceil(u64::from(rate.count.max(1)))),
        }
    }

    /// True where nothing was taken that has not come back: forgetting the bucket changes nothing.
    pub fn is_full(&mut self, now: Now, rate: Rate) -> bool {
        self.refill(now, rate);
        self.level == u64::from(rate.count) * rate.period_us
    }
}

/// Offences that are forgiven up to a number within a window. Takes memory for offenders alone.
#[derive(Debug, Default)]
pub struct Strikes {
    #[expect(clippy::box_collection, reason = "a session has two of them, and hardly one offends")]
    at_us: Option<Box<VecDeque<u64>>>,
}

impl Strikes {
    /// Adds one; true where there are now more than `forgiven` within the last `window_us` microseconds.
    pub fn add(&mut self, now: Now, forgiven: usize, window_us: u64) -> bool {
        let now_us = now.monotonic_us;
        let offences = self.at_us.get_or_insert_default();
        while offences.front().is_some_and(|at_us| now_us.saturating_sub(*at_us) >= window_us) {
            offences.pop_front();
        }
        if offences.len() >= forgiven {
            return true;
        }
        offences.push_back(now_us);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const START: Now = Now { monotonic_us: 77, unix_us: 1 };

    #[test]
    fn a_bucket_gives_a_second_at_once_and_then_what_comes_in() {
        let rate = Rate::per_second(5);
        let mut bucket = TokenBucket::full(START);
        assert!((0..5).all(|_| bucket.take(START, rate, 1).is_ok()));
        assert_eq!(bucket.take(START, rate, 1), Err(200_000));
        assert_eq!(bucket.take(START.after_us(199_999), rate, 1), Err(1));
        assert_eq!(bucket.take(START.after_us(200_000), rate, 1), Ok(()));
        assert!(!bucket.is_full(START.after_us(1_199_999), rate));
        assert!(bucket.is_full(START.after_us(1_200_000), rate));
    }

    #[test]
    fn a_bucket_never_holds_more_than_its_rate() {
        let rate = Rate::per_minute(3);
        let mut bucket = TokenBucket::full(START);
        let later = START.after_us(3_600_000_000);
        assert_eq!(bucket.take(later, rate, 4), Err(20_000_000));
        assert_eq!(bucket.take(later, rate, 3), Ok(()));
        assert_eq!(bucket.take(later, Rate::per_second(1 << 30), 1), Err(1));
        assert_eq!(bucket.take(later.after_us(1_000_000), Rate::per_second(1 << 30), 1 << 30), Ok(()));
    }

    #[test]
    fn strikes_are_forgiven_up_to_their_number_and_forgotten_after_their_window() {
        let mut strikes = Strikes::default();
        for i in 0..100 {
            assert!(!strikes.add(START.after_us(i * 1000), 100, 10_000_000), "strike {i}");
        }
        assert!(strikes.add(START.after_us(9_999_999), 100, 10_000_000), "the 101st");
        assert!(!strikes.add(START.after_us(10_000_000), 100, 10_000_000), "the first is forgotten");
        assert!(strikes.add(START.after_us(10_000_999), 100, 10_000_000));
    }

    proptest! {
        /// Whatever the times of asking: no second sees more than twice the count (one that was saved, one that comes
        /// in), and who keeps to the rate is never refused.
        #[test]
        fn a_bucket_keeps_its_rate(count in 1u32..2000, gaps in prop::collection::vec(0u64..2_000_000, 1..400)) {
            let rate = Rate::per_second(count);
            let (mut bucket, mut polite) = (TokenBucket::full(START), TokenBucket::full(START));
            let (mut now, mut granted) = (START, vec![]);
            for gap in gaps {
                now = now.after_us(gap);
                if bucket.take(now, rate, 1).is_ok() {
                    granted.push(now.monotonic_us);
                }
            }
            for (i, from) in granted.iter().enumerate() {
                let in_a_second = granted[i..].iter().take_while(|at| **at < from + 1_000_000).count();
                prop_assert!(in_a_second <= 2 * count as usize);
            }
            let period_us = 1_000_000u64.div_ceil(u64::from(count));
            for i in 0..2 * u64::from(count) {
                prop_assert!(polite.take(START.after_us(i * period_us), rate, 1).is_ok());
            }
        }
    }
}
