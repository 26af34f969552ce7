//! The frames that come by a connection: one read a turn.

use std::ops::ControlFlow;
use std::task::{Context, Poll, ready};

use tagwire::Frame;
use tagwire::frame::{Decoder, EXTENDED_HEADER_BYTES, Limits};
use tagwire::session::Fault;

use crate::transport::{Broken, Inlet, MAX_MESSAGE_BYTES, Outlet};

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
    inlet: Inlet,
    decoder: Decoder,
    /// Bytes that were read but not decoded: a turn ended before them.
    rest: Vec<u8>,
    /// Where in `rest` they begin.
    at: usize,
    discarded: usize,
}

impl Reader {
    /// Reads from `inlet`.
    pub(crate) fn new(inlet: Inlet, limits: Limits) -> Self {
        let mut reader = Reader { inlet, decoder: Decoder::default(), rest: Vec::new(), at: 0, discarded: 0 };
        reader.set_limits(limits);
        reader
    }

    /// These bytes have come already.
    pub(crate) fn begin_with(&mut self, first: Vec<u8>) {
        (self.rest, self.at) = (first, 0);
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
        let largest = limits.max_frame_bytes + EXTENDED_HEADER_BYTES;
        // Where one frame alone is waited for, none comes with it.
        let most = if limits.only.is_some() { largest } else { largest.max(MAX_MESSAGE_BYTES) };
        self.inlet.set_max_message_bytes(most);
    }

    /// Where messages have a limit of their own, they may be so large in either direction.
    pub(crate) fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.inlet.set_max_message_bytes(max_message_bytes);
    }

    /// What is below the frames may add so many bytes to them in a second from now on; `None`: no limit.
    pub(crate) fn set_max_overhead(&mut self, per_second: Option<u64>) {
        self.inlet.set_max_overhead(per_second);
    }

    /// The writing side of the connection.
    pub(crate) fn outlet(&self) -> &Outlet {
        self.inlet.outlet()
    }

    /// True where the next turn needs no read.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// One turn: what was left over or one read, and `handle` for every whole frame of it.
    pub(crate) fn poll_turn<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut handle: impl FnMut(Frame<'_>) -> Result<ControlFlow<T>, Fault>,
    ) -> Poll<Result<Turn<T>, ReadError>> {
        let Reader { inlet, decoder, rest, at, .. } = self;
        if !rest.is_empty() {
            let mut input = &rest[*at..];
            let taken = take(decoder, &mut input, &mut handle);
            *at = rest.len() - input.len();
            if input.is_empty() {
                (*rest, *at) = (Vec::new(), 0);
            }
            return Poll::Ready(Ok(taken?.map_or(Turn::Read, Turn::Broke)));
        }
        let mut taken = Ok(None);
        let read = ready!(inlet.poll_read(cx, |bytes| {
            let mut input = bytes;
            taken = take(decoder, &mut input, &mut handle);
            *rest = input.to_vec();
        }))?;
        Poll::Ready(Ok(match taken? {
            Some(broke) => Turn::Broke(broke),
            None if read == 0 => Turn::Eof,
            None => Turn::Read,
        }))
    }

    /// Reads and forgets; ready at the peer's end, or when it has sent more than it can have had on its way.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(self.inlet.poll_discard(cx)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(read) => self.discarded += read,
            }
            if self.discarded > MAX_DISCARDED_BYTES {
                return Poll::Ready(());
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
