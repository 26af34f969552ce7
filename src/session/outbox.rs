//! The outbox: encoded frames between a session and its socket.
//!
//! ```text
//! bytes:   [ frame | frame | frame | fra|me | frame ]   aside: { sender, tag -> newest frame }
//!          ^kept           ^boundary    ^written     ^appended
//! ```
//!
//! - `kept <= boundary <= written <= appended`. What is written but not acknowledged is kept, up to a limit, so that
//!   it can be sent again; `boundary` is the start of the first frame that is not wholly written.
//! - While the socket keeps up, every frame is appended. Only when it has refused bytes does a LATEST frame wait
//!   aside, where a newer one of the same sender and tag replaces it, and is an UNRELIABLE one dropped. What waits
//!   aside is appended when all else has been written.
//! - A frame gets its place in the count when it is appended, never before, and keeps it; see [`super::is_counted`].
//! - Without a socket ([`Outbox::detach`]) frames go on to be taken, as behind one that takes nothing. On the next socket
//!   ([`Outbox::resume`]) everything that the other side has not handled is written from its beginning; the frames of
//!   the connection itself, which are not counted, are not.

use std::collections::BTreeMap;

use crate::frame;
use crate::schema::{Delivery, Message};
use crate::session::fan_out::Frames;
use crate::session::is_counted;
use crate::tag::Tag;
use crate::time::Now;

/// Bounds of what waits in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Frames appended and not written.
    pub max_frames: usize,
    /// Bytes appended and not written; as many again may wait aside.
    pub max_bytes: usize,
    /// Bytes written and not acknowledged that are kept to be sent again. 0: none.
    pub max_kept_bytes: usize,
    /// So long may a socket that refused bytes take none, microseconds.
    pub max_stuck_us: u64,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        OutboxLimits {
            max_frames: 1024,
            max_bytes: 1024 * 1024,
            max_kept_bytes: 256 * 1024,
            max_stuck_us: 10_000_000,
        }
    }
}

/// What may happen to a frame while the socket takes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Nothing: it is appended.
    Ordered,
    /// It waits aside, and the next one of the same sender and tag replaces it.
    Latest {
        /// The player who sent it; 0: the server.
        sender: u32,
        /// Its tag.
        tag: Tag,
    },
    /// It is dropped.
    Unreliable,
}

impl Lane {
    /// That of a message with this rule. `sender`: the player; 0: the server.
    pub fn new(delivery: Delivery, sender: u32, tag: Tag) -> Self {
        match delivery {
            Delivery::Ordered => Lane::Ordered,
            Delivery::Latest => Lane::Latest { sender, tag },
            Delivery::Unreliable => Lane::Unreliable,
        }
    }
}

/// What happened to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// It has its place in the stream.
    Appended,
    /// It waits aside.
    Aside,
    /// It waits aside in the place of an older one, which is gone.
    Replaced,
    /// It is gone.
    Dropped,
}

/// What became of several frames, as far as something was lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lost {
    /// Frames that waited aside and were replaced.
    pub replaced: u64,
    /// Frames that are gone.
    pub dropped: u64,
}

/// The other side acknowledged frames that it was never sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{acknowledged} frames acknowledged, {committed} sent")]
pub struct AckError {
    /// What it says.
    pub acknowledged: u64,
    /// What is true.
    pub committed: u64,
}

/// Why a session cannot go on from where the other side says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// What it misses first is not kept any more.
    #[error(
        "{received} frames received, and of the {forgotten} before the oldest kept none can be sent again"
    )]
    Forgotten {
        /// Frames that it says it has handled.
        received: u64,
        /// Frames that are not kept.
        forgotten: u64,
    },
    /// It was never sent so much.
    #[error(transparent)]
    Ahead(#[from] AckError),
}

/// What is left of the buffer of an idle session, bytes: a Ping.
const IDLE_BYTES: usize = 48;
/// What a frame that waits aside costs besides its bytes.
const ASIDE_BYTES: usize = 64;

/// Frames that wait to be written or acknowledged, as one run of bytes.
#[derive(Debug, Default)]
pub struct Outbox {
    limits: OutboxLimits,
    bytes: Vec<u8>,
    kept: usize,
    boundary: usize,
    written: usize,
    /// From `boundary` on.
    frames: usize,
    /// The socket refused bytes, and has not taken all since; or there is none.
    blocked: bool,
    /// Counted frames before `kept`.
    forgotten: u64,
    /// Counted frames in all.
    committed: u64,
    written_ever: u64,
    /// In a box, for the sockets of most sessions keep up.
    behind: Option<Box<Behind>>,
}

