//! Messages on their way to many: each form of them is encoded once, then shared.

use std::cell::{Cell, OnceCell};
use std::mem;

use crate::session::Dialect;
use crate::session::outbox::Lane;
use crate::tag::Tag;

/// A larger buffer is not kept for what comes next.
const MAX_SPARE_BYTES: usize = 32 * 1024;
/// The same for the messages of one.
const MAX_SPARE_MESSAGES: usize = 1024;

thread_local! {
    /// The buffers of the last fan-out: most messages are small, and new buffers cost as much as all else about them.
    static SPARE: Cell<(Vec<Outgoing>, Vec<u8>)> = const { Cell::new((Vec::new(), Vec::new())) };
}

/// A message of the game that goes out.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    /// Its place in the schema.
    pub message: usize,
    /// Its tag.
    pub tag: Tag,
    /// Bytes of its payload.
    pub payload_bytes: usize,
    /// What may happen to it on its way.
    pub lane: Lane,
    /// Where its native form ends.
    end: usize,
}

/// Messages for the same receivers, one behind the other. Most receivers are handed all of them with one copy.
#[derive(Debug)]
pub struct FanOut {
    messages: Vec<Outgoing>,
    native: Vec<u8>,
    /// Made when the first who speaks it is there.
    classic: OnceCell<Vec<u8>>,
}

impl Default for FanOut {
    fn default() -> Self {
        FanOut::new()
    }
}

impl FanOut {
    /// An empty one.
    pub fn new() -> Self {
        let (messages, native) = SPARE.take();
        FanOut { messages, native, classic: OnceCell::new() }
    }

    /// Adds a message. `sender`: the player; `None`: the server. `message`: its place in the schema.
    pub fn push(&mut self, sender: Option<u32>, message: usize, tag: Tag, payload: &[u8], lane: Lane) {
        Dialect::Native.encode_game(sender, tag, payload, &mut self.native);
        let end = self.native.len();
        self.messages.push(Outgoing { message, tag, payload_bytes: payload.len(), lane, end });
        self.classic.take();
    }

    /// What was added.
    pub fn messages(&self) -> &[Outgoing] {
        &self.messages
    }

    /// True where nothing was added.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Bytes of the native form.
    pub fn bytes(&self) -> usize {
        self.native.len()
    }

    /// Forgets all but the first `count` messages.
    pub fn truncate(&mut self, count: usize) {
        self.messages.truncate(count);
        self.native.truncate(self.messages.last().map_or(0, |last| last.end));
        self.classic.take();
    }

    /// Those of the messages that can be said in that dialect.
    pub fn frames(&self, dialect: Dialect) -> Frames<'_> {
        let FanOut { messages, native, classic } = self;
        let bytes = match dialect {
            Dialect::Native => native,
            Dialect::Classic => classic.get_or_init(|| {
                let mut classic = Vec::with_capacity(native.len());
                for &Outgoing { tag, payload_bytes, end, .. } in messages {
                    if dialect.fits(tag, payload_bytes) {
                        dialect.encode_game(None, tag, &native[end - payload_bytes..end], &mut classic);
                    }
                }
                classic
            }),
        };
        Frames { dialect, messages, bytes }
    }
}

impl Drop for FanOut {
    fn drop(&mut self) {
        let (mut messages, mut native) = (mem::take(&mut self.messages), mem::take(&mut self.native));
        if native.capacity() <= MAX_SPARE_BYTES && messages.capacity() <= MAX_SPARE_MESSAGES {
            messages.clear();
            native.clear();
            SPARE.set((messages, native));
        }
    }
}

/// Whole frames, one behind the other, each a message of the game.
#[derive(Debug, Clone, Copy)]
pub struct Frames<'a> {
    dialect: Dialect,
    /// Those that do not fit the dialect among them.
    messages: &'a [Outgoing],
    bytes: &'a [u8],
}

impl<'a> Frames<'a> {
    /// All of them.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// How many they are.
    pub fn count(self) -> usize {
        match self.dialect {
            Dialect::Native => self.messages.len(),
            Dialect::Classic => self.lanes().count(),
        }
    }

    /// What may happen to each.
    pub fn lanes(self) -> impl Iterator<Item = Lane> + use<'a> {
        let fitting = self.messages.iter().filter(move |m| self.dialect.fits(m.tag, m.payload_bytes));
        fitting.map(|message| message.lane)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::frame::encode_message;
    use crate::pb::tagwire::v1;

    proptest! {
        #[test]
        fn what_is_relayed_is_the_message_of_that_name(
            messages in prop::collection::vec(
                (1u32.., 1u16.., prop::collection::vec(any::<u8>(), 0..600)),
                0..5,
            ),
            kept in 0usize..6,
        ) {
            let (mut native, mut classic, mut fitting) = (vec![], vec![], 0);
            let mut fan_out = FanOut::new();
            for (at, (player, tag, body)) in messages.iter().enumerate() {
                fan_out.push(Some(*player), at, Tag(*tag), body, Lane::Ordered);
                if at >= kept {
                    continue;
                }
                let body_bytes = Bytes::copy_from_slice(body);
                let message = v1::Relayed { player: *player, tag: (*tag).into(), body: body_bytes };
                encode_message(&message, &mut native);
                if *tag < 240 && body.len() < 256 {
                    crate::frame::encode(Tag(*tag), body, &mut classic);
                    fitting += 1;
                }
            }
            // What was asked for before something changes is made anew.
            let _ = fan_out.frames(Dialect::Classic);
            fan_out.truncate(kept);
            prop_assert_eq!(fan_out.messages().len(), kept.min(messages.len()));
            prop_assert_eq!(fan_out.frames(Dialect::Native).bytes(), native);
            prop_assert_eq!(fan_out.frames(Dialect::Native).count(), kept.min(messages.len()));
            prop_assert_eq!(fan_out.frames(Dialect::Classic).bytes(), classic);
            prop_assert_eq!(fan_out.frames(Dialect::Classic).count(), fitting);
        }
    }

    fn alone(tag: u16, payload: &[u8]) -> FanOut {
        let mut fan_out = FanOut::new();
        fan_out.push(None, 0, Tag(tag), payload, Lane::Ordered);
        fan_out
    }

    #[test]
    fn a_buffer_that_was_used_before_begins_empty() {
        let first = alone(7, b"first");
        assert_eq!(first.frames(Dialect::Native).bytes(), b"\x05\x07first");
        assert_eq!(first.frames(Dialect::Classic).bytes(), b"\x05\x07first");
        drop(first);
        let second = alone(8, b"2");
        assert_eq!(second.frames(Dialect::Native).bytes(), b"\x01\x082");
        assert_eq!(second.messages().len(), 1);
        drop(second);
        let huge = vec![1; 2 * MAX_SPARE_BYTES];
        assert!(alone(8, &huge).frames(Dialect::Classic).bytes().is_empty(), "too long for the short form");
        assert!(SPARE.take().1.capacity() <= MAX_SPARE_BYTES);
    }
}
