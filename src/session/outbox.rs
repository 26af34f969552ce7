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
    pub max_frames: u32,
    /// Bytes appended and not written; as many again may wait aside.
    pub max_bytes: u32,
    /// Bytes written and not acknowledged that are kept to be sent again. 0: none.
    pub max_kept_bytes: u32,
    /// So long may a socket that refused bytes take none, microseconds; at most 71 minutes.
    pub max_stuck_us: u32,
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
    frames: u32,
    /// The socket refused bytes, and has not taken all since; or there is none.
    blocked: bool,
    /// Counted frames before `kept`.
    forgotten: u64,
    /// Counted frames in all.
    committed: u64,
    /// In a box, for the sockets of most sessions keep up.
    behind: Option<Box<Behind>>,
}

/// What there is to know of an outbox whose socket does not keep up. Gone when all is written.
#[derive(Debug, Default)]
struct Behind {
    /// Of what is to be written: bytes and frames that an earlier socket took already. No limit counts them.
    again: (usize, u32),
    aside: BTreeMap<(u32, Tag), Vec<u8>>,
    aside_bytes: usize,
    /// When the timer first saw that the socket takes nothing, microseconds on the monotonic clock.
    stuck_since_us: Option<u64>,
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
            self.frames += count as u32;
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
        self.frames = u32::from(at > self.boundary);
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
        if let Some(Behind { again: (bytes, frames), stuck_since_us, .. }) = self.behind.as_deref_mut() {
            *bytes = bytes.saturating_sub(count);
            *frames = frames.saturating_sub(waited - self.frames);
            if count > 0 {
                *stuck_since_us = None;
            }
        }
        let max_kept_bytes = self.limits.max_kept_bytes as usize;
        let is_over = self.boundary - self.kept > max_kept_bytes;
        while self.boundary - self.kept > max_kept_bytes {
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
            behind.stuck_since_us = None;
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
            (behind.again, behind.stuck_since_us) = (again, None);
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
        self.frames as usize + self.waits_aside()
    }

    /// True where the socket has refused bytes and not taken all since.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// True where more waits than the limits allow.
    pub fn is_over(&self) -> bool {
        let (again_bytes, again_frames) = self.behind.as_ref().map_or((0, 0), |behind| behind.again);
        self.frames - again_frames > self.limits.max_frames
            || self.bytes.len() - self.written - again_bytes > self.limits.max_bytes as usize
            || self.aside_bytes() > self.limits.max_bytes as usize
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
        let since_us = *self.behind.get_or_insert_default().stuck_since_us.get_or_insert(now.monotonic_us);
        now.monotonic_us.saturating_sub(since_us) >= u64::from(self.limits.max_stuck_us)
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
mod tests;
