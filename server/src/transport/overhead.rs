//! What TLS and WebSocket add to the frames, in bounds: it might be all that comes. Frames are counted where they are
//! handled; a ping of a WebSocket, an empty fragment, a record of one byte are not, and cost as much.

use tokio::time::Instant;

/// Before the login so much may come besides it, bytes: a handshake with a chain of certificates is a few thousand.
const MAX_OPENING_BYTES: u64 = 64 * 1024;

/// A bucket of bytes that were no frames. It leaks as fast as they may come.
#[derive(Debug)]
pub(super) struct Overhead {
    /// What came, less the frames in it.
    level: u64,
    /// How much of that may be the beginning of a message.
    max_message_bytes: u64,
    /// The leak, bytes, and what is held at most besides a message; `None`: nothing is too much.
    per_second: Option<u64>,
    /// Until when it has leaked; `None`: it is the time before the login, in which nothing does.
    leaked: Option<Instant>,
}

impl Default for Overhead {
    /// Before the login.
    fn default() -> Self {
        Overhead { level: 0, max_message_bytes: 0, per_second: Some(MAX_OPENING_BYTES), leaked: None }
    }
}

impl Overhead {
    pub(super) fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.max_message_bytes = max_message_bytes as u64;
    }

    /// From now on so much may come in a second.
    pub(super) fn admit(&mut self, per_second: Option<u64>, now: Instant) {
        (self.per_second, self.leaked) = (per_second, Some(now));
    }

    /// So much came, with so many bytes of frames that are whole now. False: it is too much.
    pub(super) fn take(&mut self, raw: usize, frames: usize, now: impl FnOnce() -> Instant) -> bool {
        self.level = (self.level + raw as u64).saturating_sub(frames as u64);
        let Some(per_second) = self.per_second else { return true };
        let most = self.max_message_bytes + per_second;
        if self.level <= most {
            return true;
        }
        // Those alone who send much of it cost a look at the clock.
        if let Some(leaked) = self.leaked {
            let now = now();
            let passed_us = u64::try_from((now - leaked).as_micros()).unwrap_or(u64::MAX);
            self.level = self.level.saturating_sub(passed_us.saturating_mul(per_second) / 1_000_000);
            self.leaked = Some(now);
        }
        self.level <= most
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn admitted(per_second: u64) -> (Overhead, Instant) {
        let (mut overhead, now) = (Overhead::default(), Instant::now());
        overhead.set_max_message_bytes(1000);
        overhead.admit(Some(per_second), now);
        (overhead, now)
    }

    #[test]
    fn before_the_login_there_is_an_end_to_it_however_long_it_takes() {
        let mut overhead = Overhead::default();
        assert!(overhead.take(MAX_OPENING_BYTES as usize, 0, Instant::now));
        assert!(!overhead.take(1, 0, || Instant::now() + Duration::from_secs(100)));
    }

    #[test]
    fn a_message_that_is_not_whole_yet_is_none_of_it() {
        let (mut overhead, now) = admitted(100);
        for _ in 0..10_000 {
            assert!(overhead.take(1000, 0, || now));
            assert!(overhead.take(6, 1006, || now), "what was a message is forgotten");
        }
        assert!(overhead.take(1100, 0, || now));
        assert!(!overhead.take(1, 0, || now));
    }

    #[test]
    fn it_may_come_at_its_rate_for_ever_and_no_faster() {
        let (mut overhead, mut now) = admitted(100);
        assert!(overhead.take(1100, 0, || now));
        for _ in 0..1000 {
            now += Duration::from_millis(100);
            assert!(overhead.take(10, 0, || now));
        }
        now += Duration::from_millis(100);
        assert!(!overhead.take(11, 0, || now));
    }

    #[test]
    fn without_a_limit_nothing_is_too_much() {
        let (mut overhead, now) = admitted(100);
        overhead.admit(None, now);
        assert!(overhead.take(1 << 40, 0, || now));
    }
}
