//! How much a client may send, and what it costs to send more.
//!
//! What is over a limit is dropped and its sender told. What a careful client never does counts against it besides:
//! more than [`FORGIVEN_RATE`] such messages within [`RATE_WINDOW_US`], or more than [`FORGIVEN_INVALID`] invalid ones
//! within [`INVALID_WINDOW_US`], end the session. LATEST and UNRELIABLE messages over their own `max_rate` are dropped
//! and nothing else: who sends them may lose some.

use std::{fmt, mem};

use crate::frame::SHORT_HEADER_BYTES;
use crate::rate::{Rate, Strikes, TokenBucket};
use crate::schema::{Delivery, Rules};
use crate::session::Fault;
use crate::tag::Tag;
use crate::time::Now;

/// So many messages over a rate are forgiven ...
pub const FORGIVEN_RATE: usize = 100;
/// ... within so long, microseconds.
pub const RATE_WINDOW_US: u64 = 10_000_000;
/// So many invalid messages are forgiven ...
pub const FORGIVEN_INVALID: usize = 100;
/// ... within so long, microseconds.
pub const INVALID_WINDOW_US: u64 = 60_000_000;

/// Bounds of what one client may send, besides those that the schema gives to its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionLimits {
    /// Largest payload of a frame, bytes.
    pub max_frame_bytes: usize,
    /// Frames a second; 0: no limit.
    pub max_frames_per_second: u32,
    /// Bytes of frames a second, at least `max_frame_bytes`; 0: no limit.
    pub max_bytes_per_second: u32,
    /// JoinRoom requests a second: each tells two rooms; 0: no limit.
    pub max_joins_per_second: u32,
}

/// A limit that a message is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// `max_rate` of the message.
    Message {
        /// Messages a second.
        max_rate: u32,
    },
    /// [`SessionLimits::max_frames_per_second`].
    Frames(u32),
    /// [`SessionLimits::max_bytes_per_second`].
    Bytes(u32),
    /// [`SessionLimits::max_joins_per_second`].
    Joins(u32),
    /// Deliveries a second of the room that it was sent to: no fault of its sender alone.
    Room(u32),
}

impl Limit {
    /// That of the schema for a message.
    pub(crate) fn of(rules: &Rules) -> Option<Self> {
        rules.max_rate.map(|max_rate| Limit::Message { max_rate })
    }

    /// A setting, of which 0 means none.
    pub(crate) fn per_second(max: u32, limit: impl FnOnce(u32) -> Self) -> Option<Self> {
        (max > 0).then(|| limit(max))
    }

    /// Its name in schemas and settings.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Message { .. } => "max_rate",
            Limit::Frames(_) => "max_frames_per_second",
            Limit::Bytes(_) => "max_bytes_per_second",
            Limit::Joins(_) => "max_joins_per_second",
            Limit::Room(_) => "max_room_deliveries_per_second",
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Message { max_rate } => write!(f, "max_rate is {max_rate}/s"),
            Limit::Frames(max) => write!(f, "a client may send {max} frames a second"),
            Limit::Bytes(max) => write!(f, "a client may send {max} bytes a second"),
            Limit::Joins(max) => write!(f, "a client may join {max} rooms a second"),
            Limit::Room(max) => write!(f, "the room takes {max} deliveries a second"),
        }
    }
}

/// A message came too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooFast {
    pub(crate) limit: Limit,
    /// When it would not be any more, microseconds from now.
    pub(crate) wait_us: u64,
}

/// A client may make up for so much time, microseconds: as long as a session waits for it by default.
const MAX_CREDIT_US: u64 = super::resume::RESUME_WINDOW_US;

/// What one client has sent, as far as it is limited.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    frames: TokenBucket,
    bytes: TokenBucket,
    /// Of the messages with a `max_rate` that were sent, by tag. A session has few, and keeps them.
    messages: Box<[(Tag, TokenBucket)]>,
    too_fast: Strikes,
    invalid: Strikes,
    /// Time in which it could send nothing, and which it may make up for.
    credit_us: u64,
}

