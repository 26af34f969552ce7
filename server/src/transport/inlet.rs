//! The reading side of a connection.

use std::cell::RefCell;
use std::task::{Context, Poll, ready};

use prometheus_client::metrics::counter::Counter;
use tokio::io::ReadBuf;

use super::Broken;
use super::outlet::Outlet;
use super::stream::ReadHalf;

/// A read takes at most so many bytes, so that one that floods leaves time to the others.
pub(crate) const MAX_READ_BYTES: usize = 64 * 1024;
/// A buffer of a thread that has grown beyond this is given back.
const MAX_KEPT_BYTES: usize = 256 * 1024;

thread_local! {
    /// Where reads go: a connection keeps only the part of a frame that its bytes ended in.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_READ_BYTES].into_boxed_slice());
    /// What the layers make of them.
    static PLAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
pub(crate) struct Inlet {
    half: ReadHalf,
    bytes_received: Counter,
}

impl Inlet {
    pub(super) fn new(half: ReadHalf, bytes_received: Counter) -> Self {
        Inlet { half, bytes_received }
    }

    /// Reads once, through the layers that its writing side has, and hands over what came of it, which may be nothing yet.
    /// 0: the peer sends no more.
    pub(crate) fn poll_read(
        &mut self,
        outlet: &Outlet,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]),
    ) -> Poll<Result<usize, Broken>> {
        poll_read(&mut self.half, outlet, &self.bytes_received, cx, take)
    }

    /// Reads once and forgets it. 0: the peer sends no more.
    pub(crate) fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        poll_raw(&mut self.half, cx, |_| ()).map_err(Broken::from)
    }
}

pub(super) fn poll_read(
    half: &mut ReadHalf,
    outlet: &Outlet,
    bytes_received: &Counter,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<Result<usize, Broken>> {
    if let Some(end) = outlet.take_end() {
        return Poll::Ready(end.map(|()| 0));
    }
    let (mut end, mut is_bounded) = (None, true);
    let read = ready!(poll_raw(half, cx, |raw| {
        if !outlet.has_layers() {
            return take(raw);
        }
        PLAIN.with_borrow_mut(|plain| {
            plain.clear();
            is_bounded = outlet.unwrap(raw, plain);
            if plain.is_empty() {
                // Nothing is to be handed over before the end.
                end = outlet.take_end();
            }
            take(plain);
            if plain.capacity() > MAX_KEPT_BYTES {
                *plain = Vec::new();
            }
        });
    }))?;
    bytes_received.inc_by(read as u64);
    if !is_bounded {
        return Poll::Ready(Err(Broken::Overhead));
    }
    Poll::Ready(match end {
        Some(end) => end.map(|()| 0),
        None => Ok(read),
    })
}

fn poll_raw(
    half: &mut ReadHalf,
    cx: &mut Context<'_>,
    take: impl FnOnce(&[u8]),
) -> Poll<std::io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(half.poll_read(cx, &mut buffer))?;
        let bytes = buffer.filled();
        take(bytes);
        Poll::Ready(Ok(bytes.len()))
    })
}
