//! Round trips, as the server measures them: from its own record, trusting no number of the client.

use std::num::NonZeroU32;

use crate::pb::tagwire::v1::Ping;
use crate::session::Dialect;
use crate::time::Now;

/// Time between two Pings of the server, microseconds.
pub const PING_INTERVAL_US: u64 = 1_000_000;

/// Questions that are remembered: an answer later than that many Pings measures nothing.
const REMEMBERED: usize = 4;

/// Asks and measures, for one session.
#[derive(Debug, Default)]
pub struct Pinger {
    /// The questions that wait, oldest first: what they said ...
    sent_epochs: [u64; REMEMBERED],
    /// ... and when they were asked, the lower half of the monotonic clock: they wait for seconds, it goes round in 71
    /// minutes. In place, for every session has one that waits most of the time.
    asked_us: [u32; REMEMBERED],
    waiting: u8,
    last_rtt_us: Option<NonZeroU32>,
    /// Sixteen times the jitter, so that the smoothing of RFC 3550 section 6.4.1 loses nothing to integers.
    jitter_x16: u32,
    silent_intervals: u32,
}

impl Pinger {
    /// The question at `place` waits no more.
    fn forget(&mut self, place: usize) {
        let waiting = usize::from(self.waiting);
        self.sent_epochs[place..waiting].rotate_left(1);
        self.asked_us[place..waiting].rotate_left(1);
        self.waiting -= 1;
    }

    /// The Ping to send now.
    pub fn next_ping(&mut self, now: Now, dialect: Dialect, frames_received: u64) -> Ping {
        if usize::from(self.waiting) == REMEMBERED {
            self.forget(0);
        }
        let last = usize::from(self.waiting);
        (self.sent_epochs[last], self.asked_us[last]) = (now.unix_us, now.monotonic_us as u32);
        self.waiting += 1;
        let bare = Ping { sent_epoch: now.unix_us, ..Ping::default() };
        match dialect {
            Dialect::Classic => bare,
            Dialect::Native => Ping {
                rtt_us: self.rtt_us().unwrap_or(0),
                jitter_us: self.jitter_x16 / 16,
                frames_received,
                ..bare
            },
        }
    }

    /// Takes an answer; the round trip in microseconds where it answers a question that is remembered.
    pub fn handle_pong(&mut self, now: Now, pong: &Ping) -> Option<u32> {
        let waiting = &self.sent_epochs[..usize::from(self.waiting)];
        let place = waiting.iter().position(|sent| *sent == pong.sent_epoch)?;
        // Another thread may have asked after this one looked at the clock.
        let rtt =
            (now.monotonic_us as u32).wrapping_sub(self.asked_us[place]).cast_signed().max(1).cast_unsigned();
        self.forget(place);
        if let Some(last) = self.rtt_us() {
            self.jitter_x16 = (self.jitter_x16 - self.jitter_x16 / 16).saturating_add(last.abs_diff(rtt));
        }
        self.last_rtt_us = NonZeroU32::new(rtt);
        Some(rtt)
    }

    /// To be called before every Ping: whether anything `heard` came since the last, or whether nothing was read.
    /// Returns for how many intervals on end nothing has come. Counting intervals instead of asking a clock makes
    /// time stand still where we do: a server that was stopped for a minute does not blame its clients.
    pub fn handle_interval(&mut self, heard: bool) -> u32 {
        self.silent_intervals = if heard { 0 } else { self.silent_intervals.saturating_add(1) };
        self.silent_intervals
    }

    /// The last round trip in microseconds.
    pub fn rtt_us(&self) -> Option<u32> {
        self.last_rtt_us.map(NonZeroU32::get)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Now = Now { monotonic_us: 5, unix_us: 1_676_110_573_000_000 };

    #[test]
    fn the_round_trip_is_measured_on_the_servers_own_clock() {
        let mut pinger = Pinger::default();
        let ping = pinger.next_ping(START, Dialect::Native, 7);
        assert_eq!((ping.sent_epoch, ping.frames_received, ping.rtt_us), (START.unix_us, 7, 0));
        // The wall clock was set back in between, and the client lies about its own.
        let later = Now { monotonic_us: START.monotonic_us + 1500, unix_us: 1 };
        let pong = Ping { sent_epoch: ping.sent_epoch, bounce_epoch: u64::MAX, ..Ping::default() };
        assert_eq!(pinger.handle_pong(later, &pong), Some(1500));
        assert_eq!(pinger.next_ping(later, Dialect::Native, 0).rtt_us, 1500);
    }

    #[test]
    fn the_halved_clock_may_go_round_and_a_clock_read_before_the_question_measures_the_least() {
        let mut pinger = Pinger::default();
        let asked = Now { monotonic_us: u64::from(u32::MAX) - 10, ..START };
        let pong = pinger.next_ping(asked, Dialect::Native, 0);
        assert_eq!(pinger.handle_pong(asked.after_us(1500), &pong), Some(1500));
        let pong = pinger.next_ping(asked, Dialect::Native, 0);
        let before = Now { monotonic_us: asked.monotonic_us - 7, ..asked };
        assert_eq!(pinger.handle_pong(before, &pong), Some(1));
    }

    #[test]
    fn an_answer_counts_once_and_only_to_a_question_that_was_asked() {
        let mut pinger = Pinger::default();
        let ping = pinger.next_ping(START, Dialect::Native, 0);
        assert_eq!(pinger.handle_pong(START, &Ping { sent_epoch: 1, ..ping }), None);
        assert!(pinger.handle_pong(START, &ping).is_some());
        assert_eq!(pinger.handle_pong(START, &ping), None);
    }

    #[test]
    fn only_the_last_questions_are_remembered() {
        let mut pinger = Pinger::default();
        let pings: Vec<_> = (0..6)
            .map(|i| pinger.next_ping(START.after_us(i * PING_INTERVAL_US), Dialect::Native, 0))
            .collect();
        let now = START.after_us(6 * PING_INTERVAL_US);
        assert_eq!(pinger.handle_pong(now, &pings[1]), None);
        assert_eq!(pinger.handle_pong(now, &pings[2]), Some(4 * PING_INTERVAL_US as u32));
    }

    #[test]
    fn jitter_is_smoothed_as_rfc_3550_says() {
        let mut pinger = Pinger::default();
        for (i, rtt) in [1000u64, 1160, 1000].into_iter().enumerate() {
            let sent = START.after_us(i as u64 * PING_INTERVAL_US);
            let ping = pinger.next_ping(sent, Dialect::Native, 0);
            pinger.handle_pong(sent.after_us(rtt), &ping);
        }
        // J1 = 160/16 = 10; J2 = 10 + (160 - 10)/16 = 19.375
        assert_eq!(pinger.next_ping(START, Dialect::Native, 0).jitter_us, 19);
    }

    #[test]
    fn silence_is_counted_from_the_last_that_was_heard() {
        let mut pinger = Pinger::default();
        let silent: Vec<_> =
            [false, false, true, false, false].map(|heard| pinger.handle_interval(heard)).into();
        assert_eq!(silent, [1, 2, 0, 1, 2]);
    }

    #[test]
    fn a_classic_ping_is_exactly_the_references() {
        use crate::frame::encode_message;
        let ping = Pinger::default().next_ping(START, Dialect::Classic, 9);
        let mut out = vec![];
        encode_message(&ping, &mut out);
        // REFERENCE 3.X: ping sentEpoch 1676110573000000
        assert_eq!(out, [9, 3, 8, 0xc0, 0xaa, 0xbb, 0xba, 0x9e, 0x8d, 0xfd, 2]);
    }
}
