//! The frames that come by a connection: one read a turn.

use std::future::poll_fn;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tagwire::Frame;
use tagwire::frame::{Decoder, EXTENDED_HEADER_BYTES, Limits};
use tagwire::session::Fault;

use crate::link::Link;
use crate::transport::{Broken, MAX_MESSAGE_BYTES, Wire};

/// A connection takes at most so many frames in a turn, so that one that floods leaves time to the others.
const MAX_TURN_FRAMES: usize = 256;

/// After the end of a session so much is still read and forgotten: more than the buffers of two sockets hold.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

/// What a turn of reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<T> {
    /// All frames that may be taken now were.
    Read,
    /// The handler ended it.
    Broke(T),
    /// The peer sends no more.
    Eof,
}

/// Why reading cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Fault(#[from] Fault),
}

#[derive(Debug)]
pub(crate) struct Reader {
    link: Arc<Link>,
    decoder: Decoder,
    /// In a box, for hardly any turn ends before all that came is decoded.
    rest: Option<Box<Rest>>,
}

/// Bytes that were read but not decoded: a turn ended before them.
#[derive(Debug)]
struct Rest {
    bytes: Vec<u8>,
    /// Where in them it goes on.
    at: usize,
}

impl Reader {
    /// Reads from `link`, alone.
    pub(crate) fn new(link: Arc<Link>, limits: Limits) -> Self {
        let mut reader = Reader { link, decoder: Decoder::default(), rest: None };
        reader.set_limits(limits);
        reader
    }

    /// These bytes have come already.
    pub(crate) fn begin_with(&mut self, first: Vec<u8>) {
        self.rest = Some(Box::new(Rest { bytes: first, at: 0 }));
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
        let largest = limits.max_frame_bytes + EXTENDED_HEADER_BYTES;
        // Where one frame alone is waited for, none comes with it.
        let most = if limits.only.is_some() { largest } else { largest.max(MAX_MESSAGE_BYTES) };
        self.wire().set_max_message_bytes(most);
    }

    /// Where messages have a limit of their own, they may be so large in either direction.
    pub(crate) fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.wire().set_max_message_bytes(max_message_bytes);
    }

    /// What is below the frames may add so many bytes to them in a second from now on; `None`: no limit.
    pub(crate) fn set_max_overhead(&mut self, per_second: Option<u64>) {
        self.wire().set_max_overhead(per_second);
    }

    /// The bytes of the connection.
    pub(crate) fn wire(&self) -> &Wire {
        self.link.wire()
    }

    /// True where the next turn needs no read.
    pub(crate) fn has_rest(&self) -> bool {
        self.rest.is_some()
    }

    /// One turn: what was left over or one read, and `handle` for every whole frame of it.
    pub(crate) fn poll_turn<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut handle: impl FnMut(Frame<'_>) -> Result<ControlFlow<T>, Fault>,
    ) -> Poll<Result<Turn<T>, ReadError>> {
        let Reader { link, decoder, rest } = self;
        if let Some(Rest { bytes, at }) = rest.as_deref_mut() {
            let mut input = &bytes[*at..];
            let taken = take(decoder, &mut input, &mut handle);
            *at = bytes.len() - input.len();
            if input.is_empty() {
                *rest = None;
            }
            return Poll::Ready(Ok(taken?.map_or(Turn::Read, Turn::Broke)));
        }
        let mut taken = Ok(None);
        let read = ready!(link.wire().poll_read(cx, |bytes| {
            let mut input = bytes;
            taken = take(decoder, &mut input, &mut handle);
            if !input.is_empty() {
                *rest = Some(Box::new(Rest { bytes: input.to_vec(), at: 0 }));
            }
        }))?;
        Poll::Ready(Ok(match taken? {
            Some(broke) => Turn::Broke(broke),
            None if read == 0 => Turn::Eof,
            None => Turn::Read,
        }))
    }

    /// Reads and forgets, to the peer's end or until it has sent more than it can have had on its way.
    pub(crate) async fn discard(&mut self) {
        let mut discarded = 0;
        while discarded <= MAX_DISCARDED_BYTES {
            match poll_fn(|cx| self.wire().poll_discard(cx)).await {
                Ok(0) | Err(_) => return,
                Ok(read) => discarded += read,
            }
        }
    }
}

fn take<T>(
    decoder: &mut Decoder,
    input: &mut &[u8],
    handle: &mut impl FnMut(Frame<'_>) -> Result<ControlFlow<T>, Fault>,
) -> Result<Option<T>, Fault> {
    for _ in 0..MAX_TURN_FRAMES {
        let Some(frame) = decoder.next(input)? else { break };
        if let ControlFlow::Break(broke) = handle(frame)? {
            return Ok(Some(broke));
        }
    }
    Ok(None)
}
