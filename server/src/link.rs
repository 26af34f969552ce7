//! A session's connection, as those see it who send: what they write to, and how it is cut.

use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use socket2::SockRef;
use tokio::net::tcp::OwnedWriteHalf;

/// One connection of a session. Shared by the session and by the connection's task, which alone reads from it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: SocketAddr,
    writer: OwnedWriteHalf,
    /// Wakes the connection's task: it is cut, or the socket is full.
    task: AtomicWaker,
    cut: AtomicBool,
    /// What is to be said when the session is on it no more.
    last: Mutex<Vec<u8>>,
}

impl Link {
    pub(crate) fn new(peer: SocketAddr, writer: OwnedWriteHalf) -> Arc<Self> {
        Arc::new(Link {
            peer,
            writer,
            task: AtomicWaker::new(),
            cut: AtomicBool::new(false),
            last: Mutex::default(),
        })
    }

    /// Writes what the socket takes at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.try_write(bytes)
    }

    /// Ready when the socket may take something, or has failed.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        // An error of the socket comes out of the write.
        self.writer.as_ref().poll_write_ready(cx).map(drop)
    }

    /// The socket, for its options.
    pub(crate) fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.writer.as_ref())
    }

    /// Has the connection's task look at it.
    pub(crate) fn wake(&self) {
        self.task.wake();
    }

    /// Registers the connection's task; true where the link is cut.
    pub(crate) fn poll_cut(&self, cx: &Context<'_>) -> bool {
        self.task.register(cx.waker());
        self.is_cut()
    }

    /// True from [`Link::cut`] on: nothing that comes by it is taken any more.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    /// Ends it. `last` is said by the connection's task; the session must not write to it any more where it is not empty.
    pub(crate) fn cut(&self, last: Vec<u8>) {
        if !last.is_empty() {
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
        }
        self.cut.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Writes what is left to say. To be bounded in time by the caller: the peer may take nothing.
    pub(crate) async fn say_last(&self) {
        let last = std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rest = last.as_slice();
        while !rest.is_empty() {
            poll_fn(|cx| self.poll_writable(cx)).await;
            match self.writer.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The peer is gone.
                Err(_) => return,
            }
        }
    }

    /// Says that nothing more comes. False: the peer is gone.
    pub(crate) fn shut_down(&self) -> bool {
        self.socket().shutdown(Shutdown::Write).is_ok()
    }
}