impl Rates {
    /// It could send nothing for so long: what has waited on its side may come all at once. The rates look at a clock that
    /// is behind by that much, and catches up as it is needed.
    pub(crate) fn make_up_for(&mut self, silent_us: u64) {
        self.credit_us = (self.credit_us + silent_us).min(MAX_CREDIT_US);
    }

    /// Takes from a bucket, and where it has too little, from the time that is to be made up for.
    fn take(
        credit_us: &mut u64,
        bucket: &mut TokenBucket,
        now: Now,
        rate: Rate,
        tokens: u32,
    ) -> Result<(), u64> {
        let behind = |us| Now { monotonic_us: now.monotonic_us.saturating_sub(us), ..now };
        match bucket.take(behind(*credit_us), rate, tokens) {
            Err(wait_us) if wait_us <= *credit_us => {
                *credit_us -= wait_us;
                bucket.take(behind(*credit_us), rate, tokens)
            }
            Err(wait_us) => Err(wait_us - *credit_us),
            Ok(()) => Ok(()),
        }
    }

    /// Takes a frame into account.
    pub(crate) fn take_frame(
        &mut self,
        now: Now,
        limits: &SessionLimits,
        payload_bytes: usize,
    ) -> Result<(), TooFast> {
        let credit_us = &mut self.credit_us;
        let mut take = |bucket: &mut TokenBucket, max, tokens, limit| {
            if max == 0 {
                return Ok(());
            }
            Self::take(credit_us, bucket, now, Rate::per_second(max), tokens)
                .map_err(|wait_us| TooFast { limit, wait_us })
        };
        let SessionLimits { max_frames_per_second: frames, max_bytes_per_second: bytes, .. } = *limits;
        take(&mut self.frames, frames, 1, Limit::Frames(frames))?;
        // Headers cost too, but never more than the bucket holds: a largest frame must pass.
        let size = u32::try_from(payload_bytes + SHORT_HEADER_BYTES).unwrap_or(u32::MAX).min(bytes);
        take(&mut self.bytes, bytes, size, Limit::Bytes(bytes))
    }

    /// Takes a message into account that has a rate of its own.
    pub(crate) fn take_message(&mut self, now: Now, tag: Tag, limit: Option<Limit>) -> Result<(), TooFast> {
        let Some(limit @ (Limit::Message { max_rate: max } | Limit::Joins(max))) = limit else {
            return Ok(());
        };
        let place = match self.messages.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(place) => place,
            Err(place) => {
                let mut messages = mem::take(&mut self.messages).into_vec();
                messages.reserve_exact(1);
                messages.insert(place, (tag, TokenBucket::full(now)));
                self.messages = messages.into_boxed_slice();
                place
            }
        };
        let (_, bucket) = &mut self.messages[place];
        Self::take(&mut self.credit_us, bucket, now, Rate::per_second(max), 1)
            .map_err(|wait_us| TooFast { limit, wait_us })
    }

    /// Counts what came too fast against the client, unless it may be lost anyway.
    pub(crate) fn strike(&mut self, now: Now, too_fast: TooFast, delivery: Delivery) -> Result<(), Fault> {
        let forgiven = matches!(too_fast.limit, Limit::Message { .. }) && delivery != Delivery::Ordered;
        if !forgiven && self.too_fast.add(now, FORGIVEN_RATE, RATE_WINDOW_US) {
            return Err(Fault::TooFast(too_fast.limit));
        }
        Ok(())
    }

    /// Counts an invalid message against the client.
    pub(crate) fn strike_invalid(&mut self, now: Now) -> Result<(), Fault> {
        if self.invalid.add(now, FORGIVEN_INVALID, INVALID_WINDOW_US) {
            return Err(Fault::TooManyInvalid);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_has_a_rate_of_its_own_whichever_came_first() {
        let (mut rates, now) = (Rates::default(), Now { monotonic_us: 77, unix_us: 1 });
        let once = Some(Limit::Message { max_rate: 1 });
        for tag in [9, 3, 6, 12, 1].map(Tag) {
            assert_eq!(rates.take_message(now, tag, once), Ok(()), "the first of tag {tag}");
        }
        for tag in [1, 3, 6, 9, 12].map(Tag) {
            assert!(rates.take_message(now, tag, once).is_err(), "the second of tag {tag}");
        }
    }
}
