//! A session's connection, as those see it who send: what they write to, and how it is cut.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use socket2::SockRef;
use tagwire::CloseCode;
use tracing::debug;

use crate::transport::{Peer, Wire};

/// One connection of a session. Shared by the session and by the connection's task, which alone reads from it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) peer: Peer,
    wire: Wire,
    /// Wakes the connection's task: it is cut, or the socket is full.
    task: AtomicWaker,
    cut: AtomicBool,
    /// A write has failed.
    broken: AtomicBool,
    /// The socket did not take all of the last write.
    waits: AtomicBool,
    /// In a box, for it is the end of the link that brings it.
    last: Mutex<Option<Box<Last>>>,
}

/// What is to be said when the session is on a link no more.
#[derive(Debug, Default)]
pub(crate) struct Last {
    /// What is left of a frame, and a Disconnect.
    pub(crate) bytes: Vec<u8>,
    /// With what a transport that has a goodbye of its own is closed.
    pub(crate) close: Option<(CloseCode, String)>,
}

impl Link {
    pub(crate) fn new(peer: Peer, wire: Wire) -> Arc<Self> {
        Arc::new(Link {
            peer,
            wire,
            task: AtomicWaker::new(),
            cut: AtomicBool::new(false),
            broken: AtomicBool::new(false),
            waits: AtomicBool::new(false),
            last: Mutex::default(),
        })
    }

    /// The bytes of the connection.
    pub(crate) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// Writes what is taken at once.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.wire.try_write(bytes)
    }

    /// True where something that counts as written waits for the socket.
    pub(crate) fn is_pending(&self) -> bool {
        self.wire.is_pending()
    }

    /// Writes of that what the socket takes.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.wire.flush()
    }

    /// Ready when the socket may take something, or has failed: an error comes out of the write.
    pub(crate) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.wire.poll_writable(cx)
    }

    /// Nobody between the two ends can read or change what is sent.
    pub(crate) fn is_secure(&self) -> bool {
        self.wire.kind().is_secure()
    }

    /// The code with which the peer closed its WebSocket.
    pub(crate) fn goodbye(&self) -> Option<u16> {
        self.wire.goodbye()
    }

    /// Nothing can be written any more.
    pub(crate) fn set_broken(&self, error: &io::Error) {
        debug!(peer = %self.peer, "a write failed: {error}");
        self.broken.store(true, Ordering::Release);
        self.task.wake();
    }

    /// True from [`Link::set_broken`] on: reading comes to the end, once it is read from.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Acquire)
    }

    /// The TCP socket, for its options.
    pub(crate) fn tcp(&self) -> Option<SockRef<'_>> {
        self.wire.tcp()
    }

    /// Whether something waits for the socket, as of a write just now.
    pub(crate) fn set_waits(&self, waits: bool) {
        self.waits.store(waits, Ordering::Release);
    }

    /// False where nothing waits for the socket. Layers may hold something back that they answered when they were read.
    pub(crate) fn may_wait(&self) -> bool {
        self.waits.load(Ordering::Acquire) || self.wire.has_layers()
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

    /// Ends it. `last` is said by the connection's task; the session must not write to it any more where that has bytes.
    pub(crate) fn cut(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(last));
        self.cut.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Writes what is left to say. To be bounded in time by the caller: the peer may take nothing.
    pub(crate) async fn say_last(&self) {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Last { bytes, close } = last.map_or_else(Last::default, |last| *last);
        // An error is a peer that is gone.
        let _ = self.write_last(&bytes, close).await;
    }

    /// Writes all of it and says goodbye: this was all that somebody came for. To be bounded in time by the caller.
    pub(crate) async fn say(&self, bytes: &[u8]) -> io::Result<()> {
        self.write_last(bytes, Some((CloseCode::NORMAL, String::new()))).await
    }

    /// Says goodbye where the transport has one: all was written. To be bounded in time by the caller.
    pub(crate) async fn say_goodbye(&self) -> io::Result<()> {
        self.write_last(&[], None).await
    }

    async fn write_last(&self, mut rest: &[u8], close: Option<(CloseCode, String)>) -> io::Result<()> {
        while !rest.is_empty() {
            poll_fn(|cx| self.poll_writable(cx)).await;
            match self.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        // TLS takes nothing more of a message behind its goodbye.
        self.settle().await?;
        self.wire.close(close.as_ref().map(|(code, reason)| (*code, reason.as_str())))?;
        self.settle().await
    }

    /// Writes what layers hold back.
    async fn settle(&self) -> io::Result<()> {
        while self.is_pending() {
            poll_fn(|cx| self.poll_writable(cx)).await;
            self.flush()?;
        }
        Ok(())
    }

    /// Says that nothing more comes. False: the peer is gone.
    pub(crate) fn shut_down(&self) -> bool {
        self.wire.shut_down()
    }
}
