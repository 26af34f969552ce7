//! What carries the bytes: a TCP socket, or memory.

use std::io;
use std::net::Shutdown;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::memory::{self, MemoryStream};

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Memory(MemoryStream),
}

#[derive(Debug)]
pub(super) enum ReadHalf {
    Tcp(OwnedReadHalf),
    Memory(memory::ReadEnd),
}

#[derive(Debug)]
pub(super) enum WriteHalf {
    Tcp(OwnedWriteHalf),
    Memory(memory::WriteEnd),
}

impl Stream {
    pub(super) fn split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Tcp(read), WriteHalf::Tcp(write))
            }
            Stream::Memory(stream) => {
                let (read, write) = stream.into_split();
                (ReadHalf::Memory(read), WriteHalf::Memory(write))
            }
        }
    }
}

impl ReadHalf {
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            ReadHalf::Tcp(half) => Pin::new(half).poll_read(cx, into),
            ReadHalf::Memory(end) => end.poll_read(cx, into).map(Ok),
        }
    }
}

impl WriteHalf {
    /// Writes what it takes at once.
    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(half) => half.try_write(bytes),
            WriteHalf::Memory(end) => end.try_write(bytes),
        }
    }

    /// The same for several pieces, one system call.
    pub(super) fn try_write_vectored(&self, pieces: &[io::IoSlice<'_>]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(half) => half.try_write_vectored(pieces),
            WriteHalf::Memory(end) => {
                end.try_write(pieces.iter().find(|piece| !piece.is_empty()).map_or(&[], |piece| piece))
            }
        }
    }

    /// Ready when it may take something, or has failed: an error comes out of the write.
    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            WriteHalf::Tcp(half) => half.as_ref().poll_write_ready(cx).map(drop),
            WriteHalf::Memory(end) => end.poll_writable(cx),
        }
    }

    /// For its options.
    pub(super) fn tcp(&self) -> Option<SockRef<'_>> {
        match self {
            WriteHalf::Tcp(half) => Some(SockRef::from(half.as_ref())),
            WriteHalf::Memory(_) => None,
        }
    }

    /// True where the peer has closed the connection, whatever it sent before.
    pub(super) fn is_gone(&self) -> bool {
        let WriteHalf::Tcp(half) = self else { return false };
        let events = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
        let mut sockets = [PollFd::new(half.as_ref(), events)];
        // A socket that cannot be asked is there, as far as anybody knows.
        poll(&mut sockets, Some(&Timespec::default())).is_ok() && sockets[0].revents().intersects(events)
    }

    /// Says that nothing more comes. False: the peer is gone.
    pub(super) fn shut_down(&self) -> bool {
        match self {
            WriteHalf::Tcp(half) => SockRef::from(half.as_ref()).shutdown(Shutdown::Write).is_ok(),
            WriteHalf::Memory(end) => end.close(),
        }
    }
}
