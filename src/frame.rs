//! Frames: a header and a payload, one unit on the wire.
//!
//! ```text
//! short     length u8 | tag u8 | payload                      payload <= 255 bytes, tag 1 to 255
//! extended  FF 00 | tag u16 | length u32 | payload            big-endian; whatever does not fit above
//! ```
//!
//! The length counts the payload alone. The short form is used whenever it fits; both are always accepted. Any
//! other header with tag 0 is malformed, an extended one with tag 0 too.

use crate::tag::Tag;

/// Largest payload by default, bytes.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 64 * 1024;
/// The most that a limit may be set to, bytes.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Bytes before a payload in the short form.
pub const SHORT_HEADER_BYTES: usize = 2;
/// Bytes before a payload in the extended form.
pub const EXTENDED_HEADER_BYTES: usize = 8;

/// One frame, its payload borrowed from where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub tag: Tag,
    /// The encoded message; empty means "all defaults".
    pub payload: &'a [u8],
}

/// Why bytes are not a frame that is taken here. Nothing after it can be understood: the connection must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A short header with tag 0 that does not open an extended one.
    #[error("header {length:02x} 00: tag 0 is not a message")]
    ShortTagZero {
        /// Its first byte.
        length: u8,
    },
    /// An extended header with tag 0.
    #[error("extended header with tag 0")]
    ExtendedTagZero,
    /// The header announces more than the limit; nothing of the payload was kept.
    #[error("frame of {length} bytes with tag {tag}, limit {limit}")]
    TooLarge {
        /// Its tag.
        tag: Tag,
        /// Bytes announced.
        length: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// Only one tag is taken now, and it is another.
    #[error("frame with tag {tag}, only tag {only} is taken now")]
    NotNow {
        /// Its tag.
        tag: Tag,
        /// What is taken.
        only: Tag,
    },
}

/// What a [`Decoder`] takes; judged by the header alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest payload in bytes.
    pub max_frame_bytes: usize,
    /// The only tag that is taken, before a login say.
    pub only: Option<Tag>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { max_frame_bytes: DEFAULT_MAX_FRAME_BYTES, only: None }
    }
}

#[derive(Clone, Copy)]
struct Header {
    tag: Tag,
    /// Where the payload starts.
    start: usize,
    /// Where it ends.
    end: usize,
}

/// Reads a header. `Err` holds how many bytes of it are missing at least.
fn header(input: &[u8], limits: Limits) -> Result<Result<Header, usize>, DecodeError> {
    let (tag, length, start) = match *input {
        [] => return Ok(Err(2)),
        [_] => return Ok(Err(1)),
        [0xff, 0, ref rest @ ..] => match *rest {
            [0, 0, ..] => return Err(DecodeError::ExtendedTagZero),
            [t1, t0, l3, l2, l1, l0, ..] => (
                Tag(u16::from_be_bytes([t1, t0])),
                u32::from_be_bytes([l3, l2, l1, l0]),
                EXTENDED_HEADER_BYTES,
            ),
            _ => return Ok(Err(EXTENDED_HEADER_BYTES - input.len())),
        },
        [length, 0, ..] => return Err(DecodeError::ShortTagZero { length }),
        [length, tag, ..] => (Tag(u16::from(tag)), u32::from(length), SHORT_HEADER_BYTES),
    };
    if let Some(only) = limits.only
        && tag != only
    {
        return Err(DecodeError::NotNow { tag, only });
    }
    match usize::try_from(length) {
        Ok(length) if length <= limits.max_frame_bytes => Ok(Ok(Header { tag, start, end: start + length })),
        _ => Err(DecodeError::TooLarge { tag, length: u64::from(length), limit: limits.max_frame_bytes }),
    }
}

/// Takes frames out of a byte stream, however it was cut.
///
/// Whole frames are borrowed from the input; only the part of a frame that the input ended in is kept, in memory
/// that grows with the bytes that really arrived and is given back when the frame is complete.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    partial: Vec<u8>,
    /// The partial frame was complete and has been handed out.
    taken: bool,
}