/// What there is to know of an outbox whose socket does not keep up. Gone when all is written.
#[derive(Debug, Default)]
struct Behind {
    /// Of what is to be written: bytes and frames that an earlier socket took already. No limit counts them.
    again: (usize, usize),
    aside: BTreeMap<(u32, Tag), Vec<u8>>,
    aside_bytes: usize,
    /// `written_ever` when it last changed, and when that was.
    progress: Option<(u64, Now)>,
}

impl Outbox {
    /// An empty one.
    pub fn new(limits: OutboxLimits) -> Self {
        Outbox { limits, ..Self::default() }
    }

    /// Takes one encoded frame.
    pub fn push(&mut self, frame: &[u8], lane: Lane) -> Pushed {
        match lane {
            Lane::Latest { sender, tag } if self.blocked => {
                let behind = self.behind.get_or_insert_default();
                behind.aside_bytes += frame.len() + ASIDE_BYTES;
                match behind.aside.insert((sender, tag), frame.to_vec()) {
                    Some(older) => {
                        behind.aside_bytes -= older.len() + ASIDE_BYTES;
                        Pushed::Replaced
                    }
                    None => Pushed::Aside,
                }
            }
            Lane::Unreliable if self.blocked => Pushed::Dropped,
            _ => {
                self.append(frame);
                Pushed::Appended
            }
        }
    }

    /// Takes messages of the game. While the socket keeps up, they are copied all at once.
    pub fn push_all(&mut self, frames: Frames<'_>) -> Lost {
        let mut lost = Lost::default();
        let (count, mut bytes) = (frames.count(), frames.bytes());
        if !self.blocked {
            // Each is counted, for none is of the connection itself.
            self.committed += count as u64;
            self.frames += count;
            self.bytes.extend_from_slice(bytes);
            return lost;
        }
        for lane in frames.lanes() {
            let (frame, rest) = bytes.split_at(frame::encoded_head(bytes).len);
            bytes = rest;
            match self.push(frame, lane) {
                Pushed::Appended | Pushed::Aside => {}
                Pushed::Replaced => lost.replaced += 1,
                Pushed::Dropped => lost.dropped += 1,
            }
        }
        lost
    }

    fn append(&mut self, frame: &[u8]) {
        let head = frame::encoded_head(frame);
        debug_assert_eq!(head.len, frame.len(), "one whole frame");
        self.committed += u64::from(is_counted(head.tag));
        self.bytes.extend_from_slice(frame);
        self.frames += 1;
    }

    /// Takes a message of which every one counts: [`Lane::Ordered`]. It is encoded where it waits.
    pub fn push_message<M: Message>(&mut self, message: &M) {
        frame::encode_message(message, &mut self.bytes);
        self.committed += u64::from(is_counted(M::TAG));
        self.frames += 1;
    }

    /// Puts one encoded frame before everything that has not begun to be written: what must not wait behind a
    /// backlog. Only for frames that are not counted.
    pub fn push_urgent(&mut self, frame: &[u8]) {
        debug_assert!(
            !is_counted(frame::encoded_head(frame).tag),
            "it would take another's place in the count"
        );
        let at = self.next_boundary();
        self.bytes.splice(at..at, frame.iter().copied());
        self.frames += 1;
    }

    /// Makes `frame` the last one: what has not begun to be written is dropped.
    pub fn finish(&mut self, frame: &[u8]) {
        let at = self.next_boundary();
        self.committed -= counted(&self.bytes[at..]);
        self.bytes.truncate(at);
        self.frames = usize::from(at > self.boundary);
        self.clear_aside();
        if let Some(behind) = &mut self.behind {
            behind.again = (0, 0);
        }
        self.append(frame);
    }

    /// Where a frame may be put in without cutting one that is on its way.
    fn next_boundary(&self) -> usize {
        match self.bytes.get(self.boundary..) {
            Some(rest) if self.boundary < self.written => self.boundary + frame::encoded_head(rest).len,
            _ => self.boundary,
        }
    }

    /// What is left of the frame that has begun to be written; empty where none has.
    pub fn rest_of_frame(&self) -> &[u8] {
        &self.bytes[self.written..self.next_boundary().max(self.written)]
    }

