//! Dialects: which messages a session is sent, and in which form. A fan-out encodes once per dialect present.

use bytes::Bytes;

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
    /// Appends a message of the stack; false where the dialect does not have it. A classic Ping is made by
    /// [`crate::session::ping::Pinger`] with its first field alone.
    pub fn encode_stack<M: Message>(self, message: &M, out: &mut Vec<u8>) -> bool {
        let has = self == Dialect::Native || M::TAG == v1::Ping::TAG;
        if has {
            encode_message(message, out);
        }
        has
    }

    /// Appends a message of the game, of a player or of the server; nothing where it does not fit the dialect.
    fn encode_game(self, sender: Option<u32>, tag: Tag, payload: &[u8], out: &mut Vec<u8>) {
        match (self, sender) {
            (Dialect::Native, Some(player)) => {
                let body = Bytes::copy_from_slice(payload);
                encode_message(&v1::Relayed { player, tag: u32::from(tag.0), body }, out);
            }
            (Dialect::Native, None) => frame::encode(tag, payload, out),
            (Dialect::Classic, _) => {
                if frame::is_short(tag, payload.len()) && tag.0 < v1::Welcome::TAG.0 {
                    frame::encode(tag, payload, out);
                }
            }
        }
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
            let mut frame = Vec::with_capacity(payload.len() + 24);
            dialect.encode_game(sender, tag, payload, &mut frame);
            frame
        });
        (!encoded.is_empty()).then_some(encoded.as_slice())
    }
}
