//! Dialects: which messages a session is sent, and in which form.

use crate::frame;
use crate::pb::tagwire::v1;
use crate::tag::Tag;
use crate::{Message, frame::encode_message};

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

    /// Whether a message of the game with a payload of so many bytes can be said in it.
    pub fn fits(self, tag: Tag, payload_bytes: usize) -> bool {
        self == Dialect::Native || frame::is_short(tag, payload_bytes) && tag.0 < v1::Welcome::TAG.0
    }

    /// Appends a message of the game that fits, of a player or of the server. The payload comes last.
    pub(super) fn encode_game(self, sender: Option<u32>, tag: Tag, payload: &[u8], out: &mut Vec<u8>) {
        match (self, sender) {
            (Dialect::Native, Some(player)) => encode_relayed(player, tag, payload, out),
            _ => frame::encode(tag, payload, out),
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
