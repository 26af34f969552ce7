//! The plainest wire, which the servers that were written for the comparison speak: tagwire's frames, and nothing else.
//!
//! ```text
//! length u8 | tag u8 | payload                 up to 255 bytes
//! FF 00 | tag u16 | length u32 | payload       big-endian; larger ones
//!
//! tag 1   client: the room, text; at once, and first of all. Server: the same frame back: it is in
//! tag 2   to all of the room, the sender too (bench.v1.Echo)
//! tag 4   to the others of the room (bench.v1.Cast); so are 5, 6 and 7 (Step, CheckedStep, Latest)
//! tag 3   server: a ping, 8 bytes; client: the same frame back
//! tag 8   a request; server: the same frame back
//! ```

use anyhow::bail;

use super::{Dialect, Heard, Say, Seat};

/// Enters a room, and is in it.
pub const ENTER: u8 = 1;
/// A ping and its answer.
pub const PING: u8 = 3;

/// The tag of a message, here and in the schema.
pub const fn tag(say: Say) -> u8 {
    match say {
        Say::All => 2,
        Say::Others => 4,
        Say::Step => 5,
        Say::CheckedStep => 6,
        Say::Latest => 7,
        Say::Request => 8,
    }
}

/// Appends a frame.
pub fn frame(tag: u8, payload: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u8::try_from(payload.len()) {
        out.extend_from_slice(&[length, tag]);
    } else {
        out.extend_from_slice(&[0xff, 0, 0, tag]);
        out.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    }
    out.extend_from_slice(payload);
}

/// The first frame of `input`: tag, payload, and the bytes of both with the header. `None`: it is not whole.
pub fn next(input: &[u8]) -> Option<(u16, &[u8], usize)> {
    let (tag, start, length) = match *input {
        [0xff, 0, high, low, a, b, c, d, ..] => {
            (u16::from_be_bytes([high, low]), 8, u32::from_be_bytes([a, b, c, d]) as usize)
        }
        [0xff, 0, ..] => return None,
        [length, tag, ..] => (u16::from(tag), 2, usize::from(length)),
        _ => return None,
    };
    Some((tag, input.get(start..start + length)?, start + length))
}

/// A client of such a server.
#[derive(Debug)]
pub struct Plain {
    room: String,
}

impl Plain {
    /// One that has not begun.
    pub fn new(seat: &Seat) -> Self {
        Plain { room: seat.room.clone() }
    }
}

impl Dialect for Plain {
    fn open(&mut self, out: &mut Vec<u8>) {
        frame(ENTER, self.room.as_bytes(), out);
    }

    fn say(&mut self, what: Say, body: &[u8], out: &mut Vec<u8>) {
        frame(tag(what), body, out);
    }

    fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        heard: &mut dyn FnMut(Heard<'_>),
    ) -> anyhow::Result<usize> {
        let mut at = 0;
        while let Some((tag, payload, bytes)) = next(&input[at..]) {
            match u8::try_from(tag) {
                Ok(ENTER) => heard(Heard::Ready),
                Ok(PING) => {
                    frame(PING, payload, out);
                    heard(Heard::Ping);
                }
                Ok(2 | 4..=8) => heard(Heard::Body(payload)),
                _ => bail!("the server sent a frame with the tag {tag}"),
            }
            at += bytes;
        }
        Ok(at)
    }
}
