//! What carries the bytes: a TCP socket, or memory.

use std::io::{self, Read};
use std::net::Shutdown;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{Interest, ReadBuf};
use tokio::net::TcpStream;

use super::memory::MemoryStream;

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Memory(MemoryStream),
}

impl Stream {
    /// Reads what is there; nothing: the end.
    pub(super) fn poll_read(&self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(socket) => poll_socket(socket, cx, into),
            Stream::Memory(stream) => stream.read.poll_read(cx, into).map(Ok),
        }
    }

    /// Writes what it takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.try_write(bytes),
            Stream::Memory(stream) => stream.write.try_write(bytes),
        }
    }

    /// The same for several pieces, one system call.
    pub(super) fn try_write_vectored(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => socket.try_write_vectored(pieces),
            Stream::Memory(stream) => stream
                .write
                .try_write(pieces.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece)),
        }
    }

    /// Ready when it may take something, or has failed: an error comes out of the write.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Stream::Tcp(socket) => socket.poll_write_ready(cx).map(drop),
            Stream::Memory(stream) => stream.write.poll_writable(cx),
        }
    }

    /// For its options.
    pub(super) fn tcp(&self) -> Option<SockRef<'_>> {
        match self {
            Stream::Tcp(socket) => Some(SockRef::from(socket)),
            Stream::Memory(_) => None,
        }
    }

    /// True where the peer has closed the connection, whatever it sent before.
    pub(super) fn is_gone(&self) -> bool {
        let Stream::Tcp(socket) = self else { return false };
        let events = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut sockets = [PollFd::new(socket, events)];
        // A socket that cannot be asked is there, as far as anybody knows.
        poll(&mut sockets, Some(&Timespec::default())).is_ok() && sockets[0].revents().intersects(events)
    }

    /// Says that nothing more comes. False: the peer is gone.
    pub(super) fn shut_down(&self) -> bool {
        match self {
            Stream::Tcp(socket) => SockRef::from(socket).shutdown(Shutdown::Write).is_ok(),
            Stream::Memory(stream) => stream.write.close(),
        }
    }
}

/// As the socket's own `poll_read`, which wants the socket for itself alone: a read that does not fill the buffer has
/// emptied the socket, and the next one waits for its event instead of asking in vain.
fn poll_socket(socket: &TcpStream, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        let (mut read, room) = (0, into.remaining());
        let tried = socket.try_io(Interest::READABLE, || {
            read = (&*SockRef::from(socket)).read(into.initialize_unfilled())?;
            // To be told that it would block is how tokio takes note that nothing is left.
            if 0 < read && read < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match tried {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Poll::Ready(Err(error)),
            Err(_) if read == 0 => {}
            _ => {
                into.advance(read);
                return Poll::Ready(Ok(()));
            }
        }
    }
}