impl Decoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: Limits) -> Self {
        Decoder { limits, partial: Vec::new(), taken: false }
    }

    /// Changes what is taken, from the next frame on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// True between two frames: nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty() || self.taken
    }

    /// The next frame of `input`, which it shortens by what it used. `None`: all of it is used, more is needed.
    ///
    /// # Errors
    /// Bytes that cannot be a frame here. The stream is useless from then on.
    pub fn next<'a, 'input: 'a>(
        &'a mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Frame<'a>>, DecodeError> {
        if self.taken {
            self.partial = Vec::new();
            self.taken = false;
        }
        if self.partial.is_empty() {
            if let Ok(Header { tag, start, end }) = header(input, self.limits)?
                && let Some((frame, rest)) = input.split_at_checked(end)
            {
                *input = rest;
                return Ok(Some(Frame { tag, payload: &frame[start..] }));
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        loop {
            let known = header(&self.partial, self.limits)?;
            let missing = match known {
                Ok(header) => header.end - self.partial.len(),
                Err(missing) => missing,
            };
            if let (0, Ok(Header { tag, start, .. })) = (missing, known) {
                self.taken = true;
                return Ok(Some(Frame { tag, payload: &self.partial[start..] }));
            }
            if input.is_empty() {
                return Ok(None);
            }
            let (used, rest) = input.split_at(missing.min(input.len()));
            self.partial.extend_from_slice(used);
            *input = rest;
        }
    }
}

/// What a frame of our own says of itself.
pub(crate) struct EncodedHead {
    pub(crate) tag: Tag,
    /// Of header and payload together, bytes.
    pub(crate) len: usize,
}

/// Reads the head of the frame at the start of `encoded`, which this crate wrote.
pub(crate) fn encoded_head(encoded: &[u8]) -> EncodedHead {
    match header(encoded, Limits { max_frame_bytes: usize::MAX, only: None }) {
        Ok(Ok(header)) => EncodedHead { tag: header.tag, len: header.end },
        _ => unreachable!("only whole frames are written"),
    }
}

/// The payload of the frame at the start of `encoded`, which this crate wrote.
pub(crate) fn payload(encoded: &[u8]) -> &[u8] {
    match header(encoded, Limits { max_frame_bytes: usize::MAX, only: None }) {
        Ok(Ok(header)) => &encoded[header.start..header.end],
        _ => unreachable!("only whole frames are written"),
    }
}

/// How many bytes the whole frames at the start of `bytes` take: as many frames as fit into `most` bytes, but one at
/// least where there is one. 0: the first is not whole, or none.
pub fn whole_frames(bytes: &[u8], most: usize) -> usize {
    let mut taken = 0;
    while let Ok(Ok(Header { end, .. })) =
        header(&bytes[taken..], Limits { max_frame_bytes: MAX_FRAME_BYTES, only: None })
    {
        let fits = taken == 0 || taken + end <= most;
        if taken + end > bytes.len() || !fits {
            break;
        }
        taken += end;
    }
    taken
}

/// True where tag and length fit the short form.
pub fn is_short(tag: Tag, length: usize) -> bool {
    length <= 255 && tag.0 <= 255
}

/// Bytes of a frame with a payload of so many.
pub(crate) fn encoded_bytes(tag: Tag, length: usize) -> usize {
    length + if is_short(tag, length) { SHORT_HEADER_BYTES } else { EXTENDED_HEADER_BYTES }
}

/// Appends a header for a payload of `length` bytes.
///
/// # Panics
/// If `length` is over [`MAX_FRAME_BYTES`] or the tag is 0: no limit and no schema admits either.
pub fn encode_header(tag: Tag, length: usize, out: &mut Vec<u8>) {
    assert!(length <= MAX_FRAME_BYTES && tag.0 != 0, "frame of {length} bytes with tag {tag}");
    if is_short(tag, length) {
        out.extend_from_slice(&[length as u8, tag.0 as u8]);
    } else {
        out.extend_from_slice(&[0xff, 0]);
        out.extend_from_slice(&tag.0.to_be_bytes());
        out.extend_from_slice(&(length as u32).to_be_bytes());
    }
}

/// Appends a frame. Panics as [`encode_header`].
pub fn encode(tag: Tag, payload: &[u8], out: &mut Vec<u8>) {
    encode_header(tag, payload.len(), out);
    out.extend_from_slice(payload);
}

/// Appends the frame of a message. Panics as [`encode_header`].
pub fn encode_message<M: crate::Message>(message: &M, out: &mut Vec<u8>) {
    let length = message.encoded_len();
    out.reserve(encoded_bytes(M::TAG, length));
    encode_header(M::TAG, length, out);
    message.encode_raw(out);
}
