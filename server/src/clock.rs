//! The one clock of a server; everything below it gets the time as an argument.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tagwire::time::Now;

/// Tells the time since the server began, and the system's beside it.
#[derive(Debug)]
pub(crate) struct Clock {
    start: Instant,
    /// The system's time at `start`, as it has been set by now: one look at one clock tells both.
    start_unix_us: AtomicU64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let clock = Clock { start: Instant::now(), start_unix_us: AtomicU64::new(0) };
        clock.adjust();
        clock
    }

    pub(crate) fn now(&self) -> Now {
        let monotonic_us = self.monotonic_us();
        Now { monotonic_us, unix_us: self.start_unix_us.load(Ordering::Relaxed) + monotonic_us }
    }

    /// To be called from time to time: the system's clock may have been set.
    pub(crate) fn adjust(&self) {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_us = u64::try_from(unix.as_micros()).unwrap_or(u64::MAX);
        self.start_unix_us.store(unix_us.saturating_sub(self.monotonic_us()), Ordering::Relaxed);
    }

    fn monotonic_us(&self) -> u64 {
        let passed = self.start.elapsed();
        passed.as_secs() * 1_000_000 + u64::from(passed.subsec_micros())
    }
}
