//! Dialects: which messages a session is sent, and in which form. A fan-out encodes once per dialect present.

use std::cell::Cell;

use crate::frame;
use crate::pb::tagwire::v1;
use crate::tag::Tag;
use crate::{Message, frame::encode_message};

/// A larger buffer is not kept for the next message.
const MAX_SPARE_BYTES: usize = 4096;

thread_local! {
    /// The buffer of the last fan-out: most messages are small, and a new buffer costs as much as all else about them.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a session speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// This protocol, all of it.
    Native,
    /// The reference's wire: Ping and the schema's messages bare, short form only.
    Classic,
}

impl Dialect {
    /// Whether the dialect has that message of the stack. A classic Ping is made by [`crate::session::ping::Pinger`] with
    /// its first field alone.
    pub fn has_stack<M: Message>(self) -> bool {
        self == Dialect::Native || M::TAG == v1::Ping::TAG
    }

    /// Appends a message of the stack; false where the dialect does not have it.
    pub fn encode_stack<M: Message>(self, message: &M, out: &mut Vec<u8>) -> bool {
        let has = self.has_stack::<M>();
        if has {
            encode_message(message, out);
        }
        has
    }

    /// Appends a message of the game, of a player or of the server; nothing where it does not fit the dialect.
    fn encode_game(self, sender: Option<u32>, tag: Tag, payload: &[u8], out: &mut Vec<u8>) {
        match (self, sender) {
            (Dialect::Native, Some(player)) => encode_relayed(player, tag, payload, out),
            (Dialect::Native, None) => frame::encode(tag, payload, out),
            (Dialect::Classic, _) => {
                if frame::is_short(tag, payload.len()) && tag.0 < v1::Welcome::TAG.0 {
                    frame::encode(tag, payload, out);
                }
            }
        }
    }
}

/// Appends a [`v1::Relayed`], from a payload that stays where it is.
fn encode_relayed(player: u32, tag: Tag, body: &[u8], out: &mut Vec<u8>) {
    // The fields 1 and 2, varints, and 3, bytes. Players and tags are never 0; what is empty is left out, as in all of proto3.
    let mut head = Head::default();
    head.byte(1 << 3);
    head.varint(player);
    head.byte(2 << 3);
    head.varint(u32::from(tag.0));
    if !body.is_empty() {
        head.byte(3 << 3 | 2);
        head.varint(body.len() as u32);
    }
    frame::encode_header(v1::Relayed::TAG, head.len + body.len(), out);
    out.extend_from_slice(&head.bytes[..head.len]);
    out.extend_from_slice(body);
}

/// The small fields of a message.
#[derive(Default)]
struct Head {
    bytes: [u8; 20],
    len: usize,
}

impl Head {
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8);
    }
}

/// One message on its way to many: encoded when the first of a dialect asks, then shared.
#[derive(Debug)]
pub struct FanOut<'a> {
    /// `None`: the server.
    sender: Option<u32>,
    tag: Tag,
    payload: &'a [u8],
    native: Option<Vec<u8>>,
    classic: Option<Vec<u8>>,
}

impl<'a> FanOut<'a> {
    /// What `player` sent.
    pub fn relayed(player: u32, tag: Tag, payload: &'a [u8]) -> Self {
        FanOut { sender: Some(player), tag, payload, native: None, classic: None }
    }

    /// What the server sends.
    pub fn sent(tag: Tag, payload: &'a [u8]) -> Self {
        FanOut { sender: None, tag, payload, native: None, classic: None }
    }

    /// The frame for sessions of that dialect; `None` where it cannot be said in it.
    pub fn frame(&mut self, dialect: Dialect) -> Option<&[u8]> {
        let FanOut { sender, tag, payload, .. } = *self;
        let encoded = match dialect {
            Dialect::Native => &mut self.native,
            Dialect::Classic => &mut self.classic,
        };
        let encoded = encoded.get_or_insert_with(|| {
            let mut frame = SPARE.take();
            frame.reserve(payload.len() + 24);
            dialect.encode_game(sender, tag, payload, &mut frame);
            frame
        });
        (!encoded.is_empty()).then_some(encoded.as_slice())
    }
}

impl Drop for FanOut<'_> {
    fn drop(&mut self) {
        if let Some(mut spare) = self.native.take().or_else(|| self.classic.take())
            && spare.capacity() <= MAX_SPARE_BYTES
        {
            spare.clear();
            SPARE.set(spare);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_relayed_is_the_message_of_that_name(
            player in 1u32..,
            tag in 1u16..,
            body in prop::collection::vec(any::<u8>(), 0..600),
        ) {
            let mut expected = vec![];
            let message = v1::Relayed { player, tag: tag.into(), body: Bytes::copy_from_slice(&body) };
            encode_message(&message, &mut expected);
            let mut fan_out = FanOut::relayed(player, Tag(tag), &body);
            prop_assert_eq!(fan_out.frame(Dialect::Native), Some(expected.as_slice()));
        }
    }

    #[test]
    fn a_buffer_that_was_used_before_begins_empty() {
        let mut first = FanOut::sent(Tag(7), b"first");
        assert_eq!(first.frame(Dialect::Native), Some(b"\x05\x07first".as_slice()));
        assert_eq!(first.frame(Dialect::Classic), Some(b"\x05\x07first".as_slice()));
        drop(first);
        assert_eq!(FanOut::sent(Tag(8), b"2").frame(Dialect::Classic), Some(b"\x01\x082".as_slice()));
        let large = vec![1; 300];
        assert_eq!(FanOut::sent(Tag(8), &large).frame(Dialect::Classic), None, "too long for the short form");
        let huge = vec![1; 2 * MAX_SPARE_BYTES];
        assert!(FanOut::sent(Tag(8), &huge).frame(Dialect::Native).is_some());
        assert!(SPARE.take().capacity() <= MAX_SPARE_BYTES);
    }
}
