//! What comes by a connection.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;

use super::Broken;
use super::wire::Wire;

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

impl Wire {
    /// Reads once, through the layers, and hands over what came of it, which may be nothing yet. 0: the peer sends no more.
    /// For one reader.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        take: impl FnOnce(&[u8]),
    ) -> Poll<Result<usize, Broken>> {
        if let Some(end) = self.take_end() {
            return Poll::Ready(end.map(|()| 0));
        }
        let (mut end, mut is_bounded) = (None, true);
        let read = ready!(self.poll_raw(cx, |raw| {
            if !self.has_layers() {
                return take(raw);
            }
            PLAIN.with_borrow_mut(|plain| {
                plain.clear();
                is_bounded = self.unwrap(raw, plain);
                if plain.is_empty() {
                    // Nothing is to be handed over before the end.
                    end = self.take_end();
                }
                take(plain);
                if plain.capacity() > MAX_KEPT_BYTES {
                    *plain = Vec::new();
                }
            });
        }))?;
        self.bytes_received.inc_by(read as u64);
        if !is_bounded {
            return Poll::Ready(Err(Broken::Overhead));
        }
        Poll::Ready(match end {
            Some(end) => end.map(|()| 0),
            None => Ok(read),
        })
    }

    /// Reads once; what came of it goes behind `plain`. 0: the peer sends no more.
    pub(crate) async fn read(&self, plain: &mut Vec<u8>) -> Result<usize, Broken> {
        poll_fn(|cx| self.poll_read(cx, |bytes| plain.extend_from_slice(bytes))).await
    }

    /// Reads once and forgets it. 0: the peer sends no more.
    pub(crate) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.poll_raw(cx, |_| ()).map_err(Broken::from)
    }

    fn poll_raw(&self, cx: &mut Context<'_>, take: impl FnOnce(&[u8])) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(self.stream.poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            take(bytes);
            Poll::Ready(Ok(bytes.len()))
        })
    }
}
