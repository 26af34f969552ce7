//! The reading half of a connection: one read a turn into a buffer that all connections of a thread share.

use std::cell::RefCell;
use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use prometheus_client::metrics::counter::Counter;
use tagwire::Frame;
use tagwire::frame::{Decoder, Limits};
use tagwire::opening::{Opening, sniff};
use tagwire::session::Fault;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::tcp::OwnedReadHalf;

/// A connection reads at most so many bytes in a turn, so that one that floods leaves time to the others.
const MAX_TURN_BYTES: usize = 64 * 1024;
/// And takes at most so many frames.
const MAX_TURN_FRAMES: usize = 256;

/// After the end of a session so much is still read and forgotten: more than the buffers of two sockets hold.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

thread_local! {
    /// Where reads go: a connection keeps only the part of a frame that its bytes ended in.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_TURN_BYTES].into_boxed_slice());
}

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
    Io(#[from] io::Error),
    #[error(transparent)]
    Fault(#[from] Fault),
}

#[derive(Debug)]
pub(crate) struct Reader {
    half: OwnedReadHalf,
    bytes_received: Counter,
    decoder: Decoder,
    /// Bytes that were read but not decoded: a turn ended before them.
    rest: Vec<u8>,
    /// Where in `rest` they begin.
    at: usize,
    discarded: usize,
}

impl Reader {
    /// Reads from `half` and adds the bytes to a counter.
    pub(crate) fn new(half: OwnedReadHalf, limits: Limits, bytes_received: Counter) -> Self {
        Reader { half, bytes_received, decoder: Decoder::new(limits), rest: Vec::new(), at: 0, discarded: 0 }
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
    }

    /// True where the next turn needs no read.
    pub(crate) fn has_rest(&self) -> bool {
        !self.rest.is_empty()
    }

    /// Reads until it is clear what the peer speaks; the bytes stay for the turns that follow. `None`: it sent
    /// nothing and went.
    pub(crate) fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Opening>>> {
        loop {
            if let Some(opening) = sniff(&self.rest) {
                return Poll::Ready(Ok(Some(opening)));
            }
            let Reader { half, rest, bytes_received, .. } = self;
            let read = ready!(poll_read(half, cx, |bytes| rest.extend_from_slice(bytes)))?;
            bytes_received.inc_by(read as u64);
            if read == 0 {
                return Poll::Ready(Ok((!self.rest.is_empty()).then_some(Opening::Unknown)));
            }
        }
    }

    /// One turn: what was left over or one read, and `handle` for every whole frame of it.
    pub(crate) fn poll_turn<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut handle: impl FnMut(Frame<'_>) -> Result<ControlFlow<T>, Fault>,
    ) -> Poll<Result<Turn<T>, ReadError>> {
        let Reader { half, bytes_received, decoder, rest, at, .. } = self;
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
        let read = ready!(poll_read(half, cx, |bytes| {
            let mut input = bytes;
            taken = take(decoder, &mut input, &mut handle);
            *rest = input.to_vec();
        }))?;
        bytes_received.inc_by(read as u64);
        Poll::Ready(Ok(match taken? {
            Some(broke) => Turn::Broke(broke),
            None if read == 0 => Turn::Eof,
            None => Turn::Read,
        }))
    }

    /// Reads and forgets; ready at the peer's end, or when it has sent more than it can have had on its way.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match ready!(poll_read(&mut self.half, cx, |_| ())) {
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

fn poll_read(
    half: &mut OwnedReadHalf,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(half).poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        take(bytes);
        Poll::Ready(Ok(bytes.len()))
    })
}