    /// What the socket should take next.
    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// The socket took the first `count` bytes of [`Outbox::unwritten`] and refused the rest.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
        self.written_ever += count as u64;
        assert!(self.written <= self.bytes.len(), "more written than there is");
        let (waited, keeps_none) = (self.frames, self.kept == self.boundary);
        if self.written == self.bytes.len() {
            // As nearly always: there is no need to look at every frame.
            (self.boundary, self.frames) = (self.written, 0);
        }
        while self.boundary < self.bytes.len() {
            let end = self.boundary + frame::encoded_head(&self.bytes[self.boundary..]).len;
            if end > self.written {
                break;
            }
            self.boundary = end;
            self.frames -= 1;
        }
        if let Some(Behind { again: (bytes, frames), .. }) = self.behind.as_deref_mut() {
            *bytes = bytes.saturating_sub(count);
            *frames = frames.saturating_sub(waited - self.frames);
        }
        let is_over = self.boundary - self.kept > self.limits.max_kept_bytes;
        while self.boundary - self.kept > self.limits.max_kept_bytes {
            self.forget_one();
        }
        // Else what is kept begins with a frame that counts, as before.
        if keeps_none || is_over {
            self.forget_uncounted();
        }
        self.compact();
        self.blocked = self.written < self.bytes.len();
        if !self.blocked && self.behind.is_some() {
            self.append_aside();
        }
    }

    fn append_aside(&mut self) {
        let Some(behind) = self.behind.take() else { return };
        for frame in behind.aside.into_values() {
            self.append(&frame);
        }
    }

    /// The other side handled so many counted frames in all: they need not be kept.
    ///
    /// # Errors
    /// It was not sent so many.
    pub fn acknowledge(&mut self, frames_received: u64) -> Result<(), AckError> {
        self.may_acknowledge(frames_received)?;
        // An older acknowledgement may come behind a newer one; it says nothing.
        while self.forgotten < frames_received {
            self.forget_one();
        }
        self.forget_uncounted();
        self.compact();
        Ok(())
    }

    /// The socket is gone: until [`Outbox::resume`] nothing is written, and what comes is taken as behind a full one.
    pub fn detach(&mut self) {
        self.blocked = true;
        if let Some(behind) = &mut self.behind {
            behind.progress = None;
        }
    }

    /// Whether [`Outbox::resume`] can go on from there.
    ///
    /// # Errors
    /// It cannot.
    pub fn may_resume(&self, frames_received: u64) -> Result<(), ResumeError> {
        if frames_received < self.forgotten {
            return Err(ResumeError::Forgotten { received: frames_received, forgotten: self.forgotten });
        }
        Ok(self.may_acknowledge(frames_received)?)
    }

    /// There is another socket, whose other side has handled so many counted frames in all: the rest of them is to be
    /// written, from the beginning of a frame.
    ///
    /// # Errors
    /// That is not possible; nothing has changed.
    pub fn resume(&mut self, frames_received: u64) -> Result<(), ResumeError> {
        self.may_resume(frames_received)?;
        self.acknowledge(frames_received)?;
        let mut again = (0, 0);
        let mut frames = 0;
        let mut to = 0;
        let mut at = self.kept;
        while at < self.bytes.len() {
            let head = frame::encoded_head(&self.bytes[at..]);
            if is_counted(head.tag) {
                self.bytes.copy_within(at..at + head.len, to);
                to += head.len;
                frames += 1;
                // A frame of which a part was written counts as one that was not.
                if at < self.boundary {
                    again = (to, frames);
                }
            }
            at += head.len;
        }
        self.bytes.truncate(to);
        (self.kept, self.boundary, self.written) = (0, 0, 0);
        self.frames = frames;
        if self.bytes.is_empty() {
            self.append_aside();
        } else {
            let behind = self.behind.get_or_insert_default();
            (behind.again, behind.progress) = (again, None);
        }
        // What comes now must not pass what waits aside.
        self.blocked = self.waits_aside() > 0;
        Ok(())
    }

    fn may_acknowledge(&self, frames_received: u64) -> Result<(), AckError> {
        let written = self.committed - counted(&self.bytes[self.boundary..]);
        if frames_received > written {
            return Err(AckError { acknowledged: frames_received, committed: written });
        }
        Ok(())
    }

    fn forget_one(&mut self) {
        let head = frame::encoded_head(&self.bytes[self.kept..]);
        self.forgotten += u64::from(is_counted(head.tag));
        self.kept += head.len;
    }

    /// What is not counted is never written again: it is kept only behind something that is. Who is sent nothing but Pings
    /// has none of them kept.
    fn forget_uncounted(&mut self) {
        while self.kept < self.boundary {
            let head = frame::encoded_head(&self.bytes[self.kept..]);
            if is_counted(head.tag) {
                break;
            }
            self.kept += head.len;
        }
    }

    /// Moves bytes only when that halves the buffer, so that every byte is moved once on average.
    fn compact(&mut self) {
        if self.kept == self.bytes.len() {
            self.bytes.clear();
        } else if self.kept > self.bytes.len() / 2 {
            self.bytes.drain(..self.kept);
        } else {
            return;
        }
        self.boundary -= self.kept;
        self.written -= self.kept;
        self.kept = 0;
    }

    /// The player sends nothing any more: what waits aside of it is not worth sending.
    pub fn forget_sender(&mut self, sender: u32) {
        let Some(Behind { aside, aside_bytes, .. }) = self.behind.as_deref_mut() else { return };
        aside.retain(|key, frame| {
            let keep = key.0 != sender;
            *aside_bytes -= if keep { 0 } else { frame.len() + ASIDE_BYTES };
            keep
        });
    }

    /// Drops what waits aside: it belongs to a room that the session has left.
    pub fn clear_aside(&mut self) {
        if let Some(behind) = &mut self.behind {
            behind.aside.clear();
            behind.aside_bytes = 0;
        }
    }

    /// Frames that wait aside.
    fn waits_aside(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.aside.len())
    }

    /// Their bytes, and what they cost besides.
    fn aside_bytes(&self) -> usize {
        self.behind.as_ref().map_or(0, |behind| behind.aside_bytes)
    }

    /// Drops everything: the socket takes nothing any more.
    pub fn clear(&mut self) {
        *self = Outbox::new(self.limits);
    }

    /// True where nothing waits to be written.
    pub fn is_empty(&self) -> bool {
        self.written == self.bytes.len() && self.waits_aside() == 0
    }

    /// Bytes that wait to be written, those aside among them.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written + self.aside_bytes()
    }

    /// Frames that wait to be written, those aside among them.
    pub fn frames(&self) -> usize {
        self.frames + self.waits_aside()
    }

    /// True where the socket has refused bytes and not taken all since.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// True where more waits than the limits allow.
    pub fn is_over(&self) -> bool {
        let (again_bytes, again_frames) = self.behind.as_ref().map_or((0, 0), |behind| behind.again);
        self.frames - again_frames > self.limits.max_frames
            || self.bytes.len() - self.written - again_bytes > self.limits.max_bytes
            || self.aside_bytes() > self.limits.max_bytes
    }

    /// Gives memory back that is not needed now. To be called about once a second, so that a busy session keeps its buffer
    /// from message to message.
    pub fn shrink(&mut self) {
        if self.bytes.capacity() > IDLE_BYTES.max(4 * self.bytes.len()) {
            self.bytes.shrink_to(2 * self.bytes.len());
        }
    }

    /// To be called about once a second: true where a blocked socket has taken nothing for too long. Gives memory
    /// back that is not needed now.
    pub fn handle_timer(&mut self, now: Now) -> bool {
        self.shrink();
        if !self.blocked {
            return false;
        }
        let behind = self.behind.get_or_insert_default();
        match behind.progress {
            Some((written, since)) if written == self.written_ever => {
                now.monotonic_us.saturating_sub(since.monotonic_us) >= self.limits.max_stuck_us
            }
            _ => {
                behind.progress = Some((self.written_ever, now));
                false
            }
        }
    }
}

