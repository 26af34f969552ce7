//! The outbox: encoded frames between a session and its socket.
//!
//! ```text
//! bytes:   [ ....... frame | frame | fra|me | frame ]
//!                                    ^written      ^appended
//!                            ^boundary: start of the first frame that is not wholly written
//! ```

use crate::frame;

/// Bounds of what waits in an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Frames.
    pub max_frames: usize,
    /// Bytes.
    pub max_bytes: usize,
}

impl Default for OutboxLimits {
    fn default() -> Self {
        OutboxLimits { max_frames: 1024, max_bytes: 1024 * 1024 }
    }
}

/// What is left of the buffer of an idle session, bytes.
const IDLE_BYTES: usize = 256;

/// Frames that wait to be written, as one run of bytes.
#[derive(Debug, Default)]
pub struct Outbox {
    limits: OutboxLimits,
    bytes: Vec<u8>,
    written: usize,
    boundary: usize,
    frames: usize,
}

impl Outbox {
    /// An empty one.
    pub fn new(limits: OutboxLimits) -> Self {
        Outbox { limits, ..Self::default() }
    }

    /// Appends one encoded frame.
    pub fn push(&mut self, frame: &[u8]) {
        debug_assert_eq!(frame::encoded_len(frame), frame.len(), "one whole frame");
        self.bytes.extend_from_slice(frame);
        self.frames += 1;
    }

    /// Puts one encoded frame before everything that has not begun to be written: what must not wait behind a
    /// backlog.
    pub fn push_urgent(&mut self, frame: &[u8]) {
        let at = self.next_boundary();
        self.bytes.splice(at..at, frame.iter().copied());
        self.frames += 1;
    }

    /// Makes `frame` the last one: what has not begun to be written is dropped.
    pub fn finish(&mut self, frame: &[u8]) {
        let at = self.next_boundary();
        self.bytes.truncate(at);
        self.frames = usize::from(at > self.boundary);
        self.push(frame);
    }

    /// Where a frame may be put in without cutting one that is on its way.
    fn next_boundary(&self) -> usize {
        match self.bytes.get(self.boundary..) {
            Some(rest) if self.boundary < self.written => self.boundary + frame::encoded_len(rest),
            _ => self.boundary,
        }
    }

    /// What the socket should take next.
    pub fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// The socket took `count` bytes of [`Outbox::unwritten`].
    ///
    /// # Panics
    /// If there were not so many.
    pub fn wrote(&mut self, count: usize) {
        self.written += count;
        assert!(self.written <= self.bytes.len(), "more written than there is");
        if self.written == self.bytes.len() {
            self.bytes.clear();
            (self.written, self.boundary, self.frames) = (0, 0, 0);
            return;
        }
        loop {
            let end = self.boundary + frame::encoded_len(&self.bytes[self.boundary..]);
            if end > self.written {
                break;
            }
            self.boundary = end;
            self.frames -= 1;
        }
        // Moved only when that halves the buffer, so that every byte is moved once on average.
        if self.boundary > self.bytes.len() / 2 {
            self.bytes.drain(..self.boundary);
            self.written -= self.boundary;
            self.boundary = 0;
        }
    }

    /// Drops all that waits: the socket takes nothing any more.
    pub fn clear(&mut self) {
        *self = Outbox::new(self.limits);
    }

    /// True where nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that wait.
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// True where more waits than the limits allow.
    pub fn is_over(&self) -> bool {
        self.frames > self.limits.max_frames || self.len() > self.limits.max_bytes
    }

    /// Gives memory back where nothing waits; to be called now and then, not per message.
    pub fn shrink(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > IDLE_BYTES {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Tag;

    fn frame(tag: u16, length: usize) -> Vec<u8> {
        let mut out = vec![];
        frame::encode(Tag(tag), &vec![tag as u8; length], &mut out);
        out
    }

    fn tags(mut bytes: &[u8]) -> Vec<u16> {
        let mut decoder = frame::Decoder::default();
        let mut tags = vec![];
        while let Some(frame) = decoder.next(&mut bytes).expect("whole frames") {
            tags.push(frame.tag.0);
        }
        assert!(decoder.is_empty(), "a frame was cut");
        tags
    }

    #[test]
    fn what_is_urgent_never_cuts_a_frame() {
        // A short and an extended frame wait; whatever was written of them, the ping comes in whole.
        let waiting: Vec<u8> = [frame(5, 10), frame(300, 1000), frame(7, 3)].concat();
        for written in 0..waiting.len() {
            let mut outbox = Outbox::default();
            for one in [frame(5, 10), frame(300, 1000), frame(7, 3)] {
                outbox.push(&one);
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
        let mut outbox = Outbox::default();
        let waiting = [frame(5, 10), frame(6, 10), frame(7, 10)];
        waiting.iter().for_each(|one| outbox.push(one));
        outbox.wrote(14);
        outbox.finish(&frame(241, 2));
        let stream = [&waiting.concat()[..14], outbox.unwritten()].concat();
        assert_eq!(tags(&stream), [5, 6, 241]);
    }

    #[test]
    fn limits_count_what_waits() {
        let mut outbox = Outbox::new(OutboxLimits { max_frames: 2, max_bytes: 30 });
        outbox.push(&frame(5, 10));
        outbox.push(&frame(5, 10));
        assert!(!outbox.is_over());
        outbox.push(&frame(5, 0));
        assert!(outbox.is_over(), "three frames");
        outbox.wrote(12);
        assert!(!outbox.is_over());
        outbox.push_urgent(&frame(3, 20));
        assert!(outbox.is_over(), "36 bytes");
        let rest = outbox.len();
        outbox.wrote(rest);
        assert!(outbox.is_empty() && !outbox.is_over());
    }
}