/// Counted frames in a run of whole frames.
fn counted(mut bytes: &[u8]) -> u64 {
    let mut count = 0;
    while !bytes.is_empty() {
        let head = frame::encoded_head(bytes);
        count += u64::from(is_counted(head.tag));
        bytes = &bytes[head.len..];
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Dialect;
    use crate::session::fan_out::FanOut;
    use crate::tag::Tag;
    use proptest::prelude::*;

    const START: Now = Now { monotonic_us: 1, unix_us: 1 };
    const LIMITS: OutboxLimits =
        OutboxLimits { max_frames: 1024, max_bytes: 1 << 20, max_kept_bytes: 0, max_stuck_us: 10_000_000 };

    fn frame(tag: u16, length: usize) -> Vec<u8> {
        let mut out = vec![];
        frame::encode(Tag(tag), &vec![tag as u8; length], &mut out);
        out
    }

    fn payload(tag: u16, payload: u8) -> Vec<u8> {
        let mut out = vec![];
        frame::encode(Tag(tag), &[payload], &mut out);
        out
    }

    fn frames(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let frames = whole(bytes);
        let length: usize = frames.iter().map(|(tag, payload)| encoded_len(*tag, payload.len())).sum();
        assert_eq!(length, bytes.len(), "a frame was cut");
        frames
    }

    fn encoded_len(tag: u16, length: usize) -> usize {
        frame(tag, length).len()
    }

    fn tags(bytes: &[u8]) -> Vec<u16> {
        frames(bytes).into_iter().map(|(tag, _)| tag).collect()
    }

    fn latest(sender: u32, tag: u16) -> Lane {
        Lane::Latest { sender, tag: Tag(tag) }
    }

    /// Everything that the socket takes from now on.
    fn drain(outbox: &mut Outbox) -> Vec<u8> {
        let mut out = vec![];
        while !outbox.is_empty() {
            out.extend_from_slice(outbox.unwritten());
            outbox.wrote(outbox.unwritten().len());
        }
        out
    }

    #[test]
    fn what_is_urgent_never_cuts_a_frame() {
        // A short and an extended frame wait; whatever was written of them, the ping comes in whole.
        let waiting: Vec<u8> = [frame(5, 10), frame(300, 1000), frame(7, 3)].concat();
        for written in 0..waiting.len() {
            let mut outbox = Outbox::new(LIMITS);
            for one in [frame(5, 10), frame(300, 1000), frame(7, 3)] {
                outbox.push(&one, Lane::Ordered);
            }
            outbox.wrote(written);
            outbox.push_urgent(&frame(3, 9));
            let stream = [&waiting[..written], outbox.unwritten()].concat();
            let expected = match written {
                0 => [3, 5, 300, 7],
                1..=12 => [5, 3, 300, 7],
                13..=1020 => [5, 300, 3, 7],
                _ => [5, 300, 7, 3],
            };
            assert_eq!(tags(&stream), expected, "{written} written");
        }
    }

    #[test]
    fn the_last_frame_drops_what_has_not_begun() {
        let mut outbox = Outbox::new(LIMITS);
        let waiting = [frame(5, 10), frame(6, 10), frame(7, 10)];
        for one in &waiting {
            outbox.push(one, Lane::Ordered);
        }
        outbox.wrote(14);
        outbox.push(&frame(8, 1), latest(1, 8));
        outbox.finish(&frame(241, 2));
        let stream = [&waiting.concat()[..14], &drain(&mut outbox)].concat();
        assert_eq!(tags(&stream), [5, 6, 241]);
        assert_eq!(outbox.committed, 2, "what was dropped has no place in the count");
    }

    #[test]
    fn limits_count_what_waits() {
        let mut outbox = Outbox::new(OutboxLimits { max_frames: 2, max_bytes: 100, ..LIMITS });
        outbox.push(&frame(5, 10), Lane::Ordered);
        outbox.push(&frame(5, 10), Lane::Ordered);
        assert!(!outbox.is_over());
        outbox.push(&frame(5, 0), Lane::Ordered);
        assert!(outbox.is_over(), "three frames");
        outbox.wrote(12);
        assert!(!outbox.is_over());
        outbox.push(&frame(5, 83), latest(1, 5));
        assert!(outbox.is_over(), "149 bytes aside");
        outbox.forget_sender(1);
        outbox.push_urgent(&frame(3, 90));
        assert!(outbox.is_over(), "106 bytes");
        drain(&mut outbox);
        assert!(outbox.is_empty() && !outbox.is_over());
    }

    #[test]
    fn while_the_socket_keeps_up_every_frame_is_sent() {
        let mut outbox = Outbox::new(LIMITS);
        for lane in [latest(1, 5), Lane::Unreliable, latest(1, 5), Lane::Ordered] {
            assert_eq!(outbox.push(&frame(5, 1), lane), Pushed::Appended);
        }
        assert_eq!(tags(&drain(&mut outbox)), [5; 4]);
    }

    #[test]
    fn behind_a_full_socket_the_newest_of_each_sender_and_tag_waits() {
        let mut outbox = Outbox::new(LIMITS);
        outbox.push(&payload(5, 0), latest(1, 5));
        outbox.push(&payload(5, 1), latest(1, 5));
        outbox.wrote(1);
        assert!(outbox.is_blocked());
        assert_eq!(outbox.push(&payload(5, 2), latest(1, 5)), Pushed::Aside);
        assert_eq!(outbox.push(&payload(5, 3), latest(1, 5)), Pushed::Replaced);
        assert_eq!(outbox.push(&payload(5, 20), latest(2, 5)), Pushed::Aside);
        assert_eq!(outbox.push(&payload(6, 30), latest(1, 6)), Pushed::Aside);
        assert_eq!(outbox.push(&payload(7, 9), Lane::Unreliable), Pushed::Dropped);
        assert_eq!(outbox.push(&payload(8, 9), Lane::Ordered), Pushed::Appended);
        let stream = [&payload(5, 0)[..1], &drain(&mut outbox)].concat();
        let expected = [(5, 0), (5, 1), (8, 9), (5, 3), (6, 30), (5, 20)];
        assert_eq!(frames(&stream), expected.map(|(tag, payload)| (tag, vec![payload])));
        assert_eq!(outbox.push(&payload(5, 4), latest(1, 5)), Pushed::Appended, "it keeps up again");
    }

    #[test]
    fn who_leaves_takes_its_waiting_frames_along() {
        let mut outbox = Outbox::new(LIMITS);
        outbox.push(&frame(5, 1), Lane::Ordered);
        outbox.wrote(0);
        for sender in 1..=3 {
            outbox.push(&payload(5, sender as u8), latest(sender, 5));
        }
        outbox.forget_sender(2);
        assert_eq!(frames(&drain(&mut outbox))[1..], [(5, vec![1]), (5, vec![3])]);
    }

    #[test]
    fn written_frames_are_kept_until_they_are_acknowledged() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
        for _ in 0..3 {
            outbox.push(&frame(5, 8), Lane::Ordered);
        }
        outbox.push_urgent(&frame(3, 9));
        let all = drain(&mut outbox);
        assert_eq!(outbox.bytes, all);
        outbox.acknowledge(1).expect("one was sent");
        assert_eq!(tags(&outbox.bytes[outbox.kept..]), [5, 5]);
        outbox.acknowledge(0).expect("an old one says nothing");
        assert_eq!(outbox.acknowledge(4), Err(AckError { acknowledged: 4, committed: 3 }));
        outbox.acknowledge(3).expect("three were sent");
        assert!(outbox.bytes.is_empty());
    }

    #[test]
    fn pings_are_not_kept_but_behind_what_is() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 1000, ..LIMITS });
        for _ in 0..3 {
            outbox.push_urgent(&frame(3, 20));
            drain(&mut outbox);
            assert!(outbox.bytes.is_empty(), "there is nothing to acknowledge");
        }
        for tag in [5, 3, 3] {
            outbox.push(&frame(tag, 20), Lane::Ordered);
        }
        drain(&mut outbox);
        assert_eq!(tags(&outbox.bytes), [5, 3, 3]);
        assert!(outbox.acknowledge(1).is_ok());
        assert!(outbox.bytes.is_empty());
    }

    #[test]
    fn a_buffer_that_was_large_is_given_back() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100_000, ..LIMITS });
        for _ in 0..100 {
            outbox.push(&frame(5, 200), Lane::Ordered);
        }
        drain(&mut outbox);
        outbox.shrink();
        assert!(outbox.bytes.capacity() >= 100 * 202, "all of it is kept");
        assert!(outbox.acknowledge(99).is_ok());
        outbox.shrink();
        assert!(outbox.bytes.capacity() <= 2 * 202, "one is kept");
        assert!(outbox.acknowledge(100).is_ok());
        outbox.shrink();
        assert!(outbox.bytes.capacity() <= IDLE_BYTES);
        outbox.push_urgent(&frame(3, 20));
        drain(&mut outbox);
        outbox.shrink();
        assert!(outbox.bytes.capacity() > 0, "what a Ping takes stays for the next");
    }

    #[test]
    fn on_the_next_socket_what_was_not_handled_is_written_again() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
        outbox.push(&frame(240, 3), Lane::Ordered);
        for tag in [5, 6, 7, 8] {
            outbox.push(&frame(tag, 8), Lane::Ordered);
        }
        outbox.wrote(29);
        outbox.push_urgent(&frame(3, 9));
        assert_eq!(outbox.rest_of_frame(), &frame(7, 8)[4..]);
        outbox.detach();
        assert_eq!(outbox.push(&frame(9, 8), latest(1, 9)), Pushed::Aside);
        assert_eq!(outbox.resume(3), Err(AckError { acknowledged: 3, committed: 2 }.into()));
        outbox.resume(1).expect("two were written");
        outbox.push_urgent(&frame(240, 3));
        assert_eq!(tags(&drain(&mut outbox)), [240, 6, 7, 8, 9]);
        outbox.acknowledge(3).expect("five were written");
        outbox.detach();
        let forgotten = Err(ResumeError::Forgotten { received: 2, forgotten: 3 });
        assert_eq!(outbox.resume(2), forgotten);
        outbox.resume(5).expect("five were written");
        assert_eq!(tags(&drain(&mut outbox)), []);
    }

    #[test]
    fn what_is_written_again_is_over_no_limit() {
        let limits = OutboxLimits { max_frames: 3, max_bytes: 40, max_kept_bytes: 100, ..LIMITS };
        let mut outbox = Outbox::new(limits);
        for _ in 0..8 {
            outbox.push(&frame(5, 8), Lane::Ordered);
            drain(&mut outbox);
        }
        outbox.detach();
        outbox.resume(0).expect("all are kept");
        for waiting in 1..=3 {
            outbox.push(&frame(5, 8), Lane::Ordered);
            assert!(!outbox.is_over(), "{waiting} wait");
        }
        outbox.wrote(75);
        assert!(!outbox.is_over());
        outbox.push(&frame(5, 8), Lane::Ordered);
        assert!(outbox.is_over(), "four wait");
        drain(&mut outbox);
        assert!(!outbox.is_over());
    }

    #[test]
    fn without_a_socket_what_waits_aside_is_not_forgotten() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
        outbox.detach();
        outbox.push(&frame(9, 1), latest(1, 9));
        assert_eq!(outbox.push(&frame(9, 2), latest(1, 9)), Pushed::Replaced);
        assert_eq!(outbox.push(&frame(7, 2), Lane::Unreliable), Pushed::Dropped);
        outbox.resume(0).expect("nothing was sent");
        assert_eq!(outbox.unwritten(), frame(9, 2));
    }

    #[test]
    fn what_was_not_written_cannot_be_acknowledged() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 100, ..LIMITS });
        outbox.push(&frame(5, 8), Lane::Ordered);
        outbox.push(&frame(5, 8), Lane::Ordered);
        outbox.wrote(15);
        assert_eq!(outbox.acknowledge(2), Err(AckError { acknowledged: 2, committed: 1 }));
    }

    #[test]
    fn beyond_the_limit_the_oldest_is_forgotten() {
        let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 35, ..LIMITS });
        for _ in 0..10 {
            outbox.push(&frame(5, 8), Lane::Ordered);
            drain(&mut outbox);
        }
        assert_eq!((outbox.boundary - outbox.kept, outbox.forgotten), (30, 7));
        outbox.acknowledge(3).expect("they were sent");
        assert_eq!(outbox.forgotten, 7);
    }

    #[test]
    fn a_blocked_socket_that_takes_nothing_for_ten_seconds_is_stuck() {
        let mut outbox = Outbox::new(LIMITS);
        let second = |n: u64| START.after_us(n * 1_000_000);
        outbox.push(&frame(5, 100), Lane::Ordered);
        assert!(!outbox.handle_timer(second(0)), "nothing was refused yet");
        outbox.wrote(1);
        assert!(!outbox.handle_timer(second(100)));
        assert!(!outbox.handle_timer(second(109)));
        outbox.wrote(1);
        assert!(!outbox.handle_timer(second(111)), "it took a byte");
        assert!(!outbox.handle_timer(second(120)));
        assert!(outbox.handle_timer(second(121)));
        drain(&mut outbox);
        assert!(!outbox.handle_timer(second(200)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Ordered(u8),
        Latest(u32, u8),
        Unreliable(u8),
        Ping,
        Write(usize),
        Acknowledge,
        /// The socket is gone, and so is what it did not deliver: a part of what it took.
        Cut(usize),
        Resume,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<u8>().prop_map(Step::Ordered),
            (1..4u32, any::<u8>()).prop_map(|(sender, value)| Step::Latest(sender, value)),
            any::<u8>().prop_map(Step::Unreliable),
            Just(Step::Ping),
            (0..40usize).prop_map(Step::Write),
            Just(Step::Acknowledge),
            (0..60usize).prop_map(Step::Cut),
            Just(Step::Resume),
        ]
    }

    proptest! {
        /// Messages that come together are what they are one by one, whether the socket keeps up or not.
        #[test]
        fn what_comes_at_once_is_what_comes_one_by_one(
            lanes in prop::collection::vec((0u8..3, 1u32..3, any::<u8>()), 0..20),
            written in prop::option::of(0usize..30),
        ) {
            let mut fan_out = FanOut::new();
            for (lane, sender, value) in lanes {
                let lane = [Lane::Ordered, latest(sender, 6), Lane::Unreliable][usize::from(lane)];
                let tag = if value < 200 { Tag(6) } else { Tag(300) };
                fan_out.push(Some(sender), 0, tag, &[value], lane);
            }
            for dialect in [Dialect::Native, Dialect::Classic] {
                let [mut at_once, mut one_by_one] = [Outbox::new(LIMITS), Outbox::new(LIMITS)];
                for outbox in [&mut at_once, &mut one_by_one] {
                    outbox.push(&frame(5, 20), Lane::Ordered);
                    if let Some(written) = written {
                        outbox.wrote(written.min(outbox.unwritten().len()));
                    }
                }
                let frames = fan_out.frames(dialect);
                let lost = at_once.push_all(frames);
                let (mut expected, mut rest) = (Lost::default(), frames.bytes());
                for lane in frames.lanes() {
                    let (frame, others) = rest.split_at(frame::encoded_head(rest).len);
                    rest = others;
                    match one_by_one.push(frame, lane) {
                        Pushed::Replaced => expected.replaced += 1,
                        Pushed::Dropped => expected.dropped += 1,
                        Pushed::Appended | Pushed::Aside => {}
                    }
                }
                prop_assert!(rest.is_empty(), "a lane for each");
                prop_assert_eq!(lost, expected);
                let sums = |outbox: &Outbox| (outbox.len(), outbox.frames(), outbox.committed);
                prop_assert_eq!(sums(&at_once), sums(&one_by_one));
                prop_assert_eq!(drain(&mut at_once), drain(&mut one_by_one));
                prop_assert_eq!(sums(&at_once), sums(&one_by_one));
            }
        }

        /// Whatever happens in whatever order: whole frames, ORDERED all, once and in order, LATEST newest last.
        #[test]
        fn the_stream_is_whole_and_in_order(steps in prop::collection::vec(step(), 1..200)) {
            let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: 1 << 20, ..LIMITS });
            let (mut streams, mut ordered, mut newest) = (vec![vec![]], vec![], BTreeMap::new());
            let mut order = 0u32;
            // What the other side has handled, over all sockets but the last.
            let (mut handled, mut before, mut attached) = (vec![], 0, true);
            // Bytes of the last stream that the other side has for certain: it acknowledged them.
            let mut certain = 0;
            for step in steps.into_iter().chain([Step::Cut(7), Step::Resume]) {
                let stream = streams.last_mut().expect("one at least");
                match step {
                    Step::Ordered(value) => {
                        ordered.push(vec![value]);
                        outbox.push(&payload(5, value), Lane::Ordered);
                    }
                    Step::Latest(sender, value) => {
                        order += 1;
                        newest.insert(sender, order);
                        let mut out = vec![];
                        let body = [&sender.to_be_bytes()[..], &order.to_be_bytes(), &[value]].concat();
                        frame::encode(Tag(6), &body, &mut out);
                        outbox.push(&out, latest(sender, 6));
                    }
                    Step::Unreliable(value) => {
                        outbox.push(&payload(7, value), Lane::Unreliable);
                    }
                    Step::Ping if attached => outbox.push_urgent(&frame(3, 9)),
                    Step::Write(count) if attached => {
                        let count = count.min(outbox.unwritten().len());
                        stream.extend_from_slice(&outbox.unwritten()[..count]);
                        outbox.wrote(count);
                    }
                    Step::Acknowledge if attached => {
                        let received = before + counted_whole(stream);
                        certain = stream.len();
                        prop_assert!(outbox.acknowledge(received).is_ok());
                        prop_assert!(outbox.acknowledge(received + 1).is_err());
                    }
                    Step::Cut(lost) if attached => {
                        stream.truncate(stream.len().saturating_sub(lost).max(certain));
                        certain = 0;
                        handled.extend(whole(stream));
                        before += counted_whole(stream);
                        outbox.detach();
                        attached = false;
                    }
                    Step::Resume if !attached => {
                        prop_assert!(outbox.resume(before).is_ok(), "all that is not acknowledged is kept");
                        outbox.push_urgent(&frame(240, 3));
                        streams.push(vec![]);
                        attached = true;
                    }
                    Step::Ping | Step::Write(_) | Step::Acknowledge | Step::Cut(_) | Step::Resume => {}
                }
            }
            handled.extend(frames(&drain(&mut outbox)));
            let of = |tag| handled.iter().filter(move |f| f.0 == tag).map(|f| f.1.clone());
            prop_assert_eq!(of(5).collect::<Vec<_>>(), ordered);
            let mut last = BTreeMap::new();
            for body in of(6) {
                let number = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().expect("four bytes"));
                let (sender, order) = (number(0), number(4));
                prop_assert!(last.insert(sender, order).is_none_or(|before| before < order), "older after newer");
            }
            prop_assert_eq!(last, newest);
        }

        /// Whatever is written and acknowledged, no more is kept than may be, and a resume from what is not is refused.
        #[test]
        fn no_more_is_kept_than_may_be(writes in prop::collection::vec((0..40usize, 0..60usize), 1..60), kept in 0..100usize) {
            let mut outbox = Outbox::new(OutboxLimits { max_kept_bytes: kept, ..LIMITS });
            let mut stream = vec![];
            for (length, count) in writes {
                outbox.push(&frame(5, length), Lane::Ordered);
                let count = count.min(outbox.unwritten().len());
                stream.extend_from_slice(&outbox.unwritten()[..count]);
                outbox.wrote(count);
                prop_assert!(outbox.boundary - outbox.kept <= kept);
            }
            let written = counted_whole(&stream);
            let forgotten = outbox.forgotten;
            for received in 0..=written + 1 {
                let expected = match received {
                    _ if received < forgotten => Err(ResumeError::Forgotten { received, forgotten }),
                    _ if received > written => Err(AckError { acknowledged: received, committed: written }.into()),
                    _ => Ok(()),
                };
                prop_assert_eq!(outbox.may_resume(received), expected);
            }
        }
    }

    /// The frames that a reader of this stream has whole.
    fn whole(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
        let mut decoder = frame::Decoder::default();
        let mut frames = vec![];
        while let Some(frame) = decoder.next(&mut bytes).expect("frames") {
            frames.push((frame.tag.0, frame.payload.to_vec()));
        }
        frames
    }

    /// The counted ones among them.
    fn counted_whole(bytes: &[u8]) -> u64 {
        whole(bytes).iter().filter(|(tag, _)| is_counted(Tag(*tag))).count() as u64
    }
}
